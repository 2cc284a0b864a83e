"""The kernels over whole float64 arrays, in any namespace of the Python array API standard.

The same functions as in `refloss.kernels.cpu`, on the same formulas; NumPy, CuPy, PyTorch and
others bring the loops. Sums are compensated, so they are as good here as there.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from array_api_compat import array_namespace, device

from refloss.formula import direction, similarity
from refloss.formula import distance as length
from refloss.formula import softmax as row
from refloss.formula.arrays import meaning
from refloss.formula.reading import parameters, read
from refloss.kernels.anchors import Place, Seen, Softmax
from refloss.kernels.metric import HIGHEST, LOWEST, Metric

Array = Any
Formula = Callable[..., Any]


@cache
def _bound(formula: Formula, xp: Any) -> Formula:
    return read(formula, meaning(xp))


def map_formula(formula: Formula, quantities: Mapping[str, Any]) -> Array:
    """The formula of the arrays and numbers that its parameters name."""
    named = [quantities[name] for name in parameters(formula)]
    arrays = [item for item in named if not isinstance(item, int | float)]
    xp = array_namespace(*arrays)
    out = _bound(formula, xp)(*named)
    shape = xp.broadcast_arrays(*arrays)[0].shape
    if isinstance(out, int | float):
        return xp.full(shape, float(out), dtype=xp.float64, device=device(arrays[0]))
    return xp.broadcast_to(xp.asarray(out, dtype=xp.float64), shape)


def constant(number: float, like: Array) -> Array:
    """An array of one number."""
    return array_namespace(like).full_like(like, float(number))


def _two_sum(xp: Any, x: Array, y: Array) -> tuple[Array, Array]:
    total = x + y
    y_part = total - x
    lost = (x - (total - y_part)) + (y - y_part)
    return total, xp.where(xp.isfinite(total), lost, xp.zeros_like(lost))


def _sum_last(x: Array) -> tuple[Array, Array]:
    """Sums over the last axis as pairs, by halving: log2(n) additions deep."""
    xp = array_namespace(x)
    high, low = x, xp.zeros_like(x)
    while high.shape[-1] > 1:
        half, odd = divmod(high.shape[-1], 2)
        total, lost = _two_sum(xp, high[..., :half], high[..., half : 2 * half])
        rest = low[..., :half] + low[..., half : 2 * half] + lost
        if odd:
            total = xp.concat([total, high[..., -1:]], axis=-1)
            rest = xp.concat([rest, low[..., -1:]], axis=-1)
        high, low = total, rest
    if high.shape[-1] == 0:
        zero = xp.zeros(high.shape[:-1], dtype=xp.float64, device=device(x))
        return zero, zero
    return high[..., 0], low[..., 0]


def sum_pair(x: Array) -> tuple[float, float]:
    """The sum of all numbers as a pair (high, low)."""
    xp = array_namespace(x)
    high, low = _sum_last(xp.reshape(x, (-1,)))
    return float(high), float(low)


def class_sum(x: Array) -> Array:
    """(R, C) -> (R, 1): the sum over the classes, rounded once.

    A NaN here is a term without a limit; it matters no more where another term is +inf.
    """
    xp = array_namespace(x)
    high, low = _sum_last(x)
    total = xp.where(xp.isfinite(high), high + low, high)
    decided = xp.any(x == float("inf"), axis=1) & ~xp.any(x == -float("inf"), axis=1)
    infinite = xp.full_like(total, float("inf"))
    return xp.where(xp.isnan(total) & decided, infinite, total)[:, None]


def _first_largest(xp: Any, x: Array) -> Array:
    """One-hot (R, C) of the first largest number of each row."""
    at = xp.argmax(x, axis=1, keepdims=True)
    return xp.astype(at == xp.arange(x.shape[1], device=device(x))[None, :], xp.float64)


def others(x: Array) -> Array:
    """(R, C) -> (R, C): the sum over all classes but this one, exact where it is zero."""
    xp = array_namespace(x)
    is_top = _first_largest(xp, xp.abs(x))
    hit = is_top > 0
    zero = xp.zeros_like(x)
    top = picked(x, is_top)
    below = class_sum(xp.where(hit, zero, x))
    return xp.where(hit, below + zero, (top - x) + below)


def softmax(z: Array, temperature: float = 1.0) -> tuple[Array, Array, Array, Array]:
    """(R, C) logits -> -log p, p, 1 - p, and what 1 - p lost to rounding; NaN fills its row."""
    xp = array_namespace(z)
    is_top = _first_largest(xp, xp.where(xp.isnan(z), xp.zeros_like(z), z))
    hit = is_top > 0
    known: dict[str, Any] = {"z": z, "is_top": is_top, "temperature": temperature}
    known["top"] = xp.max(z + nan_rows(z), axis=1, keepdims=True)
    known["gap"] = map_formula(row.gap, known)
    known["gap_error"] = map_formula(row.gap_error, known)
    known["decay"] = map_formula(row.decay, known)
    known["decay_error"] = map_formula(row.decay_error, known)
    zero = xp.zeros_like(z)
    high, low = _sum_last(xp.where(hit, zero, known["decay"]))
    low = low + _sum_last(xp.where(hit, zero, known["decay_error"]))[0]
    tail, tail_error = _two_sum(xp, high, low)
    known["tail"] = tail[:, None]
    known["tail_error"] = tail_error[:, None]
    known["log_mass"] = map_formula(row.log_mass, known)
    return (
        map_formula(row.surprise, known),
        map_formula(row.probability, known),
        map_formula(row.complement, known),
        map_formula(row.complement_error, known),
    )


def onehot(labels: Array, classes: int) -> Array:
    """(R, 1) labels -> (R, C) masses of 1; a label outside [0, C) has no mass."""
    xp = array_namespace(labels)
    return xp.astype(
        labels == xp.arange(classes, dtype=labels.dtype, device=device(labels))[None, :], xp.float64
    )


def picked(x: Array, hit: Array) -> Array:
    """(R, C), one-hot (R, C) -> (R, 1): the number at the hit; 0 where the row has none."""
    xp = array_namespace(x)
    return xp.sum(xp.where(hit > 0, x, xp.zeros_like(x)), axis=1, keepdims=True)


def row_max(x: Array) -> Array:
    """(R, C) -> (R, 1): the largest number of each row."""
    return array_namespace(x).max(x, axis=1, keepdims=True)


def nan_rows(x: Array) -> Array:
    """(R, C) -> (R, 1): NaN where the row has one, else 0."""
    xp = array_namespace(x)
    zero = xp.zeros_like(x[:, :1])
    return xp.where(xp.any(xp.isnan(x), axis=1, keepdims=True), zero + float("nan"), zero)


def poison(out: Array, touched: Sequence[Array]) -> Array:
    """NaN wherever one of the arrays is NaN: a NaN that comes in must come out."""
    xp = array_namespace(out, *touched)
    missing = xp.full((), float("nan"), dtype=xp.float64, device=device(out))
    for array in touched:
        out = xp.where(xp.isnan(array), missing, out)
    return out


def products(x: Array, y: Array) -> Array:
    """(R, D), (C, D) -> (R, C): the inner products."""
    xp = array_namespace(x)
    return xp.matmul(x, xp.permute_dims(y, (1, 0)))


def combine(weights: Array, y: Array) -> Array:
    """(R, C), (C, D) -> (R, D): weighted sums of vectors."""
    return array_namespace(y).matmul(weights, y)


def _numbered(xp: Any, s: Array, axis: int, start: int) -> Array:
    """The numbers of the rows or the columns of a block, from ``start``."""
    numbers = xp.arange(start, start + s.shape[axis], device=device(s))
    return numbers[:, None] if axis == 0 else numbers[None, :]


def _is_self(xp: Any, s: Array, place: Place) -> Array:
    return _numbered(xp, s, 1, 0) == _numbered(xp, s, 0, place.self_at)


def absorb(
    seen: Seen, s: Array, row_labels: Array, column_labels: Array, place: Place, temperature: float
) -> Seen:
    """What is known of the anchors after one more block of candidates."""
    xp = array_namespace(s)
    own, zero = _is_self(xp, s, place), xp.zeros_like(s)
    candidates = xp.where(own, xp.full_like(s, -float("inf")), s)
    is_top = _first_largest(xp, xp.where(xp.isnan(candidates), zero, candidates))
    best = row_max(candidates) + nan_rows(candidates)
    decays = map_formula(similarity.decay, {"s": s, "top": best, "temperature": temperature})
    known: dict[str, Any] = {
        "top": seen.top,
        "tail": seen.tail,
        "other_top": best,
        "other_tail": class_sum(xp.where(own | (is_top > 0), zero, decays)),
        "temperature": temperature,
    }
    positive = (row_labels[:, None] == column_labels[None, :]) & ~own
    at = place.first + xp.argmax(is_top, axis=1, keepdims=True)
    return Seen(
        map_formula(similarity.joined_top, known),
        xp.where(best > seen.top, at, seen.top_at),
        map_formula(similarity.joined_tail, known),
        seen.positives + class_sum(xp.where(positive, s, zero)),
        seen.count + xp.sum(xp.astype(positive, xp.float64), axis=1, keepdims=True),
    )


def pulls(
    s: Array,
    softmax: Softmax,
    row_labels: Array,
    column_labels: Array,
    place: Place,
    temperature: float,
    *,
    by_column: bool = False,
) -> Array:
    """(R, C): the derivatives of the loss by the similarities; anchors may be the columns."""
    xp = array_namespace(s)
    known: dict[str, Any] = {"s": s, "temperature": temperature}
    for name, part in softmax._asdict().items():
        known[name] = xp.permute_dims(part, (1, 0)) if by_column else part
    candidates = _numbered(xp, s, 0 if by_column else 1, place.first)
    known["decay"] = map_formula(similarity.decay, known)
    known["is_top"] = xp.astype(known["top_at"] == candidates, xp.float64)
    positive = row_labels[:, None] == column_labels[None, :]
    known["is_positive"] = xp.astype(positive, xp.float64)
    known["coefficient"] = map_formula(similarity.coefficient, known)
    pull = map_formula(similarity.weighted, known)
    return xp.where(_is_self(xp, s, place), xp.zeros_like(pull), pull)


def _component_sum(x: Array) -> Array:
    """(R, C, D) -> (R, C)."""
    high, low = _sum_last(x)
    xp = array_namespace(x)
    return xp.where(xp.isfinite(high), high + low, high)


def _measured(x: Array, y: Array, metric: Metric) -> dict[str, Array]:
    xp = array_namespace(x)
    residual = x[:, None, :] - y[None, :, :]
    size = map_formula(length.size, {"x": residual})
    total = _component_sum(map_formula(metric.term, {"share": size}))
    inside = (total > LOWEST) & (total < HIGHEST)  # only there are sums exact that fit a double
    top = xp.where(inside, xp.ones_like(total), xp.max(size, axis=-1))
    share = map_formula(length.share, {"residual": residual, "top": top[..., None]})
    scaled = _component_sum(map_formula(metric.term, {"share": share}))
    return {
        "residual": residual,
        "top": top,
        "share": share,
        "total": xp.where(inside, total, scaled),
    }


def distances(x: Array, y: Array, metric: Metric) -> Array:
    """(R, D), (C, D) -> (R, C), from the differences themselves: near rows lose no digits."""
    return map_formula(metric.root, _measured(x, y, metric))


def steered(x: Array, y: Array, weight: Array, metric: Metric) -> Array:
    """(R, D): for each row of x, the weighted sum of the slopes of its distances."""
    xp = array_namespace(x)
    known = _measured(x, y, metric)
    known["total"] = known["total"][..., None]
    slopes = map_formula(metric.slope, known) * weight[..., None]
    idle = xp.broadcast_to(weight[..., None] == 0, slopes.shape)
    return xp.sum(xp.where(idle, xp.zeros_like(slopes), slopes), axis=1)


def _meeting(u: Array, v: Array) -> dict[str, Array]:
    known = {"first": u[:, None, :], "second": v[None, :, :]}
    return {
        name: _component_sum(map_formula(formula, known))
        for name, formula in (
            ("cosine", direction.overlap),
            ("apart", direction.apart),
            ("against", direction.against),
        )
    }


def angles(u: Array, v: Array) -> Array:
    """Unit vectors (R, D), (C, D) -> (R, C): 1 - cos, without cancellation where it is small."""
    return map_formula(direction.gap, _meeting(u, v))


def turned(u: Array, v: Array, weight: Array) -> Array:
    """(R, D): for each row of u, the weighted sum of the slopes of its ``angles`` on the sphere."""
    xp = array_namespace(u)
    known = {name: part[..., None] for name, part in _meeting(u, v).items()}
    known |= {"first": u[:, None, :], "second": v[None, :, :]}
    known["length"] = xp.ones_like(known["cosine"])
    turns = map_formula(direction.turn, known) * weight[..., None]
    idle = xp.broadcast_to(weight[..., None] == 0, turns.shape)
    return -xp.sum(xp.where(idle, xp.zeros_like(turns), turns), axis=1)
