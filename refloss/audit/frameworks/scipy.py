"""SciPy: scipy.special has no losses but huber and kl_div; the rest is what people make of it."""

from __future__ import annotations

from refloss.audit.calls import Call, UnsupportedError, refuse, scalar
from refloss.audit.cases import Case
from refloss.audit.frameworks import reduced

REQUIRES = ("scipy",)
DISTRIBUTION = "scipy"
INSTALL = "scipy"
ARRAYS = "numpy"
IMPORTS = "import numpy as np; from scipy import special"
DTYPES = ("float32", "float64")


def composition(value: str, case: Case, default: str = "mean") -> Call:
    """What people write from SciPy's functions."""
    return Call(reduced(value, case, default), composition=True)


def picked(logarithms: str, case: Case) -> str:
    """Minus the logarithm of the target's class, for rows of classes."""
    if case.ignored:
        raise UnsupportedError("no ignored labels")
    if case.arrays["input"].ndim != 2:
        raise UnsupportedError("no further axes")
    return f"(-{logarithms}[np.arange(len(target)), target])"


def axis(case: Case) -> int:
    return 1 if case.arrays["input"].ndim > 1 else 0


def cross_entropy(case: Case) -> Call:
    refuse(case, "weight", label_smoothing=0.0)
    logarithms = f"special.log_softmax(input, {axis(case)})"
    if case.indices:
        return composition(picked(logarithms, case), case)
    return composition(f"(-(target * {logarithms}).sum({axis(case)}))", case)


def cross_entropy_with_probs(case: Case) -> Call:
    refuse(case, "weight")
    if case.indices:
        return composition(picked("np.log(input)", case), case)
    return composition(f"(-special.xlogy(target, input).sum({axis(case)}))", case)


def binary_cross_entropy_with_logits(case: Case) -> Call:
    refuse(case, "weight", "pos_weight")
    loss = "(-(target * special.log_expit(input) + (1 - target) * special.log_expit(-input)))"
    return composition(loss, case)


def binary_cross_entropy(case: Case) -> Call:
    refuse(case, "weight")
    loss = "(-(special.xlogy(target, input) + special.xlog1py(1 - target, -input)))"
    return composition(loss, case)


def huber_loss(case: Case) -> Call:
    refuse(case, "weight")
    delta = scalar(case.options.get("delta", 1.0))
    return Call(reduced(f"special.huber({delta}, input - target)", case))


def kl_div(case: Case) -> Call:
    """From logarithms, rel_entr needs their exponentials."""
    target = "np.exp(target)" if case.options.get("log_target", False) else "target"
    return composition(f"special.rel_entr({target}, np.exp(input))", case)


def distillation_loss(case: Case) -> Call:
    temperature = case.options.get("temperature", 1.0)
    student, teacher = (
        f"special.softmax({name} / {temperature!r}, 1)" for name in ("input", "teacher")
    )
    loss = f"(special.rel_entr({teacher}, {student}).sum(1) * {temperature!r} ** 2)"
    return composition(loss, case, default="batchmean")
