"""Obligations of losses over similarities: what refloss runs is the textbook and its gradient.

For a few embeddings of one and two components, whichever candidate is called the largest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from sympy import Expr, S

from derivations.agreement import show_equal
from derivations.composition import Composition
from derivations.composition_proofs import Setting, everywhere, known
from derivations.explorer import Path
from derivations.obligations import Obligation
from derivations.symbolic_similarities import SymbolicRun, blocks_of
from derivations.written_out import WrittenOut
from refloss.similarity import SimilarityPlan

LOSSES = ("nt_xent_loss", "info_nce_loss", "sup_con_loss")


@dataclass(frozen=True)
class Place:
    """Where a loss is looked at, and which of the candidates is called the largest.

    ``zero`` names an argument whose first vector is zero; ``block`` is how many candidates pass by
    at a time.
    """

    setting: Setting
    choice: int
    zero: str = ""
    block: int = 1024

    @property
    def sizes(self) -> Mapping[str, int]:
        return self.setting.sizes

    def __str__(self) -> str:
        zero = f", zero: {self.zero}[0]" if self.zero else ""
        return f"{self.setting}, largest: {self.choice}, blocks of {self.block}{zero}"

    def given(self, composition: Composition) -> dict[Any, Any]:
        """What the composition's symbols are here."""
        found = self.setting.given(composition)
        if self.zero:
            base = composition.arguments[self.zero]
            found |= {base[0, c]: S.Zero for c in range(self.sizes["D"])}
        return found

    def plan(self, composition: Composition) -> SimilarityPlan:
        """What a call of these extents runs."""
        sizes = self.setting.given(composition)
        made: dict[str, Any] = {
            name: np.ones([int(size.subs(sizes)) for size in composition.axes[name]])
            for name in composition.gradient
        }
        made |= {name: list(values) for name, values in self.setting.labels.items()}
        loss = getattr(import_module(f"refloss.losses.{composition.loss}"), composition.loss)
        plan = loss._plan(**made, reduction="none")
        assert isinstance(plan, SimilarityPlan)
        return plan


def places(loss: str, variant: str) -> Iterator[Place]:
    """Every place at which a statement of a loss is compared with what runs."""
    if loss == "nt_xent_loss":
        yield from (Place(Setting({"N": 1, "D": d}), 0) for d in (1, 2))
        yield from (Place(Setting({"N": 2, "D": 1}), choice) for choice in (1, 2, 3))
        yield Place(Setting({"N": 2, "D": 2}, last=True), 2)
        yield Place(Setting({"N": 2, "D": 1}), 2, "z_i")
    elif loss == "info_nce_loss" and variant:
        for n, d in ((2, 1), (2, 2), (3, 1)):
            yield from (Place(Setting({"N": n, "D": d}, last=d == 2), c) for c in range(n))
        yield Place(Setting({"N": 2, "D": 1}), 0, "query")
    elif loss == "info_nce_loss":
        for n, k, d, choice in ((1, 2, 1, 0), (1, 2, 1, 1), (2, 1, 1, 0), (1, 2, 2, 1)):
            yield Place(Setting({"N": n, "K": k, "D": d}, last=d == 2), choice)
        yield Place(Setting({"N": 1, "K": 2, "D": 1}), 0, "positive_key")
        yield Place(Setting({"N": 1, "K": 2, "D": 1}), 0, block=1)
    elif loss == "sup_con_loss":
        for labels in ((0, 0), (0, 1), (0, 0, 0), (0, 0, 1), (0, 1, 0)):
            for d in (1, 2):
                setting = Setting(
                    {"N": len(labels), "D": d}, labels={"labels": labels}, last=d == 2
                )
                choices = range(len(labels)) if d == 1 else (1,)
                yield from (Place(setting, choice) for choice in choices)
        one = Setting({"N": 3, "D": 1}, labels={"labels": (0, 0, 1)})
        yield Place(one, 1, "embeddings")
        yield Place(one, 0, block=1)


def obligations(name: str, variant: str, composition: Composition) -> Iterator[Obligation]:
    """That values and gradients, as they are run, are what the composition says."""
    where = list(places(composition.loss, variant))
    claims: list[tuple[str, str | None]] = [("value = textbook", None)]
    claims += [(f"gradient in {a} = closed form", a) for a in composition.gradient]
    for claim, argument in claims:
        show = partial(agreeing, composition, argument)
        yield Obligation(name, claim, partial(everywhere, show, where))


def agreeing(composition: Composition, argument: str | None, place: Place) -> int:
    """Show it of the value of anchor 0, or of the gradient in row 0 of an argument."""
    given, plan = place.given(composition), place.plan(composition)
    components = range(place.sizes["D"] - 1 if place.setting.last else 0, place.sizes["D"])
    arms = 0
    for component in components if argument is not None else (0,):
        at = {**given, composition.row: 0, composition.component: component}
        text = show_equal(
            partial(run, composition, plan, given, argument, component, place),
            partial(stated, composition, at, argument),
            known(composition, given),
            kink=bool(place.zero),
        )
        arms += sum(int(part.split()[0]) for part in text.split(", "))
    return arms


def stated(
    composition: Composition, given: Mapping[Any, Any], argument: str | None, path: Path
) -> Expr:
    """What the composition says."""
    e = composition.textbook if argument is None else composition.gradient[argument]
    return WrittenOut(path, composition.where, given)(e)


def run(
    composition: Composition,
    plan: SimilarityPlan,
    given: Mapping[Any, Any],
    argument: str | None,
    component: int,
    place: Place,
    path: Path,
) -> Expr:
    """What refloss makes of the same symbols."""
    embeddings = {}
    for name, like in plan.originals.items():
        base = composition.arguments[name]
        embeddings[name] = np.empty(like.shape, dtype=object)
        for at in np.ndindex(like.shape):
            embeddings[name][at] = given.get(base[at], base[at])
    temperature = composition.options["temperature"]
    with blocks_of(place.block):
        made = SymbolicRun(path, plan, embeddings, temperature, place.choice)
        found = made.each_value()[0, 0] if argument is None else (
            made.gradients()[argument][0, component]
        )  # fmt: skip
    return path.resolve(found.expression)
