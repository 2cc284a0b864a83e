"""The explorer walks every arm, and drops one only where a proof says that nobody gets there."""

import pytest
from sympy import Abs, IndexedBase, KroneckerDelta, Max, Piecewise, Sum, Symbol, exp, log, sign

from derivations.agreement import show_derivative, show_equal
from derivations.algebra import Algebra, is_zero
from derivations.explorer import UncoveredError, explore, formula_on
from derivations.facts import NONNEGATIVE, POSITIVE, ZERO, Facts
from derivations.obligations import RefutedError
from derivations.statement import arms
from derivations.symbolic_rows import Row, RowKernels
from refloss.formula import absolute, where

x, y = Symbol("x", real=True), Symbol("y", real=True)
a, b, g = (Symbol(name, positive=True) for name in "abg")
i, k, m, C = (Symbol(name, integer=True) for name in "ikmC")
z = IndexedBase("z", real=True)


def known(*claims):
    facts = Facts(Algebra(frozenset({a, b, g})))
    for expression, kind in claims:
        facts = facts.given(expression, kind)
    return facts


def three_arms(x, b):
    return where(x > b, 1, where(x < -b, -1, 0))


def nested(x):
    return where(x > 2, where(x > 1, 10, 20), where(x > 3, 30, 40))


def outcomes(formula, facts=None, **quantities):
    facts = facts or known()
    return [leaf.outcome for leaf in explore(lambda p: formula_on(p, formula, quantities), facts)]


def test_every_arm_is_found():
    assert sorted(outcomes(three_arms, x=x, b=b)) == [-1, 0, 1]


def test_arms_that_nobody_reaches_are_dropped():
    assert set(outcomes(nested, x=x)) == {10, 40}


def test_what_is_known_decides():
    assert outcomes(three_arms, known((x - b, POSITIVE)), x=x, b=b) == [1]
    assert outcomes(three_arms, known((x + b, NONNEGATIVE), (b - x, NONNEGATIVE)), x=x, b=b) == [0]


def test_an_edge_is_not_dropped():
    # x >= b and x <= b leaves x = b, where x > b is false
    facts = known((x - b, NONNEGATIVE), (b - x, NONNEGATIVE))
    assert outcomes(three_arms, facts, x=x, b=b) == [0]
    assert facts.on_boundary
    assert not facts.contradictory


def test_a_trivial_fact_is_no_edge():
    assert not known((x - x, NONNEGATIVE), (y - y, ZERO)).on_boundary
    assert known((x - x, POSITIVE)).contradictory


def equal_to_zero(x):
    return where(x == 0, 5, where(x > 0, 6, 7))


def test_equality_is_of_numbers_and_not_of_how_they_are_written():
    assert sorted(outcomes(equal_to_zero, x=x)) == [5, 6, 7]
    assert outcomes(equal_to_zero, x=(x + 1) ** 2 - x**2 - 2 * x - 1) == [5]


def same_arms(x):
    return where(x > 0, (x + 1) * (x + 1), x * x + 2 * x + 1)


def test_equal_arms_need_no_fork():
    assert len(outcomes(same_arms, x=x)) == 1


@pytest.mark.parametrize(
    ("claims", "contradictory"),
    [
        ([(x, POSITIVE), (-x, POSITIVE)], True),
        ([(x, POSITIVE), (-x, NONNEGATIVE)], True),
        ([(x, NONNEGATIVE), (-x, NONNEGATIVE)], False),
        ([(x - y, POSITIVE), (y - x, NONNEGATIVE)], True),
        ([(x - y, ZERO), (x - y - 1, NONNEGATIVE)], True),
        ([(x - y, ZERO), (x - y, NONNEGATIVE)], False),
        ([(x - 1, POSITIVE), (y - x, POSITIVE), (1 - y, POSITIVE)], True),
        ([(-exp(x), POSITIVE)], True),
        ([(-exp(x) - a, NONNEGATIVE)], True),
        ([(-(x**2), POSITIVE)], True),
        ([(x**2 - y, POSITIVE)], False),
        ([(x * y, POSITIVE), (-x, POSITIVE), (y, POSITIVE)], True),
        ([(-((x - y) ** 2), POSITIVE)], False),  # it is, but that is not found out
        ([(a * (1 - x) + a * x, ZERO)], True),
    ],
)
def test_contradictions(claims, contradictory):
    assert known(*claims).contradictory is contradictory


def test_signs():
    facts = known((x, POSITIVE), (1 - x, POSITIVE))
    assert facts.sign(1 - x) == 1
    assert facts.sign(x - 2) == -1
    assert facts.sign(x - x) == 0
    assert facts.sign(2 * x - 1) is None
    assert facts.sign((1 - x) * a + x) == 1
    assert facts.sign(1 / (1 + exp(y)) - 1) == -1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (log(a * b), log(a) + log(b)),
        (log(1 / (1 + exp(-x))), x - log(1 + exp(x))),
        (exp(x + y) / exp(y), exp(x)),
        (a**g * a, a ** (g + 1)),
        ((a / (a + b)) ** g, a**g / (a + b) ** g),
        (exp(2 * log(a) + g * log(b)), a**2 * b**g),
        (Sum(exp(z[i] + x), (i, 0, C - 1)), exp(x) * Sum(exp(z[k]), (k, 0, C - 1))),
        (Sum(z[i] * KroneckerDelta(i, k), (i, 0, C - 1)), z[k]),
        (Sum(1, (i, 0, C - 1)), C),
    ],
)
def test_equal_expressions_are_found_equal(one, other):
    assert known().vanishes(one - other)
    assert not known().vanishes(one - 2 * other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (log(x * y), log(x) + log(y)),  # both may be negative
        (log(x**2), 2 * log(x)),
        (Sum(z[i] ** 2, (i, 0, C - 1)), Sum(z[i], (i, 0, C - 1)) ** 2),
    ],
)
def test_what_holds_only_sometimes_is_not_claimed(one, other):
    assert not known().vanishes(one - other)


def test_equations_that_inequalities_imply_are_used():
    facts = known((x - y, NONNEGATIVE), (y - x, NONNEGATIVE))
    assert facts.vanishes(x**2 - x * y)
    assert not known((x - y, NONNEGATIVE)).vanishes(x**2 - x * y)


def test_zero_is_a_matter_of_numerators():
    assert is_zero(1 / (1 + 1 / a) - a / (1 + a))
    assert not is_zero(1 / (1 + 1 / a) - a / (2 + a))


def test_a_rounded_number_has_no_place_in_a_proof():
    with pytest.raises(TypeError, match="rounded number"):
        known().vanishes(0.1 * x)


def resolved(expression):
    return lambda path: path.resolve(expression)


def test_pieces_maxima_and_signs_are_taken_apart():
    show_equal(resolved(Abs(x)), resolved(Max(x, -x)), known())
    show_equal(resolved(Abs(x)), resolved(x * sign(x)), known())
    pieces = Piecewise((-x, x < 0), (x, True))
    show_equal(resolved(Abs(x)), resolved(pieces), known())
    with pytest.raises(RefutedError):
        show_equal(resolved(x), resolved(pieces), known())


def test_at_a_kink_the_value_must_lie_between_the_arms():
    slope = arms((1, x > 0), (-1, x < 0))

    for at_zero, fine in ((0, True), (1, True), (-1, True), (2, False), (-2, False)):

        def ours(path, at_zero=at_zero):
            return formula_on(path, step, {"x": x, "middle": at_zero})

        if fine:
            assert "kink" in show_equal(ours, resolved(slope), known())
        else:
            with pytest.raises(RefutedError, match="outside"):
                show_equal(ours, resolved(slope), known())


def step(x, middle):
    return where(x > 0, 1, where(x < 0, -1, middle))


def test_a_textbook_with_a_gap_is_found_out():
    with pytest.raises(UncoveredError):
        show_equal(resolved(x), resolved(arms((x, x > 1), (x, x < 0))), known())


def test_derivatives_are_taken_on_open_arms():
    assert show_derivative(resolved(Abs(x)), x, resolved(sign(x)), known()) == "2 arms"
    with pytest.raises(RefutedError):
        show_derivative(resolved(Abs(x)), x, resolved(-sign(x)), known())


def big_class(p):
    return where(absolute(p) > 1, p, 2 * p)


def test_no_decision_about_a_bound_index():
    def total(path):
        kernels = RowKernels(path, C)
        return kernels.class_sum(kernels.map_formula(big_class, {"p": Row(z.__getitem__)})).at(0)

    with pytest.raises(ArithmeticError, match="depends on the index"):
        list(explore(total, known()))


def test_the_largest_class_is_any_class():
    def top(path):
        return RowKernels(path, 3).largest(Row(z.__getitem__))

    assert {leaf.outcome for leaf in explore(top, known())} == {0, 1, 2}
    sorted_ = known((z[2] - z[1], POSITIVE), (z[1] - z[0], POSITIVE))
    assert [leaf.outcome for leaf in explore(top, sorted_)] == [2]


def test_indices_that_differ_are_no_hit():
    facts = Facts(Algebra(distinct=frozenset({frozenset({k, m})})))
    assert facts.vanishes(KroneckerDelta(k, m))
    assert not known().vanishes(KroneckerDelta(k, m))
