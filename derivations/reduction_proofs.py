"""Obligations of reductions: a row taken up one number at a time, its parts joined in any order.

What a state stands for is stated here: the largest logit, its place and the others' decays below
it; a total of which the largest number is kept apart; a sum; a maximum. To join two states must
give what both together stand for, and to take up a class what a part of that class alone would.
By induction every grouping of a row then comes to the same. A part in which there is nothing is
looked at by itself: its top is -inf and stands for e^-inf = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import sympy
from sympy import Abs, Expr, Max, Symbol, exp

from derivations.agreement import counted, show_equal
from derivations.algebra import Algebra
from derivations.explorer import Path, explore
from derivations.facts import NONNEGATIVE, POSITIVE, Facts
from derivations.obligations import Obligation, RefutedError
from refloss.formula import reductions
from refloss.formula.reading import Formula, read
from refloss.formula.symbols import Condition, Quantity, exact, meaning

State = tuple[Expr, ...]
Claims = Callable[[Path, State], Iterator[bool]]  # of what a formula came to, on its path

_T = Symbol("T", positive=True)
_a, _b, _x = (Symbol(name, real=True) for name in "abx")
_at, _other_at, _c = (Symbol(name, integer=True) for name in ("k", "m", "c"))
_S, _others = Symbol("S", real=True), Symbol("S'", real=True)
_h, _l = Symbol("h", real=True), Symbol("l", real=True)

_PLACES = {_at, _other_at, _c}
_SIGNED = {_S, _others, *_PLACES}


def run(path: Path, formula: Formula, *numbers: Any) -> State:
    """What a reduction's formula makes of expressions, on a path."""
    found = read(formula, meaning(path))(*(Quantity(exact(x)) for x in numbers))
    return tuple(path.resolve(exact(x)) for x in found)


def pieces() -> Iterator[Obligation]:
    """That each reduction keeps what its state stands for."""
    shown: dict[str, Callable[[], str]] = {
        "softmax: joined parts sum to (1 + tail) e^(top / T), the first largest on top": (
            partial(softmax_parts, reductions.softmax_joined)
        ),
        "softmax: joined with nothing a part stays as it is": _softmax_of_nothing,
        "softmax: to take up a class joins a part of one class": _softmax_absorbed,
        "softmax: the state of all classes is what the row comes to": _softmax_finished,
        "top: joined parts have the first of the largest": partial(
            top_parts, reductions.top_joined
        ),
        "top: a class taken up wins if it is larger": partial(top_taken, reductions.top_absorbed),
        "tail: all decays but that of the top, added": partial(tails, reductions.tail_absorbed),
        "below: all decays but that of one top, added": partial(ties, reductions.below_absorbed),
        "others: joined parts sum, with the largest apart": (
            partial(others_parts, reductions.others_joined)
        ),
        "others: a class taken up adds to the sum, with the largest apart": _others_absorbed,
        "others: all but one class = total - own, also for the largest": _all_but,
        "sum, total, peak, largest, poison: joined and taken up": _plain,
    }
    for claim, show in shown.items():
        yield Obligation("reductions", claim, show)


def _given(*claims: tuple[Expr, str]) -> Facts:
    """T > 0, tails and places are not negative, and what is claimed."""
    facts = Facts(Algebra(frozenset({_T}), frozenset(_SIGNED)))
    for expression, kind in (*((one, NONNEGATIVE) for one in sorted(_SIGNED, key=str)), *claims):
        facts = facts.given(expression, kind)
    return facts


def _show(formula: Formula, numbers: Sequence[Any], claims: Claims, facts: Facts) -> int:
    """Show something of what a formula makes of numbers; tells how many arms there were."""

    def held(path: Path) -> tuple[State, list[bool]]:
        state = run(path, formula, *numbers)
        return state, list(claims(path, state))

    arms = 0
    for leaf in explore(held, facts):
        state, held_ = leaf.outcome
        if not all(held_):
            number = held_.index(False) + 1
            raise RefutedError(f"where {leaf.facts}: {state} breaks claim {number}")
        arms += 1
    if not arms:
        raise RefutedError("no arm can be reached")
    return arms


def _same(path: Path, state: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two states are equal, number by number."""
    pairs = [(exact(one), exact(two)) for one, two in zip(state, other, strict=True)]
    return all(one == two or path.facts.vanishes(one - two) for one, two in pairs)


def _either_first() -> Iterator[Facts]:
    """Two parts have no place in common; either may come first."""
    yield _given((_other_at - _at, POSITIVE))
    yield _given((_at - _other_at, POSITIVE))


# The softmax -------------------------------------------------------------------------------------

_PART = (_a, _at, _S, 0, 0)
_OTHER = (_b, _other_at, _others, 0, 0)


def softmax_mass(top: Any, tail: Any) -> Expr:
    """What a part adds to the sum of e^(z / T)."""
    return (1 + tail) * exp(top / _T)


def softmax_parts(joined: Formula) -> str:
    """Two parts with something in each."""
    both = softmax_mass(_a, _S) + softmax_mass(_b, _others)

    def claims(path: Path, state: State) -> Iterator[bool]:
        top, at, tail, lost, poison = state
        yield path.facts.vanishes(softmax_mass(top, tail) - both)
        yield path.facts.vanishes(top - path.resolve(Max(_a, _b)))
        second = path.holds(Condition(_b - _a, ">")) or (
            path.holds(Condition(_b - _a, "==")) and path.holds(Condition(_at - _other_at, ">"))
        )
        yield path.facts.vanishes(at - (_other_at if second else _at))
        yield path.facts.at_least_zero(tail)
        yield _same(path, (lost, poison), (0, 0))

    arms = sum(_show(joined, (*_PART, *_OTHER, _T), claims, facts) for facts in _either_first())
    return counted(arms, "arm")


def _softmax_of_nothing() -> str:
    nothing, joined, facts = reductions.SOFTMAX, reductions.softmax_joined, _given()
    arms = 0
    for one, other, whole in (
        (_PART, nothing, _PART),
        (nothing, _PART, _PART),
        (nothing, nothing, nothing),
    ):

        def claims(path: Path, state: State, whole: Sequence[Any] = whole) -> Iterator[bool]:
            yield _same(path, state, whole)

        arms += _show(joined, (*one, *other, _T), claims, facts)
    return counted(arms, "arm")


def _softmax_absorbed() -> str:
    def claims(path: Path, state: State, part: Sequence[Any]) -> Iterator[bool]:
        alone = (_x, _c, 0, 0, 0)
        yield _same(path, state, run(path, reductions.softmax_joined, *part, *alone, _T))
        if part is not _PART:
            yield _same(path, state, alone)

    arms = 0
    for part, facts in (
        (_PART, _given((_c - _at, POSITIVE))),
        (_PART, _given((_at - _c, POSITIVE))),
        (reductions.SOFTMAX, _given()),
    ):
        numbers = (*part, _x, _c, _T)
        arms += _show(reductions.softmax_absorbed, numbers, partial(claims, part=part), facts)
    return counted(arms, "arm")


def _softmax_finished() -> str:
    def claims(path: Path, state: State) -> Iterator[bool]:
        yield _same(path, state, _PART)

    return counted(_show(reductions.softmax_finished, _PART, claims, _given()), "arm")


# The same in two steps ---------------------------------------------------------------------------


def top_parts(joined: Formula) -> str:
    """Two parts, each with something in it or nothing, and the top of a whole row."""

    def first(path: Path, state: State) -> Iterator[bool]:
        second = path.holds(Condition(_b - _a, ">")) or (
            path.holds(Condition(_b - _a, "==")) and path.holds(Condition(_at - _other_at, ">"))
        )
        yield _same(path, state, (_b, _other_at, 0) if second else (_a, _at, 0))

    parts = (_a, _at, 0), (_b, _other_at, 0)
    arms = sum(_show(joined, (*parts[0], *parts[1]), first, f) for f in _either_first())
    nothing = reductions.TOP
    for one, other, whole in (
        (parts[0], nothing, parts[0]),
        (nothing, parts[0], parts[0]),
        (nothing, nothing, nothing),
    ):

        def stays(path: Path, state: State, whole: Sequence[Any] = whole) -> Iterator[bool]:
            yield _same(path, state, whole)

        arms += _show(joined, (*one, *other), stays, _given())

    def finished(path: Path, state: State) -> Iterator[bool]:
        yield _same(path, state, parts[0])

    return counted(arms + _show(reductions.top_finished, parts[0], finished, _given()), "arm")


def top_taken(absorbed: Formula) -> str:
    """The classes of a part come in the order of their places."""

    def claims(path: Path, state: State) -> Iterator[bool]:
        wins = path.holds(Condition(_x - _a, ">"))
        yield _same(path, state, (_x, _c, 0) if wins else (_a, _at, 0))

    def alone(path: Path, state: State) -> Iterator[bool]:
        yield _same(path, state, (_x, _c, 0))

    arms = _show(absorbed, (_a, _at, 0, _x, _c), claims, _given((_c - _at, POSITIVE)))
    return counted(arms + _show(absorbed, (*reductions.TOP, _x, _c), alone, _given()), "arm")


def tails(absorbed: Formula) -> str:
    """To take up a class, to join parts, and what the row comes to."""
    arms = 0
    for formula, numbers, total in (
        (absorbed, (_S, 0, _x, 0, 0), _S + _x),
        (absorbed, (_S, 0, _x, 0, 1), _S),
        (reductions.tail_joined, (_S, 0, _others, 0), _S + _others),
        (reductions.tail_finished, (_S, 0), _S),
    ):

        def claims(path: Path, state: State, total: Expr = total) -> Iterator[bool]:
            yield _same(path, state, (total, 0))

        arms += _show(formula, numbers, claims, _given())
    return counted(arms, "arm")


def ties(absorbed: Formula) -> str:
    """The same where tops are counted: of k of them, of which each decays by 1, one is left out."""
    arms = 0
    for formula, numbers, found in (
        (absorbed, (_S, _at, _x, 0), (_S + _x, _at)),
        (absorbed, (_S, _at, 1, 1), (_S, _at + 1)),
        (reductions.below_joined, (_S, _at, _others, _other_at), (_S + _others, _at + _other_at)),
        (reductions.below_finished, (_S, _at), (_S + _at - 1, 0)),
    ):

        def claims(path: Path, state: State, found: Any = found) -> Iterator[bool]:
            yield _same(path, state, found)

        arms += _show(formula, numbers, claims, _given())
    return counted(arms, "arm")


# All numbers but one -----------------------------------------------------------------------------


def others_parts(joined: Formula) -> str:
    """Two parts, each with something in it or nothing."""
    nothing = reductions.OTHERS
    arms = 0
    for one, other in product(((_a, _at, _h, 0), nothing), ((_b, _other_at, _l, 0), nothing)):

        def claims(path: Path, state: State, one: Any = one, other: Any = other) -> Iterator[bool]:
            yield from _kept_apart(path, state, one, other)

        arms += sum(_show(joined, (*one, *other), claims, facts) for facts in _either_first())
    return counted(arms, "arm")


def _kept_apart(path: Path, state: State, one: Any, other: Any) -> Iterator[bool]:
    """The total is that of both; what is apart is one of both, and no smaller than the other."""
    big, at, rest, lost = state
    yield path.facts.vanishes(big + rest - (one[0] + one[2] + other[0] + other[2]))
    yield any(_same(path, (big, at), part[:2]) for part in (one, other))
    for part in (one, other):
        size, other_size = path.resolve(Abs(big)), path.resolve(Abs(part[0]))
        yield path.facts.at_least_zero(size - other_size)
    yield lost == 0


def _others_absorbed() -> str:
    arms = 0
    for part in ((_a, _at, _h, 0), reductions.OTHERS):

        def claims(path: Path, state: State, part: Any = part) -> Iterator[bool]:
            yield from _kept_apart(path, state, part, (_x, _c, 0, 0))

        arms += _show(reductions.others_absorbed, (*part, _x, _c), claims, _given())
    return counted(arms, "arm")


def _all_but() -> str:
    """Of a class at the place of the largest, of any other, and where no number was kept apart."""

    def sum_of_others(path: Path, x: Any, place: Any, big: Any, at: Any) -> Expr:
        rest = run(path, reductions.others_finished, big, at, _h, 0)
        found = read(reductions.all_but, meaning(path))
        return exact(found(*(Quantity(exact(n)) for n in (x, place, *rest))))

    nothing, nowhere = reductions.OTHERS[:2]
    arms = 0
    for x, place, big, at, facts in (
        (_a, _at, _a, _at, _given()),
        (_x, _c, _a, _at, _given((_c - _at, POSITIVE))),
        (_x, _c, _a, _at, _given((_at - _c, POSITIVE))),
        (_x, _c, nothing, nowhere, _given()),
    ):
        ours = partial(sum_of_others, x=x, place=place, big=big, at=at)
        shown = show_equal(ours, partial(_difference, big + _h, x), facts)
        arms += int(shown.split()[0])
    return counted(arms, "arm")


def _difference(total: Expr, own: Expr, path: Path) -> Expr:
    return total - own


# What is simply added, or compared ---------------------------------------------------------------


def _plain() -> str:
    arms = 0
    for formula, numbers, expected in (
        (reductions.sum_joined, (_a, 0, 0, 0, _b, 0, 0, 0), (_a + _b, 0, 0, 0)),
        (reductions.sum_absorbed, (_a, 0, 0, 0, _x), (_a + _x, 0, 0, 0)),
        (reductions.sum_finished, (_a, 0, 0, 0), (_a,)),
        (reductions.total_joined, (_a, 0, _b, 0), (_a + _b, 0)),
        (reductions.total_absorbed, (_a, 0, _x), (_a + _x, 0)),
        (reductions.total_finished, (_a, 0), (_a,)),
        (reductions.based_absorbed, (_a, 0, _x), (_a + _x, 0)),
        (reductions.based_finished, (_a, _l, _b), (_a - _b + _l,)),
        (reductions.peak_joined, (_a, _b), (Max(_a, _b),)),
        (reductions.peak_absorbed, (_a, _x), (Max(_a, _x),)),
        (reductions.peak_finished, (_a,), (_a,)),
        (reductions.largest_joined, (_a, 0, _b, 0), (Max(_a, _b), 0)),
        (reductions.largest_absorbed, (_a, 0, _x), (Max(_a, _x), 0)),
        (reductions.largest_finished, (_a, 0), (_a,)),
        (reductions.poison_joined, (0, 0), (0,)),
        (reductions.poison_absorbed, (0, _x), (0,)),
        (reductions.poison_finished, (0,), (0,)),
    ):

        def claims(path: Path, state: State, expected: Any = expected) -> Iterator[bool]:
            yield _same(path, state, [path.resolve(sympy.sympify(one)) for one in expected])

        arms += _show(formula, numbers, claims, _given())
    return counted(arms, "arm")
