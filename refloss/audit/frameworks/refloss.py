"""refloss itself, by its public functions and judged like everybody else."""

from __future__ import annotations

from refloss.audit.calls import STACKED, Call, call
from refloss.audit.cases import Case
from refloss.audit.signatures import required

REQUIRES = ("refloss",)
DISTRIBUTION = "refloss"
INSTALL = "refloss"
ARRAYS = "numpy"
IMPORTS = "import numpy as np, refloss"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def any_loss(case: Case) -> Call:
    """All losses have the same methods, so that one function writes all of them down."""
    name = f"refloss.{case.loss}"
    first = required(case.loss)

    def method(method: str, argument: str) -> str:
        return call(f"{name}.{method}", case, *first, wrt=argument)

    value = call(name, case, *first)
    if case.loss in STACKED:
        value = f"np.stack({value})"
    return Call(
        value,
        gradient={argument: method("grad", argument) for argument in case.asked("gradient")},
        curvature={
            argument: method("hessian_diag", argument) for argument in case.asked("curvature")
        },
    )
