"""Numbers that carry their condition: what a careful sum of products can know of them.

A :class:`Conditioned` is an exact rational or a ball, or an interval between two of them, and
beside it the *condition* M: the size in whose ulps an error is judged. With M of the operands,

====================  =========================================================
input, constant       abs(x)
a + b                 Ma + Mb
a * b                 max(Ma abs(b), abs(a) Mb)
a ** p                abs(a ** p) Ma / abs(a)
exp(a)                exp(a) max(1, Ma)
log(a)                max(abs(log(a)), Ma / abs(a))
log(1 + a)            max(abs(log(1 + a)), Ma / (1 + a))
abs, max, min, arms   that of what is chosen
====================  =========================================================

so sums of one sign and products of inputs are judged by themselves, and what cancels is judged by
what cancelled. Multiples of one root are added exactly (``3 sqrt(5) - sqrt(45)`` is 0, and so is
the difference of the similarities of two parallel vectors), so that ties are ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from flint import arb, fmpq, fmpz

from derivations.enclose import LONGEST, ONE, ZERO, Number, Singular, largest, smallest
from derivations.enclose import exp as exp_of
from derivations.enclose import log as log_of
from derivations.entry import Entry
from derivations.rounding import Uncertain

Root: TypeAlias = "tuple[fmpq, fmpq | RootSum, fmpq]"  # c, b, e: the number is c * b ** e
ROOTS = 64  # no root of a higher degree is looked for
SCALE_BITS = 8  # a scale is rounded up to so many bits: its ulp is what counts


@dataclass(frozen=True)
class RootSum:
    """The sum of `roots` and of a rational."""

    roots: frozenset[Root]
    rest: fmpq


class Undefined(ArithmeticError):
    """A comparison with NaN."""


class Conditioned:
    """The numbers from `low` to `high`, mostly one, with the condition `size`.

    `size` is None where it is the largest absolute value. `root` says that the number is known to
    be a rational times a power of a rational.
    """

    __slots__ = ("high", "low", "root", "size")

    def __init__(
        self, low: Number, high: Number, size: Number | None = None, root: Root | None = None
    ) -> None:
        self.low, self.high, self.size, self.root = low, high, size, root

    def __repr__(self) -> str:
        return f"Conditioned({self.low}, {self.high}, {self.size})"

    @property
    def magnitude(self) -> Number:
        """The largest absolute value."""
        return abs(self.low) if self.point else largest((abs(self.low), abs(self.high)))

    @property
    def condition(self) -> Number:
        """M."""
        return self.magnitude if self.size is None else self.size

    @property
    def point(self) -> bool:
        """Whether this is one number."""
        return self.low is self.high


def number(value: Number, size: Number | None = None, root: Root | None = None) -> Conditioned:
    """A single number."""
    return Conditioned(value, value, size, root)


def whole(value: int) -> Conditioned:
    return number(fmpq(value))


NOUGHT, UNIT = number(ZERO), number(ONE)
UNDEFINED = number(ZERO)  # NaN: it wins over everything
ANYTHING = number(ZERO)  # a subgradient that may be any number: it wins over numbers


def _special(parts: Iterable[Conditioned]) -> Conditioned | None:
    found = None
    for part in parts:
        if part is UNDEFINED:
            return UNDEFINED
        if part is ANYTHING:
            found = ANYTHING
    return found


def total(terms: Iterable[Conditioned]) -> Conditioned:
    """The sum."""
    parts = [term for term in terms if term is not NOUGHT]
    special = _special(parts)
    if special is not None:
        return special
    if len(parts) < 2:
        return parts[0] if parts else NOUGHT
    size = None if _of_one_sign(parts) else sum((part.condition for part in parts), ZERO)
    if not all(part.point for part in parts):
        exact = total(part for part in parts if part.point).low
        wide = [part for part in parts if not part.point]
        low = sum((part.low for part in wide), exact)
        return _interval(low, sum((part.high for part in wide), exact), size)
    if len(parts) == 2 and parts[0].root is None and parts[1].root is None:
        return number(parts[0].low + parts[1].low, size)
    roots = [part.root for part in parts if part.root is not None]
    rational = sum((part.low for part in parts if isinstance(part.low, fmpq)), ZERO)
    balls = [part.low for part in parts if part.root is None and isinstance(part.low, arb)]
    if not roots:
        return number(sum(balls, rational), size)
    merged, more = _merged(roots)
    rational += more
    if balls or not merged:
        return number(sum((*balls, *map(_of_root, merged)), rational), size)
    root = merged[0] if rational == 0 and len(merged) == 1 else None
    if root is None:
        root = (ONE, RootSum(frozenset(merged), rational), ONE)
    return number(_of_root(root), size, root)


def _of_one_sign(parts: Sequence[Conditioned]) -> bool:
    if any(part.size is not None for part in parts):
        return False
    return all(part.low >= 0 for part in parts) or all(part.high <= 0 for part in parts)


def _of_root(root: Root) -> arb:
    c, b, e = root
    base = sum(map(_of_root, b.roots), arb(b.rest)) if isinstance(b, RootSum) else arb(b)
    return c * base if e == 1 else c * base ** arb(e)


def _merged(roots: Iterable[Root]) -> tuple[list[Root], fmpq]:
    """Multiples of the same root added up, without those that cancel; and a rational beside."""
    found: list[Root] = []
    rest = ZERO
    for c, b, e in _terms(roots):
        if e == 0:
            rest += c
            continue
        for n, (c_, b_, e_) in enumerate(found):
            ratio = _ratio(b, b_, e) if e == e_ else None
            if ratio is not None:
                found[n] = (c_ + c * ratio, b_, e_)
                break
        else:
            found.append((c, b, e))
    return [root for root in found if root[0] != 0], rest


def _terms(roots: Iterable[Root]) -> Iterable[Root]:
    """Sums taken apart; their rationals with the exponent zero."""
    for c, b, e in roots:
        if isinstance(b, RootSum) and e == 1:
            yield from ((c * c_, b_, e_) for c_, b_, e_ in b.roots)
            yield c * b.rest, ONE, ZERO
        else:
            yield c, b, e


def _ratio(b: fmpq | RootSum, b_: fmpq | RootSum, e: fmpq) -> fmpq | None:
    """(b / b_) ** e, if it is known to be rational."""
    if b == b_:
        return ONE
    if isinstance(b, RootSum) or isinstance(b_, RootSum):
        return None
    return exact_power(b / b_, e)


def product(factors: Iterable[Conditioned]) -> Conditioned:
    parts = [factor for factor in factors if factor is not UNIT]
    special = _special(parts)
    if special is not None:
        return special
    if len(parts) < 2:
        return parts[0] if parts else UNIT
    zeros = [part for part in parts if part.point and isinstance(part.low, fmpq) and part.low == 0]
    if zeros:
        return _nothing(zeros[0], [part for part in parts if part is not zeros[0]])
    if not all(part.point for part in parts):
        found = product(part for part in parts if part.point)
        for part in parts:
            if not part.point:
                found = _stretched(found, part)
        return found
    value = math.prod((p.low for p in parts if isinstance(p.low, fmpq)), start=ONE)
    root = None
    balls = [part for part in parts if not isinstance(part.low, fmpq)]
    if balls:
        root = _root_of_product(value, balls)
        if root is not None and root[2] == 0:
            value, root = root[0], None
        else:
            value = math.prod((part.low for part in balls), start=value)
    if all(part.size is None for part in parts):
        return number(value, None, root)
    sizes = [abs(part.low) for part in parts]
    worst = largest(
        math.prod((*sizes[:n], part.condition, *sizes[n + 1 :]), start=ONE)
        for n, part in enumerate(parts)
    )
    return number(value, worst, root)


def _nothing(zero: Conditioned, others: Sequence[Conditioned]) -> Conditioned:
    if zero.size is None:
        return NOUGHT
    return number(ZERO, math.prod((other.magnitude for other in others), start=zero.size))


def _root_of_product(value: fmpq, balls: Sequence[Conditioned]) -> Root | None:
    """The root that a product of roots is; (c, 1, 0) if it is rational."""
    roots = [ball.root for ball in balls if ball.root is not None]
    if len(roots) < len(balls) or any(abs(e) != abs(roots[0][2]) for _, _, e in roots):
        return None
    e, base = roots[0][2], ONE
    c = math.prod((c_ for c_, _, _ in roots), start=value)
    if len(roots) == 1:
        return c, roots[0][1], e
    if len(roots) == 2 and roots[0][1] == roots[1][1] and e == -roots[1][2]:
        return c, ONE, ZERO
    for _, b, e_ in roots:
        if isinstance(b, RootSum):
            return None
        base *= b if e_ == e else 1 / b
    exact = exact_power(base, e)
    return (c, base, e) if exact is None else (c * exact, ONE, ZERO)


def _stretched(a: Conditioned, b: Conditioned) -> Conditioned:
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    size = None
    if a.size is not None or b.size is not None:
        size = largest((a.condition * b.magnitude, a.magnitude * b.condition))
    return _interval(smallest(ends), largest(ends), size)


def _interval(low: Number, high: Number, size: Number | None) -> Conditioned:
    if isinstance(low, fmpq) and isinstance(high, fmpq) and low == high:
        return number(low, size)
    return Conditioned(low, high, size)


def exact_power(base: fmpq, exponent: fmpq) -> fmpq | None:
    """A power of a positive rational, if it is rational and not too long."""
    if base == 1:
        return ONE
    numerator, degree = int(exponent.p), int(exponent.q)
    if degree > ROOTS or int(base.height_bits()) * abs(numerator) > LONGEST:
        return None
    if degree > 1:
        p, q = fmpz(base.p).root(degree), fmpz(base.q).root(degree)
        if p**degree != base.p or q**degree != base.q:
            return None
        base = fmpq(p, q)
    return base**numerator


def power(base: Conditioned, exponent: Conditioned) -> Conditioned:
    """`base` to a rational power; 0 to the 0 is 1."""
    special = _special((base, exponent))
    if special is not None:
        return special
    e = exponent.low
    assert isinstance(e, fmpq), e
    if e == 1:
        return base
    if e == 0:
        return UNIT
    if not base.point:
        raise TypeError(f"a power of an interval: {base}")
    if isinstance(base.low, fmpq) and base.low == 0:
        if e < 0:
            raise Singular(f"0 ** {e}")
        return NOUGHT
    value, root = _power(base, e)
    if base.size is None:
        return number(value, None, root)
    return number(value, abs(value) * base.size / abs(base.low), root)


def _power(base: Conditioned, e: fmpq) -> tuple[Number, Root | None]:
    if base.root is not None and (e.q == 1 or _positive(base.root[1])):
        c, b, inner = base.root
        factor = exact_power(c, e) if c > 0 or e.q == 1 else None
        if factor is not None:
            exact = None if isinstance(b, RootSum) else exact_power(b, inner * e)
            if exact is not None:
                return factor * exact, None
            root = (factor, b, inner * e)
        else:
            root = (ONE, RootSum(frozenset((base.root,)), ZERO), e)
        return _of_root(root), root
    if isinstance(base.low, fmpq) and (base.low > 0 or e.q == 1):
        exact = exact_power(base.low, e)
        if exact is not None:
            return exact, None
        if base.low > 0:
            root = (ONE, base.low, e)
            return _of_root(root), root
        return arb(base.low) ** arb(e), None
    if e.q != 1 and not base.low > 0:
        raise Uncertain(f"{base.low} ** {e}") if base.low >= 0 else Singular(f"{base.low} ** {e}")
    return base.low ** arb(e), None


def _positive(base: fmpq | RootSum) -> bool:
    return not isinstance(base, RootSum) or bool(_of_root((ONE, base, ONE)) > 0)


def exp(x: Conditioned) -> Conditioned:
    if x is UNDEFINED:
        return x
    value = exp_of(x.low)
    condition = x.condition
    return number(value) if condition <= 1 else number(value, value * largest((condition, ONE)))


def log(x: Conditioned) -> Conditioned:
    if x is UNDEFINED:
        return x
    value = log_of(x.low)
    return number(value, largest((abs(value), x.condition / x.magnitude)))


def log1p(x: Conditioned) -> Conditioned:
    """log(1 + x), conditioned as it is where 1 + x is never formed."""
    if x is UNDEFINED:
        return x
    if isinstance(x.low, fmpq) and x.low == 0:
        return number(ZERO, x.size)
    value = arb(x.low).log1p()
    if x.size is None and x.low >= 0:
        return number(value)
    return number(value, largest((abs(value), x.condition / (1 + x.low))))


def absolute(x: Conditioned) -> Conditioned:
    if x is UNDEFINED:
        return x
    return negative(x) if compare(x, NOUGHT) < 0 else x


def negative(x: Conditioned) -> Conditioned:
    root = None if x.root is None else (-x.root[0], *x.root[1:])
    if x.point:
        return number(-x.low, x.size, root)
    return Conditioned(-x.high, -x.low, x.size, root)


def compare(a: Conditioned, b: Conditioned) -> int:
    """The sign of a - b, or ``Uncertain``."""
    if a is UNDEFINED or b is UNDEFINED:
        raise Undefined
    if not (a.point and b.point):
        raise TypeError(f"an interval is compared: {a}, {b}")
    if isinstance(a.low, fmpq) and isinstance(b.low, fmpq):
        return int(a.low > b.low) - int(a.low < b.low)
    difference = total((a, negative(b))).low
    if difference > 0:
        return 1
    if difference < 0:
        return -1
    if isinstance(difference, fmpq):
        return 0
    raise Uncertain(f"{a} and {b}")


def most(numbers: Iterable[Conditioned], sign: int = 1) -> Conditioned:
    """The largest, or with ``sign=-1`` the smallest; of equal ones that of the larger condition."""
    parts = list(numbers)
    special = _special(parts)
    if special is not None:
        return special
    best = parts[0]
    for part in parts[1:]:
        order = sign * compare(part, best)
        if order > 0 or (order == 0 and part.condition > best.condition):
            best = part
    return best


def hull(parts: Sequence[Conditioned]) -> Conditioned:
    """The smallest interval that holds all of them."""
    special = _special(parts)
    if special is not None:
        return special
    first = parts[0]
    if all(part is first for part in parts):
        return first
    size = None
    if any(part.size is not None for part in parts):
        size = largest(part.condition for part in parts)
    low, high = smallest(p.low for p in parts), largest(p.high for p in parts)
    return _interval(low, high, size)


def chosen(
    *arms: tuple[Callable[[], bool] | None, Callable[[], Conditioned]],
) -> Conditioned:
    """The hull of all arms that hold; of an arm without a condition, if none before it does."""
    try:
        found = [arm() for condition, arm in arms if condition is not None and condition()]
    except Undefined:
        return UNDEFINED
    if not found:
        otherwise = [arm for condition, arm in arms if condition is None]
        if not otherwise:
            raise Singular("no arm holds here")
        return otherwise[0]()
    return hull(found)


def once(x: Conditioned) -> Conditioned:
    """What is one rounding away from the inputs is judged by itself."""
    return x if _special((x,)) is not None else Conditioned(x.low, x.high, None, x.root)


def judged(x: Conditioned, by: Callable[[], Conditioned]) -> Conditioned:
    """`x` with the condition of an equal number; with one, if it is exactly zero."""
    if _special((x,)) is not None:
        return x
    if isinstance(x.low, fmpq) and x.low == 0:
        return number(ZERO, ONE)
    return Conditioned(x.low, x.high, by().condition, x.root)


def answered(x: Conditioned) -> Entry:
    """An entry of the oracle, with its scale where the condition is more than twice the answer."""
    if x is UNDEFINED:
        return Entry(math.nan)
    if x is ANYTHING:
        return Entry(-math.inf, math.inf)
    scale = None
    if isinstance(x.size, arb) and not x.size.is_finite():
        raise Uncertain(f"condition {x.size}")
    if x.size is not None and x.size > 2 * x.magnitude:
        scale = rounded_up(x.size)
    low = _plain(x.low)
    return Entry(low, None if x.point else _plain(x.high), scale)


def _plain(x: Number) -> Number:
    """A ball without radius as the rational that it is."""
    if isinstance(x, fmpq) or not x.is_exact():
        return x
    mantissa, exponent = x.man_exp()
    return fmpq(mantissa) * fmpq(2) ** int(exponent)


def rounded_up(size: Number) -> fmpq:
    """The upper end, rounded up to a few bits."""
    end = size if isinstance(size, fmpq) else _plain(size.upper())
    shift = SCALE_BITS - (int(end.p).bit_length() - int(end.q).bit_length())
    return fmpq(-int((-(end * fmpq(2) ** shift)).floor())) / fmpq(2) ** shift
