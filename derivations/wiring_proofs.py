"""Obligations of fused kernels over rows: what they wire of a row's classes is the closed form.

The tables of `refloss.quantities` run on symbols as a kernel runs them: pass after pass, part after
part, with the reductions themselves. What `derivations.reduction_proofs` shows of those holds for
every grouping of a row; here a few classes in a few parts show that the quantities are wired to
what they are meant for. The CPU takes a softmax in two steps, and writes every class of a row as if
it were not the target's and that one anew; the GPU takes it in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

from sympy import Expr, Integer, S

from derivations import derivation
from derivations.agreement import counted, domain, show_equal
from derivations.element_proofs import closed, differentiable
from derivations.explorer import Path, over_the_reals
from derivations.obligations import Obligation
from derivations.row_proofs import Place
from derivations.statement import Statement
from derivations.working import WORKING
from refloss.evaluation import Plan
from refloss.formula.reading import Formula, read
from refloss.formula.reductions import NOWHERE
from refloss.formula.symbols import Quantity, exact, meaning
from refloss.kernels.named import HIT, LABEL, PLACE
from refloss.quantities import Reduction, wiring_of

Grouping = tuple[tuple[int, ...], ...]

PARTS: Mapping[int, Grouping] = {2: ((1,), (), (0,)), 3: ((0, 2), (1,))}

WAYS = {True: "the softmax in two steps", False: "taken up class by class"}


@dataclass(frozen=True)
class Wired:
    """A statement, and the plan of a call as it describes it.

    ``bare`` leaves out weights and smoothing, which kernels are wired differently without.
    """

    name: str
    statement: Statement
    plan: Plan
    quantities: Mapping[str, Any]
    bare: bool

    @property
    def labelled(self) -> bool:
        return self.statement.label is not None


def obligations(loss: str, variant: str) -> Iterator[Obligation]:
    """All that a call of a row loss can be asked for, with and without weights.

    Weights change the masses, not how a softmax is taken: with them one of the ways will do.
    """
    for bare in (True, False):
        wired = wired_for(loss, variant, bare)
        if wired is None:
            continue
        for claim, stated, formulas in claims(wired):
            for in_steps in (True, False) if bare else (True,):
                yield obligation(wired, claim, stated, formulas, in_steps)


def obligation(
    wired: Wired, claim: str, stated: Expr, formulas: Sequence[Formula], in_steps: bool
) -> Obligation:
    """One claim, in one of the two ways."""
    show = partial(whole_row, wired, stated, formulas, in_steps)
    return Obligation(wired.name, f"{claim}, {WAYS[in_steps]}", show)


def claims(wired: Wired) -> Iterator[tuple[str, Expr, Sequence[Formula]]]:
    """What is stated of the value and of each derivative, and by which formulas it is made."""
    kind = "" if wired.bare else ", weighted"
    yield f"value = textbook{kind}", wired.statement.textbook, []
    for part, argument, formula in differentiable(wired.plan):
        terms = getattr(wired.statement, part).get(argument, ())
        yield f"{part} in {argument} = closed form{kind}", closed(terms), [formula]


def wired_for(loss: str, variant: str, bare: bool) -> Wired | None:
    """A loss as its kernels are wired; None where there is nothing to leave in."""
    made, working = derivation.load(loss), WORKING[loss][variant]
    statement = made.variants[variant] if variant else made.statement
    assert isinstance(statement, Statement)
    if not bare and "weight" not in working.call:
        return None
    quantities = working.quantities(statement)
    call = dict(working.call)
    if bare:
        statement = without_masses(statement)
        quantities = {name: q for name, q in quantities.items() if name != "weight"}
        quantities |= {"smoothing": S.Zero} if "smoothing" in quantities else {}
        call = {n: x for n, x in call.items() if n not in ("weight", "label_smoothing")}
    plan = replace(working, call=call).plan(loss)
    return Wired(f"{loss}, {variant}" if variant else loss, statement, plan, quantities, bare)


def without_masses(statement: Statement) -> Statement:
    """The statement with a weight of 1 for every class, and labels as they are."""
    weight = statement.arguments.get("weight")
    smoothing = statement.options.get("label_smoothing")

    def bare(expression: Expr) -> Expr:
        ones = expression.replace(lambda e: e.is_Indexed and e.base == weight, lambda e: S.One)
        return ones if smoothing is None else ones.subs(smoothing, 0)

    def all_bare(terms: Mapping[str, Any]) -> dict[str, tuple[Expr, ...]]:
        return {name: tuple(map(bare, each)) for name, each in terms.items()}

    return replace(
        statement,
        arguments={name: x for name, x in statement.arguments.items() if name != "weight"},
        textbook=bare(statement.textbook),
        gradient=all_bare(statement.gradient),
        curvature=all_bare(statement.curvature),
    )


def places(wired: Wired, value: bool, in_steps: bool) -> Iterator[Place]:
    """Two classes, and in two steps one class of three as well."""
    for classes in (2, 3) if in_steps else (2,):
        own = range(1 if value else 2) if classes == 2 else (1,)
        labels = range(classes - 2, classes) if wired.labelled else [None]
        for k, y in product(own, labels):
            yield Place(Integer(classes), Integer(k), None if y is None else Integer(y))


def whole_row(wired: Wired, stated: Expr, formulas: Sequence[Formula], in_steps: bool) -> str:
    """Show that a value, or a derivative of some class, is what is stated of it."""
    arms = 0
    for place in places(wired, not formulas, in_steps):
        here = place.of(wired.statement, stated)

        def ours(path: Path, place: Place = place) -> Expr:
            return Fused(path, place, wired, formulas, in_steps).outcome()

        def theirs(path: Path, here: Expr = here) -> Expr:
            return path.resolve(here)

        shown = show_equal(ours, theirs, domain(wired.statement, distinct=place.distinct))
        arms += int(shown.split()[0])
    return counted(arms, "arm")


class Fused:
    """A row on the way that a fused kernel takes: pass after pass, part after part."""

    def __init__(
        self, path: Path, place: Place, wired: Wired, formulas: Sequence[Formula], in_steps: bool
    ) -> None:
        self.path, self.place, self.in_steps = path, place, in_steps
        self.parts = PARTS[int(place.classes)]
        # sizes of masses that are symbols can be compared
        self.keeps_apart = wired.bare and wired.plan.mass is not None and place.classes == 2
        wiring = wiring_of(wired.plan, formulas, value=not formulas, in_steps=in_steps)
        self.table, self.outputs = wiring.table, wiring.outputs
        quantities = wired.quantities
        self.arrays = {name: quantities[name] for name in self.table.each}
        numbers = {name: q for name, q in quantities.items() if name not in self.arrays}
        known: dict[str, Any] = {**numbers, "classes": place.classes}
        known |= {"upstream": 1, "denominator": 1}
        if place.y is not None:
            known[LABEL] = place.y
            known |= {f"{HIT}{name}": q[max(place.y, 0)] for name, q in self.arrays.items()}
        self.known: dict[str, Any] = {name: Quantity(exact(q)) for name, q in known.items()}

    def read(self, formula: Formula) -> Formula:
        return read(formula, meaning(self.path), finish=over_the_reals)

    def at(self, index: Any) -> Mapping[str, Any]:
        """All quantities of a class."""
        own = {name: Quantity(q[index]) for name, q in self.arrays.items()}
        own[PLACE] = Quantity(Integer(index))
        return self.table.numbers(self.known | own, self.read)

    def outcome(self) -> Expr:
        """The row's value, or a derivative at the place's class."""
        quantities: Mapping[str, Any]
        wanted = self.outputs.value or self.outputs.derivatives[0]
        for reductions in self.table.passes([wanted]):
            found: dict[str, Any] = {}
            for one in reductions:
                found |= dict(zip(one.gives, self.reduced(one), strict=True))
            self.known |= found
        if self.outputs.value:
            quantities = self.table.numbers(self.known, self.read)
        elif self.in_steps and self.place.y is not None:
            quantities, wanted = self.written(wanted)
        else:
            quantities = self.at(self.place.k)
        return self.path.resolve(exact(quantities[wanted]))

    def written(self, derivative: str) -> tuple[Mapping[str, Any], str]:
        """What the CPU's kernels write: each class as if it were not the target's, that one anew.

        They do so where nothing is left to reduce in the pass that writes.
        """
        if self.place.k == self.place.y:
            at_hit = f"{HIT}{derivative}" if self.table.is_each(derivative) else derivative
            return self.table.numbers(self.known, self.read), at_hit
        self.known["hit"] = Quantity(S.Zero)
        return self.at(self.place.k), derivative

    def reduced(self, reduction: Reduction) -> Sequence[Any]:
        """What a reduction comes to, its parts joined from left to right."""
        if reduction.kind == "others" and not self.keeps_apart:
            return self.total_with_none_apart(reduction)
        names = (*reduction.each, *reduction.parameters)
        absorbed, joined = (self.read(reduction.formula(one)) for one in ("absorbed", "joined"))
        start = [Quantity(exact(x)) for x in reduction.start]
        states = []
        for part in self.parts:
            state: Sequence[Any] = start
            for index in part:
                numbers = self.at(index)
                state = absorbed(*state, *(numbers[name] for name in names))
            states.append(state)
        row = self.table.numbers(self.known, self.read)
        whole = states[0]
        for state in states[1:]:
            whole = joined(*whole, *state, *(row[name] for name in reduction.parameters))
        return list(self.read(reduction.formula("finished"))(*whole))

    def total_with_none_apart(self, reduction: Reduction) -> Sequence[Any]:
        """What stands for the same sums, by `derivations.reduction_proofs`, whatever is largest."""
        (each, _) = reduction.each
        total = sum((self.at(c)[each] for c in range(self.place.classes)), Quantity(S.Zero))
        return [Quantity(S.Zero), Quantity(Integer(NOWHERE)), total]
