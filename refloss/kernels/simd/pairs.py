"""Kernels over pairs of vectors: eight by eight distances at a time, and what distances pull.

Vectors are laid out in *panels* of eight, component by component, so that eight of one side meet
one of the other in one instruction and no lanes have to be joined. A sum of components is a pair
(high, low), and starts from a base that is above all of its terms. Where the sum is small beside
its base, or out of range, -1 is written instead of a distance, for another kernel to mend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from refloss.formula import direction, reductions
from refloss.formula import distance as length
from refloss.formula.emitted import DOUBLE, Flag, Number
from refloss.kernels.address import address_of
from refloss.kernels.metric import HIGHEST, LOWEST, Metric
from refloss.kernels.simd.writing import LANES, Body, Stored, kernel

Floats = NDArray[np.float64]
Formula = Callable[..., Any]
Value = Any  # of LLVM

LOST = -1.0  # written where a sum did not keep its digits
KEPT = 2.0**-30  # of the base: the pair has 106 bits
ABOVE = 4.0  # all that two unit vectors' components, squared or multiplied, come to


def panels(x: Floats) -> Floats:
    """(R, D) -> (R / 8, D, 8), filled up with zeros."""
    count = -(-x.shape[0] // LANES)
    room = np.zeros((count * LANES, x.shape[1]))
    room[: x.shape[0]] = x
    return np.ascontiguousarray(room.reshape(count, LANES, x.shape[1]).transpose(0, 2, 1))


def tops(x: Floats) -> Floats:
    """(R, D) -> the largest absolute values, as many as there are places in panels."""
    room = np.zeros(-(-x.shape[0] // LANES) * LANES)
    if x.shape[1]:
        room[: x.shape[0]] = np.max(np.abs(x), axis=1)
    return room


class Lengths:
    """A metric's sum of terms."""

    at_once = 8  # sums of eight pairs that fit the registers

    def __init__(self, body: Body, metric: Metric) -> None:
        self.body, self.metric = body, metric

    def _term(self, difference: Number) -> Number:
        read = self.body.read
        return self.body.code.number(read(self.metric.term)(read(length.size)(difference)))

    def bases(self, x_top: Number, y_top: Number) -> list[Number]:
        """What each sum starts from: a term is no larger than that of the largest components."""
        return [self._term(x_top + y_top)]

    def terms(self, x: Number, y: Number) -> list[Number]:
        """What a component adds to each sum."""
        return [self._term(x - y)]

    def settled(self, sums: Sequence[Number], bases: Sequence[Number]) -> tuple[Number, Flag]:
        """The distance, and whether it has all of its digits."""
        (total,), (base,) = sums, bases
        known = {"total": total, "top": self.body.code.number(1)}
        names = signature(self.metric.root).parameters
        found = self.body.read(self.metric.root)(*(known[name] for name in names))
        return found, (total > base * KEPT) & (total > LOWEST) & (total < HIGHEST)


class Angles:
    """1 - cos of unit vectors."""

    at_once = 4

    def __init__(self, body: Body, metric: None) -> None:
        self.body = body

    def bases(self, x_top: Number, y_top: Number) -> list[Number]:
        """A cosine's partial sums may be negative, but not below -1."""
        return [self.body.code.number(ABOVE)] * 2

    def terms(self, x: Number, y: Number) -> list[Number]:
        """Parts of the cosine and of 1 - cos."""
        return [self.body.read(part)(x, y) for part in (direction.overlap, direction.apart)]

    def settled(self, sums: Sequence[Number], bases: Sequence[Number]) -> tuple[Number, Flag]:
        """The gap; almost parallel vectors need more digits."""
        cosine, apart = sums
        gap = self.body.code.number(self.body.read(direction.gap)(cosine, apart))
        return gap, gap > ABOVE * KEPT


@cache
def _measure(metric: Metric | None) -> Any:
    """A kernel of (panels and tops of x and y, out, a mark for lost distances, first and last
    panels of both, rows, columns, components, whether the other half is written as well)."""

    def write(builder: Any, values: Sequence[Value]) -> None:
        body = Body(builder, DOUBLE)
        x, y, x_tops, y_tops, out = (Stored(address, "float64") for address in values[:5])
        lost, *values = values[5:]
        x_begin, x_end, y_begin, y_end, rows, columns, components, mirrored = values
        zeros = body.code.spread(body.code.number(0).value)
        measure = Lengths(body, metric) if metric is not None else Angles(body, None)
        with body.loop(x_begin, x_end) as i, body.loop(y_begin, y_end) as j:
            found: list[Value] = []
            for start in range(0, LANES, measure.at_once):
                some = range(start, start + measure.at_once)
                found += _eight(body, measure, x, y, x_tops, y_tops, i, j, components, some)
            some_lost = builder.fcmp_ordered("<", found[0], zeros)
            for line in found[1:]:
                some_lost = builder.or_(some_lost, builder.fcmp_ordered("<", line, zeros))
            lanes = builder.bitcast(some_lost, ir.IntType(LANES))
            with builder.if_then(builder.icmp_unsigned("!=", lanes, lanes.type(0))):
                body.put_raw(Stored(lost, "int64"), body.whole(0), body.whole(1))
            first_row, first_column = (builder.mul(n, body.whole(LANES)) for n in (i, j))
            _put(body, out, found, first_row, first_column, rows, columns)
            with builder.if_then(builder.icmp_signed("!=", mirrored, body.whole(0))):
                turned = body.transposed(found)
                _put(body, out, turned, first_column, first_row, columns, rows)

    return kernel(write, ("measure", metric))


def _eight(
    body: Body,
    measure: Any,
    x: Stored,
    y: Stored,
    x_tops: Stored,
    y_tops: Stored,
    i: Value,
    j: Value,
    components: Value,
    some: range,
) -> list[Value]:
    """Distances of some of a panel's vectors from the eight of another."""
    builder, code, read = body.builder, body.code, body.read
    first_row, first_column = (builder.mul(n, body.whole(LANES)) for n in (i, j))
    y_top = body.run(y_tops, first_column)
    bases, states = [], []
    for a in some:
        x_top = body.one(x_tops, builder.add(first_row, body.whole(a)))
        bases.append(measure.bases(x_top, y_top))
        states.append([body.variables([base, code.number(0)]) for base in bases[-1]])
    x_start, y_start = (builder.mul(n, components) for n in (i, j))
    with body.loop(body.whole(0), components) as d:
        x_at, y_at = (
            builder.mul(builder.add(start, d), body.whole(LANES)) for start in (x_start, y_start)
        )
        other = body.run(y, y_at)
        for a, state in zip(some, states, strict=True):
            one = body.one(x, builder.add(x_at, body.whole(a)))
            one = Number(code, code.spread(one.value))
            for sum_, term in zip(state, measure.terms(one, other), strict=True):
                sum_.set(read(reductions.based_absorbed)(*sum_.get(), term))
    found = []
    for base, state in zip(bases, states, strict=True):
        sums = [
            code.number(read(reductions.based_finished)(*sum_.get(), start)[0])
            for sum_, start in zip(state, base, strict=True)
        ]
        distance, kept = measure.settled(sums, base)
        found.append(code.spread(code.choose(kept, distance, code.number(LOST)).value))
    return found


def _put(
    body: Body,
    out: Stored,
    found: Sequence[Value],
    first_row: Value,
    first_column: Value,
    rows: Value,
    columns: Value,
) -> None:
    """Write a square of eight by eight, as far as it lies inside."""
    builder = body.builder
    inside = [
        builder.icmp_signed("<=", builder.add(first, body.whole(LANES)), extent)
        for first, extent in ((first_row, rows), (first_column, columns))
    ]
    base = builder.add(builder.mul(first_row, columns), first_column)
    with builder.if_else(builder.and_(*inside)) as (whole, edge):
        with whole:
            for a, line in enumerate(found):
                at = builder.add(base, builder.mul(body.whole(a), columns))
                body.put_raw(out, at, line)
        with edge:
            rest = body.smaller(builder.sub(columns, first_column), body.whole(LANES))
            for a, line in enumerate(found):
                row = builder.add(first_row, body.whole(a))
                with builder.if_then(builder.icmp_signed("<", row, rows)):
                    at = builder.add(base, builder.mul(body.whole(a), columns))
                    body.put_some(out, at, Number(body.code, line), rest)


class Panels:
    """Vectors as the kernels read them."""

    def __init__(self, x: Floats) -> None:
        self.shape, self.panels, self.tops = x.shape, panels(x), tops(x)

    def measure(
        self,
        other: Panels,
        metric: Metric | None,
        out: Floats,
        rows: slice,
        columns: slice,
        mirrored: bool,
    ) -> bool:
        """Distances of the vectors in some panels from those in some others; 1 - cos without a
        metric. Whether some were lost."""
        lost = np.zeros(1, np.int64)
        arrays = (self.panels, other.panels, self.tops, other.tops, out, lost)
        extents = (self.shape[0], other.shape[0], self.shape[1])
        which = (rows.start, rows.stop, columns.start, columns.stop)
        _measure(metric)(*map(address_of, arrays), *which, *extents, int(mirrored))
        return bool(lost[0])


@cache
def _add_mirrored() -> Any:
    """A kernel of (a square matrix, its extent)."""

    def write(builder: Any, values: Sequence[Value]) -> None:
        body = Body(builder, DOUBLE)
        x, count = Stored(values[0], "float64"), values[1]
        whole = body.rounded_down(count)
        lines = [body.whole(a) for a in range(LANES)]

        def line(first: Value, a: Value, second: Value) -> Value:
            return builder.add(builder.mul(builder.add(first, a), count), second)

        with (
            body.loop(body.whole(0), whole, LANES) as i,
            body.loop(body.whole(0), builder.add(i, body.whole(1)), LANES) as k,
        ):
            here = [body.raw(x, line(i, a, k), LANES) for a in lines]
            there = [body.raw(x, line(k, a, i), LANES) for a in lines]
            pairs = zip(here, body.transposed(there), strict=True)
            sums = [builder.fadd(own, other) for own, other in pairs]
            for a, one, other in zip(lines, sums, body.transposed(sums), strict=True):
                body.put_raw(x, line(i, a, k), one)
                body.put_raw(x, line(k, a, i), other)
        with (
            body.loop(whole, count) as i,
            body.loop(body.whole(0), builder.add(i, body.whole(1))) as k,
        ):
            at, turned = line(i, body.whole(0), k), line(k, body.whole(0), i)
            found = body.one(x, at) + body.one(x, turned)
            body.put(x, at, found)
            body.put(x, turned, found)

    return kernel(write, ("add mirrored",))


def add_mirrored(x: Floats) -> Floats:
    """A square matrix and its transpose, added in its place."""
    _add_mirrored()(address_of(x), x.shape[0])
    return x


# What distances pull

ROWS, RUNS = 4, 4  # vectors, and runs of eight components of each, that are moved at once


@cache
def _gather(step: Formula) -> Any:
    """A kernel of (x, y, factors, gaps, out, rows, columns, components): the components are a
    multiple of eight."""

    of_gap = len(signature(step).parameters) > 1

    def write(builder: Any, values: Sequence[Value]) -> None:
        body = Body(builder, DOUBLE)
        x, y, factors, gaps, out = (Stored(address, "float64") for address in values[:5])
        rows, columns, components = values[5:]
        last = builder.sub(rows, body.whole(1))
        with body.loop(body.whole(0), rows, ROWS) as first:
            own = [body.smaller(builder.add(first, body.whole(a)), last) for a in range(ROWS)]
            starts = [builder.mul(row, components) for row in own]
            pairs = [builder.mul(row, columns) for row in own]

            def moved(d: Value, runs: int) -> None:
                at = [
                    [builder.add(start, builder.add(d, body.whole(LANES * r))) for r in range(runs)]
                    for start in starts
                ]
                vectors = [[body.run(x, place) for place in line] for line in at]
                zeros = [body.code.number(0)] * runs
                totals = [body.variables(zeros) for _ in own]
                with body.loop(body.whole(0), columns) as k:
                    factor = [body.one(factors, builder.add(pair, k)) for pair in pairs]
                    some = (factor[0] != 0).value
                    for one in factor[1:]:
                        some = builder.or_(some, (one != 0).value)
                    with builder.if_then(some):
                        y_at = builder.add(builder.mul(k, components), d)
                        others = [
                            body.run(y, builder.add(y_at, body.whole(LANES * r)))
                            for r in range(runs)
                        ]
                        for a, total in enumerate(totals):
                            spread = Number(body.code, body.code.spread(factor[a].value))
                            further = []
                            if of_gap:
                                gap = body.one(gaps, builder.add(pairs[a], k))
                                further.append(Number(body.code, body.code.spread(gap.value)))
                            sums = []
                            for one, other, sum_ in zip(
                                vectors[a], others, total.get(), strict=True
                            ):
                                known = (one, other, *further) if of_gap else (one - other,)
                                by = body.code.number(body.read(step)(*known))
                                sums.append(body.code.intrinsic("fma", spread, by, sum_))
                            total.set(sums)
                for line, total in zip(at, totals, strict=True):
                    for place, sum_ in zip(line, total.get(), strict=True):
                        body.put_run(out, place, sum_)

            wide = LANES * RUNS
            whole = builder.and_(components, body.whole(-wide))
            with body.loop(body.whole(0), whole, wide) as d:
                moved(d, RUNS)
            with body.loop(whole, components, LANES) as d:
                moved(d, 1)

    return kernel(write, ("gather", step))


def gather(step: Formula, x: Floats, y: Floats, factors: Floats, gaps: Floats) -> Floats:
    """(R, D): for each row of x, the sum over the rows of y of factors times steps.

    A step is a formula of a residual, or of two components and the pair's gap.
    """
    width = -(-x.shape[1] // LANES) * LANES
    x_wide, y_wide = (_widened(one, width) for one in (x, y))
    out = np.empty(x_wide.shape)
    arrays = [np.ascontiguousarray(one) for one in (x_wide, y_wide, factors, gaps)]
    _gather(step)(*map(address_of, (*arrays, out)), x.shape[0], y.shape[0], width)
    return out[:, : x.shape[1]]


def _widened(x: Floats, width: int) -> Floats:
    if x.shape[1] == width:
        return x
    out = np.zeros((x.shape[0], width))
    out[:, : x.shape[1]] = x
    return out
