"""What refloss is compared with others by, and what is aimed at: the lines of the table.

Data, and the inputs that go with it. Nothing here imports refloss or a peer, so that asv's
benchmarks may import it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cpu_cases
import numpy as np
from cpu_cases import DTYPES, Shape
from gpu_cases import IGNORED, power

BOTH, VALUE, CURVATURE = "value_and_gradient", "value", "gradient_and_curvature"
PEERS = ("torch", "torch.compile", "jax", "sklearn", "scipy")
OWN = "refloss"
SIZES = {"float32": 4, "float64": 8}

WEIGHTS, SMOOTHING, SOFT, IGNORE = "weights", "smoothing", "soft-targets", "ignore-index"
VARIANTS = ("", WEIGHTS, SMOOTHING, SOFT, IGNORE)
SMOOTHED = 0.1
ALL, HARD = "all", "hard"  # triplets
TEMPERATURE = 0.1

# Evaluations of exp or log for each element, in float64; those for each row count for nothing
TRANSCENDENTAL = {
    "cross_entropy": 1,
    "softmax_focal_loss": 1,
    "distillation_loss": 2,
    "binary_cross_entropy_with_logits": 2,
    "sigmoid_focal_loss": 2,
    "kl_div": 1,
}


@dataclass(frozen=True)
class Case:
    """One loss on inputs of one shape and dtype.

    Attributes
    ----------
    shape : of the first input, and of its gradient; of all embeddings together for `nt_xent_loss`
    variant : of cross-entropy, or which triplets are taken
    part : what is asked for
    """

    loss: str
    shape: Shape
    dtype: str = "float32"
    variant: str = ""
    part: str = BOTH

    @property
    def name(self) -> str:
        """As it is chosen on the command line."""
        part = "" if self.part == BOTH else self.part
        shape = "x".join(power(n) for n in self.shape)
        return "-".join(filter(None, [self.loss, shape, self.dtype, self.variant, part]))

    @property
    def title(self) -> str:
        """The shape, to be read."""
        if self.loss in cpu_cases.ROOMS["batch"].losses:
            return f"N = {self.shape[0]}, D = {self.shape[1]}"
        if len(self.shape) == 1:
            return power(self.shape[0])
        return f"({', '.join(power(n) for n in self.shape)})"

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def transcendental(self) -> int:
        """How many times exp or log has to be evaluated."""
        return TRANSCENDENTAL.get(self.loss, 0) * self.elements

    def moved(self, arrays: list[np.ndarray]) -> int:
        """The bytes that have to be read and written, whatever computes it."""
        written = {BOTH: 1, VALUE: 0, CURVATURE: 2}[self.part]
        return sum(one.nbytes for one in arrays) + written * self.elements * SIZES[self.dtype]


@dataclass(frozen=True)
class Aim:
    """What is aimed at; None is no aim.

    Attributes
    ----------
    each : the fastest peer's time over refloss's, at every point
    mean : the same in geometric mean over all points
    floor : refloss's time over the floor's, where memory is the limit (or the matrix products)
    seconds : refloss's time
    memory : refloss's memory over that of the thriftiest peer
    megabytes : beside the outputs
    words : how it is said, if not by the numbers
    """

    each: float | None = None
    mean: float | None = None
    floor: float | None = None
    seconds: float | None = None
    memory: float | None = None
    megabytes: float | None = None
    words: str = ""

    def __str__(self) -> str:
        if self.words:
            return self.words
        said = {
            "each": ">= {:g}x the fastest peer at every point",
            "mean": ">= {:g}x in geometric mean",
            "floor": "within {:g}x of the floor that is the limit",
            "seconds": "<= {:g} s",
            "megabytes": "at most {:g} MB beside the outputs",
        }
        known = ((text, getattr(self, name)) for name, text in said.items())
        return ", ".join(text.format(number) for text, number in known if number is not None)


@dataclass(frozen=True)
class Line:
    """One line of the table: cases that share an aim.

    Attributes
    ----------
    kind : how the cases are measured
    peers : what refloss is held against
    """

    title: str
    aim: Aim
    cases: tuple[Case, ...]
    kind: str = "peers"
    peers: tuple[str, ...] = PEERS


# The lines ----------------------------------------------------------------------------------------

LARGE = ((8192, 1000), (512, 50257), (1 << 20, 10), (65536, 100))
CLASSES = (*LARGE, (32, 32000), (1, 128256), (64, 10))
TINY = (8, 10)
ELEMENTS = (1 << 24,)
ROWS = (8192, 1000)
OTHERS: Mapping[str, Shape] = {
    "sigmoid_focal_loss": ELEMENTS,
    "softmax_focal_loss": ROWS,
    "binary_cross_entropy_with_logits": ELEMENTS,
    "kl_div": ELEMENTS,
    "distillation_loss": ROWS,
    "huber_loss": ELEMENTS,
    "smooth_l1_loss": ELEMENTS,
    "mse_loss": ELEMENTS,
}
CONTRASTIVE, TRIPLETS = (8192, 128), (1024, 128)


def _others(part: str = BOTH) -> tuple[Case, ...]:
    return tuple(
        Case(loss, shape, dtype, part=part) for loss, shape in OTHERS.items() for dtype in DTYPES
    )


LINES: Mapping[str, Line] = {
    "cross-entropy": Line(
        "Value and gradient of cross-entropy",
        Aim(each=1.3, mean=2.5, floor=2.0),
        tuple(
            Case("cross_entropy", shape, dtype, variant)
            for variant in VARIANTS
            for shape in CLASSES
            for dtype in DTYPES
        ),
    ),
    "others": Line(
        "Value and gradient of other losses", Aim(each=1.3, mean=2.5, floor=2.0), _others()
    ),
    "value": Line(
        "Value alone",
        Aim(each=1.0, mean=1.5),
        (
            *(
                Case("cross_entropy", shape, dtype, part=VALUE)
                for shape in CLASSES
                for dtype in DTYPES
            ),
            *_others(VALUE),
        ),
    ),
    "curvature": Line(
        "Gradient and Hessian diagonal",
        Aim(each=2.0, words=">= 2x scikit-learn, or whoever is faster"),
        tuple(
            Case(loss, shape, dtype, part=CURVATURE)
            for loss, shape in (
                ("binary_cross_entropy_with_logits", ELEMENTS),
                ("cross_entropy", (65536, 100)),
                ("cross_entropy", (1 << 20, 10)),
                ("sigmoid_focal_loss", ELEMENTS),
            )
            for dtype in DTYPES
        ),
        peers=("sklearn", "torch", "jax"),
    ),
    "tiny": Line(
        "A tiny call: value and gradient",
        Aim(each=1.0, seconds=15e-6, words="<= 15 us, and below every peer"),
        tuple(
            Case(loss, TINY)
            for loss in ("cross_entropy", "binary_cross_entropy_with_logits", "huber_loss")
        ),
        peers=("torch", "torch.compile", "jax"),
    ),
    "threads": Line(
        "All threads against one: value and gradient",
        Aim(each=1.8, words=">= 1.8x one thread where the limit is arithmetic"),
        (
            *(Case("cross_entropy", shape) for shape in LARGE),
            *(Case(loss, shape) for loss, shape in OTHERS.items()),
        ),
        kind="threads",
        peers=("one thread",),
    ),
    "products": Line(
        "Losses of a batch against the matrix products alone",
        Aim(floor=1.5, words="within 1.5x of the products"),
        (
            Case("nt_xent_loss", CONTRASTIVE),
            Case("sup_con_loss", CONTRASTIVE),
            Case("batch_triplet_loss", TRIPLETS, variant=HARD),
            Case("batch_triplet_loss", TRIPLETS, variant=ALL),
        ),
        kind="products",
        peers=("products",),
    ),
    "batch": Line(
        "Losses of a batch in fresh processes: value and gradient, memory on top of the inputs",
        Aim(each=5.0, memory=0.5, words=">= 5x the fastest peer, at most half of any one's memory"),
        (
            Case("nt_xent_loss", (512, 128)),
            Case("nt_xent_loss", (4096, 128)),
            Case("sup_con_loss", (4096, 128)),
            Case("batch_triplet_loss", TRIPLETS, variant=HARD),
            Case("batch_triplet_loss", (512, 128), variant=ALL),
            Case("batch_triplet_loss", TRIPLETS, variant=ALL),
        ),
        kind="batch",
        peers=("torch", "pytorch-metric-learning", "optax"),
    ),
    "again": Line(
        "First call in a fresh process, compiled before: imports and all",
        Aim(seconds=0.8),
        (Case("any-loss", (), "float32"),),
        kind="again",
        peers=(),
    ),
    "first": Line(
        "First call ever",
        Aim(seconds=4.0),
        (Case("any-loss", (), "float32"),),
        kind="first",
        peers=(),
    ),
    "audit": Line(
        "refloss audit refloss in full, nothing compiled before",
        Aim(seconds=60.0),
        (Case("audit", (), ""),),
        kind="audit",
        peers=(),
    ),
    "memory": Line(
        "Peak memory of value and gradient beside inputs and outputs",
        Aim(megabytes=8.0),
        tuple(
            Case(loss, (rows, *shape))
            for loss, counts, shape in (
                ("cross_entropy", (4096, 16384, 65536), (1000,)),
                ("softmax_focal_loss", (4096, 16384), (1000,)),
                ("distillation_loss", (4096, 16384), (1000,)),
                ("binary_cross_entropy_with_logits", (1 << 22, 1 << 24), ()),
                ("huber_loss", (1 << 22, 1 << 24), ()),
            )
            for rows in counts
        ),
        kind="memory",
        peers=(),
    ),
}

# What the other libraries cannot do: beyond six gigabytes, or a minute
BEYOND = {
    "nt_xent_loss-4096x128-float32": ("pytorch-metric-learning", "optax"),
    "batch_triplet_loss-1024x128-float32-all": ("torch",),
}

# The products of all embeddings with all, and of as many weights with the embeddings, that an
# answer takes which keeps no matrix of similarities (they pass twice), or keeps one of distances.
PRODUCTS = {"nt_xent_loss": 3, "sup_con_loss": 3, "batch_triplet_loss": 2}


# Inputs -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """The arguments of a call, as torch and refloss name them."""

    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> list[np.ndarray]:
        every = (*self.arguments, *self.options.values())
        return [one for one in every if isinstance(one, np.ndarray)]


def given(case: Case) -> Given:
    """What every contestant gets, the same numbers each time."""
    rows = (case.shape[0] // 2, *case.shape[1:]) if case.loss == "nt_xent_loss" else case.shape
    arguments = cpu_cases.arguments(case.loss, rows, case.dtype)
    rng = np.random.default_rng(1)
    if case.variant == WEIGHTS:
        weight = rng.uniform(0.5, 2.0, case.shape[1]).astype(case.dtype)
        return Given(arguments, {"weight": weight})
    if case.variant == SMOOTHING:
        return Given(arguments, {"label_smoothing": SMOOTHED})
    if case.variant == SOFT:
        share = rng.random(case.shape, np.float32).astype(case.dtype)
        share /= share.sum(1, keepdims=True)
        return Given((arguments[0], share))
    if case.variant == IGNORE:
        ignored = rng.random(case.shape[0]) < 0.1
        ignored[0] = False
        return Given((arguments[0], np.where(ignored, IGNORED, arguments[1])))
    return Given(arguments, _options(case))


def _options(case: Case) -> dict[str, Any]:
    if case.loss in ("nt_xent_loss", "sup_con_loss"):
        return {"temperature": TEMPERATURE}
    return {"mining": case.variant} if case.loss == "batch_triplet_loss" else {}
