"""How a case is put to an implementation: as source text, so that what ran is what can be shown.

An adapter writes each call down as a Python expression over the names of the array arguments
(``"F.huber_loss(input, target, delta=2.0)"``). The audit evaluates that text, and a finding prints
it with the arrays filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from refloss.audit.cases import Case

__all__ = [
    "STACKED",
    "STACKS",
    "Call",
    "UnsupportedError",
    "call",
    "keywords",
    "refuse",
    "scalar",
]

# Losses that return several arrays of one shape: the oracle's value is those stacked.
STACKED = frozenset({"mine_triplets"})
# What stacks them, by kind of arrays.
STACKS = {
    "numpy": "np.stack",
    "torch": "torch.stack",
    "jax": "jnp.stack",
    "cupy": "cupy.stack",
    "strict": "array_api_strict.stack",
}


class UnsupportedError(Exception):
    """The implementation does not offer what the case asks; the text says what."""


@dataclass(frozen=True, slots=True)
class Call:
    """The expressions that give an answer.

    Attributes
    ----------
    value : str
        The loss.
    gradient, curvature : dict
        Gradient of the sum of the value, and its second derivative, by argument; for an
        implementation that has functions for them.
    differentiable : tuple of str
        Arguments whose gradient comes from the framework's autograd.
    composition : bool
        Whether people write it so because the framework has no function of its own.
    """

    value: str
    gradient: Mapping[str, str] = field(default_factory=dict)
    curvature: Mapping[str, str] = field(default_factory=dict)
    differentiable: tuple[str, ...] = ()
    composition: bool = False


def scalar(value: Any) -> str:
    """Write an option down."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        return f'float("{value}")'
    return repr(value)


def keywords(options: Mapping[str, Any]) -> str:
    """Write options down as keyword arguments, with a leading comma."""
    return "".join(f", {name}={scalar(value)}" for name, value in options.items())


def call(function: str, case: Case, *positional: str, log: str = "", **more: Any) -> str:
    """Call a function that has refloss's own argument names.

    The positional arguments come first, everything else that the row gives follows by name. ``log``
    is the argument whose logarithm the function takes instead.
    """
    first = [scalar(case.options[name]) if name in case.options else name for name in positional]
    first = [f"{name}.log()" if name == log else name for name in first]
    arrays = [f"{name}={name}" for name in case.arrays if name not in positional]
    options = {name: value for name, value in case.options.items() if name not in positional}
    return f"{function}({', '.join([*first, *arrays])}{keywords(options | more)})"


def refuse(case: Case, *names: str, **neutral: Any) -> None:
    """Raise for a case that gives one of the arguments, unless it has the value that does nothing.

    ``refuse(case, "weight", label_smoothing=0.0)`` lets no weight pass, and no other smoothing.
    """
    for name in names:
        if name in case.arrays or case.options.get(name) is not None:
            raise UnsupportedError(f"no argument for {name}")
    for name, value in neutral.items():
        if case.options.get(name, value) != value:
            raise UnsupportedError(f"no argument for {name}")
