"""Focal loss of a softmax: cross-entropy that turns away from easy rows."""

from typing import Any

from refloss import arguments
from refloss.dispatch import rowwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import product, quotient, where
from refloss.formula.pairs import TINY, blend, power_of_pair
from refloss.loss import Promise, loss

Array = Any


def value(hit_weight: Any, hit_surprise: Any, hit_q: Any, hit_q_lost: Any, gamma: Any) -> Any:
    return product(hit_weight * power_of_pair(hit_q, hit_q_lost, gamma), hit_surprise)


def pull(
    hit_weight: Any, hit_surprise: Any, hit_p: Any, hit_q: Any, hit_q_lost: Any, gamma: Any
) -> Any:
    """dL/dl with l = -log p_y: w q^gamma (1 + gamma p l / q), finite for every gamma."""
    power = hit_weight * power_of_pair(hit_q, hit_q_lost, gamma)
    return power * (1 + product(gamma * hit_p, quotient(hit_surprise, hit_q)))


def input_gradient(
    p: Any,
    hit: Any,
    hit_weight: Any,
    hit_surprise: Any,
    hit_p: Any,
    hit_q: Any,
    hit_q_lost: Any,
    gamma: Any,
) -> Any:
    f = pull(hit_weight, hit_surprise, hit_p, hit_q, hit_q_lost, gamma)
    return product(where(hit > 0, -hit_q, p), f)


def curvature(
    p: Any,
    q: Any,
    hit: Any,
    hit_weight: Any,
    hit_surprise: Any,
    hit_p: Any,
    hit_q: Any,
    hit_q_lost: Any,
    hit_root: Any,
    gamma: Any,
) -> Any:
    # d2L/dz_c^2 = f'' g^2 + f' p_c (1 - p_c), with g = p_c - [c = y] and primes by l = -log p_y
    f = pull(hit_weight, hit_surprise, hit_p, hit_q, hit_q_lost, gamma)
    power = gamma * hit_weight * power_of_pair(hit_q, hit_q_lost, gamma)
    bend = (2 - hit_surprise) + product((gamma - 1) * hit_p, quotient(hit_surprise, hit_q))
    # a p that has underflowed is put in by halves, for l may lift it again
    drag = where(hit_p < TINY, product(hit_root, product(hit_root, bend)), product(hit_p, bend))
    return blend(where(hit > 0, hit_q, p * quotient(p, hit_q)), power * drag, p * q, f)


FORMULAS = Formulas(value, {"input": input_gradient}, {"input": curvature})


@loss(Promise())
def softmax_focal_loss(
    input: Array,
    target: Array,
    gamma: float = 2.0,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Focal loss of logits z: w_y (1 - p_y)^gamma (-log p_y) with p = softmax(z).

    Parameters
    ----------
    input : array
        Logits of shape (C,) or (N, C, d1, ..., dk), floating.
    target : array
        Class indices y (integers) of shape () or (N, d1, ..., dk).
    gamma : float
        How strongly easy rows are silenced, >= 0; 0 gives ``cross_entropy``, to the bit.
    weight : array, optional
        One non-negative w_c a class, (C,): alpha in the paper.
    ignore_index : int
        The index whose rows count for nothing.
    reduction : {"mean", "none", "sum"}
        The mean divides by the sum of the weights of the rows' classes.
    backend : {"numba", "array", "cuda", "cuda:float32"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run. "cuda:float32" computes in float32 inside, with its own promise, and takes no float64.

    Returns
    -------
    array
        A scalar, or with ``reduction="none"`` an array of shape () or (N, d1, ..., dk).

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how, and
        names the first label that is not a class.

    Notes
    -----
    Smooth for finite logits, and its gradient is finite for every gamma; infinite logits are
    treated as in ``cross_entropy``. If every row is ignored the mean is NaN and the gradient 0.
    Error: at most 1 ulp below float64 and 4 ulp in float64; the terms of the second derivative may
    cancel, and then in ulps of the largest.
    Keras's ``CategoricalFocalCrossentropy`` also multiplies every class with alpha = 0.25.

    References
    ----------
    T.-Y. Lin et al., Focal loss for dense object detection, ICCV 2017, equation 5.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.softmax_focal_loss(np.array([[0.0, 0.0]]), [1])
    np.float64(0.17328679513998632)
    """
    x = arguments.floating("input", input)
    return rowwise(
        FORMULAS,
        {"input": x},
        reduction=reduction,
        labels=arguments.labels("target", target, x),
        ignore_index=arguments.integer("ignore_index", ignore_index),
        weight=weight,
        parameters={"gamma": arguments.number("gamma", gamma, low=0, finite=True)},
        backend=backend,
    )
