"""The command ``refloss audit``: options in, report and exit status out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from refloss.accuracy import Grade
from refloss.audit import Target, TargetError, audit_targets, framework, installed, options
from refloss.audit.ahead import compiled_ahead
from refloss.audit.frameworks import FRAMEWORKS
from refloss.audit.functions import find
from refloss.audit.functions import target as function_target
from refloss.audit.options import FINDINGS, FINE, NOTHING, USAGE, UsageError
from refloss.suggestion import suggestion

__all__ = ["run"]


def run(given: argparse.Namespace) -> int:
    """Run an audit and return its exit status."""
    try:
        losses = options.losses(given.loss)
        dtypes = options.dtypes(given.dtype)
        region = options.region(given.region, losses)
        fail_on = _fail_on(given.fail_on, given.max_ulp)
        output = options.output(given.output)
        targets = _targets(given, losses)
    except (UsageError, TargetError) as error:
        print(f"refloss audit: {error}", file=sys.stderr)
        return USAGE
    steps = sum(loss in target.calls for target in targets for loss in losses)
    with ExitStack() as stack:
        if any(target.name == "refloss" for target in targets):
            try:
                stack.enter_context(compiled_ahead(losses, dtypes))
            except ValueError as error:  # a number of threads that is none
                print(f"refloss audit: {error}", file=sys.stderr)
                return USAGE
        progress = stack.enter_context(options.progress(steps))
        report = audit_targets(
            targets, losses, dtypes, region=region, max_ulp=given.max_ulp, progress=progress
        )
    if not report.cases:
        skipped = {reason for verdict in report.verdicts for reason in verdict.skipped}
        why = f" (skipped: {'; '.join(sorted(skipped))})" if skipped else ""
        print(f"refloss audit: nothing to audit{why}", file=sys.stderr)
        return NOTHING
    failing = report.at_least(fail_on)
    options.write(report.to_json() if given.format == "json" else report.to_text() + "\n", output)
    verdict = f"{len(failing)} of grade {fail_on.label} or worse" if failing else "passed"
    print(
        f"refloss audit: {report.summary()}; {verdict}",
        file=sys.stderr if given.format == "json" and output is None else sys.stdout,
    )
    return FINDINGS if failing else FINE


def _fail_on(given: str | None, max_ulp: float | None) -> Grade:
    if max_ulp is not None and not max_ulp >= 0:
        raise UsageError(f"--max-ulp must be a number that is not negative, got {max_ulp}")
    if given is None:
        return Grade.WRONG if max_ulp is None else Grade.LOSES_DIGITS
    try:
        grade = Grade.parse(given)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if grade <= Grade.ACCURATE:
        raise UsageError(f"--fail-on {given}: {grade.label} is no finding; see --max-ulp")
    return grade


def _targets(given: argparse.Namespace, losses: Sequence[str]) -> list[Target]:
    made = []
    for name in given.targets or installed():
        if ":" in name:
            made.append(_function(name, given, losses))
        elif name in FRAMEWORKS:
            made.append(framework(name))
        else:
            hint = suggestion(name, FRAMEWORKS)
            raise UsageError(f"unknown target {name!r}; {hint}; or package.module:function")
    return made


def _function(path: str, given: argparse.Namespace, losses: Sequence[str]) -> Target:
    if given.loss is None or len(losses) != 1:
        raise UsageError(f"{path}: say which loss it implements, with --loss NAME")
    return function_target(
        find(path), losses[0], name=path, arrays=given.arrays, reduction=given.reduction
    )
