"""Triplets within a batch: which there are, and their hinge loss without a list of them.

The distances of an anchor's negatives are sorted once; each of its positives then finds the active
ones by one search and sums their hinges by running sums (`refloss.formula.triplet`). A batch of N
embeddings costs N^2 (D + log N) operations and a few N x N arrays, though it may hold N^3 triplets.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from refloss.arguments import namespace
from refloss.evaluation import Answer, Wanted, cast, over, reduced, runs
from refloss.formula import distance as length
from refloss.formula import similarity, triplet
from refloss.formula.hinge import active, excess_over, hinge
from refloss.kernels import selection
from refloss.kernels.metric import Metric
from refloss.vectors import Vector

Array = Any

MININGS = ("all", "hard", "semihard", "easy")
METRICS = {
    "euclidean": Metric(length.square_term, length.square_root, length.square_slope),
    "sqeuclidean": Metric(length.square_term, length.squared, length.squared_slope),
    "cityblock": Metric(length.absolute_term, length.absolute_root, length.absolute_slope),
}
DISTANCES = (*METRICS, "cosine")
REDUCTIONS = ("mean", "mean_nonzero", "sum")

SAFE = 2.0**900  # distances up to here can be summed without overflow
ROOM = 1 << 20  # numbers in the differences of a block, where they are held at all


class Anchor(NamedTuple):
    """An anchor's distances to all rows, and which of them are its positives and negatives."""

    distance: Array
    positive: Array
    negative: Array


class Chosen(NamedTuple):
    """What an anchor's triplets come to: their loss as a pair, how many they are, how many of them
    are active, and the derivative of the loss by each of the anchor's distances."""

    loss: tuple[float, float]
    number: int
    active: int
    pull: Array


@dataclass(frozen=True)
class TripletPlan:
    """A call whose arguments have been checked; the batch is ``model``, the only original."""

    kernels: ModuleType
    model: Array
    labels: Array
    margin: float
    mining: str
    distance: str
    reduction: str
    name: str = "embeddings"

    shape: tuple[int, ...] = ()
    row_shape: tuple[int, int] | None = None

    @property
    def originals(self) -> Mapping[str, Array]:
        """The argument to differentiate with respect to."""
        return {self.name: self.model}

    def names(self, part: str) -> Sequence[str]:
        """The arguments that a part of the answer can be asked for."""
        return (self.name,) if part == "gradient" else ()

    def evaluate(self, wanted: Wanted, grad_output: Array | None = None) -> Answer:
        """Run it."""
        with np.errstate(all="ignore"):
            batch = Batch(self.kernels, self.model, self.labels, self.distance)
            chosen = batch.chosen(self.mining, self.margin)
            poison = float("nan") if batch.has_nan else 0.0
            totals = [part.loss for part in chosen] + [(poison, 0.0)]
            counts = {
                "sum": 1,
                "mean": sum(part.number for part in chosen),
                "mean_nonzero": sum(part.active for part in chosen),
            }
            denominator = float(max(1, counts[self.reduction]))
            value = None
            if wanted.value:
                value = reduced(self.model, totals, denominator * batch.unit)
            if not wanted.gradient:
                return Answer(value, (), ())
            upstream = 1.0 if grad_output is None else float(grad_output)
            gradient = batch.gradient(chosen) * upstream / denominator + poison
            return Answer(value, [cast(gradient, self.model)], ())


class Batch:
    """Embeddings with their labels and the distances between them, float64."""

    def __init__(self, kernels: ModuleType, embeddings: Array, labels: Array, name: str) -> None:
        self.kernels, self.labels = kernels, labels
        self.xp = namespace(embeddings)
        self.x = self.xp.astype(embeddings, self.xp.float64)
        self.metric = METRICS.get(name)

    @cached_property
    def has_nan(self) -> bool:
        """Whether a distance between two rows has no value, or a number is missing."""
        rows = self.xp.arange(self.x.shape[0], device=device(self.x))
        missing = self.xp.isnan(self.distances) & (rows[:, None] != rows[None, :])
        return bool(self.xp.any(self.xp.isnan(self.x))) or bool(self.xp.any(missing))

    @cached_property
    def unit(self) -> float:
        """What distances are multiplied with while hinges are summed, so that no sum overflows."""
        finite = self.xp.isfinite(self.distances)
        largest = self.xp.where(finite, self.distances, self.xp.zeros_like(self.distances))
        huge = largest.shape[0] > 0 and float(self.xp.max(largest)) > SAFE
        return 2.0**-64 if huge else 1.0

    @cached_property
    def directions(self) -> Vector:
        """The embeddings as unit vectors."""
        return Vector(self.kernels, self.x)

    def _over_blocks(self, work: Callable[[slice], Array]) -> list[Array]:
        count, components = self.x.shape
        blocks = runs(count, max(1, ROOM // max(1, count * components)))
        return over(blocks, work, self.x, self.kernels)

    def _joined(self, parts: Sequence[Array]) -> Array:
        return self.xp.concat(list(parts), axis=0) if parts else self.x[:, :0]

    @cached_property
    def distances(self) -> Array:
        """(N, N)."""
        if self.metric is None:
            unit = self.directions.unit
            parts = self._over_blocks(lambda rows: self.kernels.angles(unit[rows, :], unit))
        else:
            parts = self._over_blocks(
                lambda rows: self.kernels.distances(self.x[rows, :], self.x, self.metric)
            )
        return self._joined(parts)

    def anchors(self) -> Iterator[Anchor]:
        """Every row in turn."""
        others = self.xp.arange(self.x.shape[0], device=device(self.x))
        for a in range(self.x.shape[0]):
            same = self.labels == self.labels[a]
            yield Anchor(self.distances[a, :], same & (others != a), ~same)

    def chosen(self, mining: str, margin: float) -> list[Chosen]:
        """What the triplets of each anchor come to."""
        choose = hardest if mining == "hard" else regrouped
        margin = margin * self.unit
        found = []
        for anchor in self.anchors():
            scaled = anchor._replace(distance=anchor.distance * self.unit)
            found.append(choose(self.kernels, scaled, mining, margin))
        return found

    def gradient(self, chosen: Sequence[Chosen]) -> Array:
        """Of the sum of the losses, by the embeddings."""
        pulls = self._joined([part.pull[None, :] for part in chosen])
        weight = pulls + self.xp.permute_dims(pulls, (1, 0))  # a distance belongs to both its ends

        def gather(rows: slice) -> Array:
            if self.metric is None:
                unit = self.directions.unit
                return self.kernels.turned(unit[rows, :], unit, weight[rows, :])
            return self.kernels.steered(self.x[rows, :], self.x, weight[rows, :], self.metric)

        gathered = self._joined(self._over_blocks(gather))
        if self.metric is not None or not chosen:
            return self.xp.reshape(gathered, self.x.shape)
        known = {"pull": gathered, "length": self.directions.length}
        return self.kernels.map_formula(similarity.unscaled, known)


def _total(x: Array) -> int:
    """The sum of whole numbers, which a double holds."""
    return int(float(namespace(x).sum(x)))


def regrouped(kernels: ModuleType, anchor: Anchor, mining: str, margin: float) -> Chosen:
    """All triplets of an anchor, or those of a kind, by sorting."""
    xp = namespace(anchor.distance)
    d, far = anchor.distance, xp.full_like(anchor.distance, float("inf"))
    zero = xp.zeros_like(d)
    reach = kernels.map_formula(triplet.reach, {"distance": d, "margin": margin})
    positive = anchor.positive
    if mining == "semihard":
        positive = positive & (reach > d)
    negatives = selection.ordered(xp.where(anchor.negative, d, far))
    all_negatives = _total(xp.where(anchor.negative, zero + 1, zero))
    below = selection.number_below(negatives, reach)
    passed = xp.zeros_like(below)
    if mining == "semihard":
        passed = selection.number_up_to(negatives, d)
    number = xp.where(positive, xp.astype(below - passed, xp.float64), zero)
    if mining == "easy":
        outside = xp.where(positive, xp.astype(all_negatives - below, xp.float64), zero)
        return Chosen((0.0, 0.0), _total(outside), 0, zero)

    sums, rests = selection.running_sums(xp.where(negatives < far, negatives, zero))
    known = {
        "reach": reach,
        "below": xp.astype(below, xp.float64),
        "passed": xp.astype(passed, xp.float64),
        "running": selection.taken(sums, below),
        "running_low": selection.taken(rests, below),
        "start": selection.taken(sums, passed),
        "start_low": selection.taken(rests, passed),
    }
    hinges = kernels.map_formula(triplet.regrouped, known)
    loss = kernels.sum_pair(xp.where(positive, hinges, zero))

    # a negative is pushed by every positive that reaches it, and is not farther than it already
    reaches = selection.ordered(xp.where(positive, reach, -far))
    pushes = d.shape[0] - selection.number_up_to(reaches, d)
    if mining == "semihard":
        nearer = selection.ordered(xp.where(positive, d, -far))
        pushes = pushes - (d.shape[0] - selection.number_below(nearer, d))
    pushes = xp.where(anchor.negative, xp.astype(pushes, xp.float64), zero)
    count = _total(number)
    if mining == "all":
        everyone = _total(xp.where(positive, zero + 1, zero)) * all_negatives
        return Chosen(loss, everyone, count, number - pushes)
    return Chosen(loss, count, count, number - pushes)


def _ends(anchor: Anchor) -> tuple[int, int] | None:
    """The farthest positive and the nearest negative; of several the first."""
    xp = namespace(anchor.distance)
    if not (bool(xp.any(anchor.positive)) and bool(xp.any(anchor.negative))):
        return None
    far = xp.full_like(anchor.distance, float("inf"))
    farthest = int(xp.argmax(xp.where(anchor.positive, anchor.distance, -far)))
    nearest = int(xp.argmin(xp.where(anchor.negative, anchor.distance, far)))
    return farthest, nearest


def hardest(kernels: ModuleType, anchor: Anchor, mining: str, margin: float) -> Chosen:
    """The farthest positive with the nearest negative."""
    xp = namespace(anchor.distance)
    zero = xp.zeros_like(anchor.distance)
    ends = _ends(anchor)
    if ends is None:
        return Chosen((0.0, 0.0), 0, 0, zero)
    p, n = ends
    known = {
        "larger": anchor.distance[p : p + 1],
        "smaller": anchor.distance[n : n + 1],
        "margin": margin,
    }
    violation = kernels.map_formula(excess_over, known)
    loss = kernels.map_formula(hinge, {"x": violation})
    on = kernels.map_formula(active, {"x": violation})
    numbers = xp.arange(zero.shape[0], device=device(zero))
    pull = xp.where(numbers == p, on, zero) - xp.where(numbers == n, on, zero)
    return Chosen((float(loss[0]), 0.0), 1, int(float(on[0]) > 0), pull)


def indices(batch: Batch, mining: str, margin: float) -> tuple[Array, Array, Array]:
    """The triplets themselves: anchors, positives, negatives, in lexicographic order."""
    xp = batch.xp
    found: list[tuple[Array, Array, Array]] = []
    for a, anchor in enumerate(batch.anchors()):
        ends = _ends(anchor)
        if ends is None:
            continue
        if mining == "hard":
            p, n = (xp.asarray([end], dtype=xp.int64, device=device(batch.x)) for end in ends)
        else:
            (positives,), (negatives,) = xp.nonzero(anchor.positive), xp.nonzero(anchor.negative)
            wanted = _kind(batch, anchor, positives, negatives, mining, margin)
            rows, columns = xp.nonzero(wanted)
            p, n = xp.take(positives, rows), xp.take(negatives, columns)
        found.append((xp.full_like(p, a), p, n))
    if not found:
        nothing = xp.zeros(0, dtype=xp.int64, device=device(batch.x))
        return nothing, nothing, nothing
    first, second, third = (
        xp.astype(xp.concat(list(column)), xp.int64) for column in zip(*found, strict=True)
    )
    return first, second, third


def _kind(
    batch: Batch, anchor: Anchor, positives: Array, negatives: Array, mining: str, margin: float
) -> Array:
    """(P, M): which pairs of a positive and a negative make a triplet of the kind."""
    xp = batch.xp
    own = xp.take(anchor.distance, positives)
    reach = batch.kernels.map_formula(triplet.reach, {"distance": own, "margin": margin})
    other = xp.take(anchor.distance, negatives)[None, :]
    if mining == "easy":
        return other >= reach[:, None]
    if mining == "semihard":
        return (other > own[:, None]) & (other < reach[:, None])
    return xp.ones((own.shape[0], other.shape[1]), dtype=xp.bool, device=device(other))
