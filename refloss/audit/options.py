"""What the commands read from the command line in the same way, and write in the same way."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from refloss import oracles
from refloss.accuracy import FORMATS
from refloss.audit import DTYPES
from refloss.suggestion import suggestion

__all__ = [
    "FINDINGS",
    "FINE",
    "NOTHING",
    "USAGE",
    "UsageError",
    "dtypes",
    "losses",
    "matching",
    "output",
    "progress",
    "region",
    "write",
]

FINE, FINDINGS, USAGE, NOTHING = 0, 1, 2, 5


class UsageError(ValueError):
    """The command line asks for something that does not exist."""


def split(given: Sequence[str] | None) -> list[str]:
    """Options that can be given twice, or with commas."""
    return [part.strip() for one in given or () for part in one.split(",") if part.strip()]


def losses(given: Sequence[str] | None) -> tuple[str, ...]:
    """The losses that match; all without a pattern."""
    known = oracles.names()
    if given is None:
        return known
    return matching("loss", split(given), known)


def matching(what: str, globs: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """What matches one of the patterns, each of which must match something."""
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in known):
            raise UsageError(f"unknown {what} {glob!r}; {suggestion(glob, known)}")
    return tuple(name for name in known if any(fnmatchcase(name, glob) for glob in globs))


def dtypes(given: Sequence[str] | None) -> tuple[str, ...]:
    """The formats asked for."""
    if given is None:
        return DTYPES
    names = split(given)
    if "all" in names:
        return tuple(FORMATS)
    return matching("dtype", names, tuple(FORMATS))


def region(given: Sequence[str] | None, losses: Sequence[str]) -> Callable[[str], bool]:
    """Tells whether a region's rows are wanted."""
    if given is None:
        return lambda _: True
    known = sorted({region for loss in losses for region in oracles.header(loss)["regions"]})
    return frozenset(matching("region", split(given), known)).__contains__


def output(given: str | None) -> Path | None:
    """Look at the place before the work, not after it."""
    if given is None:
        return None
    path = Path(given)
    folder = path.resolve().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {given!r}")
    return path


def write(text: str, output: Path | None) -> None:
    """Print a report, or write it to its file."""
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
def progress(steps: int) -> Iterator[Callable[[str, str], None]]:
    """A progress bar on a terminal; nothing anywhere else."""
    if not sys.stderr.isatty():
        yield lambda target, loss: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=steps)
        started = False

        def shown(target: str, loss: str) -> None:
            nonlocal started
            bar.update(task, description=f"{target} {loss}", advance=int(started))
            started = True

        yield shown
