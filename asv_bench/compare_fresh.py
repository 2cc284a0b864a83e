"""What only a fresh process can show: the first call, the audit from nothing, peak memory.

python asv_bench/compare_fresh.py cross_entropy 4096x1000     # megabytes beside the outputs
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cpu_cases
import growth
import numpy as np
from gpu_cases import NotRunError

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"elementwise": (256,), "rowwise": (64, 10), "pairwise": (16, 8), "batch": (32, 8)}
AGAIN = 3  # times that what is compiled is loaded
LONGEST = 600.0  # seconds for any process
KEPT_IN = "REFLOSS_CACHE_DIR"


def script(loss: str) -> str:
    """A program that makes one call, with its arguments written out."""
    shape = SMALL[cpu_cases.room_of(loss)]
    arguments = [_literal(one) for one in cpu_cases.arguments(loss, shape, "float32")]
    return f"import numpy as np, refloss\nrefloss.{loss}.value_and_grad({', '.join(arguments)})\n"


def _literal(one: Any) -> str:
    return f"np.array({one.tolist()}, '{one.dtype}')" if isinstance(one, np.ndarray) else repr(one)


def seconds(arguments: list[str], kept_in: str, allowed: Iterable[int] = (0,)) -> float:
    """From the start of a process to its end."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, KEPT_IN: kept_in},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    took = time.perf_counter() - start
    if done.returncode not in allowed:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise RuntimeError(last[0])
    return took


def first_calls(losses: Iterable[str]) -> dict[str, dict[str, float]]:
    """Of each loss: with nothing compiled before, and then again with what that compiled."""
    found = {}
    with TemporaryDirectory() as kept_in:
        seconds(["-c", "import refloss, numba"], kept_in)  # bytecode is written, files are read
    for loss in losses:
        with TemporaryDirectory() as kept_in:
            first = seconds(["-c", script(loss)], kept_in)
            again = [seconds(["-c", script(loss)], kept_in) for _ in range(AGAIN)]
        found[loss] = {"first": first, "again": min(again)}
    return found


def audit() -> float:
    """`refloss audit refloss`, with nothing compiled before."""
    with TemporaryDirectory() as kept_in:
        return seconds(["-m", "refloss", "audit", "refloss"], kept_in, allowed=(0, 1))


def megabytes_beside(loss: str, shape: tuple[int, ...]) -> float:
    """The most that value and gradient need on top of inputs and outputs, in a fresh process."""
    if not growth.STATUS.exists():
        raise NotRunError("peak memory is read from /proc")
    shown = "x".join(map(str, shape))
    done = subprocess.run(
        [sys.executable, __file__, loss, shown], capture_output=True, text=True, timeout=LONGEST
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return float(json.loads(done.stdout))


def _measured(loss: str, shape: tuple[int, ...]) -> float:
    small = (64, *shape[1:])
    call = cpu_cases.loss_of(loss).value_and_grad
    call(*cpu_cases.arguments(loss, small, "float32"))
    given = cpu_cases.arguments(loss, shape, "float32")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = growth.status("VmRSS")
    _, gradient = call(*given)
    return max(0.0, growth.status("VmHWM") - before - gradient.nbytes / 2**20)


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], tuple(int(n) for n in sys.argv[2].split("x")))))
