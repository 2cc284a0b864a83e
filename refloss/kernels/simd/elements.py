"""The elementwise kernel: value and derivatives of eight elements at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from refloss.formula.emitted import DOUBLE, Kind
from refloss.kernels.simd.tasks import Piece, Task
from refloss.kernels.simd.totals import Total
from refloss.kernels.simd.writing import Body, Stored, kernel


@dataclass(frozen=True)
class Element:
    """What an element's numbers are made of.

    Attributes
    ----------
    table : a `refloss.quantities.Table`
    scalars : numbers that count for every element
    arrays : numbers that are loaded for each
    shared : for each of them, whether one number stands for all elements
    value : the name of the loss, or None
    derivatives : the names of what else is wanted
    one_sign : whether no loss is below 0
    """

    table: Any
    scalars: tuple[str, ...]
    arrays: tuple[str, ...]
    shared: tuple[bool, ...]
    value: str | None
    derivatives: tuple[str, ...]
    one_sign: bool

    @property
    def written(self) -> tuple[str, ...]:
        """What is written for each element."""
        return (*filter(None, [self.value]), *self.derivatives)


def make_rounder(format_: str) -> Any:
    """A kernel of (address of float64 numbers, of others, first, last): each is rounded once."""

    def write(builder: Any, values: Sequence[Any]) -> None:
        body = Body(builder, DOUBLE)
        array, rounded, first, last = values
        runs = body.runs(first, last, [Stored(array, "float64")], [Stored(rounded, format_)])
        with runs as (i, [source], [target], _):
            body.put_run(target, i, body.run(source, i))

    return kernel(write, ("rounder", format_))


def make_kernel(
    element: Element, formats: Sequence[str], outputs: Sequence[str], kind: Kind, key: Any
) -> Task:
    """A task whose items are elements, of addresses of arrays and outputs.

    ``formats`` and ``outputs`` are theirs. If values are summed, a piece gives back a pair instead
    of writing them.
    """

    def write(builder: Any, piece: Piece) -> None:
        body = Body(builder, kind)
        stored = list(map(Stored, piece.arrays, (*formats, *outputs)))
        arrays, written = stored[: len(formats)], stored[len(formats) :]
        scalars = dict(zip(element.scalars, map(body.scalar, piece.scalars), strict=True))
        loaded = list(zip(element.arrays, arrays, element.shared, strict=True))
        known = scalars | {n: body.one(a, body.whole(0)) for n, a, shared in loaded if shared}
        each = [(name, array) for name, array, shared in loaded if not shared]
        total = Total(body, element.one_sign)
        is_summed = builder.icmp_signed("!=", piece.sums, body.whole(0))
        if element.value:
            written[0] = replace(written[0], missing=is_summed)
        runs = body.runs(piece.begin, piece.end, [array for _, array in each], written)
        with runs as (i, sources, targets, there):
            own = {name: body.run(one, i) for (name, _), one in zip(each, sources, strict=True)}
            numbers = element.table.numbers(known | own, body.read)
            for name, target in zip(element.written, targets, strict=True):
                x = body.code.number(numbers[name])
                if name != element.value:
                    body.put_run(target, i, x)
                    continue
                with builder.if_else(is_summed) as (summed, written_down):
                    with summed:
                        total.absorb_next(x, there, i)
                    with written_down:
                        body.put_run(target, i, x)
        if element.value:
            total.put(Stored(piece.found, "float64"))

    return Task(write, len(formats) + len(outputs), len(element.scalars), key)
