"""Obligations of losses over vectors: the textbook differentiated is the closed form.

Each is shown for a few rows and components, all definitions put in: roots and exponentials are
atoms. `derivations.chain_proofs` has the pieces of the chain rule for any number of them. No
component of a difference and no vector is zero here; the arms of hinges, of swapped negatives and
of the largest component are walked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

from sympy import Add, Expr, Integer, Rational

from derivations.agreement import counted, show_derivative, show_equal
from derivations.algebra import Algebra
from derivations.composition import Composition, Definition
from derivations.explorer import Path
from derivations.facts import POSITIVE, Facts
from derivations.obligations import Obligation, RefutedError
from derivations.written_out import WrittenOut

EXPONENTS = (Integer(1), Integer(2), Integer(3), Rational(3, 2))


@dataclass(frozen=True)
class Setting:
    """Extents by name, options by name, and whole numbers such as labels by argument.

    With ``last``, only the last component is looked at.
    """

    sizes: Mapping[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    last: bool = False

    def given(self, composition: Composition) -> dict[Any, Any]:
        """What the composition's symbols are here."""
        extents = {s for symbols in composition.axes.values() for s in symbols}
        found: dict[Any, Any] = {s: Integer(self.sizes[s.name]) for s in extents}
        for name, value in self.options.items():
            if name in composition.options:
                found[composition.options[name]] = value
        for name, values in self.labels.items():
            base = composition.arguments[name]
            found |= {base[n]: Integer(value) for n, value in enumerate(values)}
        return found

    def __str__(self) -> str:
        parts = {**self.sizes, **self.options, **self.labels}
        return ", ".join(f"{name} = {value}" for name, value in parts.items())


def settings(loss: str, variant: str) -> Iterator[Setting]:
    """Where the statements of a loss are written out."""
    if loss in ("contrastive_loss", "triplet_margin_loss"):
        yield Setting({"N": 1, "D": 1})
        if variant != "p = inf, swap":  # 64 arms for each component; shown without swap
            yield Setting({"N": 1, "D": 2}, last=variant in ("swap", "p = inf"))
        if variant == "":
            yield from (Setting({"N": 1, "D": 2}, {"p": p}, last=True) for p in EXPONENTS)
            yield Setting({"N": 1, "D": 3}, last=True)
    elif loss == "cosine_embedding_loss":
        for d, target in product((1, 2, 3), (1, -1)):
            yield Setting({"N": 1, "D": d}, labels={"target": (target,)})
    elif loss == "nt_xent_loss":
        yield from (Setting({"N": n, "D": 1}) for n in (2, 1))
        yield from (Setting({"N": n, "D": 2}, last=True) for n in (1, 2))
    elif loss == "info_nce_loss" and variant:
        yield from (Setting({"N": n, "D": d}, last=n == 3) for n, d in ((2, 1), (2, 2), (3, 1)))
    elif loss == "info_nce_loss":
        yield from (
            Setting({"N": n, "K": k, "D": d}, last=d == 2)
            for n, k, d in ((1, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1))
        )
    elif loss == "sup_con_loss":
        for labels in ((0, 0), (0, 1), (0, 0, 0), (0, 0, 1), (0, 1, 0)):
            for d in (1, 2):
                yield Setting({"N": len(labels), "D": d}, labels={"labels": labels}, last=d == 2)


def obligations(name: str, variant: str, composition: Composition) -> Iterator[Obligation]:
    """What ties the closed forms of a composition to its textbook."""
    places = list(settings(composition.loss, variant))
    for argument in composition.gradient:
        yield Obligation(
            name,
            f"gradient in {argument} = textbook differentiated",
            partial(everywhere, partial(derivative, composition, argument), places),
        )
    if composition.stated is not None:
        yield Obligation(
            name,
            "the form that answers are worked out from = textbook",
            partial(everywhere, partial(restated, composition), places),
        )
    for definition in composition.where:
        if definition.condition is not None:
            yield Obligation(
                name,
                f"{definition.left} = the form that its condition is taken from",
                partial(everywhere, partial(conditioned, composition, definition), places),
            )


def everywhere(show: Callable[[Any], int], places: Sequence[Any]) -> str:
    """Show something in every setting; tells how many arms there were."""
    arms = 0
    for setting in places:
        try:
            arms += show(setting)
        except Exception as problem:
            kind = "" if isinstance(problem, RefutedError) else f"{type(problem).__name__}: "
            raise RefutedError(f"at {setting}: {kind}{problem}") from problem
    if not arms:
        raise RefutedError("nowhere to show it")
    sizes = {size: sorted({s.sizes[size] for s in places if size in s.sizes}) for size in "NKD"}
    listed = (f"{name} = {', '.join(map(str, s))}" for name, s in sizes.items() if s)
    return f"{'; '.join(listed)}: {counted(arms, 'arm')}"


def known(composition: Composition, given: Mapping[Any, Any]) -> Facts:
    """That options are positive which have to be, and no vector is zero that makes an angle."""
    positive = frozenset(s for s in composition.options.values() if s.is_positive)
    facts = Facts(Algebra(positive, nonzero=True))
    for row in _vectors(composition, given) if _of_angles(composition) else ():
        numbers = [given.get(entry, entry) for entry in row]
        if any(numbers):
            facts = facts.given(Add(*(x**2 for x in numbers)), POSITIVE)
    return facts


def _of_angles(composition: Composition) -> bool:
    return composition.loss not in ("contrastive_loss", "triplet_margin_loss")


def _vectors(composition: Composition, given: Mapping[Any, Any]) -> Iterator[list[Expr]]:
    for name in composition.gradient:
        base = composition.arguments[name]
        rows, components = (int(size.subs(given)) for size in composition.axes[name])
        for row in range(rows):
            yield [base[row, component] for component in range(components)]


def derivative(composition: Composition, argument: str, setting: Setting) -> int:
    """Show that a closed form is the derivative of the sum of all rows, in entries of row 0."""
    given = setting.given(composition)
    rows = int(composition.rows.subs(given))
    components = int(composition.axes[argument][-1].subs(given))

    def textbook(path: Path) -> Expr:
        written = WrittenOut(path, composition.where, given)
        return Add(*(written(composition.textbook.subs(composition.row, n)) for n in range(rows)))

    def closed(path: Path, component: int) -> Expr:
        at = {composition.row: 0, composition.component: component}
        return WrittenOut(path, composition.where, given)(composition.gradient[argument].subs(at))

    arms = 0
    for component in range(components - 1 if setting.last else 0, components):
        text = show_derivative(
            textbook,
            composition.arguments[argument][0, component],
            partial(closed, component=component),
            known(composition, given),
        )
        arms += int(text.split()[0])
    return arms


def restated(composition: Composition, setting: Setting) -> int:
    """Show that the stated form of row 0 is its textbook."""
    assert composition.stated is not None
    return _same(composition, setting, composition.stated, composition.textbook)


def conditioned(composition: Composition, definition: Definition, setting: Setting) -> int:
    """Show that the form from which a condition is taken is what is defined."""
    assert definition.condition is not None
    at = dict.fromkeys(definition.indices, 0)
    return _same(
        composition, setting, definition.condition.subs(at), definition.expression.subs(at)
    )


def _same(composition: Composition, setting: Setting, one: Expr, other: Expr) -> int:
    given = {**setting.given(composition), composition.row: 0}
    text = show_equal(
        lambda path: WrittenOut(path, composition.where, given)(one),
        lambda path: WrittenOut(path, composition.where, given)(other),
        known(composition, given),
    )
    return int(text.split()[0])
