"""The tester tested: right functions pass, wrong ones are found out, and for what they did."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from refloss.accuracy import FORMATS, Grade
from refloss.audit import audit, functions

pytestmark = pytest.mark.usefixtures("tiny")

BINARY = "binary_cross_entropy_with_logits"


def losses(input: Any, target: Any) -> tuple[Any, Any, Any]:
    """Binary cross-entropy in float64, rounded once: right to the last bit of shorter formats."""
    z, t = input.astype(np.float64), target.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        p, q = 1 / (1 + np.exp(-z)), np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z)))
        q = np.where(z > 0, q, 1 - p)
        value = t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)
        gradient = (1 - t) * p - t * q
    return tuple(part.astype(input.dtype) for part in (value, gradient, p * q))


def right(input: Any, target: Any) -> Any:
    return losses(input, target)


def value_only(input: Any, target: Any) -> Any:
    return losses(input, target)[0]


def mean_only(input: Any, target: Any) -> Any:
    return losses(input, target)[0].mean()


def by_argument(input: Any, target: Any) -> Any:
    value, gradient, _ = losses(input, target)
    return value, {"input": gradient, "target": -input}


def naive(input: Any, target: Any) -> Any:
    p = 1 / (1 + np.exp(-input))
    return -target * np.log(p) - (1 - target) * np.log(1 - p)


def sign_of_gradient(input: Any, target: Any) -> Any:
    value, gradient, curvature = losses(input, target)
    return value, -gradient, curvature


def lost_term_in_hessian(input: Any, target: Any) -> Any:
    value, gradient, _ = losses(input, target)
    return value, gradient, (gradient + target) ** 2


def wrong_target_gradient(input: Any, target: Any) -> Any:
    return losses(input, target)[0], {"target": input}


def sixteen_bits_at_heart(input: Any, target: Any) -> Any:
    return losses(input.astype(np.float16), target.astype(np.float16))[0].astype(input.dtype)


def loses_a_dimension(input: Any, target: Any) -> Any:
    return losses(input, target)[0][:0]


def complex_numbers(input: Any, target: Any) -> Any:
    return losses(input, target)[0] + 0j


def refuses(input: Any, target: Any) -> Any:
    raise ValueError("input must be positive")


def breaks(input: Any, target: Any) -> Any:
    return losses(input, undefined)[0]  # noqa: F821  # ty: ignore


def takes_anything(input: Any, target: Any, **more: Any) -> Any:
    if more["reduction"] != "none":
        raise ValueError("reduction")
    return losses(input, target)[0] * more.get("weight", 1)


def found(function: Callable[..., Any], **options: Any) -> dict[str, set[str]]:
    """Kinds of findings by component."""
    kinds: dict[str, set[str]] = {}
    for finding in audit(function, BINARY, **options).findings:
        kinds.setdefault(finding.component, set()).add(finding.kind)
    return kinds


@pytest.mark.parametrize("function", [right, value_only, by_argument, takes_anything])
def test_right_functions_pass_in_every_dtype(function: Callable[..., Any]) -> None:
    report = audit(function, BINARY, dtypes=tuple(FORMATS))
    assert report.grade <= Grade.ACCURATE, report.to_text()
    assert not report.findings
    assert [verdict.dtype for verdict in report.verdicts] == list(FORMATS)
    assert report.cases > 0


def test_all_components_are_judged() -> None:
    verdict = audit(right, BINARY, dtypes=["float32"]).verdicts[0]
    assert set(verdict.errors) == {"value", "gradient", "curvature"}
    assert set(audit(value_only, BINARY, dtypes=["float32"]).verdicts[0].errors) == {"value"}


def test_log_of_sigmoid_loses_the_tail() -> None:
    kinds = found(naive)["value"]
    assert kinds & {"infinite where the answer is finite", "NaN where the answer is a number"}


@pytest.mark.parametrize(
    ("function", "component", "kind"),
    [
        (sign_of_gradient, "gradient.input", "wrong sign"),
        (lost_term_in_hessian, "curvature.input", "wrong value"),
        (wrong_target_gradient, "gradient.target", "wrong sign"),
        (sixteen_bits_at_heart, "value", "loses digits"),
        (loses_a_dimension, "value", "returns another shape than the answer's"),
        (complex_numbers, "value", "returns complex64 where numbers are expected"),
        (refuses, "value", "rejects with ValueError"),
        (breaks, "value", "crashes with NameError"),
    ],
)
def test_each_mistake_is_found_and_named(
    function: Callable[..., Any], component: str, kind: str
) -> None:
    kinds = found(function, dtypes=["float32"])
    assert kind in kinds[component], kinds
    assert set(kinds) == {component}


def test_a_case_with_an_argument_it_lacks_is_skipped_and_counted() -> None:
    verdict = audit(value_only, BINARY, dtypes=["float64"]).verdicts[0]
    assert verdict.skipped == {"it takes no weight": 1}
    assert verdict.cases == 4


def test_without_a_reduction_argument_what_it_returns_decides() -> None:
    """All rows of this loss have reduction none, so a mean has nothing to be judged on."""
    assert audit(value_only, BINARY, dtypes=["float64"]).cases == 4
    verdict = audit(mean_only, BINARY, dtypes=["float64"]).verdicts[0]
    assert verdict.cases == 0
    assert verdict.skipped == {"its reduction is mean": 4, "it takes no weight": 1}


def test_reduction_that_is_announced() -> None:
    def summed(input: Any, target: Any) -> Any:
        z = input.astype(np.float64)
        rows = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), target]
        return rows.sum()

    verdict = audit(summed, "cross_entropy", reduction="sum", dtypes=["float32"]).verdicts[0]
    assert verdict.cases == 1
    assert verdict.skipped == {"its reduction is sum": 5}


def test_a_convention_is_named_and_not_called_wrong() -> None:
    def clamped(input: Any, target: Any) -> Any:
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(input), -100), np.maximum(np.log1p(-input), -100)
        return (-(target * logs[0] + (1 - target) * logs[1])).astype(input.dtype)

    report = audit(clamped, "binary_cross_entropy")
    assert report.grade is Grade.CONVENTION
    assert {finding.kind for finding in report.findings} == {"convention: clamp_100"}
    assert all("clamp_100: 100.0" in finding.true for finding in report.findings)


def test_the_bound_can_be_moved() -> None:
    def next_float(input: Any, target: Any) -> Any:
        return np.nextafter(losses(input, target)[0], np.inf, dtype=input.dtype)

    grades = [
        audit(next_float, BINARY, dtypes=["float32"], max_ulp=bound).grade
        for bound in (None, 2, 0.25)
    ]
    assert grades == [Grade.ACCURATE, Grade.ACCURATE, Grade.LOSES_DIGITS]


def test_arrays_are_told_from_what_the_module_imports() -> None:
    assert functions.kind_of(right) == "numpy"
    torch = pytest.importorskip("torch")
    assert functions.kind_of(torch.nn.functional.huber_loss) == "torch"


def test_torch_functions_are_differentiated() -> None:
    torch = pytest.importorskip("torch")

    def softplus(input: Any, target: Any) -> Any:
        return torch.nn.functional.softplus(input, threshold=1e3) - target * input

    verdict = audit(softplus, BINARY, dtypes=["float64"], arrays="torch").verdicts[0]
    assert set(verdict.errors) == {"value", "gradient"}
    wrong = {finding.component for finding in verdict.findings}
    assert "value" in wrong  # the tail of t = 1 cancels


def test_jax_functions_are_differentiated_and_need_not_be_traceable() -> None:
    jax = pytest.importorskip("jax")

    def traceable(input: Any, target: Any) -> Any:
        return jax.nn.softplus(input) - target * input

    def looks_at_values(input: Any, target: Any) -> Any:
        return traceable(input, target) if float(input[0]) < 1e9 else input

    for function in (traceable, looks_at_values):
        verdict = audit(function, BINARY, dtypes=["float32"], arrays="jax").verdicts[0]
        assert "value" in verdict.errors
        assert {finding.component for finding in verdict.findings} >= {"value"}


def test_numbers_of_ml_dtypes_are_numbers() -> None:
    def short(input: Any, target: Any) -> Any:
        return losses(input, target)[0].astype(ml_dtypes.bfloat16)

    report = audit(short, BINARY, dtypes=["bfloat16", "float32"])
    assert [verdict.grade for verdict in report.verdicts] == [
        Grade.CORRECTLY_ROUNDED,
        Grade.LOSES_DIGITS,
    ]


def test_torch_functions_that_return_no_gradient_are_judged_on_the_value() -> None:
    torch = pytest.importorskip("torch")

    def detached(input: Any, target: Any) -> Any:
        with torch.no_grad():
            return torch.nn.functional.binary_cross_entropy_with_logits(
                input, target, reduction="none"
            )

    verdict = audit(detached, BINARY, dtypes=["float64"], arrays="torch").verdicts[0]
    assert set(verdict.errors) == {"value"}


def test_a_function_that_spoils_its_input_spoils_no_other_case() -> None:
    def spoils(input: Any, target: Any) -> Any:
        value = losses(input, target)[0]
        input[...] = 0
        return value

    assert not audit(spoils, BINARY).findings


def test_an_accident_is_no_convention() -> None:
    """One answer out of two equals what a convention says; the other one is the textbook's."""

    def mostly_right(input: Any, target: Any) -> Any:
        return np.where(input == target, 0, np.where(input == 0, 100, np.inf)).astype(input.dtype)

    report = audit(mostly_right, "binary_cross_entropy", dtypes=["float64"])
    assert {finding.grade for finding in report.findings} == {Grade.WRONG}


def test_a_function_that_exits_is_a_finding_and_no_way_out() -> None:
    def leaving(input: object, target: object) -> float:
        raise SystemExit(0)

    report = audit(leaving, "cross_entropy")
    assert report.findings
    assert report.grade >= Grade.REJECTS
