"""The reading over SymPy: exact, and numbers compare as numbers."""

import math

import pytest
import sympy
from sympy import Rational, Symbol

from refloss.formula import power, product, quotient, sqrt, sum_error, where, words
from refloss.formula.reading import read
from refloss.formula.symbols import Condition, Quantity, exact, meaning

x = Symbol("x", real=True)


class First:
    """A path that always takes the first arm."""

    def select(self, condition, chosen, otherwise):
        return chosen


def over_the_reals(formula, *numbers):
    return exact(read(formula, meaning(First()))(*map(Quantity, numbers)))


def test_every_word_has_a_meaning():
    assert {word.__name__ for word in words.WORDS} <= meaning(First()).keys()


def test_a_float_counts_for_the_number_that_it_is():
    assert exact(0.1) == Rational(*(0.1).as_integer_ratio())
    assert exact(0.1) != Rational(1, 10)


def third(x):
    return x / 3 + 1


def test_whole_numbers_stay_exact():
    assert over_the_reals(third, x) == x / 3 + 1


def mixed(x, y):
    return 2 - x + 3 * y / x - 1 / x + (-x) * y


def test_arithmetic():
    y = Symbol("y", real=True)
    assert sympy.simplify(over_the_reals(mixed, x, y) - (2 - x + 3 * y / x - 1 / x - x * y)) == 0


def nothing(x, y):
    return product(0, x) + quotient(0, y) + sum_error(x, y)


def test_a_mass_of_zero_silences_and_nothing_is_lost():
    assert over_the_reals(nothing, sympy.oo, sympy.S.Zero) == 0


def zeroth(x):
    return power(x, 0)


def test_zeroth_power():
    assert over_the_reals(zeroth, sympy.S.Zero) == 1


def root(x):
    return sqrt(x) / 3


def test_square_roots_stay_exact():
    assert over_the_reals(root, sympy.Integer(8)) == 2 * sympy.sqrt(2) / 3
    assert over_the_reals(root, sympy.Rational(9, 4)) == Rational(1, 2)
    assert over_the_reals(root, x**2) == sympy.Abs(x) / 3


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Quantity(x) > 1, Condition(x - 1, ">")),
        (Quantity(x) >= 1, Condition(x - 1, ">=")),
        (Quantity(x) < 1, Condition(1 - x, ">")),
        (Quantity(x) <= 1, Condition(1 - x, ">=")),
        (Quantity(x) == 1, Condition(x - 1, "==")),
        (Quantity(x) != 1, Condition(x - 1, "==", opposite=True)),
    ],
)
def test_comparisons_wait_for_a_decision(condition, expected):
    assert condition == expected


def test_quantities_are_finite():
    assert (Quantity(x) < math.inf) is True
    assert (Quantity(x) >= sympy.oo) is False
    assert (Quantity(x) == sympy.oo) is False


def branches(x):
    return 1 if x else 2


def test_a_formula_may_not_branch_by_itself():
    with pytest.raises(TypeError, match="branches with `where`"):
        over_the_reals(branches, x)


def positive_part(x):
    return where(x > 0, x, 0)


def test_where_asks_the_path():
    assert over_the_reals(positive_part, x) == x
