"""Inputs for losses over rows of classes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping

from derivations.case import Array, Case, Option, array, labels
from derivations.formats import FORMATS, Format
from derivations.regions import (
    INF,
    NAN,
    eighths,
    normals,
    sampled,
    seeded,
    tiny_numbers,
    uniforms,
)  # fmt: skip

Options = Mapping[str, Option]
GAPS = (5.0, 9.0, 12.0, 17.0, 20.0, 37.0, 50.0, 88.0, 103.0, 150.0, 400.0, 700.0)


LOGIT_REGIONS = (
    "bulk", "tails", "offset", "saturation", "ties", "subnormal", "infinite", "nan", "reductions",
    "ignored", "empty", "one-class", "large",
)  # fmt: skip


def by_label(
    region: str,
    rows: list[list[float]],
    ys: list[int],
    options: Options,
    flags: tuple[str, ...] = (),
) -> Case:
    return Case(region, {"input": array(rows), "target": labels(ys)}, options, flags)


def softened(
    region: str, rows: list[list[float]], masses: list[list[float]], options: Options
) -> Case:
    return Case(region, {"input": array(rows), "target": array(masses)}, options)


def masses(rng_key: object, rows: int, classes: int, form: Format) -> list[list[float]]:
    """Soft targets that are exact in a format; they need not add up to one exactly."""
    rng = seeded("masses", rng_key, form.name)
    found = []
    for _ in range(rows):
        raw = uniforms(rng, classes, form)
        top = sum(raw)
        found.append([form.nearest(x / top) for x in raw])
    return found


def logits(loss: str, options: Options, soft: bool = True, infinities: int = 7) -> Iterator[Case]:
    """Regions of a loss on logits that come before its own options and reductions.

    `infinities` says how many patterns of infinite logits to take: limits take long.
    """
    none = {**options, "reduction": "none"}
    for form in FORMATS:
        rng = seeded(loss, form.name)
        for classes in (2, 3, 5):
            for scale in (1.0, 4.0):
                rows = [normals(rng, classes, form, scale) for _ in range(5)]
                ys = [rng.randrange(classes) for _ in rows]
                yield by_label("bulk", rows, ys, none)
                if soft:
                    yield softened("bulk", rows, masses((classes, scale), 5, classes, form), none)
        yield from _tails(form, none)
        yield from _ties_and_offsets(form, none)
        tiny = tiny_numbers(form)
        rows = [[a, b] for a, b in itertools.combinations(tiny, 2)]
        yield by_label("subnormal", rows[:14], [i % 2 for i in range(14)], none)
    yield by_label("tails", [[20.0, 0.0]], [0], {**options, "reduction": "mean"})
    yield from _infinite(none, soft, infinities)
    yield from _nan(options, soft)
    yield Case("one-class", {"input": array([[3.0], [-1.5]]), "target": labels([0, 0])}, none)
    yield Case("one-class", {"input": array([2.5]), "target": labels(0)}, none)


def _tails(form: Format, none: Options) -> Iterator[Case]:
    for classes in (2, 4):
        rows = []
        for gap in GAPS:
            others = [form.nearest(-gap - n / 4) for n in range(classes - 1)]
            rows.append([0.25, *others])
        for y in (0, 1):
            yield by_label("tails", rows, [y] * len(rows), none)
    # exp(-gap) is absorbed by 1 at -log(eps), and vanishes at -log(tiny)
    edges = [-math.log(form.eps), -math.log(form.smallest_normal), -math.log(form.tiny)]
    edges += [math.log(form.largest)]
    rows = [
        [x, 0.0]
        for edge in edges
        for x in (form.nearest(edge), form.up(form.nearest(edge)), form.nearest(edge + 1))
    ]
    for y in (0, 1):
        yield by_label("saturation", rows, [y] * len(rows), none)
    top, far = form.largest, form.nearest(1e4)
    rows = [[top, top], [-top, -top], [far, 0.0], [0.0, far], [-far, 0.5 * far]]
    yield by_label("saturation", rows, [0] * len(rows), none)


def _ties_and_offsets(form: Format, none: Options) -> Iterator[Case]:
    rows = [[v] * n for n in (2, 4) for v in (0.0, 1.0, -2.5, form.nearest(1e4))]
    for n in (2, 4):
        yield by_label("ties", [row for row in rows if len(row) == n], [0, 1, 1, 0], none)
    pair = [[2.0, 2.0, -1.0], [0.5, 0.5, 4.0], [0.0, form.tiny, -form.tiny]]
    yield by_label("ties", pair, [0, 1, 2], none)
    for offset in (1e4, 1e6, 1e8):
        if offset > form.largest or form.spacing(offset) > 1000:
            continue
        base = form.nearest(offset)
        step = float(form.spacing(base))
        gaps = sorted({max(step, 8.0), max(step, 0.5), 2 * step})
        rows = [[base, form.nearest(base - gap), form.up(base)] for gap in gaps]
        rows += [[-x for x in row] for row in rows]
        yield by_label("offset", rows, [i % 3 for i in range(len(rows))], none)
        # confident too: what is left of the loss is far smaller than what the offset swallows
        below = form.nearest(base - max(step, 8.0))
        yield by_label("offset", [[base, below], [below, base], [-base, -below]], [0, 1, 1], none)


def _infinite(none: Options, soft: bool, patterns: int) -> Iterator[Case]:
    rows = [
        [-INF, 0.5, 1.0], [INF, 0.5, 1.0], [-INF, -INF, 1.0], [INF, INF, 1.0],
        [INF, -INF, 0.5], [-INF, -INF, -INF], [INF, INF, INF],
    ]  # fmt: skip
    for y in (0, 1, 2):
        yield by_label("infinite", rows[:patterns], [y] * min(patterns, len(rows)), none)
    for row in rows[:2]:
        for reduction in ("mean", "sum"):
            yield by_label(
                "infinite", [row, [0.5, 0.0, 1.0]], [1, 2], {**none, "reduction": reduction}
            )
    if soft:
        for mass in ([0.0, 0.25, 0.75], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]):
            yield softened("infinite", rows[:5], [mass] * 5, none)


def _nan(options: Options, soft: bool) -> Iterator[Case]:
    for reduction in ("none", "mean", "sum"):
        chosen = {**options, "reduction": reduction}
        for position in range(3):
            row = [0.5, 1.0, -0.25]
            row[position] = NAN
            yield by_label("nan", [row, [1.0, 2.0, 0.0]], [1, 0], chosen)
        if soft:
            yield softened("nan", [[0.5, 1.0], [0.25, NAN]], [[0.25, NAN], [0.5, 0.5]], chosen)


def weights(classes: int) -> Array:
    return array([(3 * c + 2) % 7 / 4 + 0.25 for c in range(classes)])


def combinations(
    loss: str, options: Options, smoothings: tuple[float, ...] = (), soft: bool = True
) -> Iterator[Case]:
    """Shapes x target x weight x ignore_index x smoothing x reduction."""
    form = FORMATS[0]
    shapes = ((3,), (4, 3), (2, 3, 2), (2, 3, 1, 2))
    for shape, indexed, weighted, ignoring, smoothing, reduction in itertools.product(
        shapes, (True, False), (False, True), (None, 1, -100), smoothings or (0.0,),
        ("none", "mean", "sum"),
    ):  # fmt: skip
        if not indexed and (not soft or ignoring is not None):
            continue
        rng = seeded(loss, shape, indexed, weighted, ignoring, smoothing, reduction)
        size = math.prod(shape)
        inputs = {"input": array(normals(rng, size, form, 2.0), shape)}
        chosen: dict[str, Option] = {**options}
        if indexed:
            outer = () if len(shape) == 1 else (shape[0], *shape[2:])
            ys = [rng.randrange(3) for _ in range(math.prod(outer))]
            if ignoring is not None:
                chosen["ignore_index"] = ignoring
                if len(ys) > 1:
                    ys[1] = ignoring
            inputs["target"] = labels(ys, outer)
        else:
            inputs["target"] = array(uniforms(rng, size, form), shape)
        if weighted:
            inputs["weight"] = weights(3)
        if smoothings:
            chosen["label_smoothing"] = smoothing
        yield Case("reductions", inputs, {**chosen, "reduction": reduction})


def ignored_and_empty(
    options: Options, weighted: bool = True, probabilities: bool = False
) -> Iterator[Case]:
    rows = [[0.5, 1.0, -2.0], [3.0, 0.25, 0.0]]
    if probabilities:
        rows = [[0.5, 0.25, 0.125], [0.75, 0.125, 0.125]]
    for reduction in ("none", "mean", "sum"):
        chosen: dict[str, Option] = {**options, "reduction": reduction}
        for with_weight in (False, True) if weighted else (False,):
            extra = {"weight": weights(3)} if with_weight else {}
            for ys, index in (([-100, -100], -100), ([2, 2], 2), ([2, 0], 2), ([-1, 1], -1)):
                given = chosen if index == -100 else {**chosen, "ignore_index": index}
                yield Case("ignored", {"input": array(rows), "target": labels(ys), **extra}, given)
            none = {"input": array([], (0, 3)), "target": labels([], (0,))}
            yield Case("empty", {**none, **extra}, chosen)
        nan_row = array([[NAN, 1.0, NAN if probabilities else INF], rows[1]])
        yield Case("ignored", {"input": nan_row, "target": labels([-100, 1])}, chosen,
                   ("ignored-row-not-finite",))  # fmt: skip
    zero = {"input": array([[0.5, 1.0]]), "target": labels([0]), "weight": array([0.0, 1.0])}
    if weighted:
        yield Case("reductions", zero, {**options, "reduction": "mean"}, ("zero-weight-sum",))


def large(
    options: Options, recipe: Callable[[tuple[int, ...], int], Array] = eighths
) -> Iterator[Case]:
    """50,257 classes, and a million rows."""
    vocabulary = 50_257
    inputs = {
        "input": recipe((1, vocabulary), 7),
        "target": Array((1,), index=True, recipe="labels", seed=8, classes=vocabulary),
    }
    at = tuple(sorted({*sampled(vocabulary), int(inputs["target"].flat()[0])}))
    yield Case("large", inputs, {**options, "reduction": "mean"}, at=at)
    inputs = {
        "input": recipe((1_000_000, 2), 9),
        "target": Array((1_000_000,), index=True, recipe="labels", seed=10, classes=2),
    }
    for reduction in ("mean", "sum"):
        yield Case("large", inputs, {**options, "reduction": reduction}, at=sampled(2_000_000))
