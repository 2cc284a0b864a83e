"""The gate: what it calls a regression, and how it says that it could not measure."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("packaging", reason="packaging is not installed: pip install '.[bench]'")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def gate() -> Any:
    import gate

    return gate


# Decisions ----------------------------------------------------------------------------------------

QUIET = [1.00, 1.01, 1.02, 0.99, 1.00]


def test_twice_as_long_is_slower(gate: Any) -> None:
    ratio = gate.ratio_of(QUIET, [2 * time for time in QUIET])
    assert ratio == pytest.approx(2)
    assert gate.is_slower("serial", ratio)


@pytest.mark.parametrize(
    "head",
    [
        [1.0, 9.0, 9.0, 1.02, 9.0],  # bursts of other work, in most of the turns
        [1.0, 1.5, 1.0, 1.5, 1.0],
        QUIET,
    ],
)
def test_bursts_are_not_slower(gate: Any, head: list[float]) -> None:
    assert not gate.is_slower("serial", gate.ratio_of(QUIET, head))


def test_a_drift_that_meets_both_is_not_slower(gate: Any) -> None:
    base = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert not gate.is_slower("serial", gate.ratio_of(base, [1.9, 2.1, 3.1, 4.1, 5.1]))


@pytest.mark.parametrize(
    ("base", "head", "further"),
    [
        (0.5, 4.5, True),
        (2.6, 6.6, True),
        (0.5, 1.5, False),
        (0.5, 1.51, True),
        (16.0, 19.9, False),
        (16.0, 20.1, True),
        (4.5, 0.5, False),
        (2.0**53, 2.0**53, False),
    ],
)
def test_errors_that_grew(gate: Any, base: float, head: float, further: bool) -> None:
    assert gate.is_further(base, head) is further


def test_threads_inform_and_do_not_decide(gate: Any) -> None:
    slower = gate.Change("parallel", "", 1.0, 9.0, True)
    assert gate.verdict([slower]) == gate.FINE
    for kind in ("serial", "ulp"):
        assert gate.verdict([slower, gate.Change(kind, "", 1.0, 9.0, True)]) == gate.REGRESSION


def test_what_looks_slower_has_to_be_so_each_time(gate: Any) -> None:
    again = iter([2.0, 1.1])
    assert gate.confirmed(lambda: next(again), "serial") == 1.1
    again = iter([2.0, 1.9])
    assert gate.confirmed(lambda: next(again), "serial") == 1.9
    again = iter([1.1])  # and is not measured any more once it was not
    assert gate.confirmed(lambda: next(again), "serial") == 1.1


# The command --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ([("serial", 1.0, 1.1, False)], 0),
        ([("serial", 1.0, 2.0, True)], 1),
        ([("ulp", 0.5, 4.5, True)], 1),
        ([("parallel", 1.0, 2.0, True)], 0),
        ([], 2),
    ],
)
def test_exit_status(gate: Any, changes: Any, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [gate.Change(kind, "case", base, head, worse) for kind, base, head, worse in changes]
    monkeypatch.setattr(gate, "compare", lambda *args, **kwargs: made)
    assert gate.main(["main"]) == status


@pytest.mark.parametrize("problem", ["NotMeasuredError", "KeyError"])
def test_failing_is_no_regression(
    gate: Any, problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = getattr(gate, problem, KeyError)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error("the disk is full")

    monkeypatch.setattr(gate, "compare", fail)
    assert gate.main(["main"]) == gate.NOT_MEASURED
    assert "the disk is full" in capsys.readouterr().err


def test_a_commit_that_is_not_there(gate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.main(["no-such-branch"]) == gate.NOT_MEASURED
    assert "'no-such-branch' is no commit here" in capsys.readouterr().err


def test_usage(gate: Any) -> None:
    with pytest.raises(SystemExit) as left:
        gate.main([])
    assert left.value.code == gate.NOT_MEASURED


# From one end to the other ------------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Any) -> Path:
    """A repository of the files that are here, on main; the gate looks at it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    gate.copy_files(".", folder)
    monkeypatch.setattr(gate, "REPOSITORY", folder)
    monkeypatch.setattr(gate, "KEPT", tmp_path / "kept")
    commit(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "add", "refloss", "pyproject.toml")
    commit(folder, "commit", "--quiet", "--message", "as it is")
    commit(folder, "checkout", "--quiet", "-b", "scratch")
    return folder


def commit(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


def test_lost_digits_are_caught(
    gate: Any, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four ulps of float64, or up to eight, of a function that is quickly compiled."""
    file = scratch / "refloss" / "losses" / "class_balanced_weights.py"
    text = file.read_text()
    planted = "return raw / sum"
    assert planted in text
    file.write_text(text.replace(planted, "return (1 + 2.0**-49) * raw / sum"))
    commit(scratch, "commit", "--quiet", "--all", "--message", "plant")
    arguments = ["--only", "class_balanced_weights", "--kind", "ulp"]
    assert gate.main(["main", "scratch", *arguments]) == gate.REGRESSION
    said = capsys.readouterr().out
    assert "! value of class_balanced_weights, counts, float64" in said
    assert "float32" not in said
    assert gate.main(["main", "main", *arguments]) == gate.FINE


def test_a_commit_that_cannot_be_imported(
    gate: Any, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scratch / "refloss" / "__init__.py").write_text("raise ImportError('planted')")
    commit(scratch, "commit", "--quiet", "--all", "--message", "break")
    assert gate.main(["main", "scratch", "--only", "l1_loss"]) == gate.NOT_MEASURED
    assert "head" in (said := capsys.readouterr().err)
    assert "planted" in said


def test_a_commit_that_needs_what_is_not_here(
    gate: Any, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = scratch / "pyproject.toml"
    file.write_text(file.read_text().replace('"numpy>=2.0"', '"numpy>=99"'))
    commit(scratch, "commit", "--quiet", "--all", "--message", "want more")
    assert gate.main(["main", "scratch", "--only", "l1_loss"]) == gate.NOT_MEASURED
    assert "needs numpy>=99" in capsys.readouterr().err
