"""Squared error."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.loss import Promise, loss

Array = Any


def value(input: Any, target: Any) -> Any:
    r = input - target
    return r * r


def input_gradient(input: Any, target: Any) -> Any:
    return 2 * (input - target)


def target_gradient(input: Any, target: Any) -> Any:
    return 2 * (target - input)


def curvature() -> Any:
    return 2


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature, "target": curvature},
    never_negative=True,
)


@loss(Promise())
def mse_loss(
    input: Array,
    target: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    *,
    backend: str | None = None,
) -> Plan:
    """Mean squared error, r^2 with r = input - target; no factor one half.

    Parameters
    ----------
    input, target : array
        Floating, of one shape and dtype.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements; with weights, by their sum.
    weight : array, optional
        Non-negative, broadcasts to ``input``.
    backend : {"numba", "array", "cuda", "cuda:float32"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run. "cuda:float32" computes in float32 inside, with its own promise, and takes no float64.

    Returns
    -------
    array
        A scalar, or with ``reduction="none"`` an array of the shape of ``input``.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or sign; the message says which and how.

    Notes
    -----
    Smooth everywhere; the second derivative is 2. NaN stays in its element, an infinite r gives an
    infinite loss, and the mean of nothing is NaN.
    Error: at most 1 ulp below float64 and 4 ulp in float64.
    PyTorch divides a weighted mean by the sum of the weights, as here (but not in its
    ``huber_loss``); optax's ``l2_loss`` has the factor one half.

    References
    ----------
    C. F. Gauss, Theoria motus corporum coelestium, 1809, section 179.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.mse_loss(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    np.float64(2.5)
    """
    x = arguments.floating("input", input)
    t = arguments.floating_like("target", target, x)
    return elementwise(
        FORMULAS,
        {"input": x, "target": t},
        reduction=reduction,
        weight=arguments.broadcast_weights("weight", weight, x),
        mean_over_weights=True,
        backend=backend,
    )
