"""Arrays of the caller's library as kernels see them, on the caller's stream, without a copy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_cupy_array, is_torch_array

from refloss.kernels.cuda import memory, target
from refloss.kernels.cuda.target import cuda

Array = Any

INTEGERS = {2: "int16", 1: "uint8"}  # what formats that kernels see as bits are viewed as


def format_of(array: Array) -> str:
    """The plain name of an array's dtype."""
    return str(array.dtype).rpartition(".")[2]


def flat(array: Array) -> Array:
    """The array as one contiguous row of numbers; a view where it can be one."""
    xp = array_namespace(array)
    if is_torch_array(array):
        return array.detach().contiguous().reshape(-1)
    if is_cupy_array(array) or isinstance(array, np.ndarray):
        contiguous = array if array.flags.c_contiguous else array.copy(order="C")
        return contiguous.reshape(-1)
    return xp.reshape(array, (-1,))


def as_seen(array: Array) -> Any:
    """A flat array as a kernel's argument: its memory, with 16-bit formats as the bits they are."""
    if target.SIMULATED:
        return array
    name = format_of(array)
    if name in ("float16", "bfloat16", "bool"):
        bits = INTEGERS[memory.SIZES[name]]
        array = array.view(getattr(array_namespace(array), bits))
    return cuda.as_cuda_array(array, sync=False)


def address(array: Array) -> int:
    """Where the array's memory begins."""
    if is_torch_array(array):
        return int(array.data_ptr())
    if is_cupy_array(array):
        return int(array.data.ptr)
    return int(array.ctypes.data)


def lanes_of(arrays: Sequence[Array], length: int) -> int:
    """How many neighbouring numbers a thread can take at once: 16 bytes of the narrowest format.

    Runs of that many numbers have to be aligned in every array, if they begin at multiples of
    ``length``.
    """
    sizes = [memory.SIZES[format_of(array)] for array in arrays]
    lanes = memory.VECTOR // max(2, min(sizes))  # labels of a byte beside floats do not count
    while lanes > 1 and not (
        length % lanes == 0
        and all(
            address(array) % min(memory.VECTOR, lanes * size) == 0
            for array, size in zip(arrays, sizes, strict=True)
        )
    ):
        lanes //= 2
    return lanes


def empty(shape: Sequence[int], dtype: Any, model: Array) -> Array:
    """A new array of the model's library, beside it."""
    if isinstance(model, np.ndarray):
        return np.empty(tuple(shape), dtype)
    xp = array_namespace(model)
    if is_cupy_array(model):  # which makes arrays on the device that is current
        with model.device:
            return xp.empty(tuple(shape), dtype=dtype)
    return xp.empty(tuple(shape), dtype=dtype, device=device(model))


def stream_of(model: Array) -> Any:
    """The stream on which the caller's library is working."""
    if target.SIMULATED:
        return 0
    if is_torch_array(model):
        import torch

        pointer = torch.cuda.current_stream(model.device).cuda_stream
    else:
        import cupy

        pointer = cupy.cuda.get_current_stream(device_number(model)).ptr
    return cuda.external_stream(pointer) if pointer else cuda.default_stream()


def device_number(model: Array) -> int:
    """Which of the devices the array lies on."""
    if target.SIMULATED:
        return 0
    where = device(model)
    return int(getattr(where, "index", None) or getattr(where, "id", None) or 0)


def launch(kernel: Any, blocks: int, threads: int, model: Array, *arguments: Any) -> None:
    """Run a kernel beside the model, after what its library has under way there.

    Arguments are flat arrays of the caller's library, tuples of such, tuples of numbers, and whole
    numbers.
    """
    if target.SIMULATED:
        kernel[blocks, threads](*map(_argument, arguments))
        return
    stream = stream_of(model)
    with cuda.gpus[device_number(model)]:
        _configured(kernel, blocks, threads, stream)(*map(_argument, arguments))


def _configured(kernel: Any, blocks: int, threads: int, stream: Any) -> Any:
    """The kernel, ready to be launched; that small work fills no GPU is not the caller's fault."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Grid size \d+ will likely result in GPU")
        return kernel[blocks, threads, stream]


def _argument(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(_argument(one) for one in x)
    if isinstance(x, int):
        return np.int64(x)
    if isinstance(x, float | np.generic):
        return x
    return as_seen(x)
