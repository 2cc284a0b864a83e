"""Class weights by the effective number of samples."""

from typing import Any

import numpy as np

from refloss import arguments
from refloss.dispatch import kernels_for
from refloss.formula import expm1, log, where

Array = Any


def inverse_effective_number(counts: Any, beta: Any) -> Any:
    """1 / (1 - beta^n), to a factor that all classes share; 1 / n at beta = 1, 0 at n = 0."""
    # 1 - beta**n loses digits for beta near 1, where it is about n (1 - beta)
    number = where(beta == 1, counts, -expm1(counts * log(beta)))
    return where(counts > 0, 1 / number, where(counts == 0, 0, counts))


def class_balanced_weights(
    counts: Array, beta: float = 0.999, *, backend: str | None = None
) -> Array:
    """Class weights proportional to (1 - beta) / (1 - beta^n_c), scaled to sum to C.

    Parameters
    ----------
    counts : array
        How many samples each class has, n_c >= 0; integers or floating, (C,).
    beta : float
        In [0, 1]: 0 gives equal weights, 1 (the limit) weights inverse to the counts.
    backend : {"numba", "array", "cuda"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run.

    Returns
    -------
    array
        float64, (C,).

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    The formula grows without bound as n_c goes to 0, so a class without samples would take all of
    the weight: it gets 0 instead, and the other classes' weights sum to C. Without any samples
    there are no weights, which is an error. Error: at most 4 ulp.

    References
    ----------
    Y. Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019, equation 2
    and section 4.1.

    Examples
    --------
    >>> import refloss
    >>> refloss.class_balanced_weights([1, 3], beta=1.0)
    array([1.5, 0.5])
    """
    array = arguments.as_array("counts", counts)
    xp = arguments.namespace(array)
    if not arguments.is_integer(array):
        array = arguments.floating("counts", array)
    if array.ndim != 1 or array.shape[0] == 0:
        raise ValueError(f"counts: expected one count a class, (C,), got shape {array.shape}")
    arguments.non_negative("counts", array, "expected counts >= 0")
    kernels = kernels_for(array, backend, "counts")
    numbers = xp.astype(array, xp.float64)
    if not bool(xp.any(numbers != 0)):
        raise ValueError("counts: expected at least one class with samples, got zeros only")
    known = {"counts": numbers, "beta": arguments.number("beta", beta, low=0, high=1)}
    with np.errstate(all="ignore"):
        raw = kernels.map_formula(inverse_effective_number, known)
        return raw / sum(kernels.sum_pair(raw)) * array.shape[0]
