"""Threads that share work: who takes what, and what happens when one of them fails."""

import threading
import time
from collections.abc import Iterator

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
