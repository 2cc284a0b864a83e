"""Kernels for the last losses of an audit, compiled by another process while the first are judged.

Numba compiles one function at a time in a process. What another one has compiled lies on disk when
this one comes to it, and nothing else passes between them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from refloss.audit.answered import ask
from refloss.audit.cases import cases
from refloss.audit.targets import framework

MANY = 4  # losses; fewer are not worth another process
ENOUGH = 100  # kernels on disk: an audit has run before


@contextmanager
def compiled_ahead(losses: Sequence[str], dtypes: Sequence[str]) -> Iterator[None]:
    """Have refloss's kernels compiled from the last loss to the first, while this lasts.

    Whatever the other process fails at, the audit meets itself and reports; only time is lost.
    """
    from refloss.kernels.cache import kept_kernels
    from refloss.kernels.threads import get_num_threads

    kept = kept_kernels()
    of_use = len(losses) >= MANY and get_num_threads() > 1 and kept is not None and kept <= ENOUGH
    other = _started(losses, dtypes) if of_use else None
    try:
        yield
    finally:
        if other is not None:
            other.terminate()
            other.wait()


def _started(losses: Sequence[str], dtypes: Sequence[str]) -> subprocess.Popen[bytes] | None:
    # without the current directory, where files may have the names of modules
    command = [sys.executable, "-P", "-m", __name__, ",".join(dtypes), *reversed(losses)]
    try:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:  # no further process may be had, or this one has no interpreter to name
        return None


def main(dtypes: Sequence[str], losses: Sequence[str]) -> None:
    """Ask what an audit will ask, once of each kind."""
    import warnings

    import numpy as np

    warnings.simplefilter("ignore")
    target, asked = framework("refloss"), set()
    with np.errstate(all="ignore"):
        for loss in losses:
            for dtype in dtypes:
                for case in cases(loss, dtype, lambda _: True):
                    shapes = (array.shape for array in case.arrays.values())
                    kind = (target.call(case).value, dtype, *shapes)
                    if kind not in asked:
                        asked.add(kind)
                        ask(target, case)


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2:])
