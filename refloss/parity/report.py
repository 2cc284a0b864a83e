"""What a comparison found, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from refloss._version import __version__
from refloss.parity import junit
from refloss.parity.verdicts import Compared, Difference, Verdict

__all__ = ["SCHEMA", "Report", "described", "far_first"]

SCHEMA = "refloss-parity-1"


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts on two sides; ``titles`` are their names with versions."""

    titles: tuple[str, str]
    names: tuple[str, str]
    verdicts: tuple[Verdict, ...]

    @property
    def cases(self) -> int:
        """How many cases both sides answered."""
        return sum(verdict.cases for verdict in self.verdicts)

    @property
    def findings(self) -> tuple[Difference, ...]:
        """Everything beyond its budget."""
        return tuple(finding for verdict in self.verdicts for finding in verdict.findings)

    @property
    def worst(self) -> Difference | None:
        """The largest distance, in units of the budget, within it or not."""
        return min(
            (verdict.worst for verdict in self.verdicts if verdict.worst),
            key=far_first,
            default=None,
        )

    @property
    def reasons(self) -> str:
        """Why cases were skipped, in brackets; for a report that has none."""
        if not self.verdicts:
            return " (they have none of these losses in common)"
        reasons = {reason for verdict in self.verdicts for reason in verdict.skipped}
        return f" (skipped: {'; '.join(sorted(reasons))})" if reasons else ""

    def summary(self) -> str:
        """One line: how many cases and numbers, how many the same, and how many findings."""
        compared = [one for verdict in self.verdicts for one in verdict.compared.values()]
        numbers, same = sum(one.numbers for one in compared), sum(one.same for one in compared)
        share = f", {_share(same, numbers)} the same bits" if numbers else ""
        skipped = sum(sum(verdict.skipped.values()) for verdict in self.verdicts)
        return (
            f"{self.names[0]} and {self.names[1]}: {self.cases} cases, {skipped} skipped, "
            f"{numbers} numbers{share}, {len(self.findings)} findings"
        )

    def to_json(self) -> str:
        """As JSON; ``parity.schema.json`` in this package says what is what."""
        plain = {
            "schema": SCHEMA,
            "refloss": __version__,
            "summary": self.summary(),
            "sides": [
                {"name": name, "title": title}
                for name, title in zip(self.names, self.titles, strict=True)
            ],
            "verdicts": [_encoded(asdict(verdict)) for verdict in self.verdicts],
        }
        return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_junit(self) -> str:
        """As JUnit's XML: a test suite for the two sides, a test case a loss and dtype."""
        cases = [
            (verdict.loss, verdict.dtype, ["\n".join(described(one)) for one in verdict.findings])
            for verdict in self.verdicts
        ]
        return junit.written(f"refloss parity {' '.join(self.names)}", cases)

    def to_text(self, *, worst: bool = False) -> str:
        """As tables and lines for people; ``worst`` shows that of each loss and dtype."""
        return "\n".join(_text(self, worst)) + "\n"


def far_first(one: Difference) -> float:
    """Sorts differences: those that are no distance at all, then by their distance in budgets."""
    if one.ulp is None or one.budget is None or not one.budget:
        return -np.inf
    return -one.ulp / one.budget


def _encoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _encoded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(entry) for entry in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)  # JSON has no word for it
    return value


HEADINGS = (
    *("loss", "dtype", "answer", "numbers", "same bits", "ties", "apart", "p99", "budget"),
    *("A off", "B off", "A nearer", "B nearer"),
)
LEGEND = """\
same bits  every NaN is the same; -0 and 0 are not, though 0 ulp apart
ties       they differ where more than one answer is right: 0 ulp apart
apart p99  A from B in ulps (of the largest term where terms cancel): largest, 99th percentile
off        largest distance of each from the truth; nearer: how often nearer than the other
"""


def _text(report: Report, worst: bool) -> Iterator[str]:
    for letter, title in zip("AB", report.titles, strict=True):
        yield f"{letter} = {title}"
    yield "=" * (4 + max(map(len, report.titles)))
    yield from LEGEND.splitlines()
    if any(any(verdict.composition) for verdict in report.verdicts):
        yield "*          what people compose, the framework having no function of its own"
    yield ""
    yield from _table(report)
    skipped: Counter[str] = Counter()
    for verdict in report.verdicts:
        skipped.update(verdict.skipped)
    if skipped:
        yield ""
        reasons = "; ".join(f"{reason} ({count})" for reason, count in skipped.most_common())
        yield f"Skipped: {reasons}"
    known = [] if worst else [one for one in (report.worst,) if one]
    if worst:
        known = [verdict.worst for verdict in report.verdicts if verdict.worst]
    seen = {(one.component, one.row, one.lines) for one in report.findings}
    known = [one for one in known if (one.component, one.row, one.lines) not in seen]
    if known:
        yield ""
        yield "Furthest apart:"
        for one in known:
            yield from described(one)
    if report.findings:
        yield ""
        yield "Findings:"
    for one in report.findings:
        yield from described(one)


def _table(report: Report) -> Iterator[str]:
    again = any(verdict.again for verdict in report.verdicts)
    layouts = any(verdict.layouts for verdict in report.verdicts)
    headings = [*HEADINGS]
    headings += ["A again", "B again"] * again + ["A layouts", "B layouts"] * layouts
    rows = [headings]
    for verdict in report.verdicts:
        more = _steady(verdict, again, layouts)
        name = verdict.loss + "*" * any(verdict.composition)
        answers: list[tuple[str, Compared | None]] = [*verdict.compared.items()]
        answers += [(f"{kind}, large", one) for kind, one in verdict.large.items()]
        for number, (kind, one) in enumerate(answers or [("-", None)]):
            first = number == 0
            words = [name, verdict.dtype] if first else ["", ""]
            cells = [*words, kind.replace("curvature", "Hessian"), *_cells(one)]
            rows.append(cells + (more if first else [""] * len(more)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _cells(one: Compared | None) -> list[str]:
    if one is None:
        return ["-"] * (len(HEADINGS) - 3)
    errors = [_ulps(error) for error in one.errors] if one.errors else ["-", "-"]
    nearer = [str(count) for count in one.nearer] if one.nearer else ["-", "-"]
    return [
        str(one.numbers),
        _share(one.same, one.numbers),
        str(one.ties) if one.ties else "-",
        _ulps(one.largest),
        _ulps(one.p99),
        _ulps(one.budget),
        *errors,
        *nearer,
    ]


def _steady(verdict: Verdict, again: bool, layouts: bool) -> list[str]:
    cells = []
    if again:
        runs = verdict.again or ((0, 0), (0, 0))
        cells += [f"{same}/{of}" if of else "-" for same, of in runs]
    if layouts:
        cells += [_layouts(same) for same in verdict.layouts or ({}, {})]
    return cells


def _layouts(same: Mapping[str, bool]) -> str:
    return f"{sum(same.values())}/{len(same)}" if same else "-"


def _share(part: int, whole: int) -> str:
    """Never 100 % unless it is all."""
    if part == whole:
        return "100 %"
    return f"{min(99.99, 100 * part / whole):.2f} %"


def _ulps(ulp: float) -> str:
    if ulp == 0:
        return "0"
    if ulp < 0.005:
        return "<0.01"
    return f"{ulp:.2f}" if ulp < 100 else f"{ulp:.3g}"


def described(one: Difference) -> Iterable[str]:
    """A difference in words, and the lines that show it."""
    where = f"{one.loss} {one.dtype}, {one.component}"
    if one.side:
        answers = f"{one.answers[0]}, then {one.answers[1]}"
        far = "" if one.ulp is None else f", {_ulps(one.ulp)} ulp apart"
        yield f"{one.side}: {one.kind}: {where}{far}: {answers}"
        yield from (f"    {line}" for line in one.lines)
        return
    kind = one.kind
    if one.ulp is not None and one.budget is not None:
        kind = f"{_ulps(one.ulp)} ulp apart, {_ulps(one.budget)} allowed"
    times = f" ({one.numbers} {'numbers' if one.ulp is not None else 'cases'})"
    place = one.row if one.row != one.region else "an input drawn at random"
    yield f"{kind}: {where}, {place}{times if one.numbers > 1 else ''}"
    for letter, answer, line, error in zip(
        "AB", one.answers, one.lines, one.errors or (None, None), strict=True
    ):
        off = "" if error is None else f", {_ulps(error)} ulp off"
        yield f"    {letter} says {answer}{off}"
        yield f"        {line}"
    if one.true:
        yield f"    true is {one.true}"
