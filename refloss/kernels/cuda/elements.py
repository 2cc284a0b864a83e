"""The elementwise kernel: value and derivatives of every element in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from refloss.formula import reductions
from refloss.formula.emitted import Kind
from refloss.kernels.cuda import blocks, memory, target
from refloss.kernels.cuda.target import Recipe, cuda

THREADS = 256
MOST_BLOCKS = 2112  # the same on every device, so that sums have the same bits on every device


class Total:
    """The plain sum of the values, as a pair: a reduction like those of rows."""

    start = reductions.TOTAL
    parameters: tuple[str, ...] = ()

    @staticmethod
    def formula(step: str) -> Any:
        """``absorbed``, ``joined`` or ``finished``."""
        return getattr(reductions, f"total_{step}")


TOTAL = blocks.States([Total])


@dataclass(frozen=True)
class Element:
    """What an element's numbers are made of.

    Attributes
    ----------
    table : a `refloss.quantities.Table`; anything whose ``numbers(known, read)`` answers by name
    scalars : numbers that count for every element
    arrays : numbers that are loaded for each, and whether one number stands for all
    value : the name of the loss, or None
    derivatives : the names of what else is wanted
    total : whether the values are summed instead of written
    """

    table: Any
    scalars: tuple[str, ...]
    arrays: tuple[str, ...]
    shared: tuple[bool, ...]
    value: str | None
    derivatives: tuple[str, ...]
    total: bool

    @property
    def written(self) -> tuple[str, ...]:
        """What is written for each element."""
        own = (self.value,) if self.value and not self.total else ()
        return own + self.derivatives

    def recipe(self, lanes: int) -> Recipe:
        """scalars, total, loaded numbers -> total, numbers to be written."""
        scalars, state = len(self.scalars), len(TOTAL) if self.total else 0

        def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
            known = dict(zip(self.scalars, numbers[:scalars], strict=True))
            total = list(numbers[scalars : scalars + state])
            loaded = numbers[scalars + state :]
            found: list[list[Any]] = [[] for _ in self.written]
            for lane in range(lanes):
                own = dict(zip(self.arrays, loaded[lane::lanes], strict=True))
                quantities = self.table.numbers(known | own, read)
                if self.total:
                    total = list(read(reductions.total_absorbed)(*total, quantities[self.value]))
                for one, name in zip(found, self.written, strict=True):
                    one.append(quantities[name])
            return [*total, *(x for one in found for x in one)]

        return Recipe(scalars + state + lanes * len(self.arrays), make)


def make_kernel(
    element: Element, formats: Sequence[str], outputs: Sequence[str], lanes: int, kind: Kind
) -> Any:
    """A kernel of (arrays, scalars, outputs, totals, count).

    ``formats`` and ``outputs`` are those of the arrays; ``totals`` gets a pair for each block.
    """
    state = len(TOTAL) if element.total else 0
    count_out = len(element.written)
    run = target.written(element.recipe(lanes), kind)
    run_one = target.written(element.recipe(1), kind)
    indices = [None if shared else 0 for shared in element.shared]
    load = memory.load(formats, indices, lanes, kind)
    load_one = memory.load(formats, indices, 1, kind)
    store = memory.store(outputs, lanes, kind)
    store_one = memory.store(outputs, 1, kind)
    total_of = target.part(0, state)
    rest_of = target.part(state, state + lanes * count_out)
    rest_of_one = target.part(state, state + count_out)
    nothing = target.constants(TOTAL.start[:state], kind)
    join = target.written(blocks.join_recipe(TOTAL), kind)
    start = target.constants(TOTAL.start, kind)
    joined = blocks.joined_over_block(THREADS, len(TOTAL), join, start, kind)
    put = blocks.put_into(len(TOTAL))
    sums = element.total

    @target.kernel(THREADS)
    def elements(arrays: Any, scalars: Any, outputs: Any, totals: Any, count: int) -> None:
        threads = cuda.gridDim.x * THREADS
        first = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        step = threads * lanes
        total = nothing()
        i = first * lanes
        while i + step + lanes <= count:  # two runs in flight
            one, other = load(arrays, i, 0), load(arrays, i + step, 0)
            found = run(scalars + total + one)
            store(outputs, i, rest_of(found))
            found = run(scalars + total_of(found) + other)
            store(outputs, i + step, rest_of(found))
            total = total_of(found)
            i += 2 * step
        if i + lanes <= count:
            found = run(scalars + total + load(arrays, i, 0))
            store(outputs, i, rest_of(found))
            total = total_of(found)
        i = count // lanes * lanes + first
        if i < count:  # what is left of the last run
            found = run_one(scalars + total + load_one(arrays, i, 0))
            store_one(outputs, i, rest_of_one(found))
            total = total_of(found)
        if sums:
            total = joined(total, ())
            if cuda.threadIdx.x == 0:
                put(totals, cuda.blockIdx.x * 2, total)

    return elements


def blocks_for(count: int, lanes: int) -> int:
    """How many blocks a kernel over so many elements has."""
    return max(1, min(MOST_BLOCKS, -(-count // (THREADS * lanes))))


def make_finish(output: str, kind: Kind) -> Any:
    """A kernel of (totals, denominator, output): the sum of the pairs, over the denominator."""
    count = len(TOTAL)
    join = target.written(blocks.join_recipe(TOTAL), kind)
    start = target.constants(TOTAL.start, kind)
    joined = blocks.joined_over_block(THREADS, count, join, start, kind)
    get = blocks.taken_from(count)

    def mean(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        high, low, denominator = numbers
        return [read(reductions.total_finished)(high, low)[0] / denominator]

    divided = target.written(Recipe(count + 1, mean), kind)
    store = memory.store([output], 1, kind)

    @target.kernel(THREADS)
    def finish(totals: Any, denominator: Any, outputs: Any) -> None:
        total = start()
        i = cuda.threadIdx.x
        while i < totals.size // count:
            total = join(total + get(totals, i * count))
            i += THREADS
        total = joined(total, ())
        if cuda.threadIdx.x == 0:
            store(outputs, 0, divided(total + denominator))

    return finish
