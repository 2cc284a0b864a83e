"""Obligations of fused kernels: what they wire of a row's or pair's numbers is the closed form.

The tables of `refloss.quantities` run on symbols as kernels run them (`derivations.fused`). What
`derivations.reduction_proofs` shows of the reductions holds for every grouping of a row; here a
few classes in a few parts show that the quantities are wired to what they are meant for. The CPU
takes a softmax in two steps, and writes every class of a row as if it were not the target's and
that one anew; the GPU takes it in one. In pairs of float32 the CPU keeps the top's mass apart
from all others, or does not ask which of the largest is the top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Integer, S, Symbol

from derivations import derivation, pair_proofs
from derivations.agreement import counted, domain, show_equal
from derivations.composition import Composition
from derivations.element_proofs import closed, differentiable
from derivations.explorer import Path, formula_on
from derivations.fused import Fused
from derivations.obligations import Obligation
from derivations.row_proofs import Place
from derivations.statement import Statement
from derivations.working import WORKING
from refloss.evaluation import Plan
from refloss.formula.reading import Formula
from refloss.formula.symbols import Quantity
from refloss.kernels.named import HIT, LABEL
from refloss.quantities import rescaled, scaled, wiring_of

_PLAIN: Mapping[str, Any] = {"upstream": 1, "denominator": 1}

MASSES = ("weight", "label_smoothing")


@dataclass(frozen=True)
class Way:
    """How kernels take a softmax."""

    name: str
    in_steps: bool = True
    in_pairs: bool = False


STEPS = Way("the softmax in two steps")
ONCE = Way("taken up class by class", in_steps=False)
PAIRS = Way("in pairs", in_pairs=True)


@dataclass(frozen=True)
class Wired:
    """A statement, and the plan of a call as it describes it.

    Without smoothing, and without weights, kernels are wired differently: ``masses`` are those of
    the two that are left in.
    """

    name: str
    statement: Statement
    plan: Plan
    quantities: Mapping[str, Any]
    masses: tuple[str, ...]

    @property
    def bare(self) -> bool:
        return not self.masses

    @property
    def labelled(self) -> bool:
        return self.statement.label is not None


def obligations(loss: str, variant: str) -> Iterator[Obligation]:
    """All that a call of a row loss can be asked for, with and without weights.

    Weights, second derivatives and a teacher do not change how a softmax is taken: where there are
    some, one way will do.
    """
    for masses in ((), *((name,) for name in MASSES), MASSES):
        wired = wired_for(loss, variant, masses)
        if wired is None:
            continue
        bare = wired.bare
        for claim, stated, formulas in claims(wired):
            both = bare and "curvature" not in claim and "teacher" not in wired.plan.arrays
            in_pairs = (PAIRS,) if wired.plan.formulas.in_pairs else ()
            for way in (STEPS, *((ONCE,) if both else ()), *in_pairs):
                yield obligation(wired, claim, stated, formulas, way)
        if wired.labelled and bare:
            claim = "a row that is ignored comes to 0, and so do its derivatives"
            yield Obligation(wired.name, claim, partial(ignored, wired))


def obligation(
    wired: Wired, claim: str, stated: Expr, formulas: Sequence[Formula], way: Way
) -> Obligation:
    """One claim, in one of the ways."""
    three = way.in_steps and (wired.labelled or "curvature" not in claim)
    show = partial(whole_row, wired, stated, formulas, way, three)
    return Obligation(wired.name, f"{claim}, {way.name}", show)


def claims(wired: Wired) -> Iterator[tuple[str, Expr, Sequence[Formula]]]:
    """What is stated of the value and of each derivative, and by which formulas it is made."""
    kind = {
        (): "",
        ("weight",): ", weighted and not smoothed",
        ("label_smoothing",): ", smoothed and not weighted",
    }.get(wired.masses, ", weighted")
    yield f"value = textbook{kind}", wired.statement.textbook, []
    for part, argument, formula in differentiable(wired.plan):
        terms = getattr(wired.statement, part).get(argument, ())
        yield f"{part} in {argument} = closed form{kind}", closed(terms), [formula]


def wired_for(loss: str, variant: str, masses: tuple[str, ...]) -> Wired | None:
    """A loss as its kernels are wired; None where there is nothing to leave in."""
    made, working = derivation.load(loss), WORKING[loss][variant]
    statement = made.variants[variant] if variant else made.statement
    assert isinstance(statement, Statement)
    if masses and "weight" not in working.call:
        return None
    if len(masses) == 1 and (statement.label is None or "label_smoothing" not in working.call):
        return None
    quantities = working.quantities(statement)
    call = dict(working.call)
    out = [name for name in MASSES if name not in masses]
    if "weight" in out:
        quantities = {name: q for name, q in quantities.items() if name != "weight"}
    if "label_smoothing" in out:
        quantities |= {"smoothing": S.Zero} if "smoothing" in quantities else {}
    call = {n: x for n, x in call.items() if n not in out}
    plan = replace(working, call=call).plan(loss)
    name = f"{loss}, {variant}" if variant else loss
    return Wired(name, without(out, statement), plan, quantities, masses)


def without(masses: Sequence[str], statement: Statement) -> Statement:
    """The statement with a weight of 1 for every class, or with labels as they are."""
    weight = statement.arguments.get("weight") if "weight" in masses else None
    smoothing = statement.options.get("label_smoothing") if "label_smoothing" in masses else None

    def bare(expression: Expr) -> Expr:
        ones = expression
        if weight is not None:
            ones = ones.replace(lambda e: e.is_Indexed and e.base == weight, lambda e: S.One)
        return ones if smoothing is None else ones.subs(smoothing, 0)

    def all_bare(terms: Mapping[str, Any]) -> dict[str, tuple[Expr, ...]]:
        return {name: tuple(map(bare, each)) for name, each in terms.items()}

    return replace(
        statement,
        arguments={name: x for name, x in statement.arguments.items() if name not in masses},
        textbook=bare(statement.textbook),
        gradient=all_bare(statement.gradient),
        curvature=all_bare(statement.curvature),
    )


def places(wired: Wired, value: bool, three: bool) -> Iterator[Place]:
    """Every class of two, and one of three as well where that is wanted."""
    for classes in (2, 3) if three else (2,):
        own = range(1 if value else 2) if classes == 2 else (1,)
        labels = range(classes - 2, classes) if wired.labelled else [None]
        for k, y in product(own, labels):
            yield Place(Integer(classes), Integer(k), None if y is None else Integer(y))


def whole_row(
    wired: Wired, stated: Expr, formulas: Sequence[Formula], way: Way, three: bool
) -> str:
    """Show that a value, or a derivative of some class, is what is stated of it."""
    arms = 0
    for place in places(wired, not formulas, three):
        here = place.of(wired.statement, stated)

        def ours(path: Path, place: Place = place) -> Expr:
            return _outcome(path, place, wired, formulas, way)

        def theirs(path: Path, here: Expr = here) -> Expr:
            return path.resolve(here)

        shown = show_equal(ours, theirs, domain(wired.statement, distinct=place.distinct))
        arms += int(shown.split()[0])
    return counted(arms, "arm")


def ignored(wired: Wired) -> str:
    """Of two classes; the first is where the target's would be written."""
    arms = 0
    for (_, _, formulas), k in product(claims(wired), (0, 1)):
        place = Place(Integer(2), Integer(k), Integer(-1))

        def ours(path: Path, place: Place = place, formulas: Any = formulas) -> Expr:
            return _outcome(path, place, wired, formulas, STEPS)

        arms += int(show_equal(ours, lambda path: S.Zero, domain(wired.statement)).split()[0])
    return counted(arms, "arm")


def _outcome(path: Path, place: Place, wired: Wired, formulas: Sequence[Formula], way: Way) -> Expr:
    """The row's value, or a derivative at the place's class, on the way that kernels take."""
    wiring = wiring_of(
        wired.plan, formulas, not formulas, in_steps=way.in_steps, in_pairs=way.in_pairs
    )
    arrays = {name: wired.quantities[name] for name in wiring.table.each}
    known = {name: q for name, q in wired.quantities.items() if name not in arrays}
    known |= {"classes": place.classes, **_PLAIN}
    if place.y is not None:
        known[LABEL] = place.y
        known |= {f"{HIT}{name}": q[max(place.y, 0)] for name, q in arrays.items()}
    row = Fused(path, wiring, {name: q.__getitem__ for name, q in arrays.items()}, known)
    # sizes can be compared of masses that are symbols
    apart = wired.bare and wired.plan.mass is not None and place.classes == 2
    row.reduce(int(place.classes), others_apart=apart)
    if not formulas:
        return row.outcome(row.of_row)
    if not way.in_steps or place.y is None:
        return row.outcome(row.at(place.k))
    # The CPU writes each class as if it were not the target's, and that one anew; it does so
    # where nothing is left to reduce in the pass that writes
    if place.k != max(place.y, 0):
        row.known["hit"] = Quantity(S.Zero)
        return row.outcome(row.at(place.k))
    is_each = row.table.is_each(row.wanted)
    return row.outcome(row.of_row, f"{HIT}{row.wanted}" if is_each else row.wanted)


# Elements and pairs ------------------------------------------------------------------------------

_weight, _upstream = Symbol("w", nonnegative=True), Symbol("u", real=True)
_denominator = Symbol("N", positive=True)
_DERIVED = {"upstream": _upstream, "denominator": _denominator, "rate": 1 / _denominator}


def of_elements(loss: str, statement: Statement, plan: Plan) -> Iterator[Obligation]:
    """That an element's numbers are its formulas', weighted, and slopes scaled."""
    claim = "what is wired is the formula times the weight, slopes times upstream / denominator"
    yield Obligation(loss, claim, partial(_elements, loss, statement, plan))


def _elements(loss: str, statement: Statement, plan: Plan) -> str:
    arms = 0
    for argument in (None, *plan.formulas.gradient):
        formula = plan.formulas.value if argument is None else plan.formulas.gradient[argument]
        factor = _weight if argument is None else _weight * _upstream / _denominator
        quantities = WORKING[loss][""].quantities(statement)
        scale = rescaled if argument == "target" else scaled
        formulas = [] if argument is None else [formula]

        def ours(
            path: Path, formulas: Any = formulas, scale: Any = scale, q: Any = quantities
        ) -> Expr:
            weighted = replace(plan, weight=np.ones(1))
            wiring = wiring_of(weighted, formulas, not formulas, scale, in_steps=True)
            element = Fused(path, wiring, {}, {**q, "weight": _weight, **_DERIVED})
            return element.outcome(element.of_row)

        def theirs(
            path: Path, formula: Any = formula, factor: Expr = factor, q: Any = quantities
        ) -> Expr:
            return factor * formula_on(path, formula, q)

        arms += int(show_equal(ours, theirs, domain(statement)).split()[0])
    return counted(arms, "arm")


def of_pairs(composition: Composition) -> Iterator[Obligation]:
    """That what is wired of two or three vectors is what is stated, where no difference is zero."""
    for argument in (None, *composition.gradient):
        what = "value = textbook" if argument is None else f"gradient in {argument} = closed form"
        show = partial(_pairs, composition, argument)
        yield Obligation(composition.loss, f"{what}, component by component", show)


def _pairs(composition: Composition, argument: str | None) -> str:
    arms = 0
    for place in pair_proofs.places(composition.loss, ""):
        size = place.sizes["D"]
        if place.zero or (size > 1 and composition.loss != "contrastive_loss"):
            continue
        given = place.given(composition)
        at = {**given, composition.row: 0, composition.component: size - 1}
        ours = partial(_pair, composition, place.plan(composition), given, argument, size)
        theirs = partial(pair_proofs.stated, composition, at, argument)
        shown = show_equal(ours, theirs, pair_proofs.known(composition, place, given))
        arms += int(shown.split()[0])
    return counted(arms, "arm")


def _pair(
    composition: Composition,
    plan: Plan,
    given: Mapping[Any, Any],
    argument: str | None,
    size: int,
    path: Path,
) -> Expr:
    def entry(name: str, index: tuple[int, ...]) -> Expr:
        symbol = composition.arguments[name][index]
        return sympy.sympify(given.get(symbol, symbol))

    formulas = [] if argument is None else [plan.formulas.gradient[argument]]
    wiring = wiring_of(plan, formulas, value=not formulas, in_steps=True)
    entries = {n: lambda c, n=n: entry(n, (0, c)) for n in wiring.table.each}
    known: dict[str, Any] = {**dict.fromkeys(plan.parameters, sympy.oo), **_PLAIN}
    known |= {name: given.get(s, s) for name, s in composition.options.items()}
    known |= {n: entry(n, (0,)) for n in composition.arguments if n not in entries}
    row = Fused(path, wiring, entries, known)
    row.reduce(size)
    return row.outcome(row.of_row if argument is None else row.at(size - 1))
