"""The language that losses are written in: a dozen words, and their reading in number systems."""

from refloss.formula.words import (
    INFINITY,
    absolute,
    exp,
    exp_error,
    expm1,
    log,
    log1p,
    power,
    product,
    product_error,
    quotient,
    sqrt,
    sum_error,
    where,
)

__all__ = [
    "INFINITY",
    "absolute",
    "exp",
    "exp_error",
    "expm1",
    "log",
    "log1p",
    "power",
    "product",
    "product_error",
    "quotient",
    "sqrt",
    "sum_error",
    "where",
]
