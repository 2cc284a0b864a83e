"""Absolute error."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import absolute, where
from refloss.loss import Promise, loss

Array = Any


def value(input: Any, target: Any) -> Any:
    return absolute(input - target)


def sign(r: Any) -> Any:
    """-1, 0 or 1; the member of the subdifferential [-1, 1] taken at 0 is 0."""
    return where(r > 0, 1, where(r < 0, -1, r))


def input_gradient(input: Any, target: Any) -> Any:
    return sign(input - target)


def target_gradient(input: Any, target: Any) -> Any:
    return sign(target - input)


def curvature() -> Any:
    return 0


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature, "target": curvature},
    never_negative=True,
)


@loss(Promise())
def l1_loss(
    input: Array,
    target: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    *,
    backend: str | None = None,
) -> Plan:
    """Mean absolute error, abs(r) with r = input - target.

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
    At the kink r = 0 the gradient is 0, a member of the subdifferential [-1, 1]; the second
    derivative is 0. NaN stays in its element and the mean of nothing is NaN.
    Error: at most 1 ulp below float64 and 4 ulp in float64.

    References
    ----------
    P. S. Laplace, Memoire sur la probabilite des causes par les evenements, 1774.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.l1_loss(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    np.float64(1.5)
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
