"""Cross-entropy of probabilities, the first formula of every textbook."""

from typing import Any

from refloss import arguments
from refloss.dispatch import rowwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import log, product, quotient, where
from refloss.loss import Promise, loss

Array = Any


def mass(weight: Any, target: Any) -> Any:
    """What -log p_c is multiplied with."""
    return weight * target


def value(mass: Any, input: Any) -> Any:
    return product(mass, -log(input))


def input_gradient(mass: Any, input: Any) -> Any:
    return -quotient(mass, input)


def target_gradient(weight: Any, input: Any) -> Any:
    return product(weight, -log(input))


def curvature(mass: Any, input: Any) -> Any:
    return quotient(quotient(mass, input), input)


def index_value(hit_weight: Any, hit_input: Any) -> Any:
    return product(hit_weight, -log(hit_input))


def index_gradient(hit: Any, hit_weight: Any, hit_input: Any) -> Any:
    return where(hit > 0, -quotient(hit_weight, hit_input), 0)


def index_curvature(hit: Any, hit_weight: Any, hit_input: Any) -> Any:
    return where(hit > 0, quotient(quotient(hit_weight, hit_input), hit_input), 0)


SOFT_FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature},
)
INDEX_FORMULAS = Formulas(index_value, {"input": index_gradient}, {"input": index_curvature})


@loss(Promise())
def cross_entropy_with_probs(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Cross-entropy of probabilities p: -sum_c w_c y_c log p_c.

    Parameters
    ----------
    input : array
        Probabilities in [0, 1] of shape (C,) or (N, C, d1, ..., dk), floating; neither renormalised
        nor clipped.
    target : array
        Class indices (integers) of shape () or (N, d1, ..., dk), or class probabilities (floating,
        in the shape and dtype of ``input``; need not sum to 1).
    weight : array, optional
        One non-negative w_c a class, (C,).
    ignore_index : int
        The index whose rows count for nothing; for class indices only.
    reduction : {"mean", "none", "sum"}
        The mean of class indices divides by the sum of the weights of the rows' classes, that of
        class probabilities by the number of rows.
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
    A probability of 0 gives an infinite loss where it has mass and none where it has not
    (0 log 0 = 0). The derivative treats the p_c as free, not as summing to 1. With class indices
    only the entry of the class counts.
    Error: at most 1 ulp below float64 and 4 ulp in float64.
    Keras renormalises the predictions and clips them to [1e-7, 1 - 1e-7] first.

    References
    ----------
    C. E. Shannon, A mathematical theory of communication, 1948; I. J. Good, Rational decisions,
    JRSS B 14, 1952.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.cross_entropy_with_probs(np.array([[0.25, 0.75]]), [1])
    np.float64(0.2876820724517809)
    """
    x = arguments.floating("input", input)
    arguments.probabilities("input", x)
    variables, labels = arguments.classes_or_masses(target, x, ignore_index)
    return rowwise(
        SOFT_FORMULAS if labels is None else INDEX_FORMULAS,
        variables,
        reduction=reduction,
        labels=labels,
        ignore_index=arguments.integer("ignore_index", ignore_index),
        weight=weight,
        mass=mass,
        backend=backend,
    )
