"""A call that was made before, or nearly: what came earlier changes no answer and no error."""

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

import refloss
from refloss import repeated
from refloss.arguments import PIECE
from refloss.loss import Loss

from .enrolled import bits

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(0.1, 0.9, (2, 6, 4))
WRONG = np.where(np.arange(24).reshape(6, 4) == 13, -0.5, X)
SIGNS = np.where(X > 0.5, 1, -1)
LABELS = np.array([0, 3, 1, 2, 2, 0])


class Tagged(np.ndarray[Any, Any]):
    """An array that somebody else has made something of."""


class Length(float):
    """A number with a meaning."""


def forgetful(loss: Any) -> Any:
    """The same loss, which has not been called yet."""
    return Loss(loss._plan, loss.promise)


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What comes of a call, to the bit, or its error."""
    try:
        found = call(*args, **kwargs)
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    parts = found if isinstance(found, tuple) else (found,)
    return [(type(part), np.shape(part), bits(part)) for part in parts]


def unaligned(x: Any) -> Any:
    view = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def read_only(x: Any) -> Any:
    x = x.copy()
    x.flags.writeable = False
    return x


def arguments(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


# Neighbours of (6, 4) arrays of float64, which are told from them by one thing each
SHIFTED = np.concatenate([X, Y[:1]])
ARRAYS = [
    arguments(X, Y),
    arguments(Y, X),
    arguments(X, X),
    arguments(X, X[:]),
    arguments(X + 0.25, Y),
    arguments(input=X, target=Y),
    arguments(target=X, input=Y),
    arguments(X, target=Y),
    arguments(SHIFTED[:-1], SHIFTED[1:]),
    arguments(X.T, Y.T),
    arguments(X.T.copy(), Y.T.copy()),
    arguments(X.reshape(3, 8), Y.reshape(3, 8)),
    arguments(X.ravel(), Y.ravel()),
    arguments(X[::-1], Y),
    arguments(X, np.asfortranarray(Y)),
    arguments(X, unaligned(Y)),
    arguments(read_only(X), read_only(Y)),
    arguments(X.astype(">f8"), Y),
    arguments(X, Y.astype(">f8")),
    arguments(X.astype(">f8"), Y.astype(">f8")),
    arguments(X.astype("float32"), Y.astype("float32")),
    arguments(X.astype("float32"), Y),
    arguments(X, Y.tolist()),
    arguments(X.tolist(), Y.tolist()),
    arguments(X.view(Tagged), Y),
    arguments(X, Y.view(np.matrix)),
    arguments(X, np.ma.masked_array(Y, Y > 0.5)),
    arguments(X, SIGNS),
    arguments(X, X > 0.5),
    arguments(X, Y[:5]),
    arguments(X[0, 0], Y[0, 0]),
    arguments(np.array(0.5), np.array(0.25)),
    arguments(0.5, 0.25),
    arguments(X[:0], Y[:0]),
    arguments(X * np.nan, Y),
    arguments(X, Y, reduction="sum"),
    arguments(X, Y, "sum"),
    arguments(X, Y, "none"),
    arguments(X, Y, "all"),
    arguments(X, Y, None),
    arguments(X, Y, backend="array"),
    arguments(X, Y, backend="none"),
    arguments(X, Y, weight=Y),
    arguments(X, Y, weight=WRONG),
    arguments(X, Y, weight=2.0),
    arguments(X, Y, weight=None),
    arguments(X, Y, depth=3),
    arguments(X),
]

BY_LABELS = [
    arguments(X, LABELS),
    arguments(Y, LABELS),
    arguments(X, LABELS[::-1].copy()),
    arguments(X, np.where(LABELS == 2, 4, LABELS)),
    arguments(X, np.where(LABELS == 2, -1, LABELS)),
    arguments(X, np.where(LABELS == 2, -100, LABELS)),
    arguments(X, np.full(6, -100)),
    arguments(X, LABELS[::-1]),
    arguments(X, LABELS.astype("int8")),
    arguments(X, LABELS.astype(">i8")),
    arguments(X, LABELS.astype("uint64")),
    arguments(X, LABELS.tolist()),
    arguments(X, LABELS[:5]),
    arguments(X, LABELS.astype("float64")),
    arguments(X[0], LABELS[1]),
    arguments(X[0], np.array(1)),
    arguments(X[0], np.array(2)),
    arguments(X.reshape(6, 4, 1), LABELS.reshape(6, 1)),
    arguments(X.reshape(3, 4, 2), LABELS.reshape(3, 2)),
    arguments(X, Y),
    arguments(X, X),
    arguments(X.T, LABELS[:4]),
    *(
        arguments(X, LABELS, ignore_index=one)
        for one in (0, 1, -1, np.int64(0), np.array(0), np.array(1), True, 0.0, None, 2**70)
    ),
    arguments(X, LABELS, weight=Y[0]),
    arguments(X, LABELS, weight=Y[1]),
    arguments(X, LABELS, reduction="none"),
]

WEIGHTED = [
    *(
        arguments(X, LABELS, weight=one)
        for one in (
            Y[0],
            Y[1],
            -Y[0],
            Y[0] * np.nan,
            np.zeros(4),
            Y[0].astype("f4"),
            Y[:1],
            Y[0, :3],
        )
    ),
    arguments(X, LABELS, weight=Y[0].tolist()),
    arguments(X, np.where(LABELS == 2, -100, LABELS), weight=Y[0]),
    arguments(X, np.full(6, -100), weight=Y[0]),
    arguments(X, LABELS, weight=Y[0], label_smoothing=0.25),
    arguments(X, LABELS, weight=Y[0], reduction="sum"),
    arguments(X, Y, weight=Y[0]),
    arguments(X, Y, weight=X[0]),
    *(arguments(X.astype("f4"), LABELS, weight=one) for one in (Y[0], Y[0] * 1e250, Y[1])),
    *(arguments(X.astype("f2"), LABELS, weight=one) for one in (Y[0], Y[1].astype("f2"))),
]
SMOOTHED = [
    arguments(X, LABELS, label_smoothing=one)
    for one in (0, 0.0, False, 0.25, np.float32(0.25), Length(0.25), np.array(0.25), np.array(0.5))
]
DELTAS = [
    arguments(X, Y - 4, delta=one)
    for one in (1, 1.0, True, 2.0, np.float64(2), Length(3.0), np.array(2.0), np.array(3.0), "1")
] + [
    arguments(X, Y - 4, delta=one) for one in (Fraction(1, 2), float("nan"), float("inf"), -1.0, 0)
]
BY_PROBABILITIES = [
    arguments(X, Y),
    arguments(WRONG, Y),
    arguments(X, WRONG),
    arguments(Y, WRONG),
    arguments(X, X),
    arguments(WRONG, WRONG),
    arguments(X + 0.5, Y),
]
BY_SIGNS = [
    arguments(X, Y, SIGNS),
    arguments(Y, X, SIGNS),
    arguments(X, Y, -SIGNS),
    arguments(X, Y, SIGNS * 2),
    arguments(X, Y, SIGNS.astype("float64")),
    arguments(X, Y, SIGNS.astype("float64") / 2),
    arguments(X, Y, SIGNS > 0),
    arguments(X, Y, np.ones(X.shape, bool)),
    arguments(X, Y, SIGNS.tolist()),
    arguments(X, Y, SIGNS.astype("int8")),
    arguments(X, Y, SIGNS, 0.0),
    arguments(X, Y, SIGNS, 0.5),
    arguments(X, Y, SIGNS, margin=0.5),
    arguments(X, Y, SIGNS, True),
    arguments(X, X, SIGNS),
]
BY_POSITIVES = [
    arguments(X, Y, pos_weight=one)
    for one in (None, 1.0, 2.0, 2, Y, X, WRONG, Y[0], Y[:1], np.array(2.0), np.array(3.0), -1.0)
]
Z = RNG.uniform(0.1, 0.9, (6, 4))
TRIPLETS = [
    arguments(X, Y, Z),
    arguments(X, Z, Y),
    arguments(X, X, Y),
    arguments(X, Y, X),
    arguments(X, Y, Y),
    arguments(X, Y, Z, swap=True),
    arguments(X, Y, Z, swap=np.True_),
    arguments(X, Y, Z, swap=1),
    *(arguments(X, Y, Z, p=one) for one in (1, 1.0, float("inf"), np.array(1.0), np.array(2.0), 0)),
    *(arguments(X, Y, Z, 2.0, 2.0, one) for one in (0.0, 0.5, np.array(0.5), np.array(0.25), -1)),
    arguments(X.reshape(3, 2, 4), Y.reshape(3, 2, 4), Z.reshape(3, 2, 4), reduction="none"),
    arguments(X.reshape(2, 3, 4), Y.reshape(2, 3, 4), Z.reshape(2, 3, 4), reduction="none"),
]

NEIGHBOURS = [
    ("mse_loss", ARRAYS),
    ("cross_entropy", BY_LABELS),
    ("cross_entropy", WEIGHTED),
    ("cross_entropy", SMOOTHED),
    ("huber_loss", DELTAS),
    ("binary_cross_entropy", BY_PROBABILITIES),
    ("margin_ranking_loss", BY_SIGNS),
    ("binary_cross_entropy_with_logits", BY_POSITIVES),
    ("triplet_margin_loss", TRIPLETS),
]


@pytest.mark.parametrize(
    ("name", "calls"), NEIGHBOURS, ids=[f"{name}-{len(calls)}" for name, calls in NEIGHBOURS]
)
def test_no_call_is_taken_for_another(name: str, calls: Any) -> None:
    loss = getattr(refloss, name)
    expected = [outcome(forgetful(loss).value_and_grad, *args, **kwargs) for args, kwargs in calls]
    assert len({str(one) for one in expected}) > len(calls) // 3  # they can be told apart
    remembered = 0
    for first, second in product(range(len(calls)), repeat=2):
        asked = forgetful(loss)
        for number in (first, second, first):
            args, kwargs = calls[number]
            found = outcome(asked.value_and_grad, *args, **kwargs)
            assert found == expected[number], f"call {number} of {first}, {second}"
        remembered += any(again is not None for again in asked._again.values())
    assert remembered


def test_no_question_is_taken_for_another() -> None:
    questions: list[Callable[[Any], Any]] = [
        lambda f: f(X, Y),
        lambda f: f.value_and_grad(X, Y),
        lambda f: f.grad(X, Y),
        lambda f: f.grad(X, Y, wrt="input"),
        lambda f: f.grad(X, Y, wrt="target"),
        lambda f: f.grad(X, Y, wrt=["target"]),
        lambda f: f.grad(X, Y, wrt=("target", "input")),
        lambda f: f.grad(X, Y, wrt=("input", "target")),
        lambda f: f.grad(X, Y, wrt="weight"),
        lambda f: f.grad(X, Y, wrt=3),
        lambda f: f.grad(X, Y, grad_output=2.0),
        lambda f: f.grad(X, Y, grad_output=np.array(3.0)),
        lambda f: f.grad(X, Y, grad_output=Y),
        lambda f: f.hessian_diag(X, Y),
        lambda f: f.hessian_diag(X, Y, wrt="target"),
        lambda f: f.grad_and_hessian_diag(X, Y),
        lambda f: f.grad_and_hessian_diag(X, Y, wrt=("target", "input")),
    ]
    expected = [outcome(ask, forgetful(refloss.kl_div)) for ask in questions]
    for first, second in product(range(len(questions)), repeat=2):
        loss = forgetful(refloss.kl_div)
        for number in (first, second, first):
            assert outcome(questions[number], loss) == expected[number], (first, second)


@pytest.mark.parametrize("place", range(6))
def test_a_label_goes_wrong(place: int) -> None:
    """In place, after the call has been remembered; and it is as good as before when it is right
    again."""
    target = LABELS.copy()
    expected = [refloss.cross_entropy(X, target) for _ in range(2)]
    right = target[place]
    for wrong in (-1, 4, -(2**63), 2**63 - 1):
        target[place] = wrong
        with pytest.raises(ValueError, match=rf"target: .*got {wrong} at index \({place},\)"):
            refloss.cross_entropy(X, target)
        target[place] = right
        assert refloss.cross_entropy(X, target) == expected[0] == expected[1]


@pytest.mark.parametrize("name", ["input", "target"])
def test_a_probability_goes_wrong(name: str) -> None:
    given = {"input": X.copy(), "target": Y.copy()}
    expected = [refloss.binary_cross_entropy(**given) for _ in range(2)]
    for wrong in (1.5, -1e-300, np.inf):
        given[name][2, 3] = wrong
        with pytest.raises(ValueError, match=rf"{name}: .*got {wrong} at index \(2, 3\)"):
            refloss.binary_cross_entropy(**given)
    given[name][2, 3] = {"input": X, "target": Y}[name][2, 3]
    assert refloss.binary_cross_entropy(**given) == expected[0] == expected[1]


@pytest.mark.parametrize("place", [0, PIECE - 1, PIECE, 2 * PIECE + 4])
def test_the_first_wrong_entry_of_a_large_array_is_named(place: int) -> None:
    """Which is looked at piece by piece, and by several threads."""
    x = np.full((1, 2 * PIECE + 5), 0.5)
    expected = [refloss.binary_cross_entropy(x, x) for _ in range(2)]
    wrong = x.copy()
    wrong[0, place] = wrong[0, -1] = 1.5
    for given in (wrong, np.repeat(wrong, 2, axis=0)[::2], np.asfortranarray(wrong)):
        for _ in range(2):
            with pytest.raises(ValueError, match=rf"target: .*got 1.5 at index \(0, {place}\)"):
                refloss.binary_cross_entropy(x, given)
    assert refloss.binary_cross_entropy(x, x.copy()) == expected[0] == expected[1]


def test_arrays_are_read_anew() -> None:
    """Changed in place, and swapped."""
    loss, x, y = forgetful(refloss.mse_loss), X.copy(), Y.copy()
    for _ in range(3):
        assert outcome(loss, x, y) == outcome(forgetful(loss), x, y)
        assert outcome(loss.grad, x, y) == outcome(forgetful(loss).grad, x, y)
        x, y = y, x
        x *= 2


def test_answers_are_the_callers_own() -> None:
    """They share no memory with each other, with arguments or with what the loss remembers."""
    given = X.copy(), LABELS.copy()
    kept = [refloss.cross_entropy.value_and_grad(*given, reduction="none") for _ in range(3)]
    arrays = [array for pair in kept for array in pair] + list(given)
    for k, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[:k])
    before = [array.copy() for array in kept[0]]
    for value, gradient in kept:
        value[...], gradient[...] = 7, 7
    after = refloss.cross_entropy.value_and_grad(*given, reduction="none")
    for one, other in zip(after, before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_arguments_are_not_kept() -> None:
    loss = forgetful(refloss.binary_cross_entropy_with_logits)
    x, y = X.copy(), Y.copy()
    for _ in range(3):
        loss.value_and_grad(x, y, pos_weight=2.0)
    watched = [weakref.ref(x), weakref.ref(y)]
    del x, y
    gc.collect()
    assert [one() for one in watched] == [None, None]
    assert outcome(loss, X, Y) == outcome(forgetful(loss), X, Y)


def test_not_everything_is_remembered() -> None:
    loss = forgetful(refloss.mse_loss)
    numbers = np.zeros(3 * repeated.MOST)
    for count in range(3 * repeated.MOST):
        loss(numbers[:count], numbers[:count].copy())
        assert len(loss._again) <= repeated.MOST
    for _ in range(3 * repeated.MOST):
        with pytest.raises(ValueError, match="delta"):
            refloss.huber_loss(numbers, numbers, delta=float("nan"))
    assert len(refloss.huber_loss._again) <= repeated.MOST


def test_a_loss_that_was_called_is_copied_and_pickled() -> None:
    for _ in range(2):
        refloss.cross_entropy(X, LABELS)
    for again in (
        copy.copy(refloss.cross_entropy),
        copy.deepcopy(refloss.cross_entropy),
        pickle.loads(pickle.dumps(refloss.cross_entropy)),
    ):
        assert again is refloss.cross_entropy


def test_callers_at_once() -> None:
    """Each gets its own answers, while others call the same loss with neighbours."""
    loss = forgetful(refloss.cross_entropy)
    calls = [(one * X, np.roll(LABELS, k)) for k, one in enumerate((1.0, 2.0, -3.0, 4.0))]
    expected = [outcome(forgetful(loss).grad, *call) for call in calls]
    wrong: list[int] = []
    start = threading.Barrier(len(calls))

    def ask(number: int) -> None:
        start.wait()
        found = [outcome(loss.grad, *calls[number]) for _ in range(300)]
        wrong.extend(number for one in found if one != expected[number])

    callers = [threading.Thread(target=ask, args=(number,)) for number in range(len(calls))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
    assert len(set(map(str, expected))) == len(calls)
