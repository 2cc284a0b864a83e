"""Proofs of what fused kernels wire can fail: planted mistakes in tables and reductions."""

import pytest

from derivations import derivation, wiring_proofs
from derivations.composition import Composition
from derivations.obligations import FAILED, PROVED, Outcome, settle
from derivations.working import WORKING
from refloss import quantities
from refloss.formula import direction, distance, exp, reductions, where


def outcome_of(loss: str, variant: str, claim: str) -> Outcome:
    """What comes of one obligation, by how its claim begins."""
    statement = derivation.load(loss).statement
    if isinstance(statement, Composition):
        found = wiring_proofs.of_pairs(statement)
    elif statement.index is None:
        found = wiring_proofs.of_elements(loss, statement, WORKING[loss][""].plan(loss))
    else:
        found = wiring_proofs.obligations(loss, variant)
    outcome = settle(next(one for one in found if one.claim.startswith(claim)))
    assert "Error" not in outcome.detail.split(":")[0], outcome.detail  # refuted, not stumbled
    return outcome


def softmax_without_the_losers_top(
    top,
    at,
    tail,
    low,
    poison,
    other_top,
    other_at,
    other_tail,
    other_low,
    other_poison,
    temperature,
):
    wins = where(other_top > top, 1, 0)
    staying, losing = where(wins > 0, other_tail, tail), where(wins > 0, tail, other_tail)
    gap = where(wins > 0, other_top - top, top - other_top) / temperature
    place = where(wins > 0, other_at, at)
    joined = staying + losing * exp(-gap)
    return (
        where(other_at < 0, top, where(wins > 0, other_top, top)),
        where(other_at < 0, at, place),
        where(other_at < 0, tail, where(at < 0, other_tail, joined)),
        0,
        0,
    )


def tail_with_the_top_in_it(tail, low, decay, decay_error, is_top):
    return tail + decay, low + decay_error


def tail_of_one_part(tail, low, other_tail, other_low):
    return tail, low


def sum_of_the_second_part(high, low, plus, minus, other_high, other_low, other_plus, other_minus):
    return other_high, other_low, other_plus, other_minus


def elsewhere_as_at_hit(hit, x):
    return where(hit > 0, x, 0)


def at_hit_everywhere(hit, x):
    return x


def never_at(place, at):
    return 0


def below_that_counts_no_top(tail, ties):
    return tail + ties, 0


def without_the_top(x, y):
    return y


def drift_the_other_way(surprise, teacher_p, teacher_surprise):
    return teacher_p * (teacher_surprise - surprise)


def not_silenced(x, label):
    return x


def weight_added(weight, x):
    return weight + x


def turn_along(first, second, cosine, apart, against, length):
    return second / length


def size_without_abs(x):
    return x


def rescaled_by_the_denominator(x, upstream, denominator):
    return x * (upstream * denominator)


TWO_STEPS = ", the softmax in two steps"
IN_PAIRS = ", in pairs"
ONE_STEP = ", taken up class by class"
GRADIENT = "gradient in input = closed form"
LABELS = ("cross_entropy", "class indices")

WRONG = [
    (
        reductions,
        "softmax_joined",
        softmax_without_the_losers_top,
        *LABELS,
        f"{GRADIENT}{ONE_STEP}",
    ),
    (reductions, "tail_absorbed", tail_with_the_top_in_it, *LABELS, f"value = textbook{TWO_STEPS}"),
    (reductions, "tail_joined", tail_of_one_part, *LABELS, f"value = textbook{TWO_STEPS}"),
    (
        reductions,
        "sum_joined",
        sum_of_the_second_part,
        "cross_entropy",
        "",
        f"value = textbook{TWO_STEPS}",
    ),
    (
        reductions,
        "below_finished",
        below_that_counts_no_top,
        *LABELS,
        f"value = textbook{IN_PAIRS}",
    ),
    (quantities, "both", without_the_top, "cross_entropy", "", f"{GRADIENT}{IN_PAIRS}"),
    (quantities, "elsewhere", elsewhere_as_at_hit, *LABELS, f"{GRADIENT}{TWO_STEPS}"),
    (quantities, "at_hit", at_hit_everywhere, *LABELS, f"{GRADIENT}{TWO_STEPS}"),
    (
        quantities,
        "is_at",
        never_at,
        "cross_entropy",
        "class indices",
        f"{GRADIENT}, weighted{TWO_STEPS}",
    ),
    (quantities, "is_at", never_at, "softmax_focal_loss", "", f"{GRADIENT}{TWO_STEPS}"),
    (
        quantities,
        "drift",
        drift_the_other_way,
        "distillation_loss",
        "",
        f"gradient in teacher = closed form{TWO_STEPS}",
    ),
]


WRONG += [
    (quantities, "silenced", not_silenced, "nll_loss", "", "a row that is ignored"),
    (quantities, "weighted", weight_added, "mse_loss", "", "what is wired"),
    (wiring_proofs, "rescaled", rescaled_by_the_denominator, "mse_loss", "", "what is wired"),
    (distance, "size", size_without_abs, "contrastive_loss", "", "value"),
    (direction, "turn", turn_along, "cosine_embedding_loss", "", "gradient in input1"),
]


@pytest.mark.parametrize(
    ("room", "name", "wrong", "loss", "variant", "claim"),
    WRONG,
    ids=[f"{name} as {wrong.__name__}, {loss}" for _, name, wrong, loss, *_ in WRONG],
)
def test_a_wrong_wiring_fails(monkeypatch, room, name, wrong, loss, variant, claim):
    monkeypatch.setattr(room, name, wrong)
    assert outcome_of(loss, variant, claim).verdict == FAILED
    monkeypatch.undo()
    assert outcome_of(loss, variant, claim).verdict == PROVED
