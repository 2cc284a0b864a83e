"""Nothing is read or written beyond an array, by any kind of kernel, at either of its ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")

SCRIPT = Path(__file__).with_name("bounds.py")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("step", ["beyond", "before"])
def test_the_walls_stand(step: str) -> None:
    done = run(step)
    assert done.returncode == -signal.SIGSEGV
    assert "Segmentation fault" in done.stderr


def test_nothing_is_touched_beyond_an_array() -> None:
    """The last call that is named is the one that did not come back."""
    done = run()
    last = (done.stdout.splitlines() or ["nothing"])[-1]
    assert done.returncode == 0, f"{last}\n{done.stderr}"
    word, made = last.split()
    assert (word, int(made) > 1000) == ("made", True)
