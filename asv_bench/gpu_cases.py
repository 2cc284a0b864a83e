"""What is timed on a GPU, and what it is held against: every call gives a value and a gradient.

Inputs are torch CUDA tensors, drawn on the device from a seed. Nothing here imports torch, refloss
or Triton before it is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

Tensors = tuple[Any, ...]
Call = Callable[..., tuple[Any, Any]]  # from the inputs to value and gradient

IGNORED = -100
TEMPERATURE = 0.1
OWN = ("cuda", "cuda:float32")
PEERS = (*OWN, "torch", "torch.compile", "triton", "copy")

SIZES = {"float32": 4, "bfloat16": 2}
ELEMENTS = 1 << 28


class NotRunError(Exception):
    """A peer has nothing for a case, or is not here; the message says which."""


@dataclass(frozen=True)
class Case:
    """One loss on inputs of one shape and dtype.

    Attributes
    ----------
    shape : of the first input, and of its gradient; of all embeddings together for `nt_xent_loss`
    """

    loss: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def name(self) -> str:
        """As it is chosen on the command line."""
        return f"{self.loss}-{'x'.join(map(str, self.shape))}-{self.dtype}"

    @property
    def title(self) -> str:
        """The shape, to be read."""
        if len(self.shape) == 1:
            return power(self.shape[0])
        if self.loss == "nt_xent_loss":
            return f"N = {self.shape[0]}, D = {self.shape[1]}"
        return f"({', '.join(power(n) for n in self.shape)})"

    @property
    def moved(self) -> int:
        """The bytes that have to be read and written: inputs, and the gradient by the first."""
        first = math.prod(self.shape) * SIZES[self.dtype]
        if self.loss == "cross_entropy":
            return 2 * first + 8 * self.shape[0]
        return (2 if self.loss == "nt_xent_loss" else 3) * first

    def resized(self, rows: int) -> Case:
        """The same with other rows."""
        return replace(self, shape=(rows, *self.shape[1:]))


def power(number: int) -> str:
    exponent = number.bit_length() - 1
    return f"2^{exponent}" if number == 1 << exponent and exponent >= 18 else str(number)


CASES = (
    *(
        Case("cross_entropy", shape, dtype)
        for shape in ((8192, 32000), (4096, 128256), (1 << 20, 10), (65536, 100))
        for dtype in ("bfloat16", "float32")
    ),
    *(
        Case(loss, (ELEMENTS,), dtype)
        for loss in ("sigmoid_focal_loss", "binary_cross_entropy_with_logits", "huber_loss")
        for dtype in ("bfloat16", "float32")
    ),
    Case("nt_xent_loss", (16384, 128), "float32"),
)


# Inputs -------------------------------------------------------------------------------------------


def inputs(case: Case, device: str = "cuda") -> Tensors:
    """What every peer gets, the same numbers each time."""
    import torch

    torch.manual_seed(sum(case.shape))
    dtype = getattr(torch, case.dtype)
    x = torch.randn(case.shape, dtype=dtype, device=device)
    if case.loss == "cross_entropy":
        labels = torch.randint(0, case.shape[1], (case.shape[0],), device=device)
        return x, labels
    if case.loss == "huber_loss":
        return x, torch.randn(case.shape, dtype=dtype, device=device)
    if case.loss == "nt_xent_loss":
        half = case.shape[0] // 2
        x[half:] += x[:half]
        return (x,)
    return x, torch.empty(case.shape, dtype=dtype, device=device).random_(0, 2)


# Peers: from a case to what answers it ------------------------------------------------------------


def maker(peer: str, case: Case) -> Call:
    """What answers the case; raises `NotRunError` if the peer does not, or is not here."""
    if peer in OWN:
        return _by_refloss(case, peer)
    if peer == "triton":
        return _by_triton(case)
    if peer == "copy":
        return _by_copy(case)
    return _by_torch(case, compiled=peer == "torch.compile")


def _by_refloss(case: Case, backend: str) -> Call:
    import refloss

    if case.loss == "nt_xent_loss":
        if backend != "cuda":
            raise NotRunError("this loss has no variant with float32 arithmetic")
        return nt_xent(backend)
    loss = getattr(refloss, case.loss)
    return lambda x, target: loss.value_and_grad(x, target, backend=backend)


def nt_xent(backend: str) -> Call:
    """The loss of one array that holds both views, of NumPy's or torch's."""
    import refloss

    def call(x: Any) -> tuple[Any, Any]:
        half = len(x) // 2
        names = ("z_i", "z_j")
        return refloss.nt_xent_loss.value_and_grad(
            x[:half], x[half:], TEMPERATURE, wrt=names, backend=backend
        )

    return call


def _by_torch(case: Case, compiled: bool) -> Call:
    import torch

    value_of = torch_losses()[case.loss]
    if compiled:
        torch.compiler.reset()
        value_of = torch.compile(value_of)

    def call(x: Any, *others: Any) -> tuple[Any, Any]:
        leaf = x.detach().requires_grad_()
        value = value_of(leaf, *others)
        (gradient,) = torch.autograd.grad(value, leaf)
        return value.detach(), gradient

    return call


@cache
def torch_losses() -> Mapping[str, Callable[..., Any]]:
    """The losses as people write them."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    def focal(x: Any, target: Any, reduction: str = "mean") -> Any:  # as in torchvision
        p = torch.sigmoid(x)
        entropy = F.binary_cross_entropy_with_logits(x, target, reduction="none")
        p_t = p * target + (1 - p) * (1 - target)
        alpha_t = 0.25 * target + 0.75 * (1 - target)
        each = alpha_t * entropy * (1 - p_t) ** 2
        return each.sum() if reduction == "sum" else each.mean()

    def similarities(x: Any) -> Any:
        unit = F.normalize(x)
        own = torch.eye(len(x), dtype=torch.bool, device=x.device)
        cosines = (unit @ unit.T / TEMPERATURE).masked_fill(own, -math.inf)
        positives = torch.arange(len(x), device=x.device).roll(len(x) // 2)
        return F.cross_entropy(cosines, positives)

    return {
        "cross_entropy": lambda x, labels: F.cross_entropy(x, labels, ignore_index=IGNORED),
        "sigmoid_focal_loss": focal,
        "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
        "huber_loss": F.huber_loss,
        "nt_xent_loss": similarities,
    }


def _by_triton(case: Case) -> Call:
    if case.loss != "cross_entropy":
        raise NotRunError("only cross-entropy is written in Triton here")
    try:
        from triton_cross_entropy import cross_entropy_in_place
    except ImportError as problem:
        raise NotRunError(f"triton cannot be imported: {problem}") from problem
    return lambda x, labels: cross_entropy_in_place(x, labels, IGNORED)


def _by_copy(case: Case) -> Call:
    """As many bytes, from device to device: a copy reads and writes each."""
    import torch

    source = torch.zeros(case.moved // 2, dtype=torch.uint8, device="cuda")
    copied = torch.empty_like(source)

    def call(*inputs: Any) -> tuple[Any, Any]:
        return None, copied.copy_(source)

    return call


# A sample that the CPU answers too ----------------------------------------------------------------

SAMPLE = 1 << 20  # numbers
SAMPLE_EMBEDDINGS = 512


def sampled(case: Case) -> Case:
    """The part of a case that is compared: its last rows, or for a batch a smaller one."""
    if case.loss == "nt_xent_loss":
        return case.resized(min(SAMPLE_EMBEDDINGS, case.shape[0]))
    return case.resized(min(case.shape[0], max(1, SAMPLE // math.prod(case.shape[1:]))))


def expected(case: Case, given: Tensors) -> Any:
    """The gradient of the sample by the Numba kernels; ``given`` are inputs of the whole case."""
    import numpy as np

    import refloss

    part = sampled(case).shape[0]
    if case.loss == "nt_xent_loss":
        _, gradients = nt_xent("numba")(on_host(given[0]))
        return np.concatenate(gradients)
    arrays = [on_host(tensor[-part:]) for tensor in given]
    upstream = np.asarray(1 / math.prod(_value_shape(case)), arrays[0].dtype)
    return getattr(refloss, case.loss).grad(
        *arrays, reduction="sum", grad_output=upstream, backend="numba"
    )


def found(case: Case, gradient: Any) -> Any:
    """The same part of a peer's gradient."""
    import numpy as np

    if isinstance(gradient, tuple):
        return np.concatenate([on_host(part) for part in gradient])
    return on_host(gradient[-sampled(case).shape[0] :])


def _value_shape(case: Case) -> tuple[int, ...]:
    return case.shape[:1]


def on_host(tensor: Any) -> Any:
    """A tensor as a NumPy array of the same bits."""
    import ml_dtypes
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
