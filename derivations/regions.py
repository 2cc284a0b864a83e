"""Inputs of oracle rows that several losses use: seeded, and exact in the format they claim."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterable, Mapping, Sequence

from derivations.case import Array, Case, Option, array
from derivations.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format

REGIONS = {
    "bulk": "Ordinary sizes, drawn at random in each format.",
    "tails": "Confident tails: the answer is tiny next to the inputs, or the inputs are far apart.",
    "saturation": "Around the points where exp overflows, underflows or is absorbed, per format.",
    "subnormal": "Subnormal and smallest normal inputs.",
    "infinite": "One, several or all of the inputs infinite; the answer is a limit.",
    "nan": "NaN in each position.",
    "large": "Many elements or many classes, by recipe.",
    "reductions": "Every reduction with every combination of the optional arguments.",
    "empty": "No elements at all.",
    "offset": "A large offset, 1e4 to 1e8, common to all logits: it must not matter.",
    "ties": "Equal logits.",
    "ignored": "Rows ignored: some, and all.",
    "one-class": "A single class: nothing to lose.",
    "zeros": "Probabilities or masses that are exactly 0 or 1.",
}
INF, NAN = math.inf, math.nan


def seeded(*key: object) -> random.Random:
    """A generator that depends on nothing but `key`."""
    return random.Random(zlib.crc32(repr(key).encode()))


def normals(rng: random.Random, count: int, form: Format, scale: float = 1.0) -> list[float]:
    """Numbers of a format with random sign and spread-out magnitude."""
    return [form.nearest(rng.gauss(0.0, scale)) for _ in range(count)]


def uniforms(
    rng: random.Random, count: int, form: Format, low: float = 0.0, high: float = 1.0
) -> list[float]:
    return [min(max(form.nearest(rng.uniform(low, high)), low), high) for _ in range(count)]


def neighbours(x: float, form: Format) -> list[float]:
    """`x` in a format and one unit in the last place to either side."""
    x = form.nearest(x)
    return [form.down(x), x, form.up(x)]


def tiny_numbers(form: Format) -> list[float]:
    """Subnormals and the smallest normal number, both signs of some."""
    tiny, normal = form.tiny, form.smallest_normal
    return [tiny, -tiny, 3 * tiny, form.down(normal), normal, -normal, form.up(normal), 0.0]


def selected(names: Sequence[str], mapping: dict[str, str] = REGIONS) -> dict[str, str]:
    return {name: mapping[name] for name in names}


def elementwise(
    region: str,
    columns: Mapping[str, Iterable[float]],
    options: Mapping[str, Option] | None = None,
    flags: tuple[str, ...] = (),
    reduction: str = "none",
) -> Case:
    """One-dimensional arguments of equal length."""
    inputs = {name: array(list(column)) for name, column in columns.items()}
    return Case(region, inputs, {**(options or {}), "reduction": reduction}, flags)


def pairs(first: Sequence[float], second: Sequence[float]) -> tuple[list[float], list[float]]:
    """All combinations, as two columns."""
    return [a for a in first for _ in second], [b for _ in first for b in second]


def eighths(shape: tuple[int, ...], seed: int) -> Array:
    return Array(shape, recipe="eighths", seed=seed)


def sixteenths(shape: tuple[int, ...], seed: int) -> Array:
    """Probabilities in (0, 1), five bits each."""
    return Array(shape, recipe="sixteenths", seed=seed)


def signs(shape: tuple[int, ...], seed: int) -> Array:
    return Array(shape, recipe="signs", seed=seed)


def sampled(size: int, count: int = 16) -> tuple[int, ...]:
    """Flat positions at which derivatives of a large case are given: both ends and some between."""
    rng = seeded("sampled", size)
    return tuple(sorted({0, size - 1, *(rng.randrange(size) for _ in range(count - 2))}))


__all__ = ["BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64", "FORMATS"]
