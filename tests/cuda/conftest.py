"""Which tests of this folder can run in this process, and why the others cannot.

A test file says what it needs in its line ``pytestmark = pytest.mark.KIND``:

* ``sim``: the simulator, which Numba chooses when it is imported;
* ``ptx``: numba-cuda without the simulator, and the compilers of CUDA;
* ``gpu``: a device that numba-cuda can use.
"""

import importlib.util
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SIMULATOR = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
KIND = re.compile(r"^pytestmark = .*pytest\.mark\.(sim|ptx|gpu)\b", re.MULTILINE)

RUN = {
    "sim": "NUMBA_ENABLE_CUDASIM=1 pytest -m sim tests/cuda",
    "ptx": "pytest -m ptx tests/cuda",
    "gpu": "pytest -m gpu tests/cuda",
}


@cache
def obstacle(kind: str) -> str | None:
    """Why tests of a kind cannot run in this process."""
    needed = ("numba_cuda", "greenlet") if kind == "sim" else ("numba_cuda",)
    missing = [name for name in needed if not importlib.util.find_spec(name)]
    if missing:
        return f"{' and '.join(missing)} not installed: pip install -e '.[cuda-test]'"
    if (kind == "sim") != SIMULATOR:
        other = "the simulator" if kind == "sim" else "no simulator"
        return f"needs {other}, in a process of its own: {RUN[kind]}"
    if kind == "gpu":
        from numba import cuda

        if not cuda.is_available():
            return "no CUDA device that numba-cuda can use"
    return None


class Skipped(pytest.Module):
    """A test file that would not even import."""

    reason = ""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(self.reason, allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Leave out a file, visibly, if what it needs is not there."""
    kind = KIND.search(module_path.read_text(encoding="utf-8"))
    reason = kind and obstacle(kind[1])
    if not reason:
        return None
    skipped: Skipped = Skipped.from_parent(parent, path=module_path)
    skipped.reason = f"{module_path.name}: {reason}"
    return skipped


@pytest.fixture(autouse=True)
def _strict_simulator(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests in the simulator get the strict scheduler, in the order that is easiest to follow."""
    if request.node.get_closest_marker("sim") is None:
        yield
        return
    from .scheduler import simulated

    with simulated():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a device, small arrays fill few of its processors, of which numba-cuda warns."""
    low_occupancy = pytest.mark.filterwarnings(
        r"ignore:Grid size \d+ will likely result in GPU under-utilization"
    )
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(low_occupancy)
