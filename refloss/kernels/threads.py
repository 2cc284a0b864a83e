"""A few threads that work through blocks, in any order, to the same result."""

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_pool: ThreadPoolExecutor | None = None
_count: int | None = None
_is_ending = False


def get_num_threads() -> int:
    """How many threads the CPU kernels use: REFLOSS_NUM_THREADS, or one for each CPU."""
    global _count
    if _count is None:
        asked = os.environ.get("REFLOSS_NUM_THREADS", "")
        if asked and not (asked.isdigit() and int(asked) > 0):
            raise ValueError(f"REFLOSS_NUM_THREADS: expected a whole number >= 1, got {asked!r}")
        _count = int(asked) if asked else cpus()
    return _count


def cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_num_threads(count: int) -> None:
    """Use this many threads from now on; results do not depend on it, to the bit."""
    global _pool, _count
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count: expected a whole number >= 1, got {count!r}")
    _count, _pool = count, None


def may_be_lent() -> bool:
    """Whether there are several threads to share work.

    An interpreter that ends lends none, but those of its user may go on.
    """
    return not _is_ending and get_num_threads() > 1


def _end() -> None:
    global _is_ending
    _is_ending = True


def _at_end() -> None:
    """Hear of the end before threads are waited for, as those who have threads do."""
    try:
        getattr(threading, "_register_atexit", atexit.register)(_end)
    except RuntimeError:  # it has come
        _end()


_at_end()


def over(items: Sequence[Item], work: Callable[[Item], Result]) -> list[Result]:
    """The results of the work in the order of the items.

    Whatever happens, nobody works any more when this returns: the work may be on memory that is
    given back then.
    """
    global _pool
    if len(items) < 2 or not may_be_lent():
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

    others: list[Future[None]] = []
    try:
        for _ in range(helpers):
            others.append(pool.submit(take))  # noqa: PERF401 - one fails, and some have begun
        take()
    finally:
        for _ in waiting:
            pass  # after an error nobody begins another
        # who is busy for another caller has not begun, and is not waited for
        begun = [other for other in others if not other.cancel()]
        for other in begun:
            other.exception()  # comes when it has stopped, with an error or without
    for other in begun:
        other.result()
    return found


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _set_blas(one: Any, count: int) -> None:
    # threadpoolctl may hear nobody but the first thread that asked
    forget = getattr(one, "clear_controlling_thread", lambda force: None)
    forget(force=True)
    one.set_num_threads(count)
    forget(force=True)


class _OneThread:
    """BLAS on one thread, for as long as somebody wants it."""

    def __init__(self) -> None:
        self.lock, self.wanted = threading.Lock(), 0
        self.before: list[tuple[Any, int]] = []

    def __enter__(self) -> None:
        with self.lock:
            if not self.wanted:
                self.before = [(one, one.num_threads) for one in _blas().lib_controllers]
            self.wanted += 1
            for one, _ in self.before:
                _set_blas(one, 1)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.wanted -= 1
            for one, count in self.before:
                # of OpenMP every thread has its own setting
                if not self.wanted or getattr(one, "threading_layer", "") == "openmp":
                    _set_blas(one, count)

    def in_child(self) -> None:
        """Who wanted it in the parent is not there."""
        wanted, self.lock, self.wanted = self.wanted, threading.Lock(), 0
        for one, count in self.before if wanted else ():
            _set_blas(one, count)


_one_thread = _OneThread()


def blas_on_one_thread() -> AbstractContextManager[None]:
    """Matrix products by the thread that asks for them, to the same bits whatever the setting.

    BLAS threads beside those that are here would wait for each other: several times the time. The
    setting is one for the whole process, and is put back when the last of several callers is done.
    """
    return _one_thread


def _forget_pool() -> None:
    global _pool
    _pool = None  # threads do not survive a fork; the child makes its own
    _one_thread.in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
