"""Which rows may be an anchor's farthest positive or its nearest negative.

Squared distances come from a float32 matrix product, block by block, and are good to a bound that
is known. What lies within the bound of the largest or smallest is a candidate; there is mostly one,
and only candidates are measured with care.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from refloss.formula.emitted import DOUBLE, Flag
from refloss.kernels.address import address_of
from refloss.kernels.simd.writing import LANES, Body, Stored, Variables, kernel

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Value = Any  # of LLVM

MOST = 16  # candidates of either kind that are kept
LARGE = 2.0**400  # numbers below have squares with sums, and above 1 / LARGE too
UNIT = 2.0**-24  # float32 rounds by no more
FAR = 1e300  # beyond all rough distances


@cache
def _scan() -> Any:
    """A kernel of (products, half squared norms, labels, bounds, candidates, counts, rows, columns,
    first)."""

    def write(builder: Any, values: Sequence[Value]) -> None:
        body = Body(builder, DOUBLE)
        products = Stored(values[0], "float32")
        norms, labels, bounds = (
            Stored(address, one)
            for address, one in zip(values[1:4], ("float64", "int64", "float64"), strict=True)
        )
        candidates, counts = (Stored(address, "int64") for address in values[4:6])
        rows, columns, first = values[6:]
        code = body.code
        numbers = ir.Constant(ir.VectorType(ir.IntType(64), LANES), list(range(LANES)))

        with body.loop(body.whole(0), rows) as i:
            base, itself = builder.mul(i, columns), builder.add(first, i)
            own, bound = code.spread(body.raw(labels, itself)), body.one(bounds, itself)
            nearest = body.variables([code.number(FAR)])
            farthest = body.variables([code.number(-FAR)])

            def rough(k: Value, rest: Value | None) -> tuple[Any, Flag, Flag]:
                at = builder.add(base, k)
                if rest is None:
                    product, norm = body.run(products, at), body.run(norms, k)
                    others = body.raw(labels, k, LANES)
                else:
                    product, norm = body.some(products, at, rest), body.some(norms, k, rest)
                    others = body.some_raw(labels, k, rest)
                same = builder.icmp_signed("==", others, own)
                places = builder.add(code.spread(k), numbers)
                apart = builder.icmp_signed("!=", places, code.spread(itself))
                there = builder.and_(same, apart), builder.not_(same)
                if rest is not None:
                    inside = body.first(rest).value
                    there = builder.and_(there[0], inside), builder.and_(there[1], inside)
                return norm - product, Flag(code, there[0]), Flag(code, there[1])

            def look(k: Value, rest: Value | None) -> None:
                x, positive, negative = rough(k, rest)
                farthest.set([x], positive & (x > farthest.get()[0]))
                nearest.set([x], negative & (x < nearest.get()[0]))

            _across(body, columns, look)
            low, high = _joined(body, nearest, "<"), _joined(body, farthest, ">")
            low, high = low + bound, high - bound
            zero = body.whole(0)
            for kind in range(2):
                body.put_raw(counts, _slot(body, i, kind), zero)

            def keep(k: Value, rest: Value | None) -> None:
                x, positive, negative = rough(k, rest)
                for kind, flag in enumerate((positive & (x >= high), negative & (x <= low))):
                    lanes = builder.bitcast(flag.value, ir.IntType(LANES))
                    with builder.if_then(builder.icmp_unsigned("!=", lanes, lanes.type(0))):
                        wide = builder.zext(lanes, ir.IntType(64))
                        with body.loop(zero, body.whole(LANES)) as lane:
                            bit = builder.and_(builder.lshr(wide, lane), body.whole(1))
                            with builder.if_then(builder.icmp_signed("!=", bit, zero)):
                                slot = _slot(body, i, kind)
                                count = body.raw(counts, slot)
                                place = body.smaller(count, body.whole(MOST - 1))
                                place = builder.add(builder.mul(slot, body.whole(MOST)), place)
                                body.put_raw(candidates, place, builder.add(k, lane))
                                body.put_raw(counts, slot, builder.add(count, body.whole(1)))

            _across(body, columns, keep)

    return kernel(write, ("scan",))


def _slot(body: Body, i: Value, kind: int) -> Value:
    builder = body.builder
    return builder.add(builder.mul(i, body.whole(2)), body.whole(kind))


def _across(body: Body, columns: Value, step: Any) -> None:
    whole = body.rounded_down(columns)
    with body.loop(body.whole(0), whole, LANES) as k:
        step(k, None)
    rest = body.builder.sub(columns, whole)
    with body.builder.if_then(body.builder.icmp_signed(">", rest, body.whole(0))):
        step(whole, rest)


def _joined(body: Body, state: Variables, relation: str) -> Any:
    (x,), distance = state.get(), LANES // 2
    while distance:
        other = body.turned(x, distance)
        wins = other < x if relation == "<" else other > x
        x = body.code.choose(wins, other, x)
        distance //= 2
    return body.lane(x, 0)


class Rough:
    """Vectors, moved to their mean and rounded, and how well their products tell distances."""

    def __init__(self, x: Floats, labels: Any) -> None:
        centred = x - np.mean(x, axis=0)
        largest = np.max(np.abs(centred), initial=0.0)
        _, exponent = np.frexp(largest)
        exact = np.ldexp(centred, -exponent)
        self.x = exact.astype(np.float32)
        squares = np.einsum("nd,nd->n", exact, exact)
        self.norms, self.labels = squares / 2, np.require(labels, np.int64, ["C", "A"])
        # For half a squared distance, and two of them are compared: what products of D float32
        # numbers may be off, and what float64 and the smallest floats have lost; twice all of it
        shift = np.ldexp(np.max(np.abs(x), initial=0.0), -exponent)
        length = np.sqrt(np.max(squares, initial=0.0))
        self.bounds = 4 * (x.shape[1] + 8) * UNIT * np.sqrt(squares) * length
        self.bounds += 2.0**-100 + 2.0**-48 * x.shape[1] * ((1 + shift) * (1 + length)) ** 2

    def candidates(self, rows: slice) -> tuple[Whole, Whole]:
        """(R, 2, MOST), and how many of them there are, (R, 2): positives, negatives."""
        part = self.x[rows]
        products = part @ self.x.T
        found = np.empty((len(part), 2, MOST), np.int64)
        counts = np.empty((len(part), 2), np.int64)
        arrays = (products, self.norms, self.labels, self.bounds, found, counts)
        _scan()(*map(address_of, arrays), len(part), len(self.x), rows.start)
        return found, counts


def is_usual(x: Floats) -> bool:
    """Whether all numbers are of a size that has squares."""
    largest = np.max(np.abs(x), initial=0.0)
    return bool(1 / LARGE < largest < LARGE)
