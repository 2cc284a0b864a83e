"""From answers to verdicts: errors, grades, and what is wrong where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss.accuracy import Answer, Grade, measure, rounded
from refloss.audit.answered import Answered
from refloss.audit.reproduce import WRITABLE, line
from refloss.audit.targets import Target
from refloss.oracles.rows import Expected

__all__ = ["Errors", "Finding", "Verdict", "judge", "unusable"]

# An exception of these types is a refusal; any other one is a crash.
REFUSALS = (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError)
NOT_REFUSALS = (RecursionError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of defect in one region, with the simplest case that shows it.

    ``computed`` and ``true`` are the entry that the reproducing line prints; ``ulp`` is its error.
    """

    loss: str
    dtype: str
    region: str
    component: str
    kind: str
    grade: Grade
    cases: int
    row: str
    ulp: float | None
    computed: str
    true: str
    line: str


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors in ulps of the cases' worst entries, and the row with the largest."""

    largest: float
    p99: float
    row: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one implementation of a loss is worth in one dtype.

    ``errors`` has ``"value"``, ``"gradient"`` and ``"curvature"`` where they are offered; a case
    that follows a convention counts with its distance from that. ``worst`` is the component and
    row of the worst grade, and of the largest error among those.
    """

    loss: str
    dtype: str
    spelling: str
    composition: bool
    cases: int
    skipped: Mapping[str, int]
    errors: Mapping[str, Errors]
    grade: Grade
    worst: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One component of one case, as far as it has one kind of defect (or none)."""

    answered: Answered
    component: str
    grade: Grade
    ulp: float
    kind: str = ""
    entry: int = 0
    shown: str = ""
    convention: str = ""

    @property
    def row(self) -> str:
        return self.answered.case.row.id

    @property
    def raised(self) -> bool:
        return self.grade in (Grade.REJECTS, Grade.CRASHED)

    @property
    def preference(self) -> tuple[Any, ...]:
        """Sorts the case that shows a defect best to the front: short, then far off."""
        size = self.answered.case.size
        return (size > WRITABLE, size if self.grade is Grade.WRONG else 0, -self.ulp, self.row)


def judge(
    target: Target,
    loss: str,
    dtype: str,
    answered: Sequence[Answered],
    skipped: Counter[str],
    accurate: float | None = None,
) -> Verdict:
    """Judge all answers of one implementation of a loss in one dtype."""
    judged = [*_failures(answered), *_measured(dtype, answered, accurate)]
    grade = max((one.grade for one in judged), default=Grade.CORRECTLY_ROUNDED)
    worst = max(judged, key=lambda one: (one.grade, one.ulp), default=None)
    first = answered[0].call if answered else None
    return Verdict(
        loss=loss,
        dtype=dtype,
        spelling=first.value if first else "",
        composition=bool(first and first.composition),
        cases=len(answered),
        skipped=dict(skipped.most_common()),
        errors={
            kind: errors
            for kind in ("value", "gradient", "curvature")
            if (errors := _errors([one for one in judged if one.component.startswith(kind)]))
        },
        grade=grade,
        worst=f"{worst.component} of {worst.row}" if worst else "",
        findings=tuple(_findings(target, dtype, judged)),
    )


def _failures(answered: Iterable[Answered]) -> Iterable[_Judged]:
    for one in answered:
        for component, result in one.results.items():
            if isinstance(result, BaseException):
                refusal = isinstance(result, REFUSALS) and not isinstance(result, NOT_REFUSALS)
                grade = Grade.REJECTS if refusal else Grade.CRASHED
                kind = f"{'rejects' if refusal else 'crashes'} with {type(result).__name__}"
                said = str(result).partition("\n")[0]
                yield _Judged(one, component, grade, np.inf, kind, shown=said)


def _measured(
    dtype: str, answered: Iterable[Answered], accurate: float | None
) -> Iterable[_Judged]:
    """Grade everything that came as an array; all cases are measured in one go."""
    parts: list[tuple[Answered, str, NDArray[Any], Expected]] = []
    for one in answered:
        for component, expected in one.case.answers.items():
            result = one.results.get(component)
            if result is None or isinstance(result, BaseException):
                continue
            if reason := unusable(result, expected):
                yield _Judged(one, component, Grade.WRONG, np.inf, reason)
            elif len(expected.answer) == 0:
                yield _Judged(one, component, Grade.CORRECTLY_ROUNDED, 0.0)
            else:
                flat = result.ravel()
                flat = flat if expected.at is None else flat[expected.at]
                parts.append((one, component, flat.astype(np.float64), expected))
    if not parts:
        return
    computed = np.concatenate([flat for _, _, flat, _ in parts])
    answer = Answer.concatenate([expected.answer for *_, expected in parts])
    ulp, grade = measure(computed, answer, dtype, accurate)
    ends = np.cumsum([len(flat) for _, _, flat, _ in parts])
    starts = ends - [len(flat) for _, _, flat, _ in parts]
    worst_grades = np.maximum.reduceat(grade, starts)
    worst_errors = np.maximum.reduceat(ulp, starts)
    grades = [grade[start:end] for start, end in zip(starts, ends, strict=True)]
    said = _conventions(parts, grades, dtype, accurate)
    for number, (one, component, flat, expected) in enumerate(parts):
        if worst_grades[number] <= Grade.ACCURATE:
            worst = Grade(worst_grades[number])
            yield _Judged(one, component, worst, float(worst_errors[number]))
        else:
            measured = ulp[starts[number] : ends[number]].copy(), grades[number].copy()
            yield from _defects(one, component, flat, expected, *measured, said[number])


# By name of a convention: distances from what it says, and the grades it would give.
Said = dict[str, tuple[NDArray[np.float64], NDArray[np.uint8]]]


def _conventions(
    parts: Sequence[tuple[Answered, str, NDArray[np.float64], Expected]],
    grades: Sequence[NDArray[np.uint8]],
    dtype: str,
    accurate: float | None,
) -> list[Said]:
    """The conventions that the answers follow, where they do, case by case.

    One answer may agree with a convention by accident, a lost one most of all: 0, NaN and infinity
    are said by many. So an implementation follows a convention only if more of its answers agree
    with that and not with the textbook than the other way round, counted over cases of one form
    (class indices and class probabilities, for example, are two forms). What several conventions
    explain is put down to the one that explains most.
    """
    if all((grade <= Grade.ACCURATE).all() for grade in grades):
        return [{} for _ in parts]
    said: list[Said] = []
    votes: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    for (one, component, computed, expected), grade in zip(parts, grades, strict=True):
        found: Said = {}
        textbook = grade <= Grade.ACCURATE
        for name, answers in one.case.row.conventions.items():
            if component in answers and len(answers[component].answer) == len(computed):
                answer = answers[component].answer
                distance, as_said = measure(computed, answer, dtype, accurate)
                alike = _alike(expected.answer, answer, dtype, accurate)
                agrees = (as_said <= Grade.ACCURATE) & ~alike
                key = (name, component, one.case.form)
                votes[key] += int((agrees & ~textbook).sum()) - int(
                    (textbook & ~agrees & ~alike).sum()
                )
                by_itself = measure(computed, Answer(answer.lower, answer.upper), dtype, accurate)
                found[name] = distance, np.where(alike, by_itself[1], as_said)
        said.append(found)

    def followed(found: Said, component: str, form: tuple[str, ...]) -> Said:
        names = sorted(found, key=lambda name: -votes[name, component, form])
        return {name: found[name] for name in names if votes[name, component, form] > 0}

    return [
        followed(found, component, one.case.form)
        for (one, component, *_), found in zip(parts, said, strict=True)
    ]


def _alike(
    textbook: Answer, answer: Answer, dtype: str, accurate: float | None
) -> NDArray[np.bool_]:
    """Where the textbook's answer passes for that of a convention.

    The convention's comes with a large scale there. It can neither be told from the textbook's nor
    excuse what differs from both: digits were lost to rounding, not to another opinion.
    """
    if answer.scale is None:
        return np.zeros(len(answer), bool)
    grade = measure(rounded(textbook.lower, dtype), answer, dtype, accurate)[1]
    return np.asarray(grade <= Grade.ACCURATE, bool)


def unusable(result: NDArray[Any], expected: Expected) -> str:
    """Why a result cannot be compared entry by entry, if it cannot."""
    if result.dtype.kind not in "fiub" and result.dtype.name != "bfloat16":
        return f"returns {result.dtype.name} where numbers are expected"
    if result.ndim != len(expected.shape):
        return f"returns {result.ndim} axes where {len(expected.shape)} are expected"
    if result.shape != expected.shape:
        return "returns another shape than the answer's"
    return ""


def _defects(
    one: Answered,
    component: str,
    computed: NDArray[np.float64],
    expected: Expected,
    ulp: NDArray[np.float64],
    grade: NDArray[np.uint8],
    said: Said,
) -> Iterable[_Judged]:
    """Sort the entries that are not accurate by what is wrong with them."""
    case = one.case
    kinds = _kinds(computed, expected.answer, case.dtype)
    kinds = np.where(grade == Grade.LOSES_DIGITS, Grade.LOSES_DIGITS.label, kinds).astype(object)
    kinds[grade <= Grade.ACCURATE] = ""
    for name, (distance, as_said) in said.items():
        follows = (grade > Grade.CONVENTION) & (as_said <= Grade.ACCURATE)
        kinds[follows] = f"convention: {name}"
        grade[follows], ulp[follows] = Grade.CONVENTION, distance[follows]
    for kind in sorted(set(kinds)):
        at = np.flatnonzero(kinds == kind)
        entry = int(at[np.argmax(ulp[at])])
        yield _Judged(
            one,
            component,
            Grade(grade[at].max()),
            float(ulp[entry]),
            kind,
            entry,
            shown=repr(float(computed[entry])),
            convention=kind.partition("convention: ")[2],
        )


def _kinds(computed: NDArray[np.float64], answer: Answer, dtype: str) -> NDArray[Any]:
    """What each entry is, if it is wrong."""
    lower, upper = rounded(answer.lower, dtype), rounded(answer.upper, dtype)
    # From -inf to inf the answer is any finite number.
    infinite = (np.isinf(lower) | np.isinf(upper)) & ~((lower == -np.inf) & (upper == np.inf))
    negative, positive = (computed < 0) & (lower > 0), (computed > 0) & (upper < 0)
    return np.select(
        [
            np.isnan(computed),
            np.isnan(lower),
            np.isinf(computed) & ~infinite,
            np.isfinite(computed) & infinite,
            computed == 0,
            negative | positive,
            (lower == 0) & (upper == 0),
        ],
        [
            "NaN where the answer is a number",
            "a number where the answer is NaN",
            "infinite where the answer is finite",
            "finite where the answer is infinite",
            "0 where the answer is not",
            "wrong sign",
            "not 0 where the answer is",
        ],
        default="wrong value",
    )


def _errors(judged: Iterable[_Judged]) -> Errors | None:
    by_row: dict[str, float] = {}
    for one in judged:
        if not one.raised:
            by_row[one.row] = max(one.ulp, by_row.get(one.row, 0.0))
    if not by_row:
        return None
    worst = max(by_row, key=lambda row: by_row[row])
    p99 = np.percentile(list(by_row.values()), 99, method="higher")
    return Errors(by_row[worst], float(p99), worst)


def _findings(target: Target, dtype: str, judged: Iterable[_Judged]) -> Iterable[Finding]:
    groups: dict[tuple[str, str, str], list[_Judged]] = {}
    for one in judged:
        if one.grade > Grade.ACCURATE:
            key = (one.answered.case.row.region, one.component, one.kind)
            groups.setdefault(key, []).append(one)
    found = [
        _finding(target, dtype, key, min(group, key=lambda one: one.preference), len(group))
        for key, group in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.grade, one.region, one.component, one.kind))


def _finding(
    target: Target, dtype: str, key: tuple[str, str, str], one: _Judged, count: int
) -> Finding:
    region, component, kind = key
    case = one.answered.case
    expected = case.answers[component]
    true = ""
    index: tuple[int, ...] = ()
    if kind.startswith("returns"):
        true = f"an array of shape {expected.shape}"
    elif len(expected.answer):
        true, index = expected.answer.decimal(one.entry), expected.index(one.entry)
    if one.convention:
        said = case.row.conventions[one.convention][component].answer.decimal(one.entry)
        true += f" ({one.convention}: {said})"
    return Finding(
        loss=case.loss,
        dtype=dtype,
        region=region,
        component=component,
        kind=kind,
        grade=one.grade,
        cases=count,
        row=one.row,
        ulp=None if one.raised else one.ulp,
        computed=one.shown,
        true=true,
        line=line(target, one.answered, component, index, true or "no numbers"),
    )
