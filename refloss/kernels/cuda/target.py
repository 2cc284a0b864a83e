"""CUDA through Numba: the one place that knows how kernels are compiled, or simulated.

Everything that a kernel does beside loops is a *recipe*: from some numbers, others. On the machine
a recipe is written as instructions (`refloss.formula.emitted`), without type inference and without
calls; in Numba's simulator the same recipe runs on NumPy's scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import config, cuda, float32, float64, types
from numba.extending import intrinsic

from refloss.formula import scalars
from refloss.formula.emitted import Code, Kind, Number, meaning
from refloss.formula.reading import read

__all__ = [
    "EVERY_LANE",
    "SIMULATED",
    "WARP",
    "Recipe",
    "broadcast",
    "constants",
    "cuda",
    "inside",
    "kernel",
    "numba_type",
    "number_of",
    "part",
    "scalar_type",
    "shuffled",
    "tuple_of",
    "written",
]

Formula = Callable[..., Any]
Read = Callable[[Formula], Formula]

SIMULATED = bool(config.ENABLE_CUDASIM)
WARP = 32
EVERY_LANE = 0xFFFFFFFF

inside = cuda.jit(device=True)  # a function that kernels call


def kernel(threads: int) -> Any:
    """A kernel for blocks of so many threads: it gets no more registers than they have room for."""
    return cuda.jit if SIMULATED else cuda.jit(launch_bounds=threads)


def numba_type(kind: Kind) -> Any:
    """The type of a kind's numbers."""
    return float64 if kind.digits == 53 else float32


def tuple_of(kind: Kind, count: int) -> Any:
    """The type of so many numbers."""
    return types.UniTuple(numba_type(kind), count) if count else types.Tuple(())


def scalar_type(kind: Kind) -> Any:
    """The type of a kind's numbers on the host."""
    return np.float64 if kind.digits == 53 else np.float32


@dataclass(frozen=True, eq=False)
class Recipe:
    """What numbers are made of which others.

    Attributes
    ----------
    count : how many numbers there are to begin with
    make : gives the numbers that are wanted, from those and from the reading of formulas
    """

    count: int
    make: Callable[[Sequence[Any], Read], Sequence[Any]]


def written(recipe: Recipe, kind: Kind) -> Any:
    """The recipe as a function of a tuple of numbers that gives a tuple of numbers."""
    return _simulated(recipe, kind) if SIMULATED else _instructions(recipe, kind)


def _simulated(recipe: Recipe, kind: Kind) -> Any:
    of_scalars = scalars.meaning(scalar_type(kind), kind.keeps_lost)
    bound = cache(lambda formula: read(formula, of_scalars))
    scalar = scalar_type(kind)

    def run(numbers: Sequence[Any]) -> tuple[Any, ...]:
        assert len(numbers) == recipe.count
        with np.errstate(all="ignore"):
            return tuple(scalar(x) for x in recipe.make(numbers, bound))

    return run


def _instructions(recipe: Recipe, kind: Kind) -> Any:
    def write(code: Code, values: Sequence[Any]) -> list[Any]:
        words = meaning(code)
        bound = cache(lambda formula: read(formula, words))
        numbers = [Number(code, value) for value in values]
        return [code.number(x).value for x in recipe.make(numbers, bound)]

    # The type of what comes out says how many they are: that is known once they have been made.
    wanted = len(recipe.make(*_rehearsal(recipe, kind)))

    @intrinsic
    def run(context: Any, numbers: Any) -> Any:
        assert len(numbers) == recipe.count, (len(numbers), recipe.count)

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            # the same instructions can be compiled for the CPU, where tests run them
            code = Code(builder, kind, cuda="nvptx" in builder.module.triple)
            values = [builder.extract_value(arguments[0], i) for i in range(recipe.count)]
            return context.make_tuple(builder, signature.return_type, write(code, values))

        return tuple_of(kind, wanted)(numbers), build

    return run


def _rehearsal(recipe: Recipe, kind: Kind) -> tuple[Sequence[Any], Read]:
    from llvmlite import ir

    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), []), "rehearsal")
    code = Code(ir.IRBuilder(function.append_basic_block()), kind, cuda=True)
    words = meaning(code)
    return [code.number(1)] * recipe.count, lambda formula: read(formula, words)


def part(start: int, stop: int) -> Any:
    """Some of a tuple's numbers, as a function of the tuple."""
    if SIMULATED:
        return lambda numbers: tuple(numbers[start:stop])

    @intrinsic
    def taken(context: Any, numbers: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            found = [builder.extract_value(arguments[0], i) for i in range(start, stop)]
            return context.make_tuple(builder, signature.return_type, found)

        found = types.UniTuple(numbers.dtype, stop - start) if stop > start else types.Tuple(())
        return found(numbers), build

    return taken


def constants(numbers: Sequence[float], kind: Kind) -> Any:
    """A function without arguments that gives these numbers."""
    given = tuple(map(float, numbers))
    if SIMULATED:
        scalar = scalar_type(kind)
        return lambda: tuple(map(scalar, given))

    @intrinsic
    def made(context: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = Code(builder, kind, cuda=True)
            values = [code.number(x).value for x in given]
            return context.make_tuple(builder, signature.return_type, values)

        return tuple_of(kind, len(given))(), build

    return made


def number_of(kind: Kind) -> Any:
    """A whole number as a tuple of one number."""
    if SIMULATED:
        return lambda n: (scalar_type(kind)(n),)

    @intrinsic
    def converted(context: Any, n: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x = builder.sitofp(arguments[0], kind.type)
            return context.make_tuple(builder, signature.return_type, [x])

        return tuple_of(kind, 1)(n), build

    return converted


def shuffled(count: int) -> Any:
    """(numbers, distance) -> the numbers of the lane whose number differs in that bit."""
    if SIMULATED:

        def one_by_one(numbers: Any, distance: int) -> Any:
            return tuple(cuda.shfl_xor_sync(EVERY_LANE, x, distance) for x in numbers)

        return inside(one_by_one)
    return _each_of(count, lambda x, distance: cuda.shfl_xor_sync(EVERY_LANE, x, distance))


def broadcast(count: int) -> Any:
    """(numbers, lane) -> the numbers of that lane."""
    if SIMULATED:

        def one_by_one(numbers: Any, lane: int) -> Any:
            return tuple(cuda.shfl_sync(EVERY_LANE, x, lane) for x in numbers)

        return inside(one_by_one)
    return _each_of(count, lambda x, lane: cuda.shfl_sync(EVERY_LANE, x, lane))


def _each_of(count: int, function: Any) -> Any:
    """The function of each number of a tuple, and of one number more."""
    one = inside(function)
    if count == 0:
        return inside(lambda numbers, n: ())
    rest, others = _each_of(count - 1, function), part(1, count)

    def each(numbers: Any, n: Any) -> Any:
        return (one(numbers[0], n),) + rest(others(numbers), n)  # noqa: RUF005

    def last(numbers: Any, n: Any) -> Any:
        return (one(numbers[0], n),)

    return inside(last if count == 1 else each)
