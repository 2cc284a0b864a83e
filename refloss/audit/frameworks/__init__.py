"""One file a framework: how each of its losses is called.

A file names its package (``REQUIRES``, the modules it needs; ``DISTRIBUTION``, whose version is
reported; ``INSTALL``, what to give to pip), its ``ARRAYS``, the ``IMPORTS`` that its expressions
need, the ``DTYPES`` it takes, and has one function a loss, called like the loss, that writes a
case down as a ``Call`` or raises ``UnsupportedError``. It imports no framework.
"""

from __future__ import annotations

__all__ = ["FRAMEWORKS", "reduced", "unreduced"]

from refloss.audit.calls import UnsupportedError
from refloss.audit.cases import Case

FRAMEWORKS = (
    *("torch", "optax", "sklearn", "scipy"),
    *("pytorch_metric_learning", "lightly"),
    "refloss",
)


def reduced(expression: str, case: Case, default: str = "mean") -> str:
    """The mean or sum that a caller takes of losses that come one by one."""
    reduction = case.options.get("reduction", default)
    if reduction == "none":
        return expression
    if reduction == "batchmean":
        return f"{expression}.sum() / {next(iter(case.arrays.values())).shape[0]}"
    return f"{expression}.{reduction}()"


def unreduced(case: Case) -> None:
    """Raise unless the case asks for the losses one by one."""
    if case.options.get("reduction", "mean") != "none":
        raise UnsupportedError("no reduction")
