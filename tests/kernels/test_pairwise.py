"""The kernels that compare every row with every other, against plain loops and exact sums."""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, product
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import refloss
from refloss.accuracy import Answer, Truth, ulp_error
from refloss.formula import similarity
from refloss.kernels import arrays, cpu, selection
from refloss.kernels.address import address_of
from refloss.kernels.anchors import NOWHERE, Place, Seen, Softmax
from refloss.kernels.simd import extremes
from refloss.kernels.simd import similarity as blocks
from refloss.triplets import METRICS

BOTH = pytest.mark.parametrize("kernels", [cpu, arrays], ids=["cpu", "arrays"])
METRIC = pytest.mark.parametrize("name", METRICS)
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, database=None)
INF, NAN = math.inf, math.nan

# Half of what a loss promises; the other half is for what the loss makes of it
LIMIT = refloss.batch_triplet_loss.promise.float64 / 2

Floats = Any


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Kernels run where warnings are off, as evaluation has them run."""
    with np.errstate(all="ignore"):
        yield


def within(found: Floats, truth: Floats, scale: Floats) -> None:
    known = Truth.of(truth)
    sizes = Truth.of(np.broadcast_to(scale, np.shape(truth)))
    assert ulp_error(found, Answer(known, known, sizes), "float64").max() <= LIMIT


class TestSelection:
    """Counts and running sums of one row."""

    NUMBERS = st.floats(0, 1e200) | st.sampled_from([0.0, 1.0, 1.0, 0.1, 1e-300, 1e16])

    @given(x=hnp.arrays(np.float64, st.integers(0, 60), elements=NUMBERS))
    @EXAMPLES
    def test_running_sums_have_twice_the_digits(self, x: Any) -> None:
        high, low = selection.running_sums(x)
        assert high.shape == low.shape == (len(x) + 1,)
        exact = Fraction(0)
        largest = Fraction(float(x.max(initial=0)))
        for k in range(len(x) + 1):
            left = abs(Fraction(float(high[k])) + Fraction(float(low[k])) - exact)
            assert left <= len(x) ** 3 * Fraction(2) ** -102 * largest
            exact += Fraction(float(x[k])) if k < len(x) else 0

    @given(x=hnp.arrays(np.float64, st.integers(1, 60), elements=NUMBERS))
    @EXAMPLES
    def test_high_sums_are_exact(self, x: Any) -> None:
        """Their steps, added without rounding, lead to them."""
        high, _ = selection.running_sums(x)
        steps = [Fraction(float(b)) - Fraction(float(a)) for a, b in pairwise(high)]
        assert all(Fraction(float(step)) == step for step in steps)
        for step, number in zip(steps, x, strict=True):
            assert abs(step - Fraction(float(number))) <= len(x) * 2**4 * np.spacing(x.max())

    @given(
        x=hnp.arrays(np.float64, st.integers(0, 12), elements=st.sampled_from([0, 1, 2, 3, INF])),
        at=hnp.arrays(np.float64, 5, elements=st.sampled_from([-1, 0, 0.5, 1, 2, 3, 4, INF])),
    )
    @EXAMPLES
    def test_counts(self, x: Any, at: Any) -> None:
        ordered = selection.ordered(x)
        assert ordered.tolist() == sorted(x.tolist())
        below, up_to = selection.number_below(ordered, at), selection.number_up_to(ordered, at)
        assert below.tolist() == [sum(number < one for number in x) for one in at]
        assert up_to.tolist() == [sum(number <= one for number in x) for one in at]


# Softmax over candidates, block by block


def cosines(seed: int, rows: int, columns: int) -> tuple[Floats, Any, Any]:
    rng = np.random.default_rng(seed)
    s = rng.uniform(-1, 1, (rows, columns))
    return s, rng.integers(0, 3, rows), rng.integers(0, 3, columns)


def nothing_seen(rows: int) -> Seen:
    like = np.zeros((rows, 1))
    nowhere = np.full((rows, 1), NOWHERE)
    return Seen(np.full_like(like, -INF), nowhere, like, like.copy(), like.copy())


def absorbed(
    kernels: ModuleType, s: Floats, rows: Any, columns: Any, t: float, selfish: bool, cuts: Any
) -> Seen:
    seen = nothing_seen(len(s))
    for start, stop in pairwise(cuts):
        place = Place(-start if selfish else NOWHERE, start)
        seen = kernels.absorb(seen, s[:, start:stop], rows, columns[start:stop], place, t)
    return seen


@BOTH
@pytest.mark.parametrize("cuts", [(0, 11), (0, 4, 11), (0, 1, 2, 10, 11)])
@pytest.mark.parametrize("selfish", [True, False], ids=["self-excluded", "all"])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_absorb(kernels: ModuleType, temperature: float, selfish: bool, cuts: Any) -> None:
    s, rows, columns = cosines(1, 7, 11)
    seen = absorbed(kernels, s, rows, columns, temperature, selfish, cuts)
    for i in range(7):
        candidates = [k for k in range(11) if not (selfish and k == i)]
        top = max(candidates, key=lambda k: s[i, k])
        assert (seen.top[i, 0], seen.top_at[i, 0]) == (s[i, top], top)
        tail = math.fsum(math.exp((s[i, k] - s[i, top]) / temperature) for k in candidates)
        within(seen.tail[i, 0] + 1, tail, 1 / temperature)
        positives = [s[i, k] for k in candidates if rows[i] == columns[k]]
        within(seen.positives[i, 0], math.fsum(positives), len(positives))
        assert seen.count[i, 0] == len(positives)


@BOTH
def test_absorb_of_none_and_of_nan(kernels: ModuleType) -> None:
    label = np.array([0])
    alone = kernels.absorb(nothing_seen(1), np.ones((1, 1)), label, label, Place(0, 0), 0.5)
    assert (alone.top[0, 0], alone.tail[0, 0], alone.count[0, 0]) == (-INF, 0, 0)
    for place in range(3):
        s = np.array([[0.5, 0.25, 0.0]])
        s[0, place] = NAN
        seen = kernels.absorb(nothing_seen(1), s, label, np.zeros(3), Place(NOWHERE, 0), 0.5)
        assert np.isnan(seen.top[0, 0])
        assert np.isnan(seen.tail[0, 0])
        own = kernels.absorb(nothing_seen(1), s, label, np.zeros(3), Place(place, 0), 0.5)
        assert np.isfinite(own.tail[0, 0])


def pulls(
    kernels: ModuleType,
    s: Floats,
    softmax: Softmax,
    rows: Any,
    columns: Any,
    place: Place,
    temperature: float,
    by_column: bool = False,
) -> Floats:
    """What either kernels make of a block, those of the CPU in its place."""
    if hasattr(kernels, "pulls"):
        return kernels.pulls(s, softmax, rows, columns, place, temperature, by_column=by_column)
    known = {"tail": softmax.tail, "weight": softmax.weight, "temperature": temperature}
    side = (softmax, kernels.map_formula(similarity.negative, known))
    sides = (None, side) if by_column else (side, None)
    made = s.copy()
    along = kernels.weigh(made, *sides, (rows, columns), place, place.first, temperature, False)
    within(along[:, 0], np.sum(made * s, axis=1), np.sum(np.abs(made * s), axis=1).max() + 1)
    return made


@BOTH
@pytest.mark.parametrize("selfish", [True, False], ids=["self-excluded", "all"])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_pulls(kernels: ModuleType, temperature: float, selfish: bool) -> None:
    """The derivative of each loss by each similarity: (softmax - mass on positives) / T."""
    s, rows, columns = cosines(2, 7, 11)
    seen = absorbed(kernels, s, rows, columns, temperature, selfish, (0, 11))
    weight = np.linspace(-1, 2, 7)[:, None]
    weight[3] = 0
    mass = np.where(seen.count > 0, 1 / np.maximum(1, seen.count), 0)
    softmax = Softmax(seen.top, seen.top_at, seen.tail, mass, weight)
    place = Place(0 if selfish else NOWHERE, 0)
    found = pulls(kernels, s, softmax, rows, columns, place, temperature)
    own = np.eye(7, 11, dtype=bool) if selfish else np.zeros((7, 11), bool)
    decays = np.where(own, 0, np.exp(s / temperature))
    p = decays / decays.sum(axis=1, keepdims=True)
    expected = p - np.where(own, 0, mass * (rows[:, None] == columns))
    within(found, weight * expected / temperature, 1 / temperature**2)
    assert not found[own].any()
    turned = pulls(kernels, s.T, softmax, columns, rows, place, temperature, by_column=True)
    np.testing.assert_array_equal(turned.T, found)
    part = slice(4, 11)
    place = Place(-4 if selfish else NOWHERE, 4)
    cut = pulls(kernels, s[:, part], softmax, rows, columns[part], place, temperature)
    np.testing.assert_array_equal(cut, found[:, part])


# Distances


def loops(x: Floats, y: Floats, name: str) -> tuple[Floats, Floats]:
    """Distances, and their slopes by the first vector."""
    d, slopes = np.empty((len(x), len(y))), np.empty((len(x), len(y), x.shape[1]))
    for i, k in product(range(len(x)), range(len(y))):
        r = x[i] - y[k]
        length = math.hypot(*r)
        if name == "cityblock":
            d[i, k], slopes[i, k] = math.fsum(np.abs(r)), np.sign(r)
        elif name == "euclidean":
            d[i, k], slopes[i, k] = length, r / length if length else 0 * r
        else:
            d[i, k], slopes[i, k] = math.fsum(r * r), 2 * r
    return d, slopes


@METRIC
@pytest.mark.parametrize("count", [1, 9, 300])
def test_mutual_distances_are_those_of_two_sides(name: str, count: int) -> None:
    """To the bit, with two that are alike and some without a distance, from themselves as well."""
    x = np.random.default_rng(count).normal(size=(count, 5))
    if count > 8:
        x[3], x[8], x[5, 1], x[6, 0], x[7] = x[2], x[2] + 1e-200, INF, NAN, 1e300
    mutual = cpu.Mutual(x, METRICS[name])
    for piece in mutual.pieces:
        mutual.fill(piece)
    expected = cpu.distances(x, x.copy(), METRICS[name])
    assert mutual.found.tobytes() == expected.tobytes()


def test_usual_vectors_need_no_care(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would take a second to compile in a first call."""
    monkeypatch.setattr(cpu, "_mend", None)
    mutual = cpu.Mutual(np.random.default_rng(0).normal(size=(40, 8)), METRICS["euclidean"])
    for piece in mutual.pieces:
        mutual.fill(piece)
    assert not np.diagonal(mutual.found).any()


@BOTH
@METRIC
@pytest.mark.parametrize("components", [1, 3, 8, 21])
def test_distances_and_their_slopes(kernels: ModuleType, name: str, components: int) -> None:
    rng = np.random.default_rng(components)
    x, y = rng.normal(size=(5, components)), rng.normal(size=(4, components))
    y[0] = x[0]  # no distance, no slope
    weight = rng.normal(size=(5, 4))
    weight[1, 2] = 0
    d, slopes = loops(x, y, name)
    within(kernels.distances(x, y, METRICS[name]), d, d)
    terms = weight[..., None] * slopes
    found = kernels.steered(x, y, weight, METRICS[name])
    within(found, terms.sum(axis=1), np.abs(terms).sum(axis=1))


@BOTH
@pytest.mark.parametrize("name", ["euclidean", "cityblock"])
@pytest.mark.parametrize("exponent", [-1010, -600, -450, 449, 600, 1020])
def test_distances_near_overflow_and_underflow(
    kernels: ModuleType, name: str, exponent: int
) -> None:
    """Where squares are out of range: whole numbers times a power of two, so the truth is known."""
    x = np.array([[3.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    y = np.array([[0.0, 4.0, 1.0], [0.0, 0.0, 0.0]])
    weight = np.array([[1.0, 2.0], [-1.0, 3.0], [0.5, 1.0]])
    metric, factor = METRICS[name], 2.0**exponent
    plain = kernels.distances(x, y, metric)
    found = kernels.distances(x * factor, y * factor, metric)
    within(found / factor, plain, plain)
    slopes = kernels.steered(x, y, weight, metric)
    within(kernels.steered(x * factor, y * factor, weight, metric), slopes, 4.0)


@BOTH
@METRIC
def test_distances_of_no_numbers(kernels: ModuleType, name: str) -> None:
    x = np.array([[INF, 0.0], [NAN, 0.0], [0.0, NAN], [1.0, 1.0]])
    d = kernels.distances(x, np.array([[0.0, 0.0], [1.0, 1.0]]), METRICS[name])
    np.testing.assert_array_equal(d[:3], [[INF, INF], [NAN, NAN], [NAN, NAN]])
    assert d[3, 1] == 0


# Angles


@BOTH
@pytest.mark.parametrize("components", [2, 8, 21])
def test_angles_and_their_slopes(kernels: ModuleType, components: int) -> None:
    rng = np.random.default_rng(components)
    u, v = (rng.normal(size=(rows, components)) for rows in (5, 4))
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    v[0], v[1] = u[0], -u[0]
    c = u @ v.T
    within(kernels.angles(u, v), 1 - c, 1.0)
    weight = rng.normal(size=(5, 4))
    weight[1, 2] = 0
    terms = weight[..., None] * (c[..., None] * u[:, None] - v[None])
    within(kernels.turned(u, v, weight), terms.sum(axis=1), np.abs(weight).sum())


@BOTH
@pytest.mark.parametrize("exponent", [-20, -30, -500])
def test_small_angles_keep_their_digits(kernels: ModuleType, exponent: int) -> None:
    """Between (1, 0) and (1, h), which is a unit vector too where h^2 is nothing beside 1."""
    h = 2.0**exponent
    u, v = np.array([[1.0, 0.0]]), np.array([[1.0, h]])
    assert kernels.angles(u, v) == h * h / 2
    np.testing.assert_array_equal(kernels.turned(u, v, np.ones((1, 1)))[0, 1], -h)
    np.testing.assert_array_equal(kernels.turned(u, -v, np.ones((1, 1)))[0, 1], h)
    assert kernels.angles(np.zeros((1, 2)), v) == 1


@pytest.mark.parametrize("mining", [None, "hard"])
def test_kernels_read_numbers_where_numbers_may_lie(
    mining: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels of a packed record begin anywhere; not every machine reads such numbers."""
    asked = []

    def noted(array: Any) -> int:
        asked.append(array.flags.c_contiguous and array.flags.aligned)
        return address_of(array)

    for module in (blocks, extremes):
        monkeypatch.setattr(module, "address_of", noted)
    x = np.random.default_rng(3).normal(size=(20, 3))
    labels = np.arange(20) % 3
    packed = np.zeros(labels.nbytes + 1, np.uint8)[1:].view(np.int64)
    packed[:] = labels
    assert not packed.flags.aligned
    loss: Any = refloss.batch_triplet_loss if mining else refloss.sup_con_loss
    options = {"mining": mining} if mining else {}
    found = loss.value_and_grad(x, packed, **options)
    assert asked
    assert all(asked)
    for mine, theirs in zip(found, loss.value_and_grad(x, labels, **options), strict=True):
        np.testing.assert_array_equal(mine, theirs)
