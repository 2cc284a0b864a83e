"""A few long rows, of which threads take parts: the bits that one gets, or a large batch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import refloss
from refloss import vectorised
from refloss.kernels import threads
from refloss.kernels.simd.rows import PART
from refloss.vectorised import FEW_ROWS, MANY_PARTS, SharedRows

Array = Any

LONG = PART * MANY_PARTS
CLASSES = (LONG + 1, 5 * PART, 7 * PART + 9)
OPTIONS: dict[str, Any] = {"reduction": "none"}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    count = threads.get_num_threads()
    yield
    refloss.set_num_threads(count)


def parts_of(answer: Any) -> list[Array]:
    return [one for part in answer for one in (part if isinstance(part, tuple) else (part,))]


def ask(name: str, rows: Any, *arguments: Array, **options: Any) -> list[bytes]:
    """All that a loss knows of some rows, as bits."""
    loss = getattr(refloss, name)
    given = [one[rows] for one in arguments]
    both = loss.value_and_grad(*given, **OPTIONS, **options)
    second = loss.hessian_diag(*given, **OPTIONS, **options)
    value = loss(*given, **OPTIONS, **options)
    return [one.tobytes() for one in (*both, second, value)]


def drawn(name: str, classes: int, dtype: Any) -> tuple[Array, Array]:
    """More rows than threads share, of which some are not usual."""
    rng = np.random.default_rng(classes)
    count = FEW_ROWS + 2
    x = rng.normal(size=(count, classes)).astype(dtype) * 3
    if name == "distillation_loss":
        return x, rng.normal(size=x.shape).astype(dtype)
    labels = rng.integers(0, classes, count)
    labels[0], labels[1], labels[2] = classes - 1, -100, 0
    x[3, classes // 2], x[4, 5], x[5, -1] = np.inf, -np.inf, np.nan
    x[6, PART] = x[6, 4 * PART] = 40  # the largest of a row, in two parts of it
    return x, labels


CASES = [
    ("cross_entropy", {}),
    ("cross_entropy", {"label_smoothing": 0.1}),
    ("nll_loss", {}),
    ("softmax_focal_loss", {"gamma": 2.0}),
    ("softmax_focal_loss", {"gamma": 0.5}),
    ("distillation_loss", {"temperature": 3.0}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_bits_do_not_depend_on_who_takes_which_part(
    name: str, options: dict[str, Any], classes: int, dtype: Any
) -> None:
    """On how many threads there are, nor on how many rows."""
    arguments = drawn(name, classes, dtype)
    whole = ask(name, slice(None), *arguments, **options)
    sizes = [len(bits) // (FEW_ROWS + 2) for bits in whole]
    for rows in (slice(0, 1), slice(1, 3), slice(3, 10)):
        expected = [
            bits[rows.start * size : rows.stop * size]
            for bits, size in zip(whole, sizes, strict=True)
        ]
        for count in (1, 2, 3):
            refloss.set_num_threads(count)
            for _ in range(2):
                assert ask(name, rows, *arguments, **options) == expected


def variants(dtype: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    rng = np.random.default_rng(1)
    z, classes = rng.normal(size=(3, 6 * PART + 5)).astype(dtype), 6 * PART + 5
    labels, weight = rng.integers(0, classes, 3), rng.uniform(0.5, 2, classes).astype(dtype)
    soft = rng.dirichlet(np.ones(classes), 3).astype(dtype)
    loss = refloss.cross_entropy
    for name, arguments in {
        "weights": (z, labels, weight),
        "soft": (z, soft),
        "turned": (np.asfortranarray(z), labels),
        "every other class": (np.repeat(z, 2, axis=1)[:, ::2], labels),
    }.items():
        for reduction in ("mean", "sum", "none"):
            yield (
                f"{name}, {reduction}",
                lambda given=arguments, how=reduction: loss.value_and_grad(*given, reduction=how),
            )
    upstream = rng.normal(size=3)
    yield "upstream", lambda: (loss.grad(z, labels, grad_output=upstream, **OPTIONS),)
    yield "both", lambda: loss.grad_and_hessian_diag(z, labels)
    both: dict[str, Any] = {"wrt": ("input", "target")}
    yield "by both", lambda: loss.value_and_grad(z, soft, **both)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whatever_is_asked(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits as when nothing is shared."""
    refloss.set_num_threads(2)
    for name, call in variants(dtype):
        refloss.cross_entropy._again.clear()
        found = [[one.tobytes() for one in parts_of(call())] for _ in range(3)]
        with monkeypatch.context() as patched:
            patched.setattr(vectorised, "FEW_ROWS", 0)
            refloss.cross_entropy._again.clear()
            expected = [one.tobytes() for one in parts_of(call())]
        assert found == [expected] * 3, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_rows_of_many_classes(dtype: Any) -> None:
    x, labels = np.empty((0, LONG + 1), dtype), np.empty(0, np.int64)
    for _ in range(2):
        value, gradient = refloss.cross_entropy.value_and_grad(x, labels, reduction="sum")
        assert value == 0
        assert gradient.shape == x.shape
        assert np.isnan(refloss.cross_entropy(x, labels))


def test_which_rows_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of many classes, and no others."""
    made: list[type] = []

    def noted(self: Any, *given: Any) -> None:
        made.append(type(self))
        first(self, *given)

    first = vectorised.Rows.__init__
    monkeypatch.setattr(vectorised.Rows, "__init__", noted)
    for rows, classes, is_shared in (
        (1, LONG + 1, True),
        (FEW_ROWS - 1, LONG + 1, True),
        (FEW_ROWS, LONG + 1, False),
        (1, LONG, False),
    ):
        made.clear()
        refloss.nll_loss(np.zeros((rows, classes)), np.zeros(rows, np.int64), reduction="sum")
        assert (SharedRows in made) == is_shared
