"""Which NaN a formula carries by itself: found without numbers, and held against some."""

import math
from importlib import import_module
from itertools import product as pairs_of
from typing import Any

import pytest

from refloss.evaluation import Formulas
from refloss.formula.carried import FALSE, NAN, SOME, carries
from refloss.formula.reading import Formula, parameters
from refloss.formula.words import absolute, exp, log, power, product, quotient, sum_error, where

ELEMENTWISE = (
    "mse_loss",
    "l1_loss",
    "huber_loss",
    "smooth_l1_loss",
    "kl_div",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "sigmoid_focal_loss",
    "gaussian_kl",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "contrastive_loss_from_distance",
)
NUMBERS = (-math.inf, -1.0, 0.0, 0.25, 1.0, 3.0, math.inf)


def formulas() -> list[Formula]:
    found = []
    for name in ELEMENTWISE:
        module = import_module(f"refloss.losses.{name}")
        for one in vars(module).values():
            if isinstance(one, Formulas):
                found += [one.value, *one.gradient.values(), *one.curvature.values()]
    return found


@pytest.mark.parametrize("formula", formulas(), ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_what_is_carried_is_nan_with_any_numbers(formula: Formula) -> None:
    names = parameters(formula)
    for argument in names:
        if not carries(formula, argument):
            continue
        others = [NUMBERS if name != argument else (math.nan,) for name in names]
        for given in pairs_of(*others) if len(names) < 4 else pairs_of(*(o[::3] for o in others)):
            try:
                found = formula(*given)
            except (ArithmeticError, ValueError):  # of Python's numbers, where others have NaN
                continue
            assert found != found, (argument, given)


def first(x: Any, y: Any) -> Any:
    return where(x > 0, y, x)


def both(x: Any, y: Any) -> Any:
    return where((x > 0) | (y > 0), 1, x - y)


def silent(x: Any, y: Any) -> Any:
    return product(y, x)


def masses(x: Any, y: Any) -> Any:
    return product(x, y) + quotient(x, y)


def dropped(x: Any, y: Any) -> Any:
    return where(x > y, x, y)


def different(x: Any, y: Any) -> Any:
    return where(x != y, x, 1)


def lost(x: Any, y: Any) -> Any:
    return sum_error(x, y) + power(x, y)


def functions(x: Any, y: Any) -> Any:
    return -exp(absolute(x)) / 2 + where(y == 0, x, log(x))


@pytest.mark.parametrize(
    ("formula", "x", "y"),
    [
        (first, True, False),
        (both, False, False),
        (silent, False, True),
        (masses, True, False),
        (dropped, False, True),
        (different, False, False),
        (lost, False, False),
        (functions, True, False),
    ],
)
def test_carries(formula: Formula, x: bool, y: bool) -> None:
    assert (carries(formula, "x"), carries(formula, "y")) == (x, y)


def test_nothing_is_decided_by_the_truth_of_what_is_not_known() -> None:
    for one in (SOME, NAN, FALSE):
        with pytest.raises(TypeError, match="`where`"):
            bool(one)


def test_the_losses_of_residuals_carry_theirs() -> None:
    """So that their kernels need not look for it."""
    for name in ("mse_loss", "huber_loss"):
        value = import_module(f"refloss.losses.{name}").FORMULAS.value
        assert carries(value, "input")
        assert carries(value, "target")
