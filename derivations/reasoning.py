"""Short forms for identities: formulas with quantities filled in, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy
from sympy import Expr, IndexedBase, Symbol

from derivations.agreement import Way, counted, show_equal
from derivations.algebra import Algebra
from derivations.explorer import formula_on
from derivations.facts import Facts
from refloss.formula.reading import Formula

Show = Callable[[], str]

edge = Symbol("b", positive=True)  # a threshold, or a target that is positive
Q, W = IndexedBase("q", real=True), IndexedBase("w", real=True)


def facts(*claims: tuple[Expr, str], distinct: Any = ()) -> Facts:
    """What is known: ``edge``, ``Q`` and ``W`` are positive, and the claims hold."""
    bases = frozenset({edge, Q, W})
    known = Facts(Algebra(bases, distinct=frozenset(distinct)))
    for expression, kind in claims:
        known = known.given(expression, kind)
    return known


def of(formula: Formula, **quantities: Any) -> Way:
    """A formula of some quantities, by parameter name; it takes those that it needs."""
    names = formula.__code__.co_varnames[: formula.__code__.co_argcount]
    used = {name: sympy.sympify(quantities[name]) for name in names}
    return lambda path: formula_on(path, formula, used)


def all_equal(pairs: Sequence[tuple[Way, Way]], known: Facts) -> str:
    """Show that the two ways of every pair agree."""
    arms = 0
    for ours, theirs in pairs:
        arms += int(show_equal(ours, theirs, known).split()[0])
    return counted(arms, "arm")
