"""What an array looks like in memory, and who computes it, changes no bit."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import refloss

from .enrolled import EMBEDDED, ENROLLED, Arrays, D, Entry, N, bits, calls

EVERY = pytest.mark.parametrize("entry", [*ENROLLED, *EMBEDDED], ids=str)
SINGLE = pytest.mark.parametrize("entry", ENROLLED, ids=str)

# Several blocks of work, the last one not full
MANY = 4001


def fortran(array: Any) -> Any:
    return np.asfortranarray(array)


def strided(array: Any) -> Any:
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    wide[tuple(slice(None, None, 2) for _ in array.shape)] = array
    return wide[tuple(slice(None, None, 2) for _ in array.shape)]


def backwards(array: Any) -> Any:
    flipped = np.ascontiguousarray(np.flip(array))
    return np.flip(flipped)


def transposed(array: Any) -> Any:
    axes = range(array.ndim)[::-1]
    return np.ascontiguousarray(array.transpose(axes)).transpose(axes)


def offset(array: Any) -> Any:
    """A view that starts in the middle of another array, off its alignment to cache lines."""
    flat = np.zeros(array.size + 3, array.dtype)
    flat[3:] = array.ravel()
    return flat[3:].reshape(array.shape)


def unaligned(array: Any) -> Any:
    """One byte off, as the fields of a packed record are."""
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = raw.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array: Any) -> Any:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def swapped(array: Any) -> Any:
    return array.astype(array.dtype.newbyteorder())


def subclass(array: Any) -> Any:
    return array.view(type("Tagged", (np.ndarray,), {}))


LAYOUTS = [fortran, strided, backwards, transposed, offset, unaligned, read_only, swapped, subclass]


@EVERY
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_nothing(entry: Entry, layout: Callable[[Any], Any]) -> None:
    arrays = entry.sample(3, "float32")
    laid = {name: layout(array) for name, array in arrays.items()}
    before = {name: array.copy() for name, array in laid.items()}
    for (name, expected), (_, found) in zip(calls(entry, arrays), calls(entry, laid), strict=True):
        assert bits(expected) == bits(found), name
        assert type(found) is np.ndarray
        assert found.dtype.isnative
        assert found.flags.writeable or found.ndim == 0
    for name, array in laid.items():
        assert bits(array) == bits(before[name]), f"{name} was written to"


@SINGLE
def test_one_element_broadcast_to_many(entry: Entry) -> None:
    """A stride of 0 in every axis."""
    spread = {
        name: array
        if array.ndim == 1
        else np.broadcast_to(array[:1, ..., :1], (N, *array.shape[1:-1], D))
        for name, array in entry.sample(4).items()
    }
    copied = {name: array.copy() for name, array in spread.items()}
    for (name, expected), (_, found) in zip(
        calls(entry, copied), calls(entry, spread), strict=True
    ):
        assert bits(expected) == bits(found), name


@SINGLE
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_threads_change_nothing(entry: Entry, dtype: str, threads: Callable[[int], None]) -> None:
    arrays = entry.sample(5, dtype, n=MANY)
    answers = []
    for count in (1, 2, 3):
        threads(count)
        answers.append([(name, bits(found)) for name, found in calls(entry, arrays)])
    assert answers[0] == answers[1] == answers[2]


@SINGLE
def test_a_batch_is_its_rows(entry: Entry) -> None:
    """Where the blocks are cut does not matter either."""
    arrays = entry.sample(6, n=MANY)
    few = {
        name: array if array.shape[0] != MANY else array[1000:1007]
        for name, array in arrays.items()
    }
    few_answers = dict(calls(entry, few))
    for name, found in calls(entry, arrays):
        if name.startswith("none"):
            assert bits(found[1000:1007]) == bits(few_answers[name]), name


def _answers(entry: Entry, arrays: Arrays) -> list[bytes]:
    return [bits(found) for _, found in calls(entry, arrays)]


def test_python_threads_may_call_at_once(threads: Callable[[int], None]) -> None:
    threads(2)
    work = [(entry, entry.sample(7, n=MANY)) for entry in ENROLLED[::4]]
    expected = [_answers(*one) for one in work]
    found: dict[int, list[list[bytes]]] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            found[number] = [_answers(*one) for one in work]
        except BaseException as error:
            errors.append(error)

    callers = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not errors
    assert all(found[number] == expected for number in range(4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*")  # JAX warns too, where another test imported it
def test_a_forked_child_computes_the_same(threads: Callable[[int], None]) -> None:
    """The parent's threads do not survive the fork; the child has to start its own."""
    threads(2)
    entry = ENROLLED[0]
    arrays = entry.sample(8, n=MANY)
    expected = _answers(entry, arrays)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs is a failure, not a wait
        status = 1
        try:
            os.write(writer, b"same" if _answers(entry, arrays) == expected else b"other")
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert answer.read() == b"same"
    assert os.waitpid(child, 0)[1] == 0
    assert _answers(entry, arrays) == expected


def test_a_single_row_may_lie_apart_and_be_scaled() -> None:
    apart = np.arange(20.0).reshape(1, 20)[:, ::2]
    label, upstream = np.array([0]), np.float64(2)
    found = refloss.cross_entropy.grad(apart, label, grad_output=upstream)
    expected = refloss.cross_entropy.grad(apart.copy(), label, grad_output=upstream)
    assert bits(found) == bits(expected)
