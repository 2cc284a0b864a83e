"""The truth is read and rounded exactly; gmpy2 rounds the same numbers by another road."""

from fractions import Fraction

import gmpy2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refloss.accuracy import FORMATS, Truth, rounded

numbers = st.tuples(
    st.integers(min_value=-(2**80) + 1, max_value=2**80 - 1),
    st.one_of(st.integers(-1300, 1100), st.integers(-160, -120), st.integers(-110, -90)),
)


def text(mantissa: int, exponent: int) -> str:
    return f"{'-' if mantissa < 0 else ''}0x{abs(mantissa):x}p{exponent:+d}"


def by_gmpy2(mantissa: int, exponent: int, dtype: str) -> float:
    form = FORMATS[dtype]
    context = gmpy2.context(
        precision=form.precision,
        emax=form.largest_exponent + 1,
        emin=form.smallest_exponent - form.precision + 2,
        subnormalize=True,
    )
    exact = Fraction(mantissa) * Fraction(2) ** exponent
    with gmpy2.context(context):
        return float(gmpy2.mpfr(gmpy2.mpq(exact)))


@pytest.mark.parametrize("dtype", FORMATS)
@given(number=numbers)
def test_rounds_as_gmpy2_does(dtype: str, number: tuple[int, int]) -> None:
    got = rounded(Truth.parse([text(*number)]), dtype)[0]
    assert got == by_gmpy2(*number, dtype)


@pytest.mark.parametrize("dtype", FORMATS)
@given(mantissa=st.integers(1, 2**60), shift=st.integers(-70, 70))
def test_ties_and_their_neighbours(dtype: str, mantissa: int, shift: int) -> None:
    """Numbers that share the format's leading bits and stand on, above or below the middle."""
    precision = FORMATS[dtype].precision
    leading = mantissa | 1 << 60
    leading = leading >> (61 - precision)
    for tail in (1 << 26, (1 << 26) - 1, (1 << 26) + 1, 1):
        number = (leading << 27 | tail, shift)
        assert rounded(Truth.parse([text(*number)]), dtype)[0] == by_gmpy2(*number, dtype)


@given(number=numbers)
def test_holds_all_80_bits(number: tuple[int, int]) -> None:
    truth = Truth.parse([text(*number)])
    scaled = Fraction(float(truth.high[0])) + Fraction(float(truth.low[0]))
    assert scaled * Fraction(2) ** int(truth.exponent[0]) == Fraction(number[0]) * (
        Fraction(2) ** number[1]
    )


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_16_bit_float_is_itself(dtype: str) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    short = FORMATS[dtype].dtype if FORMATS[dtype].dtype.itemsize == 2 else np.dtype(np.float16)
    with np.errstate(invalid="ignore"):  # signalling NaNs are among them
        floats = bits.view(short).astype(np.float64)
    np.testing.assert_array_equal(rounded(Truth.of(floats), dtype), floats)


def test_reads_fractions_signs_and_what_is_not_finite() -> None:
    truth = Truth.parse(["0x1.8p+1", "-0x0.8p+0", "0x0.0p+0", "inf", "-inf", "nan"])
    expected = [3.0, -0.5, 0.0, np.inf, -np.inf, np.nan]
    np.testing.assert_array_equal(rounded(truth, "float64"), expected)


def test_decimal_is_the_shortest_text_and_goes_beyond_float64() -> None:
    truth = Truth.parse(["0x8.da432ad28a0ee0b366fp-32", "0x1p-2000", "0x1p+2000", "inf"])
    texts = [truth.decimal(i) for i in range(4)]
    assert texts[0] == "2.061153620314381e-09"
    assert texts[1] == "8.7098098162172167e-603"
    assert texts[2] == "1.1481306952742545e+602"
    assert texts[3] == "inf"
