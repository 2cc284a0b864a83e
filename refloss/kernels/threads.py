"""A few threads that work through blocks, in any order, to the same result."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_pool: ThreadPoolExecutor | None = None
_count: int | None = None


def get_num_threads() -> int:
    """How many threads the CPU kernels use: REFLOSS_NUM_THREADS, or one for each CPU."""
    global _count
    if _count is None:
        asked = os.environ.get("REFLOSS_NUM_THREADS", "")
        if asked and not (asked.isdigit() and int(asked) > 0):
            raise ValueError(f"REFLOSS_NUM_THREADS: expected a whole number >= 1, got {asked!r}")
        _count = int(asked) if asked else _cpus()
    return _count


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_num_threads(count: int) -> None:
    """Use this many threads from now on; results do not depend on it, to the bit."""
    global _pool, _count
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count: expected a whole number >= 1, got {count!r}")
    _count, _pool = count, None


def over(items: Sequence[Item], work: Callable[[Item], Result]) -> list[Result]:
    """The results of the work in the order of the items."""
    global _pool
    if len(items) < 2 or get_num_threads() == 1:
        return [work(item) for item in items]
    helpers = min(get_num_threads(), len(items)) - 1  # the caller works as well
    pool = _pool  # another caller may set a number of threads meanwhile
    if pool is None:
        pool = _pool = ThreadPoolExecutor(get_num_threads(), thread_name_prefix="refloss")
    found: list[Any] = [None] * len(items)
    waiting = iter(range(len(items)))  # whoever is free takes the next: `next` is one step

    def take() -> None:
        for k in waiting:
            found[k] = work(items[k])

    others = [pool.submit(take) for _ in range(helpers)]
    try:
        take()
    finally:
        for other in others:
            other.result()
    return found


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def blas_on_one_thread() -> Iterator[None]:
    """Matrix products by the thread that asks for them, to the same bits whatever the setting.

    BLAS threads beside those that are here would wait for each other: several times the time. The
    setting is one for the whole process, and is put back at the end.
    """
    with _blas().limit(limits=1):
        yield


def _forget_pool() -> None:
    global _pool
    _pool = None  # threads do not survive a fork; the child makes its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
