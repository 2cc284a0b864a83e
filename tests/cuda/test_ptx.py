"""Every fused kernel as the hardware would get it: registers, spills, loads and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numba import from_dtype, typeof, types

from refloss import fused
from refloss.evaluation import Wanted
from refloss.kernels.cuda import arrays, memory

from ..losses.enrolled import ENROLLED, PAIRED, Entry
from .compilation import Compiled, compiled

pytestmark = pytest.mark.ptx

AMPERE, HOPPER = (8, 0), (9, 0)
REGISTERS = 65536  # of a multiprocessor

# Vectors that one instruction moves, and what it is called for a format
WIDE = {"float32": "v4", "float16": "v4", "bfloat16": "v4", "float64": "v2"}

# Bytes of a stack frame and of what is spilled to it, by loss or setting of it, format and kernels:
# around calls of what the hardware lacks, the slow path of a division, a root or a power
FRAMES = {
    ("cross_entropy-target-weight-indices-label_smoothing=0.125", "float32", "cuda"): (16, 24),
    ("sigmoid_focal_loss", "bfloat16", "cuda"): (8, 16),
    ("sigmoid_focal_loss", "float32", "cuda"): (16, 28),
    ("sigmoid_focal_loss", "float32", "cuda.single"): (8, 0),
    ("triplet_margin_loss", "float32", "cuda.single"): (16, 24),
}

# Losses of which two blocks fit a multiprocessor: all of elements, and those of labels alone
TWO_BLOCKS = {"cross_entropy-target-indices", "softmax_focal_loss-target-indices"}

# Losses that read no class but the target's
OF_THE_TARGET = {"nll_loss-target-indices", "cross_entropy_with_probs-target-indices"}


@dataclass(frozen=True)
class Setting:
    """A loss, a format, the arithmetic inside and the device.

    Attributes
    ----------
    lengths : rows or other elements, classes, positions
    """

    entry: int
    dtype: str = "float32"
    kernels: str = "cuda"
    cc: tuple[int, int] = HOPPER
    lengths: tuple[int, int, int] = (4, 4096, 1)
    several: bool = False  # blocks for one row

    def __str__(self) -> str:
        where = "segments-" if self.several else ""
        device = f"sm_{self.cc[0]}{self.cc[1]}"
        return f"{where}{EVERY[self.entry]}-{self.dtype}-{self.kernels}-{device}"


EVERY: list[Entry] = [*ENROLLED, *PAIRED]


def number_of(loss: str, *parts: str) -> int:
    """Where the first entry of a loss is that has these in its name."""
    return next(
        k for k, e in enumerate(EVERY) if e.loss == loss and all(p in str(e) for p in parts)
    )


FIRST = [number_of(loss) for loss in dict.fromkeys(entry.loss for entry in EVERY)]
FURTHER = [number_of("cross_entropy", "weight", "smoothing")]
SEVERAL_FORMATS = [
    number_of(loss)
    for loss in (
        "cross_entropy",
        "sigmoid_focal_loss",
        "softmax_focal_loss",
        "distillation_loss",
        "triplet_margin_loss",
    )
]
SETTINGS = [
    *(Setting(k) for k in (*FIRST, *FURTHER)),
    *(Setting(k, "bfloat16") for k in SEVERAL_FORMATS[:2]),
    *(Setting(number_of(loss), "float64") for loss in ("cross_entropy",)),
    *(Setting(k, kernels="cuda.single") for k in SEVERAL_FORMATS[:3]),
    Setting(number_of("cross_entropy"), cc=AMPERE),
    Setting(number_of("cross_entropy"), lengths=(2, 1 << 15, 1), several=True),
]


@dataclass(frozen=True)
class Launched:
    """A kernel that a call would have run, and with what."""

    kernel: Any
    blocks: int
    threads: int
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        return str(self.kernel.py_func.__name__)

    @cached_property
    def types(self) -> tuple[Any, ...]:
        return tuple(map(type_of, self.arguments))

    def compiled(self, cc: tuple[int, int]) -> Compiled:
        return compiled(self.kernel, self.types, cc)


def type_of(x: Any) -> Any:
    """Numba's type of an argument, as it is on a device."""
    if isinstance(x, tuple):
        return types.Tuple([type_of(one) for one in x])
    if isinstance(x, int):
        return types.int64
    if isinstance(x, np.ndarray):
        return types.Array(from_dtype(memory.stored_as(arrays.format_of(x))), 1, "C")
    return typeof(x)


@cache
def launched(setting: Setting) -> list[Launched]:
    """What a call for value and gradient would run."""
    entry = EVERY[setting.entry]
    rows, classes, positions = setting.lengths
    with patch.multiple("tests.losses.enrolled", C=classes):
        given = entry.sample(0, setting.dtype, rows, positions)
    plan = replace(
        entry.function._plan(**given, **entry.options, backend="array"),
        kernels=import_module(f"refloss.kernels.{setting.kernels}"),
    )
    wanted = Wanted(value=True, gradient=plan.names("gradient")[:1])
    found: list[Launched] = []

    def launch(kernel: Any, blocks: int, threads: int, model: Any, *arguments: Any) -> None:
        found.append(Launched(kernel, blocks, threads, arguments))

    with patch.object(arrays, "launch", launch):
        fused.evaluate(plan, wanted)
    return found


@cache
def assembled(setting: Setting) -> list[tuple[Launched, Compiled]]:
    """The kernels of a setting, compiled; all end in the same one, which is tested apart."""
    return [(one, one.compiled(setting.cc)) for one in launched(setting) if one.name != "finish"]


every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)

# The first guess of a reciprocal, which libdevice refines: of numbers from 1 to 3, none subnormal
GUESSED = {"rcp.approx.ftz.f64", "rcp.approx.ftz.f32"}


@every_setting
def test_a_kernel_is_what_it_should_be(setting: Setting) -> None:
    found = assembled(setting)
    names = [one.name for one, _ in found]
    assert names
    assert ("segment_kernel" in names) == setting.several
    entry = EVERY[setting.entry]
    of_loss = FRAMES.get((entry.loss, setting.dtype, setting.kernels), (0, 0))
    stack, spills = FRAMES.get((str(entry), setting.dtype, setting.kernels), of_loss)
    for one, result in found:
        assert result.spills <= spills, one.name
        assert result.stack <= stack, one.name
        blocks = 2 if one.name == "elements" or str(entry) in TWO_BLOCKS else 1
        assert result.registers <= min(255, REGISTERS // (blocks * one.threads)), one.name
        assert result.having("ftz").keys() <= GUESSED, one.name
        if setting.kernels == "cuda.single":
            assert not result.having("f64"), one.name


@every_setting
def test_memory_is_moved_by_vectors(setting: Setting) -> None:
    found = [result for one, result in assembled(setting) if one.name != "tell_kernel"]
    wide = [result.having(WIDE[setting.dtype]) for result in found]
    read = str(EVERY[setting.entry]) not in OF_THE_TARGET
    for moved in wide:
        assert any(name.startswith("ld.global") for name in moved) == read
    assert any(name.startswith("st.global") for name in wide[-1])


@every_setting
def test_places_in_memory_are_of_64_bits(setting: Setting) -> None:
    """Products in 32 bits would wrap; so would what counts elements and rows."""
    for one, result in assembled(setting):
        count = result.instructions  # numbers that turn out to be small are divided as such
        assert count["mul.lo.s32"] + count["mul.lo.u32"] <= count["div.u32"], one.name
        compared = {name for name in count if name.startswith("setp")}
        assert {name for name in compared if name.endswith("s64")}, one.name
        if one.name != "elements":
            assert result.instructions["mul.lo.s64"], one.name


@pytest.mark.parametrize("kernels", ["cuda", "cuda.single"])
def test_products_and_sums_are_not_contracted(kernels: str) -> None:
    """A formula says itself where it wants a fused multiply-add; this one nowhere."""
    setting = Setting(number_of("mse_loss"), kernels=kernels)
    ((_, result),) = assembled(setting)
    squares = [name for name in result.instructions if name.startswith("mul.")]
    assert [name for name in squares if name.endswith("f64" if kernels == "cuda" else "f32")]
    assert not [name for name in result.instructions if name.startswith(("fma", "mad"))]


@pytest.mark.parametrize("dtype", WIDE)
def test_the_last_kernel_of_a_mean(dtype: str) -> None:
    last = launched(Setting(number_of("mse_loss"), dtype))[-1]
    assert (last.name, last.blocks) == ("finish", 1)
    result = last.compiled(HOPPER)
    assert (result.spills, result.stack) == (0, 0)
    assert result.registers <= 64
    assert not result.having("ftz")
