"""The command ``refloss parity``: options in, report and exit status out."""

from __future__ import annotations

import argparse
import re
import sys

from refloss.audit import TargetError, options
from refloss.audit.options import FINDINGS, FINE, NOTHING, USAGE, UsageError
from refloss.parity import Budgets, Report, compare, side
from refloss.parity.budgets import read

__all__ = ["run"]

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def run(given: argparse.Namespace) -> int:
    """Run a comparison and return its exit status."""
    try:
        losses = options.losses(given.loss)
        dtypes = options.dtypes(given.dtype)
        region = options.region(given.region, losses)
        budgets = _budgets(given)
        size = _size(given.size)
        if given.repeat is not None and given.repeat < 2:
            raise UsageError(f"--repeat must be at least 2, got {given.repeat}")
        output = options.output(given.output)
        first, second = (
            side(name, losses, arrays=given.arrays, reduction=given.reduction)
            for name in (given.first, given.second)
        )
    except (UsageError, TargetError) as error:
        print(f"refloss parity: {error}", file=sys.stderr)
        return USAGE
    with options.progress(len(losses) * len(dtypes)) as progress:
        report = compare(
            first,
            second,
            losses,
            dtypes,
            budgets=budgets,
            region=region,
            large=given.large,
            repeat=given.repeat or 0,
            layouts=given.layouts,
            size=size,
            progress=progress,
        )
    if not report.cases and not report.findings:
        print(f"refloss parity: nothing to compare{report.reasons}", file=sys.stderr)
        return NOTHING
    options.write(_written(report, given), output)
    findings = report.findings
    alone = given.format != "text" and output is None
    print(
        f"refloss parity: {report.summary()}; {'failed' if findings else 'passed'}",
        file=sys.stderr if alone else sys.stdout,
    )
    return FINDINGS if findings else FINE


def _written(report: Report, given: argparse.Namespace) -> str:
    if given.format == "json":
        return report.to_json()
    return report.to_junit() if given.format == "junit" else report.to_text(worst=given.worst)


def _budgets(given: argparse.Namespace) -> Budgets:
    if given.max_ulp is not None and not given.max_ulp >= 0:
        raise UsageError(f"--max-ulp must be a number that is not negative, got {given.max_ulp}")
    return Budgets(read(given.budgets) if given.budgets else {}, given.max_ulp)


def _size(given: str | None) -> int:
    """Bytes, as in ``1MB``, ``512 MiB`` and ``4G``."""
    if given is None:
        return 0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?i?)b?", given.strip().lower())
    size = int(float(found[1]) * UNITS[found[2]]) if found and found[2] in UNITS else 0
    if size < 1:
        raise UsageError(f"--size: expected bytes, as in 64MB or 4GB, got {given!r}")
    return size
