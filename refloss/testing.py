"""Assertions for tests of your own kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from refloss.audit import DTYPES, options
from refloss.parity import Budgets, Report, Side, compare, of_function, side
from refloss.parity.report import described, far_first

__all__ = ["assert_parity"]

# How many findings a message shows; the rest is counted.
SHOWN = 3


def assert_parity(
    first: str | Callable[..., Any],
    second: str | Callable[..., Any],
    *,
    loss: str | Sequence[str] | None = None,
    dtypes: str | Sequence[str] = DTYPES,
    max_ulp: float | None = None,
    budgets: Mapping[str, Mapping[str, float]] | None = None,
    region: str | Sequence[str] | None = None,
    large: bool = False,
    repeat: int = 0,
    layouts: bool = False,
    size: int = 0,
    arrays: str = "auto",
    reduction: str = "auto",
) -> Report:
    """Assert that two implementations of a loss agree on every certified input.

    Parameters
    ----------
    first, second : str or callable
        Names as ``refloss parity`` takes them (``"numba"``, ``"torch@cpu"``), or functions. A
        function takes the arguments of the loss, as many of them as it has: those that the loss
        cannot do without by position, the others by name. It returns the value, or a tuple of
        value and gradient, or of value, gradient and Hessian diagonal.
    loss : str or sequence of str, optional
        The losses, or patterns such as ``"huber*"``; a function implements one. By default all.
    dtypes : str or sequence of str
        The formats to compare in.
    max_ulp : float, optional
        How far answers may be apart, in ulps (of the largest term where terms cancel). By default
        what the two sides promise together; what promises nothing is held to what the audit calls
        accurate.
    budgets : mapping, optional
        The same by loss and dtype; counts before ``max_ulp``.
    region : str or sequence of str, optional
        Patterns of the regions of the oracle to ask; by default all.
    large : bool
        Whether certified inputs of a million numbers are asked too.
    repeat : int
        How often each side is asked the same, to see that the bits stay the same.
    layouts : bool
        Whether other layouts in memory have to give the same bits.
    size : int
        Bytes in the first array of one more question, drawn at random.
    arrays : str
        What functions take: ``"numpy"``, ``"torch"``, ``"torch@cuda"``, ``"cupy"``, ``"jax"``;
        ``"auto"`` is torch or jax for a function whose module imports it, and numpy for others.
    reduction : str
        What a function without a ``reduction`` argument returns; ``"auto"`` sees that for itself,
        but takes a sum for a mean.

    Returns
    -------
    Report
        What was compared, if nothing is beyond its budget.

    Raises
    ------
    AssertionError
        If something is. The message shows the worst input, both answers, the truth, and a line for
        each side that prints its answer.
    ValueError
        If there is nothing to compare, or a name is not known or not installed.

    Examples
    --------
    >>> from refloss.testing import assert_parity
    >>> def squared_error(input, target):
    ...     return (input - target) ** 2, 2 * (input - target)
    >>> report = assert_parity(squared_error, "numba", loss="mse_loss", max_ulp=4)
    >>> sorted(report.verdicts[0].compared)
    ['gradient', 'value']
    """
    losses = options.losses(_listed(loss))
    regions = options.region(_listed(region), losses)
    formats = options.dtypes(_listed(dtypes))
    if repeat == 1 or repeat < 0:
        raise ValueError(f"repeat: expected 0 or at least 2, got {repeat}")
    one, other = (_side(given, losses, arrays, reduction) for given in (first, second))
    report = compare(
        one,
        other,
        losses,
        formats,
        budgets=Budgets(budgets or {}, max_ulp),
        region=regions,
        large=large,
        repeat=repeat,
        layouts=layouts,
        size=size,
    )
    if not report.cases and not report.findings:
        raise ValueError(f"nothing to compare{report.reasons}")
    if report.findings:
        raise AssertionError(_message(report))
    return report


def _listed(given: str | Sequence[str] | None) -> Sequence[str] | None:
    return [given] if isinstance(given, str) else given


def _side(
    given: str | Callable[..., Any], losses: Sequence[str], arrays: str, reduction: str
) -> Side:
    if isinstance(given, str):
        return side(given, losses, arrays=arrays, reduction=reduction)
    if len(losses) != 1:
        raise ValueError(f"{given!r} implements one loss: say which, with loss=")
    return of_function(given, losses[0], arrays=arrays, reduction=reduction)


def _message(report: Report) -> str:
    found = sorted(report.findings, key=far_first)
    lines = [report.summary()]
    lines += [f"{letter} = {title}" for letter, title in zip("AB", report.titles, strict=True)]
    for finding in found[:SHOWN]:
        lines += described(finding)
    if len(found) > SHOWN:
        lines.append(f"... and {len(found) - SHOWN} more")
    return "\n".join(lines)
