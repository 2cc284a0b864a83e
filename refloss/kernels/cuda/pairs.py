"""Every vector of one array with every vector of another on the GPU, tile by tile.

A block of threads has a tile of pairs, a thread a pair: both sides' components pass through shared
memory, a few at a time, and are summed as pairs (high, low). A gradient is gathered likewise, each
component by one thread in the order of the other side's vectors, so that it has the same bits every
time. float64 throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from typing import Any

from array_api_compat import array_namespace

from refloss.formula import direction, reductions
from refloss.formula import distance as length
from refloss.formula.emitted import DOUBLE
from refloss.kernels.cuda import arrays, blocks, memory, target
from refloss.kernels.cuda.mapped import THREADS, float64_of
from refloss.kernels.cuda.target import Recipe, cuda, inside
from refloss.kernels.metric import HIGHEST, LOWEST, Metric

Array = Any
Formula = Callable[..., Any]

TILE = 16  # pairs, components or vectors along each side of a tile
PITCH = TILE + 1  # of its lines in shared memory, where a column would lie in one bank otherwise
AREA = TILE * PITCH
NUMBER = target.numba_type(DOUBLE)


# What pairs of vectors come to


def _pairs(kernel: Any, x: Array, y: Array, count: int) -> list[Array]:
    """(R, D), (C, D) -> so many arrays (R, C)."""
    rows, columns, components = x.shape[0], y.shape[0], x.shape[1]
    out = [arrays.empty((rows * columns,), float64_of(x), x) for _ in range(count)]
    if rows * columns:
        tiles = -(-rows // TILE) * -(-columns // TILE)
        both = (arrays.flat(x), arrays.flat(y))
        arrays.launch(kernel, tiles, THREADS, x, *both, tuple(out), rows, columns, components)
    return [array_namespace(x).reshape(one, (rows, columns)) for one in out]


def _pair_kernel(terms: Sequence[Formula], settle: Any, tell: Any, count: int) -> Any:
    """A kernel of (x, y, what comes out, rows, columns, components).

    ``terms`` are what is summed, as functions of two components and the reading of formulas;
    ``settle`` makes of the sums what is known of a pair, and ``tell`` of that what is written.
    """
    start = target.constants(reductions.TOTAL * len(terms), DOUBLE)
    take, finish = _take(terms), _finish(len(terms))
    store = memory.store(["float64"] * count, 1, DOUBLE)

    @target.kernel(THREADS)
    def pairs(x: Any, y: Any, out: Any, rows: int, columns: int, components: int) -> None:
        across = (columns + TILE - 1) // TILE
        down = cuda.blockIdx.x // across
        line = cuda.threadIdx.x // TILE
        place = cuda.threadIdx.x - line * TILE
        first, second = down * TILE, (cuda.blockIdx.x - down * across) * TILE
        own = cuda.shared.array(AREA, NUMBER)
        other = cuda.shared.array(AREA, NUMBER)
        i, k = first + line, second + place
        reach = components if i < rows and k < columns else 0
        state = start()
        d = 0
        while d < components:
            own[line * PITCH + place] = _at(x, first + line, d + place, rows, components)
            other[line * PITCH + place] = _at(y, second + line, d + place, columns, components)
            cuda.syncthreads()
            e = 0
            while e < TILE and d + e < reach:
                both = (own[line * PITCH + e], other[place * PITCH + e])
                state = take(state + both)
                e += 1
            cuda.syncthreads()
            d += TILE
        if i < rows and k < columns:
            known = settle(x, y, i * components, k * components, components, finish(state))
            store(out, i * columns + k, tell(known))

    return pairs


@inside
def _at(x: Any, row: int, column: int, rows: int, columns: int) -> Any:
    """A number, or 0 beyond the end."""
    return x[row * columns + column] if row < rows and column < columns else 0.0


def _take(terms: Sequence[Formula]) -> Any:
    """state, two components -> state."""

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        *state, x, y = numbers
        after: list[Any] = []
        for k, term in enumerate(terms):
            after += read(reductions.total_absorbed)(*state[2 * k : 2 * k + 2], term(x, y, read))
        return after

    return target.written(Recipe(2 * len(terms) + 2, make), DOUBLE)


def _finish(sums: int) -> Any:
    """Pairs -> the sums."""

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        finished = read(reductions.total_finished)
        return [finished(*pair)[0] for pair in zip(numbers[::2], numbers[1::2], strict=True)]

    return target.written(Recipe(2 * sums, make), DOUBLE)


# What the other side's vectors pull with


def _gathered(kernel: Any, x: Array, y: Array, matrices: Sequence[Array]) -> Array:
    """(R, D): what each row of x gets from all rows of y; weights come first."""
    rows, components = x.shape
    out = arrays.empty((rows * components,), float64_of(x), x)
    if rows * components:
        tiles = -(-rows // TILE) * -(-components // TILE)
        flat = tuple(arrays.flat(one) for one in matrices)
        sizes = (rows, y.shape[0], components)
        arrays.launch(kernel, tiles, THREADS, x, arrays.flat(x), arrays.flat(y), flat, out, *sizes)
    return array_namespace(x).reshape(out, (rows, components))


def _gather_kernel(slope: Formula, known: int) -> Any:
    """A kernel of (x, y, weights and what is known of the pairs, out, rows, columns, components).

    ``slope`` is a function of two components, what is known of their pair and the reading.
    """
    count = 1 + known

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        high, low, weight, *rest, x, y = numbers
        pull = weight * slope(x, y, rest, read)
        return list(read(reductions.total_absorbed)(high, low, pull))

    take = target.written(Recipe(2 + count + 2, make), DOUBLE)
    finish = _finish(1)
    load = memory.load(["float64"] * count, [0] * count, 1, DOUBLE)
    put, get = blocks.put_into(count), blocks.taken_from(count)
    start = target.constants(reductions.TOTAL, DOUBLE)
    nothing = target.constants((0.0,) * count, DOUBLE)
    size = AREA * count

    @target.kernel(THREADS)
    def gather(
        x: Any, y: Any, matrices: Any, out: Any, rows: int, columns: int, components: int
    ) -> None:
        across = (components + TILE - 1) // TILE
        down = cuda.blockIdx.x // across
        line = cuda.threadIdx.x // TILE
        place = cuda.threadIdx.x - line * TILE
        i, d = down * TILE + line, (cuda.blockIdx.x - down * across) * TILE + place
        entries = cuda.shared.array(size, NUMBER)
        others = cuda.shared.array(AREA, NUMBER)
        own = _at(x, i, d, rows, components)
        total = start()
        k = 0
        while k < columns:
            entry = nothing()
            if i < rows and k + place < columns:
                entry = load(matrices, i * columns + k + place, 0)
            put(entries, (line * PITCH + place) * count, entry)
            others[line * PITCH + place] = _at(y, k + line, d, columns, components)
            cuda.syncthreads()
            e = 0
            while e < TILE:  # beyond the end weights are 0
                entry = get(entries, (line * PITCH + e) * count)
                if entry[0] != 0.0:
                    both = (own, others[e * PITCH + place])
                    total = take(total + entry + both)
                e += 1
            cuda.syncthreads()
            k += TILE
        if i < rows and d < components:
            out[i * components + d] = finish(total)[0]

    return gather


# Distances


def distances(x: Array, y: Array, metric: Metric) -> Array:
    """(R, D), (C, D) -> (R, C), from the differences themselves: near rows lose no digits."""
    return _pairs(metric_kernel(metric, True), x, y, 1)[0]


def steered(x: Array, y: Array, weight: Array, metric: Metric) -> Array:
    """(R, D): for each row of x, the weighted sum of the slopes of its distances."""
    known = _pairs(metric_kernel(metric, False), x, y, 2) if _needs_pair(metric) else []
    return _gathered(steering_kernel(metric), x, y, [weight, *known])


def _needs_pair(metric: Metric) -> bool:
    """Whether the slope in a component asks for more than that component."""
    return len(signature(metric.slope).parameters) > 1


@cache
def metric_kernel(metric: Metric, rooted: bool) -> Any:
    """Distances, or the total and the top that they are made of."""

    def term(x: Any, y: Any, read: Any) -> Any:
        return read(metric.term)(read(length.size)(x - y))

    def tell(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        return [read(metric.root)(*numbers)] if rooted else numbers

    told = target.written(Recipe(2, tell), DOUBLE)
    return _pair_kernel([term], _rescued(metric), told, 1 if rooted else 2)


def _rescued(metric: Metric) -> Any:
    """A total out of range is taken again, of shares of the largest difference."""

    def largest(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        *state, x, y = numbers
        return list(read(reductions.largest_absorbed)(*state, read(length.size)(x - y)))

    def top_of(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        return list(read(reductions.largest_finished)(*numbers))

    def scaled(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        high, low, top, x, y = numbers
        term = read(metric.term)(read(length.share)(x - y, top))
        return list(read(reductions.total_absorbed)(high, low, term))

    take_top = target.written(Recipe(4, largest), DOUBLE)
    finish_top = target.written(Recipe(2, top_of), DOUBLE)
    take, finish = target.written(Recipe(5, scaled), DOUBLE), _finish(1)
    no_top = target.constants(reductions.LARGEST, DOUBLE)
    no_total = target.constants(reductions.TOTAL, DOUBLE)
    one = target.constants((1.0,), DOUBLE)

    @inside
    def rescued(x: Any, y: Any, i: int, k: int, components: int, total: Any) -> Any:
        if total[0] > LOWEST and total[0] < HIGHEST:
            return total + one()
        state = no_top()
        d = 0
        while d < components:
            both = (x[i + d], y[k + d])
            state = take_top(state + both)
            d += 1
        top = finish_top(state)
        again = no_total()
        d = 0
        while d < components:
            both = (x[i + d], y[k + d])
            again = take(again + top + both)
            d += 1
        return finish(again) + top

    return rescued


@cache
def steering_kernel(metric: Metric) -> Any:
    """Weighted slopes of distances."""

    def slope(x: Any, y: Any, known: Sequence[Any], read: Any) -> Any:
        residual = x - y
        if not known:
            return read(metric.slope)(residual)
        total, top = known
        return read(metric.slope)(residual, read(length.share)(residual, top), total)

    return _gather_kernel(slope, 2 if _needs_pair(metric) else 0)


# Angles


def angles(u: Array, v: Array) -> Array:
    """Unit vectors (R, D), (C, D) -> (R, C): 1 - cos, without cancellation where it is small."""
    return _pairs(angle_kernel(True), u, v, 1)[0]


def turned(u: Array, v: Array, weight: Array) -> Array:
    """(R, D): for each row of u, the weighted sum of the slopes of its ``angles`` on the sphere."""
    return _gathered(turning_kernel(), u, v, [weight, *_pairs(angle_kernel(False), u, v, 3)])


@cache
def angle_kernel(told: bool) -> Any:
    """Angles, or the sums that turns are made of."""
    formulas = [direction.overlap, direction.apart, direction.against][: 2 if told else 3]

    def term_of(formula: Formula) -> Formula:
        return lambda x, y, read: read(formula)(x, y)

    def tell(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        return [read(direction.gap)(*numbers)] if told else numbers

    count = len(formulas)
    settled = inside(lambda x, y, i, k, components, sums: sums)
    tell_all = target.written(Recipe(count, tell), DOUBLE)
    return _pair_kernel([*map(term_of, formulas)], settled, tell_all, 1 if told else 3)


@cache
def turning_kernel() -> Any:
    """Weighted slopes of angles."""

    def slope(x: Any, y: Any, known: Sequence[Any], read: Any) -> Any:
        return -read(direction.turn)(x, y, *known, 1)

    return _gather_kernel(slope, 3)
