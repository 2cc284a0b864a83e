"""Judge any implementation of a loss against the certified answers.

``audit`` judges one function, ``audit_targets`` several implementations of several losses; both
give a `Report`. The command ``refloss audit`` is the same thing on the command line.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from refloss.accuracy import Grade
from refloss.audit.answered import ask
from refloss.audit.calls import UnsupportedError
from refloss.audit.cases import cases
from refloss.audit.functions import target as function_target
from refloss.audit.report import Report, Section
from refloss.audit.targets import Target, TargetError, framework, installed
from refloss.audit.verdicts import Finding, Verdict, judge

__all__ = [
    "DTYPES",
    "Finding",
    "Grade",
    "Report",
    "Section",
    "Target",
    "TargetError",
    "Verdict",
    "audit",
    "audit_targets",
    "framework",
    "installed",
]

DTYPES = ("float32", "float64")


def audit(
    function: Callable[..., Any],
    loss: str,
    *,
    dtypes: Sequence[str] = DTYPES,
    region: Callable[[str], bool] = lambda _: True,
    arrays: str = "auto",
    reduction: str = "auto",
    max_ulp: float | None = None,
) -> Report:
    """Judge a function as an implementation of a loss.

    Parameters
    ----------
    function : callable
        Takes the arguments of the loss, as many of them as it has: those that the loss cannot do
        without by position, the others by name. Returns the value, or a tuple of value and
        gradient, or of value, gradient and Hessian diagonal.
    loss : str
        The loss it implements: a name that ``refloss.oracles.names()`` lists.
    dtypes : sequence of str
        The formats to judge it in.
    region : callable, optional
        Tells from a region's name whether its rows are wanted.
    arrays : str
        What the function takes: ``"numpy"``, ``"torch"``, ``"jax"``; ``"auto"`` is torch or jax
        for a function whose module imports it, and numpy for all others.
    reduction : str
        What a function without a ``reduction`` argument returns; ``"auto"`` sees that for itself,
        but takes a sum for a mean.
    max_ulp : float, optional
        The error, in ulps, beyond which an answer loses digits; by default the format's bound.

    Returns
    -------
    Report
        With one verdict a dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from refloss.audit import audit
    >>> def naive(input, target):
    ...     p = 1 / (1 + np.exp(-input))
    ...     return -target * np.log(p) - (1 - target) * np.log(1 - p)
    >>> audit(naive, "binary_cross_entropy_with_logits").grade.label
    'wrong'
    """
    made = function_target(function, loss, arrays=arrays, reduction=reduction)
    return audit_targets([made], [loss], dtypes, region=region, max_ulp=max_ulp)


def audit_targets(
    targets: Iterable[Target],
    losses: Sequence[str],
    dtypes: Sequence[str] = DTYPES,
    *,
    region: Callable[[str], bool] = lambda _: True,
    max_ulp: float | None = None,
    progress: Callable[[str, str], None] = lambda target, loss: None,
) -> Report:
    """Judge several implementations; ``progress`` is called before each of their losses."""
    sections = []
    for target in targets:
        verdicts = []
        for loss in losses:
            if loss in target.calls:
                progress(target.name, loss)
                for dtype in dtypes:
                    verdict = _verdict(target, loss, dtype, region, max_ulp)
                    if verdict.cases or verdict.skipped:
                        verdicts.append(verdict)
        sections.append(Section(target.name, target.version, target.arrays, tuple(verdicts)))
    return Report(tuple(sections))


def _verdict(
    target: Target, loss: str, dtype: str, region: Callable[[str], bool], max_ulp: float | None
) -> Verdict:
    answered = []
    skipped: Counter[str] = Counter()
    # What implementations say on the way (overflow, deprecations) is not what is judged.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for case in cases(loss, dtype, region):
            try:
                answered.append(ask(target, case))
            except UnsupportedError as reason:
                skipped[str(reason)] += 1
        return judge(target, loss, dtype, answered, skipped, max_ulp)
