"""The benchmark without a GPU: refusal, what a report holds, and the table made of one."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def loaded(path: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script as a module."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "asv_bench"), *sys.path])
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return loaded("asv_bench/gpu.py", monkeypatch)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return loaded("docs/tables.py", monkeypatch)


def fake_clock(gpu: ModuleType) -> Callable[[Callable[[], Any]], Any]:
    """Calls, and says how long the call says that it takes."""

    def clock(call: Callable[[], Any]) -> Any:
        _, milliseconds = call()
        return gpu.Times([milliseconds + extra for extra in (2.0, 0.0, 1.0)], [9.0])

    return clock


MILLISECONDS = {"cuda": 3.0, "torch": 7.0, "copy": 1.0}


def fake_peers(gpu: ModuleType) -> Callable[[str, Any], Callable[..., Any]]:
    """Some that answer, one that is missing, one that runs out of memory, one that cannot start."""

    def make(peer: str, case: Any) -> Callable[..., Any]:
        if peer == "triton":
            raise gpu.NotRunError("triton cannot be imported: No module named 'triton'")
        if peer == "cuda:float32":
            raise RuntimeError("no\nkernel")

        def call(*given: Any) -> Any:
            if peer == "torch.compile":
                raise MemoryError("out of memory")
            return None, MILLISECONDS[peer]

        return call

    return make


@pytest.fixture
def row(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is measured of the first case by the fakes."""
    monkeypatch.setattr(gpu, "_accuracy", lambda *of: {"max_ulp": 0.5, "same_numbers": 1.0})
    case = gpu.CASES[0]
    found: dict[str, Any] = gpu.measured(
        case, fake_clock(gpu), math.inf, fake_peers(gpu), lambda case: ()
    )
    return found


def test_nothing_is_written_without_a_device(
    gpu: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from refloss.kernels.cuda import available

    monkeypatch.setattr(available, "reason", lambda: "there is no such thing")
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    assert gpu.main(["-o", str(tmp_path / "out.json")]) == 2
    assert capsys.readouterr().err == "BackendUnavailable: there is no such thing\n"
    assert not list(tmp_path.iterdir())


def test_a_peer_that_fails_costs_no_other_result(row: dict[str, Any]) -> None:
    results = row["results"]
    assert results["triton"] == {"not_run": "triton cannot be imported: No module named 'triton'"}
    assert results["torch.compile"] == {"error": "MemoryError: out of memory"}
    assert results["cuda:float32"] == {"error": "RuntimeError: no kernel"}
    own = results["cuda"]
    assert (own["median_ms"], own["min_ms"], own["wall_ms"]) == (4.0, 3.0, 9.0)
    assert own["faster_than"] == {"torch": 2.0}
    assert own["share_of_copy"] == 0.5
    assert own["gigabytes_per_second"] == row["bytes"] / 4e6
    assert own["max_ulp"] == 0.5
    assert "max_ulp" not in results["copy"]


def test_what_comes_too_late_is_not_begun(gpu: ModuleType) -> None:
    row = gpu.measured(
        gpu.CASES[0], fake_clock(gpu), time.monotonic() - 1, fake_peers(gpu), lambda case: ()
    )
    assert set(row["results"]) == set(gpu.PEERS)
    assert all(result == {"not_run": "the time was up"} for result in row["results"].values())


@pytest.mark.parametrize("loss", ["cross_entropy", "huber_loss", "nt_xent_loss"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_peers_are_held_against_the_cpu(gpu: ModuleType, loss: str, dtype: str) -> None:
    pytest.importorskip("torch")
    cases = sys.modules["gpu_cases"]
    shape = {"cross_entropy": (256, 10), "huber_loss": (1024,), "nt_xent_loss": (64, 8)}[loss]
    case = cases.Case(loss, shape, dtype)

    def draw(case: Any) -> Any:
        return cases.inputs(case, "cpu")

    answer = answers(cases, case)
    right, wrong = (
        gpu._accuracy(case, lambda *given, off=off: answer(*given, off=off), [], draw)["max_ulp"]
        for off in (False, True)
    )
    bound = accurate(dtype)
    assert right <= bound < wrong


def answers(cases: ModuleType, case: Any) -> Callable[..., Any]:
    """refloss's whole-array path on torch tensors; a gradient of twice the size if it is off."""
    import refloss

    def call(*given: Any, off: bool) -> Any:
        if case.loss == "nt_xent_loss":
            value, gradients = cases.nt_xent("array")(*given)
            return value, tuple(2 * g if off else g for g in gradients)
        value, gradient = getattr(refloss, case.loss).value_and_grad(*given, backend="array")
        return value, 2 * gradient if off else gradient

    return call


def accurate(dtype: str) -> float:
    from refloss.accuracy import FORMATS

    return FORMATS[dtype].accurate


def sample(row: dict[str, Any]) -> dict[str, Any]:
    """A report as a run would write it; nothing in it was measured."""
    return {
        "schema": "refloss-gpu-1",
        "date": "2000-01-02T03:04:05+00:00",
        "revision": "0123456789abcdef",
        "quick": False,
        "device": {"name": "No GPU", "driver": "1.2", "cuda": "13.0"},
        "versions": {"torch": "1.0", "triton": None},
        "checks": {"outcomes": {"passed": 7, "skipped": 1}},
        "cases": [row],
    }


def test_a_report_is_written_whole_or_not_at_all(
    gpu: ModuleType, row: dict[str, Any], tmp_path: Path
) -> None:
    report = sample(row)
    path = tmp_path / "new" / "gpu.json"
    gpu.write(report, path)
    assert json.loads(path.read_text()) == report
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        gpu.write({**report, "seconds": math.nan}, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    assert gpu.default_path(report).name == "gpu-no-gpu-2000-01-02.json"


def test_the_table_is_made_of_the_newest_report(
    tables: ModuleType, row: dict[str, Any], tmp_path: Path
) -> None:
    report = sample(row)
    older = {**report, "date": "1999-12-31T00:00:00+00:00", "cases": []}
    for name, one in (("gpu-a.json", report), ("gpu-b.json", older)):
        (tmp_path / name).write_text(json.dumps(one))
    text = tables.gpu(tables.newest(tmp_path))
    assert text.startswith("No GPU, driver 1.2, CUDA 13.0; torch 1.0; commit 0123456789ab")
    assert "7 passed, 1 skipped" in text
    first, *others = text.splitlines()[4:]
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert cells[3:] == ["4.000 ms", "failed", "8.000 ms", "failed", "not run", "2.000 ms", "50 %"]
    assert len(others) == len(tables.CASES) - 1
    assert all(other.count("not run") == 7 for other in others)


def test_without_a_report_every_cell_says_so(tables: ModuleType, tmp_path: Path) -> None:
    text = tables.gpu(tables.newest(tmp_path))
    assert text.startswith("No run on a GPU has been committed yet.")
    assert " ms" not in text
    assert text.count("not run") == 7 * len(tables.CASES)


def test_outcomes_are_read_from_the_last_line(gpu: ModuleType) -> None:
    line = "== 3 failed, 120 passed, 2 skipped, 40 deselected, 1 error in 12.34s =="
    counts = {"failed": 3, "passed": 120, "skipped": 2, "deselected": 40, "error": 1}
    assert gpu.outcomes(line) == counts
