"""The two sides of a comparison: a backend of refloss, a framework on a device, or a function.

By name on the command line: ``numba``, ``array:numpy``, ``array:torch@cuda``, ``cuda``,
``cuda:float32``; ``torch@cpu``, ``torch@cuda``, ``jax@cpu``, ``sklearn@cpu``;
``package.module:function`` and, for torch functions, ``package.module:function@cuda``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refloss import oracles
from refloss._version import __version__
from refloss.audit.answered import Answered, ask
from refloss.audit.arrays import arrays_of
from refloss.audit.calls import UnsupportedError
from refloss.audit.cases import Case
from refloss.audit.frameworks import FRAMEWORKS
from refloss.audit.frameworks.refloss import DTYPES, by
from refloss.audit.functions import find, kind_of
from refloss.audit.functions import target as function_target
from refloss.audit.targets import Target, TargetError, framework
from refloss.suggestion import suggestion

__all__ = ["KNOWN", "Side", "SideError", "of_function", "side"]

# The arrays that each backend takes, by what stands behind the colon.
ARRAY_PATH = ("numpy", "torch", "cupy", "strict", "jax")
BACKENDS = ("numba", *(f"array:{kind}" for kind in ARRAY_PATH), "cuda", "cuda:float32")
# Where a framework can be asked; all others stay on the CPU.
DEVICES = {"torch": ("cpu", "cuda"), "jax": ("cpu", "cuda"), "optax": ("cpu", "cuda")}
NAMED = ("jax", *(name for name in FRAMEWORKS if name != "refloss"))
KNOWN = (*BACKENDS, *(f"{name}@{on}" for name in NAMED for on in DEVICES.get(name, ("cpu",))))

# The package behind a kind of arrays.
PACKAGES = {
    "numpy": "numpy",
    "torch": "torch",
    "jax": "jax",
    "cupy": "cupy",
    "strict": "array_api_strict",
}
INSTALL = {
    "torch": "torch",
    "jax": "jax",
    "strict": "array-api-strict",
    "cupy": "cupy-cuda13x (for CUDA 12, cupy-cuda12x)",
}


class SideError(TargetError):
    """There is no such side, or not here; the text says why, and what would help."""


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison.

    Attributes
    ----------
    name : str
        As on the command line.
    target : Target
        How the audit asks it.
    backend : str
        Of refloss: ``"numba"``, ``"array"``, ``"cuda"``, ``"cuda:float32"``; empty for others.
    own : bool
        Whether it is somebody's own function.
    """

    name: str
    target: Target
    backend: str = ""
    own: bool = False

    @property
    def promises(self) -> bool:
        """Whether other bits on another run or for another layout are a defect of it."""
        return bool(self.backend) or self.own

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} ({self.target.version})" if self.target.version else self.name

    def ask(self, case: Case) -> Answered:
        """Put a case to it; raises `UnsupportedError` if it does not offer what is asked."""
        answered = ask(self.target, case)
        refused = answered.results.get("value")
        if self.backend and isinstance(refused, ValueError | TypeError):
            said = str(refused)
            if said.startswith("backend"):
                raise UnsupportedError(said.partition("\n")[0])
        return answered


def side(
    name: str, losses: Sequence[str], *, arrays: str = "auto", reduction: str = "auto"
) -> Side:
    """Get a side ready by its name; imports what it needs.

    Parameters
    ----------
    name : str
        As on the command line.
    losses : sequence of str
        Those to be compared: a function implements one.
    arrays, reduction : str
        What a function takes and returns, as for an audit.

    Raises
    ------
    SideError
        If there is no such side, it is not installed, or there is no device for it.
    """
    base, at, device = name.partition("@")
    if base in BACKENDS:
        return _backend(name, base, device)
    if base in NAMED:
        return _framework(name, base, device if at else "cpu")
    if ":" in base and base.partition(":")[0] not in ("numba", "array", "cuda", *NAMED):
        if len(losses) != 1:
            raise SideError(f"{base}: say which loss it implements, with --loss NAME")
        kind = _kind(find(base), arrays, device)
        return of_function(find(base), losses[0], name=name, arrays=kind, reduction=reduction)
    raise SideError(f"unknown side {name!r}; {suggestion(name, KNOWN)}; or package.module:function")


def of_function(
    function: Callable[..., Any],
    loss: str,
    *,
    name: str | None = None,
    arrays: str = "auto",
    reduction: str = "auto",
) -> Side:
    """Get somebody's function ready; ``arrays`` may name a device, as in ``"torch@cuda"``."""
    kind = kind_of(function) if arrays == "auto" else arrays
    _need(name or "a function", kind)
    target = function_target(function, loss, name=name, arrays=kind, reduction=reduction)
    return Side(target.name, target, own=True)


def _kind(function: Callable[..., Any], arrays: str, device: str) -> str:
    kind = kind_of(function) if arrays == "auto" else arrays
    if not device or "@" in kind or (kind == "cupy" and device.startswith("cuda")):
        return kind
    if kind not in DEVICES:
        raise SideError(f"what takes {kind} arrays runs on no {device!r}; see --arrays")
    return f"{kind}@{device}"


def _backend(name: str, base: str, device: str) -> Side:
    if base.startswith("cuda"):
        kind = _cuda_arrays(name)
        dtypes = DTYPES if base == "cuda" else tuple(one for one in DTYPES if one != "float64")
        return _refloss(name, base, kind, dtypes)
    backend, _, kind = base.partition(":")
    kind = kind or "numpy"
    if device:
        if kind not in DEVICES:
            raise SideError(f"{name}: {base} runs on no {device!r}")
        kind = _placed(name, kind, device)
    _need(name, kind)
    dtypes = ("float32", "float64") if kind == "strict" else DTYPES
    return _refloss(name, backend, kind, dtypes)


def _refloss(name: str, backend: str, kind: str, dtypes: tuple[str, ...]) -> Side:
    library = kind.partition("@")[0]
    imports = "; ".join(dict.fromkeys([arrays_of(kind).imports, "import refloss"]))
    namespace: dict[str, Any] = {}
    exec(imports, namespace)
    versions = [f"refloss {__version__}"]
    if backend != "numba":
        versions.append(_version(library))
    target = Target(
        name=name,
        version=", ".join(versions),
        arrays=kind,
        imports=imports,
        namespace=namespace,
        dtypes=dtypes,
        calls=dict.fromkeys(oracles.names(), by(backend, library)),
    )
    return Side(name, target, backend=backend)


def _version(library: str) -> str:
    module = importlib.import_module(PACKAGES[library])
    return f"{module.__name__.replace('_', '-')} {module.__version__}"


def _framework(name: str, base: str, device: str) -> Side:
    known = DEVICES.get(base, ("cpu",))
    if device.partition(":")[0] not in known:
        raise SideError(f"{name}: {base} runs on {' or '.join(known)}, not on {device!r}")
    # What jax itself has of losses is in optax.
    target = framework("optax" if base == "jax" else base)
    kind = target.arrays
    if base in DEVICES:
        kind = _placed(name, target.arrays, device)
        _need(name, kind)
    version = target.version
    if target.arrays == "jax":
        version = f"optax {version}, {_version('jax')}"
    return Side(name, replace(target, name=name, arrays=kind, version=version))


def _placed(name: str, kind: str, device: str) -> str:
    """The kind of arrays on that device; the CPU needs no word where it is the library's own."""
    if device == "cpu" and kind == "torch":
        return kind
    if device == "cpu" and kind == "jax":
        import jax

        return kind if jax.default_backend() == "cpu" else "jax@cpu"
    return f"{kind}@{device}"


def _need(name: str, kind: str) -> None:
    """Raise unless the arrays can be made here."""
    library, _, device = kind.partition("@")
    if library not in PACKAGES:
        raise SideError(f"unknown arrays {kind!r}; {suggestion(kind, PACKAGES)}")
    if importlib.util.find_spec(PACKAGES[library]) is None:
        raise SideError(
            f"{name} needs {PACKAGES[library]}, not installed here: "
            f"python -m pip install {INSTALL[library]}"
        )
    missing = ""
    if library == "cupy":
        missing = _no_cupy_device()
    elif library == "torch" and device.startswith("cuda"):
        missing = _no_torch_device(device)
    elif library == "jax" and device:
        missing = _no_jax_device(device)
    if missing:
        raise SideError(f"{name}: {missing}")


def _no_cupy_device() -> str:
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        return f"cupy {cupy.__version__} finds no CUDA device ({str(error).splitlines()[0]})"
    return "" if count else f"cupy {cupy.__version__} finds no CUDA device"


def _no_torch_device(device: str) -> str:
    import torch

    number = device.partition(":")[2] or "0"
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} was built without CUDA; https://pytorch.org/get-started "
            "says how to install one that was not"
        )
    if not number.isdecimal() or int(number) >= torch.cuda.device_count():
        return f"torch {torch.__version__} finds no device {device!r} here: is there a driver?"
    return ""


def _no_jax_device(device: str) -> str:
    import jax

    try:
        jax.devices(device)
    except RuntimeError:
        return (
            f"jax {jax.__version__} finds no device {device!r} here: "
            'python -m pip install "jax[cuda13]" where there is a CUDA driver'
        )
    return ""


def _cuda_arrays(name: str) -> str:
    """The kind of CUDA arrays there is here: CuPy's, or torch's; NumPy's in the simulator."""
    try:
        available = importlib.import_module("refloss.kernels.cuda.available")
    except ImportError:
        raise SideError(f"{name}: this refloss has no CUDA kernels") from None
    if reason := available.reason():
        raise SideError(f"{name}: {reason}")
    if available.simulated():
        return "numpy"
    for kind in ("cupy", "torch@cuda"):
        try:
            _need(name, kind)
        except SideError:
            continue
        return kind
    raise SideError(
        f"{name} takes CuPy arrays or torch CUDA tensors, and neither is installed here with a "
        f"device: python -m pip install {INSTALL['cupy']}"
    )
