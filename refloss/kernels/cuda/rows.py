"""Kernels over rows: classes or components are reduced, then told what they came to.

A row belongs to a *team* of threads: some lanes of a warp for small rows, so that a warp reads
neighbouring rows together; a whole block for large ones; several blocks, each with a *segment* of
the row, for few rows that are huge. A team goes through its row as often as the quantities need of
each other (`refloss.quantities.Table.passes`), and in the last pass writes the derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from refloss.formula import reductions
from refloss.formula.emitted import Kind
from refloss.kernels.cuda import blocks, memory, target
from refloss.kernels.cuda.blocks import States
from refloss.kernels.cuda.elements import TOTAL
from refloss.kernels.cuda.target import WARP, Recipe, cuda, inside
from refloss.kernels.named import HIT, LABEL, PLACE


@dataclass(frozen=True)
class Row:
    """What a row's numbers are made of.

    Attributes
    ----------
    table : a `refloss.quantities.Table`
    scalars : numbers that count for every row
    of_row : numbers that are loaded for each row
    shared : for each of them, whether one number stands for all rows
    labelled : whether there is a label, and each class's numbers are loaded for its class too,
        as hit_<array>
    classes : arrays of which each class's number is loaded
    indices : for each of them, 0 if it has all rows, 1 if the same numbers count for each row
    value, derivatives : the names of what is wanted
    total : whether the values are summed instead of written
    """

    table: Any
    scalars: tuple[str, ...]
    of_row: tuple[str, ...]
    shared: tuple[bool, ...]
    labelled: bool
    classes: tuple[str, ...]
    indices: tuple[int, ...]
    value: str | None
    derivatives: tuple[str, ...]
    total: bool

    @cached_property
    def passes(self) -> list[States]:
        """The reductions of each pass; derivatives are written in the last of them."""
        wanted = ((self.value,) if self.value else ()) + self.derivatives
        found = [States(one) for one in self.table.passes(wanted)]
        last = self.table.depth(self.derivatives) + 1 if self.derivatives else 0
        return found + [States(())] * (last - len(found))

    @cached_property
    def known(self) -> tuple[str, ...]:
        """What is known of a row before its first pass."""
        hit = (LABEL, *(f"{HIT}{name}" for name in self.classes)) if self.labelled else ()
        return self.scalars + self.of_row + hit

    def offset(self, number: int) -> int:
        """Where a pass's states begin among those of all passes, for one row of one segment."""
        return sum(map(len, self.passes[:number]))

    def found(self, passed: int) -> tuple[str, ...]:
        """What is known after some passes."""
        reduced = [one for states in self.passes[:passed] for one in states.reductions]
        return self.known + tuple(name for one in reduced for name in one.gives)

    def take(self, number: int, lanes: int) -> Recipe:
        """known, state, place, loaded classes -> state, derivatives if this pass is the last.

        Several classes at once are first joined among themselves, two by two: their exponentials
        need not wait for each other.
        """
        known, states = self.found(number), self.passes[number]
        last = number == len(self.passes) - 1
        size = len(states)

        def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
            row = dict(zip(known, numbers, strict=False))
            state = list(numbers[len(known) : len(known) + size])
            place = numbers[len(known) + size]
            loaded = numbers[len(known) + size + 1 :]
            each = []
            for lane in range(lanes):
                own = dict(zip(self.classes, loaded[lane::lanes], strict=True))
                own[PLACE] = place if lane == 0 else place + lane
                each.append(self.table.numbers(row | own, read))
            columns = [[one[name] for one in each] for name in self.derivatives] if last else []
            return [*self._absorbed(states, state, each, read), *(x for c in columns for x in c)]

        return Recipe(len(known) + size + 1 + lanes * len(self.classes), make)

    def _absorbed(self, states: States, state: Any, each: Sequence[Any], read: Any) -> list[Any]:
        after: list[Any] = []
        for one, part in zip(states.reductions, states.parts(state), strict=True):
            absorbed, joined = read(one.formula("absorbed")), read(one.formula("joined"))
            further = [each[0][name] for name in one.parameters]

            def taken(start: Any, numbers: Any, one: Any = one, absorbed: Any = absorbed) -> Any:
                return absorbed(*start, *(numbers[name] for name in (*one.each, *one.parameters)))

            if len(each) == 1:
                after += taken(part, each[0])
                continue
            parts = [taken(one.start, numbers) for numbers in each]
            while len(parts) > 1:
                parts = [
                    joined(*left, *right, *further)
                    for left, right in zip(parts[::2], parts[1::2], strict=True)
                ]
            after += joined(*part, *parts[0], *further)
        return after

    def join(self, number: int) -> Recipe:
        """state, other state, what the reductions take of the row -> state."""
        return blocks.join_recipe(self.passes[number], self.found(number), self.table)

    def finish(self, number: int) -> Recipe:
        """known, state -> known, and what the reductions come to."""
        known, states = self.found(number), self.passes[number]

        def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
            found: list[Any] = []
            parts = states.parts(numbers[len(known) :])
            for one, part in zip(states.reductions, parts, strict=True):
                found += read(one.formula("finished"))(*part)
            return [*numbers[: len(known)], *found]

        return Recipe(len(known) + len(states), make)

    def tell(self) -> Recipe:
        """known -> the row's value."""
        known = self.found(len(self.passes))

        def make(numbers: Sequence[Any], read: Any) -> Sequence[Any]:
            quantities = self.table.numbers(dict(zip(known, numbers, strict=True)), read)
            return [quantities[self.value]] if self.value else []

        return Recipe(len(known), make)


@dataclass(frozen=True)
class Shape:
    """How a kernel lays its threads over the rows.

    Attributes
    ----------
    threads : in a block
    team : threads that work on one row: lanes of a warp, or all of the block
    lanes : classes that a thread takes at once, side by side
    held : runs of so many classes that a thread keeps in registers from pass to pass; 0 if it reads
        its part of the row anew in each
    """

    threads: int
    team: int
    lanes: int
    held: int = 0

    @property
    def teams(self) -> int:
        """Rows that a block works on at once."""
        return self.threads // self.team


@dataclass(frozen=True)
class Formats:
    """The formats of the arrays of a row kernel."""

    of_row: tuple[str, ...]
    classes: tuple[str, ...]
    value: str
    derivatives: tuple[str, ...]


def make_kernel(row: Row, formats: Formats, shape: Shape, kind: Kind) -> Any:
    """A kernel of (arrays of classes, arrays of rows, labels, scalars, values, derivatives, totals,
    rows, classes, positions).

    Class arrays are (N, C, D), flat; ``rows`` is N D, and ``positions`` D. Without labels theirs is
    any array.
    """
    team, lanes, teams = shape.team, shape.lanes, shape.teams
    begin = _begin(row, formats, kind)
    fetch = _fetch(row, formats, shape, kind)
    process = _passes(row, formats, shape, kind)
    has_value, sums = row.value is not None, row.total
    tell = target.written(row.tell(), kind)
    store_value = memory.store([formats.value], 1, kind)
    total_size = len(TOTAL) if sums else 0
    nothing = target.constants(TOTAL.start[:total_size], kind)
    absorb = target.written(Recipe(len(TOTAL) + 1, _absorb_total), kind)
    over_block = _total_over_block(shape.threads, kind)
    put = blocks.put_into(len(TOTAL))

    @target.kernel(shape.threads)
    def rows_kernel(
        arrays: Any,
        of_row: Any,
        labels: Any,
        scalars: Any,
        values: Any,
        outputs: Any,
        totals: Any,
        rows: int,
        classes: int,
        positions: int,
    ) -> None:
        lane = cuda.threadIdx.x % team
        total = nothing()
        first = cuda.blockIdx.x * teams
        while first < rows:  # the same for all of a block: every lane takes part in each exchange
            own = first + cuda.threadIdx.x // team
            live = own < rows
            r = own if live else rows - 1
            n = r // positions
            base = n * classes * positions + (r - n * positions)
            known = begin(arrays, of_row, labels, scalars, r, base, positions)
            c, step = lane * lanes, team * lanes
            held = fetch(arrays, base, classes, positions, c, step)
            known = process(arrays, outputs, held, known, base, classes, positions, c, step, live)
            if has_value:
                value = tell(known)
                if live and lane == 0:
                    if sums:
                        total = absorb(total + value)
                    else:
                        store_value(values, r, value)
            first += cuda.gridDim.x * teams
        if sums:
            total = over_block(total, ())
            if cuda.threadIdx.x == 0:
                put(totals, cuda.blockIdx.x * 2, total)

    return rows_kernel


def _absorb_total(numbers: Sequence[Any], read: Any) -> Any:
    return read(reductions.total_absorbed)(*numbers)


def _total_over_block(threads: int, kind: Kind) -> Any:
    join = target.written(blocks.join_recipe(TOTAL), kind)
    start = target.constants(TOTAL.start, kind)
    return blocks.joined_over_block(threads, len(TOTAL), join, start, kind)


def _begin(row: Row, formats: Formats, kind: Kind) -> Any:
    """What is known of a row before its first pass, as a function of where it lies."""
    row_indices = [None if shared else 0 for shared in row.shared]
    load_row = memory.load(formats.of_row, row_indices, 1, kind)
    if not row.labelled:

        @inside
        def begin(
            arrays: Any, of_row: Any, labels: Any, scalars: Any, r: int, base: int, positions: int
        ) -> Any:
            return scalars + load_row(of_row, r, 0)

        return begin
    load_hit = memory.load(formats.classes, row.indices, 1, kind)
    to_number = target.number_of(kind)

    @inside
    def begin_labelled(
        arrays: Any, of_row: Any, labels: Any, scalars: Any, r: int, base: int, positions: int
    ) -> Any:
        label = labels[r]
        c = label if label >= 0 else 0  # an ignored row is silenced in the end
        hit = load_hit(arrays, base + c * positions, c)
        return scalars + load_row(of_row, r, 0) + to_number(label) + hit

    return begin_labelled


def _passes(row: Row, formats: Formats, shape: Shape, kind: Kind, number: int = 0) -> Any:
    """All passes from a number on, each handing on what it found."""
    if number == len(row.passes):
        return inside(lambda a, o, h, known, base, classes, positions, first, step, live: known)
    take = (_take_held if shape.held else _take)(row, formats, shape, kind, number)
    following = _passes(row, formats, shape, kind, number + 1)
    finish = target.written(row.finish(number), kind)
    joined = _joined(row, shape, kind, number)

    @inside
    def run(
        arrays: Any,
        outputs: Any,
        held: Any,
        known: Any,
        base: int,
        classes: int,
        positions: int,
        first: int,
        step: int,
        live: bool,
    ) -> Any:
        state = take(arrays, outputs, held, known, base, first, step, classes, positions, live)
        known = finish(known + joined(state, known))
        return following(arrays, outputs, held, known, base, classes, positions, first, step, live)

    return run


def _joined(row: Row, shape: Shape, kind: Kind, number: int) -> Any:
    """A team's states put together."""
    states = row.passes[number]
    join = target.written(row.join(number), kind)
    if shape.team <= WARP:
        return blocks.joined_over(shape.team, len(states), join)
    start = target.constants(states.start, kind)
    return blocks.joined_over_block(shape.threads, len(states), join, start, kind)


def _take(row: Row, formats: Formats, shape: Shape, kind: Kind, number: int) -> Any:
    """One thread's way through its classes: the state it comes to."""
    states, lanes = row.passes[number], shape.lanes
    size = len(states)
    start = target.constants(states.start, kind)
    take = target.written(row.take(number, lanes), kind)
    load = memory.load(formats.classes, row.indices, lanes, kind)
    last = number == len(row.passes) - 1 and bool(row.derivatives)
    state_of = target.part(0, size)
    rest_of = target.part(size, size + lanes * len(row.derivatives))
    store = memory.store(formats.derivatives, lanes, kind)
    to_number = target.number_of(kind)

    @inside
    def reduce(
        arrays: Any,
        outputs: Any,
        held: Any,
        known: Any,
        base: int,
        first: int,
        step: int,
        stop: int,
        positions: int,
        live: bool,
    ) -> Any:
        state = start()
        c = first
        while c + step < stop:  # two runs in flight
            one = load(arrays, base + c * positions, c)
            other = load(arrays, base + (c + step) * positions, c + step)
            state = state_of(take(known + state + to_number(c) + one))
            state = state_of(take(known + state + to_number(c + step) + other))
            c += 2 * step
        if c < stop:
            loaded = load(arrays, base + c * positions, c)
            state = state_of(take(known + state + to_number(c) + loaded))
        return state

    @inside
    def reduce_and_write(
        arrays: Any,
        outputs: Any,
        held: Any,
        known: Any,
        base: int,
        first: int,
        step: int,
        stop: int,
        positions: int,
        live: bool,
    ) -> Any:
        state = start()
        c = first
        while c + step < stop:
            i, j = base + c * positions, base + (c + step) * positions
            one, other = load(arrays, i, c), load(arrays, j, c + step)
            found = take(known + state + to_number(c) + one)
            if live:
                store(outputs, i, rest_of(found))
            found = take(known + state_of(found) + to_number(c + step) + other)
            if live:
                store(outputs, j, rest_of(found))
            state = state_of(found)
            c += 2 * step
        if c < stop:
            i = base + c * positions
            found = take(known + state + to_number(c) + load(arrays, i, c))
            if live:
                store(outputs, i, rest_of(found))
            state = state_of(found)
        return state

    return reduce_and_write if last else reduce


def _fetch(row: Row, formats: Formats, shape: Shape, kind: Kind, number: int = 0) -> Any:
    """A thread's classes, all that it holds, as one tuple; what lies beyond the row is not used."""
    if number == shape.held:
        return inside(lambda arrays, base, classes, positions, first, step: ())
    load = memory.load(formats.classes, row.indices, shape.lanes, kind)
    following = _fetch(row, formats, shape, kind, number + 1)

    @inside
    def fetch(arrays: Any, base: int, classes: int, positions: int, first: int, step: int) -> Any:
        c = first + number * step
        c = c if c < classes else 0
        loaded = load(arrays, base + c * positions, c)
        return loaded + following(arrays, base, classes, positions, first, step)

    return fetch


def _take_held(row: Row, formats: Formats, shape: Shape, kind: Kind, number: int) -> Any:
    """`_take`, over what the thread holds."""
    states = row.passes[number]
    start = target.constants(states.start, kind)
    run = _held_runs(row, formats, shape, kind, number)

    @inside
    def take(
        arrays: Any,
        outputs: Any,
        held: Any,
        known: Any,
        base: int,
        first: int,
        step: int,
        stop: int,
        positions: int,
        live: bool,
    ) -> Any:
        return run(outputs, held, known, start(), base, first, step, stop, positions, live)

    return take


def _held_runs(
    row: Row, formats: Formats, shape: Shape, kind: Kind, number: int, k: int = 0
) -> Any:
    """The runs that a thread holds, from the k-th on, one after the other."""
    if k == shape.held:
        return inside(lambda o, h, known, state, base, first, step, stop, positions, live: state)
    states, lanes = row.passes[number], shape.lanes
    size, numbers = len(states), lanes * len(row.classes)
    take = target.written(row.take(number, lanes), kind)
    last = number == len(row.passes) - 1 and bool(row.derivatives)
    written = lanes * len(row.derivatives) if last else 0
    state_of, rest_of = target.part(0, size), target.part(size, size + written)
    store = memory.store(formats.derivatives if last else (), lanes, kind)
    own = target.part(k * numbers, (k + 1) * numbers)
    to_number = target.number_of(kind)
    following = _held_runs(row, formats, shape, kind, number, k + 1)

    @inside
    def run(
        outputs: Any,
        held: Any,
        known: Any,
        state: Any,
        base: int,
        first: int,
        step: int,
        stop: int,
        positions: int,
        live: bool,
    ) -> Any:
        c = first + k * step
        if c < stop:
            found = take(known + state + to_number(c) + own(held))
            if live and last:
                store(outputs, base + c * positions, rest_of(found))
            state = state_of(found)
        return following(outputs, held, known, state, base, first, step, stop, positions, live)

    return run


def make_segment_kernel(row: Row, formats: Formats, shape: Shape, kind: Kind, number: int) -> Any:
    """One pass of rows that several blocks share; after the last one, the values.

    A kernel of (arrays of classes, arrays of rows, labels, scalars, values, derivatives, states,
    rows, classes, positions, segments): block (r, s) takes the s-th segment of row r, whose state
    it leaves in ``states`` for the kernels that follow. Values that are summed are left as pairs.
    """
    begin = _begin(row, formats, kind)
    recall = _recall(row, shape, kind, number)
    has_value = row.value is not None
    if number == len(row.passes):
        tell = target.written(row.tell(), kind)
        sums = row.total
        store_value = memory.store([formats.value], 1, kind)
        nothing = target.constants(TOTAL.start, kind)
        absorb = target.written(Recipe(len(TOTAL) + 1, _absorb_total), kind)
        put = blocks.put_into(len(TOTAL))

        @target.kernel(shape.threads)
        def tell_kernel(
            arrays: Any,
            of_row: Any,
            labels: Any,
            scalars: Any,
            values: Any,
            outputs: Any,
            states: Any,
            rows: int,
            classes: int,
            positions: int,
            segments: int,
        ) -> None:
            r = cuda.blockIdx.x + 0 * rows
            n = r // positions
            base = n * classes * positions + (r - n * positions)
            known = begin(arrays, of_row, labels, scalars, r, base, positions)
            known = recall(states, known, r, rows, segments)
            if has_value:
                value = tell(known)
                if cuda.threadIdx.x == 0:
                    if sums:
                        put(values, 2 * r, absorb(nothing() + value))
                    else:
                        store_value(values, r, value)

        return tell_kernel
    take = _take(row, formats, shape, kind, number)
    joined = _joined(row, shape, kind, number)
    size, offset = len(row.passes[number]), row.offset(number)
    put = blocks.put_into(size)
    lanes, threads = shape.lanes, shape.threads

    @target.kernel(shape.threads)
    def segment_kernel(
        arrays: Any,
        of_row: Any,
        labels: Any,
        scalars: Any,
        values: Any,
        outputs: Any,
        states: Any,
        rows: int,
        classes: int,
        positions: int,
        segments: int,
    ) -> None:
        r = cuda.blockIdx.x // segments
        s = cuda.blockIdx.x - r * segments
        n = r // positions
        base = n * classes * positions + (r - n * positions)
        known = begin(arrays, of_row, labels, scalars, r, base, positions)
        known = recall(states, known, r, rows, segments)
        runs = (classes + lanes - 1) // lanes
        each = (runs + segments - 1) // segments * lanes
        stop = min(classes, (s + 1) * each)
        first = s * each + cuda.threadIdx.x * lanes
        step = threads * lanes
        state = take(arrays, outputs, (), known, base, first, step, stop, positions, True)
        state = joined(state, known)
        if cuda.threadIdx.x == 0:
            put(states, (offset * rows + r * size) * segments + s * size, state)

    return segment_kernel


def _recall(row: Row, shape: Shape, kind: Kind, number: int, passed: int = 0) -> Any:
    """(states, known, r, rows, segments) -> what is known after the passes before a number."""
    if passed == number:
        return inside(lambda states, known, r, rows, segments: known)
    following = _recall(row, shape, kind, number, passed + 1)
    own = row.passes[passed]
    size, offset, threads = len(own), row.offset(passed), shape.threads
    start = target.constants(own.start, kind)
    join = target.written(row.join(passed), kind)
    finish = target.written(row.finish(passed), kind)
    joined = _joined(row, shape, kind, passed)
    get = blocks.taken_from(size)

    @inside
    def recall(states: Any, known: Any, r: int, rows: int, segments: int) -> Any:
        state = start()
        s = cuda.threadIdx.x
        while s < segments:
            at = (offset * rows + r * size) * segments + s * size
            state = join(state + get(states, at) + known)
            s += threads
        known = finish(known + joined(state, known))
        return following(states, known, r, rows, segments)

    return recall
