"""Binary cross-entropy of a probability."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import absolute, log, log1p, product, quotient, where
from refloss.loss import Promise, loss

Array = Any


def value(input: Any, target: Any) -> Any:
    return product(target, -log(input)) + product(1 - target, -log1p(-input))


def input_gradient(input: Any, target: Any) -> Any:
    # (1 - t) / (1 - p) - t / p cancels around p = t, where p - t is exact
    soft = (input - target) / input / (1 - input)
    return where(target == 0, 1 / (1 - input), where(target == 1, -1 / input, soft))


def target_gradient(input: Any) -> Any:
    # around p = 1/2 the logarithms cancel, while 1 - 2p is exact
    near = absolute(2 * input - 1) * 2 <= 1
    return where(near, log1p((1 - 2 * input) / input), log1p(-input) - log(input))


def curvature(input: Any, target: Any) -> Any:
    # p^2 would underflow where t / p / p does not
    off = quotient(quotient(1 - target, 1 - input), 1 - input)
    return quotient(quotient(target, input), input) + off


def target_curvature() -> Any:
    return 0


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature, "target": target_curvature},
    never_negative=True,
)


@loss(Promise())
def binary_cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Binary cross-entropy of a probability p: -w [t log p + (1 - t) log(1 - p)].

    Parameters
    ----------
    input : array
        Probabilities p in [0, 1], floating, of any shape.
    target : array
        Probability t of the positive class in [0, 1], in the shape and dtype of ``input``.
    weight : array, optional
        Non-negative w, broadcasts to ``input``.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements, with weights too.
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
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    At p = 0 and p = 1 the loss and its derivatives take their limits, with 0 log 0 = 0: infinite
    on the wrong side of a target, never clipped. PyTorch clamps each logarithm at -100 and the
    denominator of the gradient at 1e-12 (the convention ``log-clamp-100``); Keras and scikit-learn
    clip p. NaN stays in its element and the mean of nothing is NaN.
    Error: at most 1 ulp below float64 and 4 ulp in float64.

    References
    ----------
    D. R. Cox, The regression analysis of binary sequences, JRSS B 20, 1958.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.binary_cross_entropy(np.array([0.5, 0.0]), np.array([1.0, 0.0]), reduction="none")
    array([0.69314718, 0.        ])
    """
    x = arguments.floating("input", input)
    t = arguments.floating_like("target", target, x)
    arguments.probabilities("input", x)
    arguments.probabilities("target", t)
    return elementwise(
        FORMULAS,
        {"input": x, "target": t},
        reduction=reduction,
        weight=arguments.broadcast_weights("weight", weight, x),
        backend=backend,
    )
