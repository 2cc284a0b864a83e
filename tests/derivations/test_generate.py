"""Oracles come from derivations alone, and come out the same every time."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from derivations import generate, rows
from derivations.__main__ import main
from derivations.case import Case, array, labels
from derivations.derivation import LOSSES, load
from derivations.oracle import Refused, header, row
from derivations.reduction import picked_weight
from derivations.rows import invariant
from derivations.statement import Statement

ROOT = Path(__file__).resolve().parents[2]
# quick to make: rationals, balls, limits, kinks, conventions and compositions between them
QUICK = (
    "smooth_labels",
    "kl_div",
    "binary_cross_entropy_with_logits",
    "l1_loss",
    "cosine_embedding_loss",
)


def answer(loss: str, case: Case) -> dict[str, object]:
    found = row(load(loss), "test/0000", case)
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def test_making_oracles_imports_no_formula() -> None:
    program = (
        "import sys\n"
        "from derivations.derivation import LOSSES, load\n"
        "from derivations.oracle import row\n"
        "for loss in LOSSES:\n"
        "    derivation = load(loss)\n"
        "    row(derivation, 'x', next(iter(derivation.cases())))\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] == 'refloss'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_refloss_imports_no_derivation() -> None:
    for path in (ROOT / "refloss").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.partition(".")[0] == "derivations" for name in names), path


def test_every_loss_has_its_two_files() -> None:
    for loss in LOSSES:
        assert load(loss).statement.loss == loss
        assert (generate.ORACLES / f"{loss}.jsonl").exists()
    assert {path.stem for path in generate.ORACLES.glob("*.jsonl")} == set(LOSSES)


@pytest.mark.parametrize("loss", LOSSES)
def test_headers_are_reproduced(loss: str) -> None:
    with (generate.ORACLES / f"{loss}.jsonl").open(encoding="utf-8") as file:
        committed = json.loads(next(file))
    assert committed == json.loads(json.dumps(header(load(loss))))


@pytest.mark.parametrize("loss", QUICK)
def test_committed_files_are_reproduced(loss: str) -> None:
    assert generate.first_difference(loss) is None


def spoiled(tmp_path: Path, loss: str, old: str, new: str) -> str:
    text = (generate.ORACLES / f"{loss}.jsonl").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / f"{loss}.jsonl").write_text(text.replace(old, new, 1), encoding="utf-8")
    return loss


def test_check_names_the_line_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = spoiled(tmp_path, "smooth_labels", '"id": "indices/0002"', '"id": "indices/9999"')
    monkeypatch.setattr(generate, "ORACLES", tmp_path)
    assert main(["generate", "--check", loss]) == 1
    assert "smooth_labels.jsonl:" in capsys.readouterr().out
    assert "missing" in str(generate.first_difference("l1_loss"))


def test_check_sees_a_missing_last_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (generate.ORACLES / "smooth_labels.jsonl").read_text(encoding="utf-8")
    shorter = text[: text.rstrip("\n").rindex("\n") + 1]
    (tmp_path / "smooth_labels.jsonl").write_text(shorter, encoding="utf-8")
    monkeypatch.setattr(generate, "ORACLES", tmp_path)
    assert "committed None" in str(generate.first_difference("smooth_labels"))


def test_the_confident_tail() -> None:
    case = Case("tails", {"input": array([[20.0, 0.0]]), "target": labels([0])})
    found = answer("cross_entropy", case)
    (value,) = found["value"]["data"]  # type: ignore[index]
    assert float.fromhex(value) == 2.061153620314381e-09


def test_an_offset_is_dropped_only_where_it_cancels() -> None:
    for loss in LOSSES:
        derivation = load(loss)
        for statement in (derivation.statement, *derivation.variants.values()):
            for name in statement.shift if isinstance(statement, Statement) else ():
                assert invariant(statement, name)
    # a statement that claims too much is stopped
    linear = load("nll_loss").statement
    assert not invariant(linear, "input")
    case = Case("bulk", {"input": array([[1.0, 2.0]]), "target": labels([0])}, {"reduction": "sum"})
    with pytest.raises(ValueError, match="does not cancel"):
        rows.answer(replace(linear, shift=("input",)), case, picked_weight)


def test_kinks_are_intervals() -> None:
    case = Case("kinks", {"input": array([1.0, 0.0]), "target": array([1.0, 1.0])})
    found = answer("l1_loss", Case("kinks", case.inputs, {"reduction": "sum"}))
    assert found["gradient"]["input"]["data"] == [["-0x1p+0", "0x1p+0"], "-0x1p+0"]  # type: ignore[index]


def test_limits_along_different_rates_must_agree() -> None:
    inf = float("inf")
    case = Case(
        "infinite",
        {"input": array([[inf, 0.0], [inf, inf], [-inf, 0.0]]), "target": labels([0, 0, 0])},
        {"reduction": "none"},
    )
    found = answer("cross_entropy", case)
    assert found["value"]["data"] == ["0x0p+0", "nan", "inf"]  # type: ignore[index]
    assert found["certificate"]["method"] == "limit"  # type: ignore[index]


def test_a_nan_stays_in_its_row() -> None:
    nan = float("nan")
    case = Case(
        "nan",
        {"input": array([[nan, 0.0], [1.0, 1.0]]), "target": labels([0, 1])},
        {"reduction": "none"},
    )
    found = answer("cross_entropy", case)
    gradient = found["gradient"]["input"]["data"]  # type: ignore[index]
    assert gradient == ["nan", "nan", "0x1p-1", "-0x1p-1"]


def test_what_cannot_be_certified_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # 65504 + log(1 + exp(-65504)): no precision tried here tells it from 65504
    monkeypatch.setattr("derivations.oracle.doubling", lambda: (128, 256))
    case = Case("tails", {"input": array([[65504.0, 0.0]]), "target": labels([1])})
    with pytest.raises(Refused):
        row(load("cross_entropy"), "test/0000", case)


def test_terms_that_cancel_carry_their_scale() -> None:
    # (exp(s) - 1) / 2 - s / 2 at s = 2^-10: two terms near 2^-11 leave about 2^-22
    case = Case(
        "cancelling", {"mu": array([0.0, 3.0]), "logvar": array([2**-10, 0.0])},
        {"reduction": "none"},
    )  # fmt: skip
    value = answer("gaussian_kl", case)["value"]
    assert float.fromhex(value["data"][0]) == pytest.approx(2**-22, rel=2**-10)  # type: ignore[index]
    scale, none = value["scale"]  # type: ignore[index]
    assert 2**-11 < float.fromhex(scale) < 2**-11 * (1 + 2**-10)
    assert none is None


@pytest.mark.parametrize("loss", LOSSES)
def test_show_prints_definition_and_latex(loss: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", loss]) == 0
    printed = capsys.readouterr().out
    assert loss in printed
    assert "definition" in printed
    assert "\\" in printed
