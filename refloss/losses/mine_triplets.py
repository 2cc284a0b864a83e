"""The triplets of a batch, for those who bring a loss of their own."""

from typing import Any

import numpy as np

from refloss import arguments
from refloss.dispatch import batch_of
from refloss.triplets import Batch, indices

Array = Any


def mine_triplets(
    embeddings: Array,
    labels: Array,
    mining: str = "hard",
    margin: float = 1.0,
    distance: str = "euclidean",
    *,
    backend: str | None = None,
) -> tuple[Array, Array, Array]:
    """The triplets of a batch, as row numbers of anchors, positives and negatives.

    Parameters
    ----------
    embeddings : array
        (N, D), floating and finite.
    labels : array
        Whole numbers, (N,). A positive of an anchor is another row with its label, a negative a row
        with another label.
    mining : {"hard", "all", "semihard", "easy"}
        Which triplets, as in ``batch_triplet_loss``.
    margin : float
        Where semi-hard ends and easy begins, >= 0.
    distance : {"euclidean", "sqeuclidean", "cosine", "cityblock"}
        What they are ordered by, as in ``batch_triplet_loss``.
    backend : {"numba", "array", "cuda"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run.

    Returns
    -------
    tuple of array
        Anchors, positives and negatives: int64, of one length. They come in lexicographic order,
        the same every time.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    "all" and "easy" may hold as many as N^3 triplets, 24 bytes each and twice that on the way;
    ``batch_triplet_loss`` gets by without listing them. Distances are compared as float64 numbers,
    and those that are equal but for the order of their components compare equal.
    pytorch-metric-learning counts a triplet at the far bound as semi-hard, here it is easy.

    References
    ----------
    F. Schroff, D. Kalenichenko and J. Philbin, FaceNet, CVPR 2015, section 3.2 (semi-hard);
    A. Hermans, L. Beyer and B. Leibe, In defense of the triplet loss for person re-identification,
    2017, equation 5 (hard).

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.mine_triplets(np.array([[0.0], [1.0], [1.5]]), [0, 0, 1])
    (array([0, 1]), array([1, 0]), array([2, 2]))
    """
    known = batch_of(
        embeddings, labels, mining=mining, margin=margin, distance=distance, backend=backend
    )
    arguments.finite("embeddings", known["model"])
    with np.errstate(all="ignore"):
        batch = Batch(known["kernels"], known["model"], known["labels"], known["distance"])
        return indices(batch, known["mining"], known["margin"])
