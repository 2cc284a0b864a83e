"""The line that shows a finding, ready to paste into a Python prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss.audit.answered import Answered, evaluate
from refloss.audit.arrays import entries, expressions, spelled
from refloss.audit.cases import Case
from refloss.audit.targets import Target

__all__ = ["WRITABLE", "line", "line_of_shape"]

# The most numbers a line writes down; beyond, it takes them from the oracle by the row's name.
WRITABLE = 64
# Arrays this small are not worth making smaller.
SHORT = 8

Index = tuple[int, ...]


def line(target: Target, answered: Answered, component: str, index: Index, true: str) -> str:
    """Statements on one line that print what the target answers, and next to it what is true."""
    case = answered.case
    arrays, index = _one_row(target, answered, component, index)
    literals = {name: _literal(target, case, name, array) for name, array in arrays.items()}
    at = f"[{', '.join(map(str, index))}]" if index else ""
    size = sum(array.size for array in arrays.values())
    shown = target.library.show(answered.call, component, at, literals, size)
    return _imports(target, literals) + shown.replace("{true}", f"true: {true}")


def line_of_shape(target: Target, answered: Answered, component: str, true: str) -> str:
    """Statements on one line that print the shape of what the target answers."""
    case = answered.case
    literals = {name: _literal(target, case, name, array) for name, array in case.arrays.items()}
    written = expressions(answered.call).get(component, answered.call.value)
    shown = spelled(f"print(({written}).shape, {f'true: {true}'!r})", literals)
    return _imports(target, literals) + shown


def _imports(target: Target, literals: Mapping[str, str]) -> str:
    imports = dict.fromkeys(target.imports.split("; "))
    if target.library.placement:
        imports[target.library.placement] = None
    if any("ml_dtypes." in literal for literal in literals.values()):
        imports["import ml_dtypes"] = None
    if any("inputs(" in literal for literal in literals.values()):
        imports["from refloss.oracles import inputs"] = None
    return "; ".join(imports) + "; "


def _literal(target: Target, case: Case, name: str, array: NDArray[Any]) -> str:
    if array.size <= WRITABLE:
        return target.library.literal(entries(array), array)
    given = f'inputs("{case.loss}", "{case.row.id}", "{case.dtype}")["{name}"]'
    return target.library.loaded(given, array)


def _one_row(
    target: Target, answered: Answered, component: str, index: Index
) -> tuple[Mapping[str, NDArray[Any]], Index]:
    """Of a batch without a reduction, the one row that matters, if it answers the same alone."""
    case = answered.case
    result = answered.results[component]
    alone = case.options.get("reduction") == "none" and case.size > SHORT
    if not (alone and index) or isinstance(result, BaseException):
        return case.arrays, index
    rows, row = len(result), index[0]
    arrays = {
        name: array[row : row + 1]
        if array.ndim and len(array) == rows and "weight" not in name
        else array
        for name, array in case.arrays.items()
    }
    with np.errstate(all="ignore"):
        again = evaluate(target, answered.call, arrays).get(component)
    first = (0, *index[1:])
    if not isinstance(again, np.ndarray) or again.shape != (1, *result.shape[1:]):
        return case.arrays, index
    same = np.array_equal(float(again[first]), float(result[index]), equal_nan=True)
    return (arrays, first) if same else (case.arrays, index)
