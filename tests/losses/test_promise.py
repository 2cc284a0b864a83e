"""The promise: every certified answer, in long and short formats and by both backends."""

from dataclasses import replace
from functools import cache

import pytest

import refloss
from refloss import oracles
from refloss.accuracy import Grade
from refloss.audit import Report, Target, audit_targets, framework
from refloss.audit.calls import Call, call
from refloss.audit.cases import Case
from refloss.audit.signatures import required
from refloss.loss import Loss, Promise

from .enrolled import NAMES, NO_LOSSES

# Kernels differ between short formats in how they load and store a number, which is no loss's own,
# and the exhaustive sweeps put every number of both to the losses: one of the two, in turns.
ASKED = [
    (name, dtype)
    for number, name in enumerate(oracles.names())
    for dtype in (("float16", "bfloat16")[number % 2], "float32", "float64")
]

# A million numbers in some hundred array operations: as many logits, and a row of 50,257 classes,
# pass the array path in other losses.
SLOW_ARRAYS = ("cross_entropy", "sigmoid_focal_loss", "softmax_focal_loss")


def array_path(case: Case) -> Call:
    """How the array path is asked, spelled as the adapter of refloss spells it."""

    def method(method: str, argument: str) -> str:
        name = f"refloss.{case.loss}{method}"
        named = {"wrt": argument} if argument else {}
        return call(name, case, *required(case.loss), **named, backend="array")

    return Call(
        method("", ""),
        gradient={argument: method(".grad", argument) for argument in case.asked("gradient")},
        curvature={
            argument: method(".hessian_diag", argument) for argument in case.asked("curvature")
        },
    )


@cache
def target(path: str) -> Target:
    """refloss as the audit sees it, by one of its backends."""
    numba = framework("refloss")
    if path == "numba":
        return numba
    return replace(numba, name=path, calls=dict.fromkeys(oracles.names(), array_path))


def promised(loss: str, dtype: str, component: str, path: str) -> float:
    """The bound, in ulps; what is no `Loss` makes the usual promise."""
    promise = getattr(getattr(refloss, loss), "promise", Promise())
    if dtype != "float64":
        return float(getattr(promise, dtype))
    bound = promise.float64 if path == "numba" else promise.float64_arrays
    return max(bound, promise.float64_curvature) if component == "curvature" else bound


def broken(report: Report, path: str) -> str:
    """Every promise that was not kept, in words."""
    lines = [
        f"{verdict.loss} {verdict.dtype} {component}: {errors.largest:.3f} ulp at {errors.row}"
        for verdict in report.verdicts
        for component, errors in verdict.errors.items()
        if errors.largest > promised(verdict.loss, verdict.dtype, component, path)
    ]
    lines += [f"{f.grade.label}: {f.component} of {f.row}: {f.line}" for f in report.findings]
    return "\n".join(lines)


def test_every_public_loss_has_an_oracle_and_is_enrolled() -> None:
    functions = [getattr(refloss, name) for name in refloss.__all__ if name.islower()]
    losses = {f.__name__ for f in functions if isinstance(f, Loss)}
    losses |= {getattr(refloss, name).__name__ for name in NO_LOSSES}
    assert losses == set(oracles.names())
    assert losses == set(NAMES)


@pytest.mark.parametrize(("name", "dtype"), ASKED)
def test_every_certified_answer_is_met(name: str, dtype: str) -> None:
    report = audit_targets([target("numba")], [name], [dtype])
    assert not broken(report, "numba"), broken(report, "numba")
    assert report.cases > 0
    assert report.grade <= Grade.ACCURATE
    skipped = {reason for verdict in report.verdicts for reason in verdict.skipped}
    assert not skipped, "refloss has every argument that its oracles ask for"


@pytest.mark.parametrize("name", oracles.names())
def test_the_array_path_meets_them_too(name: str) -> None:
    """In one format: the path computes in float64 whatever the format, and rounds once."""
    wanted = (lambda region: region != "large") if name in SLOW_ARRAYS else (lambda region: True)
    report = audit_targets([target("array")], [name], ["float64"], region=wanted)
    assert not broken(report, "array"), broken(report, "array")
    assert report.cases > 0
