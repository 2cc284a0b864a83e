"""CuPy arrays, on the current CUDA device: in all else like NumPy's."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from refloss.audit.arrays.numpy import NumPy


class CuPy(NumPy):
    """CuPy."""

    imports = "import numpy as np, cupy"

    def make(self, array: NDArray[Any]) -> Any:
        return cupy.asarray(array)

    def read(self, value: Any) -> NDArray[Any]:
        return np.asarray(cupy.asnumpy(value))

    def literal(self, text: str, array: NDArray[Any]) -> str:
        return self.loaded(super().literal(text, array), array)

    def loaded(self, text: str, array: NDArray[Any]) -> str:
        return f"cupy.asarray({text})"


ARRAYS = CuPy()
