"""Triplets of a batch against plain loops over all of them, their ties and their edges."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refloss

from .enrolled import BATCH, BATCHED, GROUPS, METRICS, MININGS, QUICK, Arrays, Entry, bits

BATCH_TRIPLETS = [entry for entry in BATCHED if entry.loss == "batch_triplet_loss"]
EVERY = pytest.mark.parametrize("entry", BATCH_TRIPLETS, ids=str)
EXACT = pytest.mark.parametrize(
    "entry", [e for e in BATCH_TRIPLETS if e.options["distance"] != "cosine"], ids=str
)
SEEDS = pytest.mark.parametrize("seed", range(2))
LOSS, MINE = refloss.batch_triplet_loss, refloss.mine_triplets

Triplet = tuple[int, int, int]
Vector = list[float]


def euclidean(x: Vector, y: Vector) -> tuple[float, Vector]:
    d = math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
    return d, [(a - b) / d if d else 0.0 for a, b in zip(x, y, strict=True)]


def sqeuclidean(x: Vector, y: Vector) -> tuple[float, Vector]:
    d = math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return d, [2 * (a - b) for a, b in zip(x, y, strict=True)]


def cityblock(x: Vector, y: Vector) -> tuple[float, Vector]:
    d = math.fsum(abs(a - b) for a, b in zip(x, y, strict=True))
    return d, [float((a > b) - (a < b)) for a, b in zip(x, y, strict=True)]


def cosine(x: Vector, y: Vector) -> tuple[float, Vector]:
    size, other_size = math.hypot(*x), math.hypot(*y)
    c = math.fsum(a * b for a, b in zip(x, y, strict=True)) / (size * other_size)
    return 1 - c, [(c * a / size - b / other_size) / size for a, b in zip(x, y, strict=True)]


@dataclass
class Loops:
    """A batch's triplets, one by one: distance and slope by the first vector from plain Python."""

    x: list[Vector]
    labels: list[int]
    mining: str
    distance: str
    margin: float = 1.0
    known: dict[tuple[int, int], tuple[float, Vector]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        measure = globals()[self.distance]
        for i, j in product(range(len(self.x)), repeat=2):
            self.known[i, j] = measure(self.x[i], self.x[j])

    def d(self, i: int, j: int) -> float:
        return self.known[i, j][0]

    def every(self) -> Iterator[Triplet]:
        for a, p, n in product(range(len(self.x)), repeat=3):
            if a != p and self.labels[a] == self.labels[p] != self.labels[n]:
                yield a, p, n

    def chosen(self) -> list[Triplet]:
        every = list(self.every())
        if self.mining == "semihard":
            return [t for t in every if self.near(t) < self.far(t) < self.near(t) + self.margin]
        if self.mining == "easy":
            return [t for t in every if self.far(t) >= self.near(t) + self.margin]
        if self.mining == "hard":
            anchors = dict.fromkeys(a for a, _, _ in every)
            return [self.hardest([t for t in every if t[0] == a]) for a in anchors]
        return every

    def hardest(self, triplets: list[Triplet]) -> Triplet:
        a = triplets[0][0]
        p = max(sorted({t[1] for t in triplets}), key=lambda p: self.d(a, p))
        n = min(sorted({t[2] for t in triplets}), key=lambda n: self.d(a, n))
        return a, p, n

    def near(self, triplet: Triplet) -> float:
        return self.d(triplet[0], triplet[1])

    def far(self, triplet: Triplet) -> float:
        return self.d(triplet[0], triplet[2])

    def violation(self, triplet: Triplet) -> float:
        return self.near(triplet) - self.far(triplet) + self.margin

    def losses(self) -> list[float]:
        return [max(0.0, self.violation(t)) for t in self.chosen()]

    def terms(self) -> float:
        """The sum of the sizes that cancel."""
        return math.fsum(self.near(t) + self.far(t) + self.margin for t in self.chosen())

    def gradient(self) -> tuple[Any, Any]:
        """Of the sum, and the sum of the sizes of its terms."""
        parts: list[list[Vector]] = [[] for _ in self.x]
        terms: list[list[Vector]] = [[] for _ in self.x]
        for a, p, n in self.chosen():
            if self.violation((a, p, n)) > 0:
                parts[a] += [self.known[a, p][1], [-s for s in self.known[a, n][1]]]
                parts[p].append(self.known[p, a][1])
                parts[n].append([-s for s in self.known[n, a][1]])
                for i, j in ((a, p), (a, n), (p, a), (n, a)):
                    terms[i].append(self.size(i, j))
        components = range(len(self.x[0]))
        total = [[math.fsum(v[d] for v in each) for d in components] for each in parts]
        sizes = [[math.fsum(v[d] for v in each) for d in components] for each in terms]
        return np.array(total), np.array(sizes)

    def size(self, i: int, j: int) -> Vector:
        """Of the terms that a slope is made of: two that may cancel, for the cosine."""
        slope = self.known[i, j][1]
        if self.distance != "cosine":
            return [abs(s) for s in slope]
        length, other = math.hypot(*self.x[i]), math.hypot(*self.x[j])
        pulls = [b / other / length for b in self.x[j]]
        return [abs(s + t) + abs(t) for s, t in zip(slope, pulls, strict=True)]


def loops(entry: Entry, arrays: Arrays, margin: float = 1.0) -> Loops:
    return Loops(
        arrays["embeddings"].tolist(), arrays["labels"].tolist(), **entry.options, margin=margin
    )


def same_as_loops(entry: Entry, arrays: Arrays, margin: float) -> None:
    expected = loops(entry, arrays, margin)
    options = {**entry.options, "margin": margin}
    for backend in ("numba", "array"):
        mined = MINE(**arrays, **options, backend=backend)
        assert [*zip(*(part.tolist() for part in mined), strict=True)] == expected.chosen()
    losses = expected.losses()
    total, (gradient, sizes) = math.fsum(losses), expected.gradient()
    divisors = {
        "sum": 1,
        "mean": max(1, len(losses)),
        "mean_nonzero": max(1, sum(loss > 0 for loss in losses)),
    }
    for reduction, divisor in divisors.items():
        value, slope = LOSS.value_and_grad(**arrays, **options, reduction=reduction)
        entry.kept(value, total / divisor, "float64", scale=expected.terms() / divisor)
        entry.kept(slope, gradient / divisor, "float64", scale=sizes / divisor)


@EVERY
@SEEDS
@pytest.mark.parametrize("margin", [0.25, 1.0, 4.0])
def test_ordinary_batches(entry: Entry, seed: int, margin: float) -> None:
    same_as_loops(entry, entry.sample(seed, n=11), margin)


@EXACT
@given(data=st.data(), margin=st.integers(0, 5))
@QUICK
def test_batches_full_of_ties(entry: Entry, data: st.DataObject, margin: int) -> None:
    """Small whole numbers, whose distances tie with each other and with the margin exactly."""
    rows = st.lists(st.integers(-7, 7), min_size=3, max_size=3)
    x = data.draw(st.lists(rows, min_size=9, max_size=9))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=9, max_size=9))
    arrays = {"embeddings": np.array(x, float), "labels": np.array(labels)}
    same_as_loops(entry, arrays, margin)


@EVERY
def test_a_batch_too_large_for_loops(entry: Entry) -> None:
    """300 embeddings make millions of triplets; whole arrays of one anchor at a time sum them."""
    arrays = entry.sample(3, n=300)
    x, labels = arrays.values()
    d = distances(x, entry.options["distance"])
    total, terms, number = 0.0, 0.0, 0
    weights = np.zeros((300, 300))
    for a in range(300):
        positive = (labels == labels[a]) & (np.arange(300) != a)
        negative = labels != labels[a]
        near, far = d[a, positive, None], d[a, None, negative][:, 0]
        taken = kind(entry.options["mining"], near, far)
        violation = near - far + 1.0
        total += violation[taken & (violation > 0)].sum()
        terms += (near + far + 1.0)[taken].sum()
        number += int(taken.sum())
        active = (taken & (violation > 0)).astype(float)
        weights[a, positive] += active.sum(axis=1)
        weights[a, negative] -= active.sum(axis=0)
    assert number == len(MINE(**arrays, **entry.options)[0])
    value, gradient = LOSS.value_and_grad(**arrays, **entry.options, reduction="sum")
    entry.kept(value, total, "float64", scale=terms)
    weights += weights.T
    expected, sizes = pulled(x, weights, entry.options["distance"])
    entry.kept(gradient, expected, "float64", scale=sizes)


def distances(x: Any, distance: str) -> Any:
    difference = x[:, None] - x[None]
    if distance == "cityblock":
        return np.abs(difference).sum(axis=-1)
    if distance == "cosine":
        u = x / np.linalg.norm(x, axis=1, keepdims=True)
        return 1 - u @ u.T
    squares = (difference**2).sum(axis=-1)
    return squares if distance == "sqeuclidean" else np.sqrt(squares)


def kind(mining: str, near: Any, far: Any) -> Any:
    """(P, M): which of an anchor's pairs are taken."""
    if mining == "semihard":
        return (far > near) & (far < near + 1.0)
    if mining == "easy":
        return far >= near + 1.0
    everything = np.ones((near.size, far.size), bool)
    if mining == "all" or not everything.size:
        return everything
    return (near == near.max()) & (far == far.min())


def pulled(x: Any, weights: Any, distance: str) -> tuple[Any, Any]:
    """The gradient of the weighted distances, and the size of its terms."""
    difference = x[:, None] - x[None]
    if distance == "cosine":
        size = np.linalg.norm(x, axis=1, keepdims=True)
        u = x / size
        along, towards = (u @ u.T)[..., None] * u[:, None], u[None]
        slopes, sizes = along - towards, np.abs(along) + np.abs(towards)
        slopes, sizes = slopes / size[:, None], sizes / size[:, None]
    elif distance == "cityblock":
        slopes = sizes = np.sign(difference)
    else:
        length = np.linalg.norm(difference, axis=-1, keepdims=True)
        length[length == 0] = 1.0
        slopes = sizes = 2 * difference if distance == "sqeuclidean" else difference / length
    weights = weights[..., None]
    return (weights * slopes).sum(axis=1), np.abs(weights * sizes).sum(axis=1)


@SEEDS
@pytest.mark.parametrize(("distance", "p"), [("euclidean", 2.0), ("cityblock", 1.0)])
@pytest.mark.parametrize("mining", MININGS)
def test_mined_triplets_go_into_any_loss(mining: str, distance: str, p: float, seed: int) -> None:
    entry = Entry(
        "batch_triplet_loss",
        {"embeddings": BATCH, "labels": GROUPS},
        {"mining": mining, "distance": distance},
    )
    arrays = entry.sample(seed, n=15)
    x = arrays["embeddings"]
    mined = MINE(**arrays, mining=mining, distance=distance)
    each = refloss.triplet_margin_loss(*(x[part] for part in mined), p=p, eps=0.0, reduction="none")
    entry.conditioned(LOSS(**arrays, **entry.options), each.mean(), 2)


@SEEDS
@pytest.mark.parametrize("distance", METRICS)
def test_kinds_of_triplets_make_up_all(distance: str, seed: int) -> None:
    """Easy ones cost nothing; what is neither easy nor semihard has the nearer negative."""
    entry = Entry("batch_triplet_loss", {"embeddings": BATCH, "labels": GROUPS})
    arrays = entry.sample(seed, n=15)
    every, easy, semihard = (
        {
            *zip(
                *(part.tolist() for part in MINE(**arrays, mining=m, distance=distance)),
                strict=True,
            )
        }
        for m in ("all", "easy", "semihard")
    )
    assert easy | semihard <= every
    assert not easy & semihard
    assert LOSS(**arrays, mining="easy", distance=distance) == 0
    options = {"distance": distance, "reduction": "sum"}
    measured = Loops(*(array.tolist() for array in arrays.values()), "all", distance)
    rest = math.fsum(measured.violation(triplet) for triplet in every - easy - semihard)
    parts = rest + float(LOSS(**arrays, **options, mining="semihard"))
    entry.kept(parts, float(LOSS(**arrays, **options)), "float64", scale=measured.terms())


class TestTies:
    """Equally far rows, and triplets that keep their margin exactly."""

    X = np.array([[0.0], [2.0], [-2.0], [3.0], [-3.0]])
    LABELS = (0, 0, 0, 1, 1)

    def test_hard_takes_the_first_of_several(self) -> None:
        anchors, positives, negatives = MINE(self.X, self.LABELS)
        assert anchors.tolist() == [0, 1, 2, 3, 4]
        assert positives.tolist() == [1, 2, 1, 4, 3]
        assert negatives.tolist() == [3, 3, 4, 1, 2]

    def test_a_margin_kept_exactly_is_easy_and_pulls_at_nothing(self) -> None:
        x = np.array([[0.0], [1.0], [2.0]])
        anchors, _, negatives = MINE(x, [0, 0, 1], mining="easy")
        assert (anchors.tolist(), negatives.tolist()) == ([0], [2])
        value, gradient = LOSS.value_and_grad(x, [0, 0, 1], reduction="sum")
        assert value == 1  # the other one: d(1, 0) - d(1, 2) + 1
        np.testing.assert_array_equal(gradient, [[-1], [2], [-1]])

    def test_a_negative_as_far_as_the_positive_is_not_semihard(self) -> None:
        x = np.array([[0.0], [1.0], [-1.0]])
        anchors, _, _ = MINE(x, [0, 0, 1], mining="semihard", margin=5.0)
        assert anchors.tolist() == [1]


class TestNothingToMine:
    """Batches without a triplet, or with nothing but zeros in them."""

    @EVERY
    @pytest.mark.parametrize("labels", [[], [3], [3, 3, 3], [1, 2, 3]])
    def test_no_triplet_no_loss(self, entry: Entry, labels: list[int]) -> None:
        x = np.arange(2.0 * len(labels)).reshape(-1, 2)
        for reduction in ("mean", "mean_nonzero", "sum"):
            value, gradient = LOSS.value_and_grad(x, labels, **entry.options, reduction=reduction)
            assert value == 0
            assert gradient.shape == x.shape
            assert not gradient.any()
        for part in MINE(x, labels, **entry.options):
            assert part.shape == (0,)
            assert part.dtype == np.int64

    @EVERY
    def test_identical_embeddings(self, entry: Entry) -> None:
        """Every distance is 0 and every loss the margin; nothing shows where to go."""
        x, labels = np.tile([3.0, 4.0], (4, 1)), [0, 0, 1, 1]
        value, gradient = LOSS.value_and_grad(x, labels, **entry.options)
        taken = entry.options["mining"] in ("all", "hard")
        assert value == (1 if taken else 0)
        assert not gradient.any()

    def test_vectors_of_zeros_have_cosine_0(self) -> None:
        x, labels = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), [0, 0, 1]
        value, gradient = LOSS.value_and_grad(x, labels, distance="cosine", reduction="sum")
        assert value == 2
        np.testing.assert_array_equal(gradient, [[0, 0], [0, 1], [1, 0]])

    def test_mean_nonzero_counts_what_costs(self) -> None:
        x, labels = np.array([[0.0], [1.0], [1.5], [9.0]]), [0, 0, 1, 2]
        total = LOSS(x, labels, reduction="sum")
        assert total == 2
        assert LOSS(x, labels) == total / 4
        assert LOSS(x, labels, reduction="mean_nonzero") == total / 2


@pytest.mark.parametrize("distance", ["euclidean", "cityblock"])
@pytest.mark.parametrize("exponent", [-1000, -600, 600, 1000])
def test_huge_and_tiny_embeddings(distance: str, exponent: int) -> None:
    """Their squares overflow and underflow; their distances do not."""
    entry = Entry("batch_triplet_loss", {"embeddings": BATCH, "labels": GROUPS})
    arrays = entry.sample(4, n=12)
    factor = 2.0**exponent
    options = {"distance": distance, "reduction": "sum"}
    value, gradient = LOSS.value_and_grad(**arrays, **options, margin=0.5)
    scaled = {**arrays, "embeddings": arrays["embeddings"] * factor}
    large, slope = LOSS.value_and_grad(**scaled, **options, margin=factor / 2)
    entry.conditioned(large / factor, value)
    entry.conditioned(slope, gradient)


def test_near_embeddings_keep_their_distances() -> None:
    """From differences: a matrix product of rows near (1e8, 1e8) would lose them all."""
    x = np.full((3, 2), 1e8)
    x[1, 0] += 2.0**-20
    x[2, 0] -= 2.0**-21
    assert LOSS(x, [0, 0, 1], margin=0.0, reduction="sum") == 2.0**-21


@SEEDS
@pytest.mark.parametrize("distance", METRICS)
@pytest.mark.parametrize("mining", MININGS)
def test_miners_agree_over_arrays(mining: str, distance: str, seed: int) -> None:
    entry = Entry("batch_triplet_loss", {"embeddings": BATCH, "labels": GROUPS})
    arrays = entry.sample(seed, n=20)
    options = {"mining": mining, "distance": distance}
    over_arrays = MINE(**arrays, **options, backend="array")
    for found, expected in zip(over_arrays, MINE(**arrays, **options), strict=True):
        assert bits(found) == bits(expected)


@pytest.mark.parametrize("backend", ["numba", "array"])
def test_of_negatives_that_are_all_infinitely_far_one_is_taken(backend: str) -> None:
    """Squares overflow: what is nearest must still be a negative, not the anchor itself."""
    x = np.array([[1e200, 0.0], [2.0, 0.0], [3.0, 0.0], [-1e200, 1.0]])
    call: dict[str, Any] = {"distance": "sqeuclidean", "mining": "hard", "backend": backend}
    labels = np.array([0, 0, 1, 1])
    found = np.stack(MINE(x, labels, **call))
    np.testing.assert_array_equal(found, [[0, 1, 2, 3], [1, 0, 3, 2], [2, 2, 1, 0]])
    assert np.isnan(LOSS.grad(x, labels, **call)).all()
