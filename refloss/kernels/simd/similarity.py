"""Kernels over blocks of similarities: anchors are rows, candidates columns, eight at a time.

A block is gone through twice to learn of its candidates, while it is in cache, and once to turn its
similarities into the derivatives by them, where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from refloss.formula import reductions
from refloss.formula import similarity as of
from refloss.formula.emitted import DOUBLE, WORKING, Flag, Kind, Number
from refloss.kernels.address import address_of, plain
from refloss.kernels.anchors import Place, Seen, Softmax
from refloss.kernels.simd.writing import LANES, Body, Stored, Variables, kernel

Array = Any
Value = Any  # of LLVM

ABSORB, WEIGH = "absorb", "weigh"


SMALL, LARGE = 1e-300, 1e300  # a temperature between them has a reciprocal, which will do for it


def kind_for(few_digits: bool, temperature: float) -> Kind:
    """The arithmetic for results of few digits, or of all that a double has."""
    return WORKING if few_digits and SMALL < temperature < LARGE else DOUBLE


class Block:
    """What both kernels know: the block, the labels of its two sides and where it lies."""

    def __init__(self, body: Body, given: list[Value]) -> None:
        self.body, self.builder = body, body.builder
        self.s = Stored(given.pop(0), "float64")
        self.row_labels, self.column_labels = (Stored(given.pop(0), "int64") for _ in range(2))

    def extents(self, given: list[Value]) -> None:
        """The temperature, rows, columns, and the column of the first row's own."""
        self.temperature = self.body.scalar(given.pop(0))
        self.rows, self.columns, self.self_at = given[:3]

    def flags(self, values: Value) -> Flag:
        """A condition in each lane."""
        return Flag(self.body.code, values)

    def numbers(self, c: Value) -> Value:
        """Neighbouring indices, as integers."""
        lanes = ir.Constant(ir.VectorType(ir.IntType(64), LANES), list(range(LANES)))
        return self.builder.add(self.body.code.spread(c), lanes)

    def same(self, whole: Value, other: Value) -> Value:
        """Whether integers are the same, lane by lane."""
        return self.builder.icmp_signed("==", whole, self.body.code.spread(other))

    def across(self, step: Any) -> None:
        """Go through a row's columns; the last step may have fewer."""
        body = self.body
        whole = body.rounded_down(self.columns)
        with body.loop(body.whole(0), whole, LANES) as c:
            step(c, None)
        rest = self.builder.sub(self.columns, whole)
        with self.builder.if_then(self.builder.icmp_signed(">", rest, body.whole(0))):
            step(whole, rest)

    def part(self, array: Stored, at: Value, rest: Value | None) -> Number:
        """Numbers of a step."""
        return self.body.run(array, at) if rest is None else self.body.some(array, at, rest)

    def labels(self, c: Value, rest: Value | None) -> Value:
        """The labels of a step's columns, as integers."""
        if rest is None:
            return self.body.raw(self.column_labels, c, LANES)
        return self.body.some_raw(self.column_labels, c, rest)

    def joined(self, state: Variables, formula: Any) -> list[Number]:
        """What all lanes come to."""
        numbers, distance = state.get(), LANES // 2
        while distance:
            others = [self.body.turned(x, distance) for x in numbers]
            numbers = [self.body.code.number(x) for x in self.body.read(formula)(*numbers, *others)]
            distance //= 2
        return [self.body.lane(x, 0) for x in numbers]


@cache
def _absorb(kind: Kind) -> Any:
    def write(builder: Any, values: Sequence[Value]) -> None:
        body, given = Body(builder, kind), list(values)
        block = Block(body, given)
        top, tail, positives, count = (Stored(given.pop(0), "float64") for _ in range(4))
        top_at = Stored(given.pop(0), "int64")
        block.extents(given)
        first = given[3]
        code, read = body.code, body.read
        nothing = code.number(-float("inf"))

        with body.loop(body.whole(0), block.rows) as i:
            base = builder.mul(i, block.columns)
            own, label = builder.add(block.self_at, i), body.raw(block.row_labels, i)
            best = body.variables([code.number(x) for x in reductions.TOP])
            found = body.variables([code.number(x) for x in reductions.TOTAL])
            counted = body.variables([code.number(0)])

            def look(c: Value, rest: Value | None) -> None:
                s = block.part(block.s, builder.add(base, c), rest)
                is_own = block.same(block.numbers(c), own)
                here = None if rest is None else body.first(rest)
                z = code.choose(block.flags(is_own), nothing, s)
                best.set(read(reductions.top_absorbed)(*best.get(), z, body.counted_from(c)), here)
                alike = block.same(block.labels(c, rest), label)
                is_positive = builder.and_(alike, builder.not_(is_own))
                if here is not None:
                    is_positive = builder.and_(is_positive, here.value)
                positive = block.flags(is_positive)
                found.set(read(reductions.total_absorbed)(*found.get(), s), positive)
                counted.set([counted.get()[0] + 1], positive)

            block.across(look)
            highest, at, poison = block.joined(best, reductions.top_joined)
            highest = highest + poison
            decays = body.variables([code.number(x) for x in reductions.TAIL])

            def decay(c: Value, rest: Value | None) -> None:
                s = block.part(block.s, builder.add(base, c), rest)
                is_own = block.flags(block.same(block.numbers(c), own))
                e = read(of.decay)(code.choose(is_own, nothing, s), highest, block.temperature)
                is_top = code.choose(body.counted_from(c) == at, code.number(1), code.number(0))
                here = None if rest is None else body.first(rest)
                decays.set(read(reductions.tail_absorbed)(*decays.get(), e, 0, is_top), here)

            block.across(decay)
            sums = block.joined(decays, reductions.tail_joined)
            rest_of_them = read(reductions.tail_finished)(*sums)[0]
            # without a candidate nothing decays
            rest_of_them = code.choose(highest <= nothing, code.number(0), rest_of_them)
            before, tail_before = body.one(top, i), body.one(tail, i)
            joined = (before, tail_before, highest, rest_of_them, block.temperature)
            body.put(tail, i, code.number(read(of.joined_tail)(*joined)))
            body.put(top, i, code.number(read(of.joined_top)(before, highest)))
            place = builder.add(first, builder.fptosi(at.value, ir.IntType(64)))
            wins = (highest > before).value
            body.put_raw(top_at, i, builder.select(wins, place, body.raw(top_at, i)))
            high, low = block.joined(found, reductions.total_joined)
            body.put(positives, i, body.one(positives, i) + (high + low))
            (many,) = block.joined(counted, _added)
            body.put(count, i, body.one(count, i) + many)

    return kernel(write, (ABSORB, kind.name))


def _added(x: Any, y: Any) -> Any:
    return (x + y,)


@cache
def _weigh(kind: Kind, by_row: bool, by_column: bool) -> Any:
    def write(builder: Any, values: Sequence[Value]) -> None:
        body, given = Body(builder, kind), list(values)
        block = Block(body, given)
        sides = {
            name: _Side(given) for name, there in (("row", by_row), ("column", by_column)) if there
        }
        along = Stored(given.pop(0), "float64")
        block.extents(given)
        first_row, first_column = given[3:]
        code, read = body.code, body.read
        zero = code.number(0)

        with body.loop(body.whole(0), block.rows) as i:
            base = builder.mul(i, block.columns)
            own, label = builder.add(block.self_at, i), body.raw(block.row_labels, i)
            of_row = sides["row"].at(body.one, i) if by_row else {}
            top_at_row = body.raw(sides["row"].top_at, i) if by_row else None
            total = body.variables([code.number(x) for x in reductions.TOTAL])

            def step(c: Value, rest: Value | None) -> None:
                at = builder.add(base, c)
                s = block.part(block.s, at, rest)
                columns = block.numbers(c)
                positive = block.same(block.labels(c, rest), label)
                made = zero
                if by_row:
                    is_top = block.same(builder.add(columns, code.spread(first_column)), top_at_row)
                    made = made + _pull(block, s, of_row, is_top, positive)
                if by_column:
                    side = sides["column"]
                    of_column = side.at(lambda array, k: block.part(array, k, rest), c)
                    tops = (
                        body.raw(side.top_at, c, LANES)
                        if rest is None
                        else body.some_raw(side.top_at, c, rest)
                    )
                    is_top = block.same(tops, builder.add(first_row, i))
                    made = made + _pull(block, s, of_column, is_top, positive)
                made = code.choose(block.flags(block.same(columns, own)), zero, made)
                here = None if rest is None else body.first(rest)
                total.set(read(reductions.total_absorbed)(*total.get(), made * s), here)
                if rest is None:
                    body.put_run(block.s, at, made)
                else:
                    body.put_some(block.s, at, made, rest)

            block.across(step)
            high, low = block.joined(total, reductions.total_joined)
            body.put(along, i, high + low)

    return kernel(write, (WEIGH, kind.name, by_row, by_column))


class _Side:
    """What a kernel is given of the anchors on one side of a block."""

    def __init__(self, given: list[Value]) -> None:
        names = ("top", "tail", "mass", "weight", "factor")
        self.arrays = {name: Stored(given.pop(0), "float64") for name in names}
        self.top_at = Stored(given.pop(0), "int64")

    def at(self, take: Any, k: Value) -> dict[str, Number]:
        """The numbers of one anchor, or of neighbouring ones."""
        return {name: take(array, k) for name, array in self.arrays.items()}


def _pull(
    block: Block, s: Number, anchor: Mapping[str, Number], is_top: Value, positive: Value
) -> Number:
    """The derivatives of anchors' losses by similarities: nearly all are negatives, and cheap."""
    body, builder, code, read = block.body, block.builder, block.body.code, block.body.read
    e = code.number(read(of.decay)(s, anchor["top"], block.temperature))
    made = body.variables([code.number(read(of.repelled)(e, anchor["factor"]))])
    others = builder.or_(is_top, positive)
    some = builder.icmp_unsigned(
        "!=", builder.bitcast(others, ir.IntType(LANES)), ir.Constant(ir.IntType(LANES), 0)
    )
    with builder.if_then(some):
        one, zero = code.number(1), code.number(0)
        flags = (code.choose(block.flags(flag), one, zero) for flag in (is_top, positive))
        c = read(of.coefficient)(e, *flags, anchor["tail"], anchor["mass"])
        exact = read(of.weighted)(c, anchor["weight"], block.temperature)
        made.set([code.number(exact)], block.flags(others))
    return made.get()[0]


def absorb(
    seen: Seen,
    s: Array,
    row_labels: Array,
    column_labels: Array,
    place: Place,
    temperature: float,
    few_digits: bool = False,
) -> Seen:
    """What is known of the anchors after one more block of candidates."""
    after = Seen(*(part.copy() for part in seen))
    arrays = tuple(map(plain, (s, row_labels, column_labels)))
    states = (after.top, after.tail, after.positives, after.count, after.top_at)
    addresses = tuple(map(address_of, (*arrays, *states)))
    where = (place.self_at, place.first)
    _absorb(kind_for(few_digits, temperature))(*addresses, float(temperature), *s.shape, *where)
    return after


def weigh(
    s: Array,
    by_row: tuple[Softmax, Array] | None,
    by_column: tuple[Softmax, Array] | None,
    labels: tuple[Array, Array],
    place: Place,
    first_row: int,
    temperature: float,
    few_digits: bool,
) -> Array:
    """Similarities become the derivatives by them, in place; (R, 1), the sums of their products.

    A side whose anchors count comes with their softmax and the factors of their negatives;
    ``place`` says where the columns are, and ``first_row`` is the number of the first row.
    """
    along = np.empty((s.shape[0], 1))
    arrays = [s, *map(plain, labels)]  # which lie as the caller has them
    for side in (by_row, by_column):
        if side is not None:
            softmax, factor = side
            arrays += [softmax.top, softmax.tail, softmax.mass, softmax.weight, factor]
            arrays.append(softmax.top_at)
    run = _weigh(kind_for(few_digits, temperature), by_row is not None, by_column is not None)
    where = (place.self_at, first_row, place.first)
    run(*map(address_of, (*arrays, along)), float(temperature), *s.shape, *where)
    return along
