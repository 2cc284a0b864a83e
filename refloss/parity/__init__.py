"""Hold two implementations of a loss against each other, and both against the certified answers.

``compare`` gives a `Report`; the command ``refloss parity`` is the same thing on the command line,
and ``refloss.testing.assert_parity`` in a test.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from refloss.audit import DTYPES
from refloss.audit.calls import UnsupportedError
from refloss.audit.cases import cases
from refloss.parity.budgets import Budgets
from refloss.parity.drawn import draw
from refloss.parity.larger import apart_at_size, other_layouts, runs
from refloss.parity.layouts import prepared
from refloss.parity.report import Report
from refloss.parity.sides import Side, SideError, of_function, side
from refloss.parity.verdicts import Compared, Difference, Pair, Verdict, judge

__all__ = [
    "DTYPES",
    "Budgets",
    "Compared",
    "Difference",
    "Report",
    "Side",
    "SideError",
    "Verdict",
    "compare",
    "draw",
    "of_function",
    "prepared",
    "side",
]

# Cases with more numbers than this take most of the time, and tell what smaller ones tell.
LARGE = 1 << 17


def compare(
    first: Side,
    second: Side,
    losses: Sequence[str],
    dtypes: Sequence[str] = DTYPES,
    *,
    budgets: Budgets | None = None,
    region: Callable[[str], bool] = lambda _: True,
    large: bool = False,
    repeat: int = 0,
    layouts: bool = False,
    size: int = 0,
    progress: Callable[[str, str], None] = lambda dtype, loss: None,
) -> Report:
    """Put the same questions to two sides.

    Parameters
    ----------
    first, second : Side
        As `side` or `of_function` makes them.
    losses, dtypes : sequence of str
        What to compare.
    budgets : Budgets, optional
        How far they may be apart; by default as far as their promises allow.
    region : callable, optional
        Tells from a region's name whether its rows are wanted.
    large : bool
        Whether oracle rows of a million numbers are asked too.
    repeat : int
        How often to ask each side the same, to see whether the bits are the same.
    layouts : bool
        Whether to ask with other layouts of the same numbers.
    size : int
        Bytes in the first array of one more question a loss.
    progress : callable, optional
        Called before each loss and dtype.

    Returns
    -------
    Report
        With one verdict for each loss and dtype that both sides have.
    """
    verdicts = []
    for loss in losses:
        if loss not in first.target.calls or loss not in second.target.calls:
            continue
        for dtype in dtypes:
            progress(dtype, loss)
            # What implementations say on the way (overflow, deprecations) is not what is compared.
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                verdict = _on_the_oracle(
                    first, second, loss, dtype, budgets or Budgets(), region, large
                )
                if verdict.cases or verdict.findings:
                    verdict = _on_drawn(
                        first, second, verdict, budgets or Budgets(), repeat, layouts, size
                    )
            if verdict.cases or verdict.findings or verdict.skipped:
                verdicts.append(verdict)
    return Report((first.title, second.title), (first.name, second.name), tuple(verdicts))


def _on_the_oracle(
    first: Side,
    second: Side,
    loss: str,
    dtype: str,
    budgets: Budgets,
    region: Callable[[str], bool],
    large: bool,
) -> Verdict:
    pairs = []
    skipped: Counter[str] = Counter()
    for case in cases(loss, dtype, region):
        if not large and case.size > LARGE:
            skipped["a large case, asked with --large"] += 1
            continue
        answers = []
        for one in (first, second):
            try:
                answers.append(one.ask(case))
            except UnsupportedError as reason:
                skipped[f"{one.name}: {reason}"] += 1
                break
        else:
            pair = Pair(*answers)
            if all(pair.raised):
                skipped["both raise"] += 1
            pairs.append(pair)
    return judge(first, second, loss, dtype, pairs, skipped, budgets)


def _on_drawn(
    first: Side,
    second: Side,
    verdict: Verdict,
    budgets: Budgets,
    repeat: int,
    layouts: bool,
    size: int,
) -> Verdict:
    loss, dtype = verdict.loss, verdict.dtype
    findings = list(verdict.findings)
    sides = (first, second)
    if repeat:
        answered = [runs(one, loss, dtype, repeat) for one in sides]
        counts = [ran[0] if ran else (0, 0) for ran in answered]
        verdict = replace(verdict, again=(counts[0], counts[1]))
        for one, ran in zip(sides, answered, strict=True):
            findings += [ran[1]] if ran and ran[1] and one.promises else []
    if layouts:
        laid = [other_layouts(one, loss, dtype) for one in sides]
        same = [found[0] if found else {} for found in laid]
        verdict = replace(verdict, layouts=(same[0], same[1]))
        for one, found in zip(sides, laid, strict=True):
            findings += found[1] if found and one.promises else []
    if size:
        at_size, apart = apart_at_size(first, second, loss, dtype, size, budgets)
        verdict = replace(verdict, large=at_size)
        findings += apart
    return replace(verdict, findings=tuple(findings))
