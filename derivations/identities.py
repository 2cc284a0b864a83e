"""Identities between losses, of the formulas that run: one loss in terms of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sympy
from sympy import Symbol

from derivations import row_identities, vector_identities
from derivations.agreement import show_equal
from derivations.facts import NONNEGATIVE, POSITIVE
from derivations.obligations import Obligation, RefutedError
from derivations.reasoning import Show, all_equal, edge, facts, of
from derivations.working import WORKING
from refloss.formula.reading import Formula
from refloss.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    gaussian_kl,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    sigmoid_focal_loss,
    smooth_l1_loss,
)

x, t, z = (Symbol(name, real=True) for name in "xtz")


def obligations(losses: Sequence[str]) -> Iterator[Obligation]:
    """The identities in which one of the losses takes part."""
    for names, claim, show in (
        *elementwise(),
        *row_identities.rowwise(),
        *vector_identities.vectorwise(),
    ):
        if set(names) & set(losses):
            yield Obligation(" and ".join(names), claim, show)


def elementwise() -> Iterator[tuple[Sequence[str], str, Show]]:
    yield (
        ("smooth_l1_loss", "huber_loss"),
        "smooth_l1(beta) = huber(delta = beta) / beta; value, gradients",
        _smooth_l1_is_huber,
    )
    yield ("huber_loss", "mse_loss"), "huber(delta) = mse / 2 for delta >= |r|", _huber_is_mse
    yield ("smooth_l1_loss", "l1_loss"), "smooth_l1(beta = 0) = l1", _smooth_l1_is_l1
    yield (
        ("sigmoid_focal_loss", "binary_cross_entropy_with_logits"),
        "focal(gamma = 0, alpha = None) = bce with logits; value, gradient, curvature",
        _focal_is_bce,
    )
    yield (
        ("binary_cross_entropy_with_logits", "binary_cross_entropy"),
        "bce with logits z = bce of sigmoid(z)",
        _bce_of_sigmoid,
    )
    yield (
        ("kl_div",),
        "kl_div(x, log t, log_target) = kl_div(x, t)",
        lambda: show_equal(
            of(kl_div.log_value, input=x, target=sympy.log(edge)),
            of(kl_div.value, input=x, target=edge),
            facts(),
        ),
    )
    yield ("gaussian_kl",), "= the integral of p log(p / q) for normal p, q", _gaussian_integral


def _smooth_l1_is_huber() -> str:
    smooth, huber = smooth_l1_loss.FORMULAS, huber_loss.FORMULAS
    at = {"input": x, "target": t}

    def pair(one: Formula, other: Formula) -> Any:
        scaled = of(other, **at, delta=edge)
        return of(one, **at, beta=edge), lambda path: scaled(path) / edge

    pairs = [pair(smooth.value, huber.value)]
    pairs += [pair(smooth.gradient[n], huber.gradient[n]) for n in smooth.gradient]
    return all_equal(pairs, facts())


def _huber_is_mse() -> str:
    at = {"input": x, "target": t}
    small = facts((edge - (x - t), NONNEGATIVE), (edge + (x - t), NONNEGATIVE))
    half = of(mse_loss.value, **at)
    return all_equal([(of(huber_loss.value, **at, delta=edge), lambda path: half(path) / 2)], small)


def _smooth_l1_is_l1() -> str:
    plan = WORKING["smooth_l1_loss"]["beta = 0"].plan("smooth_l1_loss")
    if plan.formulas != l1_loss.FORMULAS:
        raise RefutedError("other formulas run")
    return "the same formulas run"


def _focal_is_bce() -> str:
    focal, bce = sigmoid_focal_loss.FORMULAS, binary_cross_entropy_with_logits.FORMULAS
    for_focal = {"input": z, "target": t, "on": 1, "off": 1, "gamma": 0}
    for_bce = {"input": z, "target": t, "pos_weight": 1}
    pairs = [
        (of(one, **for_focal), of(other, **for_bce))
        for one, other in (
            (focal.value, bce.value),
            (focal.gradient["input"], bce.gradient["input"]),
            (focal.gradient["target"], bce.gradient["target"]),
            (focal.curvature["input"], bce.curvature["input"]),
        )
    ]
    return all_equal(pairs, facts((t, POSITIVE), (1 - t, POSITIVE)))


def _bce_of_sigmoid() -> str:
    p = 1 / (1 + sympy.exp(-z))
    ours = of(binary_cross_entropy_with_logits.value, input=z, target=t, pos_weight=1)
    return show_equal(ours, of(binary_cross_entropy.value, input=p, target=t), facts())


def _gaussian_integral() -> str:
    mu, logvar, u = Symbol("mu", real=True), Symbol("s", real=True), Symbol("u", real=True)
    sigma = Symbol("sigma", positive=True)
    p = sympy.exp(-((u - mu) ** 2) / (2 * sigma**2)) / (sigma * sympy.sqrt(2 * sympy.pi))
    log_ratio = -((u - mu) ** 2) / (2 * sigma**2) - sympy.log(sigma) + u**2 / 2
    total = sympy.integrate(sympy.expand(log_ratio) * p, (u, -sympy.oo, sympy.oo))
    integral = sympy.simplify(total).subs(sigma, sympy.exp(logvar / 2))
    return show_equal(
        of(gaussian_kl.value, mu=mu, logvar=logvar), lambda path: sympy.expand(integral), facts()
    )
