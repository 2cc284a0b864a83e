"""The list of losses: whatever stands here is tested by everything in this folder.

An entry is a loss, the arrays it is called with, by what they hold, and its other arguments. All
class arrays have the shape (N, C, D), so that an entry serves element and row losses alike; vectors
have C components, in pairs of (N, D) of them or in a batch of N.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import refloss
from refloss.accuracy import FORMATS, Answer, Truth, ulp_error

N, C, D = 6, 5, 3
SHAPE = (N, C, D)
IGNORED = -100

Arrays = dict[str, NDArray[Any]]

# Compiling a formula takes a second, which is none of an example's fault.
QUICK = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Kind:
    """What an array holds: how a generator fills it, and which entries hypothesis may choose.

    Nothing is differentiated by labels, weights and other constants.
    """

    shape: Callable[[int, int, int], tuple[int, ...]]
    fill: Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]
    entries: st.SearchStrategy[Any]
    labels: bool = False
    constant: bool = False


def full(n: int, c: int, d: int) -> tuple[int, ...]:
    return n, c, d


# Halves of float16 are exact in every format but bfloat16, which has 8 bits: enough for eighths.
def eighths(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(8 * low, 8 * high).map(lambda k: k / 8)


LOGITS = Kind(full, lambda rng, s: 4 * rng.standard_normal(s), eighths(-16, 16))
PROBABILITIES = Kind(
    full, lambda rng, s: rng.uniform(0.02, 0.98, s), st.integers(1, 31).map(lambda k: k / 32)
)
LOG_PROBABILITIES = Kind(full, lambda rng, s: -rng.exponential(3, s), eighths(-16, 0))
DISTANCES = Kind(full, lambda rng, s: rng.exponential(1, s), eighths(0, 16))
WEIGHTS = Kind(full, lambda rng, s: rng.uniform(0.25, 2, s), eighths(0, 4), constant=True)
CLASS_WEIGHTS = replace(WEIGHTS, shape=lambda n, c, d: (c,))
LABELS = Kind(
    lambda n, c, d: (n, d),
    lambda rng, s: rng.integers(0, C, s),
    st.integers(0, C - 1),
    labels=True,
    constant=True,
)
SOME_IGNORED = replace(
    LABELS,
    fill=lambda rng, s: np.where(rng.uniform(size=s) < 0.25, IGNORED, rng.integers(0, C, s)),
    entries=st.sampled_from([IGNORED, *range(C)]),
)
SIGNS = Kind(
    full, lambda rng, s: rng.choice([-1.0, 1.0], s), st.sampled_from([-1.0, 1.0]), constant=True
)
MARKS = Kind(
    full, lambda rng, s: rng.uniform(0, 1, s), st.integers(0, 8).map(lambda k: k / 8), constant=True
)

# One vector on each side of N D pairs, and what tells the pairs apart
VECTORS = Kind(lambda n, c, d: (n, d, c), lambda rng, s: rng.standard_normal(s), eighths(-4, 4))
PAIR_SIGNS = replace(SIGNS, shape=LABELS.shape)
PAIR_MARKS = replace(MARKS, shape=LABELS.shape)

# A batch of N embeddings, a queue of other ones, and classes with more than one embedding
BATCH = replace(VECTORS, shape=lambda n, c, d: (n, c))
BATCH_SIGNS = replace(SIGNS, shape=lambda n, c, d: (n,))
QUEUE = replace(VECTORS, shape=lambda n, c, d: (2 * n - 1, c))
GROUPS = replace(
    LABELS,
    shape=lambda n, c, d: (n,),
    fill=lambda rng, s: rng.integers(0, 3, s),
    entries=st.integers(0, 2),
)


@dataclass(frozen=True)
class Entry:
    """One way to call a loss; ``arrays`` in the order of the loss's arguments."""

    loss: str
    arrays: Mapping[str, Kind]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        kinds = "-".join(name for name in self.arrays if name not in ("input", "mu"))
        options = "-".join(f"{name}={value}" for name, value in self.options.items())
        kinds += "-indices" if self.indices else ""
        return f"{self.loss}-{kinds}{'-' if options else ''}{options}"

    @property
    def function(self) -> Any:
        return getattr(refloss, self.loss)

    @property
    def first(self) -> str:
        """The name of the first argument."""
        return next(iter(self.arrays))

    @property
    def indices(self) -> bool:
        return any(kind.labels for kind in self.arrays.values())

    @property
    def rowwise(self) -> bool:
        return self.loss in ROW_LOSSES

    @property
    def wrt(self) -> tuple[str, ...]:
        """The arguments it can be differentiated with respect to, here."""
        return tuple(name for name, kind in self.arrays.items() if not kind.constant)

    @property
    def curved(self) -> tuple[str, ...]:
        """The arguments whose second derivative is asked for."""
        return () if self.loss in VECTOR_LOSSES else (self.first,)

    @property
    def reductions(self) -> tuple[str, ...]:
        if self.loss == "batch_triplet_loss":
            return ("mean", "mean_nonzero", "sum")
        more = ("batchmean",) if self.loss in WITH_BATCHMEAN else ()
        return ("none", "mean", "sum", *more)

    def value_shape(self, arrays: Arrays) -> tuple[int, ...]:
        """Of the losses before any reduction."""
        shape = arrays[self.first].shape
        if self.loss in ROW_LOSSES:
            return shape[0], *shape[2:]
        if self.loss == "nt_xent_loss":
            return (2 * shape[0],)
        return shape[:-1] if self.loss in VECTOR_LOSSES else shape

    def kept(
        self, computed: Any, truth: Any, dtype: str, promises: int = 1, scale: Any = None
    ) -> None:
        """Assert that no number is further from the truth than so many promises.

        They count in ulps of the truth, or of a scale.
        """
        assert np.shape(computed) == np.shape(truth)
        known = Truth.of(truth)
        sizes = None if scale is None else Truth.of(np.broadcast_to(scale, np.shape(truth)))
        error = ulp_error(computed, Answer(known, known, sizes), dtype)
        bound = promises * getattr(self.function.promise, dtype)
        assert error.max(initial=0) <= bound, f"{error.max()} ulp: {computed} for {truth}"

    def conditioned(self, computed: Any, truth: Any, promises: int = 1) -> None:
        """Assert it in ulps of the largest number there is, or of 1: the terms that may cancel.

        A temperature multiplies what a cosine lost to rounding.
        """
        largest = max(1.0, float(np.abs(truth).max(initial=0)))
        temperature = min(1.0, self.options.get("temperature", 1.0))
        self.kept(computed, truth, "float64", promises, scale=largest / temperature)

    def sample(self, seed: int, dtype: str = "float64", n: int = N, d: int = D) -> Arrays:
        """Arrays of ordinary numbers."""
        rng = np.random.default_rng(seed)
        return {
            name: _as(kind, kind.fill(rng, kind.shape(n, C, d)), dtype)
            for name, kind in self.arrays.items()
        }

    def arguments(self, dtype: str = "float64") -> st.SearchStrategy[Arrays]:
        """Arrays of short numbers, that sum without rounding."""
        return st.fixed_dictionaries(
            {
                name: hnp.arrays(
                    np.int64 if kind.labels else np.float64,
                    kind.shape(N, C, D),
                    elements=kind.entries,
                ).map(lambda array, kind=kind: _as(kind, array, dtype))
                for name, kind in self.arrays.items()
            }
        )


def _as(kind: Kind, array: NDArray[Any], dtype: str) -> NDArray[Any]:
    return array.astype(np.int64 if kind.labels else FORMATS[dtype].dtype)


ENROLLED = [
    Entry("cross_entropy", {"input": LOGITS, "target": LABELS}),
    Entry("cross_entropy", {"input": LOGITS, "target": SOME_IGNORED, "weight": CLASS_WEIGHTS}),
    Entry(
        "cross_entropy",
        {"input": LOGITS, "target": SOME_IGNORED, "weight": CLASS_WEIGHTS},
        {"label_smoothing": 0.125},
    ),
    Entry(
        "cross_entropy",
        {"input": LOGITS, "target": PROBABILITIES, "weight": CLASS_WEIGHTS},
        {"label_smoothing": 0.25},
    ),
    Entry("nll_loss", {"input": LOG_PROBABILITIES, "target": SOME_IGNORED}),
    Entry(
        "nll_loss", {"input": LOG_PROBABILITIES, "target": SOME_IGNORED, "weight": CLASS_WEIGHTS}
    ),
    Entry("cross_entropy_with_probs", {"input": PROBABILITIES, "target": SOME_IGNORED}),
    Entry(
        "cross_entropy_with_probs",
        {"input": PROBABILITIES, "target": PROBABILITIES, "weight": CLASS_WEIGHTS},
    ),
    Entry("binary_cross_entropy_with_logits", {"input": LOGITS, "target": PROBABILITIES}),
    Entry(
        "binary_cross_entropy_with_logits",
        {"input": LOGITS, "target": PROBABILITIES, "weight": WEIGHTS, "pos_weight": WEIGHTS},
    ),
    Entry("binary_cross_entropy", {"input": PROBABILITIES, "target": PROBABILITIES}),
    Entry(
        "binary_cross_entropy",
        {"input": PROBABILITIES, "target": PROBABILITIES, "weight": WEIGHTS},
    ),
    *(
        Entry("sigmoid_focal_loss", {"input": LOGITS, "target": PROBABILITIES}, options)
        for options in ({}, {"alpha": None, "gamma": 0.5}, {"alpha": 0.75, "gamma": 0.0})
    ),
    Entry("softmax_focal_loss", {"input": LOGITS, "target": SOME_IGNORED}),
    Entry(
        "softmax_focal_loss",
        {"input": LOGITS, "target": LABELS, "weight": CLASS_WEIGHTS},
        {"gamma": 0.5},
    ),
    *(
        Entry(loss, {"input": LOGITS, "target": LOGITS, **weight}, options)
        for loss, options in (("mse_loss", {}), ("l1_loss", {}), ("huber_loss", {"delta": 1.5}))
        for weight in ({}, {"weight": WEIGHTS})
    ),
    Entry("smooth_l1_loss", {"input": LOGITS, "target": LOGITS}, {"beta": 0.5}),
    Entry("smooth_l1_loss", {"input": LOGITS, "target": LOGITS}, {"beta": 0.0}),
    Entry("kl_div", {"input": LOG_PROBABILITIES, "target": PROBABILITIES}),
    Entry(
        "kl_div", {"input": LOG_PROBABILITIES, "target": LOG_PROBABILITIES}, {"log_target": True}
    ),
    Entry("gaussian_kl", {"mu": LOGITS, "logvar": LOGITS}),
    Entry("distillation_loss", {"input": LOGITS, "teacher": LOGITS}, {"temperature": 2.0}),
    Entry("margin_ranking_loss", {"input1": LOGITS, "input2": LOGITS, "target": SIGNS}),
    Entry(
        "margin_ranking_loss",
        {"input1": LOGITS, "input2": LOGITS, "target": SIGNS},
        {"margin": 1.5},
    ),
    Entry("hinge_embedding_loss", {"input": DISTANCES, "target": SIGNS}),
    Entry(
        "contrastive_loss_from_distance", {"distance": DISTANCES, "target": MARKS}, {"margin": 2.0}
    ),
]

TRIPLET = {"anchor": VECTORS, "positive": VECTORS, "negative": VECTORS}
MININGS = ("all", "hard", "semihard", "easy")
METRICS = ("euclidean", "sqeuclidean", "cosine", "cityblock")

# Losses of embeddings: vectors whose components come last, and no second derivatives
EMBEDDED = [
    *(
        Entry("contrastive_loss", {"x1": VECTORS, "x2": VECTORS, "target": PAIR_MARKS}, options)
        for options in ({"margin": 2.0}, {"p": 1.0}, {"p": 1.5}, {"p": 3.0}, {"p": math.inf})
    ),
    *(
        Entry("triplet_margin_loss", TRIPLET, {"p": p, "swap": swap})
        for p in (1.0, 1.5, 2.0, 3.0, math.inf)
        for swap in (False, True)
    ),
    Entry("triplet_margin_loss", TRIPLET, {"margin": 2.0, "eps": 0.0}),
    *(
        Entry(
            "cosine_embedding_loss",
            {"input1": VECTORS, "input2": VECTORS, "target": PAIR_SIGNS},
            options,
        )
        for options in ({}, {"margin": -0.5})
    ),
    Entry("nt_xent_loss", {"z_i": BATCH, "z_j": BATCH}),
    Entry("info_nce_loss", {"query": BATCH, "positive_key": BATCH}, {"temperature": 0.25}),
    Entry(
        "info_nce_loss",
        {"query": BATCH, "positive_key": BATCH, "negative_keys": QUEUE},
        {"temperature": 0.25},
    ),
    Entry("sup_con_loss", {"embeddings": BATCH, "labels": GROUPS}, {"temperature": 0.25}),
    *(
        Entry(
            "batch_triplet_loss",
            {"embeddings": BATCH, "labels": GROUPS},
            {"mining": mining, "distance": distance},
        )
        for mining in MININGS
        for distance in METRICS
    ),
]

ROW_LOSSES = {
    "cross_entropy",
    "nll_loss",
    "cross_entropy_with_probs",
    "softmax_focal_loss",
    "distillation_loss",
}
WITH_BATCHMEAN = {"kl_div", "gaussian_kl", "distillation_loss"}
PAIRED = [entry for entry in EMBEDDED if entry.arrays[entry.first] is VECTORS]
BATCHED = [entry for entry in EMBEDDED if entry not in PAIRED]
VECTOR_LOSSES = {entry.loss for entry in EMBEDDED}
NO_LOSSES = ("smooth_labels", "class_balanced_weights", "mine_triplets")
NAMES = (*NO_LOSSES, *sorted({entry.loss for entry in (*ENROLLED, *EMBEDDED)}))


def calls(
    entry: Entry, arrays: Arrays, raw: bool = False, **more: Any
) -> Iterator[tuple[str, Any]]:
    """Everything an entry can be asked, and the answer; ``raw`` as it came, not in NumPy."""
    options = {**entry.options, **more}
    for reduction in entry.reductions:
        value, gradient = entry.function.value_and_grad(
            **arrays, **options, reduction=reduction, wrt=entry.wrt
        )
        yield f"{reduction} value", value if raw else np.asarray(value)
        for name, found in zip(entry.wrt, gradient, strict=True):
            yield f"{reduction} gradient.{name}", found
        for name in entry.curved:
            curvature = entry.function.hessian_diag(
                **arrays, **options, reduction=reduction, wrt=name
            )
            yield f"{reduction} curvature.{name}", curvature


def bits(array: Any) -> bytes:
    """What an array holds, to the last bit, but every NaN is the same."""
    whole = np.ascontiguousarray(array)
    return whole.dtype.str.encode() + np.where(np.isnan(whole), np.nan, whole).tobytes()
