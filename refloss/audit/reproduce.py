"""The line that shows a finding, ready to paste into a Python prompt."""

from __future__ import annotations

from collections.abc import Mapping

from refloss.audit.arrays import entries
from refloss.audit.calls import Call
from refloss.audit.cases import Case
from refloss.audit.targets import Target

__all__ = ["WRITABLE", "line"]

# The most numbers a line writes down; beyond, it takes them from the oracle by the row's name.
WRITABLE = 64


def line(
    target: Target, case: Case, call: Call, component: str, index: tuple[int, ...], true: str
) -> str:
    """Statements on one line that print what the target answers, and next to it what is true."""
    imports = dict.fromkeys([*target.imports.split("; ")])
    literals = _literals(target, case)
    if any("ml_dtypes." in literal for literal in literals.values()):
        imports["import ml_dtypes"] = None
    if any(literal.startswith("inputs(") or "(inputs(" in literal for literal in literals.values()):
        imports["from refloss.oracles import inputs"] = None
    at = f"[{', '.join(map(str, index))}]" if index else ""
    shown = target.library.show(call, component, at, literals, case.size)
    return "; ".join(imports) + "; " + shown.replace("{true}", f"true: {true}")


def _literals(target: Target, case: Case) -> Mapping[str, str]:
    literals = {}
    for name, array in case.arrays.items():
        if array.size <= WRITABLE:
            literals[name] = target.library.literal(entries(array), array)
        else:
            given = f'inputs("{case.loss}", "{case.row.id}", "{case.dtype}")["{name}"]'
            literals[name] = target.library.loaded(given, array)
    return literals
