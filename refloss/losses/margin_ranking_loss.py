"""Margin ranking loss: which of two scores should be the larger."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula.hinge import active, excess_over, hinge
from refloss.loss import Promise, loss

Array = Any


def violation(input1: Any, input2: Any, target: Any, margin: Any) -> Any:
    """How far the scores are from the order that the target asks for, with the margin."""
    return excess_over(target * input2, target * input1, margin)


def value(input1: Any, input2: Any, target: Any, margin: Any) -> Any:
    return hinge(violation(input1, input2, target, margin))


def first_gradient(input1: Any, input2: Any, target: Any, margin: Any) -> Any:
    return -target * active(violation(input1, input2, target, margin))


def second_gradient(input1: Any, input2: Any, target: Any, margin: Any) -> Any:
    return target * active(violation(input1, input2, target, margin))


def curvature() -> Any:
    return 0


FORMULAS = Formulas(
    value,
    {"input1": first_gradient, "input2": second_gradient},
    {"input1": curvature, "input2": curvature},
)


@loss(Promise())
def margin_ranking_loss(
    input1: Array,
    input2: Array,
    target: Array,
    margin: float = 0.0,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Margin ranking loss max(0, -t (x1 - x2) + margin): t = 1 asks for x1 above x2.

    Parameters
    ----------
    input1, input2 : array
        Scores x1 and x2, floating, of one shape and dtype.
    target : array
        t, 1 or -1, in their shape; whole or floating numbers.
    margin : float
        By how much one score has to exceed the other, >= 0.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements.
    backend : {"numba", "array", "cuda", "cuda:float32"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run. "cuda:float32" computes in float32 inside, with its own promise, and takes no float64.

    Returns
    -------
    array
        A scalar, or with ``reduction="none"`` an array of the shape of ``input1``.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    Where the margin is kept exactly the derivative jumps; it is 0 there (PyTorch takes the full
    one). NaN stays in its element and the mean of nothing is NaN.
    Error: at most 1 ulp below float64 and 4 ulp in float64; where x1 - x2 and the margin cancel, in
    ulps of the larger. PyTorch spreads arguments of different shapes against each other.

    References
    ----------
    T. Joachims, Optimizing search engines using clickthrough data, KDD 2002, section 4.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.margin_ranking_loss(np.array([1.0, 1.0]), np.array([0.5, 3.0]), [1, 1], 1.0, "none")
    array([0.5, 3. ])
    """
    x = arguments.floating("input1", input1)
    y = arguments.floating_like("input2", input2, x, "input1")
    return elementwise(
        FORMULAS,
        {"input1": x, "input2": y},
        reduction=reduction,
        constants={"target": arguments.signs(target, x, "input1")},
        parameters={"margin": arguments.number("margin", margin, low=0, finite=True)},
        backend=backend,
    )
