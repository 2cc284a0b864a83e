"""How the numbers of a row's classes are held while a kernel goes through them.

In *doubles* they are what the numbers of a row are. In *pairs* (`refloss.formula.paired`) there are
twice as many at once, of which only what is usual comes out right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from refloss.formula.emitted import NOTHING, Code, Flag, Number
from refloss.formula.paired import FADING, Pair, Pairs, reader
from refloss.formula.reading import parameters
from refloss.kernels.simd.writing import Body, Stored, Variables

Value = Any  # of LLVM

# What the numbers of a usual row are, but for 0. Of larger masses and factors, products with what
# fades beyond `refloss.formula.paired.FADED` would not be below float32; nothing else leaves its
# range on the way either.
SUMS, MASSES = (0.0, 2.0**60), (2.0**-100, 2.0**12)
FACTORS = (2.0**-64, 2.0**24)
WEIGHTS = (2.0**-30, 2.0**12)
SMOOTHING = 2.0**-60


class Places:
    """Neighbouring indices, one in each lane, while they go up."""

    def __init__(self, body: Body, code: Code, number: Callable[[Value], Any]) -> None:
        self.code, self.builder, self.number = code, body.builder, number
        kind = ir.VectorType(code.kind.type, body.lanes)
        self.lanes = ir.Constant(kind, [float(k) for k in range(body.lanes)])
        self.step = ir.Constant(kind, [float(body.lanes)] * body.lanes)
        self.room = cgutils.alloca_once(self.builder, kind)

    def start(self, first: Value) -> None:
        """Begin with an index in the first lane."""
        one = self.code.spread(self.builder.sitofp(first, self.code.kind.type))
        self.builder.store(self.builder.fadd(one, self.lanes), self.room)

    def get(self) -> Any:
        """What they are now."""
        return self.number(self.builder.load(self.room))

    def move(self) -> None:
        """Go on to the next ones."""
        self.builder.store(self.builder.fadd(self.builder.load(self.room), self.step), self.room)


class InDoubles:
    """Numbers of float64, as they are for a row."""

    column = "float64"
    units = 1  # vectors that a number takes that is kept

    def __init__(self, body: Body) -> None:
        self.body, self.read = body, body.read

    def known(self, known: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is known of a row, for those who read its classes."""
        return known

    def run(self, array: Stored, at: Value, rest: Value | None = None) -> Any:
        """Neighbouring numbers of an array, or the last of them."""
        return self.body.run(array, at) if rest is None else self.body.some(array, at, rest)

    def loaded(self, name: str, x: Any) -> Any:
        """An array's numbers as they are used."""
        return x

    def one(self, array: Stored, at: Value) -> Any:
        """One number of an array."""
        return self.body.one(array, at)

    def raw(self, value: Value, format_: str) -> Value:
        """What is stored in a format, as it is held in a column."""
        return self.body.widened(value, format_).value

    def number(self, value: Value) -> Any:
        """What is held in a column."""
        return Number(self.body.code, value)

    def place(self, c: Value) -> Any:
        """An index as a number."""
        return self.body.number_of(c)

    def places(self) -> Places:
        """The indices from 0, one in each lane."""
        return Places(self.body, self.body.code, self.number)

    def started(self, one: Any) -> Variables:
        """The state of a reduction before the first class."""
        return self.body.variables([self.body.code.number(x) for x in one.start])

    def absorb(self, one: Any, state: Any, taken: Sequence[Any], where: Flag | None) -> None:
        """Take up one more class in each lane, or in some."""
        state.set(self.read(one.formula("absorbed"))(*state.get(), *taken), where)

    def state(self, state: Variables) -> list[Number]:
        """What a reduction has come to in each lane."""
        return state.get()

    def put(self, array: Stored, at: Value, x: Any, rest: Value | None = None) -> None:
        """Round numbers into an array."""
        x = self.body.code.number(x)
        if rest is None:
            self.body.put_run(array, at, x)
        else:
            self.body.put_some(array, at, x, rest)

    def keep(self, room: Stored, at: Value, x: Any) -> Any:
        """Put numbers away, and how they are found again."""
        if x is NOTHING:
            return None
        self.body.put_run(room, at, self.body.code.number(x))
        return ()

    def kept(self, room: Stored, at: Value, how: Any) -> Any:
        """Numbers that were put away."""
        return NOTHING if how is None else self.body.run(room, at)


class PairStates:
    """The state of a reduction over pairs."""

    def __init__(self, each: InPairs, one: Any) -> None:
        self.pairs, self.builder, self.one = each.of_parts, each.body.builder, one
        names = parameters(one.formula("absorbed"))[: len(one.start)]
        # what counts, places and what is compared are numbers of float32
        self.is_exact = [name not in ("tail", "high") for name in names]
        measures = {"tail": (FADING, self.pairs.factor)}
        if one.kind == "sum" and one.each[0] != "input":
            measures["high"] = (FADING, None)
        self.measures = [measures.get(name, (0, None)) for name in names]
        kind = ir.VectorType(ir.FloatType(), each.body.lanes)
        count = len(names) + self.is_exact.count(False)
        self.rooms = [cgutils.alloca_once(self.builder, kind) for _ in range(count)]
        self.start()

    def start(self) -> None:
        """As before the first class."""
        for room in self.rooms:
            self.builder.store(ir.Constant(room.type.pointee, None), room)
        if any(self.one.start):
            self.set(self.one.start)

    def get(self) -> list[Pair]:
        """What it is now."""
        values = iter([Number(self.pairs.parts, self.builder.load(room)) for room in self.rooms])
        return [
            Pair(self.pairs, next(values), None if exact else next(values), *measure)
            for exact, measure in zip(self.is_exact, self.measures, strict=True)
        ]

    def set(self, numbers: Sequence[Any], where: Flag | None = None) -> None:
        """What it is from now on, in the lanes that are meant."""
        parts, builder = self.pairs.parts, self.builder
        rooms = iter(self.rooms)
        for x, exact, measure in zip(numbers, self.is_exact, self.measures, strict=True):
            pair = self._measured(x, *measure)
            for value in (pair.high,) if exact else (pair.high, pair.low):
                room = next(rooms)
                part = parts.number(0) if value is None else value
                if where is not None:
                    part = parts.choose(where, part, Number(parts, builder.load(room)))
                builder.store(parts.spread(part.value), room)

    def _measured(self, x: Any, scale: int, factor: Number | None) -> Pair:
        pair = x if isinstance(x, Pair) else self.pairs.apart(x, scale)
        if pair.scale == scale and pair.factor is factor:
            return pair
        assert factor is None
        return pair.at(scale)


class InPairs(InDoubles):
    """Pairs of numbers of float32; arrays of classes are float32."""

    column = "float32"
    units = 2

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.of_parts = Pairs(body.code)
        self.read = reader(self.of_parts, body.words)

    def known(self, known: Mapping[str, Any]) -> Mapping[str, Any]:
        """The top is one of the logits."""
        if "top" not in known:
            return known
        self.of_parts.refer_to(known["top"])
        top = self.of_parts.apart(known["top"])
        return {**known, "top": Pair(self.of_parts, top.high)}

    def run(self, array: Stored, at: Value, rest: Value | None = None) -> Any:
        return self.of_parts.exact(self.body.raw_run(array, at, rest))

    def loaded(self, name: str, x: Any) -> Any:
        """Masses carry a power of two: they may be as small as the smallest there are."""
        return x.at(FADING) if name == "target" else x

    def one(self, array: Stored, at: Value) -> Any:
        return self.of_parts.exact(self.body.raw(array, at))

    def raw(self, value: Value, format_: str) -> Value:
        return value

    def number(self, value: Value) -> Any:
        return self.of_parts.exact(value)

    def place(self, c: Value) -> Any:
        return self.of_parts.exact(self.body.builder.sitofp(c, ir.FloatType()))

    def places(self) -> Places:
        return Places(self.body, self.of_parts.parts, self.number)

    def started(self, one: Any) -> Any:
        return PairStates(self, one)

    def absorb(self, one: Any, state: Any, taken: Sequence[Any], where: Flag | None) -> None:
        if one.kind == "poison":  # a row with a NaN is not usual
            return
        if one.kind == "sum":  # nor is one with an infinity
            high, *others = state.get()
            state.set([high + taken[0], *others], where)
            return
        super().absorb(one, state, taken, where)

    def state(self, state: Any) -> list[Number]:
        return [x.wide() for x in state.get()]

    def put(self, array: Stored, at: Value, x: Any, rest: Value | None = None) -> None:
        pair = x if isinstance(x, Pair) else self.of_parts.apart(x)
        value = self.of_parts.parts.spread(pair.rounded().value)
        self.body.put_raw_run(array, at, value, rest)

    def keep(self, room: Stored, at: Value, x: Any) -> Any:
        if x is NOTHING:
            return None
        pair = x if isinstance(x, Pair) else self.of_parts.apart(x)
        for k, part in enumerate((pair.high, pair.low)):
            if part is not None:
                value = self.of_parts.parts.spread(part.value)
                self.body.put_raw(room, self._next(at, k), value)
        return pair.scale, pair.low is None, pair.factor is not None

    def _next(self, at: Value, k: int) -> Value:
        return self.body.builder.add(at, self.body.whole(k * self.body.lanes))

    def kept(self, room: Stored, at: Value, how: Any) -> Any:
        if how is None:
            return NOTHING
        scale, exact, is_fading = how
        parts = [
            self.number(self.body.raw(room, self._next(at, k), self.body.lanes)).high
            for k in range(1 if exact else 2)
        ]
        factor = self.of_parts.factor if is_fading else None
        return Pair(self.of_parts, parts[0], None if exact else parts[1], scale, factor)

    def within(self, ends: tuple[float, float], numbers: Iterable[Number]) -> Flag:
        """Whether the size of each number is 0 or between two ends."""
        code, found = self.body.code, None
        for x in numbers:
            size = code.choose(x == 0, code.number(1), code.absolute(x))
            inside = (size >= ends[0]) & (size <= ends[1])
            found = inside if found is None else found & inside
        assert found is not None
        return found
