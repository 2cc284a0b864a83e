"""Rows of more classes than are taken side by side: value and derivatives of every class."""

from typing import Any

import numpy as np
import pytest

import refloss
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
