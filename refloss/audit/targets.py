"""What can be audited: frameworks by name, functions as ``package.module:function``."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from refloss import oracles
from refloss.audit.arrays import Arrays, arrays_of
from refloss.audit.calls import Call, UnsupportedError
from refloss.audit.cases import Case
from refloss.audit.frameworks import FRAMEWORKS

__all__ = ["Target", "TargetError", "adapter_of", "framework", "installed", "missing_for"]

PACKAGE = "refloss.audit.frameworks"


class TargetError(ValueError):
    """The target cannot be audited; the text says why, and what would help."""


@dataclass(frozen=True, eq=False)
class Target:
    """An implementation under audit.

    Attributes
    ----------
    name, version : str
        As reports give them.
    arrays : str
        The kind of arrays it takes: ``"numpy"``, ``"torch"`` or ``"jax"``.
    imports : str
        The statement after which its calls can be evaluated.
    namespace : dict
        The names that its calls use.
    dtypes : tuple of str
        The formats it takes.
    calls : mapping
        By loss, what writes a case down as a call, or raises `UnsupportedError`.
    """

    name: str
    version: str
    arrays: str
    imports: str
    namespace: dict[str, Any]
    dtypes: tuple[str, ...]
    calls: Mapping[str, Callable[[Case], Call]]

    def call(self, case: Case) -> Call:
        """Write a case down, if the target offers all it asks for."""
        if case.dtype not in self.dtypes:
            raise UnsupportedError(f"no {case.dtype}")
        return self.calls[case.loss](case)

    @property
    def library(self) -> Arrays:
        """Its kind of arrays."""
        return arrays_of(self.arrays)


def adapter_of(name: str) -> ModuleType:
    """The file of a framework."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def installed() -> tuple[str, ...]:
    """The frameworks that can be audited here."""
    return tuple(name for name in FRAMEWORKS if not missing_for(adapter_of(name)))


def missing_for(adapter: ModuleType) -> list[str]:
    """The modules it needs that are not installed."""
    return [name for name in adapter.REQUIRES if importlib.util.find_spec(name) is None]


def framework(name: str) -> Target:
    """Get a framework ready; imports it.

    Raises
    ------
    TargetError
        If it is not installed, or cannot be imported as it is installed here.
    """
    adapter = adapter_of(name)
    if missing := missing_for(adapter):
        raise TargetError(
            f"{name} needs {' and '.join(missing)}, not installed here: "
            f"python -m pip install {adapter.INSTALL}"
        )
    namespace: dict[str, Any] = {}
    imports = "; ".join(dict.fromkeys([arrays_of(adapter.ARRAYS).imports, adapter.IMPORTS]))
    try:
        exec(imports, namespace)
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise TargetError(f"{name} cannot be imported: {type(error).__name__}: {said}") from error
    generic = getattr(adapter, "any_loss", None)
    calls = {loss: getattr(adapter, loss, generic) for loss in oracles.names()}
    return Target(
        name=name,
        version=importlib.metadata.version(adapter.DISTRIBUTION),
        arrays=adapter.ARRAYS,
        imports=adapter.IMPORTS if adapter.ARRAYS != "jax" else imports,
        namespace=namespace,
        dtypes=adapter.DTYPES,
        calls={loss: call for loss, call in calls.items() if call is not None},
    )
