"""torch tensors on the CPU or another device, gradients by torch.autograd."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refloss.audit.arrays import Arrays, Results, code, dtype_name, expressions, spelled
from refloss.audit.calls import Call, UnsupportedError


class Torch(Arrays):
    """torch."""

    imports = "import torch"

    def __init__(self, device: str = "") -> None:
        """Tensors on a device; without one, on the CPU."""
        self.device = device
        self.placement = f"torch.set_default_device({device!r})" if device else ""

    def make(self, array: NDArray[Any]) -> Any:
        if dtype_name(array) == "bfloat16":
            made = torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
        else:
            made = torch.from_numpy(array.copy())
        return made.to(self.device) if self.device else made

    def literal(self, text: str, array: NDArray[Any]) -> str:
        name = dtype_name(array)
        dtype = f"dtype=torch.{name or 'int64'}"
        if array.size == 0:
            return f"torch.zeros({array.shape}, {dtype})"
        return f"torch.tensor({text}{f', {dtype}' if name not in ('', 'float32') else ''})"

    def loaded(self, text: str, array: NDArray[Any]) -> str:
        if dtype_name(array) == "bfloat16":
            made = f'torch.from_numpy({text}.astype("float32")).bfloat16()'
        else:
            made = f"torch.from_numpy({text})"
        return f"{made}.to({self.device!r})" if self.device else made

    def run(self, call: Call, arrays: Mapping[str, Any], namespace: dict[str, Any]) -> Results:
        with self._placed():  # what an expression makes stands where its arguments do
            return self._run(call, arrays, namespace)

    def _placed(self) -> AbstractContextManager[Any]:
        return torch.device(self.device) if self.device else nullcontext()

    def _run(self, call: Call, arrays: Mapping[str, Any], namespace: dict[str, Any]) -> Results:
        scope = {**namespace, **arrays}
        results: Results = {}
        leaves = {name: scope[name].requires_grad_() for name in call.differentiable}
        try:
            value = eval(code(call.value), scope)
            results["value"] = _numbers(value)
        except (Exception, SystemExit) as error:
            if "not implemented for" in str(error):
                raise UnsupportedError(str(error)) from error
            return {"value": error}
        for component, expression in expressions(call).items():
            if component != "value":
                try:
                    results[component] = _numbers(eval(code(expression), scope))
                except (Exception, SystemExit) as error:
                    results[component] = error
        if leaves:
            results |= self._gradients(value, leaves)
        return results

    def _gradients(self, value: Any, leaves: dict[str, Any]) -> Results:
        try:
            found = torch.autograd.grad(
                value, tuple(leaves.values()), torch.ones_like(value), allow_unused=True
            )
        except (Exception, SystemExit) as error:
            return {f"gradient.{name}": error for name in leaves}
        return {
            f"gradient.{name}": _numbers(torch.zeros_like(leaf) if gradient is None else gradient)
            for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
        }

    def show(
        self, call: Call, component: str, index: str, literals: Mapping[str, str], size: int
    ) -> str:
        direct = expressions(call).get(component)
        if direct is not None:
            return spelled(f"print(({direct}){index}.item(), '{{true}}')", literals)
        name = component.removeprefix("gradient.")
        leaf = f"{literals[name]}.requires_grad_()"
        return spelled(
            f"({call.value}).sum().backward()\nprint({name}.grad{index}.item(), '{{true}}')",
            {**literals, name: leaf},
            keep=(name,),
        )


def _numbers(value: Any) -> NDArray[Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        # float32 holds every bfloat16; torch has no way to NumPy for the latter.
        value = value.float() if value.dtype == torch.bfloat16 else value
        return np.asarray(value.numpy())
    return np.asarray(value)


ARRAYS = Torch()


def on(device: str) -> Torch:
    """Tensors on that device."""
    return Torch(device)
