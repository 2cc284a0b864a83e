"""A kernel while it is written: its loops, its variables, and the arrays that it reads and writes.

float16 and bfloat16 travel as the 16 bits that they are, and are taken apart and put together with
integer instructions, which every CPU has. A number is rounded once, to nearest and ties to even.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from refloss.formula.emitted import Code, Flag, Kind, Number, meaning
from refloss.formula.reading import Formula, read
from refloss.kernels import cache as kernel_cache

LANES = 8

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()

_TYPES = {
    "float16": _I16,
    "bfloat16": _I16,
    "float32": _FLOAT,
    "float64": _DOUBLE,
    "bool": _I8,
    **{f"{sign}int{bits}": ir.IntType(bits) for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
FORMATS = tuple(_TYPES)
MASKED = (_FLOAT, _DOUBLE)  # of which every CPU with vectors can load and store some lanes


def is_masked(format_: str) -> bool:
    """Whether some lanes of a vector in this format can be loaded and stored."""
    return _TYPES[format_] in MASKED


Value = Any  # of LLVM


@dataclass(frozen=True)
class Stored:
    """An array in memory: where it begins, the format of its numbers, and whether it is one.

    ``missing`` is a condition under which nothing is there; None, if something always is.
    """

    address: Value
    format: str
    missing: Value = None

    @property
    def size(self) -> int:
        """The bytes of one number."""
        kind = _TYPES[self.format]
        return int({_FLOAT: 4, _DOUBLE: 8}.get(kind) or kind.width // 8)


class Body:
    """The body of a kernel, and the place in it where the next instruction goes."""

    def __init__(self, builder: Any, kind: Kind, lanes: int = LANES) -> None:
        self.builder, self.kind, self.lanes = builder, kind, lanes
        self.code = Code(builder, kind, cuda=False, lanes=lanes)
        self.words = meaning(self.code)
        self.read: Callable[[Formula], Formula] = cache(lambda formula: read(formula, self.words))

    # Whole numbers and loops

    def whole(self, n: int) -> Value:
        """A constant index."""
        return ir.Constant(_I64, n)

    @contextmanager
    def loop(self, start: Value, stop: Value, step: int = 1) -> Iterator[Value]:
        """Go through the indices from start to stop."""
        step_ = self.whole(step)
        with cgutils.for_range_slice(self.builder, start, stop, step_, _I64) as (index, _):
            yield index

    @contextmanager
    def runs(
        self, first: Value, last: Value, arrays: Sequence[Stored], written: Sequence[Stored]
    ) -> Iterator[tuple[Value, Sequence[Stored], Sequence[Stored], Flag]]:
        """Go from first to last, as many at a time as there are lanes, or fewer in the end.

        Those take their numbers from a copy with zeros behind it, and what is written for them
        goes by way of another: so what is done with a run is written only once, which halves the
        time to compile it. Yields the index, where to read and where to write, and which of the
        lanes there are.
        """
        builder, none = self.builder, self.whole(0)
        whole = builder.add(first, self.rounded_down(builder.sub(last, first)))
        rest = builder.sub(last, whole)
        copies = [self._room(one.format) for one in arrays]
        results = [self._room(one.format) for one in written]
        for array, copy in zip(arrays, copies, strict=True):
            with self.loop(none, rest) as k:
                self.put_raw(copy, k, self.raw(array, builder.add(whole, k)))
        with self.loop(none, self.whole(2)) as turn:
            is_rest = builder.icmp_signed("!=", turn, none)
            full = self.whole(self.lanes)
            some = builder.select(builder.icmp_signed(">", rest, none), full, none)
            start = builder.select(is_rest, whole, first)
            stop = builder.select(is_rest, builder.add(whole, some), whole)
            lanes = self.first(builder.select(is_rest, rest, full))

            def place(array: Stored, room: Stored) -> Stored:
                begin = builder.mul(whole, self.whole(array.size))
                shifted = builder.sub(room.address, begin)
                return Stored(builder.select(is_rest, shifted, array.address), array.format)

            sources = list(map(place, arrays, copies))
            targets = list(map(place, written, results))
            with self.loop(start, stop, self.lanes) as i:
                yield i, sources, targets, lanes
        for array, result in zip(written, results, strict=True):
            there = rest if array.missing is None else builder.select(array.missing, none, rest)
            with self.loop(none, there) as k:
                self.put_raw(array, builder.add(whole, k), self.raw(result, k))

    def _room(self, format_: str) -> Stored:
        """Room for a run, with zeros in it."""
        zeros = ir.Constant(self._lanes_of(format_), None)
        room = cgutils.alloca_once_value(self.builder, zeros)
        return Stored(self.builder.ptrtoint(room, _I64), format_)

    # What several threads do together

    @contextmanager
    def repeated(self, number: Callable[[], Value], below: Value) -> Iterator[Value]:
        """Ask for a number, again and again, as long as it is below another."""
        builder = self.builder
        again, once, over = map(builder.append_basic_block, ("again", "once", "over"))
        builder.branch(again)
        builder.position_at_end(again)
        found = number()
        builder.cbranch(builder.icmp_signed("<", found, below), once, over)
        builder.position_at_end(once)
        yield found
        builder.branch(again)
        builder.position_at_end(over)

    def counted(self, array: Stored, index: Value) -> Value:
        """What a whole number in common was, which is one more now."""
        pointer = self._pointer(array, index, _I64)
        return self.builder.atomic_rmw("add", pointer, self.whole(1), "seq_cst")

    def wait_until(self, place: Stored, number: Value) -> None:
        """Go on when a whole number in common is what it is to be."""
        pointer = self._pointer(place, self.whole(0), _I64)
        turns = cgutils.alloca_once_value(self.builder, self.whole(0))

        def looked() -> Value:
            return self.builder.load_atomic(pointer, "seq_cst", 8)

        with self.repeated(looked, below=number):
            turn = self.builder.load(turns)
            wait(self.builder, turn)
            self.builder.store(self.builder.add(turn, self.whole(1)), turns)

    def rounded_down(self, n: Value) -> Value:
        """The largest multiple of the lanes up to n >= 0."""
        return self.builder.and_(n, self.whole(-self.lanes))

    def smaller(self, m: Value, n: Value) -> Value:
        """The smaller of two indices."""
        return self.builder.select(self.builder.icmp_signed("<", m, n), m, n)

    def scalar(self, value: Value) -> Number:
        """A float that the kernel was given."""
        return Number(self.code, value)

    def number_of(self, n: Value) -> Number:
        """An index as a number."""
        return Number(self.code, self.builder.sitofp(n, self.kind.type))

    def counted_from(self, n: Value) -> Number:
        """Neighbouring indices as numbers, one in each lane."""
        numbers = [float(k) for k in range(self.lanes)]
        lanes = ir.Constant(ir.VectorType(self.kind.type, self.lanes), numbers)
        return self.number_of(n) + Number(self.code, lanes)

    def first(self, count: Value) -> Flag:
        """Whether a lane is one of the first so many."""
        return Flag(self.code, self._first_of(self.lanes, count))

    def _first_of(self, lanes: int, count: Value) -> Value:
        places = ir.Constant(ir.VectorType(_I64, lanes), list(range(lanes)))
        one = self.builder.insert_element(ir.Constant(places.type, ir.Undefined), count, _I32(0))
        return self.builder.icmp_signed("<", places, self._shuffled(one, [0] * lanes))

    # Variables, and lanes

    def variables(self, numbers: Sequence[Number], in_lanes: bool = True) -> Variables:
        """Numbers that change in a loop."""
        return Variables(self, numbers, in_lanes)

    def turned(self, x: Number, distance: int) -> Number:
        """What the lane at a distance has."""
        order = [k ^ distance for k in range(self.lanes)]
        return Number(self.code, self._shuffled(x.value, order))

    def lane(self, x: Number, k: int) -> Number:
        """One lane's number; of a single number, that."""
        if not isinstance(x.value.type, ir.VectorType):
            return x
        return Number(self.code, self.builder.extract_element(x.value, _I32(k)))

    def gathered(self, values: Sequence[Value]) -> Value:
        """A vector of one value for each lane."""
        made = ir.Constant(ir.VectorType(values[0].type, self.lanes), ir.Undefined)
        for k, value in enumerate(values):
            made = self.builder.insert_element(made, value, _I32(k))
        return made

    def _lanes_of(self, format_: str) -> Any:
        return ir.VectorType(_TYPES[format_], self.lanes)

    def _shuffled(self, value: Value, order: Sequence[int], other: Value = None) -> Value:
        if other is None:
            other = ir.Constant(value.type, ir.Undefined)
        places = ir.Constant(ir.VectorType(_I32, len(order)), list(order))
        return self.builder.shuffle_vector(value, other, places)

    def transposed(self, rows: Sequence[Value]) -> list[Value]:
        """As many vectors as there are lanes, as a matrix, the other way round."""
        rows = list(rows)
        distance = self.lanes // 2
        while distance:
            for k in range(self.lanes):
                if k & distance:
                    continue
                a, b = rows[k], rows[k + distance]
                low = [
                    lane + (self.lanes - distance if lane & distance else 0)
                    for lane in range(self.lanes)
                ]
                high = [
                    lane + (self.lanes if lane & distance else distance)
                    for lane in range(self.lanes)
                ]
                rows[k] = self._shuffled(a, low, b)
                rows[k + distance] = self._shuffled(a, high, b)
            distance //= 2
        return rows

    # Memory

    def _pointer(self, array: Stored, index: Value, piece: Any) -> Value:
        bytes_ = self.builder.mul(index, self.whole(array.size))
        address = self.builder.add(array.address, bytes_)
        return self.builder.inttoptr(address, piece.as_pointer())

    def raw(self, array: Stored, index: Value, lanes: int = 1) -> Value:
        """What is stored, as it is stored; in a vector if there are several lanes."""
        kind = _TYPES[array.format]
        piece = ir.VectorType(kind, lanes) if lanes > 1 else kind
        loaded = self.builder.load(self._pointer(array, index, piece))
        loaded.align = array.size
        return loaded

    def put_raw(self, array: Stored, index: Value, value: Value) -> None:
        """Store what is in the array's format already."""
        stored = self.builder.store(value, self._pointer(array, index, value.type))
        stored.align = array.size

    def one(self, array: Stored, index: Value) -> Number:
        """One number of an array."""
        return self.widened(self.raw(array, index), array.format)

    def run(self, array: Stored, index: Value) -> Number:
        """Neighbouring numbers of an array, one in each lane."""
        return self.widened(self.raw(array, index, self.lanes), array.format)

    def raw_run(self, array: Stored, index: Value, count: Value | None = None) -> Value:
        """Neighbouring numbers as they are stored, or so many of them."""
        if count is None:
            return self.raw(array, index, self.lanes)
        return self.some_raw(array, index, count)

    def put_raw_run(
        self, array: Stored, index: Value, value: Value, count: Value | None = None
    ) -> None:
        """Store neighbouring numbers, or so many of them."""
        if count is None:
            self.put_raw(array, index, value)
        else:
            self.put_raw_some(array, index, value, count)

    def some(self, array: Stored, index: Value, count: Value) -> Number:
        """Fewer neighbouring numbers than there are lanes; zeros in the others."""
        return self.widened(self.some_raw(array, index, count), array.format)

    def some_raw(self, array: Stored, index: Value, count: Value) -> Value:
        """The same as they are stored."""
        kind = self._lanes_of(array.format)
        if kind.element in MASKED:
            return self.some_lanes(array, index, count, ir.Constant(kind, None))
        here = self._room(array.format)
        self.put_raw(here, self.whole(0), ir.Constant(self._lanes_of(array.format), None))
        with self.loop(self.whole(0), count) as k:
            self.put_raw(here, k, self.raw(array, self.builder.add(index, k)))
        return self.raw(here, self.whole(0), self.lanes)

    def some_lanes(self, array: Stored, index: Value, count: Value, others: Value) -> Value:
        """Fewer numbers of a masked format than a vector has lanes, and others' in their place."""
        kind = others.type
        place = self._pointer(array, index, kind)
        there = self._first_of(kind.count, count)
        return self._masked("load", kind, place, kind, [there, others])

    def put(self, array: Stored, index: Value, x: Number) -> None:
        """Round one number, or a run of them, into an array."""
        self.put_raw(array, index, self.narrowed(x, array.format))

    def put_run(self, array: Stored, index: Value, x: Number) -> None:
        """The same for a run, whether or not its numbers are all one."""
        self.put(array, index, Number(self.code, self.code.spread(x.value)))

    def put_some(self, array: Stored, index: Value, x: Number, count: Value) -> None:
        """Round the first lanes into an array."""
        narrow = self.narrowed(Number(self.code, self.code.spread(x.value)), array.format)
        self.put_raw_some(array, index, narrow, count)

    def put_raw_some(self, array: Stored, index: Value, narrow: Value, count: Value) -> None:
        """The same of what is in the array's format already."""
        if narrow.type.element in MASKED:
            place = self._pointer(array, index, narrow.type)
            there = self.first(count).value
            self._masked("store", narrow.type, place, ir.VoidType(), [there], [narrow])
            return
        room = cgutils.alloca_once(self.builder, narrow.type)
        self.builder.store(narrow, room)
        here = Stored(self.builder.ptrtoint(room, _I64), array.format)
        with self.loop(self.whole(0), count) as k:
            self.put_raw(array, self.builder.add(index, k), self.raw(here, k))

    def _masked(
        self,
        verb: str,
        kind: Any,
        place: Value,
        result: Any,
        after: Sequence[Value],
        before: Sequence[Value] = (),
    ) -> Value:
        """LLVM's load or store of some lanes: it does not touch what the others would."""
        bits = 8 * {_FLOAT: 4, _DOUBLE: 8}[kind.element]
        lanes = kind.count
        pointer = "p0" if str(place.type) == "ptr" else f"p0v{lanes}f{bits}"
        name = f"llvm.masked.{verb}.v{lanes}f{bits}.{pointer}"
        given = [*before, place, _I32(bits // 8), *after]
        function = self.builder.module.globals.get(name)
        if function is None:
            signature = ir.FunctionType(result, [one.type for one in given])
            function = ir.Function(self.builder.module, signature, name)
        return self.builder.call(function, given)

    def prefetch(self, array: Stored, index: Value, write: bool = False) -> None:
        """Have what lies there brought near, while there is something else to do."""
        pointer = self._pointer(array, index, _I8)
        name = "llvm.prefetch.p0" if str(pointer.type) == "ptr" else "llvm.prefetch.p0i8"
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _I32, _I32, _I32])
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(module, kind, name)
        self.builder.call(function, [pointer, _I32(int(write)), _I32(3), _I32(1)])

    # Formats

    def widened(self, value: Value, format_: str) -> Number:
        """What is stored in a format, as a number."""
        builder = self.builder
        if format_ == "float16":
            value = self._from_half(value)
        elif format_ == "bfloat16":
            wide = builder.zext(value, _like(_I32, value))
            value = builder.bitcast(
                builder.shl(wide, constant(_I32, 16, value)), _like(_FLOAT, value)
            )
        double = _like(_DOUBLE, value)
        if value.type == double:
            return Number(self.code, value)
        if format_.startswith(("float", "bfloat")):
            return Number(self.code, builder.fpext(value, double))
        signed = format_.startswith("int")
        return Number(self.code, (builder.sitofp if signed else builder.uitofp)(value, double))

    def _from_half(self, half: Value) -> Value:
        """float16 bits as float32: the exponent moved, and given its bias by a product."""
        builder = self.builder
        bits = builder.zext(half, _like(_I32, half))
        size = builder.and_(bits, constant(_I32, 0x7FFF, half))
        moved = builder.shl(size, constant(_I32, 13, half))
        lifted = builder.fmul(
            builder.bitcast(moved, _like(_FLOAT, half)), constant(_FLOAT, 2.0**112, half)
        )
        special = builder.icmp_unsigned(">=", size, constant(_I32, 0x7C00, half))
        beyond = builder.or_(moved, constant(_I32, 0x7F800000, half))
        found = builder.select(special, beyond, builder.bitcast(lifted, _like(_I32, half)))
        sign = builder.shl(
            builder.and_(bits, constant(_I32, 0x8000, half)), constant(_I32, 16, half)
        )
        return builder.bitcast(builder.or_(found, sign), _like(_FLOAT, half))

    def narrowed(self, x: Number, format_: str) -> Value:
        """A number rounded to a format, as it is stored."""
        if format_ == "float64":
            return x.value
        if format_ == "float32":
            return self.builder.fptrunc(x.value, _like(_FLOAT, x.value))
        return self._to_short(x, *_SHORT[format_])

    def _to_short(
        self, x: Number, digits: int, lowest: int, highest: float, bias: int, infinite: int
    ) -> Value:
        """The upper 16 bits of what is left when a double is rounded to so many digits.

        A number is a multiple of its quantum, 2^(exponent - digits + 1), which stops at that of
        subnormal numbers; adding and taking away 1.5 2^52 quanta rounds to a multiple of it.
        """
        builder, code, value = self.builder, self.code, x.value
        size = code.absolute(x)
        exponent = builder.lshr(code.bits(size), code.integer(52, value))
        for limit, relation in ((lowest, "<"), (FAR, ">")):
            bound = code.integer(1023 + limit, value)
            beyond = builder.icmp_signed(relation, exponent, bound)
            exponent = builder.select(beyond, bound, exponent)
        moved = builder.add(exponent, code.integer(53 - digits, value))
        magic = code.of_bits(builder.shl(moved, code.integer(52, value))) * 1.5
        nearest = (size + magic) - magic
        narrow = builder.fptrunc((nearest * 2.0**bias).value, _like(_FLOAT, value))
        bits = builder.bitcast(narrow, _like(_I32, value))
        bits = builder.lshr(bits, constant(_I32, 24 - digits, value))
        infinity = constant(_I32, infinite, value)
        bits = builder.select((nearest <= highest).value, bits, infinity)
        nan = builder.or_(infinity, constant(_I32, 1 << (digits - 2), value))
        bits = builder.select((size == size).value, bits, nan)
        sign = builder.lshr(code.bits(x), code.integer(48, value))
        sign = builder.and_(builder.trunc(sign, _like(_I32, value)), constant(_I32, 0x8000, value))
        return builder.trunc(builder.or_(bits, sign), _like(_I16, value))


# digits, exponent of the smallest normal number, largest number, what moves a float32's exponent
# there, and the bits of infinity
_SHORT = {
    "float16": (11, -14, 65504.0, -112, 0x7C00),
    "bfloat16": (8, -126, float.fromhex("0x1.fep127"), 0, 0x7F80),
}
FAR = 200  # an exponent beyond both


def _like(kind: Any, value: Value) -> Any:
    vector = isinstance(value.type, ir.VectorType)
    return ir.VectorType(kind, value.type.count) if vector else kind


def constant(kind: Any, x: Any, value: Value) -> Value:
    """A constant in as many lanes as a value has."""
    if isinstance(value.type, ir.VectorType):
        return ir.Constant(_like(kind, value), [x] * value.type.count)
    return ir.Constant(kind, x)


YIELD = "sched_yield"  # of the system's library, where it has one
OFTEN = 1 << 8  # turns, after which somebody else may need the CPU

# What tells a CPU that a thread only waits, and what that is given
_HINTS = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [_I32(1)]),
    "arm64": ("llvm.aarch64.hint", [_I32(1)]),
}


def wait(builder: Any, turn: Value) -> None:
    """Let some time go by: tell the CPU so, and now and then the system, where there is a way to.

    Who is waited for may be waiting for this thread's CPU.
    """
    hint = _HINTS.get(binding.get_process_triple().partition("-")[0])
    if hint is not None:
        name, given = hint
        kind = ir.FunctionType(ir.VoidType(), [one.type for one in given])
        builder.call(_declared(builder, name, kind), given)
    if binding.address_of_symbol(YIELD):
        is_due = builder.icmp_signed("==", builder.and_(turn, _I64(OFTEN - 1)), _I64(OFTEN - 1))
        with builder.if_then(is_due):
            builder.call(_declared(builder, YIELD, ir.FunctionType(_I32, [])), [])


def _declared(builder: Any, name: str, kind: Any) -> Any:
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


class Variables:
    """Numbers that change in a loop; LLVM keeps them in registers."""

    def __init__(self, body: Body, numbers: Sequence[Number], in_lanes: bool) -> None:
        self.body, self.in_lanes = body, in_lanes
        self.rooms = [cgutils.alloca_once(body.builder, self._value(x).type) for x in numbers]
        self.numbers = numbers
        self.start()

    def start(self) -> None:
        """As they were in the beginning."""
        self.set(self.numbers)

    def _value(self, x: Number) -> Value:
        return self.body.code.spread(x.value) if self.in_lanes else x.value

    def get(self) -> list[Number]:
        """What they are now."""
        return [Number(self.body.code, self.body.builder.load(room)) for room in self.rooms]

    def set(self, numbers: Sequence[Number], where: Flag | None = None) -> None:
        """What they are from now on, in the lanes that are meant."""
        code, builder = self.body.code, self.body.builder
        for room, x in zip(self.rooms, numbers, strict=True):
            if where is not None:
                x = code.choose(where, x, Number(code, builder.load(room)))
            builder.store(self._value(x), room)


def kernel(write: Callable[[Any, Sequence[Value]], None], key: tuple[Any, ...]) -> Any:
    """A compiled function of whole numbers and floats, whose body is what is written."""

    @intrinsic
    def body(context: Any, numbers: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            count = len(signature.args[0])
            write(builder, [builder.extract_value(arguments[0], k) for k in range(count)])
            return context.get_dummy_value()

        return types.none(numbers), build

    def run(*numbers: Any) -> None:
        body(numbers)

    return kernel_cache.kept(run, key, in_instructions=True)
