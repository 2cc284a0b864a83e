"""Times against each other, taken in turns in one process: quieter than two times apart.

Below 1, refloss is the faster one. Against a copy: how many times as long as moving the bytes that
have to be read and written takes anyway.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import cpu_cases

SECONDS = 0.6
CASES = {
    "mse_loss": (1 << 22,),
    "huber_loss": (1 << 22,),
    "binary_cross_entropy_with_logits": (1 << 22,),
    "kl_div": (1 << 22,),
    "cross_entropy": (4096, 1000),
    "nll_loss": (4096, 1000),
    "triplet_margin_loss": (16384, 128),
}


def _ratio(first: Callable[[], Any], second: Callable[[], Any]) -> float:
    """The median of ratios of calls side by side."""
    ratios = []
    until = time.perf_counter() + SECONDS
    while len(ratios) < 5 or (time.perf_counter() < until and len(ratios) < 200):
        times = []
        for call in (first, second):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def _of_torch(loss: str, given: Any) -> Callable[[], Any]:
    try:
        import torch
        import torch.nn.functional as F  # noqa: N812
    except ImportError:
        raise NotImplementedError("torch is not installed") from None
    torch.set_num_threads(1)
    function = getattr(F, loss)
    first, *others = (torch.from_numpy(one) for one in given)
    leaf = first.requires_grad_()

    def call() -> Any:
        return torch.autograd.grad(function(leaf, *others), leaf)

    call()
    return call


class Torch:
    params = (list(CASES),)
    param_names = ("loss",)
    unit = "times torch"
    timeout = 120.0

    def setup(self, loss: str) -> None:
        cpu_cases.threads(1)
        given = cpu_cases.arguments(loss, CASES[loss], "float32")
        self.theirs = _of_torch(loss, given)
        self.own = cpu_cases.call_of(loss, "value_and_gradient", given)

    def track_ratio_to_torch(self, loss: str) -> float:
        return _ratio(self.own, self.theirs)


class Copy:
    params = (list(CASES),)
    param_names = ("loss",)
    unit = "times a copy"
    timeout = 120.0

    def setup(self, loss: str) -> None:
        cpu_cases.threads(1)
        given = cpu_cases.arguments(loss, CASES[loss], "float32")
        self.copy = cpu_cases.copy_of(cpu_cases.bytes_moved(given))
        self.copy()
        self.own = cpu_cases.call_of(loss, "value_and_gradient", given)

    def track_ratio_to_copy(self, loss: str) -> float:
        return _ratio(self.own, self.copy)


Torch.track_ratio_to_torch.unit = Torch.unit
Copy.track_ratio_to_copy.unit = Copy.unit
