"""Contrastive loss: similar pairs pulled together, dissimilar ones pushed apart up to a margin."""

from typing import Any

from refloss import arguments
from refloss.dispatch import vectorwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import product
from refloss.loss import Promise, loss
from refloss.losses.contrastive_loss_from_distance import slope as slope_in_distance
from refloss.losses.contrastive_loss_from_distance import value

Array = Any


def first_gradient(slope: Any, distance: Any, target: Any, margin: Any) -> Any:
    return product(slope_in_distance(distance, target, margin), slope)


def second_gradient(slope: Any, distance: Any, target: Any, margin: Any) -> Any:
    return -first_gradient(slope, distance, target, margin)


FORMULAS = Formulas(value, {"x1": first_gradient, "x2": second_gradient})


@loss(Promise(float64=16, float64_arrays=16))
def contrastive_loss(
    x1: Array,
    x2: Array,
    target: Array,
    margin: float = 1.0,
    p: float = 2.0,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Contrastive loss y d^2 + (1 - y) max(0, margin - d)^2 with d = ||x1 - x2||_p.

    Parameters
    ----------
    x1, x2 : array
        Embeddings of shape (..., D), floating, of one shape and dtype.
    target : array
        y from 0, a dissimilar pair, to 1, a similar one, of shape (...); whole, boolean or floating
        numbers.
    margin : float
        The distance that dissimilar pairs should keep, >= 0.
    p : float
        The exponent of the norm, >= 1; infinity takes the largest component.
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
    Nothing is added to the distance. Where it is zero a dissimilar pair is pushed in no direction:
    the gradient is 0, one of its subgradients. For p = 1 a component without difference has slope
    0; for p = inf the components that tie for the largest share the slope evenly.
    NaN stays in its pair and the mean of nothing is NaN. Of an infinite component the value is the
    limit, but the gradient may be NaN where it has one.
    Error: at most 1 ulp below float64 and 16 ulp in float64; where the two terms of the derivative
    cancel, in ulps of the larger. Conventions as in ``contrastive_loss_from_distance``.

    References
    ----------
    R. Hadsell, S. Chopra and Y. LeCun, Dimensionality reduction by learning an invariant mapping,
    CVPR 2006, equation 4.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.contrastive_loss(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), [1])
    np.float64(25.0)
    """
    x = arguments.floating("x1", x1)
    y = arguments.floating_like("x2", x2, x, "x1")
    shape = tuple(x.shape[:-1])
    return vectorwise(
        FORMULAS,
        {"x1": x, "x2": y},
        pairs={"": ("x1", "x2")},
        reduction=reduction,
        p=arguments.number("p", p, low=1),
        constants={"target": arguments.similarity_marks(target, x, "x1", shape=shape)},
        parameters={"margin": arguments.number("margin", margin, low=0, finite=True)},
        backend=backend,
    )
