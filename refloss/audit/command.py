"""The command ``refloss audit``: options in, report and exit status out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from refloss import oracles
from refloss.accuracy import FORMATS, Grade
from refloss.audit import DTYPES, Report, Target, TargetError, audit_targets, framework, installed
from refloss.audit.frameworks import FRAMEWORKS
from refloss.audit.functions import find
from refloss.audit.functions import target as function_target
from refloss.suggestion import suggestion

__all__ = ["run"]

FINE, FINDINGS, USAGE, NOTHING = 0, 1, 2, 5


class UsageError(ValueError):
    """The command line asks for something that does not exist."""


def run(options: argparse.Namespace) -> int:
    """Run an audit and return its exit status."""
    try:
        losses = _losses(options.loss)
        dtypes = _dtypes(options.dtype)
        region = _region(options.region, losses)
        fail_on = _fail_on(options.fail_on, options.max_ulp)
        output = _output(options.output)
        targets = _targets(options, losses)
    except (UsageError, TargetError) as error:
        print(f"refloss audit: {error}", file=sys.stderr)
        return USAGE
    with _progress(targets, losses) as progress:
        report = audit_targets(
            targets, losses, dtypes, region=region, max_ulp=options.max_ulp, progress=progress
        )
    if not report.cases:
        skipped = {reason for verdict in report.verdicts for reason in verdict.skipped}
        why = f" (skipped: {'; '.join(sorted(skipped))})" if skipped else ""
        print(f"refloss audit: nothing to audit{why}", file=sys.stderr)
        return NOTHING
    failing = report.at_least(fail_on)
    _write(report, options.format, output)
    verdict = f"{len(failing)} of grade {fail_on.label} or worse" if failing else "passed"
    print(
        f"refloss audit: {report.summary()}; {verdict}",
        file=sys.stderr if options.format == "json" and output is None else sys.stdout,
    )
    return FINDINGS if failing else FINE


def _split(given: Sequence[str] | None) -> list[str]:
    return [part.strip() for one in given or () for part in one.split(",") if part.strip()]


def _losses(given: Sequence[str] | None) -> tuple[str, ...]:
    known = oracles.names()
    if given is None:
        return known
    return _matching("loss", _split(given), known)


def _matching(what: str, globs: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in known):
            raise UsageError(f"unknown {what} {glob!r}; {suggestion(glob, known)}")
    return tuple(name for name in known if any(fnmatchcase(name, glob) for glob in globs))


def _dtypes(given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return DTYPES
    names = _split(given)
    if "all" in names:
        return tuple(FORMATS)
    return _matching("dtype", names, tuple(FORMATS))


def _region(given: Sequence[str] | None, losses: Sequence[str]) -> Callable[[str], bool]:
    if given is None:
        return lambda _: True
    known = sorted({region for loss in losses for region in oracles.header(loss)["regions"]})
    return frozenset(_matching("region", _split(given), known)).__contains__


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


def _output(given: str | None) -> Path | None:
    """Look at the place before the work, not after it."""
    if given is None:
        return None
    path = Path(given)
    folder = path.resolve().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {given!r}")
    return path


def _targets(options: argparse.Namespace, losses: Sequence[str]) -> list[Target]:
    made = []
    for name in options.targets or installed():
        if ":" in name:
            made.append(_function(name, options, losses))
        elif name in FRAMEWORKS:
            made.append(framework(name))
        else:
            hint = suggestion(name, FRAMEWORKS)
            raise UsageError(f"unknown target {name!r}; {hint}; or package.module:function")
    return made


def _function(path: str, options: argparse.Namespace, losses: Sequence[str]) -> Target:
    if options.loss is None or len(losses) != 1:
        raise UsageError(f"{path}: say which loss it implements, with --loss NAME")
    return function_target(
        find(path), losses[0], name=path, arrays=options.arrays, reduction=options.reduction
    )


def _write(report: Report, form: str, output: Path | None) -> None:
    text = report.to_json() if form == "json" else report.to_text() + "\n"
    if output is None:
        print(text, end="")
        return
    # Whole or not at all: a reader never sees half a report.
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _progress(
    targets: Sequence[Target], losses: Sequence[str]
) -> Iterator[Callable[[str, str], None]]:
    """A progress bar on a terminal; nothing anywhere else."""
    if not sys.stderr.isatty():
        yield lambda target, loss: None
        return
    from rich.console import Console
    from rich.progress import Progress

    steps = sum(loss in target.calls for target in targets for loss in losses)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=steps)
        started = False

        def progress(target: str, loss: str) -> None:
            nonlocal started
            bar.update(task, description=f"{target} {loss}", advance=int(started))
            started = True

        yield progress
