"""The pieces of the chain rule that losses over vectors are built from, each an obligation.

They hold for any number of components and of rows: sums stay sums. Where a piece has a kink, what
is shown is the derivative on either side of it. x and y are vectors, r = x - y + eps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import sympy
from sympy import Abs, Expr, IndexedBase, Integer, KroneckerDelta, S, Sum, Symbol, sqrt

from derivations.agreement import counted, show_derivative, show_equal
from derivations.algebra import Algebra
from derivations.explorer import Path
from derivations.facts import POSITIVE, ZERO, Facts
from derivations.obligations import Obligation, RefutedError
from derivations.statement import arms
from refloss.formula import distance
from refloss.formula.reading import read
from refloss.formula.symbols import Quantity, exact, meaning

D, N = Symbol("D", integer=True, positive=True), Symbol("N", integer=True, positive=True)
d, i, j, k = (Symbol(name, integer=True) for name in "dijk")
x, y, s, q, w = (IndexedBase(name, real=True) for name in "xysqw")
eps, m, h = (Symbol(name, real=True) for name in ("epsilon", "m", "h"))
p, T = Symbol("p", positive=True), Symbol("T", positive=True)

EXPLICIT = (1, 2, 3)


def obligations() -> Iterator[Obligation]:
    yield from _distances()
    yield from _angles()
    yield from _similarities()
    yield Obligation(
        "hinge",
        "its slope is 1 above zero and 0 below",
        lambda: slope(sympy.Max(0, h), h, arms((S.One, h > 0), (S.Zero, h < 0)), Facts(Algebra())),
    )


def known(*claims: tuple[Expr, str], apart: Sequence[tuple[Any, Any]] = ()) -> Facts:
    """That p and T are positive, that no absolute value is zero, and the claims."""
    distinct = frozenset(frozenset(pair) for pair in apart)
    facts = Facts(Algebra(frozenset({p, T}), distinct=distinct, nonzero=True))
    for expression, kind in claims:
        facts = facts.given(expression, kind)
    return facts


def slope(function: Expr, variable: Any, derivative: Expr, facts: Facts) -> str:
    """Show that one expression is the derivative of the other, kinks aside."""
    return show_derivative(
        lambda path: path.resolve(function), variable, lambda path: path.resolve(derivative), facts
    )


def equal(one: Expr, other: Expr, facts: Facts) -> str:
    return show_equal(lambda path: path.resolve(one), lambda path: path.resolve(other), facts)


def total(term: Expr, index: Symbol = d, count: Expr = D) -> Sum:
    return Sum(term, (index, 0, count - 1))


# Distances ---------------------------------------------------------------------------------------

_r = x[d] - y[d] + eps
_r_k = x[k] - y[k] + eps


def _distances() -> Iterator[Obligation]:
    euclidean = sqrt(total(_r**2))
    norm = total(Abs(_r) ** p) ** (1 / p)
    sign = arms((S.One, _r_k > 0), (S.NegativeOne, _r_k < 0))
    pieces = [
        ("p = 1", total(Abs(_r)), sign, known()),
        ("p = 2", euclidean, _r_k / euclidean, known((total(_r**2), POSITIVE))),
        ("any p", norm, sympy.sign(_r_k) * (Abs(_r_k) / norm) ** (p - 1), known()),
    ]
    for name, norm_of_r, derivative, facts in pieces:
        for variable, factor in ((x, 1), (y, -1)):
            what = f"{name}: the slope of |x - y + eps| in {variable}"
            show = partial(slope, norm_of_r, variable[k], factor * derivative, facts)
            yield Obligation("distance", what, show)
    yield Obligation("distance", "p = inf: the slope where one component is largest", _largest)
    yield Obligation("distance", "|r| has slope sign(r)", _absolute)
    yield Obligation("distance", "the formula of the sign is the sign", _sign)
    yield Obligation("distance", "p > 1: |r|^p has slope 0 at r = 0", _power_at_zero)


def _absolute() -> str:
    return slope(Abs(h), h, arms((S.One, h > 0), (S.NegativeOne, h < 0)), Facts(Algebra()))


def _sign() -> str:
    def ours(path: Path) -> Expr:
        return sympy.sympify(exact(read(distance.sign, meaning(path))(Quantity(h))))

    return show_equal(ours, lambda path: path.resolve(sympy.sign(h)), Facts(Algebra()))


def _power_at_zero() -> str:
    """So a component that is zero adds nothing to the slope, and has none itself."""
    beyond = Symbol("p - 1", positive=True)
    rise = Symbol("h", positive=True)
    for direction in (1, -1):
        quotient = rise ** (1 + beyond) / (direction * rise)
        if sympy.limit(quotient, rise, 0, "+") != 0:
            raise RefutedError(f"{quotient} does not tend to 0")
    return "from both sides"


def _largest() -> str:
    """For any D: where component j is the largest, the distance is |r_j| all around."""
    covered = 0
    r_j = x[j] - y[j] + eps
    for here, apart in ((k, [(j, k)]), (j, [])):
        stated = sympy.sign(r_j) * KroneckerDelta(j, here)
        slope(Abs(r_j), x[here], stated, known(apart=apart))
        slope(Abs(r_j), y[here], -stated, known(apart=apart))
    for count in EXPLICIT:
        sizes = [Abs(x[c] - y[c] + eps) for c in range(count)]
        for c in range(count):
            others = sympy.Max(0, *(size for n, size in enumerate(sizes) if n != c))
            of_c = sympy.sign(x[c] - y[c] + eps)
            stated = arms((of_c, sizes[c] > others), (S.Zero, sizes[c] < others))
            for variable, factor in ((x[c], 1), (y[c], -1)):
                text = slope(sympy.Max(*sizes), variable, factor * stated, known())
                covered += int(text.split()[0])
    return f"any D; D = 1, 2, 3: {counted(covered, 'arm')}"


# Angles ------------------------------------------------------------------------------------------

_xx, _yy, _xy = total(x[d] ** 2), total(y[d] ** 2), total(x[d] * y[d])
_cosine = _xy / sqrt(_xx * _yy)


def _u(component: Symbol) -> Expr:
    return x[component] / sqrt(_xx)


def _v(component: Symbol) -> Expr:
    return y[component] / sqrt(_yy)


def _lengths() -> Facts:
    return known((_xx, POSITIVE), (_yy, POSITIVE))


def _angles() -> Iterator[Obligation]:
    turns = {
        x: (_v(k) - _cosine * _u(k)) / sqrt(_xx),
        y: (_u(k) - _cosine * _v(k)) / sqrt(_yy),
    }
    for variable, turn in turns.items():
        show = partial(slope, _cosine, variable[k], turn, _lengths())
        yield Obligation("cosine", f"its slope in {variable}", show)
    for claim, one, other in (
        ("u . v = x . y / |x| |y|", total(_u(d) * _v(d)), _cosine),
        ("1 - cos = |u - v|^2 / 2", total((_u(d) - _v(d)) ** 2) / 2, 1 - _cosine),
        ("1 + cos = |u + v|^2 / 2", total((_u(d) + _v(d)) ** 2) / 2, 1 + _cosine),
    ):
        yield Obligation("cosine", claim, partial(equal, one, other, _lengths()))
    yield Obligation("direction", "the slope of x_j / |x| in x_k", _direction)


def _direction() -> str:
    for here, apart in ((k, [(j, k)]), (j, [])):
        u_j, u_k = x[j] / sqrt(_xx), x[here] / sqrt(_xx)
        stated = (KroneckerDelta(j, here) - u_j * u_k) / sqrt(_xx)
        slope(u_j, x[here], stated, known((_xx, POSITIVE), apart=apart))
    return "j = k and j other than k"


# Similarities ------------------------------------------------------------------------------------
#
# s_k are the similarities of an anchor with N candidates; q_k is 0 for the anchor itself and 1 for
# the others, w_k the mass on each positive (the masses sum to 1).

_Z = total(q[d] * sympy.exp(s[d] / T), count=N)
_loss = sympy.log(_Z) - total(w[d] * s[d] / T, count=N)


def _candidates(*claims: tuple[Expr, str]) -> Facts:
    return known((_Z, POSITIVE), *claims)


def _similarities() -> Iterator[Obligation]:
    yield Obligation(
        "softmax without self",
        "the slope of the loss in s_k is (p_k - w_k) / T",
        lambda: slope(_loss, s[k], (q[k] * sympy.exp(s[k] / T) / _Z - w[k]) / T, _candidates()),
    )
    yield Obligation(
        "softmax without self",
        "log1p of the others' e^((s_k - s_j) / T) = -log p_j",
        lambda: equal(
            sympy.log(1 + _beside(j)), sympy.log(_Z) - s[j] / T, _candidates((q[j] - 1, ZERO))
        ),
    )
    yield Obligation("softmax without self", "the mean of -log p over the positives", _mean)
    yield Obligation("softmax without self", "the slopes in all s_k sum to 0", _balance)


def _beside(own: Any) -> Expr:
    """The sum of e^((s_k - s_own) / T) over the others, the candidate itself left out."""
    return total((q[d] - KroneckerDelta(d, own)) * sympy.exp((s[d] - s[own]) / T), count=N)


def _mean() -> str:
    each = sympy.log(_Z) - s[i] / T
    masses = total(w[d], count=N)
    return equal(total(w[i] * each, i, N), _loss, _candidates((masses - 1, ZERO)))


def _balance() -> str:
    shares = total((q[i] * sympy.exp(s[i] / T) / _Z - w[i]) / T, i, N)
    return equal(shares, Integer(0), _candidates((total(w[d], count=N) - 1, ZERO)))
