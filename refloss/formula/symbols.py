"""The reading over SymPy: what a formula says over the reals, as an expression.

What rounding loses is zero here. Numbers are wrapped, so that a comparison gives a
:class:`Condition` (SymPy's own ``==`` would compare how two expressions are written), and ``where``
asks a `Path` which arm to take: `derivations.explorer` walks every arm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sympy


@dataclass(frozen=True)
class Condition:
    """``difference relation 0`` with a relation ``>``, ``>=`` or ``==``; or its opposite."""

    difference: Any
    relation: str
    opposite: bool = False


class Path(Protocol):
    """Decides which arm of a formula is walked."""

    def select(self, condition: Condition, chosen: Any, otherwise: Any) -> Any:
        """One of two SymPy expressions."""


class Quantity:
    """A real number, given by a SymPy expression."""

    __slots__ = ("expression",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def __repr__(self) -> str:
        return f"Quantity({self.expression})"

    def __neg__(self) -> Quantity:
        return Quantity(-self.expression)

    def __add__(self, other: Any) -> Quantity:
        return Quantity(self.expression + exact(other))

    def __radd__(self, other: Any) -> Quantity:
        return Quantity(exact(other) + self.expression)

    def __sub__(self, other: Any) -> Quantity:
        return Quantity(self.expression - exact(other))

    def __rsub__(self, other: Any) -> Quantity:
        return Quantity(exact(other) - self.expression)

    def __mul__(self, other: Any) -> Quantity:
        return Quantity(self.expression * exact(other))

    def __rmul__(self, other: Any) -> Quantity:
        return Quantity(exact(other) * self.expression)

    def __truediv__(self, other: Any) -> Quantity:
        return Quantity(_divided(self.expression, exact(other)))

    def __rtruediv__(self, other: Any) -> Quantity:
        return Quantity(_divided(exact(other), self.expression))

    def __gt__(self, other: Any) -> Any:
        return _compared(self, other, ">")

    def __ge__(self, other: Any) -> Any:
        return _compared(self, other, ">=")

    def __lt__(self, other: Any) -> Any:
        return _compared(other, self, ">")

    def __le__(self, other: Any) -> Any:
        return _compared(other, self, ">=")

    def __eq__(self, other: Any) -> Any:
        return _compared(self, other, "==")

    def __ne__(self, other: Any) -> Any:
        return _compared(self, other, "==", opposite=True)

    def __bool__(self) -> bool:
        raise TypeError("a formula branches with `where`, never with the truth of a number")


def exact(x: Any) -> Any:
    """The SymPy expression of a number or quantity; a float counts for the number that it is."""
    if isinstance(x, Quantity):
        return x.expression
    if isinstance(x, float) and math.isfinite(x):
        return sympy.Rational(*x.as_integer_ratio())
    return sympy.sympify(x)


def _compared(x: Any, y: Any, relation: str, opposite: bool = False) -> Condition | bool:
    left, right = exact(x), exact(y)
    for infinite, greater in ((left, sympy.oo), (right, -sympy.oo)):
        if infinite in (sympy.oo, -sympy.oo) and left != right:
            return opposite != (relation != "==" and infinite == greater)
    return Condition(left - right, relation, opposite)


def _of(function: Callable[[Any], Any]) -> Callable[[Any], Quantity]:
    return lambda x: Quantity(function(exact(x)))


def product(mass: Any, x: Any) -> Quantity:
    """A mass that is zero stays zero, also times infinity."""
    first, second = exact(mass), exact(x)
    if second in (sympy.oo, -sympy.oo):
        first = sympy.together(first)  # SymPy sees the sign of s / (1 + s), not of 1 - 1 / (1 + s)
    return Quantity(first if first == 0 else first * second)


def quotient(mass: Any, x: Any) -> Quantity:
    """A mass that is zero stays zero, also over zero."""
    above = exact(mass)
    return Quantity(above if above == 0 else _divided(above, exact(x)))


def _divided(above: Any, below: Any) -> Any:
    """A quotient; zero stands for what comes from above, as it does for floats."""
    return sympy.together(above) * sympy.oo if below == 0 else above / below


def _logarithm(x: Any) -> Any:
    return -sympy.oo if x == 0 else sympy.log(x)


def power(x: Any, exponent: Any) -> Quantity:
    return Quantity(exact(x) ** exact(exponent))


def lost(*numbers: Any) -> Quantity:
    """Nothing is lost over the reals."""
    return Quantity(sympy.Integer(0))


def meaning(path: Path) -> Mapping[str, Any]:
    """What each word means over the reals, on a path through the formula's branches."""

    def where(condition: Any, chosen: Any, otherwise: Any) -> Quantity:
        if isinstance(condition, bool):
            return Quantity(exact(chosen if condition else otherwise))
        return Quantity(path.select(condition, exact(chosen), exact(otherwise)))

    return {
        "where": where,
        "absolute": _of(sympy.Abs),
        "exp": _of(sympy.exp),
        "exp_error": lost,
        "expm1": _of(lambda x: sympy.exp(x) - 1),
        "log": _of(_logarithm),
        "log1p": _of(lambda x: _logarithm(1 + x)),
        "power": power,
        "sqrt": _of(sympy.sqrt),
        "product": product,
        "quotient": quotient,
        "sum_error": lost,
        "product_error": lost,
        "INFINITY": sympy.oo,
    }
