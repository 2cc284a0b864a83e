"""Rows of an oracle file as NumPy arrays and exact answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refloss.accuracy import FORMATS, Answer, Truth, rounded

__all__ = ["Expected", "Oracle", "Row", "read"]


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """The true answer of one output: its shape, and the truth of all its entries or of some.

    ``at`` holds the flat indices of the entries that the file tells, ``None`` where it tells all.
    """

    shape: tuple[int, ...]
    answer: Answer
    at: NDArray[np.int64] | None = None

    def index(self, position: int) -> tuple[int, ...]:
        """Where in the array the answer's entry number ``position`` stands."""
        flat = position if self.at is None else int(self.at[position])
        return tuple(int(i) for i in np.unravel_index(flat, self.shape))


# "value", "gradient.input", "curvature.input", ... -> what is true
Answers = Mapping[str, Expected]


@dataclass(frozen=True, eq=False)
class Row:
    """One question and its certified answers."""

    source: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """The row's name, unique in its file: ``region/number``."""
        return str(self.source["id"])

    @property
    def region(self) -> str:
        """The part of the domain it comes from."""
        return str(self.source["region"])

    @property
    def flags(self) -> tuple[str, ...]:
        """What is special about it."""
        return tuple(self.source["flags"])

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The formats that hold all its inputs exactly."""
        return tuple(self.source["dtypes"])

    @cached_property
    def options(self) -> dict[str, Any]:
        """The arguments that are not arrays; those not given stand at their default."""
        return {name: _option(value) for name, value in self.source["options"].items()}

    @cached_property
    def answers(self) -> Answers:
        """What the textbook says of value, gradients and curvatures."""
        return _answers(self.source)

    @cached_property
    def conventions(self) -> dict[str, Answers]:
        """What named conventions say, where they differ from the textbook."""
        return {name: _answers(said) for name, said in self.source.get("conventions", {}).items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the array arguments."""
        return {name: tuple(entry["shape"]) for name, entry in self.source["inputs"].items()}

    def arrays(self, dtype: str) -> dict[str, NDArray[Any]]:
        """The array arguments, floats in the given format and labels in int64."""
        return {name: _array(entry, dtype) for name, entry in self.source["inputs"].items()}


@dataclass(frozen=True, eq=False)
class Oracle:
    """All that is known about one loss."""

    header: Mapping[str, Any]
    rows: tuple[Row, ...]

    @property
    def loss(self) -> str:
        """Its name."""
        return str(self.header["loss"])

    @cached_property
    def _by_id(self) -> dict[str, Row]:
        return {row.id: row for row in self.rows}

    def row(self, name: str) -> Row:
        """The row of that name."""
        return self._by_id[name]


def read(lines: Iterable[str]) -> Oracle:
    """Read an oracle file: a header line, then one row a line."""
    parsed = (json.loads(line) for line in lines)
    header = next(parsed)
    return Oracle(header, tuple(Row(row) for row in parsed))


def _option(value: Any) -> Any:
    if isinstance(value, str) and (value.lstrip("-").startswith("0x") or value in ("inf", "nan")):
        return float.fromhex(value)
    return value


def _answers(source: Mapping[str, Any]) -> dict[str, Expected]:
    found = {}
    if "value" in source:
        found["value"] = _expected(source["value"])
    for kind in ("gradient", "curvature"):
        for argument, entry in (source.get(kind) or {}).items():
            if entry is not None:
                found[f"{kind}.{argument}"] = _expected(entry)
    return found


def _expected(entry: Mapping[str, Any]) -> Expected:
    data = entry["data"]
    lower = Truth.parse(one if isinstance(one, str) else one[0] for one in data)
    upper = lower
    if any(not isinstance(one, str) for one in data):
        upper = Truth.parse(one if isinstance(one, str) else one[1] for one in data)
    scale = None
    if entry.get("scale") is not None:
        scale = Truth.parse("nan" if one is None else one for one in entry["scale"])
    at = np.array(entry["at"], np.int64) if entry.get("at") is not None else None
    return Expected(tuple(entry["shape"]), Answer(lower, upper, scale), at)


def _array(entry: Mapping[str, Any], dtype: str) -> NDArray[Any]:
    shape = tuple(entry["shape"])
    if "recipe" in entry:
        flat = _recipe(entry, prod(shape), dtype)
    elif "index" in entry:
        flat = np.array(entry["index"], np.int64)
    else:
        # Exact by the row's own promise, so that one rounding or two is all the same.
        flat = rounded(Truth.parse(entry["data"]), dtype).astype(FORMATS[dtype].dtype)
    return flat.reshape(shape)


def _recipe(entry: Mapping[str, Any], size: int, dtype: str) -> NDArray[Any]:
    bits = _splitmix64(np.uint64(int(entry["seed"]) << 32) + np.arange(size, dtype=np.uint64))
    if entry["recipe"] == "eighths":
        numbers = (bits >> np.uint64(57)).astype(np.float64) / 8.0 - 8.0
        return numbers.astype(FORMATS[dtype].dtype)
    if entry["recipe"] == "sixteenths":
        numbers = (bits >> np.uint64(60)).astype(np.float64) / 16.0 + 1.0 / 32.0
        return numbers.astype(FORMATS[dtype].dtype)
    if entry["recipe"] == "signs":
        signs = 1.0 - 2.0 * (bits >> np.uint64(63)).astype(np.float64)
        return signs.astype(FORMATS[dtype].dtype)
    if entry["recipe"] == "labels":
        return (bits % np.uint64(entry["classes"])).astype(np.int64)
    raise ValueError(
        f"unknown recipe {entry['recipe']!r}; known are 'eighths', 'sixteenths', "
        "'signs' and 'labels'"
    )


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Steele, Lea and Flood 2014: the generator's output after one step from each state."""
    mixed = state + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
