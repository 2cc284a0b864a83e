"""Inputs of losses on vectors: pairs, triplets and batches of embeddings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from derivations.case import Case, Option, array
from derivations.formats import FORMATS, Format
from derivations.regions import NAN, eighths, normals, sampled, seeded

REGIONS = {
    "bulk": "Vectors of ordinary size, drawn at random in each format.",
    "duplicates": "Some or all vectors are the same.",
    "near-duplicates": "Vectors that differ by a unit in the last place of a component.",
    "zero-vectors": "Vectors of zeros.",
    "collinear": "Vectors that are multiples of each other.",
    "antipodal": "Vectors that are negative multiples of each other.",
    "hinge": "Exactly at a hinge, or where two distances tie: the gradient is an interval.",
    "norms": "Vectors that are not normalised: huge, tiny, and of very different components.",
    "few": "A single row, two rows, a single component.",
    "nan": "NaN in one vector.",
    "reductions": "Every reduction, with several shapes.",
    "empty": "No rows.",
    "large": "Many rows, by recipe.",
    "temperature": "Temperatures from 1e-3 to 10.",
    "confident": "The positive is far nearer than every negative: the answer is tiny.",
    "far": "The positive is far away: the answer is large.",
    "labels": "One class only, no positive, no negative, many of one class.",
}
Vector = list[float]
Options = dict[str, Option]
REDUCTIONS = ("none", "mean", "sum")
TRIPLETS = (
    "bulk", "duplicates", "near-duplicates", "zero-vectors", "collinear", "antipodal", "hinge",
    "norms", "few", "nan", "reductions", "empty", "large",
)  # fmt: skip


def selected(names: Sequence[str]) -> dict[str, str]:
    return {name: REGIONS[name] for name in names}


def vectors(
    key: object, rows: int, components: int, form: Format, size: float = 1.0
) -> list[Vector]:
    rng = seeded("vectors", key, form.name)
    return [normals(rng, components, form, size) for _ in range(rows)]


def nudged(x: Vector, form: Format, component: int = 0, by: int = 1) -> Vector:
    """One component moved by so many units in the last place."""
    found = list(x)
    for _ in range(abs(by)):
        found[component] = (form.up if by > 0 else form.down)(found[component])
    return found


def times(x: Vector, factor: float) -> Vector:
    return [factor * v for v in x]


def scales(form: Format) -> list[Vector]:
    """Vectors whose squares, or whose norms, leave the format.

    Components of one vector are at most 2^60 apart: further, and the powers of small shares leave
    even double precision, in which what is lost is no matter of care.
    """
    top, low, tiny = 2.0 ** (form.emax - 2), form.smallest_normal, form.tiny
    wide = min(form.emax - 2, 60)
    root, foot = form.emax // 2, form.emin // 2
    return [
        [top, -top, top / 2],
        [2.0**wide, 1.0, -1.5],
        [2.0 ** (root + 2), 2.0 ** (root - 1), 2.0**root],
        [low, -2 * low, 3 * low],
        [tiny, 3 * tiny, -2 * tiny],
        [2.0 ** max(form.emin, -60), 0.0, 1.0],
        [2.0 ** (foot - 1), 2.0**foot, 0.0],
    ]


# Triplets --------------------------------------------------------------------------------------


def triplet(region: str, rows: Sequence[tuple[Vector, Vector, Vector]], **options: Option) -> Case:
    names = ("anchor", "positive", "negative")
    inputs = {name: array([row[n] for row in rows]) for n, name in enumerate(names)}
    return Case(region, inputs, {"reduction": "none", **options})


def triplets() -> Iterator[Case]:
    yield from _ordinary_triplets()
    yield from _equal_triplets()
    yield from _triplets_at_hinge()
    yield from _triplets_in_line()
    for form in FORMATS:
        yield from _triplets_of(form)
    yield from _shapes_of_triplets()


def _ordinary_triplets() -> Iterator[Case]:
    norms: tuple[Option, ...] = (2.0, 1.0, 3.0, 1.5, "inf", 2.5, 1.1, 7.0, 40.0)
    kinds = itertools.product(norms, (1e-6, 0.0), (False, True))
    for number, (p, eps, swap) in enumerate(kinds):
        for form in FORMATS:
            components = 1 + (number + form.precision) % 4
            x = vectors(("triplet", number), 9, components, form)
            rows = list(zip(x[:3], x[3:6], x[6:], strict=True))
            margin = (1.0, 0.25, 2.0)[number % 3]
            yield triplet("bulk", rows, margin=margin, p=p, eps=eps, swap=swap)


def _equal_triplets() -> Iterator[Case]:
    x, y = [0.5, -1.25, 2.0], [1.5, -1.0, 0.25]
    zero = [0.0] * 3
    kinds: tuple[Option, ...] = (2.0, 1.0, 3.0, 2.5, "inf")
    for p, eps, swap in itertools.product(kinds, (0.0, 1e-6), (False, True)):
        chosen: Options = {"p": p, "eps": eps, "swap": swap, "margin": 0.75}
        yield triplet("duplicates", [(x, x, y), (x, y, y), (x, x, x)], **chosen)
        yield triplet("duplicates", [(x, y, x)], **chosen)
        rows = [(zero, zero, y), (zero, y, zero), (x, zero, y), (zero, zero, zero)]
        yield triplet("zero-vectors", rows, **chosen)
    for p in kinds:
        yield triplet("bulk", [(x, y, zero)], p=p)


def _triplets_at_hinge() -> Iterator[Case]:
    zero = [0.0, 0.0]
    right = [
        (zero, [3.0, 4.0], [6.0, 8.0], 5.0), (zero, [3.0, 4.0], [-5.0, 12.0], 8.0),
        ([1.0, 1.0], [1.25, 1.0], [0.5, 1.0], 0.25), (zero, [0.0, 0.5], [0.5, 0.0], 0.0),
        (zero, [1.0, 1.0], [1.0, -1.0], 0.0), (zero, [1.0, 1.0], [2.0, 2.0], 0.0),
    ]  # fmt: skip
    for a, b, n, margin in right:
        yield triplet("hinge", [(a, b, n)], margin=margin, eps=0.0)
    others: tuple[tuple[Option, Vector, Vector, Vector, float], ...] = (
        (1.0, zero, [1.0, 2.0], [3.0, -2.0], 2.0), ("inf", zero, [1.0, 2.0], [-3.0, 0.5], 1.0),
        (3.0, zero, [0.0, 2.0], [5.0, 0.0], 3.0), (1.5, zero, [0.0, 2.0], [5.0, 0.0], 3.0),
        (2.5, zero, [1.0, 2.0], [2.0, -1.0], 0.0), ("inf", zero, [2.0, -2.0], [3.0, 3.0], 1.0),
    )  # fmt: skip
    for p, a, b, n, margin in others:
        yield triplet("hinge", [(a, b, n)], margin=margin, p=p, eps=0.0)
    x, y = [0.5, -1.25], [0.5, 2.0]
    yield triplet("hinge", [(x, y, y)], margin=0.0)  # whatever eps is
    for reduction in ("mean", "sum"):
        rows = [(zero, [3.0, 4.0], [6.0, 8.0]), (zero, [1.0, 0.5], [2.0, 1.0])]
        yield triplet("hinge", rows, margin=5.0, eps=0.0, reduction=reduction)
    # the negative is as far from the positive as from the anchor
    tied = [(zero, [10.0, 0.0], [5.0, 0.0]), (zero, [2.0, 0.0], [1.0, 1.0])]
    kinds: tuple[Option, ...] = (2.0, 1.0, 3.0, "inf")
    for p in kinds:
        yield triplet("hinge", tied, p=p, eps=0.0, swap=True)
    yield triplet("hinge", [(zero, [5.0, 0.0], [3.0, 4.0])], margin=1.0, eps=0.0, swap=True)


def _triplets_in_line() -> Iterator[Case]:
    x = [0.75, -0.5, 1.0]
    for p in (2.0, 1.0, 3.0):
        rows = [(x, times(x, 2.0), times(x, 0.5)), (times(x, 4.0), x, times(x, 3.0))]
        yield triplet("collinear", rows, p=p, eps=0.0, margin=0.5)
        rows = [(x, times(x, -1.0), times(x, -2.0)), (x, x, times(x, -1.0))]
        yield triplet("antipodal", rows, p=p, margin=2.0)
        yield triplet("antipodal", rows, p=p, eps=0.0, margin=4.0, swap=True)


def _triplets_of(form: Format) -> Iterator[Case]:
    x = vectors("near", 2, 3, form)
    near = [nudged(x[0], form), nudged(x[0], form, 1, -1), nudged(x[0], form, 2, 2)]
    kinds: tuple[Option, ...] = (2.0, 1.0, 3.0, 2.5, "inf")
    for p, eps in itertools.product(kinds, (0.0, 1e-6)):
        rows = [(x[0], near[0], near[1]), (x[0], near[2], x[1]), (x[1], x[0], near[2])]
        yield triplet("near-duplicates", rows, p=p, eps=eps, margin=0.5)
    wide = scales(form)
    # the hinge is far enough open or closed for a sum in double precision to tell
    open_, closed = [*wide[0][1:], wide[0][0] / 2], times(wide[0], -0.5)
    rows = [(wide[0], closed, open_), (wide[0], open_, closed)]
    rows.append((wide[1], wide[2], times(wide[1], -1.0)))
    for p in kinds:
        more = [(wide[3], wide[4], wide[5]), (wide[4], times(wide[4], -1.0), wide[6])]
        yield triplet("norms", [*rows, *more], p=p, eps=0.0, margin=2.0)
    yield triplet("norms", rows, swap=True, margin=2.0)
    for rows_, components in itertools.product((1, 2), (1, 2)):
        y = vectors(("few", rows_), 3 * rows_, components, form)
        chunks = (y[:rows_], y[rows_ : 2 * rows_], y[2 * rows_ :])
        for p in (2.0, 1.5):
            yield triplet("few", list(zip(*chunks, strict=True)), p=p, reduction="mean")


def _shapes_of_triplets() -> Iterator[Case]:
    names = ("anchor", "positive", "negative")
    for reduction, name in itertools.product(REDUCTIONS, names):
        rows = [[[0.5, 1.0], [-1.0, 0.25]], [[1.5, 0.5], [2.0, 0.0]], [[1.0, 2.0], [0.5, 0.5]]]
        rows[names.index(name)][0][1] = NAN
        inputs = {n: array(x) for n, x in zip(names, rows, strict=True)}
        for p, swap in ((2.0, False), (1.0, False), ("inf", False), (2.0, True)):
            yield Case("nan", inputs, {"p": p, "swap": swap, "reduction": reduction})
    for shape, reduction in itertools.product(((3,), (4, 3), (2, 3, 2)), REDUCTIONS):
        size = math.prod(shape)
        drawn = {
            n: array(normals(seeded("shapes", n, shape), size, FORMATS[0]), shape) for n in names
        }
        for swap in (False, True):
            yield Case("reductions", drawn, {"reduction": reduction, "swap": swap})
    for reduction in REDUCTIONS:
        nothing = {n: array([], (0, 3)) for n in names}
        yield Case("empty", nothing, {"reduction": reduction})
    many = {n: eighths((64, 32), seed) for seed, n in enumerate(names, 31)}
    for swap in (False, True):
        options: Options = {"margin": 20.0, "swap": swap, "reduction": "mean"}
        yield Case("large", many, options, at=sampled(64 * 32))


# Pairs -----------------------------------------------------------------------------------------


def paired(
    region: str,
    rows: Sequence[tuple[Vector, Vector, float]],
    flags: tuple[str, ...] = (),
    /,
    **options: Option,
) -> Case:
    inputs = {
        "x1": array([row[0] for row in rows]),
        "x2": array([row[1] for row in rows]),
        "target": array([row[2] for row in rows]),
    }
    return Case(region, inputs, {"reduction": "none", **options}, flags)


def against(
    pairs: Sequence[tuple[Vector, Vector]], targets: Sequence[float]
) -> list[tuple[Vector, Vector, float]]:
    """Every pair with every target."""
    return [(x, y, t) for x, y in pairs for t in targets]


def contrasts() -> Iterator[Case]:
    kinds: tuple[Option, ...] = (2.0, 1.0, 3.0, 1.5, "inf", 2.5, 1.1, 7.0, 40.0)
    for number, p in enumerate(kinds):
        for form in FORMATS:
            components = 1 + (number + form.precision) % 4
            drawn = vectors(("contrast", number), 6, components, form)
            pairs = list(zip(drawn[:3], drawn[3:], strict=True))
            for margin in (1.0, 4.0):
                yield paired("bulk", against(pairs, (1.0, 0.0)), p=p, margin=margin)
        yield paired("bulk", against(pairs, (0.25, 0.875)), p=p, margin=4.0)
    yield paired("bulk", against(pairs, (1.0, 0.0)))
    x, y, zero = [0.5, -1.25, 2.0], [1.5, -1.0, 0.25], [0.0] * 3
    for p in kinds:
        for margin in (0.75, 3.0):
            chosen: Options = {"p": p, "margin": margin}
            yield paired("duplicates", against([(x, x)], (1.0, 0.0, 0.5)), **chosen)
            pairs = [(x, zero), (zero, y), (zero, zero)]
            yield paired("zero-vectors", against(pairs, (1.0, 0.0)), **chosen)
            pairs = [(x, times(x, 2.0)), (times(y, 0.25), y)]
            yield paired("collinear", against(pairs, (1.0, 0.0)), **chosen)
            pairs = [(x, times(x, -1.0)), (times(y, -0.25), y)]
            yield paired("antipodal", against(pairs, (1.0, 0.0)), **chosen)
    origin = [0.0, 0.0]
    at: tuple[tuple[Option, Vector, float], ...] = (
        (2.0, [3.0, 4.0], 5.0), (2.0, [-0.75, 1.0], 1.25), (1.0, [1.0, -2.0], 3.0),
        ("inf", [1.0, -2.0], 2.0), ("inf", [2.0, -2.0], 2.5), (3.0, [0.0, 2.0], 2.0),
        (1.5, [0.0, 2.0], 2.0), (2.0, [1.0, 1.0], 2.0), (2.0, [0.0, 1.0], 1.0),
        (2.0, [0.0, 0.0], 0.0),
    )  # fmt: skip
    for p, x, margin in at:
        yield paired("hinge", against([(x, origin)], (1.0, 0.0, 0.25)), p=p, margin=margin)
    for form in FORMATS:
        yield from _contrasts_of(form)
    yield from _shapes_of_pairs(({"margin": 2.0}, {"p": 1.0}, {"p": "inf"}), (1.0, 0.0, 0.5))


def _contrasts_of(form: Format) -> Iterator[Case]:
    x = vectors("near", 2, 3, form)
    near = [nudged(x[0], form), nudged(x[0], form, 1, -1), nudged(x[0], form, 2, 2)]
    kinds: tuple[Option, ...] = (2.0, 1.0, 3.0, 2.5, "inf")
    wide = scales(form)
    for p in kinds:
        yield paired("near-duplicates", against([(x[0], n) for n in near], (1.0, 0.0)), p=p)
        pairs = [(wide[0], times(wide[0], -0.5)), (wide[1], wide[2]), (wide[3], wide[4])]
        pairs += [(wide[4], times(wide[4], -1.0)), (wide[5], wide[6])]
        yield paired("norms", against(pairs, (1.0, 0.0)), p=p)
    for rows, components in itertools.product((1, 2), (1, 2)):
        y = vectors(("few", rows), 2 * rows, components, form)
        for p in (2.0, 1.5):
            targets = (1.0, 0.0)[:rows]
            chosen = list(zip(y[:rows], y[rows:], targets, strict=True))
            yield paired("few", chosen, p=p, reduction="mean")


def cosines() -> Iterator[Case]:
    """Pairs by the names that torch has for them."""
    names = {"x1": "input1", "x2": "input2"}
    for case in _cosines():
        yield replace(case, inputs={names.get(n, n): x for n, x in case.inputs.items()})


def _cosines() -> Iterator[Case]:
    both = (1.0, -1.0)
    margins = (0.0, 0.5, -0.25, 1.0, -1.0)
    for form, components in itertools.product(FORMATS, (1, 2, 3, 4)):
        drawn = vectors(("cosine", components), 8, components, form)
        pairs = list(zip(drawn[:4], drawn[4:], strict=True))
        for margin in margins[:3]:
            yield paired("bulk", against(pairs, both), margin=margin)
    x, y, zero = [0.5, -1.25, 2.0], [1.5, -1.0, 0.25], [0.0] * 3
    yield paired("bulk", against([(x, y)], both))
    for margin in margins:
        yield paired("duplicates", against([(x, x), (y, y)], both), margin=margin)
        pairs = [(x, zero), (zero, y), (zero, zero)]
        rows = against(pairs, both)
        yield paired("zero-vectors", rows, ("zero-vector",), margin=margin)
        pairs = [(x, times(x, 2.0)), (times(y, 0.25), y), (x, times(x, 3.0))]
        yield paired("collinear", against(pairs, both), margin=margin)
        pairs = [(x, times(x, -1.0)), (times(y, -0.25), y)]
        yield paired("antipodal", against(pairs, both), margin=margin)
    at: tuple[tuple[Vector, Vector, float], ...] = (
        ([1.0, 1.0, 0.0], [0.0, 1.0, 1.0], 0.5), ([2.0, 0.0, 0.0], [0.0, 0.5, 1.0], 0.0),
        ([1.0] * 4, [2.0, 0.0, 0.0, 0.0], 0.5), ([3.0, 4.0, 12.0], [4.0, -3.0, 0.0], 0.0),
        ([3.0, 2.0, 1.0, 1.0, 1.0], [2.0, 0.0, 0.0, 0.0, 0.0], 0.75),
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], 1.0),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0], 0.5),
        ([1.0, -2.0, 0.5], [-2.0, 4.0, -1.0], -1.0),
    )  # fmt: skip
    for x, y, margin in at:
        yield paired("hinge", against([(x, y)], both), margin=margin)
    for reduction in ("mean", "sum"):
        rows = against([at[0][:2]], both)
        yield paired("hinge", rows, margin=0.5, reduction=reduction)
    for form in FORMATS:
        yield from _cosines_of(form)
    yield from _shapes_of_pairs(({}, {"margin": -0.5}), both)


def _cosines_of(form: Format) -> Iterator[Case]:
    both = (1.0, -1.0)
    x = vectors("near", 2, 3, form)
    near = [nudged(x[0], form), nudged(x[0], form, 1, -1), nudged(x[0], form, 2, 2)]
    far = [times(n, -1.0) for n in near]
    for margin in (0.0, 0.5):
        yield paired(
            "near-duplicates", against([(x[0], n) for n in near], both), margin=margin
        )  # fmt: skip
        yield paired("antipodal", against([(x[0], n) for n in far], both), margin=-margin)
    wide = scales(form)
    pairs = [(wide[0], times(wide[0], -0.5)), (wide[1], wide[2]), (wide[3], wide[4])]
    pairs += [(wide[0], wide[3]), (wide[4], times(wide[4], 1.0)), (wide[5], wide[6])]
    pairs += [(wide[6], wide[2]), (x[0], wide[0]), (wide[4], x[1])]
    yield paired("norms", against(pairs, both))
    for rows, components in itertools.product((1, 2), (1, 2)):
        y = vectors(("few", rows), 2 * rows, components, form)
        for margin in (0.0, 0.5):
            chosen = list(zip(y[:rows], y[rows:], both[:rows], strict=True))
            yield paired("few", chosen, margin=margin, reduction="mean")


def _shapes_of_pairs(kinds: Sequence[Options], targets: Sequence[float]) -> Iterator[Case]:
    rows = [([0.5, 1.0], [1.5, 0.25]), ([-1.0, 0.25], [2.0, 0.5]), ([1.0, 2.0], [0.5, -0.5])]
    for options, reduction, side in itertools.product(kinds, REDUCTIONS, (0, 1)):
        broken = [[list(v) for v in pair] for pair in rows]
        broken[0][side][1] = NAN
        for target in targets[:2]:
            chosen = [(a, b, target) for a, b in broken]
            yield paired("nan", chosen, **{**options, "reduction": reduction})
    for shape, reduction in itertools.product(((3,), (4, 3), (2, 3, 2)), REDUCTIONS):
        drawn = {
            n: array(normals(seeded("pairs", n, shape), math.prod(shape), FORMATS[0]), shape)
            for n in ("x1", "x2")
        }
        cycle = itertools.cycle(targets)
        drawn["target"] = array([next(cycle) for _ in range(math.prod(shape[:-1]))], shape[:-1])
        for options in kinds:
            yield Case("reductions", drawn, {**options, "reduction": reduction})
    for reduction in REDUCTIONS:
        nothing = {"x1": array([], (0, 3)), "x2": array([], (0, 3)), "target": array([], (0,))}
        yield Case("empty", nothing, {"reduction": reduction})
    many = {"x1": eighths((64, 32), 41), "x2": eighths((64, 32), 42)}
    many["target"] = array([targets[n % 2] for n in range(64)])
    for reduction in ("mean", "sum"):
        yield Case("large", many, {"reduction": reduction}, at=sampled(64 * 32))
