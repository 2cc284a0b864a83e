"""Answers of other libraries that differ from the textbook's on purpose, each with a name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flint import fmpq
from sympy import Expr, Piecewise

from derivations.case import Answered, Answers, Case
from derivations.enclose import ONE, Number
from derivations.entry import NAN, Entry
from derivations.formats import FLOAT16, FLOAT32, FLOAT64, Format
from derivations.reduction import count, exact_sum, picked_weight
from derivations.statement import Statement, Terms, arms


@dataclass(frozen=True)
class Convention:
    """Another answer that a library gives on purpose, to be told from a wrong one.

    `sentence` explains it. A convention has another `statement` or another `denominator`, or it
    amends the textbook's answers; where it `applies`, the parts listed in `parts` are compared
    with the textbook's and those that differ are written to the oracle.
    """

    sentence: str
    statement: Callable[[Case], Any] | None = None
    denominator: Callable[..., Any] | None = None
    amend: Callable[[Case, Answered], Answered] | None = None
    applies: Callable[[Case], bool] = lambda case: True
    parts: tuple[str, ...] = ("value", "gradient")


def _reduction(case: Case) -> Any:
    return case.options.get("reduction", "mean")


def is_mean(case: Case) -> bool:
    return bool(_reduction(case) == "mean")


# Rows of classes -------------------------------------------------------------------------------


def kept_rows(
    case: Case, rows: int, labels: Sequence[int] | None, weight: Sequence[float] | None
) -> Number | float:
    """The number of rows that are not ignored, whatever they weigh."""
    return picked_weight(case, rows, labels, None)


def all_rows(
    case: Case, rows: int, labels: Sequence[int] | None, weight: Sequence[float] | None
) -> Number | float:
    """The number of rows, ignored ones included."""
    return fmpq(rows) if is_mean(case) else picked_weight(case, rows, labels, weight)


def zero_when_empty(denominator: Callable[..., Number | float]) -> Callable[..., Number | float]:
    """The same denominator, but one instead of zero: nothing over nothing is nothing."""

    def divisor(*arguments: Any) -> Number | float:
        result = denominator(*arguments)
        return ONE if not isinstance(result, float) and result == 0 else result

    return divisor


def empty_mean_zero(denominator: Callable[..., Number | float]) -> dict[str, Convention]:
    return {
        "empty-mean-zero": Convention(
            "The mean over nothing (no rows, all rows ignored, all weights zero) is 0, not NaN "
            "(Keras, optax, Liger, torch before 1.11).",
            denominator=zero_when_empty(denominator),
            applies=lambda case: is_mean(case) and not case.large,
        )
    }


ROWS = {
    **empty_mean_zero(picked_weight),
    "mean-over-count": Convention(
        "A weighted mean divides by the number of rows that are not ignored, not by the sum of the "
        "weights of their labels (Keras' default).",
        denominator=kept_rows,
        applies=lambda case: is_mean(case) and "weight" in case.inputs,
    ),
    "mean-over-rows": Convention(
        "The mean divides by the number of all rows, also of those that are ignored.",
        denominator=all_rows,
        applies=lambda case: is_mean(case) and not case.large,
    ),
}


def dense_zero_times_inf(case: Case, answered: Answered) -> Answered:
    """Zero mass times the infinite loss of a class with no probability is NaN."""
    from derivations.rows import Layout

    layout = Layout(case.inputs["input"].shape)
    rows = layout.split(case.inputs["input"].flat())
    bad = [_zero_times_inf(case, layout, r, row) for r, row in enumerate(rows)]
    answers = answered["value"][""]
    if _reduction(case) == "none":
        entries = [
            Entry(NAN) if b else e for b, e in zip(bad, answers.entries, strict=True)
        ]  # fmt: skip
    else:
        entries = [Entry(NAN)] if any(bad) else list(answers.entries)
    return {**answered, "value": {"": Answers(answers.shape, entries)}}


def _zero_times_inf(case: Case, layout: Any, r: int, row: Sequence[float]) -> bool:
    target = case.inputs["target"]
    smoothed = float(case.options.get("label_smoothing") or 0.0) > 0
    if smoothed or not any(x == -math.inf for x in row):
        return False
    if target.index:
        y = target.flat()[r]
        ignored = y == case.options.get("ignore_index", -100)
        return not ignored and any(x == -math.inf for c, x in enumerate(row) if c != y)
    masses = layout.split(target.flat())[r]
    return any(x == -math.inf and m == 0 for x, m in zip(row, masses, strict=True))


DENSE = Convention(
    "A class with no probability (logit -inf) and no mass adds 0 * inf = NaN to the value "
    "(dense targets in torch, Keras and optax's softmax_cross_entropy).",
    amend=dense_zero_times_inf,
    parts=("value",),
    applies=lambda case: any(v == -math.inf for v in case.inputs["input"].values),
)

# Elements --------------------------------------------------------------------------------------


def over_weight_sum(
    case: Case, shape: tuple[int, ...], weights: Sequence[float] | None
) -> Number | float:
    if weights is None or not is_mean(case):
        return count(case, shape, weights)
    return exact_sum(weights)


def clip_eps(clipped: Callable[[Format], Callable[[Case], Statement]]) -> dict[str, Convention]:
    """scikit-learn's log_loss: one convention for each dtype that it accepts."""

    def one(form: Format) -> Convention:
        return Convention(
            f"Probabilities are clipped to [eps, 1 - eps] with the eps of {form.name} "
            "(scikit-learn's log_loss on that dtype).",
            statement=clipped(form),
            parts=("value",),
            applies=lambda case: form.name in case.dtypes() and not case.large,
        )

    return {f"clip-eps-{form.name}": one(form) for form in (FLOAT16, FLOAT32, FLOAT64)}


MEAN_OVER_COUNT = {
    "mean-over-count": Convention(
        "A weighted mean divides by the number of elements, not by the sum of the weights.",
        denominator=count,
        applies=lambda case: is_mean(case) and "weight" in case.inputs,
    )
}


@functools.cache
def scaled(statement: Statement, factor: Expr) -> Statement:
    """The same loss times a constant."""

    def times(terms: Terms) -> Terms:
        return tuple(_times(term, factor) for term in terms)

    return replace(
        statement,
        textbook=_times(statement.textbook, factor),
        terms=times(statement.terms),
        gradient={name: times(terms) for name, terms in statement.gradient.items()},
        curvature={name: times(terms) for name, terms in statement.curvature.items()},
    )


def _times(expression: Expr, factor: Expr) -> Expr:
    if isinstance(expression, Piecewise):
        return arms(*((value * factor, where) for value, where in expression.args))
    return expression * factor


ELEMENTS = {
    "mean-over-weight-sum": Convention(
        "A weighted mean divides by the sum of the weights, not by the number of elements.",
        denominator=over_weight_sum,
        applies=lambda case: is_mean(case) and "weight" in case.inputs,
    ),
    **empty_mean_zero(count),
}


def all_nan(answers: Answers, where: Sequence[bool]) -> Answers:
    """NaN at the marked positions."""
    entries = [replace(e, value=NAN, upper=None, scale=None) if b else e
               for b, e in zip(where, answers.entries, strict=True)]  # fmt: skip
    return Answers(answers.shape, entries, answers.at)
