"""Cases: a row of an oracle asked in one dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from refloss.oracles import load
from refloss.oracles.rows import Expected, Row

__all__ = ["Case", "cases"]


@dataclass(frozen=True, eq=False)
class Case:
    """One question to put to an implementation."""

    loss: str
    row: Row
    dtype: str

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The array arguments that the row gives, by name."""
        return self.row.arrays(self.dtype)

    @property
    def options(self) -> dict[str, Any]:
        """The other arguments that the row gives, by name."""
        return self.row.options

    @property
    def answers(self) -> dict[str, Expected]:
        """What is true of ``"value"``, ``"gradient.input"``, ``"curvature.input"``, ..."""
        return dict(self.row.answers)

    def asked(self, kind: str) -> tuple[str, ...]:
        """The arguments whose gradient (or curvature) is known."""
        prefix = f"{kind}."
        return tuple(
            name.removeprefix(prefix) for name in self.row.answers if name.startswith(prefix)
        )

    @property
    def indices(self) -> bool:
        """Whether the target is class indices, not numbers."""
        return bool(self.arrays["target"].dtype.kind == "i")

    @property
    def form(self) -> tuple[str, ...]:
        """The array arguments it has, and whether each holds integers or floats."""
        return tuple(f"{name}:{array.dtype.kind}" for name, array in self.arrays.items())

    @property
    def ignored(self) -> bool:
        """Whether a label in the target is the one to ignore."""
        return bool((self.arrays["target"] == self.options.get("ignore_index", -100)).any())

    @property
    def size(self) -> int:
        """How many numbers it takes to write the question down."""
        return sum(array.size for array in self.arrays.values())


def cases(loss: str, dtype: str, region: Callable[[str], bool] = lambda _: True) -> Iterator[Case]:
    """The cases of a loss in one dtype, in the order of the file."""
    for row in load(loss).rows:
        if dtype in row.dtypes and region(row.region):
            yield Case(loss, row, dtype)
