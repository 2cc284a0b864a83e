"""The reading that asks whether a formula carries a NaN by itself.

One argument is NaN, and of the others nothing is known. Arithmetic with NaN is NaN, a comparison
with NaN is false, and where a comparison is open either arm may come. What is NaN in the end is so
whatever the others are, and nobody has to put it back.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from refloss.formula.reading import Formula, parameters, read
from refloss.formula.words import WORDS


class Known:
    """What is known of a number, or of a comparison: that it is NaN, or false; or nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, is_nan: bool = False, is_false: bool = False) -> None:
        self.is_nan, self.is_false = is_nan, is_false

    def _with(self, other: Any) -> Known:
        return NAN if self.is_nan or is_nan(other) else SOME

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _with
    __truediv__ = __rtruediv__ = _with

    def __neg__(self) -> Known:
        return self

    def _compared(self, other: Any) -> Known:
        return FALSE if self.is_nan or is_nan(other) else SOME

    __lt__ = __le__ = __gt__ = __ge__ = _compared

    def __eq__(self, other: object) -> Any:
        return self._compared(other)

    def __ne__(self, other: object) -> Any:
        return SOME  # true, of NaN: what follows from that is not asked

    def __and__(self, other: Known) -> Known:
        return FALSE if self.is_false or other.is_false else SOME

    def __or__(self, other: Known) -> Known:
        return FALSE if self.is_false and other.is_false else SOME

    def __bool__(self) -> bool:
        raise TypeError("a formula branches with `where`, never with the truth of a number")


SOME, NAN, FALSE = Known(), Known(is_nan=True), Known(is_false=True)


def is_nan(x: Any) -> bool:
    """Whether it is known to be NaN; a plain number is none."""
    return isinstance(x, Known) and x.is_nan


def where(condition: Any, chosen: Any, otherwise: Any) -> Any:
    """Of NaN in both arms either is NaN."""
    if isinstance(condition, Known) and condition.is_false:
        return otherwise
    return NAN if is_nan(chosen) and is_nan(otherwise) else SOME


def of_one(x: Any) -> Known:
    """A function of one number, which is NaN of NaN."""
    return NAN if is_nan(x) else SOME


def of_mass(mass: Any, x: Any) -> Known:
    """A mass of zero silences the other, so that only the mass tells."""
    return of_one(mass)


def unknown(*given: Any) -> Known:
    """What an operation lost may be nothing; anything to the power of zero is one."""
    return SOME


_ONE = ("absolute", "exp", "expm1", "log", "log1p", "sqrt")
_MEANING: dict[str, Formula] = {
    **{word.__name__: unknown for word in WORDS},
    **dict.fromkeys(_ONE, of_one),
    "where": where,
    "product": of_mass,
    "quotient": of_mass,
}


@cache
def carries(formula: Formula, argument: str) -> bool:
    """Whether a formula is NaN where an argument is, whatever the others are."""
    given = [NAN if name == argument else SOME for name in parameters(formula)]
    return is_nan(read(formula, _MEANING)(*given))
