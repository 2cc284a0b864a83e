"""Memory as simulated kernels see it: bounds are checked, and so is who may touch what when.

Two lanes touch the same element in an order that a kernel has settled if there is a barrier of
the block between them, or a ``syncwarp`` of the warp with both. Everything else is a race, whether
or not it changes the result this time: shuffles and votes order no memory, and nothing orders
blocks. Only reads, atomics among themselves, and the same bits written twice cannot go wrong.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from greenlet import getcurrent
from numba import types
from numba.np.numpy_support import as_dtype

UNWRITTEN = 0xFF  # every float made of such bytes is NaN, every signed integer -1


PLACES: dict[tuple[int, int], int] = {}
_numbered: dict[Any, int] = {}
_codes: list[Any] = []  # kept: another must not get the identity of one that is gone


def place(frame: Any) -> int:
    """The number of the expression that a frame is at.

    Not the instruction: Python replaces calls that come often by others while they run.
    """
    code = frame.f_code
    position = next(islice(code.co_positions(), frame.f_lasti // 2, None))
    number = _numbered.setdefault((id(code), position), len(_numbered) + 1)
    _codes.append(code)
    PLACES[id(code), frame.f_lasti] = number
    return number


class RaceError(RuntimeError):
    """Two lanes touch one element, at least one of them writes, and nothing orders them."""


class Stamp(NamedTuple):
    """When a lane touched an element."""

    lane: Any
    epoch: int  # how many barriers its block had passed
    clock: int  # how many times it had met lanes of its warp in a ``syncwarp``


class History:
    """Who has touched each element of some memory, by address."""

    def __init__(self) -> None:
        self.writes: dict[int, Stamp] = {}
        self.atomics: dict[int, dict[Any, Stamp]] = {}
        self.reads: dict[int, dict[Any, Stamp]] = {}

    def read(self, address: int, lane: Any) -> Stamp | None:
        """Note a read; what it races with, if anything."""
        self.reads.setdefault(address, {})[lane] = lane.stamp
        return self._written(address, lane) or _unordered(self.atomics.get(address), lane)

    def write(self, address: int, lane: Any, same_bits: bool) -> Stamp | None:
        """Note a write; what it races with, if anything."""
        rival = (
            (None if same_bits else self._written(address, lane))
            or _unordered(self.atomics.pop(address, None), lane)
            or _unordered(self.reads.pop(address, None), lane)
        )
        self.writes[address] = lane.stamp
        return rival

    def change(self, address: int, lane: Any) -> Stamp | None:
        """Note an atomic operation; what it races with, if anything."""
        self.atomics.setdefault(address, {})[lane] = lane.stamp
        return self._written(address, lane) or _unordered(self.reads.get(address), lane)

    def _written(self, address: int, lane: Any) -> Stamp | None:
        stamp = self.writes.get(address)
        return None if stamp is None or lane.follows(stamp) else stamp


def _unordered(stamps: dict[Any, Stamp] | None, lane: Any) -> Stamp | None:
    if not stamps:
        return None
    return next((one for one in stamps.values() if not lane.follows(one)), None)


class DeviceArray(np.ndarray):
    """An array in a kernel: no index is negative or too large, and its history is kept.

    A view of an array with a history belongs to that history; what is computed from it does not.
    """

    name: str
    history: History | None
    start: int | None

    def __array_finalize__(self, parent: Any) -> None:
        self.name = getattr(parent, "name", "an array")
        self.history = getattr(parent, "history", None) if self.base is not None else None
        self.start = None

    def __getitem__(self, index: Any) -> Any:
        address = self._address(index)
        if address is not None and self.history is not None:
            lane = getcurrent()
            self._judge("reads", index, lane, self.history.read(address, lane))
        return super().__getitem__(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        address = self._address(index)
        if address is None or self.history is None:
            super().__setitem__(index, value)
            return
        before = super().__getitem__(index).tobytes()
        super().__setitem__(index, value)
        same_bits = super().__getitem__(index).tobytes() == before
        lane = getcurrent()
        self._judge("writes", index, lane, self.history.write(address, lane, same_bits))

    def changed(self, index: Any, change: Callable[[Any], Any]) -> Any:
        """Change an element atomically; what it was before."""
        address = self._address(index)
        assert address is not None, f"an atomic operation on {index} of {self.name}"
        if self.history is not None:
            lane = getcurrent()
            self._judge("changes", index, lane, self.history.change(address, lane))
        before = super().__getitem__(index)
        super().__setitem__(index, change(before))
        return before

    def _address(self, index: Any) -> int | None:
        """Where the element lies; None for a part of the array."""
        indices = index if type(index) is tuple else (index,)
        if self.start is None:
            self.start = self.__array_interface__["data"][0]
        address, single = self.start, len(indices) == self.ndim
        if len(indices) > self.ndim:
            raise IndexError(f"{len(indices)} indices for {self.name} of shape {self.shape}")
        for i, size, stride in zip(indices, self.shape, self.strides, strict=False):
            if type(i) is slice:
                single = False
                continue
            at = operator.index(i)
            if not 0 <= at < size:
                where = f"index {index} is out of bounds of {self.name} of shape {self.shape}"
                raise IndexError(f"{getcurrent()}: {where}")
            address += at * stride
        return address if single else None

    def _judge(self, act: str, index: Any, lane: Any, rival: Stamp | None) -> None:
        if rival is not None:
            raise RaceError(
                f"{lane} {act} element {index} of {self.name} that {rival.lane} touched, "
                "and nothing orders the two"
            )


def device_array(array: np.ndarray, name: str, history: History | None) -> DeviceArray:
    """The same memory as kernels see it."""
    seen = array.view(DeviceArray)
    seen.name, seen.history = name, history
    return seen


def _unwritten(shape: Any, dtype: Any) -> np.ndarray:
    dtype = as_dtype(dtype) if isinstance(dtype, types.Type) else np.dtype(dtype)
    bytes_ = int(np.prod(shape)) * dtype.itemsize
    return np.full(bytes_, UNWRITTEN, np.uint8).view(dtype).reshape(shape)


class Local:
    """``cuda.local``: memory of one lane."""

    def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
        return device_array(_unwritten(shape, dtype), "a local array", None)


class Shared:
    """``cuda.shared`` of one block.

    As in compiled code, an array belongs to the place in the device function that asks for it:
    two calls of one function get the same memory, two functions made by one factory do not.
    """

    def __init__(self, dynamic_bytes: int, history: History | None) -> None:
        self.history = history
        self.dynamic = np.full(dynamic_bytes, UNWRITTEN, np.uint8)
        self.arrays: dict[Any, np.ndarray] = {}

    def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
        if shape == 0:
            kind = as_dtype(dtype) if isinstance(dtype, types.Type) else np.dtype(dtype)
            whole = self.dynamic[: self.dynamic.size // kind.itemsize * kind.itemsize]
            return device_array(whole.view(kind), "dynamic shared memory", self.history)
        frame = sys._getframe(1)
        owner = getcurrent().function, place(frame)
        if owner not in self.arrays:
            self.arrays[owner] = _unwritten(shape, dtype)
        name = f"the shared array of line {frame.f_lineno}"
        return device_array(self.arrays[owner], name, self.history)


class Atomic:
    """``cuda.atomic``."""

    def add(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: old + value)

    def sub(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: old - value)

    def and_(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: old & value)

    def or_(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: old | value)

    def xor(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: old ^ value)

    def exch(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: value)

    def cas(self, array: Any, index: Any, old: Any, value: Any) -> Any:
        return array.changed(index, lambda found: value if found == old else found)

    def compare_and_swap(self, array: Any, old: Any, value: Any) -> Any:
        return self.cas(array, (0,) * array.ndim, old, value)

    def inc(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: 0 if old >= value else old + 1)

    def dec(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: value if old == 0 or old > value else old - 1)

    def max(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: np.fmax(old, value))

    def min(self, array: Any, index: Any, value: Any) -> Any:
        return array.changed(index, lambda old: np.fmin(old, value))

    nanmax, nanmin = max, min  # noqa: A003
