"""Obligations of losses that treat every element alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sympy import Add, Expr, nan

from derivations.agreement import (
    Way,
    counted,
    divisions_of_domain,
    domain,
    finite_choices,
    show_derivative,
    show_equal,
)
from derivations.explorer import Path, formula_on
from derivations.facts import Facts, UndecidedError
from derivations.obligations import Obligation, RefutedError
from derivations.statement import Statement, Terms
from refloss.evaluation import Plan
from refloss.formula.reading import Formula


def obligations(
    name: str, statement: Statement, plan: Plan, quantities: Mapping[str, Any]
) -> Iterator[Obligation]:
    """Everything that ties the working formulas to the textbook, and the textbook to itself."""

    def equal(formula: Formula, textbook: Expr) -> Callable[[], str]:
        return lambda: over_domain(statement, formula, textbook, quantities)

    yield Obligation(name, "value = textbook", equal(plan.formulas.value, statement.textbook))
    if statement.terms:
        terms = Add(*statement.terms)
        yield Obligation(
            name,
            "terms of the value sum to the textbook",
            lambda: _everywhere(statement, terms, statement.textbook, _on_open_arms),
        )
    for argument, closed_form in statement.gradient.items():
        slope = Add(*closed_form)
        yield derivative(name, f"gradient in {argument}", statement, argument, slope)
        if argument in statement.curvature:
            bend = Add(*statement.curvature[argument])
            yield derivative(name, f"curvature in {argument}", statement, argument, bend, slope)
    for part, argument, formula in differentiable(plan):
        stated = closed(getattr(statement, part).get(argument, ()))
        yield Obligation(name, f"{part} in {argument} = closed form", equal(formula, stated))


def differentiable(plan: Plan) -> Iterator[tuple[str, str, Formula]]:
    """The derivatives that the plan can compute: of what, in which argument, and how."""
    for part in ("gradient", "curvature"):
        for argument, formula in getattr(plan.formulas, part).items():
            if argument in plan.originals:
                yield part, argument, formula


def closed(terms: Terms) -> Expr:
    """The sum of the terms of a closed form; nothing equals one that is not stated."""
    return Add(*terms) if terms else nan


def resolved(expression: Expr) -> Way:
    return lambda path: path.resolve(expression)


def derivative(
    name: str,
    what: str,
    statement: Statement,
    argument: str,
    closed_form: Expr,
    of: Expr | None = None,
) -> Obligation:
    """That a closed form is the derivative of the textbook (or of another closed form)."""
    function = statement.textbook if of is None else of
    variable = statement.arguments[argument]
    return Obligation(
        name,
        f"{what} = {'textbook' if of is None else 'gradient'} differentiated",
        lambda: _everywhere(
            statement,
            function,
            closed_form,
            lambda f, slope, facts: show_derivative(f, variable, slope, facts),
        ),
    )


def _on_open_arms(terms: Way, whole: Way, facts: Facts) -> str:
    """At a kink each term could take an arm of its own; they only tell how large terms are."""
    return show_equal(terms, whole, facts, edges=False)


def _everywhere(
    statement: Statement, one: Expr, other: Expr, show: Callable[[Way, Way, Facts], str]
) -> str:
    """Show something of two expressions, for every choice of marks such as targets of 1 and -1."""
    arms = 0
    for at in finite_choices(statement):
        facts = domain(statement, fixed=at)
        arms += int(show(resolved(one.subs(at)), resolved(other.subs(at)), facts).split()[0])
    return counted(arms, "arm")


def over_domain(
    statement: Statement, formula: Formula, textbook: Expr, quantities: Mapping[str, Any]
) -> str:
    """Show that a formula is what the textbook says: on the whole domain at once, or by parts."""

    def show(facts: Facts, at: Mapping[Any, Expr]) -> str:
        here = {name: q.subs(at) if isinstance(q, Expr) else q for name, q in quantities.items()}

        def working(path: Path) -> Expr:
            return formula_on(path, formula, here)

        return show_equal(working, resolved(textbook.subs(at)), facts)

    named = set().union(*(q.free_symbols for q in quantities.values()))
    for parts in divisions_of_domain(statement, named):
        try:
            covered = [show(facts, at) for facts, at in parts]
        except (RefutedError, UndecidedError, ValueError) as problem:
            failure = problem  # the signs of a finer division may tell more
            continue
        if len(covered) == 1:
            return covered[0]
        return f"{counted(len(covered), 'part')} of the domain"
    raise RefutedError(str(failure))
