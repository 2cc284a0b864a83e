"""Arrays on a device: answers come out beside them, with the same bits as anywhere else.

array-api-strict has devices that are none, and refuses whatever would mix them: it stands for
libraries whose devices are real.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import refloss
from refloss import triplets
from refloss.evaluation import Plan
from refloss.kernels import threads as pool

from .enrolled import BATCHED, EMBEDDED, ENROLLED, Arrays, D, Entry, N, bits, calls
from .test_arrays import changed

strict = pytest.importorskip("array_api_strict")

DEVICE = strict.Device("device1")
OTHER = strict.Device("device2")
HOST = strict.Device("CPU_DEVICE")

EVERY = pytest.mark.parametrize("entry", [*ENROLLED, *EMBEDDED], ids=str)


def on(device: Any, array: Any) -> Any:
    return strict.asarray(array, device=device)


def back(found: Any) -> Any:
    """What lies on the device, as NumPy's."""
    assert found.device == DEVICE
    return np.asarray(found.to_device(HOST))


def upstream(entry: Entry, arrays: Arrays, reduction: str) -> Any:
    shape = entry.value_shape(arrays) if reduction == "none" else ()
    return np.full(shape, 0.75, arrays[entry.first].dtype)


@EVERY
def test_everything_happens_on_the_device(entry: Entry) -> None:
    for arrays in changed(entry, entry.sample(12, "float32")).values():
        there = {name: on(DEVICE, array) for name, array in arrays.items()}
        theirs = calls(entry, arrays, backend="array")
        for (name, expected), (_, found) in zip(theirs, calls(entry, there, raw=True), strict=True):
            assert bits(expected) == bits(back(found)), name


@EVERY
def test_an_upstream_gradient_comes_from_the_device_too(entry: Entry) -> None:
    arrays = entry.sample(13)
    there = {name: on(DEVICE, array) for name, array in arrays.items()}
    for reduction in entry.reductions:
        given = upstream(entry, arrays, reduction)
        options = {**entry.options, "reduction": reduction, "wrt": entry.wrt}
        expected = entry.function.grad(**arrays, **options, grad_output=given, backend="array")
        found = entry.function.grad(**there, **options, grad_output=on(DEVICE, given))
        for one, other in zip(expected, found, strict=True):
            assert bits(one) == bits(back(other))
        with pytest.raises(TypeError, match=r"^grad_output: expected an array on .*device1.* like"):
            entry.function.grad(**there, **options, grad_output=on(OTHER, given))


@EVERY
def test_arrays_of_two_devices_are_refused(entry: Entry) -> None:
    arrays = entry.sample(14)
    there = {name: on(DEVICE, array) for name, array in arrays.items()}
    for name in [*arrays][1:]:
        message = rf"^{name}: expected an array on .*device1.* like \w+, got one on .*device2"
        with pytest.raises(TypeError, match=message):
            entry.function(**{**there, name: on(OTHER, arrays[name])}, **entry.options)


@EVERY
def test_lists_are_put_on_the_device(entry: Entry) -> None:
    arrays = entry.sample(15)
    lists = {name: array.tolist() for name, array in arrays.items() if name != entry.first}
    there = {entry.first: on(DEVICE, arrays[entry.first])}
    expected = entry.function(**arrays, **entry.options, backend="array")
    assert bits(expected) == bits(back(entry.function(**there, **lists, **entry.options)))


@pytest.mark.parametrize("mining", ["all", "hard", "semihard", "easy"])
@pytest.mark.parametrize("rows", [6, 1, 0])
def test_triplets_are_listed_on_the_device(mining: str, rows: int) -> None:
    rng = np.random.default_rng(16)
    x, y = rng.standard_normal((rows, 3)), rng.integers(0, 2, rows)
    expected = refloss.mine_triplets(x, y, mining=mining, backend="array")
    found = refloss.mine_triplets(on(DEVICE, x), on(DEVICE, y), mining=mining)
    assert [bits(one) for one in expected] == [bits(back(one)) for one in found]


def test_labels_and_weights_are_made_on_the_device() -> None:
    labels, masses = np.array([2, 0, 1]), np.array([[0.25, 0.75]])
    for target in (labels, masses):
        classes = 3 if target is labels else 2
        expected = refloss.smooth_labels(target, classes, 0.1, backend="array")
        found = refloss.smooth_labels(on(DEVICE, target), classes, 0.1)
        assert bits(expected) == bits(back(found))
    expected = refloss.class_balanced_weights(np.array([3, 0, 5]), backend="array")
    found = refloss.class_balanced_weights(on(DEVICE, np.array([3, 0, 5])))
    assert bits(expected) == bits(back(found))


def test_a_list_of_arrays_on_a_device_is_refused_by_name() -> None:
    class Elsewhere:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise TypeError("implicit conversion to a NumPy array is not allowed")

    with pytest.raises(TypeError, match=r"^target: expected numbers in the list: implicit conv"):
        refloss.mse_loss(np.ones(2), [Elsewhere(), Elsewhere()])


CONVERSIONS = ("__bool__", "__int__", "__float__", "__index__")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a number was fetched from a device, each time for a wait; by what it became."""
    found: Counter[str] = Counter()
    for name in CONVERSIONS:
        original = getattr(strict.asarray(0).__class__, name)

        def counted(self: Any, name: str = name, original: Any = original) -> Any:
            found[name] += 1
            return original(self)

        monkeypatch.setattr(strict.asarray(0).__class__, name, counted)
    return found


@pytest.mark.parametrize("entry", [*ENROLLED, *EMBEDDED], ids=str)
def test_few_numbers_are_fetched_however_many_there_are(entry: Entry, looks: Counter[str]) -> None:
    """A few for each argument; where triplets are mined a few for each anchor."""
    for n, d in ((N, D), (3 * N, 2 * D)):
        there = {name: on(DEVICE, array) for name, array in entry.sample(17, n=n, d=d).items()}
        looks.clear()
        entry.function.value_and_grad(**there, **entry.options)
        anchors = n if entry.loss == "batch_triplet_loss" else 0
        assert sum(looks.values()) <= 2 * len(entry.arrays) + 2 + 6 * anchors


LABELLED = [entry for entry in ENROLLED if entry.indices]


@pytest.mark.parametrize("entry", LABELLED, ids=str)
def test_labels_are_checked_by_one_flag(
    entry: Entry, looks: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing has been computed by then."""

    def not_reached(*_: Any) -> None:
        raise AssertionError("computed with a label that is no class")

    monkeypatch.setattr(Plan, "evaluate", not_reached)
    arrays = entry.sample(18, n=3 * N)
    arrays["target"][4, 1] = 7
    there = {name: on(DEVICE, array) for name, array in arrays.items()}
    only_labels = {name: there[name] for name in (entry.first, "target")}
    looks.clear()
    with pytest.raises(ValueError, match=r"^target: .*got 7 at index \(4, 1\)"):
        entry.function(**only_labels, **entry.options)
    flags = 2 if entry.loss == "cross_entropy_with_probs" else 1  # its input is checked as well
    assert looks["__bool__"] == flags
    assert looks["__int__"] == 2, "where the first of them is, and what"
    assert looks["__float__"] == 0


@pytest.mark.parametrize("entry", BATCHED, ids=str)
def test_work_on_a_device_stays_in_the_thread_of_the_caller(
    entry: Entry, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current device and stream of CuPy and torch are a thread's own."""
    monkeypatch.setattr(triplets, "ROOM", 64)
    arrays = entry.sample(19, n=300 if entry.loss != "batch_triplet_loss" else 100)
    there = {name: on(DEVICE, array) for name, array in arrays.items()}
    threads(2)
    entry.function.value_and_grad(**there, **entry.options)
    assert pool._pool is None
    entry.function.value_and_grad(**arrays, **entry.options)
    assert pool._pool is not None
