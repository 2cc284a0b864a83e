"""Numbers with their condition: the rules by hand, exact roots, intervals, refusals."""

from collections.abc import Callable

import pytest
from flint import arb, ctx, fmpq

from derivations.conditioned import (
    ANYTHING,
    NOUGHT,
    UNDEFINED,
    UNIT,
    Conditioned,
    absolute,
    answered,
    chosen,
    compare,
    exp,
    hull,
    judged,
    log,
    log1p,
    most,
    negative,
    number,
    once,
    power,
    product,
    rounded_up,
    total,
    whole,
)
from derivations.enclose import Number, Singular
from derivations.rounding import Uncertain


def q(numerator: int, denominator: int = 1) -> Conditioned:
    return number(fmpq(numerator, denominator))


def root(square: int) -> Conditioned:
    return power(whole(square), q(1, 2))


def spoiled(value: fmpq, size: int) -> Conditioned:
    """A number that is less certain than it is large."""
    return number(value, fmpq(size))


def is_near(found: Number, expected: Number) -> bool:
    return bool(arb(found).overlaps(arb(expected)))


HALF, THREE = spoiled(fmpq(1, 2), 8), whole(3)
RULES: dict[str, tuple[Callable[[], Conditioned], Number]] = {
    "input": (lambda: q(-3), fmpq(3)),
    "sum of one sign": (lambda: total((whole(2), whole(3))), fmpq(5)),
    "sum that cancels": (lambda: total((whole(2), whole(-3))), fmpq(5)),
    "sum": (lambda: total((HALF, THREE)), fmpq(11)),
    "product": (lambda: product((HALF, THREE)), fmpq(24)),
    "product of both": (lambda: product((HALF, spoiled(fmpq(3), 4))), fmpq(24)),
    "product with zero": (lambda: product((spoiled(fmpq(0), 2), THREE)), fmpq(6)),
    "inverse": (lambda: power(HALF, q(-1)), fmpq(32)),
    "square": (lambda: power(HALF, q(2)), fmpq(4)),
    "root": (lambda: power(spoiled(fmpq(4), 8), q(1, 2)), fmpq(4)),
    "exp of a small": (lambda: exp(q(1, 2)), arb(fmpq(1, 2)).exp()),
    "exp of a large": (lambda: exp(q(-5)), 5 * arb(-5).exp()),
    "log": (lambda: log(spoiled(fmpq(2), 6)), fmpq(3)),
    "log of a large": (lambda: log(whole(100)), arb(100).log()),
    "log1p": (lambda: log1p(spoiled(fmpq(1), 6)), fmpq(3)),
    "log1p of a sum": (lambda: log1p(q(1, 1024)), arb(fmpq(1, 1024)).log1p()),
    "log1p of nothing": (lambda: log1p(spoiled(fmpq(0), 2)), fmpq(2)),
    "abs": (lambda: absolute(spoiled(fmpq(-1), 3)), fmpq(3)),
    "max": (lambda: most((NOUGHT, HALF)), fmpq(8)),
    "max of equals": (lambda: most((NOUGHT, spoiled(fmpq(0), 2))), fmpq(2)),
    "min": (lambda: most((NOUGHT, HALF), -1), fmpq(0)),
    "hull": (lambda: hull((whole(1), HALF)), fmpq(8)),
    "once": (lambda: once(HALF), fmpq(1, 2)),
    "judged": (lambda: judged(whole(5), lambda: HALF), fmpq(8)),
    "judged at zero": (lambda: judged(NOUGHT, lambda: HALF), fmpq(1)),
}


@pytest.mark.parametrize("rule", RULES)
def test_conditions_by_hand(rule: str) -> None:
    found, expected = RULES[rule]
    assert is_near(found().condition, expected)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ((root(2), negative(root(2)), q(1, 3)), fmpq(1, 3)),
        ((product((whole(3), root(5))), negative(root(45))), fmpq(0)),
        ((product((root(2), root(8))),), fmpq(4)),
        ((product((root(6), power(whole(6), q(-1, 2)))),), fmpq(1)),
        ((power(root(7), whole(4)),), fmpq(49)),
        ((power(power(q(9, 4), q(5, 2)), q(2, 5)),), fmpq(9, 4)),
        ((power(power(q(3), q(5, 2)), q(2, 5)), q(-1)), fmpq(2)),
        ((total((root(2), root(3))), negative(total((root(3), root(2))))), fmpq(0)),
        ((total((root(2), root(3))), negative(root(2)), negative(root(3)), UNIT), fmpq(1)),
        (
            (
                power(total((root(2), root(3))), q(2, 5)),
                negative(power(total((root(3), root(2))), q(2, 5))),
            ),
            fmpq(0),
        ),
    ],
)
def test_roots_are_added_exactly(terms: tuple[Conditioned, ...], expected: fmpq) -> None:
    found = total(terms).low
    assert isinstance(found, fmpq)
    assert found == expected


@pytest.mark.parametrize("n", range(2, 60))
def test_a_root_is_what_it_is(n: int) -> None:
    for e in (fmpq(1, 2), fmpq(-1, 2), fmpq(2, 3), fmpq(5, 2)):
        x = power(whole(n), number(e))
        assert is_near(x.low, arb(n) ** arb(e))
        assert isinstance(power(x, number(1 / e)).low, fmpq)


def test_an_even_power_forgets_the_sign() -> None:
    x = total((root(2), negative(root(3))))
    assert x.low < 0
    for again in (power(power(x, whole(2)), q(1, 2)), absolute(x)):
        assert is_near(again.low, arb(3).sqrt() - arb(2).sqrt())


def test_balls_that_may_be_equal_are_not_compared() -> None:
    # sqrt(2) + sqrt(3) = sqrt(5 + 2 sqrt(6)), which is not looked for
    left = total((root(2), root(3)))
    right = power(total((whole(5), product((whole(2), root(6))))), q(1, 2))
    assert compare(left, root(10)) < 0
    for bits in (64, 1024):
        with ctx.workprec(bits), pytest.raises(Uncertain):
            compare(left, right)


def test_every_arm_counts_that_holds() -> None:
    arms = [(lambda: True, lambda: whole(1)), (lambda: True, lambda: whole(3))]
    found = chosen(*arms)
    assert (found.low, found.high) == (1, 3)
    assert chosen((lambda: False, lambda: UNIT), (None, lambda: THREE)) is THREE
    assert chosen((lambda: True, lambda: UNIT), (None, lambda: THREE)) is UNIT
    with pytest.raises(Singular):
        chosen((lambda: False, lambda: UNIT))


def test_intervals_are_stretched_and_moved() -> None:
    unit = Conditioned(fmpq(-1), fmpq(1))
    found = product((whole(-2), total((unit, whole(3)))))
    assert (found.low, found.high) == (-8, -4)
    assert product((unit, NOUGHT)) is NOUGHT
    # exact through roots that cancel beside the interval
    found = product((unit, root(3), power(whole(3), q(-1, 2))))
    assert (found.low, found.high) == (-1, 1)
    with pytest.raises(TypeError):
        compare(unit, NOUGHT)


def test_nan_and_anything_spread() -> None:
    for operation in (total, product):
        assert operation((ANYTHING, UNDEFINED, UNIT)) is UNDEFINED
        assert operation((ANYTHING, NOUGHT)) is ANYTHING
    assert chosen((lambda: compare(UNDEFINED, UNIT) > 0, lambda: UNIT)) is UNDEFINED
    for function in (exp, log, log1p, absolute, once):
        assert function(UNDEFINED) is UNDEFINED
    assert most((UNIT, UNDEFINED)) is UNDEFINED


def test_a_scale_is_given_where_more_than_a_factor_of_two_cancels() -> None:
    assert answered(total((whole(3), whole(-1)))).scale is None  # 4 is twice 2
    assert answered(total((whole(3), whole(-2)))).scale == 5
    assert rounded_up(fmpq(5)) == 5
    assert rounded_up(fmpq(1, 3)) == fmpq(171, 512)
    assert rounded_up(arb(3).sqrt()) == fmpq(222, 128)
