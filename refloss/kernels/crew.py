"""Threads that take the pieces of a task one after the other, without Python between them.

Who leads lays a task on the desk and works on it; helpers look there and join in. When a task is
done they go on looking for a while, since to wake a thread that sleeps takes longer than many a
loss: 50 to 100 us. Nobody waits for a helper who has not come: the leader alone would do it all.

A desk is memory that all of them read and write:

- ``TAKEN`` is whether somebody leads;
- ``OPEN`` is the number of the task that lies there; 0, if there is none;
- ``INSIDE`` counts the helpers who may be at work on it;
- ``NEXT`` is the piece that nobody has taken;
- behind ``TASK`` is what the task is;
- behind ``AWAKE`` is a number for each seat: whether a helper is in it, who has not gone to sleep.

A helper first counts itself in, then looks whether its task still lies there; the leader first
takes the task away, then waits until nobody is in. Both in an order that all threads see alike: so
what a task works on is given back only when nobody does. Who leads, and who sits where, is decided
on the desk as well: an interrupt of Python's comes between no two of these steps.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refloss.kernels import cache as kernel_cache
from refloss.kernels import threads
from refloss.kernels.address import address_of
from refloss.kernels.simd.tasks import Task
from refloss.kernels.simd.writing import wait

Value = Any  # of LLVM

LINE = 128  # bytes: two lines of cache, which are fetched together
OPEN, INSIDE, NEXT, TAKEN, TASK, AWAKE = (LINE * k for k in range(6))
FUNCTION, BLOCK, ROOMS, STRIDE, COUNT = (TASK + 8 * k for k in range(5))

SHARED = 0  # in the place of pieces: threads share all there is to do

# Looks at the desk without a task before a helper goes to sleep: about half a millisecond on CPUs
# whose hint to wait takes some 40 cycles
PATIENCE = 30_000

_WHOLE = ir.IntType(64)


def _pointer(builder: Any, address: Value) -> Value:
    return builder.inttoptr(address, _WHOLE.as_pointer())


def _look(context: Any, address: Any) -> Any:
    """The number that lies there, and all that was written before it was."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        return builder.load_atomic(_pointer(builder, arguments[0]), "seq_cst", 8)

    return types.int64(address), build


def _lay(context: Any, address: Any, number: Any) -> Any:
    """Write a number for all to see, after all that was written before."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        place = _pointer(builder, arguments[0])
        builder.store_atomic(arguments[1], place, "seq_cst", 8)
        return context.get_dummy_value()

    return types.none(address, number), build


def _add(context: Any, address: Any, number: Any) -> Any:
    """Add to the number that lies there, and say what it was."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        place = _pointer(builder, arguments[0])
        return builder.atomic_rmw("add", place, arguments[1], "seq_cst")

    return types.int64(address, number), build


def _claim(context: Any, address: Any) -> Any:
    """Make a 1 of the 0 that lies there, if it is one; whether it was."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        place = _pointer(builder, arguments[0])
        found = builder.cmpxchg(place, _WHOLE(0), _WHOLE(1), "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(address), build


def _pause(context: Any, turn: Any) -> Any:
    """Wait a little, for as many times as it was."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        wait(builder, arguments[0])
        return context.get_dummy_value()

    return types.none(turn), build


def _call(context: Any, function: Any, block: Any, room: Any, number: Any) -> Any:
    """Do a piece, by the function of a `refloss.kernels.simd.tasks.Task`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        kind = ir.FunctionType(ir.VoidType(), [_WHOLE] * 3)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.none(function, block, room, number), build


# What is done at a desk, in functions that Numba compiles
look, lay, add, claim, pause, call = map(intrinsic, (_look, _lay, _add, _claim, _pause, _call))


def _lead(
    desk: int, ticket: int, function: int, block: int, rooms: int, stride: int, pieces: int
) -> bool:
    """See a task done, unless somebody else leads."""
    if not claim(desk + TAKEN):
        return False
    lay(desk + FUNCTION, function)
    lay(desk + BLOCK, block)
    lay(desk + ROOMS, rooms)
    lay(desk + STRIDE, stride)
    lay(desk + COUNT, pieces)
    lay(desk + NEXT, 0)
    lay(desk + OPEN, ticket)
    if pieces == SHARED:
        call(function, block, rooms, 0)
    while True:
        number = add(desk + NEXT, 1)
        if number >= pieces:
            break
        call(function, block, rooms, number)
    lay(desk + OPEN, 0)
    turn = 0
    while look(desk + INSIDE) != 0:
        pause(turn)
        turn += 1
    lay(desk + TAKEN, 0)
    return True


def _help(desk: int, seat: int, patience: int) -> None:
    """Join in whatever lies on the desk, until nothing has for a while."""
    if not claim(desk + AWAKE + 8 * seat):
        return
    done, looked = 0, 0
    while looked < patience:
        ticket = look(desk + OPEN)
        if ticket == 0 or ticket == done:
            pause(looked)
            looked += 1
            continue
        add(desk + INSIDE, 1)
        if look(desk + OPEN) == ticket:
            function, block, pieces = look(desk + FUNCTION), look(desk + BLOCK), look(desk + COUNT)
            room = look(desk + ROOMS) + seat * look(desk + STRIDE)
            if pieces == SHARED:
                call(function, block, room, seat)
            while True:
                number = add(desk + NEXT, 1)
                if number >= pieces:
                    break
                call(function, block, room, number)
        add(desk + INSIDE, -1)
        done, looked = ticket, 0
    lay(desk + AWAKE + 8 * seat, 0)


@cache
def _leading() -> Any:
    return kernel_cache.kept(_lead)


@cache
def _helping() -> Any:
    return kernel_cache.kept(_help)


class Crew:
    """A leader, whoever that is, and helpers who stay awake for a while."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pool = ThreadPoolExecutor(size, thread_name_prefix="refloss-crew")
        self.memory = np.zeros((AWAKE + LINE) // 8 + size, np.int64)
        begin = -(address_of(self.memory) // 8) % (LINE // 8)
        self.desk = address_of(self.memory) + 8 * begin
        self.awake = self.memory[begin + AWAKE // 8 :]
        self.tickets = count(1)
        # compiled by who asks: a helper that was busy compiling, under a lock, might outlive the
        # call, and a fork would take the lock along
        self.lead, self.help = _leading(), _helping()
        self.help(self.desk, 1, 0)

    def run(self, function: int, block: int, rooms: int, stride: int, pieces: int) -> bool:
        """See a task done; whether it was, for the desk may be somebody else's.

        There is a room for each of the crew, so many bytes apart. Of a ``SHARED`` task
        (`refloss.kernels.simd.tasks.Task`) each is called once, with its number. Nobody works on
        the task any more when this returns.
        """
        for seat in range(1, self.size if pieces == SHARED else min(self.size, pieces)):
            if not self.awake[seat]:
                self._call_in(seat)
        ticket = next(self.tickets)
        return bool(self.lead(self.desk, ticket, function, block, rooms, stride, pieces))

    def _call_in(self, seat: int) -> None:
        """Have a helper take a seat; who finds it taken goes again."""
        try:
            self.pool.submit(self._sit_down, seat)
        except RuntimeError as error:  # no more threads are to be had: it goes without
            if isinstance(error.__context__, KeyboardInterrupt):  # of which a lock made this
                raise error.__context__ from None

    def _sit_down(self, seat: int) -> None:
        self.help(self.desk, seat, PATIENCE)


_crew: Crew | None = None


def current() -> Crew | None:
    """The crew of as many as there are to be threads, if they are several and may be lent."""
    global _crew
    # more than there are CPUs would wait for each other
    size = min(threads.get_num_threads(), threads.cpus())
    if size == 1 or not threads.may_be_lent():
        _crew = None
        return None
    found = _crew  # another caller may set a number of threads meanwhile
    if found is None or found.size != size:
        found = _crew = Crew(size)
    return found


def see_done(
    among: Crew | None, task: Task, block: int, rooms: int, stride: int, pieces: int
) -> None:
    """See a task done, by a crew or without."""
    if among is None or not among.run(task.address, block, rooms, stride, pieces):
        for k in range(1 if pieces == SHARED else pieces):
            task.run(block, rooms, k)


def _forget() -> None:
    global _crew
    _crew = None  # threads do not survive a fork; the child makes its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
