"""Distillation: the divergence of a student's tempered softmax from its teacher's."""

from typing import Any

from refloss import arguments
from refloss.dispatch import WITH_BATCHMEAN, rowwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import INFINITY, absolute, product, where
from refloss.formula.exponential import excess_series
from refloss.formula.pairs import blend
from refloss.loss import Promise, loss

Array = Any

# Below, x = log p_student - log p_teacher of one class.


def value(p: Any, surprise: Any, teacher_p: Any, teacher_surprise: Any, temperature: Any) -> Any:
    # p_teacher (-x) changes sign from class to class and cancels in the sum. Since both softmaxes
    # sum to 1, p_teacher (e^x - 1 - x) has the same sum, and no term of it is negative.
    x = teacher_surprise - surprise
    far = where(teacher_p == 0, p, (p - teacher_p) - product(teacher_p, x))
    term = where(absolute(x) <= 1, teacher_p * excess_series(x), far)
    return temperature * temperature * term


def input_gradient(p: Any, q: Any, teacher_p: Any, teacher_q: Any, temperature: Any) -> Any:
    return temperature * where(p > q, teacher_q - q, p - teacher_p)


def pull(teacher_q: Any, surprise: Any, teacher_surprise: Any, other_drift: Any) -> Any:
    """-x less its mean under the teacher, from the other classes alone.

    A class that the student rules out stands infinitely far above the mean.
    """
    finite = blend(teacher_q, surprise - teacher_surprise, -1, other_drift)
    return where(surprise < INFINITY, finite, surprise)


def teacher_gradient(
    surprise: Any,
    teacher_p: Any,
    teacher_q: Any,
    teacher_surprise: Any,
    other_drift: Any,
    temperature: Any,
) -> Any:
    return temperature * product(
        teacher_p, pull(teacher_q, surprise, teacher_surprise, other_drift)
    )


def input_curvature(p: Any, q: Any) -> Any:
    return p * q


def teacher_curvature(
    surprise: Any, teacher_p: Any, teacher_q: Any, teacher_surprise: Any, other_drift: Any
) -> Any:
    lean = pull(teacher_q, surprise, teacher_surprise, other_drift)
    return product(teacher_p, teacher_q + product(teacher_q - teacher_p, lean))


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "teacher": teacher_gradient},
    {"input": input_curvature, "teacher": teacher_curvature},
)


@loss(Promise(float64_curvature=16))
def distillation_loss(
    input: Array,
    teacher: Array,
    temperature: float = 1.0,
    reduction: str = "batchmean",
    *,
    backend: str | None = None,
) -> Plan:
    """Distillation loss T^2 KL(softmax(teacher / T) || softmax(input / T)).

    Parameters
    ----------
    input : array
        The student's logits, of shape (C,) or (N, C, d1, ..., dk), floating.
    teacher : array
        The teacher's logits, in the shape and dtype of ``input``.
    temperature : float
        T > 0; the factor T^2 keeps the gradient's size comparable across temperatures.
    reduction : {"batchmean", "mean", "none", "sum"}
        "batchmean" divides the sum by N, "mean" by the number of rows N d1 ... dk.
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
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    Smooth and non-negative, also where student and teacher all but agree and the usual sum of
    differences of logarithms cancels. Infinite logits are treated as in ``cross_entropy``.
    Error: at most 1 ulp below float64 and 4 ulp in float64 (16 in the second derivative); where the
    logarithms of the two softmaxes cancel, in ulps of the larger.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network, 2015, sec. 2.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.distillation_loss(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]), temperature=2.0)
    np.float64(0.48983732480741826)
    """
    x = arguments.floating("input", input)
    t = arguments.floating_like("teacher", teacher, x)
    return rowwise(
        FORMULAS,
        {"input": x, "teacher": t},
        reduction=reduction,
        reductions=WITH_BATCHMEAN,
        parameters={
            "temperature": arguments.number(
                "temperature", temperature, low=0, open_low=True, finite=True
            )
        },
        backend=backend,
    )
