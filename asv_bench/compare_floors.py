"""What no code on this machine can be faster than: moving bytes, exponentials, matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np

STREAMED = 1 << 28  # bytes in each array of the STREAM-like copy
IN_CACHE = 1 << 13  # numbers that stay in the cache of a core
PASSES = 64


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="floor")


def together(calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """Calls at the same time, the first by the thread that asks."""
    first, *others = calls
    pool = _pool(max(1, len(others)))

    def call() -> None:
        running = [pool.submit(other) for other in others]
        first()
        for one in running:
            one.result()

    return call


def pieces(array: np.ndarray, threads: int) -> list[np.ndarray]:
    """An array in as many pieces; small ones are not worth a second thread."""
    return np.array_split(array, threads if array.nbytes >= 1 << 18 else 1)


def copy_of(moved: int, threads: int) -> Callable[[], Any]:
    """A copy that reads half of the bytes and writes as many."""
    source = np.ones(max(1, moved // 16), np.float64)
    copied = np.zeros_like(source)
    both = zip(pieces(copied, threads), pieces(source, threads), strict=True)
    return together([partial(np.copyto, target, piece) for target, piece in both])


def read_of(moved: int, threads: int) -> Callable[[], Any]:
    """The largest of whole numbers, for which NumPy reads as many bytes at its quickest."""
    source = np.ones(max(1, moved // 8), np.int64)
    return together([partial(np.max, piece) for piece in pieces(source, threads)])


def exponentials(threads: int) -> Callable[[], Any]:
    """NumPy's exp of float64 numbers that are in the cache, on each thread `PASSES` times."""
    x = np.linspace(-20.0, 0.0, IN_CACHE)

    def work(out: np.ndarray) -> None:
        for _ in range(PASSES):
            np.exp(x, out=out)

    return together([partial(work, np.empty_like(x)) for _ in range(threads)])


def products_of(rows: int, components: int, count: int) -> Callable[[], Any]:
    """As many float64 products of ``rows`` squared times ``components``, by BLAS on its threads."""
    x = np.random.default_rng(0).standard_normal((rows, components))
    width = min(rows, 1024)
    out = np.empty((width, rows))

    def call() -> None:
        for start in range(0, rows, width):
            piece = x[start : start + width]
            for _ in range(count):
                np.matmul(piece, x.T, out=out[: len(piece)])

    return call


def best(call: Callable[[], Any], repetitions: int = 5) -> float:
    """The shortest of a few times, in seconds."""
    call()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measured(threads: int) -> dict[str, float]:
    """What this machine does on so many threads."""
    numbers = threads * PASSES * IN_CACHE
    flops = 2.0 * 3 * 2048**2 * 128
    return {
        "copy_bytes_per_second": 2 * STREAMED / best(copy_of(2 * STREAMED, threads)),
        "read_bytes_per_second": STREAMED / best(read_of(STREAMED, threads)),
        "exponentials_per_second": numbers / best(exponentials(threads)),
        "flops_per_second": flops / best(products_of(2048, 128, 3)),
    }
