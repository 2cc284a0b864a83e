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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", CLASSES)
def test_rows_keep_the_promise_in_pairs(kind: str, classes: int) -> None:
    """Also where p and the target cancel, in ulps of the larger term."""
    rng = np.random.default_rng(classes)
    x = rng.normal(scale=[[1], [4], [20]], size=(7, 3, classes)).reshape(21, -1).astype(np.float32)
    target, options = targets(kind, rng, 21, classes)
    kept = target >= 0 if target.ndim == 1 else np.full(21, True)
    truths = LOSS.value_and_grad(
        x.astype(np.float64),
        target if target.ndim == 1 else target.astype(np.float64),
        **{n: o.astype(np.float64) if n == "weight" else o for n, o in options.items()},
        reduction="none",
    )
    mass = masses(target, classes, **options)
    p = np.exp(x - x.max(axis=1, keepdims=True).astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    terms = np.maximum(p * (mass.sum(axis=1, keepdims=True) - mass), mass * (1 - p))
    value, gradient = answers(LOSS, x, target, **options)
    assert ulp_error(value, Truth.of(truths[0]), "float32").max() <= LOSS.promise.float32
    size = np.maximum(terms, np.finfo(np.float32).tiny).astype(np.float32)
    error = np.abs(gradient - truths[1]) / np.spacing(size)
    assert error[kept].max() <= LOSS.promise.float32
    assert not gradient[~kept].any()


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
    wide = {n: o.astype(np.float64) if n == "weight" else o for n, o in options.items()}
    given = target if target.ndim == 1 else target.astype(np.float64)
    truths = LOSS.value_and_grad(x.astype(np.float64), given, **wide, reduction="none")
    value = ulp_error(found[0], Truth.of(truths[0]), "float32")
    assert value.max() <= LOSS.promise.float32
    np.testing.assert_array_equal(np.isnan(found[1]), np.isnan(truths[1]))
    usual = np.isfinite(x).all(axis=1) & (np.abs(x).max(axis=1) < 50)
    alone = answers(LOSS, x[usual], target[usual], **options)
    same(found[0][usual], alone[0])
    same(found[1][usual], alone[1])
    total = LOSS(x[usual | (np.arange(len(x)) == 20)], target[usual | (np.arange(len(x)) == 20)],
                 **options, reduction="sum")  # fmt: skip
    each = np.concatenate([truths[0][usual], truths[0][20:21]])
    assert abs(total - math.fsum(each)) <= LOSS.promise.float32 * np.spacing(np.float32(total))


def test_only_what_is_unusual_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    again = vectorised.RowRun._again

    def noticed(self: Any, marked: Any, *arrays: Any) -> Any:
        done.extend(marked)
        return again(self, marked, *arrays)

    monkeypatch.setattr(vectorised.RowRun, "_again", noticed)
    x = unusual_rows(19)
    LOSS.value_and_grad(x, np.zeros(len(x), int))
    assert set(done) <= {3, 4, 8, 9, 10, 11, 20, 21, 38}
    assert {3, 4, 8, 9, 11, 21, 38} <= set(done)


@pytest.mark.parametrize("upstream", [1e-38, 1e-12, 1e30, 3e38])
@pytest.mark.parametrize("classes", [3, NARROW + 5])
def test_upstream_gradients_of_any_size(upstream: float, classes: int) -> None:
    rng = np.random.default_rng(classes)
    x, target = rng.normal(scale=3, size=(9, classes)), rng.integers(0, classes, 9)
    x = x.astype(np.float32)
    grad_output = np.full(9, upstream, np.float32)
    grad_output[::2] = 1
    found = LOSS.grad(x, target, reduction="none", grad_output=grad_output)
    true = LOSS.grad(
        x.astype(np.float64), target, reduction="none", grad_output=grad_output.astype(np.float64)
    )
    assert ulp_error(found, Truth.of(true), "float32").max() <= LOSS.promise.float32


@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e25])
def test_masses_of_any_size(scale: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(scale=3, size=(9, 5)).astype(np.float32)
    target = (scale * rng.dirichlet(np.ones(5), 9)).astype(np.float32)
    target[0] = 0
    found = answers(LOSS, x, target)
    true = LOSS.value_and_grad(x.astype(np.float64), target.astype(np.float64), reduction="none")
    assert ulp_error(found[0], Truth.of(true[0]), "float32").max() <= LOSS.promise.float32
    mass = target.astype(np.float64)
    p = np.exp(x.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    terms = np.maximum(p * (mass.sum(axis=1, keepdims=True) - mass), mass * (1 - p))
    sizes = np.spacing(np.maximum(terms, 2.0**-126).astype(np.float32))
    assert (np.abs(found[1] - true[1]) <= LOSS.promise.float32 * sizes).all()


@pytest.mark.parametrize("classes", [2, 5, 16, NARROW + 3])
@pytest.mark.parametrize("kind", KINDS)
def test_several_largest_logits(kind: str, classes: int) -> None:
    x = np.zeros((3, classes), np.float32)
    x[1, 1:] = -3
    x[1, :2] = 2
    x[2, -1] = x[2, 0] = 7
    target, options = targets(kind, np.random.default_rng(2), 3, classes)
    for method in ("__call__", "grad", "hessian_diag"):
        asked = getattr(LOSS, method)
        found, wide = (
            asked(
                x.astype(dtype),
                target if target.ndim == 1 else target.astype(dtype),
                **{n: o.astype(dtype) if n == "weight" else o for n, o in options.items()},
                reduction="none",
            )
            for dtype in (np.float32, np.float64)
        )
        np.testing.assert_allclose(found, wide, rtol=2**-22, atol=2**-26)
