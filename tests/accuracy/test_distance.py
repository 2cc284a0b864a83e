"""The distance of two computed numbers."""

import numpy as np
import pytest

from refloss.accuracy import FORMATS, Answer, Truth, distance

BINARY = pytest.mark.parametrize("dtype", FORMATS)


def between(one: float, other: float, dtype: str, answer: Answer | None = None) -> float:
    form = FORMATS[dtype].dtype
    a, b = (np.array([x]).astype(form) for x in (one, other))
    there, back = distance(a, b, dtype, answer), distance(b, a, dtype, answer)
    assert np.array_equal(there, back)
    return float(there[0])


def known(truth: str, scale: str = "nan") -> Answer:
    number = Truth.parse([truth])
    return Answer(number, number, Truth.parse([scale]))


@BINARY
def test_neighbours_are_one_ulp_apart(dtype: str) -> None:
    form = FORMATS[dtype].dtype.type
    one = form(1.5)
    assert between(one, np.nextafter(one, form(2)), dtype) == 1
    assert between(one, one, dtype) == 0


@BINARY
def test_nan_infinity_and_zero(dtype: str) -> None:
    largest = FORMATS[dtype].largest
    assert between(np.nan, np.nan, dtype) == 0
    assert between(np.nan, 1.0, dtype) == np.inf
    assert between(np.nan, np.inf, dtype) == np.inf
    assert between(np.inf, np.inf, dtype) == 0
    assert between(np.inf, largest, dtype) == 1
    assert between(-np.inf, largest, dtype) > 2
    assert between(-0.0, 0.0, dtype) == 0


def test_an_answer_that_is_infinite_is_no_overflow() -> None:
    largest = FORMATS["float32"].largest
    assert between(np.inf, largest, "float32", known("inf")) == np.inf
    assert between(np.inf, largest, "float32", known("0x1p128")) == 1


def test_it_counts_in_ulps_of_the_truth_or_of_its_scale() -> None:
    one, other = 1.0, 1.0 + 2.0**-23
    assert between(one, other, "float32", known("0x1p0")) == 1
    assert between(one, other, "float32", known("0x1p-4")) == 16
    assert between(one, other, "float32", known("0x1p0", "0x1p4")) == 1 / 16
    assert between(one, other, "float32", known("nan")) == 1


def test_near_zero_it_counts_in_the_smallest_number() -> None:
    smallest = 2.0**-149
    assert between(0.0, smallest, "float32") == 1
    assert between(-smallest, smallest, "float32", known("0x0p+0")) == 2
