"""The command line: what it prints, what it writes, and how it exits."""

import importlib.util
import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

import refloss.parity
from refloss.__main__ import main

from .printed import printed

SCHEMA = Path(refloss.parity.__file__).with_name("parity.schema.json")
QUICK = ["--loss", "mse_loss", "--region", "bulk", "--region", "empty"]
EVERYTHING = ["--repeat", "3", "--layouts", "--size", "64kB"]


def test_alike_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "numba", "array:numpy", *QUICK]) == 0
    shown = capsys.readouterr()
    assert "A = numba (refloss " in shown.out
    assert "B = array:numpy (refloss " in shown.out
    last = shown.out.splitlines()[-1]
    assert last.startswith("refloss parity: numba and array:numpy: ")
    assert last.endswith("0 findings; passed")
    assert shown.err == ""


def test_apart_exits_with_1_and_shows_lines(
    planted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["parity", f"{planted}:one_ulp", "numba", *QUICK]
    assert main(command) == 0
    assert main([*command, "--max-ulp", "0.25", "--dtype", "float32"]) == 1
    shown = capsys.readouterr().out
    assert "1.00 ulp apart, 0.25 allowed: mse_loss float32, value, bulk/" in shown
    lines = [line.strip() for line in shown.splitlines() if "print(" in line]
    assert len(lines) >= 2
    says = [line.split()[2].rstrip(",") for line in shown.splitlines() if " says " in line]
    assert [printed(line)[0] for line in lines[-2:]] == says[-2:]


def test_a_file_of_budgets(planted: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("budgets.json").write_text('{"mse_loss": {"float64": 0}}')
    command = ["parity", f"{planted}:one_ulp", "numba", *QUICK, "--budgets", "budgets.json"]
    assert main([*command, "--dtype", "float32"]) == 0
    assert main([*command, "--dtype", "float64"]) == 1
    assert "0 allowed" in capsys.readouterr().out


def test_columns_of_what_was_asked(planted: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{planted}:last_bit"
    assert main(["parity", name, "numba", *QUICK, *EVERYTHING, "--dtype", "float32"]) == 1
    shown = capsys.readouterr().out
    heading, row = (
        line for line in shown.splitlines() if "mse_loss  float32" in line or "A off" in line
    )
    assert heading.split()[-8:] == ["A", "again", "B", "again", "A", "layouts", "B", "layouts"]
    assert row.split()[-3] == "3/3"
    assert row.split()[-1] == "5/5"
    assert "value, large" in shown


@pytest.mark.parametrize("function", ["right", "one_ulp", "last_bit", "no_empty", "flat"])
def test_json_follows_its_schema_and_stands_alone_on_stdout(
    planted: str, capsys: pytest.CaptureFixture[str], function: str
) -> None:
    command = ["parity", f"{planted}:{function}", "numba", *QUICK, "--format", "json"]
    assert main([*command, *EVERYTHING, "--max-ulp", "0.5"]) == (function != "right")
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    assert [one["dtype"] for one in report["verdicts"]] == ["float32", "float64"]
    assert shown.err.startswith("refloss parity: ")
    assert shown.err.count("\n") == 1


def test_json_of_a_framework_follows_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["parity", "numba", "scipy@cpu", "--loss", "mse_loss", "--loss", "cross_entropy"]
    main([*command, "--region", "tails", "--region", "bulk", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))


def test_junit_has_a_case_a_loss_and_dtype(
    planted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["parity", f"{planted}:one_ulp", "numba", *QUICK, "--format", "junit"]
    Path("budgets.json").write_text('{"mse_loss": {"float64": 0}}')
    assert main([*command, "--budgets", "budgets.json", "-o", "report.xml"]) == 1
    root = ElementTree.parse("report.xml").getroot()
    (suite,) = root
    assert suite.get("name") == f"refloss parity {planted}:one_ulp numba"
    assert suite.get("tests") == "2"
    assert suite.get("failures") == "1"
    cases = {case.get("name"): case.find("failure") for case in suite}
    assert cases["mse_loss[float32]"] is None
    failure = cases["mse_loss[float64]"]
    assert failure is not None
    assert failure.text is not None
    lines = [line.strip() for line in failure.text.splitlines() if "print(" in line]
    assert printed(lines[0])[1] == printed(lines[1])[1]
    assert capsys.readouterr().out.startswith("refloss parity: ")


def test_a_report_goes_to_a_file_whole(planted: str) -> None:
    before = {path.name for path in Path().iterdir()}
    assert main(["parity", "numba", "numba", *QUICK, "-o", "report.txt"]) == 0
    after = {path.name for path in Path().iterdir()}
    assert after - before == {"report.txt"}
    assert Path("report.txt").read_text().startswith("A = numba")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numbba", "numba"], "unknown side 'numbba'; did you mean 'numba'?"),
        (["numba", "array"], "unknown side 'array'; did you mean"),
        (["numba", "array:nunpy"], "unknown side 'array:nunpy'; did you mean 'array:numpy'?"),
        (["torhc@cpu", "numba"], "unknown side 'torhc@cpu'; did you mean 'torch@cpu'?"),
        (["torch@gpu", "numba"], "torch runs on cpu or cuda, not on 'gpu'"),
        (["sklearn@cuda", "numba"], "sklearn runs on cpu, not on 'cuda'"),
        (["array:numpy@cuda", "numba"], "array:numpy runs on no 'cuda'"),
        (["numba", "numba", "--loss", "mse_los"], "did you mean 'mse_loss'?"),
        (["numba", "numba", "--dtype", "flaot32"], "did you mean 'float32'?"),
        (["numba", "numba", "--region", "blk"], "did you mean 'bulk'?"),
        (["numba", "numba", "--max-ulp", "nan"], "--max-ulp must be a number"),
        (["numba", "numba", "--repeat", "1"], "--repeat must be at least 2, got 1"),
        (["numba", "numba", "--size", "many"], "--size: expected bytes, as in 64MB or 4GB"),
        (["numba", "numba", "--size", "0"], "--size: expected bytes"),
        (["numba", "numba", "--budgets", "none.json"], "cannot read budgets from 'none.json'"),
        (["numba", "numba", "--budgets", "loss.json"], "did you mean 'mse_loss'?"),
        (["numba", "numba", "--budgets", "dtype.json"], "did you mean 'float32'?"),
        (["numba", "numba", "--budgets", "text.json"], "expected a number of ulps, got 'few'"),
        (["numba", "numba", "--budgets", "list.json"], "expected {"),
        (["numba", "numba", "-o", "no/such/report"], "cannot write 'no/such/report'"),
        (["MINE:right", "numba"], "say which loss it implements, with --loss NAME"),
        (["MINE:wrong", "numba", "--loss", "mse_loss"], "has no 'wrong'"),
        (["MINE:right@cuda", "numba", "--loss", "mse_loss"], "runs on no 'cuda'; see --arrays"),
        (["no_such_module:f", "numba", "--loss", "mse_loss"], "cannot import 'no_such_module'"),
    ],
)
def test_usage_errors_are_one_line_and_exit_with_2(
    planted: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("loss.json").write_text('{"mse_los": {}}')
    Path("dtype.json").write_text('{"mse_loss": {"flaot32": 1}}')
    Path("text.json").write_text('{"mse_loss": {"float32": "few"}}')
    Path("list.json").write_text("[1]")
    assert main(["parity", *(one.replace("MINE", planted) for one in arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.startswith("refloss parity: ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(("side", "package"), [("array:cupy", "cupy"), ("lightly@cpu", "lightly")])
def test_what_is_missing_says_how_to_get_it(
    side: str, package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    hidden = lambda name, *more: None if name == package else find(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    assert main(["parity", "numba", side, *QUICK]) == 2
    error = capsys.readouterr().err
    assert f"{side.partition('@')[0]} needs {package}" in error  # and what else is missing
    assert "not installed here" in error
    assert f"python -m pip install {package}" in error


def test_no_device_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert main(["parity", "numba", "torch@cuda", *QUICK]) == 2
    assert main(["parity", "numba", "array:torch@cuda", *QUICK]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("torch@cuda: torch " in line for line in lines)


def test_nothing_to_compare_exits_with_5(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["parity", "numba", "scipy@cpu", "--dtype", "float16", "--region", "bulk"]
    assert main([*command, "--loss", "cross_entropy"]) == 5
    error = capsys.readouterr().err
    assert error == "refloss parity: nothing to compare (skipped: scipy@cpu: no float16)\n"
    assert main([*command, "--loss", "mse_loss"]) == 5
    assert "they have none of these losses in common" in capsys.readouterr().err
