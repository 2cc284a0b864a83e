"""The reading over balls: results contain the truth, and overlapping balls do not compare."""

import math
import operator
from fractions import Fraction

import pytest
from flint import arb, ctx, fmpq

from refloss.formula import absolute, exp, log1p, power, product, quotient, sqrt, where, words
from refloss.formula.balls import MEANING, Ball, UndecidedError, exact
from refloss.formula.exponential import excess, excess_series
from refloss.formula.logistic import softplus
from refloss.formula.reading import read
from refloss.losses import huber_loss


def ball(low, high):
    return Ball(arb((low + high) / 2, (high - low) / 2))


def in_balls(formula, *numbers):
    return exact(read(formula, MEANING)(*numbers))


def test_every_word_has_a_meaning():
    assert {word.__name__ for word in words.WORDS} == MEANING.keys()


@pytest.mark.parametrize(
    "compare", [operator.gt, operator.ge, operator.lt, operator.le, operator.eq, operator.ne]
)
def test_overlapping_balls_do_not_compare(compare):
    with pytest.raises(UndecidedError):
        compare(ball(1.0, 2.0), ball(1.5, 3.0))
    with pytest.raises(UndecidedError):
        compare(ball(1.0, 2.0), 1.5)
    with pytest.raises(UndecidedError):
        compare(Ball(arb("nan")), 1.5)


def test_balls_apart_compare():
    low, high = ball(1.0, 2.0), ball(3.0, 4.0)
    assert high > low
    assert not high < low
    assert high >= low
    assert low <= high
    assert low != high
    assert (low == high) is False
    assert Ball(arb(1)) == 1
    assert low < math.inf


def test_a_ball_over_a_kink_raises_instead_of_taking_an_arm():
    with pytest.raises(UndecidedError):
        in_balls(huber_loss.value, ball(1.4, 1.6), Ball(arb(0)), Ball(arb(1.5)))
    inside = in_balls(huber_loss.value, ball(0.5, 0.75), Ball(arb(0)), Ball(arb(1.5)))
    assert inside.contains(arb(0.18))


def test_a_float_counts_for_the_number_that_it_is():
    with ctx.workprec(200):
        third = exact(0.1)
        assert third.contains(arb(fmpq(*(0.1).as_integer_ratio())))
        assert not third.contains(arb(fmpq(1, 10)))


def thirds(x):
    return x / 3


def test_whole_numbers_are_exact():
    with ctx.workprec(200):
        assert in_balls(thirds, Ball(arb(1))).contains(arb(fmpq(1, 3)))


@pytest.mark.parametrize("formula", [softplus, excess])
def test_an_interval_contains_what_its_points_give(formula):
    whole = in_balls(formula, ball(0.25, 0.5))
    for point in (0.25, 0.3, 0.5):
        assert whole.overlaps(in_balls(formula, Ball(arb(point))))


def test_excess_series_is_close_to_the_excess():
    with ctx.workprec(200):
        for point in (Fraction(1), Fraction(-1), Fraction(1, 3)):
            x = arb(fmpq(point.numerator, point.denominator))
            truth = x.exp() - 1 - x
            assert abs(in_balls(excess_series, Ball(x)) / truth - 1) < arb(2) ** -57


def masses(mass, x):
    return product(mass, log1p(-x)) + quotient(mass, 1 - x)


def test_a_mass_of_zero_silences_and_one_that_may_be_zero_is_not_decided():
    assert in_balls(masses, Ball(arb(0)), Ball(arb(1))) == 0
    with pytest.raises(UndecidedError):
        in_balls(masses, ball(-0.5, 0.5), Ball(arb(1)))


def powers(x, exponent):
    return power(x, exponent)


def test_powers_at_zero():
    assert in_balls(powers, Ball(arb(0)), Ball(arb(0))) == 1
    assert in_balls(powers, Ball(arb(0)), Ball(arb(2))) == 0


def root(x):
    return sqrt(x)


def test_square_roots():
    with ctx.workprec(200):
        assert in_balls(root, Ball(arb(2))).contains(arb(2).sqrt())
        assert not in_balls(root, Ball(arb(2))).contains(arb(math.sqrt(2)))
    assert in_balls(root, ball(4.0, 9.0)).contains(arb(2.5))
    assert in_balls(root, Ball(arb(0))) == 0


def chosen(x):
    return where(absolute(x) < 1, exp(x), x)


def test_where_takes_the_arm_that_is_certain():
    assert in_balls(chosen, ball(2.0, 3.0)).contains(arb(2.5))


def test_a_ball_has_no_truth():
    with pytest.raises(TypeError, match="branches with `where`"):
        bool(ball(0.0, 1.0))
