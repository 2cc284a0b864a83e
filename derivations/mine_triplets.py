"""The triplets that a miner takes from a batch, by index."""

from collections.abc import Iterator
from typing import Any

from derivations import triplet_regions, triplets
from derivations.case import Answered, Case
from derivations.composition import Composition
from derivations.derivation import Derivation
from derivations.reduction import count
from derivations.triplet_regions import DISTANCES, MININGS
from derivations.triplet_statements import mined_triplets


def choose(case: Case) -> Composition:
    return mined_triplets(str(case.options["mining"]), str(case.options["distance"]))


def answer(statement: Composition, case: Case, denominator: Any) -> Answered:
    """Three rows of indices: anchors, positives, negatives, in lexicographic order."""
    return {"value": {"": triplets.indices(case)}, "gradient": {}, "curvature": {}}


def cases() -> Iterator[Case]:
    for sample in triplet_regions.samples():
        yield sample.case()
    for distance in DISTANCES:
        yield triplet_regions.recipe(distance, "hard")


derivation = Derivation(
    statement=mined_triplets("hard", "euclidean"),
    variants={
        **{f"mining = {one}": mined_triplets(one, "euclidean") for one in MININGS if one != "hard"},
        **{f"distance = {one}": mined_triplets("hard", one) for one in DISTANCES[1:]},
    },
    choose=choose,
    denominator=count,
    answer=answer,
    regions={name: text for name, text in triplet_regions.REGIONS.items() if name != "nan"},
    cases=cases,
)
