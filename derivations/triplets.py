"""The triplets of a batch, which of them a miner takes, and what they lose: by brute force.

Every comparison is certified. Where mining or hinge are at a tie, the gradient is the sum of the
intervals that each tied triplet spans; how many triplets there are is held fixed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from flint import fmpq

from derivations import surds
from derivations.case import Answered, Answers, Array, Case
from derivations.conditioned import rounded_up
from derivations.enclose import ONE, Number, rational
from derivations.entry import NAN, Entry
from derivations.pair_distances import METRICS, Distance, Metric, Slope
from derivations.surds import NOTHING, Surd, exact

Triplet: TypeAlias = tuple[int, int, int]  # anchor, positive, negative


@dataclass(frozen=True)
class Mined:
    """A triplet, and all that tie for its place (itself among them)."""

    triplet: Triplet
    tied: Sequence[Triplet]


class Batch:
    """Embeddings with labels, and all distances between them."""

    def __init__(
        self,
        vectors: Sequence[Sequence[fmpq]],
        labels: Sequence[int],
        margin: fmpq,
        mining: str,
        metric: Metric,
    ) -> None:
        self.vectors, self.labels, self.margin, self.mining = vectors, labels, margin, mining
        self.metric = metric
        self._distances: dict[tuple[int, int], Distance] = {}

    def distance(self, a: int, b: int) -> Distance:
        """That of two embeddings, the one of the lower index first."""
        key = (min(a, b), max(a, b))
        if key not in self._distances:
            self._distances[key] = self.metric(*(self.vectors[i] for i in key))
        return self._distances[key]

    def slope(self, i: int, j: int, k: int) -> Slope:
        """The derivative of their distance in component k of the first."""
        distance = self.distance(i, j)
        return (distance.first if i < j else distance.second)[k]

    def apart(self, a: int, b: int) -> Surd:
        return self.distance(a, b).value

    def excess(self, triplet: Triplet) -> Surd:
        """What the hinge sees: d_ap - d_an + margin."""
        a, p, n = triplet
        return self.apart(a, p) - self.apart(a, n) + exact(self.margin)

    def condition(self, triplet: Triplet) -> Surd:
        a, p, n = triplet
        parts = (self.distance(a, p).condition, self.distance(a, n).condition)
        return surds.add((*parts, exact(self.margin)))

    def triplets(self) -> Iterator[Triplet]:
        """All of them, in lexicographic order."""
        everyone = range(len(self.labels))
        for a in everyone:
            for p in self.positives(a):
                for n in self.negatives(a):
                    yield a, p, n

    def positives(self, a: int) -> list[int]:
        return [p for p, y in enumerate(self.labels) if y == self.labels[a] and p != a]

    def negatives(self, a: int) -> list[int]:
        return [n for n, y in enumerate(self.labels) if y != self.labels[a]]

    @cached_property
    def mined(self) -> list[Mined]:
        """The triplets that the miner takes, in lexicographic order."""
        if self.mining == "hard":
            anchors = range(len(self.labels))
            return [self._hardest(a) for a in anchors if self.positives(a) and self.negatives(a)]
        return [Mined(t, (t,)) for t in self.triplets() if self._taken(t)]

    def _taken(self, triplet: Triplet) -> bool:
        a, p, n = triplet
        if self.mining == "all":
            return True
        if self.mining == "easy":
            return self.excess(triplet).sign() <= 0
        assert self.mining == "semihard", self.mining
        beyond = (self.apart(a, n) - self.apart(a, p)).sign() > 0
        return beyond and self.excess(triplet).sign() > 0

    def _hardest(self, a: int) -> Mined:
        farthest = self._extreme(a, self.positives(a), 1)
        nearest = self._extreme(a, self.negatives(a), -1)
        return Mined((a, farthest[0], nearest[0]), [(a, p, n) for p in farthest for n in nearest])

    def _extreme(self, a: int, others: Sequence[int], sign: int) -> list[int]:
        """All that are farthest from the anchor, or nearest to it."""
        best: list[int] = []
        for other in others:
            ahead = (self.apart(a, other) - self.apart(a, best[0])).sign() * sign if best else 1
            if ahead > 0:
                best = [other]
            elif ahead == 0:
                best.append(other)
        return best


class Losses:
    """What the mined triplets of a batch lose, and the weight of every pair in it."""

    def __init__(self, batch: Batch, reduction: str) -> None:
        self.batch = batch
        self.signs = [batch.excess(mined.triplet).sign() for mined in batch.mined]
        counts = {"mean": len(self.signs), "mean_nonzero": sum(s > 0 for s in self.signs)}
        self.factor = ONE / max(counts.get(reduction, 1), 1)

    @cached_property
    def value(self) -> Entry:
        losing = [
            mined.triplet for mined, sign in zip(self.batch.mined, self.signs, strict=True)
            if sign > 0
        ]  # fmt: skip
        value = surds.add(self.batch.excess(t) for t in losing)
        condition = surds.add(self.batch.condition(t) for t in losing)
        return self._entry(value, value, condition)

    @cached_property
    def certain(self) -> tuple[Mapping[tuple[int, int], int], Mapping[tuple[int, int], int]]:
        """How often each pair's distance is added, less how often taken away; and both together."""
        net: Counter[tuple[int, int]] = Counter()
        uses: Counter[tuple[int, int]] = Counter()
        for mined, sign in zip(self.batch.mined, self.signs, strict=True):
            if sign > 0 and len(mined.tied) == 1:
                a, p, n = mined.triplet
                for other, weight in ((p, 1), (n, -1)):
                    pair = (min(a, other), max(a, other))
                    net[pair] += weight
                    uses[pair] += 1
        return net, uses

    @cached_property
    def undecided(self) -> list[tuple[Sequence[Triplet], bool]]:
        """Ties: the triplets that may stand for one, and whether it may also count for nothing."""
        return [
            (mined.tied, sign == 0)
            for mined, sign in zip(self.batch.mined, self.signs, strict=True)
            if sign == 0 or (sign > 0 and len(mined.tied) > 1)
        ]

    def gradient(self, i: int, k: int) -> Entry:
        """In component k of embedding i."""
        lows: list[Surd] = []
        highs: list[Surd] = []
        conditions: list[Surd] = []
        net, uses = self.certain
        for pair, count in uses.items():
            if i in pair:
                slope = self.batch.slope(i, sum(pair) - i, k)
                ends = _scaled(slope, net[pair])
                if ends is None:
                    return Entry(-math.inf, upper=math.inf)
                lows.append(ends[0])
                highs.append(ends[1])
                conditions.append(slope.condition.times(fmpq(count)))
        for tied, may_vanish in self.undecided:
            touching = [self._of_triplet(triplet, i, k) for triplet in tied]
            if any(found is None for found in touching):
                return Entry(-math.inf, upper=math.inf)
            parts = [found for found in touching if found is not None]
            if may_vanish:
                parts.append((NOTHING, NOTHING, NOTHING))
            low, high, _ = parts[0]
            for part in parts[1:]:
                low, high = surds.smaller(low, part[0]), surds.larger(high, part[1])
            lows.append(low)
            highs.append(low if (high - low).sign() == 0 else high)
            conditions.append(parts[0][2])
        low = high = surds.add(lows)
        if any(one is not other for one, other in zip(lows, highs, strict=True)):
            high = surds.add(highs)
        return self._entry(low, high, surds.add(conditions))

    def _of_triplet(self, triplet: Triplet, i: int, k: int) -> tuple[Surd, Surd, Surd] | None:
        """Both ends of the derivative of one excess, and its condition; None if it may be any."""
        a, p, n = triplet
        lows, highs, conditions = [], [], []
        for other, weight in ((p, 1), (n, -1)):
            if i in (a, other):
                slope = self.batch.slope(i, a + other - i, k)
                ends = _scaled(slope, weight)
                if ends is None:
                    return None
                lows.append(ends[0])
                highs.append(ends[1])
                conditions.append(slope.condition)
        return surds.add(lows), surds.add(highs), surds.add(conditions)

    def _entry(self, low: Surd, high: Surd, condition: Surd) -> Entry:
        below, above = (end.times(self.factor).number() for end in (low, high))
        size = condition.times(self.factor).number()
        ends = [abs(end) for end in (below, above) if not _is_zero(end)]
        cancels = size > 0 if not ends else any(2 * end < size for end in ends)
        scale = rounded_up(size) if cancels else None
        return Entry(below, None if low is high else above, scale)


def _is_zero(number: Number) -> bool:
    return isinstance(number, fmpq) and number == 0


def _scaled(slope: Slope, weight: int) -> tuple[Surd, Surd] | None:
    if slope.low is None:
        return None
    low = slope.low.times(fmpq(weight))
    high = low if slope.low is slope.high else slope.high.times(fmpq(weight))
    return (low, high) if weight >= 0 else (high, low)


def batch_of(case: Case, metrics: Mapping[str, Metric] = METRICS) -> Batch:
    """The batch that a case describes."""
    rows = matrix(case.inputs["embeddings"])
    margin, mining, distance = (case.options[name] for name in ("margin", "mining", "distance"))
    assert isinstance(margin, float)
    return Batch(
        [[rational(x) for x in row] for row in rows],
        [int(y) for y in case.inputs["labels"].flat()],
        rational(margin),
        str(mining),
        metrics[str(distance)],
    )


def matrix(array: Array) -> list[Sequence[float]]:
    """The rows of an array (N, D)."""
    flat, (rows, width) = array.flat(), array.shape
    return [flat[r * width : (r + 1) * width] for r in range(rows)]


def answer(case: Case, metrics: Mapping[str, Metric] = METRICS) -> Answered:
    """Value and gradient of the batch loss."""
    shape = case.inputs["embeddings"].shape
    where = range(math.prod(shape)) if case.at is None else case.at
    if any(math.isnan(x) for x in case.inputs["embeddings"].flat()):
        value, gradient = Entry(NAN), [Entry(NAN) for _ in where]
    else:
        losses = Losses(batch_of(case, metrics), str(case.options.get("reduction", "mean")))
        value = losses.value
        gradient = [losses.gradient(*divmod(place, shape[1])) for place in where]
    return {
        "value": {"": Answers((), [value])},
        "gradient": {"embeddings": Answers(shape, gradient, case.at)},
    }


def indices(case: Case) -> Answers:
    """The mined triplets as three rows: anchors, positives, negatives."""
    triplets = [mined.triplet for mined in batch_of(case).mined]
    entries = [Entry(fmpq(triplet[row])) for row in range(3) for triplet in triplets]
    return Answers((3, len(triplets)), entries)
