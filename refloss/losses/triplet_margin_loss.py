"""Triplet margin loss: an anchor should be nearer to its positive than to its negative."""

from typing import Any

from refloss import arguments
from refloss.dispatch import vectorwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import where
from refloss.formula.hinge import active, excess_over, hinge
from refloss.loss import Promise, loss

Array = Any

PAIRS = {"positive": ("anchor", "positive"), "negative": ("anchor", "negative")}
SWAPPED = {**PAIRS, "swapped": ("positive", "negative")}


def value(positive_distance: Any, negative_distance: Any, margin: Any) -> Any:
    return hinge(excess_over(positive_distance, negative_distance, margin))


def pull(positive_distance: Any, negative_distance: Any, margin: Any) -> Any:
    """Whether the triplet is active."""
    return active(excess_over(positive_distance, negative_distance, margin))


def anchor_gradient(
    positive_slope: Any,
    negative_slope: Any,
    positive_distance: Any,
    negative_distance: Any,
    margin: Any,
) -> Any:
    on = pull(positive_distance, negative_distance, margin)
    return on * (positive_slope - negative_slope)


def positive_gradient(
    positive_slope: Any, positive_distance: Any, negative_distance: Any, margin: Any
) -> Any:
    return -positive_slope * pull(positive_distance, negative_distance, margin)


def negative_gradient(
    negative_slope: Any, positive_distance: Any, negative_distance: Any, margin: Any
) -> Any:
    return negative_slope * pull(positive_distance, negative_distance, margin)


# With ``swap`` the negative keeps its distance from the nearer of anchor and positive.


def nearer(negative_distance: Any, swapped_distance: Any) -> Any:
    return where(swapped_distance < negative_distance, swapped_distance, negative_distance)


def by_positive(negative_distance: Any, swapped_distance: Any) -> Any:
    """1 where the positive is the nearer."""
    return where(swapped_distance < negative_distance, 1, 0)


def swapped_value(
    positive_distance: Any, negative_distance: Any, swapped_distance: Any, margin: Any
) -> Any:
    return value(positive_distance, nearer(negative_distance, swapped_distance), margin)


def swapped_anchor_gradient(
    positive_slope: Any,
    negative_slope: Any,
    positive_distance: Any,
    negative_distance: Any,
    swapped_distance: Any,
    margin: Any,
) -> Any:
    on = pull(positive_distance, nearer(negative_distance, swapped_distance), margin)
    own = 1 - by_positive(negative_distance, swapped_distance)
    return on * (positive_slope - own * negative_slope)


def swapped_positive_gradient(
    positive_slope: Any,
    swapped_slope: Any,
    positive_distance: Any,
    negative_distance: Any,
    swapped_distance: Any,
    margin: Any,
) -> Any:
    on = pull(positive_distance, nearer(negative_distance, swapped_distance), margin)
    return -on * (positive_slope + by_positive(negative_distance, swapped_distance) * swapped_slope)


def swapped_negative_gradient(
    negative_slope: Any,
    swapped_slope: Any,
    positive_distance: Any,
    negative_distance: Any,
    swapped_distance: Any,
    margin: Any,
) -> Any:
    on = pull(positive_distance, nearer(negative_distance, swapped_distance), margin)
    of_positive = by_positive(negative_distance, swapped_distance) > 0
    return on * where(of_positive, swapped_slope, negative_slope)


FORMULAS = Formulas(
    value,
    {"anchor": anchor_gradient, "positive": positive_gradient, "negative": negative_gradient},
)
SWAPPED_FORMULAS = Formulas(
    swapped_value,
    {
        "anchor": swapped_anchor_gradient,
        "positive": swapped_positive_gradient,
        "negative": swapped_negative_gradient,
    },
)


@loss(Promise(float64=16, float64_arrays=16))
def triplet_margin_loss(
    anchor: Array,
    positive: Array,
    negative: Array,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Triplet margin loss max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Parameters
    ----------
    anchor, positive, negative : array
        Embeddings of shape (..., D), floating, of one shape and dtype.
    margin : float
        By how much the negative should be farther away, >= 0.
    p : float
        The exponent of the norm, >= 1; infinity takes the largest component.
    eps : float
        Added to every component of a difference, as PyTorch does: d(x, y) = ||x - y + eps||_p.
        0 gives the distance of the books.
    swap : bool
        Whether the negative's distance is the smaller of d(anchor, negative) and
        d(positive, negative).
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of triplets, active or not.
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
    A triplet that keeps its margin exactly has gradient 0 (PyTorch takes the full one, optax half
    of it, pytorch-metric-learning 0). Where a distance is zero its slope is 0; for p = 1 so is that
    of a component without difference, and for p = inf the components that tie for the largest share
    the slope evenly. Of two equal distances ``swap`` takes the anchor's (PyTorch
    takes half of each).
    NaN stays in its triplet and the mean of nothing is NaN. Two infinite distances leave no value.
    Error: at most 1 ulp below float64 and 16 ulp in float64; where distances and margin cancel, in
    ulps of the largest. optax adds eps inside the root (the convention ``eps-inside-the-root``).

    References
    ----------
    V. Balntas et al., Learning local feature descriptors with triplets and shallow convolutional
    neural networks, BMVC 2016, sections 2.1 (the loss) and 3.2 (swap).

    Examples
    --------
    >>> import numpy as np, refloss
    >>> anchor, positive, negative = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 5.5]])
    >>> refloss.triplet_margin_loss(anchor, positive, negative, eps=0.0)
    np.float64(0.5)
    """
    x = arguments.floating("anchor", anchor)
    others = {
        name: arguments.floating_like(name, array, x, "anchor")
        for name, array in (("positive", positive), ("negative", negative))
    }
    swapping = arguments.flag("swap", swap)
    return vectorwise(
        SWAPPED_FORMULAS if swapping else FORMULAS,
        {"anchor": x, **others},
        pairs=SWAPPED if swapping else PAIRS,
        reduction=reduction,
        p=arguments.number("p", p, low=1),
        parameters={
            "margin": arguments.number("margin", margin, low=0, finite=True),
            "eps": arguments.number("eps", eps, low=0, finite=True),
        },
        backend=backend,
    )
