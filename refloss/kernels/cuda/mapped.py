"""Formulas of whole arrays, and sums of rows, each in one pass over memory.

A formula's arguments may be of full size, or one number for each row, or one for each column: those
are read where they lie, without being spread out first. What comes out is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import signature
from math import prod
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from refloss.formula import reductions
from refloss.formula.emitted import DOUBLE
from refloss.kernels.cuda import arrays, blocks, memory, target
from refloss.kernels.cuda.blocks import States
from refloss.kernels.cuda.elements import TOTAL
from refloss.kernels.cuda.target import WARP, Recipe, cuda, inside

Array = Any
Formula = Callable[..., Any]

THREADS = 256
MOST_BLOCKS = 2112
AT_ONCE = 4  # numbers of a row that a thread has under way
WIDE = 1024  # rows of more numbers than this have a block of their own
PARTS = 256  # of a sum over everything

WHOLE, ROW, COLUMN, SINGLE = "whole", "row", "column", "single"  # how arguments lie


def threads_for(count: int) -> int:
    """Threads in each block, for so much to do at once."""
    return min(THREADS, -(-max(1, count) // WARP) * WARP)


def float64_of(model: Array) -> Any:
    """The dtype of everything here, in the model's library."""
    return array_namespace(model).float64


# Formulas


def map_formula(formula: Formula, quantities: Mapping[str, Any]) -> Array:
    """The formula of the arrays and numbers that its parameters name."""
    named = {name: quantities[name] for name in signature(formula).parameters}
    numbers = {name: float(x) for name, x in named.items() if isinstance(x, int | float)}
    given = {name: x for name, x in named.items() if name not in numbers}
    first = next(iter(given.values()))
    shape = np.broadcast_shapes(*(tuple(array.shape) for array in given.values()))
    out = arrays.empty((prod(shape),), float64_of(first), first)
    if prod(shape):
        _run(formula, numbers, given, shape, out)
    return array_namespace(first).reshape(out, shape)


def _run(
    formula: Formula,
    numbers: Mapping[str, float],
    given: Mapping[str, Array],
    shape: tuple[int, ...],
    out: Array,
) -> None:
    columns = shape[-1] if len(shape) == 2 else prod(shape)
    kinds = {name: _layout(tuple(array.shape), shape) for name, array in given.items()}
    kinds = dict(sorted(kinds.items(), key=lambda item: item[1]))
    seen = {name: _seen(given[name], kind, shape) for name, kind in kinds.items()}
    wide = [out, *(seen[name] for name, kind in kinds.items() if kind in (WHOLE, COLUMN))]
    lanes = min(2, arrays.lanes_of(wide, columns))
    layout = tuple((name, kind, arrays.format_of(seen[name])) for name, kind in kinds.items())
    kernel = _map_kernel(formula, tuple(numbers), layout, lanes)
    of_kind = [
        tuple(seen[name] for name, kind in kinds.items() if kind in wanted)
        for wanted in ((COLUMN,), (ROW,), (SINGLE, WHOLE))
    ]
    threads = threads_for(prod(shape) // lanes)
    count = min(MOST_BLOCKS, -(-prod(shape) // (threads * lanes)))
    scalars = tuple(numbers.values())
    arrays.launch(kernel, count, threads, out, *of_kind, scalars, (out,), prod(shape), columns)


def _layout(own: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """How an array lies to what comes out."""
    if own == shape:
        return WHOLE
    if prod(own) == 1:
        return SINGLE
    if len(own) == len(shape) == 2:
        return ROW if own == (shape[0], 1) else COLUMN
    return WHOLE


def _seen(array: Array, kind: str, shape: tuple[int, ...]) -> Array:
    if kind == WHOLE and tuple(array.shape) != shape:
        array = array_namespace(array).broadcast_to(array, shape)
    return arrays.flat(array)


@cache
def _map_kernel(
    formula: Formula,
    scalars: tuple[str, ...],
    layout: tuple[tuple[str, str, str], ...],
    lanes: int,
) -> Any:
    """A kernel of (arrays of columns, of rows, other arrays, scalars, out, size, columns).

    ``layout`` has the name, the kind and the format of each array, in this order.
    """
    names = [name for name, _, _ in layout]
    kinds = [kind for _, kind, _ in layout]

    def make_run(lanes: int) -> Any:
        def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
            known = dict(zip(scalars, numbers, strict=False))
            rest, found = list(numbers[len(scalars) :]), []
            columns = {}
            for name, kind in zip(names, kinds, strict=True):
                width = 1 if kind == ROW else lanes
                columns[name], rest = rest[:width] * (lanes // width), rest[width:]
            for lane in range(lanes):
                own = {name: column[lane] for name, column in columns.items()}
                found.append(read(formula)(**known, **own))
            return found

        width = sum(1 if kind == ROW else lanes for kind in kinds)
        return target.written(Recipe(len(scalars) + width, make), DOUBLE)

    def make_load(wanted: tuple[str, ...], lanes: int) -> Any:
        formats = [name for _, kind, name in layout if kind in wanted]
        indices = [None if kind == SINGLE else 0 for kind in kinds if kind in wanted]
        return memory.load(formats, indices, lanes, DOUBLE)

    run = make_run(lanes)
    load_columns, load_rows = make_load((COLUMN,), lanes), make_load((ROW,), 1)
    load = make_load((SINGLE, WHOLE), lanes)
    store = memory.store(["float64"], lanes, DOUBLE)
    in_rows = COLUMN in kinds or ROW in kinds

    @target.kernel(THREADS)
    def map_kernel(
        of_columns: Any,
        of_rows: Any,
        others: Any,
        scalars: Any,
        out: Any,
        size: int,
        columns: int,
    ) -> None:
        step = cuda.gridDim.x * cuda.blockDim.x * lanes
        i = (cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x) * lanes
        while i < size:
            row = i // columns if in_rows else 0
            column = i - row * columns if in_rows else 0
            numbers = load_columns(of_columns, column, 0) + load_rows(of_rows, row, 0)
            store(out, i, run(scalars + numbers + load(others, i, 0)))
            i += step

    return map_kernel


# Sums


class Sum:
    """The sum of a row's terms, where a NaN matters no more beside +inf."""

    start = reductions.SUM
    parameters: tuple[str, ...] = ()

    @staticmethod
    def formula(step: str) -> Any:
        """``absorbed``, ``joined`` or ``finished``."""
        return getattr(reductions, f"sum_{step}")


SUM = States([Sum])


def teams_for(rows: int, columns: int) -> tuple[int, int, int]:
    """How many threads work on a row, how many blocks there are, and threads in each of them."""
    if columns > WIDE:
        return THREADS, rows, THREADS
    team = 1
    while team < WARP and team * AT_ONCE < columns:
        team *= 2
    threads = threads_for(rows * team)
    return team, -(-rows * team // threads), threads


def class_sum(x: Array) -> Array:
    """(R, C) -> (R, 1): the sum over the classes, rounded once.

    A NaN here is a term without a limit; it matters no more where another term is +inf.
    """
    rows, columns = x.shape
    out = arrays.empty((rows,), float64_of(x), x)
    if not columns:
        out[...] = 0.0
    elif rows:
        team, count, threads = teams_for(rows, columns)
        arrays.launch(sum_kernel(team), count, threads, x, arrays.flat(x), out, rows, columns)
    return array_namespace(x).reshape(out, (rows, 1))


def sum_pair(x: Array) -> tuple[float, float]:
    """The sum of all numbers as a pair (high, low)."""
    flat = arrays.flat(x)
    size = int(flat.shape[0])
    if not size:
        return 0.0, 0.0
    # the same parts on every device, so that the sum has the same bits
    length = max(WIDE, -(-size // PARTS))
    parts = -(-size // length)
    pairs = arrays.empty((2 * parts,), float64_of(x), x)
    threads = THREADS if parts > 1 else WARP
    arrays.launch(part_kernel(threads), parts, threads, x, flat, pairs, size, length)
    total = pairs
    if parts > 1:
        total = arrays.empty((2,), float64_of(x), x)
        arrays.launch(pair_kernel(), 1, THREADS, x, pairs, total, parts)
    high, low = total.tolist()
    return high, low


def absorbing(states: States) -> Any:
    """(state, numbers) -> the state after ``AT_ONCE`` more numbers."""
    (reduction,) = states.reductions

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        state = numbers[: len(states)]
        for x in numbers[len(states) :]:
            state = read(reduction.formula("absorbed"))(*state, x)
        return state

    return target.written(Recipe(len(states) + AT_ONCE, make), DOUBLE)


def finishing(states: States) -> Any:
    """state -> what it comes to."""
    (reduction,) = states.reductions

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        return read(reduction.formula("finished"))(*numbers)

    return target.written(Recipe(len(states), make), DOUBLE)


def joining(states: States, team: int, known: tuple[str, ...] = ()) -> Any:
    """(state, known numbers) -> the state of a whole team."""
    join = target.written(blocks.join_recipe(states, known), DOUBLE)
    if team <= WARP:
        return blocks.joined_over(team, len(states), join)
    start = target.constants(states.start, DOUBLE)
    return blocks.joined_over_block(THREADS, len(states), join, start, DOUBLE)


def _strided(step: int) -> Any:
    """(array, i, stop) -> AT_ONCE numbers a step apart, 0 from the stop on."""
    zero = target.constants((0.0,), DOUBLE)

    @inside
    def one(x: Any, i: int, stop: int) -> Any:
        if i < stop:
            return (x[i],)
        return zero()

    @inside
    def load(x: Any, i: int, stop: int) -> Any:
        first = one(x, i, stop) + one(x, i + step, stop)
        return first + one(x, i + 2 * step, stop) + one(x, i + 3 * step, stop)

    return load


@cache
def sum_kernel(team: int) -> Any:
    """A kernel of (x, out, rows, columns): the sum of each row."""
    start = target.constants(SUM.start, DOUBLE)
    absorb, finish, joined = absorbing(SUM), finishing(SUM), joining(SUM, team)
    load = _strided(team)

    @target.kernel(THREADS)
    def class_sums(x: Any, out: Any, rows: int, columns: int) -> None:
        lane = cuda.threadIdx.x % team
        own = (cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x) // team
        row = own if own < rows else rows - 1  # every lane takes part in the exchange
        stop = (row + 1) * columns
        i = row * columns + lane
        state = start()
        while i < stop:
            state = absorb(state + load(x, i, stop))
            i += AT_ONCE * team
        state = joined(state, ())
        if lane == 0 and own < rows:
            out[row] = finish(state)[0]

    return class_sums


@cache
def part_kernel(threads: int) -> Any:
    """A kernel of (x, pairs, size, length): the sum of each part of a length, as a pair."""
    start = target.constants(TOTAL.start, DOUBLE)
    absorb, joined = absorbing(TOTAL), joining(TOTAL, threads)
    load, put = _strided(threads), blocks.put_into(len(TOTAL))

    @target.kernel(threads)
    def sums_of_parts(x: Any, pairs: Any, size: int, length: int) -> None:
        i = cuda.blockIdx.x * length + cuda.threadIdx.x
        stop = min(size, (cuda.blockIdx.x + 1) * length)
        state = start()
        while i < stop:
            state = absorb(state + load(x, i, stop))
            i += AT_ONCE * threads
        state = joined(state, ())
        if cuda.threadIdx.x == 0:
            put(pairs, 2 * cuda.blockIdx.x, state)

    return sums_of_parts


@cache
def pair_kernel() -> Any:
    """A kernel of (pairs, total, count): the sum of so many pairs, as a pair."""
    start = target.constants(TOTAL.start, DOUBLE)
    join = target.written(blocks.join_recipe(TOTAL), DOUBLE)
    joined = joining(TOTAL, THREADS)
    put, get = blocks.put_into(len(TOTAL)), blocks.taken_from(len(TOTAL))

    @target.kernel(THREADS)
    def sum_of_pairs(pairs: Any, total: Any, count: int) -> None:
        i = cuda.threadIdx.x
        state = start()
        while i < count:
            state = join(state + get(pairs, 2 * i))
            i += THREADS
        state = joined(state, ())
        if cuda.threadIdx.x == 0:
            put(total, 0, state)

    return sum_of_pairs
