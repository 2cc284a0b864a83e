"""Anchors and their candidates on the GPU: what an anchor sees, and what pulls at it.

The similarities of a block come from the caller's matrix product; each is read once for the softmax
and once for the gradient. float64 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from array_api_compat import array_namespace

from refloss.formula import reductions, similarity
from refloss.formula.emitted import DOUBLE
from refloss.kernels.anchors import Place, Seen, Softmax
from refloss.kernels.cuda import arrays, target
from refloss.kernels.cuda.blocks import States
from refloss.kernels.cuda.elements import Total
from refloss.kernels.cuda.mapped import (
    AT_ONCE,
    THREADS,
    float64_of,
    joining,
    map_formula,
    teams_for,
    threads_for,
)
from refloss.kernels.cuda.target import Recipe, cuda, inside

Array = Any

TEMPERATURE = "temperature"
DEEP = 32  # rows of similarities that a thread goes down


class Candidates:
    """The softmax over some of an anchor's candidates."""

    start = reductions.SOFTMAX
    parameters = (TEMPERATURE,)

    @staticmethod
    def formula(step: str) -> Any:
        """``absorbed``, ``joined`` or ``finished``."""
        return getattr(reductions, f"softmax_{step}")


# The softmax, the similarities of the positives, and how many they are
STATES = States([Candidates, Total, Total])
KNOWN = ("top", "tail", "positives", "count")
PER_CANDIDATE = 4  # similarity, place, the similarity if positive, 1 if positive
ABSENT = (-float("inf"), reductions.NOWHERE, 0.0, 0.0)  # a candidate that is none


def _whole_numbers(labels: Array) -> Array:
    return array_namespace(labels).astype(labels, array_namespace(labels).int64, copy=False)


# What is seen


def absorb(
    seen: Seen, s: Array, row_labels: Array, column_labels: Array, place: Place, temperature: float
) -> Seen:
    """What is known of the anchors after one more block of candidates."""
    rows, columns = s.shape
    after = Seen(*(arrays.empty((rows,), part.dtype, s) for part in seen))
    if rows:
        team, count, threads = teams_for(rows, columns)
        arrays.launch(
            absorb_kernel(team),
            count,
            threads,
            s,
            arrays.flat(s),
            (arrays.flat(_whole_numbers(row_labels)), arrays.flat(_whole_numbers(column_labels))),
            tuple(arrays.flat(getattr(seen, name)) for name in KNOWN),
            arrays.flat(seen.top_at),
            tuple(getattr(after, name) for name in KNOWN),
            after.top_at,
            (float(temperature),),
            rows,
            columns,
            place.self_at,
            place.first,
        )
    xp = array_namespace(s)
    return Seen(*(xp.reshape(part, (rows, 1)) for part in after))


def _take() -> Any:
    """temperature, state, candidates -> state: they are joined among themselves first."""
    size = len(STATES)

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        temperature, state = numbers[0], STATES.parts(numbers[1 : 1 + size])
        each = [
            numbers[start : start + PER_CANDIDATE]
            for start in range(1 + size, len(numbers), PER_CANDIDATE)
        ]
        absorbed, joined = read(reductions.softmax_absorbed), read(reductions.softmax_joined)
        parts = [absorbed(*Candidates.start, z, at, temperature) for z, at, _, _ in each]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [joined(*left, *right, temperature) for left, right in pairs]
        softmax = joined(*state[0], *parts[0], temperature)
        sums = [state[1], state[2]]
        for candidate in each:
            for k, x in enumerate(candidate[2:]):
                sums[k] = read(reductions.total_absorbed)(*sums[k], x)
        return [*softmax, *sums[0], *sums[1]]

    return target.written(Recipe(1 + size + AT_ONCE * PER_CANDIDATE, make), DOUBLE)


def _finish() -> Any:
    """temperature, what was known, state -> what is known, the block's top and its place."""
    known = len(KNOWN)

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        temperature, (top, tail, positives, count) = numbers[0], numbers[1 : 1 + known]
        softmax, similarities, number = STATES.parts(numbers[1 + known :])
        best, at, rest, *_ = read(reductions.softmax_finished)(*softmax)
        total = read(reductions.total_finished)
        return [
            read(similarity.joined_top)(top, best),
            read(similarity.joined_tail)(top, tail, best, rest, temperature),
            positives + total(*similarities)[0],
            count + total(*number)[0],
            best,
            at,
        ]

    return target.written(Recipe(1 + known + len(STATES), make), DOUBLE)


@cache
def absorb_kernel(team: int) -> Any:
    """A kernel of (s, labels, what was known, where the top was, what is known, where it is,
    temperature, rows, columns, self_at, first)."""
    start = target.constants(STATES.start, DOUBLE)
    take, finish = _take(), _finish()
    joined = joining(STATES, team, (TEMPERATURE,))
    load = _candidates(team)
    step = AT_ONCE * team

    @target.kernel(THREADS)
    def absorb_block(
        s: Any,
        labels: Any,
        old: Any,
        old_at: Any,
        new: Any,
        new_at: Any,
        temperature: Any,
        rows: int,
        columns: int,
        self_at: int,
        first: int,
    ) -> None:
        lane = cuda.threadIdx.x % team
        own = (cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x) // team
        row = own if own < rows else rows - 1  # every lane takes part in the exchange
        state = start()
        c = lane
        while c < columns:
            found = load(s, labels, row, c, columns, self_at + row)
            state = take(temperature + state + found)
            c += step
        state = joined(state, temperature)
        if lane == 0 and own < rows:
            top = old[0][row]
            known = (top, old[1][row], old[2][row], old[3][row])
            after = finish(temperature + known + state)
            new[0][row], new[1][row] = after[0], after[1]
            new[2][row], new[3][row] = after[2], after[3]
            new_at[row] = first + int(after[5]) if after[4] > top else old_at[row]

    return absorb_block


def _candidates(step: int) -> Any:
    """(s, labels, row, c, columns, self) -> ``AT_ONCE`` candidates, a step apart."""
    absent = target.constants(ABSENT, DOUBLE)
    positive, negative = target.constants((1.0,), DOUBLE), target.constants((0.0,), DOUBLE)
    to_number = target.number_of(DOUBLE)

    @inside
    def one(s: Any, labels: Any, row: int, c: int, columns: int, itself: int) -> Any:
        if c >= columns or c == itself:
            return absent()
        x = (s[row * columns + c],)
        if labels[0][row] == labels[1][c]:
            return x + to_number(c) + x + positive()
        return x + to_number(c) + negative() + negative()

    @inside
    def load(s: Any, labels: Any, row: int, c: int, columns: int, itself: int) -> Any:
        near = one(s, labels, row, c, columns, itself)
        near = near + one(s, labels, row, c + step, columns, itself)
        far = one(s, labels, row, c + 2 * step, columns, itself)
        far = far + one(s, labels, row, c + 3 * step, columns, itself)
        return near + far

    return load


# What pulls


def pulls(
    s: Array,
    softmax: Softmax,
    row_labels: Array,
    column_labels: Array,
    place: Place,
    temperature: float,
    *,
    by_column: bool = False,
) -> Array:
    """(R, C): the derivatives of the loss by the similarities; anchors may be the columns."""
    rows, columns = s.shape
    out = arrays.empty((rows * columns,), float64_of(s), s)
    if rows * columns:
        known = {**softmax._asdict(), TEMPERATURE: float(temperature)}
        factor = map_formula(similarity.negative, known)
        threads = threads_for(columns)
        parts = (softmax.top, factor, softmax.tail, softmax.mass, softmax.weight)
        arrays.launch(
            pull_kernel(by_column),
            -(-rows // DEEP) * -(-columns // threads),
            threads,
            s,
            arrays.flat(s),
            (arrays.flat(_whole_numbers(row_labels)), arrays.flat(_whole_numbers(column_labels))),
            tuple(arrays.flat(part) for part in parts),
            arrays.flat(softmax.top_at),
            (float(temperature),),
            out,
            rows,
            columns,
            place.self_at,
            place.first,
        )
    return array_namespace(s).reshape(out, (rows, columns))


def _usual() -> Any:
    """s, top, factor, temperature -> the pull of a negative below the top."""

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        s, top, factor, temperature = numbers
        return [read(similarity.repelled)(read(similarity.decay)(s, top, temperature), factor)]

    return target.written(Recipe(4, make), DOUBLE)


def _special() -> Any:
    """s, top, is_top, is_positive, tail, mass, weight, temperature -> the pull of any candidate."""

    def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
        s, top, is_top, is_positive, tail, mass, weight, temperature = numbers
        decay = read(similarity.decay)(s, top, temperature)
        pull = read(similarity.coefficient)(decay, is_top, is_positive, tail, mass)
        return [read(similarity.weighted)(pull, weight, temperature)]

    return target.written(Recipe(8, make), DOUBLE)


@cache
def pull_kernel(by_column: bool) -> Any:
    """A kernel of (s, labels, what is known of each anchor, where its top is, temperature, out,
    rows, columns, self_at, first)."""
    usual, special = _usual(), _special()
    yes, no = target.constants((1.0,), DOUBLE), target.constants((0.0,), DOUBLE)

    @inside
    def pull(x: Any, known: Any, on_top: bool, positive: bool, temperature: Any) -> Any:
        if on_top or positive:
            marks = (yes() if on_top else no()) + (yes() if positive else no())
            return special(x + known[:1] + marks + known[2:] + temperature)
        return usual(x + known[:2] + temperature)

    @target.kernel(THREADS)
    def pull_block(
        s: Any,
        labels: Any,
        known: Any,
        top_at: Any,
        temperature: Any,
        out: Any,
        rows: int,
        columns: int,
        self_at: int,
        first: int,
    ) -> None:
        across = (columns + cuda.blockDim.x - 1) // cuda.blockDim.x
        down = cuda.blockIdx.x // across
        c = (cuda.blockIdx.x - down * across) * cuda.blockDim.x + cuda.threadIdx.x
        row = down * DEEP
        stop = min(rows, row + DEEP)
        while row < stop and c < columns:
            anchor, candidate = (c, row) if by_column else (row, c)
            i = row * columns + c
            if c == self_at + row:
                out[i] = 0.0
            else:
                of_anchor = (
                    known[0][anchor],
                    known[1][anchor],
                    known[2][anchor],
                    known[3][anchor],
                    known[4][anchor],
                )
                on_top = top_at[anchor] == first + candidate
                positive = labels[0][row] == labels[1][c]
                out[i] = pull((s[i],), of_anchor, on_top, positive, temperature)[0]
            row += 1

    return pull_block
