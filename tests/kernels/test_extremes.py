"""The farthest and nearest rows that a matrix product finds, against all distances."""

from typing import Any

import numpy as np
import pytest

import refloss
from refloss.accuracy import Answer, Truth, ulp_error
from refloss.kernels import cpu
from refloss.kernels.simd.extremes import MOST
from refloss.triplets import ANCHORS, Batch, Chosen

RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 9, ANCHORS + 13)
CLOUDS = {
    "spread": RNG.normal(size=(ANCHORS + 13, 21)),
    "far away": 1e3 + 1e-3 * RNG.normal(size=(ANCHORS + 13, 8)),
    "small": 1e-30 * RNG.normal(size=(ANCHORS + 13, 8)),
    "large": 1e60 * RNG.normal(size=(ANCHORS + 13, 3)),
    "whole numbers": RNG.integers(-9, 10, (ANCHORS + 13, 12)).astype(float),
    "one far": RNG.normal(size=(ANCHORS + 13, 8)) * np.where(LABELS == 3, 50.0, 1.0)[:, None],
}
# Too many to choose from, or not to be told apart in float32
ALIKE = {
    "equal": np.ones((3 * MOST, 4)),
    "on a grid": RNG.integers(0, 2, (ANCHORS, 2)).astype(float),
    "almost at the origin": np.vstack([1e9 * np.eye(1, 4), 1e-9 * RNG.normal(size=(40, 4))]),
}
LIMIT = refloss.batch_triplet_loss.promise.float64  # in ulps of the largest
DISTANCES = pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cosine"])


def batch_of(x: Any, distance: str) -> Batch:
    labels = LABELS[: len(x)] if len(x) <= len(LABELS) else np.arange(len(x)) % 2
    return Batch(cpu, x, labels, distance)


def within(found: Any, truth: Any, scale: Any) -> None:
    known, sizes = Truth.of(truth), Truth.of(np.broadcast_to(scale, np.shape(truth)))
    assert ulp_error(found, Answer(known, known, sizes), "float64").max() <= LIMIT


@DISTANCES
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_same_rows_as_by_all_distances(cloud: str, distance: str) -> None:
    batch = batch_of(CLOUDS[cloud], distance)
    found = batch.extremes
    assert found is not None
    same = batch.labels[:, None] == batch.labels[None, :]
    apart = ~np.eye(len(same), dtype=bool)
    farthest = np.where(same & apart, batch.distances, -np.inf)
    nearest = np.where(same, np.inf, batch.distances)
    np.testing.assert_array_equal(found.ends[:, 0], farthest.argmax(axis=1))
    np.testing.assert_array_equal(found.ends[:, 1], nearest.argmin(axis=1))
    np.testing.assert_array_equal(found.distance[:, 0], farthest.max(axis=1))
    np.testing.assert_array_equal(found.distance[:, 1], nearest.min(axis=1))


@DISTANCES
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_same_loss_and_gradient(cloud: str, distance: str) -> None:
    batch = batch_of(CLOUDS[cloud], distance)
    margin = float(np.median(batch.distances)) / 4
    hinges = batch.extremes.hinges(margin)
    chosen: list[Chosen] = batch.chosen("hard", margin)
    assert hinges.number == sum(part.number for part in chosen) > 0
    assert hinges.active == sum(part.active for part in chosen) > 0
    total = sum(part.loss[0] for part in chosen)
    within(np.float64(sum(hinges.loss)), np.float64(total), np.float64(total))
    expected = batch.gradient(chosen)
    found = batch.by_embeddings(batch.extremes.gradient(hinges.weight))
    within(found, expected, np.abs(expected).max())


@pytest.mark.parametrize("cloud", ALIKE)
def test_those_that_a_product_cannot_tell_apart_are_left_to_distances(cloud: str) -> None:
    assert batch_of(ALIKE[cloud], "euclidean").extremes is None


@pytest.mark.parametrize("number", [np.nan, np.inf, 2.0**600])
def test_numbers_without_a_square_are_left_to_distances(number: float) -> None:
    x = CLOUDS["spread"].copy()
    x[3, 2] = number
    assert batch_of(x, "euclidean").extremes is None


def test_a_vector_of_zeros_has_no_direction() -> None:
    x = CLOUDS["spread"].copy()
    x[3] = 0
    assert batch_of(x, "cosine").extremes is None
    assert batch_of(x, "euclidean").extremes is not None
