"""The fused kernels, run by the simulator: every loss against what is certified, in every shape.

Blocks are of two warps where a test does not say otherwise: the simulator takes its time for every
lane, idle or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import pytest

import refloss
from refloss import fused, oracles
from refloss.accuracy import FORMATS, Grade
from refloss.audit import Report, Section
from refloss.audit.answered import ask
from refloss.audit.cases import Case, cases
from refloss.audit.verdicts import judge
from refloss.dispatch import KERNELS
from refloss.kernels.cuda import arrays, elements, rows

from ..losses.enrolled import ENROLLED, PAIRED, Entry, bits
from ..losses.test_promise import array_path, broken, target
from .scheduler import under_every_order

pytestmark = pytest.mark.sim

SINGLE = "cuda:float32"
FUSED = [*ENROLLED, *PAIRED]
LOSSES = sorted({entry.loss for entry in FUSED})
SMALL_BLOCK = 64

# A case costs a tenth of a second: so many of each loss and format, of at most so many numbers
CASES = {"float64": 3, "float32": 2, "float16": 1, "bfloat16": 1}
LARGEST_CASE = 64


@contextmanager
def shapes(team: int = 0, **names: Any) -> Iterator[list[rows.Shape]]:
    """Small blocks, a team of one's own, other settings of `refloss.fused`; the shapes it chose."""
    found: list[rows.Shape] = []

    def shape_of(*sizes: int) -> rows.Shape:
        shape = original(*sizes)
        found.append(shape)
        return replace(shape, threads=SMALL_BLOCK, team=team or min(shape.team, SMALL_BLOCK))

    original = fused.shape_of
    with (
        patch.multiple(fused, shape_of=shape_of, **names),
        patch.object(elements, "THREADS", SMALL_BLOCK),
        patch.dict(fused._kernels, clear=True),
    ):
        yield found


@pytest.fixture
def small_blocks() -> Iterator[None]:
    with shapes():
        yield


def entry_of(loss: str, *parts: str) -> Entry:
    """The first entry of a loss that has these in its name."""
    return next(e for e in FUSED if e.loss == loss and all(part in str(e) for part in parts))


def sample(entry: Entry, classes: int, n: int = 2, d: int = 1, dtype: str = "float64") -> Any:
    """Arrays of an entry with another number of classes or components."""
    with patch.multiple("tests.losses.enrolled", C=classes):
        return entry.sample(classes, dtype, n, d)


def answers(entry: Entry, given: Any, backend: str, reduction: str, upstream: Any = None) -> Any:
    """The value, all gradients and, without an upstream gradient, the second derivatives."""
    options = {**entry.options, "reduction": reduction, "backend": backend}
    more = {} if upstream is None else {"grad_output": upstream}
    value, gradient = entry.function.value_and_grad(**given, **options, wrt=entry.wrt, **more)
    curved = entry.curved if upstream is None else ()
    curvature = [entry.function.hessian_diag(**given, **options, wrt=name) for name in curved]
    return [np.asarray(value), *gradient, *curvature]


def agree(entry: Entry, given: Any, reduction: str = "mean", upstream: Any = None) -> None:
    """Assert that two backends are as near to each other as their promises put them together.

    The other one is NumPy's: what the CPU runs would have to be compiled for every entry.
    """
    found = answers(entry, given, "cuda", reduction, upstream)
    expected = answers(entry, given, "array", reduction, upstream)
    promise = entry.function.promise
    first = promise.float64 + promise.float64_arrays
    second = max(first, 2 * promise.float64_curvature)
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.dtype == other.dtype
        bound = first if k <= len(entry.wrt) else second
        entry.conditioned(one, other, bound / promise.float64)


# --- what is certified ---------------------------------------------------------------------------


def on_cuda(case: Case) -> Any:
    """How the CUDA backend is asked."""
    asked = array_path(case)

    def spelled(call: str) -> str:
        return call.replace("backend='array'", "backend='cuda'")

    return replace(
        asked,
        value=spelled(asked.value),
        gradient={name: spelled(call) for name, call in asked.gradient.items()},
        curvature={name: spelled(call) for name, call in asked.curvature.items()},
    )


def drawn(loss: str, dtype: str) -> list[Case]:
    """Small cases from the whole oracle, evenly, the first of them included."""
    small = [case for case in cases(loss, dtype) if case.size <= LARGEST_CASE]
    return small[:: max(1, -(-len(small) // CASES[dtype]))]


def test_every_loss_but_those_of_batches_is_here() -> None:
    batched = {"nt_xent_loss", "info_nce_loss", "sup_con_loss", "batch_triplet_loss"}
    others = {"smooth_labels", "class_balanced_weights", "mine_triplets"}
    assert set(oracles.names()) == {*LOSSES} | batched | others


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("loss", LOSSES)
def test_certified_answers_are_met(loss: str, dtype: str) -> None:
    simulated = replace(target("numba"), name="cuda", calls={loss: on_cuda})
    with np.errstate(all="ignore"):
        answered = [ask(simulated, case) for case in drawn(loss, dtype)]
    assert answered
    verdict = judge(simulated, loss, dtype, answered, Counter())
    report = Report((Section("cuda", simulated.version, "numpy", (verdict,)),))
    assert not broken(report, "numba"), broken(report, "numba")
    assert report.grade <= Grade.ACCURATE


# --- what a call may ask for ---------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("entry", FUSED, ids=str)
def test_every_reduction(entry: Entry) -> None:
    given = entry.sample(0, n=2, d=2)
    for reduction in entry.reductions:
        agree(entry, given, reduction)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("loss", LOSSES)
def test_an_upstream_gradient(loss: str) -> None:
    entry = entry_of(loss)
    given = entry.sample(1, n=2, d=2)
    shape = entry.value_shape(given)
    agree(entry, given, "none", np.random.default_rng(1).standard_normal(shape))
    agree(entry, given, "mean", np.asarray(-2.5))


SHAPES = {
    "elements": entry_of("sigmoid_focal_loss"),
    "rows": entry_of("cross_entropy", "weight", "smoothing"),
    "teacher": entry_of("distillation_loss"),
    "pairs": entry_of("triplet_margin_loss", "p=2.0", "swap=True"),
}
of_shape = pytest.mark.parametrize("entry", SHAPES.values(), ids=SHAPES)


@pytest.mark.usefixtures("small_blocks")
def test_several_dimensions_of_positions_are_one() -> None:
    entry = SHAPES["rows"]
    given = entry.sample(2, n=2, d=6)
    folded = {
        name: array if array.ndim == 1 else array.reshape(*array.shape[:-1], 2, 3)
        for name, array in given.items()
    }
    flat, found = (answers(entry, one, "cuda", "none") for one in (given, folded))
    for one, other in zip(flat, found, strict=True):
        assert other.shape == (*one.shape[:-1], 2, 3)
        assert bits(other.reshape(one.shape)) == bits(one)


@pytest.mark.usefixtures("small_blocks")
@of_shape
def test_a_view_that_is_not_contiguous(entry: Entry) -> None:
    given = sample(entry, 6, n=4)
    strided = {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in given.items()}
    assert not any(one.flags.c_contiguous for one in strided.values() if one.shape[-1] > 1)
    before, after = (answers(entry, one, "cuda", "mean") for one in (given, strided))
    assert list(map(bits, before)) == list(map(bits, after))


def displaced(array: Any) -> Any:
    """The same numbers, one number further than 16 bytes would be aligned."""
    room = np.empty(array.size + 32, array.dtype)
    start = next(k for k in range(1, 32) if (room[k:].ctypes.data - array.itemsize) % 16 == 0)
    room[start : start + array.size] = array.ravel()
    return room[start : start + array.size].reshape(array.shape)


@of_shape
def test_a_view_that_is_not_aligned(entry: Entry) -> None:
    given = sample(entry, 16)
    found = []

    def lanes_of(*of: Any) -> int:
        found.append(original(*of))
        return found[-1]

    original = arrays.lanes_of
    with shapes(), patch.object(arrays, "lanes_of", lanes_of):
        agree(entry, given)
        assert set(found) == {2}
        found.clear()
        agree(entry, {name: displaced(array) for name, array in given.items()})
        assert set(found) == {1}


@pytest.mark.usefixtures("small_blocks")
@of_shape
def test_nothing_at_all(entry: Entry) -> None:
    given = entry.sample(3, n=0)
    for reduction in entry.reductions:
        found, expected = (answers(entry, given, one, reduction) for one in ("cuda", "array"))
        assert list(map(bits, found)) == list(map(bits, expected))


@pytest.mark.parametrize("bad", [-1, 5, 1 << 40])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", "softmax_focal_loss"])
def test_a_bad_label_launches_nothing(loss: str, bad: int) -> None:
    entry = entry_of(loss)
    given = entry.sample(4)
    given["target"][-1, -1] = bad
    with patch.object(arrays, "launch") as launch, pytest.raises(ValueError, match="target"):
        entry.function.value_and_grad(**given, backend="cuda")
    assert not launch.called


# --- how a kernel is laid out --------------------------------------------------------------------

TEAMS = {1: 1, 3: 2, 5: 4, 24: 8, 31: 16, 33: 32, 72: 32}


@pytest.mark.parametrize("classes", TEAMS)
@pytest.mark.parametrize("shape", ["rows", "teacher", "pairs"])
def test_a_row_is_of_some_lanes(shape: str, classes: int) -> None:
    entry = SHAPES[shape]
    with shapes() as found:
        agree(entry, sample(entry, classes, n=3))
    assert {one.team for one in found} == {TEAMS[classes]}
    assert {one.lanes for one in found} == {1 if classes % 2 else 2}


@pytest.mark.parametrize("shape", ["rows", "teacher", "pairs"])
def test_a_long_row_is_of_a_block(shape: str) -> None:
    entry = SHAPES[shape]
    with shapes() as found:
        agree(entry, sample(entry, 513, n=1), upstream=np.asarray(1.5))
    assert set(found) == {rows.Shape(256, 256, 1)}


def test_a_block_as_large_as_on_a_device() -> None:
    entry = SHAPES["rows"]
    given = sample(entry, 24, n=1)
    with patch.dict(fused._kernels, clear=True):
        agree(entry, given, upstream=np.asarray(1.5))


@pytest.mark.parametrize("loss", ["cross_entropy", "softmax_focal_loss", "triplet_margin_loss"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_of_narrow_numbers(loss: str, dtype: str) -> None:
    entry = entry_of(loss)
    given = sample(entry, 24, dtype=dtype)
    with shapes() as found:
        cuda = answers(entry, given, "cuda", "mean")
    assert {one.lanes for one in found} == {16 // FORMATS[dtype].dtype.itemsize}
    for one, other in zip(cuda, answers(entry, given, "array", "mean"), strict=True):
        entry.kept(one, other, dtype)


SEGMENTS = {"SEGMENT": 4, "FEW_ROWS": 100}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_no_rows_that_blocks_would_share(reduction: str) -> None:
    entry = entry_of("cross_entropy")
    given = {"input": np.zeros((0, 64)), "target": np.zeros(0, np.int64)}
    with shapes(**SEGMENTS):
        found = answers(entry, given, "cuda", reduction)
    expected = answers(entry, given, "array", reduction)
    assert list(map(bits, found)) == list(map(bits, expected))


@pytest.mark.parametrize(("classes", "reduction"), [(8, "mean"), (27, "none")])
@pytest.mark.parametrize("shape", ["rows", "teacher", "pairs"])
def test_a_huge_row_is_of_several_blocks(shape: str, classes: int, reduction: str) -> None:
    entry = SHAPES[shape]
    make = Mock(wraps=rows.make_segment_kernel)
    with shapes(**SEGMENTS), patch.object(rows, "make_segment_kernel", make):
        given = sample(entry, classes, n=1)
        shape_of_value = entry.value_shape(given) if reduction == "none" else ()
        agree(entry, given, reduction, np.full(shape_of_value, 1.5))
    assert {call.args[-1] for call in make.call_args_list} >= {0, 1}


ORDERED = {
    "elements": ("elements", 5, 3, {}),
    "rows side by side": ("rows", 33, 2, {}),
    "rows of a lane": ("rows", 2, 1, {}),
    "rows of some lanes": ("teacher", 12, 1, {}),
    "rows of a warp": ("pairs", 34, 1, {}),
    "rows of a block": ("rows", 130, 1, {"team": SMALL_BLOCK}),
    "rows of several blocks": ("rows", 8, 1, SEGMENTS),
}


@pytest.mark.parametrize("name", ORDERED)
def test_the_order_of_lanes_and_blocks_leaves_no_trace(name: str) -> None:
    shape, classes, positions, names = ORDERED[name]
    entry = SHAPES[shape]
    n = 40 if shape == "elements" else 3  # more than a block
    given = sample(entry, classes, n, positions)
    with shapes(**names):

        def run() -> Any:
            options = {**entry.options, "reduction": "mean", "backend": "cuda"}
            value, gradient = entry.function.value_and_grad(**given, **options, wrt=entry.wrt)
            return [value, *gradient]

        first = under_every_order(run)
        assert list(map(bits, run())) == list(map(bits, first))


# --- float32 inside ------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("loss", LOSSES)
def test_arithmetic_in_float32(loss: str) -> None:
    """That it runs, and is no other formula; how near it comes is promised elsewhere."""
    entry = entry_of(loss)
    given = entry.sample(5, "float32", n=2, d=2)
    found = answers(entry, given, SINGLE, "mean")
    for one, other in zip(found, answers(entry, given, "array", "mean"), strict=True):
        assert one.dtype == np.float32
        entry.kept(one, other, "float32", 64, scale=np.abs(other).max())


def test_float32_inside_is_not_for_float64() -> None:
    assert SINGLE in KERNELS
    entry = SHAPES["elements"]
    with pytest.raises((TypeError, ValueError), match="float64"):
        refloss.mse_loss(*entry.sample(6).values(), backend=SINGLE)
