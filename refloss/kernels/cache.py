"""Compiled kernels kept on disk, so that a later process loads what this one compiled.

Numba's own cache looks at the one file that a function is written in, and knows no functions made
by factories. Here every kernel has a key, and counts for exactly the sources and versions that it
was compiled from: change one byte of refloss and all is compiled anew.

Whatever is wrong with the disk costs the time to compile, and nothing else.
"""

import os
import pickle
import secrets
import sys
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import blake2b
from itertools import count
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
import numpy
from llvmlite.binding import add_symbol, address_of_symbol
from numba.core.bytecode import FunctionIdentity
from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler import CompileResult
from numba.core.runtime import _nrt_python
from numba.core.serialize import dumps

from refloss.kernels import LOADED, directory

PACKAGE = Path(__file__).parent.parent
DIGEST_SIZE = 16
OPTIONS = {"error_model": "numpy", "nogil": True}
WITHOUT_EFFECT = ("NUMBA_CACHE", "NUMBA_NUM_THREADS", "NUMBA_THREADING", "NUMBA_ENABLE_CUDASIM")


def kept(
    function: Callable[..., Any],
    key: tuple[Any, ...] = (),
    *,
    in_instructions: bool = False,
    **options: Any,
) -> Any:
    """The function compiled by Numba, and loaded from disk where an earlier process compiled it.

    Parameters
    ----------
    function : function
        What ``numba.njit`` takes; it may be made by a factory.
    key : tuple
        What tells this function from others of its name: strings, numbers, functions at the top
        level of a module, and tuples of these. All that the code depends on must be in it, or be
        written in refloss's sources.
    in_instructions : bool
        Whether the body is written in instructions on vectors, of which a compiler has little to
        make: that little takes two thirds of the time.
    **options
        For ``numba.njit``; ``nogil`` and NumPy's error model unless they say otherwise.

    Notes
    -----
    A function from outside of refloss may change where no digest sees it, and one made by a factory
    has no name of its own: kernels with such a function in their key are compiled in each process.
    """
    options = OPTIONS | options
    dispatcher = numba.njit(**options)(function)
    if in_instructions:
        dispatcher._compiler.compile = _with_few_passes(dispatcher._compiler.compile)
    text = _text((function.__module__, function.__qualname__, key, tuple(sorted(options.items()))))
    if text is not None and _of_refloss(function):
        dispatcher._cache = _Kept(text)
    return dispatcher


def _with_few_passes(compile_: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without loops to vectorise and functions to inline.

    Numba holds a lock while it compiles: what is put in its place for so long meets nobody else.
    """

    def of_function(library: Any, module: Any) -> None:
        module.data_layout = library._codegen._data_layout

    def of_module(library: Any) -> None:
        passes, builder = library._codegen._module_pass_manager(
            opt=1, loop_vectorize=False, slp_vectorize=False
        )
        passes.run(library._final_module, builder)

    def compile_with_few_passes(*arguments: Any) -> Any:
        usual = CPUCodeLibrary._optimize_functions, CPUCodeLibrary._optimize_final_module
        few = of_function, of_module
        try:
            CPUCodeLibrary._optimize_functions, CPUCodeLibrary._optimize_final_module = few
            return compile_(*arguments)
        finally:
            CPUCodeLibrary._optimize_functions, CPUCodeLibrary._optimize_final_module = usual

    return compile_with_few_passes


def _text(part: Any) -> str | None:
    """A key, the same in every process; None if it has something without a lasting name."""
    if isinstance(part, tuple):
        parts = [_text(item) for item in part]
        return None if None in parts else f"({','.join(map(str, parts))})"
    if part is None or isinstance(part, str | bool | int | float):
        return repr(part)
    return _formula(part) if isinstance(part, FunctionType) else None


def _formula(function: FunctionType) -> str | None:
    """Its name, those of what it calls and the numbers it uses: one may have been put in since."""
    if "<" in function.__qualname__ or not _of_refloss(function):
        return None
    name = f"{function.__module__}:{function.__qualname__}"
    if function.__module__ == "refloss.formula.words":
        return name  # each reading has its own meaning for it
    used: list[str] = []
    for inner in map(function.__globals__.get, function.__code__.co_names):
        if isinstance(inner, FunctionType | int | float):
            text = _text(inner)
            if text is None:
                return None
            used.append(text)
    return f"{name}[{','.join(used)}]" if used else name


def _of_refloss(function: Any) -> bool:
    return str(function.__module__).partition(".")[0] == __name__.partition(".")[0]


class _Kept:
    """What a dispatcher of Numba asks for compiled code, and gives it to."""

    def __init__(self, text: str) -> None:
        self.text = text

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled code for these types, if there is some."""
        path = self._path(signature, target)
        if path is None:
            return None
        try:
            data = path.read_bytes()
            payload = data[DIGEST_SIZE:]
            if data[:DIGEST_SIZE] != _digest(payload):
                return None  # cut short or damaged: LLVM would not survive it
            needed, parts = pickle.loads(payload)
            _let_link(needed, target)
            return CompileResult._rebuild(target, *parts)
        except Exception:  # whatever a file does, there is a compiler
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Write down compiled code, if it is of use to others."""
        path = self._path(signature, compiled.target_context)
        if path is None or compiled.lifted or compiled.library.has_dynamic_globals:
            return
        try:
            if _changed():
                return
            payload = dumps((_needed_by(compiled.library), compiled._reduce()))
            directory.write(path, _digest(payload) + payload)
        except Exception:  # a disk that is full or read-only, a type that cannot be pickled
            return

    def _path(self, signature: Any, target: Any) -> Path | None:
        """Where the code for these types and this CPU lies."""
        generation = _generation()
        types = repr((signature, target.codegen().magic_tuple()))
        if generation is None or " at 0x" in types:  # a function among the arguments
            return None
        return generation / f"{_digest(f'{self.text} {types}'.encode()).hex()}.kernel"

    @property
    def cache_path(self) -> str:
        return str(_generation())

    def enable(self) -> None: ...
    def disable(self) -> None: ...
    def flush(self) -> None: ...


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST_SIZE).digest()


def _needed_by(library: Any) -> list[str]:
    """The symbols that compiled code takes from elsewhere."""
    module = library._final_module
    symbols = (*module.functions, *module.global_variables)
    names = [symbol.name for symbol in symbols if symbol.is_declaration]
    return [name for name in names if not name.startswith("llvm.")]


def _let_link(needed: list[str], target: Any) -> None:
    """Make symbols known to LLVM.

    To load all of what Numba may compile takes longer than to import Numba. Most kernels need no
    more than memory for their arrays: that is made known first.
    """
    if all(map(address_of_symbol, needed)):
        return
    for name, address in _nrt_python.c_helpers.items():
        add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
    if not all(map(address_of_symbol, needed)):
        target.refresh()


@cache
def _generation() -> Path | None:
    """The directory for the sources and versions that this process runs."""
    try:
        return None if _changed() else directory.generation(_state())
    except OSError:  # sources that cannot be read: in an archive, say
        return None


def kept_kernels() -> int | None:
    """How many kernels lie on disk for this process to load; None if none are kept."""
    generation = _generation()
    if generation is None:
        return None
    return sum(1 for _ in generation.glob("*.kernel"))  # of a directory that is not there, none


def _state() -> str:
    """A digest of all that compiled code depends on, but for types and CPU."""
    state = blake2b(digest_size=DIGEST_SIZE)
    versions = (sys.version, numba.__version__, llvmlite.__version__, numpy.__version__)
    settings = sorted(
        (name, value)
        for name, value in os.environ.items()
        if name.startswith("NUMBA_") and not name.startswith(WITHOUT_EFFECT)
    )
    state.update(repr((versions, settings, numba.config.USING_SVML)).encode())
    for path in sorted(sources()):
        text = path.read_bytes()
        state.update(f"\n{path.relative_to(PACKAGE)} {len(text)}\n".encode())
        state.update(text)
    return state.hexdigest()


def _changed() -> bool:
    """Whether a source file is younger than what this process has read of it."""
    return any(path.stat().st_ctime > LOADED for path in sources())


def sources() -> Iterator[Path]:
    """Every source file of refloss."""
    for folder, inner, files in os.walk(PACKAGE):
        inner[:] = [name for name in inner if name not in ("oracles", "__pycache__")]
        for name in files:
            if name.endswith(".py"):
                yield Path(folder, name)


def _renew_ids() -> None:
    """Give the functions that Numba compiles from now on numbers that no other process gives.

    The numbers are part of the names of symbols. Numba counts from 1, so that code from two
    processes could call each other's functions.
    """
    FunctionIdentity._unique_ids = count(secrets.randbits(60))


_renew_ids()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_ids)
