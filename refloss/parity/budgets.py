"""How far two sides may be apart, in ulps.

Each side may be off the truth by so much, so that the two may be off each other by the sum. A
backend of refloss has its promise; what promises nothing is held to what the audit calls accurate
in that format. A file of budgets, or one number for all, takes the place of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import refloss
from refloss import oracles
from refloss.accuracy import FORMATS
from refloss.loss import Promise
from refloss.parity.sides import Side, SideError
from refloss.suggestion import suggestion

__all__ = ["Budgets", "allowance", "read"]


@dataclass(frozen=True)
class Budgets:
    """What was asked for instead of the promises.

    Attributes
    ----------
    each : mapping
        Ulps by loss and dtype; counts before ``most``.
    most : float, optional
        Ulps for all others.
    """

    each: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    most: float | None = None

    def between(self, first: Side, second: Side, loss: str, dtype: str, kind: str) -> float:
        """The budget of a loss's values, gradients or curvatures."""
        given = self.each.get(loss, {}).get(dtype, self.most)
        if given is not None:
            return given
        return sum(allowance(side, loss, dtype, kind) for side in (first, second))


def allowance(side: Side, loss: str, dtype: str, kind: str) -> float:
    """How far one side may be off the truth."""
    if not side.backend:
        return FORMATS[dtype].accurate
    # What is no loss (a miner, a weighting) makes the usual promise.
    promise = getattr(getattr(refloss, loss), "promise", Promise())
    if side.backend == "cuda:float32" and dtype == "float32":
        return float(promise.float32_inside)
    if dtype != "float64":
        return float(getattr(promise, dtype))
    bound = promise.float64_arrays if side.backend == "array" else promise.float64
    return float(max(bound, promise.float64_curvature) if kind == "curvature" else bound)


def read(path: str) -> dict[str, dict[str, float]]:
    """Read a file of budgets: ``{"huber_loss": {"float32": 2, "float64": 8}}``.

    Raises
    ------
    SideError
        If it cannot be read, or says something else.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SideError(f"cannot read budgets from {path!r}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise SideError(f'{path}: expected {{"loss": {{"dtype": ulps}}}}')
    for loss, by_dtype in found.items():
        _known(path, "loss", loss, oracles.names())
        for dtype, ulp in by_dtype.items():
            _known(path, "dtype", dtype, tuple(FORMATS))
            if isinstance(ulp, bool) or not isinstance(ulp, int | float) or not ulp >= 0:
                raise SideError(f"{path}: {loss} {dtype}: expected a number of ulps, got {ulp!r}")
    return found


def _known(path: str, what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise SideError(f"{path}: unknown {what} {name!r}; {suggestion(name, known)}")
