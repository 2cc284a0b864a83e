"""The largest error of each loss, dtype and region, against the certified answers.

No maths of its own: the audit that `refloss audit` runs, one region at a time, with gradients from
`value_and_grad`. The numbers are the same in every run on a machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "refloss" / "oracles"

# Half an ulp is correctly rounded: to tell less from less says nothing about the code. asv writes
# its pages for ever when it meets an infinity, so that an infinite error stands at 2^53 ulp.
LEAST, MOST = 0.5, 2.0**53

Errors = dict[tuple[str, str, str, str], float]  # loss, region, dtype, part


def regions(folder: Path = FOLDER) -> Mapping[str, Sequence[str]]:
    """The regions of each loss: read from the files, without refloss."""
    return {path.stem: _regions(path) for path in sorted(folder.glob("*.jsonl"))}


def _regions(path: Path) -> Sequence[str]:
    with path.open(encoding="utf-8") as lines:
        return tuple(json.loads(next(lines))["regions"])


def clamped(ulp: float) -> float:
    """An error as a finite number that is not zero."""
    return MOST if math.isnan(ulp) else min(max(ulp, LEAST), MOST)


def together(target: Any, loss: str) -> Any:
    """The gradient as training asks for it, in one pass with the value: the audit asks for each.

    The values are those of calls that ask for nothing else.
    """
    alone, both = f"refloss.{loss}.grad(", f"refloss.{loss}.value_and_grad("
    write = target.calls[loss]

    def rewritten(case: Any) -> Any:
        call = write(case)
        gradient = {
            argument: both + text.removeprefix(alone) + "[1]" if text.startswith(alone) else text
            for argument, text in call.gradient.items()
        }
        return replace(call, gradient=gradient)

    return replace(target, calls={**target.calls, loss: rewritten})


def of_loss(loss: str, dtypes: Sequence[str]) -> Errors:
    """What the installed refloss is off by; empty where the commit lacks the loss or the audit."""
    try:
        from refloss import oracles
        from refloss.audit import audit_targets, framework
    except ImportError:
        return {}
    if loss not in oracles.names():
        return {}
    own = together(framework("refloss"), loss)
    errors: Errors = {}
    for region in oracles.header(loss)["regions"]:
        report = audit_targets([own], [loss], dtypes, region=lambda name, this=region: name == this)
        for verdict in report.sections[0].verdicts:
            for part, found in verdict.errors.items():
                errors[loss, region, verdict.dtype, part] = clamped(found.largest)
    return errors
