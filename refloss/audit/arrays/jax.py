"""JAX arrays with 64-bit types switched on, compiled by jax.jit, gradients by jax.vjp.

Compiled, because that is how JAX is used, and because every new shape would otherwise cost a
second of compiling operation by operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from refloss.audit.arrays import Arrays, Results, code, dtype_name, expressions
from refloss.audit.calls import Call

# XLA folds constants of any size while it compiles, which takes seconds for a large gradient.
LARGEST_COMPILED = 2**16


class Jax(Arrays):
    """JAX."""

    imports = 'import jax, jax.numpy as jnp; jax.config.update("jax_enable_x64", True)'

    def __init__(self, device: str = "") -> None:
        """Arrays on a device; without one, on JAX's own choice."""
        self.device = device
        if device:
            first = f"jax.devices({device!r})[0]"
            self.placement = f'jax.config.update("jax_default_device", {first})'
        self._compiled: dict[Any, Callable[..., dict[str, Any]]] = {}
        # Calls that cannot be compiled, since they look at values.
        self._eager: set[str] = set()

    def make(self, array: NDArray[Any]) -> Any:
        with self._placed():
            return jnp.asarray(array)

    def _placed(self) -> AbstractContextManager[Any]:
        return jax.default_device(jax.devices(self.device)[0]) if self.device else nullcontext()

    def literal(self, text: str, array: NDArray[Any]) -> str:
        name = dtype_name(array)
        dtype = f"jnp.{name or 'int64'}"
        if array.size == 0:
            return f"jnp.zeros({array.shape}, {dtype})"
        return f"jnp.array({text}{f', {dtype}' if name not in ('', 'float64') else ''})"

    def loaded(self, text: str, array: NDArray[Any]) -> str:
        return f"jnp.asarray({text})"

    def run(self, call: Call, arrays: Mapping[str, Any], namespace: dict[str, Any]) -> Results:
        with self._placed():
            return self._run(call, arrays, namespace)

    def _run(self, call: Call, arrays: Mapping[str, Any], namespace: dict[str, Any]) -> Results:
        names = tuple(arrays)
        key = (id(namespace), names, call.differentiable, *expressions(call).items())
        if key not in self._compiled:
            # The closure keeps the namespace alive, and with it the meaning of its id.
            self._compiled[key] = jax.jit(_answers(call, names, namespace))
        function = self._compiled[key]
        size = sum(array.size for array in arrays.values())
        if call.value in self._eager or size > LARGEST_COMPILED:
            function = _answers(call, names, namespace)
        try:
            found = function(*arrays.values())
        except jax.errors.JAXTypeError:  # it looks at values, which jit hides from it
            self._eager.add(call.value)
            return self._separately(call, arrays, namespace)
        except Exception:
            return self._separately(call, arrays, namespace)
        return {name: np.asarray(value) for name, value in found.items()}

    def _separately(
        self, call: Call, arrays: Mapping[str, Any], namespace: dict[str, Any]
    ) -> Results:
        """The value alone, then all: to tell which of the two raises."""
        names = tuple(arrays)
        try:
            value = _answers(Call(call.value), names, namespace)(*arrays.values())
        except (Exception, SystemExit) as error:
            return {"value": error}
        try:
            found = _answers(call, names, namespace)(*arrays.values())
        except (Exception, SystemExit) as error:
            missing = [*call.differentiable, *call.gradient]
            found = {**value, **{f"gradient.{name}": error for name in missing}}
        return {
            name: result if isinstance(result, Exception) else np.asarray(result)
            for name, result in found.items()
        }

    def show(
        self, call: Call, component: str, index: str, literals: Mapping[str, str], size: int
    ) -> str:
        direct = expressions(call).get(component)
        function = f"lambda {', '.join(literals)}: {direct or f'({call.value}).sum()'}"
        if direct is None:
            position = list(literals).index(component.removeprefix("gradient."))
            function = f"jax.grad({function}, argnums={position})"
        eager = call.value in self._eager or size > LARGEST_COMPILED
        function = f"({function})" if eager else f"jax.jit({function})"
        return f'print({function}({", ".join(literals.values())}){index}.item(), "{{true}}")'


def _answers(
    call: Call, names: tuple[str, ...], namespace: dict[str, Any]
) -> Callable[..., dict[str, Any]]:
    wrt = [names.index(name) for name in call.differentiable]

    def evaluate(expression: str, arrays: tuple[Any, ...]) -> Any:
        return jnp.asarray(
            eval(code(expression), {**namespace, **dict(zip(names, arrays, strict=True))})
        )

    def answers(*arrays: Any) -> dict[str, Any]:
        def value_of(*leaves: Any) -> Any:
            at = list(arrays)
            for position, leaf in zip(wrt, leaves, strict=True):
                at[position] = leaf
            return evaluate(call.value, tuple(at))

        found = {name: evaluate(text, arrays) for name, text in expressions(call).items()}
        if wrt:
            value, pullback = jax.vjp(value_of, *(arrays[position] for position in wrt))
            gradients = pullback(jnp.ones_like(value))
            pairs = zip(call.differentiable, gradients, strict=True)
            found |= {f"gradient.{name}": gradient for name, gradient in pairs}
        return found

    return answers


ARRAYS = Jax()


def on(device: str) -> Jax:
    """Arrays on that device."""
    return Jax(device)
