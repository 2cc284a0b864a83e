"""Triplet loss over all triplets of a batch, or over those that a miner takes."""

import itertools
from collections.abc import Iterator
from typing import Any

from derivations import triplet_regions, triplets
from derivations.case import Answered, Case
from derivations.composition import Composition
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.pair_distances import METRICS, NORMALISED
from derivations.reduction import count
from derivations.triplet_regions import DISTANCES, MININGS
from derivations.triplet_statements import batch_loss

REDUCTIONS = ("mean", "mean_nonzero", "sum")


def choose(case: Case) -> Composition:
    return batch_loss(str(case.options["mining"]), str(case.options["distance"]))


def answer(statement: Composition, case: Case, denominator: Any) -> Answered:
    return triplets.answer(case, METRICS)


def normalised(case: Case, textbook: Answered) -> Answered:
    return triplets.answer(case, NORMALISED)


def cases() -> Iterator[Case]:
    for sample, reduction in zip(triplet_regions.samples(), itertools.cycle(REDUCTIONS)):
        yield sample.case(reduction=reduction)
    for sample, reduction in itertools.product(triplet_regions.nans(), REDUCTIONS):
        yield sample.case(reduction=reduction)
    for distance, mining in itertools.product(DISTANCES, MININGS):
        for reduction in REDUCTIONS[:2]:
            yield triplet_regions.recipe(distance, mining, reduction=reduction)


derivation = Derivation(
    statement=batch_loss("all", "euclidean"),
    variants={
        **{f"mining = {mining}": batch_loss(mining, "euclidean") for mining in MININGS[1:]},
        **{f"distance = {distance}": batch_loss("all", distance) for distance in DISTANCES[1:]},
    },
    choose=choose,
    denominator=count,
    answer=answer,
    regions=triplet_regions.REGIONS,
    conventions={
        "normalised": Convention(
            "Embeddings are divided by their Euclidean length first (pytorch-metric-learning's "
            "distances).",
            amend=normalised,
            applies=lambda case: (
                case.region == "bulk"
                and case.options["distance"] in NORMALISED
                and case.inputs["embeddings"].shape[1] > 1
            ),
        )
    },
    cases=cases,
)
