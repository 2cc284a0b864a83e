"""Label smoothing: some of the target's mass spread evenly over the classes."""

from typing import Any

import numpy as np

from refloss import arguments
from refloss.dispatch import kernels_for
from refloss.evaluation import rounded
from refloss.formula import quotient

Array = Any


def smoothed(target: Any, smoothing: Any, classes: Any) -> Any:
    return (1 - smoothing) * target + quotient(smoothing, classes)


def smooth_labels(
    target: Array,
    num_classes: int,
    epsilon: float,
    *,
    dtype: Any = "float64",
    backend: str | None = None,
) -> Array:
    """Smoothed labels (1 - eps) y + eps / C.

    Parameters
    ----------
    target : array
        Class indices (integers) of any shape (...), or class probabilities (floating) of shape
        (..., C).
    num_classes : int
        C.
    epsilon : float
        The mass to spread, in [0, 1]; the true class gets its share of it too.
    dtype : dtype
        Of the result where the target is class indices; that of the target otherwise.
    backend : {"numba", "array", "cuda"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run.

    Returns
    -------
    array
        Of shape (..., C).

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how, and
        names the first label that is not a class.

    Notes
    -----
    NaN stays in its entry. Error: at most 1 ulp below float64 and 4 ulp in float64.
    Some toolkits spread over the C - 1 other classes instead (the convention
    ``off-value-eps-over-C-minus-1``).

    References
    ----------
    C. Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016,
    section 7.

    Examples
    --------
    >>> import refloss
    >>> refloss.smooth_labels([1], 2, 0.5)
    array([[0.25, 0.75]])
    """
    classes = arguments.integer("num_classes", num_classes)
    if classes < 1:
        raise ValueError(f"num_classes: expected at least 1, got {classes}")
    known = {
        "smoothing": arguments.number("epsilon", epsilon, low=0, high=1),
        "classes": float(classes),
    }
    array = arguments.as_array("target", target)
    xp = arguments.namespace(array)
    if arguments.is_integer(array) or (isinstance(target, list | tuple) and array.size == 0):
        array = xp.astype(array, xp.int64)
        arguments.class_indices(array, classes)
        result = arguments.floating_dtype(dtype, array)
        shape = (*array.shape, classes)
        kernels = kernels_for(array, backend, "target")
        labels = xp.reshape(array, (-1, 1))
        masses = kernels.onehot(labels, classes)
    else:
        array = arguments.floating("target", array)
        shape, result = tuple(array.shape), arguments.native(array)
        if not shape or shape[-1] != classes:
            raise ValueError(f"target: expected shape (..., {classes}), got {shape}")
        kernels = kernels_for(array, backend, "target")
        masses = xp.reshape(xp.astype(array, xp.float64), (-1, classes))
    out = xp.reshape(kernels.map_formula(smoothed, {"target": masses, **known}), shape)
    return rounded(out, result) if isinstance(out, np.ndarray) else xp.astype(out, result)
