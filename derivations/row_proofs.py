"""Obligations of losses that have one value for each row of classes.

Each is shown for 2, 3 and 4 classes written out, and for C classes with sums; of class k and, where
the target is a label y, both for k = y and for k other than y.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sympy
from sympy import Add, Expr, IndexedBase, Integer, S, Sum, Symbol

from derivations.agreement import counted, domain, show_derivative, show_equal
from derivations.algebra import Algebra
from derivations.element_proofs import closed, differentiable
from derivations.explorer import Path
from derivations.facts import Facts
from derivations.obligations import Obligation, RefutedError
from derivations.statement import Statement
from derivations.symbolic_rows import Row, RowKernels, SymbolicBlock
from refloss.evaluation import Plan
from refloss.formula.reading import Formula

EXPLICIT = (2, 3, 4)


@dataclass(frozen=True)
class Place:
    """A number of classes, the class k that is looked at, and the label y, if there is one."""

    classes: Any
    k: Any
    y: Any = None

    @property
    def distinct(self) -> frozenset[frozenset[Any]]:
        if self.y is None or self.k == self.y:
            return frozenset()
        return frozenset({frozenset({self.k, self.y})})

    def of(self, statement: Statement, expression: Expr) -> Expr:
        """An expression of the statement, here."""
        e = sympy.sympify(expression)
        if statement.label is not None:
            e = e.subs(statement.label, self.y)
        e = e.subs(statement.index, self.k)
        if self.distinct:
            e = e.replace(sympy.Eq, lambda a, b: S.false if {a, b} == {self.k, self.y}
                          else sympy.Eq(a, b))  # fmt: skip
        if statement.classes != self.classes:
            e = statement.explicit(e, self.classes)
        return e

    def __str__(self) -> str:
        label = "" if self.y is None else f", y = {self.y}"
        return f"C = {self.classes}, k = {self.k}{label}"


def places(statement: Statement, *, general: bool) -> Iterator[Place]:
    """Where to look."""
    k, y = statement.index, statement.label
    if general:
        yield Place(statement.classes, k, y)
        if y is not None:
            yield Place(statement.classes, y, y)
        return
    for count in EXPLICIT:
        for c in range(count):
            for label in [None] if y is None else range(count):
                yield Place(Integer(count), Integer(c), None if label is None else Integer(label))


def everywhere(show: Callable[[Place], str], statement: Statement) -> str:
    """Show something at every place; tells how many arms there were."""
    covered = {}
    for general in (False, True):
        arms = 0
        for place in places(statement, general=general):
            try:
                arms += int(show(place).split()[0])
            except Exception as problem:
                name = "" if isinstance(problem, RefutedError) else f"{type(problem).__name__}: "
                raise RefutedError(f"at {place}: {name}{problem}") from problem
        covered[general] = counted(arms, "arm")
    return f"C = 2, 3, 4: {covered[False]}; any C: {covered[True]}"


def obligations(
    name: str, statement: Statement, plan: Plan, quantities: Mapping[str, Any]
) -> Iterator[Obligation]:
    """Everything that ties the working formulas to the textbook, and the textbook to itself."""

    def block(path: Path, place: Place) -> SymbolicBlock:
        return symbolic_block(path, place, statement, plan, quantities)

    def equal(working: Callable[[SymbolicBlock, Place], Expr], textbook: Expr) -> Callable[[], str]:
        def show(place: Place) -> str:
            stated = place.of(statement, textbook)

            def ours(path: Path) -> Expr:
                return working(block(path, place), place)

            facts = domain(statement, distinct=place.distinct)
            return show_equal(ours, lambda path: path.resolve(stated), facts)

        return lambda: everywhere(show, statement)

    yield Obligation(
        name,
        "value = textbook",
        equal(lambda block, place: block.value().at(0), statement.textbook),
    )
    if statement.terms:
        yield Obligation(name, "terms of the value sum to the textbook", _terms(statement))
    for argument, closed_form in statement.gradient.items():
        slope = Add(*closed_form)
        yield Obligation(
            name,
            f"gradient in {argument} = textbook differentiated",
            _derivative(statement, argument, statement.textbook, slope),
        )
        if argument in statement.curvature:
            yield Obligation(
                name,
                f"curvature in {argument} = gradient differentiated",
                _derivative(statement, argument, slope, Add(*statement.curvature[argument])),
            )
    for part, argument, formula in differentiable(plan):
        stated = getattr(statement, part).get(argument, ())
        run = partial(_run, formula)
        yield Obligation(name, f"{part} in {argument} = closed form", equal(run, closed(stated)))


def _run(formula: Formula, block: SymbolicBlock, place: Place) -> Expr:
    return block.derivative(formula).at(place.k)


def _terms(statement: Statement) -> Callable[[], str]:
    terms, k, classes = Add(*statement.terms), statement.index, statement.classes
    assert classes is not None
    if terms.has(k):
        terms = Sum(terms, (k, 0, classes - 1))

    def show(place: Place) -> str:
        difference = place.of(statement, terms) - place.of(statement, statement.textbook)
        return show_equal(lambda p: difference, lambda p: S.Zero, domain(statement))

    return lambda: everywhere(show, statement)


def _derivative(
    statement: Statement, argument: str, function: Expr, derivative: Expr
) -> Callable[[], str]:
    """That one expression is the derivative of the other by entry k of an argument."""

    def show(place: Place) -> str:
        variable = statement.arguments[argument][place.k]
        stated = place.of(statement, function)
        slope = place.of(statement, derivative)
        return show_derivative(
            lambda path: path.resolve(stated),
            variable,
            lambda path: path.resolve(slope),
            domain(statement, distinct=place.distinct),
        )

    return lambda: everywhere(show, statement)


def symbolic_block(
    path: Path, place: Place, statement: Statement, plan: Plan, quantities: Mapping[str, Any]
) -> SymbolicBlock:
    """The statement's symbols as a row that refloss's own wiring runs on."""
    arrays: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    for key, symbol in quantities.items():
        if hasattr(symbol, "__getitem__"):
            arrays[key] = Row(symbol.__getitem__)
        else:
            parameters[key] = symbol
    weight = arrays.pop("weight", None)
    if place.y is not None:
        arrays["labels"] = place.y
    kernels: Any = RowKernels(path, place.classes)
    return SymbolicBlock(
        replace(
            plan,
            kernels=kernels,
            arrays=arrays,
            parameters={**parameters, "classes": place.classes},
            weight=weight,
        )
    )


# The pieces that every row loss is built from ----------------------------------------------------

_C, _T = Symbol("C", integer=True, positive=True), Symbol("T", positive=True)
_k, _m = Symbol("k", integer=True), Symbol("m", integer=True)
_z, _x = IndexedBase("z", real=True), IndexedBase("x", real=True)
_PIECES = ("surprise = -log softmax", "p = softmax", "q = 1 - p", "q_lost = 0")


def pieces() -> Iterator[Obligation]:
    """That the kernels' softmax and sums over other classes are what their names say."""
    for number, claim in enumerate(_PIECES):
        what = f"{claim}, whichever class is on top"
        yield Obligation("softmax", what, partial(_softmax, number))
    yield Obligation("softmax", "sum over the other classes = total - own", _others)
    yield Obligation("softmax", "p sums to 1", _sums_to_one)


def _softmax(piece: int) -> str:
    z = Row(lambda index: _z[index])

    def pair(path: Path, classes: Any, k: Any, top: Any) -> tuple[Expr, Expr]:
        kernels = RowKernels(path, classes)
        assembled = kernels.assembled_softmax(z, kernels.largest(z) if top is None else top, _T)
        return assembled[piece].at(k), kernels.softmax(z, _T)[piece].at(k)

    def arms(classes: Any, k: Any, top: Any, distinct: Sequence[Any] = ()) -> int:
        facts = Facts(Algebra(frozenset({_T}), distinct=frozenset(distinct)))

        def ours(path: Path) -> Expr:
            return pair(path, classes, k, top)[0]

        def theirs(path: Path) -> Expr:
            return pair(path, classes, k, 0 if top is None else top)[1]

        return int(show_equal(ours, theirs, facts).split()[0])

    explicit = sum(arms(c, k, None) for c in EXPLICIT for k in range(c))
    general = arms(_C, _k, _m, [frozenset({_k, _m})]) + arms(_C, _m, _m)
    return f"C = 2, 3, 4: {counted(explicit, 'arm')}; any C: {counted(general, 'arm')}"


def _others() -> str:
    x = Row(lambda index: _x[index])
    arms = 0
    for classes in EXPLICIT:
        for k in range(classes):

            def ours(path: Path, c: int = classes, k: int = k) -> Expr:
                return RowKernels(path, c).assembled_others(x).at(k)

            def theirs(path: Path, c: int = classes, k: int = k) -> Expr:
                return RowKernels(path, c).others(x).at(k)

            arms += int(show_equal(ours, theirs, Facts(Algebra())).split()[0])
    # any C: with S the sum below the top, x_top - x_k + S for k below, S for the top itself
    total = Sum(_x[Symbol("i", integer=True)], (Symbol("i", integer=True), 0, _C - 1))
    below = total - _x[_m]
    general = show_equal(
        lambda path: (_x[_m] - _x[_k]) + below, lambda path: total - _x[_k], Facts(Algebra())
    )
    return f"C = 2, 3, 4: {counted(arms, 'arm')}; any C: {general}"


def _sums_to_one() -> str:
    z = Row(lambda index: _z[index])
    arms = 0
    for classes in (*EXPLICIT, _C):

        def ours(path: Path, c: Any = classes) -> Expr:
            kernels = RowKernels(path, c)
            return kernels.total(kernels.softmax(z, _T)[1].at)

        facts = Facts(Algebra(frozenset({_T})))
        arms += int(show_equal(ours, lambda path: S.One, facts).split()[0])
    return counted(arms, "arm")
