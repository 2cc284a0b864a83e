"""The reading in compiled double precision: every word an inlined Numba function."""

import math
from typing import Any

import numba

from refloss.formula import elementary
from refloss.formula.reading import Formula, read

jit = numba.njit(error_model="numpy", nogil=True, forceinline=True)


@jit
def absolute(x: float) -> float:
    return abs(x)


@jit
def power(x: float, exponent: float) -> float:
    return x**exponent


@jit
def sqrt(x: float) -> float:
    return math.sqrt(x)


@jit
def product(mass: float, x: float) -> float:
    return elementary.select(mass == 0.0, mass, mass * x)


@jit
def quotient(mass: float, x: float) -> float:
    return elementary.select(mass == 0.0, mass, mass / x)


@jit
def sum_error(x: float, y: float) -> float:
    return elementary.two_sum(x, y)[1]


@jit
def product_error(x: float, y: float) -> float:
    rounded = x * y
    return elementary.select(abs(rounded) < math.inf, elementary.fma(x, y, -rounded), 0.0)


MEANING: dict[str, Any] = {
    "where": elementary.select,
    "absolute": absolute,
    "exp": elementary.exp,
    "exp_error": elementary.exp_error,
    "expm1": elementary.expm1,
    "log": elementary.log,
    "log1p": elementary.log1p,
    "power": power,
    "sqrt": sqrt,
    "product": product,
    "quotient": quotient,
    "sum_error": sum_error,
    "product_error": product_error,
}


def compile_formula(formula: Formula) -> Formula:
    """The formula as a Numba function of doubles, compiled at its first call."""
    return read(formula, MEANING, jit)
