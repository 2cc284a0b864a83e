"""Orders, counts and running sums of all rows of a matrix at once, on the GPU.

The functions of `refloss.kernels.selection`, along the rows; the caller's library sorts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from array_api_compat import array_namespace

from refloss.formula import reductions
from refloss.formula.emitted import DOUBLE
from refloss.kernels.cuda import arrays, blocks, target
from refloss.kernels.cuda.elements import TOTAL
from refloss.kernels.cuda.mapped import MOST_BLOCKS, THREADS, float64_of, threads_for
from refloss.kernels.cuda.target import WARP, Recipe, cuda

Array = Any


def ordered(x: Array) -> Array:
    """The numbers of each row from small to large."""
    return array_namespace(x).sort(x, axis=-1)


def number_below(sorted_x: Array, at: Array) -> Array:
    """How many of a row's sorted numbers are less than each of ``at`` in that row."""
    return _counted(sorted_x, at, False)


def number_up_to(sorted_x: Array, at: Array) -> Array:
    """How many of a row's sorted numbers are not more than each of ``at`` in that row."""
    return _counted(sorted_x, at, True)


def _counted(sorted_x: Array, at: Array, up_to: bool) -> Array:
    rows, columns = at.shape
    xp = array_namespace(at)
    out = arrays.empty((rows * columns,), xp.int64, at)
    if rows * columns:
        threads = threads_for(rows * columns)
        count = min(MOST_BLOCKS, -(-rows * columns // threads))
        both = (arrays.flat(sorted_x), arrays.flat(at))
        sizes = (rows * columns, int(sorted_x.shape[-1]), columns)
        arrays.launch(count_kernel(up_to), count, threads, at, *both, out, *sizes)
    return xp.reshape(out, (rows, columns))


@cache
def count_kernel(up_to: bool) -> Any:
    """A kernel of (sorted numbers, at, out, size, sorted numbers in a row, numbers in a row)."""

    @target.kernel(THREADS)
    def counts(x: Any, at: Any, out: Any, size: int, length: int, columns: int) -> None:
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        while i < size:
            first = i // columns * length
            low, high = 0, length
            while low < high:
                middle = (low + high) // 2
                x_middle = x[first + middle]
                if x_middle < at[i] or (up_to and x_middle == at[i]):
                    low = middle + 1
                else:
                    high = middle
            out[i] = low
            i += cuda.gridDim.x * cuda.blockDim.x

    return counts


def running_sums(x: Array) -> tuple[Array, Array]:
    """(R, n) -> (R, n + 1): the sums of a row's first 0, 1, ..., n numbers, as pairs."""
    rows, columns = x.shape
    out = [arrays.empty((rows * (columns + 1),), float64_of(x), x) for _ in range(2)]
    if rows:
        threads = threads_for(rows * WARP)
        count = -(-rows * WARP // threads)
        arrays.launch(running_kernel(), count, threads, x, arrays.flat(x), *out, rows, columns)
    high, low = (array_namespace(x).reshape(one, (rows, columns + 1)) for one in out)
    return high, low


@cache
def running_kernel() -> Any:
    """A kernel of (x, high sums, low sums, rows, columns): a warp has a row, 32 numbers at a time.

    In each doubling a lane learns what its neighbours come to, and adds it if they stand before it.
    """
    count = len(TOTAL)
    start = target.constants(TOTAL.start, DOUBLE)
    join = target.written(blocks.join_recipe(TOTAL), DOUBLE)
    shuffle = target.shuffled(count)

    def absorbed(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        return list(read(reductions.total_absorbed)(*numbers))

    absorb = target.written(Recipe(count + 1, absorbed), DOUBLE)

    @target.kernel(THREADS)
    def running(x: Any, high: Any, low: Any, rows: int, columns: int) -> None:
        lane = cuda.threadIdx.x % WARP
        row = (cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x) // WARP
        before = start()
        c = 0
        while row < rows and c < columns:
            number = (x[row * columns + c + lane] if c + lane < columns else 0.0,)
            upto = absorb(start() + number)
            total = upto
            distance = 1
            while distance < WARP:
                other = shuffle(total, distance)
                if lane & distance:
                    upto = join(other + upto)
                    total = join(other + total)
                else:
                    total = join(total + other)
                distance *= 2
            upto = join(before + upto)
            before = join(before + total)
            if c + lane < columns:
                high[row * (columns + 1) + c + lane + 1] = upto[0]
                low[row * (columns + 1) + c + lane + 1] = upto[1]
            c += WARP
        if row < rows and lane == 0:
            high[row * (columns + 1)] = 0.0
            low[row * (columns + 1)] = 0.0

    return running


def taken(x: Array, at: Array) -> Array:
    """The numbers of each row of these numbers."""
    return array_namespace(x).take_along_axis(x, at, axis=-1)
