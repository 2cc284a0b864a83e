"""Cross-entropy of logits, against class indices or class probabilities."""

from typing import Any

from refloss import arguments
from refloss.dispatch import rowwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import product, where
from refloss.formula.pairs import blend
from refloss.loss import Promise, loss
from refloss.losses.smooth_labels import smoothed

Array = Any


def mass(weight: Any, target: Any, smoothing: Any, classes: Any) -> Any:
    """What -log p_c is multiplied with."""
    return weight * smoothed(target, smoothing, classes)


def value(mass: Any, surprise: Any) -> Any:
    return product(mass, surprise)


def input_gradient(p: Any, q: Any, mass: Any, other_mass: Any) -> Any:
    # p total - mass cancels where the row is confident; with total = mass + other_mass and
    # p = 1 - q what is left keeps its digits
    return blend(p, other_mass, -mass, q)


def parted_gradient(
    p: Any,
    mass: Any,
    total_mass: Any,
    is_top: Any,
    top_p: Any,
    top_q: Any,
    top_mass: Any,
    mass_below: Any,
) -> Any:
    # of the top alone p can be near 1, and p total - mass less than it loses
    below = product(p, total_mass) - mass
    return where(is_top > 0, blend(top_p, mass_below, -top_mass, top_q), below)


def target_gradient(weight: Any, surprise: Any, smoothing: Any) -> Any:
    return product(weight * (1 - smoothing), surprise)


def curvature(p: Any, q: Any, total_mass: Any) -> Any:
    return total_mass * (p * q)


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature},
    {input_gradient: parted_gradient},
    in_pairs=True,
)


@loss(Promise())
def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    backend: str | None = None,
) -> Plan:
    """Cross-entropy of logits z: -sum_c w_c y_c log p_c with p = softmax(z).

    Parameters
    ----------
    input : array
        Logits of shape (C,) or (N, C, d1, ..., dk), floating.
    target : array
        Class indices (integers) of shape () or (N, d1, ..., dk), or class probabilities (floating,
        in the shape and dtype of ``input``; need not sum to 1).
    weight : array, optional
        One non-negative w_c a class, (C,).
    ignore_index : int
        The index whose rows count for nothing; for class indices only.
    reduction : {"mean", "none", "sum"}
        The mean of class indices divides by the sum of the weights of the rows' classes, that of
        class probabilities by the number of rows.
    label_smoothing : float
        s in [0, 1]: y_c = (1 - s) target_c + s / C. The weight stays inside the sum over classes.
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
        An argument has the wrong type, dtype, shape or range; the message says which and how, and
        names the first label that is not a class.

    Notes
    -----
    Smooth. A logit of -inf is a class of probability 0, one of +inf a certain class. Of two +inf
    the softmax has no limit: what depends on it is NaN, in that row only. Zero mass silences an
    infinite -log p_c. If every row is ignored the mean is NaN and the gradient 0.
    Error: at most 1 ulp below float64 and 4 ulp in float64; where p and the target cancel, in ulps
    of the larger of p_c sum_{j != c} m_j and m_c (1 - p_c) with masses m = w y.

    References
    ----------
    J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990;
    C. Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7 (smoothing).

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.cross_entropy(np.float32([[20, 0]]), [0])
    np.float32(2.0611537e-09)
    """
    x = arguments.floating("input", input)
    smoothing = arguments.number("label_smoothing", label_smoothing, low=0, high=1)
    variables, labels = arguments.classes_or_masses(target, x, ignore_index)
    return rowwise(
        FORMULAS,
        variables,
        reduction=reduction,
        labels=labels,
        ignore_index=arguments.integer("ignore_index", ignore_index),
        weight=weight,
        parameters={"smoothing": smoothing},
        mass=mass,
        backend=backend,
    )
