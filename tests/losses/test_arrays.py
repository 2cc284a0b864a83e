"""Arrays of other libraries: the same answers as NumPy's, in the library's own arrays."""

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from .enrolled import EMBEDDED, ENROLLED, Arrays, C, D, Entry, N, bits, calls

EVERY = pytest.mark.parametrize("entry", [*ENROLLED, *EMBEDDED], ids=str)
BOUNDED = ("binary_cross_entropy", "cross_entropy_with_probs", "contrastive_loss_from_distance")


def changed(entry: Entry, arrays: Arrays) -> dict[str, Arrays]:
    """The arrays, and what is apt to take another way through the code."""
    missing, infinite = arrays[entry.first].copy(), arrays[entry.first].copy()
    missing.reshape(N, -1)[0, 0] = math.nan
    if entry.loss not in BOUNDED:
        infinite.reshape(N, -1)[1, 0] = -math.inf
    if entry.loss in ("cross_entropy", "mse_loss", "gaussian_kl"):
        infinite.reshape(N, -1)[2, 4] = math.inf
    empty = {
        name: array if kind.shape(0, C, D) == array.shape else array[:0]
        for (name, array), kind in zip(arrays.items(), entry.arrays.values(), strict=True)
    }
    return {
        "ordinary": arrays,
        "missing": {**arrays, entry.first: missing},
        "infinite": {**arrays, entry.first: infinite},
        "empty": empty,
    }


def same_as_numpy(entry: Entry, arrays: Arrays, convert: Callable[[Any], Any]) -> None:
    kind = type(convert(np.zeros(1)))
    ours = {name: convert(array) for name, array in arrays.items()}
    theirs = calls(entry, arrays, backend="array")
    for (name, expected), (_, found) in zip(theirs, calls(entry, ours, raw=True), strict=True):
        assert type(found) is kind, name
        assert bits(expected) == bits(np.asarray(found)), name


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_array_api_strict(entry: Entry, dtype: str) -> None:
    """A library that has the standard and nothing else."""
    strict = pytest.importorskip("array_api_strict")
    for arrays in changed(entry, entry.sample(9, dtype)).values():
        same_as_numpy(entry, arrays, strict.asarray)


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch(entry: Entry, dtype: str) -> None:
    """To torch's own exp and log, which are not NumPy's: in short formats the same numbers."""
    torch = pytest.importorskip("torch", reason="torch is not installed")

    def tensor(array: Any) -> Any:
        wide = torch.tensor(array if array.dtype == np.int64 else array.astype(np.float64))
        return wide if array.dtype == np.int64 else wide.to(getattr(torch, dtype))

    arrays = entry.sample(10, dtype)
    tensors = {name: tensor(array) for name, array in arrays.items()}
    for (name, expected), (_, found) in zip(
        calls(entry, arrays), calls(entry, tensors, raw=True), strict=True
    ):
        assert type(found) is torch.Tensor, name
        assert found.dtype == getattr(torch, dtype)
        assert tuple(found.shape) == expected.shape
        entry.kept(found.to(torch.float64).numpy(), expected, dtype, promises=2)


@EVERY
def test_arrays_of_two_libraries_are_refused(entry: Entry) -> None:
    """The error names the argument that is of the other library."""
    strict = pytest.importorskip("array_api_strict")
    arrays = entry.sample(1)
    ours = {name: strict.asarray(array) for name, array in arrays.items()}
    for name in [*arrays][1:]:
        with pytest.raises(TypeError, match=rf"^{name}: expected Array like \w+, got ndarray"):
            entry.function(**{**ours, name: arrays[name]}, **entry.options)
    message = rf"^{entry.first}: backend='numba' expected a NumPy array, got Array"
    with pytest.raises(TypeError, match=message):
        entry.function(**ours, **entry.options, backend="numba")
    upstream = np.ones(()) if "none" not in entry.reductions else np.ones(entry.value_shape(arrays))
    reduction = entry.reductions[0]
    with pytest.raises(TypeError, match=r"^grad_output: expected Array like the value, got ndarr"):
        entry.function.grad(**ours, **entry.options, reduction=reduction, grad_output=upstream)


FIRST_CALLS = (
    "huber_loss(x, x.flip(0))",
    "cosine_embedding_loss(x, x.flip(0), torch.ones(2))",
    "nt_xent_loss(x, x.flip(0))",
    "batch_triplet_loss(x, torch.arange(2))",
)


@pytest.mark.parametrize("call", FIRST_CALLS)
def test_torch_in_a_process_that_has_only_just_started(call: str) -> None:
    """A tensor that is compared for the first time imports something, wherever that happens."""
    pytest.importorskip("torch", reason="torch is not installed")
    made = "x = torch.arange(1.0, 7, dtype=torch.float64).reshape(2, 3)"
    script = f"import torch, refloss; {made}; print(refloss.{call})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
