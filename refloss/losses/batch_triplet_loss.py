"""Triplet loss of a batch: every triplet that its labels make, or the hard ones."""

from typing import Any

from refloss import arguments
from refloss.dispatch import batch_of
from refloss.loss import Promise, loss
from refloss.triplets import REDUCTIONS, TripletPlan

Array = Any


@loss(Promise(float64=16, float64_arrays=16))
def batch_triplet_loss(
    embeddings: Array,
    labels: Array,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> TripletPlan:
    """Triplet loss max(0, d(a, p) - d(a, n) + margin) of the triplets that a batch holds.

    Parameters
    ----------
    embeddings : array
        (N, D), floating.
    labels : array
        Whole numbers, (N,). A positive p of an anchor a is another row with its label, a negative n
        a row with another label.
    margin : float
        By how much the negative should be farther away, >= 0.
    mining : {"all", "hard", "semihard", "easy"}
        "all" takes every triplet. "hard" takes one for each anchor that has a positive and a
        negative: the farthest positive and the nearest negative, of several equally far ones the
        first. "semihard" takes the triplets with d(a, p) < d(a, n) < d(a, p) + margin, "easy" those
        with d(a, n) >= d(a, p) + margin, whose loss is 0.
    distance : {"euclidean", "sqeuclidean", "cosine", "cityblock"}
        "sqeuclidean" is the square of "euclidean", "cosine" is 1 - cos, "cityblock" sums absolute
        differences.
    reduction : {"mean", "mean_nonzero", "sum"}
        "mean" divides by the number of triplets taken, "mean_nonzero" by the number of those with a
        loss above 0. Without any the loss is 0.
    backend : {"numba", "array", "cuda"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run.

    Returns
    -------
    array
        A scalar.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    The triplets are never listed: the negatives of an anchor are sorted and their hinges summed by
    running sums: N^2 (D + log N) operations and a few N x N arrays in all.
    Distances are computed from differences, not from inner products, so that embeddings that almost
    coincide lose no digits; which triplets are taken is decided by the distances in float64.
    A triplet that keeps its margin exactly has gradient 0; so has a distance of zero. A vector of
    zeros has no direction: its cosines are taken to be 0 and its gradient is 0. A NaN
    makes everything NaN, and so does an infinite component if it leaves a distance without value.
    Error: at most 1 ulp below float64 and 16 ulp in float64, where distances and margins cancel in
    ulps of the sum of their sizes.
    pytorch-metric-learning normalises embeddings first (the convention ``normalised``) and means
    over the triplets with a loss above 0.

    References
    ----------
    F. Schroff, D. Kalenichenko and J. Philbin, FaceNet, CVPR 2015, section 3.2 (semi-hard);
    A. Hermans, L. Beyer and B. Leibe, In defense of the triplet loss for person re-identification,
    2017, equations 5 (hard) and 6 (all).

    Examples
    --------
    >>> import numpy as np, refloss
    >>> x = np.array([[0.0], [1.0], [1.5]])
    >>> refloss.batch_triplet_loss(x, [0, 0, 1], reduction="sum")  # (1 - 1.5 + 1) + (1 - 0.5 + 1)
    np.float64(2.0)
    """
    return TripletPlan(
        **batch_of(
            embeddings, labels, mining=mining, margin=margin, distance=distance, backend=backend
        ),
        reduction=arguments.one_of("reduction", reduction, REDUCTIONS),
    )
