"""What is asked on inputs that were drawn: the same again, laid out otherwise, and very large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss.accuracy import FORMATS, Answer, Truth, distance
from refloss.audit.answered import evaluate
from refloss.audit.arrays import Results, code
from refloss.audit.calls import Call, UnsupportedError
from refloss.parity.budgets import Budgets
from refloss.parity.drawn import FORMS, NUMBERS, WIDTH, Drawn, drawn
from refloss.parity.layouts import LAYOUTS, layouts_of, prepared
from refloss.parity.sides import Side
from refloss.parity.verdicts import KINDS, Compared, Difference, same_bits, shown

__all__ = ["apart_at_size", "other_layouts", "runs"]

# How many numbers are compared at a time: whole rows.
PIECE = WIDTH << 15

Literal = Callable[[str], str]


def runs(
    side: Side, loss: str, dtype: str, repeat: int
) -> tuple[tuple[int, int], Difference | None] | None:
    """How many runs of so many have the bits of the first, and where one has not.

    None where it does not offer the loss, or raises.
    """
    asked = _asked(loss, dtype, NUMBERS, side)
    if asked is None:
        return None
    case, (call,) = asked
    first = evaluate(side.target, call, case.arrays)
    if isinstance(first["value"], BaseException):
        return None
    same = 1
    found = None
    for run in range(2, repeat + 1):
        results = evaluate(side.target, call, case.arrays)
        where = _differs(first, results)
        same += where is None
        if where is not None and found is None:
            kind = f"other bits in run {run}"
            found = _itself(side, case, call, kind, where, (first, results), case.literal)
    return (same, repeat), found


def other_layouts(
    side: Side, loss: str, dtype: str
) -> tuple[dict[str, bool], list[Difference]] | None:
    """Which layouts of the same numbers give the bits of contiguous ones, and where one does not.

    None where it does not offer the loss, or raises.
    """
    asked = _asked(loss, dtype, NUMBERS, side)
    if asked is None:
        return None
    case, (call,) = asked
    library = side.target.library
    plain = evaluate(side.target, call, case.arrays)
    if isinstance(plain["value"], BaseException):
        return None
    same: dict[str, bool] = {}
    found = []
    for layout in layouts_of(side.target.arrays):
        view = LAYOUTS[layout].view
        laid = {
            name: eval(code(f"x{view(array)}"), {"x": library.make(prepared(array, layout))})
            for name, array in case.arrays.items()
        }
        results = library.run(call, laid, side.target.namespace)
        where = _differs(plain, results)
        same[layout] = where is None
        if where is not None:

            def literal(name: str, layout: str = layout) -> str:
                return f'prepared({case.literal(name)}, "{layout}")'

            kind = f"other bits if {layout}"
            difference = _itself(
                side, case, call, kind, where, (plain, results), literal, layout=layout
            )
            found.append(difference)
    return same, found


def apart_at_size(
    first: Side, second: Side, loss: str, dtype: str, size: int, budgets: Budgets
) -> tuple[dict[str, Compared], list[Difference]]:
    """Compare two sides where the first array has so many bytes; only one gradient is asked.

    Nobody has certified the answers, so that nobody knows what cancelled. The distance is counted
    in ulps of the largest number in the row: its terms are seldom larger.
    """
    numbers = max(1, size // FORMATS[dtype].dtype.itemsize)
    asked = _asked(loss, dtype, numbers, first, second)
    if asked is None:
        return {}, []
    case, calls = asked
    sides = (first, second)
    results = [
        evaluate(side.target, _shortened(call), case.arrays)
        for side, call in zip(sides, calls, strict=True)
    ]
    compared: dict[str, Compared] = {}
    found = []
    for component, one in results[0].items():
        other = results[1].get(component)
        if other is None:
            continue
        kind = component.partition(".")[0]
        budget = budgets.between(first, second, loss, dtype, kind)
        raised = [isinstance(result, BaseException) for result in (one, other)]
        if all(raised):
            continue
        if any(raised) or one.shape != other.shape:
            said = tuple(
                f"{type(r).__name__}: {r}".partition("\n")[0]
                if isinstance(r, BaseException)
                else f"shape {r.shape}"
                for r in (one, other)
            )
            kind_of = "only one answers" if any(raised) else "another shape"
            found.append(_between(sides, case, calls, kind_of, component, "", (said[0], said[1])))
            continue
        statistics, at, beyond = _in_pieces(one, other, dtype, budget)
        compared[kind] = replace(statistics, worst=f"{component}{_index(one, at)}")
        if beyond:
            answers = shown(one.reshape(-1)[at]), shown(other.reshape(-1)[at])
            index = _index(one, at)
            difference = _between(sides, case, calls, "apart", component, index, answers)
            found.append(replace(difference, numbers=beyond, ulp=statistics.largest, budget=budget))
    return {kind: compared[kind] for kind in KINDS if kind in compared}, found


def _asked(
    loss: str, dtype: str, numbers: int, *sides: Side
) -> tuple[Drawn, tuple[Call, ...]] | None:
    """A question that all sides take, with as many numbers in the answer as can be."""
    for reduction in FORMS[loss].reductions:
        case = drawn(loss, dtype, reduction, numbers)
        try:
            return case, tuple(side.target.call(case) for side in sides)
        except UnsupportedError:
            continue
    return None


def _differs(one: Results, other: Results) -> tuple[str, int] | None:
    """The first component that differs, and where; -1 if one is no array of the same shape."""
    for component in one:
        a, b = one[component], other.get(component)
        if isinstance(a, BaseException) or isinstance(b, BaseException) or b is None:
            if type(a) is not type(b):
                return component, -1
        elif a.shape != b.shape or a.dtype != b.dtype:
            return component, -1
        else:
            wrong = np.flatnonzero(~same_bits(a, b))
            if len(wrong):
                return component, int(wrong[0])
    return None


def _itself(
    side: Side,
    case: Drawn,
    call: Call,
    kind: str,
    where: tuple[str, int],
    results: tuple[Results, Results],
    literal: Literal,
    *,
    layout: str = "",
) -> Difference:
    """How a side differs from itself."""
    component, at = where
    arrays = [of.get(component) for of in results]
    one = arrays[0]
    if at < 0 or not isinstance(one, np.ndarray):
        answers = tuple(
            f"shape {a.shape}, {a.dtype}" if isinstance(a, np.ndarray) else str(a) for a in arrays
        )
        index = ""
    else:
        answers = tuple(shown(a.reshape(-1)[at]) for a in arrays if isinstance(a, np.ndarray))
        index = _index(one, at)
    expected = f"{'contiguous' if layout else 'the first run'}: {answers[0]}"
    line = _line(side, case, call, component, index, literal, expected, layout)
    return Difference(
        loss=case.loss,
        dtype=case.dtype,
        kind=kind,
        region="drawn",
        row="drawn",
        component=component,
        numbers=1,
        ulp=_ulps(arrays, at, case.dtype),
        budget=0.0,
        answers=(answers[0], answers[1]),
        errors=None,
        true="",
        lines=(line,),
        side=side.name,
    )


def _ulps(arrays: Sequence[Any], at: int, dtype: str) -> float | None:
    if at < 0:
        return None
    one, other = (array.reshape(-1)[at : at + 1] for array in arrays)
    return float(distance(one, other, dtype)[0])


def _between(
    sides: tuple[Side, Side],
    case: Drawn,
    calls: Sequence[Call],
    kind: str,
    component: str,
    index: str,
    answers: tuple[str, str],
) -> Difference:
    """How two sides differ on a drawn input."""
    lines = tuple(
        _line(
            side, case, call, component, index, case.literal, f"the other side: {answers[1 - at]}"
        )
        for at, (side, call) in enumerate(zip(sides, calls, strict=True))
    )
    return Difference(
        loss=case.loss,
        dtype=case.dtype,
        kind=kind,
        region="drawn",
        row="drawn",
        component=component,
        numbers=1,
        ulp=None,
        budget=None,
        answers=answers,
        errors=None,
        true="",
        lines=lines,
    )


def _line(
    side: Side,
    case: Drawn,
    call: Call,
    component: str,
    index: str,
    literal: Literal,
    beside: str,
    layout: str = "",
) -> str:
    """Statements on one line that print one entry of an answer, and something beside it."""
    library = side.target.library
    imports = dict.fromkeys(side.target.imports.split("; "))
    if library.placement:
        imports[library.placement] = None
    imports[f"from refloss.parity import draw{', prepared' if layout else ''}"] = None
    literals = {
        name: library.loaded(literal(name), array) + (LAYOUTS[layout].view(array) if layout else "")
        for name, array in case.arrays.items()
    }
    size = sum(array.size for array in case.arrays.values())
    written = library.show(call, component, index, literals, size)
    return "; ".join(imports) + "; " + written.replace("{true}", beside)


def _index(array: NDArray[Any], at: int) -> str:
    index = np.unravel_index(at, array.shape)
    return f"[{', '.join(str(int(i)) for i in index)}]" if index else ""


def _shortened(call: Call) -> Call:
    """Value and one gradient: memory is what a large input has least of."""
    wrt = next(iter((*call.gradient, *call.differentiable)), None)
    return replace(
        call,
        gradient={name: text for name, text in call.gradient.items() if name == wrt},
        differentiable=tuple(name for name in call.differentiable if name == wrt),
        curvature={},
    )


def _in_pieces(
    one: NDArray[Any], other: NDArray[Any], dtype: str, budget: float
) -> tuple[Compared, int, int]:
    """Statistics, where the largest distance is, and how many numbers are beyond the budget."""
    flat = one.reshape(-1), other.reshape(-1)
    counts: Counter[float] = Counter()
    same = at = beyond = 0
    largest = -1.0
    for start, a, b in _pieces(*flat):
        same += int(same_bits(a, b).sum())
        truth = Truth.of(b)
        apart = distance(a, b, dtype, Answer(truth, truth, Truth.of(_largest_of_row(a, b))))
        beyond += int((apart > budget).sum())
        top = int(np.argmax(apart)) if len(apart) else 0
        if len(apart) and apart[top] > largest:
            largest, at = float(apart[top]), start + top
        # Three digits are enough for a percentile, and few enough to count.
        rounded, times = np.unique(_three_digits(apart), return_counts=True)
        counts.update(dict(zip(rounded.tolist(), times.tolist(), strict=True)))
    statistics = Compared(
        numbers=len(flat[0]),
        same=same,
        ties=0,
        largest=max(0.0, largest),
        p99=min(max(0.0, largest), _percentile(counts, 0.99)),
        budget=budget,
        errors=None,
        nearer=None,
        worst="",
    )
    return statistics, at, beyond


def _pieces(
    one: NDArray[Any], other: NDArray[Any]
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    for start in range(0, max(1, len(one)), PIECE):
        a, b = (array[start : start + PIECE].astype(np.float64) for array in (one, other))
        yield start, a, b


def _largest_of_row(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest finite size among so many neighbours as a row has; NaN where there is none."""
    sizes = np.fmax(np.abs(one), np.abs(other))
    sizes[np.isinf(sizes)] = np.nan
    rows = np.full(-(-len(sizes) // WIDTH) * WIDTH, np.nan)
    rows[: len(sizes)] = sizes
    largest = np.fmax.reduce(rows.reshape(-1, WIDTH), axis=1)
    return np.repeat(largest, WIDTH)[: len(sizes)]


def _three_digits(apart: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        unit = 10.0 ** np.clip(np.floor(np.log10(apart)) - 2, -300, 300)
        return np.where((apart > 0) & np.isfinite(apart), np.ceil(apart / unit) * unit, apart)


def _percentile(counts: Mapping[float, int], share: float) -> float:
    left = share * sum(counts.values())
    for number in sorted(counts):
        left -= counts[number]
        if left <= 0:
            return number
    return 0.0
