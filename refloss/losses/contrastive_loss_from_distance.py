"""Contrastive loss of distances that are known already."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import product, where
from refloss.formula.hinge import hinge
from refloss.formula.pairs import blend
from refloss.loss import Promise, loss

Array = Any


def value(distance: Any, target: Any, margin: Any) -> Any:
    missing = hinge(margin - distance)
    return product(target, distance * distance) + (1 - target) * (missing * missing)


def slope(distance: Any, target: Any, margin: Any) -> Any:
    """The derivative by the distance."""
    return 2 * blend(target, distance, target - 1, hinge(margin - distance))


def curvature(distance: Any, target: Any, margin: Any) -> Any:
    return where(distance < margin, 2, 2 * target)


FORMULAS = Formulas(value, {"distance": slope}, {"distance": curvature})


@loss(Promise())
def contrastive_loss_from_distance(
    distance: Array,
    target: Array,
    margin: float = 1.0,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Contrastive loss y d^2 + (1 - y) max(0, margin - d)^2 of distances d.

    Parameters
    ----------
    distance : array
        d >= 0, floating.
    target : array
        y from 0, a dissimilar pair, to 1, a similar one, in the shape of ``distance``; whole,
        boolean or floating numbers.
    margin : float
        The distance that dissimilar pairs should keep, >= 0.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements.
    backend : {"numba", "array", "cuda", "cuda:float32"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run. "cuda:float32" computes in float32 inside, with its own promise, and takes no float64.

    Returns
    -------
    array
        A scalar, or with ``reduction="none"`` an array of the shape of ``distance``.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    Once differentiable everywhere; at d = margin the second derivative jumps, and it is that of the
    outer arm, 2 y, there. NaN stays in its element and the mean of nothing is NaN.
    Error: at most 1 ulp below float64 and 4 ulp in float64; where the two terms of the derivative
    cancel, in ulps of the larger.
    Hadsell's equation 4 is half of this (the convention ``one-half``). So is Caffe's legacy
    version, but with max(margin - d^2, 0) for dissimilar pairs (``caffe-legacy``);
    pytorch-metric-learning squares nothing (``unsquared``).

    References
    ----------
    R. Hadsell, S. Chopra and Y. LeCun, Dimensionality reduction by learning an invariant mapping,
    CVPR 2006, equation 4.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.contrastive_loss_from_distance(np.array([0.5, 0.5]), [1, 0], 2.0, "none")
    array([0.25, 2.25])
    """
    d = arguments.floating("distance", distance)
    arguments.non_negative("distance", d, "expected distances >= 0")
    return elementwise(
        FORMULAS,
        {"distance": d},
        reduction=reduction,
        constants={"target": arguments.similarity_marks(target, d, "distance")},
        parameters={"margin": arguments.number("margin", margin, low=0, finite=True)},
        backend=backend,
    )
