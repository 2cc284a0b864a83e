"""The newest report of `compare.py`, as tables and plots for the summary page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import compare_report
import drawing
from compare_cases import LINES

SCHEMA = "refloss-speed-1"
LARGE = ("cross-entropy", "others")  # lines of value and gradient at shapes that take a while


def newest(results: Path) -> Mapping[str, Any] | None:
    """The newest `speed-*.json`, a full one before a quick one; nothing where there is none."""
    reports = []
    for path in results.glob("speed-*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        if report.get("schema") == SCHEMA:
            reports.append(report)
    return max(reports, key=lambda report: (not report["quick"], report["date"]), default=None)


def shown(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of a report: where it ran, and its lines one by one."""
    return {
        "ran_on": compare_report.ran_on(report),
        "limits": compare_report.limits(report),
        "lines": [
            _line(name, one)
            for name, one in report["lines"].items()
            if name in LINES and one["rows"]
        ],
    }


def _line(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    head, *rows = compare_report.table(LINES[name], one["rows"])
    ratios = [
        (f"{compare_report.what(row)} ({_peer(row['fastest'])})", row["ratio"])
        for row in one["rows"]
        if row["ratio"]
    ]
    return {
        "title": one["title"],
        "aim": one["aim"],
        "said": compare_report.said(one),
        "head": head,
        "rows": rows,
        "plot": drawing.bars(ratios, "times", 1.0, "as fast as that") if ratios else "",
    }


def _peer(name: str) -> str:
    return compare_report.HEADS.get(name, name)


def least(report: Mapping[str, Any] | None) -> dict[str, tuple[float, str, int]]:
    """By loss, where refloss is least ahead of its fastest peer: how far, of whom, of how many."""
    found: dict[str, list[tuple[float, str]]] = {}
    for name in LARGE:
        for row in (report or {"lines": {}})["lines"].get(name, {"rows": ()})["rows"]:
            if row["ratio"]:
                found.setdefault(row["loss"], []).append((row["ratio"], _peer(row["fastest"])))
    return {loss: (*min(points), len(points)) for loss, points in found.items()}
