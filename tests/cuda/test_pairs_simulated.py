"""Similarities and mined triplets by the CUDA kernels, in the simulator: against certified answers,
against plain loops, and against the kernels of the CPU where there is no truth but agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refloss
from refloss.accuracy import Grade
from refloss.audit import Report, Section
from refloss.audit.answered import ask
from refloss.audit.cases import Case, cases
from refloss.audit.verdicts import judge
from refloss.formula import direction, distance, similarity
from refloss.kernels import arrays, cpu, cuda, selection
from refloss.kernels.anchors import NOWHERE, Place, Softmax
from refloss.kernels.cuda import selection as along_rows
from refloss.triplets import METRICS, MININGS

from ..kernels import test_pairwise as pairwise
from ..losses.enrolled import BATCHED, Entry, bits
from ..losses.test_promise import array_path, broken, target
from .scheduler import ORDERS, simulated, under_every_order

pytestmark = pytest.mark.sim

# Cases of each loss, of at most so many numbers: a case takes a tenth of a second or two
CASES = {
    "nt_xent_loss": 20,
    "info_nce_loss": 20,
    "sup_con_loss": 30,
    "batch_triplet_loss": 40,
    "mine_triplets": 120,
}
LARGEST_CASE = 64
METRIC = pytest.mark.parametrize("name", METRICS)
EVERY = pytest.mark.parametrize("entry", BATCHED, ids=str)
INF, NAN = np.inf, np.nan

Floats = Any


@pytest.fixture(autouse=True)
def _simulator() -> Iterator[None]:
    """The strict scheduler, and warnings off, as evaluation has them."""
    with simulated("forward", races=False), np.errstate(all="ignore"):
        yield


# --- certified answers ---------------------------------------------------------------------------


def on_cuda(case: Case) -> Any:
    """How the CUDA backend is asked."""
    asked = array_path(case)

    def spelled(call: str) -> str:
        return call.replace("backend='array'", "backend='cuda'")

    return replace(
        asked,
        value=spelled(asked.value),
        gradient={name: spelled(call) for name, call in asked.gradient.items()},
    )


def drawn(loss: str) -> list[Case]:
    """Small cases from the whole oracle, evenly, the first of them included."""
    small = [case for case in cases(loss, "float64") if case.size <= LARGEST_CASE]
    return small[:: max(1, -(-len(small) // CASES[loss]))]


@pytest.mark.parametrize("loss", CASES)
def test_certified_answers_are_met(loss: str) -> None:
    on_device = replace(target("numba"), name="cuda", calls={loss: on_cuda})
    answered = [ask(on_device, case) for case in drawn(loss)]
    assert answered
    verdict = judge(on_device, loss, "float64", answered, Counter())
    report = Report((Section("cuda", on_device.version, "numpy", (verdict,)),))
    assert not broken(report, "array"), broken(report, "array")
    assert report.grade <= Grade.ACCURATE


# --- the kernels against plain loops, as those of the CPU ----------------------------------------


@pytest.mark.parametrize("cuts", [(0, 11), (0, 1, 2, 10, 11)])
@pytest.mark.parametrize("selfish", [True, False], ids=["self-excluded", "all"])
def test_absorb(selfish: bool, cuts: Any) -> None:
    pairwise.test_absorb(cuda, 0.05, selfish, cuts)


def test_absorb_of_none_and_of_nan() -> None:
    pairwise.test_absorb_of_none_and_of_nan(cuda)


@pytest.mark.parametrize("selfish", [True, False], ids=["self-excluded", "all"])
def test_pulls(selfish: bool) -> None:
    pairwise.test_pulls(cuda, 0.05, selfish)


@METRIC
@pytest.mark.parametrize("components", [1, 21])
def test_distances_and_their_slopes(name: str, components: int) -> None:
    pairwise.test_distances_and_their_slopes(cuda, name, components)


@pytest.mark.parametrize("name", ["euclidean", "cityblock"])
@pytest.mark.parametrize("exponent", [-1010, -600, 600, 1020])
def test_distances_near_overflow_and_underflow(name: str, exponent: int) -> None:
    pairwise.test_distances_near_overflow_and_underflow(cuda, name, exponent)


@METRIC
def test_distances_of_no_numbers(name: str) -> None:
    pairwise.test_distances_of_no_numbers(cuda, name)


@pytest.mark.parametrize("components", [2, 21])
def test_angles_and_their_slopes(components: int) -> None:
    pairwise.test_angles_and_their_slopes(cuda, components)


@pytest.mark.parametrize("exponent", [-20, -500])
def test_small_angles_keep_their_digits(exponent: int) -> None:
    pairwise.test_small_angles_keep_their_digits(cuda, exponent)


# --- and against the other kernels, where inputs are not ordinary --------------------------------


def kinds(shape: tuple[int, ...]) -> dict[str, Floats]:
    """Similarities of every kind."""
    rng = np.random.default_rng(shape)
    s = rng.uniform(-1, 1, shape)
    some = rng.uniform(size=shape) < 0.2
    return {
        "ordinary": s,
        "tied": np.round(2 * s) / 2,
        "one infinity": np.where(np.arange(s.size).reshape(shape) == s.size // 2, INF, s),
        "infinities": np.where(some, INF, s),
        "nothing but -inf": np.full(shape, -INF),
        "NaN": np.where(some, NAN, s),
    }


def alike(found: Floats, expected: Floats, scale: float = 1.0) -> None:
    """Assert that both are the same, or as near as the promises put them together."""
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    left, right = (np.where(same, 0.0, x) for x in (found, expected))
    pairwise.within(left, right, scale)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [*product([(1, 1), (5, 9)], kinds((1, 1))), ((1, 1030), "tied"), ((1, 1030), "NaN")],
)
def test_absorb_and_pull_what_is_not_ordinary(shape: tuple[int, int], kind: str) -> None:
    """The widest rows have a block of threads each."""
    s = kinds(shape)[kind]
    rng = np.random.default_rng(7)
    rows, columns = (rng.integers(0, 3, size) for size in shape)
    weight = rng.normal(size=(shape[0], 1))
    weight[0] = 0
    for place in (Place(0, 3), Place(-1, 0), Place(NOWHERE, 5)):
        found, seen = (
            kernels.absorb(pairwise.nothing_seen(shape[0]), s, rows, columns, place, 0.25)
            for kernels in (cuda, arrays)
        )
        assert found.top_at.dtype == np.int64
        for one, other in zip(found, seen, strict=True):
            alike(one.astype(float), other.astype(float), max(4.0, shape[1]))
        mass = np.where(seen.count > 0, 1 / np.maximum(1, seen.count), 0)
        softmax = Softmax(seen.top, seen.top_at, seen.tail, mass, weight)
        pulled = [
            kernels.pulls(s, softmax, rows, columns, place, 0.25) for kernels in (cuda, arrays)
        ]
        alike(*pulled, 16.0)
        turned = cuda.pulls(s.T, softmax, columns, rows, place, 0.25, by_column=True)
        over_rows = arrays.pulls(s.T, softmax, columns, rows, place, 0.25, by_column=True)
        alike(turned, over_rows, 16.0)


@METRIC
def test_distances_of_more_than_a_tile(name: str) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(17, 18)), rng.normal(size=(19, 18))
    weight = rng.normal(size=(17, 19)) * (rng.uniform(size=(17, 19)) < 0.5)
    x[3], y[4], x[5, 2], x[6, 0] = y[2], 1e200 * y[4], INF, NAN
    metric = METRICS[name]
    d, expected = cuda.distances(x, y, metric), cpu.distances(x, y, metric)
    alike(d / np.maximum(1, np.abs(expected)), expected / np.maximum(1, np.abs(expected)))
    rows = [0, 1, 2, 3, 7, 16]  # whose slopes are finite
    found, steered = (k.steered(x[rows], y, weight[rows], metric) for k in (cuda, cpu))
    sizes = np.maximum(1, np.abs(steered))
    alike(found / sizes, steered / sizes, 64.0)


def test_no_file_takes_the_place_of_a_kernel() -> None:
    """A package's name for a file that was imported is the file."""
    files = {path.stem for path in Path(cuda.__file__).parent.glob("*.py")}
    assert not files & set(cuda.WHERE)
    assert all(callable(getattr(cuda, name)) for name in cuda.WHERE)


# --- formulas and sums ---------------------------------------------------------------------------


LAYOUTS = {
    "whole": (3, 4),
    "column of numbers": (3, 1),
    "row of numbers": (1, 4),
    "one number": (1, 1),
}


@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_formulas_of_arrays_that_lie_differently(first: str, second: str) -> None:
    rng = np.random.default_rng(1)
    known = {
        "first": rng.normal(size=LAYOUTS[first]),
        "second": rng.normal(size=LAYOUTS[second]),
    }
    found = cuda.map_formula(direction.overlap, known)
    np.testing.assert_array_equal(found, known["first"] * known["second"])


def test_formulas_of_numbers_views_and_more_axes() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 3, 1)), rng.normal(size=(1, 3, 4))
    found = cuda.map_formula(distance.residual, {"x": x, "y": y, "eps": 0.5})
    np.testing.assert_array_equal(
        found, arrays.map_formula(distance.residual, {"x": x, "y": y, "eps": 0.5})
    )
    strided = rng.normal(size=(6, 8))[::2, ::-2]
    np.testing.assert_array_equal(cuda.map_formula(distance.size, {"x": strided}), np.abs(strided))
    counts = np.array([[0.0], [4.0]])
    shares = cuda.map_formula(similarity.share, {"count": counts})
    np.testing.assert_array_equal(shares, [[0.0], [0.25]])
    assert cuda.map_formula(similarity.share, {"count": counts[:0]}).shape == (0, 1)


@pytest.mark.parametrize("columns", [0, 1, 5, 40, 200, 1030])
def test_sums_of_rows(columns: int) -> None:
    rng = np.random.default_rng(columns)
    x = rng.normal(size=(3, columns)) * 10.0 ** rng.integers(-20, 20, (3, columns))
    exact = [sum(map(Fraction, row), Fraction(0)) for row in x.tolist()]
    assert cuda.class_sum(x)[:, 0].tolist() == [float(total) for total in exact]
    high, low = cuda.sum_pair(x)
    left = abs(Fraction(high) + Fraction(low) - sum(exact))
    assert left <= x.size * Fraction(2) ** -100 * Fraction(float(np.abs(x).sum()))


def test_a_nan_matters_no_more_beside_an_infinity() -> None:
    x = np.array([[INF, NAN], [NAN, 1.0], [INF, -INF], [-INF, NAN], [1e308, 1e308]])
    np.testing.assert_array_equal(cuda.class_sum(x), cpu.class_sum(x))


@pytest.mark.parametrize("columns", [1, 7, 33, 100])
def test_counts_and_running_sums_of_rows(columns: int) -> None:
    rng = np.random.default_rng(columns)
    x = along_rows.ordered(np.round(rng.exponential(4, (3, columns)), 1))
    at = rng.permuted(x, axis=1) + rng.choice([0.0, 0.05], x.shape)
    high, low = along_rows.running_sums(x)
    for row in range(3):
        for count in ("number_below", "number_up_to"):
            found = getattr(along_rows, count)(x, at)[row]
            assert bits(found) == bits(getattr(selection, count)(x[row], at[row]))
        exact = Fraction(0)
        for k in range(columns + 1):
            left = abs(Fraction(high[row, k]) + Fraction(low[row, k]) - exact)
            assert left <= columns * Fraction(2) ** -100 * exact
            exact += Fraction(x[row, k]) if k < columns else 0


# --- losses --------------------------------------------------------------------------------------


def answers(entry: Entry, given: Any, backend: str, reduction: str = "mean") -> list[Any]:
    value, gradient = entry.function.value_and_grad(
        **given, **entry.options, reduction=reduction, wrt=entry.wrt, backend=backend
    )
    return [np.asarray(value), *gradient]


def agree(entry: Entry, found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        entry.conditioned(one, other, 2)


@EVERY
def test_every_reduction(entry: Entry) -> None:
    given = entry.sample(0, n=4)
    for reduction in entry.reductions:
        found = answers(entry, given, "cuda", reduction)
        agree(entry, found, answers(entry, given, "numba", reduction))


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize("loss", sorted({entry.loss for entry in BATCHED}))
def test_other_formats_are_rounded_once(loss: str, dtype: str) -> None:
    entry = next(entry for entry in BATCHED if entry.loss == loss)
    given = entry.sample(1, dtype, n=4)
    for found, expected in zip(
        answers(entry, given, "cuda"), answers(entry, given, "numba"), strict=True
    ):
        assert found.dtype == expected.dtype
        entry.kept(found.astype(np.float64), expected.astype(np.float64), dtype, 2)


@EVERY
def test_many_blocks(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks cut through both views, and anchors come a few at a time."""
    given = entry.sample(2, n=7)
    whole = answers(entry, given, "cuda")
    for name, size in (("ANCHORS", 4), ("CANDIDATES", 5), ("ROOM", 30)):
        monkeypatch.setattr(cuda, name, size)
    agree(entry, answers(entry, given, "cuda"), whole)


@pytest.mark.parametrize("room", [1 << 24, 200, 30, 1])
@pytest.mark.parametrize("name", ["euclidean", "cosine"])
@pytest.mark.parametrize("mining", MININGS)
def test_mined_triplets(mining: str, name: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All anchors together, a few at a time, one by one: the same triplets in the same order."""
    monkeypatch.setattr(cuda, "ROOM", room)
    rng = np.random.default_rng(5)
    x, labels = np.round(2 * rng.normal(size=(9, 3))), rng.integers(0, 3, 9)
    options = {"mining": mining, "distance": name}
    found = refloss.mine_triplets(x, labels, **options, backend="cuda")
    expected = refloss.mine_triplets(x, labels, **options, backend="numba")
    assert [*map(bits, found)] == [*map(bits, expected)]


@pytest.mark.parametrize("labels", [[], [3], [3, 3, 3], [1, 2, 3]])
@pytest.mark.parametrize("mining", MININGS)
def test_nothing_to_mine(mining: str, labels: list[int]) -> None:
    x = np.arange(2.0 * len(labels)).reshape(-1, 2)
    loss = refloss.batch_triplet_loss
    value, gradient = loss.value_and_grad(x, labels, mining=mining, backend="cuda")
    assert value == 0
    assert gradient.shape == x.shape
    assert not gradient.any()
    found = refloss.mine_triplets(x, labels, mining, backend="cuda")
    assert [part.shape for part in found] == [(0,)] * 3


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("bad", [NAN, INF])
def test_what_is_no_number_comes_out(mining: str, bad: float) -> None:
    rng = np.random.default_rng(6)
    x, labels = rng.normal(size=(5, 3)), rng.integers(0, 2, 5)
    x[2, 1] = bad
    for name in METRICS:
        found, expected = (
            refloss.batch_triplet_loss.value_and_grad(
                x, labels, mining=mining, distance=name, backend=backend
            )
            for backend in ("cuda", "numba")
        )
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(np.isnan(found[1]), np.isnan(expected[1]))


def test_one_example_and_none() -> None:
    x = np.array([[3.0, 4.0]])
    value, gradient = refloss.nt_xent_loss.value_and_grad(x, x, wrt="z_i", backend="cuda")
    assert value == 0
    assert not gradient.any()
    assert np.isnan(refloss.nt_xent_loss(x[:0], x[:0], backend="cuda"))


# --- whatever the order of the lanes -------------------------------------------------------------


SMALL = [
    *(e for e in BATCHED if e.loss != "batch_triplet_loss"),
    *(
        e
        for e, mining in product(BATCHED, MININGS)
        if e.options == {"mining": mining, "distance": "cosine" if mining == "all" else "euclidean"}
    ),
]


@pytest.mark.parametrize("entry", SMALL, ids=str)
def test_the_same_bits_in_every_order(entry: Entry) -> None:
    """And no two lanes touch one number without a barrier between them."""
    given = entry.sample(3, n=3)
    under_every_order(lambda: answers(entry, given, "cuda"), ORDERS)


def test_wide_rows_have_the_same_bits_in_every_order() -> None:
    rng = np.random.default_rng(8)
    s, rows, columns = rng.uniform(-1, 1, (1, 1030)), np.zeros(1, int), rng.integers(0, 2, 1030)

    def run() -> Any:
        nothing = pairwise.nothing_seen(1)
        seen = cuda.absorb(nothing, s, rows, columns, Place(3, 0), 0.5)
        return [*seen, cuda.class_sum(s), np.array(cuda.sum_pair(np.tile(s, 2)))]

    under_every_order(run, ("forward", "reverse", 1))


def test_tiles_follow_each_other_in_every_order() -> None:
    rng = np.random.default_rng(9)
    x, y, weight = (rng.normal(size=shape) for shape in ((2, 18), (19, 18), (2, 19)))
    metric = METRICS["cityblock"]

    def run() -> Any:
        steered = cuda.steered(x, y, weight, metric)
        return [steered, cuda.distances(x, y, metric), cuda.turned(x, y, weight)]

    under_every_order(run, ("forward", "reverse", 1))
