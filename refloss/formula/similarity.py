"""The softmax over the candidates of an anchor, in words, taken one block of them at a time.

With s_k the similarities, t the largest of those seen so far, reached first at candidate k', and S
the sum of e^((s_k - t) / T) over all of them *but* k', the loss of an anchor whose positives are P:

    -1/|P| sum_P log p_k = (t - mean_P s_k) / T + log1p(S),    p_k = e^((s_k - t) / T) / (1 + S).

Where the only positive is on top, the first term is exactly zero and the loss keeps its relative
accuracy however small it is. 1 - p_k' is S / (1 + S), without cancellation.
"""

from typing import Any

from refloss.formula.words import INFINITY, exp, log1p, product, quotient, where


def decay(s: Any, top: Any, temperature: Any) -> Any:
    """e^((s - t) / T)."""
    return exp((s - top) / temperature)


def joined_top(top: Any, other_top: Any) -> Any:
    """The larger of two tops; NaN in either stays."""
    return where(other_top > top, other_top, where(other_top <= top, top, top + other_top))


def joined_tail(top: Any, tail: Any, other_top: Any, other_tail: Any, temperature: Any) -> Any:
    """S of two sets of candidates together; without candidates the top is -inf."""
    lower = (tail + 1) * decay(top, other_top, temperature) + other_tail
    higher = tail + (other_tail + 1) * decay(other_top, top, temperature)
    joined = where(other_top > top, lower, higher)
    return where(other_top > -INFINITY, joined, where(other_top <= -INFINITY, tail, other_top))


def value(top: Any, tail: Any, positives: Any, count: Any, temperature: Any) -> Any:
    """An anchor's loss, from the sum of the similarities of its positives and their number."""
    return where(count > 0, (top - positives / count) / temperature + log1p(tail), 0)


def share(count: Any) -> Any:
    """The mass of one of an anchor's positives."""
    return where(count > 0, 1 / count, 0)


def coefficient(decay: Any, is_top: Any, is_positive: Any, tail: Any, mass: Any) -> Any:
    """T times the derivative of an anchor's loss by one of its similarities.

    p - mass would lose all digits where one positive has it all: it is p (1 - mass) - mass (1 - p).
    """
    p = where(is_top > 0, 1, decay) / (1 + tail)
    q = where(is_top > 0, tail, (1 - decay) + tail) / (1 + tail)
    return where(is_positive > 0, p * (1 - mass) - mass * q, p)


def negative(tail: Any, weight: Any, temperature: Any) -> Any:
    """What the decay of a negative below the top is multiplied with for its ``weighted``."""
    return product(weight, 1 / ((1 + tail) * temperature))


def repelled(decay: Any, factor: Any) -> Any:
    """The ``weighted`` of a negative below the top, from its decay and the factor of it."""
    return product(factor, decay)


def weighted(coefficient: Any, weight: Any, temperature: Any) -> Any:
    """The derivative of the reduced loss; an anchor without weight has no part in it."""
    return product(weight, coefficient / temperature)


def across(pull: Any, unit: Any, along: Any, length: Any) -> Any:
    """A gradient by an embedding, from the gradient by its direction and the part along it."""
    return where(length == 0, 0, quotient(pull - along * unit, length))


def unscaled(pull: Any, length: Any) -> Any:
    """A gradient by an embedding, from one by its direction that has no part along it."""
    return where(length == 0, 0, quotient(pull, length))
