"""Threads that share work: who takes what, and what happens when one of them fails."""

import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from refloss.kernels import threads


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_each_item_is_taken_once(count: int) -> None:
    threads.set_num_threads(count)
    taken: list[int] = []

    def work(k: int) -> int:
        taken.append(k)
        return -k

    for items in (0, 1, 2, 7, 100):
        assert threads.over(range(items), work) == [-k for k in range(items)]
        assert sorted(taken) == list(range(items))
        taken.clear()


@pytest.mark.parametrize("count", [2, 3])
def test_as_many_work_at_once_as_were_asked_for(count: int) -> None:
    """All of them meet, of which one is the caller, and no more."""
    threads.set_num_threads(count)
    meeting = threading.Barrier(count)
    workers: set[int] = set()

    def work(k: int) -> None:
        workers.add(threading.get_ident())
        meeting.wait(timeout=20)

    threads.over(range(4 * count), work)
    assert len(workers) == count
    assert threading.get_ident() in workers


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("in_caller", [False, True])
def test_an_error_comes_out_after_all_have_stopped(count: int, in_caller: bool) -> None:
    threads.set_num_threads(count)
    caller, meeting = threading.get_ident(), threading.Barrier(count)
    working: list[int] = []

    def work(k: int) -> int:
        if k >= count:
            return k
        working.append(k)
        try:
            meeting.wait(timeout=20)
            if (threading.get_ident() == caller) == in_caller or count == 1:
                raise ZeroDivisionError("of one")
            time.sleep(0.02)  # while another fails
            return k
        finally:
            working.remove(k)

    with pytest.raises(ZeroDivisionError, match="of one"):
        threads.over(range(4 * count), work)
    assert not working
    assert threads.over(range(10), lambda k: k) == list(range(10))  # and the pool is as it was


def test_the_number_is_changed_while_others_work() -> None:
    """By another thread."""
    stop, wrong = threading.Event(), threading.Event()

    def change() -> None:
        count = 2
        while not stop.is_set():
            threads.set_num_threads(count)
            count = 5 - count

    def ask() -> None:
        try:
            for _ in range(60):
                if threads.over(range(5), lambda k: k) != list(range(5)):
                    wrong.set()
        except BaseException:
            wrong.set()
            raise

    changing = threading.Thread(target=change)
    asking = [threading.Thread(target=ask) for _ in range(3)]
    changing.start()
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    stop.set()
    changing.join()
    assert not wrong.is_set()


def test_threads_that_are_not_wanted_any_more_end() -> None:
    threads.set_num_threads(3)
    before = set(threading.enumerate())
    threads.over(range(20), lambda k: k)
    started = set(threading.enumerate()) - before
    assert 1 <= len(started) <= 2
    threads.set_num_threads(2)
    for one in started:
        one.join(timeout=20)
        assert not one.is_alive()


def test_an_error_comes_out_after_the_slowest_has_stopped() -> None:
    """Whichever of the helpers it is that fails."""
    threads.set_num_threads(3)
    caller, still = threading.get_ident(), threading.Event()
    for turn in range(8):
        meeting, order, still = threading.Barrier(3), iter(range(2)), threading.Event()

        def work(
            k: int,
            turn: int = turn,
            meeting: threading.Barrier = meeting,
            order: Iterator[int] = order,
            still: threading.Event = still,
        ) -> None:
            meeting.wait(timeout=20)
            if threading.get_ident() != caller:
                if next(order) == turn % 2:
                    raise ZeroDivisionError("of one")
                time.sleep(0.03)
                still.set()

        with pytest.raises(ZeroDivisionError, match="of one"):
            threads.over(range(3), work)
        assert still.is_set()


def test_nobody_waits_for_work_that_others_do_for_somebody_else() -> None:
    threads.set_num_threads(2)
    begun, go_on = threading.Event(), threading.Event()

    def slow(k: int) -> None:
        begun.set()
        assert go_on.wait(timeout=20)

    first = threading.Thread(target=threads.over, args=(range(2), slow))
    second = threading.Thread(target=threads.over, args=(range(2), slow))
    first.start()
    second.start()  # all threads of the pool are taken
    assert begun.wait(timeout=20)
    time.sleep(0.05)
    try:
        done = threading.Thread(target=threads.over, args=(range(4), str))
        done.start()
        done.join(timeout=5)
        assert not done.is_alive()
    finally:
        go_on.set()
        for one in (first, second, done):
            one.join()


AT_THE_END = """
import atexit, threading
from refloss.kernels import threads

threads.set_num_threads(2)
print(threads.over(range(3), str))

def late():
    threading.main_thread().join()
    print(threads.over(range(4), str))

threading.Thread(target=late).start()
atexit.register(lambda: print(threads.over(range(5), str)))
"""


def test_an_interpreter_that_ends_lends_no_threads() -> None:
    """Those that its user began go on, and what is to be done at exit is done."""
    command = [sys.executable, "-c", AT_THE_END]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str([str(k) for k in range(n)]) for n in (3, 4, 5)]
    assert not done.stderr


def blas_threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {one["num_threads"] for one in threads._blas().info()}


class Wanting:
    """A thread that keeps BLAS to one thread from now until it is told to stop."""

    def __init__(self) -> None:
        self.inside, self.stop = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._want)
        self.thread.start()
        assert self.inside.wait(timeout=20)

    def _want(self) -> None:
        with threads.blas_on_one_thread():
            self.inside.set()
            self.stop.wait(timeout=20)

    def end(self) -> None:
        self.stop.set()
        self.thread.join()


@pytest.mark.parametrize("first_out", [0, 1])
def test_blas_keeps_to_one_thread_while_anybody_wants_it(first_out: int) -> None:
    """Even if it was set by another; and has as many as before when nobody does."""
    before = blas_threads()
    with threads._blas().limit(limits=3):
        wanting = [Wanting(), Wanting()]
        for which in (first_out, 1 - first_out):
            assert blas_threads() <= {1}
            wanting[which].end()
        assert blas_threads() <= {3}
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_has_the_blas_threads_of_its_parent() -> None:
    """Even if somebody else kept them to one while it was made."""
    with threads._blas().limit(limits=3):
        wanting = Wanting()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a fork among threads, JAX's among them
                child = os.fork()
            if not child:
                with threads.blas_on_one_thread():
                    alone = blas_threads() <= {1}
                os._exit(0 if alone and blas_threads() <= {3} else 1)
            assert os.waitpid(child, 0)[1] == 0
        finally:
            wanting.end()
