"""Smooth L1 loss: the Huber loss divided by its threshold."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import absolute, where
from refloss.loss import Promise, loss
from refloss.losses.l1_loss import FORMULAS as L1_FORMULAS
from refloss.losses.l1_loss import sign

Array = Any


def value(input: Any, target: Any, beta: Any) -> Any:
    r = input - target
    a = absolute(r)
    # r / beta first: r^2 may be out of range where the loss is not
    return where(a >= beta, a - beta / 2, r / beta * r / 2)


def slope(r: Any, beta: Any) -> Any:
    return where(absolute(r) >= beta, sign(r), r / beta)


def input_gradient(input: Any, target: Any, beta: Any) -> Any:
    return slope(input - target, beta)


def target_gradient(input: Any, target: Any, beta: Any) -> Any:
    return slope(target - input, beta)


def curvature(input: Any, target: Any, beta: Any) -> Any:
    a = absolute(input - target)
    return where(a >= beta, 0, where(a < beta, 1 / beta, a))


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature, "target": curvature},
    never_negative=True,
)


@loss(Promise())
def smooth_l1_loss(
    input: Array,
    target: Array,
    reduction: str = "mean",
    beta: float = 1.0,
    *,
    backend: str | None = None,
) -> Plan:
    """Smooth L1 loss: r^2 / (2 beta) below abs(r) = beta, abs(r) - beta / 2 from there on.

    Parameters
    ----------
    input, target : array
        Floating, of one shape and dtype; r = input - target.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements.
    beta : float
        Where the parabola ends, in units of the residual; 0 gives ``l1_loss``.
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
    The second derivative jumps from 1 / beta to 0 at abs(r) = beta; it is 0 there. With beta = 0
    the gradient at r = 0 is 0, a member of the subdifferential [-1, 1]. NaN stays in its element.
    Error: at most 1 ulp below float64 and 4 ulp in float64.
    ``huber_loss(delta)`` is this loss times delta = beta; some libraries give one the other's name.

    References
    ----------
    R. Girshick, Fast R-CNN, ICCV 2015, equation 3.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.smooth_l1_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]), "none", beta=2.0)
    array([0.0625, 2.    ])
    """
    x = arguments.floating("input", input)
    t = arguments.floating_like("target", target, x)
    edge = arguments.number("beta", beta, low=0)
    return elementwise(
        FORMULAS if edge > 0 else L1_FORMULAS,
        {"input": x, "target": t},
        reduction=reduction,
        parameters={"beta": edge},
        backend=backend,
    )
