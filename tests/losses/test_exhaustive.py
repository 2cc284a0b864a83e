"""All 65,536 numbers of float16 and of bfloat16, put to every loss of one number.

The truth is computed in float64, by formulas of this file that refloss does not use; it has at
least four times the digits of a short format. A sample of it is held against the textbook in ball
arithmetic.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import factorial
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

import refloss
from refloss.accuracy import FORMATS, Truth, rounded, ulp_error

Floats = Any
Pair = tuple[Any, Any]

SHORT = ["float16", "bfloat16"]


@dataclass(frozen=True)
class Sweep:
    """One argument runs through all numbers of a format, the other stands still.

    ``truth`` gives value and gradient of float64 arrays, ``textbook`` of a ball.
    """

    loss: str
    argument: str
    fixed: dict[str, float]
    truth: Callable[[Floats], Pair]
    textbook: Callable[[Any], Pair]
    options: dict[str, Any] = field(default_factory=dict)
    domain: tuple[float, float] = (-np.inf, np.inf)

    def __str__(self) -> str:
        given = {**self.fixed, **self.options}
        return "-".join([self.loss, self.argument, *(f"{k}={v}" for k, v in given.items())])

    def numbers(self, dtype: str) -> Any:
        """All that lie in the domain, and every NaN."""
        every = np.arange(1 << 16, dtype=np.uint16).view(FORMATS[dtype].dtype)
        low, high = self.domain
        with np.errstate(invalid="ignore"):
            wide = every.astype(np.float64)
        return every[~((wide < low) | (wide > high))]

    def computed(self, x: Any) -> Pair:
        other = {name: np.full_like(x, value) for name, value in self.fixed.items()}
        value, gradient = getattr(refloss, self.loss).value_and_grad(
            **{self.argument: x}, **other, **self.options, reduction="none", wrt=self.argument
        )
        return value, gradient


def squared(t: float, x: Any) -> Pair:
    return (x - t) ** 2, 2 * (x - t)


def distance(t: float, x: Any) -> Pair:
    return np.abs(x - t), np.sign(x - t)


def ball_distance(t: float, x: Any) -> Pair:
    return abs(x - t), 0 if x == t else (1 if x > t else -1)


def huber(t: float, delta: float, factor: float, x: Any) -> Pair:
    r = x - t
    clipped = np.clip(r, -delta, delta)
    with np.errstate(invalid="ignore"):
        value = clipped * (r - clipped / 2)  # r^2 / 2 inside, delta (|r| - delta / 2) outside
    return value * factor, clipped * factor


def ball_huber(t: float, delta: float, factor: float, x: Any) -> Pair:
    r = x - t
    if abs(r) < delta:
        return r * r / 2 * factor, r * factor
    return delta * (abs(r) - arb(delta) / 2) * factor, (delta if r > 0 else -delta) * factor


def softplus(z: Any) -> Any:
    return np.logaddexp(0, z)


def logistic(t: float, z: Any) -> Pair:
    sign = 1 - 2 * t
    return softplus(sign * z), sign * np.exp(-softplus(-sign * z))


def ball_logistic(t: float, z: Any) -> Pair:
    p = 1 / (1 + (-z).exp())
    return -(p if t else 1 - p).log(), p - t


def bernoulli(t: float, p: Any) -> Pair:
    return (-np.log(p), -1 / p) if t else (-np.log1p(-p), 1 / (1 - p))


def ball_bernoulli(t: float, p: Any) -> Pair:
    return (-p.log(), -1 / p) if t else (-(1 - p).log(), 1 / (1 - p))


def focal(t: float, alpha: float, gamma: float, z: Any) -> Pair:
    """With s = -z or z the loss is alpha_t sigmoid(s)^gamma softplus(s)."""
    sign, balance = 1 - 2 * t, alpha if t else 1 - alpha
    s = sign * z
    log_p, log_q = -softplus(-s), -softplus(s)
    power = np.exp(log_p) ** gamma
    with np.errstate(invalid="ignore"):
        value = np.where(power == 0, 0, power * -log_q)
        bend = np.where(np.exp(log_q) == 0, 0, np.exp(log_q) * -log_q)
    gradient = sign * power * (gamma * bend + np.exp(log_p))
    return balance * np.where(np.isnan(z), z, value), balance * gradient


def ball_focal(t: float, alpha: float, gamma: float, z: Any) -> Pair:
    p = 1 / (1 + (-z).exp())
    p, sign, balance = (p, 1, arb(alpha)) if t else (1 - p, -1, 1 - arb(alpha))
    power = (1 - p) ** arb(gamma)
    return -balance * power * p.log(), sign * balance * power * (gamma * p * p.log() - (1 - p))


def excess(v: Any) -> Any:
    """e^v - 1 - v: the series inside, the difference outside."""
    terms = [1 / factorial(k) for k in range(22, 1, -1)]
    inside = np.abs(v) < 1
    near = np.where(inside, v, 0)
    far = np.where(inside | np.isinf(v), 0, v)
    tail = np.where(np.isinf(v), np.inf, np.expm1(v) - far)
    return np.where(inside, np.polyval(terms, near) * near * near, tail)


def of_logvar(mu: float, v: Any) -> Pair:
    return (mu * mu + excess(v)) / 2, np.expm1(v) / 2


def ball_of_logvar(mu: float, v: Any) -> Pair:
    return (arb(mu) ** 2 + v.exp() - 1 - v) / 2, (v.exp() - 1) / 2


def of_mu(v: float, mu: Any) -> Pair:
    return (mu * mu + float(excess(np.array(v)))) / 2, mu


def ball_of_mu(v: float, mu: Any) -> Pair:
    return (mu**2 + arb(v).exp() - 1 - v) / 2, mu


def of_log_q(t: float, x: Any) -> Pair:
    """The gradient does not depend on x, not even on a NaN."""
    return t * (np.log(t) - x), np.full_like(x, -t)


def ball_of_log_q(t: float, x: Any) -> Pair:
    return t * (arb(t).log() - x), -t


def of_p(x: float, t: Any) -> Pair:
    log_t = np.log(t)
    with np.errstate(invalid="ignore"):
        return np.where(t == 0, 0, t * (log_t - x)), log_t - x + 1


def ball_of_p(x: float, t: Any) -> Pair:
    return t * (t.log() - x), t.log() - x + 1


def of_log_p(x: float, v: Any) -> Pair:
    t = np.exp(v)
    with np.errstate(invalid="ignore"):
        return np.where(t == 0, 0, t * (v - x)), np.where(t == 0, 0, t * (v - x + 1))


def ball_of_log_p(x: float, v: Any) -> Pair:
    return v.exp() * (v - x), v.exp() * (v - x + 1)


BCEWL = "binary_cross_entropy_with_logits"
SWEEPS = [
    *(
        Sweep("mse_loss", "input", {"target": t}, partial(squared, t), partial(squared, t))
        for t in (0.0, 1.0)
    ),
    *(
        Sweep("l1_loss", "input", {"target": t}, partial(distance, t), partial(ball_distance, t))
        for t in (0.0, 1.0)
    ),
    *(
        Sweep(
            "huber_loss",
            "input",
            {"target": t},
            partial(huber, t, delta, 1.0),
            partial(ball_huber, t, delta, 1.0),
            {"delta": delta},
        )
        for t, delta in ((0.0, 1.0), (0.25, 1.5))
    ),
    *(
        Sweep(
            "smooth_l1_loss",
            "input",
            {"target": t},
            partial(huber, t, beta, 1 / beta),
            partial(ball_huber, t, beta, 1 / beta),
            {"beta": beta},
        )
        for t, beta in ((0.0, 1.0), (0.25, 0.5))
    ),
    *(
        Sweep(BCEWL, "input", {"target": t}, partial(logistic, t), partial(ball_logistic, t))
        for t in (0.0, 1.0)
    ),
    *(
        Sweep(
            "binary_cross_entropy",
            "input",
            {"target": t},
            partial(bernoulli, t),
            partial(ball_bernoulli, t),
            domain=(0.0, 1.0),
        )
        for t in (0.0, 1.0)
    ),
    *(
        Sweep(
            "sigmoid_focal_loss",
            "input",
            {"target": t},
            partial(focal, t, 0.25, gamma),
            partial(ball_focal, t, 0.25, gamma),
            {"alpha": 0.25, "gamma": gamma},
        )
        for t in (0.0, 1.0)
        for gamma in (0.0, 0.5, 2.0)
    ),
    *(
        Sweep(
            "gaussian_kl", "logvar", {"mu": mu}, partial(of_logvar, mu), partial(ball_of_logvar, mu)
        )
        for mu in (0.0, 0.5)
    ),
    *(
        Sweep("gaussian_kl", "mu", {"logvar": v}, partial(of_mu, v), partial(ball_of_mu, v))
        for v in (0.0, -0.5)
    ),
    Sweep("kl_div", "input", {"target": 0.5}, partial(of_log_q, 0.5), partial(ball_of_log_q, 0.5)),
    Sweep(
        "kl_div",
        "target",
        {"input": -1.0},
        partial(of_p, -1.0),
        partial(ball_of_p, -1.0),
        domain=(0.0, np.inf),
    ),
    Sweep(
        "kl_div",
        "target",
        {"input": -1.0},
        partial(of_log_p, -1.0),
        partial(ball_of_log_p, -1.0),
        {"log_target": True},
    ),
]
EVERY = pytest.mark.parametrize("sweep", SWEEPS, ids=str)


@EVERY
@pytest.mark.parametrize("dtype", SHORT)
def test_every_number_of_the_format(sweep: Sweep, dtype: str) -> None:
    x = sweep.numbers(dtype)
    with np.errstate(all="ignore"):
        truths = sweep.truth(x.astype(np.float64))
    promise = getattr(getattr(refloss, sweep.loss).promise, dtype)
    for part, computed, truth in zip(("value", "gradient"), sweep.computed(x), truths, strict=True):
        error = ulp_error(computed, Truth.of(np.broadcast_to(truth, x.shape)), dtype)
        worst = int(error.argmax())
        assert error[worst] <= promise, (
            f"{part} at {x[worst]}: {computed[worst]}, off by {error[worst]} ulp"
        )


@EVERY
@pytest.mark.parametrize("dtype", SHORT)
def test_the_truth_is_the_textbook(sweep: Sweep, dtype: str) -> None:
    """On every 251st number that is not too large for it, rounded to the format."""
    with np.errstate(invalid="ignore"):
        numbers = sweep.numbers(dtype).astype(np.float64)
    low, high = sweep.domain
    chosen = (np.abs(numbers) < 500) & (numbers > low) & (numbers < high) & (numbers != 0)
    x = numbers[chosen][::251]
    with np.errstate(all="ignore"):
        truths = sweep.truth(x)
    before = ctx.prec
    ctx.prec = 4000
    try:
        balls = [sweep.textbook(arb(number)) for number in x]
        expected = [[float(arb(ball)) for ball in part] for part in zip(*balls, strict=True)]
    finally:
        ctx.prec = before
    assert len(x) > 50
    for truth, exact in zip(truths, expected, strict=True):
        found = rounded(Truth.of(np.broadcast_to(truth, x.shape)), dtype)
        np.testing.assert_array_equal(found, rounded(Truth.of(np.array(exact)), dtype))
