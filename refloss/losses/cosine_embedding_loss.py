"""Cosine embedding loss: similar pairs in one direction, dissimilar ones at an angle."""

from typing import Any

from refloss import arguments
from refloss.dispatch import vectorwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import product, where
from refloss.formula.hinge import active, hinge
from refloss.loss import Promise, loss

Array = Any


def value(cosine: Any, gap: Any, target: Any, margin: Any) -> Any:
    return where(target > 0, gap, hinge(cosine - margin))


def slope(cosine: Any, target: Any, margin: Any) -> Any:
    """The derivative by the cosine."""
    return where(target > 0, -1, active(cosine - margin))


def first_gradient(turn: Any, cosine: Any, target: Any, margin: Any) -> Any:
    return product(slope(cosine, target, margin), turn)


def second_gradient(counterturn: Any, cosine: Any, target: Any, margin: Any) -> Any:
    return product(slope(cosine, target, margin), counterturn)


FORMULAS = Formulas(value, {"input1": first_gradient, "input2": second_gradient})


@loss(Promise(float64=16, float64_arrays=16))
def cosine_embedding_loss(
    input1: Array,
    input2: Array,
    target: Array,
    margin: float = 0.0,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Cosine embedding loss: 1 - cos where t is 1, max(0, cos - margin) where it is -1.

    Parameters
    ----------
    input1, input2 : array
        Embeddings of shape (..., D), floating, of one shape and dtype.
    target : array
        t, 1 for a similar pair and -1 for a dissimilar one, of shape (...); whole or floating
        numbers.
    margin : float
        The cosine from which on dissimilar pairs cost, in [-1, 1].
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of pairs.
    backend : {"numba", "array", "cuda", "cuda:float32"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run. "cuda:float32" computes in float32 inside, with its own promise, and takes no float64.

    Returns
    -------
    array
        A scalar, or with ``reduction="none"`` an array of shape (...).

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    A vector of zeros has no direction: its cosine is taken to be 0 and its gradient is 0. Where the
    cosine is the margin exactly the gradient of the second arm is 0. NaN stays in its pair, an
    infinite component makes NaN of its vector's direction, and the mean of nothing is NaN.
    Nearly parallel vectors lose nothing: 1 - cos is computed from the difference of the directions.
    Error: at most 1 ulp below float64 and 16 ulp in float64, where terms cancel in ulps of the
    largest. PyTorch adds 1e-12 to the squared lengths (the convention ``squares-plus-1e-12``).

    References
    ----------
    The loss of Torch's ``CosineEmbeddingCriterion``.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> x, y = np.array([[3.0, 0.0], [3.0, 4.0]]), np.array([[5.0, 0.0], [3.0, 0.0]])
    >>> refloss.cosine_embedding_loss(x, y, [1, -1], margin=0.5, reduction="none")
    array([0. , 0.1])
    """
    x = arguments.floating("input1", input1)
    y = arguments.floating_like("input2", input2, x, "input1")
    shape = tuple(x.shape[:-1])
    return vectorwise(
        FORMULAS,
        {"input1": x, "input2": y},
        pairs={"": ("input1", "input2")},
        reduction=reduction,
        constants={"target": arguments.signs(target, x, "input1", shape=shape)},
        parameters={"margin": arguments.number("margin", margin, low=-1, high=1)},
        backend=backend,
    )
