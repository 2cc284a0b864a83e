"""The vocabulary: each word means the same in every number system that formulas are read in."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from refloss.accuracy import Truth, ulp_error
from refloss.formula import words
from refloss.formula.arrays import meaning
from refloss.formula.compiled import MEANING, compile_formula
from refloss.formula.exponential import excess
from refloss.formula.logistic import sigmoid, softplus
from refloss.formula.reading import read
from refloss.formula.words import where
from refloss.loss import Promise

INF, NAN = math.inf, math.nan
NAMES = [word.__name__ for word in words.WORDS]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e300, -1e300, 5e-324, INF, -INF, NAN]
EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True, database=None)

# Words whose results are exact, and so the same everywhere
EXACT = {
    "absolute": 1,
    "sqrt": 1,
    "product": 2,
    "quotient": 2,
    "sum_error": 2,
}


def in_arrays(word: str, *numbers: float) -> float:
    with np.errstate(all="ignore"):
        return float(meaning(np)[word](*(np.array([number]) for number in numbers))[0])


def compiled(name: str) -> Callable[..., float]:
    word = MEANING[name]
    loop = (
        njit(lambda x: word(x), error_model="numpy")
        if EXACT.get(name) == 1
        else njit(lambda x, y: word(x, y), error_model="numpy")
    )
    return lambda *numbers: float(loop(*numbers))


COMPILED = {name: compiled(name) for name in (*EXACT, "product_error")}


def same(x: float, y: float) -> bool:
    return (math.isnan(x) and math.isnan(y)) or x == y


def test_every_reading_knows_every_word() -> None:
    assert set(MEANING) == set(NAMES)
    assert set(meaning(np)) == set(NAMES)


@pytest.mark.parametrize("word", EXACT)
def test_exact_words_agree_on_special_numbers(word: str) -> None:
    for numbers in product(NUMBERS, repeat=EXACT[word]):
        plain = getattr(words, word)(*numbers)
        assert same(plain, COMPILED[word](*numbers)), f"compiled {word}{numbers}"
        assert same(plain, in_arrays(word, *numbers)), f"{word}{numbers} over arrays"


@given(x=st.floats(), y=st.floats())
@EXAMPLES
def test_exact_words_agree_on_all_numbers(x: float, y: float) -> None:
    for word, count in EXACT.items():
        numbers = (x, y)[:count]
        plain = getattr(words, word)(*numbers)
        assert same(plain, COMPILED[word](*numbers)), word
        assert same(plain, in_arrays(word, *numbers)), word


@given(x=st.floats(-1e140, 1e140), y=st.floats(-1e140, 1e140))
@EXAMPLES
def test_what_sums_and_products_lose_is_exact(x: float, y: float) -> None:
    assert Fraction(x) + Fraction(y) == Fraction(x + y) + Fraction(words.sum_error(x, y))
    if abs(x * y) > 1e-280:  # what a smaller product loses may be too small for a float
        whole = Fraction(x * y) + Fraction(words.product_error(x, y))
        assert whole == Fraction(x) * Fraction(y)
        assert in_arrays("product_error", x, y) == words.product_error(x, y)
        assert COMPILED["product_error"](x, y) == words.product_error(x, y)


@pytest.mark.parametrize("numbers", list(product(NUMBERS, repeat=2)))
def test_what_a_product_loses_is_never_more_than_its_last_place(numbers: Any) -> None:
    """Also where a factor is huge or tiny, and 0 where the product is not finite."""
    x, y = numbers
    rounded = x * y
    bound = np.spacing(abs(rounded)) if math.isfinite(rounded) else 0
    for lost in (
        words.product_error(x, y),
        COMPILED["product_error"](x, y),
        in_arrays("product_error", x, y),
    ):
        assert abs(lost) <= bound


def test_a_zero_mass_silences_everything_and_nothing_else_does() -> None:
    for x in (0.0, 1.0, INF, -INF, NAN):
        assert words.product(0.0, x) == 0
        assert words.quotient(0.0, x) == 0
    assert words.product(2.0, INF) == INF
    assert words.quotient(1.0, 0.0) == INF
    assert words.quotient(-1.0, 0.0) == -INF
    assert math.isnan(words.product(NAN, 0.0))
    assert math.isnan(words.product(1.0, NAN))


def arms(x: Any) -> Any:
    return where(x > 0, 1, where(x <= 0, -1, x))


def test_a_comparison_sends_nan_to_the_second_arm() -> None:
    loop = compile_formula(arms)
    outer = njit(lambda x: loop(x))
    read_in_arrays = read(arms, meaning(np))
    for x, expected in ((2.0, 1), (-2.0, -1), (0.0, -1), (NAN, NAN)):
        assert same(arms(x), expected)
        assert same(outer(x), expected)
        assert same(float(read_in_arrays(np.array([x]))[0]), expected)


def test_zero_to_the_power_of_zero_is_one() -> None:
    for x, exponent, expected in ((0.0, 0.0, 1.0), (0.0, 0.5, 0.0), (4.0, 0.5, 2.0)):
        assert words.power(x, exponent) == expected
        assert in_arrays("power", x, exponent) == expected
    assert math.isnan(words.power(NAN, 0.0))


@pytest.mark.parametrize("formula", [sigmoid, softplus, excess])
def test_formulas_have_one_meaning(formula: Any) -> None:
    """Plain, compiled and over arrays; what differs is the rounding of exp and log."""
    x = np.concatenate([np.linspace(-40, 40, 161), [-800, 800, INF, -INF, 1e-9, 0]])
    loop = compile_formula(formula)
    outer = njit(lambda x: loop(x), error_model="numpy")
    with np.errstate(all="ignore"):
        over_arrays = read(formula, meaning(np))(x)
    plain = np.array([formula(float(number)) for number in x])
    for found in (np.array([outer(number) for number in x]), over_arrays):
        error = ulp_error(found, Truth.of(plain), "float64")
        assert error.max() <= Promise().float64, x[error.argmax()]


class TestReading:
    def test_a_formula_that_names_anything_else_is_refused(self) -> None:
        def formula(x: Any) -> Any:
            return math.sin(x)

        with pytest.raises(TypeError, match=r"formula .*: 'math' is no word"):
            read(formula, meaning(np))

    def test_a_reading_does_not_change_the_formula(self) -> None:
        before = softplus(1.5)
        read(softplus, {name: lambda *x: 0 for name in NAMES})
        assert softplus(1.5) == before

    def test_formulas_that_share_another_read_it_once(self) -> None:
        made: list[Any] = []
        read(softplus, meaning(np), lambda function: made.append(function.__name__) or function)
        assert sorted(made) == sorted(set(made))
