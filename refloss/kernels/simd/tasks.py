"""Work that is cut into pieces: a kernel that is told the number of a piece, and does that one.

All that counts for every piece lies in one block of memory. So whoever does a piece needs no more
than two addresses and a number, and may be a thread that knows no Python.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refloss.kernels import cache as kernel_cache

Value = Any  # of LLVM

GIVEN = 3  # numbers that a piece gives back: a sum as a pair, and what stands for its first
BYTES = 8  # of each number in a block

_SIGNATURE = (types.int64,) * 3


class Extents(NamedTuple):
    """What there is to do: the items from first to last, so many in each piece.

    Attributes
    ----------
    first, last : the first item, and the one after the last
    size : how many items are in a piece, or how many threads share all of them
    classes : numbers of an item
    sums : whether values are summed instead of written
    marks : the bytes of a thread's room before its marks
    found : the address of what the pieces give back, one after the other, or of what is given back
        and what is in common
    """

    first: int
    last: int
    size: int
    classes: int
    sums: int
    marks: int
    found: int


class Piece(NamedTuple):
    """What is written into a kernel, of one piece: numbers that LLVM knows.

    Attributes
    ----------
    arrays : addresses
    scalars : numbers that count for every item
    begin, end : the first item, and the one after the last
    size, classes, sums : as `Extents` has them
    found : the address of what the piece gives back
    room, marks : addresses in the memory of the thread that does it
    number : of the piece, or of a thread among those who share
    """

    arrays: list[Value]
    scalars: list[Value]
    begin: Value
    end: Value
    size: Value
    classes: Value
    sums: Value
    found: Value
    room: Value
    marks: Value
    number: Value


class Task:
    """A compiled function of a block, a thread's room and the number of a piece.

    Parameters
    ----------
    write : function
        Writes the body, given a builder and a `Piece`.
    arrays, scalars : int
        How many addresses and numbers come before the `Extents` in a block.
    key : tuple
        As `refloss.kernels.cache.kept` takes it.
    is_shared : bool
        Whether threads share all there is to do: then there is one room, each has a number instead
        of pieces, and what is given back is followed by memory in common, zero in the beginning.
    """

    def __init__(
        self,
        write: Callable[[Any, Piece], None],
        arrays: int,
        scalars: int,
        key: tuple[Any, ...],
        is_shared: bool = False,
    ) -> None:
        self.layout = Struct(f"={arrays}q{scalars}d{len(Extents._fields)}q")
        self.found = self.layout.size // BYTES  # where in a block stands what comes back

        @intrinsic
        def body(context: Any, block: Any, room: Any, number: Any) -> Any:
            def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                write(builder, _piece(builder, arrays, scalars, is_shared, *arguments))
                return context.get_dummy_value()

            return types.none(block, room, number), build

        def run(block: int, room: int, number: int) -> None:
            body(block, room, number)

        self.run = kernel_cache.kept(run, key, in_instructions=True)
        self.run.compile(_SIGNATURE)
        compiled = self.run.overloads[_SIGNATURE]
        name = compiled.fndesc.llvm_cfunc_wrapper_name
        self.address: int = compiled.library.get_pointer_to_function(name)

    def block(self, common: int = 0) -> Any:
        """Room to say what there is to do, for what one piece gives back, and what is in common."""
        return np.zeros(self.found + GIVEN + common)

    def pair(self, block: Any) -> tuple[float, float]:
        """The sum that one piece has given back."""
        return block.item(self.found), block.item(self.found + 1)


def _piece(
    builder: Any,
    arrays: int,
    scalars: int,
    is_shared: bool,
    block: Value,
    room: Value,
    number: Value,
) -> Piece:
    """A block, read, and what follows for one piece."""
    whole, double = ir.IntType(64), ir.DoubleType()

    def read(k: int, kind: Any) -> Value:
        at = builder.add(block, whole(BYTES * k))
        return builder.load(builder.inttoptr(at, kind.as_pointer()))

    given = [read(k, whole) for k in range(arrays)]
    numbers = [read(arrays + k, double) for k in range(scalars)]
    behind = range(arrays + scalars, arrays + scalars + len(Extents._fields))
    of = Extents(*(read(k, whole) for k in behind))
    marks = builder.add(room, of.marks)
    begin, end, found = of.first, of.last, of.found
    if not is_shared:
        begin = builder.add(of.first, builder.mul(number, of.size))
        end = builder.add(begin, of.size)
        end = builder.select(builder.icmp_signed("<", end, of.last), end, of.last)
        found = builder.add(of.found, builder.mul(number, whole(BYTES * GIVEN)))
    extents = begin, end, of.size, of.classes, of.sums
    return Piece(given, numbers, *extents, found, room, marks, number)
