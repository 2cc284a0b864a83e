"""Tables from the JSON of a report."""

import json
from typing import Any

import pytest

from refloss.audit import audit_targets, framework, markdown


@pytest.fixture
def report(tiny: object) -> Any:
    pytest.importorskip("sklearn")
    targets = [framework("scipy"), framework("sklearn")]
    losses = ["cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits"]
    return json.loads(audit_targets(targets, losses).to_json())


def test_a_table_has_a_row_a_loss_and_a_column_a_target(report: Any) -> None:
    lines = markdown.table(report).splitlines()
    assert lines[0].startswith("| loss | scipy ")
    assert [line.count("|") for line in lines] == [4] * 5
    by_loss = {line.split("`")[1]: line for line in lines[2:]}
    assert "wrong*, " in by_loss["cross_entropy"]
    assert by_loss["binary_cross_entropy"].endswith("| – |")


def test_one_line_for_each_defect(report: Any) -> None:
    found = markdown.findings(report)
    keys = [(one["target"], one["loss"], one["component"], one["kind"]) for one in found]
    assert len(set(keys)) == len(keys)
    assert ("scipy", "cross_entropy", "value", "0 where the answer is not") in keys
    assert all(one["grade"] == "wrong" for one in found)
