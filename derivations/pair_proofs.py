"""Obligations of losses of pairs of vectors: what refloss runs is the closed form.

refloss's own wiring runs on vectors of symbols, of 1, 2 and 3 components. First no component of a
difference is zero and no vector is; then some are, and the textbook says several things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import sympy
from sympy import Abs, Expr, IndexedBase, Integer, Interval, S, Symbol, oo

from derivations import vector_distances
from derivations.agreement import counted, show_equal
from derivations.algebra import Algebra
from derivations.composition import Composition
from derivations.composition_proofs import Setting, everywhere
from derivations.explorer import Path
from derivations.facts import NONNEGATIVE, POSITIVE, Facts
from derivations.obligations import Obligation, RefutedError
from derivations.symbolic_rows import Row, RowKernels, whole
from derivations.written_out import WrittenOut
from refloss.evaluation import Plan
from refloss.formula.reading import Formula
from refloss.formula.symbols import Condition
from refloss.vectors import Difference, Norm, PairBlock, Vector, norm_of

LOSSES = ("contrastive_loss", "triplet_margin_loss", "cosine_embedding_loss")
_DIFFERENCES = {
    "contrastive_loss": (("x1", "x2"),),
    "triplet_margin_loss": (
        ("anchor", "positive"),
        ("anchor", "negative"),
        ("positive", "negative"),
    ),
}


class VectorKernels(RowKernels):
    """Kernels on vectors with an explicit number of components."""

    def row_max(self, x: Row) -> Row:
        return whole(_largest(self.path, [x.at(c) for c in range(int(self.classes))]))


def _largest(path: Path, numbers: Sequence[Expr]) -> Expr:
    top, *others = numbers
    for other in others:
        top = other if path.holds(Condition(other - top, ">")) else top
    return top


class SymbolicPairs(PairBlock):
    """One row of vectors of symbols, wired as `refloss.vectors.PairBlock` has it.

    Directions and differences are what `pieces` shows of them.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, ())

    def classes(self, array: Any) -> Any:
        return array

    rows = classes

    def pair(self, stem: str) -> Any:
        if self.plan.norm is None:
            return super().pair(stem)
        if stem not in self.pairs:
            self.pairs[stem] = KnownDifference(self, *self.plan.pairs[stem])
        return self.pairs[stem]

    def vector(self, name: str) -> Any:
        if name not in self.vectors:
            kernels: Any = self.kernels
            known: Any = KnownVector(kernels, self.plan.arrays[name])
            self.vectors[name] = known
        return self.vectors[name]


class KnownVector:
    """A vector's length and direction; zero has none."""

    def __init__(self, kernels: VectorKernels, x: Row) -> None:
        self.x, self.kernels = x, kernels
        length = sympy.sqrt(kernels.total(lambda c: x.at(c) ** 2))
        self.length = whole(length)
        self.unit = Row(lambda c: x.at(c) / length if length != 0 else S.Zero)


class KnownDifference:
    """The norm of a difference, and its slope; 0 where the slope is an interval around 0."""

    def __init__(self, block: SymbolicPairs, first: str, second: str) -> None:
        x, y = block.plan.arrays[first], block.plan.arrays[second]
        self.path, self.p = block.kernels.path, block.plan.parameters["p"]
        self.eps = block.plan.parameters.get("eps", 0)
        self.residuals = [x.at(c) - y.at(c) + self.eps for c in range(block.plan.classes)]
        sizes = [Abs(r) for r in self.residuals]
        self.top = _largest(self.path, sizes) if self.p == oo else S.Zero
        powers = sympy.Add(*(size**self.p for size in sizes)) if self.p != oo else S.Zero
        self.distance = whole(self.top if self.p == oo else powers ** (1 / self.p))
        self.slope = Row(lambda c: self._slope(self.residuals[int(c)]))

    def _slope(self, r: Expr) -> Expr:
        if r == 0:
            return S.Zero
        if self.p != oo:
            return sympy.sign(r) * (Abs(r) / self.distance.at(0)) ** (self.p - 1)
        tied = [
            self.path.holds(Condition(Abs(s) - self.top, "==")) for s in self.residuals if s != 0
        ]
        reaches = self.path.holds(Condition(Abs(r) - self.top, "=="))
        return sympy.sign(r) / sum(tied) if reaches else S.Zero


@dataclass(frozen=True)
class Place:
    """Where a loss is looked at, and by what call it runs.

    ``call`` has the options of a real call; ``zero`` the components of differences that are zero,
    or the names of vectors that are.
    """

    setting: Setting
    call: Mapping[str, Any]
    zero: tuple[Any, ...] = ()

    @property
    def sizes(self) -> Mapping[str, int]:
        return self.setting.sizes

    def __str__(self) -> str:
        at_zero = "".join(f", zero: {z}" for z in self.zero)
        return f"{self.setting}{at_zero}"

    def plan(self, composition: Composition) -> Plan:
        """What the call runs."""
        d = self.sizes["D"]
        vectors = {name: np.ones((1, d)) for name in composition.gradient}
        marks = {name: np.ones(1) for name in composition.arguments if name not in vectors}
        loss = getattr(import_module(f"refloss.losses.{composition.loss}"), composition.loss)
        plan = loss._plan(**vectors, **marks, **self.call)
        assert isinstance(plan, Plan)
        return plan

    def given(self, composition: Composition) -> dict[Any, Any]:
        """What the composition's symbols are here.

        Where vectors are compared by their differences r, these are the symbols: y = x + eps - r.
        """
        found = self.setting.given(composition)
        components = range(self.sizes["D"])
        eps = composition.options.get("eps", S.Zero)
        for first, second in _DIFFERENCES.get(composition.loss, ())[:2]:
            x, y = composition.arguments[first], composition.arguments[second]
            for c in components:
                r = Symbol(f"r_{second}{c}", real=True)
                zero = (first, second, c) in self.zero
                found[y[0, c]] = x[0, c] + eps - (S.Zero if zero else r)
        for zero in self.zero:
            if zero in composition.arguments:
                found |= {composition.arguments[zero][0, c]: S.Zero for c in components}
            elif zero[0] == "positive":  # of the two that are not the anchor
                x, y = (composition.arguments[name] for name in zero[:2])
                found[y[0, zero[2]]] = found[x[0, zero[2]]] + eps
        return found


def places(loss: str, variant: str) -> Iterator[Place]:
    """Every place at which a statement of a loss is compared with what runs."""
    if loss == "cosine_embedding_loss":
        zeros: tuple[tuple[str, ...], ...] = ((), ("input1",), ("input2",), ("input1", "input2"))
        for d, target, zero in product((1, 2), (1, -1), zeros):
            if d == 1 or not zero:
                setting = Setting({"N": 1, "D": d}, labels={"target": (target,)}, last=d > 1)
                yield Place(setting, {}, zero)
        return
    swapped = "swap" in variant
    exponents = [(oo, float("inf"))] if "inf" in variant else [
        (Integer(1), 1.0), (Integer(2), 2.0), (None, 3.0)
    ]  # fmt: skip
    for (p, run), d in product(exponents, (1, 2)):
        # one component has the same norm for every p; the pieces show two and three
        any_p = p in (None, oo)
        if loss == "triplet_margin_loss" and (swapped or p == oo if d == 2 else not any_p):
            continue
        if swapped and not any_p:
            continue
        options = {} if any_p else {"p": p}
        setting = Setting({"N": 1, "D": d}, options, last=d > 1)
        call = {"p": run, **({"swap": True} if swapped else {})}
        yield Place(setting, call)
        if loss == "contrastive_loss" or (d == 1 and variant != "p = inf, swap"):
            yield from (Place(setting, call, zero) for zero in _zeros(loss, d, swapped=swapped))


def _zeros(loss: str, d: int, *, swapped: bool) -> Iterator[tuple[Any, ...]]:
    """Differences that are zero in all components; of two also in the first or in the last.

    With `swapped`, the one between the two that are not the anchor.
    """
    for difference in _DIFFERENCES[loss][2:] if swapped else _DIFFERENCES[loss][:2]:
        yield tuple((*difference, c) for c in range(d))
        if d == 2:
            yield ((*difference, 0),)
            yield ((*difference, 1),)
    if loss == "triplet_margin_loss" and not swapped:
        yield tuple((*one, c) for one in _DIFFERENCES[loss][:2] for c in range(d))


# What the pieces are ------------------------------------------------------------------------------

_EPS = Symbol("epsilon", real=True)
_X, _Y = IndexedBase("x", real=True), IndexedBase("y", real=True)


def pieces() -> Iterator[Obligation]:
    """That directions and differences of vectors, as they are run, are what their names say."""
    for quantity in ("unit", "length"):
        yield Obligation("direction", f"{quantity}, whichever component is largest", partial(
            _direction, quantity))  # fmt: skip
    for p in (Integer(1), Integer(2), vector_distances.p, oo):
        for quantity in ("distance", "slope"):
            name = "p" if p == vector_distances.p else f"p = {p}"
            yield Obligation("difference", f"{name}: {quantity}, whichever component is largest",
                             partial(_difference, p, quantity))  # fmt: skip


def _direction(quantity: str) -> str:
    arms = 0
    for d in (1, 2, 3):
        for zero in [()] if d == 1 else [(), (0,), (d - 1,)]:
            arms += _direction_of([S.Zero if c in zero else _X[c] for c in range(d)], quantity)
    zeros = Vector(VectorKernels(Path(Facts(Algebra()), ()), 2), Row(lambda c: S.Zero))
    if (zeros.length.at(0), zeros.unit.at(0), zeros.unit.at(1)) != (0, 0, 0):
        raise RefutedError("a vector of zeros has a direction")
    return f"D = 1, 2, 3: {counted(arms, 'arm')}; zero"


def _direction_of(x: Sequence[Expr], quantity: str) -> int:
    def last_of(kind: Callable[..., Any], path: Path) -> Expr:
        found: Row = getattr(kind(VectorKernels(path, len(x)), row), quantity)
        return found.at(len(x) - 1)

    row = Row(lambda c: x[int(c)])
    facts = Facts(Algebra(nonzero=True)).given(sympy.Add(*(c**2 for c in x)), POSITIVE)
    text = show_equal(partial(last_of, Vector), partial(last_of, KnownVector), facts)
    return int(text.split()[0])


def _difference(p: Expr, quantity: str) -> str:
    """Beside what `KnownDifference` says, also what the statements of the losses say."""
    norm = norm_of(3.0 if p == vector_distances.p else float(p))
    arms = 0
    for d in (1, 2, 3):
        for pattern in product((False, True), repeat=d):
            r = [S.Zero if z else Symbol(f"r{c}", real=True) for c, z in enumerate(pattern)]
            arms += _difference_at(p, norm, quantity, r)
    return f"D = 1, 2, 3: {counted(arms, 'arm')}"


def _difference_at(p: Expr, norm: Norm, quantity: str, r: Sequence[Expr]) -> int:
    d, i, k = len(r), vector_distances.i, vector_distances.k
    apart = vector_distances.distance(_X[i, k] - _Y[i, k] + _EPS, infinite=p == oo)
    given: dict[Any, Any] = {vector_distances.p: p, vector_distances.D: Integer(d), i: 0, k: d - 1}
    given |= {_X[0, c]: _Y[0, c] - _EPS + r[c] for c in range(d)}
    left = apart.distance[i] if quantity == "distance" else apart.slope[i, k]

    def block(path: Path) -> Any:
        arrays = {
            "x": Row(lambda c: given[_X[0, c]]),
            "y": Row(lambda c: _Y[0, c]),
        }
        kernels = VectorKernels(path, d)
        plan = SimpleNamespace(
            norm=norm, parameters={"p": p, "eps": _EPS}, arrays=arrays, classes=d
        )
        return SimpleNamespace(plan=plan, kernels=kernels)

    def ours(path: Path) -> Expr:
        here = block(path)
        first, second = (Vector(here.kernels, here.plan.arrays[name]) for name in "xy")
        found: Row = getattr(Difference(here, first, second), quantity)
        return path.resolve(found.at(d - 1))

    def known(path: Path) -> Expr:
        found: Row = getattr(KnownDifference(block(path), "x", "y"), quantity)
        return found.at(d - 1)

    def stated(path: Path) -> Expr:
        return WrittenOut(path, apart.where, given)(left)

    facts = Facts(Algebra(frozenset({vector_distances.p}), nonzero=True))
    if p == vector_distances.p:
        facts = facts.given(p - 1, POSITIVE)
    if any(r):
        facts = facts.given(sympy.Add(*(c**2 for c in r)), POSITIVE)
    show_equal(ours, known, facts)
    text = show_equal(ours, stated, facts, kink=not all(r))
    return sum(int(part.split()[0]) for part in text.split(", "))


# Losses ------------------------------------------------------------------------------------------


def obligations(name: str, variant: str, composition: Composition) -> Iterator[Obligation]:
    """That value and gradients, as they are run, are what the composition says."""
    where = list(places(composition.loss, variant))
    claims: list[tuple[str, str | None]] = [("value = textbook", None)]
    claims += [(f"gradient in {a} = closed form", a) for a in composition.gradient]
    for claim, argument in claims:
        show = partial(agreeing, composition, argument)
        yield Obligation(name, claim, partial(everywhere, show, where))


def agreeing(
    composition: Composition,
    argument: str | None,
    place: Place,
    change: Callable[[Plan], Plan] = lambda plan: plan,
) -> int:
    """Show it of the value, or of the gradient in an argument; at one place."""
    plan, given = change(place.plan(composition)), place.given(composition)
    components = range(place.sizes["D"] - 1 if place.setting.last else 0, place.sizes["D"])
    arms = 0
    for component in components if argument is not None else (0,):
        at = {**given, composition.row: 0, composition.component: component}
        text = show_equal(
            partial(run, composition, plan, given, argument, component),
            partial(stated, composition, at, argument),
            known(composition, place, given),
            kink=bool(place.zero),
        )
        arms += sum(int(part.split()[0]) for part in text.split(", "))
    return arms


def stated(
    composition: Composition, given: Mapping[Any, Any], argument: str | None, path: Path
) -> Expr:
    """What the composition says."""
    e = composition.textbook if argument is None else composition.gradient[argument]
    return WrittenOut(path, composition.where, given)(e)


def run(
    composition: Composition,
    plan: Plan,
    given: Mapping[Any, Any],
    argument: str | None,
    component: int,
    path: Path,
) -> Expr:
    """What the wiring makes of the same symbols."""
    kernels: Any = VectorKernels(path, plan.classes)
    arrays: dict[str, Any] = {}
    for name, base in composition.arguments.items():
        if name in composition.gradient:
            arrays[name] = Row(lambda c, base=base: given.get(base[0, c], base[0, c]))  # type: ignore[misc]
        else:
            arrays[name] = whole(given.get(base[0], base[0]))
    numbers = {n: given.get(s, s) for n, s in composition.options.items()}
    parameters: Any = {**dict.fromkeys(plan.parameters, oo), **numbers}
    block = SymbolicPairs(replace(plan, kernels=kernels, arrays=arrays, parameters=parameters))
    if argument is None:
        return block.value().at(0)
    formula: Formula = plan.formulas.gradient[argument]
    return block.derivative(formula).at(component)


def known(composition: Composition, place: Place, given: Mapping[Any, Any]) -> Facts:
    """The domain of what is no component; that no vector of an angle is zero but those given."""
    positive = frozenset(s for s in composition.options.values() if s.is_positive)
    facts = Facts(Algebra(positive, nonzero=True))
    for variable, allowed in composition.domain.items():
        symbol = variable if isinstance(variable, Symbol) else variable[0]
        if not isinstance(allowed, Interval) or symbol in given or symbol.is_positive:
            continue
        for claim in (symbol - allowed.start, allowed.end - symbol):
            facts = facts.given(claim, NONNEGATIVE) if claim.is_finite is not False else facts
    if "p" in composition.options and composition.options["p"] not in given:
        facts = facts.given(composition.options["p"] - 1, POSITIVE)
    if composition.loss == "cosine_embedding_loss":
        vectors = [name for name in composition.gradient if name not in place.zero]
        sums = [[composition.arguments[v][0, c] for c in range(place.sizes["D"])] for v in vectors]
    else:
        eps = composition.options.get("eps", S.Zero)
        sums = [
            [
                _at(composition, given, first, c) - _at(composition, given, second, c) + eps
                for c in range(place.sizes["D"])
            ]
            for first, second in _DIFFERENCES[composition.loss]
            if second in composition.arguments
        ]
    for numbers in sums:
        if any(numbers):
            facts = facts.given(sympy.Add(*(x**2 for x in numbers)), POSITIVE)
    return facts


def _at(composition: Composition, given: Mapping[Any, Any], name: str, component: int) -> Expr:
    entry = composition.arguments[name][0, component]
    return sympy.sympify(given.get(entry, entry))
