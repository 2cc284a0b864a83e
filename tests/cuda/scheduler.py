"""A strict and fast scheduler for Numba's CUDA simulator.

The simulator runs each lane as a thread of the operating system, knows no warps, and lets mistakes
pass that a GPU punishes. Here every lane is a greenlet, which runs until it has to wait for others;
who runs next is chosen by an *order*, the same in every run. Refused, with thread and block:

* barriers that not all lanes of the block reach, or not the same one (`DivergenceError`);
* warp operations whose mask names a lane that has exited or waits elsewhere, and shuffles that read
  from a lane that is not in the mask (`DivergenceError`);
* two lanes that touch one element with nothing that orders them (`memory.RaceError`);
* indices out of bounds, negative ones too (`IndexError`).

What remains order-dependent, such as a sum by atomics, shows as other bits `under_every_order`.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any
from unittest.mock import patch

import numpy as np
from greenlet import getcurrent, greenlet
from numba import cuda
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numba.cuda.simulator.kernel import ArgHint, FakeCUDAKernel
from numba.cuda.simulator.kernelapi import Dim3, FakeCUDAModule

from .mathematics import REPLACED, device_math
from .memory import PLACES, Atomic, History, Local, Shared, Stamp, device_array, place

WARP = 32
EVERY_LANE = 0xFFFFFFFF
MOST_THREADS = 1024

ORDERS = ("forward", "reverse", 1, 2, 3)


class DivergenceError(RuntimeError):
    """Lanes that have to meet do not."""


class Order:
    """Who goes first: ``forward`` and ``reverse`` let one warp run as far ahead as it can."""

    def __init__(self, name: str | int) -> None:
        if name not in ("forward", "reverse") and not isinstance(name, int):
            raise ValueError(f"an order is 'forward', 'reverse' or a seed, not {name!r}")
        self.random = random.Random(name) if isinstance(name, int) else None
        self.reverse = name == "reverse"

    def arranged(self, items: Sequence[Any]) -> Sequence[Any]:
        """All of them, in this order."""
        if self.random is not None:
            return self.random.sample(items, len(items))
        return items[::-1] if self.reverse else items

    def first(self, items: Sequence[Any]) -> Any:
        """The one that goes first."""
        if self.random is not None:
            return self.random.choice(items)
        return items[-1 if self.reverse else 0]


class Lane(greenlet):
    """One thread of a block."""

    def __init__(self, block: Block, warp: Warp, index: int) -> None:
        super().__init__(block.launch.body)
        # np.errstate is part of a context, and a greenlet would begin with an empty one
        self.gr_context = copy_context()
        self.block, self.warp, self.number = block, warp, index % WARP
        x, y, _ = block.launch.block_dim
        self.thread = Dim3(index % x, index // x % y, index // (x * y))
        self.function: Any = block.launch.kernel  # the device function that it is in
        self.clock, self.seen = 1, [0] * WARP
        self.stamp = Stamp(self, 0, 1)
        self.answer: Any = None
        self.operation, self.mask, self.value = "", None, None
        self.meeting: Any = None  # equal for lanes that wait for each other

    def __str__(self) -> str:
        return f"thread {self.thread} of block {self.block.index}"

    def wait(self, operation: str, value: Any = None, mask: int | None = None) -> Any:
        """Stop here until the others have come; what they brought."""
        self.operation, self.value, self.mask = operation, value, mask
        site, frame = [], sys._getframe(2)
        while frame is not None:
            known = PLACES.get((id(frame.f_code), frame.f_lasti))
            site.append(known or place(frame))
            frame = frame.f_back
        self.meeting = operation, mask, tuple(site)
        return self.parent.switch()

    def stamped(self) -> None:
        """Note that the epoch or the clock is another."""
        self.stamp = Stamp(self, self.block.epoch, self.clock)

    def follows(self, stamp: Stamp) -> bool:
        """Whether what was done then is settled for this lane now."""
        other, epoch, clock = stamp
        if other is self:
            return True
        if other.block is not self.block:
            return False
        return epoch < self.block.epoch or (
            other.warp is self.warp and self.seen[other.number] >= clock
        )

    @property
    def whereabouts(self) -> str:
        """What it is doing, for messages."""
        if self.dead:
            return f"{self} has exited"
        frame, calls = self.gr_frame, []
        while frame is not None:
            if frame.f_code.co_filename != __file__:
                calls.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
            frame = frame.f_back
        line = " > ".join(reversed(calls))
        mask = "" if self.mask is None else f" of mask {self.mask:#010x}"
        return f"{self} waits in {self.operation}{mask} ({line})"


class Warp:
    """Up to 32 lanes that can meet by themselves."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.ready: list[Lane] = []

    def meet(self) -> None:
        """Let those go on whose mask is complete; the others wait on."""
        groups: dict[Any, list[Lane]] = {}
        for lane in self.lanes:
            if not lane.dead and lane.mask is not None:
                groups.setdefault(lane.meeting, []).append(lane)
        self.ready = []
        for (operation, mask, _), lanes in groups.items():
            # whoever arrives at an activemask together is active together
            named = lanes if operation == "activemask" else self.named(mask)
            if len(lanes) < len(named):
                self._refuse_what_cannot_be(lanes, named)
                continue
            answer = {lane.number: lane.value for lane in lanes}
            for lane in lanes:
                lane.answer = answer
            if operation == "syncwarp":
                _order_memory(lanes)
            self.ready += lanes

    def named(self, mask: int) -> list[Lane]:
        """The lanes that a mask names; those that a short warp lacks are no one's fault."""
        return [lane for lane in self.lanes if mask >> lane.number & 1]

    def _refuse_what_cannot_be(self, lanes: list[Lane], named: list[Lane]) -> None:
        for lane in named:
            if lane.dead or lane.mask is None:
                raise DivergenceError(f"{lanes[0].whereabouts}, but {lane.whereabouts}")


def _order_memory(lanes: list[Lane]) -> None:
    seen = [max(numbers) for numbers in zip(*(lane.seen for lane in lanes), strict=True)]
    for lane in lanes:
        seen[lane.number] = lane.clock
    for lane in lanes:
        lane.seen = seen
        lane.clock += 1
        lane.stamped()


class Block:
    """The threads of a block, from their start until all have exited."""

    def __init__(self, launch: Launch, index: tuple[int, int, int]) -> None:
        self.launch, self.index = launch, Dim3(*index)
        self.epoch = 0
        self.shared = Shared(launch.dynamic_bytes, History() if launch.races else None)
        self.lanes: list[Lane] = []
        self.warps: list[Warp] = []
        for i in range(launch.threads):
            if i % WARP == 0:
                self.warps.append(Warp())
            self.lanes.append(Lane(self, self.warps[-1], i))
            self.warps[-1].lanes.append(self.lanes[-1])

    def run(self) -> None:
        """Run all threads to their end."""
        for warp in self.warps:
            warp.ready = warp.lanes
        try:
            while True:
                moving = [warp for warp in self.warps if warp.ready]
                if moving:
                    self._advance(self.launch.order.first(moving))
                elif all(lane.dead for lane in self.lanes):
                    return
                else:
                    self._pass_barrier()
        finally:
            for lane in self.lanes:
                lane.throw()  # unwinds what was left in the middle

    def _advance(self, warp: Warp) -> None:
        for lane in self.launch.order.arranged(warp.ready):
            try:
                lane.switch() if lane.answer is None else lane.switch(lane.answer)
            except Exception as error:
                if str(lane) not in str(error):
                    error.add_note(f"in {lane}")
                raise
        warp.meet()

    def _pass_barrier(self) -> None:
        alive = [lane for lane in self.lanes if not lane.dead]
        first = next((lane for lane in alive if lane.mask is not None), alive[0])
        awaited = self.lanes if first.mask is None else first.warp.named(first.mask)
        for lane in awaited:
            if lane.dead or lane.meeting != first.meeting:
                raise DivergenceError(f"{first.whereabouts}, but {lane.whereabouts}")
        self.epoch += 1
        values = [lane.value for lane in self.lanes]
        for lane in self.lanes:
            lane.answer = values
            lane.stamped()
        for warp in self.warps:
            warp.ready = warp.lanes


class Module(FakeCUDAModule):
    """What kernels find as ``cuda``."""

    shared = property(lambda self: getcurrent().block.shared)
    local = property(lambda self: self._local)
    atomic = property(lambda self: self._atomic)
    threadIdx = property(lambda self: getcurrent().thread)
    blockIdx = property(lambda self: getcurrent().block.index)
    laneid = property(lambda self: getcurrent().number)

    def __init__(self, grid_dim: Any, block_dim: Any) -> None:
        super().__init__(grid_dim, block_dim, 0)
        self._local, self._atomic = Local(), Atomic()

    def syncthreads(self) -> None:
        getcurrent().wait("syncthreads")

    def syncthreads_count(self, predicate: Any) -> int:
        return sum(map(bool, getcurrent().wait("syncthreads_count", predicate)))

    def syncthreads_and(self, predicate: Any) -> int:
        return int(all(getcurrent().wait("syncthreads_and", predicate)))

    def syncthreads_or(self, predicate: Any) -> int:
        return int(any(getcurrent().wait("syncthreads_or", predicate)))

    def syncwarp(self, mask: int = EVERY_LANE) -> None:
        _met("syncwarp", mask, None)

    def ballot_sync(self, mask: int, predicate: Any) -> int:
        return sum(1 << number for number, x in _met("ballot_sync", mask, predicate).items() if x)

    def all_sync(self, mask: int, predicate: Any) -> int:
        return int(all(_met("all_sync", mask, predicate).values()))

    def any_sync(self, mask: int, predicate: Any) -> int:
        return int(any(_met("any_sync", mask, predicate).values()))

    def eq_sync(self, mask: int, predicate: Any) -> int:
        return int(len(set(map(bool, _met("eq_sync", mask, predicate).values()))) == 1)

    def activemask(self) -> int:
        return sum(1 << number for number in getcurrent().wait("activemask", mask=0))

    def shfl_sync(self, mask: int, value: Any, source: int) -> Any:
        return _shuffled("shfl_sync", mask, value, int(source) % WARP)

    def shfl_up_sync(self, mask: int, value: Any, delta: int) -> Any:
        return _shuffled("shfl_up_sync", mask, value, getcurrent().number - int(delta))

    def shfl_down_sync(self, mask: int, value: Any, delta: int) -> Any:
        return _shuffled("shfl_down_sync", mask, value, getcurrent().number + int(delta))

    def shfl_xor_sync(self, mask: int, value: Any, mask_of_bits: int) -> Any:
        return _shuffled("shfl_xor_sync", mask, value, getcurrent().number ^ int(mask_of_bits))


def _met(operation: str, mask: int, value: Any) -> dict[int, Any]:
    """What the lanes of a mask bring to an operation, by their number in the warp."""
    lane, mask = getcurrent(), int(mask) & EVERY_LANE
    if not mask >> lane.number & 1:
        raise DivergenceError(f"{lane} is not in the mask {mask:#010x} of its own {operation}")
    return lane.wait(operation, value, mask)


def _shuffled(operation: str, mask: int, value: Any, source: int) -> Any:
    if not isinstance(value, (int, float, np.generic)):
        raise TypeError(f"{operation} moves one number, not {value!r}")
    values = _met(operation, mask, value)
    if not 0 <= source < WARP:
        return value
    if source not in values:
        raise DivergenceError(
            f"{getcurrent()} reads by {operation} from lane {source}, "
            "which its warp or the mask lacks"
        )
    return values[source]


class Launch:
    """One call of a kernel, block after block."""

    current: Launch | None = None

    def __init__(self, kernel: FakeCUDAKernel, order: str | int, races: bool) -> None:
        self.kernel, self.order, self.races = kernel, Order(order), races
        self.grid_dim, self.block_dim = tuple(kernel.grid_dim), tuple(kernel.block_dim)
        self.threads = int(np.prod(self.block_dim))
        self.dynamic_bytes = kernel.dynshared_size
        self.cuda = Module(self.grid_dim, self.block_dim)
        self.replaced: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.body: Callable[[], None]
        if not 0 < self.threads <= MOST_THREADS:
            raise ValueError(f"a block of {self.threads} threads: 1 to {MOST_THREADS} can be")

    def run(self, arguments: Sequence[Any]) -> None:
        """Run the kernel on arguments of the host."""
        if Launch.current is not None:
            raise RuntimeError("a kernel launched by a kernel")
        history = History() if self.races else None
        seen = [_on_device(x, f"argument {i}", history) for i, x in enumerate(arguments)]
        self.body = lambda: self.kernel.fn(*seen)
        x, y, z = self.grid_dim
        indices = [(i, j, k) for k in range(z) for j in range(y) for i in range(x)]
        Launch.current = self
        try:
            self.enter(self.kernel.fn)
            with np.errstate(all="ignore"):
                for index in self.order.arranged(indices):
                    Block(self, index).run()
        finally:
            Launch.current = None
            for names, before in self.replaced.values():
                names.update(before)

    def enter(self, function: Any) -> None:
        """Give a function this launch's ``cuda`` and ``math``, until the launch ends."""
        names = function.__globals__
        if id(names) in self.replaced:
            return
        before, now = {}, {}
        for name, known in names.items():
            if known is cuda:
                before[name], now[name] = known, self.cuda
            elif known is math:
                before[name], now[name] = known, device_math
            elif isinstance(known, BuiltinFunctionType) and known in REPLACED:
                before[name], now[name] = known, REPLACED[known]
        names.update(now)
        self.replaced[id(names)] = names, before


def _on_device(argument: Any, name: str, history: History | None) -> Any:
    if isinstance(argument, ArgHint):
        return _on_device(argument.value, name, history)
    if isinstance(argument, FakeCUDAArray):
        return device_array(argument._ary, name, history)
    if isinstance(argument, np.ndarray):
        return device_array(argument, name, history)
    if isinstance(argument, tuple):
        parts = [_on_device(x, f"{name}[{i}]", history) for i, x in enumerate(argument)]
        return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
    return np.float64(argument) if isinstance(argument, float) else argument


@contextmanager
def simulated(order: str | int = "forward", races: bool = True) -> Iterator[None]:
    """Kernels run by this scheduler, in an order, with or without a look-out for races.

    The look-out is told nothing by fences: what one block leaves for another, with an atomic
    that says so, counts as a race.
    """

    def call(kernel: FakeCUDAKernel, *arguments: Any) -> Any:
        launch = Launch.current
        if launch is None and not kernel._device:
            return Launch(kernel, order, races).run(arguments)
        if launch is None:
            return kernel.fn(*arguments)
        launch.enter(kernel.fn)
        lane = getcurrent()
        caller, lane.function = lane.function, kernel
        found = kernel.fn(*arguments)
        lane.function = caller
        return found

    def configured(kernel: FakeCUDAKernel, configuration: Any) -> FakeCUDAKernel:
        kernel.dynshared_size = 0  # the simulator keeps that of the call before
        return configure(kernel, configuration)

    configure = FakeCUDAKernel.__getitem__
    with patch.multiple(FakeCUDAKernel, __call__=call, __getitem__=configured):
        yield


def under_every_order(
    run: Callable[[], Any], orders: Sequence[str | int] = ORDERS, races: bool = True
) -> Any:
    """What ``run`` gives, which has to be the same bits in every order."""
    found = {}
    for order in orders:
        with simulated(order, races):
            found[order] = run()
    first = found[orders[0]]
    for order, other in found.items():
        difference = _difference(first, other)
        assert not difference, f"in the order {order!r}, not {orders[0]!r}: {difference}"
    return first


def _difference(one: Any, other: Any) -> str:
    """The first place where two results have other bits, if any."""
    if isinstance(one, (tuple, list)):
        pairs = enumerate(zip(one, other, strict=True))
        told = ((i, _difference(*pair)) for i, pair in pairs)
        return next((f"result {i}, {difference}" for i, difference in told if difference), "")
    one, other = np.atleast_1d(one), np.atleast_1d(other)
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    for at in np.ndindex(one.shape):
        if one[at].tobytes() != other[at].tobytes():
            return f"element {at} is {other[at]!r}, not {one[at]!r}"
    return ""
