"""What a process waits for before it has its first answer."""

import subprocess
import sys
import time

import cpu_cases

FIRST = """
import numpy as np, refloss
x = np.zeros(({rows}, 10), np.float32)
refloss.{loss}.value_and_grad(x, {target})
"""
CALLS = {
    "huber_loss": FIRST.format(rows=8, loss="huber_loss", target="x"),
    "cross_entropy": FIRST.format(rows=8, loss="cross_entropy", target="np.zeros(8, int)"),
}


def _seconds(script: str) -> float:
    """In a fresh process, from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    return time.perf_counter() - start


class Import:
    """`import refloss` and nothing else, beside `import numpy`."""

    params = (["numpy", "refloss"],)
    param_names = ("package",)
    timeout = 60.0

    def setup(self, package: str) -> None:
        cpu_cases.loss_of("cross_entropy")
        _seconds(f"import {package}")  # writes bytecode

    def track_import(self, package: str) -> float:
        return min(_seconds(f"import {package}") for _ in range(5))

    track_import.unit = "seconds"


class FirstCall:
    """The first value and gradient in a process whose machine has made the call before."""

    params = (list(CALLS),)
    param_names = ("loss",)
    timeout = 120.0

    def setup(self, loss: str) -> None:
        cpu_cases.loss_of(loss)
        _seconds(CALLS[loss])  # compiles, for commits that keep what was compiled

    def track_first_call(self, loss: str) -> float:
        return min(_seconds(CALLS[loss]) for _ in range(3))

    track_first_call.unit = "seconds"
