"""Threads of a block put their states together, always in the same order."""

from __future__ import annotations

from typing import Any

from refloss.formula.emitted import Kind
from refloss.kernels.cuda import target
from refloss.kernels.cuda.target import WARP, Recipe, cuda, inside

MOST_WARPS = 32


class States:
    """The states of some reductions side by side, as one tuple of numbers.

    ``reductions`` have a ``start``, formulas by step, and say which further numbers they take.
    """

    def __init__(self, reductions: Any) -> None:
        self.reductions = tuple(reductions)

    @property
    def start(self) -> tuple[float, ...]:
        """Nothing has been taken up."""
        return tuple(x for one in self.reductions for x in one.start)

    def __len__(self) -> int:
        return len(self.start)

    def parts(self, numbers: Any) -> list[Any]:
        """The numbers of each reduction."""
        found, at = [], 0
        for one in self.reductions:
            found.append(numbers[at : at + len(one.start)])
            at += len(one.start)
        return found


def joined_over(lanes: int, count: int, join: Any) -> Any:
    """(numbers, further numbers) -> what ``lanes`` neighbouring lanes come to together.

    Every lane gets the same bits: those of the first of them.
    """
    shuffle, broadcast = target.shuffled(count), target.broadcast(count)

    @inside
    def joined(numbers: Any, known: Any) -> Any:
        distance = 1
        while distance < lanes:
            numbers = join(numbers + shuffle(numbers, distance) + known)
            distance *= 2
        return broadcast(numbers, (cuda.laneid // lanes) * lanes)

    @inside
    def alone(numbers: Any, known: Any) -> Any:
        return numbers

    return alone if lanes == 1 or count == 0 else joined


def joined_over_block(threads: int, count: int, join: Any, start: Any, kind: Kind) -> Any:
    """(numbers, further numbers) -> what all threads of a block come to together.

    Each warp first, then the warps; every thread gets the same bits.
    """
    warps = threads // WARP
    in_warp = joined_over(WARP, count, join)
    of_warps = joined_over(WARP, count, join)
    put, get = put_into(count), taken_from(count)
    number = target.numba_type(kind)
    size = MOST_WARPS * max(1, count)

    @inside
    def joined(numbers: Any, known: Any) -> Any:
        numbers = in_warp(numbers, known)
        exchange = cuda.shared.array(size, number)
        thread = cuda.threadIdx.x
        cuda.syncthreads()  # whoever still reads from an exchange before
        if thread % WARP == 0:
            put(exchange, (thread // WARP) * count, numbers)
        cuda.syncthreads()
        place = thread % WARP
        numbers = get(exchange, place * count) if place < warps else start()
        return of_warps(numbers, known)

    return in_warp if warps == 1 else joined


def put_into(count: int) -> Any:
    """(array, place, numbers): the numbers are written from the place on."""

    @inside
    def last(array: Any, at: Any, numbers: Any) -> None:
        array[at] = numbers[0]

    if count == 0:
        return inside(lambda array, at, numbers: None)
    if count == 1:
        return last
    rest, others = put_into(count - 1), target.part(1, count)

    @inside
    def each(array: Any, at: Any, numbers: Any) -> None:
        array[at] = numbers[0]
        rest(array, at + 1, others(numbers))

    return each


def taken_from(count: int) -> Any:
    """(array, place) -> the numbers from the place on."""

    @inside
    def one(array: Any, at: Any) -> Any:
        return (array[at],)

    if count == 0:
        return inside(lambda array, at: ())
    if count == 1:
        return one
    rest = taken_from(count - 1)

    @inside
    def each(array: Any, at: Any) -> Any:
        return one(array, at) + rest(array, at + 1)

    return each


def join_recipe(states: States, known: tuple[str, ...] = (), table: Any = None) -> Recipe:
    """state, other state, known quantities -> the state of both together."""
    count = len(states)

    def make(numbers: Any, read: Any) -> Any:
        own, other = states.parts(numbers[:count]), states.parts(numbers[count : 2 * count])
        by_name = dict(zip(known, numbers[2 * count :], strict=True))
        quantities = table.numbers(by_name, read) if table is not None else by_name
        found: list[Any] = []
        for one, mine, theirs in zip(states.reductions, own, other, strict=True):
            further = [quantities[name] for name in one.parameters]
            found += read(one.formula("joined"))(*mine, *theirs, *further)
        return found

    return Recipe(2 * count + len(known), make)
