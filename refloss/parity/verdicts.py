"""Two sides on one loss in one dtype: how far they are apart, and which is nearer the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss.accuracy import Answer, distance, measure
from refloss.audit.answered import Answered
from refloss.audit.reproduce import WRITABLE, line, line_of_shape
from refloss.audit.verdicts import unusable
from refloss.oracles.rows import Expected
from refloss.parity.budgets import Budgets
from refloss.parity.sides import Side

__all__ = ["KINDS", "Compared", "Difference", "Pair", "Verdict", "judge", "same_bits", "shown"]

KINDS = ("value", "gradient", "curvature")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """The numbers of one kind of answer, side by side.

    Attributes
    ----------
    numbers : int
        How many were compared.
    same : int
        How many have the same bits; every NaN is the same, and -0 is not 0.
    ties : int
        How many differ where the truth is a set and both are in it; their distance counts as 0.
    largest, p99 : float
        Distances from each other in ulps.
    budget : float
        How large a distance may be.
    errors : tuple of float
        Largest distance of each side from the truth.
    nearer : tuple of int
        How often each side is nearer the truth than the other.
    worst : str
        Where the largest distance is: component and row.
    """

    numbers: int
    same: int
    ties: int
    largest: float
    p99: float
    budget: float
    errors: tuple[float, float] | None
    nearer: tuple[int, int] | None
    worst: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Two answers that differ, and lines that show it.

    Attributes
    ----------
    kind : str
        ``"apart"``, ``"only one answers"``, ``"another shape"``; of one side with itself,
        ``"other bits in run 2"``, ``"other bits if strided"``.
    side : str
        The name of the side that differs from itself; its two answers are ``answers`` then.
    region, row, component : str
        Where it was found; both are ``"drawn"`` for an input that was drawn at random.
    numbers : int
        How many numbers of this kind in this region show it.
    ulp, budget : float or None
        The distance, and how large it may be; None where it is not one of numbers.
    answers : tuple of str
        What each side answers.
    errors : tuple of float or None
        How far each is from the truth.
    true : str
        The truth; empty where nobody has certified it.
    lines : tuple of str
        Python that prints each side's answer, then the truth.
    """

    loss: str
    dtype: str
    kind: str
    region: str
    row: str
    component: str
    numbers: int
    ulp: float | None
    budget: float | None
    answers: tuple[str, str]
    errors: tuple[float, float] | None
    true: str
    lines: tuple[str, ...]
    side: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found on one loss in one dtype.

    Attributes
    ----------
    cases : int
        How many both sides answered.
    skipped : mapping
        How many were not put to both, by the reason.
    spelling : tuple of str
        The first case's call on each side.
    composition : tuple of bool
        Whether that is what people write because the framework has no function of its own.
    compared : mapping
        By ``"value"``, ``"gradient"``, ``"curvature"``, where both sides have them.
    again : tuple, optional
        How many of so many runs gave the bits of the first, on each side.
    layouts : tuple, optional
        By layout, whether it gave the same bits, on each side.
    large : mapping, optional
        As ``compared``, on a drawn input of the size that was asked for.
    worst : Difference, optional
        The largest distance in units of the budget, within it or not.
    findings : tuple of Difference
        Everything beyond the budget.
    """

    loss: str
    dtype: str
    cases: int
    skipped: Mapping[str, int]
    spelling: tuple[str, str]
    composition: tuple[bool, bool]
    compared: Mapping[str, Compared]
    worst: Difference | None
    findings: tuple[Difference, ...]
    again: tuple[tuple[int, int], tuple[int, int]] | None = None
    layouts: tuple[Mapping[str, bool], Mapping[str, bool]] | None = None
    large: Mapping[str, Compared] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A case that was put to both sides."""

    first: Answered
    second: Answered

    @property
    def row(self) -> str:
        return self.first.case.row.id

    @property
    def raised(self) -> tuple[bool, bool]:
        """Whether each raised instead of giving a value."""
        one, other = (isinstance(side.results["value"], BaseException) for side in self)
        return one, other

    def __iter__(self) -> Iterator[Answered]:
        return iter((self.first, self.second))


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One component of one case on both sides, as flat numbers."""

    pair: Pair
    component: str
    expected: Expected
    numbers: tuple[Floats, Floats]

    @property
    def kind(self) -> str:
        return self.component.partition(".")[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """All numbers of one kind; ``owner`` says which part each is of, ``entry`` which of it."""

    parts: Sequence[_Part]
    owner: NDArray[np.int64]
    entry: NDArray[np.int64]
    numbers: tuple[Floats, Floats]
    same: NDArray[np.bool_]
    ties: NDArray[np.bool_]
    apart: Floats
    errors: tuple[Floats, Floats]
    budget: float

    def compared(self) -> Compared:
        at = int(np.argmax(self.apart))
        worst = self.parts[self.owner[at]]
        one, other = self.errors
        return Compared(
            numbers=len(self.apart),
            same=int(self.same.sum()),
            ties=int(self.ties.sum()),
            largest=float(self.apart[at]),
            p99=float(np.percentile(self.apart, 99, method="higher")),
            budget=self.budget,
            errors=(float(one.max()), float(other.max())),
            nearer=(int((one < other).sum()), int((other < one).sum())),
            worst=f"{worst.component} of {worst.pair.row}" if self.apart[at] > 0 else "",
        )

    def preferred(self, at: NDArray[np.int64]) -> int:
        """Of several numbers the one that shows it best: short to write down, then far off."""
        sizes = np.array([part.pair.first.case.size for part in self.parts])[self.owner[at]]
        order = np.lexsort((-self.apart[at], sizes > WRITABLE))
        return int(at[order[0]])

    @property
    def excess(self) -> Floats:
        """Distances in budgets; a budget of 0 is exceeded by everything."""
        with np.errstate(all="ignore"):
            return np.where(self.apart == 0, 0.0, self.apart / self.budget)


def judge(
    first: Side,
    second: Side,
    loss: str,
    dtype: str,
    pairs: Sequence[Pair],
    skipped: Counter[str],
    budgets: Budgets,
) -> Verdict:
    """Compare all answers that two sides gave."""
    sides = (first, second)
    findings: list[Difference] = []
    parts: dict[str, list[_Part]] = {}
    strange: dict[tuple[str, str, str], list[tuple[Pair, tuple[str, str]]]] = {}
    for pair in pairs:
        for component, expected in pair.first.case.answers.items():
            results = [
                one.results[component] for one in pair if one.results.get(component) is not None
            ]
            if len(results) < 2:
                continue
            why = _incomparable(results, expected)
            if why:
                key = (why[0], pair.first.case.row.region, component)
                strange.setdefault(key, []).append((pair, why[1]))
            elif not isinstance(results[0], BaseException) and len(expected.answer):
                one, other = (_flat(result, expected) for result in results)
                part = _Part(pair, component, expected, (one, other))
                parts.setdefault(part.kind, []).append(part)
    for (kind, region, component), found in strange.items():
        findings.append(_strange(sides, kind, region, component, found))
    compared = {}
    worst: tuple[float, _Measured, int] | None = None
    for kind in KINDS:
        if kind not in parts:
            continue
        budget = budgets.between(first, second, loss, dtype, kind)
        measured = _measured(parts[kind], dtype, budget)
        compared[kind] = measured.compared()
        excess = measured.excess
        top = float(excess.max())
        if top > 0 and (worst is None or top > worst[0]):
            worst = top, measured, measured.preferred(np.flatnonzero(excess == top))
        findings += _beyond(sides, measured)
    return Verdict(
        loss=loss,
        dtype=dtype,
        cases=sum(not any(pair.raised) for pair in pairs),
        skipped=dict(skipped.most_common()),
        spelling=_spelling(pairs),
        composition=_composition(pairs),
        compared=compared,
        worst=_difference(sides, worst[1], worst[2], 1) if worst else None,
        findings=tuple(findings),
    )


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Which floats have the same bits; all NaNs have. Both in float64, or both as they came."""
    equal = (one == other) & (np.signbit(one) == np.signbit(other))
    return np.asarray(equal | (np.isnan(one) & np.isnan(other)), bool)


def shown(number: Any) -> str:
    """A number as reports print it."""
    return repr(float(number))


def _spelling(pairs: Sequence[Pair]) -> tuple[str, str]:
    return (pairs[0].first.call.value, pairs[0].second.call.value) if pairs else ("", "")


def _composition(pairs: Sequence[Pair]) -> tuple[bool, bool]:
    if not pairs:
        return False, False
    return pairs[0].first.call.composition, pairs[0].second.call.composition


def _flat(result: NDArray[Any], expected: Expected) -> Floats:
    flat = result.ravel()
    flat = flat if expected.at is None else flat[expected.at]
    return flat.astype(np.float64)


def _incomparable(results: Sequence[Any], expected: Expected) -> tuple[str, tuple[str, str]] | None:
    """Why two results cannot be compared number by number, and what each side said."""
    raised = [isinstance(result, BaseException) for result in results]
    if all(raised):
        return None
    if any(raised):
        one, other = map(_said, results)
        return "only one answers", (one, other)
    shapes = [unusable(result, expected) for result in results]
    if any(shapes):
        one, other = (f"shape {result.shape}, {result.dtype.name}" for result in results)
        return "another shape", (one, other)
    return None


def _said(result: Any) -> str:
    """The exception, or the answer as far as it is short."""
    if isinstance(result, BaseException):
        return f"{type(result).__name__}: {result}".partition("\n")[0]
    return shown(result) if result.ndim == 0 else f"an array of shape {result.shape}"


def _measured(parts: Sequence[_Part], dtype: str, budget: float) -> _Measured:
    """Measure all numbers of one kind in one go."""
    lengths = np.array([len(part.numbers[0]) for part in parts])
    owner = np.repeat(np.arange(len(parts)), lengths)
    entry = np.concatenate([np.arange(length) for length in lengths])
    one, other = (np.concatenate([part.numbers[of] for part in parts]) for of in (0, 1))
    answer = Answer.concatenate([part.expected.answer for part in parts])
    errors = measure(one, answer, dtype)[0], measure(other, answer, dtype)[0]
    same = same_bits(one, other)
    apart = distance(one, other, dtype, answer)
    sets = _sets(answer)
    # In a set of right answers only the way out of it counts.
    apart = np.where(sets, np.where(same, 0.0, errors[0] + errors[1]), apart)
    ties = sets & ~same & (apart == 0)
    return _Measured(parts, owner, entry, (one, other), same, ties, apart, errors, budget)


def _sets(answer: Answer) -> NDArray[np.bool_]:
    """Where more than one answer is right."""
    lower, upper = answer.lower, answer.upper
    if lower is upper:
        return np.zeros(len(answer), bool)
    differ = (lower.high != upper.high) | (lower.low != upper.low)
    return np.asarray((differ | (lower.exponent != upper.exponent)) & ~np.isnan(lower.high), bool)


def _beyond(sides: tuple[Side, Side], measured: _Measured) -> Iterable[Difference]:
    """What is beyond the budget: one finding a region and component."""
    groups: dict[tuple[str, str], list[int]] = {}
    for one in np.flatnonzero(measured.apart > measured.budget):
        part = measured.parts[measured.owner[one]]
        groups.setdefault((part.pair.first.case.row.region, part.component), []).append(int(one))
    for key in sorted(groups):
        at = np.array(groups[key])
        yield _difference(sides, measured, measured.preferred(at), len(at))


def _difference(sides: tuple[Side, Side], measured: _Measured, at: int, numbers: int) -> Difference:
    part = measured.parts[measured.owner[at]]
    entry = int(measured.entry[at])
    case = part.pair.first.case
    true = part.expected.answer.decimal(entry)
    return Difference(
        loss=case.loss,
        dtype=case.dtype,
        kind="apart",
        region=case.row.region,
        row=case.row.id,
        component=part.component,
        numbers=numbers,
        ulp=float(measured.apart[at]),
        budget=measured.budget,
        answers=(shown(measured.numbers[0][at]), shown(measured.numbers[1][at])),
        errors=(float(measured.errors[0][at]), float(measured.errors[1][at])),
        true=true,
        lines=_lines(sides, part.pair, part.component, part.expected.index(entry), true),
    )


def _strange(
    sides: tuple[Side, Side],
    kind: str,
    region: str,
    component: str,
    found: Sequence[tuple[Pair, tuple[str, str]]],
) -> Difference:
    def shortest(one: tuple[Pair, tuple[str, str]]) -> tuple[bool, int]:
        case = one[0].first.case
        return not len(case.answers[component].answer), case.size

    pair, said = min(found, key=shortest)
    case = pair.first.case
    expected = case.answers[component]
    if kind == "another shape" or not len(expected.answer):
        true = f"an array of shape {expected.shape}"
        one, other = (
            line_of_shape(side.target, answered, component, true)
            for side, answered in zip(sides, pair, strict=True)
        )
    else:
        true = expected.answer.decimal(0)
        one, other = _lines(sides, pair, component, expected.index(0), true)
    return Difference(
        loss=case.loss,
        dtype=case.dtype,
        kind=kind,
        region=region,
        row=case.row.id,
        component=component,
        numbers=len(found),
        ulp=None,
        budget=None,
        answers=said,
        errors=None,
        true=true,
        lines=(one, other),
    )


def _lines(
    sides: tuple[Side, Side], pair: Pair, component: str, index: tuple[int, ...], true: str
) -> tuple[str, str]:
    one, other = (
        line(side.target, answered, component, index, true)
        for side, answered in zip(sides, pair, strict=True)
    )
    return one, other
