"""InfoNCE: a query picks its key among the others of the batch, or among those of a queue."""

from typing import Any

from refloss import arguments
from refloss.dispatch import numbered, similarities
from refloss.loss import Promise, loss
from refloss.similarity import Side, SimilarityPlan

Array = Any


@loss(Promise(float64=16, float64_arrays=16))
def info_nce_loss(
    query: Array,
    positive_key: Array,
    negative_keys: Array | None = None,
    temperature: float = 0.07,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> SimilarityPlan:
    """InfoNCE loss -log(e^(s+ / T) / (e^(s+ / T) + sum e^(s- / T))), s the cosines of a query.

    Parameters
    ----------
    query, positive_key : array
        Queries and the key of each, (N, D), floating, of one shape and dtype; they need not be
        normalised. s+ is the cosine of a query and its own key.
    negative_keys : array, optional
        The queue of MoCo: keys that are nobody's own, (K, D), in the same dtype. s- are the cosines
        of a query and these; without a queue, of a query and the other queries' keys.
    temperature : float
        T > 0.
    reduction : {"mean", "none", "sum"}
        The mean divides by N.
    backend : {"numba", "array", "cuda"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run.

    Returns
    -------
    array
        A scalar, or with ``reduction="none"`` an array of shape (N,).

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    One direction only: keys do not look for their queries. Gradients with respect to queries, keys
    and queue go through the normalisation (MoCo itself stops those of the keys). Without any
    negative the loss is 0. A vector of zeros has no direction: its cosines are taken to be 0, its
    gradient is 0. A NaN, or an infinite component, in a query makes its row NaN, in a key every row
    that the key is compared in; and the mean of nothing is NaN.
    The similarities are never held together: memory grows with (N + K) D.
    Error: at most 1 ulp below float64 and 16 ulp in float64; in ulps of the conditioning that the
    oracle states, since a cosine's last bit counts 1 / T times in the exponent.

    References
    ----------
    A. van den Oord, Y. Li and O. Vinyals, Representation learning with contrastive predictive
    coding, 2018, equation 4; K. He et al., Momentum contrast for unsupervised visual representation
    learning, CVPR 2020, equation 1.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> query, queue = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 3.0]])
    >>> refloss.info_nce_loss(query, 2 * query, queue, temperature=0.5)  # log(1 + 2 e^-2)
    np.float64(0.23954476622188453)
    """
    q = arguments.embeddings("query", query)
    k = arguments.floating_like("positive_key", positive_key, q, "query")
    own = numbered(q.shape[0], q)
    variables, candidates = {"query": q, "positive_key": k}, Side(("positive_key",), own)
    if negative_keys is not None:
        queue = arguments.embeddings("negative_keys", negative_keys, q, "query")
        variables["negative_keys"] = queue
        candidates = Side(("negative_keys",), -1 - numbered(queue.shape[0], q))
    return similarities(
        variables,
        anchors=Side(("query",), own),
        candidates=candidates,
        own=None if negative_keys is None else "positive_key",
        temperature=temperature,
        reduction=reduction,
        backend=backend,
    )
