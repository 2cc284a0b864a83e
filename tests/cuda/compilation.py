"""What a kernel becomes on a GPU: its instructions, registers and spills, without a GPU.

NVVM compiles a kernel to PTX, and `ptxas` (from a wheel of NVIDIA, from CUDA_HOME or from the
PATH) says what the hardware would have to hold for each thread.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from cuda import pathfinder
from numba import cuda
from numba.cuda import dispatcher

COMMENT = re.compile(r"//.*")
# Perhaps a predicate, then the name with its types
INSTRUCTION = re.compile(
    r"(?:^|[;{])\s*(?:@!?%\w+\s+)?([a-z]\w*(?:[.:]+\w+)*)(?=[ \t;])", re.MULTILINE
)
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Compiled:
    """A kernel for one compute capability.

    Attributes
    ----------
    ptx : the text that NVVM wrote
    registers : for each thread
    spills : bytes that are stored and loaded because registers do not suffice
    stack : bytes of the stack frame: arrays of a thread, and what is spilled
    shared : bytes of static shared memory
    """

    ptx: str
    registers: int
    spills: int
    stack: int
    shared: int

    @cached_property
    def instructions(self) -> Counter[str]:
        """How often each instruction of PTX is written, such as ``ld.global.v4.f32``."""
        return Counter(INSTRUCTION.findall(COMMENT.sub("", self.ptx)))

    def having(self, part: str) -> dict[str, int]:
        """The instructions with this part in their name: ``f64``, ``ftz``, ``v4`` ..."""
        return {name: n for name, n in self.instructions.items() if part in name.split(".")}


@cache
def ptxas() -> str:
    """Where the assembler is."""
    found = pathfinder.find_nvidia_binary_utility("ptxas") or shutil.which("ptxas")
    if found is None:
        raise FileNotFoundError("ptxas: pip install 'nvidia-cuda-nvcc==13.0.*', or set CUDA_HOME")
    return str(found)


def compiled(kernel: Any, signature: Any, cc: tuple[int, int] = (9, 0), **options: Any) -> Compiled:
    """A kernel (a function, or what ``cuda.jit`` made of it) with its arguments' types, compiled.

    The options are those of ``cuda.jit``, and stand above those that the kernel has itself:
    ``fastmath``, ``opt``, ``launch_bounds``, ``max_registers``.
    """
    function = kernel
    if isinstance(kernel, dispatcher.CUDADispatcher):
        function, options = kernel.py_func, {**kernel.targetoptions, **options}
    known = {
        name: options[name] for name in ("fastmath", "opt", "launch_bounds") if name in options
    }
    with for_device(cc):
        ptx, _ = cuda.compile(function, signature, device=False, abi="numba", cc=cc, **known)
    return assembled(ptx, cc, options.get("max_registers"))


def for_device(cc: tuple[int, int]) -> Any:
    """Device functions, which ask the current device for its capability, are told this one."""
    device = SimpleNamespace(compute_capability=cc)
    return patch.multiple(dispatcher, get_current_device=lambda: device)


def assembled(ptx: str, cc: tuple[int, int], max_registers: int | None = None) -> Compiled:
    """What the assembler says of a kernel and the functions that it calls."""
    limit = [] if max_registers is None else [f"--maxrregcount={max_registers}"]
    with TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx, encoding="utf-8")
        command = [
            ptxas(),
            "-v",
            f"-arch=sm_{cc[0]}{cc[1]}",
            *limit,
            source.name,
            "-o",
            "kernel.cubin",
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ptxas: {done.stdout}{done.stderr}")
    told = done.stdout + done.stderr
    frames = [tuple(map(int, numbers)) for numbers in STACK.findall(told)]
    assert frames, told
    return Compiled(
        ptx=ptx,
        registers=max(map(int, REGISTERS.findall(told))),
        spills=sum(stores + loads for _, stores, loads in frames),
        stack=sum(stack for stack, _, _ in frames),
        shared=max(map(int, SHARED.findall(told)), default=0),
    )
