"""From answers to verdicts: errors, grades, and what is wrong where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss.accuracy import Answer, Grade, measure, rounded
from refloss.audit.arrays import Results
from refloss.audit.calls import Call
from refloss.audit.cases import Case
from refloss.audit.reproduce import WRITABLE, line
from refloss.audit.targets import Target
from refloss.oracles.rows import Expected

__all__ = ["Answered", "Errors", "Finding", "Verdict", "judge"]

# An exception of these types is a refusal; any other one is a crash.
REFUSALS = (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError)
NOT_REFUSALS = (RecursionError, UnicodeError)


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """A case, how it was put, and what came back by component."""

    case: Case
    call: Call
    results: Results


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


@dataclass(slots=True)
class _Judged:
    """One component of one case."""

    answered: Answered
    component: str
    grade: Grade
    ulp: float
    kind: str = ""
    entry: int = 0
    failure: BaseException | None = None
    shown: str = ""
    convention: str | None = None

    @property
    def row(self) -> str:
        return self.answered.case.row.id

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
        spelling=_spelling(first) if first else "",
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
                yield _Judged(one, component, grade, np.inf, kind, failure=result)


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
            if result.dtype.kind not in "fiubV" and result.dtype.name != "bfloat16":
                kind = f"returns {result.dtype.name} where numbers are expected"
                yield _Judged(one, component, Grade.WRONG, np.inf, kind)
            elif result.shape != expected.shape:
                kind = f"shape {result.shape} where {expected.shape} is expected"
                if len(result.shape) == len(expected.shape):
                    kind = "another shape than the answer's"
                yield _Judged(one, component, Grade.WRONG, np.inf, kind)
            elif len(expected.answer) == 0:
                yield _Judged(one, component, Grade.CORRECTLY_ROUNDED, 0.0)
            else:
                flat = result.ravel()
                flat = flat if expected.at is None else flat[expected.at]
                parts.append((one, component, flat, expected))
    if not parts:
        return
    computed = np.concatenate([flat.astype(np.float64) for _, _, flat, _ in parts])
    answer = Answer.concatenate([expected.answer for *_, expected in parts])
    ulp, grade = measure(computed, answer, dtype, accurate)
    ends = np.cumsum([len(flat) for _, _, flat, _ in parts])
    starts = ends - [len(flat) for _, _, flat, _ in parts]
    worst_grades = np.maximum.reduceat(grade, starts)
    worst_errors = np.maximum.reduceat(ulp, starts)
    for (one, component, flat, expected), start, end, worst, error in zip(
        parts, starts, ends, worst_grades, worst_errors, strict=True
    ):
        judged = _Judged(one, component, Grade(worst), float(error))
        if worst > Grade.ACCURATE:
            judged = _defect(judged, flat, expected, ulp[start:end], grade[start:end], accurate)
        yield judged


def _defect(
    judged: _Judged,
    computed: NDArray[Any],
    expected: Expected,
    ulp: NDArray[np.float64],
    grade: NDArray[np.uint8],
    accurate: float | None,
) -> _Judged:
    """Name what is wrong with an answer: a convention's, or which kind of wrong."""
    case = judged.answered.case
    judged.entry = entry = int(np.lexsort((-ulp, -grade.astype(int)))[0])
    judged.shown = _number(computed[entry])
    for name, answers in case.row.conventions.items():
        if judged.component in answers:
            other, as_convention = measure(
                computed, answers[judged.component].answer, case.dtype, accurate
            )
            if as_convention.max() <= Grade.ACCURATE:
                judged.grade, judged.ulp = Grade.CONVENTION, float(other.max())
                judged.kind, judged.convention = f"convention: {name}", name
                return judged
    if judged.grade is Grade.LOSES_DIGITS:
        judged.kind = "loses digits"
        return judged
    lower = rounded(expected.answer.lower, case.dtype)[entry]
    upper = rounded(expected.answer.upper, case.dtype)[entry]
    judged.kind = _wrong(float(computed[entry]), float(lower), float(upper))
    return judged


def _wrong(computed: float, lower: float, upper: float) -> str:
    if np.isnan(computed):
        return "NaN where the answer is a number"
    if np.isnan(lower):
        return "a number where the answer is NaN"
    if np.isinf(computed) and not (np.isinf(lower) or np.isinf(upper)):
        return "infinite where the answer is finite"
    if np.isinf(lower) or np.isinf(upper):
        return "finite where the answer is infinite" if np.isfinite(computed) else "wrong sign"
    if computed == 0:
        return "0 where the answer is not"
    if (computed > 0 and upper < 0) or (computed < 0 and lower > 0):
        return "wrong sign"
    if lower == upper == 0:
        return "not 0 where the answer is"
    return "wrong value"


def _number(number: Any) -> str:
    return repr(float(number))


def _errors(judged: Sequence[_Judged]) -> Errors | None:
    measured = [one for one in judged if one.failure is None]
    if not measured:
        return None
    worst = max(measured, key=lambda one: one.ulp)
    p99 = np.percentile([one.ulp for one in measured], 99, method="higher")
    return Errors(worst.ulp, float(p99), worst.row)


def _spelling(call: Call) -> str:
    return call.value


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
    true = index = None
    if len(expected.answer):
        true = expected.answer.decimal(one.entry)
        index = expected.index(one.entry)
        if one.convention is not None:
            other = case.row.conventions[one.convention][component].answer.decimal(one.entry)
            true += f" ({one.convention}: {other})"
    if "shape" in kind:
        true, index = f"an array of shape {expected.shape}", ()
    return Finding(
        loss=case.loss,
        dtype=dtype,
        region=region,
        component=component,
        kind=kind,
        grade=one.grade,
        cases=count,
        row=one.row,
        ulp=None if one.failure is not None else one.ulp,
        computed=one.shown or (str(one.failure).partition("\n")[0] if one.failure else ""),
        true=true or "",
        line=line(target, case, one.answered.call, component, index or (), true or "no numbers"),
    )
