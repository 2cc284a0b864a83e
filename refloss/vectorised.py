"""A plan on the CPU: all that it wants, from one kernel that reads the arguments once.

The work is cut into pieces that depend on the extents alone and are shared out to threads; sums are
joined in the order of the pieces. Arrays that lie as a kernel reads them are read where they are;
others are brought into order piece by piece.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from refloss import calls
from refloss.arguments import dtype_name, native
from refloss.evaluation import Answer, Wanted, reduced, runs
from refloss.formula.emitted import DOUBLE, WORKING, Kind
from refloss.formula.paired import PAIRED
from refloss.kernels import crew, threads
from refloss.kernels.address import address_of, plain
from refloss.kernels.named import UPSTREAM
from refloss.kernels.simd import elements, rows
from refloss.kernels.simd.classes import SMOOTHING, WEIGHTS
from refloss.kernels.simd.elements import Element
from refloss.kernels.simd.rows import (
    DERIVATIVES,
    NARROW,
    PART,
    VALUE,
    Formats,
    Narrow,
    Row,
    Shared,
    Wide,
)
from refloss.kernels.simd.tasks import BYTES, GIVEN, Task
from refloss.kernels.weights import ends_of

if TYPE_CHECKING:
    from refloss.evaluation import Plan

Array = Any
Parts = tuple[float, ...]  # of a sum

SHORT = ("float16", "bfloat16")
FEW = 1 << 10  # numbers of an argument
LOOKED_AT = 1 << 12  # factors that are looked at before the arithmetic is chosen
MOST_CLASSES = 1 << 24  # of which each has its number in float32
FLOAT64 = np.dtype(np.float64)

# Numbers of one array in a piece of work: so many that to hand it over does not count, so few that
# all threads have something to do
PIECE, LARGEST_PIECE, PIECES = 1 << 16, 1 << 18, 64
LANES, ROWS = 8, 16

# Threads share rows out among themselves if there are few, of as many parts
FEW_ROWS, MANY_PARTS = 8, 4

NOWHERE = 0  # the address of values that are summed instead of written

# Numbers outside of this are divided by as they are, not through their reciprocals
SMALL, LARGE = 1e-280, 1e280
LIFTING = 1e200

_kernels: dict[Any, Any] = {}
_rounders: dict[Any, Any] = {}
_mine = threading.local()


def kind_of(plan: Plan, grad_output: Array | None = None) -> Kind:
    """The arithmetic inside: for results of few digits, that which does not follow lost ones.

    It counts what is below e^-708 for nothing, which a factor beyond all float32 might lift again.
    """
    if native(plan.model) == np.float64:
        return DOUBLE
    usual = all(x == 0 or SMALL < abs(x) < LARGE for x in plan.parameters.values())
    factors = (one for one in (plan.weight, grad_output) if one is not None)
    if not usual or any(map(may_lift, factors)):
        return DOUBLE
    return PAIRED if fits_pairs(plan) else WORKING


def fits_pairs(plan: Plan) -> bool:
    """Whether pairs of float32 have digits enough for a row's classes."""
    return is_for_pairs(plan) and (plan.weight is None or are_moderate(plan.weight))


def is_for_pairs(plan: Plan) -> bool:
    """The same as far as it does not depend on what the weights are."""
    if not plan.formulas.in_pairs or plan.classes > MOST_CLASSES:
        return False
    if 0 < plan.parameters["smoothing"] < SMOOTHING:
        return False
    of_classes = [one for one in plan.arrays.values() if one.ndim == 3]
    of_classes += [] if plan.weight is None else [plan.weight]
    return all(native(one) == np.float32 for one in of_classes)


def are_moderate(weight: Array) -> bool:
    """Whether weights are numbers that masses in pairs may be made with."""
    least, largest = ends_of(weight)
    if not (least >= 0 and largest <= WEIGHTS[1]):
        return False
    return least >= WEIGHTS[0] or not ((weight > 0) & (weight < WEIGHTS[0])).any()


def may_lift(factor: Array) -> bool:
    """Whether it may bring back what the quicker arithmetic counts for nothing."""
    if factor.size > LOOKED_AT and native(factor) != np.float64:
        return False
    with np.errstate(all="ignore"):
        return bool((np.abs(factor.astype(np.float64)) > LIFTING).any())


class Call(calls.Call):
    """One evaluation of a plan on the CPU."""

    in_steps = True

    def kernel(self, *further: Any, make: Callable[[Any], Any]) -> Any:
        """The kernel for this call, made when it is first wanted."""
        key = (*self.identity, *further)
        if key not in _kernels:
            _kernels[key] = make(key)
        return _kernels[key]


def evaluate(plan: Plan, wanted: Wanted, grad_output: Array | None = None) -> Answer:
    """Run a plan whose arrays are NumPy's."""
    prepared = prepare(plan, wanted, grad_output)
    return prepared.answer(arrays_of(plan, grad_output), plan.denominator)


def prepare(plan: Plan, wanted: Wanted, grad_output: Array | None = None) -> Prepared:
    """A plan made ready to run, once and again.

    A plan of few numbers gets the value and every gradient, and one of 16-bit numbers is taken for
    one of float64: it takes no time to compute, while a kernel for each part and each format takes
    a quarter of a second to compile. What comes out is rounded once, as it is by a kernel, from the
    same arithmetic: an answer does not depend on how many there are.
    """
    taken, made, kind = plan, wanted, kind_of(plan, grad_output)
    few = plan.model.size <= FEW
    if few and not wanted.curvature:
        made = Wanted(value=True, gradient=plan.names("gradient"))
    if few and dtype_name(plan.model) in SHORT:
        taken = _widened(plan)
        grad_output = None if grad_output is None else wide(grad_output)
    call = Call(taken, made, grad_output, kind)
    if plan.row_shape is None:
        return Elements(call, plan, wanted)
    return (SharedRows if SharedRows.are_in(plan) else Rows)(call, plan, wanted)


def _widened(plan: Plan) -> Plan:
    return replace(
        plan,
        model=wide(plan.model),
        arrays={name: wide(array) for name, array in plan.arrays.items()},
        originals={name: wide(array) for name, array in plan.originals.items()},
        weight=None if plan.weight is None else wide(plan.weight),
    )


def wide(array: Array) -> Array:
    """The same numbers in float64, or the whole numbers that they are."""
    dtype = array.dtype
    return array if dtype is FLOAT64 or dtype.kind in "iub" else array.astype(FLOAT64)


def narrow(array: Array, dtype: Any) -> Array:
    """Numbers rounded to the format that they are wanted in."""
    if array.dtype == dtype:
        return array
    rounding = _rounders.get(dtype)
    if rounding is None:
        rounding = _rounders[dtype] = elements.make_rounder(dtype.name)
    found = np.empty(array.shape, dtype)
    rounding(address_of(array), address_of(found), 0, array.size)
    return found


def arrays_of(plan: Plan, grad_output: Array | None = None) -> dict[str, Array]:
    """The arrays that a plan is run on, by the names that kernels give them."""
    found = {name: array for name, array in plan.arrays.items() if name != "kept"}
    if plan.weight is not None:
        found["weight"] = plan.weight
    if grad_output is not None:
        found[UPSTREAM] = grad_output
    return found


def piece_of(size: int) -> int:
    """How many numbers of an array of this size are done in one piece."""
    return min(max(size // PIECES, PIECE), LARGEST_PIECE)


def is_plain(array: Array) -> bool:
    """Whether a kernel can read it where it is."""
    flags = array.flags
    return bool(flags.c_contiguous and flags.aligned and array.dtype.isnative)


def _formats(arrays: Sequence[Array]) -> tuple[str, ...]:
    return tuple(dtype_name(array) for array in arrays)


class Prepared:
    """A plan made ready: its kernel, and how the work on arrays of such extents is cut.

    The plan of the call may be one of wider numbers than the plan that is asked, and the call may
    make more than is wanted.
    """

    task: Task
    count: int
    size: int
    classes = 1
    kept = marks = 0  # the doubles that a thread needs, and the bytes behind them

    def __init__(self, call: Call, asked: Plan, wanted: Wanted) -> None:
        plan, made = call.plan, call.wanted
        self.total = wanted.value and plan.reduction != "none"
        self.writes_value = wanted.value and not self.total
        self.has_value = made.value  # or a place for it
        self.sums = int(not self.writes_value)
        self.model, self.shape = np.empty(0, native(asked.model)), plan.shape
        self.stored = native(plan.model)  # the format in which values are written
        self.sources = [(tuple(one.shape), native(one)) for one in call.sources]
        names = (*made.gradient, *made.curvature)
        self.formats = [native(asked.originals[name]) for name in names]
        given = (*arrays_of(asked).values(), asked.model, *map(asked.originals.get, names))
        self.widens = plan is not asked and not all(wide(one) is one for one in given)
        self.has_numbers = any(shape == () for shape, _ in self.sources)
        # which of the derivatives that are made are wanted
        behind, self.split = len(made.gradient), len(wanted.gradient)
        self.wanted = [list(made.gradient).index(name) for name in wanted.gradient]
        self.wanted += [behind + list(made.curvature).index(name) for name in wanted.curvature]
        self.numbers = tuple(map(float, call.scalars.values()))[:-1]
        self.divides = call.kind is DOUBLE

    def answer(self, arrays: Mapping[str, Array], denominator: float) -> Answer:
        """Run it on arrays like those that it was made ready for."""
        if self.widens:
            arrays = {name: wide(array) for name, array in arrays.items()}
        run = self.run(arrays, denominator)
        totals = run.totals()
        value = None
        if self.total:
            value = reduced(self.model, totals, denominator)
        elif self.writes_value:
            value = narrow(run.value, self.model.dtype).reshape(self.shape)[()]
        found = [
            array.reshape(shape)
            for array, (shape, _) in zip(run.derivatives, self.sources, strict=True)
        ]
        return Answer(value, *self.parts(found))

    def parts(self, found: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """The gradients and the curvature that were asked for, of all that there are."""
        wanted = [found[k] for k in self.wanted]
        if self.widens:
            formats = [self.formats[k] for k in self.wanted]
            wanted = list(map(narrow, wanted, formats))
        if self.has_numbers:
            wanted = [array[()] for array in wanted]
        return wanted[: self.split], wanted[self.split :]

    @cached_property
    def stride(self) -> int:
        """The doubles that a thread needs, up to the end of a cache line."""
        doubles = self.kept + (-(-(self.marks + ROWS) // BYTES) if self.marks else 0)
        return -(-doubles // LANES) * LANES

    def run(self, arrays: Mapping[str, Array], denominator: float) -> Run:
        """Everything that one run needs."""
        raise NotImplementedError

    def run_piece(
        self, addresses: Sequence[int], scalars: Sequence[float], piece: slice
    ) -> tuple[Array, Room]:
        """Some elements or rows, by this thread: what is given back, and where marks are."""
        block, room = self.task.block(), room_of(self.stride)
        cut = piece.start, piece.stop, piece.stop - piece.start
        self.task.run(self.describe(block, addresses, scalars, cut), room.start, 0)
        return block[self.task.found :], room

    def run_all(
        self, addresses: Sequence[int], scalars: Sequence[float]
    ) -> list[tuple[float, float]]:
        """All elements or rows, by as many threads as there are; the sums of the pieces."""
        block, cut = self.task.block(), (0, self.count, self.size)
        if self.count <= self.size:
            at = self.describe(block, addresses, scalars, cut)
            room = room_of(self.stride)
            self.task.run(at, room.start, 0)
            return [self.task.pair(block)]
        pieces = -(-self.count // self.size)
        found = np.zeros((pieces, GIVEN))
        at = self.describe(block, addresses, scalars, cut, address_of(found))
        many = crew.current()
        room = room_of(self.stride * (1 if many is None else many.size))
        crew.see_done(many, self.task, at, room.start, self.stride * BYTES, pieces)
        return [(high, low) for high, low, _ in found.tolist()]

    def describe(
        self,
        block: Array,
        addresses: Sequence[int],
        scalars: Sequence[float],
        cut: tuple[int, int, int],
        found: int | None = None,
    ) -> int:
        """Write down what there is to do; where it stands.

        What pieces give back goes where it is to be found, or behind what there is to do.
        """
        at = address_of(block)
        if found is None:
            found = at + self.task.found * BYTES
        self.task.layout.pack_into(block, 0, *addresses, *scalars, *cut, *self.further, found)
        return at

    @cached_property
    def further(self) -> tuple[int, int, int]:
        """Of the extents, what counts for every piece."""
        return self.classes, self.sums, self.kept * BYTES

    def scalars(self, denominator: float) -> tuple[float, ...]:
        """The numbers that the kernel is given."""
        if self.divides:
            return (*self.numbers, denominator)
        return (*self.numbers, 1.0 / denominator if denominator else np.inf)


class Run:
    """The arrays of one run, and the work on a piece of it."""

    value: Array
    derivatives: list[Array]

    def totals(self) -> list[Parts]:
        """Do it all; the sums of the values of each piece, if they are wanted."""
        raise NotImplementedError


# Elements


class Elements(Prepared):
    """Work on elements."""

    def __init__(self, call: Call, asked: Plan, wanted: Wanted) -> None:
        super().__init__(call, asked, wanted)
        arrays = arrays_of(call.plan, call.grad_output)
        count = prod(self.shape)
        self.shared = {name: one.size == 1 and count != 1 for name, one in arrays.items()}
        self.count, self.size = count, piece_of(count)
        own = [call.plan.model] if self.has_value else []
        formats = _formats(list(arrays.values()))
        outputs = (*_formats(own), *(dtype.name for _, dtype in self.sources))
        shared = tuple(self.shared.values())

        def make(key: Any) -> Any:
            table, made = call.wiring.table, call.wiring.outputs
            named = (tuple(call.scalars), tuple(arrays), shared)
            one_sign = call.plan.formulas.never_negative
            element = Element(table, *named, made.value, made.derivatives, one_sign)
            return elements.make_kernel(element, formats, outputs, call.kind, key)

        self.task = call.kernel(tuple(arrays), shared, formats, outputs, make=make)

    def run(self, arrays: Mapping[str, Array], denominator: float) -> Run:
        """Everything that one run needs."""
        return ElementRun(self, arrays, denominator)


class ElementRun(Run):
    """One run over elements."""

    def __init__(self, prepared: Elements, arrays: Mapping[str, Array], denominator: float) -> None:
        self.prepared, shape = prepared, prepared.shape
        self.derivatives = [np.empty(*one) for one in prepared.sources]
        written = self.derivatives
        if prepared.has_value:
            self.value = np.empty(shape if prepared.writes_value else (), prepared.stored)
            written = [self.value, *written]
        self.given: list[Array] = []
        self.moved: list[bool] = []
        for name, array in arrays.items():
            as_it_is = prepared.shared[name] or (array.shape == shape and is_plain(array))
            self.given.append(plain(array) if as_it_is else np.broadcast_to(array, shape))
            self.moved.append(not as_it_is)
        self.starts = [address_of(array) for array in self.given]
        self.outputs = [address_of(array) for array in written]
        self.scalars = prepared.scalars(denominator)

    def totals(self) -> list[Parts]:
        prepared = self.prepared
        if not any(self.moved):
            return [*prepared.run_all((*self.starts, *self.outputs), self.scalars)]
        return threads.over(runs(prepared.count, prepared.size), self._work)

    def _work(self, piece: slice) -> Parts:
        """Some elements, of which some are brought into order."""
        starts, brought = list(self.starts), []
        for k, array in enumerate(self.given):
            if self.moved[k]:
                taken = plain(array.flat[piece])
                brought.append(taken)  # and not given back before the kernel has run
                starts[k] = address_of(taken) - piece.start * taken.itemsize
        found, _ = self.prepared.run_piece((*starts, *self.outputs), self.scalars, piece)
        return found.item(0), found.item(1)


# Rows


class Rows(Prepared):
    """Work on rows of classes or components.

    What is marked in pairs is done again ``in_doubles``.
    """

    in_doubles: Callable[[], Rows]

    def __init__(self, call: Call, asked: Plan, wanted: Wanted) -> None:
        super().__init__(call, asked, wanted)
        plan = call.plan
        assert plan.row_shape is not None
        self.extents, self.classes = plan.row_shape, plan.classes
        arrays = arrays_of(plan, call.grad_output)
        count = prod(self.extents)
        per_class = {"weight"} if plan.weight is not None else set()
        of_classes = [n for n, one in arrays.items() if one.ndim == 3 or n in per_class]
        of_rows = [n for n in arrays if n not in of_classes and n != "labels"]
        self.order = [*of_classes, *of_rows, *(["labels"] if "labels" in arrays else [])]
        # what counts for every row as it is
        self.fixed = {n for n in arrays if n in per_class or (arrays[n].size == 1 != count)}
        self.count = count
        self.size = self.rows_of_a_piece()
        self.pieces = self._cuts()
        form = self.form
        formats = Formats(
            _formats([arrays[name] for name in of_rows]),
            _formats([arrays[name] for name in of_classes]),
            dtype_name(plan.model),
            tuple(dtype.name for _, dtype in self.sources),
        )
        shared = tuple(name in self.fixed for name in of_rows)
        named = (tuple(of_rows), shared, "labels" in arrays, tuple(of_classes))
        fixed = tuple(name in per_class for name in of_classes)

        def make(key: Any) -> Any:
            table, made = call.wiring.table, call.wiring.outputs
            scalars = tuple(call.scalars)
            written = (made.value, made.derivatives)
            row = Row(table, scalars, *named, fixed, *written)
            return rows.make_kernel(row, formats, form, call.kind, key), row

        described = (formats.of_row, formats.classes, formats.value, formats.derivatives)
        found = call.kernel(*named, fixed, *described, form.__name__, make=make)
        self.task, self.row = found
        self.kept = self.row.room(self.classes, form is Narrow, call.kind)
        if call.kind is PAIRED:
            extents = ((n.stop - n.start) * (d.stop - d.start) for n, d in self.pieces)
            self.marks = max(extents, default=0)
            again = Call(plan, call.wanted, call.grad_output, WORKING)
            self.in_doubles = cache(lambda: Rows(again, asked, wanted))

    @property
    def form(self) -> type[Wide] | type[Narrow]:
        """How a kernel takes rows of so many classes."""
        return Narrow if self.classes <= NARROW else Wide

    def rows_of_a_piece(self) -> int:
        """How many rows are done in one piece."""
        room = piece_of(self.count * self.classes) // self.classes
        # narrow rows are taken so many at a time
        if self.classes <= NARROW:
            return max(ROWS, room // ROWS * ROWS)
        return max(1, room, min(ROWS, self.count // ROWS))

    def _cuts(self) -> list[tuple[slice, slice]]:
        count, positions = self.extents
        if positions == 1:
            return [(n, slice(0, 1)) for n in runs(count, self.size)]
        rows_ = runs(count, max(1, self.size // max(1, positions)))
        return [(n, d) for n in rows_ for d in runs(positions, self.size)]

    def run(self, arrays: Mapping[str, Array], denominator: float) -> Run:
        """Everything that one run needs."""
        return RowRun(self, arrays, denominator)


class SharedRows(Rows):
    """Work on a few long rows, one after the other, of which threads take parts."""

    form = Shared

    @staticmethod
    def are_in(plan: Plan) -> bool:
        """Whether a plan has such rows, where kernels read them."""
        assert plan.row_shape is not None
        rows_, positions = plan.row_shape
        few = positions == 1 and 0 < rows_ < FEW_ROWS and plan.classes > PART * MANY_PARTS
        return few and all(map(is_plain, arrays_of(plan).values()))

    def rows_of_a_piece(self) -> int:
        return self.count

    def run_piece(
        self, addresses: Sequence[int], scalars: Sequence[float], piece: slice
    ) -> tuple[Array, Room]:
        block, at, room = self._shared(addresses, scalars, (piece.start, piece.stop, 1))
        self.task.run(at, room.start, 0)
        return block[self.task.found :][:GIVEN], room

    def run_all(
        self, addresses: Sequence[int], scalars: Sequence[float]
    ) -> list[tuple[float, float]]:
        many = crew.current()
        size = 1 if many is None else many.size
        block, at, room = self._shared(addresses, scalars, (0, self.count, size))
        crew.see_done(many, self.task, at, room.start, 0, crew.SHARED)
        return [self.task.pair(block)]

    def _shared(
        self, addresses: Sequence[int], scalars: Sequence[float], cut: tuple[int, int, int]
    ) -> tuple[Array, int, Room]:
        """What there is to do, where it stands, and room."""
        first, last, size = cut
        block = self.task.block((last - first) * self.row.common(self.classes, size))
        return block, self.describe(block, addresses, scalars, cut), room_of(self.stride)


class RowRun(Run):
    """One run over rows."""

    def __init__(self, prepared: Rows, arrays: Mapping[str, Array], denominator: float) -> None:
        self.prepared = prepared
        self.given = [
            plain(arrays[name]) if name in prepared.fixed else arrays[name]
            for name in prepared.order
        ]
        rows_, positions = prepared.extents
        laid_out = (rows_, prepared.classes, positions)
        self.derivatives = [np.empty(laid_out, dtype) for _, dtype in prepared.sources]
        extents = prepared.extents if prepared.writes_value else (1,)
        self.value = np.empty(extents, prepared.stored)
        self.scalars = prepared.scalars(denominator)
        self.addresses: tuple[int, ...] | None = None
        if positions == 1 and all(map(is_plain, self.given)):
            written = (self.value, *self.derivatives)
            self.addresses = (*map(address_of, self.given), *map(address_of, written))

    def totals(self) -> list[Parts]:
        prepared, pieces = self.prepared, self.prepared.pieces
        if self.addresses is None:
            return threads.over(pieces, self._work)
        found: list[Parts] = [*prepared.run_all(self.addresses, self.scalars)]
        written = (self.value, *self.derivatives)
        for k, (total, *_) in enumerate(found if prepared.marks else ()):
            if total != total:  # it has marks, which who did it has not kept
                found[k] = self._run(self.addresses, pieces[k][0], self.given, written)
        return found

    def _work(self, piece: tuple[slice, slice]) -> Parts:
        """Some rows, brought into order."""
        n, d = piece
        classes = self.prepared.classes
        given = [
            one if name in self.prepared.fixed else _cut(one, n, d)
            for name, one in zip(self.prepared.order, self.given, strict=True)
        ]
        shape = (n.stop - n.start, d.stop - d.start)
        written = (
            np.empty(prod(shape), self.value.dtype),
            *(np.empty((prod(shape), classes), one.dtype) for one in self.derivatives),
        )
        addresses = tuple(map(address_of, (*given, *written)))
        found = self._run(addresses, slice(0, prod(shape)), given, written)
        if self.value.shape == self.prepared.extents:
            self.value[piece] = written[0].reshape(shape)
        for whole, part in zip(self.derivatives, written[1:], strict=True):
            whole[n, :, d] = np.transpose(part.reshape(*shape, classes), (0, 2, 1))
        return found

    def _run(
        self,
        addresses: tuple[int, ...],
        rows_: slice,
        given: Sequence[Array],
        written: Sequence[Array],
    ) -> Parts:
        prepared = self.prepared
        given_back, room = prepared.run_piece(addresses, self.scalars, rows_)
        high, low, instead = given_back.tolist()
        if high == high or not prepared.marks:
            return high, low
        marks = room.marks(prepared.kept, rows_.stop - rows_.start)
        found = [instead, low]
        # rows whose values count, and those of which nothing but derivatives does
        for asked in (marks & VALUE != 0, marks == DERIVATIVES):
            again = np.flatnonzero(asked)
            if again.size:
                total = self._again(rows_.start + again, marks[again], given, written)
                found += total if marks[again[0]] & VALUE else ()
        return tuple(found)

    def _again(
        self, places: Array, marks: Array, given: Sequence[Array], written: Sequence[Array]
    ) -> Parts:
        """Rows that were not usual, in doubles; what their values come to."""
        prepared = self.prepared.in_doubles()
        taken = [
            one if name in prepared.fixed or one.ndim == 0 else plain(one[places])
            for name, one in zip(prepared.order, given, strict=True)
        ]
        made = [np.empty((len(places), *one.shape[1:]), one.dtype) for one in written]
        addresses = tuple(map(address_of, (*taken, *made)))
        found, _ = prepared.run_piece(addresses, self.scalars, slice(0, len(places)))
        if prepared.writes_value and marks[0] & VALUE:
            written[0][places] = made[0]
        asked = marks & DERIVATIVES != 0
        for whole, part in zip(written[1:], made[1:], strict=True):
            whole[places[asked]] = part[asked]
        return found.item(0), found.item(1)


def _cut(array: Array, n: slice, d: slice) -> Array:
    """Some rows of (N, C, D) or (N, D), one after the other; one number counts for all rows."""
    if array.ndim == 0:
        return plain(array)
    if array.ndim == 2:
        return plain(array[n, d].reshape(-1))
    return plain(np.transpose(array[n, :, d], (0, 2, 1)).reshape(-1, array.shape[1]))


class Room:
    """A thread's own memory: so many doubles, which begin at a cache line."""

    def __init__(self, doubles: int) -> None:
        numbers = np.empty(doubles + LANES)
        begin = -(address_of(numbers) // BYTES) % LANES
        self.numbers = numbers[begin : begin + doubles]
        self.start = address_of(numbers) + BYTES * begin

    def marks(self, kept: int, count: int) -> Array:
        """A copy of the marks, which lie behind what is kept."""
        return self.numbers[kept:].view(np.int8)[:count].copy()


def room_of(doubles: int) -> Room:
    """Memory of this thread, for so many doubles."""
    found: Room | None = getattr(_mine, "room", None)
    if found is None or len(found.numbers) < doubles:
        found = _mine.room = Room(doubles)
    return found
