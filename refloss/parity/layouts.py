"""The same numbers, laid out in memory in other ways.

A layout is an array of other size or order, and the text of the view of it that holds the numbers:
so that the view is made in the array library that is asked, and can be shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAYOUTS", "Layout", "layouts_of", "prepared"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """How it is made ready, as a NumPy array, and what views it."""

    prepare: Callable[[Array], Array]
    view: Callable[[Array], str]


def _spread(array: Array) -> Array:
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    wide[(slice(None, None, 2),) * array.ndim] = array
    return wide


def _turned(array: Array) -> Array:
    return np.ascontiguousarray(array.mT) if array.ndim > 1 else array


def _behind_one(array: Array) -> Array:
    flat = np.zeros((array.shape[0] + 1, *array.shape[1:]), array.dtype)
    flat[1:] = array
    return flat


def _behind_a_byte(array: Array) -> Array:
    data = np.frombuffer(array.tobytes(), np.uint8)
    return np.concatenate([np.zeros(1, np.uint8), data])


def _indices(array: Array, index: str) -> str:
    return f"[{', '.join([index] * array.ndim)}]"


LAYOUTS = {
    "strided": Layout(_spread, lambda array: _indices(array, "::2")),
    "transposed": Layout(_turned, lambda array: ".mT" if array.ndim > 1 else "[:]"),
    "offset": Layout(_behind_one, lambda array: f"[{', '.join(['1:', *':' * (array.ndim - 1)])}]"),
    "reversed": Layout(
        lambda array: np.ascontiguousarray(np.flip(array)),
        lambda array: _indices(array, "::-1"),
    ),
    "misaligned": Layout(
        _behind_a_byte,
        lambda array: f'[1:].view("{array.dtype.name}").reshape({array.shape})',
    ),
}

# torch has no negative strides, only NumPy views bytes as numbers, and JAX decides for itself.
BY_LIBRARY = {
    "numpy": tuple(LAYOUTS),
    "cupy": ("strided", "transposed", "offset", "reversed"),
    "torch": ("strided", "transposed", "offset"),
    "strict": ("strided", "transposed", "offset", "reversed"),
    "jax": (),
}


def layouts_of(arrays: str) -> tuple[str, ...]:
    """The layouts that a kind of arrays can have."""
    return BY_LIBRARY[arrays.partition("@")[0]]


def prepared(array: Array, layout: str) -> Array:
    """The array that a view of that layout is taken of.

    Examples
    --------
    >>> import numpy as np
    >>> from refloss.parity import prepared
    >>> prepared(np.arange(3), "reversed")[::-1]
    array([0, 1, 2])
    """
    return LAYOUTS[layout].prepare(array)
