"""The proofs of the triplets can fail: planted mistakes in the code that runs are not proved."""

from types import SimpleNamespace

import pytest

from derivations import triplet_proofs
from derivations.obligations import RefutedError
from derivations.triplet_proofs import gathered, listed, measured, of_anchor, steepness, summed
from derivations.triplet_statements import batch_loss
from refloss import triplets
from refloss.formula import direction, triplet
from refloss.formula import distance as length
from refloss.kernels import selection
from refloss.kernels.metric import Metric

LABELS = (0, 0, 1, 1)


def planted(**wrong):
    """The functions of `refloss.kernels.selection` with some in place of others."""
    right = {name: getattr(selection, name) for name in dir(selection) if name[0] != "_"}
    return SimpleNamespace(**{**right, **wrong})


def doubled(x):
    sums, rests = selection.running_sums(x)
    return sums + sums, rests


def without_margin(distance, margin):
    return distance


def half(reach, below, passed, running, running_low, start, start_low):
    return (below - passed) * reach / 2 - (running - start)


@pytest.mark.parametrize("mining", ["all", "semihard", "easy"])
def test_the_right_code_is_proved(mining):
    assert "orders" in of_anchor(mining, (0, 0, 1))


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"ordered": lambda x: x}, "."),
        ({"running_sums": doubled}, "loss"),
        ({"number_below": lambda x, at: selection.number_below(x, at) * 0}, "."),
    ],
    ids=["not sorted", "sums twice", "nobody below"],
)
def test_mistakes_in_sorting_are_refuted(monkeypatch, wrong, part):
    monkeypatch.setattr(triplets, "selection", planted(**wrong))
    with pytest.raises(RefutedError, match=part):
        of_anchor("all", LABELS)


def test_a_miner_that_takes_its_bound_is_refuted(monkeypatch):
    """d_an = d_ap is not semi-hard; only the edge between two orders tells."""
    wrong = planted(number_up_to=selection.number_below)
    monkeypatch.setattr(triplets, "selection", wrong)
    with pytest.raises(RefutedError):
        of_anchor("semihard", (0, 0, 1))


@pytest.mark.parametrize("name", ["reach", "regrouped"])
def test_mistakes_in_formulas_are_refuted(monkeypatch, name):
    monkeypatch.setattr(triplet, name, {"reach": without_margin, "regrouped": half}[name])
    with pytest.raises(RefutedError):
        of_anchor("all", LABELS)
    if name == "regrouped":
        with pytest.raises(RefutedError):
            summed(triplet_proofs._s)


def test_one_miner_is_not_another(monkeypatch):
    for statement in (batch_loss, triplet_proofs.mined_triplets):
        monkeypatch.setattr(
            triplet_proofs, statement.__name__, lambda mining, metric, f=statement: f("all", metric)
        )
    with pytest.raises(RefutedError):
        listed("semihard", LABELS)
    with pytest.raises(RefutedError):
        listed("hard", LABELS)


@pytest.mark.parametrize(
    "wrong",
    [
        Metric(length.square_term, length.squared, length.square_slope),
        Metric(length.absolute_term, length.square_root, length.square_slope),
    ],
    ids=["not rooted", "absolute values for squares"],
)
def test_a_wrong_distance_is_refuted(monkeypatch, wrong):
    monkeypatch.setitem(triplets.METRICS, "euclidean", wrong)
    with pytest.raises(RefutedError):
        measured("euclidean", (2, 2))


def test_a_wrong_slope_is_refuted(monkeypatch):
    slopes = (length.absolute_slope, length.squared_slope)
    for slope in slopes:
        wrong = Metric(length.square_term, length.square_root, slope)
        monkeypatch.setitem(triplets.METRICS, "euclidean", wrong)
        with pytest.raises(RefutedError):
            gathered("euclidean", (2, 2))


def test_a_cosine_without_its_direction_is_refuted(monkeypatch):
    monkeypatch.setattr(direction, "gap", lambda cosine, apart: cosine)
    with pytest.raises(RefutedError):
        measured("cosine", (2, 2))


def test_weights_of_another_miner_are_no_derivative(monkeypatch):
    right = triplet_proofs.stated

    def mixed(mining, labels):
        return {**right("all", labels), "loss": right("semihard", labels)["loss"]}

    monkeypatch.setattr(triplet_proofs, "stated", mixed)
    with pytest.raises(RefutedError):
        steepness("all", (0, 0, 1))
