"""Numba kernels for the CPU: loops over blocks of doubles, and no mathematics of any loss.

A block is small enough to stay in cache and belongs to one thread. What a block computes depends
on nothing but its numbers, and sums are compensated and combined in the order of the blocks: the
results do not depend on the number of threads or on the memory layout of the input.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from refloss.formula import direction
from refloss.formula import distance as length
from refloss.formula import softmax as row
from refloss.formula.compiled import compile_formula
from refloss.formula.elementary import two_sum
from refloss.formula.reading import parameters
from refloss.kernels.cache import kept
from refloss.kernels.metric import HIGHEST, LOWEST, RATES, Metric
from refloss.kernels.mining import choose as choose
from refloss.kernels.mining import survey as survey
from refloss.kernels.simd import similarity as blocks
from refloss.kernels.simd.pairs import Panels, gather
from refloss.kernels.simd.pairs import add_mirrored as add_mirrored

Floats = NDArray[np.float64]
Formula = Callable[..., Any]
Span = tuple[int, int]

LANES = 8
SIDE = 16  # panels of eight vectors along a piece of all distances

_inner = numba.njit(error_model="numpy", nogil=True)


@intrinsic
def _numbers_at(context: Any, arrays: Any, i: Any) -> Any:
    """The i-th number of each array of a tuple, as a tuple.

    Written out here, since Numba takes half a minute over eleven arrays indexed in a loop.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = []
        for position, kind in enumerate(signature.args[0]):
            array = builder.extract_value(arguments[0], position)
            data = context.make_array(kind)(context, builder, array).data
            numbers.append(builder.load(builder.gep(data, [arguments[1]])))
        return context.make_tuple(builder, signature.return_type, numbers)

    return types.UniTuple(types.float64, len(arrays))(arrays, types.intp), build


def _frozen(x: Floats) -> Floats:
    """A contiguous array that is not written to: one type, so that kernels compile once."""
    contiguous = np.ascontiguousarray(x).view()
    contiguous.flags.writeable = False
    return contiguous


@cache
def _map_kernel(formula: Formula) -> Formula:
    compiled = compile_formula(formula)

    def loop(arrays: Any, scalars: Any, out: Floats) -> None:
        for i in range(out.size):
            out[i] = compiled(*(_numbers_at(arrays, i) + scalars))

    loop.__name__ = f"map_{formula.__name__}"
    return kept(loop, (formula,))


def map_formula(formula: Formula, quantities: Mapping[str, Any]) -> Floats:
    """The formula at every position of the arrays that its parameters name.

    The parameters are the wiring: an array of doubles or a number each, arrays before numbers.
    Arrays are broadcast against each other.
    """
    named = [quantities[name] for name in parameters(formula)]
    arrays = [item for item in named if isinstance(item, np.ndarray)]
    scalars = tuple(float(item) for item in named[len(arrays) :])
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    out = np.empty(shape)
    flat = tuple(_frozen(np.broadcast_to(array, shape)).reshape(-1) for array in arrays)
    _map_kernel(formula)(flat, scalars, out.reshape(-1))
    return out


def constant(number: float, like: Floats) -> Floats:
    """An array of one number."""
    return np.full(like.shape, float(number))


@kept
def _sum_pair(x: Floats) -> tuple[float, float]:
    """The sum as a pair (high, low): about twice the digits of a double."""
    high = np.zeros(LANES)
    low = np.zeros(LANES)
    whole = x.size // LANES * LANES
    for i in range(0, whole, LANES):
        for j in range(LANES):
            high[j], lost = two_sum(high[j], x[i + j])
            low[j] += lost
    for i in range(whole, x.size):
        high[0], lost = two_sum(high[0], x[i])
        low[0] += lost
    total, rest = 0.0, 0.0
    for j in range(LANES):
        total, lost = two_sum(total, high[j])
        rest += lost + low[j]
    return total, rest


@kept
def _sum_of(x: Floats) -> float:
    """The sum, rounded once."""
    high, low = _sum_pair(x)
    return high + low if abs(high) < np.inf else high


def sum_pair(x: Floats) -> tuple[float, float]:
    """The sum of all numbers as a pair (high, low)."""
    high, low = _sum_pair(_frozen(x).reshape(-1))
    return float(high), float(low)


@kept
def _class_sums(x: Floats, out: Floats) -> None:
    for i in range(x.shape[0]):
        high, low = _sum_pair(x[i])
        out[i] = high + low if abs(high) < np.inf else high
        if np.isnan(high):
            below, above = False, False
            for c in range(x.shape[1]):
                below |= x[i, c] == -np.inf
                above |= x[i, c] == np.inf
            if above and not below:
                out[i] = np.inf


def class_sum(x: Floats) -> Floats:
    """(R, C) -> (R, 1): the sum over the classes, rounded once.

    A NaN here is a term without a limit; it matters no more where another term is +inf.
    """
    out = np.empty((x.shape[0], 1))
    _class_sums(_frozen(x), out[:, 0])
    return out


@kept
def _others(x: Floats, out: Floats, rest: Floats) -> None:
    classes = x.shape[1]
    for i in range(x.shape[0]):
        top = 0
        for c in range(1, classes):
            if abs(x[i, c]) > abs(x[i, top]):
                top = c
        for c in range(classes):
            rest[c] = x[i, c]
        rest[top] = 0.0
        high, low = _sum_pair(rest)
        below = high + low
        for c in range(classes):
            out[i, c] = (x[i, top] - x[i, c]) + below
        out[i, top] = below


def others(x: Floats) -> Floats:
    """(R, C) -> (R, C): the sum over all classes but this one, exact where it is zero."""
    out = np.empty(x.shape)
    _others(_frozen(x), out, np.empty(x.shape[1]))
    return out


_gap = compile_formula(row.gap)
_gap_error = compile_formula(row.gap_error)
_decay = compile_formula(row.decay)
_decay_error = compile_formula(row.decay_error)
_log_mass = compile_formula(row.log_mass)
_surprise = compile_formula(row.surprise)
_probability = compile_formula(row.probability)
_complement = compile_formula(row.complement)
_complement_error = compile_formula(row.complement_error)


@kept
def _softmax(
    z: Floats, temperature: float, surprise: Floats, p: Floats, q: Floats, q_error: Floats
) -> None:
    classes = z.shape[1]
    is_top = np.zeros(classes)
    gap = np.empty(classes)
    gap_error = np.empty(classes)
    decay = np.empty(classes)
    decay_error = np.empty(classes)
    for i in range(z.shape[0]):
        k = 0
        poison = 0.0
        for c in range(classes):
            if z[i, c] > z[i, k]:
                k = c
            poison = np.nan if np.isnan(z[i, c]) else poison
        top = z[i, k] + poison
        is_top[k] = 1.0
        for c in range(classes):
            gap[c] = _gap(z[i, c], top, is_top[c], temperature)
            gap_error[c] = _gap_error(z[i, c], top, temperature)
            decay[c] = _decay(gap[c], gap_error[c])
            decay_error[c] = _decay_error(gap[c], gap_error[c])
        at_top, at_top_error = decay[k], decay_error[k]
        decay[k], decay_error[k] = 0.0, 0.0
        tail, low = _sum_pair(decay)
        low += _sum_pair(decay_error)[0]
        decay[k], decay_error[k] = at_top, at_top_error
        tail, low = two_sum(tail, low)
        log_mass = _log_mass(tail, low)
        for c in range(classes):
            surprise[i, c] = _surprise(gap[c], gap_error[c], log_mass)
            p[i, c] = _probability(decay[c], decay_error[c], tail, low)
            q[i, c] = _complement(decay[c], decay_error[c], is_top[c], tail, low)
            q_error[i, c] = _complement_error(decay[c], decay_error[c], is_top[c], tail, low)
        is_top[k] = 0.0


def softmax(z: Floats, temperature: float = 1.0) -> tuple[Floats, Floats, Floats, Floats]:
    """(R, C) logits -> -log p, p, 1 - p, and what 1 - p lost to rounding; NaN fills its row."""
    out = np.empty((4, *z.shape))
    _softmax(_frozen(z), temperature, *out)
    return out[0], out[1], out[2], out[3]


def onehot(labels: NDArray[np.int64], classes: int) -> Floats:
    """(R, 1) labels -> (R, C) masses of 1; a label outside [0, C) has no mass."""
    return (labels == np.arange(classes)).astype(np.float64)


def picked(x: Floats, hit: Floats) -> Floats:
    """(R, C), one-hot (R, C) -> (R, 1): the number at the hit; 0 where the row has none."""
    return np.sum(x, axis=1, where=hit > 0, keepdims=True)


def row_max(x: Floats) -> Floats:
    """(R, C) -> (R, 1): the largest number of each row."""
    return np.max(x, axis=1, keepdims=True)


def nan_rows(x: Floats) -> Floats:
    """(R, C) -> (R, 1): NaN where the row has one, else 0."""
    return np.where(np.isnan(x).any(axis=1, keepdims=True), np.nan, 0.0)


def poison(out: Floats, touched: Sequence[Floats]) -> Floats:
    """NaN wherever one of the arrays is NaN: a NaN that comes in must come out."""
    for array in touched:
        out = np.where(np.isnan(array), np.nan, out)
    return out


# Similarities of anchors (rows) and candidates (columns), one block at a time --------------------


def products(x: Floats, y: Floats) -> Floats:
    """(R, D), (C, D) -> (R, C): the inner products, by BLAS."""
    return x @ y.T


def combine(weights: Floats, y: Floats) -> Floats:
    """(R, C), (C, D) -> (R, D): weighted sums of vectors, by BLAS."""
    return weights @ y


absorb = blocks.absorb
weigh = blocks.weigh

# Distances of every row of one array from every row of another -----------------------------------


@cache
def _length_kernels(metric: Metric) -> tuple[Formula, Formula]:
    term, root = compile_formula(metric.term), compile_formula(metric.root)
    size, share, slope = (
        compile_formula(length.size),
        compile_formula(length.share),
        _slope_of(metric),
    )

    @_inner
    def measured(x: Floats, y: Floats, terms: Floats) -> tuple[float, float]:
        for d in range(x.size):
            terms[d] = term(size(x[d] - y[d]))
        total = _sum_of(terms)
        if LOWEST < total < HIGHEST:
            return total, 1.0
        top = 0.0
        for d in range(x.size):
            r = size(x[d] - y[d])
            top = r if r > top or np.isnan(r) else top
        for d in range(x.size):
            terms[d] = term(share(x[d] - y[d], top))
        return _sum_of(terms), top

    @_inner
    def exact(x: Floats, y: Floats, terms: Floats) -> float:
        total, top = measured(x, y, terms)
        return root(total, top)

    def steered(x: Floats, y: Floats, weight: Floats, out: Floats) -> None:
        terms = np.empty(x.shape[1])
        for i in range(x.shape[0]):
            for k in range(y.shape[0]):
                if weight[i, k] != 0.0:
                    total, top = measured(x[i], y[k], terms)
                    for d in range(x.shape[1]):
                        r = x[i, d] - y[k, d]
                        out[i, d] += weight[i, k] * slope(r, share(r, top), total)

    return exact, kept(steered, metric)


def _slope_of(metric: Metric) -> Formula:
    """The slope as a function of residual, share and total, whichever of them it needs."""
    slope = compile_formula(metric.slope)
    if len(parameters(metric.slope)) == 3:
        return slope

    @_inner
    def of_residual(residual: float, share: float, total: float) -> float:
        return slope(residual)

    return of_residual


def _measured(x: Floats, y: Floats, metric: Metric | None) -> Floats:
    out = np.empty((x.shape[0], y.shape[0]))
    one, other = Panels(x), Panels(y)
    rows, columns = (slice(0, len(side.panels)) for side in (one, other))
    if one.measure(other, metric, out, rows, columns, False):
        _mend(metric)(_frozen(x), _frozen(y), out, (0, x.shape[0]), (0, y.shape[0]))
    return out


@cache
def _mend(metric: Metric | None) -> Formula:
    """What takes with care the distances that were lost."""
    exact = exact_distance(metric)

    def mend(x: Floats, y: Floats, out: Floats, rows: Span, columns: Span) -> None:
        terms = np.empty(x.shape[1])
        for i in range(*rows):
            for k in range(*columns):
                if out[i, k] < 0.0:
                    out[i, k] = exact(x[i], y[k], terms)

    return kept(mend, ("mend", metric))


def exact_distance(metric: Metric | None) -> Formula:
    """A distance of two vectors with all of its digits, whatever their sizes."""
    return _exact_angle if metric is None else _length_kernels(metric)[0]


class Mutual:
    """The distances of all vectors from each other, (N, N), in pieces that threads may share.

    A piece is a square on one side of the diagonal and its mirror image. Without a metric the
    vectors are unit vectors, and their distance is 1 - cos.
    """

    def __init__(self, x: Floats, metric: Metric | None) -> None:
        self.x, self.metric, self.panels = _frozen(x), metric, Panels(x)
        self.found = np.empty((x.shape[0], x.shape[0]))
        self.is_finite: Any = np.isfinite(x).all(axis=1)
        sides = range(0, len(self.panels.panels), SIDE)
        self.pieces = [(first, second) for first in sides for second in sides if first <= second]

    def fill(self, piece: tuple[int, int]) -> None:
        """Find the distances of a piece."""
        count = len(self.panels.panels)
        one, other = (slice(first, min(first + SIDE, count)) for first in piece)
        if not self.panels.measure(self.panels, self.metric, self.found, one, other, True):
            return
        rows, columns = (
            (side.start * LANES, min(side.stop * LANES, len(self.x))) for side in (one, other)
        )
        if rows == columns and self.metric is not None:
            self._put_diagonal(rows)
        for down, across in {(rows, columns), (columns, rows)}:
            if (self.found[slice(*down), slice(*across)] < 0).any():
                _mend(self.metric)(self.x, self.x, self.found, down, across)

    def _put_diagonal(self, rows: tuple[int, int]) -> None:
        """A vector of finite numbers is where it is: this much is known without care."""
        here = np.arange(*rows)[self.is_finite[slice(*rows)]]
        self.found[here, here] = 0.0


def distances(x: Floats, y: Floats, metric: Metric) -> Floats:
    """(R, D), (C, D) -> (R, C), from the differences themselves: near rows lose no digits."""
    return _measured(x, y, metric)


NEAR, FAR = 2.0**-450, 2.0**450  # between them a distance has a reciprocal and a square


def steered(
    x: Floats, y: Floats, weight: Floats, metric: Metric, distance: Floats | None = None
) -> Floats:
    """(R, D): for each row of x, the weighted sum of the slopes of its distances."""
    distance = distances(x, y, metric) if distance is None else distance
    usual = (distance == 0) | ((distance > NEAR) & (distance < FAR))
    if not usual.all() or metric.slope not in RATES or not _moderate(x, y):
        out = np.zeros(x.shape)
        _length_kernels(metric)[1](_frozen(x), _frozen(y), _frozen(weight), out)
        return out
    rate, step = RATES[metric.slope]
    factors = map_formula(rate, {"weight": weight, "distance": distance})
    return gather(step, x, y, factors, factors)


def _moderate(*arrays: Floats) -> bool:
    """Whether all numbers are finite, and so are their differences."""
    return all(x.size == 0 or bool(np.max(np.abs(x)) < HIGHEST) for x in arrays)


OPPOSITE = 1.5  # of 1 - cos; beyond, 1 + cos is what has to keep its digits

_angle = compile_formula(direction.gap)
_turn = compile_formula(direction.turn)


def _summed(formula: Formula) -> Formula:
    """The sum of what the components of two vectors come to, as a function of them and room."""
    part = compile_formula(formula)

    @_inner
    def total(u: Floats, v: Floats, terms: Floats) -> float:
        for d in range(u.size):
            terms[d] = part(u[d], v[d])
        return _sum_of(terms)

    return total


_overlap = _summed(direction.overlap)
_apart = _summed(direction.apart)
_against = _summed(direction.against)


@_inner
def _exact_angle(u: Floats, v: Floats, terms: Floats) -> float:
    return _angle(_overlap(u, v, terms), _apart(u, v, terms))


def angles(u: Floats, v: Floats) -> Floats:
    """Unit vectors (R, D), (C, D) -> (R, C): 1 - cos, without cancellation where it is small."""
    return _measured(u, v, None)


@_inner
def turn_all(u: Floats, v: Floats, weight: float, terms: Floats, out: Floats) -> None:
    """Take from ``out`` the weighted slope of the cosine of two unit vectors, of any angle."""
    cosine = _overlap(u, v, terms)
    apart = _apart(u, v, terms)
    against = _against(u, v, terms)
    for d in range(u.size):
        out[d] -= weight * _turn(u[d], v[d], cosine, apart, against, 1.0)


@kept
def _turned(u: Floats, v: Floats, weight: Floats, out: Floats) -> None:
    terms = np.empty(u.shape[1])
    for i in range(u.shape[0]):
        for k in range(v.shape[0]):
            if weight[i, k] != 0.0:
                turn_all(u[i], v[k], weight[i, k], terms, out[i])


def turned(u: Floats, v: Floats, weight: Floats, distance: Floats | None = None) -> Floats:
    """(R, D): for each row of u, the weighted sum of the slopes of its ``angles`` on the sphere."""
    gap = angles(u, v) if distance is None else distance
    usual = gap < OPPOSITE if _moderate(u, v) else np.zeros(gap.shape, bool)
    out = np.zeros(u.shape)
    if not usual.all():
        _turned(_frozen(u), _frozen(v), _frozen(np.where(usual, 0.0, weight)), out)
        weight, gap = np.where(usual, weight, 0.0), np.where(usual, gap, 0.0)
    return out - gather(direction.swing, u, v, weight, gap) if _moderate(u, v) else out
