"""The kernels written as instructions on vectors: every format, every length, and no byte beyond.

What numbers they come to is judged elsewhere (`tests/losses/test_promise.py`); here it is which
numbers they read and write.
"""

import math
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import refloss
from refloss import repeated, vectorised
from refloss.accuracy import FORMATS, Truth, ulp_error
from refloss.evaluation import rounded
from refloss.formula import pairs
from refloss.formula.emitted import DOUBLE
from refloss.kernels.address import address_of
from refloss.kernels.simd.rows import NARROW
from refloss.kernels.simd.writing import FORMATS as STORED
from refloss.kernels.simd.writing import LANES, Body, Stored, kernel
from refloss.vectorised import PIECE

SHORT = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
FLOATING = (*SHORT, "float32", "float64")
CLASSES = (1, 2, 7, 8, 9, 15, 16, 17, 64, 71, 72, NARROW, NARROW + 1, 1000, 1001)
COUNTS = (0, 1, 7, 8, 9, 65)


def dtype_of(name: str) -> Any:
    return np.dtype(SHORT.get(name, name))


def same(found: Any, expected: Any) -> None:
    """Alike to the bit, but every NaN is the same."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    assert found[~nan].tobytes() == expected[~nan].tobytes()


# Formats


@cache
def reading() -> Any:
    """A kernel of (addresses of an array, of float64 for its runs and for its numbers one by one)
    for each short format, and how many there are."""

    def write(builder: Any, values: Any) -> None:
        body, (*addresses, count) = Body(builder, DOUBLE), values
        for k, name in enumerate(SHORT):
            array, *outs = addresses[3 * k : 3 * k + 3]
            whole, single = (Stored(out, "float64") for out in outs)
            with body.loop(body.whole(0), count, LANES) as i:
                body.put_run(whole, i, body.run(Stored(array, name), i))
            with body.loop(body.whole(0), count) as i:
                body.put(single, i, body.one(Stored(array, name), i))

    return kernel(write, (write,))


def test_every_number_of_short_formats_is_read() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    arrays = {name: bits.view(dtype) for name, dtype in SHORT.items()}
    outs = {name: np.empty((2, bits.size)) for name in SHORT}
    addresses = [address_of(x) for n in SHORT for x in (arrays[n], *outs[n])]
    reading()(*addresses, bits.size)
    for name in SHORT:
        with np.errstate(invalid="ignore"):  # NumPy flags a NaN that signals
            expected = arrays[name].astype(np.float64)
        for out in outs[name]:
            same(out, expected)


@cache
def rounding() -> Any:
    """A kernel of the addresses of float64, of outputs in each format for runs and one by one, and
    how many there are."""

    def write(builder: Any, values: Any) -> None:
        body, (start, *outs, count) = Body(builder, DOUBLE), values
        wide = Stored(start, "float64")
        runs = [Stored(out, name) for out, name in zip(outs[::2], FLOATING, strict=True)]
        ones = [Stored(out, name) for out, name in zip(outs[1::2], FLOATING, strict=True)]
        with body.loop(body.whole(0), count, LANES) as i:
            x = body.run(wide, i)
            for out in runs:
                body.put_run(out, i, x)
        with body.loop(body.whole(0), count) as i:
            x = body.one(wide, i)
            for out in ones:
                body.put(out, i, x)

    return kernel(write, (write,))


def narrow(x: Any) -> dict[str, Any]:
    """(2, size) for each format: by runs, and one by one."""
    assert x.size % LANES == 0
    outs = {name: np.empty((2, x.size), dtype_of(name)) for name in FLOATING}
    rounding()(address_of(x), *(address_of(row) for one in outs.values() for row in one), x.size)
    return outs


def filled(x: Any) -> Any:
    return np.concatenate([x, np.zeros(-x.size % LANES)])


@pytest.mark.parametrize("name", SHORT)
def test_halfway_between_all_neighbours(name: str) -> None:
    """Half of the way goes to the even one, whatever is beyond it to the nearer one."""
    infinity = {"float16": 0x7C00, "bfloat16": 0x7F80}[name]
    bits = np.arange(infinity + 1, dtype=np.uint16)
    numbers = bits.view(dtype_of(name)).astype(np.float64)
    numbers[-1] = 2 * numbers[-2] - numbers[-3]  # what comes after the largest, and is infinite
    half = (numbers[:-1] + numbers[1:]) / 2  # exact
    even = bits[:-1] + (bits[:-1] & 1)
    for x, expected in (
        (half, even),
        (np.nextafter(half, 0), bits[:-1]),
        (np.nextafter(half, math.inf), bits[1:]),
        (numbers, bits),
    ):
        for sign, high in ((1, 0), (-1, 0x8000)):
            given = filled(sign * x)
            for found in narrow(given)[name]:
                np.testing.assert_array_equal(
                    found.view(np.uint16)[: x.size], expected | np.uint16(high)
                )


@pytest.mark.parametrize("name", FLOATING)
def test_all_sizes_are_rounded_once(name: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 1 << 64, 1 << 16, dtype=np.uint64).view(np.float64)  # of any exponent
    near = rng.standard_normal(1 << 15) * 2.0 ** rng.integers(-160, 140, 1 << 15)
    edges = [65504, 65519.99, 65520, 65520.01, 65536, 2.0**-24, 2.0**-25, 3 * 2.0**-26, 5e-324]
    edges += [math.inf, math.nan, 0.0, 1.0, 3.4028235e38, 3.4028236e38, 2.0**128, 2.0**-149, 1e308]
    given = filled(np.concatenate([x, near, edges, np.negative(edges)]))
    with np.errstate(all="ignore"):
        expected = rounded(given, dtype_of(name))
    for found in narrow(given)[name]:
        same(found, expected)


# Pieces of a run


@cache
def partial() -> Any:
    """A kernel of (addresses of arrays in all formats, of float64 for each, of outputs in floating
    formats, of a matrix and of its transpose, first, count): some numbers in, some out."""

    def write(builder: Any, values: Any) -> None:
        body, (*addresses, first, count) = Body(builder, DOUBLE), values
        for name in STORED:
            x = body.some(Stored(addresses.pop(0), name), first, count)
            body.put_run(Stored(addresses.pop(0), "float64"), body.whole(0), x)
        numbers = body.counted_from(body.whole(1))
        for name in FLOATING:
            body.put_some(Stored(addresses.pop(0), name), first, numbers, count)
        matrix, turned = (Stored(address, "int16") for address in addresses)
        rows = [body.raw(matrix, body.whole(LANES * k), LANES) for k in range(LANES)]
        for k, row in enumerate(body.transposed(rows)):
            body.put_raw(turned, body.whole(LANES * k), row)

    return kernel(write, (write,))


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_some_of_a_run(first: int, count: int) -> None:
    size = 3 * LANES
    of_format = {name: (np.arange(size) % 2 + 1).astype(dtype_of(name)) for name in STORED}
    read = {name: np.full(LANES, -1.0) for name in STORED}
    # so many places before and after: whatever is written there shows
    written = {name: np.full(size, -7, dtype_of(name)) for name in FLOATING}
    matrix = np.arange(LANES * LANES, dtype=np.int16)
    turned = np.empty_like(matrix)
    addresses = [address_of(x) for name in STORED for x in (of_format[name], read[name])]
    starts = [address_of(x[LANES:]) for x in written.values()]
    partial()(*addresses, *starts, address_of(matrix), address_of(turned), first, count)
    inside = np.arange(LANES) < count
    for name in STORED:
        taken = of_format[name][first : first + LANES].astype(np.float64)
        np.testing.assert_array_equal(read[name], np.where(inside, taken, 0), name)
    for name, array in written.items():
        expected = np.full(size, -7.0)
        expected[LANES + first : LANES + first + count] = np.arange(1, count + 1)
        np.testing.assert_array_equal(array.astype(np.float64), expected, name)
    np.testing.assert_array_equal(turned.reshape(LANES, LANES), matrix.reshape(LANES, LANES).T)


# Calls, whose arrays have other numbers around them


class Surrounded:
    """NumPy whose new arrays lie between bytes that are known."""

    EDGE = 128
    FILL = 0xA5

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        count = math.prod(shape) if isinstance(shape, tuple) else shape
        size = count * np.dtype(dtype).itemsize
        raw = np.full(size + 2 * self.EDGE, self.FILL, np.uint8)
        self.made.append(raw)
        return raw[self.EDGE : self.EDGE + size].view(dtype).reshape(shape)

    def zeros(self, shape: Any) -> Any:
        made = self.empty(shape)
        made[...] = 0
        return made

    def check(self) -> None:
        assert self.made
        for raw in self.made:
            edges = raw[: self.EDGE], raw[raw.size - self.EDGE :]
            assert all((edge == self.FILL).all() for edge in edges)


@pytest.fixture
def surrounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Surrounded]:
    numpy = Surrounded()
    monkeypatch.setattr(vectorised, "np", numpy)
    monkeypatch.setattr(repeated, "np", numpy)
    monkeypatch.setattr(vectorised, "_mine", threading.local())
    yield numpy
    numpy.check()


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = refloss.get_num_threads()
    yield refloss.set_num_threads
    refloss.set_num_threads(before)


def logits(count: int, classes: int, dtype: str, seed: int = 0) -> Any:
    x = np.random.default_rng([count, classes, seed]).normal(scale=3, size=(count, classes))
    return x.astype(FORMATS[dtype].dtype)


def labels(count: int, classes: int) -> Any:
    found = np.random.default_rng([classes, count]).integers(0, classes, count)
    found[::5] = -100
    return found


def answers(loss: Any, *arrays: Any, **options: Any) -> list[Any]:
    """Twice, where the second call is one that the loss remembers: alike to the bit."""
    options = {"reduction": "none"} | options
    first, second = (loss.value_and_grad(*arrays, **options) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        same(np.asarray(other), np.asarray(one))
    return [np.asarray(x) for x in first]


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_of_any_length(classes: int, dtype: str, surrounded: Surrounded) -> None:
    """As the array path has them, each as if it were alone, and with nothing written beside."""
    loss = refloss.cross_entropy
    x, target = logits(65, classes, dtype), labels(65, classes)
    found = answers(loss, x, target)
    other = loss.value_and_grad(x, target, reduction="none", backend="array")
    promise = {"float16": 2, "float32": 2, "float64": loss.promise.float64}[dtype]
    promise += loss.promise.float64_arrays if dtype == "float64" else 0
    for mine, theirs in zip(found, other, strict=True):
        assert ulp_error(mine, Truth.of(theirs), dtype).max() <= promise
    for count in COUNTS:
        value, gradient = answers(loss, x[:count].copy(), target[:count].copy())
        same(value, found[0][:count])
        same(gradient, found[1][:count])


@pytest.mark.parametrize("classes", [1, 7, 9, 65, 71])
def test_rows_of_two_arrays(classes: int, surrounded: Surrounded) -> None:
    loss = refloss.distillation_loss
    x, teacher = (logits(65, classes, "float32", seed) for seed in (1, 2))
    found = answers(loss, x, teacher, 2.0)
    other = loss.value_and_grad(x, teacher, 2.0, reduction="none", backend="array")
    for mine, theirs in zip(found, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2**-21, atol=1e-12)
    for count in COUNTS:
        value, gradient = answers(loss, x[:count].copy(), teacher[:count].copy(), 2.0)
        same(value, found[0][:count])
        same(gradient, found[1][:count])


@pytest.mark.parametrize("size", [1, 7, 9, 65, 75])
def test_pairs_of_any_length(size: int, surrounded: Surrounded) -> None:
    """Where a row has a number of its own as well."""
    loss, options = refloss.contrastive_loss, {"margin": 9.0, "reduction": "none"}
    x, y = (logits(65, size, "float32", seed) for seed in (5, 6))
    target = np.random.default_rng(size).integers(0, 2, 65)
    found = answers(loss, x, y, target, **options)
    other = loss.value_and_grad(x, y, target, backend="array", **options)
    for mine, theirs in zip(found, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2**-21, atol=1e-12)
    for count in COUNTS:
        given = [array[:count].copy() for array in (x, y, target)]
        value, gradient = answers(loss, *given, **options)
        same(value, found[0][:count])
        same(gradient, found[1][:count])


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 17, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 3])
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_elements_at_the_borders_of_pieces(count: int, dtype: str, surrounded: Surrounded) -> None:
    rng = np.random.default_rng(count)
    x, y = (rng.integers(-64, 64, count).astype(FORMATS[dtype].dtype) for _ in range(2))
    value, gradient = answers(refloss.mse_loss, x, y)
    difference = x.astype(np.float64) - y.astype(np.float64)
    same(value, rounded(difference**2, x.dtype))
    same(gradient, rounded(2 * difference, x.dtype))


@pytest.mark.parametrize("count", [1, PIECE, 2 * PIECE + 3])
def test_a_sum_is_that_of_all_elements(count: int, threads: Callable[[int], None]) -> None:
    """And of no others: this loss is not 0 where there is nothing."""
    loss, rng = refloss.binary_cross_entropy_with_logits, np.random.default_rng(count)
    x, y = 9 * rng.standard_normal(count), rng.uniform(size=count)
    values, gradient = loss.value_and_grad(x, y, reduction="none")
    for number in (1, 2, 3):
        threads(number)
        found = answers(loss, x, y, reduction="sum")
        assert found[0] == math.fsum(values)
        same(found[1], gradient)


@pytest.mark.parametrize("classes", [9, 1000])
def test_threads_share_rows(classes: int, threads: Callable[[int], None]) -> None:
    count = 2 * (PIECE // classes) + 13
    x, target = logits(count, classes, "float64"), labels(count, classes)
    alone = answers(refloss.cross_entropy, x, target)
    summed = []
    for number in (1, 2, 3):
        threads(number)
        for one, other in zip(answers(refloss.cross_entropy, x, target), alone, strict=True):
            same(one, other)
        summed.append(answers(refloss.cross_entropy, x, target, reduction="sum"))
    for found in summed:
        assert found[0] == math.fsum(alone[0])
        same(found[1], alone[1])


def strided(x: Any) -> Any:
    wide = np.zeros([3 * n for n in x.shape], x.dtype)
    wide[tuple(slice(None, None, 3) for _ in x.shape)] = x
    return wide[tuple(slice(None, None, 3) for _ in x.shape)]


def unaligned(x: Any) -> Any:
    view = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def read_only(x: Any) -> Any:
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def backwards(x: Any) -> Any:
    return np.flip(np.flip(x).copy())


def swapped(x: Any) -> Any:
    return x.astype(x.dtype.newbyteorder())


LAYOUTS: list[Callable[[Any], Any]] = [
    np.asfortranarray,
    strided,
    unaligned,
    read_only,
    backwards,
    swapped,
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", [9, 73])
def test_rows_lie_anyhow(
    layout: Callable[[Any], Any], classes: int, surrounded: Surrounded
) -> None:
    x, target = logits(21, classes, "float64"), labels(21, classes)
    expected = answers(refloss.cross_entropy, x, target)
    given, marks = layout(x), layout(target)
    for one, other in zip(answers(refloss.cross_entropy, given, marks), expected, strict=True):
        same(one, other)
    np.testing.assert_array_equal(given, x)
    np.testing.assert_array_equal(marks, target)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("second", [False, True])
def test_elements_lie_anyhow(
    layout: Callable[[Any], Any], second: bool, surrounded: Surrounded
) -> None:
    """One of the arrays or both, in several pieces of work."""
    x, y = np.random.default_rng(1).normal(size=(2, 2, PIECE + 3))
    given = [layout(x), layout(y) if second else y]
    value, gradient = answers(refloss.mse_loss, *given)
    same(value, (x - y) ** 2)
    same(gradient, 2 * (x - y))


@pytest.mark.parametrize("classes", [1, 9, 73])
def test_positions_are_rows(classes: int, surrounded: Surrounded) -> None:
    """(N, C, D) is what (N D, C) is, to the bit, with C classes beside each other or apart."""
    rows, positions = 3, 7
    x, target = logits(rows * positions, classes, "float64"), labels(rows * positions, classes)
    value, gradient = answers(refloss.cross_entropy, x, target)
    apart = x.reshape(rows, positions, classes).transpose(0, 2, 1)
    for given in (apart, np.ascontiguousarray(apart)):
        found = answers(refloss.cross_entropy, given, target.reshape(rows, positions))
        same(found[0], value.reshape(rows, positions))
        same(found[1].transpose(0, 2, 1).reshape(-1, classes), gradient)


# Numbers that are none


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("classes", [3, 17, 75])
def test_special_logits_in_every_lane(classes: int, special: float) -> None:
    """One in each row, in each place of a row, and in each lane of eight rows."""
    loss, count = refloss.cross_entropy, 3 * classes
    x, target = logits(count, classes, "float64"), labels(count, classes)
    x[np.arange(count), np.arange(count) % classes] = special
    found = loss.value_and_grad(x, target, reduction="none")
    other = loss.value_and_grad(x, target, reduction="none", backend="array")
    for mine, theirs in zip(found, other, strict=True):
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs))
        np.testing.assert_allclose(mine, theirs, rtol=16 * np.finfo(float).eps)


@pytest.mark.parametrize("place", range(11))
def test_special_elements_stay_where_they_are(place: int) -> None:
    x, y = np.arange(11.0), np.zeros(11)
    plain_value, plain_gradient = answers(refloss.mse_loss, x, y)
    for special in (math.nan, math.inf, -math.inf):
        x[place] = special
        value, gradient = answers(refloss.mse_loss, x, y)
        np.testing.assert_array_equal(value[place], special * special)
        np.testing.assert_array_equal(gradient[place], special)
        same(np.delete(value, place), np.delete(plain_value, place))
        same(np.delete(gradient, place), np.delete(plain_gradient, place))


@pytest.mark.parametrize("weight", [0.0, math.inf, math.nan, 1e300])
@pytest.mark.parametrize("classes", [3, 75])
def test_weights_without_a_scale(classes: int, weight: float) -> None:
    """Zero silences an infinite surprise; a row that is ignored hears of no weight."""
    loss = refloss.cross_entropy
    x, target = logits(19, classes, "float32"), labels(19, classes)
    x[3, target[3]] = -math.inf
    weights = np.full(classes, weight)
    options = {"weight": weights, "reduction": "none"}
    found = loss.value_and_grad(x, target, **options)
    other = loss.value_and_grad(x, target, backend="array", **options)
    for mine, theirs in zip(found, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2**-22)
        assert not mine[target == -100].any()
    if weight == 0:
        assert not found[0].any()


@pytest.mark.parametrize("temperature", [1e-300, 1e-20, 1e300])
@pytest.mark.parametrize("classes", [3, NARROW + 9])
def test_temperatures_beyond_use(classes: int, temperature: float) -> None:
    loss = refloss.distillation_loss
    x, teacher = (logits(19, classes, "float32", seed) for seed in (3, 4))
    x[1], teacher[2] = x[1, 0], teacher[2, 0]  # ties at the top
    found = loss.value_and_grad(x, teacher, temperature, reduction="none")
    other = loss.value_and_grad(x, teacher, temperature, reduction="none", backend="array")
    for mine, theirs in zip(found, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2**-21)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_means_of_nothing(dtype: str) -> None:
    x = logits(9, 3, dtype)
    value, gradient = answers(refloss.cross_entropy, x, np.full(9, -100), reduction="mean")
    assert np.isnan(value)
    same(gradient, np.zeros_like(x))
    value, gradient = refloss.mse_loss.value_and_grad(x[:0], x[:0])
    assert np.isnan(value)
    assert gradient.shape == (0, 3)


@pytest.mark.parametrize("factor", ["weight", "grad_output"])
def test_a_factor_beyond_float32_lifts_what_has_nearly_vanished(factor: str) -> None:
    x = np.array([[0, -709.5]], np.float32)
    given = np.array([1e308, 1.0]) if factor == "weight" else np.array([1e308])
    call = {factor: given, "reduction": "none"}
    found = refloss.cross_entropy.grad(x, [0], **call)
    expected = refloss.cross_entropy.grad(x, [0], **call, backend="array")
    np.testing.assert_array_equal(found, expected)
    assert found[0, 1] > 0.5


@pytest.mark.parametrize("below", [3.0, 1.0, 0.7e-200])
def test_what_a_quotient_lost_is_what_the_formula_says(below: float) -> None:
    """Kernels take the remainder in one step and divide by a reciprocal."""

    def write(builder: Any, values: Any) -> None:
        body, (given, lost, denominator) = Body(builder, DOUBLE), values
        numerator = body.run(Stored(given, "float64"), body.whole(0))
        numbers = (numerator, 0, body.scalar(denominator), 0)
        found = body.read(pairs.ratio_error)(*numbers)
        body.put_run(Stored(lost, "float64"), body.whole(0), found)

    above, found = np.random.default_rng(0).uniform(1, 9, LANES) * below, np.empty(LANES)
    kernel(write, (write,))(address_of(above), address_of(found), below)
    for one, lost in zip(above, found, strict=True):
        rest = Fraction(one) / Fraction(below) - Fraction(one / below)
        assert abs(Fraction(lost) - rest) <= abs(rest) / 2**50
        assert abs(lost - pairs.ratio_error(one, 0.0, below, 0.0)) <= abs(lost) * 2**-50


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("classes", [2, 130])
def test_an_infinite_mass_counts_on_the_top_and_beside_another(dtype: str, classes: int) -> None:
    z = np.zeros((6, classes), dtype)
    z[:, 0] = 1
    target = np.zeros((6, classes), dtype)
    masses = [(np.inf, 0), (0, np.inf), (np.inf, np.inf), (np.nan, np.inf), (np.inf, 1), (0, 0)]
    target[:, :2] = masses
    weight = np.array([np.inf, *[1] * (classes - 1)], dtype)
    promise = refloss.cross_entropy.promise
    within = {"float64": promise.float64_curvature + promise.float64_arrays}
    within["float32"] = 2 * promise.float32

    def both(method: str, *given: Any, **options: Any) -> Any:
        asked = getattr(refloss.cross_entropy, method)
        found, other = (
            asked(*given, **options, reduction="none", backend=backend)
            for backend in ("numba", "array")
        )
        assert ulp_error(found, Truth.of(other), dtype).max() <= within[dtype]
        return found

    for method in ("__call__", "grad", "hessian_diag"):
        both(method, z, target)
    for smoothing in (0.0, 0.1):
        found = both("__call__", z[:2], np.array([0, 1]), weight, label_smoothing=smoothing)
        assert found[0] == np.inf


@pytest.mark.parametrize(
    ("z", "target", "options", "place", "true"),
    [
        (
            [0.6728508505502465, -1.1521703778206034, 0.3290410370315967],
            [0.07430730608392179, 0.5319067706500287, 0.3937859232660496],
            {},
            2,
            -0.014663796582162907679,
        ),
        (
            [
                -4.986648233630796,
                -5.45047931325809,
                -0.5508892620638779,
                -2.5634479112248942,
                0.4621903611597124,
            ],
            1,
            {"label_smoothing": 0.4343645362140932},
            2,
            0.1690771997193576584,
        ),
    ],
)
def test_where_probability_and_mass_cancel_the_gradient_keeps_its_promise(
    z: Any, target: Any, options: Any, place: int, true: float
) -> None:
    found = refloss.cross_entropy.grad(np.array(z), np.array(target), **options, reduction="none")
    p = np.exp(z[place]) / np.exp(z).sum()
    mass = p - true  # of all masses 1
    term = max(p * (1 - mass), mass * (1 - p))
    assert abs(found[place] - true) <= refloss.cross_entropy.promise.float64 * np.spacing(term)


def test_a_sum_of_both_signs_keeps_what_is_left_of_it() -> None:
    n = 24
    x, target = np.zeros(n, np.float32), np.zeros(n, np.float32)
    target[[0, 8, 16]], x[[0, 8, 16]] = 1, (-1e30, -1 / 1024, 1e30)
    assert refloss.kl_div(x, target, "sum") == np.float32(1 / 1024)
