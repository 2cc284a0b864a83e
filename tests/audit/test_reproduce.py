"""The line of a finding does what it says: run on its own, it prints what the audit was told."""

import contextlib
import io
import re
import warnings

import numpy as np
import pytest

from refloss import oracles
from refloss.accuracy import FORMATS, Answer, Grade, Truth, measure
from refloss.audit import Finding, audit_targets, framework
from refloss.audit.frameworks import FRAMEWORKS
from refloss.audit.targets import adapter_of, missing_for
from refloss.oracles.rows import Expected

QUICK = {"infinite", "nan", "empty", "zeros", "tails"}


def printed(line: str) -> tuple[str, str]:
    """Run a line in an empty namespace; what it prints before and after ``true:``."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        exec(compile(line, "<line>", "exec"), {})
    assert out.getvalue().count("\n") == 1
    answer, _, true = out.getvalue().strip().partition(" true: ")
    return answer, true


@pytest.mark.parametrize("name", [name for name in FRAMEWORKS if name != "refloss"])
@pytest.mark.parametrize("loss", oracles.names())
def test_lines_print_what_the_audit_saw(name: str, loss: str) -> None:
    if missing := missing_for(adapter_of(name)):
        pytest.skip(f"needs {' and '.join(missing)}")
    target = framework(name)
    if loss not in target.calls:
        pytest.skip(f"{name} has no {loss}")
    # JAX compiles for every shape and dtype: one of them has to do.
    if target.arrays == "jax":
        report = audit_targets([target], [loss], ["float32"], region=lambda one: one in QUICK)
    else:
        report = audit_targets([target], [loss], ["bfloat16", "float64"], region=short)
    # A crash on a valid case is nearly always a slip in the adapter's own expression.
    assert report.grade < Grade.CRASHED
    # One line for each kind of call and of defect; the rest differ in numbers only.
    samples = {(one.dtype, one.component, one.kind): one for one in report.findings}
    for finding in samples.values():
        if finding.kind.startswith("returns"):
            continue  # what has another shape has no entry to print
        assert "\n" not in finding.line
        if finding.ulp is None:
            with pytest.raises(Exception, match=re.escape(finding.computed)) as raised:
                printed(finding.line)
            assert type(raised.value).__name__ in finding.kind
            continue
        answer, true = printed(finding.line)
        assert true == finding.true
        assert same(float(answer), finding, target.arrays), finding


def short(region: str) -> bool:
    """A line that makes a million numbers is long to run, and no other to read."""
    return region != "large"


def same(answer: float, finding: Finding, arrays: str) -> bool:
    """Equal; for JAX, which compiles value and gradient separately here, as good or as bad."""
    if arrays != "jax":
        return bool(np.array_equal(answer, float(finding.computed), equal_nan=True))
    return grade(answer, finding) == grade(float(finding.computed), finding)


def grade(answer: float, finding: Finding) -> Grade:
    row = oracles.load(finding.loss).row(finding.row)
    expected: Expected = row.answers[finding.component]
    decimals = [expected.answer.decimal(i) for i in range(len(expected.answer))]
    entry = decimals.index(finding.true.partition(" (")[0])
    at = np.array([entry])

    def pick(truth: Truth) -> Truth:
        return Truth(truth.high[at], truth.low[at], truth.exponent[at])

    whole = expected.answer
    one = Answer(pick(whole.lower), pick(whole.upper), whole.scale and pick(whole.scale))
    numbers = np.array([answer]).astype(FORMATS[finding.dtype].dtype)
    return Grade(measure(numbers, one, finding.dtype)[1][0])
