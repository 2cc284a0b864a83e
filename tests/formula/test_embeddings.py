"""Formulas of distances, directions, similarities and hinges, where something happens to them.

Each case holds in plain Python, in compiled code and over arrays alike.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refloss.formula import direction, distance, hinge, similarity, triplet
from refloss.kernels import arrays, cpu

INF, NAN = math.inf, math.nan
EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True, database=None)
TINY = 2.0**-60

Formula = Callable[..., Any]

DISTANCES: list[tuple[Formula, tuple[float, ...], float]] = [
    (distance.residual, (1.0, 1.0, 1e-6), 1e-6),
    (distance.residual, (1.0, 1.0 - 2.0**-53, TINY), 2.0**-53 + TINY),
    (distance.residual, (TINY, 1.0, 1.0), TINY),
    (distance.residual_error, (1.0, -TINY, 0.0), TINY),
    (distance.residual_error, (1.0, 0.5, 0.25), 0.0),
    (distance.share, (-3.0, 4.0), 0.75),
    (distance.share, (0.0, 0.0), 0.0),
    (distance.share, (-INF, INF), 1.0),
    (distance.share, (1e308, INF), 0.0),
    (distance.share_error, (0.0, 0.0, 0.0), 0.0),
    (distance.share_error, (INF, 0.0, INF), 0.0),
    (distance.share_error, (-4.0, TINY, 4.0), -TINY / 4),
    (distance.sign, (-0.0,), 0.0),
    (distance.absolute_root, (0.0, 0.0), 0.0),
    (distance.absolute_root, (2.0, INF), INF),
    (distance.absolute_slope, (-5e-324,), -1.0),
    (distance.square_root, (0.0, 0.0), 0.0),
    (distance.square_root, (1.0, INF), INF),
    (distance.square_slope, (0.0, 0.0, 0.0), 0.0),
    (distance.square_slope, (-8.0, 1.0, 4.0), -0.5),
    (distance.power_root, (0.0, 0.0, 3.0), 0.0),
    (distance.power_root, (8.0, 2.0, 3.0), 4.0),
    (distance.power_root, (1.0, INF, 3.0), INF),
    (distance.power_slope, (0.0, 0.0, 0.0, 0.0, 1.5), 0.0),
    (distance.power_slope, (-1.0, 0.25, 0.0, 1.0, 1.5), -0.5),
    (distance.power_slope, (1.0, 0.5, 0.0, 1.0, 3.0), 0.25),
    (distance.largest_slope, (-2.0, 1.0, 2.0), -0.5),
    (distance.largest_slope, (1.0, 0.5, 1.0), 0.0),
    (distance.largest_slope, (0.0, 0.0, 0.0), 0.0),
    (distance.squared, (0.0, 0.0), 0.0),
    (distance.squared, (1.5, 2.0), 6.0),
    (distance.squared_slope, (-3.0,), -6.0),
]

DIRECTIONS: list[tuple[Formula, tuple[float, ...], float]] = [
    (direction.scaled, (-2.0, 4.0), -0.5),
    (direction.scaled, (0.0, 0.0), 0.0),
    (direction.scaled, (1e308, INF), 0.0),
    (direction.scaled, (-INF, INF), -INF),
    (direction.length, (0.0, 0.0), 0.0),
    (direction.length, (4.0, 3.0), 6.0),
    (direction.unit, (0.0, 0.0), 0.0),
    (direction.unit, (1.0, 4.0), 0.5),
    (direction.unit, (INF, INF), NAN),
    (direction.gap, (1.0, 1e-20), 1e-20),
    (direction.gap, (0.25, 9.0), 0.75),
    (direction.gap, (-1.0, 9.0), 2.0),
    (direction.turn, (0.6, 0.8, 1.0, TINY, 2.0, 0.0), 0.0),
    (direction.turn, (1.0, 1.0, 1.0, TINY, 2.0, 4.0), TINY / 4),
    (direction.turn, (1.0, -1.0, -1.0, 2.0, TINY, 4.0), -TINY / 4),
    (direction.turn, (0.5, 1.0, 0.25, 9.0, 9.0, 1.0), 0.875),
]

SIMILARITIES: list[tuple[Formula, tuple[float, ...], float]] = [
    (similarity.joined_top, (-INF, -INF), -INF),
    (similarity.joined_top, (0.5, 0.25), 0.5),
    (similarity.joined_top, (NAN, 0.25), NAN),
    (similarity.joined_top, (0.25, NAN), NAN),
    (similarity.joined_tail, (-INF, 0.0, -INF, 0.0, 0.5), 0.0),
    (similarity.joined_tail, (0.5, 3.0, -INF, 0.0, 0.5), 3.0),
    (similarity.joined_tail, (-INF, 0.0, 0.5, 3.0, 0.5), 3.0),
    (similarity.joined_tail, (0.5, 3.0, 0.5, 1.0, 0.5), 5.0),
    (similarity.joined_tail, (0.5, 3.0, NAN, 1.0, 0.5), NAN),
    (similarity.value, (-INF, 0.0, 0.0, 0.0, 0.5), 0.0),
    (similarity.value, (NAN, NAN, 0.0, 0.0, 0.5), 0.0),
    (similarity.value, (0.75, TINY, 0.75, 1.0, 0.5), TINY),
    (similarity.value, (1.0, 0.0, -2.0, 2.0, 0.5), 4.0),
    (similarity.share, (0.0,), 0.0),
    (similarity.share, (4.0,), 0.25),
    (similarity.coefficient, (1.0, 1.0, 1.0, TINY, 1.0), -TINY),
    (similarity.coefficient, (1.0, 1.0, 0.0, 1.0, 1.0), 0.5),
    (similarity.coefficient, (0.0, 0.0, 1.0, 1.0, 0.5), -0.5),
    (similarity.coefficient, (TINY, 0.0, 0.0, 0.0, 1.0), TINY),
    (similarity.weighted, (NAN, 0.0, 0.5), 0.0),
    (similarity.negative, (INF, 0.0, 0.5), 0.0),
    (similarity.across, (1.0, 0.0, 0.0, 0.0), 0.0),
    (similarity.across, (1.0, 0.5, 1.0, 2.0), 0.25),
    (similarity.unscaled, (1.0, 0.0), 0.0),
]

HINGES: list[tuple[Formula, tuple[float, ...], float]] = [
    (hinge.hinge, (-0.5,), 0.0),
    (hinge.hinge, (0.0,), 0.0),
    (hinge.hinge, (5e-324,), 5e-324),
    (hinge.hinge, (NAN,), NAN),
    (hinge.active, (0.0,), 0.0),
    (hinge.active, (5e-324,), 1.0),
    (hinge.active, (INF,), 1.0),
    (hinge.active, (NAN,), NAN),
    (hinge.excess_over, (1e16, 1e16, 0.1), 0.1),
    (hinge.excess_over, (INF, 1.0, 1.0), INF),
    (hinge.excess_over, (INF, INF, 1.0), NAN),
    (triplet.regrouped, (5.0, 3.0, 1.0, 6.0, 0.0, 1.0, 0.0), 5.0),
    (triplet.regrouped, (5.0, 3.0, 1.0, 6.0, TINY, 1.0, 5.0), 10.0 - TINY),
    (triplet.regrouped, (NAN, 2.0, 2.0, 6.0, 0.0, 6.0, 0.0), 0.0),
]

CASES = DISTANCES + DIRECTIONS + SIMILARITIES + HINGES


def everywhere(formula: Formula, numbers: tuple[float, ...]) -> list[float]:
    """The formula in plain Python, compiled, and over arrays."""
    names = formula.__code__.co_varnames[: formula.__code__.co_argcount]
    known = {name: np.array([number]) for name, number in zip(names, numbers, strict=True)}
    with np.errstate(all="ignore"):
        plain = formula(*map(np.float64, numbers))
        return [
            float(plain),
            float(cpu.map_formula(formula, known)[0]),
            float(arrays.map_formula(formula, known)[0]),
        ]


@pytest.mark.parametrize(
    ("formula", "numbers", "expected"), CASES, ids=[f"{c[0].__name__}-{c[1]}" for c in CASES]
)
def test_corners(formula: Formula, numbers: tuple[float, ...], expected: float) -> None:
    np.testing.assert_array_equal(everywhere(formula, numbers), [expected] * 3)


WIDE = st.floats(-1e150, 1e150)
SOME = st.sampled_from([1.0, 1 / 3, 0.1, 1e-20, 1e16, 1e16 + 2])


@pytest.mark.parametrize(
    ("formula", "signs"), [(hinge.excess_over, (1, -1, 1)), (distance.residual, (1, -1, 1))]
)
@given(numbers=st.tuples(*[WIDE | SOME] * 3))
@EXAMPLES
def test_three_numbers_are_added_as_if_at_once(
    formula: Formula, signs: tuple[int, ...], numbers: tuple[float, ...]
) -> None:
    """To an ulp of the sum, however much of it cancels."""
    exact = sum(sign * Fraction(x) for sign, x in zip(signs, numbers, strict=True))
    for found in everywhere(formula, numbers):
        assert abs(Fraction(found) - exact) <= Fraction(float(np.spacing(abs(float(exact)))))


@given(numbers=st.tuples(*[WIDE | SOME] * 3))
@EXAMPLES
def test_what_a_residual_lost_is_known(numbers: tuple[float, ...]) -> None:
    exact = sum(sign * Fraction(x) for sign, x in zip((1, -1, 1), numbers, strict=True))
    for found, lost in zip(
        everywhere(distance.residual, numbers),
        everywhere(distance.residual_error, numbers),
        strict=True,
    ):
        left = abs(Fraction(found) + Fraction(lost) - exact)
        assert left <= Fraction(float(np.spacing(abs(lost))))
