"""Python's `math` as a GPU does it: nothing raises, and float32 stays float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

# What NumPy calls functions that `math` refuses at poles, outside domains and on overflow
BEYOND: dict[str, Callable[..., Any]] = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "atanh": np.arctanh,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "fmod": np.fmod,
    "ldexp": np.ldexp,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "pow": np.power,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
}


def _as_on_device(name: str) -> Callable[..., Any]:
    function = getattr(math, name)

    def calculated(*numbers: Any) -> Any:
        single = any(type(x) is np.float32 for x in numbers) and not any(
            isinstance(x, float)
            for x in numbers  # np.float64 is one
        )
        try:
            found = function(*numbers)
        except (OverflowError, ValueError):
            if name not in BEYOND:
                raise
            found = float(BEYOND[name](np.float64(numbers[0]), *numbers[1:]))
        if not isinstance(found, float):
            return found
        return np.float32(found) if single else np.float64(found)

    return calculated


_FUNCTIONS = {name: _as_on_device(name) for name in dir(math) if callable(getattr(math, name))}
_FUNCTIONS = {name: one for name, one in _FUNCTIONS.items() if not name.startswith("_")}

# What kernels find in the place of the module, and of each function
device_math = SimpleNamespace(
    **{name: getattr(math, name) for name in ("pi", "e", "tau", "inf", "nan")}, **_FUNCTIONS
)
REPLACED = {getattr(math, name): one for name, one in _FUNCTIONS.items()}
