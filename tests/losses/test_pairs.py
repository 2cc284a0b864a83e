"""Losses of pairs and triplets of vectors: what their distances and angles say, and their kinks."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refloss

from .enrolled import PAIR_MARKS, PAIR_SIGNS, PAIRED, QUICK, TRIPLET, VECTORS, Entry, bits, calls

NORMS = pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
SEEDS = pytest.mark.parametrize("seed", range(2))
PAIR = {"x1": VECTORS, "x2": VECTORS, "target": PAIR_MARKS}
ANGLE = {"input1": VECTORS, "input2": VECTORS, "target": PAIR_SIGNS}
STRAIGHT = [entry for entry in PAIRED if entry.loss != "cosine_embedding_loss"]

CONTRASTIVE, TRIPLETS = refloss.contrastive_loss, refloss.triplet_margin_loss
COSINE = refloss.cosine_embedding_loss
SIDES = ("input1", "input2")
BOTH, THREE = ("x1", "x2"), ("anchor", "positive", "negative")


def norm(x: Any, p: float) -> Any:
    return np.linalg.norm(x, ord=p, axis=-1)


@NORMS
@SEEDS
def test_contrastive_is_that_of_the_distance(p: float, seed: int) -> None:
    entry = Entry("contrastive_loss", PAIR, {"p": p, "margin": 3.0})
    arrays = entry.sample(seed)
    distance = norm(arrays["x1"] - arrays["x2"], p)
    options = {"margin": 3.0, "reduction": "none"}
    expected = refloss.contrastive_loss_from_distance(distance, arrays["target"], **options)
    entry.conditioned(entry.function(**arrays, p=p, **options), expected, 2)


@given(data=st.data(), p=st.sampled_from([1.0, 2.0, 3.0, math.inf]))
@QUICK
def test_contrastive_blends_similar_and_dissimilar(data: st.DataObject, p: float) -> None:
    entry = Entry("contrastive_loss", PAIR, {"p": p, "margin": 4.0})
    arrays = data.draw(entry.arguments())
    target = arrays["target"]
    options = {**entry.options, "reduction": "none"}
    similar, dissimilar = (
        entry.function(arrays["x1"], arrays["x2"], np.full_like(target, y), **options)
        for y in (1, 0)
    )
    blend = target * similar + (1 - target) * dissimilar
    entry.conditioned(entry.function(**arrays, **options), blend)


@NORMS
@SEEDS
@pytest.mark.parametrize("eps", [1e-6, 0.0, 0.5])
def test_triplets_are_hinges_of_distances(p: float, seed: int, eps: float) -> None:
    arrays = Entry("triplet_margin_loss", TRIPLET).sample(seed)
    anchor, positive, negative = arrays.values()
    near, far, swapped = (
        norm(x - y + eps, p)
        for x, y in ((anchor, positive), (anchor, negative), (positive, negative))
    )
    for swap, other in ((False, far), (True, np.minimum(far, swapped))):
        entry = Entry("triplet_margin_loss", TRIPLET, {"p": p, "eps": eps, "swap": swap})
        found = entry.function(**arrays, **entry.options, margin=0.75, reduction="none")
        entry.conditioned(found, np.maximum(0, near - other + 0.75), 2)


@pytest.mark.parametrize("entry", STRAIGHT, ids=str)
@given(data=st.data(), shift=st.integers(-(2**40), 2**40))
@QUICK
def test_a_common_shift_changes_no_distance(entry: Entry, data: st.DataObject, shift: int) -> None:
    """Multiples of 1/8 and whole numbers up to 2^40: their sums are exact, so the bits agree."""
    arrays = data.draw(entry.arguments())
    moved = {**arrays, **{name: arrays[name] + shift for name in entry.wrt}}
    for (name, before), (_, after) in zip(calls(entry, arrays), calls(entry, moved), strict=True):
        assert bits(before) == bits(after), name


@NORMS
@given(data=st.data(), exponent=st.integers(-300, 300))
@QUICK
def test_distances_grow_with_their_vectors(p: float, data: st.DataObject, exponent: int) -> None:
    """A power of two goes through every norm exactly, also where squares would overflow."""
    factor = 2.0**exponent
    arrays = data.draw(Entry("triplet_margin_loss", TRIPLET).arguments())
    options = {"p": p, "eps": 0.0, "swap": True, "reduction": "none", "wrt": THREE}
    scaled = {name: array * factor for name, array in arrays.items()}
    value, gradients = TRIPLETS.value_and_grad(**arrays, **options)
    large, slopes = TRIPLETS.value_and_grad(**scaled, **options, margin=factor)
    assert bits(value * factor) == bits(large)
    assert [*map(bits, gradients)] == [*map(bits, slopes)]


@pytest.mark.parametrize(
    "entry", [entry for entry in PAIRED if entry.loss != "triplet_margin_loss"], ids=str
)
@given(data=st.data())
@QUICK
def test_a_pair_has_no_first(entry: Entry, data: st.DataObject) -> None:
    arrays = data.draw(entry.arguments())
    one, other = entry.wrt
    turned = {**arrays, one: arrays[other], other: arrays[one]}
    options = {**entry.options, "reduction": "none", "wrt": entry.wrt}
    value, (first, second) = entry.function.value_and_grad(**arrays, **options)
    other_value, (other_second, other_first) = entry.function.value_and_grad(**turned, **options)
    assert bits(value) == bits(other_value)
    assert np.array_equal(first, other_first)
    assert np.array_equal(second, other_second)


@NORMS
@given(data=st.data())
@QUICK
def test_gradients_by_distance_balance(p: float, data: st.DataObject) -> None:
    """Moving a whole triplet changes nothing: its three gradients add up to zero."""
    arrays = data.draw(Entry("triplet_margin_loss", TRIPLET).arguments())
    for swap in (False, True):
        parts = TRIPLETS.grad(**arrays, p=p, swap=swap, reduction="none", wrt=THREE)
        assert (np.abs(sum(parts)) <= np.spacing(2.0)).all()


class TestKinks:
    """The subgradient that each docstring names."""

    def test_a_margin_kept_exactly_pulls_at_nothing(self) -> None:
        anchor, positive, negative = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 6.0]])
        value, gradients = TRIPLETS.value_and_grad(anchor, positive, negative, eps=0.0, wrt=THREE)
        assert value == 0
        assert not np.any(gradients)
        beyond = TRIPLETS.grad(anchor, positive, negative, eps=0.0, margin=1.5, wrt=THREE)
        assert all(gradient.any() for gradient in beyond)

    @NORMS
    def test_no_distance_has_no_direction(self, p: float) -> None:
        x = np.array([[1.0, -2.0, 0.5]])
        value, gradients = CONTRASTIVE.value_and_grad(x, x, [0], margin=2.0, p=p, wrt=BOTH)
        assert value == 4
        assert not np.any(gradients)
        value, gradients = TRIPLETS.value_and_grad(x, x, x, p=p, eps=0.0, wrt=THREE)
        assert value == 1
        assert not np.any(gradients)

    def test_only_the_distance_that_is_zero_is_silent(self) -> None:
        x, far = np.array([[0.0, 0.0]]), np.array([[0.375, 0.5]])
        _, gradients = TRIPLETS.value_and_grad(x, x, far, eps=0.0, wrt=THREE)
        np.testing.assert_array_equal(gradients, [[[0.6, 0.8]], [[0, 0]], [[-0.6, -0.8]]])

    def test_a_component_without_difference_has_no_slope_for_p_1(self) -> None:
        x, y = np.array([[0.0, 2.0, -1.0]]), np.array([[3.0, 2.0, 1.0]])
        gradient = CONTRASTIVE.grad(x, y, [1], p=1.0)
        np.testing.assert_array_equal(gradient, [[-10, 0, -10]])

    def test_largest_components_share_the_slope_for_p_inf(self) -> None:
        x, y = np.array([[0.0, 2.0, -1.0, 0.0]]), np.array([[2.0, 0.0, 1.0, 1.0]])
        gradient = CONTRASTIVE.grad(x, y, [1], p=math.inf)
        np.testing.assert_array_equal(gradient, [[-4 / 3, 4 / 3, -4 / 3, 0]])

    def test_swap_takes_the_anchor_of_two_equal_distances(self) -> None:
        anchor, positive, negative = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75]])
        options = {"eps": 0.0, "wrt": THREE}
        plain = TRIPLETS.value_and_grad(anchor, positive, negative, **options)
        swapped = TRIPLETS.value_and_grad(anchor, positive, negative, swap=True, **options)
        assert bits(plain[0]) == bits(swapped[0])
        np.testing.assert_array_equal(plain[1], swapped[1])

    def test_a_cosine_at_the_margin_pulls_at_nothing(self) -> None:
        x, y = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [1.0, 2.0]])
        value, gradients = COSINE.value_and_grad(x, y, [-1, -1], reduction="none", wrt=SIDES)
        assert value[0] == 0
        assert value[1] > 0
        assert not gradients[0][0].any()
        assert gradients[0][1].any()

    def test_a_vector_of_zeros_is_across_everything(self) -> None:
        x, y = np.zeros((3, 2)), np.array([[3.0, 4.0], [0.0, 0.0], [3.0, 4.0]])
        value, gradients = COSINE.value_and_grad(
            x, y, [1, 1, -1], margin=-0.5, reduction="none", wrt=SIDES
        )
        np.testing.assert_array_equal(value, [1, 1, 0.5])
        assert not np.any(gradients)


class TestExtremes:
    """What a square of a component, or one minus a cosine, would lose."""

    @NORMS
    @pytest.mark.parametrize("size", [1e300, 1e-300, 1e-310])
    def test_powers_neither_overflow_nor_vanish(self, p: float, size: float) -> None:
        x = np.array([[3.0, -4.0, 0.0]]) * size
        options = {"p": p, "eps": 0.0, "margin": 0.0, "wrt": THREE}
        far = np.zeros_like(x)
        value, (slope, *_) = TRIPLETS.value_and_grad(x, far, x, **options)
        plain, (expected, *_) = TRIPLETS.value_and_grad(x / size, far, x / size, **options)
        entry = Entry("triplet_margin_loss", TRIPLET)
        np.testing.assert_array_equal(np.sign(slope), np.sign(expected))
        subnormal = np.spacing(0.0) / size  # what a component lost already
        assert abs(value / size - plain) <= entry.function.promise.float64 * max(
            np.spacing(plain), 4 * subnormal
        )

    def test_near_vectors_keep_their_distance(self) -> None:
        x = np.full((1, 3), 1e8)
        y = x + np.array([0.0, 2.0**-20, 0.0])
        assert CONTRASTIVE(x, y, [1]) == 2.0**-40

    @pytest.mark.parametrize("exponent", [-20, -27, -30, -500])
    def test_near_directions_keep_their_angle(self, exponent: int) -> None:
        """1 - cos of (1, 0) and (1, h) is h^2 / 2 (1 - 3/4 h^2 ...), where 1 - 0.9999... is 0."""
        h = 2.0**exponent
        value, gradients = COSINE.value_and_grad(
            np.array([[1.0, 0.0]]), np.array([[1.0, h]]), [1], wrt=SIDES
        )
        entry = Entry("cosine_embedding_loss", ANGLE)
        entry.kept(value, h * h / 2 * (1 - 3 * h * h / 4), "float64")
        entry.kept(gradients[1][0, 1], h * (1 - 3 * h * h / 2), "float64")
        entry.kept(gradients[0][0, 1], -h * (1 - h * h / 2), "float64")

    def test_one_direction_costs_nothing(self) -> None:
        x = np.array([[3.0, 4.0], [0.1, 0.7]])
        value = COSINE(x, x, [1, 1], reduction="none")
        assert not value.any()


@pytest.mark.parametrize("count", [1, 2000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_margin_missed_by_less_than_a_digit_still_pulls(count: int, dtype: str) -> None:
    """1.5 - 1e-30 is 1.5 in float64 as well, and the margin is missed all the same."""
    near, small = np.full(count, 1.5, dtype), np.full(count, 1e-30, dtype)
    value, gradient = refloss.margin_ranking_loss.value_and_grad(
        near, small, np.ones(count, dtype), margin=1.5, reduction="none"
    )
    np.testing.assert_array_equal(value, small)
    np.testing.assert_array_equal(gradient, -np.ones(count))
