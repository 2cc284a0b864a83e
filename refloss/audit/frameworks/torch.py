"""PyTorch: torch.nn.functional, and the compositions people write where it has no function."""

from __future__ import annotations

from refloss.audit.calls import Call, call, refuse
from refloss.audit.cases import Case
from refloss.audit.frameworks import reduced

REQUIRES = ("torch",)
DISTRIBUTION = "torch"
INSTALL = "torch"
ARRAYS = "torch"
IMPORTS = "import torch, torch.nn.functional as F"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def direct(name: str, case: Case) -> Call:
    """A function that torch has, with refloss's own arguments."""
    value = call(f"F.{name}", case, "input", "target")
    return Call(value, differentiable=case.asked("gradient"))


def composition(value: str, case: Case) -> Call:
    """What people write, torch having no function for it."""
    return Call(value, differentiable=case.asked("gradient"), composition=True)


def cross_entropy(case: Case) -> Call:
    return direct("cross_entropy", case)


def nll_loss(case: Case) -> Call:
    return direct("nll_loss", case)


def cross_entropy_with_probs(case: Case) -> Call:
    if case.indices:
        return composition(call("F.nll_loss", case, "input", "target", log="input"), case)
    refuse(case, "weight")
    axis = 1 if case.arrays["input"].ndim > 1 else 0
    return composition(reduced(f"(-(target * input.log()).sum({axis}))", case), case)


def binary_cross_entropy_with_logits(case: Case) -> Call:
    return direct("binary_cross_entropy_with_logits", case)


def binary_cross_entropy(case: Case) -> Call:
    return direct("binary_cross_entropy", case)


def sigmoid_focal_loss(case: Case) -> Call:
    """torchvision's expression, which most copies are copies of."""
    gamma, alpha = case.options.get("gamma", 2.0), case.options.get("alpha", 0.25)
    p = "torch.sigmoid(input)"
    entropy = 'F.binary_cross_entropy_with_logits(input, target, reduction="none")'
    loss = f"{entropy} * (1 - ({p} * target + (1 - {p}) * (1 - target))) ** {gamma!r}"
    if alpha is not None:
        loss = f"({alpha!r} * target + {1 - alpha!r} * (1 - target)) * ({loss})"
    return composition(reduced(f"({loss})", case), case)


def softmax_focal_loss(case: Case) -> Call:
    """The probability recovered from the cross-entropy, as most copies do."""
    refuse(case, "weight")
    gamma = case.options.get("gamma", 2.0)
    ignore = case.options.get("ignore_index", -100)
    entropy = f'F.cross_entropy(input, target, ignore_index={ignore}, reduction="none")'
    loss = f"(lambda ce: (1 - torch.exp(-ce)) ** {gamma!r} * ce)({entropy})"
    if case.ignored and case.options.get("reduction", "mean") == "mean":
        return composition(f"{loss}.sum() / (target != {ignore}).sum()", case)
    return composition(reduced(loss, case), case)


def mse_loss(case: Case) -> Call:
    return direct("mse_loss", case)


def l1_loss(case: Case) -> Call:
    return direct("l1_loss", case)


def huber_loss(case: Case) -> Call:
    return direct("huber_loss", case)


def smooth_l1_loss(case: Case) -> Call:
    return direct("smooth_l1_loss", case)


def kl_div(case: Case) -> Call:
    return direct("kl_div", case)


def gaussian_kl(case: Case) -> Call:
    """The line of Kingma and Welling's appendix B, as every autoencoder has it."""
    return composition(reduced("(-0.5 * (1 + logvar - mu.pow(2) - logvar.exp()))", case), case)


def distillation_loss(case: Case) -> Call:
    """The line of PyTorch's own tutorial on knowledge distillation, by way of kl_div."""
    temperature = case.options.get("temperature", 1.0)
    student = f"F.log_softmax(input / {temperature!r}, 1)"
    teacher = f"F.softmax(teacher / {temperature!r}, 1)"
    reduction = case.options.get("reduction", "batchmean")
    loss = f'F.kl_div({student}, {teacher}, reduction="none").sum(1)'
    if reduction == "batchmean":
        loss = f'F.kl_div({student}, {teacher}, reduction="batchmean")'
        return composition(f"({loss} * {temperature!r} ** 2)", case)
    return composition(reduced(f"({loss} * {temperature!r} ** 2)", case), case)
