"""What a row comes to, taken up one number at a time and joined from any number of parts, in words.

Each reduction is three formulas over its *state*, a few numbers: ``absorbed`` takes up one more
class, ``joined`` puts two parts of a row together, ``finished`` says what the whole row comes to.
Parts may be joined in any grouping; over the reals the result is the same, and the sums are kept as
pairs (high, low), so that rounding hardly tells them apart either. A part in which there was
nothing has the place -1.
"""

from typing import Any

from refloss.formula.pairs import lost_sum, ratio_error
from refloss.formula.softmax import decay, decay_error
from refloss.formula.words import INFINITY, absolute, product_error, sum_error, where

State = tuple[Any, ...]

NOWHERE = -1  # no class

# The softmax: the largest logit and its place, the decays of all others, and NaN if there is one

SOFTMAX = (-INFINITY, NOWHERE, 0, 0, 0)


def softmax_joined(
    top: Any,
    at: Any,
    tail: Any,
    low: Any,
    poison: Any,
    other_top: Any,
    other_at: Any,
    other_tail: Any,
    other_low: Any,
    other_poison: Any,
    temperature: Any,
) -> State:
    """The smaller top becomes one of the others: its part decays by e^-(gap to the larger)."""
    earlier = where(other_top == top, where(other_at < at, 1, 0), 0)
    wins = where(other_top > top, 1, earlier)
    winner, loser = where(wins > 0, other_top, top), where(wins > 0, top, other_top)
    gap = where(winner > -INFINITY, (winner - loser) / temperature, 0)
    gap_error = ratio_error(winner - loser, sum_error(winner, -loser), temperature, 0)
    e, e_error = decay(gap, gap_error), decay_error(gap, gap_error)
    losing, losing_low = where(wins > 0, tail, other_tail), where(wins > 0, low, other_low)
    staying, staying_low = where(wins > 0, other_tail, tail), where(wins > 0, other_low, low)
    grown = 1 + losing
    moved = grown * e
    moved_low = product_error(grown, e) + grown * e_error
    moved_low = moved_low + (sum_error(1, losing) + losing_low) * e
    sums = staying + moved
    sums_low = sum_error(staying, moved) + (staying_low + moved_low)
    place = where(wins > 0, other_at, at)
    return (
        _unless_nothing(at, other_at, top, other_top, winner),
        _unless_nothing(at, other_at, at, other_at, place),
        _unless_nothing(at, other_at, tail, other_tail, sums),
        _unless_nothing(at, other_at, low, other_low, sums_low),
        poison + other_poison,
    )


def _unless_nothing(at: Any, other_at: Any, own: Any, other: Any, joined: Any) -> Any:
    """What both parts come to, or the one in which there is something."""
    return where(other_at < 0, own, where(at < 0, other, joined))


def softmax_absorbed(
    top: Any, at: Any, tail: Any, low: Any, poison: Any, z: Any, place: Any, temperature: Any
) -> State:
    """A class by itself is a part with nothing below its top."""
    number = where(z == z, z, -INFINITY)
    nan = where(z == z, 0, z)
    return softmax_joined(top, at, tail, low, poison, number, place, 0, 0, nan, temperature)


def softmax_finished(top: Any, at: Any, tail: Any, low: Any, poison: Any) -> State:
    """The largest logit, its place, the sum of the others' decays as a pair, NaN or 0.

    Where several logits are all -inf the decays among them have no limit.
    """
    decided = where(top > -INFINITY, tail, where(tail > 0, top - top, tail))
    return top + poison, at, decided + low, sum_error(decided, low), poison


# The same in two steps, for who can look at a row twice while it is near: the largest logit, its
# place and NaN if there is one; then the decays of all others

TOP = (-INFINITY, NOWHERE, 0)


def top_joined(
    top: Any, at: Any, poison: Any, other_top: Any, other_at: Any, other_poison: Any
) -> State:
    earlier = where(other_at < 0, 0, where(at < 0, 1, where(other_at < at, 1, 0)))
    wins = where(other_top > top, 1, where(other_top == top, earlier, 0))
    return (
        where(wins > 0, other_top, top),
        where(wins > 0, other_at, at),
        poison + other_poison,
    )


def top_absorbed(top: Any, at: Any, poison: Any, z: Any, place: Any) -> State:
    """Places come in ascending order; a row of nothing but -inf has its top nowhere yet."""
    return (
        where(z > top, z, top),
        where(z > top, place, at),
        where(z == z, poison, z),
    )


def top_finished(top: Any, at: Any, poison: Any) -> State:
    return top + poison, where(at < 0, 0, at), poison


TAIL = (0, 0)


def tail_joined(tail: Any, low: Any, other_tail: Any, other_low: Any) -> State:
    return tail + other_tail, low + (other_low + lost_sum(tail, other_tail))


def tail_absorbed(tail: Any, low: Any, decay: Any, decay_error: Any, is_top: Any) -> State:
    own, own_low = where(is_top > 0, 0, decay), where(is_top > 0, 0, decay_error)
    return tail + own, low + (own_low + lost_sum(tail, own))


def tail_finished(tail: Any, low: Any) -> State:
    """The sum of the decays as a pair; a NaN among them stays one."""
    return tail + low, sum_error(tail, low)


# The same where it does not matter which of the largest logits is the top, and all are finite: how
# large they are; then the decays of all that are smaller, and how many there are

PEAK = (-INFINITY,)


def peak_joined(top: Any, other_top: Any) -> State:
    return (where(other_top > top, other_top, top),)


def peak_absorbed(top: Any, z: Any) -> State:
    return (where(z > top, z, top),)


def peak_finished(top: Any) -> State:
    return (top,)


BELOW = (0, 0)


def below_joined(tail: Any, ties: Any, other_tail: Any, other_ties: Any) -> State:
    return tail + other_tail, ties + other_ties


def below_absorbed(tail: Any, ties: Any, decay: Any, is_top: Any) -> State:
    return tail + where(is_top > 0, 0, decay), ties + is_top


def below_finished(tail: Any, ties: Any) -> State:
    """The sum of all decays but one of 1, as a pair."""
    return tail + (ties - 1), sum_error(tail, ties - 1)


# A sum of a row's terms

SUM = (0, 0, 0, 0)


def sum_joined(
    high: Any,
    low: Any,
    plus: Any,
    minus: Any,
    other_high: Any,
    other_low: Any,
    other_plus: Any,
    other_minus: Any,
) -> State:
    lost = sum_error(high, other_high)
    return high + other_high, low + (other_low + lost), plus + other_plus, minus + other_minus


def sum_absorbed(high: Any, low: Any, plus: Any, minus: Any, x: Any) -> State:
    """``plus`` and ``minus`` tell whether there was an infinity of that sign."""
    above, below = where(x == INFINITY, 1, 0), where(x == -INFINITY, 1, 0)
    return high + x, low + sum_error(high, x), plus + above, minus + below


def sum_finished(high: Any, low: Any, plus: Any, minus: Any) -> State:
    """A NaN is a term without a limit: it matters no more where another term is +inf."""
    total = where(absolute(high) < INFINITY, high + low, high)
    decided = where(plus > 0, where(minus > 0, total, INFINITY), total)
    return (where(total == total, total, decided),)


# All numbers but one: the largest by absolute value is kept apart, to be left out exactly

OTHERS = (0, NOWHERE, 0, 0)


def others_joined(
    big: Any,
    at: Any,
    high: Any,
    low: Any,
    other_big: Any,
    other_at: Any,
    other_high: Any,
    other_low: Any,
) -> State:
    size, other_size = absolute(big), absolute(other_big)
    earlier = where(other_at < 0, 0, where(at < 0, 1, where(other_at < at, 1, 0)))
    wins = where(other_size > size, 1, where(other_size == size, earlier, 0))
    loser = where(wins > 0, big, other_big)
    both = high + other_high
    sums = both + loser
    lost = sum_error(high, other_high) + sum_error(both, loser)
    return (
        where(wins > 0, other_big, big),
        where(wins > 0, other_at, at),
        sums,
        (low + other_low) + lost,
    )


def others_absorbed(big: Any, at: Any, high: Any, low: Any, x: Any, place: Any) -> State:
    wins = where(absolute(x) > absolute(big), 1, 0)
    loser = where(wins > 0, big, x)
    return (
        where(wins > 0, x, big),
        where(wins > 0, place, at),
        high + loser,
        low + sum_error(high, loser),
    )


def others_finished(big: Any, at: Any, high: Any, low: Any) -> State:
    return big, at, high + low


def all_but(x: Any, place: Any, big: Any, at: Any, rest: Any) -> Any:
    """The sum of all numbers but this one."""
    return where(place == at, rest, (big - x) + rest)


# The largest of numbers that are not negative

LARGEST = (0, 0)


def largest_joined(largest: Any, poison: Any, other_largest: Any, other_poison: Any) -> State:
    return where(other_largest > largest, other_largest, largest), poison + other_poison


def largest_absorbed(largest: Any, poison: Any, x: Any) -> State:
    return where(x > largest, x, largest), poison + where(x == x, 0, x)


def largest_finished(largest: Any, poison: Any) -> State:
    return (largest + poison,)


# Whether there is a NaN

POISON = (0,)


def poison_joined(poison: Any, other: Any) -> State:
    return (poison + other,)


def poison_absorbed(poison: Any, x: Any) -> State:
    return (poison + where(x == x, 0, x),)


def poison_finished(poison: Any) -> State:
    return (poison,)


# A plain total, as a pair

TOTAL = (0, 0)


def total_joined(high: Any, low: Any, other_high: Any, other_low: Any) -> State:
    return high + other_high, low + (other_low + sum_error(high, other_high))


def total_absorbed(high: Any, low: Any, x: Any) -> State:
    return high + x, low + sum_error(high, x)


def total_finished(high: Any, low: Any) -> State:
    return (where(absolute(high) < INFINITY, high + low, high),)


# A total of numbers none of which is below 0 or above the base that it starts from: then what an
# addition lost needs no look at which of the two is larger (T. J. Dekker 1971)


def based_absorbed(high: Any, low: Any, x: Any) -> State:
    total = high + x
    return total, low + (x - (total - high))


def based_finished(high: Any, low: Any, base: Any) -> State:
    return ((high - base) + (low + sum_error(high, -base)),)
