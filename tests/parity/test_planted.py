"""What was planted is found, and what is right passes."""

import numpy as np
import pytest

from refloss.accuracy import distance
from refloss.audit.cases import cases
from refloss.parity import Budgets, Report, compare, draw, larger, side

from .printed import printed

ASKED = {"bulk", "empty", "saturation", "kinks"}


def held(planted: str, name: str, loss: str = "mse_loss", **asked: object) -> Report:
    """A planted function against the backend that it differs from."""
    sides = (side(one, [loss]) for one in (f"{planted}:{name}", "numba"))
    return compare(*sides, [loss], region=ASKED.__contains__, **asked)  # type: ignore[arg-type]


def test_a_backend_is_itself(planted: str) -> None:
    report = held(planted, "right", repeat=3, layouts=True, size=10**5)
    assert not report.findings
    for verdict in report.verdicts:
        for one in [*verdict.compared.values(), *verdict.large.values()]:
            assert one.numbers == one.same > 0
            assert one.largest == one.p99 == 0
        assert verdict.again == ((3, 3), (3, 3))
        assert verdict.layouts is not None
        for same in verdict.layouts:
            assert all(same.values())
            assert set(same) == {"strided", "transposed", "offset", "reversed", "misaligned"}


def test_one_ulp_is_found_where_none_is_allowed(planted: str) -> None:
    assert not held(planted, "one_ulp", budgets=Budgets(most=1)).findings
    report = held(planted, "one_ulp", budgets=Budgets(most=0.5))
    assert {one.component for one in report.findings} == {"value"}
    for verdict in report.verdicts:
        value, gradient = verdict.compared["value"], verdict.compared["gradient"]
        assert value.largest == 1
        assert value.same < value.numbers
        assert gradient.same == gradient.numbers
        assert value.errors is not None
        assert value.nearer is not None
        assert value.errors[0] > value.errors[1]
        assert value.nearer[1] > value.nearer[0]
    for finding in report.findings:
        assert finding.ulp == 1
        for answer, line in zip(finding.answers, finding.lines, strict=True):
            assert printed(line) == (answer, f"true: {finding.true}")


def test_budgets_of_a_loss_and_dtype_count_first(planted: str) -> None:
    budgets = Budgets({"mse_loss": {"float32": 0.5}}, most=1)
    report = held(planted, "one_ulp", budgets=budgets)
    assert {one.dtype for one in report.findings} == {"float32"}


def test_a_random_last_bit_is_found(planted: str) -> None:
    report = held(planted, "last_bit", repeat=20)
    assert {(one.side, one.component) for one in report.findings} == {
        (f"{planted}:last_bit", "gradient.input")
    }
    for verdict in report.verdicts:
        assert verdict.again is not None
        (same, of), numba = verdict.again
        assert 1 <= same < of == 20
        assert numba == (20, 20)
    for finding in report.findings:
        assert finding.kind.startswith("other bits in run ")
        assert finding.ulp == 1
        answer, beside = printed(finding.lines[0])
        assert answer in finding.answers
        assert beside == f"the first run: {finding.answers[0]}"


def test_bits_that_depend_on_the_layout_are_found(planted: str) -> None:
    report = held(planted, "of_the_layout", layouts=True)
    assert {one.kind for one in report.findings} == {"other bits if reversed"}
    for verdict in report.verdicts:
        assert verdict.layouts is not None
        assert [name for name, same in verdict.layouts[0].items() if not same] == ["reversed"]
        assert all(verdict.layouts[1].values())
    for finding in report.findings:
        answer, beside = printed(finding.lines[0])
        assert answer == finding.answers[1] != finding.answers[0]
        assert beside == f"contiguous: {finding.answers[0]}"


def test_a_number_far_into_a_large_array_is_found(planted: str) -> None:
    report = held(planted, "of_the_size", size=2 * 10**5, layouts=True)
    assert {(one.row, one.component, one.numbers) for one in report.findings} == {
        ("drawn", "value", 1)
    }
    for finding, verdict in zip(report.findings, report.verdicts, strict=True):
        assert finding.ulp == verdict.large["value"].largest
        assert verdict.large["value"].p99 == 0
        for answer, other, line in zip(
            finding.answers, finding.answers[::-1], finding.lines, strict=True
        ):
            assert printed(line) == (answer, f"the other side: {other}")


def test_pieces_change_no_statistics(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = held(planted, "one_ulp", size=10**5).verdicts
    monkeypatch.setattr(larger, "PIECE", 33 * 10**2)
    assert held(planted, "one_ulp", size=10**5).verdicts == whole


def test_zeros_of_other_sign_are_other_bits_and_no_distance(planted: str) -> None:
    report = held(planted, "negative_zero", budgets=Budgets(most=0))
    assert not report.findings
    for verdict in report.verdicts:
        gradient = verdict.compared["gradient"]
        assert gradient.same < gradient.numbers
        assert gradient.largest == 0


def test_other_subgradients_are_ties(planted: str) -> None:
    sides = [side(one, ["l1_loss"]) for one in (f"{planted}:upper", "numba")]
    report = compare(*sides, ["l1_loss"], region=ASKED.__contains__, budgets=Budgets(most=0))
    assert not report.findings
    for verdict in report.verdicts:
        gradient = verdict.compared["gradient"]
        assert gradient.ties == gradient.numbers - gradient.same > 0


def test_only_one_answers(planted: str) -> None:
    report = held(planted, "no_empty")
    found = {(one.kind, one.region, one.component) for one in report.findings}
    assert found == {("only one answers", "empty", "value")}
    for finding in report.findings:
        assert finding.answers[0] == "ValueError: nothing to do"
        with pytest.raises(ValueError, match="nothing to do"):
            printed(finding.lines[0])
        assert printed(finding.lines[1])[0] == finding.answers[1]


def test_another_shape(planted: str) -> None:
    report = held(planted, "flat")
    assert {one.kind for one in report.findings} <= {"another shape"}
    assert {one.component for one in report.findings} <= {"gradient.input"}


def test_what_cancels_is_judged_by_its_terms(planted: str) -> None:
    """One ulp in a term is many of what is left of it, and one of the term."""
    loss = "margin_ranking_loss"
    sides = [side(one, [loss]) for one in (f"{planted}:one_term", "numba")]
    bulk = {"bulk"}.__contains__
    report = compare(*sides, [loss], ["float32"], region=bulk, budgets=Budgets(most=2))
    assert not report.findings
    (verdict,) = report.verdicts
    assert verdict.compared["value"].largest > 0
    left = [
        distance(*(one.ask(case).results["value"] for one in sides), "float32").max(initial=0)
        for case in cases(loss, "float32", bulk)
    ]
    assert max(left) > 2


def test_the_same_draw_every_time() -> None:
    one, other = (draw("cross_entropy", "float64", 1000) for _ in range(2))
    for name in one:
        assert np.array_equal(one[name], other[name])
