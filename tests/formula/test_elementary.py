"""exp, log, expm1 and log1p of the compiled reading: within their promise of the true values."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit, vectorize

from refloss.accuracy import Truth, ulp_error
from refloss.formula import elementary, words

INF, NAN = np.inf, np.nan
TINY, SMALLEST = float(np.finfo(np.float64).tiny), 5e-324
FUNCTIONS = ["exp", "expm1", "log", "log1p"]


def compiled(name: str) -> Callable[..., Any]:
    """The word over arrays, in compiled code: it inlines there, as in the kernels."""
    loop = vectorize(["float64(float64)"])(getattr(elementary, name))

    def quiet(x: Any) -> Any:
        with np.errstate(all="ignore"):  # NumPy reports the flags that vector code raises
            return loop(x)

    return quiet


WORDS = {name: compiled(name) for name in (*FUNCTIONS, "exp_error")}


def neighbours(*numbers: float) -> list[float]:
    return [y for x in numbers for y in (np.nextafter(x, -INF), x, np.nextafter(x, INF))]


def inputs(name: str) -> Any:
    """Random numbers all over the domain, and every place where something happens."""
    rng = np.random.default_rng(5)
    signed = rng.choice([-1.0, 1.0], 2000)
    small = signed * np.exp2(rng.uniform(-1074, 0, 2000))
    if name in ("exp", "expm1"):
        halves = np.log(2) * (np.arange(-1074, 1025) + 0.5)  # where the reduction turns over
        edges = neighbours(709.782712893384, -745.1332191019411, -708.3964185322641, 710, -746)
        parts = [rng.uniform(-745, 709.7, 8000), rng.normal(size=4000), small, halves, edges]
    else:
        powers = np.exp2(np.arange(-1022, 1024))
        roots = powers[:-1] * np.sqrt(2)  # where the mantissa's interval turns over
        wide = np.exp2(rng.uniform(-1074, 1024, 8000))
        near_one = 1 + small[np.abs(small) < 0.5]
        parts = [wide, near_one, powers, roots, neighbours(1.0, TINY, 0.5, 2.0)]
        if name == "log1p":
            parts += [small, -rng.uniform(0, 1, 4000), np.exp2(np.arange(-53, 0)) - 1]
        parts.append([SMALLEST, float(np.finfo(np.float64).max)])
    flat = np.concatenate([np.asarray(part, float) for part in parts])
    return flat[(flat > -1) if name == "log1p" else (flat > 0) if name == "log" else flat == flat]


def truth(name: str, x: Any) -> Truth:
    """From mpmath, with 40 digits more than the answer needs."""
    texts = []
    with mpmath.workprec(400):
        function = {"exp": mpmath.exp, "expm1": mpmath.expm1}.get(name)
        function = function or {"log": mpmath.log, "log1p": mpmath.log1p}[name]
        for number in x:
            exact = function(mpmath.mpf(float(number)))
            sign, mantissa, exponent, size = exact._mpf_
            shift = max(0, size - 100)
            texts.append(f"{'-' if sign else ''}0x{int(mantissa) >> shift:x}p{exponent + shift:+d}")
    return Truth.parse(texts)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_stays_within_the_promise(name: str) -> None:
    x = inputs(name)
    error = ulp_error(WORDS[name](x), truth(name, x), "float64")
    worst = int(error.argmax())
    assert error[worst] <= elementary.PROMISED_ULP, f"{name}({x[worst].hex()}): {error[worst]}"


SPECIAL = [
    ("exp", [0.0, -0.0, INF, -INF, NAN, 710.0, -746.0, 1e308], [1, 1, INF, 0, NAN, INF, 0, INF]),
    ("expm1", [0.0, -0.0, INF, -INF, NAN, 710.0, -1e308], [0, -0.0, INF, -1, NAN, INF, -1]),
    ("log", [1.0, 0.0, -0.0, INF, NAN, -1.0, -INF], [0, -INF, -INF, INF, NAN, NAN, NAN]),
    ("log1p", [0.0, -0.0, -1.0, INF, NAN, -2.0, -INF], [0, -0.0, -INF, INF, NAN, NAN, NAN]),
    ("exp_error", [0.0, INF, -INF, NAN, 1000.0, -1000.0], [0, 0, 0, 0, 0, 0]),
    ("expm1", [SMALLEST, -SMALLEST, TINY], [SMALLEST, -SMALLEST, TINY]),
    ("log1p", [SMALLEST, -SMALLEST, TINY], [SMALLEST, -SMALLEST, TINY]),
]


@pytest.mark.parametrize(("name", "x", "expected"), SPECIAL)
def test_special_values(name: str, x: list[float], expected: list[float]) -> None:
    found = WORDS[name](np.array(x))
    np.testing.assert_array_equal(found, np.array(expected, float))
    signed = ~np.isnan(found)
    assert (np.signbit(found) == np.signbit(np.array(expected, float)))[signed].all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scalars_and_vectors_have_the_same_bits(name: str) -> None:
    """LLVM may turn the loop into vector code; that must not change what it computes."""
    x = inputs(name)[::37]
    word = getattr(elementary, name)
    one = njit(lambda x: word(x))
    assert [one(number) for number in x] == WORDS[name](x).tolist()


def test_exp_error_is_what_exp_lost() -> None:
    """exp + exp_error is nearer to e^x than exp alone can be."""
    x = np.random.default_rng(6).uniform(-690, 690, 4000)
    computed, lost = WORDS["exp"](x), WORDS["exp_error"](x)
    with mpmath.workprec(400):
        for number, high, low in zip(x, computed, lost, strict=True):
            left = mpmath.exp(mpmath.mpf(float(number))) - mpmath.mpf(high) - mpmath.mpf(low)
            assert abs(left) <= elementary.PROMISED_PAIR_ULP * np.spacing(high)


@given(x=st.floats(-745, 709), y=st.floats(-745, 709))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_monotone_to_the_promise(x: float, y: float) -> None:
    """e^x does not fall by more than the error when x grows."""
    low, high = sorted([x, y])
    below, above = WORDS["exp"](np.array([low, high]))
    assert below <= above or below - above <= 2 * elementary.PROMISED_ULP * np.spacing(above)


@given(x=st.floats(allow_nan=False), y=st.floats(allow_nan=False))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_two_sum_is_exact(x: float, y: float) -> None:
    total, lost = elementary.two_sum(x, y)
    if np.isinf(total):
        assert lost == 0
    else:
        assert Fraction(x) + Fraction(y) == Fraction(total) + Fraction(lost)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_words_themselves_mean_the_same(name: str) -> None:
    """The vocabulary in plain Python and its compiled reading, within both their errors."""
    x = inputs(name)[::11]
    plain = [getattr(words, name)(float(number)) for number in x]
    error = ulp_error(WORDS[name](x), Truth.of(plain), "float64")
    assert error.max() <= 2 * elementary.PROMISED_ULP
