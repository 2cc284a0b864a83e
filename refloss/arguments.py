"""Checking what the caller passes: the one place that refuses.

Every error names the argument, says what was expected and shows what came, and is raised before
anything is computed or written.
"""

import math
import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_cupy_array,
    is_jax_array,
    is_torch_array,
)

from refloss.kernels import threads

Array = Any

PIECE = 1 << 16  # entries that are looked at while they are in cache

FLOATING = ("float16", "bfloat16", "float32", "float64")
INTEGRAL = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
PLAIN = (list, tuple, int, float, np.generic)


def dtype_name(array: Array) -> str:
    """The dtype's plain name: ``float32`` for NumPy's, PyTorch's and others' alike."""
    return str(native(array)).rpartition(".")[2]


def as_array(name: str, x: Any) -> Array:
    """The argument as an array: arrays of any library as they are, lists and numbers as NumPy's.

    A PyTorch tensor is taken without its autograd history: results have none.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, got a masked array")
    if isinstance(x, np.ndarray | np.generic):
        return np.asarray(x)
    if is_array_api_obj(x):
        return x.detach() if hasattr(x, "detach") else x
    if isinstance(x, PLAIN):
        try:
            array = np.asarray(x)
        except ValueError:
            raise ValueError(f"{name}: expected rows of equal length, got a ragged list") from None
        except TypeError as problem:  # arrays on a device do not become NumPy's by themselves
            raise TypeError(f"{name}: expected numbers in the list: {problem}") from problem
        if array.size == 0 and not isinstance(x, np.generic):
            return array.astype(np.float64)
        return array
    raise TypeError(f"{name}: expected an array of numbers, got {type(x).__name__}")


def as_array_like(name: str, x: Any, model: Array) -> Array:
    """The argument as an array of the model's library; numbers and lists take its dtype."""
    array = as_array(name, x)
    if not isinstance(x, list | tuple | int | float) or isinstance(x, np.generic | bool):
        return array
    if array.dtype.kind not in "iuf":
        return array  # refused by what comes next
    if not isinstance(model, np.ndarray):
        xp = namespace(model)
        return xp.asarray(array.tolist(), dtype=model.dtype, device=device(model))
    with np.errstate(over="ignore"):
        taken = array.astype(native(model))
    if np.any(np.isinf(taken.astype(np.float64)) & np.isfinite(array)):
        raise ValueError(f"{name}: expected numbers in the range of {native(model)}, got {x!r}")
    return taken


def native(array: Array) -> Array:
    """The dtype in which results are given: NumPy's with the machine's byte order."""
    return array.dtype.newbyteorder("=") if isinstance(array, np.ndarray) else array.dtype


def floating(name: str, x: Any) -> Array:
    """An array in one of the supported floating-point formats."""
    array = as_array(name, x)
    if dtype_name(array) not in FLOATING:
        raise TypeError(f"{name}: expected one of {', '.join(FLOATING)}, got {array.dtype}")
    return array


def floating_like(name: str, x: Any, model: Array, model_name: str = "input") -> Array:
    """A floating array with the shape and dtype of another argument; lists take its dtype."""
    array = floating(name, as_array_like(name, x, model))
    same_library(name, array, model, model_name)
    if native(array) != native(model):
        raise TypeError(
            f"{name}: expected dtype {native(model)} like {model_name}, got {array.dtype}"
        )
    if tuple(array.shape) != tuple(model.shape):
        raise ValueError(
            f"{name}: expected the shape of {model_name}, {tuple(model.shape)}, "
            f"got {tuple(array.shape)}"
        )
    return array


def same_library(name: str, array: Array, model: Array, model_name: str) -> None:
    """Arrays of two libraries, or on two devices, in one call are a mistake."""
    if namespace(array) is not namespace(model):
        raise TypeError(
            f"{name}: expected {type(model).__name__} like {model_name}, got {type(array).__name__}"
        )
    if is_jax_array(model):  # JAX moves arrays, and shares them out over devices
        return
    if device(array) != device(model):
        raise TypeError(
            f"{name}: expected an array on {device(model)} like {model_name}, "
            f"got one on {device(array)}"
        )


def on_cuda(array: Array) -> bool:
    """Whether the array is one that CUDA kernels can take: CuPy's, or torch's on such a device."""
    return bool(is_cupy_array(array) or (is_torch_array(array) and array.device.type == "cuda"))


def namespace(array: Array) -> ModuleType:
    """The array API namespace that the array belongs to."""
    if isinstance(array, np.ndarray) and hasattr(np, "cumulative_sum"):
        return np  # of itself since 2.1; what wraps it takes a tenth of a second to import
    found: ModuleType = array_namespace(array)
    return found


def is_integer(array: Array) -> bool:
    """Whether the array holds whole numbers (booleans do not count)."""
    return dtype_name(array) in INTEGRAL


def one_of(name: str, x: Any, choices: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(x, str) or x not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {x!r}")
    return str(x)


def number(
    name: str,
    x: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    finite: bool = False,
) -> float:
    """A real number within bounds."""
    if isinstance(x, bool | np.bool_ | str) or np.ndim(x) != 0:
        raise TypeError(f"{name}: expected a number, got {x!r}")
    try:
        value = float(x)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {x!r}") from None
    if finite and math.isinf(value):
        raise ValueError(f"{name}: expected a finite number, got {x!r}")
    if not (low < value if open_low else low <= value) or not value <= high:
        bracket = "(" if open_low else "["
        close = ")" if high == math.inf else "]"
        raise ValueError(f"{name}: expected a number in {bracket}{low}, {high}{close}, got {x!r}")
    return value


def integer(name: str, x: Any) -> int:
    """A whole number."""
    if isinstance(x, bool | np.bool_):
        raise TypeError(f"{name}: expected an integer, got {x!r}")
    try:
        return operator.index(x)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {x!r}") from None


def flag(name: str, x: Any) -> bool:
    """True or False."""
    if not isinstance(x, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {x!r}")
    return bool(x)


def class_weights(weight: Any, classes: int, model: Array) -> Array | None:
    """One non-negative weight a class; any floating dtype, since it is never differentiated."""
    if weight is None:
        return None
    array = floating("weight", as_array_like("weight", weight, model))
    same_library("weight", array, model, "input")
    if tuple(array.shape) != (classes,):
        raise ValueError(
            f"weight: expected one weight a class, shape ({classes},), got {tuple(array.shape)}"
        )
    non_negative("weight", array)
    return array


def broadcast_weights(name: str, weight: Any, model: Array) -> Array | None:
    """Non-negative weights that broadcast to the input."""
    if weight is None:
        return None
    array = floating(name, as_array_like(name, weight, model))
    same_library(name, array, model, "input")
    try:
        fits = np.broadcast_shapes(tuple(array.shape), tuple(model.shape)) == tuple(model.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: expected a shape that broadcasts to that of input, {tuple(model.shape)}, "
            f"got {tuple(array.shape)}"
        )
    non_negative(name, array)
    return array


def non_negative(name: str, array: Array, expectation: str = "expected weights >= 0") -> None:
    """No entry below zero; NaN passes, and comes out again in what it touches."""
    _refuse_first(name, array, lambda x: x < 0, expectation)


def finite(name: str, array: Array) -> None:
    """Every entry a finite number."""

    def infinite(x: Array) -> Array:
        xp = namespace(x)
        return ~xp.isfinite(xp.astype(x, xp.float64))

    _refuse_first(name, array, infinite, "expected finite numbers")


def probabilities(name: str, array: Array) -> None:
    """Every entry in [0, 1]; NaN passes."""
    _refuse_first(name, array, lambda x: (x < 0) | (x > 1), "expected numbers in [0, 1]")


def class_indices(labels: Array, classes: int, ignore_index: int | None = None) -> None:
    """Every label a class, or the one to ignore."""
    expectation = f"expected class indices in [0, {classes})"
    if ignore_index is not None:
        expectation += f" or ignore_index ({ignore_index})"

    def wrong(x: Array) -> Array:
        outside = (x < 0) | (x >= classes)
        return outside if ignore_index is None else outside & (x != ignore_index)

    _refuse_first("target", labels, wrong, expectation)


def labels(name: str, x: Any, model: Array, model_name: str = "input") -> Array:
    """Class indices: whole numbers in an array of the model's library."""
    array = as_array(name, x)
    xp = namespace(model)
    if isinstance(x, list | tuple | int) and not isinstance(x, bool):
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind in "iu" and not isinstance(model, np.ndarray):
            array = xp.asarray(array.tolist(), dtype=xp.int64, device=device(model))
    same_library(name, array, model, model_name)
    if not is_integer(array):
        raise TypeError(f"{name}: expected class indices of an integer dtype, got {array.dtype}")
    if dtype_name(array) == "uint64":  # what int64 cannot hold would wrap, to -100 perhaps
        _refuse_first(name, array, lambda x: x >= 2**63, "expected class indices below 2**63")
    return xp.astype(array, xp.int64, copy=False)  # before any comparison: -100 is no uint8


def classes_or_masses(
    target: Any, model: Array, ignore_index: int
) -> tuple[dict[str, Array], Array | None]:
    """The differentiable arguments and the labels, by what kind of target came."""
    integer("ignore_index", ignore_index)
    array = as_array("target", target)
    if is_integer(array) or (isinstance(target, list | tuple) and array.size == 0):
        return {"input": model}, labels("target", target, model)
    masses = floating_like("target", target, model)
    if ignore_index >= 0:
        raise ValueError(
            f"ignore_index: expected none with class probabilities, got {ignore_index}"
        )
    return {"input": model, "target": masses}, None


def vectors(name: str, array: Array) -> None:
    """At least one component."""
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(
            f"{name}: expected vectors of at least one component, (..., D), "
            f"got shape {tuple(array.shape)}"
        )


def embeddings(name: str, x: Any, model: Array | None = None, model_name: str = "") -> Array:
    """Rows of vectors, (N, D); of the model's library, dtype and D."""
    array = floating(name, x if model is None else as_array_like(name, x, model))
    if array.ndim != 2:
        raise ValueError(f"{name}: expected shape (N, D), got {tuple(array.shape)}")
    vectors(name, array)
    if model is None:
        return array
    same_library(name, array, model, model_name)
    if native(array) != native(model):
        raise TypeError(
            f"{name}: expected dtype {native(model)} like {model_name}, got {array.dtype}"
        )
    if array.shape[1] != model.shape[1]:
        raise ValueError(
            f"{name}: expected vectors of {model.shape[1]} components like {model_name}, "
            f"got shape {tuple(array.shape)}"
        )
    return array


def row_labels(x: Any, model: Array, model_name: str) -> Array:
    """A whole number for each row of the model."""
    array = labels("labels", x, model, model_name)
    if tuple(array.shape) != tuple(model.shape[:1]):
        raise ValueError(
            f"labels: expected one for each row of {model_name}, shape {tuple(model.shape[:1])}, "
            f"got {tuple(array.shape)}"
        )
    return array


def marks(
    name: str, x: Any, model: Array, model_name: str, shape: tuple[int, ...] | None = None
) -> Array:
    """Numbers that tell pairs apart: whole, boolean or floating, one a row or element."""
    array = as_array(name, x)
    expected = tuple(model.shape) if shape is None else shape
    xp = namespace(model)
    if isinstance(x, list | tuple | int | float) and array.dtype.kind in "biuf":
        array = array.astype(np.float64)
        if not isinstance(model, np.ndarray):
            array = xp.asarray(array.tolist(), dtype=model.dtype, device=device(model))
    same_library(name, array, model, model_name)
    kind = dtype_name(array)
    if kind not in FLOATING and kind not in INTEGRAL and not kind.startswith("bool"):
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    if tuple(array.shape) != expected:
        raise ValueError(
            f"{name}: expected shape {expected} for {model_name} of shape {tuple(model.shape)}, "
            f"got {tuple(array.shape)}"
        )
    return xp.astype(array, xp.int8) if kind.startswith("bool") else array


def similarity_marks(x: Any, model: Array, model_name: str, **shape: Any) -> Array:
    """Targets from 0, a dissimilar pair, to 1, a similar one."""
    array = marks("target", x, model, model_name, **shape)
    probabilities("target", array)
    return array


def signs(x: Any, model: Array, model_name: str, **shape: Any) -> Array:
    """Targets of 1 and -1; NaN passes."""
    array = marks("target", x, model, model_name, **shape)
    _refuse_first("target", array, lambda x: (x == x) & (x != 1) & (x != -1), "expected 1 or -1")
    return array


def floating_dtype(dtype: Any, model: Array) -> Any:
    """A supported floating dtype of the array's library."""
    name = str(dtype).rpartition(".")[2]
    if isinstance(model, np.ndarray) and name != "bfloat16":
        try:
            name = np.dtype(dtype).name
        except TypeError:
            raise TypeError(
                f"dtype: expected one of {', '.join(FLOATING)}, got {dtype!r}"
            ) from None
    if name not in FLOATING:
        raise TypeError(f"dtype: expected one of {', '.join(FLOATING)}, got {dtype!r}")
    if isinstance(model, np.ndarray):
        return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    xp = namespace(model)
    if not hasattr(xp, name):
        raise TypeError(f"dtype: {type(model).__module__.partition('.')[0]} has no {name}")
    return getattr(xp, name)


class Look(NamedTuple):
    """A look into an array: what is wrong with its entries, as flags."""

    array: Array
    wrong: Callable[[Array], Array]


class _Looks(threading.local):
    """The looks that this thread has taken since someone wanted to know."""

    taken: list[Look] | None = None


_looks = _Looks()


@contextmanager
def looks() -> Iterator[list[Look]]:
    """Take down which arrays are looked into."""
    before, _looks.taken = _looks.taken, []
    try:
        yield _looks.taken
    finally:
        _looks.taken = before


def any_wrong(array: Array, wrong: Callable[[Array], Array]) -> bool:
    """Whether an entry is wrong; a large array of NumPy's is looked at piece by piece."""
    with np.errstate(invalid="ignore"):  # bfloat16's comparison flags a NaN
        if isinstance(array, np.ndarray) and array.size > PIECE and array.flags.c_contiguous:
            flat = array.reshape(-1)
            pieces = [flat[start : start + PIECE] for start in range(0, flat.size, PIECE)]
            return any(threads.over(pieces, lambda piece: bool(wrong(piece).any())))
        return bool(namespace(array).any(wrong(array)))


def _refuse_first(
    name: str, array: Array, wrong: Callable[[Array], Array], expectation: str
) -> None:
    if _looks.taken is not None:
        _looks.taken.append(Look(array, wrong))
    if not any_wrong(array, wrong):
        return
    xp = namespace(array)
    with np.errstate(invalid="ignore"):
        bad = wrong(array)
    flat = int(xp.argmax(xp.reshape(xp.astype(bad, xp.int8), (-1,))))
    index = tuple(int(i) for i in np.unravel_index(flat, tuple(array.shape)))
    found = array[index]
    if not isinstance(array, np.ndarray):
        found = int(found) if is_integer(array) else float(found)
    raise ValueError(f"{name}: {expectation}, got {found} at index {index}")


def is_bfloat16(dtype: Any) -> bool:
    """Whether the dtype is NumPy's bfloat16 extension type."""
    return isinstance(dtype, np.dtype) and dtype == ml_dtypes.bfloat16
