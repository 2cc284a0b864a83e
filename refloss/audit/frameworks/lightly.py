"""Lightly: its NTXentLoss is SimCLR's loss, and with a memory bank MoCo's."""

from __future__ import annotations

from refloss.audit.calls import Call, UnsupportedError, scalar
from refloss.audit.cases import Case

REQUIRES = ("lightly", "torch", "torchvision")
DISTRIBUTION = "lightly"
INSTALL = "lightly"
ARRAYS = "torch"
IMPORTS = "import torch, torch.nn.functional as F; from lightly.loss import NTXentLoss"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def temperature(case: Case, default: float) -> str:
    if case.options.get("reduction", "mean") != "mean":
        raise UnsupportedError("no reduction but the mean")
    return f"temperature={scalar(case.options.get('temperature', default))}"


def nt_xent_loss(case: Case) -> Call:
    value = f"NTXentLoss({temperature(case, 0.5)})(z_i, z_j)"
    return Call(value, differentiable=case.asked("gradient"))


def info_nce_loss(case: Case) -> Call:
    """The bank holds unit vectors, as enqueued, and is not differentiated."""
    if "negative_keys" not in case.arrays:
        raise UnsupportedError("no negatives from the batch in one direction")
    shape = case.arrays["negative_keys"].shape
    if not shape[0]:
        raise UnsupportedError("no empty memory bank")
    loss = f"NTXentLoss({temperature(case, 0.07)}, memory_bank_size={shape})"
    filled = 'setattr(loss.memory_bank, "bank", F.normalize(negative_keys))'
    value = f"(lambda loss: {filled} or loss(query, positive_key))({loss})"
    asked = tuple(name for name in case.asked("gradient") if name != "negative_keys")
    return Call(value, differentiable=asked)
