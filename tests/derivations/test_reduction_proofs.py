"""Proofs of reductions can fail: joins that forget something are refused."""

import pytest

from derivations import reduction_proofs
from derivations.obligations import FAILED, PROVED, Obligation, settle
from refloss.formula import exp, reductions, where


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
    gap = where(wins > 0, other_top - top, top - other_top) / temperature
    staying, losing = where(wins > 0, other_tail, tail), where(wins > 0, tail, other_tail)
    place = where(wins > 0, other_at, at)
    return where(wins > 0, other_top, top), place, staying + losing * exp(-gap), 0, 0


def softmax_with_the_last_on_top(
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
    wins = where(other_top > top, 1, where(other_top == top, 1, 0))
    gap = where(wins > 0, other_top - top, top - other_top) / temperature
    staying, losing = where(wins > 0, other_tail, tail), where(wins > 0, tail, other_tail)
    place = where(wins > 0, other_at, at)
    return where(wins > 0, other_top, top), place, staying + (1 + losing) * exp(-gap), 0, 0


def others_with_the_smaller_apart(big, at, high, low, other_big, other_at, other_high, other_low):
    wins = where(other_big > big, 1, 0)
    return (
        where(wins > 0, other_big, big),
        where(wins > 0, other_at, at),
        high + other_high + where(wins > 0, big, other_big),
        0,
    )


def top_that_the_last_takes(top, at, poison, z, place):
    return where(z >= top, z, top), where(z >= top, place, at), where(z == z, poison, z)


def top_with_the_later_place(top, at, poison, other_top, other_at, other_poison):
    wins = where(other_top >= top, 1, 0)
    return where(wins > 0, other_top, top), where(wins > 0, other_at, at), poison + other_poison


def tail_with_the_top_in_it(tail, low, decay, decay_error, is_top):
    return tail + decay, low + decay_error


def below_with_the_tops_in_it(tail, ties, decay, is_top):
    return tail + decay, ties + is_top


def below_that_counts_one_top(tail, ties, decay, is_top):
    return tail + where(is_top > 0, 0, decay), where(is_top > 0, 1, ties)


SHOWN = {
    "top_absorbed": reduction_proofs.top_taken,
    "top_joined": reduction_proofs.top_parts,
    "tail_absorbed": reduction_proofs.tails,
    "below_absorbed": reduction_proofs.ties,
    "softmax_joined": reduction_proofs.softmax_parts,
    "others_joined": reduction_proofs.others_parts,
}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("softmax_joined", softmax_without_the_losers_top),
        ("softmax_joined", softmax_with_the_last_on_top),
        ("others_joined", others_with_the_smaller_apart),
        ("top_absorbed", top_that_the_last_takes),
        ("top_joined", top_with_the_later_place),
        ("tail_absorbed", tail_with_the_top_in_it),
        ("below_absorbed", below_with_the_tops_in_it),
        ("below_absorbed", below_that_counts_one_top),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_a_wrong_join_is_refused(name, wrong):
    outcome = settle(Obligation("reductions", name, lambda: SHOWN[name](wrong)))
    assert outcome.verdict == FAILED
    assert " breaks claim " in outcome.detail  # refuted, not stumbled


def test_the_right_join_is_proved_in_the_place_of_the_wrong_one():
    right = reductions.softmax_joined
    shown = Obligation("reductions", "softmax", lambda: reduction_proofs.softmax_parts(right))
    assert settle(shown).verdict == PROVED
