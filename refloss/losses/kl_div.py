"""Kullback-Leibler divergence, element by element, from log-probabilities."""

from typing import Any

from refloss import arguments
from refloss.dispatch import WITH_BATCHMEAN, elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import exp, log, product, where
from refloss.loss import Promise, loss

Array = Any


def value(input: Any, target: Any) -> Any:
    # t log t is 0 at t = 0, whatever the input
    return where(target == 0, product(target, input), target * (log(target) - input))


def input_gradient(target: Any) -> Any:
    return -target


def target_gradient(input: Any, target: Any) -> Any:
    return (log(target) - input) + 1


def input_curvature() -> Any:
    return 0


def target_curvature(target: Any) -> Any:
    return 1 / target


def log_value(input: Any, target: Any) -> Any:
    t = exp(target)
    return where(t == 0, product(t, input), t * (target - input))


def log_input_gradient(target: Any) -> Any:
    return -exp(target)


def log_target_gradient(input: Any, target: Any) -> Any:
    t = exp(target)
    return where(t == 0, product(t, input), t * ((target - input) + 1))


def log_target_curvature(input: Any, target: Any) -> Any:
    t = exp(target)
    return where(t == 0, product(t, input), t * ((target - input) + 2))


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": input_curvature, "target": target_curvature},
)
LOG_FORMULAS = Formulas(
    log_value,
    {"input": log_input_gradient, "target": log_target_gradient},
    {"input": input_curvature, "target": log_target_curvature},
)


@loss(Promise(float32_inside=64))
def kl_div(
    input: Array,
    target: Array,
    reduction: str = "mean",
    log_target: bool = False,
    *,
    backend: str | None = None,
) -> Plan:
    """Kullback-Leibler divergence t (log t - x) of a log-probability x.

    With ``log_target`` the target is given as log t, and the divergence is e^t (t - x).

    Parameters
    ----------
    input : array
        Log-probabilities x of the model, floating, of any shape.
    target : array
        Probabilities t >= 0 of the reference in the shape and dtype of ``input``; their logarithms
        with ``log_target``.
    reduction : {"mean", "batchmean", "none", "sum"}
        "mean" divides by the number of elements, "batchmean" by the length of the first axis: only
        the latter is the divergence averaged over a batch.
    log_target : bool
        Whether ``target`` is given as logarithms.
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
    At t = 0 the value is its limit 0 whatever the input, and the gradient with respect to the
    target its limit -infinity (PyTorch and optax give NaN); with an input of -infinity as well it
    has none and is NaN. NaN stays in its element.
    Error: at most 1 ulp below float64 and 4 ulp in float64; where log t and x cancel, in ulps of
    the larger of t log t and t x.

    References
    ----------
    S. Kullback and R. A. Leibler, On information and sufficiency, Annals of Mathematical
    Statistics 22, 1951.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> x = np.log(np.array([[0.5, 0.5]]))
    >>> refloss.kl_div(x, np.array([[1.0, 0.0]]), "batchmean")
    np.float64(0.6931471805599453)
    """
    x = arguments.floating("input", input)
    t = arguments.floating_like("target", target, x)
    if not log_target:
        arguments.non_negative("target", t, "expected probabilities >= 0")
    return elementwise(
        LOG_FORMULAS if log_target else FORMULAS,
        {"input": x, "target": t},
        reduction=reduction,
        reductions=WITH_BATCHMEAN,
        backend=backend,
    )
