"""The reading over Arb's balls: what a formula may be for all numbers of an interval.

Every result contains the results of all numbers that its arguments contain. A comparison that is
true for some of them and false for others has no answer and raises; it never falls into an arm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flint import arb, fmpq


class UndecidedError(ArithmeticError):
    """A comparison of balls that overlap."""


class Ball:
    """All real numbers of an interval."""

    __slots__ = ("ball",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, ball: Any) -> None:
        self.ball = ball

    def __repr__(self) -> str:
        return f"Ball({self.ball})"

    def __neg__(self) -> Ball:
        return Ball(-self.ball)

    def __add__(self, other: Any) -> Ball:
        return Ball(self.ball + exact(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Ball:
        return Ball(self.ball - exact(other))

    def __rsub__(self, other: Any) -> Ball:
        return Ball(exact(other) - self.ball)

    def __mul__(self, other: Any) -> Ball:
        return Ball(self.ball * exact(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Ball:
        return Ball(self.ball / exact(other))

    def __rtruediv__(self, other: Any) -> Ball:
        return Ball(exact(other) / self.ball)

    def __gt__(self, other: Any) -> bool:
        return _greater(self.ball, exact(other))

    def __lt__(self, other: Any) -> bool:
        return _greater(exact(other), self.ball)

    def __ge__(self, other: Any) -> bool:
        return not _greater(exact(other), self.ball)

    def __le__(self, other: Any) -> bool:
        return not _greater(self.ball, exact(other))

    def __eq__(self, other: object) -> bool:
        return _equal(self.ball, exact(other))

    def __ne__(self, other: object) -> bool:
        return not _equal(self.ball, exact(other))

    def __bool__(self) -> bool:
        raise TypeError("a formula branches with `where`, never with the truth of a number")


def exact(x: Any) -> Any:
    """The ball of a number; a float counts for the number that it is."""
    if isinstance(x, Ball):
        return x.ball
    if isinstance(x, float) and math.isfinite(x):
        return arb(fmpq(*x.as_integer_ratio()))
    return arb(x)


def _greater(x: Any, y: Any) -> bool:
    if x > y:
        return True
    if x <= y:
        return False
    raise UndecidedError(f"{x} > {y}")


def _equal(x: Any, y: Any) -> bool:
    if x == y:
        return True
    if x != y:
        return False
    raise UndecidedError(f"{x} == {y}")


def _zero(x: Any) -> bool:
    """Whether the number is zero; whether it only may be is not decided."""
    return Ball(exact(x)) == 0


def where(condition: bool, chosen: Any, otherwise: Any) -> Ball:
    return Ball(exact(chosen if condition else otherwise))


def power(x: Any, exponent: Any) -> Ball:
    if _zero(exponent):
        return Ball(arb(1))
    return Ball(arb(0) if _zero(x) else exact(x) ** exact(exponent))


def product(mass: Any, x: Any) -> Ball:
    return Ball(arb(0) if _zero(mass) else exact(mass) * exact(x))


def quotient(mass: Any, x: Any) -> Ball:
    return Ball(arb(0) if _zero(mass) else exact(mass) / exact(x))


def lost(*numbers: Any) -> Ball:
    """Nothing is lost over the reals."""
    return Ball(arb(0))


MEANING: Mapping[str, Any] = {
    "where": where,
    "absolute": lambda x: Ball(abs(exact(x))),
    "exp": lambda x: Ball(exact(x).exp()),
    "exp_error": lost,
    "expm1": lambda x: Ball(exact(x).expm1()),
    "log": lambda x: Ball(exact(x).log()),
    "log1p": lambda x: Ball(exact(x).log1p()),
    "power": power,
    "sqrt": lambda x: Ball(exact(x).sqrt()),
    "product": product,
    "quotient": quotient,
    "sum_error": lost,
    "product_error": lost,
}
