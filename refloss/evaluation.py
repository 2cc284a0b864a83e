"""From a checked call to numbers: cut the arrays into blocks, run the formulas, reduce, round once.

A `Plan` is a call whose arguments have been checked. Its layout cuts the arrays into blocks of
float64 numbers (one block for the array path), and a block answers for every *quantity* that a
formula may name in its parameters: an argument, a parameter, or, in row losses, something derived
from the row such as its softmax. The same formulas run in every backend.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from types import ModuleType
from typing import Any

import numpy as np

from refloss.arguments import is_bfloat16, namespace, native
from refloss.formula.words import product
from refloss.kernels import threads

Array = Any
Formula = Callable[..., Any]
Block = tuple[slice, ...]

BLOCK_NUMBERS = 1 << 14  # doubles in one array of a block: a few such arrays fit the L2 cache
EVERYTHING = slice(None)

# Quantities that depend on the softmax of a whole row
OF_INPUT = {"surprise", "p", "q", "hit_surprise", "hit_p", "hit_q", "hit_q_lost", "divergence"}
OF_TEACHER = {"teacher_surprise", "teacher_p", "divergence"}


@dataclass(frozen=True)
class Formulas:
    """The working formulas of a loss; their parameters name the quantities they need."""

    value: Formula
    gradient: Mapping[str, Formula] = field(default_factory=dict)
    curvature: Mapping[str, Formula] = field(default_factory=dict)


def weighted(weight: Any, x: Any) -> Any:
    """A weight of zero silences even an infinite loss."""
    return product(weight, x)


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
        names = signature(formula).parameters
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

    def view(self, out: Array) -> Array:
        """The part of an output array that belongs to the block."""
        return out.reshape(-1)[self.block[0]]

    def arrange(self, x: Array) -> Array:
        """The block's numbers in the shape of ``view``."""
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
    def divergence(self) -> Array:
        """The row's own loss, for gradients that contain it."""
        return self._total()

    def _total(self) -> Array:
        formula = self.plan.formulas.value
        total = self.kernels.class_sum(self.kernels.map_formula(formula, self))
        rows = [self.kernels.nan_rows(array) for array in self._touched(formula)]
        return self.kernels.poison(total, rows)

    def run(self, formula: Formula) -> Array:
        """The formula at every class; a NaN that it depends on comes out again.

        A softmax depends on its whole row. The limit of an infinite logit may be NaN too, but that
        one a mass of zero may silence.
        """
        out = self.kernels.map_formula(formula, self)
        return self.kernels.poison(out, self._touched(formula))

    def _touched(self, formula: Formula) -> list[Array]:
        names = set(signature(formula).parameters)
        touched = [self[name] for name in ("input", "mass", "hit_input") if name in names]
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

    def view(self, out: Array) -> Array:
        """The part of an output array, (N, D) or (N, C, D), that belongs to the block."""
        rows, positions = self.block
        return out[rows, positions] if out.ndim == 2 else out[rows, :, positions]

    def arrange(self, x: Array) -> Array:
        """(R, C) -> (N, C, D), as ``view`` has it."""
        xp = namespace(x)
        return xp.permute_dims(xp.reshape(x, (*self._rows_by_positions(), -1)), (0, 2, 1))

    def arrange_value(self, x: Array) -> Array:
        """(R, 1) -> (N, D), as ``view`` has it."""
        return namespace(x).reshape(x, self._rows_by_positions())

    def _rows_by_positions(self) -> tuple[int, int]:
        rows, positions = (
            len(range(*part.indices(size)))
            for part, size in zip(self.block, self.plan.row_shape or (), strict=True)
        )
        return rows, positions


@dataclass(frozen=True)
class Plan:
    """A call whose arguments have been checked.

    Attributes
    ----------
    formulas : the working formulas
    kernels : the module that runs them, `refloss.kernels.cpu` or `refloss.kernels.arrays`
    model : the argument whose library and dtype the value has
    arrays : what the blocks are cut from; class arrays as (N, C, D), row arrays as (N, D)
    originals : the differentiable arguments as they came; gradients have their shapes and dtypes
    parameters : numbers that formulas name
    shape : of the elements, or of the values that ``reduction="none"`` returns
    denominator : what a sum is divided by
    weight : of the elements (broadcast) or of the classes, (C,)
    row_shape, classes : (N, D) and C of a row loss
    mass : the formula of the mass that multiplies -log p_c
    """

    formulas: Formulas
    kernels: ModuleType
    model: Array
    arrays: Mapping[str, Array]
    originals: Mapping[str, Array]
    parameters: Mapping[str, float]
    shape: tuple[int, ...]
    reduction: str
    denominator: float
    weight: Array | None = None
    row_shape: tuple[int, int] | None = None
    classes: int = 0
    mass: Formula | None = None

    def blocks(self) -> list[Any]:
        """The work, cut into pieces; the array path takes it whole."""
        if self.row_shape is None:
            make: Any = ElementBlock
            size = int(np.prod(self.shape, dtype=np.int64))
            cuts: list[Block] = [(part,) for part in _runs(size, BLOCK_NUMBERS)]
            whole: Block = (EVERYTHING,)
        else:
            make = RowBlock
            rows, positions = self.row_shape
            room = max(1, BLOCK_NUMBERS // max(1, self.classes))  # rows that fit one block
            cuts = [
                (r, d)
                for r in _runs(rows, max(1, room // max(1, positions)))
                for d in _runs(positions, room)
            ]
            whole = (EVERYTHING, EVERYTHING)
        in_blocks = isinstance(self.model, np.ndarray) and self.kernels.__name__.endswith("cpu")
        return [make(self, cut) for cut in (cuts if in_blocks else [whole])]


def _runs(count: int, length: int) -> list[slice]:
    return [slice(start, min(start + length, count)) for start in range(0, count, length)]


@dataclass(frozen=True)
class Wanted:
    """What a caller asks of a plan."""

    value: bool = False
    gradient: Sequence[str] = ()
    curvature: Sequence[str] = ()


@dataclass(frozen=True)
class Answer:
    """What the evaluation found; arrays of the caller's library."""

    value: Array
    gradient: Sequence[Array]
    curvature: Sequence[Array]


def evaluate(plan: Plan, wanted: Wanted, grad_output: Array | None = None) -> Answer:
    """Run a plan.

    Each block is computed in float64 and rounded once, where it is stored.
    """
    formulas = [plan.formulas.gradient[name] for name in wanted.gradient]
    formulas += [plan.formulas.curvature[name] for name in wanted.curvature]
    sources = [plan.originals[name] for name in (*wanted.gradient, *wanted.curvature)]
    in_numpy = isinstance(plan.model, np.ndarray)
    none = plan.reduction == "none"
    outs = [_class_view(plan, np.empty(s.shape, native(s))) for s in sources if in_numpy]
    value_out = (
        np.empty(plan.row_shape or plan.shape, native(plan.model)) if in_numpy and none else None
    )
    scale = 1.0 if none or grad_output is None else float(grad_output)

    def run(block: Any) -> Any:
        with np.errstate(all="ignore"):
            total: Any = None
            if wanted.value:
                values = block.value()
                if not none:
                    total = block.kernels.sum_pair(values)
                elif value_out is None:
                    total = block.arrange_value(values)
                else:
                    block.view(value_out)[...] = rounded(
                        block.arrange_value(values), value_out.dtype
                    )
            whole = []
            for i, formula in enumerate(formulas):
                x = block.derivative(formula)
                if none and grad_output is not None:
                    x = x * block.upstream(grad_output)
                x = block.arrange(block.keep(x * scale / plan.denominator if not none else x))
                if in_numpy:
                    block.view(outs[i])[...] = rounded(x, outs[i].dtype)
                else:
                    whole.append(x)
        return total, whole

    results = threads.over(plan.blocks(), run)
    value: Array = None
    if wanted.value:
        value = _value(plan, [total for total, _ in results], value_out)
    if in_numpy:
        found = [out.reshape(s.shape) for out, s in zip(outs, sources, strict=True)]
    else:
        found = [_like(x, s) for x, s in zip(results[0][1], sources, strict=True)]
    split = len(wanted.gradient)
    return Answer(value, found[:split], found[split:])


def _class_view(plan: Plan, out: Array) -> Array:
    if plan.row_shape is None:
        return out
    rows, positions = plan.row_shape
    return out.reshape(rows, plan.classes, positions)


def _value(plan: Plan, totals: Sequence[Any], value_out: Array | None) -> Array:
    if value_out is not None:
        return value_out.reshape(plan.shape)[()]
    if plan.reduction == "none":
        return _like(namespace(plan.model).reshape(totals[0], plan.shape), plan.model)
    with np.errstate(all="ignore"):
        value = np.float64(_exact_sum([part for pair in totals for part in pair]))
        value = value / np.float64(plan.denominator)
        if isinstance(plan.model, np.ndarray):
            return rounded(np.asarray(value), native(plan.model))[()]
    xp = namespace(plan.model)
    return _like(xp.asarray(float(value), dtype=xp.float64, device=plan.model.device), plan.model)


def _exact_sum(parts: Sequence[float]) -> float:
    if all(map(math.isfinite, parts)):
        try:
            return math.fsum(parts)
        except OverflowError:
            pass
    return float(np.sum(parts))


def _like(x: Array, model: Array) -> Array:
    xp = namespace(model)
    out = xp.reshape(xp.astype(x, model.dtype), tuple(model.shape)) if x.ndim else x
    return out if x.ndim else xp.astype(x, model.dtype)


def rounded(x: Array, dtype: Any) -> Array:
    """float64 numbers in another format, rounded once, to nearest and ties to even.

    NumPy reaches bfloat16 through float32 and so rounds twice; rounding to odd in between keeps
    the second rounding honest.
    """
    if not is_bfloat16(dtype):
        return x.astype(dtype)
    single = x.astype(np.float32)
    bits = single.view(np.uint32)
    back = single.astype(np.float64)
    even_and_inexact = (back != x) & (bits & 1 == 0) & ~np.isnan(x)
    step = np.where(np.abs(back) > np.abs(x), np.uint32(0xFFFFFFFF), np.uint32(1))
    return np.where(even_and_inexact, bits + step, bits).view(np.float32).astype(dtype)
