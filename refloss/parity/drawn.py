"""Inputs drawn at random, larger than an oracle's: the same ones for everybody who asks.

An oracle's inputs are small. Whether an answer is the same again, the same for another layout, and
the same over several GB is asked on these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss import oracles
from refloss.accuracy import FORMATS
from refloss.audit.cases import Case
from refloss.audit.signatures import defaults
from refloss.oracles.rows import Row

__all__ = ["NUMBERS", "Drawn", "draw", "drawn"]

# Numbers in the first array: several blocks of work, the last one not full.
NUMBERS = 1025 * 33
# Odd, so that a row does not start where a vector of 16 bytes does.
WIDTH = 33
# A batch is compared with itself, so that its rows stay few however large it is.
BATCH = 64
SEED = 20240229
# How many numbers are drawn at a time.
PIECE = 1 << 22

Array = NDArray[Any]
Fill = Callable[[np.random.Generator, int, Any], Array]


@dataclass(frozen=True)
class Kind:
    """What an array holds; ``rows`` where that is one number a row."""

    fill: Fill
    rows: bool = False
    integers: bool = False


def normal(scale: float) -> Fill:
    return lambda rng, n, dtype: rng.standard_normal(n, dtype) * dtype(scale)


def exponential(scale: float) -> Fill:
    return lambda rng, n, dtype: rng.standard_exponential(n, dtype) * dtype(scale)


def uniform(low: float, high: float) -> Fill:
    return lambda rng, n, dtype: rng.random(n, dtype) * dtype(high - low) + dtype(low)


def signs(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    return np.asarray(np.where(rng.random(n, np.float32) < 0.5, dtype(-1), dtype(1)))


def below(bound: int, least: int = 0) -> Fill:
    return lambda rng, n, dtype: np.asarray(rng.integers(least, bound, n))


LOGITS = Kind(normal(4))
PROBABILITIES = Kind(uniform(0.02, 0.98))
LOG_PROBABILITIES = Kind(exponential(-3))
DISTANCES = Kind(exponential(1))
SIGNS = Kind(signs)
MARKS = Kind(uniform(0, 1))
LABELS = Kind(below(WIDTH), rows=True, integers=True)
VECTORS = Kind(normal(1))
ROW_SIGNS = Kind(signs, rows=True)
ROW_MARKS = Kind(uniform(0, 1), rows=True)
GROUPS = Kind(below(8), rows=True, integers=True)
COUNTS = Kind(below(10**6, 1), rows=True, integers=True)


@dataclass(frozen=True)
class Form:
    """The arrays that a loss is asked with, in the order of its arguments, and its options."""

    arrays: Mapping[str, Kind]
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: bool = False
    flat: bool = False
    # Preferred in this order: without one there are the most numbers to compare.
    reductions: tuple[str, ...] = ("none", "mean", "sum")


BINARY = {"input": LOGITS, "target": PROBABILITIES}
REGRESSION = {"input": LOGITS, "target": LOGITS}
EMBEDDINGS = {"embeddings": VECTORS, "labels": GROUPS}

FORMS = {
    "batch_triplet_loss": Form(EMBEDDINGS, batch=True, reductions=("mean", "sum")),
    "binary_cross_entropy": Form({"input": PROBABILITIES, "target": PROBABILITIES}),
    "binary_cross_entropy_with_logits": Form(BINARY),
    "class_balanced_weights": Form({"counts": COUNTS}, flat=True),
    "contrastive_loss": Form({"x1": VECTORS, "x2": VECTORS, "target": ROW_MARKS}),
    "contrastive_loss_from_distance": Form(
        {"distance": DISTANCES, "target": MARKS}, {"margin": 2.0}
    ),
    "cosine_embedding_loss": Form({"input1": VECTORS, "input2": VECTORS, "target": ROW_SIGNS}),
    "cross_entropy": Form({"input": LOGITS, "target": LABELS}),
    "cross_entropy_with_probs": Form({"input": PROBABILITIES, "target": LABELS}),
    "distillation_loss": Form({"input": LOGITS, "teacher": LOGITS}, {"temperature": 2.0}),
    "gaussian_kl": Form({"mu": LOGITS, "logvar": LOGITS}),
    "hinge_embedding_loss": Form({"input": DISTANCES, "target": SIGNS}),
    "huber_loss": Form(REGRESSION),
    "info_nce_loss": Form({"query": VECTORS, "positive_key": VECTORS}, batch=True),
    "kl_div": Form({"input": LOG_PROBABILITIES, "target": PROBABILITIES}),
    "l1_loss": Form(REGRESSION),
    "margin_ranking_loss": Form(
        {"input1": LOGITS, "input2": LOGITS, "target": SIGNS}, {"margin": 1.0}
    ),
    "mine_triplets": Form(EMBEDDINGS, batch=True),
    "mse_loss": Form(REGRESSION),
    "nll_loss": Form({"input": LOG_PROBABILITIES, "target": LABELS}),
    "nt_xent_loss": Form({"z_i": VECTORS, "z_j": VECTORS}, batch=True),
    "sigmoid_focal_loss": Form(BINARY),
    "smooth_l1_loss": Form(REGRESSION),
    "smooth_labels": Form({"target": LABELS}, {"num_classes": WIDTH, "epsilon": 0.125}, flat=True),
    "softmax_focal_loss": Form({"input": LOGITS, "target": LABELS}),
    "sup_con_loss": Form(EMBEDDINGS, batch=True),
    "triplet_margin_loss": Form({"anchor": VECTORS, "positive": VECTORS, "negative": VECTORS}),
}


@dataclass(frozen=True, eq=False)
class Drawn(Case):
    """A question whose arrays were drawn; nobody has certified its answer."""

    numbers: int

    @cached_property
    def arrays(self) -> dict[str, Array]:
        return draw(self.loss, self.dtype, self.numbers)

    def asked(self, kind: str) -> tuple[str, ...]:
        """Every argument that the loss has a gradient (or curvature) for."""
        kinds = FORMS[self.loss].arrays
        known = oracles.header(self.loss).get(kind, {})
        return tuple(name for name, of in kinds.items() if name in known and not of.integers)

    def literal(self, name: str) -> str:
        """Source text that draws an array again."""
        more = f", {self.numbers}" if self.numbers != NUMBERS else ""
        return f'draw("{self.loss}", "{self.dtype}"{more})["{name}"]'


def drawn(loss: str, dtype: str, reduction: str, numbers: int = NUMBERS) -> Drawn:
    """The question; a reduction is left out where the loss has none."""
    options = dict(FORMS[loss].options)
    if "reduction" in defaults(loss):
        options["reduction"] = reduction
    written = {
        name: value.hex() if isinstance(value, float) else value for name, value in options.items()
    }
    source = {"id": "drawn", "region": "drawn", "options": written, "value": {}}
    return Drawn(loss, Row(source), dtype, numbers)


def draw(loss: str, dtype: str, numbers: int = NUMBERS) -> dict[str, Array]:
    """Arrays to ask a loss with, the first of so many numbers (or a few less).

    The same on every call, on every machine with the same NumPy.

    Examples
    --------
    >>> from refloss.parity import draw
    >>> {name: array.shape for name, array in draw("cross_entropy", "float32", 330).items()}
    {'input': (10, 33), 'target': (10,)}
    """
    form = FORMS[loss]
    if form.batch:
        rows = max(2, min(BATCH, numbers // 2))
        wide = max(2, numbers // rows)
    elif form.flat:
        rows, wide = max(1, numbers), 1
    else:
        rows, wide = max(1, numbers // WIDTH), WIDTH
    made = {}
    for position, (name, kind) in enumerate(form.arrays.items()):
        shape = (rows,) if kind.rows else (rows, wide)
        rng = np.random.default_rng([SEED, position])
        made[name] = _filled(rng, kind, shape, dtype)
    return made


def _filled(rng: np.random.Generator, kind: Kind, shape: tuple[int, ...], dtype: str) -> Array:
    made = np.empty(math.prod(shape), np.int64 if kind.integers else FORMATS[dtype].dtype)
    # The short formats are rounded from float32.
    single = np.float64 if dtype == "float64" else np.float32
    for start in range(0, len(made), PIECE):
        piece = made[start : start + PIECE]
        piece[...] = kind.fill(rng, len(piece), single).astype(made.dtype)
    return made.reshape(shape)
