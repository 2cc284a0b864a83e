"""scikit-learn: the losses behind its linear models and its gradient boosting.

They take one axis of samples, float32 or float64, and give gradient and Hessian in closed form.
"""

from __future__ import annotations

from math import prod

from refloss.audit.calls import Call, UnsupportedError, refuse, scalar
from refloss.audit.cases import Case
from refloss.audit.frameworks import reduced

REQUIRES = ("sklearn",)
DISTRIBUTION = "scikit-learn"
INSTALL = "scikit-learn"
ARRAYS = "numpy"
IMPORTS = "import numpy as np, sklearn._loss.loss as L"
DTYPES = ("float32", "float64")


def per_sample(loss: str, case: Case, factor: str = "") -> Call:
    """Value, gradient and Hessian diagonal of a loss of one number a sample."""
    shape = case.arrays["input"].shape
    if case.arrays["target"].shape != shape:
        raise UnsupportedError("no broadcasting")
    data = "y_true=target, raw_prediction=input"
    if len(shape) != 1:
        data = "y_true=target.ravel(), raw_prediction=input.ravel()"
    reduction = case.options.get("reduction", "mean")
    divided = f" / {prod(shape)}" if reduction == "mean" else ""
    back = f".reshape({shape})" if len(shape) != 1 else ""
    return Call(
        factor + reduced(f"{loss}.loss({data}){back}", case),
        gradient={"input": f"{factor}{loss}.gradient({data}){back}{divided}"},
        curvature={"input": f"{factor}{loss}.gradient_hessian({data})[1]{back}{divided}"},
    )


def cross_entropy(case: Case) -> Call:
    refuse(case, "weight", label_smoothing=0.0)
    logits = case.arrays["input"]
    if not case.indices:
        raise UnsupportedError("no class probabilities")
    if logits.ndim != 2:
        raise UnsupportedError("no further axes")
    if case.ignored:
        raise UnsupportedError("no ignored labels")
    loss = f"L.HalfMultinomialLoss(n_classes={logits.shape[1]})"
    data = "y_true=target.astype(input.dtype), raw_prediction=input"
    mean = case.options.get("reduction", "mean") == "mean"
    divided = f" / {len(logits)}" if mean else ""
    return Call(
        reduced(f"{loss}.loss({data})", case),
        gradient={"input": f"{loss}.gradient({data}){divided}"},
        curvature={"input": f"{loss}.gradient_hessian({data})[1]{divided}"},
    )


def cross_entropy_with_probs(case: Case) -> Call:
    """``sklearn.metrics.log_loss`` takes the probabilities of two classes or more."""
    refuse(case, "weight")
    p = case.arrays["input"]
    if p.ndim != 2 or p.shape[1] < 2 or not case.indices or case.ignored:
        raise UnsupportedError("no further axes, class probabilities or ignored labels")
    reduction = case.options.get("reduction", "mean")
    if reduction == "none":
        raise UnsupportedError("no losses one by one")
    labels = list(range(p.shape[1]))
    return Call(
        f'__import__("sklearn.metrics").metrics.log_loss(target, input, labels={labels}, '
        f"normalize={reduction == 'mean'})"
    )


def binary_cross_entropy_with_logits(case: Case) -> Call:
    refuse(case, "weight", "pos_weight")
    return per_sample("L.HalfBinomialLoss()", case)


def mse_loss(case: Case) -> Call:
    refuse(case, "weight")
    return per_sample("L.HalfSquaredError()", case, factor="2 * ")


def l1_loss(case: Case) -> Call:
    refuse(case, "weight")
    return per_sample("L.AbsoluteError()", case)


def huber_loss(case: Case) -> Call:
    refuse(case, "weight")
    return per_sample(f"L.HuberLoss(delta={scalar(case.options.get('delta', 1.0))})", case)
