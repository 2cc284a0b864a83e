"""What several tests of this folder set up."""

from collections.abc import Callable, Iterator

import pytest

import refloss


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, for the test alone."""
    before = refloss.get_num_threads()
    yield refloss.set_num_threads
    refloss.set_num_threads(before)
