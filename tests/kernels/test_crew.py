"""Threads that take pieces of a task: each piece once, each thread in its own room."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

import refloss
from refloss.formula.emitted import DOUBLE
from refloss.kernels import crew, threads
from refloss.kernels.address import address_of
from refloss.kernels.crew import Crew
from refloss.kernels.simd.tasks import Piece, Task
from refloss.kernels.simd.writing import Body, Stored

Array = Any

ROOM = 8  # doubles
IN, FOUND_TAKEN, AT_WORK = range(3)  # of a room: whether somebody is in, and since when it was so


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    count = threads.get_num_threads()
    yield
    refloss.set_num_threads(count)


def write(builder: Any, piece: Piece) -> None:
    """Count a piece, and who is in the room at the same time."""
    body, room = Body(builder, DOUBLE), Stored(piece.room, "int64")
    (counts,) = (Stored(one, "int64") for one in piece.arrays)
    before = body.counted(room, body.whole(IN))
    with builder.if_then(builder.icmp_signed("!=", before, body.whole(0))):
        body.counted(room, body.whole(FOUND_TAKEN))
    with body.loop(body.whole(0), piece.classes):
        body.counted(room, body.whole(AT_WORK))
    body.counted(counts, piece.number)
    body.put_raw(room, body.whole(IN), body.whole(0))


@cache
def counting(is_shared: bool = False) -> Task:
    return Task(write, 1, 0, (write, is_shared), is_shared)


class Work:
    """Pieces to count, each of so many steps, for as many threads."""

    def __init__(self, pieces: int, steps: int, size: int, task: Task | None = None) -> None:
        self.task = counting() if task is None else task
        self.counts = np.zeros(max(pieces, size), np.int64)
        self.rooms = np.zeros((size, ROOM), np.int64)
        self.found = np.zeros((pieces, 3))
        self.block = self.task.block()
        self.pieces = pieces
        extents = (0, pieces, 1, steps, 0, 0, address_of(self.found))
        self.task.layout.pack_into(self.block, 0, address_of(self.counts), *extents)

    def run(self, among: Crew) -> bool:
        rooms = address_of(self.rooms), ROOM * 8
        return among.run(self.task.address, address_of(self.block), *rooms, self.pieces)


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("steps", [0, 100, 10_000])
def test_each_piece_is_done_once_and_by_one_in_a_room(size: int, steps: int) -> None:
    among = Crew(size)
    for pieces in (1, 2, 3, 7, 64, 300):
        work = Work(pieces, steps, size)
        for turn in range(5):
            assert work.run(among)
            assert (work.counts[:pieces] == turn + 1).all()
            assert not work.rooms[:, FOUND_TAKEN].any()
            assert not work.rooms[:, IN].any()
        assert work.rooms[:, AT_WORK].sum() == 5 * pieces * steps


def test_a_shared_task_is_done_by_each_that_comes_and_by_the_first_in_any_case() -> None:
    among, times = Crew(3), 200
    work = Work(crew.SHARED, 20_000, 3, counting(is_shared=True))
    for _ in range(times):
        assert work.run(among)
    assert work.counts[0] == times
    assert (work.counts <= times).all()
    assert work.counts[1:].any()
    assert not work.rooms[:, FOUND_TAKEN].any()


def test_helpers_go_to_sleep_and_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "PATIENCE", 10)
    among, work = Crew(2), Work(200, 20_000, 2)
    shares = []
    for turn in range(20):
        before = work.rooms[1, AT_WORK]
        assert work.run(among)
        assert (work.counts == turn + 1).all()
        shares.append(work.rooms[1, AT_WORK] - before)
        among.pool.submit(int).result()  # behind the helper, who sleeps by then
    assert sum(share > 0 for share in shares) > 1
    among.pool.shutdown()
    assert not among.awake.any()


def test_there_is_one_helper_in_a_seat() -> None:
    among, work = Crew(2), Work(200, 1000, 2)
    for turn in range(20):
        for _ in range(3):
            among.pool.submit(among._sit_down, 1)
        assert work.run(among)
        assert (work.counts == turn + 1).all()
    assert not work.rooms[:, FOUND_TAKEN].any()


def test_there_is_one_desk_and_who_finds_it_taken_is_told() -> None:
    among, work = Crew(2), Work(3, 10, 2)
    taken = among.memory[(among.desk + crew.TAKEN - address_of(among.memory)) // 8 :]
    taken[0] = 1
    assert not work.run(among)
    assert not work.counts.any()
    taken[0] = 0
    assert work.run(among)
    assert work.counts.all()


def test_without_more_threads_the_leader_does_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    among, work = Crew(2), Work(200, 20_000, 2)

    def start(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert work.run(among)
    assert (work.counts == 1).all()
    assert not work.rooms[1, AT_WORK]
    for _ in range(20):  # and when there are threads again, a helper comes
        assert work.run(among)
    assert (work.counts == 21).all()
    assert work.rooms[1, AT_WORK]


def test_an_interrupt_while_a_helper_is_called_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of Python's makes a RuntimeError of it."""
    among, work = Crew(2), Work(5, 10, 2)

    def submit(*given: Any) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    with monkeypatch.context() as patched:
        patched.setattr(among.pool, "submit", submit)
        with pytest.raises(KeyboardInterrupt):
            work.run(among)
    assert work.run(among)
    assert (work.counts == 1).all()


def test_a_crew_is_of_as_many_as_there_are_to_be_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """But of no more than there are CPUs, which would wait for each other."""
    monkeypatch.setattr(threads, "cpus", lambda: 4)
    for count, size in ((2, 2), (3, 3), (5, 4)):
        refloss.set_num_threads(count)
        found = crew.current()
        assert found is not None
        assert found is crew.current()
        assert found.size == size
    refloss.set_num_threads(1)
    assert crew.current() is None


def test_the_threads_of_a_crew_that_is_not_wanted_any_more_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "cpus", lambda: 4)
    refloss.set_num_threads(3)
    before = set(threading.enumerate())
    among = crew.current()
    assert among is not None
    Work(50, 10, 3).run(among)
    started = set(threading.enumerate()) - before
    assert started
    refloss.set_num_threads(2)
    del among
    crew.current()
    for one in started:
        one.join(timeout=20)
        assert not one.is_alive()


def entropy(rows: int, classes: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, classes)), rng.integers(0, classes, rows)


@pytest.mark.parametrize("shape", [(3000, 100), (1, 50_000)])
def test_several_callers_at_once_get_what_each_gets_alone(shape: tuple[int, int]) -> None:
    refloss.set_num_threads(2)
    given = entropy(*shape)
    expected = refloss.cross_entropy.grad(*given)
    wrong = threading.Event()

    def ask() -> None:
        for _ in range(50):
            if refloss.cross_entropy.grad(*given).tobytes() != expected.tobytes():
                wrong.set()

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert not wrong.is_set()


IN_A_CHILD = """
import os, signal
import numpy as np
import refloss
from refloss.kernels import crew

refloss.set_num_threads(2)
x = np.ones(300_000)
ask = lambda: float(refloss.mse_loss(x, 2 * x))
ask()
child = os.fork()  # while a helper is awake
signal.alarm(60)
if child == 0:
    assert crew._crew is None
    os._exit(int(ask() != 1))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ask())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_has_a_crew_of_its_own() -> None:
    for _ in range(3):  # the first may have to compile
        assert run(IN_A_CHILD) == ["0", "1.0"]


AT_THE_END = """
import atexit, threading
import numpy as np
import refloss

refloss.set_num_threads(2)
x = np.ones(300_000)
ask = lambda: print(float(refloss.mse_loss(x, 2 * x)), flush=True)
ask()

def late():
    threading.main_thread().join()
    ask()

threading.Thread(target=late).start()
atexit.register(ask)
"""


def test_an_interpreter_that_ends_waits_for_no_helper() -> None:
    assert run(AT_THE_END) == ["1.0"] * 3


def run(program: str) -> list[str]:
    """What a program says, which ends well."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()
