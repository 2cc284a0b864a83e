"""Errors in ulps and the grades that follow from them."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refloss.accuracy import FORMATS, Answer, Grade, Truth, measure, ulp_error

MAX32 = FORMATS["float32"].largest
TINY32 = 2.0**-126


def graded(computed: object, truth: str, dtype: str = "float32") -> Grade:
    return Grade(measure(computed, Truth.parse([truth]), dtype)[1][0])


def one(computed: float, truth: str, dtype: str = "float32") -> float:
    return float(ulp_error([computed], Truth.parse([truth]), dtype)[0])


@given(
    computed=st.floats(width=32, allow_nan=False, allow_infinity=False),
    mantissa=st.integers(-(2**80), 2**80),
    exponent=st.integers(-240, 40),
)
def test_error_is_the_distance_over_the_ulp(computed: float, mantissa: int, exponent: int) -> None:
    sign = "-" if mantissa < 0 else ""
    truth = Fraction(mantissa) * Fraction(2) ** exponent
    magnitude = max(abs(truth), Fraction(TINY32))
    binade = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    while Fraction(2) ** binade > magnitude:
        binade -= 1
    while Fraction(2) ** (binade + 1) <= magnitude:
        binade += 1
    exact = abs(Fraction(computed) - truth) / Fraction(2) ** (binade - 23)
    got = one(computed, f"{sign}0x{abs(mantissa):x}p{exponent:+d}")
    # Exact to float64's own rounding: two subtractions.
    assert abs(Fraction(got) - exact) <= 4 * exact * Fraction(np.finfo(float).eps)


@pytest.mark.parametrize("dtype", FORMATS)
def test_neighbours_are_one_ulp_away(dtype: str) -> None:
    form = FORMATS[dtype]
    ulp = 2.0 ** (1 - form.precision)
    numbers = np.array([1.0, 1.0 + ulp, 1.0 - ulp / 2, 1.0 + 2 * ulp]).astype(form.dtype)
    truth = Truth.of(np.ones(4))
    error, grade = measure(numbers, truth, dtype)
    assert error.tolist() == [0.0, 1.0, 0.5, 2.0]
    # One half of an ulp off and still not the nearest float: the nearest is the truth itself.
    faithful = Grade.FAITHFUL
    assert grade.tolist() == [Grade.CORRECTLY_ROUNDED, faithful, faithful, Grade.ACCURATE]


def test_the_bound_of_accurate_is_the_formats_or_the_callers() -> None:
    far = np.float32([1.0 + 17 * 2.0**-23])
    truth = Truth.of([1.0])
    assert measure(far, truth, "float32")[1][0] == Grade.LOSES_DIGITS
    assert measure(far, truth, "float32", accurate=20)[1][0] == Grade.ACCURATE
    assert measure(far, truth, "float32", accurate=0.25)[1][0] == Grade.LOSES_DIGITS


def test_nothing_instead_of_a_small_number_is_wrong() -> None:
    assert graded(np.float32([0.0]), "0x1.1b48655a5141ep-29") == Grade.WRONG
    assert graded(np.float32([2.0611537e-09]), "0x1.1b48655a5141ep-29") == Grade.CORRECTLY_ROUNDED


def test_a_wrong_sign_is_wrong_and_a_few_bits_are_not() -> None:
    assert graded(np.float32([-1.0]), "0x1p+0") == Grade.WRONG
    assert graded(np.float32([1.25]), "0x1p+0") == Grade.LOSES_DIGITS
    assert graded(np.float32([1.5]), "0x1p+0") == Grade.WRONG
    assert graded(np.float32([0.5]), "0x1p+0") == Grade.WRONG


def test_below_the_formats_range_zero_is_right() -> None:
    assert graded(np.float16([0.0]), "0x1p-29", "float16") == Grade.CORRECTLY_ROUNDED
    assert graded(np.float32([0.0]), "0x1p-5000") == Grade.CORRECTLY_ROUNDED
    assert graded(np.float32([0.0]), "0x1p-150") == Grade.CORRECTLY_ROUNDED  # a tie, to even
    assert one(0.0, "0x1.8p-149") == 1.5


def test_flushing_a_subnormal_loses_digits_and_a_normal_number_is_wrong() -> None:
    assert graded(np.float32([0.0]), "0x1p-127") == Grade.LOSES_DIGITS
    assert graded(np.float32([0.0]), "0x1p-126") == Grade.WRONG


def test_nan_matches_nan_only() -> None:
    assert one(np.nan, "nan") == 0
    assert one(np.nan, "0x1p+0") == np.inf
    assert one(1.0, "nan") == np.inf
    assert one(np.inf, "nan") == np.inf
    assert graded([np.nan], "nan") == Grade.CORRECTLY_ROUNDED
    assert graded([1.0], "nan") == Grade.WRONG
    assert graded([np.nan], "inf") == Grade.WRONG


def test_an_exact_infinity_is_not_a_large_number() -> None:
    assert one(np.inf, "inf") == 0
    assert one(MAX32, "inf") == np.inf
    assert one(-np.inf, "inf") == np.inf
    assert graded(np.float32([MAX32]), "inf") == Grade.WRONG


def test_overflow_is_graded() -> None:
    largest = "0x1.fffffep+127"
    assert one(np.inf, largest) == 1.0
    assert graded(np.float32([np.inf]), largest) == Grade.FAITHFUL
    assert graded(np.float32([np.inf]), "0x1p+126") == Grade.WRONG
    assert one(np.inf, "0x1p+128") == 0
    assert graded(np.float32([np.inf]), "0x1p+300") == Grade.CORRECTLY_ROUNDED
    assert one(MAX32, "0x1p+300") == 1.0
    assert graded(np.float32([MAX32]), "0x1p+300") == Grade.FAITHFUL
    assert graded(np.float32([1.0]), "0x1p+300") == Grade.WRONG
    assert graded(np.float32([-np.inf]), "0x1p+300") == Grade.WRONG
    assert one(float("inf"), "0x1.fffffffffffffp+1023", "float64") == 1.0


def test_every_member_of_an_interval_is_right() -> None:
    kink = Answer(Truth.of([-1.0] * 5), Truth.of([1.0] * 5))
    error, grade = measure(np.float32([-1, 0.3, 1, 1 + 2.0**-23, 3]), kink, "float32")
    assert error.tolist() == [0.0, 0.0, 0.0, 1.0, 2.0 * 2**23]
    best, faithful = Grade.CORRECTLY_ROUNDED, Grade.FAITHFUL
    assert grade.tolist() == [best, best, best, faithful, Grade.WRONG]
    assert measure([np.nan], Answer(Truth.of([0.0]), Truth.of([1.0])), "float32")[1] == Grade.WRONG


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("scale", [None, np.nan, 1.0])
def test_from_minus_to_plus_infinity_every_finite_number_is_right(
    dtype: str, scale: float | None
) -> None:
    form = FORMATS[dtype]
    numbers = [0.0, -0.0, 1.0, -3.5, form.largest, -form.largest, np.nan, np.inf, -np.inf]
    lines = Truth.of([-np.inf] * 9), Truth.of([np.inf] * 9)
    answer = Answer(*lines, None if scale is None else Truth.of([scale] * 9))
    error, grade = measure(np.array(numbers).astype(form.dtype), answer, dtype)
    assert error.tolist() == [0.0] * 6 + [np.inf] * 3
    assert grade.tolist() == [Grade.CORRECTLY_ROUNDED] * 6 + [Grade.WRONG] * 3


def test_an_interval_with_one_infinite_end_holds_that_infinity() -> None:
    ray = Answer(Truth.of([1.0] * 4), Truth.of([np.inf] * 4))
    grade = measure(np.float32([np.inf, 5.0, -1.0, -np.inf]), ray, "float32")[1]
    best = Grade.CORRECTLY_ROUNDED
    assert grade.tolist() == [best, best, Grade.WRONG, Grade.WRONG]


def test_the_ends_of_an_interval_are_rounded_too() -> None:
    third = Truth.parse(["0x1.5555555555555555555p-2"])
    kink = Answer(Truth.of([0.0]), third)
    error, grade = measure(np.float32([1 / 3]), kink, "float32")
    assert 0 < error[0] < 0.5
    assert grade[0] == Grade.CORRECTLY_ROUNDED


def test_a_scale_replaces_the_truths_own_ulp() -> None:
    scaled = Answer(
        Truth.of([1e-9, 0.0, 0.5]), Truth.of([1e-9, 0.0, 0.5]), Truth.of([1, 1, np.nan])
    )
    error, grade = measure(np.float32([0, 2.0**-24, 0]), scaled, "float32")
    assert error.tolist() == [1e-9 * 2**23, 0.5, 0.5 * 2**24]
    assert grade.tolist() == [Grade.FAITHFUL, Grade.FAITHFUL, Grade.WRONG]


@pytest.mark.parametrize("dtype", FORMATS)
def test_below_a_scale_rounding_is_excused_and_nothing_else(dtype: str) -> None:
    """Errors as large as the truth: by some digits of the scale, and by more than half of them."""
    form = FORMATS[dtype]
    ulp = 2.0 ** (1 - form.precision)
    digits = 2.0 ** (form.precision // 2)
    truth = Truth.of([4 * ulp, 0.0, 4 * ulp, 0.125, 0.0])
    numbers = np.array([0.0, 2 * ulp, (4 + 2 * digits) * ulp, 0.0, 2 * digits * ulp])
    scaled = Answer(truth, truth, Truth.of(np.ones(5)))
    grade = measure(numbers.astype(form.dtype), scaled, dtype)[1]
    assert grade[:2].max() <= Grade.LOSES_DIGITS
    assert grade[2:].tolist() == [Grade.WRONG] * 3


def test_a_number_in_another_format_is_rounded_first() -> None:
    assert graded(np.float64([1.0 + 2.0**-40]), "0x1p+0") == Grade.CORRECTLY_ROUNDED
    # Through float32 this one would round twice, and to the wrong neighbour.
    double = np.float64([1.0 + 2.0**-8 + 2.0**-40])
    assert graded(double, "0x1.02p+0", "bfloat16") == Grade.CORRECTLY_ROUNDED
    assert double.astype(ml_dtypes.bfloat16).astype(float) == 1.0


def test_grades_are_ordered_and_read_back() -> None:
    assert Grade.FAITHFUL < Grade.LOSES_DIGITS < Grade.WRONG < Grade.CRASHED
    for grade in Grade:
        assert Grade.parse(grade.label) is grade
    with pytest.raises(ValueError, match="the grades are correctly rounded, faithful"):
        Grade.parse("excellent")
