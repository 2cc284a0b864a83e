"""Class indices on the CPU: any integer dtype, an index to ignore, and what is wrong with them."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import refloss
from refloss.kernels.labels import IGNORED, MANY, Labels, marked, weight_of
from refloss.kernels.weights import FEW, ends_of

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
LOW, HIGH = -(2**63), 2**63 - 1
C, N = 5, 65


def logits(count: int = N, classes: int = C) -> Any:
    return np.random.default_rng(count).normal(size=(count, classes))


def labels(count: int = N) -> Any:
    return np.random.default_rng(count).integers(0, C, count)


@pytest.mark.parametrize("ignored", [-100, -1, 0, 3, C, LOW, HIGH, 2**63, -(2**63) - 1, 2**70])
def test_marks(ignored: int) -> None:
    """Against Python's own whole numbers, which have no width."""
    edges = [LOW, LOW + 1, -100, -2, -1, 0, 3, C - 1, C, C + 1, 2**31, 2**32 + 1, HIGH - 1, HIGH]
    array = np.array([*edges, *labels()]).reshape(1, -1)
    numbers = array.ravel().tolist()
    kept = [0 <= label < C and label != ignored for label in numbers]
    wrong = [not 0 <= label < C and label != ignored for label in numbers]
    found = marked(array, C, ignored)
    expected = [label if keep else IGNORED for label, keep in zip(numbers, kept, strict=True)]
    assert found.array.tolist() == [expected]
    assert (found.kept, found.wrong) == (sum(kept), sum(wrong))


def test_marks_of_no_labels() -> None:
    found = marked(np.empty((0, 3), np.int64), C, -100)
    assert found.array.shape == (0, 3)
    assert (found.kept, found.wrong) == (0, 0)


def test_labels_are_marked_in_a_copy() -> None:
    array = np.arange(C)
    array.flags.writeable = False
    found = marked(array, C, 2)
    assert found.array.tolist() == [0, 1, IGNORED, 3, 4]
    assert not np.shares_memory(found.array, array)


@pytest.mark.parametrize("ignored", [-100, C, 2**70])
def test_labels_that_all_count_are_taken_as_they_are(ignored: int) -> None:
    array = labels().reshape(5, -1)
    found = marked(array, C, ignored)
    assert found.array is array
    assert (found.kept, found.wrong) == (N, 0)
    for other in (array.astype(np.int32), array.T):
        copy = marked(other, C, ignored)
        assert copy.array.dtype == np.dtype(np.int64)
        assert copy.array.flags.c_contiguous
        assert copy.array.tolist() == other.tolist()
        assert (copy.kept, copy.wrong) == (N, 0)


def test_an_index_to_ignore_is_a_whole_number_whatever_the_labels() -> None:
    with pytest.raises(TypeError):
        marked(labels(), C, 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("spread", [1, 2**-14])
def test_weights_are_summed_in_full(dtype: str, spread: float) -> None:
    rng = np.random.default_rng(0)
    weights = (rng.uniform(size=C) * [1, spread, spread, spread, 1]).astype(dtype)
    array = np.where(labels() == 1, IGNORED, labels())
    exact = sum((Fraction(float(weights[label])) for label in array if label >= 0), Fraction(0))
    assert weight_of(array, weights) == float(exact)


def test_weights_of_many_labels_are_summed_in_full() -> None:
    rng = np.random.default_rng(1)
    weights, array = (
        rng.uniform(size=C) * 10.0 ** np.arange(0, -10, -2),
        rng.integers(-1, C, 2 * MANY + 7),
    )
    counts = np.bincount(array + 1, minlength=C + 1)[1:].tolist()
    exact = sum(k * Fraction(w) for k, w in zip(counts, weights.tolist(), strict=True))
    assert weight_of(array, weights) == float(exact)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("count", [1, 7, FEW, FEW + 1])
def test_the_ends_of_weights(dtype: str, count: int) -> None:
    weights = np.random.default_rng(count).normal(size=count).astype(dtype)
    assert ends_of(weights) == (weights.min(), weights.max())
    for place in (0, count // 2, count - 1):
        for odd in (math.inf, -math.inf, math.nan):
            one = weights.copy()
            one[place] = odd
            np.testing.assert_equal(ends_of(one), (one.min(), one.max()))
    np.testing.assert_equal(ends_of(weights[:0]), (math.nan, math.nan))


@pytest.mark.parametrize(
    ("weights", "total"),
    [([1e308, 1e308], math.inf), ([math.inf, 1.0], math.inf), ([math.nan, 1.0], math.nan)],
)
def test_weights_without_a_finite_sum(weights: list[float], total: float) -> None:
    found = weight_of(np.array([0, 1, 0, IGNORED]), np.array(weights))
    np.testing.assert_equal(found, total)


def test_a_weight_is_never_read_before_the_first() -> None:
    """A label of -1 would be the last class's, to NumPy."""
    assert weight_of(np.array([IGNORED, IGNORED]), np.array([1.0, math.nan])) == 0


@pytest.mark.parametrize("classes", [3, 1000, 20_000])
@pytest.mark.parametrize("count", [4, 40])
def test_labels_that_change_after_they_were_looked_at_are_no_classes(
    monkeypatch: pytest.MonkeyPatch, classes: int, count: int
) -> None:
    """Somebody else's thread may write them: nothing beyond an array is touched."""
    x, array = logits(count, classes), np.zeros(count, np.int64)
    changed = array.copy()
    changed[1:4] = classes, HIGH, -7
    ignored = array.copy()
    ignored[1:4] = IGNORED
    options: dict[str, Any] = {"weight": np.ones(classes), "reduction": "sum"}
    expected = refloss.cross_entropy.value_and_grad(x, ignored, ignore_index=-1, **options)

    def looked_at(*_: Any) -> Labels:
        return Labels(changed, count, 0)

    monkeypatch.setattr("refloss.kernels.labels.marked", looked_at)
    for _ in range(3):
        found = refloss.cross_entropy.value_and_grad(x, array, ignore_index=-1, **options)
        for one, other in zip(found, expected, strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    assert weight_of(changed, np.ones(classes)) == count - 3


# Through a loss


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("order", "<>")
def test_labels_of_any_integer_dtype(dtype: str, order: str) -> None:
    x, target = logits(), labels()
    given = target.astype(np.dtype(dtype).newbyteorder(order))
    expected = refloss.cross_entropy.value_and_grad(x, target, ignore_index=3)
    for _ in range(2):
        found = refloss.cross_entropy.value_and_grad(x, given, ignore_index=3)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("ignored", [-100, 0, C - 1])
def test_rows_that_are_ignored_are_as_if_not_there(ignored: int) -> None:
    x = logits()
    target = np.where(labels() == 1, ignored, labels())
    there = target != ignored
    x[~there, 2] = np.nan
    value, gradient = refloss.cross_entropy.value_and_grad(x, target, ignore_index=ignored)
    alone = refloss.cross_entropy.value_and_grad(x[there], target[there])
    np.testing.assert_allclose(value, alone[0], rtol=4 * np.finfo(float).eps)
    np.testing.assert_array_equal(gradient[there], alone[1])
    assert not gradient[~there].any()


@pytest.mark.parametrize("weighted", [False, True])
def test_all_rows_are_ignored(weighted: bool) -> None:
    x, target = logits(), np.full(N, -100)
    options = {"weight": np.arange(1.0, C + 1)} if weighted else {}
    for reduction, expected in (("sum", 0.0), ("mean", math.nan), ("none", np.zeros(N))):
        value, gradient = refloss.cross_entropy.value_and_grad(
            x, target, reduction=reduction, **options
        )
        np.testing.assert_array_equal(value, expected)
        assert not gradient.any()


@pytest.mark.parametrize("classes", [C, 70])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_wrong_label_is_named_wherever_it_is(classes: int, weighted: bool) -> None:
    """The first of them, if there are several."""
    x, right = logits(N, classes), labels()
    options = {"weight": np.ones(classes)} if weighted else {}
    for place in range(N):
        for wrong in (classes, -1, HIGH, LOW):
            target = right.copy()
            target[place] = target[-1] = wrong
            with pytest.raises(ValueError, match=rf", got {wrong} at index \({place},\)"):
                refloss.cross_entropy(x, target, **options)


def test_a_wrong_label_among_positions() -> None:
    x = np.zeros((2, 3, 4))
    target = np.zeros((2, 4), int)
    target[1, 2] = 3
    with pytest.raises(ValueError, match=r"in \[0, 3\) or ignore_index \(-100\), got 3 at index"):
        refloss.cross_entropy(x, target)
    with pytest.raises(ValueError, match=r"got 3 at index \(1, 2\)"):
        refloss.cross_entropy(x, target)


@pytest.mark.parametrize(("dtype", "wrong"), [("int8", -1), ("uint8", 255), ("uint64", 2**64 - 1)])
def test_a_wrong_label_of_another_dtype(dtype: str, wrong: int) -> None:
    target = labels().astype(dtype)
    target[7] = np.array(wrong).astype(dtype)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"target: .*, got {wrong} at index \(7,\)"):
            refloss.cross_entropy(logits(), target)
        with pytest.raises(ValueError, match=r"target: "):  # 2^64 - 1 is not -1, nor 255
            refloss.cross_entropy(logits(), target, ignore_index=-100 if dtype == "int8" else -1)


@pytest.mark.parametrize("ignored", [2**63, 2**64 - 1, -(2**63) - 1, 2**70])
def test_an_index_that_no_label_can_be(ignored: int) -> None:
    x, target = logits(), labels()
    expected = refloss.cross_entropy(x, target)
    for _ in range(2):
        assert refloss.cross_entropy(x, target, ignore_index=ignored) == expected
    target[5] = -1  # 2^64 - 1 in as many bits
    for _ in range(2):
        with pytest.raises(ValueError, match=r"got -1 at index \(5,\)"):
            refloss.cross_entropy(x, target, ignore_index=ignored)
