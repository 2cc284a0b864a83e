"""Inputs for losses of a residual, ``input - target``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from derivations import regions
from derivations.case import Case, Option, array
from derivations.regions import FORMATS, INF, NAN

REGIONS = regions.selected(
    ["bulk", "saturation", "subnormal", "infinite", "nan", "reductions", "empty", "large"]
) | {"kinks": "Residuals at a kink and one unit in the last place to either side."}

Options = Mapping[str, Option]


def cases(
    loss: str, choices: Sequence[Options], kinks: Mapping[float, Options], weighted: bool
) -> Iterator[Case]:
    """All regions of a residual loss; `kinks` maps places where |r| has a kink to options."""
    for form in FORMATS:
        rng = regions.seeded(loss, form.name)
        for options in choices:
            for scale in (0.5, 2.0, 30.0):
                xs = regions.normals(rng, 12, form, scale)
                ts = regions.normals(rng, 12, form, scale)
                yield regions.elementwise("bulk", {"input": xs, "target": ts}, options)
        for place, options in kinks.items():
            edge = [s * v for s in (1, -1) for v in regions.neighbours(place, form)]
            for target in (0.0, 1.0, -2.5):
                xs = [form.nearest(v + target) for v in edge]
                ts = [target] * len(xs)
                yield regions.elementwise("kinks", {"input": xs, "target": ts}, options)
        near = [form.nearest(x) for x in (1e4, 1e4 - 1, 1.0, 1.0 + form.eps, 1.0 - form.eps)]
        xs, ts = regions.pairs(near, near[:3])
        yield regions.elementwise("saturation", {"input": xs, "target": ts}, choices[0])
        big = [form.largest, -form.largest, form.down(form.largest)]
        xs, ts = regions.pairs(big, [0.0, 1.0, -1.0])
        yield regions.elementwise("saturation", {"input": xs, "target": ts}, choices[0])
        xs, ts = regions.pairs(regions.tiny_numbers(form), [0.0, form.tiny])
        yield regions.elementwise("subnormal", {"input": xs, "target": ts}, choices[0])
    yield from _specials(choices)
    yield from _reductions(loss, choices, weighted)
    for n, reduction in enumerate(("mean", "sum")):
        for options in choices[:2]:
            shape = (1000, 1000) if n else (1_000_000,)
            inputs = {
                "input": regions.eighths(shape, 2 * n + 1),
                "target": regions.eighths(shape, 2 * n + 2),
            }
            chosen = {**options, "reduction": reduction}
            yield Case("large", inputs, chosen, at=regions.sampled(1_000_000))


def _specials(choices: Sequence[Options]) -> Iterator[Case]:
    xs, ts = regions.pairs([INF, -INF, 1.5], [INF, -INF, 1.5])
    for options in choices:
        yield regions.elementwise("infinite", {"input": xs, "target": ts}, options)
    for reduction in ("none", "mean", "sum"):
        for xs, ts in (([INF, 0.5], [1.0, 1.0]), ([0.5, 2.0], [1.0, -INF])):
            columns = {"input": xs, "target": ts}
            yield regions.elementwise("infinite", columns, choices[0], reduction=reduction)
        for xs, ts in (([NAN, 0.5], [1.0, 1.0]), ([0.5, 0.25], [1.0, NAN]), ([NAN], [NAN])):
            columns = {"input": xs, "target": ts}
            yield regions.elementwise("nan", columns, choices[0], reduction=reduction)


def _reductions(loss: str, choices: Sequence[Options], weighted: bool) -> Iterator[Case]:
    form = FORMATS[0]
    for reduction, options, with_weight in itertools.product(
        ("none", "mean", "sum"), choices[:2], (False, True) if weighted else (False,)
    ):
        chosen = {**options, "reduction": reduction}
        for shape in ((6,), (2, 3), (), (1, 3, 2), (0,), (0, 3)):
            rng = regions.seeded(loss, reduction, with_weight, shape)
            size = math.prod(shape)
            inputs = {
                "input": array(regions.normals(rng, size, form), shape),
                "target": array(regions.normals(rng, size, form), shape),
            }
            if with_weight:
                inputs["weight"] = array([rng.randrange(0, 9) / 4 for _ in range(size)], shape)
            yield Case("reductions" if size else "empty", inputs, chosen)
        if with_weight:
            zero = {
                "input": array([1.0, 2.0]),
                "target": array([0.5, 0.5]),
                "weight": array([0, 0]),
            }
            yield Case("reductions", zero, chosen, ("zero-weight-sum",))
