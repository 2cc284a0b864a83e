"""A user's own function as a target.

What the function takes is read from its signature. Arguments without which the loss makes no sense
go by position, the others by name; a row that gives an argument the function does not have is
skipped, unless the argument has its default there.

A function with a ``reduction`` argument gets it. One without is judged by what it returns: one loss
an element (or a row) on the rows with reduction none, a single number on those with the loss's
default reduction. A sum has to be announced, since it looks like a mean.

It may return the value, or a tuple: value and gradient, or value, gradient and Hessian diagonal.
The gradient is that of the first argument; a dict gives those of several by name. Without a
tuple, torch and JAX functions are differentiated by autograd, unless what they return does not
require a gradient. Miners return their three arrays of indices, or one of three rows.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from refloss.accuracy import FORMATS
from refloss.audit.arrays import arrays_of, code
from refloss.audit.calls import STACKED, STACKS, Call, UnsupportedError, scalar
from refloss.audit.cases import Case, cases
from refloss.audit.signatures import defaults, required
from refloss.audit.targets import Target, TargetError

__all__ = ["find", "kind_of", "target"]


def find(path: str) -> Callable[..., Any]:
    """Import ``package.module:function``; the current directory counts.

    Raises
    ------
    TargetError
        If there is no such module or function, or the module cannot be imported.
    """
    module_name, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise TargetError(
            f"cannot import {module_name!r}: {type(error).__name__}: {error}"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise TargetError(f"module {module_name!r} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise TargetError(f"{path!r} is not a function but a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def kind_of(function: Callable[..., Any]) -> str:
    """The arrays a function takes: torch or jax if its module names one of them, else numpy."""
    names = getattr(inspect.unwrap(function), "__globals__", {})
    modules = {
        value.__name__.partition(".")[0]
        for value in names.values()
        if isinstance(value, ModuleType)
    }
    own = (getattr(function, "__module__", None) or "").partition(".")[0]
    for kind, packages in (("torch", {"torch"}), ("jax", {"jax", "optax"})):
        if own in packages or modules & packages:
            return kind
    return "numpy"


def target(
    function: Callable[..., Any],
    loss: str,
    *,
    name: str | None = None,
    arrays: str = "auto",
    reduction: str = "auto",
) -> Target:
    """Get a function ready to be audited as an implementation of a loss."""
    kind = kind_of(function) if arrays == "auto" else arrays
    module = getattr(function, "__module__", "__main__")
    qualified = getattr(function, "__qualname__", type(function).__name__)
    bound = qualified.rpartition(".")[2].strip("<>")
    root = qualified.partition(".")[0]
    imports = f"from {module} import {root}"
    if qualified != root and "<" not in qualified:
        imports += f"; {bound} = {qualified}"
    namespace: dict[str, Any] = {}
    exec(arrays_of(kind).imports, namespace)
    namespace[bound] = function
    adapter = _Adapter(function, loss, bound, _accepted(function), kind)
    adapter = adapter.probed(namespace, reduction)
    return Target(
        name=name or f"{module}:{qualified}",
        version="",
        arrays=kind,
        imports=f"{arrays_of(kind).imports}; {imports}",
        namespace=namespace,
        dtypes=tuple(FORMATS),
        calls={loss: adapter},
    )


def _accepted(function: Callable[..., Any]) -> Mapping[str, Any] | None:
    """Parameters that can go by name, with their defaults; None if it takes any name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin that does not tell: judged on what it takes by position
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is not parameter.POSITIONAL_ONLY
    }


def _one_by_one(case: Case) -> bool:
    return case.options.get("reduction") == "none" and case.answers["value"].shape != ()


def _joined(known: tuple[Any, ...], parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """The names in the dicts of a result, beside those in earlier ones."""
    earlier = known or (None,) * len(parts)
    return tuple(
        tuple(dict.fromkeys([*(names or ()), *part])) if isinstance(part, dict) else None
        for names, part in zip(earlier, parts, strict=True)
    )


@dataclass(frozen=True)
class _Adapter:
    function: Callable[..., Any]
    loss: str
    bound: str
    accepted: Mapping[str, Any] | None
    kind: str
    # What it returns: "value", or a tuple whose second and third entries are arrays or dicts.
    returns: tuple[Any, ...] = ()
    # The reduction it does when it has no argument for it; None if that cannot be told, because
    # every call raises: then each case that raises is one to report.
    reduction: str | None = None
    # Whether autograd gets through it.
    differentiable: bool = False

    def __call__(self, case: Case) -> Call:
        written = self.expression(case)
        if not self.returns:
            autograd = case.asked("gradient") if self.differentiable else ()
            return Call(written, differentiable=autograd)
        first = required(self.loss)[0]
        parts: list[dict[str, str]] = [{}, {}]
        for position, returned in enumerate(self.returns):
            part = f"{written}[{position + 1}]"
            asked = case.asked(("gradient", "curvature")[position])
            if returned is None:
                parts[position] = {first: part}
            else:
                known = [name for name in asked if name in returned]
                parts[position] = {name: f"{part}[{name!r}]" for name in known}
        return Call(f"{written}[0]", gradient=parts[0], curvature=parts[1])

    def expression(self, case: Case) -> str:
        first = required(self.loss)
        given = {**dict.fromkeys(case.arrays), **case.options}
        written = [scalar(given[name]) if name in case.options else name for name in first]
        for name, default in defaults(self.loss).items():
            value = given.get(name, default)
            if name == "reduction" and not self.takes(name):
                if self.reduction is not None and value != self.reduction:
                    raise UnsupportedError(f"its reduction is {self.reduction}")
            elif name in case.arrays:
                if not self.takes(name):
                    raise UnsupportedError(f"it takes no {name}")
                written.append(f"{name}={name}")
            elif self.takes(name):
                if name in given or name == "reduction" or self.differs(name, default):
                    written.append(f"{name}={scalar(value)}")
            elif value != default:
                raise UnsupportedError(f"it takes no {name}")
        written_call = f"{self.bound}({', '.join(written)})"
        if self.loss in STACKED:
            return f"{STACKS[self.library]}(tuple({written_call}))"
        return written_call

    @property
    def library(self) -> str:
        return self.kind.partition("@")[0]

    def takes(self, name: str) -> bool:
        return self.accepted is None or name in self.accepted

    def differs(self, name: str, default: Any) -> bool:
        return self.accepted is not None and self.accepted[name] != default

    def probed(self, namespace: dict[str, Any], reduction: str) -> _Adapter:
        """Call it once or twice, to see what it returns."""
        adapter = self
        if reduction != "auto":
            adapter = replace(adapter, reduction=reduction)
        elif not self.takes("reduction") and "reduction" in defaults(self.loss):
            adapter = replace(adapter, reduction=self._own_reduction(namespace))
        seen = set()  # which arrays were given: by them, a dict may have other names
        for case in cases(self.loss, "float64"):
            if tuple(case.row.shapes) in seen:
                continue
            try:
                written = adapter.expression(case)
                result = self._evaluate(written, case, namespace)
            except (Exception, SystemExit):
                continue  # only a probe: judged by itself, the case says what went wrong
            if not isinstance(result, tuple):
                differentiable = {"torch": getattr(result, "requires_grad", False), "jax": True}
                return replace(adapter, differentiable=differentiable.get(self.library, False))
            seen.add(tuple(case.row.shapes))
            adapter = replace(adapter, returns=_joined(adapter.returns, result[1:]))
        return adapter

    def _own_reduction(self, namespace: dict[str, Any]) -> str | None:
        default = str(defaults(self.loss)["reduction"])
        telling = [case for case in cases(self.loss, "float64") if _one_by_one(case)]
        if not telling:
            return default  # a loss that is always one number
        for case in telling:
            try:
                written = replace(self, reduction="none").expression(case)
                result = self._evaluate(written, case, namespace)
            except (Exception, SystemExit):
                continue  # only a probe: judged by itself, the case says what went wrong
            value = result[0] if isinstance(result, tuple) else result
            return default if np.ndim(value) == 0 else "none"
        return None

    def _evaluate(self, written: str, case: Case, namespace: dict[str, Any]) -> Any:
        library = arrays_of(self.kind)
        made = {name: library.make(array) for name, array in case.arrays.items()}
        if self.library == "torch":
            for array in made.values():
                array.requires_grad_(array.is_floating_point())
        with np.errstate(all="ignore"):
            return eval(code(written), {**namespace, **made})
