"""refloss itself, by its public functions and judged like everybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refloss.audit.calls import STACKED, STACKS, Call, call
from refloss.audit.cases import Case
from refloss.audit.signatures import required

REQUIRES = ("refloss",)
DISTRIBUTION = "refloss"
INSTALL = "refloss"
ARRAYS = "numpy"
IMPORTS = "import numpy as np, refloss"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def by(backend: str, arrays: str = ARRAYS) -> Callable[[Case], Call]:
    """What asks a backend for one thing at a time, on arrays of a kind.

    All losses have the same methods, so that one function writes all of them down.
    """

    def any_loss(case: Case) -> Call:
        def method(method: str, argument: str) -> str:
            return _called(case, f".{method}", wrt=argument, backend=backend)

        return Call(
            _value(case, arrays, backend=backend),
            gradient={argument: method("grad", argument) for argument in case.asked("gradient")},
            curvature={
                argument: method("hessian_diag", argument) for argument in case.asked("curvature")
            },
        )

    return any_loss


def any_loss(case: Case) -> Call:
    """What asks the CPU: the value, all gradients beside the value, and all of the curvature.

    Each combination is a kernel of its own there, and a small one takes longer to compile than all
    of the cases that it answers.
    """

    def parts(kind: str, method: str, found: str) -> dict[str, str]:
        asked = case.asked(kind)
        together = _called(case, method, wrt=asked)
        return {argument: f"{together}{found}[{k}]" for k, argument in enumerate(asked)}

    return Call(
        _value(case, ARRAYS),
        gradient=parts("gradient", ".value_and_grad", "[1]"),
        curvature=parts("curvature", ".hessian_diag", ""),
    )


def _called(case: Case, method: str = "", **more: Any) -> str:
    return call(f"refloss.{case.loss}{method}", case, *required(case.loss), **more)


def _value(case: Case, arrays: str, **more: Any) -> str:
    value = _called(case, **more)
    return f"{STACKS[arrays]}({value})" if case.loss in STACKED else value
