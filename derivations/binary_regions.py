"""Inputs for losses of one logit, or one probability, against a target in [0, 1]."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from derivations import regions
from derivations.case import Case, Option, array
from derivations.formats import Format
from derivations.regions import FORMATS, INF, NAN

LOGIT_REGIONS = regions.selected(
    ["bulk", "tails", "saturation", "ties", "subnormal", "infinite", "nan", "reductions", "empty",
     "large"]
)  # fmt: skip
PROBABILITY_REGIONS = regions.selected(
    ["bulk", "tails", "zeros", "subnormal", "nan", "reductions", "empty", "large"]
)
Options = Mapping[str, Option]
TARGETS = (0.0, 1.0, 0.25)
GAPS = (5.0, 9.0, 12.0, 17.0, 20.0, 37.0, 50.0, 88.0, 103.0, 150.0, 400.0, 700.0)


def logits(loss: str, choices: Sequence[Options]) -> Iterator[Case]:
    for form, options in itertools.product(FORMATS, choices):
        rng = regions.seeded(loss, form.name)
        for scale in (1.0, 6.0):
            for targets in ([0.0, 1.0] * 5, regions.uniforms(rng, 10, form)):
                xs = regions.normals(rng, 10, form, scale)
                yield regions.elementwise("bulk", {"input": xs, "target": targets}, options)
        gaps = [sign * form.nearest(g) for g in GAPS for sign in (1, -1)]
        edges = saturation_points(form)
        tiny = regions.tiny_numbers(form)
        for t in TARGETS:
            for region, xs in (("tails", gaps), ("saturation", edges), ("subnormal", tiny)):
                columns = {"input": xs, "target": [t] * len(xs)}
                yield regions.elementwise(region, columns, options)
    for options in choices:
        columns = {"input": [0.0] * 4, "target": [0.0, 0.25, 0.5, 1.0]}
        yield regions.elementwise("ties", columns, options)
        xs, ts = regions.pairs([INF, -INF], [0.0, 0.25, 0.5, 1.0])
        yield regions.elementwise("infinite", {"input": xs, "target": ts}, options)
        for reduction in ("mean", "sum"):
            columns = {"input": [INF, 0.5], "target": [1.0, 1.0]}
            yield regions.elementwise("infinite", columns, options, reduction=reduction)
        yield from nans(options)


def saturation_points(form: Format) -> list[float]:
    """Where exp(-x) is absorbed by 1, becomes subnormal, vanishes; and far beyond."""
    edges = (-math.log(form.eps), -math.log(form.smallest_normal), -math.log(form.tiny))
    found = [x for e in edges for x in (form.nearest(e), form.up(form.nearest(e)))]
    found.append(form.nearest(5000.0))
    return [s * x for x in found for s in (1, -1)]


def nans(options: Options) -> Iterator[Case]:
    for reduction in ("none", "mean", "sum"):
        for xs, ts in (([NAN, 0.5], [1.0, 1.0]), ([0.5, 0.25], [0.0, NAN])):
            columns = {"input": xs, "target": ts}
            yield regions.elementwise("nan", columns, options, reduction=reduction)


def pos_weights(loss: str) -> Iterator[Case]:
    for form in FORMATS:
        rng = regions.seeded(loss, "pos_weight", form.name)
        for scale in (2.0, 40.0):
            columns = {
                "input": regions.normals(rng, 12, form, scale),
                "target": [0.0, 1.0, *regions.uniforms(rng, 10, form)],
                "pos_weight": [form.nearest(rng.uniform(0.1, 9.0)) for _ in range(12)],
            }
            yield regions.elementwise("bulk", columns)
    xs, ts = regions.pairs([INF, -INF, 300.0, -300.0], [0.0, 0.25, 1.0])
    for weight in (0.5, 3.0):
        columns = {"input": xs, "target": ts, "pos_weight": [weight] * len(xs)}
        yield regions.elementwise("infinite", columns)


def combinations(
    loss: str,
    choices: Sequence[Options],
    pos_weighted: bool = False,
    weighted: bool = True,
    probabilities: bool = False,
) -> Iterator[Case]:
    """Weights (also broadcast) x pos_weight x shape x reduction."""
    form = FORMATS[0]
    shapes: dict[tuple[int, ...], tuple[tuple[int, ...] | None, ...]] = {
        (6,): (None, (6,), (1,)), (2, 3): (None, (2, 3), (3,), (2, 1)), (): (None, ()),
        (0,): (None, (0,)), (2, 1, 3): (None, (3,)),
    }  # fmt: skip
    for reduction, options, shape, positive in itertools.product(
        ("none", "mean", "sum"), choices, shapes, (False, True) if pos_weighted else (False,)
    ):
        for weight_shape in shapes[shape] if weighted else (None,):
            rng = regions.seeded(loss, reduction, shape, positive, weight_shape)
            size = math.prod(shape)
            if probabilities:
                xs = regions.uniforms(rng, size, form, 2**-10, 1 - 2**-10)
            else:
                xs = regions.normals(rng, size, form, 2.0)
            inputs = {
                "input": array(xs, shape),
                "target": array(regions.uniforms(rng, size, form), shape),
            }
            if weight_shape is not None:
                count = math.prod(weight_shape)
                values = [rng.randrange(0, 9) / 4 for _ in range(count)]
                inputs["weight"] = array(values, weight_shape)
            if positive:
                last = shape[-1:]
                values = [rng.randrange(1, 9) / 4 for _ in range(math.prod(last))]
                inputs["pos_weight"] = array(values, last)
            region = "reductions" if size else "empty"
            yield Case(region, inputs, {**options, "reduction": reduction})


def large(options: Options, probabilities: bool = False) -> Iterator[Case]:
    """A million elements."""
    recipe = regions.sixteenths if probabilities else regions.eighths
    for reduction in ("mean", "sum"):
        inputs = {"input": recipe((1_000_000,), 11), "target": regions.sixteenths((1_000_000,), 12)}
        chosen = {**options, "reduction": reduction}
        yield Case("large", inputs, chosen, at=regions.sampled(1_000_000))
