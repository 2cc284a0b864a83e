"""On torch's own ground refloss and torch agree, whatever the combination of arguments.

On ordinary numbers torch is not wrong. Its error there is what the audit calls *accurate*, in ulps
of the largest number of the answer (where losses are summed, of the largest loss if that is more):
torch computes a gradient as a difference, so that its small entries are no better than that.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

import refloss
from refloss.accuracy import FORMATS, Answer, Truth, ulp_error

from .enrolled import (
    BATCH,
    BATCH_SIGNS,
    CLASS_WEIGHTS,
    DISTANCES,
    LABELS,
    LOG_PROBABILITIES,
    LOGITS,
    PROBABILITIES,
    SIGNS,
    SOME_IGNORED,
    TRIPLET,
    WEIGHTS,
    Entry,
    Kind,
)

torch = pytest.importorskip("torch", reason="torch is not installed")
F = torch.nn.functional


@dataclass(frozen=True)
class Ground:
    """A loss that torch has: the kinds of its arrays, and the choices for everything optional."""

    loss: str
    arrays: Mapping[str, tuple[Kind, ...]]
    weights: Mapping[str, Kind]
    options: Mapping[str, tuple[Any, ...]]

    def entries(self) -> Iterator[Entry]:
        """Every combination."""
        names, kinds = self.arrays.keys(), self.arrays.values()
        for chosen in product(*kinds):
            for given in product([False, True], repeat=len(self.weights)):
                weights = {
                    name: kind
                    for (name, kind), is_given in zip(self.weights.items(), given, strict=True)
                    if is_given
                }
                for values in product(*self.options.values()):
                    options = dict(zip(self.options, values, strict=True))
                    arrays = dict(zip(names, chosen, strict=True))
                    if options.get("ignore_index", -100) >= 0 and not arrays["target"].labels:
                        continue  # no index stands for probabilities
                    yield Entry(self.loss, {**arrays, **weights}, options)


REDUCTION = {"reduction": ("none", "mean", "sum")}
# So long that the 1e-12 which torch adds to the squares of lengths makes no difference
LONG = replace(BATCH, fill=lambda rng, s: 2.0**20 * rng.standard_normal(s))
GROUNDS = [
    Ground(
        "cross_entropy",
        {"input": (LOGITS,), "target": (LABELS, SOME_IGNORED, PROBABILITIES)},
        {"weight": CLASS_WEIGHTS},
        {**REDUCTION, "label_smoothing": (0.0, 0.125, 1.0), "ignore_index": (-100, 2)},
    ),
    Ground(
        "nll_loss",
        {"input": (LOG_PROBABILITIES,), "target": (LABELS, SOME_IGNORED)},
        {"weight": CLASS_WEIGHTS},
        {**REDUCTION, "ignore_index": (-100, 2)},
    ),
    Ground(
        "binary_cross_entropy_with_logits",
        {"input": (LOGITS,), "target": (PROBABILITIES,)},
        {"weight": WEIGHTS, "pos_weight": WEIGHTS},
        REDUCTION,
    ),
    Ground(
        "binary_cross_entropy",
        {"input": (PROBABILITIES,), "target": (PROBABILITIES,)},
        {"weight": WEIGHTS},
        REDUCTION,
    ),
    Ground(
        "kl_div",
        {"input": (LOG_PROBABILITIES,), "target": (PROBABILITIES,)},
        {},
        {"reduction": ("none", "mean", "sum", "batchmean")},
    ),
    Ground(
        "kl_div",
        {"input": (LOG_PROBABILITIES,), "target": (LOG_PROBABILITIES,)},
        {},
        {"reduction": ("none", "mean", "sum", "batchmean"), "log_target": (True,)},
    ),
    *(
        Ground(loss, {"input": (LOGITS,), "target": (LOGITS,)}, weights, {**REDUCTION, **options})
        for loss, weights, options in (
            ("mse_loss", {"weight": WEIGHTS}, {}),
            ("l1_loss", {"weight": WEIGHTS}, {}),
            ("huber_loss", {"weight": WEIGHTS}, {"delta": (0.5, 1.0, 3.0)}),
            ("smooth_l1_loss", {}, {"beta": (0.0, 0.5, 1.0, 3.0)}),
        )
    ),
    Ground(
        "triplet_margin_loss",
        {name: (kind,) for name, kind in TRIPLET.items()},
        {},
        {
            **REDUCTION,
            "margin": (0.5, 2.0),
            "p": (1.0, 1.5, 2.0, 3.0, math.inf),
            "eps": (1e-6, 0.25),
            "swap": (False, True),
        },
    ),
    Ground(
        "cosine_embedding_loss",
        {"input1": (LONG,), "input2": (LONG,), "target": (BATCH_SIGNS,)},
        {},
        {**REDUCTION, "margin": (0.0, 0.25, -0.5)},
    ),
    Ground(
        "margin_ranking_loss",
        {"input1": (LOGITS,), "input2": (LOGITS,), "target": (SIGNS,)},
        {},
        {**REDUCTION, "margin": (0.0, 1.5)},
    ),
    Ground(
        "hinge_embedding_loss",
        {"input": (DISTANCES,), "target": (SIGNS,)},
        {},
        {**REDUCTION, "margin": (0.5, 1.0)},
    ),
]
ENTRIES = [entry for ground in GROUNDS for entry in ground.entries()]


def asked(entry: Entry, dtype: str) -> dict[str, Any]:
    """Ordinary arrays, with some rows ignored under whatever index says so."""
    arrays = entry.sample(11, dtype)
    if entry.arrays.get("target") is SOME_IGNORED:
        ignored = entry.options.get("ignore_index", -100)
        arrays["target"] = np.where(arrays["target"] < 0, ignored, arrays["target"])
    return arrays


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_value_and_gradients_agree(entry: Entry, dtype: str) -> None:
    arrays = asked(entry, dtype)
    theirs, gradients = by_torch(entry, arrays)
    wide = {
        name: array.astype("f8" if array.dtype.kind == "f" else array.dtype)
        for name, array in arrays.items()
    }
    exact, exact_gradients = by_torch(entry, wide)
    value, found = entry.function.value_and_grad(**arrays, **entry.options, wrt=entry.wrt)
    each = np.abs(entry.function(**arrays, **{**entry.options, "reduction": "none"})).max()
    summed = entry.options["reduction"] == "sum"
    alike(theirs, value)
    agree("value", exact, value, each if summed else 0, dtype)
    for name, ours, other, truth in zip(entry.wrt, found, gradients, exact_gradients, strict=True):
        alike(other, ours)
        agree(f"gradient.{name}", truth, ours, 0, dtype)


def by_torch(entry: Entry, arrays: dict[str, Any]) -> tuple[Any, Any]:
    """Value and gradients."""
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    for name in entry.wrt:
        tensors[name].requires_grad_()
    value = getattr(F, entry.loss)(**tensors, **entry.options)
    gradients = torch.autograd.grad(value.sum(), [tensors[name] for name in entry.wrt])
    return value.detach(), gradients


def alike(theirs: Any, ours: Any) -> None:
    assert tuple(theirs.shape) == ours.shape
    assert str(theirs.dtype) == f"torch.{ours.dtype}"


def agree(part: str, theirs: Any, ours: Any, term: float, dtype: str) -> None:
    """Assert that torch means the same: how accurate it is in float32 is for the audit to say."""
    largest = max(np.abs(ours).max(), term)
    assert np.isfinite(largest)
    truth = Truth.of(ours)
    answer = Answer(truth, truth, Truth.of(np.full(ours.size, largest)))
    error = ulp_error(theirs.numpy().astype(ours.dtype), answer, dtype)
    assert error.max() <= FORMATS[dtype].accurate, f"{part}: {ours} and torch's {theirs}"


def test_torch_has_the_same_arguments_with_the_same_defaults() -> None:
    """All but the deprecated ones, in torch's order."""
    for loss in dict.fromkeys(ground.loss for ground in GROUNDS):
        theirs = inspect.signature(getattr(F, loss)).parameters
        ours = inspect.signature(getattr(refloss, loss)).parameters
        expected = [name for name in theirs if name not in ("size_average", "reduce")]
        assert [name for name in ours if name != "backend"] == expected, loss
        for name in expected:
            assert ours[name].default == theirs[name].default, f"{loss}: {name}"
