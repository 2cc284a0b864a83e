"""The kernels over rows of SymPy expressions: row losses are proved as they are put together.

The same functions as in `refloss.kernels.cpu`, on the same formulas. A row has an explicit number
of classes, or C of them: then a sum over classes is a ``Sum``, and a formula inside of it must
not depend on a decision about its class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import sympy
from sympy import Expr, Integer, KroneckerDelta, Sum, Symbol

from derivations.explorer import Path, formula_on
from refloss.blocks import RowBlock
from refloss.evaluation import Plan
from refloss.formula import softmax as row
from refloss.formula.reading import Formula
from refloss.formula.symbols import Condition, exact

_I = Symbol("i", integer=True)
_TOP = Symbol("m", integer=True)


class Row:
    """One number for each class, by the class's index; or one for the whole row.

    ``rank`` is a row in the same order, where one is known.
    """

    def __init__(
        self, at: Callable[[Expr], Expr], *, single: bool = False, rank: Row | None = None
    ) -> None:
        self._at, self.single, self.rank = at, single, rank
        self.known: dict[Expr, Expr] = {}

    def at(self, index: Any) -> Expr:
        index = Integer(0) if self.single else sympy.sympify(index)
        if index not in self.known:
            self.known[index] = self._at(index)
        return self.known[index]


def whole(number: Expr) -> Row:
    """One number for the whole row."""
    return Row(lambda index: number, single=True)


class Hit(Row):
    """1 at the label, 0 elsewhere."""

    def __init__(self, label: Any) -> None:
        self.label = sympy.sympify(label)
        super().__init__(lambda index: KroneckerDelta(index, self.label))


class RowKernels:
    """Kernels on one path through the branches.

    ``softmax`` and ``others`` give here what `derivations.row_proofs` shows of
    ``assembled_softmax`` and ``assembled_others``, which are put together as the kernels do it.
    """

    def __init__(self, path: Path, classes: Any) -> None:
        self.path, self.classes = path, sympy.sympify(classes)

    def total(self, at: Callable[[Expr], Expr]) -> Expr:
        """The sum over all classes."""
        if self.classes.is_Integer:
            return sympy.Add(*(at(Integer(c)) for c in range(int(self.classes))))
        with self.path.no_fork():
            return Sum(at(_I), (_I, 0, self.classes - 1))

    def map_formula(self, formula: Formula, quantities: Mapping[str, Any]) -> Row:
        named = {name: quantities[name] for name in signature(formula).parameters}
        rows = [item for item in named.values() if isinstance(item, Row)]

        def at(index: Expr) -> Expr:
            here = {
                name: item.at(index) if isinstance(item, Row) else exact(item)
                for name, item in named.items()
            }
            return formula_on(self.path, formula, here)

        return Row(at, single=all(item.single for item in rows))

    def class_sum(self, x: Row) -> Row:
        return whole(x.at(0) if x.single else self.total(x.at))

    def softmax(self, z: Row, temperature: Any = 1) -> tuple[Row, Row, Row, Row]:
        t = exact(temperature)
        all_ = self.total(lambda i: sympy.exp(z.at(i) / t))

        def p(index: Expr) -> Expr:
            return sympy.exp(z.at(index) / t) / all_

        return (
            Row(lambda i: sympy.log(all_) - z.at(i) / t),
            Row(p, rank=z),
            Row(lambda i: 1 - p(i)),
            whole(Integer(0)),
        )

    def others(self, x: Row) -> Row:
        total = self.total(x.at)
        return Row(lambda index: total - x.at(index))

    def assembled_softmax(self, z: Row, top: Any, temperature: Any) -> tuple[Row, ...]:
        """The softmax as the kernels put it together, with the largest logit at ``top``."""
        top = sympy.sympify(top)

        def at_top(index: Expr) -> Row:
            return whole(Integer(index == top))

        def known(index: Expr) -> dict[str, Any]:
            q: dict[str, Any] = {
                "z": whole(z.at(index)),
                "top": whole(z.at(top)),
                "is_top": at_top(index),
                "temperature": temperature,
            }
            for formula in (row.gap, row.gap_error, row.decay, row.decay_error):
                q[formula.__name__] = self.map_formula(formula, q)
            return q

        def below_top(name: str) -> Expr:
            """The sum over all classes but the top one."""
            if self.classes.is_Integer:
                rest = (Integer(c) for c in range(int(self.classes)) if c != top)
                return sympy.Add(*(known(c)[name].at(0) for c in rest))
            index = sympy.Dummy("index", integer=True)  # differs from top, so is_top is 0
            generic = known(index)[name].at(0)
            everywhere = self.total(lambda i: generic.subs(index, i))
            return everywhere - generic.subs(index, top)

        tail = {"tail": whole(below_top("decay")), "tail_error": whole(below_top("decay_error"))}
        tail["log_mass"] = self.map_formula(row.log_mass, tail)
        wanted = (row.surprise, row.probability, row.complement, row.complement_error)

        def result(formula: Formula) -> Row:
            return Row(lambda i: self.map_formula(formula, {**known(i), **tail}).at(0))

        return tuple(result(formula) for formula in wanted)

    def assembled_others(self, x: Row) -> Row:
        """The sums over the other classes as the kernels put them together; explicit C only."""
        classes = range(int(self.classes))
        top = 0
        for c in classes[1:]:
            if self.path.holds(Condition(sympy.Abs(x.at(c)) - sympy.Abs(x.at(top)), ">")):
                top = c
        below = sympy.Add(*(x.at(c) for c in classes if c != top))
        return Row(lambda i: below if i == top else (x.at(top) - x.at(i)) + below)

    def largest(self, z: Row) -> int:
        """The class of the first largest logit, as the kernels find it; explicit C only."""
        top = 0
        for c in range(1, int(self.classes)):
            if self.path.holds(Condition(z.at(c) - z.at(top), ">")):
                top = c
        return top

    def row_max(self, x: Row) -> Row:
        """The largest number: that of a class m, which stays open for C classes."""
        if x.rank is None:
            raise TypeError("the maximum of a row whose order is not known")
        return whole(x.at(self.largest(x.rank) if self.classes.is_Integer else _TOP))

    def onehot(self, labels: Any, classes: Any) -> Row:
        return Hit(labels)

    def picked(self, x: Row, hit: Hit) -> Row:
        return whole(x.at(hit.label))

    def constant(self, number: Any, like: Row) -> Row:
        return Row(lambda index: exact(number), single=like.single)

    def nan_rows(self, x: Row) -> Row:
        return whole(Integer(0))

    def poison(self, out: Row, touched: Sequence[Row]) -> Row:
        """Symbols stand for numbers, never for NaN."""
        return out


class SymbolicBlock(RowBlock):
    """A row of expressions, its quantities wired as `refloss.blocks.RowBlock` has it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, ())

    def classes(self, array: Any) -> Any:
        return array

    rows = classes

    @property
    def weight(self) -> Any:
        """The class weights."""
        return self.plan.weight
