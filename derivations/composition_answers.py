"""Answers of compositions: every row's loss, reduced, and the gradient of each argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flint import fmpq

from derivations.case import Answers, Array, Case
from derivations.composition import Composition
from derivations.composition_source import compiled, sizes_of
from derivations.conditioned import (
    UNDEFINED,
    Conditioned,
    answered,
    number,
    product,
    total,
    whole,
)  # fmt: skip
from derivations.enclose import ONE, Number, rational
from derivations.entry import NAN, Entry

RowCount: TypeAlias = Callable[[Case, int], "Number | float"]


def row_count(case: Case, rows: int) -> Number | float:
    """The denominator of a mean over all rows."""
    return fmpq(rows) if case.options.get("reduction", "mean") == "mean" else ONE


def answer(
    composition: Composition, case: Case, denominator: RowCount
) -> dict[str, dict[str, Answers]]:
    """Value and gradient of a case; the gradient only at ``case.at``."""
    inputs = {name: case.inputs[name] for name in composition.axes}
    sizes = sizes_of(composition.axes, {name: array.shape for name, array in inputs.items()})
    places = [_placed(array, len(composition.axes[name])) for name, array in inputs.items()]
    options = [_option(case.options[name]) for name in composition.options]
    counts = [sizes[symbol] for symbol in sorted(sizes, key=str)]
    formulas = compiled(composition)(*places, *options, *counts)
    rows = int(composition.rows.subs(sizes))
    divisor = denominator(case, rows)

    def divided(x: Conditioned) -> Entry:
        if isinstance(divisor, float) or divisor == 0:
            return Entry(NAN)
        return answered(x if divisor == 1 else product((x, number(ONE / divisor))))

    values = [formulas[""](row) for row in range(rows)]
    if case.options.get("reduction", "mean") == "none":
        first = next(iter(inputs.values())).shape[:-1]
        shape = first if math.prod(first) == rows else (rows,)
        value = Answers(shape, [divided(x) for x in values])
    else:
        value = Answers((), [divided(total(values))])
    gradient = {}
    for name in composition.gradient:
        shape = inputs[name].shape
        where = range(math.prod(shape)) if case.at is None else case.at
        found = [formulas[name](*divmod(position, shape[-1])) for position in where]
        gradient[name] = Answers(shape, [divided(x) for x in found], case.at)
    return {"value": {"": value}, "gradient": gradient}


def _option(value: Any) -> Conditioned:
    return whole(value) if isinstance(value, int) else number(rational(float(value)))


def _placed(array: Array, axes: int) -> Mapping[Any, Any]:
    """The entries of an array by their indices."""
    flat = array.flat()
    if array.index:
        return {n: int(x) for n, x in enumerate(flat)}
    numbers = [number(rational(x)) if math.isfinite(x) else UNDEFINED for x in flat]
    assert not any(math.isinf(x) for x in flat), "no answers at infinite vectors"
    if axes == 1:
        return dict(enumerate(numbers))
    return {divmod(n, array.shape[-1]): x for n, x in enumerate(numbers)}
