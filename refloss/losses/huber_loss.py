"""Huber loss: quadratic near zero, linear in the tails."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import absolute, where
from refloss.loss import Promise, loss

Array = Any


def value(input: Any, target: Any, delta: Any) -> Any:
    r = input - target
    a = absolute(r)
    # a >= delta keeps a - delta/2 above delta/2: the difference loses nothing
    return where(a > delta, delta * (a - delta / 2), r / 2 * r)


def slope(r: Any, delta: Any) -> Any:
    """r, clipped to [-delta, delta]."""
    return where(r > delta, delta, where(r < -delta, -delta, r))


def input_gradient(input: Any, target: Any, delta: Any) -> Any:
    return slope(input - target, delta)


def target_gradient(input: Any, target: Any, delta: Any) -> Any:
    return slope(target - input, delta)


def curvature(input: Any, target: Any, delta: Any) -> Any:
    a = absolute(input - target)
    return where(a > delta, 0, where(a <= delta, 1, a))


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature, "target": curvature},
    never_negative=True,
)


@loss(Promise())
def huber_loss(
    input: Array,
    target: Array,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Array | None = None,
    *,
    backend: str | None = None,
) -> Plan:
    """Huber loss: r^2 / 2 up to abs(r) = delta, delta (abs(r) - delta / 2) beyond.

    Parameters
    ----------
    input, target : array
        Floating, of one shape and dtype; r = input - target.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements, with weights too (as PyTorch's does).
    delta : float
        Where the parabola ends, in units of the residual; above 0. Infinity gives half of
        ``mse_loss``.
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
    Once differentiable everywhere. At abs(r) = delta the second derivative jumps from 1 to 0; it is
    1 there. NaN stays in its element and the mean of nothing is NaN.
    Error: at most 1 ulp below float64 and 4 ulp in float64.
    ``smooth_l1_loss(beta)`` is this loss divided by beta = delta.

    References
    ----------
    P. J. Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35,
    1964, section 1.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.huber_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]), "none", delta=1.0)
    array([0.125, 2.5  ])
    """
    x = arguments.floating("input", input)
    t = arguments.floating_like("target", target, x)
    return elementwise(
        FORMULAS,
        {"input": x, "target": t},
        reduction=reduction,
        weight=arguments.broadcast_weights("weight", weight, x),
        parameters={"delta": arguments.number("delta", delta, low=0, open_low=True)},
        backend=backend,
    )
