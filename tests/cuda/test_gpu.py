"""What only a GPU can show; a few minutes on one with a dozen cores beside it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refloss
from refloss import oracles
from refloss.accuracy import FORMATS, distance
from refloss.audit.arrays import arrays_of
from refloss.kernels.cuda import available
from refloss.loss import Loss
from refloss.parity import Budgets, Side, draw
from refloss.parity.drawn import FORMS
from refloss.parity.larger import apart_at_size, other_layouts, runs

from .certified import side_of

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[2]
LOSSES = oracles.names()
CALLABLE = [name for name in LOSSES if isinstance(getattr(refloss, name), Loss)]
BATCHED = {"nt_xent_loss", "info_nce_loss", "sup_con_loss", "batch_triplet_loss"}
SINGLE = [name for name in CALLABLE if name not in BATCHED]
KINDS = ("cupy", "torch@cuda")
PROCESSES = min(12, os.cpu_count() or 1)
SIZE = 1025 * 33 * 4  # bytes of float32: several blocks, the last one not full

of_kind = pytest.mark.parametrize("kind", KINDS)


def missing(kind: str) -> str | None:
    """Why there are no such arrays here."""
    if kind == "cupy":
        return available.cupy_reason()
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return None if torch.cuda.is_available() else "torch finds no CUDA device"


def need(kind: str) -> None:
    """Skip where there are no such arrays."""
    if reason := missing(kind):
        pytest.skip(reason)


def synchronise(kind: str) -> None:
    """Wait for all work on the device."""
    if kind == "cupy":
        import cupy

        cupy.cuda.Device().synchronize()
    else:
        import torch

        torch.cuda.synchronize()


def given(loss: str, dtype: str, kind: str, numbers: int = 1025 * 33) -> dict[str, Any]:
    """Drawn arguments of a loss."""
    library = arrays_of(kind)
    made = {name: library.make(array) for name, array in draw(loss, dtype, numbers).items()}
    return {**made, **FORMS[loss].options}


def usual() -> str:
    """The first kind of arrays that is here."""
    found = next((kind for kind in KINDS if missing(kind) is None), None)
    if found is None:
        pytest.skip("; ".join(str(missing(kind)) for kind in KINDS))
    return found


@pytest.fixture(scope="module")
def side() -> Side:
    return side_of("cuda", usual())


@pytest.fixture(scope="module")
def cpu() -> Side:
    return side_of("numba", "numpy")


# --- what is certified ---------------------------------------------------------------------------

# Sides by format; all sides of a loss in a format share a process and its kernels
ASKED = {
    "float64": ("cuda/torch@cuda", "cuda/cupy", "array/cupy"),
    "float32": ("cuda/torch@cuda", "cuda/cupy", "cuda:float32/torch@cuda"),
    "float16": ("cuda/torch@cuda", "cuda/cupy"),
    "bfloat16": ("cuda/torch@cuda",),
}
Answers = dict[tuple[str, str], Future[subprocess.CompletedProcess[str]]]


def sides_for(loss: str, dtype: str) -> list[str]:
    """Those that are here and have the loss."""
    return [
        name
        for name in ASKED[dtype]
        if missing(name.partition("/")[2]) is None
        and (loss in SINGLE or not name.startswith("cuda:float32"))
    ]


@pytest.fixture(scope="module")
def certified(request: pytest.FixtureRequest) -> Iterator[Answers]:
    """All questions, asked by some processes at once; the longest ones first."""
    wanted = {
        (item.callspec.params["loss"], item.callspec.params["dtype"])
        for item in request.session.items
        if getattr(item, "originalname", "") == "test_certified_answers_are_met"
    }

    def ask(loss: str, dtype: str) -> subprocess.CompletedProcess[str]:
        script = str(Path(__file__).with_name("certified.py"))
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.run(
            [sys.executable, "-W", "ignore", script, loss, dtype, *sides_for(loss, dtype)],
            capture_output=True,
            text=True,
            timeout=900,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def rows(question: tuple[str, str]) -> int:
        loss, dtype = question
        return len(oracles.load(loss).rows) * (3 if dtype == "float64" else 1)

    with ThreadPoolExecutor(PROCESSES) as pool:
        yield {one: pool.submit(ask, *one) for one in sorted(wanted, key=rows, reverse=True)}


@pytest.mark.parametrize("dtype", ASKED)
@pytest.mark.parametrize("loss", LOSSES)
def test_certified_answers_are_met(loss: str, dtype: str, certified: Answers) -> None:
    if not sides_for(loss, dtype):
        pytest.skip("; ".join(str(missing(kind)) for kind in KINDS))
    done = certified[loss, dtype].result()
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == sides_for(loss, dtype)
    for name, answers in found.items():
        assert not answers["broken"], f"{name}: " + "\n".join(answers["broken"])
        assert answers["cases"] > 0
        assert not answers["skipped"]


# --- the CPU, and itself -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_as_near_to_the_cpu_as_both_promise(loss: str, side: Side, cpu: Side) -> None:
    with np.errstate(all="ignore"):
        compared, found = apart_at_size(side, cpu, loss, "float32", SIZE, Budgets())
    assert compared
    assert not found, "\n".join(
        f"{one.component}: {one.ulp} ulp, {one.budget} allowed: {one.lines}" for one in found
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_a_hundred_runs_have_the_same_bits(loss: str, side: Side) -> None:
    asked = runs(side, loss, "float32", 100)
    assert asked is not None
    (same, repeat), difference = asked
    assert same == repeat == 100, difference


@pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors")  # of one axis
@pytest.mark.parametrize("loss", LOSSES)
@of_kind
def test_every_layout_has_the_same_bits(kind: str, loss: str) -> None:
    """Strided, transposed, reversed, and behind a row of 33: not aligned to 16 bytes."""
    need(kind)
    asked = other_layouts(side_of("cuda", kind), loss, "float32")
    assert asked is not None
    layouts, found = asked
    assert "offset" in layouts
    assert all(layouts.values()), [one.lines for one in found]


# Shapes of row kernels: lanes of a warp, a warp, a block, blocks that share a row, and neighbours
SHAPES = {
    "one class": (65, 1),
    "few classes": (1025, 10),
    "a warp": (130, 1000),
    "a block, not aligned": (33, 32001),
    "a block": (300, 32000),
    "several blocks": (4, 65536),
    "positions": (3, 19, 77),
    "many positions": (2, 21, 9001),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_rows_of_every_shape(shape: tuple[int, ...], dtype: str) -> None:
    kind = "torch@cuda" if dtype == "bfloat16" else usual()
    need(kind)
    rng = np.random.default_rng(len(shape) + shape[1])
    x = (4 * rng.standard_normal(shape)).astype(FORMATS[dtype].dtype)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    labels.flat[:: 7 if labels.size > 7 else 3] = -100
    expected = refloss.cross_entropy.value_and_grad(x, labels, reduction="none")
    made = [arrays_of(kind).make(array) for array in (x, labels)]
    found = refloss.cross_entropy.value_and_grad(*made, reduction="none", backend="cuda")
    bound = 2 * getattr(refloss.cross_entropy.promise, dtype)
    for one, other in zip(found, expected, strict=True):
        assert distance(on_host(one), other, dtype).max() <= bound


def on_host(array: Any) -> Any:
    """A device's array as a NumPy array."""
    if type(array).__module__.startswith("cupy"):
        return array.get()
    array = array.detach().cpu()
    return array.float().numpy() if str(array.dtype) == "torch.bfloat16" else array.numpy()


# --- the caller's arrays -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", CALLABLE)
@of_kind
def test_answers_are_arrays_like_the_arguments(kind: str, loss: str) -> None:
    need(kind)
    arguments = given(loss, "float32", kind)
    first = next(iter(arguments.values()))
    if kind != "cupy":
        first.requires_grad_()
    value, gradient = getattr(refloss, loss).value_and_grad(**arguments)
    for array in (value, gradient):
        assert type(array) is type(first)
        assert array.dtype == first.dtype
        assert array.device == first.device
        assert not getattr(array, "requires_grad", False)
    assert gradient.shape == first.shape
    assert value.shape == ()


def test_the_cuda_kernels_are_the_default() -> None:
    kind = usual()
    arguments = given("huber_loss", "float32", kind)
    found = [refloss.huber_loss.grad(**arguments, **more) for more in ({}, {"backend": "cuda"})]
    one, other = (on_host(array) for array in found)
    assert one.tobytes() == other.tobytes()
    with pytest.raises(TypeError, match=r"cupy\.asarray"):
        refloss.huber_loss(**draw("huber_loss", "float32"), backend="cuda")


def test_tensors_on_the_cpu_are_refused() -> None:
    need("torch@cuda")
    import torch

    with pytest.raises(TypeError, match="CUDA"):
        refloss.mse_loss(torch.ones(3), torch.ones(3), backend="cuda")


def test_contiguous_tensors_are_not_copied() -> None:
    need("torch@cuda")
    import torch

    x = torch.randn(1 << 11, 1 << 12, device="cuda")
    labels = torch.randint(1 << 12, (1 << 11,), device="cuda")
    for call in (
        lambda: refloss.mse_loss.value_and_grad(x, x),
        lambda: refloss.cross_entropy.value_and_grad(x, labels),
    ):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        answer = call()
        torch.cuda.synchronize()
        extra = torch.cuda.max_memory_allocated() - before
        assert x.nbytes <= extra < x.nbytes + (1 << 21), "the gradient, and next to nothing"
        del answer


def test_contiguous_cupy_arrays_are_not_copied() -> None:
    need("cupy")
    import cupy

    class Allocations(cupy.cuda.MemoryHook):
        name = "Allocations"

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def malloc_preprocess(self, **kwargs: Any) -> None:
            self.sizes.append(kwargs["size"])

    x = cupy.ones((1 << 11, 1 << 12), cupy.float32)
    labels = cupy.zeros(1 << 11, cupy.int64)
    for call in (
        lambda: refloss.mse_loss.value_and_grad(x, x),
        lambda: refloss.cross_entropy.value_and_grad(x, labels),
    ):
        with Allocations() as hook:
            call()
        assert x.nbytes <= sum(hook.sizes) < x.nbytes + (1 << 21)


# --- streams -------------------------------------------------------------------------------------

CYCLES = 1 << 29  # a third of a second


def test_work_follows_on_the_current_stream_of_torch() -> None:
    need("torch@cuda")
    import torch

    x, y = torch.zeros(1 << 20, device="cuda"), torch.zeros(1 << 20, device="cuda")
    refloss.mse_loss.value_and_grad(x, y, reduction="sum")  # compiles
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(CYCLES)
        x.fill_(2.0)
        value, gradient = refloss.mse_loss.value_and_grad(x, y, reduction="sum")
        waited = stream.query()
        value, gradient = value.clone(), gradient.clone()
    stream.synchronize()
    assert value.item() == 4 << 20
    assert bool((gradient == 4).all())
    assert not waited, "the call came back before the device had begun"


def test_work_follows_on_the_current_stream_of_cupy() -> None:
    need("cupy")
    import cupy

    code = 'extern "C" __global__ void spin(long long n) {\n'
    code += "  long long start = clock64(); while (clock64() - start < n) {} }"
    spin = cupy.RawKernel(code, "spin")
    x, y = cupy.zeros(1 << 20, cupy.float32), cupy.zeros(1 << 20, cupy.float32)
    refloss.mse_loss.value_and_grad(x, y, reduction="sum")
    x.fill(0)
    spin((1,), (1,), (np.int64(1),))
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        spin((1,), (1,), (np.int64(CYCLES),))
        x.fill(2)
        value, gradient = refloss.mse_loss.value_and_grad(x, y, reduction="sum")
        waited = stream.done
        value, gradient = value.copy(), gradient.copy()
    stream.synchronize()
    assert float(value) == 4 << 20
    assert bool((gradient == 4).all())
    assert not waited, "the call came back before the device had begun"


# --- sizes ---------------------------------------------------------------------------------------


def room_for(bytes_: int) -> None:
    """Skip where the device has less memory free."""
    need("torch@cuda")
    import torch

    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    if free < bytes_:
        pytest.skip(f"{bytes_ / 1e9:.0f} GB of device memory wanted, {free / 1e9:.0f} GB free")


def test_more_elements_than_32_bits_count() -> None:
    count = (1 << 31) + 8
    room_for(7 * count)
    import torch

    x = torch.zeros(count, dtype=torch.bfloat16, device="cuda")
    y = torch.zeros_like(x)
    known = {0: 1.0, (1 << 31) - 1: 2.0, 1 << 31: 5.0, count - 1: 3.0}
    for position, number in known.items():
        x[position] = number
    value, gradient = refloss.mse_loss.value_and_grad(x, y, reduction="sum", backend="cuda")
    assert value.item() == sum(number**2 for number in known.values())
    assert {at: gradient[at].item() for at in known} == {at: 2 * n for at, n in known.items()}
    pieces = gradient.split(1 << 28)
    assert sum(int(torch.count_nonzero(piece)) for piece in pieces) == len(known)


def test_more_logits_than_32_bits_count() -> None:
    rows, classes = (1 << 16) + 1, 1 << 15
    room_for(5 * rows * classes)
    import torch

    x = torch.zeros(rows, classes, dtype=torch.bfloat16, device="cuda")
    labels = torch.full((rows,), classes - 1, device="cuda")
    x[-1, -1] = 16.0
    value, gradient = refloss.cross_entropy.value_and_grad(
        x, labels, reduction="none", backend="cuda"
    )
    known = np.array([classes - 1])
    promise = refloss.cross_entropy.promise.bfloat16
    for row in (0, rows // 2, rows - 1):
        one = slice(row, row + 1)
        lone = np.zeros((1, classes), FORMATS["bfloat16"].dtype)
        lone[0, -1] = x[row, -1].item()
        answers = refloss.cross_entropy.value_and_grad(lone, known, reduction="none")
        for mine, other in zip((value[one], gradient[one]), answers, strict=True):
            assert distance(on_host(mine), other, "bfloat16").max() <= 2 * promise
    uniform = np.array([math.log(classes)]).astype(FORMATS["bfloat16"].dtype)
    assert distance(on_host(value[:1]), uniform, "bfloat16").max() <= promise


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1, 33, 1 << 40])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", "softmax_focal_loss"])
@of_kind
def test_a_bad_label_is_one_clear_error(kind: str, loss: str, bad: int) -> None:
    need(kind)
    arguments = given(loss, "float32", kind)
    before = getattr(refloss, loss)(**arguments)
    good = arguments["target"][-1].item()
    arguments["target"][-1] = bad
    with pytest.raises(ValueError, match=r"^target: ") as caught:
        getattr(refloss, loss).value_and_grad(**arguments)
    assert str(bad) in str(caught.value)
    arguments["target"][-1] = good
    after = getattr(refloss, loss)(**arguments)  # the device is as it was
    synchronise(kind)
    assert on_host(before).tobytes() == on_host(after).tobytes()


@of_kind
def test_small_work_is_nothing_to_warn_of(kind: str) -> None:
    need(kind)
    for loss in ("mse_loss", "cross_entropy", "triplet_margin_loss", "sup_con_loss"):
        arguments = given(loss, "float32", kind, numbers=66)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            getattr(refloss, loss).value_and_grad(**arguments)


@pytest.mark.parametrize("loss", sorted(BATCHED))
def test_float32_arithmetic_is_refused_where_there_is_none(loss: str) -> None:
    with pytest.raises(ValueError, match=r"^backend: "):
        getattr(refloss, loss)(**given(loss, "float32", usual()), backend="cuda:float32")


@pytest.mark.parametrize("loss", SINGLE)
def test_float32_arithmetic_is_as_near_to_the_cpu_as_it_promises(loss: str, cpu: Side) -> None:
    single = side_of("cuda:float32", usual())
    with np.errstate(all="ignore"):
        compared, found = apart_at_size(single, cpu, loss, "float32", SIZE, Budgets())
    assert compared
    assert not found, [(one.component, one.ulp, one.budget) for one in found]
