"""Inputs of losses that compare every vector of a batch with every other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from derivations.case import Array, Case, array, labels
from derivations.formats import FORMATS, Format
from derivations.regions import NAN, eighths, sampled
from derivations.vector_regions import (
    REDUCTIONS,
    Options,
    Vector,
    nudged,
    scales,
    selected,
    times,
    vectors,
)  # fmt: skip

VIEWS = (
    "bulk", "temperature", "confident", "far", "duplicates", "near-duplicates", "zero-vectors",
    "collinear", "antipodal", "norms", "few", "nan", "reductions", "empty", "large",
)  # fmt: skip
CLASSES = (*VIEWS[:-4], "labels", *VIEWS[-4:])
TEMPERATURES = (1e-3, 0.01, 0.07, 0.5, 1.0, 10.0)
Batch = tuple[list[Vector], list[Vector]]  # first and second views, one beside the other
Maker = Callable[..., Case]


def _batches() -> Iterator[tuple[str, Batch, Options]]:
    """What all of these losses are asked, as pairs of views that belong together."""
    for form, rows in itertools.product(FORMATS, (2, 3, 4)):
        components = 1 + (rows + form.precision) % 4
        x = vectors(("batch", rows), 2 * rows, max(components, 2), form)
        for temperature in (0.5, 0.07):
            yield "bulk", (x[:rows], x[rows:]), {"temperature": temperature}
    x = vectors("batch", 6, 3, FORMATS[0])
    yield "bulk", (x[:3], x[3:]), {}
    for form, temperature in itertools.product(FORMATS, TEMPERATURES):
        x = vectors(("temperature", temperature), 6, 4, form)
        yield "temperature", (x[:3], x[3:]), {"temperature": temperature}
    yield from _certain()
    yield from _equal()
    for form in FORMATS:
        yield from _of_format(form)


def _certain() -> Iterator[tuple[str, Batch, Options]]:
    """Answers that are tiny, and answers far above any cap."""
    first = [[1.0, 0.25, -0.5], [-1.0, 0.5, 0.125], [0.25, -2.0, 0.75]]
    second = [[1.125, 0.25, -0.375], [-0.75, 0.5, 0.25], [0.125, -2.25, 1.0]]
    away = [times(v, -1.5) for v in second]
    for temperature in (1.0, 0.1, 0.05, 0.02, 0.01, 0.005):
        chosen: Options = {"temperature": temperature}
        yield "confident", (first, second), chosen
        yield "confident", (first[:2], first[:2]), chosen
        yield "far", (first, away), chosen
        yield "far", ([first[0], second[0]], [away[0], away[1]]), chosen


def _equal() -> Iterator[tuple[str, Batch, Options]]:
    x, y, z = [0.5, -1.25, 2.0], [1.5, -1.0, 0.25], [-0.75, 0.5, 1.0]
    zero = [0.0] * 3
    for temperature in (0.5, 0.07, 0.01):
        chosen: Options = {"temperature": temperature}
        yield "duplicates", ([x, x], [x, x]), chosen
        yield "duplicates", ([x, y, z], [x, y, z]), chosen
        yield "duplicates", ([x, x, z], [y, y, z]), chosen
        yield "duplicates", ([x, y, x], [x, z, z]), chosen
        yield "zero-vectors", ([x, zero], [y, z]), chosen
        yield "zero-vectors", ([x, zero], [y, zero]), chosen
        yield "collinear", ([x, times(x, 2.0)], [times(x, 0.5), y]), chosen
        yield "collinear", ([x, times(y, 3.0), z], [times(x, 4.0), y, times(z, 0.25)]), chosen
        yield "antipodal", ([x, times(x, -1.0)], [y, times(y, -2.0)]), chosen
        yield "antipodal", ([x, y, z], [times(x, -1.0), times(y, -0.5), times(z, -2.0)]), chosen


def _of_format(form: Format) -> Iterator[tuple[str, Batch, Options]]:
    x = vectors("near", 3, 3, form)
    near = [nudged(x[0], form), nudged(x[1], form, 1, -1), nudged(x[2], form, 2, 2)]
    wide = scales(form)
    for temperature in (0.5, 0.02):
        chosen: Options = {"temperature": temperature}
        yield "near-duplicates", (x, near), chosen
        yield "near-duplicates", ([x[0], near[0]], [x[1], near[1]]), chosen
        yield "norms", ([wide[0], wide[3]], [wide[1], wide[5]]), chosen
        yield "norms", ([wide[2], wide[4], x[0]], [wide[6], wide[3], wide[0]]), chosen
    for rows, components in itertools.product((1, 2), (1, 2)):
        y = vectors(("few", rows), 2 * rows, components, form)
        yield "few", (y[:rows], y[rows:]), {"temperature": 0.5}


def _with_reductions(make: Maker) -> Iterator[Case]:
    x = vectors("reductions", 6, 3, FORMATS[0])
    for reduction in REDUCTIONS:
        yield make("reductions", (x[:3], x[3:]), {"temperature": 0.25, "reduction": reduction})
        for side, row in ((0, 0), (1, 1)):
            broken: Batch = ([list(v) for v in x[:3]], [list(v) for v in x[3:]])
            broken[side][row][1] = NAN
            yield make("nan", broken, {"temperature": 0.5, "reduction": reduction})


def _flags(*groups: Sequence[Vector]) -> tuple[str, ...]:
    zero = any(not any(v) for group in groups for v in group)
    return ("zero-vector",) if zero else ()


def _made(make: Maker) -> Iterator[Case]:
    for region, batch, options in _batches():
        reduction = "mean" if region in ("few", "temperature") else "none"
        yield make(region, batch, {"reduction": reduction, **options})


# Two views -------------------------------------------------------------------------------------


def _views(region: str, batch: Batch, options: Options) -> Case:
    inputs = {"z_i": array(batch[0]), "z_j": array(batch[1])}
    return Case(region, inputs, options, _flags(*batch))


def views() -> Iterator[Case]:
    yield from _made(_views)
    yield from _with_reductions(_views)
    for reduction in REDUCTIONS:
        nothing = {"z_i": array([], (0, 3)), "z_j": array([], (0, 3))}
        yield Case("empty", nothing, {"reduction": reduction})
    many = {"z_i": eighths((64, 32), 51), "z_j": eighths((64, 32), 52)}
    for temperature, reduction in ((0.5, "mean"), (0.05, "sum")):
        options: Options = {"temperature": temperature, "reduction": reduction}
        yield Case("large", many, options, at=sampled(64 * 32))


# Queries and keys ------------------------------------------------------------------------------


def _queries(region: str, batch: Batch, options: Options) -> Case:
    inputs = {"query": array(batch[0]), "positive_key": array(batch[1])}
    return Case(region, inputs, options, _flags(*batch))


def _queued(region: str, batch: Batch, options: Options) -> Case:
    """The last pair's vectors are the queue."""
    first, second = batch
    rows = max(len(first) - 1, 1)
    queue = [*first[1:], *second[1:]] or second
    inputs = {
        "query": array(first[:rows]),
        "positive_key": array(second[:rows]),
        "negative_keys": array(queue),
    }
    return Case(region, inputs, options, _flags(*batch))


def queries() -> Iterator[Case]:
    for make in (_queued, _queries):
        yield from _made(make)
        yield from _with_reductions(make)
    x = vectors("queue", 4, 3, FORMATS[0])
    given = {"query": array(x[:2]), "positive_key": array(x[2:])}
    nothing = array([], (0, 3))
    for reduction in REDUCTIONS:
        # no negatives: nothing to lose
        yield Case("few", {**given, "negative_keys": nothing}, {"reduction": reduction})
        empty = {"query": nothing, "positive_key": nothing}
        yield Case("empty", empty, {"reduction": reduction})
        if reduction != "mean":  # whether nothing over nothing moves the queue is anybody's guess
            yield Case("empty", {**empty, "negative_keys": array(x)}, {"reduction": reduction})
    large: dict[str, Array] = {
        name: eighths((64, 16), seed)
        for seed, name in enumerate(("query", "positive_key", "negative_keys"), 61)
    }
    for temperature in (0.5, 0.07):
        chosen: Options = {"temperature": temperature, "reduction": "mean"}
        yield Case("large", large, chosen, at=sampled(64 * 16))
        del large["negative_keys"]
        yield Case("large", dict(large), chosen, at=sampled(64 * 16))
        large["negative_keys"] = eighths((64, 16), 64)
    # a queue that no block of candidates holds at once
    long = {"query": eighths((3, 4), 65), "positive_key": eighths((3, 4), 66)}
    long["negative_keys"] = eighths((2500, 4), 67)
    for temperature in (0.5, 0.07):
        chosen = {"temperature": temperature, "reduction": "mean"}
        yield Case("large", long, chosen, at=tuple(range(12)))


# Classes ---------------------------------------------------------------------------------------


def _classes(region: str, batch: Batch, options: Options) -> Case:
    first, second = batch
    kinds = [*range(len(first))] * 2
    if region == "bulk" and len(first) > 2:
        kinds[-1] = 0  # three of one class, and one left alone
    return _labelled(region, [*first, *second], kinds, options)


def _labelled(region: str, x: Sequence[Vector], kinds: Sequence[int], options: Options) -> Case:
    inputs = {"embeddings": array(list(x)), "labels": labels(list(kinds))}
    return Case(region, inputs, options, _flags(x))


def classes() -> Iterator[Case]:
    yield from _made(_classes)
    yield from _with_reductions(_classes)
    x = vectors("labels", 6, 3, FORMATS[0])
    for kinds, reduction in itertools.product(
        (
            [0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5], [7, 7, -3, 4, 5, 6], [0, 0, 0, 1, 1, 2],
            [0, 0, 0, 0, 0, 1], [5, 9, 5, 9, 5, 9], [-1, 0, -1, 2, 2, -1],
        ),
        REDUCTIONS,
    ):  # fmt: skip
        for temperature in (0.5, 0.1):
            options: Options = {"temperature": temperature, "reduction": reduction}
            yield _labelled("labels", x, kinds, options)
    for rows in (1, 2, 3):
        yield _labelled("few", x[:rows], [4] * rows, {"reduction": "mean"})
        yield _labelled("few", x[:rows], list(range(rows)), {"reduction": "mean"})
    for reduction in REDUCTIONS:
        nothing = {"embeddings": array([], (0, 3)), "labels": labels([], (0,))}
        yield Case("empty", nothing, {"reduction": reduction})
    many = {
        "embeddings": eighths((32, 16), 71),
        "labels": Array((32,), index=True, recipe="labels", seed=72, classes=5),
    }
    for temperature, reduction in ((0.5, "mean"), (0.1, "sum")):
        chosen: Options = {"temperature": temperature, "reduction": reduction}
        yield Case("large", many, chosen, at=sampled(32 * 16))


__all__ = ["CLASSES", "VIEWS", "classes", "queries", "selected", "views"]
