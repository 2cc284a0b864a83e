"""Random numbers against 64 digits of two: between certified rows a promise holds as well."""

from typing import Any

import numpy as np
import pytest

import refloss

Array = Any
LONG = np.longdouble

COUNT = 50_000
LOGITS = {
    "usual": lambda rng: 3 * rng.normal(size=COUNT),
    "any": lambda rng: rng.uniform(-40, 40, COUNT),
    "of all sizes": lambda rng: rng.normal(size=COUNT) * 10.0 ** rng.uniform(-6, 2, COUNT),
}
TARGETS = {
    "hard": lambda rng: rng.integers(0, 2, COUNT).astype(float),
    "soft": lambda rng: rng.uniform(size=COUNT),
    "almost hard": lambda rng: 10.0 ** rng.uniform(-12, 0, COUNT),
}


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid_focal(z: Array, t: Array, alpha: float | None, gamma: float) -> dict[str, Array]:
    """Value, gradient by the logit and the largest of its terms."""
    z, t, focus = z.astype(LONG), t.astype(LONG), LONG(gamma)
    e = np.exp(-np.abs(z))
    s, s_other = np.where(z > 0, 1, e) / (1 + e), np.where(z > 0, e, 1) / (1 + e)
    entropy = t * softplus(-z) + (1 - t) * softplus(z)
    m = (1 - t) * s + t * s_other
    balance = 1 if alpha is None else LONG(alpha) * t + (1 - LONG(alpha)) * (1 - t)
    scale = balance * m**focus
    push, pull = (1 - t) * s, t * s_other
    further = focus * (1 - 2 * t) * s * s_other / m * entropy
    gradient = scale * (push - pull + further)
    largest = np.maximum(np.maximum(push, pull), np.abs(further)) * scale
    return {
        "value": scale * entropy,
        "gradient": gradient,
        "term": np.maximum(largest, np.abs(gradient)),
    }


def ulps(found: Array, truth: Array, scale: Array) -> float:
    return float(np.max(np.abs(found - truth) / np.spacing(scale.astype(float))))


@pytest.mark.skipif(np.finfo(LONG).nmant < 63, reason="long double has no more digits than double")
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("logits", LOGITS)
@pytest.mark.parametrize("alpha", [None, 0.25, 0.9])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 5.0, 7.3])
def test_sigmoid_focal_loss(gamma: float, alpha: float | None, logits: str, targets: str) -> None:
    rng = np.random.default_rng(0)
    z, t = LOGITS[logits](rng), TARGETS[targets](rng)
    truth = sigmoid_focal(z, t, alpha, gamma)
    loss = refloss.sigmoid_focal_loss
    value, gradient = loss.value_and_grad(z, t, alpha=alpha, gamma=gamma, reduction="none")
    assert ulps(value, truth["value"], truth["value"]) <= loss.promise.float64
    assert ulps(gradient, truth["gradient"], truth["term"]) <= loss.promise.float64
