"""The fused kernels' instructions, compiled for this machine's CPU and run over whole arrays.

What a kernel does beside loops and exchanges is written as LLVM instructions, and those round alike
on every machine (`power` alone is the machine's own). So the instructions that a GPU would run can
be held against every certified answer at full speed where there is no GPU. The loops here are plain
ones: every row by itself, class after class.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any
from unittest import mock

import numba
import numpy as np
from numpy.typing import NDArray

from refloss import evaluation, fused
from refloss.formula import reductions
from refloss.formula.emitted import Kind
from refloss.kernels.cuda import arrays, elements, rows, target
from refloss.kernels.cuda.elements import Element
from refloss.kernels.cuda.rows import Row
from refloss.kernels.cuda.target import Recipe

Array = NDArray[Any]

compiled = numba.njit(error_model="numpy")


def numbers_of(count: int) -> Any:
    """A row of an array as a tuple of its numbers."""
    if count == 0:
        return compiled(lambda x: ())
    if count == 1:
        return compiled(lambda x: (x[0],))
    rest = numbers_of(count - 1)
    return compiled(lambda x: (x[0], *rest(x[1:])))


def put(count: int) -> Any:
    """Write a tuple of numbers into an array."""

    def into(x: Any, numbers: Any) -> None:
        for k in range(count):
            x[k] = numbers[k]

    return compiled(into if count else lambda x, numbers: None)


class HostedElements:
    """Stands for the elementwise kernel."""

    def __init__(
        self,
        element: Element,
        formats: Sequence[str],
        outputs: Sequence[str],
        lanes: int,
        kind: Kind,
    ) -> None:
        self.element, self.kind = element, kind
        run = target.written(replace(element, total=False).recipe(1), kind)
        written = len(replace(element, total=False).written)
        scalars = numbers_of(len(element.scalars))
        loaded, store = numbers_of(len(element.arrays)), put(written)
        self.written = written

        def loop(given: Any, numbers: Any, out: Any) -> None:
            for i in range(len(given)):
                store(out[i], run(scalars(numbers) + loaded(given[i])))

        self.loop = compiled(loop)

    def __call__(self, given: Any, scalars: Any, outputs: Any, totals: Array, count: int) -> None:
        dtype = target.scalar_type(self.kind)
        columns = [np.broadcast_to(array.astype(dtype), count) for array in given]
        out = np.empty((count, self.written), dtype)
        self.loop(np.stack(columns, axis=-1), np.array(scalars, dtype), out)
        written = list(out.T)
        if self.element.total:
            summed(written.pop(0), totals, self.kind)
        for array, numbers in zip(outputs, written, strict=True):
            array[...] = evaluation.rounded(numbers, array.dtype)


@cache
def _total(kind: Kind) -> Any:
    absorb = target.written(Recipe(3, lambda n, read: read(reductions.total_absorbed)(*n)), kind)

    def total(x: Any, out: Any) -> None:
        state = (out[0], out[1])
        for i in range(len(x)):
            state = absorb((*state, x[i]))
        out[0], out[1] = state

    return compiled(total)


def summed(values: Array, totals: Array, kind: Kind) -> None:
    """The sum of the values, as the first of the pairs."""
    totals[:] = 0
    _total(kind)(np.ascontiguousarray(values), totals)


class HostedRows:
    """Stands for the kernel over rows."""

    def __init__(self, row: Row, formats: Any, shape: Any, kind: Kind) -> None:
        self.row, self.kind = row, kind
        passes = self._passes(0)
        known = numbers_of(len(row.known))
        tell = target.written(row.tell(), kind)
        has_value = row.value is not None

        def loop(rows_: Any, classes: Any, values: Any, out: Any) -> None:
            for r in range(len(rows_)):
                found = passes(known(rows_[r]), classes[r], out[r])
                if has_value:
                    values[r] = tell(found)[0]

        self.loop = compiled(loop)

    def _passes(self, number: int) -> Any:
        row, kind = self.row, self.kind
        if number == len(row.passes):
            return compiled(lambda known, classes, out: known)
        states = row.passes[number]
        size, written = len(states), len(row.derivatives)
        take = target.written(row.take(number, 1), kind)
        finish = target.written(row.finish(number), kind)
        start = target.constants(states.start, kind)
        state_of, rest_of = target.part(0, size), target.part(size, size + written)
        store, loaded = put(written), numbers_of(len(row.classes))
        to_number = target.number_of(kind)
        last = number == len(row.passes) - 1 and written > 0
        following = self._passes(number + 1)

        def run(known: Any, classes: Any, out: Any) -> Any:
            state = start()
            for c in range(len(classes)):
                found = take(known + state + to_number(c) + loaded(classes[c]))
                if last:
                    store(out[c], rest_of(found))
                state = state_of(found)
            return following(finish(known + state), classes, out)

        return compiled(run)

    def __call__(
        self,
        given: Any,
        of_row: Any,
        labels: Array,
        scalars: Any,
        values: Any,
        outputs: Any,
        totals: Array,
        count: int,
        classes: int,
        positions: int,
    ) -> None:
        dtype = target.scalar_type(self.kind)

        def laid_out(flat: Array, index: int) -> Array:
            if index == 1:
                return np.broadcast_to(flat, (count, classes)).astype(dtype)
            parts = flat.reshape(-1, classes, positions).transpose(0, 2, 1)
            return parts.reshape(count, classes).astype(dtype)

        each = [laid_out(flat, index) for flat, index in zip(given, self.row.indices, strict=True)]
        known = [np.broadcast_to(dtype(x), count) for x in scalars]
        known += [np.broadcast_to(array.astype(dtype), count) for array in of_row]
        if self.row.labelled:
            own = np.maximum(labels, 0)[:, None]
            known += [labels.astype(dtype)]
            known += [np.take_along_axis(array, own, axis=1)[:, 0] for array in each]
        out = np.empty((count, classes, len(outputs)), dtype)
        found = np.empty(count, dtype)
        rows_ = np.stack(known, axis=-1) if known else np.empty((count, 0), dtype)
        self.loop(rows_, np.stack(each, axis=-1), found, out)
        if self.row.total:
            summed(found, totals, self.kind)
        elif self.row.value:
            values[0][...] = evaluation.rounded(found, values[0].dtype)
        for k, array in enumerate(outputs):
            numbers = out[:, :, k].reshape(-1, positions, classes).transpose(0, 2, 1).reshape(-1)
            array[...] = evaluation.rounded(numbers, array.dtype)


class HostedFinish:
    """Stands for the kernel that puts the blocks' sums together: here there is one."""

    def __init__(self, output: str, kind: Kind) -> None:
        self.kind = kind

    def __call__(self, totals: Array, denominator: Any, outputs: Any) -> None:
        high, low = totals[:2]
        total = high + low if abs(high) < np.inf else high
        outputs[0][...] = evaluation.rounded(np.asarray(total / denominator[0]), outputs[0].dtype)


@contextmanager
def on_this_machine(module: str) -> Iterator[None]:
    """Losses of NumPy arrays run the fused kernels' instructions, those of a CUDA module."""
    kernels = import_module(module)

    def run(kernel: Any, blocks: int, threads: int, model: Any, *arguments: Any) -> None:
        with np.errstate(all="ignore"):
            kernel(*arguments)

    def evaluate(plan: Any, wanted: Any, grad_output: Any = None) -> Any:
        return fused.evaluate(replace(plan, kernels=kernels), wanted, grad_output)

    patches: list[tuple[Any, str, Callable[..., Any] | Any]] = [
        (elements, "make_kernel", HostedElements),
        (elements, "make_finish", HostedFinish),
        (rows, "make_kernel", HostedRows),
        (arrays, "launch", run),
        (evaluation.Plan, "evaluate", evaluate),
        (fused, "FEW_ROWS", 0),
        (fused, "_kernels", {}),
    ]
    with ExitStack() as stack:
        for one in patches:
            stack.enter_context(mock.patch.object(*one))
        yield
