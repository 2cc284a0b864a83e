"""``refloss list``, ``refloss show``, ``refloss show-versions`` and ``refloss cache``.

What losses are is read from the headers of the oracle files: it needs neither NumPy nor SymPy.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from typing import Any

from refloss import oracles
from refloss._version import __version__
from refloss.kernels import directory
from refloss.kernels.cuda import available
from refloss.suggestion import suggestion

__all__ = ["cache", "list_losses", "show", "show_versions"]

REPORTED = (
    *("numpy", "numba", "llvmlite", "ml_dtypes", "array-api-compat", "rich"),
    *("torch", "jax", "jaxlib", "optax", "scikit-learn", "scipy"),
    *("pytorch-metric-learning", "lightly"),
    *("sympy", "python-flint", "gmpy2"),
    *("numba-cuda", "cuda-bindings", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvrtc"),
    *("cupy-cuda12x", "cupy-cuda13x"),
)


def list_losses() -> int:
    """Print every loss and its title."""
    titles = {loss: str(oracles.header(loss)["title"]) for loss in oracles.names()}
    width = max(map(len, titles), default=0)
    for loss, title in titles.items():
        print(f"{loss:{width}}  {title}")
    return 0


def show(loss: str, *, latex: bool = False) -> int:
    """Print what a loss is."""
    if loss not in oracles.names():
        hint = suggestion(loss, oracles.names())
        print(f"refloss show: unknown loss {loss!r}; {hint}", file=sys.stderr)
        return 2
    print("\n".join(_description(oracles.header(loss), "latex" if latex else "unicode")))
    return 0


def show_versions() -> int:
    """Print the versions of refloss, Python and the packages it may use, and what runs on a GPU."""
    width = max(map(len, REPORTED)) + 1
    print(f"{'refloss':{width}}{__version__}")
    print(f"{'python':{width}}{platform.python_version()} ({platform.python_implementation()})")
    print(f"{'platform':{width}}{platform.platform()}")
    for package in REPORTED:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "-"
        print(f"{package:{width}}{version}")
    print(f"{'CUDA kernels':{width}}{available.reason() or 'can run'}")
    print(f"{'CuPy arrays':{width}}{available.cupy_reason() or 'can be used'}")
    return 0


def cache(*, clear: bool = False) -> int:
    """Print where compiled kernels are kept and how much they take, or remove them."""
    path = directory.chosen()
    if path is None:
        print("no directory: kernels are compiled in every process")
        return 0
    if clear:
        for generation in directory.generations(path):
            directory.remove(generation)
    kernels = directory.kernels(path)
    size = sum(kernel.stat().st_size for kernel in kernels) / 1e6
    print(f"{path}: {len(kernels)} compiled kernels, {size:.1f} MB")
    return 0


def _description(header: dict[str, Any], form: str) -> Iterator[str]:
    title = f"{header['loss']}: {header['title']}"
    yield title
    yield "=" * len(title)
    yield from _formula("Definition", header["definition"], form)
    for number, formula in enumerate(header.get("where", [])):
        yield from _formula("where" if number == 0 else "and", formula, form)
    for kind in ("gradient", "curvature"):
        for argument, formula in header.get(kind, {}).items():
            yield from _formula(f"{kind.capitalize()} with respect to {argument}", formula, form)
    yield from ("", "Sources", *(f"  {source}" for source in header["source"]))
    for kind in ("conventions", "regions"):
        if header.get(kind):
            yield from ("", kind.capitalize())
            width = max(map(len, header[kind]))
            for name, sentence in header[kind].items():
                yield f"  {name:{width}}  {sentence}"


def _formula(title: str, formula: dict[str, str], form: str) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}".rstrip() for line in formula[form].splitlines())
