"""A plan on the CPU: all that it wants, from one kernel that reads the arguments once.

The work is cut into pieces that depend on the extents alone and are shared out to threads; sums are
joined in the order of the pieces. Arrays that lie as a kernel reads them are read where they are;
others are brought into order piece by piece.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from refloss import calls
from refloss.arguments import dtype_name, native
from refloss.calls import UPSTREAM
from refloss.evaluation import Answer, reduced, rounded, runs
from refloss.formula.emitted import DOUBLE, WORKING, Kind
from refloss.kernels import threads
from refloss.kernels.address import address_of
from refloss.kernels.simd import elements, rows
from refloss.kernels.simd.elements import Element
from refloss.kernels.simd.rows import NARROW, Formats, Row

if TYPE_CHECKING:
    from refloss.evaluation import Plan, Wanted

Array = Any
Pair = tuple[float, float]

SHORT = ("float16", "bfloat16")
FEW = 1 << 12

PIECE = 1 << 16  # numbers of one array in a piece of work
LANES = 8

# Numbers outside of this are divided by as they are, not through their reciprocals
SMALL, LARGE = 1e-280, 1e280
LIFTING = 1e200

_kernels: dict[Any, Any] = {}
_mine = threading.local()


def kind_of(plan: Plan, grad_output: Array | None = None) -> Kind:
    """The arithmetic inside: for results of few digits, that which does not follow lost ones.

    It counts what is below e^-708 for nothing, which a factor beyond all float32 might lift again.
    """
    if native(plan.model) == np.float64:
        return DOUBLE
    usual = all(x == 0 or SMALL < abs(x) < LARGE for x in plan.parameters.values())
    factors = (one for one in (plan.weight, grad_output) if one is not None)
    return WORKING if usual and not any(map(_may_lift, factors)) else DOUBLE


def _may_lift(factor: Array) -> bool:
    if factor.size > FEW and native(factor) != np.float64:
        return False
    with np.errstate(all="ignore"):
        return bool((np.abs(factor.astype(np.float64)) > LIFTING).any())


class Call(calls.Call):
    """One evaluation of a plan on the CPU."""

    in_steps = True

    def __init__(
        self, plan: Plan, wanted: Wanted, grad_output: Array | None, kind: Kind | None = None
    ) -> None:
        super().__init__(plan, wanted, grad_output, kind or kind_of(plan, grad_output))

    def kernel(self, *further: Any, make: Callable[[Any], Any]) -> Any:
        """The kernel for this call, made when it is first wanted."""
        key = (*self.identity, *further)
        if key not in _kernels:
            _kernels[key] = make(key)
        return _kernels[key]


def evaluate(plan: Plan, wanted: Wanted, grad_output: Array | None = None) -> Answer:
    """Run a plan whose arrays are NumPy's."""
    if is_short_and_small(plan):
        return _by_float64(plan, wanted, grad_output)
    return prepare(plan, wanted, grad_output).answer(arrays_of(plan, grad_output), plan.denominator)


def is_short_and_small(plan: Plan) -> bool:
    """Whether a plan is of 16-bit numbers, so few that they need no kernel of their own."""
    return dtype_name(plan.model) in SHORT and plan.model.size <= FEW


def _by_float64(plan: Plan, wanted: Wanted, grad_output: Array | None) -> Answer:
    """The same answer from float64 arrays: a kernel of 16-bit numbers widens and rounds as well."""

    def wide(array: Array) -> Array:
        return array.astype(np.float64) if dtype_name(array) in SHORT else array

    widened = replace(
        plan,
        model=wide(plan.model),
        arrays={name: wide(array) for name, array in plan.arrays.items()},
        originals={name: wide(array) for name, array in plan.originals.items()},
        weight=None if plan.weight is None else wide(plan.weight),
    )
    upstream = None if grad_output is None else wide(grad_output)
    call = Call(widened, wanted, upstream, kind_of(plan, grad_output))
    made = Elements(call) if plan.row_shape is None else Rows(call)
    answer = made.answer(arrays_of(widened, upstream), plan.denominator)
    dtype = native(plan.model)
    with np.errstate(all="ignore"):
        value = None if answer.value is None else rounded(np.asarray(answer.value), dtype)[()]
        parts = [
            [rounded(np.asarray(one), dtype)[()] for one in part]
            for part in (answer.gradient, answer.curvature)
        ]
    return Answer(value, *parts)


def prepare(plan: Plan, wanted: Wanted, grad_output: Array | None = None) -> Prepared:
    """A plan made ready to run, once and again."""
    call = Call(plan, wanted, grad_output)
    return Elements(call) if plan.row_shape is None else Rows(call)


def arrays_of(plan: Plan, grad_output: Array | None = None) -> dict[str, Array]:
    """The arrays that a plan is run on, by the names that kernels give them."""
    found = {name: array for name, array in plan.arrays.items() if name != "kept"}
    if plan.weight is not None:
        found["weight"] = plan.weight
    if grad_output is not None:
        found[UPSTREAM] = grad_output
    return found


def is_plain(array: Array) -> bool:
    """Whether a kernel can read it where it is."""
    flags = array.flags
    return bool(flags.c_contiguous and flags.aligned and array.dtype.isnative)


def plain(array: Array) -> Array:
    """The same numbers as a kernel reads them."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _formats(arrays: Sequence[Array]) -> tuple[str, ...]:
    return tuple(dtype_name(array) for array in arrays)


class Prepared:
    """A plan made ready: its kernel, and how the work on arrays of such extents is cut."""

    kernel: Any
    pieces: Sequence[Any]
    value_shape: tuple[int, ...]

    def __init__(self, call: Call) -> None:
        plan = call.plan
        self.total, self.wants_value = call.total, call.wanted.value
        self.model, self.shape = np.empty(0, native(plan.model)), plan.shape
        self.sources = [(tuple(one.shape), native(one)) for one in call.sources]
        self.split = len(call.wanted.gradient)
        self.numbers = tuple(map(float, call.scalars.values()))[:-1]
        self.divides = call.kind is DOUBLE

    def answer(self, arrays: Mapping[str, Array], denominator: float) -> Answer:
        """Run it on arrays like those that it was made ready for."""
        run = self.run(arrays, denominator)
        totals = threads.over(self.pieces, run.work)
        value = None
        if self.total:
            value = reduced(self.model, totals, denominator)
        elif self.wants_value:
            value = run.value.reshape(self.shape)[()]
        found = [
            array.reshape(shape)[()]
            for array, (shape, _) in zip(run.derivatives, self.sources, strict=True)
        ]
        return Answer(value, found[: self.split], found[self.split :])

    def run(self, arrays: Mapping[str, Array], denominator: float) -> Run:
        """Everything that one run needs."""
        raise NotImplementedError

    def scalars(self, denominator: float) -> tuple[float, ...]:
        """The numbers that the kernel is given."""
        if self.divides:
            return (*self.numbers, denominator)
        return (*self.numbers, 1.0 / denominator if denominator else np.inf)


class Run:
    """The arrays of one run, and the work on a piece of it."""

    value: Array
    derivatives: list[Array]

    def work(self, piece: Any) -> Pair:
        """Do it; the sum of the values, if it is wanted."""
        raise NotImplementedError


# Elements


class Elements(Prepared):
    """Work on elements."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        arrays = arrays_of(call.plan, call.grad_output)
        count = prod(self.shape)
        self.shared = {name: one.size == 1 and count != 1 for name, one in arrays.items()}
        self.pieces = runs(count, PIECE)
        own = [self.model] if self.wants_value and not self.total else []
        formats = _formats(list(arrays.values()))
        outputs = (*_formats(own), *(dtype.name for _, dtype in self.sources))
        shared = tuple(self.shared.values())

        def make(key: Any) -> Any:
            table, wanted = call.wiring.table, call.wiring.outputs
            named = (tuple(call.scalars), tuple(arrays), shared)
            element = Element(table, *named, wanted.value, wanted.derivatives, call.total)
            return elements.make_kernel(element, formats, outputs, call.kind, key)

        self.kernel = call.kernel(tuple(arrays), shared, formats, outputs, make=make)

    def run(self, arrays: Mapping[str, Array], denominator: float) -> Run:
        """Everything that one run needs."""
        return ElementRun(self, arrays, denominator)


class ElementRun(Run):
    """One run over elements."""

    def __init__(self, prepared: Elements, arrays: Mapping[str, Array], denominator: float) -> None:
        self.kernel, shape = prepared.kernel, prepared.shape
        self.derivatives = [np.empty(*one) for one in prepared.sources]
        written = self.derivatives
        if prepared.wants_value and not prepared.total:
            self.value = np.empty(shape, prepared.model.dtype)
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

    def work(self, piece: slice) -> Pair:
        """Some elements."""
        pair = np.zeros(2)
        starts, brought = self.starts, []
        if any(self.moved):
            starts = list(starts)
            for k, array in enumerate(self.given):
                if self.moved[k]:
                    taken = plain(array.flat[piece])
                    brought.append(taken)  # and not given back before the kernel has run
                    starts[k] = address_of(taken) - piece.start * taken.itemsize
        addresses = (*starts, *self.outputs, address_of(pair))
        self.kernel(*addresses, *self.scalars, piece.start, piece.stop)
        return float(pair[0]), float(pair[1])


# Rows


class Rows(Prepared):
    """Work on rows of classes or components."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
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
        self.pieces = self._cuts()
        narrow = self.classes <= NARROW
        formats = Formats(
            _formats([arrays[name] for name in of_rows]),
            _formats([arrays[name] for name in of_classes]),
            dtype_name(self.model),
            tuple(dtype.name for _, dtype in self.sources),
        )
        shared = tuple(name in self.fixed for name in of_rows)
        named = (tuple(of_rows), shared, "labels" in arrays, tuple(of_classes))
        fixed = tuple(name in per_class for name in of_classes)

        def make(key: Any) -> Any:
            table, wanted = call.wiring.table, call.wiring.outputs
            scalars = tuple(call.scalars)
            written = (wanted.value, wanted.derivatives, call.total)
            row = Row(table, scalars, *named, fixed, *written)
            kernel = rows.make_kernel(row, formats, narrow, call.kind, key)
            return kernel, row.room

        described = (formats.of_row, formats.classes, formats.value, formats.derivatives)
        self.kernel, room = call.kernel(*named, fixed, *described, narrow, make=make)
        self.room: int = room(self.classes, narrow)

    def _cuts(self) -> list[tuple[slice, slice]]:
        count, positions = self.extents
        room = max(LANES, PIECE // self.classes // LANES * LANES)
        if positions == 1:
            return [(n, slice(0, 1)) for n in runs(count, room)]
        rows_ = runs(count, max(1, room // max(1, positions)))
        return [(n, d) for n in rows_ for d in runs(positions, room)]

    def run(self, arrays: Mapping[str, Array], denominator: float) -> Run:
        """Everything that one run needs."""
        return RowRun(self, arrays, denominator)


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
        extents = (1,) if prepared.total or not prepared.wants_value else prepared.extents
        self.value = np.empty(extents, prepared.model.dtype)
        self.scalars = prepared.scalars(denominator)
        self.addresses: tuple[int, ...] | None = None
        if positions == 1 and all(map(is_plain, self.given)):
            written = (self.value, *self.derivatives)
            self.addresses = (*map(address_of, self.given), *map(address_of, written))

    def work(self, piece: tuple[slice, slice]) -> Pair:
        """Some rows."""
        if self.addresses is not None:
            return self._call(self.addresses, piece[0].start, piece[0].stop)
        n, d = piece
        classes = self.prepared.classes
        given = [
            one if name in self.prepared.fixed else _cut(one, n, d)
            for name, one in zip(self.prepared.order, self.given, strict=True)
        ]
        shape = (n.stop - n.start, d.stop - d.start)
        written = [
            np.empty(prod(shape), self.value.dtype),
            *(np.empty((prod(shape), classes), one.dtype) for one in self.derivatives),
        ]
        found = self._call(tuple(map(address_of, (*given, *written))), 0, prod(shape))
        if self.value.shape == self.prepared.extents:
            self.value[piece] = written[0].reshape(shape)
        for whole, part in zip(self.derivatives, written[1:], strict=True):
            whole[n, :, d] = np.transpose(part.reshape(*shape, classes), (0, 2, 1))
        return found

    def _call(self, addresses: tuple[int, ...], start: int, stop: int) -> Pair:
        pair, room = np.zeros(2), room_of(self.prepared.room)
        further = (address_of(pair), address_of(room))
        extents = (start, stop, self.prepared.classes)
        self.prepared.kernel(*addresses, *further, *self.scalars, *extents)
        return float(pair[0]), float(pair[1])


def _cut(array: Array, n: slice, d: slice) -> Array:
    """Some rows of (N, C, D) or (N, D), one after the other."""
    if array.ndim == 2:
        return plain(array[n, d].reshape(-1))
    return plain(np.transpose(array[n, :, d], (0, 2, 1)).reshape(-1, array.shape[1]))


def room_of(size: int) -> Array:
    """Doubles that belong to this thread."""
    found = getattr(_mine, "room", None)
    if found is None or found.size < size:
        found = _mine.room = np.empty(max(size, 1))
    return found
