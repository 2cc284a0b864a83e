"""Rows of SymPy expressions on one path through the branches, each of which waits to be asked for.

Code that is written for any array namespace runs on them as it stands, and only comparisons on
which its answer depends fork the path. (NumPy's arrays of objects compare everything at once.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any

import sympy
from sympy import Expr, Integer

from derivations.explorer import Path, formula_on
from refloss.formula.reading import Formula
from refloss.formula.symbols import Condition, exact

Element = Callable[[], Any]


def less(path: Path, a: Any, b: Any) -> bool:
    """Whether a < b on this path."""
    if a == b:
        return False
    if sympy.oo in (a, b) or -sympy.oo in (a, b):
        return bool(a < b)
    return path.holds(Condition(sympy.sympify(b) - a, ">"))


class Row:
    """A row of expressions, whole numbers or truth values."""

    device = "cpu"
    ndim = 1

    def __init__(self, path: Path, elements: Sequence[Element]) -> None:
        self.path = path
        self.elements = [functools.cache(element) for element in elements]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.elements),)

    def __array_namespace__(self, api_version: str | None = None) -> Namespace:
        return Namespace(self.path)

    def __iter__(self) -> Iterator[Any]:
        return (element() for element in self.elements)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return Row(self.path, self.elements[at])
        return self.elements[at]()

    def each(self, function: Callable[..., Any], *others: Any) -> Row:
        """A function of every element, and of the same element of other arrays."""
        size = max(len(one.elements) for one in (self, *others) if isinstance(one, Row))
        columns = [self._spread(one, size) for one in (self, *others)]

        def of(parts: tuple[Element, ...]) -> Element:
            return lambda: function(*(element() for element in parts))

        return Row(self.path, [of(parts) for parts in zip(*columns, strict=True)])

    def _spread(self, other: Any, size: int) -> Sequence[Element]:
        if isinstance(other, Row):
            return other.elements * size if len(other.elements) == 1 else other.elements
        number = other if isinstance(other, bool) else exact(other)
        return [lambda: number] * size

    def __add__(self, other: Any) -> Row:
        return self.each(lambda a, b: a + b, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Row:
        return self.each(lambda a, b: a - b, other)

    def __rsub__(self, other: Any) -> Row:
        return self.each(lambda a, b: b - a, other)

    def __mul__(self, other: Any) -> Row:
        return self.each(lambda a, b: a * b, other)

    __rmul__ = __mul__

    def __neg__(self) -> Row:
        return self.each(lambda a: -a)

    def __lt__(self, other: Any) -> Row:
        return self.each(functools.partial(less, self.path), other)

    def __gt__(self, other: Any) -> Row:
        return self.each(lambda a, b: less(self.path, b, a), other)

    def __eq__(self, other: object) -> Row:  # type: ignore[override]
        return self.each(lambda a, b: bool(a == b), other)  # of whole numbers

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Row:
        columns = zip(self.elements, self._spread(other, len(self.elements)), strict=True)
        return Row(self.path, [_both(a, b) for a, b in columns])

    def __invert__(self) -> Row:
        return self.each(lambda a: not a)


def _both(first: Element, second: Element) -> Element:
    return lambda: first() and second()


def row(path: Path, numbers: Sequence[Any]) -> Row:
    """An array of what is known already."""

    def known(number: Any) -> Element:
        return lambda: number

    return Row(path, [known(number) for number in numbers])


class Namespace:
    """The functions of the array API that row-wise code asks for."""

    __name__ = "symbolic"
    float64 = "float64"
    int64 = "int64"

    def __init__(self, path: Path) -> None:
        self.path = path

    def full_like(self, x: Row, number: float) -> Row:
        return row(self.path, [_number(number)] * len(x.elements))

    def zeros_like(self, x: Row) -> Row:
        return row(self.path, [Integer(0)] * len(x.elements))

    def zeros(self, count: int, dtype: Any = None, device: Any = None) -> Row:
        return row(self.path, [Integer(0)] * count)

    def arange(self, count: int, device: Any = None) -> Row:
        return row(self.path, [Integer(n) for n in range(count)])

    def astype(self, x: Row, dtype: Any) -> Row:
        return x

    def where(self, condition: Row, chosen: Row, otherwise: Row) -> Row:
        parts = [part.elements for part in (condition, chosen, otherwise)]
        size = max(len(part) for part in parts)
        columns = (part * size if len(part) == 1 else part for part in parts)
        return Row(self.path, [_chosen(*each) for each in zip(*columns, strict=True)])

    def any(self, x: Row, axis: int, keepdims: bool) -> Row:
        return Row(self.path, [lambda: any(x)])

    def sum(self, x: Row, axis: int | None = None, keepdims: bool = False) -> Any:
        def total() -> Expr:
            return sympy.Add(*(Integer(one) if isinstance(one, bool) else one for one in x))

        return Row(self.path, [total]) if keepdims else total()

    def abs(self, x: Row) -> Row:
        return x.each(sympy.Abs)

    def max(self, x: Row) -> float:
        """Unknown. It only ever says where to cut numbers, and the reals need no cut."""
        return math.inf

    def argmax(self, x: Row, axis: int, keepdims: bool) -> Row:
        """The first of the largest."""
        return self._first(x, lambda a, b: less(self.path, a, b))

    def argmin(self, x: Row, axis: int, keepdims: bool) -> Row:
        """The first of the smallest."""
        return self._first(x, lambda a, b: less(self.path, b, a))

    def _first(self, x: Row, behind: Callable[[Any, Any], bool]) -> Row:
        def best() -> Expr:
            found = 0
            for place in range(1, len(x.elements)):
                if behind(x[found], x[place]):
                    found = place
            return Integer(found)

        return Row(self.path, [best])

    def sort(self, x: Row) -> Row:
        ordered = functools.cache(lambda: self._ordered(x))

        def at(place: int) -> Element:
            return lambda: ordered()[place]

        return Row(self.path, [at(place) for place in range(len(x.elements))])

    def _ordered(self, x: Row) -> list[Any]:
        found: list[Any] = []
        for number in x:
            place = len(found)
            while place and less(self.path, number, found[place - 1]):
                place -= 1
            found.insert(place, number)
        return found

    def searchsorted(self, x: Row, at: Row, side: str = "left") -> Row:
        def passed(number: Any) -> Integer:
            place = 0
            for other in x:
                ahead = less(self.path, other, number) if side == "left" else not less(
                    self.path, number, other
                )  # fmt: skip
                if not ahead:
                    break
                place += 1
            return Integer(place)

        return at.each(passed)

    def take(self, x: Row, at: Row) -> Row:
        return at.each(lambda place: x[int(place)])

    def cumulative_sum(self, x: Row) -> Row:
        def upto(place: int) -> Element:
            return lambda: sympy.Add(*x[: place + 1])

        return Row(self.path, [upto(place) for place in range(len(x.elements))])

    def concat(self, parts: Sequence[Row], axis: int = 0) -> Row:
        return Row(self.path, [element for part in parts for element in part.elements])


def _number(number: float) -> Expr:
    if math.isinf(number):
        return sympy.oo if number > 0 else -sympy.oo
    return exact(number)


def _chosen(condition: Element, chosen: Element, otherwise: Element) -> Element:
    return lambda: chosen() if condition() else otherwise()


class RowKernels:
    """The kernels of row-wise code, on one path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def map_formula(self, formula: Formula, quantities: Mapping[str, Any]) -> Row:
        """A formula of every element; numbers are the same for all."""
        names = list(signature(formula).parameters)
        given = [quantities[name] for name in names]
        size = next(len(one.elements) for one in given if isinstance(one, Row))
        first, *others = (
            one if isinstance(one, Row) else row(self.path, [exact(one)] * size)
            for one in given
        )  # fmt: skip

        def at(*numbers: Any) -> Expr:
            return formula_on(self.path, formula, dict(zip(names, numbers, strict=True)))

        return first.each(at, *others)

    def sum_pair(self, x: Row) -> tuple[Expr, Expr]:
        return sympy.Add(*x), Integer(0)
