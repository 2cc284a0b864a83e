"""A plan on the GPU: all that it wants, from one kernel that reads the arguments.

The quantities of `refloss.quantities` are made where they are needed, in registers; what leaves the
kernel is the value, or a pair of sums for each block, and the derivatives, each rounded once.
Kernels are kept by what they are made of: formulas, formats and shape, not by the arrays' sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from refloss import calls
from refloss.arguments import namespace, native
from refloss.formula.emitted import DOUBLE, SINGLE, WORKING, Kind
from refloss.kernels.cuda import arrays, elements, rows, target
from refloss.kernels.cuda.elements import TOTAL, Element
from refloss.kernels.cuda.rows import Formats, Row, Shape
from refloss.kernels.named import UPSTREAM

if TYPE_CHECKING:
    from refloss.evaluation import Answer, Plan, Wanted

Array = Any
Formula = Callable[..., Any]

# Rows of more classes than this are shared by several blocks, if there are too few rows otherwise
SEGMENT = 8192
FEW_ROWS = 264
MOST_SEGMENTS = 64

THREADS = 256
# What a thread may keep of its row: that many registers, in that many runs
REGISTERS = 32
MOST_RUNS = 2

_kernels: dict[Any, Any] = {}


def kind_of(plan: Plan) -> Kind:
    """The arithmetic inside: float64, unless the caller has chosen float32."""
    if plan.kernels.__name__.endswith("single"):
        return SINGLE
    return DOUBLE if arrays.format_of(plan.model) == "float64" else WORKING


@dataclass(frozen=True)
class Output:
    """A flat array that a kernel writes, and the shape in which the caller gets it."""

    array: Array
    shape: tuple[int, ...]

    def result(self) -> Array:
        """The array as the caller expects it."""
        out = namespace(self.array).reshape(self.array, self.shape)
        return out[()] if isinstance(out, np.ndarray) else out


class Call(calls.Call):
    """One evaluation of a plan on the GPU."""

    def __init__(self, plan: Plan, wanted: Wanted, grad_output: Array | None) -> None:
        super().__init__(plan, wanted, grad_output, kind_of(plan))

    def kernel(self, *further: Any, make: Callable[[], Any]) -> Any:
        """The kernel for this call, made when it is first wanted."""
        key = (*self.identity, self.total, *further)
        if key not in _kernels:
            _kernels[key] = make()
        return _kernels[key]

    # What it is given

    def numbers(self) -> tuple[Any, ...]:
        """The scalars as a kernel takes them."""
        scalar = target.scalar_type(self.kind)
        with np.errstate(all="ignore"):
            return tuple(scalar(x) for x in self.scalars.values())

    @cached_property
    def derivatives(self) -> list[Output]:
        """The arrays for what is wanted beside the value."""
        return [
            Output(
                arrays.empty((prod(source.shape),), native(source), self.plan.model),
                tuple(source.shape),
            )
            for source in self.sources
        ]

    @cached_property
    def value(self) -> Output:
        """The array for the value; of one element if it is reduced."""
        shape = self.plan.shape if self.plan.reduction == "none" else ()
        size = prod(shape) if self.wanted.value else 1
        return Output(arrays.empty((size,), native(self.plan.model), self.plan.model), shape)

    def totals(self, pairs: int) -> Array:
        """Room for pairs of sums."""
        xp = namespace(self.plan.model)
        dtype = xp.float64 if self.kind.digits == 53 else xp.float32
        return arrays.empty((max(1, pairs) * len(TOTAL),), dtype, self.plan.model)

    def finish(self, totals: Array) -> None:
        """The value, from the blocks' sums."""
        output = arrays.format_of(self.value.array)
        key = ("finish", output, self.kind)
        if key not in _kernels:
            _kernels[key] = elements.make_finish(output, self.kind)
        scalar = target.scalar_type(self.kind)
        denominator = (scalar(self.plan.denominator),)
        arguments = (totals, denominator, (self.value.array,))
        arrays.launch(_kernels[key], 1, elements.THREADS, self.plan.model, *arguments)

    def answer(self) -> Answer:
        """Run it."""
        from refloss.evaluation import Answer

        run = _elements if self.plan.row_shape is None else _rows
        run(self)
        found = [output.result() for output in self.derivatives]
        split = len(self.wanted.gradient)
        value = self.value.result() if self.wanted.value else None
        return Answer(value, found[:split], found[split:])


def evaluate(plan: Plan, wanted: Wanted, grad_output: Array | None = None) -> Answer:
    """Run a plan whose kernels are CUDA's."""
    return Call(plan, wanted, grad_output).answer()


def _formats(given: Sequence[Array]) -> tuple[str, ...]:
    return tuple(arrays.format_of(array) for array in given)


# Elements


def _elements(call: Call) -> None:
    plan = call.plan
    xp = namespace(plan.model)
    given: dict[str, Array] = dict(plan.arrays)
    if plan.weight is not None:
        given["weight"] = plan.weight
    if call.grad_output is not None:
        given[UPSTREAM] = call.grad_output
    shared = {name: prod(array.shape) == 1 for name, array in given.items()}
    flat = {
        name: arrays.flat(
            array
            if shared[name] or tuple(array.shape) == plan.shape
            else xp.broadcast_to(array, plan.shape)
        )
        for name, array in given.items()
    }
    count = prod(plan.shape)
    shared = {name: one and count != 1 for name, one in shared.items()}
    outputs = [one.array for one in call.derivatives]
    if call.wanted.value and not call.total:
        outputs.insert(0, call.value.array)
    spread = [array for name, array in flat.items() if not shared[name]]
    lanes = arrays.lanes_of([*spread, *outputs], 1 << 20)
    modes = tuple(shared.items())

    def make() -> Any:
        element = Element(
            call.wiring.table,
            tuple(call.scalars),
            tuple(flat),
            tuple(shared.values()),
            call.wiring.outputs.value,
            call.wiring.outputs.derivatives,
            call.total,
        )
        formats, written = _formats(list(flat.values())), _formats(outputs)
        return elements.make_kernel(element, formats, written, lanes, call.kind)

    key = (modes, _formats([*flat.values(), *outputs]), lanes)
    kernel = call.kernel(*key, make=make)
    blocks = elements.blocks_for(count, lanes)
    totals = call.totals(blocks)
    arguments = (tuple(flat.values()), call.numbers(), tuple(outputs), totals, count)
    arrays.launch(kernel, blocks, elements.THREADS, plan.model, *arguments)
    if call.total:
        call.finish(totals)


# Rows


@dataclass(frozen=True)
class RowArrays:
    """What a row kernel reads."""

    classes: Mapping[str, Array]
    per_class: frozenset[str]
    of_row: Mapping[str, Array]
    labels: Array | None


def _row_arrays(call: Call) -> RowArrays:
    plan = call.plan
    classes = {
        name: arrays.flat(plan.arrays[name]) for name in call.wiring.table.each if name != "weight"
    }
    per_class = frozenset(["weight"]) if "weight" in call.wiring.table.each else frozenset()
    if per_class:
        classes["weight"] = arrays.flat(plan.weight)
    known = {*classes, "labels", "kept"}
    of_row = {name: arrays.flat(array) for name, array in plan.arrays.items() if name not in known}
    if call.grad_output is not None:
        of_row[UPSTREAM] = arrays.flat(call.grad_output)
    labels = arrays.flat(plan.arrays["labels"]) if "labels" in plan.arrays else None
    return RowArrays(classes, per_class, of_row, labels)


def shape_of(rows_: int, classes: int, positions: int, lanes: int, held: int = 0) -> Shape:
    """The team for rows of a size: as many lanes as find some work, or a block.

    ``held`` is how many classes a thread may keep in registers from one pass to the next.
    """
    if positions > 1:  # neighbouring rows lie side by side, a row's classes do not
        team = 1 if rows_ >= 1 << 14 or classes <= 32 else target.WARP
        return _holding(Shape(THREADS, team, 1), classes, held)
    runs = -(-classes // lanes)
    if runs > 512:
        return _holding(Shape(THREADS, THREADS, lanes), classes, held)
    team = 1
    while team < target.WARP and team * 2 <= runs:
        team *= 2
    return _holding(Shape(THREADS, team, lanes), classes, held)


def _holding(shape: Shape, classes: int, held: int) -> Shape:
    """The same, with its row kept in registers if it has the room."""
    runs = -(-classes // (shape.team * shape.lanes))
    fits = runs <= MOST_RUNS and runs * shape.lanes <= held
    return replace(shape, held=runs) if fits else shape


def _rows(call: Call) -> None:
    plan = call.plan
    assert plan.row_shape is not None
    count, positions = prod(plan.row_shape), plan.row_shape[1]
    classes = plan.classes
    given = _row_arrays(call)
    outputs = tuple(one.array for one in call.derivatives)
    values = call.value.array
    every = [*given.classes.values(), *outputs]
    lanes = arrays.lanes_of(every, classes) if positions == 1 else 1
    room = REGISTERS // (len(given.classes) * (2 if call.kind.digits == 53 else 1))
    shape = shape_of(count, classes, positions, lanes, room)
    segments = 1
    if positions == 1 and 0 < count < FEW_ROWS and classes >= 2 * SEGMENT:
        segments = min(MOST_SEGMENTS, -(-classes // SEGMENT))
    shared = tuple(prod(array.shape) == 1 and count != 1 for array in given.of_row.values())
    formats = Formats(
        _formats(list(given.of_row.values())),
        _formats(list(given.classes.values())),
        arrays.format_of(values),
        _formats(outputs),
    )

    def row() -> Row:
        wiring = call.wiring
        return Row(
            wiring.table,
            tuple(call.scalars),
            tuple(given.of_row),
            shared,
            given.labels is not None,
            tuple(given.classes),
            tuple(int(name in given.per_class) for name in given.classes),
            wiring.outputs.value,
            wiring.outputs.derivatives,
            call.total,
        )

    key = (tuple(given.of_row), shared, formats, shape)
    labels = given.labels
    if labels is None:
        labels = arrays.empty((1,), namespace(plan.model).int64, plan.model)
    common = (
        tuple(given.classes.values()),
        tuple(given.of_row.values()),
        labels,
        call.numbers(),
    )
    sizes = (count, classes, positions)
    if segments > 1:
        _segments(call, row, key, common, sizes, segments)
        return
    kernel = call.kernel(*key, make=lambda: rows.make_kernel(row(), formats, shape, call.kind))
    blocks = max(1, min(elements.MOST_BLOCKS, -(-count // shape.teams)))
    totals = call.totals(blocks)
    written = ((values,), outputs, totals)
    arrays.launch(kernel, blocks, shape.threads, plan.model, *common, *written, *sizes)
    if call.total:
        call.finish(totals)


def _segments(
    call: Call,
    row: Callable[[], Row],
    key: tuple[Any, ...],
    common: tuple[Any, ...],
    sizes: tuple[int, int, int],
    segments: int,
) -> None:
    *_, formats, shape = key
    made = call.kernel(*key, "segments", make=row)
    shape = Shape(shape.threads, shape.threads, shape.lanes)  # each block reads its part anew
    outputs = tuple(one.array for one in call.derivatives)
    count = sizes[0]
    passes = len(made.passes)
    room = made.offset(passes) * count * segments
    totals = call.totals(count)
    scalar = namespace(call.plan.model)
    dtype = scalar.float64 if call.kind.digits == 53 else scalar.float32
    states = arrays.empty((max(1, room),), dtype, call.plan.model)
    values = totals if call.total else (call.value.array,)
    for number in range(passes + 1):
        if number == passes and not call.wanted.value:
            break

        def make(number: int = number) -> Any:
            return rows.make_segment_kernel(made, formats, shape, call.kind, number)

        kernel = call.kernel(*key, "segment", number, make=make)
        blocks = count * segments if number < passes else count
        written = (values, outputs, states)
        arrays.launch(
            kernel, blocks, shape.threads, call.plan.model, *common, *written, *sizes, segments
        )
    if call.total:
        call.finish(totals)
