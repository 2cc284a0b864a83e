"""Obligations of what is no loss: smoothed labels and class weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import sympy
from sympy import Expr, Integer, Symbol

from derivations.agreement import counted, show_equal
from derivations.algebra import Algebra
from derivations.element_proofs import over_domain
from derivations.explorer import Path
from derivations.facts import POSITIVE, Facts
from derivations.obligations import Obligation
from derivations.row_proofs import EXPLICIT
from derivations.statement import Statement
from derivations.symbolic_rows import Row, RowKernels
from refloss.losses.class_balanced_weights import inverse_effective_number
from refloss.losses.smooth_labels import smoothed


def smoothed_labels(name: str, statement: Statement) -> Iterator[Obligation]:
    """That a smoothed label is what the textbook says."""
    quantities = {
        "target": statement.arguments["target"],
        "smoothing": statement.options["epsilon"],
        "classes": statement.options["num_classes"],
    }
    yield Obligation(
        name,
        "value = textbook",
        lambda: over_domain(statement, smoothed, statement.textbook, quantities),
    )


def class_weights(name: str, statement: Statement, beta: Any) -> Iterator[Obligation]:
    """That the weights, scaled to sum to C, are the textbook's; with and without empty classes."""
    yield Obligation(name, "value = textbook", lambda: _class_weights(statement, beta))
    yield Obligation(name, "the weights sum to C", lambda: _sum(statement))


def _class_weights(statement: Statement, beta: Any) -> str:
    arms = 0
    for classes in EXPLICIT:
        for samples in product((True, False), repeat=classes):
            if not any(samples):
                continue  # refused: there are no weights without any samples
            counts = [
                Symbol(f"n{c}", positive=True) if some else Integer(0)
                for c, some in enumerate(samples)
            ]
            for k in range(classes):
                arms += _weight(statement, beta, Integer(classes), k, counts)
    general = _weight(statement, beta, statement.classes, statement.index, None)
    return f"C = 2, 3, 4: {counted(arms, 'arm')}; any C: {counted(general, 'arm')}"


def _weight(
    statement: Statement, beta: Any, classes: Any, k: Any, counts: list[Expr] | None
) -> int:
    n = statement.arguments["counts"]
    at = {} if counts is None else {n[c]: count for c, count in enumerate(counts)}
    stated = _stated(statement, classes, k, counts is None).subs(at)

    def working(path: Path) -> Expr:
        raw = RowKernels(path, classes).map_formula(
            inverse_effective_number,
            {"counts": Row(lambda index: n[index].subs(at)), "beta": beta},
        )
        return raw.at(k) / RowKernels(path, classes).total(raw.at) * classes

    facts = Facts(Algebra(frozenset({n})))
    known: Mapping[Expr, str] = {} if counts is None else {c: POSITIVE for c in counts if c != 0}
    if isinstance(beta, Symbol):
        known = {**known, beta: POSITIVE, 1 - beta: POSITIVE}
    for expression, kind in known.items():
        facts = facts.given(expression, kind)
    return int(show_equal(working, lambda path: path.resolve(stated), facts).split()[0])


def _stated(statement: Statement, classes: Any, k: Any, every_class_has_samples: bool) -> Expr:
    """The textbook's weight; without empty classes only its last piece counts."""
    stated = statement.textbook
    if every_class_has_samples:
        return stated.replace(sympy.Piecewise, lambda *pieces: pieces[-1][0])
    return statement.explicit(stated.subs(statement.index, k), classes)


def _sum(statement: Statement) -> str:
    general = _stated(statement, statement.classes, statement.index, True)
    index, classes = statement.index, statement.classes
    assert classes is not None
    total = sympy.Sum(general, (index, 0, classes - 1))
    facts = Facts(Algebra(frozenset(statement.arguments.values())))
    return "any C: " + show_equal(lambda path: total, lambda path: classes, facts)
