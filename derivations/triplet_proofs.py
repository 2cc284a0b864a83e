"""Obligations of the triplets of a batch: what sorting and running sums give is the triple sum.

An anchor's distances are symbols, of which nothing is known but that they are not negative. What
`refloss.triplets` runs for it goes over every order of them, and is compared with the statement.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import signature
from types import FunctionType
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Indexed, IndexedBase, Integer, Piecewise, Sum, Symbol

from derivations import triplet_statements
from derivations.agreement import Way, counted, show_derivative, show_equal
from derivations.algebra import Algebra
from derivations.composition import Composition
from derivations.decided_arrays import BatchKernels, Decided, plain
from derivations.explorer import Path, explore, formula_on
from derivations.facts import NONNEGATIVE, POSITIVE, Facts
from derivations.obligations import Obligation, RefutedError
from derivations.statement import arms
from derivations.triplet_statements import batch_loss, mined_triplets
from derivations.waiting_rows import RowKernels, row
from refloss import triplets
from refloss.arguments import namespace
from refloss.formula import direction, triplet
from refloss.formula.symbols import Condition
from refloss.kernels.metric import RATES
from refloss.triplets import Anchor, Batch, Chosen

LABELS = ((0, 0, 1), (0, 0, 0, 1), (0, 0, 1, 1))
m = triplet_statements.m


class Stated:
    """What a composition says of the anchor 0, with its distances as symbols.

    Indices are looked up and never put in, which would cost SymPy minutes.
    """

    def __init__(self, path: Path, composition: Composition, labels: Sequence[int]) -> None:
        self.path, self.labels = path, labels
        self.definitions = {one.symbol: one for one in composition.where}
        self.known: dict[tuple[Any, ...], Expr] = {}

    def __call__(self, e: Any, at: Mapping[Symbol, int]) -> Expr:
        if isinstance(e, Indexed):
            return self._entry(e.base, tuple(int(self(i, at)) for i in e.indices))
        if isinstance(e, Sum):
            return self._sum(e, at)
        if isinstance(e, Piecewise):
            return self._piece(e, at)
        if e.is_Mul:
            return self._product(e, at)
        if not e.args:
            return Integer(at[e]) if e in at else e
        return self.path.resolve(e.func(*(self(part, at) for part in e.args)))

    def _entry(self, base: Any, indices: tuple[int, ...]) -> Expr:
        if base == triplet_statements.y:
            return Integer(self.labels[indices[0]])
        if base == triplet_statements.d:
            assert indices[0] == 0, indices
            return distance(indices[1])
        if (base, *indices) not in self.known:
            definition = self.definitions[base]
            at = dict(zip(definition.indices, indices, strict=True))
            self.known[base, *indices] = self(definition.expression, at)
        return self.known[base, *indices]

    def _sum(self, e: Sum, at: Mapping[Symbol, int]) -> Expr:
        names = [index for index, _, _ in e.limits]
        everyone = itertools.product(range(len(self.labels)), repeat=len(names))
        places = ({**at, **dict(zip(names, place, strict=True))} for place in everyone)
        return sympy.Add(*(self(e.function, place) for place in places))

    def _product(self, e: Expr, at: Mapping[Symbol, int]) -> Expr:
        """What is not mined is nothing, whatever its hinge."""
        found: Expr = Integer(1)
        for part in sorted(e.args, key=lambda one: not one.has(triplet_statements.t)):
            found *= self(part, at)
            if found == 0:
                break
        return found

    def _piece(self, e: Piecewise, at: Mapping[Symbol, int]) -> Expr:
        """A miner decides; but at a kink every arm counts."""
        if e.args[-1][1] == sympy.true:
            return next(self(value, at) for value, condition in e.args if self.holds(condition, at))
        pieces = [
            (value, condition.func(self(condition.lhs, at), self(condition.rhs, at)))
            for value, condition in e.args
        ]
        return self.path.resolve(arms(*pieces))

    def holds(self, condition: Any, at: Mapping[Symbol, int]) -> bool:
        """Whether a condition holds on this path, as it stands."""
        if condition == sympy.true:
            return True
        if isinstance(condition, sympy.And | sympy.Or):
            # what the labels say comes first
            parts = sorted(condition.args, key=lambda one: one.has(triplet_statements.d))
            every = isinstance(condition, sympy.And)
            return (all if every else any)(self.holds(part, at) for part in parts)
        difference = self(condition.lhs, at) - self(condition.rhs, at)
        match condition:
            case sympy.Eq():
                return self.path.holds(Condition(difference, "=="))
            case sympy.Ne():
                return self.path.holds(Condition(difference, "==", True))
            case sympy.Gt():
                return self.path.holds(Condition(difference, ">"))
            case sympy.Ge():
                return self.path.holds(Condition(difference, ">="))
            case sympy.Lt():
                return self.path.holds(Condition(-difference, ">"))
            case sympy.Le():
                return self.path.holds(Condition(-difference, ">="))
        raise TypeError(f"{condition} is no comparison")


def distance(j: int) -> Expr:
    """From the anchor to another embedding."""
    return Symbol(f"d{j}", nonnegative=True) if j else Integer(0)


def run(path: Path, labels: Sequence[int], mining: str) -> Chosen:
    """What refloss runs for the anchor 0."""
    everyone = range(len(labels))
    anchor: Any = Anchor(
        0,
        row(path, [distance(j) for j in everyone]),
        row(path, [j > 0 and labels[j] == labels[0] for j in everyone]),
        row(path, [labels[j] != labels[0] for j in everyone]),
    )
    kernels: Any = RowKernels(path)
    margin: Any = m
    if mining == "hard":
        return _hardest(kernels, anchor, mining, margin)  # type: ignore[no-any-return]
    return triplets.regrouped(kernels, anchor, mining, margin)


def _float(x: Any) -> Any:
    """A float of what is a number; the loss of a triplet stays the expression that it is."""
    return float(x) if x.is_number else x


_hardest = FunctionType(
    triplets.hardest.__code__, {**triplets.hardest.__globals__, "float": _float}, "hardest"
)


def known(labels: Sequence[int]) -> Facts:
    symbols = [distance(j) for j in range(1, len(labels))]
    facts = Facts(Algebra(nonnegative=frozenset([*symbols, m])))
    for symbol in (*symbols, m):
        facts = facts.given(symbol, NONNEGATIVE)
    return facts


def _weight(j: int) -> str:
    return f"the weight of d_0{j}"


def stated(mining: str, labels: Sequence[int]) -> dict[str, Way]:
    """What the statement says of the anchor 0, part by part."""
    composition = batch_loss(mining, "euclidean")
    a, p, n, w = (getattr(triplet_statements, name) for name in "apnw")
    mined = triplet_statements.over(triplet_statements.t[a, p, n], p, n)
    losing = triplet_statements.over(
        triplet_statements.t[a, p, n] * triplet_statements.h[a, p, n], p, n
    )

    def way(e: Expr) -> Way:
        return lambda path: Stated(path, composition, labels)(e, {a: 0})

    parts = {"loss": composition.textbook, "number": mined, "active": losing}
    pulls = {_weight(j): w[0, j] for j in range(1, len(labels))}
    return {name: way(e) for name, e in (parts | pulls).items()}


def found(chosen: Chosen) -> dict[str, Expr]:
    """The same parts, of what was run."""
    weights = {_weight(j): one for j, one in enumerate(chosen.pull) if j}
    counts = {"number": Integer(chosen.number), "active": Integer(chosen.active)}
    return {"loss": sympy.Add(*chosen.loss), **counts, **weights}


def of_anchor(mining: str, labels: Sequence[int]) -> str:
    """Show that every part of what is run is what is stated, whatever the distances.

    Loss and number of triplets agree everywhere. Weights jump at a kink; they agree inside of every
    order, and what is run on its edge is what it is inside: one of the arms that count there.
    """
    ways = stated(mining, labels)
    orders = edges = 0
    for leaf in explore(lambda path: found(run(path, labels, mining)), known(labels)):
        inside = leaf.facts if leaf.facts.on_boundary else leaf.facts.strictly()
        orders, edges = orders + 1, edges + leaf.facts.on_boundary
        for name, number in leaf.outcome.items():
            facts = leaf.facts if name in ("loss", "number") else inside
            try:
                show_equal(_always(number), ways[name], facts)
            except RefutedError as problem:
                raise RefutedError(f"{name}: {problem}") from None
    if orders == edges:
        raise RefutedError("no order has an inside")
    return f"{labels}: {counted(orders, 'order')}"


def _always(number: Expr) -> Way:
    return lambda path: number


# Which triplets --------------------------------------------------------------------------------


class SymbolicBatch(Batch):
    """A batch whose distances are symbols, or whose embeddings are."""

    def __init__(self, path: Path, x: Any, labels: Sequence[int], name: str) -> None:
        self.kernels: Any = BatchKernels(path)
        self.labels, self.x, self.xp = np.array(labels), x, namespace(x)
        self.metric = triplets.METRICS.get(name)
        self.together, self.room = False, triplets.ROOM


def listed(mining: str, labels: Sequence[int]) -> str:
    """Show that the triplets that are listed for the anchor 0 are those of the statement."""
    composition = mined_triplets(mining, "euclidean")
    everyone = range(len(labels))
    orders = 0

    def both(path: Path) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        batch = SymbolicBatch(path, np.zeros((len(labels), 1)), labels, "euclidean")
        marks, others = batch.labels, np.arange(len(labels)) > 0
        apart = np.array([Decided(path, distance(j)) for j in everyone])
        anchor = Anchor(0, apart, (marks == marks[0]) & others, marks != marks[0])
        batch.anchors = lambda: iter([anchor])  # type: ignore[method-assign]
        columns = triplets.indices(batch, mining, m)
        ours = [tuple(int(i) for i in one) for one in zip(*columns, strict=True)]
        read = Stated(path, composition, labels)
        a, p, n = (getattr(triplet_statements, name) for name in "apn")
        theirs = [
            (0, *pair) for pair in itertools.product(everyone, repeat=2)
            if read(composition.textbook, {a: 0, p: pair[0], n: pair[1]}) == 1
        ]  # fmt: skip
        return ours, theirs

    for leaf in explore(both, known(labels)):
        ours, theirs = leaf.outcome
        if ours != theirs:
            raise RefutedError(f"where {leaf.facts}: {ours} are not {theirs}")
        orders += 1
    return f"{labels}: {counted(orders, 'order')}"


# What becomes of the weights -------------------------------------------------------------------

_SIZES = ((3, 1), (2, 2))  # embeddings and components
_w = IndexedBase("w", real=True)


def _apart(metric: str, size: tuple[int, int]) -> Facts:
    """No vector is zero whose angle is asked for, and no two embeddings are equal."""
    x = triplet_statements.x
    rows = [[x[i, k] for k in range(size[1])] for i in range(size[0])]
    vectors = rows if metric == "cosine" else [
        [a - b for a, b in zip(*pair, strict=True)] for pair in itertools.combinations(rows, 2)
    ]  # fmt: skip
    facts = Facts(Algebra(nonzero=True))
    for vector in vectors:
        facts = facts.given(sympy.Add(*(c**2 for c in vector)), POSITIVE)
    return facts


def _batch(path: Path, metric: str, size: tuple[int, int]) -> SymbolicBatch:
    x = triplet_statements.x
    rows = [[Decided(path, x[i, k]) for k in range(size[1])] for i in range(size[0])]
    return SymbolicBatch(path, np.array(rows), [0] * size[0], metric)


def _distance(metric: str, i: int, j: int, size: tuple[int, int]) -> Expr:
    composition = batch_loss("all", metric)
    sizes = dict(zip(composition.axes["embeddings"], size, strict=True))
    return composition.explicit(triplet_statements.d[i, j], sizes)


def measured(metric: str, size: tuple[int, int]) -> str:
    """Show that the distances that run are the textbook's."""
    textbook = _distance(metric, 0, 1, size)
    return show_equal(
        lambda path: plain(_batch(path, metric, size).distances[0, 1]),
        lambda path: path.resolve(textbook),
        _apart(metric, size),
    )


def gathered(metric: str, size: tuple[int, int]) -> str:
    """Show that what is gathered is the derivative of the weighted sum of all distances."""
    pairs = itertools.permutations(range(size[0]), 2)
    loss = sympy.Add(*(_w[a, j] * _distance(metric, a, j, size) for a, j in pairs))
    component = size[1] - 1
    return show_derivative(
        lambda path: path.resolve(loss),
        triplet_statements.x[0, component],
        lambda path: plain(_gradient(path, metric, size)[0, component]),
        _apart(metric, size),
    )


def _gradient(path: Path, metric: str, size: tuple[int, int]) -> Any:
    everyone = range(size[0])
    pulls = [[Decided(path, _w[a, j] if a != j else 0) for j in everyone] for a in everyone]
    chosen = [Chosen((0.0, 0.0), 0, 0, np.array(pull)) for pull in pulls]
    return _batch(path, metric, size).gradient(chosen)


def rated(metric: str, size: tuple[int, int]) -> str:
    """Show that a pair's rate times a component's step is the weighted distance differentiated."""
    x, w = triplet_statements.x, _w[0, 1]
    distance_ = _distance(metric, 0, 1, size)
    rate, step = RATES[triplets.METRICS[metric].slope]

    def product(path: Path) -> Expr:
        known = {"weight": w, "distance": distance_, "residual": x[0, 0] - x[1, 0]}
        parts = [
            formula_on(path, one, {name: known[name] for name in signature(one).parameters})
            for one in (rate, step)
        ]
        return parts[0] * parts[1]

    facts = _apart(metric, size)
    return show_derivative(lambda path: path.resolve(w * distance_), x[0, 0], product, facts)


def swung() -> str:
    """Show that a unit vector's slope is the same from 1 - cos."""
    u, v, c = (Symbol(name, real=True) for name in "uvc")
    known = {"first": u, "second": v, "gap": 1 - c}
    return show_equal(
        lambda path: formula_on(path, direction.swing, known),
        lambda path: v - c * u,
        Facts(Algebra()),
    )


def equal(metric: str) -> str:
    """Show that two equal embeddings have no distance, and that it pulls at neither."""
    x = triplet_statements.x

    def numbers(path: Path) -> list[Any]:
        rows = np.array([[Decided(path, x[0, k]) for k in range(2)]] * 2)
        batch = SymbolicBatch(path, rows, [0, 0], metric)
        weights = np.array([Decided(path, _w[0, j]) for j in range(2)])
        pulls = [Chosen((0.0, 0.0), 0, 0, weights)] * 2
        return [plain(one) for one in (*batch.distances.flat, *batch.gradient(pulls).flat)]

    arms_ = 0
    for leaf in explore(numbers, Facts(Algebra())):
        if any(number != 0 for number in leaf.outcome):
            raise RefutedError(f"{leaf.outcome} are not all 0")
        arms_ += 1
    return counted(arms_, "arm")


def steepness(mining: str, labels: Sequence[int]) -> str:
    """Show that the stated weights are the derivatives of the loss in the distances."""
    ways = stated(mining, labels)
    arms_ = 0
    for j in range(1, len(labels)):
        text = show_derivative(ways["loss"], distance(j), ways[_weight(j)], known(labels))
        arms_ += int(text.split()[0])
    return f"{labels}: {counted(arms_, 'arm')}"


# Any number of negatives -----------------------------------------------------------------------
#
# d_0 <= d_1 <= ... are the distances of the negatives, k of them below t, s of them passed over

_d = IndexedBase("d", real=True)
_t, _i, _j = Symbol("t", real=True), Symbol("i", integer=True), Symbol("j", integer=True)
_k, _s = Symbol("k", integer=True, positive=True), Symbol("s", integer=True, nonnegative=True)


def _upto(count: Expr, term: Expr) -> Sum:
    return Sum(term, (_i, 0, count - 1))


def _hinge(path: Path) -> Expr:
    return path.resolve(sympy.Max(0, _t - _d[_j]))


def below() -> str:
    """d_j <= d_(k-1) < t."""
    facts = Facts(Algebra()).given(_d[_k - 1] - _d[_j], NONNEGATIVE)
    facts = facts.given(_t - _d[_k - 1], POSITIVE)
    return show_equal(_hinge, lambda path: _t - _d[_j], facts)


def beyond() -> str:
    """t <= d_k <= d_j."""
    facts = Facts(Algebra()).given(_d[_j] - _d[_k], NONNEGATIVE)
    facts = facts.given(_d[_k] - _t, NONNEGATIVE)
    return show_equal(_hinge, lambda path: Integer(0), facts)


def _regrouped(path: Path, passed: Expr) -> Expr:
    quantities = {
        "reach": _t, "below": _k, "passed": passed, "running": _upto(_k, _d[_i]),
        "running_low": 0, "start": _upto(passed, _d[_i]) if passed != 0 else 0, "start_low": 0,
    }  # fmt: skip
    return formula_on(path, triplet.regrouped, quantities)


def summed(passed: Expr) -> str:
    """k t - (d_0 + ... + d_(k-1)), less the same for those passed over, is the sum of t - d_n."""
    facts = Facts(Algebra(frozenset({_k}))).given(_k, POSITIVE).given(_k - passed, POSITIVE)
    terms = _upto(_k, _t - _d[_i]) - (_upto(passed, _t - _d[_i]) if passed != 0 else 0)
    return show_equal(lambda path: _regrouped(path, passed), lambda path: terms, facts)


def pulled() -> str:
    """The weight of d_ap is k, that of each of the k negatives is -1."""
    facts = Facts(Algebra(frozenset({_k}))).given(_k, POSITIVE)
    show_derivative(lambda path: _regrouped(path, Integer(0)), _t, lambda path: _k, facts)
    return show_derivative(
        lambda path: _regrouped(path, Integer(0)), _d[_j], lambda path: Integer(-1), facts
    )


# All of it -------------------------------------------------------------------------------------

LOSSES = ("batch_triplet_loss", "mine_triplets")


def obligations(loss: str, variant: str) -> Iterator[Obligation]:
    """What ties the code that runs to the triple sum, and the triple sum to its gradient."""
    name = f"{loss}, {variant}" if variant else loss
    option, _, choice = variant.partition(" = ")
    if loss == "mine_triplets":
        if option != "distance":
            yield from _of_listing(name, choice or "hard")
        return
    if not variant:
        yield from _of_any_number(name)
    if option != "distance":
        yield from _of_mining(name, choice or "all")
    if option != "mining":
        yield from _of_distance(name, choice or "euclidean")


def _of_listing(name: str, mining: str) -> Iterator[Obligation]:
    claim = "what is listed for an anchor = the triplets of the statement"
    yield Obligation(name, claim, _over_labels(listed, mining))


def _of_any_number(name: str) -> Iterator[Obligation]:
    for claim, show in (
        ("max(0, t - d_n) = t - d_n for the k nearest negatives, d_n < t", below),
        ("max(0, t - d_n) = 0 for all others", beyond),
        ("any k: the regrouped sum = the sum of t - d_n over n < k", partial(summed, Integer(0))),
        ("any k and s: and so from n = s on", partial(summed, _s)),
        ("any k: its weights are k and -1", pulled),
    ):
        yield Obligation(name, claim, show)


def _of_mining(name: str, mining: str) -> Iterator[Obligation]:
    yield Obligation(
        name,
        "sorted and regrouped for an anchor = its triple sum, counts and weights",
        _over_labels(of_anchor, mining),
    )
    yield Obligation(
        name,
        "gradient in embeddings = textbook differentiated, as far as the distances",
        _over_labels(steepness, mining, LABELS[:1] if mining == "hard" else LABELS[::2]),
    )


def _of_distance(name: str, metric: str) -> Iterator[Obligation]:
    yield Obligation(
        name, "distance = textbook", partial(_over_sizes, measured, metric, ((2, 1), (2, 2)))
    )
    if metric != "cosine":
        claim = "equal embeddings: distance and slope are 0"
        yield Obligation(name, claim, partial(equal, metric))
        claim = "where distances are at hand: rate times step = weighted distance differentiated"
        yield Obligation(name, claim, partial(_over_sizes, rated, metric, _SIZES[1:]))
    else:
        claim = "where 1 - cos is at hand: v - u + (1 - cos) u = v - cos u"
        yield Obligation(name, claim, swung)
    yield Obligation(
        name,
        "gradient in embeddings = weighted distances differentiated",
        partial(_over_sizes, gathered, metric, _SIZES[1:] if metric == "cosine" else _SIZES),
    )


def _over_labels(
    show: Callable[[str, Sequence[int]], str],
    mining: str,
    batches: Sequence[Sequence[int]] = LABELS,
) -> Callable[[], str]:
    return lambda: "; ".join(show(mining, labels) for labels in batches)


def _over_sizes(
    show: Callable[[str, tuple[int, int]], str], metric: str, sizes: Sequence[tuple[int, int]]
) -> str:
    return "; ".join(f"N, D = {n}, {d}: {show(metric, (n, d))}" for n, d in sizes)
