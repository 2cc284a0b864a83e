"""The largest number of a row of float32, sixteen at a time: to compare them, none is widened."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from refloss.formula import reductions
from refloss.formula.emitted import Number
from refloss.formula.reductions import NOWHERE, TOP
from refloss.formula.words import where
from refloss.kernels.simd.writing import LANES, Body, Stored

Value = Any  # of LLVM

MANY = 2 * LANES
AT_ONCE = 4

_FLOATS = ir.VectorType(ir.FloatType(), MANY)
_WHOLES = ir.VectorType(ir.IntType(32), MANY)


def _everywhere(kind: Any, x: float) -> Value:
    return ir.Constant(kind, [x] * MANY)


class Top:
    """What `refloss.formula.reductions.top_absorbed` makes of a row, in every lane.

    A lane remembers not the place but the turn in which it came upon its largest number.
    """

    def __init__(self, body: Body, array: Stored) -> None:
        self.body, self.builder, self.array = body, body.builder, array
        top, _, poison = TOP
        starts = (
            _everywhere(_FLOATS, top),
            _everywhere(_WHOLES, NOWHERE),
            _everywhere(_FLOATS, poison),
            _everywhere(_WHOLES, 0),
        )
        self.start = starts
        self.rooms = [cgutils.alloca_once(body.builder, one.type) for one in starts]

    def found(self, begin: Value, count: Value) -> list[Number]:
        """The state after so many numbers from where the row begins, in as many lanes as usual."""
        body, builder = self.body, self.builder
        for room, value in zip(self.rooms, self.start, strict=True):
            builder.store(value, room)
        whole = builder.and_(count, body.whole(-MANY))
        with body.loop(body.whole(0), whole, MANY) as c:
            self._absorb(body.raw(self.array, builder.add(begin, c), MANY))
        rest = builder.sub(count, whole)
        with builder.if_then(builder.icmp_signed(">", rest, body.whole(0))):
            at = builder.add(begin, whole)
            self._absorb(body.some_lanes(self.array, at, rest, self.start[0]))
        if body.lanes == MANY:
            return self._some(0)
        low, high = self._some(0), self._some(LANES)
        joined: Callable[..., Sequence[Any]] = body.read(reductions.top_joined)
        return [body.code.number(x) for x in joined(*low, *high)]

    def _absorb(self, z: Value) -> None:
        builder = self.builder
        top, turn, poison, now = map(builder.load, self.rooms)
        wins = builder.fcmp_ordered(">", z, top)
        is_number = builder.fcmp_ordered("==", z, z)
        found = (
            builder.select(wins, z, top),
            builder.select(wins, now, turn),
            builder.select(is_number, poison, z),
            builder.add(now, _everywhere(_WHOLES, 1)),
        )
        for room, value in zip(self.rooms, found, strict=True):
            builder.store(value, room)

    def _some(self, first: int) -> list[Number]:
        """The state of some lanes: top, place, and NaN if there is one."""
        body, builder = self.body, self.builder
        count = body.lanes
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, first + count)))
        doubles = ir.VectorType(ir.DoubleType(), count)
        parts = []
        for room in self.rooms[:3]:
            value = builder.load(room)
            parts.append(
                builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), lanes)
            )
        top, poison = (Number(body.code, builder.fpext(parts[k], doubles)) for k in (0, 2))
        turn = Number(body.code, builder.sitofp(parts[1], doubles))
        lane = Number(body.code, ir.Constant(doubles, [float(first + k) for k in range(count)]))
        place = body.read(place_of)(turn, lane)
        return [top, place, poison]


class Peak:
    """What `refloss.formula.reductions.peak_absorbed` makes of a row, in every lane.

    Several vectors at a time, for the next comparison waits for the one before.
    """

    def __init__(self, body: Body, array: Stored) -> None:
        self.body, self.array = body, array
        self.start = _everywhere(_FLOATS, -math.inf)
        self.rooms = [cgutils.alloca_once(body.builder, _FLOATS) for _ in range(AT_ONCE)]

    def found(self, begin: Value, count: Value) -> list[Number]:
        """The state after so many numbers from where the row begins."""
        body, builder = self.body, self.body.builder
        for room in self.rooms:
            builder.store(self.start, room)
        many = builder.and_(count, body.whole(-MANY * AT_ONCE))
        with body.loop(body.whole(0), many, MANY * AT_ONCE) as c:
            for k, room in enumerate(self.rooms):
                at = builder.add(begin, builder.add(c, body.whole(MANY * k)))
                self._absorb(room, body.raw(self.array, at, MANY))
        with body.loop(many, count, MANY) as c:
            at, rest = builder.add(begin, c), builder.sub(count, c)
            self._absorb(self.rooms[0], body.some_lanes(self.array, at, rest, self.start))
        for room in self.rooms[1:]:
            self._absorb(self.rooms[0], builder.load(room))
        doubles = ir.VectorType(ir.DoubleType(), MANY)
        return [Number(body.code, builder.fpext(builder.load(self.rooms[0]), doubles))]

    def _absorb(self, room: Value, z: Value) -> None:
        builder = self.body.builder
        top = builder.load(room)
        builder.store(builder.select(builder.fcmp_ordered(">", z, top), z, top), room)


def place_of(turn: Any, lane: Any) -> Any:
    """The place of what a lane came upon in a turn."""
    return where(turn < 0, NOWHERE, MANY * turn + lane)
