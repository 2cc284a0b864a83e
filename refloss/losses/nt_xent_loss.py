"""NT-Xent: the normalised, temperature-scaled cross-entropy of SimCLR."""

from typing import Any

from refloss import arguments
from refloss.dispatch import numbered, similarities
from refloss.loss import Promise, loss
from refloss.similarity import Side, SimilarityPlan

Array = Any


@loss(Promise(float64=16, float64_arrays=16))
def nt_xent_loss(
    z_i: Array,
    z_j: Array,
    temperature: float = 0.5,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> SimilarityPlan:
    """NT-Xent loss -log(e^(s_ip / T) / sum_(k != i) e^(s_ik / T)) of the 2N views, s the cosine.

    Parameters
    ----------
    z_i, z_j : array
        Two views of each of N examples, (N, D), floating, of one shape and dtype; they need not be
        normalised. Row n of one is the positive p of row n of the other, and all other 2N - 2 rows
        are its negatives.
    temperature : float
        T > 0.
    reduction : {"mean", "none", "sum"}
        The mean divides by 2N.
    backend : {"numba", "array", "cuda"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run.

    Returns
    -------
    array
        A scalar, or with ``reduction="none"`` an array of shape (2N,): the rows of ``z_i`` as
        anchors, then those of ``z_j``.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    Gradients go through the normalisation. A single example has nothing to be told apart from: its
    loss is 0. A vector of zeros has no direction: its cosines are taken to be 0, its gradient is 0.
    Every row depends on every other one, so a NaN or an infinite component makes everything NaN,
    and the mean of nothing is NaN.
    The 2N x 2N similarities are never held: memory grows with N D.
    Error: at most 1 ulp below float64 and 16 ulp in float64; in ulps of the conditioning that the
    oracle states, since a cosine's last bit counts 1 / T times in the exponent.
    google-research's SimCLR adds the means of both directions, twice this (``summed-directions``).

    References
    ----------
    T. Chen et al., A simple framework for contrastive learning of visual representations, ICML
    2020, equation 1 and algorithm 1.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> z = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> refloss.nt_xent_loss(z, z, temperature=0.5)  # log(1 + 2 e^-2)
    np.float64(0.23954476622188453)
    """
    x = arguments.embeddings("z_i", z_i)
    y = arguments.floating_like("z_j", z_j, x, "z_i")
    xp = arguments.namespace(x)
    pairs = numbered(x.shape[0], x)
    views = Side(("z_i", "z_j"), xp.concat([pairs, pairs], axis=0))
    return similarities(
        {"z_i": x, "z_j": y},
        anchors=views,
        candidates=views,
        temperature=temperature,
        reduction=reduction,
        backend=backend,
    )
