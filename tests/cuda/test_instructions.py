"""Every certified answer, by the instructions that the fused kernels are made of.

They run compiled for the CPU (`hosted`), so no CUDA is needed: float64 arithmetic must keep the
losses' own promise in float32, float32 arithmetic the one of its name.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import refloss
from refloss import oracles
from refloss.accuracy import ulp_error
from refloss.audit.cases import Case, cases
from refloss.evaluation import Plan, Wanted

from .hosted import on_this_machine

DTYPE = "float32"


def plan_of(case: Case) -> Any:
    return getattr(refloss, case.loss)._plan(**case.arrays, **case.options)


def has_fused_kernels(loss: str) -> bool:
    if not hasattr(getattr(refloss, loss), "_plan"):
        return False
    return isinstance(plan_of(next(cases(loss, DTYPE))), Plan)


# Losses whose float64 arithmetic runs too, as it does on every device that has it
IN_FLOAT64 = ["softmax_focal_loss", "distillation_loss", "sigmoid_focal_loss"]

# Made of what the others are made of, by kernels that take a compiler half a minute
SLOW = {
    "contrastive_loss",
    "cosine_embedding_loss",
    "cross_entropy",
    "cross_entropy_with_probs",
    "nll_loss",
    "triplet_margin_loss",
}

# e^logvar overflows float32 where half of it would not
OUT_OF_RANGE = {"gaussian_kl": {"saturation"}}

FUSED = [loss for loss in oracles.names() if loss not in SLOW and has_fused_kernels(loss)]


def in_float32(case: Case) -> bool:
    """Whether float32 arithmetic is asked the same question: all numbers are numbers of float32."""
    if case.row.region in OUT_OF_RANGE.get(case.loss, ()):
        return False
    numbers = [x for x in case.options.values() if isinstance(x, float)]
    return all(float(np.float32(x)) == x for x in numbers)


def errors(loss: str, wanted: Callable[[Case], bool]) -> Iterator[tuple[float, str]]:
    """The largest error of each answer, and which it is."""
    for case in filter(wanted, cases(loss, DTYPE)):
        if case.options.get("reduction") != "none":
            continue  # each way to reduce is one more kernel to compile
        plan = plan_of(case)
        names = plan.names("gradient")
        found = plan.evaluate(Wanted(value=True, gradient=names))
        computed = {"value": found.value}
        computed |= {
            f"gradient.{name}": array for name, array in zip(names, found.gradient, strict=True)
        }
        for component, array in computed.items():
            if component not in case.answers:
                continue
            expected = case.answers[component]
            flat = np.asarray(array).reshape(-1)
            told = flat if expected.at is None else flat[expected.at]
            error = ulp_error(told, expected.answer, DTYPE).max(initial=0)
            yield float(error), f"{component} of {case.row.id}"


@pytest.mark.parametrize("loss", IN_FLOAT64)
def test_float64_arithmetic_keeps_the_promise(loss: str) -> None:
    with on_this_machine("refloss.kernels.cuda"):
        worst, where = max(errors(loss, lambda case: True))
    assert worst <= getattr(refloss, loss).promise.float32, where


@pytest.mark.parametrize("loss", FUSED)
def test_float32_arithmetic_keeps_its_own(loss: str) -> None:
    with on_this_machine("refloss.kernels.cuda.single"):
        worst, where = max(errors(loss, in_float32))
    assert worst <= getattr(refloss, loss).promise.float32_inside, where
