"""The certified answers of one loss in one format, asked on a GPU in a process of its own.

    python tests/cuda/certified.py LOSS DTYPE SIDE...

A side is a backend and a kind of arrays, ``cuda/torch@cuda``. What takes time is not the GPU's work
but compiling, a second a kernel: that is why processes run side by side, why all sides of a loss
share one, and why only float64 has its kernels laid out as the inputs' sizes would have them. In
other formats a warp takes a row, and second derivatives are left out; how kernels are laid out for
these is tested on drawn inputs.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from refloss import __version__, oracles
from refloss.accuracy import FORMATS, Grade
from refloss.audit.arrays import arrays_of
from refloss.audit.calls import Call, UnsupportedError
from refloss.audit.cases import Case, cases
from refloss.audit.frameworks.refloss import by
from refloss.audit.targets import Target
from refloss.audit.verdicts import Verdict, judge
from refloss.parity import Side
from refloss.parity.budgets import allowance

Calls = Callable[[Case], Call]


def side_of(backend: str, kind: str) -> Side:
    """A backend on a kind of arrays, as parity and audit ask it."""
    imports = f"{arrays_of(kind).imports}; import refloss"
    namespace: dict[str, Any] = {}
    exec(imports, namespace)
    calls = dict.fromkeys(oracles.names(), by(backend, kind.partition("@")[0]))
    name = f"{backend}/{kind}"
    target = Target(name, __version__, kind, imports, namespace, tuple(FORMATS), calls)
    return Side(name, target, backend=backend)


def uncurved(calls: Calls) -> Calls:
    """The same questions but those for second derivatives."""
    return lambda case: replace(calls(case), curvature={})


@contextmanager
def pinned() -> Iterator[None]:
    """A warp for every row, whatever its length: one kernel serves all sizes."""
    from refloss import fused
    from refloss.kernels.cuda import arrays, target

    usual = fused.shape_of

    def shape_of(*sizes: int) -> Any:
        return replace(usual(*sizes), team=target.WARP, lanes=1, held=0)

    with (
        patch.object(fused, "shape_of", shape_of),
        patch.object(arrays, "lanes_of", lambda *given: 1),
    ):
        yield


def judged(side: Side, loss: str, dtype: str, curved: bool) -> Verdict:
    """What a side makes of every certified row."""
    target = side.target
    if not curved:
        target = replace(target, calls={loss: uncurved(target.calls[loss])})
    asked = replace(side, target=target)
    answered, skipped = [], Counter[str]()
    for case in cases(loss, dtype):
        try:
            answered.append(asked.ask(case))
        except UnsupportedError as reason:
            skipped[str(reason)] += 1
    return judge(target, loss, dtype, answered, skipped)


def broken(side: Side, verdict: Verdict) -> list[str]:
    """What the side promised and did not keep, in words."""
    lines = [
        f"{component}: {errors.largest:.3f} ulp at {errors.row}"
        for component, errors in verdict.errors.items()
        if errors.largest > allowance(side, verdict.loss, verdict.dtype, component)
    ]
    lines += [f"{f.grade.label}: {f.component} of {f.row}: {f.line}" for f in verdict.findings]
    if verdict.grade > Grade.ACCURATE and not lines:
        lines.append(f"{verdict.grade.label}: {verdict.worst}")
    return lines


def main(loss: str, dtype: str, *sides: str) -> None:
    """Ask, and print what was broken by each side."""
    found = {}
    for name in sides:
        side = side_of(*name.split("/"))
        if dtype == "float64" and side.backend == "cuda":
            verdict = judged(side, loss, dtype, curved=True)
        else:
            with pinned():
                verdict = judged(side, loss, dtype, curved=False)
        found[name] = {
            "cases": verdict.cases,
            "skipped": dict(verdict.skipped),
            "broken": broken(side, verdict),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
