"""A table of `refloss.quantities` on symbols, as a fused kernel runs it.

Pass after pass, part after part: every quantity is made of those that the table names, and what
belongs to a whole row comes about by the reductions themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sympy import Expr, Integer, S

from derivations.explorer import Path, over_the_reals
from refloss.formula.reading import Formula, read
from refloss.formula.reductions import NOWHERE
from refloss.formula.symbols import Quantity, exact, meaning
from refloss.kernels.named import PLACE
from refloss.quantities import Reduction, Wiring

Entry = Callable[[Any], Expr]

# how a row of so many classes or components is cut into parts; one of them has nothing in it
PARTS: Mapping[int, Sequence[Sequence[int]]] = {
    1: ((0,),),
    2: ((1,), (), (0,)),
    3: ((0, 2), (1,)),
}


class Fused:
    """One row, or one element.

    Parameters
    ----------
    entries : what is loaded for a class or component, by the name of its array
    known : all other quantities that are loaded or given
    """

    def __init__(
        self, path: Path, wiring: Wiring, entries: Mapping[str, Entry], known: Mapping[str, Any]
    ) -> None:
        self.path, self.table, self.outputs = path, wiring.table, wiring.outputs
        self.entries = entries
        self.known = {name: Quantity(exact(q)) for name, q in known.items()}

    @property
    def wanted(self) -> str:
        """What is asked for: the value, or one derivative."""
        return self.outputs.value or self.outputs.derivatives[0]

    def read(self, formula: Formula) -> Formula:
        return read(formula, meaning(self.path), finish=over_the_reals)

    @property
    def of_row(self) -> Mapping[str, Any]:
        """All quantities of the row."""
        return self.table.numbers(self.known, self.read)

    def at(self, index: Any) -> Mapping[str, Any]:
        """All quantities of a class or component."""
        own = {name: Quantity(exact(entry(index))) for name, entry in self.entries.items()}
        own[PLACE] = Quantity(Integer(index))
        return self.table.numbers(self.known | own, self.read)

    def outcome(self, quantities: Mapping[str, Any], name: str = "") -> Expr:
        """One of the quantities, by default what is wanted."""
        return self.path.resolve(exact(quantities[name or self.wanted]))

    def reduce(self, count: int, *, others_apart: bool = True) -> None:
        """Go through the passes over a row of so many classes or components.

        ``others_apart`` is whether the largest number of a sum over others is looked for; where
        not, the state stands for the same sum with none apart.
        """
        for reductions in self.table.passes([self.wanted]):
            found: dict[str, Any] = {}
            for one in reductions:
                apart = one.kind != "others" or others_apart
                come_to = self.joined(one, count) if apart else self.total(one, count)
                found |= dict(zip(one.gives, come_to, strict=True))
            self.known |= found

    def joined(self, reduction: Reduction, count: int) -> Sequence[Any]:
        """What a reduction comes to, its parts joined from left to right."""
        names = (*reduction.each, *reduction.parameters)
        absorbed, joined = (self.read(reduction.formula(one)) for one in ("absorbed", "joined"))
        states = []
        for part in PARTS[count]:
            state: Sequence[Any] = [Quantity(exact(x)) for x in reduction.start]
            for index in part:
                numbers = self.at(index)
                state = absorbed(*state, *(numbers[name] for name in names))
            states.append(state)
        whole = states[0]
        for state in states[1:]:
            whole = joined(*whole, *state, *(self.of_row[name] for name in reduction.parameters))
        return list(self.read(reduction.formula("finished"))(*whole))

    def total(self, reduction: Reduction, count: int) -> Sequence[Any]:
        """What ``others`` says of a row with no number kept apart."""
        total = sum((self.at(c)[reduction.each[0]] for c in range(count)), Quantity(S.Zero))
        return [Quantity(S.Zero), Quantity(Integer(NOWHERE)), total]
