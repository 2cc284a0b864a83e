"""Pairs of float32: how near they come, and the rows that they leave to float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import refloss
from refloss import vectorised
from refloss.accuracy import Truth, ulp_error
from refloss.formula.paired import FADED, PAIRED, REACH, Pair, Pairs, reader
from refloss.kernels.address import address_of
from refloss.kernels.simd.rows import NARROW, PART, lanes_of
from refloss.kernels.simd.writing import Body, Stored, kernel

from .test_simd import Surrounded, answers, same, surrounded

__all__ = ["surrounded"]  # a fixture

LOSS = refloss.cross_entropy
LANES = lanes_of(PAIRED)


def of_pairs(formula: Callable[..., Any], *arrays: Any) -> tuple[Any, Any]:
    """What a formula makes of numbers of float32: a pair, of which the first is rounded."""

    def write(builder: Any, values: Any) -> None:
        body, (*given, high, low) = Body(builder, PAIRED, LANES), values
        code, none = Pairs(body.code), body.whole(0)
        pairs = [code.exact(body.raw(Stored(x, "float32"), none, LANES)) for x in given]
        found = reader(code, body.words)(formula)(*pairs)
        body.put_raw(Stored(high, "float32"), none, found.multiplied().high.value)
        rest = code.parts.number(0) if found.low is None else found.multiplied().low
        body.put_raw(Stored(low, "float32"), none, code.parts.spread(rest.value))

    high, low = np.zeros((2, LANES), np.float32)
    kernel(write, (formula, write))(*map(address_of, (*arrays, high, low)))
    return high.astype(np.float64), low.astype(np.float64)


def three_terms(x: Any, y: Any, z: Any) -> Any:
    return x * y + z


def difference(x: Any, y: Any, z: Any) -> Any:
    return x - y


def square_of_a_sum(x: Any, y: Any, z: Any) -> Any:
    return (x + y) * (x + y) * 3


@pytest.mark.parametrize(
    ("formula", "terms"),
    [
        (three_terms, lambda x, y, z: (x * y, z)),
        (difference, lambda x, y, z: (x, -y)),
        (square_of_a_sum, lambda x, y, z: (3 * x * x, 6 * x * y, 3 * y * y)),
    ],
)
def test_arithmetic_has_twice_the_digits(formula: Any, terms: Any) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        x, y, z = rng.normal(size=(3, LANES)).astype(np.float32)
        high, low = of_pairs(formula, x, y, z)
        parts = np.array(terms(*(a.astype(np.longdouble) for a in (x, y, z))))
        error = np.abs((high + low) - parts.sum(axis=0))
        assert (error <= 2**-43 * np.abs(parts).max(axis=0)).all()


def test_an_exponential_has_digits_to_spare() -> None:
    """A quarter of an ulp of float32, and 0 from some gap on; a NaN stays one."""

    def write(builder: Any, values: Any) -> None:
        body, (logits, top, found) = Body(builder, PAIRED, LANES), values
        code, none = Pairs(body.code), body.whole(0)
        code.refer_to(body.one(Stored(top, "float64"), none))
        z = code.exact(body.raw(Stored(logits, "float32"), none, LANES))
        gap = Pair(code, z.high)
        gap.logit = z.high
        body.put(Stored(found, "float64"), none, code.fading(gap).wide())

    run, rng = kernel(write, ("fading", write)), np.random.default_rng(4)
    worst = 0.0
    for scale in (0.01, 1, 10, 80, FADED):
        for reach in (0.0, 10.0, REACH - FADED):
            for _ in range(40):
                top = np.array([np.float32(rng.uniform(-reach, reach))], np.float64)
                z = (top - rng.uniform(0, scale, LANES)).astype(np.float32)
                z[0], found = top[0], np.empty(LANES)
                run(address_of(z), address_of(top), address_of(found))
                gap = top.astype(np.longdouble) - z
                there = gap < FADED - 1
                worst = max(worst, float(np.abs(found * np.exp(gap) - 1)[there].max()))
                assert abs(found[0] - 1) <= 2**-52
    assert worst < 2**-26
    z = np.array([np.nan, -np.inf, -1e9, *[-FADED - 1] * (LANES - 3)], np.float32)
    top, found = np.zeros(1), np.empty(LANES)
    run(address_of(z), address_of(top), address_of(found))
    assert np.isnan(found[0])
    assert not found[1:].any()


def test_what_has_no_reading_in_pairs_is_refused() -> None:
    def divided(x: Any, y: Any, z: Any) -> Any:
        return x / y

    with pytest.raises(TypeError, match="divided by nothing but a number of its row"):
        of_pairs(divided, *np.ones((3, LANES), np.float32))


# Rows

CLASSES = (2, 17, NARROW, NARROW + 1, PART + 3, 2 * PART + 17)


def targets(kind: str, rng: Any, count: int, classes: int) -> tuple[Any, dict[str, Any]]:
    weight = rng.uniform(0.5, 2, classes).astype(np.float32)
    soft = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    labels = rng.integers(0, classes, count)
    labels[::7] = -100
    return {
        "labels": (labels, {}),
        "weighted": (labels, {"weight": weight}),
        "smoothed": (labels, {"label_smoothing": 0.1}),
        "weighted and smoothed": (labels, {"weight": weight, "label_smoothing": 0.1}),
        "soft": (soft, {}),
        "soft and weighted": (soft, {"weight": weight, "label_smoothing": 0.25}),
    }[kind]


KINDS = ("labels", "weighted", "smoothed", "weighted and smoothed", "soft", "soft and weighted")


def masses(target: Any, classes: int, weight: Any = 1.0, label_smoothing: float = 0.0) -> Any:
    if target.ndim == 1:
        target = np.where(target[:, None] >= 0, target[:, None] == np.arange(classes), 0.0)
    smoothed = (1 - label_smoothing) * target.astype(np.float64) + label_smoothing / classes
    return weight * smoothed


def widened(*arrays: Any) -> tuple[Any, ...]:
    """The same numbers in float64, and labels as they are."""
    return tuple(x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays)


def wide(options: dict[str, Any]) -> dict[str, Any]:
    return {n: widened(x)[0] if isinstance(x, np.ndarray) else x for n, x in options.items()}


def gradient_terms(x: Any, target: Any, **options: Any) -> Any:
    """The larger of the two terms of each class that a gradient's error is measured by."""
    mass = masses(target, x.shape[1], **wide(options))
    p = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    terms = np.maximum(p * (mass.sum(axis=1, keepdims=True) - mass), mass * (1 - p))
    return terms if target.ndim > 1 else np.where(target[:, None] >= 0, terms, 0)


def kept_within(found: Any, true: Any, size: Any) -> None:
    """Assert the promise in ulps of a size."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(true).astype(np.float32)
        ulp = np.spacing(np.maximum(size, np.finfo(np.float32).tiny).astype(np.float32))
    there = np.isfinite(rounded)
    np.testing.assert_array_equal(found[~there], rounded[~there])
    assert (np.abs(found - true)[there] <= LOSS.promise.float32 * ulp[there]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", CLASSES)
def test_rows_keep_the_promise_in_pairs(kind: str, classes: int) -> None:
    """Also where p and the target cancel, in ulps of the larger term."""
    rng = np.random.default_rng(classes)
    x = rng.normal(scale=[[[0.01]], [[4]], [[20]]], size=(3, 7, classes)).reshape(21, -1)
    x = x.astype(np.float32)
    target, options = targets(kind, rng, 21, classes)
    truths = LOSS.value_and_grad(*widened(x, target), **wide(options), reduction="none")
    value, gradient = answers(LOSS, x, target, **options)
    assert ulp_error(value, Truth.of(truths[0]), "float32").max() <= LOSS.promise.float32
    kept_within(gradient, truths[1], gradient_terms(x, target, **options))
    if target.ndim == 1:
        assert not gradient[target < 0].any()


def unusual_rows(classes: int) -> Any:
    """Rows that have an infinity, a NaN, or a probability too near 0 or 1, between others."""
    x = np.random.default_rng(classes).normal(size=(40, classes)).astype(np.float32)
    for row, (place, special) in {
        3: (0, np.inf),
        4: (slice(None), -np.inf),
        8: (1, np.nan),
        9: (0, 1e6),
        10: (0, -np.inf),
        11: (slice(None), -5000.0),
        20: (1, 90.0),
        21: (0, 3e38),
        38: (slice(0, 2), np.inf),
    }.items():
        x[row, place] = special
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 19, NARROW + 5])
def test_unusual_rows_are_done_again_in_doubles(
    kind: str, classes: int, surrounded: Surrounded
) -> None:
    """As float64 has them; the others stay what they are without them, to the bit."""
    x = unusual_rows(classes)
    target, options = targets(kind, np.random.default_rng(1), len(x), classes)
    found = answers(LOSS, x, target, **options)
    truths = LOSS.value_and_grad(*widened(x, target), **wide(options), reduction="none")
    value = ulp_error(found[0], Truth.of(truths[0]), "float32")
    assert value.max() <= LOSS.promise.float32
    np.testing.assert_array_equal(np.isnan(found[1]), np.isnan(truths[1]))
    there = np.isfinite(x).all(axis=1) & (np.abs(x).max(axis=1) < 1e30)
    size = gradient_terms(x[there], target[there], **options)
    kept_within(found[1][there], truths[1][there], size)
    usual = np.isfinite(x).all(axis=1) & (np.abs(x).max(axis=1) < 50)
    alone = answers(LOSS, x[usual], target[usual], **options)
    same(found[0][usual], alone[0])
    same(found[1][usual], alone[1])
    total = LOSS(x[usual | (np.arange(len(x)) == 20)], target[usual | (np.arange(len(x)) == 20)],
                 **options, reduction="sum")  # fmt: skip
    each = np.concatenate([truths[0][usual], truths[0][20:21]])
    assert abs(total - math.fsum(each)) <= LOSS.promise.float32 * np.spacing(np.float32(total))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows that are done again."""
    found: list[Any] = []
    again = vectorised.RowRun._again

    def noticed(self: Any, places: Any, *arrays: Any) -> Any:
        found.extend(places)
        return again(self, places, *arrays)

    monkeypatch.setattr(vectorised.RowRun, "_again", noticed)
    return found


@pytest.mark.parametrize("gap", [30.0, 80.0, 97.0, 103.0, 110.0, 140.0])
@pytest.mark.parametrize("classes", [2, 20, NARROW + 5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_confident_rows_are_usual(
    smoothing: float, classes: int, gap: float, done: list[Any]
) -> None:
    """Also where all but one class have a probability below the normal numbers, or none."""
    rng = np.random.default_rng(classes)
    x = rng.normal(size=(50, classes)).astype(np.float32)
    x[np.arange(50), rng.integers(0, classes, 50)] += gap
    target = rng.integers(0, classes, 50)
    for method in ("__call__", "grad"):
        asked = getattr(LOSS, method)
        given = {"label_smoothing": smoothing, "reduction": "none"}
        found, true = (asked(z, target, **given) for z in (x, *widened(x)))
        kept_within(found, true, np.abs(true))
    assert not done


def test_only_what_is_unusual_is_done_again(done: list[Any]) -> None:
    x = unusual_rows(19)
    LOSS.value_and_grad(x, np.zeros(len(x), int))
    assert set(done) == {3, 4, 8, 9, 11, 21, 38}


@pytest.mark.parametrize("upstream", [1e-38, 1e-12, -1e7, 1e9, 1e18, 1e30, 3e38])
@pytest.mark.parametrize("classes", [3, NARROW + 5])
@pytest.mark.parametrize("kind", KINDS)
def test_upstream_gradients_of_any_size(kind: str, classes: int, upstream: float) -> None:
    """Also where a probability fades that the factor would lift again."""
    rng = np.random.default_rng(classes)
    x = rng.normal(scale=3, size=(9, classes)).astype(np.float32)
    x[:, 1], x[::3, 1] = -130.5, 0
    target, options = targets(kind, rng, 9, classes)
    grad_output = np.full(9, upstream, np.float32)
    grad_output[::2] = 1
    given = {"reduction": "none", **options}
    found = LOSS.grad(x, target, grad_output=grad_output, **given)
    true = LOSS.grad(*widened(x, target), grad_output=widened(grad_output)[0], **wide(given))
    size = gradient_terms(x, target, **options) * np.abs(grad_output[:, None].astype(np.float64))
    kept_within(found, true, size)


def test_one_number_upstream_of_one_unusual_row() -> None:
    x = np.array([[5000, 0]], np.float32)
    found = LOSS.grad(x, np.array([1]), reduction="sum", grad_output=2.0)
    np.testing.assert_array_equal(found, [[2, -2]])


@pytest.mark.parametrize("classes", [2, 100, NARROW, 2048, PART, 2 * PART])
def test_sums_of_many_that_are_alike(classes: int) -> None:
    """What each loses is lost in one direction."""
    rng = np.random.default_rng(classes)
    for spread in (0, 1e-3, 1e-1):
        x = rng.uniform(-500, 500, (4, 1)) + rng.normal(size=(4, classes)) * spread
        x[:, 0] += rng.uniform(0, 3, 4)
        x = x.astype(np.float32)
        for method in ("__call__", "grad", "hessian_diag"):
            asked = getattr(LOSS, method)
            found, true = (asked(z, np.zeros(4, int), reduction="none") for z in (x, *widened(x)))
            assert ulp_error(found, Truth.of(true), "float32").max() <= LOSS.promise.float32


@pytest.mark.parametrize("classes", [2, 100, NARROW + 5])
@pytest.mark.parametrize("special", [-np.inf, -3.4e38, -1e9, 0.0])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_does_not_depend_on_what_else_is_asked(
    kind: str, special: float, classes: int
) -> None:
    """Nor on how many rows there are, which decides what else is made."""
    rng = np.random.default_rng(classes)
    x = rng.normal(scale=4, size=(20, classes)).astype(np.float32)
    x[::2, -1] = special
    target, options = targets(kind, rng, 20, classes)
    options = {**options, "reduction": "none"}
    value, gradient = LOSS(x, target, **options), LOSS.grad(x, target, **options)
    both, second = (
        getattr(LOSS, method)(x, target, **options)
        for method in ("value_and_grad", "grad_and_hessian_diag")
    )
    curvature = LOSS.hessian_diag(x, target, **options)
    for found, expected in zip(
        (*both, *second), (value, gradient, gradient, curvature), strict=True
    ):
        same(found, expected)
    for k in range(20):
        row = x[k : k + 1], target[k : k + 1]
        same(LOSS(*row, **options), value[k : k + 1])
        same(LOSS.grad(*row, **options), gradient[k : k + 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("weight", [None, [1, 0, 2]])
@pytest.mark.parametrize("target", [[0.5, 0.5, 0], [0, 0.5, 0.5]])
def test_no_mass_silences_an_infinite_surprise(target: Any, weight: Any, smoothing: float) -> None:
    given = {"weight": None if weight is None else np.array(weight, np.float32)}
    arrays = np.array([[-np.inf, 0.2, 0.07]], np.float32), np.array([target], np.float32)
    options = {"label_smoothing": smoothing, "reduction": "none"}
    for method, wrt in (("__call__", {}), ("grad", {}), ("grad", {"wrt": "target"})):
        asked = getattr(LOSS, method)
        found = asked(*arrays, **given, **options, **wrt)
        true = asked(*widened(*arrays), **wide(given), **options, **wrt)
        assert ulp_error(found, Truth.of(true), "float32").max() <= LOSS.promise.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 1e-20, 1e10])
def test_a_weighted_call_goes_straight_to_its_kernel(
    scale: float, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(6).normal(size=(20, 30)).astype(dtype)
    target, weight = np.arange(20), (scale * np.linspace(0.5, 2, 30)).astype(dtype)
    first = LOSS.value_and_grad(x, target, weight, reduction="none")
    monkeypatch.setattr(LOSS, "_plan", None)  # nobody asks for it again
    for one, other in zip(
        LOSS.value_and_grad(x, target, weight, reduction="none"), first, strict=True
    ):
        same(one, other)


def test_a_later_call_with_other_weights_is_computed_as_they_are_by_themselves() -> None:
    x, target = (
        np.random.default_rng(5).normal(size=(40, 30)).astype(np.float32),
        np.arange(40) % 30,
    )
    moderate = np.linspace(0.5, 2, 30, dtype=np.float32)
    alone = LOSS.value_and_grad(x, target, moderate, reduction="none")
    for weight in (moderate * 1e-30, moderate, moderate * 1e20, moderate):
        found = LOSS.value_and_grad(x, target, weight.astype(np.float32), reduction="none")
        if weight is moderate:
            for one, other in zip(found, alone, strict=True):
                same(one, other)


@pytest.mark.parametrize("weight", [1.0, 1e-23, 1e10])
@pytest.mark.parametrize("scale", [1e-40, 1e-23, 1.0, 1e12, 1e25])
@pytest.mark.parametrize("upstream", [1.0, 1e7])
def test_masses_of_any_size(upstream: float, scale: float, weight: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(scale=3, size=(9, 5)).astype(np.float32)
    target = (scale * rng.dirichlet(np.ones(5), 9)).astype(np.float32)
    target[0], target[1, 2] = 0, 1
    given = {"weight": (weight * rng.uniform(1, 2, 5)).astype(np.float32)}
    grad_output = np.full(9, upstream, np.float32)
    found = answers(LOSS, x, target, **given)
    true = LOSS.value_and_grad(*widened(x, target), reduction="none", **wide(given))
    assert ulp_error(found[0], Truth.of(true[0]), "float32").max() <= LOSS.promise.float32
    terms = gradient_terms(x, target, **given)
    kept_within(found[1], true[1], terms)
    lifted = LOSS.grad(x, target, reduction="none", grad_output=grad_output, **given)
    kept_within(lifted, true[1] * upstream, terms * upstream)


@pytest.mark.parametrize("classes", [2, 5, 16, NARROW + 3])
@pytest.mark.parametrize("kind", KINDS)
def test_several_largest_logits(kind: str, classes: int) -> None:
    x = np.zeros((3, classes), np.float32)
    x[1, 1:] = -3
    x[1, :2] = 2.2
    x[2, -1] = x[2, 0] = 7
    target, options = targets(kind, np.random.default_rng(2), 3, classes)
    options = {**options, "reduction": "none"}
    for method in ("__call__", "hessian_diag"):
        asked = getattr(LOSS, method)
        found, true = asked(x, target, **options), asked(*widened(x, target), **wide(options))
        assert ulp_error(found, Truth.of(true), "float32").max() <= LOSS.promise.float32
    found, true = LOSS.grad(x, target, **options), LOSS.grad(*widened(x, target), **wide(options))
    del options["reduction"]
    kept_within(found, true, gradient_terms(x, target, **options))
