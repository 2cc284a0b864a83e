"""Rows of more classes than are taken side by side: value and derivatives of every class."""

from typing import Any

import numpy as np
import pytest

import refloss
from refloss.accuracy import Truth, ulp_error
from refloss.kernels.simd.rows import NARROW

LOSSES = ("cross_entropy", "nll_loss", "softmax_focal_loss", "cross_entropy_with_probs")


@pytest.mark.parametrize("classes", [NARROW, NARROW + 1, NARROW + 9, 2 * NARROW])
@pytest.mark.parametrize("name", LOSSES)
def test_they_are_those_of_the_array_path(name: str, classes: int) -> None:
    loss = getattr(refloss, name)
    rng = np.random.default_rng(classes)
    x: Any = rng.normal(size=(5, classes))
    if name == "cross_entropy_with_probs":
        x = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    labels = np.array([0, classes - 1, 7, -100, classes // 2])
    promise = loss.promise.float64 + loss.promise.float64_arrays
    found = loss.value_and_grad(x, labels, ignore_index=-100, reduction="none")
    other = loss.value_and_grad(x, labels, ignore_index=-100, reduction="none", backend="array")
    for mine, theirs in zip(found, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=promise * np.finfo(float).eps)
    assert not found[1][3].any()


@pytest.mark.parametrize("classes", [NARROW + count for count in (1, 8, 9, 15, 16, 17, 31, 33)])
def test_the_first_of_the_largest_logits_is_found_in_float32(classes: int) -> None:
    """float32 is compared sixteen at a time; float64, of the same numbers, eight at a time."""
    rng = np.random.default_rng(classes)
    x = rng.integers(-3, 4, (64, classes)).astype(np.float32)  # most rows have several
    places = rng.integers(0, classes, 64)
    x[np.arange(64), places] = np.repeat([np.inf, -np.inf, np.nan, 4.0], 16)
    x[60:62], x[62] = -np.inf, np.inf
    labels = np.where(np.arange(64) % 3 > 0, places, 0)
    for method in ("__call__", "grad", "hessian_diag"):
        found, wide = (
            getattr(refloss.cross_entropy, method)(x.astype(dtype), labels, reduction="none")
            for dtype in (np.float32, np.float64)
        )
        error = ulp_error(found, Truth.of(wide), "float32")
        assert error.max() <= refloss.cross_entropy.promise.float32
