"""Obligations: claims that `python -m derivations prove` has to show, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

PROVED = "proved"  # an identity over the reals, shown symbolically
BOUNDED = "bounded"  # an approximation whose error is enclosed by ball arithmetic
CHECKED = "checked"  # only tried, at points
FAILED = "FAILED"


class RefutedError(Exception):
    """The claim is false, or was not shown."""


@dataclass(frozen=True)
class Obligation:
    """A claim about a loss.

    ``show`` returns what was covered ("6 arms") or raises; ``verdict`` is what its success means.
    """

    loss: str
    claim: str
    show: Callable[[], str]
    verdict: str = PROVED


@dataclass(frozen=True)
class Outcome:
    obligation: Obligation
    verdict: str
    detail: str
    seconds: float


def settle(obligation: Obligation) -> Outcome:
    """Try to show an obligation. Whatever goes wrong on the way, it is not shown."""
    start = time.perf_counter()
    try:
        verdict, detail = obligation.verdict, obligation.show()
    except Exception as problem:
        name = "" if isinstance(problem, RefutedError) else f"{type(problem).__name__}: "
        verdict, detail = FAILED, f"{name}{problem}"
    return Outcome(obligation, verdict, detail, time.perf_counter() - start)
