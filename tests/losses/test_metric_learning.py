"""On the ground of pytorch-metric-learning both agree, once its conventions are named.

Its distances are computed by matrix products, so it agrees to half of the digits of float64.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import refloss

from .enrolled import BATCH, GROUPS, Arrays, Entry

torch = pytest.importorskip("torch", reason="torch is not installed")
distances, losses, miners, reducers = (
    pytest.importorskip(
        f"pytorch_metric_learning.{part}", reason="pytorch-metric-learning is not installed"
    )
    for part in ("distances", "losses", "miners", "reducers")
)

HALF = 2.0**-26
SEEDS = pytest.mark.parametrize("seed", range(3))
PLAIN = {"normalize_embeddings": False}
METRICS: dict[str, Callable[[], Any]] = {
    "euclidean": lambda: distances.LpDistance(**PLAIN),
    "sqeuclidean": lambda: distances.LpDistance(**PLAIN, power=2),
    "cityblock": lambda: distances.LpDistance(**PLAIN, p=1),
    "cosine": lambda: distances.CosineSimilarity(),
}
MINERS: dict[str, Callable[[Any, float], Any]] = {
    "semihard": lambda metric, margin: miners.TripletMarginMiner(
        margin, "semihard", distance=metric
    ),
    "easy": lambda metric, margin: miners.TripletMarginMiner(margin, "easy", distance=metric),
    "hard": lambda metric, margin: miners.BatchHardMiner(distance=metric),
}


def batch(seed: int) -> Arrays:
    return Entry("sup_con_loss", {"embeddings": BATCH, "labels": GROUPS}).sample(seed, n=16)


def asked(loss: Any, embeddings: Any, labels: Any, *mined: Any) -> tuple[Any, Any]:
    """Their value, and its gradient by the embeddings."""
    x = torch.tensor(embeddings, requires_grad=True)
    value = loss(x, torch.tensor(labels), *mined)
    (gradient,) = torch.autograd.grad(value, x)
    return value.item(), gradient.numpy()


def agree(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    for ours, other in zip(found, expected, strict=True):
        largest = np.abs(ours).max()
        assert largest > 0
        assert np.abs(np.asarray(other) - ours).max() <= HALF * max(largest, 1.0)


@SEEDS
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nt_xent_of_two_views(seed: int, temperature: float) -> None:
    z = batch(seed)["embeddings"]
    found = refloss.nt_xent_loss.value_and_grad(
        z[:8], z[8:], temperature=temperature, wrt=("z_i", "z_j")
    )
    views = np.tile(np.arange(8), 2)
    expected = asked(losses.NTXentLoss(temperature), z, views)
    agree((found[0], np.concatenate(found[1])), expected)


@SEEDS
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_sup_con(seed: int, temperature: float) -> None:
    """Their mean counts the losses above 0: those of anchors with a positive."""
    arrays = batch(seed)
    found = refloss.sup_con_loss.value_and_grad(**arrays, temperature=temperature)
    agree(found, asked(losses.SupConLoss(temperature), *arrays.values()))


@SEEDS
@pytest.mark.parametrize("reduction", ["mean", "mean_nonzero"])
@pytest.mark.parametrize("distance", METRICS)
@pytest.mark.parametrize("mining", ["all", "semihard", "hard"])
def test_triplets(mining: str, distance: str, reduction: str, seed: int) -> None:
    arrays = batch(seed)
    metric = METRICS[distance]()
    reducer = reducers.MeanReducer() if reduction == "mean" else reducers.AvgNonZeroReducer()
    loss = losses.TripletMarginLoss(0.75, distance=metric, reducer=reducer)
    mined = [] if mining == "all" else [mined_by(mining, metric, arrays)]
    found = refloss.batch_triplet_loss.value_and_grad(
        **arrays, margin=0.75, mining=mining, distance=distance, reduction=reduction
    )
    agree(found, asked(loss, *arrays.values(), *mined))


def mined_by(mining: str, metric: Any, arrays: Arrays) -> Any:
    x, labels = (torch.tensor(array) for array in arrays.values())
    return MINERS[mining](metric, 0.75)(x, labels)


@SEEDS
@pytest.mark.parametrize("distance", METRICS)
@pytest.mark.parametrize("mining", MINERS)
def test_miners(mining: str, distance: str, seed: int) -> None:
    arrays = batch(seed)
    ours = refloss.mine_triplets(**arrays, mining=mining, margin=0.75, distance=distance)
    other = mined_by(mining, METRICS[distance](), arrays)
    found = [*zip(*(part.tolist() for part in ours), strict=True)]
    assert found
    assert found == sorted(zip(*(part.tolist() for part in other), strict=True))


@SEEDS
def test_contrastive_squares_what_they_do_not(seed: int) -> None:
    """The convention ``unsquared``: each arm is the root of ours, for targets of 0 and 1.

    They mean over the similar pairs and over the dissimilar ones with a loss above 0.
    """
    x, labels = batch(seed).values()
    first, second = np.nonzero(~np.eye(16, dtype=bool))
    similar = labels[first] == labels[second]
    squares, slope = refloss.contrastive_loss.value_and_grad(
        x[first], x[second], similar, margin=2.0, reduction="none"
    )
    roots = np.sqrt(squares)
    value, gradient = 0.0, np.zeros_like(x)
    for kind in (similar, ~similar):
        counted = kind & (roots > 0)
        value += roots[counted].sum() / counted.sum()
        by_root = slope[counted] / (2 * roots[counted, None]) / counted.sum()
        np.add.at(gradient, first[counted], by_root)
        np.add.at(gradient, second[counted], -by_root)
    loss = losses.ContrastiveLoss(0, 2.0, distance=METRICS["euclidean"]())
    agree((value, gradient), asked(loss, x, labels))
