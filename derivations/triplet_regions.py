"""Batches of labelled embeddings for losses of triplets.

Which triplets are mined is a matter of comparisons. In real arithmetic they come out one way; where
two distances differ by less than float64 can tell, no implementation can be held to it. So batches
are drawn until every comparison is either clear or an exact tie that careful floats see, too.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from derivations import regions
from derivations.case import Array, Case, Option, array, labels
from derivations.formats import Format
from derivations.regions import FLOAT64, FORMATS, NAN

DISTANCES = ("euclidean", "sqeuclidean", "cosine", "cityblock")
MININGS = ("all", "hard", "semihard", "easy")
REGIONS = regions.selected(["bulk", "empty", "nan", "large"]) | {
    "ties": "Several hardest positives or negatives, and distances exactly at a miner's bound.",
    "hinge": "The hinge exactly at zero, and one unit in the last place to either side.",
    "duplicates": "Equal embeddings, of one label and of two.",
    "near-duplicates": "Two embeddings one unit in the last place apart.",
    "zero-vectors": "Embeddings of length zero.",
    "norms": "Embeddings that are very long or very short.",
    "few": "A single label, labels that are all different, one embedding or two.",
}
CLEAR = 1e-7  # two distances this far apart, next to the larger, are told apart by anybody

Points = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Sample:
    """One batch and how to mine it."""

    region: str
    points: Points
    labels: Sequence[int]
    margin: float
    mining: str
    distance: str
    width: int = 2  # of embeddings where there are none

    def case(self, **options: str) -> Case:
        width = len(self.points[0]) if self.points else self.width
        flat = [x for point in self.points for x in point]
        inputs = {
            "embeddings": array(flat, (len(self.points), width)),
            "labels": labels(list(self.labels), (len(self.points),)),
        }
        named: dict[str, Option] = {
            "margin": self.margin,
            "mining": self.mining,
            "distance": self.distance,
        }
        zeros = self.distance == "cosine" and any(not any(point) for point in self.points)
        flags = ("zero-vector",) if zeros else ()
        return Case(self.region, inputs, {**named, **options}, flags)


# Fair comparisons ------------------------------------------------------------------------------


def fair(sample: Sample) -> bool:
    """Whether every comparison that is made is clear, or a tie that careful floats see."""
    points, margin = _at_ordinary_size(sample)
    for a, y in enumerate(sample.labels):
        found = [_measured(sample.distance, points[a], other) for other in points]
        positives = [d for b, d in enumerate(found) if sample.labels[b] == y and b != a]
        negatives = [d for b, d in enumerate(found) if sample.labels[b] != y]
        compared = [(p, n, margin) for p in positives for n in negatives]
        if sample.mining == "semihard":
            compared += [(p, n, 0.0) for p, n, _ in compared]
        if sample.mining == "hard" and compared:
            for kind in (positives, negatives):
                compared += [(one, other, 0.0) for one, other in itertools.combinations(kind, 2)]
        if not all(_clear(*one) for one in compared):
            return False
    return True


def _at_ordinary_size(sample: Sample) -> tuple[Points, float]:
    """Very long or very short vectors scaled by a power of two, and the margin with them."""
    top = max((abs(x) for point in sample.points for x in point), default=1.0)
    exponent = math.frexp(top)[1]
    if abs(exponent) < 10:
        return sample.points, sample.margin
    points = [[math.ldexp(x, -exponent) for x in point] for point in sample.points]
    power = {"cosine": 0, "sqeuclidean": 2}.get(sample.distance, 1)
    return points, math.ldexp(sample.margin, -power * exponent)


Measured = tuple[float, object]  # a distance, and what makes it exact in floats


def _measured(distance: str, x: Sequence[float], y: Sequence[float]) -> Measured:
    r = [abs(Fraction(a) - Fraction(b)) for a, b in zip(x, y, strict=True)]
    if distance == "cityblock":
        return float(sum(r)), sum(r)
    square = sum((c * c for c in r), Fraction(0))
    if distance == "sqeuclidean":
        return float(square), square
    if distance == "euclidean":
        top = max(r)
        root = math.sqrt(square)
        easy = all(_dyadic(c / top) for c in r) and Fraction(root) ** 2 == square if top else True
        return root, Fraction(root) if easy else tuple(sorted(r))
    return _angle(x, y)


def _angle(x: Sequence[float], y: Sequence[float]) -> Measured:
    """Along the axes cosines are exact; elsewhere only those of the same two directions tie."""
    xx, yy = math.hypot(*x), math.hypot(*y)
    if xx == 0 or yy == 0:
        return 1.0, Fraction(1)
    cosine = math.fsum(a / xx * (b / yy) for a, b in zip(x, y, strict=True))
    axes = [sum(c != 0 for c in v) == 1 for v in (x, y)]
    if all(axes):
        return 1 - round(cosine), Fraction(1 - round(cosine))
    directions = sorted(tuple(_direction(v)) for v in (x, y))
    return (0.0, Fraction(0)) if directions[0] == directions[1] else (1 - cosine, directions)


def _direction(v: Sequence[float]) -> list[Fraction]:
    top = max(abs(Fraction(c)) for c in v)
    return [Fraction(c) / top for c in v]


def _dyadic(x: Fraction) -> bool:
    return x.denominator & (x.denominator - 1) == 0


def _clear(near: Measured, far: Measured, margin: float) -> bool:
    gap = near[0] - far[0] + margin
    if abs(gap) > CLEAR * max(near[0], far[0], margin):
        return True
    if isinstance(near[1], Fraction) and isinstance(far[1], Fraction):
        exact = near[1] - far[1] + Fraction(margin)
        return exact == 0 or _exactly_seen(near[1], far[1], exact)
    return margin == 0 and near[1] == far[1]


def _exactly_seen(near: Fraction, far: Fraction, gap: Fraction) -> bool:
    """Whether both are floats, and so is their difference."""
    return all(Fraction(float(x)) == x for x in (near, far, gap))


# Batches ---------------------------------------------------------------------------------------


def samples() -> Iterator[Sample]:
    """Every batch, but those that hold a NaN or come by recipe."""
    for form in FORMATS:
        yield from _ordinary(form)
        yield from _near(form)
        yield from _huddled(form)
        yield from _norms(form)
        yield from _kinks(form)
    yield from _ties()
    yield from _duplicates()
    yield from _zero_vectors()
    yield from _without_triplets()


def first_fair(
    drawn: Iterable[Sample], accept: Callable[[Sample], bool] = lambda sample: True
) -> Sample:
    return next(sample for sample in drawn if fair(sample) and accept(sample))


def _draws(*key: object) -> Iterator[random.Random]:
    return (regions.seeded("triplets", *key, attempt) for attempt in range(1000))


def _everything() -> Iterable[tuple[str, str]]:
    return itertools.product(DISTANCES, MININGS)


def _ordinary(form: Format) -> Iterator[Sample]:
    for number, (distance, mining) in enumerate(_everything()):
        for size, width, classes in ((4 + number % 5, 1 + number % 4, 2), (6, 3, 3)):
            margin = (1.0, 0.5, 0.1)[number % 3]
            if distance == "cosine":
                width, margin = max(width, 2), margin / 2
            shape = (size, width, classes)
            draws = _draws("bulk", form.name, distance, mining, size)
            drawn = (_at_random(rng, form, shape, margin, mining, distance) for rng in draws)
            yield first_fair(drawn, lambda sample: _several(sample) and _telling(sample))


def _at_random(
    rng: random.Random,
    form: Format,
    shape: tuple[int, int, int],
    margin: float,
    mining: str,
    distance: str,
) -> Sample:
    size, width, classes = shape
    points = [regions.normals(rng, width, form) for _ in range(size)]
    marks = [rng.randrange(classes) for _ in range(size)]
    return Sample("bulk", points, marks, margin, mining, distance)


def _several(sample: Sample) -> bool:
    """At least two embeddings of every label, and two labels."""
    counts = [sample.labels.count(y) for y in sample.labels]
    return min(counts) > 1 and max(counts) < len(counts)


def _telling(sample: Sample) -> bool:
    """Whether triplets are mined, and lose something where the miner lets them."""
    points, margin = _at_ordinary_size(sample)
    for a, p, n in itertools.permutations(range(len(points)), 3):
        if sample.labels[a] == sample.labels[p] != sample.labels[n]:
            near, far = (_measured(sample.distance, points[a], points[b])[0] for b in (p, n))
            within = near < far if sample.mining == "semihard" else True
            if within and (near + margin > far) == (sample.mining != "easy"):
                return True
    return False


def _near(form: Format) -> Iterator[Sample]:
    """A near duplicate with the same label, and one with another."""
    for (distance, mining), marks in itertools.product(_everything(), ([0, 0, 1, 2], [0, 1, 0, 2])):
        if mining == "semihard" and marks[0] != marks[1]:
            continue  # which of the two is nearer to a third is not for floats to tell
        draws = _draws("near", form.name, distance, mining, marks)
        points = (_next_to_each_other(rng, form) for rng in draws)
        margin = 0.75 if distance == "cosine" else 2.0
        drawn = (
            Sample("near-duplicates", some, marks, margin, mining, distance) for some in points
        )
        yield first_fair(drawn, _telling)


def _huddled(form: Format) -> Iterator[Sample]:
    """All within a few units in the last place, and no margin that would outweigh their distances.

    Who takes these from |x|^2 - 2 x y + |y|^2 is left with nothing, in any format.
    """
    marks = [0, 0, 0, 1, 1]
    for distance, mining in _everything():
        if distance == "cosine" or mining == "semihard":
            continue  # without a margin there is no semi-hard
        draws = _draws("huddled", form.name, distance, mining)
        drawn = (
            Sample("near-duplicates", _around(rng, form), marks, 0.0, mining, distance)
            for rng in draws
        )
        yield first_fair(drawn, lambda sample: _telling(sample) and _all_apart(sample))


def _all_apart(sample: Sample) -> bool:
    """No two embeddings are equal, and no distance is that of another pair."""
    pairs = itertools.combinations(sample.points, 2)
    found = [str(_measured(sample.distance, a, b)[1]) for a, b in pairs]
    return len(set(found)) == len(found)


def _around(rng: random.Random, form: Format) -> Points:
    centre = regions.normals(rng, 3, form)
    return [_moved(rng, form, centre) for _ in range(5)]


def _moved(rng: random.Random, form: Format, point: Sequence[float]) -> list[float]:
    found = list(point)
    for c in range(len(found)):
        for _ in range(rng.randrange(8)):
            found[c] = form.up(found[c])
    return found


def _next_to_each_other(rng: random.Random, form: Format) -> Points:
    points = [regions.normals(rng, 3, form) for _ in range(4)]
    points[1] = [form.up(points[0][0]), *points[0][1:]]
    return points


def _norms(form: Format) -> Iterator[Sample]:
    """Vectors near the ends of the format, or of what float64 holds the squares of."""
    marks = [0, 0, 1, 1, 0]
    for distance, mining in _everything():
        ends = (form.emax - 4, form.emin - form.precision // 2)
        if form is FLOAT64 and distance == "sqeuclidean":
            ends = (480, -480)
        for exponent, margin in zip(ends, (1.0, 0.0), strict=True):
            if mining == "semihard":  # needs a margin of the size of the distances
                power = {"cosine": 0, "sqeuclidean": 2}.get(distance, 1)
                margin = math.ldexp(0.5, power * exponent)
            draws = _draws("norms", form.name, distance, mining, exponent)
            points = (_of_size(rng, form, exponent) for rng in draws)
            drawn = (Sample("norms", some, marks, margin, mining, distance) for some in points)
            yield first_fair(drawn, _telling)


def _of_size(rng: random.Random, form: Format, exponent: int) -> Points:
    return [
        [form.nearest(math.ldexp(rng.gauss(0, 1), exponent)) for _ in range(2)] for _ in range(5)
    ]


def _kinks(form: Format) -> Iterator[Sample]:
    """d_an = d_ap + margin for the anchor 0, where the negative is moved by one unit."""
    line = [(0.0,), (1.0,), (2.0,), (5.0,)]
    for distance, mining in _everything():
        points = [list(point) for point in line]
        margin = 1.0
        if distance == "sqeuclidean":
            margin = 3.0
        if distance == "cosine":  # next to an antipodal vector the cosine does not move
            points = [[1.0, 0.0], [0.0, 2.0], [-4.0, 0.0], [0.0, -1.0]]
        yield Sample("hinge", points, [0, 0, 1, 0], margin, mining, distance)
        yield Sample("hinge", points, [0, 0, 1, 1], margin, mining, distance)
        if distance != "cosine":
            for moved in (form.up(2.0), form.down(2.0)):
                beside = [*points[:2], [moved], points[3]]
                yield Sample("hinge", beside, [0, 0, 1, 0], margin, mining, distance)


GRID = (0.0, 3.0, 4.0, -3.0, -4.0, 5.0, 6.0, 8.0)
AXES = ([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0], [4.0, 0.0], [0.0, 0.5], [3.0, 0.0])


def _ties() -> Iterator[Sample]:
    """Points of a grid of 3-4-5 triangles, or along axes for the cosine."""
    for (distance, mining), margin in itertools.product(_everything(), (0.0, 1.0, 5.0)):
        width = margin / 5 if distance == "cosine" else margin
        draws = _draws("ties", distance, mining, margin)
        drawn = (_on_a_grid(rng, width, mining, distance) for rng in draws)
        yield first_fair(drawn, lambda sample: _several(sample) and _tied(sample))
    for distance, mining in _everything():
        if distance != "cosine":
            draws = _draws("shuffled", distance, mining)
            shuffled = (_shuffled(rng, mining, distance) for rng in draws)
            yield first_fair(shuffled, lambda sample: _several(sample) and _tied(sample))


def _shuffled(rng: random.Random, mining: str, distance: str) -> Sample:
    """An embedding at the origin, the others all as far from it, but for how that is summed up."""
    components = regions.normals(rng, 11, FLOAT64)
    points = [[0.0] * 11, *(rng.sample(components, 11) for _ in range(6))]
    marks = [0, *(rng.randrange(2) for _ in range(6))]
    return Sample("ties", points, marks, 1.0, mining, distance)


def _on_a_grid(rng: random.Random, margin: float, mining: str, distance: str) -> Sample:
    points = [
        rng.choice(AXES) if distance == "cosine" else [rng.choice(GRID), rng.choice(GRID)]
        for _ in range(6)
    ]
    marks = [rng.randrange(2) for _ in points]
    return Sample("ties", points, marks, margin, mining, distance)


def _tied(sample: Sample) -> bool:
    """Whether from some embedding two others are equally far, without being equal."""
    for a in sample.points:
        others = [b for b in sample.points if b != a]
        found = [_measured(sample.distance, a, b)[1] for b in others]
        if len(found) > len({str(one) for one in found}) and others[0] != others[-1]:
            return True
    return False


def _duplicates() -> Iterator[Sample]:
    """Pairs that are equal: of one label, of two, and all of them."""
    points = [[1.5, -0.25], [1.5, -0.25], [0.5, 2.0], [0.5, 2.0], [-1.0, 0.75]]
    for distance, mining in _everything():
        for marks in ([0, 0, 1, 1, 0], [0, 1, 0, 1, 1], [0, 1, 1, 0, 0]):
            yield Sample("duplicates", points, marks, 0.5, mining, distance)
        same = [[1.0, 2.0, -3.0]] * 4
        yield Sample("duplicates", same, [0, 0, 1, 1], 0.25, mining, distance)


def _zero_vectors() -> Iterator[Sample]:
    marks = [0, 0, 1, 1, 0]
    for (distance, mining), many in itertools.product(_everything(), (1, 2)):
        points = (_with_zeros(rng, many) for rng in _draws("zero", distance, mining, many))
        yield first_fair(
            Sample("zero-vectors", some, marks, 0.5, mining, distance) for some in points
        )


def _with_zeros(rng: random.Random, many: int) -> Points:
    points = [regions.normals(rng, 2, FORMATS[0]) for _ in range(5)]
    points[1 : 1 + many] = [[0.0, 0.0]] * many
    return points


def _without_triplets() -> Iterator[Sample]:
    points = [[1.0, 0.5], [0.25, -2.0], [3.0, 1.0]]
    for distance, mining in _everything():
        for marks in ([7, 7, 7], [0, 1, 2], [5], [-3, -3], [0, 1]):
            yield Sample("few", points[: len(marks)], marks, 1.0, mining, distance)
        yield Sample("empty", [], [], 1.0, mining, distance, width=3)


# By recipe, and with NaN -----------------------------------------------------------------------

# Seeds at which every comparison is clear.
SEEDS = {"euclidean": 0, "sqeuclidean": 0, "cosine": 0, "cityblock": 0}
LARGE = (48, 8)
CLASSES = 6


def large(distance: str, mining: str) -> Sample:
    """A batch by recipe, written out."""
    case = recipe(distance, mining)
    points = case.inputs["embeddings"].flat()
    width = LARGE[1]
    rows = [points[r * width : (r + 1) * width] for r in range(LARGE[0])]
    marks = [int(y) for y in case.inputs["labels"].flat()]
    return Sample("large", rows, marks, 0.5, mining, distance)


def recipe(distance: str, mining: str, **options: str) -> Case:
    """A batch too large to be written down."""
    seed = 2 * SEEDS[distance]
    inputs = {
        "embeddings": regions.eighths(LARGE, seed),
        "labels": Array(LARGE[:1], index=True, recipe="labels", seed=seed + 1, classes=CLASSES),
    }
    named: dict[str, Option] = {"margin": 0.5, "mining": mining, "distance": distance}
    at = regions.sampled(math.prod(LARGE))
    return Case("large", inputs, {**named, **options}, at=at)


def nans() -> Iterator[Sample]:
    """One NaN makes everything NaN."""
    points = [[1.0, 0.5], [0.25, NAN], [3.0, 1.0], [-1.0, 2.0]]
    for distance, mining in zip(DISTANCES, MININGS, strict=True):
        yield Sample("nan", points, [0, 0, 1, 1], 1.0, mining, distance)
        yield Sample("nan", points[::-1], [0, 1, 0, 1], 0.25, mining, distance)
