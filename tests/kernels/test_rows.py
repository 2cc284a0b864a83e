"""The kernels under the formulas, on the CPU and over arrays, against exact arithmetic."""

import math
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from refloss.accuracy import Truth, ulp_error
from refloss.kernels import arrays, cpu, threads
from refloss.loss import Promise

BOTH = pytest.mark.parametrize("kernels", [cpu, arrays], ids=["cpu", "arrays"])
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, database=None)
INF, NAN = math.inf, math.nan

# Wide enough for every bit of a sum to matter, not so wide that it overflows
WIDE = st.floats(-1e200, 1e200, allow_subnormal=True)
ROWS = st.tuples(st.integers(1, 4), st.integers(1, 12))


def matrices(elements: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    return ROWS.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=elements))


def within(found: Any, truth: list[Fraction], ulp: float, scale: Any = None) -> None:
    """Assert the error, in ulps of the truth or of the largest term."""
    for number, exact, size in zip(np.ravel(found), truth, np.ravel(scale), strict=True):
        unit = Fraction(float(np.spacing(size)))
        assert abs(Fraction(float(number)) - exact) <= Fraction(ulp) * unit


def exact_sum(x: Any) -> Fraction:
    return sum((Fraction(float(number)) for number in np.ravel(x)), Fraction(0))


@BOTH
@given(x=hnp.arrays(np.float64, st.integers(0, 300), elements=WIDE))
@EXAMPLES
def test_a_sum_is_known_to_twice_the_digits(kernels: ModuleType, x: Any) -> None:
    high, low = kernels.sum_pair(x)
    left = abs(exact_sum(x) - Fraction(high) - Fraction(low))
    total = sum((abs(Fraction(float(number))) for number in x), Fraction(0))
    # Ogita, Rump and Oishi 2005: n^2 u^2 of the sum of the magnitudes
    assert left <= (len(x) + 8) ** 2 * Fraction(2) ** -106 * total


@BOTH
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_sums_of_any_length(kernels: ModuleType, count: int) -> None:
    x = np.random.default_rng(count).normal(size=count)
    assert sum(kernels.sum_pair(x)) == math.fsum(x)


@BOTH
@given(x=matrices(WIDE))
@EXAMPLES
def test_class_sums_are_rounded_once(kernels: ModuleType, x: Any) -> None:
    """Right to the last place of the sum, or of its largest term where terms cancel."""
    found = kernels.class_sum(x)
    assert found.shape == (len(x), 1)
    largest = np.maximum(np.abs(x).max(axis=1), np.abs(found[:, 0]))
    within(found, [exact_sum(row) for row in x], 1, largest)


@BOTH
@given(x=matrices(st.floats(0, 1e200)))
@EXAMPLES
def test_others_sum_all_but_one(kernels: ModuleType, x: Any) -> None:
    found = kernels.others(x)
    truth = [exact_sum(row) - Fraction(float(one)) for row in x for one in row]
    # ulps of the sum itself: no mass is negative, and nothing may cancel
    sizes = np.array([float(number) for number in truth])
    within(found, truth, Promise().float64, sizes)
    zero = sizes.reshape(x.shape) == 0
    assert (found[zero] == 0).all()


@BOTH
def test_a_sum_without_limit_is_overruled_by_infinity(kernels: ModuleType) -> None:
    x = np.array(
        [[1, INF, 2], [1, NAN, 2], [NAN, INF, 0], [INF, -INF, 0], [NAN, INF, -INF], [-INF, 1, 1]]
    )
    with np.errstate(invalid="ignore"):
        found = kernels.class_sum(x)
    np.testing.assert_array_equal(found[:, 0], [INF, NAN, INF, NAN, NAN, -INF])


def ball_softmax(row: Any, temperature: float) -> tuple[list[Any], list[Any], list[Any]]:
    """-log p, p and 1 - p by the textbook."""
    e = [(arb(float(z)) / arb(temperature)).exp() for z in row]
    total = sum(e)
    p = [one / total for one in e]
    others = [sum(e[:c] + e[c + 1 :], arb(0)) / total for c in range(len(e))]
    return [-one.log() for one in p], p, others


@BOTH
@given(
    z=matrices(st.integers(-8 * 300, 8 * 300).map(lambda k: k / 8)),
    temperature=st.sampled_from([1.0, 2.0, 0.5, 3.0, 1 / 3]),
)
@EXAMPLES
def test_softmax(kernels: ModuleType, z: Any, temperature: float) -> None:
    found = kernels.softmax(z, temperature)
    before = ctx.prec
    ctx.prec = 6000  # 1 - p of a confident row starts thousands of bits below 1
    try:
        truths: list[list[str]] = [[], [], []]
        for row in z:
            for texts, balls in zip(truths, ball_softmax(row, temperature), strict=True):
                texts += [_text(ball) for ball in balls]
    finally:
        ctx.prec = before
    for name, computed, texts in zip(("-log p", "p", "1 - p"), found, truths, strict=False):
        error = ulp_error(computed, Truth.parse(texts), "float64")
        assert error.max() <= Promise().float64, f"{name} of {z}"


def _text(ball: Any) -> str:
    mantissa, exponent = (int(part) for part in ball.mid().man_exp())
    shift = max(0, abs(mantissa).bit_length() - 100)
    sign = "-" if mantissa < 0 else ""
    return f"{sign}0x{abs(mantissa) >> shift:x}p{exponent + shift:+d}"


@BOTH
def test_softmax_of_infinities(kernels: ModuleType) -> None:
    z = np.array(
        [[1, -INF, 1], [INF, 0, 0], [INF, INF, 0], [-INF, -INF, -INF], [0, NAN, 0], [2, 1, 0]]
    )
    with np.errstate(all="ignore"):
        surprise, p, q = kernels.softmax(z)[:3]
    np.testing.assert_array_equal(p[:2], [[0.5, 0, 0.5], [1, 0, 0]])
    np.testing.assert_array_equal(q[:2], [[0.5, 1, 0.5], [0, 1, 1]])
    np.testing.assert_array_equal(surprise[1], [0, INF, INF])
    assert np.isnan(p[2, :2]).any()
    assert np.isnan(p[4]).all()
    assert np.isfinite(p[5]).all()


@given(z=matrices(st.floats(-700, 700)))
@EXAMPLES
def test_arrays_and_cpu_agree(z: Any) -> None:
    """Each within the promise of the truth, so within two of one another."""
    for one, other in zip(cpu.softmax(z)[:3], arrays.softmax(z)[:3], strict=True):
        assert ulp_error(other, Truth.of(one), "float64").max() <= 2 * Promise().float64


@BOTH
def test_picking(kernels: ModuleType) -> None:
    x = np.arange(6.0).reshape(2, 3)
    x[1, 0] = INF
    hit = kernels.onehot(np.array([[2], [-1]]), 3)
    np.testing.assert_array_equal(hit, [[0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(kernels.picked(x, hit), [[2], [0]])
    x[0, 0] = NAN
    np.testing.assert_array_equal(kernels.picked(x, hit), [[2], [0]])
    np.testing.assert_array_equal(kernels.nan_rows(x), [[NAN], [0]])
    np.testing.assert_array_equal(kernels.poison(x, [np.array([[0.0], [NAN]])])[1], [NAN] * 3)
    np.testing.assert_array_equal(kernels.constant(2, x), np.full((2, 3), 2.0))


@BOTH
def test_a_formula_is_wired_by_its_parameters(kernels: ModuleType) -> None:
    known = {"x": np.array([[1.0], [2.0]]), "y": np.array([[1.0, 10.0]]), "power": 3.0}
    found = kernels.map_formula(_formula, known)
    np.testing.assert_array_equal(found, [[4.0, 31.0], [5.0, 32.0]])


def _formula(x: Any, y: Any, power: Any) -> Any:
    return x + y * power


@BOTH
@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_nothing_is_computed_of_nothing(kernels: ModuleType, shape: tuple[int, ...]) -> None:
    found = kernels.map_formula(
        _formula, {"x": np.zeros(shape), "y": np.zeros(shape), "power": 1.0}
    )
    assert found.shape == shape


class TestThreads:
    @pytest.fixture(autouse=True)
    def _restore(self) -> Any:
        before = threads.get_num_threads()
        yield
        threads.set_num_threads(before)

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_results_come_in_the_order_of_the_items(self, count: int) -> None:
        threads.set_num_threads(count)
        assert threads.get_num_threads() == count
        assert threads.over(range(100), lambda i: i * i) == [i * i for i in range(100)]

    def test_an_error_in_a_thread_comes_out(self) -> None:
        threads.set_num_threads(2)

        def work(i: int) -> int:
            if i == 3:
                raise ZeroDivisionError("three")
            return i

        with pytest.raises(ZeroDivisionError, match="three"):
            threads.over(range(8), work)

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True, None])
    def test_counts_that_are_none(self, wrong: Any) -> None:
        with pytest.raises(ValueError, match=r"count: expected a whole number >= 1, got"):
            threads.set_num_threads(wrong)

    @pytest.mark.parametrize(("text", "works"), [("3", True), ("0", False), ("two", False)])
    def test_the_environment_is_asked(
        self, text: str, works: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REFLOSS_NUM_THREADS", text)
        monkeypatch.setattr(threads, "_count", None)
        asked: Callable[[], int] = threads.get_num_threads
        if works:
            assert asked() == int(text)
        else:
            with pytest.raises(ValueError, match="REFLOSS_NUM_THREADS: expected a whole number"):
                asked()
            monkeypatch.delenv("REFLOSS_NUM_THREADS")
