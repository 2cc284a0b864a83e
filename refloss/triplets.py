"""Triplets within a batch: which there are, and their hinge loss without a list of them.

The distances of an anchor's negatives are sorted once; each of its positives then finds the active
ones by one search and sums their hinges by running sums (`refloss.formula.triplet`). A batch of N
embeddings costs N^2 (D + log N) operations and a few N x N arrays, though it may hold N^3 triplets.
On the CPU hard triplets need no such array (`refloss.kernels.extremes`).

Anchors come one by one, or many at once for kernels that count and sum along all rows of a matrix:
then everything has one axis more.
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
from refloss.kernels import selection, threads
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
ANCHORS = 64  # that a kernel takes in one call
ROOM = 1 << 20  # numbers in the largest arrays of a block, unless kernels have a size of their own


class Anchor(NamedTuple):
    """An anchor's distances to all rows, and which of them are its positives and negatives.

    Or those of several anchors, one below the other; ``first`` is the number of the first.
    """

    first: int
    distance: Array
    positive: Array
    negative: Array


class Chosen(NamedTuple):
    """What an anchor's triplets, or those of several, come to: their loss as a pair, how many they
    are, how many of them are active, and the derivative of the loss by each distance."""

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
            found = batch.extremes if self.mining == "hard" else None
            if found is not None:
                return self._of_extremes(batch, found, wanted, grad_output)
            chosen = batch.chosen(self.mining, self.margin)
            poison = float("nan") if batch.has_nan else 0.0
            totals = [part.loss for part in chosen] + [(poison, 0.0)]
            number = sum(part.number for part in chosen)
            denominator = self._denominator(number, sum(part.active for part in chosen))
            value = None
            if wanted.value:
                value = reduced(self.model, totals, denominator * batch.unit)
            if not wanted.gradient:
                return Answer(value, (), ())
            upstream = 1.0 if grad_output is None else float(grad_output)
            gradient = batch.gradient(chosen) * upstream / denominator + poison
            return Answer(value, [cast(gradient, self.model)], ())

    def _denominator(self, number: int, active: int) -> float:
        """What the sum over so many triplets is divided by."""
        counts = {"sum": 1, "mean": number, "mean_nonzero": active}
        return float(max(1, counts[self.reduction]))

    def _of_extremes(
        self, batch: "Batch", found: Any, wanted: Wanted, grad_output: Array | None
    ) -> Answer:
        """The hard triplets, one for each anchor."""
        hinges = found.hinges(self.margin)
        denominator = self._denominator(hinges.number, hinges.active)
        value = reduced(self.model, [hinges.loss], denominator) if wanted.value else None
        if not wanted.gradient:
            return Answer(value, (), ())
        upstream = 1.0 if grad_output is None else float(grad_output)
        pull = batch.by_embeddings(found.gradient(hinges.weight))
        return Answer(value, [cast(pull * upstream / denominator, self.model)], ())


class Batch:
    """Embeddings with their labels and the distances between them, float64."""

    def __init__(self, kernels: ModuleType, embeddings: Array, labels: Array, name: str) -> None:
        self.kernels, self.labels = kernels, labels
        self.xp = namespace(embeddings)
        self.x = self.xp.astype(embeddings, self.xp.float64)
        if isinstance(self.x, np.ndarray):  # or NumPy would sum in the order of the layout
            self.x = np.ascontiguousarray(self.x)
        self.metric = METRICS.get(name)
        self.together = hasattr(kernels, "running_sums")
        self.room = getattr(kernels, "ROOM", ROOM)

    @property
    def in_pieces(self) -> bool:
        """Whether the kernels find all distances at once, and want them again for the gradient."""
        return hasattr(self.kernels, "Mutual")

    @cached_property
    def has_nan(self) -> bool:
        """Whether a distance between two rows has no value, or a number is missing."""
        if self.in_pieces:
            return bool(self.xp.any(self.xp.isnan(self.x))) or self.surveyed[0]
        rows = self.xp.arange(self.x.shape[0], device=device(self.x))
        missing = self.xp.isnan(self.distances) & (rows[:, None] != rows[None, :])
        return bool(self.xp.any(self.xp.isnan(self.x))) or bool(self.xp.any(missing))

    @cached_property
    def unit(self) -> float:
        """What distances are multiplied with while hinges are summed, so that no sum overflows."""
        if self.in_pieces:
            return 2.0**-64 if self.surveyed[1] > SAFE else 1.0
        finite = self.xp.isfinite(self.distances)
        largest = self.xp.where(finite, self.distances, self.xp.zeros_like(self.distances))
        huge = largest.shape[0] > 0 and float(self.xp.max(largest)) > SAFE
        return 2.0**-64 if huge else 1.0

    @cached_property
    def surveyed(self) -> tuple[bool, float]:
        """Whether a distance between two rows has no value, and the largest finite one."""
        missing, largest = self.kernels.survey(self.distances)
        return bool(missing), float(largest)

    @cached_property
    def directions(self) -> Vector:
        """The embeddings as unit vectors."""
        return Vector(self.kernels, self.x)

    def _over_blocks(self, work: Callable[[slice], Array]) -> list[Array]:
        count, components = self.x.shape
        held = count if self.together else count * components  # for each row, by the kernels
        blocks = runs(count, ANCHORS) if self.in_pieces else self._cut(held)
        return over(blocks, work, self.x, self.kernels)

    def _cut(self, held: int) -> list[slice]:
        """The rows in pieces, for which so many numbers a row are held."""
        return runs(self.x.shape[0], max(1, self.room // max(1, held)))

    def _joined(self, parts: Sequence[Array]) -> Array:
        return self.xp.concat(list(parts), axis=0) if parts else self.x[:, :0]

    @cached_property
    def distances(self) -> Array:
        """(N, N)."""
        if self.in_pieces:
            x = self.directions.unit if self.metric is None else self.x
            mutual = self.kernels.Mutual(x, self.metric)
            over(mutual.pieces, mutual.fill, self.x, self.kernels)
            return mutual.found
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
            yield Anchor(a, self.distances[a, :], same & (others != a), ~same)

    def anchors_together(self, held: int) -> Iterator[Anchor]:
        """Several rows at a time, for which so many numbers a row are held."""
        others = self.xp.arange(self.x.shape[0], device=device(self.x))
        for rows in self._cut(held):
            same = self.labels[rows, None] == self.labels[None, :]
            alone = others[rows, None] != others[None, :]
            yield Anchor(rows.start, self.distances[rows, :], same & alone, ~same)

    def chosen(self, mining: str, margin: float) -> list[Chosen]:
        """What the triplets of each anchor come to."""
        unit, margin = self.unit, margin * self.unit
        if hasattr(self.kernels, "choose"):
            return over(
                runs(self.x.shape[0], ANCHORS),
                lambda rows: Chosen(
                    *self.kernels.choose(
                        self.distances[rows, :], unit, self.labels, rows.start, mining, margin
                    )
                ),
                self.x,
                self.kernels,
            )
        choose = hardest if mining == "hard" else regrouped
        found = []
        many = self.anchors_together(self.x.shape[0]) if self.together else self.anchors()
        for anchor in many:
            scaled = anchor._replace(distance=anchor.distance * unit)
            found.append(choose(self.kernels, scaled, mining, margin))
        return found

    def gradient(self, chosen: Sequence[Chosen]) -> Array:
        """Of the sum of the losses, by the embeddings."""
        pulls = self._joined([self.xp.reshape(part.pull, (-1, self.x.shape[0])) for part in chosen])

        # a distance belongs to both its ends
        if self.in_pieces:
            weights = self.kernels.add_mirrored(pulls)
        else:
            weights = pulls + self.xp.permute_dims(pulls, (1, 0))

        def gather(rows: slice) -> Array:
            weight = weights[rows, :]
            known = {"distance": self.distances[rows, :]} if self.in_pieces else {}
            if self.metric is None:
                unit = self.directions.unit
                return self.kernels.turned(unit[rows, :], unit, weight, **known)
            return self.kernels.steered(self.x[rows, :], self.x, weight, self.metric, **known)

        gathered = self._joined(self._over_blocks(gather))
        return self.by_embeddings(self.xp.reshape(gathered, self.x.shape))

    def by_embeddings(self, gathered: Array) -> Array:
        """A gradient by the embeddings, from one by what distances are measured between."""
        if self.metric is not None or not self.x.shape[0]:
            return gathered
        known = {"pull": gathered, "length": self.directions.length}
        return self.kernels.map_formula(similarity.unscaled, known)

    @cached_property
    def extremes(self) -> Any:
        """Every row's farthest positive and nearest negative, if the kernels find them quickly."""
        if not self.in_pieces:
            return None
        from refloss.kernels.extremes import extremes

        points = self.directions.unit if self.metric is None else self.x
        found = extremes(points, self.labels, self.metric)
        if found is None:
            return None
        with threads.blas_on_one_thread():
            blocks = runs(self.x.shape[0], ANCHORS)
            told_apart = over(blocks, found.find, self.x, self.kernels)
        return found if all(told_apart) else None


def _total(x: Array) -> int:
    """The sum of whole numbers, which a double holds."""
    return int(float(namespace(x).sum(x)))


def regrouped(kernels: ModuleType, anchor: Anchor, mining: str, margin: float) -> Chosen:
    """All triplets of an anchor, or those of a kind, by sorting."""
    xp = namespace(anchor.distance)
    by_row: Any = selection if anchor.distance.ndim == 1 else kernels
    d, far = anchor.distance, xp.full_like(anchor.distance, float("inf"))
    count, zero = d.shape[-1], xp.zeros_like(d)
    reach = kernels.map_formula(triplet.reach, {"distance": d, "margin": margin})
    positive = anchor.positive
    if mining == "semihard":
        positive = positive & (reach > d)
    negatives = by_row.ordered(xp.where(anchor.negative, d, far))
    all_negatives = xp.sum(xp.astype(anchor.negative, xp.int64), axis=-1, keepdims=True)
    below = by_row.number_below(negatives, reach)
    passed = xp.zeros_like(below)
    if mining == "semihard":
        passed = by_row.number_up_to(negatives, d)
    number = xp.where(positive, xp.astype(below - passed, xp.float64), zero)
    if mining == "easy":
        outside = xp.where(positive, xp.astype(all_negatives - below, xp.float64), zero)
        return Chosen((0.0, 0.0), _total(outside), 0, zero)

    sums, rests = by_row.running_sums(xp.where(negatives < far, negatives, zero))
    known = {
        "reach": reach,
        "below": xp.astype(below, xp.float64),
        "passed": xp.astype(passed, xp.float64),
        "running": by_row.taken(sums, below),
        "running_low": by_row.taken(rests, below),
        "start": by_row.taken(sums, passed),
        "start_low": by_row.taken(rests, passed),
    }
    hinges = kernels.map_formula(triplet.regrouped, known)
    loss = kernels.sum_pair(xp.where(positive, hinges, zero))

    # a negative is pushed by every positive that reaches it, and is not farther than it already
    reaches = by_row.ordered(xp.where(positive, reach, -far))
    pushes = count - by_row.number_up_to(reaches, d)
    if mining == "semihard":
        nearer = by_row.ordered(xp.where(positive, d, -far))
        pushes = pushes - (count - by_row.number_below(nearer, d))
    pushes = xp.where(anchor.negative, xp.astype(pushes, xp.float64), zero)
    costly = _total(number)
    if mining == "all":
        everyone = _total(xp.where(positive, xp.astype(all_negatives, xp.float64), zero))
        return Chosen(loss, everyone, costly, number - pushes)
    return Chosen(loss, costly, costly, number - pushes)


class Ends(NamedTuple):
    """An anchor's farthest positive and nearest negative, of several the first, and whether it has
    both; one number, or a column of them."""

    positive: Array
    negative: Array
    both: Array


def _ends(anchor: Anchor) -> Ends:
    xp = namespace(anchor.distance)
    far = xp.full_like(anchor.distance, float("inf"))
    farthest = xp.where(anchor.positive, anchor.distance, -far)
    nearest = xp.where(anchor.negative, anchor.distance, far)
    some = [xp.any(part, axis=-1, keepdims=True) for part in (anchor.positive, anchor.negative)]
    # where all are infinitely far, the least of the row may be no negative
    first = xp.argmax(xp.where(anchor.negative, far, -far), axis=-1, keepdims=True)
    within = xp.any(nearest < far, axis=-1, keepdims=True)
    return Ends(
        xp.argmax(farthest, axis=-1, keepdims=True),
        xp.where(within, xp.argmin(nearest, axis=-1, keepdims=True), first),
        some[0] & some[1],
    )


def hardest(kernels: ModuleType, anchor: Anchor, mining: str, margin: float) -> Chosen:
    """The farthest positive with the nearest negative."""
    xp = namespace(anchor.distance)
    by_row: Any = selection if anchor.distance.ndim == 1 else kernels
    zero, ends = xp.zeros_like(anchor.distance), _ends(anchor)
    known = {
        "larger": by_row.taken(anchor.distance, ends.positive),
        "smaller": by_row.taken(anchor.distance, ends.negative),
        "margin": margin,
    }
    violation = kernels.map_formula(excess_over, known)
    nothing = xp.zeros_like(violation)
    loss = xp.where(ends.both, kernels.map_formula(hinge, {"x": violation}), nothing)
    on = xp.where(ends.both, kernels.map_formula(active, {"x": violation}), nothing)
    numbers = xp.arange(zero.shape[-1], device=device(zero))
    pull = xp.where(numbers == ends.positive, on, zero) - xp.where(
        numbers == ends.negative, on, zero
    )
    total = (float(loss[0]), 0.0) if loss.ndim == 1 else kernels.sum_pair(loss)
    taken = xp.astype(ends.both, xp.float64)
    return Chosen(total, _total(taken), _total(xp.astype(on > 0, xp.float64)), pull)


def indices(batch: Batch, mining: str, margin: float) -> tuple[Array, Array, Array]:
    """The triplets themselves: anchors, positives, negatives, in lexicographic order."""
    xp = batch.xp
    extremes = batch.extremes if mining == "hard" else None
    if extremes is not None:
        (a,) = xp.nonzero(xp.all(extremes.ends >= 0, axis=1))
        return a, extremes.ends[a, 0], extremes.ends[a, 1]
    found = [part for part in _found(batch, mining, margin) if part is not None]
    if not found:
        nothing = xp.zeros(0, dtype=xp.int64, device=device(batch.x))
        return nothing, nothing, nothing
    first, second, third = (
        xp.astype(xp.concat(list(column)), xp.int64) for column in zip(*found, strict=True)
    )
    return first, second, third


def _found(batch: Batch, mining: str, margin: float) -> Iterator[tuple[Array, ...] | None]:
    """The triplets of each anchor, or of several at a time."""
    count = batch.x.shape[0]
    held = count if mining == "hard" else count * count
    if batch.together and held <= batch.room:
        for anchors in batch.anchors_together(held):
            yield _listed_together(batch, anchors, mining, margin)
    else:
        for anchor in batch.anchors():
            yield _listed(batch, anchor, mining, margin)


def _listed(
    batch: Batch, anchor: Anchor, mining: str, margin: float
) -> tuple[Array, Array, Array] | None:
    """The triplets of one anchor, if it has any."""
    xp = batch.xp
    if not (bool(xp.any(anchor.positive)) and bool(xp.any(anchor.negative))):
        return None
    if mining == "hard":
        ends = _ends(anchor)
        p, n = ends.positive, ends.negative
    else:
        (positives,), (negatives,) = xp.nonzero(anchor.positive), xp.nonzero(anchor.negative)
        own, other = (xp.take(anchor.distance, part) for part in (positives, negatives))
        rows, columns = xp.nonzero(_kind(batch, own, other, mining, margin))
        p, n = xp.take(positives, rows), xp.take(negatives, columns)
    return xp.full_like(p, anchor.first), p, n


def _listed_together(
    batch: Batch, anchors: Anchor, mining: str, margin: float
) -> tuple[Array, Array, Array]:
    """The triplets of several anchors."""
    xp = batch.xp
    if mining == "hard":
        ends = _ends(anchors)
        (a,) = xp.nonzero(ends.both[:, 0])
        p, n = xp.take(ends.positive[:, 0], a), xp.take(ends.negative[:, 0], a)
    else:
        wanted = _kind(batch, anchors.distance, anchors.distance, mining, margin)
        pairs = anchors.positive[:, :, None] & anchors.negative[:, None, :]
        a, p, n = xp.nonzero(pairs & wanted)
    return a + anchors.first, p, n


def _kind(batch: Batch, own: Array, other: Array, mining: str, margin: float) -> Array:
    """(..., P, M): which pairs of distances, to a positive and to a negative, make a triplet of the
    kind."""
    xp = batch.xp
    reach = batch.kernels.map_formula(triplet.reach, {"distance": own, "margin": margin})
    own, reach, other = own[..., None], reach[..., None], other[..., None, :]
    if mining == "easy":
        return other >= reach
    if mining == "semihard":
        return (other > own) & (other < reach)
    return xp.ones(xp.broadcast_arrays(own, other)[0].shape, dtype=xp.bool, device=device(own))
