"""assert_parity, as people's tests call it."""

import importlib

import pytest

from refloss.testing import assert_parity

from .printed import printed


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    report = assert_parity("numba", "array:numpy", loss="mse_loss", dtypes="float32")
    assert report.cases > 0
    assert capsys.readouterr().out == ""


def test_the_message_shows_the_worst_both_answers_and_the_truth(planted: str) -> None:
    one_ulp = importlib.import_module(planted).one_ulp
    assert_parity(one_ulp, "numba", loss="mse_loss", region="bulk", max_ulp=1)
    with pytest.raises(AssertionError) as raised:
        assert_parity(one_ulp, "numba", loss="mse_loss", region="bulk", max_ulp=0.5)
    said = str(raised.value)
    assert "1.00 ulp apart, 0.50 allowed: mse_loss float32, value, bulk/" in said
    lines = [line.strip() for line in said.splitlines() if "print(" in line]
    answers = [line.split()[2].rstrip(",") for line in said.splitlines() if " says " in line]
    truths = [line.split()[2] for line in said.splitlines() if "true is" in line]
    assert len(lines) == len(answers) == 2 * len(truths) > 0
    for number, line in enumerate(lines):
        assert printed(line) == (answers[number], f"true: {truths[number // 2]}")


def test_two_functions_and_everything_that_can_be_asked(planted: str) -> None:
    module = importlib.import_module(planted)
    asked = {"loss": "mse_loss", "region": "bulk", "repeat": 20, "layouts": True, "size": 10**5}
    assert_parity(module.right, module.right, **asked)
    for name, what in (
        ("last_bit", "other bits in run"),
        ("of_the_layout", "other bits if reversed"),
        ("of_the_size", "an input drawn at random"),
    ):
        with pytest.raises(AssertionError, match=what):
            assert_parity(getattr(module, name), module.right, **{**asked, "size": 2 * 10**5})


def test_budgets(planted: str) -> None:
    one_ulp = importlib.import_module(planted).one_ulp
    budgets = {"mse_loss": {"float32": 0.5}}
    with pytest.raises(AssertionError, match="float32"):
        assert_parity(one_ulp, "numba", loss="mse_loss", region="bulk", budgets=budgets)
    assert_parity(
        *(one_ulp, "numba"), loss="mse_loss", region="bulk", budgets=budgets, dtypes="float64"
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"loss": None}, "implements one loss: say which"),
        ({"loss": "mse_los"}, "did you mean 'mse_loss'"),
        ({"loss": "mse_loss", "dtypes": "single"}, "unknown dtype 'single'"),
        ({"loss": "mse_loss", "repeat": 1}, "repeat: expected 0 or at least 2"),
        ({"loss": "mse_loss", "arrays": "tensorflow"}, "unknown arrays 'tensorflow'"),
    ],
)
def test_what_cannot_be_asked(planted: str, asked: dict[str, object], message: str) -> None:
    right = importlib.import_module(planted).right
    with pytest.raises(ValueError, match=message):
        assert_parity(right, "numba", **asked)  # type: ignore[arg-type]


def test_nothing_to_compare_is_no_success() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        assert_parity("numba", "scipy@cpu", loss="mse_loss", dtypes="float16")
