"""What losses of embeddings refuse: rows for the table of bad input."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import refloss

RANKING, HINGE = refloss.margin_ranking_loss, refloss.hinge_embedding_loss
FROM_DISTANCE, CONTRASTIVE = refloss.contrastive_loss_from_distance, refloss.contrastive_loss
TRIPLET, COSINE = refloss.triplet_margin_loss, refloss.cosine_embedding_loss
BATCH_TRIPLET, MINE = refloss.batch_triplet_loss, refloss.mine_triplets
NT_XENT, INFO_NCE = refloss.nt_xent_loss, refloss.info_nce_loss
SUP_CON = refloss.sup_con_loss

Z = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
Y = np.array([2, 0])
X = np.array([0.5, 0.25, 1.0])
T = np.array([1.0, 0.0, 0.5])
NAN, INF = math.nan, math.inf

Case = tuple[str, Callable[[], Any], type[Exception], str]

EMBEDDINGS: list[Case] = [
    (
        "a label short",
        lambda: SUP_CON(Z, [0]),
        ValueError,
        r"labels: .*embeddings.*\(2,\), got \(1",
    ),
    ("a label more", lambda: BATCH_TRIPLET(Z, [0, 1, 2]), ValueError, r"labels: .*got \(3,\)"),
    ("labels in a row", lambda: MINE(Z, [[0, 1]]), ValueError, r"labels: .*got \(1, 2\)"),
    ("labels of floats", lambda: SUP_CON(Z, [0.0, 1.0]), TypeError, r"labels: .*got float64"),
    ("labels of bools", lambda: MINE(Z, [True, False]), TypeError, r"labels: .*got bool"),
    ("labels missing", lambda: BATCH_TRIPLET(Z, None), TypeError, r"labels: .*got NoneType"),
    ("labels too large", lambda: SUP_CON(Z, np.uint64([0, 2**63])), ValueError, r"labels: .*92233"),
    (
        "one embedding",
        lambda: SUP_CON(X, [0, 1, 2]),
        ValueError,
        r"embeddings: .*\(N, D\), got \(3",
    ),
    ("one view", lambda: NT_XENT(X, X), ValueError, r"z_i: .*\(N, D\), got \(3,\)"),
    ("one query", lambda: INFO_NCE(X, X), ValueError, r"query: .*\(N, D\), got \(3,\)"),
    ("a stack", lambda: MINE(Z[None], [0]), ValueError, r"embeddings: .*got \(1, 2, 3\)"),
    ("views apart", lambda: NT_XENT(Z, Z[:1]), ValueError, r"z_j: .*z_i, \(2, 3\), got \(1, 3\)"),
    ("keys apart", lambda: INFO_NCE(Z, Z[:1]), ValueError, r"positive_key: .*query.*got \(1, 3\)"),
    (
        "a queue of other vectors",
        lambda: INFO_NCE(Z, Z, Z[:, :2]),
        ValueError,
        r"negative_keys: .*3 components like query, got shape \(2, 2\)",
    ),
    ("a flat queue", lambda: INFO_NCE(Z, Z, X), ValueError, r"negative_keys: .*got \(3,\)"),
    (
        "a short queue",
        lambda: INFO_NCE(Z, Z, Z.astype("f4")),
        TypeError,
        r"negative_keys: .*float3",
    ),
    ("no component", lambda: SUP_CON(Z[:, :0], Y), ValueError, r"embeddings: .*got shape \(2, 0\)"),
    ("no component, pairs", lambda: COSINE(X[:0], X[:0], 1), ValueError, r"input1: .*shape \(0,\)"),
    ("no vector", lambda: CONTRASTIVE(1.5, 2.5, 1), ValueError, r"x1: .*vectors.*got shape \(\)"),
    ("pairs apart", lambda: CONTRASTIVE(Z, Z[:1], Y), ValueError, r"x2: .*\(2, 3\), got \(1, 3\)"),
    (
        "marks of components",
        lambda: CONTRASTIVE(Z, Z, Z),
        ValueError,
        r"target: .*\(2,\).*\(2, 3\)",
    ),
    ("signs of one", lambda: COSINE(Z, Z, 1), ValueError, r"target: .*\(2,\) for input1.*got \(\)"),
    ("signs too long", lambda: RANKING(X, X, [1, 1]), ValueError, r"target: .*input1.*got \(2,\)"),
    (
        "triplets apart",
        lambda: TRIPLET(Z, Z, Z[:1]),
        ValueError,
        r"negative: .*anchor.*got \(1, 3\)",
    ),
    ("whole embeddings", lambda: SUP_CON([[1, 2]], [0]), TypeError, r"embeddings: .*got int64"),
    ("whole views", lambda: NT_XENT(Y[:, None], Z), TypeError, r"z_i: .*got int64"),
    ("whole pairs", lambda: COSINE(Y[None], Z, [1]), TypeError, r"input1: .*got int64"),
    ("whole distances", lambda: FROM_DISTANCE([1, 2], [1, 0]), TypeError, r"distance: .*got int64"),
    ("two formats of views", lambda: NT_XENT(Z, Z.astype("f4")), TypeError, r"z_j: .*got float32"),
    ("two formats, triplets", lambda: TRIPLET(Z, Z.astype("f2"), Z), TypeError, r"positive: .*t16"),
    (
        "scores of two formats",
        lambda: RANKING(X, X.astype("f4"), T),
        TypeError,
        r"input2: .*float32",
    ),
    ("a sign of 0", lambda: COSINE(Z, Z, [1, 0]), ValueError, r"target: .*1 or -1, got 0.*\(1,\)"),
    ("a sign of 2", lambda: HINGE(X, [1, -1, 2]), ValueError, r"target: .*got 2.* at index \(2,\)"),
    ("signs of marks", lambda: RANKING(X, X, T), ValueError, r"target: .*got 0.0 at index \(1,\)"),
    ("signs of bools", lambda: HINGE(X, X > 0.3), ValueError, r"target: .*1 or -1, got 0 .*\(1,\)"),
    (
        "marks of signs",
        lambda: CONTRASTIVE(Z, Z, [1, -1]),
        ValueError,
        r"target: .*\[0, 1\], got -1",
    ),
    ("a mark of 2", lambda: FROM_DISTANCE(X, T * 2), ValueError, r"target: .*got 2.0 at .*\(0,\)"),
    ("a distance below 0", lambda: FROM_DISTANCE(-X, T), ValueError, r"distance: .*>= 0, got -0.5"),
    ("p below 1", lambda: CONTRASTIVE(Z, Z, Y > 0, p=0.5), ValueError, r"p: .*\[1, inf\), got 0.5"),
    ("p NaN", lambda: TRIPLET(Z, Z, Z, p=NAN), ValueError, r"p: .*got nan"),
    ("p a word", lambda: TRIPLET(Z, Z, Z, p="inf"), TypeError, r"p: .*number, got 'inf'"),
    ("eps -1", lambda: TRIPLET(Z, Z, Z, eps=-1.0), ValueError, r"eps: .*got -1.0"),
    ("swap 1", lambda: TRIPLET(Z, Z, Z, swap=1), TypeError, r"swap: .*True or False, got 1"),
    ("swap None", lambda: TRIPLET(Z, Z, Z, swap=None), TypeError, r"swap: .*got None"),
    (
        "margin beyond",
        lambda: COSINE(Z, Z, [1, 1], 1.5),
        ValueError,
        r"margin: .*\[-1.*1\], got 1.5",
    ),
    (
        "an unknown miner",
        lambda: MINE(Z, Y, "hardest"),
        ValueError,
        r"mining: .*'semihard'.*'harde",
    ),
    ("no miner", lambda: BATCH_TRIPLET(Z, Y, mining=None), ValueError, r"mining: .*got None"),
    (
        "a distance",
        lambda: MINE(Z, Y, distance="l2"),
        ValueError,
        r"distance: .*'cosine', got 'l2'",
    ),
    (
        "none of them",
        lambda: BATCH_TRIPLET(Z, Y, 1.0, "all", "cosine", "none"),
        ValueError,
        "reduct",
    ),
    (
        "mean_nonzero",
        lambda: SUP_CON(Z, Y, 1.0, "mean_nonzero"),
        ValueError,
        r"reduction: .*nonzer",
    ),
    (
        "a miner's NaN",
        lambda: MINE([[1.0], [NAN]], Y),
        ValueError,
        r"embeddings: .*nan at .*\(1, 0\)",
    ),
    (
        "wrt labels of rows",
        lambda: SUP_CON.grad(Z, Y, wrt="labels"),
        ValueError,
        r"wrt: .*'labels'",
    ),
    (
        "wrt marks",
        lambda: CONTRASTIVE.grad(Z, Z, T[:2], wrt="target"),
        ValueError,
        r"wrt: .*'x2', go",
    ),
    (
        "wrt no queue",
        lambda: INFO_NCE.grad(Z, Z, wrt="negative_keys"),
        ValueError,
        r"wrt: .*got 'neg",
    ),
    (
        "upstream of anchors",
        lambda: NT_XENT.grad(Z, Z, reduction="none", grad_output=np.ones(2)),
        ValueError,
        r"grad_output: .*\(4,\), got \(2,\)",
    ),
    (
        "upstream of triplets",
        lambda: BATCH_TRIPLET.grad(Z, Y, grad_output=np.ones(2)),
        ValueError,
        r"grad_output: .*\(\), got \(2,\)",
    ),
    (
        "upstream of pairs",
        lambda: TRIPLET.grad(Z, Z, Z, reduction="none", grad_output=Z),
        ValueError,
        r"grad_output: .*\(2,\), got \(2, 3\)",
    ),
    *(
        (
            f"margin {margin} of {loss.__name__}",
            lambda loss=loss, arrays=arrays, margin=margin: loss(*arrays, margin=margin),
            ValueError,
            rf"margin: .*got {margin}",
        )
        for loss, arrays in (
            (RANKING, (X, X, [1, 1, -1])),
            (HINGE, (X, [1, 1, -1])),
            (FROM_DISTANCE, (X, T)),
            (CONTRASTIVE, (Z, Z, [1, 0])),
            (TRIPLET, (Z, Z, Z)),
            (COSINE, (Z, Z, [1, -1])),
            (BATCH_TRIPLET, (Z, Y)),
            (MINE, (Z, Y)),
        )
        for margin in (-2.0, NAN, INF)
    ),
    *(
        (
            f"temperature {temperature} of {loss.__name__}",
            lambda loss=loss, second=second, temperature=temperature: loss(
                Z, second, temperature=temperature
            ),
            ValueError,
            rf"temperature: .*got {temperature}",
        )
        for loss, second in ((NT_XENT, Z), (INFO_NCE, Z), (SUP_CON, Y))
        for temperature in (0.0, -1.0, NAN, INF)
    ),
    *(
        (
            f"curvature of {loss.__name__}",
            lambda loss=loss, arrays=arrays: loss.hessian_diag(*arrays),
            ValueError,
            rf"wrt: {loss.__name__} cannot be differentiated twice",
        )
        for loss, arrays in (
            (CONTRASTIVE, (Z, Z, [1, 0])),
            (TRIPLET, (Z, Z, Z)),
            (COSINE, (Z, Z, [1, -1])),
            (BATCH_TRIPLET, (Z, Y)),
            (NT_XENT, (Z, Z)),
            (INFO_NCE, (Z, Z)),
            (SUP_CON, (Z, Y)),
        )
    ),
]
