"""The comparison: contestants that agree, turns, verdicts, and what is written and shown."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Case = Any
SMALL = {"elementwise": (40,), "rowwise": (12, 5)}


@pytest.fixture
def cases() -> ModuleType:
    return importlib.import_module("compare_cases")


@pytest.fixture
def compare() -> ModuleType:
    return importlib.import_module("compare")


@pytest.fixture
def report() -> ModuleType:
    return importlib.import_module("compare_report")


@pytest.fixture
def peers() -> Iterator[ModuleType]:
    """The makers; what they set for the whole process is put back."""
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    wide, threads = jax.config.jax_enable_x64, torch.get_num_threads()
    yield importlib.import_module("compare_peers")
    jax.config.update("jax_enable_x64", wide)
    torch.set_num_threads(threads)


def small(cases: ModuleType, line: str) -> list[Case]:
    """What a line asks for at shapes that take no time, each in one dtype or the other."""
    rooms = importlib.import_module("cpu_cases")
    asked = dict.fromkeys((one.loss, one.variant, one.part) for one in cases.LINES[line].cases)
    return [
        cases.Case(loss, SMALL[rooms.room_of(loss)], cases.DTYPES[number % 2], variant, part)
        for number, (loss, variant, part) in enumerate(asked)
    ]


# Cases --------------------------------------------------------------------------------------------


def test_no_two_cases_of_a_line_have_one_name(cases: ModuleType) -> None:
    for line in cases.LINES.values():
        names = [case.name for case in line.cases]
        assert len(set(names)) == len(names)


def test_what_is_beyond_a_peer_is_a_case(cases: ModuleType) -> None:
    assert set(cases.BEYOND) <= {case.name for case in cases.LINES["batch"].cases}


def test_bytes_that_move_are_those_of_inputs_and_outputs(cases: ModuleType) -> None:
    case = cases.Case("cross_entropy", (12, 5))
    arrays = cases.given(case).arrays
    assert [case.moved(arrays)] == [2 * 12 * 5 * 4 + 12 * 8]
    assert replace(case, part=cases.VALUE).moved(arrays) == 12 * 5 * 4 + 12 * 8
    assert replace(case, part=cases.CURVATURE).moved(arrays) == 3 * 12 * 5 * 4 + 12 * 8


# Contestants --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("line", "peer"),
    [
        (line, peer)
        for line in ("cross-entropy", "others", "value", "curvature")
        for peer in ("torch", "jax", "sklearn", "scipy")
        if (line, peer) != ("curvature", "scipy")
    ],
)
def test_a_peer_that_has_a_loss_agrees(
    cases: ModuleType, peers: ModuleType, line: str, peer: str
) -> None:
    answered = []
    for case in small(cases, line):
        given = cases.given(case)
        truth = answer(peers, "refloss", case, given)
        try:
            theirs = answer(peers, peer, case, given)
        except peers.NotRunError:
            continue
        assert peers.disagreement(case, truth, theirs) is None, case.name
        answered.append(case)
    assert answered


def answer(peers: ModuleType, peer: str, case: Case, given: Any) -> Any:
    found = peers.contestant(peer, case, given, 1)
    return found.read(found.call())


def test_a_wrong_gradient_disagrees(cases: ModuleType, peers: ModuleType) -> None:
    case = cases.Case("huber_loss", (40,))
    value, gradient = answer(peers, "refloss", case, cases.given(case))
    off = gradient.copy()
    off[7] += 1e-3 * np.max(np.abs(gradient))
    assert peers.disagreement(case, (value, gradient), (value, gradient)) is None
    assert peers.disagreement(case, (value, gradient), (value, off)).startswith("gradient")
    wide = gradient.astype(np.float64)
    assert "float64" in peers.disagreement(case, (value, gradient), (value, wide))
    missing = np.full_like(gradient, np.nan)
    assert peers.disagreement(case, (value, gradient), (value, missing)) is not None


# Turns --------------------------------------------------------------------------------------------


def test_contestants_take_turns_and_the_hopeless_stop(compare: ModuleType) -> None:
    called = []

    def lasting(name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            called.append(name)
            time.sleep(seconds)

        return call

    calls = {
        "refloss": lasting("refloss", 0.03),
        "quick": lasting("quick", 0.025),
        "slow": lasting("slow", 0.2),
    }
    times = compare.turns(calls, 0.0, 2)
    assert {name: len(taken) for name, taken in times.items()} == dict.fromkeys(calls, 2)
    assert called[3:] == ["refloss", "quick", "slow", "slow", "quick", "refloss"]  # 3 to size them
    times = compare.turns(calls, 0.8, 1)
    assert len(times["slow"]) == 1
    assert len(times["refloss"]) == len(times["quick"]) > 2
    assert compare.summary([0.25, 0.5, 0.75]) == {
        "min_ms": 250.0,
        "median_ms": 500.0,
        "repetitions": 3,
    }


# Verdicts -----------------------------------------------------------------------------------------


def judged(cases: ModuleType, report: ModuleType, name: str, limit: str, **results: Any) -> Any:
    line = cases.LINES[name]
    known = {peer: {"min_ms": ms} if isinstance(ms, float) else ms for peer, ms in results.items()}
    case = line.cases[0]
    row = {"case": case.name, "loss": case.loss, "shape": case.title, "dtype": case.dtype}
    row |= {"variant": case.variant, "limit": limit, "results": known}
    return report.judged(line, row)


def test_the_fastest_peer_and_the_floor_decide(cases: ModuleType, report: ModuleType) -> None:
    def row(limit: str = "memory", **results: Any) -> Any:
        return judged(cases, report, "cross-entropy", limit, **results)

    found = row(refloss=2.0, torch=9.0, jax=3.0, scipy={"error": "none"}, copy=1.5)
    assert (found["fastest"], found["ratio"], found["met"]) == ("jax", 1.5, True)
    assert found["of_floor"] == pytest.approx(4 / 3)
    assert row(refloss=2.0, jax=2.5, copy=1.5)["met"] is False  # not 1.3 times as fast
    assert row(refloss=2.0, jax=3.0, copy=0.5)["met"] is False  # four times the floor
    assert row("arithmetic", refloss=2.0, jax=3.0, copy=0.5)["met"] is True
    failed = row(refloss={"error": "none"}, jax=3.0)
    assert (failed["ratio"], failed["met"]) == (None, None)


def test_refloss_against_several_others_is_not_met(cases: ModuleType, report: ModuleType) -> None:
    apart = {"disagrees": "gradient"}
    rows = [
        judged(cases, report, "others", "memory", refloss=1.0, copy=1.0, **others)
        for others in ({"torch": apart, "jax": apart}, {"torch": apart, "jax": 9.0})
    ]
    assert [row["met"] for row in rows] == [False, True]


def test_other_aims(cases: ModuleType, report: ModuleType) -> None:
    def met(*arguments: Any, **results: Any) -> Any:
        return judged(cases, report, *arguments, **results)["met"]

    one = "one thread"
    assert met("threads", "arithmetic", refloss=1.0, **{one: 1.7}) is False
    assert met("threads", "memory", refloss=1.0, **{one: 1.7}) is None
    assert met("tiny", "call", refloss=0.014, torch=0.03) is True
    assert met("tiny", "call", refloss=0.016, torch=0.03) is False
    assert met("products", "products", refloss=1.6, products=1.0) is False
    much, little = ({"min_ms": ms, "megabytes": mb} for ms, mb in ((9.0, 100.0), (1.0, 51.0)))
    assert met("batch", "", refloss=little, torch=much) is False
    assert met("batch", "", refloss={**little, "megabytes": 50.0}, torch=much) is True
    assert met("memory", "", refloss={"megabytes": 9.0}) is False
    assert met("again", "", refloss=799.0) is True


def test_a_line_comes_to_a_mean_and_a_count(cases: ModuleType, report: ModuleType) -> None:
    rows = [
        judged(cases, report, "others", "arithmetic", refloss=1.0, torch=ms) for ms in (1.0, 16.0)
    ]
    found = report.line(cases.LINES["others"], rows)
    assert found["mean_ratio"] == pytest.approx(4.0)
    assert (found["met"], found["judged"], found["mean_met"]) == (1, 2, True)
    assert report.said(found) == (
        "geometric mean 4.00x, least 1.00x, 1 of 2 points reach the aim, the mean does"
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0149, "14.9 us"),
        (0.5, "0.500 ms"),
        (7.31, "7.31 ms"),
        (109.4, "109 ms"),
        (2500, "2.50 s"),
    ],
)
def test_a_time_has_three_digits(report: ModuleType, number: float, text: str) -> None:
    assert report.milliseconds(number) == text


# The command --------------------------------------------------------------------------------------


@pytest.fixture
def quiet(compare: ModuleType, cases: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of two small cases and the peers that are always here; nothing else is touched."""
    small = tuple(cases.Case(loss, (64, 10)) for loss in ("cross_entropy", "huber_loss"))
    line = replace(cases.LINES["others"], cases=small, peers=("scipy", "torch.compile", "unheard"))
    monkeypatch.setitem(compare.LINES, "others", line)
    monkeypatch.setitem(compare.peers.MAKERS, "unheard", unheard)
    monkeypatch.setitem(compare.peers.MAKERS, "torch.compile", broken)
    monkeypatch.setattr(compare, "QUICK", 0.0)
    monkeypatch.setattr(compare, "keep_to", lambda threads: None)
    monkeypatch.setattr(compare.floors, "measured", lambda threads: dict.fromkeys(LIMITS, 1e9))


LIMITS = (
    *("copy_bytes_per_second", "read_bytes_per_second"),
    *("exponentials_per_second", "flops_per_second"),
)


def unheard(*arguments: Any) -> Any:
    raise ImportError("No module named 'unheard'")


def broken(*arguments: Any) -> Any:
    raise RuntimeError("no\ncompiler")


@pytest.mark.usefixtures("quiet")
def test_one_command_measures_prints_and_writes(
    compare: ModuleType,
    report: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "speed-none.json"
    assert compare.main(["--quick", "--lines", "others", "-o", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["schema"] == "refloss-speed-1"
    rows = found["lines"]["others"]["rows"]
    assert [row["case"] for row in rows] == [
        "cross_entropy-64x10-float32",
        "huber_loss-64x10-float32",
    ]
    for row in rows:
        results = row["results"]
        assert row["ratio"] == results["scipy"]["min_ms"] / results["refloss"]["min_ms"]
        assert row["of_floor"] == results["refloss"]["min_ms"] / results["copy"]["min_ms"]
        assert results["unheard"] == {"not_run": "cannot be imported: No module named 'unheard'"}
        assert results["torch.compile"] == {"error": "RuntimeError: no compiler"}
    printed = capsys.readouterr().out
    assert "torch.compile error: RuntimeError: no compiler" in printed
    assert f"{rows[0]['ratio']:.2f}x" in printed
    text = report.markdown(found)
    assert text.startswith(report.ran_on(found))
    assert found["machine"]["cpu"] in text
    assert f"| {report.milliseconds(rows[1]['results']['scipy']['min_ms'])} |" in text
    widths = {line.count("|") for line in text.split("float32:")[1].strip().splitlines()}
    assert len(widths) == 1


@pytest.mark.usefixtures("quiet")
def test_what_could_not_be_measured_is_told_by_the_status(
    compare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(compare.peers.MAKERS, "refloss", broken)
    path = tmp_path / "speed-none.json"
    assert compare.main(["--quick", "--lines", "others", "-o", str(path)]) == 2
    rows = json.loads(path.read_text())["lines"]["others"]["rows"]
    assert [row["results"]["refloss"]["error"] for row in rows] == ["RuntimeError: no compiler"] * 2


def test_a_case_that_is_not_there(compare: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        compare.main(["--cases", "no_such_loss*"])
    assert stopped.value.code == 2
    assert "no case is called 'no_such_loss*'" in capsys.readouterr().err


def test_cases_are_listed(compare: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--list", "--cases", "kl_div-*-value"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "value: Value alone",
        "  kl_div-2^24-float32-value",
        "  kl_div-2^24-float64-value",
    ]


def test_a_report_is_named_after_cpu_and_day(compare: ModuleType) -> None:
    machine = {"cpu": "Some(R) Make(TM) X-1 CPU @ 2.00GHz", "model": "6 207"}
    found = {"machine": machine, "date": "2000-01-02T03:04:05+00:00"}
    assert compare.default_path(found).name == "speed-some-make-x-1-6-207-2000-01-02.json"


# Fresh processes ----------------------------------------------------------------------------------


def test_a_first_call_is_a_program_of_its_own() -> None:
    fresh = importlib.import_module("compare_fresh")
    for loss in importlib.import_module("cpu_cases").LOSSES:
        compile(fresh.script(loss), loss, "exec")
    exec(fresh.script("huber_loss"), {})


def test_a_process_that_fails_is_not_timed(tmp_path: Path) -> None:
    fresh = importlib.import_module("compare_fresh")
    with pytest.raises(RuntimeError, match="ValueError: no"):
        fresh.seconds(["-c", "raise ValueError('no')"], str(tmp_path))
    assert fresh.seconds(["-c", "raise SystemExit(1)"], str(tmp_path), allowed=(0, 1)) > 0


def test_floors_do_what_they_say() -> None:
    floors = importlib.import_module("compare_floors")
    calls = [
        floors.copy_of(1 << 20, 2),
        floors.read_of(1 << 20, 2),
        floors.exponentials(2),
        floors.products_of(100, 8, 2),
    ]
    assert all(floors.best(call, 1) > 0 for call in calls)
    parts = floors.pieces(np.arange(1 << 16), 2)
    assert np.array_equal(np.concatenate(parts), np.arange(1 << 16))
    assert [len(floors.pieces(np.arange(n), 2)) for n in (8, 1 << 16)] == [1, 2]
