"""Laws that hold for every input: exact ones to the bit, others within the promise."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import refloss
from refloss.accuracy import FORMATS

from .enrolled import (
    EMBEDDED,
    ENROLLED,
    LOGITS,
    QUICK,
    SHAPE,
    SOME_IGNORED,
    C,
    Entry,
    N,
    bits,
    calls,
)

EVERY = pytest.mark.parametrize("entry", [*ENROLLED, *EMBEDDED], ids=str)
SINGLE = pytest.mark.parametrize("entry", ENROLLED, ids=str)
ROWWISE = pytest.mark.parametrize("entry", [e for e in ENROLLED if e.rowwise], ids=str)
SHORT = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
SEEDS = st.integers(0, 2**32 - 1)


def rowwise_value(entry: Entry, **arguments: Any) -> Any:
    return entry.function(**arguments, **entry.options, reduction="none")


@EVERY
@given(data=st.data())
@QUICK
def test_value_and_gradient_are_the_same_together_and_alone(
    entry: Entry, data: st.DataObject
) -> None:
    arrays = data.draw(entry.arguments())
    for reduction in entry.reductions:
        options = {**entry.options, "reduction": reduction}
        value, gradient = entry.function.value_and_grad(**arrays, **options, wrt=entry.wrt)
        assert bits(value) == bits(entry.function(**arrays, **options))
        alone = [entry.function.grad(**arrays, **options, wrt=name) for name in entry.wrt]
        assert [*map(bits, gradient)] == [*map(bits, alone)]
        assert [g.shape for g in gradient] == [arrays[name].shape for name in entry.wrt]
        assert {g.dtype for g in gradient} == {arrays[name].dtype for name in entry.wrt}


@SINGLE
@given(data=st.data())
@QUICK
def test_gradient_and_curvature_are_the_same_together_and_alone(
    entry: Entry, data: st.DataObject
) -> None:
    arrays, wrt = data.draw(entry.arguments()), entry.curved
    for reduction in entry.reductions if wrt else ():
        options = {**entry.options, "reduction": reduction}
        both = entry.function.grad_and_hessian_diag(**arrays, **options, wrt=wrt)
        for together, alone in zip(both, ("grad", "hessian_diag"), strict=True):
            expected = getattr(entry.function, alone)(**arrays, **options, wrt=wrt)
            assert [*map(bits, together)] == [*map(bits, expected)]


@SINGLE
@SHORT
@given(data=st.data())
@QUICK
def test_short_formats_are_the_rounded_double_ones(
    entry: Entry, dtype: str, data: st.DataObject
) -> None:
    """The answers of float64 are the truth for formats with less than half of its digits."""
    arrays = data.draw(entry.arguments(dtype))
    wide = {k: v if v.dtype == np.int64 else v.astype(np.float64) for k, v in arrays.items()}
    truths = dict(calls(entry, wide))
    for name, computed in calls(entry, arrays):
        assert computed.dtype == FORMATS[dtype].dtype
        entry.kept(computed, truths[name], dtype, scale=_cancelling(entry, wide, name))


def _cancelling(entry: Entry, arrays: dict[str, Any], name: str) -> Any:
    """The larger of the terms of a gradient that cancel, where the promise is one of that."""
    reduction, asked = name.split()
    if entry.loss != "cross_entropy" or asked != "gradient.input":
        return None
    z, target, weight = arrays["input"], arrays["target"], arrays.get("weight", np.ones(C))
    smoothing = entry.options.get("label_smoothing", 0.0)
    if entry.indices:
        if not smoothing:
            return None
        target = (target[:, None] == np.arange(C)[:, None]).astype(float)
    mass = weight[:, None] * ((1 - smoothing) * target + smoothing / C)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    terms = np.maximum(p * (mass.sum(axis=1, keepdims=True) - mass), mass * (1 - p))
    return terms / ((reduction == "mean" and _denominator(entry, arrays)) or 1)


@SINGLE
@given(data=st.data())
@QUICK
def test_reductions_reduce_the_same_losses(entry: Entry, data: st.DataObject) -> None:
    arrays = data.draw(entry.arguments())
    each = rowwise_value(entry, **arrays)
    total = math.fsum(each.ravel())
    options = entry.options
    summed = entry.function(**arrays, **options, reduction="sum")
    assume(total > 0 or not each.any())  # all but kl_div and nll_loss are never negative
    entry.kept(summed, total, "float64", 2)
    denominator = _denominator(entry, arrays)
    with np.errstate(invalid="ignore"):
        mean = np.float64(total) / denominator
    entry.kept(entry.function(**arrays, **options, reduction="mean"), mean, "float64", 2)
    if "batchmean" in entry.reductions:
        found = entry.function(**arrays, **options, reduction="batchmean")
        entry.kept(found, total / N, "float64", 2)


def _denominator(entry: Entry, arrays: dict[str, Any]) -> float:
    """What a mean divides by, said again."""
    weight = arrays.get("weight")
    if entry.indices:
        target = arrays["target"]
        weights = np.ones(C) if weight is None else weight
        return float(weights[target[target >= 0]].sum())
    if entry.loss in ("mse_loss", "l1_loss") and weight is not None:
        return float(weight.sum())
    return float(np.prod(SHAPE) / C if entry.rowwise else np.prod(SHAPE))


@SINGLE
@given(data=st.data(), seed=SEEDS)
@QUICK
def test_rows_may_stand_in_any_order(entry: Entry, data: st.DataObject, seed: int) -> None:
    arrays = data.draw(entry.arguments())
    order = np.random.default_rng(seed).permutation(N)
    shuffled = {k: v if v.shape[0] != N else v[order] for k, v in arrays.items()}
    before, after = dict(calls(entry, arrays)), dict(calls(entry, shuffled))
    for name, array in before.items():
        if name.startswith("none"):
            assert bits(array[order]) == bits(after[name]), name


@ROWWISE
@given(data=st.data(), seed=SEEDS)
@QUICK
def test_classes_may_stand_in_any_order(entry: Entry, data: st.DataObject, seed: int) -> None:
    arrays = data.draw(entry.arguments())
    order = np.random.default_rng(seed).permutation(C)
    shuffled = {k: v[:, order] if v.shape == SHAPE else v for k, v in arrays.items()}
    if "weight" in arrays:
        shuffled["weight"] = arrays["weight"][order]
    if entry.indices:
        target = arrays["target"]
        shuffled["target"] = np.where(target < 0, target, np.argsort(order)[np.maximum(target, 0)])
    before, after = rowwise_value(entry, **arrays), rowwise_value(entry, **shuffled)
    entry.kept(after, before, "float64", 2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@given(data=st.data())
@QUICK
def test_onehot_probabilities_are_class_indices(
    smoothing: float, weighted: bool, data: st.DataObject
) -> None:
    entry = Entry("cross_entropy", {"input": LOGITS, "target": SOME_IGNORED})
    arrays = data.draw(entry.arguments())
    z, target = arrays["input"], np.maximum(arrays["target"], 0)
    z[data.draw(st.integers(0, N - 1)), data.draw(st.integers(0, C - 1)), 0] = data.draw(
        st.sampled_from([0.0, math.inf, -math.inf, math.nan])
    )
    onehot = np.moveaxis(np.eye(C)[target], -1, 1)
    weight = np.linspace(0.5, 2, C) if weighted else None
    options = {"weight": weight, "label_smoothing": smoothing, "reduction": "none"}
    # sums over all classes: each way within the promise, where terms may cancel in ulps of those
    for method in ("__call__", "grad", "hessian_diag"):
        found = [getattr(refloss.cross_entropy, method)(z, t, **options) for t in (target, onehot)]
        held = entry.conditioned if method == "grad" else partial(entry.kept, dtype="float64")
        held(found[1], found[0], promises=2)


@pytest.mark.parametrize("loss", ["cross_entropy", "softmax_focal_loss"])
@given(data=st.data(), exponent=st.integers(0, 40), sign=st.sampled_from([-1, 1]))
@QUICK
def test_a_common_offset_changes_nothing(
    loss: str, data: st.DataObject, exponent: int, sign: int
) -> None:
    """Multiples of 1/8 and powers of two up to 2^40: their sums are exact, so the bits agree."""
    entry = Entry(loss, {"input": LOGITS, "target": SOME_IGNORED})
    arrays = data.draw(entry.arguments())
    moved = {**arrays, "input": arrays["input"] + sign * 2.0**exponent}
    for (name, before), (_, after) in zip(calls(entry, arrays), calls(entry, moved), strict=True):
        assert bits(before) == bits(after), name


@given(data=st.data(), shifts=st.tuples(*[st.integers(-(2**40), 2**40)] * 2))
@QUICK
def test_student_and_teacher_may_be_shifted_apart(
    data: st.DataObject, shifts: tuple[int, int]
) -> None:
    entry = Entry("distillation_loss", {"input": LOGITS, "teacher": LOGITS})
    arrays = data.draw(entry.arguments())
    moved = {k: v + shift for (k, v), shift in zip(arrays.items(), shifts, strict=True)}
    for (name, before), (_, after) in zip(calls(entry, arrays), calls(entry, moved), strict=True):
        assert bits(before) == bits(after), name


@pytest.mark.parametrize(
    "entry",
    [
        Entry("cross_entropy", {"input": LOGITS, "target": SOME_IGNORED}),
        Entry("softmax_focal_loss", {"input": LOGITS, "target": SOME_IGNORED}),
        Entry("softmax_focal_loss", {"input": LOGITS, "target": SOME_IGNORED}, {"gamma": 0.5}),
        Entry("distillation_loss", {"input": LOGITS, "teacher": LOGITS}, {"temperature": 2.0}),
    ],
    ids=str,
)
@given(data=st.data())
@QUICK
def test_gradients_of_a_row_sum_to_zero(entry: Entry, data: st.DataObject) -> None:
    """To the promise of each of its entries, which add up."""
    arrays = data.draw(entry.arguments())
    gradient = entry.function.grad(**arrays, **entry.options, reduction="none")
    rows = np.moveaxis(gradient, 1, -1).reshape(-1, C)
    for row in rows:
        largest = np.abs(row).max()
        allowed = entry.function.promise.float64 * C * np.spacing(largest)
        assert abs(math.fsum(row)) <= allowed, row


@SINGLE
@given(data=st.data(), cut=st.integers(1, N - 1))
@QUICK
def test_the_parts_of_a_batch_sum_to_the_whole(entry: Entry, data: st.DataObject, cut: int) -> None:
    arrays = data.draw(entry.arguments())
    parts = [
        {k: v[part] if v.shape[0] == N else v for k, v in arrays.items()}
        for part in (slice(None, cut), slice(cut, None))
    ]
    options = {**entry.options, "reduction": "sum"}
    whole, gradient = entry.function.value_and_grad(**arrays, **options)
    each = [entry.function.value_and_grad(**part, **options) for part in parts]
    assert bits(gradient) == bits(np.concatenate([g for _, g in each]))
    # a negative part would cancel against a positive one
    assume(all(value >= 0 for value, _ in each))
    entry.kept(whole, math.fsum(value for value, _ in each), "float64", 2)


@EVERY
@given(data=st.data(), exponent=st.integers(-8, 8), sign=st.sampled_from([-1.0, 1.0]))
@QUICK
def test_gradients_are_homogeneous_in_the_upstream_one(
    entry: Entry, data: st.DataObject, exponent: int, sign: float
) -> None:
    """A power of two scales every gradient exactly (as long as nothing underflows)."""
    arrays, factor = data.draw(entry.arguments()), sign * 2.0**exponent
    for reduction in entry.reductions:
        options = {**entry.options, "reduction": reduction, "wrt": entry.wrt}
        value = entry.function(**arrays, **entry.options, reduction=reduction)
        upstream = np.full_like(value, factor)
        plain = entry.function.grad(**arrays, **options)
        scaled = entry.function.grad(**arrays, **options, grad_output=upstream)
        for before, after in zip(plain, scaled, strict=True):
            normal = np.abs(before) > np.finfo(np.float64).tiny / abs(factor)
            assert bits((before * factor)[normal]) == bits(after[normal])


@SINGLE
@given(data=st.data())
@QUICK
def test_each_loss_has_its_own_upstream_gradient(entry: Entry, data: st.DataObject) -> None:
    arrays = data.draw(entry.arguments())
    options = {**entry.options, "reduction": "none", "wrt": entry.wrt}
    value = entry.function(**arrays, **entry.options, reduction="none")
    upstream = 2.0 ** data.draw(
        st.lists(st.integers(-4, 4), min_size=value.size, max_size=value.size).map(np.array)
    ).reshape(value.shape)
    plain = entry.function.grad(**arrays, **options)
    scaled = entry.function.grad(**arrays, **options, grad_output=upstream)
    factors = upstream[:, None] if entry.rowwise else upstream
    for before, after in zip(plain, scaled, strict=True):
        normal = np.abs(before) > 2.0**-1000
        assert bits((before * factors)[normal]) == bits(after[normal])


@SINGLE
@given(data=st.data(), at=st.tuples(*(st.integers(0, n - 1) for n in SHAPE)))
@QUICK
def test_nan_stays_in_its_row(entry: Entry, data: st.DataObject, at: tuple[int, int, int]) -> None:
    arrays = data.draw(entry.arguments())
    before = dict(calls(entry, arrays))
    argument = data.draw(st.sampled_from(entry.wrt))
    poisoned = {**arrays, argument: arrays[argument].copy()}
    poisoned[argument][at] = math.nan
    row = np.zeros(SHAPE, bool)
    row[(at[0], slice(None), at[2]) if entry.rowwise else at] = True
    for name, after in calls(entry, poisoned):
        if name.startswith("none"):
            outside = ~(row.any(1) if after.ndim == 2 else row)
            assert bits(after[outside]) == bits(before[name][outside]), name


@SINGLE
@given(data=st.data(), at=st.tuples(*(st.integers(0, n - 1) for n in SHAPE)))
@QUICK
def test_nan_is_not_swallowed(entry: Entry, data: st.DataObject, at: tuple[int, int, int]) -> None:
    """It comes out in the value, unless its row is ignored or the class is not looked at."""
    arrays = data.draw(entry.arguments())
    argument = data.draw(st.sampled_from(entry.wrt))
    poisoned = {**arrays, argument: arrays[argument].copy()}
    if entry.indices:
        poisoned["target"] = arrays["target"].copy()
        poisoned["target"][at[0], at[2]] = at[1]
    if "weight" in arrays:
        poisoned["weight"] = np.maximum(arrays["weight"], 0.5)
    poisoned[argument][at] = math.nan
    value = rowwise_value(entry, **poisoned)
    assert np.isnan(value[(at[0], at[2]) if entry.rowwise else at])
    for reduction in entry.reductions[1:]:
        assert np.isnan(entry.function(**poisoned, **entry.options, reduction=reduction))


@pytest.mark.parametrize("entry", [e for e in ENROLLED if "weight" in e.arrays], ids=str)
@given(data=st.data(), exponent=st.integers(-8, 8))
@QUICK
def test_weights_scale_sums_and_leave_weighted_means(
    entry: Entry, data: st.DataObject, exponent: int
) -> None:
    arrays, factor = data.draw(entry.arguments()), 2.0**exponent
    scaled = {**arrays, "weight": arrays["weight"] * factor}
    before, after = dict(calls(entry, arrays)), dict(calls(entry, scaled))
    divides = entry.indices or entry.loss in ("mse_loss", "l1_loss")
    for name, array in before.items():
        leaves = name.startswith("mean") and divides
        assert bits(array if leaves else array * factor) == bits(after[name]), name


@SINGLE
@given(data=st.data())
@QUICK
def test_empty_batches_have_no_loss(entry: Entry, data: st.DataObject) -> None:
    arrays = {
        k: v[:0] if k != "weight" or v.ndim > 1 else v
        for k, v in data.draw(entry.arguments()).items()
    }
    for name, found in calls(entry, arrays):
        if name == "sum value":
            assert found == 0
        elif found.shape == ():
            assert np.isnan(found), name
        else:
            assert found.size == 0, name
