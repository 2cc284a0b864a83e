"""The arrays of array-api-strict, which have what the array API standard says and nothing more."""

from __future__ import annotations

from typing import Any

import array_api_strict
from numpy.typing import NDArray

from refloss.audit.arrays.numpy import NumPy


class Strict(NumPy):
    """array-api-strict."""

    imports = "import numpy as np, array_api_strict"

    def make(self, array: NDArray[Any]) -> Any:
        return array_api_strict.asarray(super().make(array))

    def literal(self, text: str, array: NDArray[Any]) -> str:
        return self.loaded(super().literal(text, array), array)

    def loaded(self, text: str, array: NDArray[Any]) -> str:
        return f"array_api_strict.asarray({text})"


ARRAYS = Strict()
