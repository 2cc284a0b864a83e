"""Threads that take the pieces of a task one after the other, without Python between them.

Who leads lays a task on the desk and works on it; helpers look there and join in. When a task is
done they go on looking for a while, since to wake a thread that sleeps takes longer than many a
loss: 50 to 100 us. Nobody waits for a helper who has not come: the leader alone would do it all.

A desk is memory that all of them read and write:

- ``OPEN`` is the number of the task that lies there; 0, if there is none;
- ``INSIDE`` counts the helpers who may be at work on it;
- ``NEXT`` is the piece that nobody has taken;
- behind ``TASK`` is what the task is;
- behind ``AWAKE`` is a number for each helper: whether it has been called and not gone to sleep.

A helper first counts itself in, then looks whether its task still lies there; the leader first
takes the task away, then waits until nobody is in. Both in an order that all threads see alike: so
what a task works on is given back only when nobody does.
"""

from __future__ import annotations

import os
import threading
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
from refloss.kernels.simd.writing import hint_waiting

Value = Any  # of LLVM

LINE = 128  # bytes: two lines of cache, which are fetched together
OPEN, INSIDE, NEXT, TASK, AWAKE = (LINE * k for k in range(5))
FUNCTION, BLOCK, ROOMS, STRIDE, COUNT = (TASK + 8 * k for k in range(5))

# Looks at the desk without a task before a helper goes to sleep: about half a millisecond
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


def _pause(context: Any) -> Any:
    """Tell the CPU that this thread only waits."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        hint_waiting(builder)
        return context.get_dummy_value()

    return types.none(), build


def _call(context: Any, function: Any, block: Any, room: Any, number: Any) -> Any:
    """Do a piece, by the function of a `refloss.kernels.simd.tasks.Task`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        kind = ir.FunctionType(ir.VoidType(), [_WHOLE] * 3)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.none(function, block, room, number), build


# What is done at a desk, in functions that Numba compiles
look, lay, add, pause, call = map(intrinsic, (_look, _lay, _add, _pause, _call))


def _lead(
    desk: int, ticket: int, function: int, block: int, rooms: int, stride: int, pieces: int
) -> None:
    """See a task done."""
    lay(desk + FUNCTION, function)
    lay(desk + BLOCK, block)
    lay(desk + ROOMS, rooms)
    lay(desk + STRIDE, stride)
    lay(desk + COUNT, pieces)
    lay(desk + NEXT, 0)
    lay(desk + OPEN, ticket)
    if pieces == 0:
        call(function, block, rooms, 0)
    while True:
        number = add(desk + NEXT, 1)
        if number >= pieces:
            break
        call(function, block, rooms, number)
    lay(desk + OPEN, 0)
    while look(desk + INSIDE) != 0:
        pause()


def _help(desk: int, seat: int, patience: int) -> None:
    """Join in whatever lies on the desk, until nothing has for a while."""
    done, looked = 0, 0
    while looked < patience:
        ticket = look(desk + OPEN)
        if ticket == 0 or ticket == done:
            pause()
            looked += 1
            continue
        add(desk + INSIDE, 1)
        if look(desk + OPEN) == ticket:
            function, block, pieces = look(desk + FUNCTION), look(desk + BLOCK), look(desk + COUNT)
            room = look(desk + ROOMS) + seat * look(desk + STRIDE)
            if pieces == 0:
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
        self.busy = threading.Lock()

    def run(self, function: int, block: int, rooms: int, stride: int, pieces: int) -> bool:
        """See a task done; whether it was, for the desk may be somebody else's.

        There is a room for each of the crew, so many bytes apart. A task without pieces is one that
        threads share (`refloss.kernels.simd.tasks.Task`): each is called once, with its number.
        Nobody works on the task any more when this returns, and no signal comes in between.
        """
        if not self.busy.acquire(blocking=False):
            return False
        try:
            for seat in range(1, min(self.size, pieces or self.size)):
                if not self.awake[seat]:
                    self._wake(seat)
            _leading()(self.desk, next(self.tickets), function, block, rooms, stride, pieces)
        finally:
            self.busy.release()
        return True

    def _wake(self, seat: int) -> None:
        self.awake[seat] = 1
        try:
            self.pool.submit(self._help, seat)
        except RuntimeError:  # no more threads are to be had: it goes without
            # who is called may come all the same, and have the seat: others get another desk
            _forget()

    def _help(self, seat: int) -> None:
        _helping()(self.desk, seat, PATIENCE)


_crew: Crew | None = None


def current() -> Crew | None:
    """The crew of as many as there are to be threads, if they are several and may be lent."""
    global _crew
    size = threads.get_num_threads()
    # an interpreter that ends lends no threads, but those of its user may go on
    if size == 1 or not threading.main_thread().is_alive():
        _crew = None
        return None
    found = _crew  # another caller may set a number of threads meanwhile
    if found is None or found.size != size:
        found = _crew = Crew(size)
    return found


def see_done(
    among: Crew | None, task: Task, block: int, rooms: int, stride: int, pieces: int
) -> None:
    """See a task done, by a crew or without; threads that share one are counted 0 pieces."""
    if among is None or not among.run(task.address, block, rooms, stride, pieces):
        for k in range(pieces or 1):
            task.run(block, rooms, k)


def _forget() -> None:
    global _crew
    _crew = None  # threads do not survive a fork; the child makes its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
