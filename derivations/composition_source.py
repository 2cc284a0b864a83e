"""Python source that works a composition out in conditioned numbers.

Each definition becomes a function of its indices that remembers what it gave, each sum a loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import sympy
from sympy import Expr, Symbol

from derivations import conditioned
from derivations.composition import Composition
from derivations.enclose import NumberPrinter

Formula: TypeAlias = "Callable[..., conditioned.Conditioned]"
_WORDS: dict[str, Any] = {
    name: getattr(conditioned, name)
    for name in (
        "ANYTHING", "NOUGHT", "UNIT", "Conditioned", "absolute", "chosen", "compare", "exp",
        "judged", "log", "log1p", "most", "once", "power", "product", "total", "whole",
    )
} | {"remembered": functools.cache, "range": range}  # fmt: skip


class CompositionPrinter(NumberPrinter):
    """Expressions over arguments, definitions, options (numbers) and sizes (whole numbers)."""

    def __init__(self, composition: Composition) -> None:
        super().__init__()
        self.defined = {definition.symbol for definition in composition.where}
        self.scalars = set(composition.options.values())

    def _args(self, arguments: Sequence[Expr]) -> str:
        return ", ".join(self._print(a) for a in arguments)

    def _print_Symbol(self, e: Any) -> str:
        return f"v_{e.name}" if e in self.scalars else f"whole({self.whole(e)})"

    def whole(self, e: Expr) -> str:
        """A whole number, in Python's own."""
        if e.is_Integer:
            return str(int(e))
        if isinstance(e, Symbol):
            return f"n_{e.name}"
        if isinstance(e, sympy.Indexed):
            return self._place(e)
        if isinstance(e, sympy.Add):
            return "(" + " + ".join(self.whole(a) for a in e.args) + ")"
        if isinstance(e, sympy.Mul):
            return "(" + "*".join(self.whole(a) for a in e.args) + ")"
        if isinstance(e, sympy.Mod):
            return f"({self.whole(e.args[0])} % {self.whole(e.args[1])})"
        return str(self.emptyPrinter(e))

    def _place(self, e: Any) -> str:
        indices = ", ".join(self.whole(index) for index in e.indices)
        name = f"a_{e.base.label.name}"
        return f"{name}({indices})" if e.base in self.defined else f"{name}[{indices}]"

    def _print_Indexed(self, e: Any) -> str:
        return f"whole({self._place(e)})" if e.base.is_integer else self._place(e)

    def _print_Add(self, e: Any) -> str:
        return f"total(({self._args(e.args)}))"

    def _print_Mul(self, e: Any) -> str:
        return f"product(({self._args(e.args)}))"

    def _print_log(self, e: Any) -> str:
        (x,) = e.args
        if isinstance(x, sympy.Add) and x.args[0] == 1:
            return f"log1p({self._print(sympy.Add(*x.args[1:]))})"
        return f"log({self._print(x)})"

    def _print_Abs(self, e: Any) -> str:
        return f"absolute({self._print(e.args[0])})"

    def _print_Max(self, e: Any) -> str:
        return f"most(({self._args(e.args)}))"

    def _print_Min(self, e: Any) -> str:
        return f"most(({self._args(e.args)}), -1)"

    def _print_KroneckerDelta(self, e: Any) -> str:
        a, b = (self.whole(i) for i in e.args)
        return f"(UNIT if {a} == {b} else NOUGHT)"

    def _print_Piecewise(self, e: Any) -> str:
        arms = (f"({self._holds(c)}, lambda: {self._print(v)})" for v, c in e.args)
        return f"chosen({', '.join(arms)})"

    def _holds(self, condition: Any) -> str:
        return "None" if condition == True else f"lambda: {self._closed(condition)}"  # noqa: E712

    def _closed(self, condition: Any) -> str:
        """A condition with its inequalities closed, but for those between whole numbers."""
        if isinstance(condition, sympy.And | sympy.Or):
            word = " and " if isinstance(condition, sympy.And) else " or "
            return "(" + word.join(self._closed(c) for c in condition.args) + ")"
        sign = _SIGNS[type(condition)]
        a, b = condition.args
        if a.is_integer and b.is_integer:
            return f"{self.whole(a)} {sign} {self.whole(b)}"
        closed = {"<": "<=", ">": ">="}.get(sign, sign)
        return f"compare({self._print(a)}, {self._print(b)}) {closed} 0"

    def _print_AccumulationBounds(self, e: Any) -> str:
        if sympy.oo in e.args:
            return "ANYTHING"
        low, high = (self._print(end) for end in e.args)
        return f"Conditioned({low}.low, {high}.high)"

    def _print_Sum(self, e: Any) -> str:
        return f"total([{self._loop(e)}])"

    def _print_Largest(self, e: Any) -> str:
        return f"most([NOUGHT, *[{self._loop(e)}]])"

    def _loop(self, e: Any) -> str:
        loops = (
            f"for n_{i.name} in range({self.whole(low)}, {self.whole(high)} + 1)"
            for i, low, high in reversed(e.limits)
        )
        return f"{self._print(e.function)} {' '.join(loops)}"


_SIGNS = {
    sympy.Eq: "==", sympy.Ne: "!=", sympy.Lt: "<", sympy.Le: "<=", sympy.Gt: ">", sympy.Ge: ">=",
}  # fmt: skip


@functools.cache
def compiled(composition: Composition) -> Callable[..., Mapping[str, Formula]]:
    """A function of arguments, options and sizes that returns a function for each answer.

    The answers are "value" and the names of the gradient's arguments; their functions take the row,
    and for a gradient the component.
    """
    printer = CompositionPrinter(composition)
    sizes = sorted({s for axes in composition.axes.values() for s in axes}, key=str)
    names = [
        *(f"a_{base.label.name}" for base in composition.arguments.values()),
        *(f"v_{symbol.name}" for symbol in composition.options.values()),
        *(f"n_{symbol.name}" for symbol in sizes),
    ]
    lines = [f"def outer({', '.join(names)}):"]

    def function(name: str, indices: Sequence[Symbol], body: str) -> None:
        lines.append("    @remembered")
        lines.append(f"    def {name}({', '.join(f'n_{i.name}' for i in indices)}):")
        lines.append(f"        return {body}")

    for definition in composition.where:
        body = printer.doprint(definition.expression)
        if definition.once:
            body = f"once({body})"
        if definition.condition is not None:
            body = f"judged({body}, lambda: {printer.doprint(definition.condition)})"
        function(f"a_{definition.symbol.label.name}", definition.indices, body)
    value = composition.textbook if composition.stated is None else composition.stated
    function("value", (composition.row,), printer.doprint(value))
    answers = ["'': value"]
    for name, expression in composition.gradient.items():
        indices = (composition.row, composition.component)
        function(f"gradient_{name}", indices, printer.doprint(expression))
        answers.append(f"{name!r}: gradient_{name}")
    lines.append(f"    return {{{', '.join(answers)}}}")
    constants = {name: conditioned.number(value) for name, value in printer.constants.items()}
    namespace = {**_WORDS, **constants}
    exec("\n".join(lines), namespace)
    outer: Callable[..., Mapping[str, Formula]] = namespace["outer"]
    return outer


def sizes_of(
    axes: Mapping[str, tuple[Symbol, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[Symbol, int]:
    """The extents of arrays: all axes but the last of an array of vectors are its rows."""
    found: dict[Symbol, int] = {}
    for name, symbols in axes.items():
        shape = shapes[name]
        count = 1
        for extent in shape[:-1] if len(symbols) == 2 else shape:
            count *= extent
        extents = (count, shape[-1]) if len(symbols) == 2 else (count,)
        for symbol, extent in zip(symbols, extents, strict=True):
            assert found.setdefault(symbol, extent) == extent, (name, shape)
    return found
