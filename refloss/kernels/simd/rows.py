"""Kernels over rows of classes or components: they are reduced, then told what they came to.

A kernel goes through a row as often as its quantities need of each other
(`refloss.quantities.Table.passes`) while the row is near, and writes the derivatives in the last
pass. *Wide* rows are taken eight classes at a time, and what the lanes have found is joined.
*Narrow* rows are taken eight rows at a time, one in each lane, class by class: what is known of a
row is then a vector as well, and nothing has to be joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from refloss.formula.emitted import NOTHING, Flag, Kind, Number
from refloss.kernels.named import HIT, LABEL, PLACE
from refloss.kernels.simd.top import Top
from refloss.kernels.simd.totals import Total
from refloss.kernels.simd.writing import LANES, Body, Stored, Variables, kernel

Value = Any  # of LLVM
Known = dict[str, Any]

NARROW = 128  # rows of up to so many classes are taken side by side


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

    def room(self, classes: int, narrow: bool) -> int:
        """The doubles that a kernel needs for what it keeps."""
        if narrow:
            arrays = len(self.classes) + len(self.kept_names) + len(self.derivatives)
            return arrays * classes * LANES
        return len(self.kept_names) * (classes + LANES)


@dataclass(frozen=True)
class Formats:
    """The formats of the arrays of a row kernel."""

    of_row: tuple[str, ...]
    classes: tuple[str, ...]
    value: str
    derivatives: tuple[str, ...]


def make_kernel(row: Row, formats: Formats, narrow: bool, kind: Kind, key: Any) -> Any:
    """A kernel of addresses, scalars and extents.

    The addresses are those of arrays of classes (R, C), arrays of rows (R,), labels if there are
    any, values, derivatives (R, C), a pair for the total, and room for what is kept; the extents
    are the first row, the one after the last, and C. Last comes whether the values are summed into
    the pair instead of written.
    """

    def write(builder: Any, values: Sequence[Value]) -> None:
        body = Body(builder, kind)
        (Narrow if narrow else Wide)(row, formats, body, values).write()

    return kernel(write, (*key, narrow))


class Rows:
    """What both kinds of kernels do."""

    def __init__(self, row: Row, formats: Formats, body: Body, values: Sequence[Value]) -> None:
        self.row, self.body, self.builder = row, body, body.builder
        given = list(values)
        take: Callable[[str], Stored] = lambda one: Stored(given.pop(0), one)  # noqa: E731
        self.classes = dict(zip(row.classes, map(take, formats.classes), strict=True))
        self.of_row = dict(zip(row.of_row, map(take, formats.of_row), strict=True))
        self.labels = take("int64") if row.labelled else None
        self.values = take(formats.value)
        self.derivatives = dict(zip(row.derivatives, map(take, formats.derivatives), strict=True))
        self.total_at = take("float64")
        self.room = take("float64")
        self.scalars = {name: body.scalar(given.pop(0)) for name in row.scalars}
        self.begin, self.end, self.count, sums = given
        self.is_summed = self.builder.icmp_signed("!=", sums, body.whole(0))
        self.total = Total(body)
        self.nothing: set[str] = set()  # of what is to be kept, that which turned out to be nothing
        self.per_class = dict(zip(row.classes, row.per_class, strict=True))
        self.shared = dict(zip(row.of_row, row.shared, strict=True))

    def numbers(self, known: Mapping[str, Any]) -> Any:
        """The quantities that follow from those that are known."""
        return self.row.table.numbers(known, self.body.read)

    def kept_at(self, name: str, c: Value) -> Value:
        """Where the numbers that are kept of some quantity lie in the room."""
        raise NotImplementedError

    def keep(self, names: Iterable[str], c: Value, numbers: Any) -> None:
        """Keep quantities for a later pass."""
        for name in names:
            if numbers[name] is NOTHING:
                self.nothing.add(name)
            else:
                x = self.body.code.number(numbers[name])
                self.body.put_run(self.room, self.kept_at(name, c), x)

    def kept(self, names: Iterable[str], c: Value) -> Known:
        """What an earlier pass has kept."""
        return {
            name: NOTHING
            if name in self.nothing
            else self.body.run(self.room, self.kept_at(name, c))
            for name in names
        }

    def finished(self, one: Any, state: Iterable[Any]) -> Known:
        """What a reduction comes to."""
        found = self.body.read(one.formula("finished"))(*state)
        return dict(zip(one.gives, found, strict=True))

    def absorb(
        self, states: Mapping[Any, Variables], numbers: Any, where: Flag | None = None
    ) -> None:
        """Take up one more class in each lane, or in some."""
        for one, state in states.items():
            taken = (numbers[name] for name in (*one.each, *one.parameters))
            state.set(self.body.read(one.formula("absorbed"))(*state.get(), *taken), where)

    def at_hit(self, derivative: str) -> str:
        """What a derivative is called at the target's class."""
        return f"{HIT}{derivative}" if self.row.table.is_each(derivative) else derivative

    def fixed(self, number: int) -> Known:
        """What a pass may take for granted of each class.

        In a pass of nothing but derivatives no class is the target's: that one is written anew.
        """
        last = number == len(self.row.passes) - 1
        return {"hit": 0} if self.row.labelled and last and not self.row.passes[number] else {}

    def started(self, number: int) -> dict[Any, Variables]:
        """The states of a pass, before the first class."""
        return {
            one: self.body.variables([self.body.code.number(x) for x in one.start])
            for one in self.row.passes[number]
        }


class Wide(Rows):
    """Eight classes at a time, of one row."""

    def write(self) -> None:
        with self.body.loop(self.begin, self.end) as i:
            known = self.scalars | self._of_row(i)
            for number in range(len(self.row.passes)):
                known |= self._pass(number, i, known)
            if self.row.labelled and self.derivatives:
                self._correct_hit(i, known)
            if self.row.value is not None:
                value = self.body.code.number(self.numbers(known)[self.row.value])
                with self.builder.if_else(self.is_summed) as (summed, written):
                    with summed:
                        self.total.absorb(value, self.body.first(self.body.whole(1)))
                    with written:
                        self.body.put(self.values, i, self.body.lane(value, 0))
        if self.row.value is not None:
            self.total.put(self.total_at)

    def _of_row(self, i: Value) -> Known:
        body, zero = self.body, self.body.whole(0)
        known = {
            name: body.one(array, zero if self.shared[name] else i)
            for name, array in self.of_row.items()
        }
        if self.labels is not None:
            label = body.raw(self.labels, i)
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
        place = self.body.whole(self.row.kept_names.index(name))
        length = self.builder.add(self.count, self.body.whole(LANES))
        return self.builder.add(self.builder.mul(place, length), c)

    def _pass(self, number: int, i: Value, known: Known) -> Known:
        body, row = self.body, self.row
        if self._looks_for_top_alone(number):
            (one,) = row.passes[number]
            state = Top(body, self.classes[one.each[0]]).found(
                self._at("", i, body.whole(0)), self.count
            )
            return self._joined({one: body.variables(state)}, known)
        states = self.started(number)
        last = number == len(row.passes) - 1
        asked = row.sources(number)
        kept_now = row.kept(number)
        kept_before = [name for k in range(number) for name in row.kept(k) if name in asked]

        ahead = number == 1 or len(row.passes) == 1

        def step(c: Value, rest: Value | None = None) -> None:
            if ahead and rest is None:
                self._fetch_ahead(i, c)
            own: Known = {PLACE: place.get()[0]} | self.fixed(number) | self.kept(kept_before, c)
            for name, array in self.classes.items():
                at = self._at(name, i, c)
                own[name] = body.run(array, at) if rest is None else body.some(array, at, rest)
            numbers = self.numbers(known | own)
            self.absorb(states, numbers, None if rest is None else body.first(rest))
            self.keep(kept_now, c, numbers)
            place.set([own[PLACE] + LANES])
            for name, array in self.derivatives.items() if last else ():
                x, at = body.code.number(numbers[name]), self._at("", i, c)
                if rest is None:
                    body.put_run(array, at, x)
                else:
                    body.put_some(array, at, x, rest)

        whole = body.rounded_down(self.count)
        place = body.variables([body.counted_from(body.whole(0))])
        with body.loop(body.whole(0), whole, LANES) as c:
            step(c)
        rest = self.builder.sub(self.count, whole)
        with self.builder.if_then(self.builder.icmp_signed(">", rest, body.whole(0))):
            step(whole, rest)
        return self._joined(states, known)

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

    def _fetch_ahead(self, i: Value, c: Value) -> None:
        """While there is arithmetic to do: the next row, and where this one's results go."""
        after = self.builder.add(i, self.body.whole(1))
        for name, array in self.classes.items():
            if not self.per_class[name]:
                self.body.prefetch(array, self._at(name, after, c))
        if len(self.row.passes) > 1:
            for array in self.derivatives.values():
                self.body.prefetch(array, self._at("", i, c), write=True)

    def _joined(self, states: Mapping[Any, Variables], known: Known) -> Known:
        found: Known = {}
        for one, variables in states.items():
            state, joined = variables.get(), self.body.read(one.formula("joined"))
            numbers = self.numbers(known)
            further = [numbers[name] for name in one.parameters]
            distance = LANES // 2
            while distance:
                others = [self.body.turned(x, distance) for x in state]
                state = [self.body.code.number(x) for x in joined(*state, *others, *further)]
                distance //= 2
            found |= self.finished(one, (self.body.lane(x, 0) for x in state))
        return found

    def _correct_hit(self, i: Value, known: Known) -> None:
        with self.builder.if_then(self.is_kept):
            numbers = self.numbers(known)
            for name, array in self.derivatives.items():
                x = self.body.code.number(numbers[self.at_hit(name)])
                self.body.put(array, self._at("", i, self.hit), self.body.lane(x, 0))


class Narrow(Rows):
    """Eight rows at a time, class by class."""

    def write(self) -> None:
        with self.body.loop(self.begin, self.end, LANES) as i:
            self.rest = self.builder.sub(self.end, i)
            last = self.builder.sub(self.end, self.body.whole(1))
            self.rows = [
                self.body.smaller(self.builder.add(i, self.body.whole(k)), last)
                for k in range(LANES)
            ]
            self._bring_in()
            known = self._steady(self.scalars | self._of_row())
            for number in range(len(self.row.passes)):
                known |= self._steady(self._pass(number, known))
            self._take_out()
            if self.row.labelled and self.derivatives:
                self._correct_hit(known)
            if self.row.value is not None:
                value = self.body.code.number(self.numbers(known)[self.row.value])
                with self.builder.if_else(self.is_summed) as (summed, written):
                    with summed:
                        self.total.absorb(value, self.body.first(self.rest))
                    with written:
                        count = self.body.smaller(self.rest, self.body.whole(LANES))
                        self.body.put_some(self.values, i, value, count)
        if self.row.value is not None:
            self.total.put(self.total_at)

    def _steady(self, known: Known) -> Known:
        """What is known of the rows is the same for each of their classes."""
        return {
            name: x if x is NOTHING else Number(x.code, x.value, x.constant, steady=True)
            for name, x in known.items()
        }

    def kept_at(self, name: str, c: Value) -> Value:
        """After the columns of the arrays."""
        return self._place(len(self.row.classes) + self.row.kept_names.index(name), c)

    def _place(self, number: int, c: Value) -> Value:
        """Where eight rows' numbers of a class lie in the room."""
        at = self.builder.add(self.builder.mul(self.body.whole(number), self.count), c)
        return self.builder.mul(at, self.body.whole(LANES))

    def _out(self, number: int, like: Stored) -> Stored:
        """Room for a derivative's numbers as they are stored."""
        start = self._place(
            len(self.row.classes) + len(self.row.kept_names) + number, self.body.whole(0)
        )
        address = self.builder.add(
            self.room.address, self.builder.mul(start, self.body.whole(self.room.size))
        )
        return Stored(address, like.format)

    def _bases(self) -> list[Value]:
        return [self.builder.mul(row, self.count) for row in self.rows]

    def _bring_in(self) -> None:
        """Turn eight rows of each array of classes into a column of vectors."""
        body, bases = self.body, self._bases()
        whole = body.rounded_down(self.count)
        for number, (name, array) in enumerate(self.classes.items()):
            if self.per_class[name]:
                continue
            with body.loop(body.whole(0), whole, LANES) as c:
                loaded = [body.raw(array, self.builder.add(base, c), LANES) for base in bases]
                for k, column in enumerate(body.transposed(loaded)):
                    at = self._place(number, self.builder.add(c, body.whole(k)))
                    body.put(self.room, at, body.widened(column, array.format))
            with body.loop(whole, self.count) as c:
                loaded = [body.raw(array, self.builder.add(base, c)) for base in bases]
                column = body.gathered(loaded)
                body.put(self.room, self._place(number, c), body.widened(column, array.format))

    def _take_out(self) -> None:
        """Turn columns of derivatives back into rows."""
        body, bases = self.body, self._bases()
        whole = body.rounded_down(self.count)
        for number, array in enumerate(self.derivatives.values()):
            here = self._out(number, array)
            with body.loop(body.whole(0), whole, LANES) as c:
                at = self.builder.mul(c, body.whole(LANES))
                columns = [
                    body.raw(here, self.builder.add(at, body.whole(LANES * k)), LANES)
                    for k in range(LANES)
                ]
                for base, one in zip(bases, body.transposed(columns), strict=True):
                    body.put_raw(array, self.builder.add(base, c), one)
            with body.loop(whole, self.count) as c:
                column = body.raw(here, self.builder.mul(c, body.whole(LANES)), LANES)
                for k, base in enumerate(bases):
                    one = body.builder.extract_element(column, body.whole(k))
                    body.put_raw(array, self.builder.add(base, c), one)

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
            labels = [body.raw(self.labels, row) for row in self.rows]
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
        return Number(body.code, body.gathered([body.raw(self.room, at) for at in places]))

    def _pass(self, number: int, known: Known) -> Known:
        body, row = self.body, self.row
        states = self.started(number)
        last = number == len(row.passes) - 1
        asked, kept_now = row.sources(number), row.kept(number)
        before = [name for k in range(number) for name in row.kept(k) if name in asked]
        with body.loop(body.whole(0), self.count) as c:
            own: Known = {PLACE: body.number_of(c)} | self.fixed(number)
            for index, (name, array) in enumerate(self.classes.items()):
                if self.per_class[name]:
                    own[name] = body.one(array, c)
                else:
                    own[name] = body.run(self.room, self._place(index, c))
            numbers = self.numbers(known | own | self.kept(before, c))
            self.absorb(states, numbers)
            self.keep(kept_now, c, numbers)
            for index, (name, array) in enumerate(self.derivatives.items() if last else ()):
                at = self.builder.mul(c, body.whole(LANES))
                body.put_run(self._out(index, array), at, body.code.number(numbers[name]))
        return {
            name: x
            for one, state in states.items()
            for name, x in self.finished(one, state.get()).items()
        }
