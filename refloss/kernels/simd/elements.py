"""The elementwise kernel: value and derivatives of eight elements at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from refloss.formula.emitted import Kind
from refloss.kernels.simd.totals import Total
from refloss.kernels.simd.writing import LANES, Body, Stored, kernel


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
    total : whether the values are summed instead of written
    """

    table: Any
    scalars: tuple[str, ...]
    arrays: tuple[str, ...]
    shared: tuple[bool, ...]
    value: str | None
    derivatives: tuple[str, ...]
    total: bool

    @property
    def written(self) -> tuple[str, ...]:
        """What is written for each element."""
        own = (self.value,) if self.value and not self.total else ()
        return own + self.derivatives


def make_kernel(
    element: Element, formats: Sequence[str], outputs: Sequence[str], kind: Kind, key: Any
) -> Any:
    """A kernel of (addresses of arrays, of outputs, of a pair for the total, scalars, first, last).

    ``formats`` and ``outputs`` are those of the arrays.
    """

    def write(builder: Any, values: Sequence[Any]) -> None:
        body, given = Body(builder, kind), list(values)
        arrays = [Stored(given.pop(0), one) for one in formats]
        written = [Stored(given.pop(0), one) for one in outputs]
        sum_at = Stored(given.pop(0), "float64")
        scalars = {name: body.scalar(given.pop(0)) for name in element.scalars}
        first, last = given
        loaded = list(zip(element.arrays, arrays, element.shared, strict=True))
        known = scalars | {n: body.one(a, body.whole(0)) for n, a, shared in loaded if shared}
        each = [(name, array) for name, array, shared in loaded if not shared]
        total = Total(body) if element.total else None

        def numbers(own: dict[str, Any]) -> Any:
            return element.table.numbers(known | own, body.read)

        count = body.rounded_down(builder.sub(last, first))
        whole = builder.add(first, count)
        with body.loop(first, whole, LANES) as i:
            made = numbers({name: body.run(array, i) for name, array in each})
            if total is not None:
                total.absorb(made[element.value])
            for name, array in zip(element.written, written, strict=True):
                body.put_run(array, i, body.code.number(made[name]))
        rest = builder.sub(last, whole)
        with builder.if_then(builder.icmp_signed(">", rest, body.whole(0))):
            made = numbers({name: body.some(array, whole, rest) for name, array in each})
            if total is not None:
                total.absorb(made[element.value], body.first(rest))
            for name, array in zip(element.written, written, strict=True):
                body.put_some(array, whole, body.code.number(made[name]), rest)
        if total is not None:
            total.put(sum_at)

    return kernel(write, key)
