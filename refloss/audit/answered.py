"""A case that was put to a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from refloss.audit.arrays import Results
from refloss.audit.calls import Call
from refloss.audit.cases import Case
from refloss.audit.targets import Target

__all__ = ["Answered", "ask", "evaluate"]


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """A case, how it was put, and what came back by component."""

    case: Case
    call: Call
    results: Results


def ask(target: Target, case: Case) -> Answered:
    """Put a case to a target; raises `UnsupportedError` if it does not offer what is asked."""
    call = target.call(case)
    return Answered(case, call, evaluate(target, call, case.arrays))


def evaluate(target: Target, call: Call, arrays: Mapping[str, NDArray[Any]]) -> Results:
    """Run a call on arrays."""
    made = {name: target.library.make(array) for name, array in arrays.items()}
    return target.library.run(call, made, target.namespace)
