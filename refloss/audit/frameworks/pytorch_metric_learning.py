"""PyTorch Metric Learning: losses of pairs and triplets, and miners of triplets.

Its distances normalise by default and its reducers leave losses of zero out of the mean; both are
told here to do as refloss does. Pairs and triplets of a case are given as indices.
"""

from __future__ import annotations

import numpy as np

from refloss.audit.calls import Call, UnsupportedError, scalar
from refloss.audit.cases import Case

REQUIRES = ("pytorch_metric_learning", "torch")
DISTRIBUTION = "pytorch-metric-learning"
INSTALL = "pytorch-metric-learning"
ARRAYS = "torch"
IMPORTS = (
    "import torch; from pytorch_metric_learning import distances, losses, miners, reducers, utils"
)
DTYPES = ("float16", "bfloat16", "float32", "float64")

REDUCERS = {
    "none": "reducers.DoNothingReducer()",
    "mean": "reducers.MeanReducer()",
    "mean_nonzero": "reducers.AvgNonZeroReducer()",
    "sum": "reducers.SumReducer()",
}
DISTANCES = {
    "euclidean": "distances.LpDistance(normalize_embeddings=False)",
    "sqeuclidean": "distances.LpDistance(normalize_embeddings=False, power=2)",
    "cityblock": "distances.LpDistance(normalize_embeddings=False, p=1)",
    "cosine": "distances.CosineSimilarity()",
}


def lp(case: Case) -> str:
    """The p-norm of the difference of two vectors as they are."""
    p = scalar(case.options.get("p", 2.0))
    return f"distances.LpDistance(normalize_embeddings=False, p={p})"


def reducer(case: Case) -> str:
    return REDUCERS[case.options.get("reduction", "mean")]


def one_by_one(case: Case) -> bool:
    return bool(case.options.get("reduction", "mean") == "none")


def value(expression: str, case: Case, *, counts: bool = True) -> Call:
    """A loss, or what it has before it is reduced: the number 0 where there is nothing to count."""
    if one_by_one(case):
        if not counts:
            raise UnsupportedError("no losses one by one where nothing counts")
        expression += '["loss"]["losses"]'
    return Call(expression, differentiable=case.asked("gradient"))


def rows(case: Case, name: str) -> int:
    """How many vectors there are, side by side."""
    array = case.arrays[name]
    if array.ndim != 2:
        raise UnsupportedError("no axes but rows and components")
    return len(array)


def contrastive_loss(case: Case) -> Call:
    """Pairs i, i of x1 and x2; similar and dissimilar ones have a mean of their own each."""
    count = rows(case, "x1")
    similar, dissimilar = (int(np.sum(case.arrays["target"] == kind)) for kind in (1, 0))
    if similar + dissimilar < count:
        raise UnsupportedError("no similarity between 0 and 1")
    margin = scalar(case.options.get("margin", 1.0))
    how = REDUCERS["none" if one_by_one(case) else "sum"]
    loss = f"losses.ContrastiveLoss(neg_margin={margin}, distance={lp(case)}, reducer={how})"
    indices = "[i for kind in (1, 0) for i in 2 * [(target == kind).nonzero().ravel()]]"
    found = f"{loss}(x1, ref_emb=x2, indices_tuple={indices})"
    if case.options.get("reduction", "mean") == "mean":
        found += f" / {count}"
    asked = case.asked("gradient")
    if max(similar, dissimilar) < 2:  # it returns 0, which is not made from x2
        asked = tuple(name for name in asked if name != "x2")
    if one_by_one(case):
        if max(similar, dissimilar) < 2:
            raise UnsupportedError("no losses one by one of so few pairs")
        kinds = {"pos_loss": similar, "neg_loss": dissimilar}
        parts = ", ".join(f'found["{kind}"]["losses"]' for kind in kinds if kinds[kind])
        order = "[(target != 1).argsort(stable=True).argsort()]"
        found = f"(lambda found: torch.cat([{parts}]){order})({found})"
    return Call(found, differentiable=asked)


def triplet_margin_loss(case: Case) -> Call:
    count = rows(case, "anchor")
    if case.options.get("eps", 1e-6) != 0:
        raise UnsupportedError("no eps in its distance")
    margin, swap = (scalar(case.options.get(*one)) for one in (("margin", 1.0), ("swap", False)))
    options = f"margin={margin}, swap={swap}, distance={lp(case)}, reducer={reducer(case)}"
    indices = f"torch.arange({3 * count}).reshape(3, {count}).unbind()"
    vectors = "torch.cat([anchor, positive, negative])"
    loss = f"losses.TripletMarginLoss({options})"
    return value(f"{loss}({vectors}, indices_tuple={indices})", case, counts=count > 0)


def batch_triplet_loss(case: Case) -> Call:
    distance = DISTANCES[case.options.get("distance", "euclidean")]
    margin = scalar(case.options.get("margin", 1.0))
    loss = (
        f"losses.TripletMarginLoss(margin={margin}, distance={distance}, reducer={reducer(case)})"
    )
    if case.options.get("mining", "all") == "all":
        return value(f"{loss}(embeddings, labels)", case)
    return value(f"{loss}(embeddings, labels, {mined(case)})", case)


def mine_triplets(case: Case) -> Call:
    """In lexicographic order, as its miners find them."""
    return Call(f"torch.stack({mined(case)})")


def mined(case: Case) -> str:
    """The triplets by a miner. What TripletMarginMiner calls hard is not one triplet an anchor."""
    mining = case.options.get("mining", "hard")
    distance = DISTANCES[case.options.get("distance", "euclidean")]
    if mining == "all":
        return "utils.loss_and_miner_utils.get_all_triplets_indices(labels)"
    if mining == "hard":
        return f"miners.BatchHardMiner(distance={distance})(embeddings, labels)"
    margin = scalar(case.options.get("margin", 1.0))
    options = f"margin={margin}, type_of_triplets={mining!r}, distance={distance}"
    return f"miners.TripletMarginMiner({options})(embeddings, labels)"


def nt_xent_loss(case: Case) -> Call:
    loss = ntxent(case, 0.5)
    counts = len(case.arrays["z_i"]) > 1
    return value(f"losses.SelfSupervisedLoss({loss})(z_i, z_j)", case, counts=counts)


def info_nce_loss(case: Case) -> Call:
    """Without a queue the other keys of the batch are the negatives of a query."""
    loss, count = ntxent(case, 0.07), len(case.arrays["query"])
    if "negative_keys" not in case.arrays:
        loss = f"losses.SelfSupervisedLoss({loss}, symmetric=False)"
        return value(f"{loss}(query, positive_key)", case, counts=count > 1)
    queue = len(case.arrays["negative_keys"])
    own = f"torch.arange({count})"
    others = f"torch.arange({count}, {count + queue}).repeat({count})"
    indices = f"({own}, {own}, {own}.repeat_interleave({queue}), {others})"
    keys = "torch.cat([positive_key, negative_keys])"
    counts = count > 0 and queue > 0
    return value(f"{loss}(query, ref_emb={keys}, indices_tuple={indices})", case, counts=counts)


def ntxent(case: Case, default: float) -> str:
    temperature = scalar(case.options.get("temperature", default))
    return f"losses.NTXentLoss(temperature={temperature}, reducer={reducer(case)})"


def sup_con_loss(case: Case) -> Call:
    """The mean over anchors with a positive is its default's, which leaves out losses of zero."""
    temperature = scalar(case.options.get("temperature", 0.1))
    reduction = case.options.get("reduction", "mean")
    how = REDUCERS["mean_nonzero" if reduction == "mean" else reduction]
    loss = f"losses.SupConLoss(temperature={temperature}, reducer={how})"
    counts = 1 < len(np.unique(case.arrays["labels"])) < len(case.arrays["labels"])
    return value(f"{loss}(embeddings, labels)", case, counts=counts)
