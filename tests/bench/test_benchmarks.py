"""asv's benchmarks: they measure the commit that is installed, and every call of theirs is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import refloss

ROOT = Path(__file__).resolve().parents[2]

# As asv does it: the folder's modules are imported, and the benchmarks forked from that process
DISCOVERED = f"""
import sys
sys.path = [path for path in sys.path if path]
before = sys.path.count({str(ROOT)!r})  # an editable install puts it there
sys.path.insert(0, {str(ROOT / "asv_bench")!r})
import importlib, pkgutil, benchmarks
for module in pkgutil.iter_modules(benchmarks.__path__):
    importlib.import_module("benchmarks." + module.name)
    print(module.name)
assert "refloss" not in sys.modules, "refloss was imported"
assert sys.path.count({str(ROOT)!r}) == before, "refloss would come from the working tree"
"""


def test_asv_gets_no_refloss_from_the_working_tree(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISCOVERED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"elementwise", "rowwise", "pairwise", "batch", "accuracy", "gpu"} <= set(
        done.stdout.split()
    )


@pytest.fixture
def cases() -> Any:
    import cpu_cases

    return cpu_cases


def test_every_loss_is_in_one_room(cases: Any) -> None:
    """A new loss is measured by being listed in its room."""
    others = {"class_balanced_weights", "mine_triplets", "smooth_labels"}
    losses = {name for name in refloss.__all__ if hasattr(getattr(refloss, name), "promise")}
    assert len(cases.LOSSES) == len(set(cases.LOSSES))
    assert set(cases.LOSSES) == losses - others


def test_every_case_is_a_call_that_is_accepted(cases: Any) -> None:
    for room in cases.ROOMS.values():
        for loss in room.losses:
            for dtype in cases.DTYPES:
                given = cases.arguments(loss, room.shapes[0], dtype)
                plan = getattr(refloss, loss)._plan(*given)
                assert plan.model.dtype == dtype, loss


def test_the_same_numbers_each_time(cases: Any) -> None:
    first, again = (cases.arguments("huber_loss", (8,), "float32") for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_what_a_commit_lacks_is_a_skip(cases: Any) -> None:
    with pytest.raises(NotImplementedError, match="no later_loss in this commit"):
        cases.loss_of("later_loss")
    given = cases.arguments("huber_loss", (8,), "float32")
    with pytest.raises(NotImplementedError, match="no such backend"):
        cases.call_of("huber_loss", "value", given, "abacus")


def test_one_thread_by_the_process_and_several_by_the_wall() -> None:
    import time

    import timing

    assert timing.ValueAndGradient.timer is time.process_time
    assert timing.Parallel.timer is time.perf_counter


def test_errors_are_finite_numbers_above_zero() -> None:
    """asv writes its pages for ever when it meets an infinity."""
    import errors

    found = [errors.clamped(ulp) for ulp in (0.0, 0.3, 2.5, float("inf"), float("nan"))]
    assert found == [0.5, 0.5, 2.5, 2.0**53, 2.0**53]
    assert "bulk" in errors.regions()["huber_loss"]
