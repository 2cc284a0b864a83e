"""Laws of losses of embeddings, pairs of vectors and batches alike."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refloss.accuracy import Truth, rounded

from .enrolled import (
    BATCHED,
    EMBEDDED,
    PAIRED,
    QUICK,
    Arrays,
    C,
    D,
    Entry,
    N,
    bits,
    calls,
)

EVERY = pytest.mark.parametrize("entry", EMBEDDED, ids=str)
PAIRS = pytest.mark.parametrize("entry", PAIRED, ids=str)
BATCHES = pytest.mark.parametrize("entry", BATCHED, ids=str)
UNREDUCED = pytest.mark.parametrize(
    "entry", [entry for entry in EMBEDDED if "none" in entry.reductions], ids=str
)
SOFTMAX = pytest.mark.parametrize(
    "entry", [entry for entry in BATCHED if "none" in entry.reductions], ids=str
)


ANGULAR = pytest.mark.parametrize(
    "entry",
    [
        entry
        for entry in EMBEDDED
        if entry.loss not in ("contrastive_loss", "triplet_margin_loss", "batch_triplet_loss")
        or entry.options.get("distance") == "cosine"
    ],
    ids=str,
)


def losses(entry: Entry, arrays: Arrays) -> Any:
    return entry.function(**arrays, **entry.options, reduction="none")


def gradients(entry: Entry, arrays: Arrays, reduction: str, upstream: Any = None) -> Any:
    """By every argument, in the order of ``entry.wrt``."""
    return entry.function.grad(
        **arrays, **entry.options, reduction=reduction, wrt=entry.wrt, grad_output=upstream
    )


def counted(entry: Entry, arrays: Arrays) -> int:
    """How many losses a mean is taken over, said again."""
    if entry.loss != "sup_con_loss":
        return losses(entry, arrays).size
    labels = arrays["labels"]
    return int(sum(np.count_nonzero(labels == label) > 1 for label in labels))


@UNREDUCED
@pytest.mark.parametrize("seed", range(3))
def test_reductions_reduce_the_same_losses(entry: Entry, seed: int) -> None:
    arrays = entry.sample(seed)
    total = math.fsum(losses(entry, arrays).ravel())
    number = counted(entry, arrays)
    entry.kept(entry.function(**arrays, **entry.options, reduction="sum"), total, "float64", 2)
    entry.kept(entry.function(**arrays, **entry.options), total / number, "float64", 2)
    unreduced = gradients(entry, arrays, "none")
    summed, mean = gradients(entry, arrays, "sum"), gradients(entry, arrays, "mean")
    for each, one, other in zip(unreduced, summed, mean, strict=True):
        assert bits(each) == bits(one)
        entry.conditioned(other, one / number)


@SOFTMAX
@pytest.mark.parametrize("seed", range(2))
def test_upstream_gradients_are_linear(entry: Entry, seed: int) -> None:
    """An anchor's loss moves every embedding; its upstream gradient counts in all of them."""
    arrays = entry.sample(seed)
    upstream = np.random.default_rng(seed).normal(size=losses(entry, arrays).shape)
    alone = [
        [factor * part for part in gradients(entry, arrays, "none", unit)]
        for factor, unit in zip(upstream, np.eye(len(upstream)), strict=True)
    ]
    together = gradients(entry, arrays, "none", upstream)
    for found, parts in zip(together, zip(*alone, strict=True), strict=True):
        entry.conditioned(found, np.sum(parts, axis=0), 2)


@PAIRS
@given(data=st.data())
@QUICK
def test_a_pair_has_its_own_upstream_gradient(entry: Entry, data: st.DataObject) -> None:
    arrays = data.draw(entry.arguments())
    exponents = data.draw(st.lists(st.integers(-4, 4), min_size=N * D, max_size=N * D))
    upstream = 2.0 ** np.reshape(exponents, (N, D))
    plain = gradients(entry, arrays, "none")
    for before, after in zip(plain, gradients(entry, arrays, "none", upstream), strict=True):
        assert bits(before * upstream[..., None]) == bits(after)


@EVERY
def test_short_formats_are_the_double_ones_rounded(entry: Entry) -> None:
    for dtype in ("float16", "bfloat16", "float32"):
        arrays = entry.sample(4, dtype)
        wide = {k: v if v.dtype == np.int64 else v.astype(np.float64) for k, v in arrays.items()}
        truths = dict(calls(entry, wide))
        for name, found in calls(entry, arrays):
            expected = rounded(Truth.of(truths[name]), dtype).reshape(found.shape)
            assert np.array_equal(found.astype(np.float64), expected), name


@EVERY
@pytest.mark.parametrize("seed", range(2))
def test_both_backends_agree(entry: Entry, seed: int) -> None:
    """Each within the promise of the truth, so within two of one another."""
    arrays = entry.sample(seed, n=40)
    over_arrays = dict(calls(entry, arrays, backend="array"))
    for name, found in calls(entry, arrays):
        entry.conditioned(over_arrays[name], found, 2)


def apart(arrays: Arrays) -> Arrays:
    """The vectors of a pair, moved so that no two components almost agree: norms bend there."""
    paired = [name for name, array in arrays.items() if array.ndim == 3]
    moved = {}
    for number, name in enumerate(paired):
        cell, place = np.divmod(arrays[name], 1)
        moved[name] = cell + (number + place / 2) / len(paired)
    return {**arrays, **moved}


@EVERY
def test_gradients_are_differences(entry: Entry) -> None:
    """Along random directions, by a rule of fourth order, which knows half of the digits."""
    arrays, step = apart(entry.sample(5)), 2.0**-11
    reduction = entry.reductions[-1]

    def value(name: str, along: Any, distance: float) -> float:
        moved = {**arrays, name: arrays[name] + distance * along}
        return float(entry.function(**moved, **entry.options, reduction=reduction))

    rng = np.random.default_rng(6)
    for name, gradient in zip(entry.wrt, gradients(entry, arrays, reduction), strict=True):
        for _ in range(4):
            along = rng.normal(size=gradient.shape)
            one, two = (
                value(name, along, k * step) - value(name, along, -k * step) for k in (1, 2)
            )
            slope = (8 * one - two) / (12 * step)
            size = np.abs(gradient * along).sum()
            assert abs(slope - math.fsum((gradient * along).ravel())) <= size * 2.0**-26, name


@PAIRS
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@QUICK
def test_pairs_may_stand_in_any_order(entry: Entry, data: st.DataObject, seed: int) -> None:
    arrays = data.draw(entry.arguments())
    order = np.random.default_rng(seed).permutation(N)
    before = dict(calls(entry, arrays))
    after = dict(calls(entry, {name: array[order] for name, array in arrays.items()}))
    for name, array in before.items():
        if name.startswith("none"):
            assert bits(array[order]) == bits(after[name]), name


@BATCHES
@pytest.mark.parametrize("seed", range(2))
def test_embeddings_may_stand_in_any_order(entry: Entry, seed: int) -> None:
    arrays = entry.sample(seed, n=20)
    rng = np.random.default_rng(seed)
    order, queue_order = rng.permutation(20), rng.permutation(39)
    orders = {name: queue_order if name == "negative_keys" else order for name in arrays}
    shuffled = {name: array[orders[name]] for name, array in arrays.items()}
    reduction = entry.reductions[0]
    options = {**entry.options, "reduction": reduction, "wrt": entry.wrt}
    value, before = entry.function.value_and_grad(**arrays, **options)
    found, after = entry.function.value_and_grad(**shuffled, **options)
    if value.ndim:
        anchors = np.concatenate([order, 20 + order])[: len(value)]
        value = value[anchors]
    entry.conditioned(found, value)
    for name, gradient, other in zip(entry.wrt, before, after, strict=True):
        entry.conditioned(other, gradient[orders[name]])


@pytest.mark.parametrize("entry", [e for e in BATCHED if "labels" in e.arrays], ids=str)
@given(names=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3, unique=True))
@QUICK
def test_labels_are_names(entry: Entry, names: list[int]) -> None:
    arrays = entry.sample(7)
    renamed = {**arrays, "labels": np.array(names)[arrays["labels"]]}
    after = dict(calls(entry, renamed))
    for name, found in calls(entry, arrays):
        assert bits(found) == bits(after[name]), name


@PAIRS
@given(data=st.data(), at=st.tuples(*(st.integers(0, n - 1) for n in (N, D, C))))
@QUICK
def test_nan_stays_in_its_pair(entry: Entry, data: st.DataObject, at: tuple[int, int, int]) -> None:
    arrays = data.draw(entry.arguments())
    before = dict(calls(entry, arrays))
    argument = data.draw(st.sampled_from([*entry.arrays]))
    poisoned = {**arrays, argument: arrays[argument].copy()}
    poisoned[argument][at if arrays[argument].ndim == 3 else at[:2]] = math.nan
    row = np.zeros((N, D), bool)
    row[at[:2]] = True
    for name, after in calls(entry, poisoned):
        if name.startswith("none"):
            assert np.isnan(after[row]).all(), name
            assert bits(after[~row]) == bits(before[name][~row]), name
        elif name.endswith("value"):
            assert np.isnan(after), name


@BATCHES
@pytest.mark.parametrize("place", [(0, 0), (3, 4)])
def test_nan_spoils_its_batch(entry: Entry, place: tuple[int, int]) -> None:
    """A key spoils every row that looks at it, a query its own, anything else everything."""
    for argument in entry.wrt:
        arrays = entry.sample(8)
        if "labels" in arrays:
            arrays["labels"][:] = [0, 1, 0, 1, 0, 1]
        arrays[argument][place] = math.nan
        queued = "negative_keys" in arrays
        spoiled = np.zeros(N, bool)
        spoiled[place[0]] = True
        alone = argument == "query" or (argument == "positive_key" and queued)
        for name, found in calls(entry, arrays):
            if name == "none value" and alone:
                assert np.array_equal(np.isnan(found), spoiled), argument
            elif name.endswith("value") or argument not in ("query", "positive_key"):
                assert np.isnan(found).all(), f"{name} of {argument}"


@ANGULAR
@given(data=st.data())
@QUICK
def test_lengths_do_not_matter_to_angles(entry: Entry, data: st.DataObject) -> None:
    """Each vector times a power of two of its own: same values, gradients over that power."""
    arrays = data.draw(entry.arguments())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    powers = {
        name: 2.0 ** rng.integers(-20, 20, (*arrays[name].shape[:-1], 1)) for name in entry.wrt
    }
    scaled = {**arrays, **{name: arrays[name] * powers[name] for name in entry.wrt}}
    before, after = calls(entry, arrays), calls(entry, scaled)
    for (name, expected), (_, found) in zip(before, after, strict=True):
        argument = name.partition(".")[2]
        assert bits(expected) == bits(found * powers[argument] if argument else found), name


@ANGULAR
@pytest.mark.parametrize("seed", range(2))
def test_a_gradient_by_angles_turns_its_vector(entry: Entry, seed: int) -> None:
    """It has no part along the vector, but for the promise of each component."""
    arrays = entry.sample(seed)
    reduction = entry.reductions[-1]
    for name, gradient in zip(entry.wrt, gradients(entry, arrays, reduction), strict=True):
        along = np.abs(np.sum(gradient * arrays[name], axis=-1))
        sizes = np.abs(gradient).max(axis=-1) * np.abs(arrays[name]).max(axis=-1)
        terms = np.maximum(sizes, 1) / entry.options.get("temperature", 1.0)
        assert (along <= entry.function.promise.float64 * C * np.spacing(terms)).all(), name


@EVERY
def test_threads_and_blocks_change_nothing(
    entry: Entry, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads no bit; blocks of similarities what the order of a sum may change."""
    arrays = entry.sample(10, n=40)
    reduction = entry.reductions[0]

    def answer() -> list[Any]:
        options = {**entry.options, "reduction": reduction, "wrt": entry.wrt}
        value, found = entry.function.value_and_grad(**arrays, **options)
        return [value, *found]

    whole = answer()
    monkeypatch.setattr("refloss.evaluation.BLOCK_NUMBERS", 64)
    monkeypatch.setattr("refloss.similarity.ANCHORS", 16)
    monkeypatch.setattr("refloss.similarity.CANDIDATES", 24)
    monkeypatch.setattr("refloss.triplets.ROOM", 16 * 40 * C)
    threads(1)
    alone = answer()
    threads(3)
    assert [*map(bits, alone)] == [*map(bits, answer())]
    for one, other in zip(whole, alone, strict=True):
        entry.conditioned(other, one)
        if entry in PAIRED or entry.loss == "batch_triplet_loss":
            assert bits(one) == bits(other)


@EVERY
def test_nothing_in_a_batch(entry: Entry) -> None:
    """The mean of nothing is NaN, except where a batch need not hold anything to mean over."""
    arrays = {
        name: array if name == "negative_keys" else array[:0]
        for name, array in entry.sample(9).items()
    }
    has_answer = entry.loss in ("sup_con_loss", "batch_triplet_loss")
    for name, found in calls(entry, arrays):
        if name.endswith("value") and found.shape == ():
            assert found == 0 if has_answer or name == "sum value" else np.isnan(found), name
        else:
            assert not found.any(), name
