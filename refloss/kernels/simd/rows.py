"""Kernels over rows of classes or components: they are reduced, then told what they came to.

A kernel goes through a row as often as its quantities need of each other
(`refloss.quantities.Table.passes`) while the row is near, and writes the derivatives in the last
pass. Of *wide* rows as many classes are taken at a time as there are lanes, and what those found is
joined. Of *narrow* rows as many rows are taken at a time, one in each lane, class by class: what is
known of a row is then a vector as well, and nothing has to be joined. There are eight lanes of
float64, or sixteen of pairs of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from refloss.formula.emitted import NOTHING, Flag, Kind, Number
from refloss.formula.paired import PAIRED
from refloss.kernels.named import HIT, IGNORED, LABEL, PLACE, RATE, UPSTREAM
from refloss.kernels.simd.classes import FACTORS, MASSES, SUMS, InDoubles, InPairs
from refloss.kernels.simd.tasks import BYTES, GIVEN, Piece, Task
from refloss.kernels.simd.top import Peak, Top
from refloss.kernels.simd.totals import Total
from refloss.kernels.simd.writing import LANES, Body, Stored, Variables, constant, is_masked

Value = Any  # of LLVM
Known = dict[str, Any]
States = Mapping[Any, Sequence[Number]]  # of reductions
Part = Callable[[Value, Value], States]  # what becomes of the classes from one to another

# What a mark asks to be computed again, and sums that nothing but the value is made of
VALUE, DERIVATIVES = 1, 2
ONLY_OF_VALUES = ("gap_sum", "input_sum")

PART = 1 << 12  # classes of a wide row that are taken before what lanes have found is joined
NARROW = 384  # rows of up to so many classes are taken side by side


@dataclass(frozen=True)
class Row:
    """What a row's numbers are made of.

    Attributes
    ----------
    table : a `refloss.quantities.Table`
    scalars : numbers that count for every row
    of_row : numbers that are loaded for each row
    shared : for each of them, whether one number stands for all rows
    labelled : whether there is a label, and each class's numbers are loaded for its class too
    classes : arrays of which each class's number is loaded
    per_class : for each of them, whether the same numbers count for each row
    value, derivatives : the names of what is wanted
    """

    table: Any
    scalars: tuple[str, ...]
    of_row: tuple[str, ...]
    shared: tuple[bool, ...]
    labelled: bool
    classes: tuple[str, ...]
    per_class: tuple[bool, ...]
    value: str | None
    derivatives: tuple[str, ...]

    @cached_property
    def passes(self) -> list[list[Any]]:
        """The reductions of each pass; derivatives are written in the last of them."""
        wanted = ((self.value,) if self.value else ()) + self.derivatives
        found: list[list[Any]] = self.table.passes(wanted)
        last = self.table.depth(self.derivatives) + 1 if self.derivatives else 0
        return found + [[]] * (last - len(found))

    def sources(self, number: int) -> set[str]:
        """All that a pass asks for."""
        wanted = {name for one in self.passes[number] for name in (*one.each, *one.parameters)}
        last = number == len(self.passes) - 1
        found: set[str] = self.table.sources([*wanted, *(self.derivatives if last else ())])
        return found

    def kept(self, number: int) -> list[str]:
        """Dear quantities that a pass makes for the first time and a later one asks for."""
        later = set().union(*(self.sources(k) for k in range(number + 1, len(self.passes))))
        return [
            n
            for n in self.table.dear
            if n in self.sources(number) & later
            and not any(n in self.sources(k) for k in range(number))
        ]

    @cached_property
    def kept_names(self) -> list[str]:
        """All that is kept from pass to pass, in the order of its places."""
        return [name for number in range(len(self.passes)) for name in self.kept(number)]

    def room(self, classes: int, narrow: bool, kind: Kind) -> int:
        """The doubles that a kernel needs for what it keeps."""
        if narrow:
            kept = len(self.kept_names) * (InPairs.units if kind is PAIRED else 1)
            length = -(-classes // lanes_of(kind)) * lanes_of(kind)
            return (len(self.classes) + kept + len(self.derivatives)) * length * LANES
        return len(self.kept_names) * (classes + lanes_of(kind))

    def slots(self, number: int) -> int:
        """The numbers that are known of a part of a row after a pass."""
        return sum(len(one.start) for one in self.passes[number])

    def common(self, classes: int, threads: int) -> int:
        """The doubles in common for a row that so many threads share."""
        parts = -(-classes // PART)
        return sum(1 + threads + parts * self.slots(number) for number in range(len(self.passes)))


def lanes_of(kind: Kind) -> int:
    """How many classes or rows are taken at a time."""
    return 2 * LANES if kind is PAIRED else LANES


@dataclass(frozen=True)
class Formats:
    """The formats of the arrays of a row kernel."""

    of_row: tuple[str, ...]
    classes: tuple[str, ...]
    value: str
    derivatives: tuple[str, ...]


def make_kernel(
    row: Row, formats: Formats, form: type[Wide] | type[Narrow], kind: Kind, key: Any
) -> Task:
    """A task whose items are rows, in the form that the kernel takes them, which the key names.

    The addresses are those of arrays of classes (R, C), arrays of rows (R,), labels if there are
    any, values and derivatives (R, C). A thread's room is for what is kept, and for pairs of
    float32 a byte for a mark of each row. If values are summed, a piece gives back a pair instead
    of writing them; where a row is marked the pair's first is NaN, and the number behind stands for
    it.
    """

    def write(builder: Any, piece: Piece) -> None:
        body = Body(builder, kind, lanes_of(kind))
        form(row, formats, body, piece).write()

    arrays = (*formats.classes, *formats.of_row, formats.value, *formats.derivatives)
    extents = len(arrays) + row.labelled, len(row.scalars)
    return Task(write, *extents, key, is_shared=form is Shared)


class Rows:
    """What both kinds of kernels do."""

    def __init__(self, row: Row, formats: Formats, body: Body, piece: Piece) -> None:
        self.row, self.body, self.builder, self.piece = row, body, body.builder, piece
        given = list(piece.arrays)
        take: Callable[[str], Stored] = lambda one: Stored(given.pop(0), one)  # noqa: E731
        self.classes = dict(zip(row.classes, map(take, formats.classes), strict=True))
        self.of_row = dict(zip(row.of_row, map(take, formats.of_row), strict=True))
        self.labels = take("int64") if row.labelled else None
        self.values = take(formats.value)
        self.derivatives = dict(zip(row.derivatives, map(take, formats.derivatives), strict=True))
        self.total_at = Stored(piece.found, "float64")
        self.room = Stored(piece.room, "float64")
        self.marks = Stored(piece.marks, "int8") if body.kind is PAIRED else None
        self.scalars = dict(zip(row.scalars, map(body.scalar, piece.scalars), strict=True))
        self.begin, self.end, self.count = piece.begin, piece.end, piece.classes
        self.is_summed = self.builder.icmp_signed("!=", piece.sums, body.whole(0))
        self.total = Total(body)
        self.pairs = None if self.marks is None else InPairs(body)
        self.each = InDoubles(body) if self.pairs is None else self.pairs
        self.column = Stored(self.room.address, self.each.column)
        self.kept_how: dict[str, Any] = {}  # of what is kept, all that is known about it
        # where marks are asked for: whether a row needs none, and its value neither
        self.usual: Flag | None = None
        self.usual_value: Flag | None = None
        self.some_marked = cgutils.alloca_once_value(self.builder, ir.Constant(ir.IntType(1), 0))
        self.per_class = dict(zip(row.classes, row.per_class, strict=True))
        self.shared = dict(zip(row.of_row, row.shared, strict=True))

    def numbers(self, known: Mapping[str, Any]) -> Any:
        """The quantities that follow from those that are known."""
        return self.row.table.numbers(known, self.each.read)

    def kept_at(self, name: str, c: Value) -> Value:
        """Where the numbers that are kept of some quantity lie in the room."""
        raise NotImplementedError

    def keep(self, names: Iterable[str], c: Value, numbers: Any) -> None:
        """Keep quantities for a later pass."""
        for name in names:
            at = self.kept_at(name, c)
            self.kept_how[name] = self.each.keep(self.column, at, numbers[name])

    def kept(self, names: Iterable[str], c: Value) -> Known:
        """What an earlier pass has kept."""
        return {
            name: self.each.kept(self.column, self.kept_at(name, c), self.kept_how[name])
            for name in names
        }

    def finished(self, one: Any, state: Iterable[Any]) -> Known:
        """What a reduction comes to."""
        found = self.body.read(one.formula("finished"))(*state)
        return dict(zip(one.gives, found, strict=True))

    def _all_finished(self, states: Mapping[Any, Sequence[Number]]) -> Known:
        found: Known = {}
        for one, state in states.items():
            self.looked_at(one, state)
            found |= self.finished(one, state)
        return found

    def absorb(
        self, states: Mapping[Any, Variables], numbers: Any, where: Flag | None = None
    ) -> None:
        """Take up one more class in each lane, or in some."""
        for one, state in states.items():
            taken = [numbers[name] for name in (*one.each, *one.parameters)]
            self.each.absorb(one, state, taken, where)

    def at_hit(self, derivative: str) -> str:
        """What a derivative is called at the target's class."""
        return f"{HIT}{derivative}" if self.row.table.is_each(derivative) else derivative

    def fixed(self, number: int) -> Known:
        """What a pass may take for granted of each class.

        In a pass of nothing but derivatives no class is the target's: that one is written anew.
        """
        last = number == len(self.row.passes) - 1
        return {"hit": 0} if self.row.labelled and last and not self.row.passes[number] else {}

    def label(self, labels: Stored, i: Value) -> Value:
        """A row's label; one that has been changed since it was looked at is no class, at worst."""
        label = self.body.raw(labels, i)
        is_class = self.builder.icmp_unsigned("<", label, self.count)
        return self.builder.select(is_class, label, self.body.whole(IGNORED))

    def started(self, number: int) -> dict[Any, Variables]:
        """The states of a pass, before the first class."""
        return {one: self.each.started(one) for one in self.row.passes[number]}

    def looked_at(self, one: Any, states: Iterable[Number]) -> None:
        """Whether a row is still a usual one after a reduction that came to this."""
        if self.pairs is None:
            return
        if one.kind == "sum" and one.gives[0] in ONLY_OF_VALUES:
            found = self.pairs.within(SUMS, states)
            self.usual_value = both_hold(self.usual_value, found)
            return
        found = self.pairs.within(MASSES if one.kind == "sum" else SUMS, states)
        self.usual = both_hold(self.usual, found)

    def mark(self, known: Known, i: Value) -> Flag | None:
        """Mark what is not usual of rows, for who computes it again; where values are usual.

        A mark is one of `VALUE` and `DERIVATIVES`, or both: of two calls of which one asks for
        more, each number is computed alike in both.
        """
        if self.pairs is None or self.marks is None:
            return None
        usual = both_hold(self.usual, self.pairs.of_parts.in_reach)
        value = both_hold(usual, self.usual_value)
        factor = known[UPSTREAM] * known[RATE]
        derivatives = usual & self.pairs.within(FACTORS, [factor])
        asked = ((VALUE, value, self.row.value), (DERIVATIVES, derivatives, self.row.derivatives))
        builder = self.builder
        found = None
        for bit, flag, wanted in asked:
            if wanted:
                byte = self.body.code.shaped(ir.IntType(8), flag.value)
                marked = builder.zext(builder.not_(flag.value), byte)
                marked = builder.mul(marked, constant(ir.IntType(8), bit, marked))
                found = marked if found is None else builder.or_(found, marked)
        assert found is not None
        self.body.put_raw(self.marks, builder.sub(i, self.begin), found)
        some = builder.icmp_unsigned("!=", found, constant(ir.IntType(8), 0, found))
        if isinstance(some.type, ir.VectorType):
            bits = builder.bitcast(some, ir.IntType(self.body.lanes))
            some = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
        builder.store(builder.or_(some, builder.load(self.some_marked)), self.some_marked)
        return value

    def fetch(self, here: Value, ahead: Value) -> None:
        """While there is arithmetic to do: rows ahead, and where the results of these go."""
        for name, array in self.classes.items():
            if not self.per_class[name]:
                self.body.prefetch(array, ahead)
        if len(self.row.passes) > 1:
            for array in self.derivatives.values():
                self.body.prefetch(array, here, write=True)

    def put_total(self) -> None:
        """Write the sum of the values; NaN in its place, and it behind, where rows are marked."""
        body, builder = self.body, self.builder
        if self.row.value is not None:
            self.total.put(self.total_at)
        if self.marks is not None:
            with builder.if_then(builder.load(self.some_marked)):
                high = body.one(self.total_at, body.whole(0))
                body.put(self.total_at, body.whole(2), high)
                body.put(self.total_at, body.whole(0), body.code.number(math.nan))


def both_hold(one: Flag | None, other: Flag | None) -> Flag:
    """Two conditions, or the one that there is."""
    found = one if other is None else other if one is None else one & other
    assert found is not None
    return found


class Wide(Rows):
    """As many classes at a time as there are lanes, of one row."""

    def write(self) -> None:
        with self.body.loop(self.begin, self.end) as i:
            known = self.scalars | self._of_row(i)
            self.usual = self.usual_value = None
            for number in range(len(self.row.passes)):
                known |= self._pass(number, i, known)
            self.finish(i, known)
        self.put_total()

    def finish(self, i: Value, known: Known) -> None:
        """When the last pass is over: marks, the target's own derivatives, and the value."""
        usual = self.mark(known, i)
        if self.row.labelled and self.derivatives:
            self._correct_hit(i, known)
        if self.row.value is None:
            return
        value = self.body.code.number(self.numbers(known)[self.row.value])
        with self.builder.if_else(self.is_summed) as (summed, written):
            with summed:
                one, none = self.body.whole(1), self.body.whole(0)
                count = one if usual is None else self.builder.select(usual.value, one, none)
                self.total.absorb(value, self.body.first(count))
            with written:
                self.body.put(self.values, i, self.body.lane(value, 0))

    def _of_row(self, i: Value) -> Known:
        body, zero = self.body, self.body.whole(0)
        known = {
            name: body.one(array, zero if self.shared[name] else i)
            for name, array in self.of_row.items()
        }
        if self.labels is not None:
            label = self.label(self.labels, i)
            known[LABEL] = body.number_of(label)
            self.hit = self.builder.select(self.builder.icmp_signed("<", label, zero), zero, label)
            self.is_kept = self.builder.icmp_signed(">=", label, zero)
            for name, array in self.classes.items():
                known[f"{HIT}{name}"] = body.one(array, self._at(name, i, self.hit))
        return known

    def _at(self, name: str, i: Value, c: Value) -> Value:
        """Where a class's number lies in an array."""
        if self.per_class.get(name):
            return c
        return self.builder.add(self.builder.mul(i, self.count), c)

    def kept_at(self, name: str, c: Value) -> Value:
        """One run after the other, a row's length apart."""
        body, builder = self.body, self.builder
        length = builder.add(self.count, body.whole(body.lanes))
        start = builder.mul(body.whole(self.row.kept_names.index(name)), length)
        return builder.mul(builder.add(start, c), body.whole(self.each.units))

    def _pass(self, number: int, i: Value, known: Known) -> Known:
        body, builder, row = self.body, self.builder, self.row
        if [one.kind for one in row.passes[number]] == ["peak"]:
            (one,) = row.passes[number]
            peak = Peak(body, self.classes[one.each[0]])
            start = self._at("", i, body.whole(0))

            def look(begin: Value, end: Value) -> States:
                found = peak.found(builder.add(start, begin), builder.sub(end, begin))
                return {one: self._joined(one, found, known)}

            return self._all_finished(self.compared(number, i, look, known))
        if self._looks_for_top_alone(number):
            (one,) = row.passes[number]
            found = Top(body, self.classes[one.each[0]]).found(
                self._at("", i, body.whole(0)), self.count
            )
            return self._all_finished({one: self._joined(one, found, known)})
        of_row, states, place = self.each.known(known), self.started(number), self.each.places()
        last = number == len(row.passes) - 1
        asked = row.sources(number)
        kept_now = row.kept(number)
        kept_before = [name for k in range(number) for name in row.kept(k) if name in asked]

        ahead = number == 1 or len(row.passes) == 1

        def step(c: Value, rest: Value | None = None) -> None:
            if ahead and rest is None:
                here = self._at("", i, c)
                self.fetch(here, builder.add(here, self.count))
            own: Known = {PLACE: place.get()} | self.fixed(number) | self.kept(kept_before, c)
            for name, array in self.classes.items():
                own[name] = self.each.loaded(name, self.each.run(array, self._at(name, i, c), rest))
            numbers = self.numbers({**of_row, **own})
            self.absorb(states, numbers, None if rest is None else body.first(rest))
            self.keep(kept_now, c, numbers)
            place.move()
            for name, array in self.derivatives.items() if last else ():
                self.each.put(array, self._at("", i, c), numbers[name], rest)

        def take(begin: Value, end: Value) -> States:
            whole = builder.add(begin, body.rounded_down(builder.sub(end, begin)))
            place.start(begin)
            for state in states.values():
                state.start()
            with body.loop(begin, whole, body.lanes) as c:
                step(c)
            rest = builder.sub(end, whole)
            with builder.if_then(builder.icmp_signed(">", rest, body.whole(0))):
                step(whole, rest)
            return {
                one: self._joined(one, self.each.state(state), known)
                for one, state in states.items()
            }

        return self._all_finished(self.taken(number, i, take, known))

    def compared(self, number: int, i: Value, look: Part, known: Known) -> States:
        """What a pass comes to that only compares: it needs no parts."""
        return look(self.body.whole(0), self.count)

    def taken(self, number: int, i: Value, take: Part, known: Known) -> States:
        """What a pass comes to, part after part."""
        body, totals = self.body, self.totals(number)
        with body.loop(body.whole(0), self.count, PART) as begin:
            part = take(begin, body.smaller(self.builder.add(begin, body.whole(PART)), self.count))
            self.add_part(totals, part, known)
        return {one: total.get() for one, total in totals.items()}

    def totals(self, number: int) -> dict[Any, Variables]:
        """The states of a pass for a whole row, before the first part."""
        return {
            one: self.body.variables([self.body.code.number(x) for x in one.start], in_lanes=False)
            for one in self.row.passes[number]
        }

    def add_part(self, totals: Mapping[Any, Variables], part: States, known: Known) -> None:
        """Join what a part came to."""
        for one, total in totals.items():
            total.set(self._join(one, total.get(), part[one], known))

    def _looks_for_top_alone(self, number: int) -> bool:
        """Whether a pass does nothing but compare numbers of float32."""
        row = self.row
        if [one.kind for one in row.passes[number]] != ["top"]:
            return False
        name = row.passes[number][0].each[0]
        is_read = name in self.classes and not self.per_class[name]
        is_last = number == len(row.passes) - 1 and bool(row.derivatives)
        short = is_read and self.classes[name].format == "float32"
        return short and not is_last and not row.kept(number)

    def _join(
        self, one: Any, state: Sequence[Number], other: Sequence[Number], known: Known
    ) -> list[Number]:
        """What two parts of a row come to."""
        numbers = self.numbers(known)
        further = [numbers[name] for name in one.parameters]
        found = self.body.read(one.formula("joined"))(*state, *other, *further)
        return [self.body.code.number(x) for x in found]

    def _joined(self, one: Any, state: Sequence[Number], known: Known) -> list[Number]:
        """What all lanes come to."""
        distance = self.body.lanes // 2
        while distance:
            others = [self.body.turned(x, distance) for x in state]
            state = self._join(one, state, others, known)
            distance //= 2
        return [self.body.lane(x, 0) for x in state]

    def _correct_hit(self, i: Value, known: Known) -> None:
        with self.builder.if_then(self.is_kept):
            numbers = self.numbers(known)
            for name, array in self.derivatives.items():
                x = self.body.code.number(numbers[self.at_hit(name)])
                self.body.put(array, self._at("", i, self.hit), self.body.lane(x, 0))


class Shared(Wide):
    """A few long rows, of which each thread takes parts that are its own, then those of others.

    So a thread that comes late, or never, is not waited for, and one that is there finds near what
    it left in an earlier pass. What parts came to is in common, and is joined by each thread in the
    same order. The first of them writes what belongs to a row.
    """

    def write(self) -> None:
        body, builder = self.body, self.builder
        self.is_first = builder.icmp_signed("==", self.piece.number, body.whole(0))
        above = builder.add(self.count, body.whole(PART - 1))
        self.parts = builder.ashr(above, body.whole(PART.bit_length() - 1))
        super().write()

    def finish(self, i: Value, known: Known) -> None:
        with self.builder.if_then(self.is_first):
            super().finish(i, known)

    def put_total(self) -> None:
        with self.builder.if_then(self.is_first):
            super().put_total()

    def compared(self, number: int, i: Value, look: Part, known: Known) -> States:
        return self.taken(number, i, look, known)

    def fetch(self, here: Value, ahead: Value) -> None:
        """The next parts may be another's."""

    def taken(self, number: int, i: Value, take: Part, known: Known) -> States:
        body, builder, totals = self.body, self.builder, self.totals(number)
        begun, done, states = self._common(number, i)
        slots = self.row.slots(number)
        for part in self._each_part(begun):
            begin = builder.mul(part, body.whole(PART))
            found = take(begin, body.smaller(builder.add(begin, body.whole(PART)), self.count))
            first = builder.mul(part, body.whole(slots))
            for k, x in enumerate(x for one in totals for x in found[one]):
                body.put(states, builder.add(first, body.whole(k)), x)
            body.counted(done, body.whole(0))
        body.wait_until(done, self.parts)
        with body.loop(body.whole(0), self.parts) as part:
            first = builder.mul(part, body.whole(slots))
            given = (body.one(states, builder.add(first, body.whole(k))) for k in range(slots))
            self.add_part(totals, {one: [next(given) for _ in one.start] for one in totals}, known)
        return {one: total.get() for one, total in totals.items()}

    def _each_part(self, begun: Stored) -> Iterator[Value]:
        """Parts that nobody else takes, of every thread in turn, beginning with this one."""
        body, builder, threads = self.body, self.builder, self.piece.size
        with body.loop(body.whole(0), threads) as k:
            owner = builder.srem(builder.add(self.piece.number, k), threads)
            ends = [
                builder.sdiv(builder.mul(self.parts, one), threads)
                for one in (owner, builder.add(owner, body.whole(1)))
            ]
            mine = builder.sub(ends[1], ends[0])
            with body.repeated(lambda: body.counted(begun, owner), below=mine) as number:
                yield builder.add(ends[0], number)

    def _common(self, number: int, i: Value) -> tuple[Stored, Stored, Stored]:
        """What is in common, of a row and a pass.

        How many parts of each thread have been begun, how many are done, and what they came to.
        """
        body, builder, row = self.body, self.builder, self.row
        counts = builder.add(self.piece.size, body.whole(1))
        sizes = [
            builder.add(builder.mul(self.parts, body.whole(row.slots(n))), counts)
            for n in range(len(row.passes))
        ]
        none = body.whole(0)
        of_row = builder.mul(builder.sub(i, self.begin), reduce(builder.add, sizes, none))
        begun = reduce(builder.add, sizes[:number], builder.add(of_row, body.whole(GIVEN)))
        done = builder.add(begun, self.piece.size)
        states = builder.add(done, body.whole(1))

        def stored(at: Value, format_: str) -> Stored:
            bytes_ = builder.mul(at, body.whole(BYTES))
            return Stored(builder.add(self.total_at.address, bytes_), format_)

        return stored(begun, "int64"), stored(done, "int64"), stored(states, "float64")


class Narrow(Rows):
    """As many rows as there are lanes at a time, class by class."""

    def write(self) -> None:
        lanes, one_less = self.body.lanes, self.body.whole(self.body.lanes - 1)
        self.length = self.body.rounded_down(self.builder.add(self.count, one_less))
        with self.body.loop(self.begin, self.end, lanes) as i:
            self.usual = self.usual_value = None
            self.rest = self.builder.sub(self.end, i)
            last = self.builder.sub(self.end, self.body.whole(1))
            self.rows = [
                self.body.smaller(self.builder.add(i, self.body.whole(k)), last)
                for k in range(lanes)
            ]
            self._bring_in()
            self.first = i
            known = self._steady(self.scalars | self._of_row())
            for number in range(len(self.row.passes)):
                known |= self._steady(self._pass(number, known))
            usual = self.mark(known, i)
            self._take_out()
            if self.row.labelled and self.derivatives:
                self._correct_hit(known)
            if self.row.value is not None:
                value = self.body.code.number(self.numbers(known)[self.row.value])
                with self.builder.if_else(self.is_summed) as (summed, written):
                    with summed:
                        there = self.body.first(self.rest)
                        self.total.absorb(value, there if usual is None else there & usual)
                    with written:
                        count = self.body.smaller(self.rest, self.body.whole(lanes))
                        self.body.put_some(self.values, i, value, count)
        self.put_total()

    def _steady(self, known: Known) -> Known:
        """What is known of the rows is the same for each of their classes."""
        return {
            name: x if x is NOTHING else Number(x.code, x.value, x.constant, steady=True)
            for name, x in known.items()
        }

    def kept_at(self, name: str, c: Value) -> Value:
        """After the columns of the arrays."""
        units = self.body.whole(self.each.units)
        number = len(self.row.classes) + self.each.units * self.row.kept_names.index(name)
        return self._place(number, self.builder.mul(c, units))

    def _place(self, number: int, c: Value) -> Value:
        """Where rows' numbers of a class lie in the room."""
        at = self.builder.add(self.builder.mul(self.body.whole(number), self.length), c)
        return self.builder.mul(at, self.body.whole(self.body.lanes))

    def _out(self, number: int, like: Stored) -> Stored:
        """Room for a derivative's numbers as they are stored."""
        before = len(self.row.classes) + self.each.units * len(self.row.kept_names)
        start = self._place(before + number, self.body.whole(0))
        address = self.builder.add(
            self.column.address, self.builder.mul(start, self.body.whole(self.column.size))
        )
        return Stored(address, like.format)

    def _bases(self) -> list[Value]:
        return [self.builder.mul(row, self.count) for row in self.rows]

    def _blocks(self, format_: str) -> Iterator[tuple[Value, Value | None]]:
        """As many classes as there are lanes, and how many there are if there may be fewer."""
        body, builder = self.body, self.builder
        if is_masked(format_):
            with body.loop(body.whole(0), self.count, body.lanes) as c:
                yield c, builder.sub(self.count, c)
            return
        whole = body.rounded_down(self.count)
        with body.loop(body.whole(0), whole, body.lanes) as c:
            yield c, None
        rest = builder.sub(self.count, whole)
        with builder.if_then(builder.icmp_signed(">", rest, body.whole(0))):
            yield whole, rest

    def _bring_in(self) -> None:
        """Turn rows of each array of classes into a column of vectors."""
        body, builder, bases = self.body, self.builder, self._bases()
        for number, (name, array) in enumerate(self.classes.items()):
            for c, rest in () if self.per_class[name] else self._blocks(array.format):
                loaded = [body.raw_run(array, builder.add(base, c), rest) for base in bases]
                for k, column in enumerate(body.transposed(loaded)):
                    at = self._place(number, builder.add(c, body.whole(k)))
                    body.put_raw(self.column, at, self.each.raw(column, array.format))

    def _take_out(self) -> None:
        """Turn columns of derivatives back into rows."""
        body, builder, bases = self.body, self.builder, self._bases()
        for number, array in enumerate(self.derivatives.values()):
            here = self._out(number, array)
            for c, rest in self._blocks(array.format):
                columns = [
                    body.raw_run(here, builder.mul(builder.add(c, body.whole(k)), lanes))
                    for lanes in [body.whole(body.lanes)]
                    for k in range(body.lanes)
                ]
                for base, one in zip(bases, body.transposed(columns), strict=True):
                    body.put_raw_run(array, builder.add(base, c), one, rest)

    def _correct_hit(self, known: Known) -> None:
        """In a row that is ignored the first class gets the 0 that it has already."""
        body, numbers = self.body, self.numbers(known)
        for name, array in self.derivatives.items():
            x = body.code.number(numbers[self.at_hit(name)])
            narrow = body.narrowed(Number(body.code, body.code.spread(x.value)), array.format)
            for k, (base, hit) in enumerate(zip(self._bases(), self.hits, strict=True)):
                one = self.builder.extract_element(narrow, body.whole(k))
                body.put_raw(array, self.builder.add(base, hit), one)

    def _of_row(self) -> Known:
        body, zero = self.body, self.body.whole(0)
        known: Known = {}
        for name, array in self.of_row.items():
            if self.shared[name]:
                known[name] = body.one(array, zero)
            else:
                known[name] = body.widened(
                    body.gathered([body.raw(array, row) for row in self.rows]), array.format
                )
        if self.labels is not None:
            labels = [self.label(self.labels, row) for row in self.rows]
            known[LABEL] = body.widened(body.gathered(labels), "int64")
            is_below = [self.builder.icmp_signed("<", label, zero) for label in labels]
            self.hits = hits = [
                self.builder.select(below, zero, label)
                for below, label in zip(is_below, labels, strict=True)
            ]
            for number, (name, array) in enumerate(self.classes.items()):
                known[f"{HIT}{name}"] = self._hit(number, name, array, hits)
        return known

    def _hit(self, number: int, name: str, array: Stored, hits: Sequence[Value]) -> Number:
        body = self.body
        if self.per_class[name]:
            return body.widened(body.gathered([body.raw(array, hit) for hit in hits]), array.format)
        places = [
            self.builder.add(self._place(number, hit), body.whole(k)) for k, hit in enumerate(hits)
        ]
        column = body.gathered([body.raw(self.column, at) for at in places])
        return body.widened(column, self.column.format)

    def _pass(self, number: int, known: Known) -> Known:
        body, row = self.body, self.row
        of_row, states = self.each.known(known), self.started(number)
        last = number == len(row.passes) - 1
        asked, kept_now = row.sources(number), row.kept(number)
        before = [name for k in range(number) for name in row.kept(k) if name in asked]
        ahead = number == 1 or len(row.passes) == 1
        with body.loop(body.whole(0), self.count) as c:
            if ahead:
                at = self.builder.mul(c, body.whole(body.lanes))
                here = self.builder.add(self.builder.mul(self.first, self.count), at)
                rows = self.builder.mul(body.whole(body.lanes), self.count)
                self.fetch(here, self.builder.add(here, rows))
            own: Known = {PLACE: self.each.place(c)} | self.fixed(number)
            for index, (name, array) in enumerate(self.classes.items()):
                if self.per_class[name]:
                    own[name] = self.each.one(array, c)
                else:
                    column = body.raw(self.column, self._place(index, c), body.lanes)
                    own[name] = self.each.loaded(name, self.each.number(column))
            numbers = self.numbers({**of_row, **own, **self.kept(before, c)})
            self.absorb(states, numbers)
            self.keep(kept_now, c, numbers)
            for index, (name, array) in enumerate(self.derivatives.items() if last else ()):
                at = self.builder.mul(c, body.whole(body.lanes))
                self.each.put(self._out(index, array), at, numbers[name])
        return self._all_finished({one: self.each.state(state) for one, state in states.items()})
