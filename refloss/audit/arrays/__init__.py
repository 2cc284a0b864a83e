"""The kinds of arrays that implementations take: making them, reading them, writing them down."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss.accuracy import FORMATS
from refloss.audit.calls import Call

__all__ = [
    "KINDS",
    "Arrays",
    "Results",
    "arrays_of",
    "code",
    "dtype_name",
    "entries",
    "expressions",
    "spelled",
]

KINDS = ("numpy", "torch", "jax")

# "value", "gradient.input", ... -> the array that came, or the exception that came instead
Results = dict[str, Any]


class Arrays(ABC):
    """One array library, as far as an audit needs it."""

    # Statements that a line needs before it can name the library.
    imports: str
    # A statement after which a line's arrays are made on the device; for lines only.
    placement: str = ""

    @abstractmethod
    def make(self, array: NDArray[Any]) -> Any:
        """The array as the library's own."""

    @abstractmethod
    def literal(self, text: str, array: NDArray[Any]) -> str:
        """Source text that makes the array; ``text`` writes its entries as nested lists."""

    @abstractmethod
    def loaded(self, text: str, array: NDArray[Any]) -> str:
        """Source text that makes the array from ``text``, an expression for a NumPy array."""

    @abstractmethod
    def run(self, call: Call, arrays: Mapping[str, Any], namespace: dict[str, Any]) -> Results:
        """Evaluate a call, given its arrays by name and the functions it may name."""

    @abstractmethod
    def show(
        self, call: Call, component: str, index: str, literals: Mapping[str, str], size: int
    ) -> str:
        """Statements that print one entry of one component, and beside it the text ``{true}``.

        ``size`` is how many numbers the arrays have together.
        """


@cache
def arrays_of(kind: str) -> Arrays:
    """The arrays of that kind, ``"torch"`` or ``"torch@cuda"``; imports the library."""
    library, _, device = kind.partition("@")
    module = import_module(f"refloss.audit.arrays.{library}")
    made: Arrays = module.on(device) if device else module.ARRAYS
    return made


@cache
def code(expression: str) -> CodeType:
    """Compile an expression once."""
    return compile(expression, "<audit>", "eval")


def expressions(call: Call) -> dict[str, str]:
    """The expression of each component that has one."""
    return {
        "value": call.value,
        **{f"gradient.{name}": text for name, text in call.gradient.items()},
        **{f"curvature.{name}": text for name, text in call.curvature.items()},
    }


def entries(array: NDArray[Any]) -> str:
    """Entries as nested lists of the shortest numbers that give the same floats again."""
    if array.size == 0:
        return str(array.tolist())
    return _nested(array, _integer if array.dtype.kind in "iub" else _float)


def spelled(statement: str, literals: Mapping[str, str], keep: tuple[str, ...] = ()) -> str:
    """Fill the arrays into an expression, as assignments before it where one is named twice."""
    names = [node.id for node in ast.walk(ast.parse(statement)) if isinstance(node, ast.Name)]
    inline = {}
    assignments = ""
    for name, literal in literals.items():
        if names.count(name) == 1 and name not in keep:
            inline[name] = ast.parse(literal, mode="eval").body
        elif name in names:
            assignments += f"{name} = {literal}; "
    return assignments + ast.unparse(_Fill(inline).visit(ast.parse(statement))).replace("\n", "; ")


class _Fill(ast.NodeTransformer):
    def __init__(self, inline: Mapping[str, ast.expr]) -> None:
        self.inline = inline

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.inline.get(node.id, node)


def _nested(array: NDArray[Any], write: Any) -> str:
    if array.ndim == 0:
        return str(write(array[()]))
    return "[" + ", ".join(_nested(part, write) for part in array) + "]"


def _integer(number: Any) -> str:
    return str(int(number))


def _float(number: Any) -> str:
    exact = float(number)
    if not np.isfinite(exact):
        return f"float('{exact}')"
    short = str(number)
    # The shortest text of a short format is read as float64 first: seldom, that rounds elsewhere.
    return short if np.dtype(number.dtype).type(float(short)) == number else repr(exact)


def dtype_name(array: NDArray[Any]) -> str:
    """``"float32"``, ``"bfloat16"``, ..., or ``""`` for what is no float."""
    return next((name for name, form in FORMATS.items() if form.dtype == array.dtype), "")
