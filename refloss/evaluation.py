"""From a checked call to numbers: run the formulas block by block, reduce, round once.

A `Plan` is a call whose arguments have been checked. It is cut into blocks (one block for the
array path), each computed in float64 and rounded once, where it is stored. The same formulas run in
every backend.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from array_api_compat import device

from refloss.arguments import is_bfloat16, namespace, native
from refloss.blocks import EVERYTHING, Block
from refloss.kernels import threads

Array = Any
Formula = Callable[..., Any]
Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK_NUMBERS = 1 << 14  # doubles in one array of a block: a few such arrays fit the L2 cache


@dataclass(frozen=True)
class Formulas:
    """The working formulas of a loss; their parameters name the quantities they need.

    ``parted`` has, for some of them, one that takes its place where a kernel knows the top of a
    row, and its mass, before it looks at the others.
    ``never_negative`` says so of the value of an element. With ``in_pairs`` the classes of float32
    may be computed as pairs (`refloss.formula.paired`): no power multiplies what those lose, and
    where terms cancel the promise is one of the larger.
    """

    value: Formula
    gradient: Mapping[str, Formula] = field(default_factory=dict)
    curvature: Mapping[str, Formula] = field(default_factory=dict)
    parted: Mapping[Formula, Formula] = field(default_factory=dict)
    never_negative: bool = False
    in_pairs: bool = False


@dataclass(frozen=True)
class Plan:
    """A call whose arguments have been checked.

    Attributes
    ----------
    block : the kind of block that the call is cut into
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
    pairs : which vectors are compared, by the name that formulas give to the pair
    norm : the formulas of their distance; without, they are compared by angle
    marks : on the CPU, the labels as they came and the index to ignore
    constants : arrays that stand for a number of the caller's
    """

    block: Callable[..., Any]
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
    pairs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    norm: Any = None
    marks: tuple[Array, int] | None = None
    constants: frozenset[str] = frozenset()

    def names(self, part: str) -> Sequence[str]:
        """The arguments that a part of the answer can be asked for."""
        return [name for name in getattr(self.formulas, part) if name in self.originals]

    def evaluate(self, wanted: "Wanted", grad_output: Array | None = None) -> "Answer":
        """Run it."""
        if self.kernels.__name__.startswith("refloss.kernels.cuda"):
            from refloss import fused

            return fused.evaluate(self, wanted, grad_output)
        if isinstance(self.model, np.ndarray) and self.kernels.__name__.endswith("cpu"):
            from refloss import vectorised

            return vectorised.evaluate(self, wanted, grad_output)
        return evaluate(self, wanted, grad_output)

    def value_layout(self) -> tuple[int, ...]:
        """The shape in which blocks lay out one value for each element or row."""
        return self.row_shape or (math.prod(self.shape),)

    def layout(self) -> tuple[int, ...]:
        """The shape in which blocks lay out derivatives."""
        if self.row_shape is None:
            return self.value_layout()
        rows, positions = self.row_shape
        return rows, self.classes, positions

    def blocks(self) -> list[Any]:
        """The work, cut into pieces; the array path takes it whole."""
        if self.row_shape is None:
            cuts: list[Block] = [(r,) for r in runs(math.prod(self.shape), BLOCK_NUMBERS)]
            whole: Block = (EVERYTHING,)
        else:
            rows, positions = self.row_shape
            room = max(1, BLOCK_NUMBERS // max(1, self.classes))  # rows that fit one block
            cuts = [
                (r, d)
                for r in runs(rows, max(1, room // max(1, positions)))
                for d in runs(positions, room)
            ]
            whole = (EVERYTHING, EVERYTHING)
        in_blocks = isinstance(self.model, np.ndarray) and self.kernels.__name__.endswith("cpu")
        return [self.block(self, cut) for cut in (cuts if in_blocks else [whole])]


def runs(count: int, length: int) -> list[slice]:
    """A range, cut into pieces of a length."""
    return [slice(start, min(start + length, count)) for start in range(0, count, length)]


def over(
    items: Sequence[Item], work: Callable[[Item], Result], model: Array, kernels: ModuleType
) -> list[Result]:
    """The results of the work in the order of the items, by several threads where they may share.

    CuPy and PyTorch have a current device and a current stream for each thread: what the caller has
    chosen holds in the caller's alone. Numba's simulator is of one thread too.
    """
    if isinstance(model, np.ndarray) and not kernels.__name__.startswith("refloss.kernels.cuda"):
        return threads.over(items, work)
    return [work(item) for item in items]


@dataclass(frozen=True)
class Wanted:
    """What a caller asks of a plan."""

    value: bool = False
    gradient: Sequence[str] = ()
    curvature: Sequence[str] = ()


class Answer(NamedTuple):
    """What the evaluation found; arrays of the caller's library."""

    value: Array
    gradient: Sequence[Array]
    curvature: Sequence[Array]


class Output:
    """An array of the caller's library that blocks are put into."""

    def __init__(self, like: Array, shape: tuple[int, ...], laid_out: tuple[int, ...]) -> None:
        self.shape = shape
        self.dtype = native(like)
        self.array = np.empty(laid_out, self.dtype) if isinstance(like, np.ndarray) else None

    def put(self, part: Block, x: Array) -> None:
        """Round the numbers of a block into their place."""
        if self.array is None:
            self.array = namespace(x).astype(x, self.dtype)  # the array path has one block
        else:
            self.array[part] = rounded(x, self.dtype)

    def result(self) -> Array:
        """The array, in the shape that the caller expects."""
        out = namespace(self.array).reshape(self.array, self.shape)
        return out[()] if isinstance(out, np.ndarray) else out


def evaluate(plan: Plan, wanted: Wanted, grad_output: Array | None = None) -> Answer:
    """Run a plan."""
    unreduced = plan.reduction == "none"
    values = Output(plan.model, plan.shape, plan.value_layout()) if unreduced else None
    derivatives = [
        (formula[name], Output(source, tuple(source.shape), plan.layout()))
        for formula, names in (
            (plan.formulas.gradient, wanted.gradient),
            (plan.formulas.curvature, wanted.curvature),
        )
        for name in names
        for source in (plan.originals[name],)
    ]
    scale = 1.0 if unreduced or grad_output is None else float(grad_output)

    def run(block: Any) -> tuple[float, float]:
        total = (0.0, 0.0)
        with np.errstate(all="ignore"):
            if wanted.value:
                x = block.value()
                if values is None:
                    total = block.kernels.sum_pair(x)
                else:
                    values.put(block.value_part, block.arrange_value(x))
            for formula, output in derivatives:
                x = block.derivative(formula)
                if not unreduced:
                    x = x * scale / plan.denominator
                elif grad_output is not None:
                    x = x * block.upstream(grad_output)
                output.put(block.part, block.arrange(block.keep(x)))
        return total

    totals = threads.over(plan.blocks(), run)
    value: Array = None
    if wanted.value:
        value = values.result() if values is not None else None
        if value is None:
            value = reduced(plan.model, totals, plan.denominator)
    found = [output.result() for _, output in derivatives]
    split = len(wanted.gradient)
    return Answer(value, found[:split], found[split:])


def reduced(model: Array, totals: Sequence[tuple[float, ...]], denominator: float) -> Array:
    """The sum of all parts over the denominator, as a scalar of the model's library and dtype."""
    with np.errstate(all="ignore"):
        total = _exact_sum([part for pair in totals for part in pair])
        value = np.asarray(np.float64(total) / np.float64(denominator))
        if isinstance(model, np.ndarray):
            return rounded(value, native(model))[()]
    xp = namespace(model)
    scalar = xp.asarray(float(value), dtype=xp.float64, device=device(model))
    return xp.astype(scalar, model.dtype)


def cast(x: Array, model: Array) -> Array:
    """float64 numbers in the dtype of the model, rounded once."""
    if isinstance(model, np.ndarray):
        return rounded(x, native(model))
    return namespace(x).astype(x, model.dtype)


def _exact_sum(parts: Sequence[float]) -> float:
    if all(map(math.isfinite, parts)):
        try:
            return math.fsum(parts)
        except OverflowError:
            pass
    return float(np.sum(parts))


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
