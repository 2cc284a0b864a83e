"""Blocks: some elements or rows of a call's arguments, as float64 numbers that formulas can name.

A formula names the *quantities* it needs in its parameters. A block answers for each of them: an
argument, a number, or, for a row of classes, something derived from the row such as its softmax.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from refloss.arguments import namespace
from refloss.formula.reading import parameters
from refloss.formula.words import product, quotient, sqrt

if TYPE_CHECKING:
    from refloss.evaluation import Plan

Array = Any
Formula = Callable[..., Any]
Block = tuple[slice, ...]

EVERYTHING = slice(None)

# Quantities that depend on the softmax of a whole row
OF_INPUT = {"surprise", "p", "q", "other_drift"}
OF_INPUT |= {"hit_surprise", "hit_p", "hit_q", "hit_q_lost", "hit_root"}
OF_TEACHER = {"teacher_surprise", "teacher_p", "teacher_q", "other_drift"}


def weighted(weight: Any, x: Any) -> Any:
    """A weight of zero silences even an infinite loss."""
    return product(weight, x)


def root_of_p(half: Any, top_half: Any, top_p: Any) -> Any:
    """sqrt p_y, from softmaxes at the doubled temperature, which underflow later."""
    return product(quotient(half, top_half), sqrt(top_p))


def drift(surprise: Any, teacher_p: Any, teacher_surprise: Any) -> Any:
    """One class's part of the divergence of the teacher's softmax from the input's."""
    return product(teacher_p, surprise - teacher_surprise)


class ElementBlock:
    """Some elements of the arguments, as float64."""

    def __init__(self, plan: "Plan", block: Block) -> None:
        self.plan, self.block, self.kernels = plan, block, plan.kernels
        self.loaded: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self.plan.parameters:
            return self.plan.parameters[name]
        if name not in self.loaded:
            self.loaded[name] = self.load(self.plan.arrays[name])
        return self.loaded[name]

    def load(self, array: Array) -> Array:
        """The block's part of an array that broadcasts to the layout's shape."""
        xp = namespace(array)
        shape = self.plan.shape
        if tuple(array.shape) != shape:
            array = xp.broadcast_to(array, shape)
        if isinstance(array, np.ndarray):
            flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
            return np.ascontiguousarray(flat[self.block[0]], dtype=np.float64)
        return xp.astype(xp.reshape(array, (-1,)), xp.float64)

    def run(self, formula: Formula) -> Array:
        """The formula at every element, weighted; a NaN that it depends on comes out again."""
        names = parameters(formula)
        touched = [self[name] for name in names if name in self.plan.arrays]
        if names:
            out = self.kernels.map_formula(formula, self)
        else:
            out = self.kernels.constant(formula(), self.load(self.plan.model))
        if self.plan.weight is not None:
            mass = self.load(self.plan.weight)
            out = self.kernels.map_formula(weighted, {"weight": mass, "x": out})
            touched.append(mass)
        return self.kernels.poison(out, touched)

    def value(self) -> Array:
        """The loss of each element."""
        return self.run(self.plan.formulas.value)

    def derivative(self, formula: Formula) -> Array:
        """A first or second derivative at each element."""
        return self.run(formula)

    def upstream(self, grad_output: Array) -> Array:
        """The upstream gradient of each element."""
        return self.load(grad_output)

    def keep(self, out: Array) -> Array:
        """No element is ignored."""
        return out

    @property
    def part(self) -> Block:
        """Where the block lies in the flat outputs."""
        return self.block

    value_part = part

    def arrange(self, x: Array) -> Array:
        """The block's numbers as they lie there."""
        return x

    arrange_value = arrange


class RowBlock:
    """Some rows of class arrays (N, C, D), as float64 (R, C), and what is derived from them.

    Every cached property is a quantity that formulas of row losses may name. A quantity that
    belongs to the whole row has shape (R, 1).
    """

    def __init__(self, plan: "Plan", block: Block) -> None:
        self.plan, self.block, self.kernels = plan, block, plan.kernels

    def __getitem__(self, name: str) -> Any:
        if name in self.plan.parameters:
            return self.plan.parameters[name]
        return getattr(self, name)

    def classes(self, array: Array) -> Array:
        """(N, C, D) -> (R, C)."""
        xp = namespace(array)
        rows, positions = self.block
        part = xp.permute_dims(array[rows, :, positions], (0, 2, 1))
        flat = xp.reshape(xp.astype(part, xp.float64), (-1, part.shape[2]))
        return np.ascontiguousarray(flat) if isinstance(flat, np.ndarray) else flat

    def rows(self, array: Array) -> Array:
        """(N, D) -> (R, 1)."""
        xp = namespace(array)
        return xp.reshape(array[self.block], (-1, 1))

    @cached_property
    def input(self) -> Array:
        """The class array itself: logits, log-probabilities or probabilities."""
        return self.classes(self.plan.arrays["input"])

    @cached_property
    def _softmax(self) -> Any:
        return self.kernels.softmax(self.input, self.plan.parameters.get("temperature", 1.0))

    @cached_property
    def surprise(self) -> Array:
        """-log p, p the softmax of the input."""
        return self._softmax[0]

    @cached_property
    def p(self) -> Array:
        """The softmax of the input."""
        return self._softmax[1]

    @cached_property
    def q(self) -> Array:
        """1 - p, without cancellation."""
        return self._softmax[2]

    @cached_property
    def teacher(self) -> Array:
        """The teacher's logits."""
        return self.classes(self.plan.arrays["teacher"])

    @cached_property
    def _teacher_softmax(self) -> Any:
        return self.kernels.softmax(self.teacher, self.plan.parameters.get("temperature", 1.0))

    @cached_property
    def teacher_surprise(self) -> Array:
        """-log of the teacher's softmax."""
        return self._teacher_softmax[0]

    @cached_property
    def teacher_p(self) -> Array:
        """The teacher's softmax."""
        return self._teacher_softmax[1]

    @cached_property
    def teacher_q(self) -> Array:
        """1 - the teacher's softmax, without cancellation."""
        return self._teacher_softmax[2]

    @cached_property
    def hit(self) -> Array:
        """1 at the target's class, 0 elsewhere."""
        return self.kernels.onehot(self.rows(self.plan.arrays["labels"]), self.plan.classes)

    @cached_property
    def target(self) -> Array:
        """The target's mass on each class."""
        if "labels" in self.plan.arrays:
            return self.hit
        return self.classes(self.plan.arrays["target"])

    @cached_property
    def weight(self) -> Array:
        """The class weights."""
        if self.plan.weight is None:
            return self.kernels.constant(1, self.target)
        xp = namespace(self.plan.weight)
        weights = xp.astype(self.plan.weight, xp.float64)[None, :]
        return xp.broadcast_to(weights, self.target.shape)

    @cached_property
    def mass(self) -> Array:
        """What -log p_c is multiplied with: the weighted, smoothed target."""
        assert self.plan.mass is not None
        return self.kernels.map_formula(self.plan.mass, self)

    @cached_property
    def other_mass(self) -> Array:
        """The mass of all other classes."""
        return self.kernels.others(self.mass)

    @cached_property
    def total_mass(self) -> Array:
        """The mass of the row."""
        return self.kernels.class_sum(self.mass)

    @cached_property
    def hit_weight(self) -> Array:
        """The weight of the target's class."""
        return self.kernels.picked(self.weight, self.hit)

    @cached_property
    def hit_input(self) -> Array:
        """The input at the target's class."""
        return self.kernels.picked(self.input, self.hit)

    @cached_property
    def hit_surprise(self) -> Array:
        """-log p at the target's class."""
        return self.kernels.picked(self.surprise, self.hit)

    @cached_property
    def hit_p(self) -> Array:
        """p at the target's class."""
        return self.kernels.picked(self.p, self.hit)

    @cached_property
    def hit_q(self) -> Array:
        """1 - p at the target's class."""
        return self.kernels.picked(self.q, self.hit)

    @cached_property
    def hit_q_lost(self) -> Array:
        """What 1 - p at the target's class lost to rounding."""
        return self.kernels.picked(self._softmax[3], self.hit)

    @cached_property
    def hit_root(self) -> Array:
        """The square root of p at the target's class, for where p itself underflows."""
        temperature = self.plan.parameters.get("temperature", 1.0)
        half = self.kernels.softmax(self.input, 2 * temperature)[1]
        known = {
            "half": self.kernels.picked(half, self.hit),
            "top_half": self.kernels.row_max(half),
            "top_p": self.kernels.row_max(self.p),
        }
        return self.kernels.map_formula(root_of_p, known)

    @cached_property
    def other_drift(self) -> Array:
        """p_teacher (log p_teacher - log p), summed over the other classes."""
        return self.kernels.others(self.kernels.map_formula(drift, self))

    def _total(self) -> Array:
        formula = self.plan.formulas.value
        total = self.kernels.class_sum(self.kernels.map_formula(formula, self))
        touched = self._touched(formula)
        if "hit_input" in parameters(formula):
            touched.append(self.hit_input)
        return self.kernels.poison(total, [self.kernels.nan_rows(array) for array in touched])

    def run(self, formula: Formula) -> Array:
        """The formula at every class; a NaN that it depends on comes out again.

        A softmax depends on its whole row. The limit of an infinite logit may be NaN too, but that
        one a mass of zero may silence.
        """
        out = self.kernels.map_formula(formula, self)
        return self.kernels.poison(out, self._touched(formula))

    def _touched(self, formula: Formula) -> list[Array]:
        names = set(parameters(formula))
        touched = [self[name] for name in ("input", "mass") if name in names]
        if names & OF_INPUT:
            touched.append(self.kernels.nan_rows(self.input))
        if names & OF_TEACHER:
            touched.append(self.kernels.nan_rows(self.teacher))
        return touched

    def value(self) -> Array:
        """The loss of each row, (R, 1)."""
        return self.keep(self._total())

    def derivative(self, formula: Formula) -> Array:
        """A first or second derivative, (R, C)."""
        return self.run(formula)

    def upstream(self, grad_output: Array) -> Array:
        """The upstream gradient of each row, (R, 1)."""
        xp = namespace(grad_output)
        return xp.astype(self.rows(grad_output), xp.float64)

    def keep(self, out: Array) -> Array:
        """Zero in the rows that are ignored."""
        if "kept" not in self.plan.arrays:
            return out
        xp = namespace(out)
        return xp.where(self.rows(self.plan.arrays["kept"]), out, xp.zeros_like(out))

    @property
    def part(self) -> Block:
        """Where the block lies in (N, C, D)."""
        return self.block[0], EVERYTHING, self.block[1]

    @property
    def value_part(self) -> Block:
        """Where the block lies in (N, D)."""
        return self.block

    def arrange(self, x: Array) -> Array:
        """(R, C) -> (N, C, D), as it lies there."""
        xp = namespace(x)
        return xp.permute_dims(xp.reshape(x, (*self._rows_by_positions(), x.shape[-1])), (0, 2, 1))

    def arrange_value(self, x: Array) -> Array:
        """(R, 1) -> (N, D), as it lies there."""
        return namespace(x).reshape(x, self._rows_by_positions())

    def _rows_by_positions(self) -> tuple[int, int]:
        rows, positions = (
            len(range(*part.indices(size)))
            for part, size in zip(self.block, self.plan.row_shape or (), strict=True)
        )
        return rows, positions
