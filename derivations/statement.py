"""A loss as papers write it, with its derivatives in closed form.

A module ``derivations/<loss>.py`` holds

``statement``
    The :class:`Statement` of the loss: what one element, or one row of classes, is worth.
``variants``
    Statements for options that change the mathematics (``log_target=True``, integer targets ...),
    by name; ``choose(case)`` says which one a case needs. Both are optional.
``conventions``
    Named answers of other libraries that differ from the textbook's, see ``conventions.py``.
``regions`` and ``cases()``
    A sentence for each region of inputs, and the inputs.

How a statement is written
--------------------------
*Elementwise* losses (``index`` is None) use plain symbols. ``arguments`` maps the name of each
array argument to its symbol, ``options`` the name of each scalar option to its symbol.

*Row* losses (``index`` is the symbol ``k``, ``classes`` the symbol ``C``) are stated for a general
number of classes: arguments are ``IndexedBase``, sums are ``Sum(..., (i, 0, C - 1))``, and
derivatives are taken with respect to the entry with the free index ``k``. ``explicit(expr, 3)`` is
the same expression written out for three classes. ``label`` is the symbol ``y`` of an integer
target, where the statement needs one.

``textbook`` is the loss of one element or row, before weights of elements and before reduction.
``gradient[name]`` and ``curvature[name]`` are *tuples of terms*; the sum of the terms is the first
and the second derivative of ``textbook`` in ``arguments[name]`` (``arguments[name][k]`` for rows).
``prove.py`` shows that they are. Terms are kept apart because where they cancel, the largest
one is the scale in which an error is judged. ``terms``, where given, are the terms of
the value itself: their sum (over all ``k`` if they contain it) is ``textbook``.

A derivative with kinks is one term, made by :func:`arms`, whose conditions all stand explicitly:
at a kink the oracle takes the closure of every arm that contains the point, and the answer is the
interval they span. ``kinks`` lists the places.

``domain`` gives each symbol's set. ``ends`` names, for a symbol, the ends of its set where an
expression may be singular (``log(p)`` at ``p = 0``): there the answer is the limit from inside, as
it is at an infinity.

``shift`` names row arguments whose common offset does not matter (softmax): the enclosure moves the
largest entry to zero, so that ties are exact. ``coincide`` names two arguments at whose equality
value and gradient vanish identically. Both are checked symbolically before they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sympy import Expr, IndexedBase, Piecewise, Rel, Set, Symbol

Terms = tuple[Expr, ...]


def arms(*pairs: tuple[Expr, Rel]) -> Piecewise:
    """A ``Piecewise`` that keeps every condition as written.

    SymPy would turn the last one into ``True``, and the closure of an arm would be lost.
    """
    return Piecewise(*pairs, evaluate=False)


@dataclass(frozen=True, eq=False)
class Statement:
    """The textbook definition of one loss, its derivatives, and where they hold."""

    loss: str
    title: str
    source: tuple[str, ...]
    arguments: Mapping[str, Symbol | IndexedBase]
    textbook: Expr
    gradient: Mapping[str, Terms]
    curvature: Mapping[str, Terms]
    domain: Mapping[Symbol | IndexedBase, Set]
    options: Mapping[str, Symbol] = field(default_factory=dict)
    ends: Mapping[Symbol | IndexedBase, tuple[int, ...]] = field(default_factory=dict)
    terms: Terms = ()
    kinks: tuple[Rel, ...] = ()
    index: Symbol | None = None
    classes: Symbol | None = None
    label: Symbol | None = None
    shift: tuple[str, ...] = ()
    coincide: tuple[str, str] | None = None

    def explicit(self, expression: Expr, classes: int) -> Expr:
        """`expression` with every sum written out for a given number of classes."""
        return expression.subs(self.classes, classes).doit()
