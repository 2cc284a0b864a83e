"""Writes the oracle files, or proves that the committed ones are reproduced bit for bit."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from derivations.derivation import load
from derivations.oracle import lines

ORACLES = Path(__file__).resolve().parent.parent / "refloss" / "oracles"


def generate(losses: Sequence[str]) -> int:
    """Write ``refloss/oracles/<loss>.jsonl`` for each loss."""
    for loss in losses:
        start = time.perf_counter()
        text = "".join(f"{line}\n" for line in lines(load(loss)))
        path = ORACLES / f"{loss}.jsonl"
        path.write_text(text, encoding="utf-8", newline="\n")
        _report(loss, f"{text.count(chr(10)) - 1} rows, {len(text) // 1000} kB", start)
    return 0


def check(losses: Sequence[str]) -> int:
    """Make every oracle again in memory and compare; 1 if any line differs."""
    failures = 0
    for loss in losses:
        start = time.perf_counter()
        difference = first_difference(loss)
        failures += difference is not None
        _report(loss, difference or "reproduced bit for bit", start)
    return 1 if failures else 0


def first_difference(loss: str) -> str | None:
    """Where the committed file departs from what its derivation says; None where it does not."""
    path = ORACLES / f"{loss}.jsonl"
    if not path.exists():
        return f"{path.name} is missing"
    committed = path.read_text(encoding="utf-8").split("\n")
    if committed[-1] != "":
        return f"{path.name} does not end with a newline"
    pairs = itertools.zip_longest(lines(load(loss)), committed[:-1])
    for number, (made, found) in enumerate(pairs, 1):
        if made != found:
            return f"{path.name}:{number} differs\n  made      {made}\n  committed {found}"
    return None


def _report(loss: str, text: str, start: float) -> None:
    print(f"{loss:34} {text}  ({time.perf_counter() - start:.1f} s)", file=sys.stdout, flush=True)
