"""The losses over similarities on arrays of SymPy expressions: refloss's own code runs on them.

`refloss.similarity` and the kernels `absorb` and `pulls` of `refloss.kernels.arrays` run as they
stand. What they compute does not depend on which candidate of an anchor is called the largest;
here that is a choice, and every choice has to give what the textbook says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import sympy
from sympy import Dummy, Expr

from derivations.explorer import Path, formula_on
from refloss import similarity
from refloss.formula import similarity as softmax
from refloss.formula.reading import Formula
from refloss.formula.symbols import Condition, Quantity, exact
from refloss.kernels import arrays
from refloss.similarity import Directions, SimilarityPlan, _Run

Array = Any


class Number(Quantity):
    """An expression on a path; a comparison takes one of the turns."""

    __slots__ = ("path",)

    def __init__(self, path: Path, expression: Any) -> None:
        super().__init__(sympy.sympify(expression))
        self.path = path

    def _of(self, expression: Any) -> Number:
        return Number(self.path, expression)

    def __neg__(self) -> Number:
        return self._of(-self.expression)

    def __add__(self, other: Any) -> Number:
        return self._of(self.expression + exact(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Number:
        return self._of(self.expression - exact(other))

    def __rsub__(self, other: Any) -> Number:
        return self._of(exact(other) - self.expression)

    def __mul__(self, other: Any) -> Number:
        return self._of(self.expression * exact(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Number:
        return self._of(self.expression / exact(other))

    def __rtruediv__(self, other: Any) -> Number:
        return self._of(exact(other) / self.expression)

    def _decided(self, condition: Any) -> bool:
        return condition if isinstance(condition, bool) else self.path.holds(condition)

    def __gt__(self, other: Any) -> bool:
        return self._decided(super().__gt__(other))

    def __lt__(self, other: Any) -> bool:
        return self._decided(super().__lt__(other))

    def __eq__(self, other: Any) -> Any:
        return self._decided(Condition(self.expression - exact(other), "=="))

    __hash__ = None


def objects(path: Path, expressions: Array) -> Array:
    """An array of numbers on a path."""
    made = np.empty(np.shape(expressions), dtype=object)
    for at in np.ndindex(made.shape):
        made[at] = Number(path, np.asarray(expressions, dtype=object)[at])
    return made


def _full(shape: Any, number: Any, dtype: Any = None, device: Any = None) -> Array:
    return np.full(shape, number, dtype=np.int64 if dtype is np.int64 else object)


class Namespace(SimpleNamespace):
    """The array functions that the code asks for, over arrays of objects."""

    def __init__(self) -> None:
        super().__init__(
            float64=np.float64,
            int64=np.int64,
            arange=lambda *span, device=None: np.arange(*span),
            argmax=lambda x, axis, keepdims: np.argmax(x, axis=axis, keepdims=keepdims),
            astype=lambda x, dtype: np.where(x, 1, 0) if x.dtype == bool else x,
            concat=np.concatenate,
            full=_full,
            full_like=lambda x, number: np.full(x.shape, number, dtype=object),
            isnan=lambda x: np.zeros(x.shape, dtype=bool),
            matmul=np.matmul,
            ones_like=lambda x: np.full(x.shape, 1, dtype=object),
            permute_dims=np.transpose,
            sum=lambda x, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims),
            where=np.where,
            zeros_like=lambda x: np.full(x.shape, 0, dtype=object),
        )


@contextmanager
def blocks_of(candidates: int) -> Iterator[None]:
    """A few candidates at a time."""
    before, similarity.CANDIDATES = similarity.CANDIDATES, candidates
    try:
        yield
    finally:
        similarity.CANDIDATES = before


def beside_infinity(path: Path, formula: Formula, known: Mapping[str, Expr]) -> Expr:
    """A formula in which some numbers are infinite, and all others known to be finite."""
    if not any(x in (sympy.oo, -sympy.oo) for x in known.values()):
        return formula_on(path, formula, known)
    finite = {n: Dummy(n, real=True) for n, x in known.items() if x.is_finite is None}
    found = formula_on(path, formula, {**known, **finite})
    return found.xreplace({symbol: known[n] for n, symbol in finite.items()})


def kernels(path: Path, choice: int) -> SimpleNamespace:
    """`refloss.kernels.arrays` with its numbers replaced by expressions.

    ``choice`` says which of an anchor's candidates is called the largest.
    """

    def map_formula(formula: Formula, quantities: Mapping[str, Any]) -> Array:
        names = list(signature(formula).parameters)
        given = np.broadcast_arrays(*(np.asarray(quantities[n], dtype=object) for n in names))
        out = np.empty(given[0].shape, dtype=object)
        for at in np.ndindex(out.shape):
            known = {n: exact(x[at]) for n, x in zip(names, given, strict=True)}
            out[at] = Number(path, beside_infinity(path, formula, known))
        return out

    def chosen(row: Array) -> int:
        """The candidate from the choice on that is not the anchor itself."""
        turns = ((choice + step) % len(row) for step in range(len(row)))
        return next((at for at in turns if isinstance(row[at], Number)), choice % len(row))

    def first_largest(xp: Any, x: Array) -> Array:
        found = np.zeros(x.shape, dtype=int)
        for row, numbers in zip(found, x, strict=True):
            row[chosen(numbers)] = 1
        return found

    def row_max(x: Array) -> Array:
        return np.array([[row[chosen(row)]] for row in x], dtype=object)

    words = {
        "array_namespace": lambda x: Namespace(),
        "class_sum": lambda x: np.sum(x, axis=-1, keepdims=True),
        "device": lambda x: "cpu",
        "map_formula": map_formula,
        "nan_rows": lambda x: np.full((x.shape[0], 1), 0, dtype=object),
        "row_max": row_max,
        "_first_largest": first_largest,
    }
    run = {**vars(arrays), **words}
    for name, function in vars(arrays).items():
        if isinstance(function, FunctionType) and name not in words:
            bound = FunctionType(function.__code__, run, name, function.__defaults__)
            bound.__kwdefaults__ = function.__kwdefaults__
            run[name] = bound
    return SimpleNamespace(**run)


class SymbolicRun(_Run):
    """An evaluation of a plan in which the embeddings are symbols."""

    def __init__(
        self,
        path: Path,
        plan: SimilarityPlan,
        embeddings: Mapping[str, Array],
        temperature: Expr,
        choice: int,
    ) -> None:
        originals = {name: objects(path, embeddings[name]) for name in plan.originals}
        model = next(iter(originals.values()))
        made: Any = kernels(path, choice)
        symbolic: Any = temperature
        plan = replace(plan, kernels=made, model=model, originals=originals, temperature=symbolic)
        super().__init__(plan, None)
        self.path = path
        self.xp: Any = Namespace()

    def _directions(self, name: str, rows: slice) -> Directions:
        """As `derivations.pair_proofs` shows that `refloss.vectors.Vector` gives them."""
        x = np.vectorize(exact, otypes=[object])(self.plan.originals[name][rows, :])
        lengths = [sympy.sqrt(sympy.Add(*(c**2 for c in row))) for row in x]
        units = [[c / length if length != 0 else 0 for c in row]
                 for row, length in zip(x, lengths, strict=True)]  # fmt: skip
        return Directions(
            objects(self.path, units), objects(self.path, [[length] for length in lengths])
        )

    def each_value(self) -> Array:
        """The loss of each anchor, (R, 1)."""
        known = {**self.seen._asdict(), "temperature": self.plan.temperature}
        return self.kernels.map_formula(softmax.value, known)
