"""What an audit found, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from refloss._version import __version__
from refloss.accuracy import Grade
from refloss.audit.verdicts import Errors, Finding, Verdict

__all__ = ["SCHEMA", "Report", "Section"]

SCHEMA = "refloss-audit-1"


@dataclass(frozen=True, slots=True)
class Section:
    """The verdicts on one target."""

    target: str
    version: str
    arrays: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts of an audit."""

    sections: tuple[Section, ...]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Those of all targets together."""
        return tuple(verdict for section in self.sections for verdict in section.verdicts)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything worse than accurate."""
        return tuple(finding for verdict in self.verdicts for finding in verdict.findings)

    @property
    def cases(self) -> int:
        """How many cases were answered or refused."""
        return sum(verdict.cases for verdict in self.verdicts)

    @property
    def grade(self) -> Grade:
        """The worst of all grades."""
        return max((verdict.grade for verdict in self.verdicts), default=Grade.CORRECTLY_ROUNDED)

    def at_least(self, grade: Grade) -> tuple[Finding, ...]:
        """The findings of that grade or a worse one."""
        return tuple(finding for finding in self.findings if finding.grade >= grade)

    def summary(self) -> str:
        """One line: how many cases, and how many findings of which grade."""
        targets = ", ".join(f"{one.target} {one.version}".strip() for one in self.sections)
        skipped = sum(sum(verdict.skipped.values()) for verdict in self.verdicts)
        counts = Counter(finding.grade for finding in self.findings)
        found = ", ".join(f"{counts[grade]} {grade.label}" for grade in sorted(counts)[::-1])
        return (
            f"{targets}: {self.cases} cases, {skipped} skipped, "
            f"{len(self.findings)} findings{f' ({found})' if found else ''}"
        )

    def to_json(self) -> str:
        """As JSON; ``report.schema.json`` in this package says what is what."""
        return json.dumps(_plain(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_text(self) -> str:
        """As tables and lines for people."""
        return "\n".join(line for section in self.sections for line in _section(section))


def _plain(report: Report) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "refloss": __version__,
        "summary": report.summary(),
        "targets": [
            {
                "target": section.target,
                "version": section.version,
                "arrays": section.arrays,
                "verdicts": [_encoded(asdict(verdict)) for verdict in section.verdicts],
            }
            for section in report.sections
        ],
    }


def _encoded(value: Any) -> Any:
    if isinstance(value, Grade):
        return value.label
    if isinstance(value, dict):
        return {key: _encoded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(entry) for entry in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)  # JSON has no word for it
    return value


HEADINGS = ("loss", "dtype", "cases", "skipped", "value", "gradient", "Hessian", "grade", "worst")


def _section(section: Section) -> Iterable[str]:
    title = f"{section.target} {section.version}".strip()
    yield title
    yield "=" * len(title)
    yield "Errors in ulps, largest and 99th percentile; * is a composition, not the target's own."
    yield ""
    rows = [HEADINGS, *map(_row, section.verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(cell.ljust(width) for cell, width in cells).rstrip()
    skipped: Counter[str] = Counter()
    for verdict in section.verdicts:
        skipped.update(verdict.skipped)
    if skipped:
        yield ""
        reasons = "; ".join(f"{reason} ({count})" for reason, count in skipped.most_common())
        yield f"Skipped: {reasons}"
    yield ""
    for verdict in section.verdicts:
        for finding in verdict.findings:
            yield from _lines(finding)


def _row(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.loss + ("*" if verdict.composition else ""),
        verdict.dtype,
        str(verdict.cases),
        str(sum(verdict.skipped.values())),
        *(_ulps(verdict.errors.get(kind)) for kind in ("value", "gradient", "curvature")),
        verdict.grade.label,
        verdict.worst,
    )


def _ulps(errors: Errors | None) -> str:
    return "-" if errors is None else f"{_short(errors.largest)} {_short(errors.p99)}"


def _short(ulp: float) -> str:
    return f"{ulp:.2f}" if ulp < 100 else f"{ulp:.3g}"


def _lines(finding: Finding) -> Iterable[str]:
    times = f" ({finding.cases} cases)" if finding.cases > 1 else ""
    kind = finding.kind.removeprefix(finding.grade.label).removeprefix(":").strip()
    kind = f": {kind}" if kind else ""
    error = f": {finding.computed}" if finding.ulp is None else f", {_short(finding.ulp)} ulp"
    yield (
        f"{finding.grade.label}: {finding.loss} {finding.dtype}, {finding.component}, "
        f"{finding.region}{kind}{error}{times}"
    )
    yield f"    {finding.line}"
