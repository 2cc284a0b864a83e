"""refloss itself, by its public functions and judged like everybody else."""

from __future__ import annotations

from collections.abc import Callable

from refloss.audit.calls import STACKED, STACKS, Call, call
from refloss.audit.cases import Case
from refloss.audit.signatures import required

REQUIRES = ("refloss",)
DISTRIBUTION = "refloss"
INSTALL = "refloss"
ARRAYS = "numpy"
IMPORTS = "import numpy as np, refloss"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def by(backend: str | None = None, arrays: str = ARRAYS) -> Callable[[Case], Call]:
    """What asks a backend, on arrays of a kind.

    All losses have the same methods, so that one function writes all of them down.
    """
    chosen = {} if backend is None else {"backend": backend}

    def any_loss(case: Case) -> Call:
        name = f"refloss.{case.loss}"
        first = required(case.loss)

        def method(method: str, argument: str) -> str:
            return call(f"{name}.{method}", case, *first, wrt=argument, **chosen)

        value = call(name, case, *first, **chosen)
        if case.loss in STACKED:
            value = f"{STACKS[arrays]}({value})"
        return Call(
            value,
            gradient={argument: method("grad", argument) for argument in case.asked("gradient")},
            curvature={
                argument: method("hessian_diag", argument) for argument in case.asked("curvature")
            },
        )

    return any_loss


any_loss = by()
