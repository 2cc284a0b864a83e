"""The command line: what it prints, what it writes, and how it exits."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import jsonschema
import pytest

import refloss.audit
from refloss.__main__ import main

SCHEMA = Path(refloss.audit.__file__).with_name("report.schema.json")
NAIVE = """
    import numpy as np

    def naive(input, target, reduction="mean"):
        p = np.exp(input) / np.exp(input).sum(1, keepdims=True)
        losses = -np.log(p[np.arange(len(target)), target])
        return losses if reduction == "none" else getattr(losses, reduction)()

    def negated(input, target):
        return -input

    number = 3
"""


@pytest.fixture
def mine(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory, under a name of its own for every test."""
    name = f"losses_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(NAIVE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def test_finds_what_is_wrong_and_exits_with_1(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", f"{mine}:naive", "--loss", "cross_entropy", "--dtype", "float32"]) == 1
    shown = capsys.readouterr()
    assert "wrong: cross_entropy float32, value, tail: 0 where the answer is not" in shown.out
    last = shown.out.splitlines()[-1]
    assert last.startswith(f"refloss audit: {mine}:naive: 6 cases, 0 skipped")
    assert last.endswith("of grade wrong or worse")
    assert shown.err == ""


def test_exits_with_0_when_nothing_is_that_bad(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["audit", f"{mine}:naive", "--loss", "cross_entropy", "--region", "bulk"]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("passed")
    tail = [*command[:-1], "tail", "--fail-on", "crashed"]
    assert main(tail) == 0


def test_max_ulp_fails_on_lost_digits(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["audit", f"{mine}:naive", "--loss", "cross_entropy", "--region", "bulk"]
    assert main([*command, "--max-ulp", "0.3"]) == 1
    assert main([*command, "--max-ulp", "0.3", "--fail-on", "wrong"]) == 0
    assert "loses digits" in capsys.readouterr().out


def test_json_follows_its_schema_and_stands_alone_on_stdout(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", f"{mine}:naive", "--loss", "cross_entropy", "--format", "json"]) == 1
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    verdicts = report["targets"][0]["verdicts"]
    assert [(one["dtype"], one["cases"], one["grade"]) for one in verdicts] == [
        ("float32", 6, "wrong"),
        ("float64", 6, "wrong"),
    ]
    assert verdicts[0]["findings"][0]["true"].startswith("2.06115362")
    assert shown.err.startswith("refloss audit: ")


def test_a_report_goes_to_a_file_whole(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["audit", f"{mine}:naive", "--loss", "cross_entropy", "--format", "json"]
    assert main([*command, "-o", "report.json"]) == 1
    assert json.loads(Path("report.json").read_text())["schema"] == "refloss-audit-1"
    assert capsys.readouterr().out.startswith("refloss audit: ")
    files = (path for path in Path().iterdir() if path.is_file())
    written = [path.name for path in files if path.suffix not in (".py", ".jsonl")]
    assert written == ["report.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torhc"], "unknown target 'torhc'; did you mean 'torch'?"),
        (["scipy", "--loss", "cros_entropy"], "did you mean 'cross_entropy'?"),
        (["scipy", "--dtype", "flaot32"], "unknown dtype 'flaot32'; did you mean 'float32'?"),
        (["scipy", "--region", "tial"], "unknown region 'tial'; did you mean 'tail'?"),
        (["scipy", "--fail-on", "bad"], "unknown grade 'bad'"),
        (["scipy", "--fail-on", "faithful"], "faithful is no finding"),
        (["scipy", "--max-ulp", "nan"], "--max-ulp must be a number"),
        (["scipy", "-o", "no/such/folder/report"], "cannot write 'no/such/folder/report'"),
        (["MINE:naive"], "say which loss it implements, with --loss NAME"),
        (["MINE:naive", "--loss", "*"], "say which loss it implements, with --loss NAME"),
        (["MINE:navie", "--loss", "cross_entropy"], "has no 'navie'"),
        (["MINE:number", "--loss", "cross_entropy"], "is not a function but a int"),
        (["no_such_module:f", "--loss", "cross_entropy"], "cannot import 'no_such_module'"),
    ],
)
def test_usage_errors_are_one_line_and_exit_with_2(
    mine: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["audit", *(one.replace("MINE", mine) for one in arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_a_framework_that_is_missing_says_how_to_get_it(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from refloss.audit.frameworks import torch

    monkeypatch.setattr(torch, "REQUIRES", ("no_such_torch",))
    assert main(["audit", "torch"]) == 2
    assert "python -m pip install torch" in capsys.readouterr().err


def test_a_framework_that_is_broken_is_one_line(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from refloss.audit.frameworks import scipy

    monkeypatch.setattr(scipy, "IMPORTS", "raise RuntimeError('no operator\\nat all')")
    assert main(["audit", "scipy"]) == 2
    expected = "refloss audit: scipy cannot be imported: RuntimeError: no operator\n"
    assert capsys.readouterr().err == expected


def test_nothing_to_audit_exits_with_5(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["audit", "scipy", "--dtype", "float16", "--loss", "cross_entropy"]
    assert main(command) == 5
    assert capsys.readouterr().err == "refloss audit: nothing to audit (skipped: no float16)\n"


def test_without_a_target_all_that_is_installed_is_audited(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from refloss.audit import command

    monkeypatch.setattr(command, "installed", lambda: ("scipy", "sklearn"))
    assert main(["audit", "--loss", "cross_entropy", "--fail-on", "crashed"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "scipy" in last
    assert "sklearn" in last


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "refloss", *arguments]
    root = Path(refloss.__file__).parents[1]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_current_directory_is_importable(mine: str, tmp_path: Path) -> None:
    """In a process of its own, which the tiny oracles do not reach."""
    done = run("audit", f"{mine}:negated", "--loss", "huber_loss", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr


def test_an_interrupt_is_one_line(mine: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, signal\ndef loss(input, target):\n    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = run("audit", "slow:loss", "--loss", "huber_loss", cwd=tmp_path)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "refloss: interrupted\n"


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["audit", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
    assert refloss.__version__ in capsys.readouterr().out
