"""SupCon: the supervised contrastive loss, in which every example of a class is a positive."""

from typing import Any

from refloss import arguments
from refloss.dispatch import similarities
from refloss.loss import Promise, loss
from refloss.similarity import Side, SimilarityPlan

Array = Any


@loss(Promise(float64=16, float64_arrays=16))
def sup_con_loss(
    embeddings: Array,
    labels: Array,
    temperature: float = 0.1,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> SimilarityPlan:
    """Supervised contrastive loss: -log(e^(s_ip / T) / sum_(k != i) e^(s_ik / T)), mean over P.

    Parameters
    ----------
    embeddings : array
        (N, D), floating; they need not be normalised. s is their cosine.
    labels : array
        Whole numbers, (N,). The positives P of row i are the other rows with its label.
    temperature : float
        T > 0.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of rows that have a positive; without any it is 0.
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
    The paper's L_out: the mean over the positives stands outside of the logarithm. A row without a
    positive has loss 0 and counts for nothing, but it is a negative of the others.
    Gradients go through the normalisation. A vector of zeros has no direction: its cosines are
    taken to be 0, its gradient is 0. A NaN or an infinite component makes everything NaN, except
    the losses of rows without a positive.
    The N x N similarities are never held: memory grows with N D.
    Error: at most 1 ulp below float64 and 16 ulp in float64; in ulps of the conditioning that the
    oracle states, since a cosine's last bit counts 1 / T times in the exponent. The
    share of one of several positives cancels against its mass where a class all but coincides.
    The reference code multiplies by T / 0.07 (``times-temperature-over-0.07``); some code divides
    by the number of all rows (``mean-over-all-anchors``); the NT-Xent losses of
    pytorch-metric-learning and optax leave the other positives out of the denominator
    (``one-positive-per-denominator``).

    References
    ----------
    P. Khosla et al., Supervised contrastive learning, NeurIPS 2020, equation 2.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> x = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> refloss.sup_con_loss(x, [0, 0, 1], temperature=0.5)  # log(1 + e^-2)
    np.float64(0.1269280110429725)
    """
    x = arguments.embeddings("embeddings", embeddings)
    rows = Side(("embeddings",), arguments.row_labels(labels, x, "embeddings"))
    return similarities(
        {"embeddings": x},
        anchors=rows,
        candidates=rows,
        temperature=temperature,
        reduction=reduction,
        only_paired=True,
        backend=backend,
    )
