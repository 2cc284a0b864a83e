"""Losses of whole batches hold neither all similarities nor all triplets: counted, not timed."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import refloss


def peak(call: Callable[[], Any]) -> int:
    """The bytes that a call needs at a time, beyond what was there."""
    call()  # compiled
    threads = refloss.get_num_threads()
    refloss.set_num_threads(1)
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        refloss.set_num_threads(threads)


def embeddings(n: int, components: int) -> Any:
    return np.random.default_rng(n).normal(size=(n, components)).astype(np.float32)


def nt_xent(n: int) -> Callable[[], Any]:
    x = embeddings(n, 16)
    half = n // 2
    return lambda: refloss.nt_xent_loss.value_and_grad(x[:half], x[half:], wrt=("z_i", "z_j"))


def sup_con(n: int) -> Callable[[], Any]:
    x, labels = embeddings(n, 16), np.arange(n) % 10
    return lambda: refloss.sup_con_loss.value_and_grad(x, labels)


def info_nce(n: int) -> Callable[[], Any]:
    x = embeddings(n, 16)
    names = ("query", "positive_key")
    return lambda: refloss.info_nce_loss.value_and_grad(x, x[::-1], wrt=names)


@pytest.mark.parametrize("make", [nt_xent, sup_con, info_nce])
def test_similarities_take_the_memory_of_the_embeddings(make: Any) -> None:
    """Twice the batch, at most twice the memory; and far less than one float32 similarity each."""
    small, large = (peak(make(n)) for n in (2048, 4096))
    assert large < 2.2 * small, (small, large)
    assert large < 4096**2 * 4 / 2, large


def test_triplets_take_the_memory_of_the_distances() -> None:
    """A few arrays of N x N, where a list of the triplets would be N / 4 of them."""
    x, labels = embeddings(512, 4), np.arange(512) % 2
    assert peak(lambda: refloss.batch_triplet_loss.value_and_grad(x, labels)) < 8 * 512**2 * 8
