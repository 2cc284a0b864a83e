"""NT-Xent, InfoNCE and SupCon are cross-entropies of a matrix that they never hold."""

import math
from typing import Any

import numpy as np
import pytest

import refloss

from .enrolled import BATCH, GROUPS, QUEUE, Entry, bits

SEEDS = pytest.mark.parametrize("seed", range(2))
TEMPERATURES = pytest.mark.parametrize("temperature", [0.02, 0.5, 2.0])
SOFTMAX = pytest.mark.parametrize("loss", ["nt_xent_loss", "info_nce_loss", "sup_con_loss"])
VIEWS = {"z_i": BATCH, "z_j": BATCH}
KEYS = {"query": BATCH, "positive_key": BATCH}
QUEUED = {**KEYS, "negative_keys": QUEUE}
CLASSES = {"embeddings": BATCH, "labels": GROUPS}

Floats = Any


def normalised(x: Floats) -> Floats:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def through(x: Floats, gradient: Floats) -> Floats:
    """A gradient by the directions of x as one by x."""
    u = normalised(x)
    along = np.sum(u * gradient, axis=1, keepdims=True)
    return (gradient - along * u) / np.linalg.norm(x, axis=1, keepdims=True)


def cross_entropy(logits: Floats, target: Floats) -> tuple[Floats, Floats]:
    """The rows' losses, and the gradient of their sum."""
    each: Floats = refloss.cross_entropy(logits, target, reduction="none")
    return each, refloss.cross_entropy.grad(logits, target, reduction="sum")


def without_self(logits: Floats) -> Floats:
    return np.where(np.eye(len(logits)) > 0, -math.inf, logits)


def asked(entry: Entry, arrays: Any) -> list[Floats]:
    """The rows' losses and the gradients of their sum by every argument."""
    options = {**entry.options, "reduction": "none", "wrt": entry.wrt}
    value, gradients = entry.function.value_and_grad(**arrays, **options)
    return [value, *gradients]


def agree(entry: Entry, arrays: Any, expected: list[Floats]) -> None:
    for found, truth in zip(asked(entry, arrays), expected, strict=True):
        entry.conditioned(found, truth, 2)


@SEEDS
@TEMPERATURES
def test_nt_xent_is_the_cross_entropy_of_both_views(seed: int, temperature: float) -> None:
    entry = Entry("nt_xent_loss", VIEWS, {"temperature": temperature})
    arrays = entry.sample(seed, n=7)
    z = np.concatenate([arrays["z_i"], arrays["z_j"]])
    u = normalised(z)
    partner = np.roll(np.arange(14), 7)
    each, by_logit = cross_entropy(without_self(u @ u.T / temperature), partner)
    gradient = through(z, (by_logit @ u + by_logit.T @ u) / temperature)
    agree(entry, arrays, [each, *np.split(gradient, 2)])


@SEEDS
@TEMPERATURES
def test_info_nce_is_the_cross_entropy_of_queries_and_keys(seed: int, temperature: float) -> None:
    entry = Entry("info_nce_loss", KEYS, {"temperature": temperature})
    arrays = entry.sample(seed, n=7)
    q, k = normalised(arrays["query"]), normalised(arrays["positive_key"])
    each, by_logit = cross_entropy(q @ k.T / temperature, np.arange(7))
    by_query = through(arrays["query"], by_logit @ k / temperature)
    by_key = through(arrays["positive_key"], by_logit.T @ q / temperature)
    agree(entry, arrays, [each, by_query, by_key])


@SEEDS
@TEMPERATURES
def test_a_queue_holds_the_other_classes(seed: int, temperature: float) -> None:
    entry = Entry("info_nce_loss", QUEUED, {"temperature": temperature})
    arrays = entry.sample(seed, n=7)
    q, k, queue = (normalised(array) for array in arrays.values())
    own = np.sum(q * k, axis=1, keepdims=True)
    logits = np.concatenate([own, q @ queue.T], axis=1) / temperature
    each, by_logit = cross_entropy(logits, np.zeros(7, int))
    by_own, by_other = by_logit[:, :1] / temperature, by_logit[:, 1:] / temperature
    by_direction = [by_own * k + by_other @ queue, by_own * q, by_other.T @ q]
    gradients = [
        through(x, gradient) for x, gradient in zip(arrays.values(), by_direction, strict=True)
    ]
    agree(entry, arrays, [each, *gradients])


@SEEDS
@TEMPERATURES
def test_sup_con_spreads_its_target_over_the_positives(seed: int, temperature: float) -> None:
    entry = Entry("sup_con_loss", CLASSES, {"temperature": temperature})
    arrays = entry.sample(seed, n=9)
    x, labels = arrays.values()
    labels[0] = 7  # a class of one
    u = normalised(x)
    positive = (labels[:, None] == labels) & ~np.eye(9, dtype=bool)
    masses = positive / np.maximum(1, positive.sum(axis=1, keepdims=True))
    each, by_logit = cross_entropy(without_self(u @ u.T / temperature), masses)
    gradient = through(x, (by_logit @ u + by_logit.T @ u) / temperature)
    assert each[0] == 0
    agree(entry, arrays, [each, gradient])


@SEEDS
def test_two_views_are_classes_of_two(seed: int) -> None:
    views, classes = Entry("nt_xent_loss", VIEWS), Entry("sup_con_loss", CLASSES)
    arrays = views.sample(seed, n=300)  # several blocks
    z = np.concatenate([*arrays.values()])
    labels = np.tile(np.arange(300), 2)
    options = {"temperature": 0.5, "reduction": "none"}
    value, gradients = views.function.value_and_grad(**arrays, **options, wrt=views.wrt)
    other_value, gradient = classes.function.value_and_grad(z, labels, **options)
    assert bits(value) == bits(other_value)
    assert bits(np.concatenate(gradients)) == bits(gradient)


def test_nothing_is_capped() -> None:
    """Each positive is opposite and the others lie across: 1 / T + log(2 + e^(-1 / T))."""
    x = np.eye(2)
    found = refloss.nt_xent_loss(x, -x, temperature=1e-3, reduction="none")
    assert found.tolist() == [1000 + math.log(2)] * 4


def test_the_confident_tail_is_kept() -> None:
    """Across at T = 0.02 is e^-50 each; log(1 + x) of that is not zero."""
    x = np.eye(2)
    value, gradient = refloss.nt_xent_loss.value_and_grad(x, x, temperature=0.02)
    Entry("nt_xent_loss", VIEWS).kept(value, math.log1p(2 * math.exp(-50)), "float64")
    pull = math.exp(-50) * 50
    Entry("nt_xent_loss", VIEWS).kept(gradient, pull * (1 - np.eye(2)), "float64", 2)


class TestNothingToTellApart:
    """What is left when embeddings or candidates are missing or all the same."""

    def test_a_single_example(self) -> None:
        x, y = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]])
        value, gradients = refloss.nt_xent_loss.value_and_grad(x, y, wrt=("z_i", "z_j"))
        assert value == 0
        assert not np.any(gradients)
        value, gradients = refloss.info_nce_loss.value_and_grad(x, y, wrt=("query", "positive_key"))
        assert value == 0
        assert not np.any(gradients)

    def test_an_empty_queue(self) -> None:
        x = np.array([[1.0, 2.0], [0.5, 0.0]])
        names = ("query", "positive_key", "negative_keys")
        value, gradients = refloss.info_nce_loss.value_and_grad(x, x[::-1], x[:0], wrt=names)
        assert value == 0
        assert [gradient.shape for gradient in gradients] == [(2, 2), (2, 2), (0, 2)]
        assert not np.any(np.concatenate(gradients))

    @pytest.mark.parametrize("labels", [[0], [0, 1, 2]])
    def test_nobody_has_a_positive(self, labels: list[int]) -> None:
        x = np.array([[1.0, 2.0], [0.5, 0.0], [0.0, 1.0]])[: len(labels)]
        for reduction in ("mean", "sum", "none"):
            value, gradient = refloss.sup_con_loss.value_and_grad(x, labels, reduction=reduction)
            assert not np.any(value)
            assert not np.any(gradient)

    def test_who_has_no_positive_does_not_count_in_the_mean(self) -> None:
        x = np.array([[1.0, 2.0], [0.5, 0.0], [0.0, 1.0]])
        each = refloss.sup_con_loss(x, [4, 4, 5], reduction="none")
        assert each[2] == 0
        assert refloss.sup_con_loss(x, [4, 4, 5]) == (each[0] + each[1]) / 2

    def test_identical_embeddings(self) -> None:
        x = np.tile([3.0, 4.0], (4, 1))
        for found, others in (
            (refloss.nt_xent_loss.value_and_grad(x, x), 7),
            (refloss.info_nce_loss.value_and_grad(x, x), 4),
            (refloss.sup_con_loss.value_and_grad(x, [0, 0, 1, 1]), 3),
        ):
            value, gradient = found
            assert abs(value - math.log(others)) <= np.spacing(2.0)
            assert np.abs(gradient).max() <= np.spacing(1.0) / 0.07

    @SOFTMAX
    def test_vectors_of_zeros(self, loss: str) -> None:
        """All cosines 0: every candidate is as likely, and a zero vector is not moved."""
        x = np.zeros((4, 3))
        second = np.array([0, 0, 1, 1]) if loss == "sup_con_loss" else x
        value, gradient = getattr(refloss, loss).value_and_grad(x, second, reduction="none")
        others = {"nt_xent_loss": 7, "info_nce_loss": 4, "sup_con_loss": 3}[loss]
        assert bits(value) == bits(np.full_like(value, math.log1p(others - 1)))
        assert not gradient.any()

    def test_a_zero_vector_among_others(self) -> None:
        """It counts with cosine 0, moves nothing, and the others feel each other as before."""
        query, key = np.array([[1.0, 0.0]]), np.array([[3.0, 4.0]])
        queue = np.array([[0.0, 0.0], [0.0, 1.0]])
        names = ("query", "positive_key", "negative_keys")
        options = {"temperature": 1.0, "wrt": names}
        value, gradients = refloss.info_nce_loss.value_and_grad(query, key, queue, **options)
        entry = Entry("info_nce_loss", QUEUED)
        entry.kept(value, math.log1p(2 * math.exp(-0.6)), "float64")
        assert not gradients[2][0].any()
        assert gradients[2][1].any()
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@SOFTMAX
def test_huge_and_tiny_embeddings(loss: str) -> None:
    """Their squares overflow and underflow; their directions do not."""
    x = np.array([[3.0, 4.0], [1.0, -1.0], [0.0, 2.0], [-1.0, 2.0]])
    sizes = 2.0 ** np.array([[1000], [-1000], [0], [600]])
    second = np.array([0, 0, 1, 1]) if loss == "sup_con_loss" else x[::-1]
    function = getattr(refloss, loss)
    value, gradient = function.value_and_grad(x, second)
    large, steep = function.value_and_grad(x * sizes, second)
    assert bits(value) == bits(large)
    exact = np.abs(gradient / sizes) > np.finfo(np.float64).tiny
    assert bits((gradient / sizes)[exact]) == bits(steep[exact])
