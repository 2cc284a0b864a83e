"""Right losses in careful NumPy, written without refloss.

They compute in float64 and round once, so they are right in every format. What the audit finds in
one of them is a defect of the audit (or of the oracle).
"""

from typing import Any

import numpy as np

from .mistake import class_back, class_last


def huber_loss(input: Any, target: Any, delta: float = 1.0) -> Any:
    r = input.astype(np.float64) - target.astype(np.float64)
    a = np.abs(r)
    with np.errstate(over="ignore"):
        value = np.where(a > delta, delta * (a - delta / 2), r * r / 2)
    curvature = np.where(a > delta, 0.0, np.where(np.isnan(a), a, 1.0))
    return _as(input, value, np.clip(r, -delta, delta), curvature)


def mse_loss(input: Any, target: Any) -> Any:
    r = input.astype(np.float64) - target.astype(np.float64)
    return _as(input, r * r, 2 * r)


def l1_loss(input: Any, target: Any) -> Any:
    r = input.astype(np.float64) - target.astype(np.float64)
    return _as(input, np.abs(r), np.sign(r))


def binary_cross_entropy_with_logits(input: Any, target: Any) -> Any:
    z, t = input.astype(np.float64), target.astype(np.float64)
    e = np.exp(-np.abs(z))
    tail = np.log1p(e)
    positive, negative = np.where(z > 0, tail, tail - z), np.where(z > 0, tail + z, tail)
    p, q = np.where(z > 0, 1, e) / (1 + e), np.where(z > 0, e, 1) / (1 + e)
    value = _times(t, positive) + _times(1 - t, negative)
    nan = 0 * np.where(np.isnan(z) | np.isnan(t), np.nan, 0)
    return _as(input, value + nan, (1 - t) * p - t * q, p * q + nan)


def gaussian_kl(mu: Any, logvar: Any) -> Any:
    m, v = mu.astype(np.float64), logvar.astype(np.float64)
    far = np.where(np.isinf(v), np.inf, np.expm1(v) - np.where(np.isinf(v), 0, v))
    terms, series = v * v / 2, np.zeros_like(v)
    with np.errstate(all="ignore"):
        for k in range(3, 24):  # e^v - 1 - v term by term
            series = series + terms
            terms = terms * v / k
    return _as(mu, (m * m + np.where(np.abs(v) < 1, series, far)) / 2, m)


def nll_loss(input: Any, target: Any) -> Any:
    x = class_last(input.astype(np.float64))
    hit = target[..., None] == np.arange(x.shape[-1])
    value = -np.where(hit, x, 0).sum(-1)
    return _as(input, value, class_back(-hit.astype(np.float64)))


def cross_entropy(input: Any, target: Any) -> Any:
    """Class indices and probabilities; the largest logit is kept out of the sum."""
    z = class_last(input.astype(np.float64))
    top = z.argmax(-1)[..., None]
    nan = np.where(np.isnan(z).any(-1, keepdims=True), np.nan, 0.0)
    m = np.take_along_axis(z, top, -1)
    is_top = np.arange(z.shape[-1]) == top
    gap = np.where(is_top, 0, m - z)
    decay = np.exp(-gap)
    tail = np.where(is_top, 0, decay).sum(-1, keepdims=True)
    surprise = np.where(np.isinf(gap), np.inf, gap + np.log1p(tail)) + nan
    if target.dtype.kind != "i":
        y = class_last(target.astype(np.float64))
    else:
        y = (target[..., None] == np.arange(z.shape[-1])).astype(np.float64)
        nan = np.where(y.any(-1, keepdims=True), nan, 0)  # an ignored row is not looked at
    terms = _times(y, surprise)
    undecided = np.isnan(terms) & ~np.isnan(y) & (nan == 0)
    certain = (np.where(undecided, 0, terms) == np.inf).any(-1, keepdims=True)
    value = np.where(undecided & certain, 0, terms).sum(-1) + nan[..., 0]
    return _as(input, value)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Any:
    x1, x2, t = (array.astype(np.float64) for array in (input1, input2, target))
    v = np.where(t > 0, x2 - x1, x1 - x2) + margin + 0 * t
    return _as(input1, np.where(v <= 0, 0, v), -t * _step(v))


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0) -> Any:
    x, t = input.astype(np.float64), target.astype(np.float64)
    nan = np.where(np.isnan(x) | np.isnan(t), np.nan, 0)
    v = margin - x
    value, slope = np.where(t > 0, x, np.where(v <= 0, 0, v)), np.where(t > 0, 1, -_step(v))
    return _as(input, value + nan, slope + nan)


def contrastive_loss_from_distance(distance: Any, target: Any, margin: float = 1.0) -> Any:
    d, y = distance.astype(np.float64), target.astype(np.float64)
    near = np.where(d >= margin, 0, margin - d)
    value = _share(_share(y, d), d) + _share(_share(1 - y, near), near)
    return _as(distance, value, _share(2 * y, d) - _share(2 * (1 - y), near))


def _step(v: Any) -> Any:
    """The slope of the hinge, 0 at the tie."""
    return np.where(v <= 0, 0, np.where(np.isnan(v), v, 1))


def _times(mass: Any, x: Any) -> Any:
    """0 where there is no mass, whatever x."""
    return np.where(mass == 0, 0, mass * x)


def _share(mass: Any, x: Any) -> Any:
    """0 where there is no mass, whatever number x is."""
    return np.where((mass == 0) & ~np.isnan(x), 0, mass * x)


def _as(input: Any, *parts: Any) -> Any:
    """Rounded once. float64 to bfloat16 is rounded twice, which a faithful answer survives."""
    rounded = tuple(np.asarray(part).astype(input.dtype) for part in parts)
    return rounded if len(rounded) > 1 else rounded[0]


RIGHT = {
    function.__name__: function
    for function in (
        binary_cross_entropy_with_logits,
        contrastive_loss_from_distance,
        cross_entropy,
        gaussian_kl,
        hinge_embedding_loss,
        huber_loss,
        l1_loss,
        margin_ranking_loss,
        mse_loss,
        nll_loss,
    )
}
