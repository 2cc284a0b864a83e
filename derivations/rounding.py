"""Certified rounding: a ball becomes a number only when both its ends agree.

Answers are stored rounded *to odd* at 80 significant bits: cut off after 80 bits, and if anything
was cut, set the last bit. Rounding such a number again, to nearest in any format of at most 64
bits of precision, subnormal or not, gives the correctly rounded exact value: the sticky last bit
keeps it off every midpoint.
"""

from __future__ import annotations

from fractions import Fraction

from flint import arb, fmpq

BITS = 80


class Uncertain(ArithmeticError):
    """The ball is too wide to tell the rounded answer, or the order of two balls."""


def round_to_odd(value: Fraction) -> Fraction:
    """`value` rounded to odd at 80 significant bits; exact if it has no more than that."""
    if value == 0:
        return value
    p, q = abs(value.numerator), value.denominator
    shift = BITS - (p.bit_length() - q.bit_length())
    scaled, rest = divmod(p << shift, q) if shift >= 0 else divmod(p, q << -shift)
    extra = scaled.bit_length() - BITS  # 0 or 1
    if extra:
        rest |= scaled & 1
        scaled >>= 1
        shift -= 1
    if rest:
        scaled |= 1
    result = Fraction(scaled, 1 << shift) if shift >= 0 else Fraction(scaled << -shift)
    return result if value > 0 else -result


def _end(ball: arb) -> Fraction:
    mantissa, exponent = (int(part) for part in ball.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


def certified(number: fmpq | arb) -> Fraction:
    """The 80-bit answer for a rational or a ball; raises :class:`Uncertain` if not determined."""
    if isinstance(number, fmpq):
        return round_to_odd(Fraction(int(number.p), int(number.q)))
    if not number.is_finite():
        raise Uncertain(str(number))
    lower = round_to_odd(_end(number.lower()))
    if lower != round_to_odd(_end(number.upper())):
        raise Uncertain(str(number))
    return lower


def hexadecimal(value: Fraction | float) -> str:
    """C's ``%a``, of any precision and exponent: ``0x1.8p+1``; also ``nan``, ``inf``, ``-inf``."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return str(value)
        if value == 0:
            return "-0x0p+0" if str(value)[0] == "-" else "0x0p+0"
        value = Fraction(value)
    if value == 0:
        return "0x0p+0"
    p, q = abs(value.numerator), value.denominator
    assert q & (q - 1) == 0, value
    exponent = p.bit_length() - q.bit_length()
    width = p.bit_length() - 1
    digits = (width + 3) // 4
    fraction = (p - (1 << width)) << (4 * digits - width)
    text = f"{fraction:0{digits}x}".rstrip("0") if digits else ""
    sign = "-" if value < 0 else ""
    return f"{sign}0x1{'.' if text else ''}{text}p{exponent:+d}"
