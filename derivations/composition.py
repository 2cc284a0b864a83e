"""A loss over vectors as papers write it: formulas that build on formulas.

Losses on embeddings pass through differences, distances, similarities. A module
``derivations/<loss>.py`` states such a loss as a :class:`Composition` in place of a ``Statement``.

``axes`` names, for each array argument, the symbols of its extents: ``(N, D)`` for an array of
vectors (all axes but the last are rows, N of them), ``(N,)`` for one of numbers. ``where`` lists
:class:`Definition` after definition; each may use those before it, the arguments and the options.
``textbook`` is what the row with the free index ``row`` loses; there are ``rows`` of them.
``gradient[name]`` is the derivative of the *sum of all rows* in
``arguments[name][row, component]``.

``stated`` is an expression equal to ``textbook`` in which nothing cancels that need not: answers
are worked out from it, and its condition is the scale. None: the textbook's own form is good.

How kinks are written
---------------------
By ``arms`` of ``derivations/statement.py``, or by ``Max``, ``Min`` and ``Largest``. At a boundary
every arm counts whose condition holds once its inequalities are closed; the answer is the hull of
what they give. Conditions on whole numbers (labels, indices), ``Eq`` and ``Ne`` are taken as they
stand. ``AccumBounds(-1, 1)`` is an interval; ``AccumBounds(-oo, oo)`` lets any number be right.

How an error is judged
----------------------
Beside each number goes its *condition* M, see ``conditioned.py``. A definition marked ``once`` is
one rounding away from the inputs in any careful implementation (``x - y + eps``), so its M is its
size. ``condition``, where given, is an equal expression whose M is taken instead; where the
definition is exactly zero, that M is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sympy
from sympy import Dummy, Expr, Indexed, IndexedBase, Max, Set, Sum, Symbol
from sympy.concrete.expr_with_limits import ExprWithLimits


class Largest(ExprWithLimits):  # type: ignore[misc]
    """The largest of ``f`` for an index in ``(index, low, high)``; of nothing, zero."""

    def doit(self, **hints: Any) -> Expr:
        ((index, low, high),) = self.limits
        function = self.function.doit(**hints)
        if not (low.is_Integer and high.is_Integer):
            return self.func(function, *self.limits)
        places = range(int(low), int(high) + 1)
        return Max(0, *(function.subs(index, place) for place in places))

    def _eval_is_extended_real(self) -> bool:
        return True

    def _pretty(self, printer: Any) -> Any:
        ((index, low, high),) = self.limits
        function = printer._print(sympy.Function("max")(self.function))
        return printer._print_seq([function, sympy.Interval(low, high)], delimiter=f", {index} ∈ ")

    def _sympystr(self, printer: Any) -> str:
        ((index, low, high),) = self.limits
        return f"max({printer._print(self.function)}, {index} in {low}..{high})"

    def _latex(self, printer: Any) -> str:
        ((index, low, high),) = self.limits
        bounds = f"{printer._print(low)} \\le {printer._print(index)} \\le {printer._print(high)}"
        return f"\\max_{{{bounds}}} {printer._print(self.function)}"


@dataclass(frozen=True, eq=False)
class Definition:
    """``symbol[indices] = expression``, for every value of the indices."""

    symbol: IndexedBase
    indices: tuple[Symbol, ...]
    expression: Expr
    once: bool = False
    condition: Expr | None = None

    @property
    def left(self) -> Indexed:
        """What is defined, with its indices."""
        return self.symbol[self.indices]

    def at(self, *indices: Expr) -> Expr:
        """The expression with other indices; its own sums keep their names to themselves."""
        return _at(self, indices)


@cache
def _at(definition: Definition, indices: tuple[Expr, ...]) -> Expr:
    """Made once: proofs come by the same entry on every path, and SymPy takes its time."""
    places = list(zip(definition.indices, indices, strict=True))
    return _renamed(definition.expression).subs(places, simultaneous=True)


def _renamed(expression: Expr) -> Expr:
    """Every index that is summed over gets a name of its own."""

    def fresh(node: Expr) -> Expr:
        ((index, low, high),) = node.limits
        dummy = Dummy(index.name, integer=True)
        return node.func(node.function.xreplace({index: dummy}), (dummy, low, high))

    return expression.replace(lambda e: isinstance(e, Sum | Largest), fresh)


@dataclass(frozen=True, eq=False)
class Composition:
    """The textbook definition of a loss on vectors, and its gradient, with all they build on."""

    loss: str
    title: str
    source: tuple[str, ...]
    arguments: Mapping[str, IndexedBase]
    axes: Mapping[str, tuple[Symbol, ...]]
    row: Symbol
    component: Symbol
    rows: Expr
    textbook: Expr
    gradient: Mapping[str, Expr]
    domain: Mapping[Symbol | IndexedBase, Set]
    where: tuple[Definition, ...] = ()
    options: Mapping[str, Symbol] = field(default_factory=dict)
    stated: Expr | None = None

    def expanded(self, expression: Expr) -> Expr:
        """`expression` in arguments and options alone: every definition is put in."""
        found = expression
        for definition in reversed(self.where):
            found = found.replace(
                lambda e, base=definition.symbol: isinstance(e, Indexed) and e.base == base,
                lambda e, at=definition.at: at(*e.indices),
            )
        return found

    def explicit(self, expression: Expr, sizes: Mapping[Symbol, int]) -> Expr:
        """`expression` with definitions put in and sums written out for given extents."""
        return self.expanded(expression).subs(dict(sizes)).doit()
