"""Binary cross-entropy of a logit."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import product, where
from refloss.formula.logistic import sigmoid, sigmoid_slope, softplus, tail
from refloss.loss import Promise, loss

Array = Any


def value(input: Any, target: Any, pos_weight: Any) -> Any:
    # softplus(z) - t z loses all digits at t = 1, z > 37
    return product(pos_weight * target, softplus(-input)) + product(1 - target, softplus(input))


def input_gradient(input: Any, target: Any, pos_weight: Any) -> Any:
    # sigmoid(z) - t is 0 for t = 1, z > 37, where the gradient is -e^-z
    return (1 - target) * sigmoid(input) - pos_weight * target * sigmoid(-input)


def target_gradient(input: Any, pos_weight: Any) -> Any:
    # softplus(z) = z + tail for z > 0, tail otherwise: at pos_weight 1 only z is left, exactly
    return (pos_weight - 1) * tail(input) - where(input > 0, input, product(pos_weight, input))


def curvature(input: Any, target: Any, pos_weight: Any) -> Any:
    return (pos_weight * target + (1 - target)) * sigmoid_slope(input)


def target_curvature() -> Any:
    return 0


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature, "target": target_curvature},
    never_negative=True,
)


@loss(Promise())
def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Array | None = None,
    reduction: str = "mean",
    pos_weight: Array | None = None,
    *,
    backend: str | None = None,
) -> Plan:
    """Binary cross-entropy of a logit z: -w [pw t log s(z) + (1 - t) log(1 - s(z))], s the sigmoid.

    Parameters
    ----------
    input : array
        Logits z, floating, of any shape.
    target : array
        Probability t of the positive class, in the shape and dtype of ``input``; usually in
        [0, 1], though the formula holds outside.
    weight : array, optional
        Non-negative w, broadcasts to ``input``.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements, with weights too.
    pos_weight : array, optional
        Non-negative pw, the weight of the positive term; broadcasts to ``input``.
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
    Smooth. Infinite logits have their limits: 0 on the right side of a hard target, infinity on
    the wrong one. NaN stays in its element and the mean of nothing is NaN.
    Error: at most 1 ulp below float64 and 4 ulp in float64, in the value and in the gradient, also
    where the prediction is confident; PyTorch's float32 gradient there is 0.

    References
    ----------
    D. R. Cox, The regression analysis of binary sequences, JRSS B 20, 1958.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> z, t = np.array([20.0]), np.array([1.0])
    >>> refloss.binary_cross_entropy_with_logits.value_and_grad(z, t)
    (np.float64(2.061153620314381e-09), array([-2.06115362e-09]))
    """
    x = arguments.floating("input", input)
    t = arguments.floating_like("target", target, x)
    positive = arguments.broadcast_weights("pos_weight", pos_weight, x)
    return elementwise(
        FORMULAS,
        {"input": x, "target": t},
        reduction=reduction,
        weight=arguments.broadcast_weights("weight", weight, x),
        constants={"pos_weight": 1.0 if positive is None else positive},
        backend=backend,
    )
