"""One line of an oracle file before it is answered: arrays, scalar options, a region, flags."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from derivations.formats import FORMATS
from derivations.rounding import hexadecimal

Option: TypeAlias = "float | int | bool | str | None"


@dataclass(frozen=True)
class Array:
    """An argument in C order: floats, or integers (`index`), or a recipe for a large array."""

    shape: tuple[int, ...]
    values: tuple[float, ...] = ()
    index: bool = False
    recipe: str = ""
    seed: int = 0
    classes: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def flat(self) -> Sequence[float]:
        if self.recipe:
            return _by_recipe(self.recipe, self.seed, self.size, self.classes)
        return self.values

    def broadcast(self, shape: tuple[int, ...]) -> Sequence[float]:
        """The flat values after NumPy's broadcasting to `shape`."""
        if self.shape == shape:
            return self.flat()
        indices = np.broadcast_to(np.arange(self.size).reshape(self.shape), shape)
        values = self.flat()
        return [values[i] for i in indices.ravel().tolist()]

    def json(self) -> dict[str, Any]:
        if self.recipe:
            recipe = {"shape": list(self.shape), "recipe": self.recipe, "seed": self.seed}
            return recipe | ({"classes": self.classes} if self.index else {})
        if self.index:
            return {"shape": list(self.shape), "index": [int(v) for v in self.values]}
        return {"shape": list(self.shape), "data": [hexadecimal(float(v)) for v in self.values]}


@functools.lru_cache(maxsize=4)
def _by_recipe(recipe: str, seed: int, size: int, classes: int) -> Sequence[float]:
    random = splitmix64(np.arange(size, dtype=np.uint64) + np.uint64(seed << 32))
    if recipe == "eighths":
        numbers = (random >> np.uint64(57)).astype(np.float64) / 8 - 8
        return numbers.tolist()  # type: ignore[no-any-return]
    if recipe == "sixteenths":
        numbers = (random >> np.uint64(60)).astype(np.float64) / 16 + 1 / 32
        return numbers.tolist()  # type: ignore[no-any-return]
    if recipe == "signs":
        return (1.0 - 2.0 * (random >> np.uint64(63)).astype(np.float64)).tolist()  # type: ignore[no-any-return]
    assert recipe == "labels", recipe
    return (random % np.uint64(classes)).tolist()  # type: ignore[no-any-return]


def splitmix64(state: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, Any]:
    """Steele, Lea and Flood's output function of the state advanced once."""
    with np.errstate(over="ignore"):
        z = state + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def array(values: Any, shape: tuple[int, ...] | None = None) -> Array:
    """An array of floats from nested lists, or from a flat list and a shape."""
    flat, found = _flatten(values)
    return Array(found if shape is None else shape, tuple(float(v) for v in flat))


def labels(values: Any, shape: tuple[int, ...] | None = None) -> Array:
    """An array of integers."""
    flat, found = _flatten(values)
    return Array(found if shape is None else shape, tuple(flat), index=True)


def _flatten(values: Any) -> tuple[list[Any], tuple[int, ...]]:
    if not isinstance(values, list | tuple):
        return [values], ()
    if values and isinstance(values[0], list | tuple):
        parts = [_flatten(v) for v in values]
        return list(itertools.chain(*(p for p, _ in parts))), (len(values), *parts[0][1])
    return list(values), (len(values),)


@dataclass(frozen=True)
class Case:
    """Inputs and options of one call; `at` lists where derivatives of a large one are given."""

    region: str
    inputs: Mapping[str, Array]
    options: Mapping[str, Option] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    at: tuple[int, ...] | None = None

    @property
    def large(self) -> bool:
        """Whether an input is given by recipe."""
        return any(array.recipe for array in self.inputs.values())

    def dtypes(self) -> list[str]:
        """The formats that hold every floating array of the case exactly."""
        floats = [a for a in self.inputs.values() if not a.index]
        return [
            f.name for f in FORMATS
            if all(a.recipe or all(f.holds(v) for v in a.values) for a in floats)
        ]  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """Entries in C order with a shape; `at` lists flat positions if not all are given."""

    shape: tuple[int, ...]
    entries: Sequence[Any]
    at: Sequence[int] | None = None


# part ("value", "gradient", "curvature") -> argument ("" for the value) -> entries
Answered: TypeAlias = dict[str, dict[str, Answers]]
