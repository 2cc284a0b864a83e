"""What the quantities that formulas name are made of: one table for whoever runs them fused.

`refloss.blocks` and `refloss.vectors` make whole arrays of a quantity, one after the other. A fused
kernel makes all of them for one class at a time, and what belongs to a whole row by *reductions*
(`refloss.formula.reductions`) in as few passes over the row as they need of each other. A table
says, by name, which formula makes a quantity of which others, and which reductions there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from refloss.blocks import OF_INPUT, OF_TEACHER, drift, root_of_p, weighted
from refloss.formula import direction, reductions
from refloss.formula import distance as length
from refloss.formula import softmax as row
from refloss.formula.carried import carries
from refloss.formula.reading import parameters
from refloss.formula.softmax import complement, probability
from refloss.formula.words import INFINITY, product, quotient, where
from refloss.kernels.named import HIT, LABEL, PLACE

if TYPE_CHECKING:
    from refloss.evaluation import Plan

Formula = Callable[..., Any]
Read = Callable[[Formula], Formula]


@dataclass(frozen=True)
class Made:
    """A quantity that a formula makes of others; a number stands for itself."""

    formula: Formula
    names: tuple[str | float, ...]


@dataclass(frozen=True)
class Reduction:
    """Quantities of a whole row, from quantities of its classes.

    Attributes
    ----------
    kind : the stem of its formulas in `refloss.formula.reductions`
    each : what is taken up of each class
    gives : what it comes to
    parameters : further quantities of the row that its formulas take
    """

    kind: str
    each: tuple[str, ...]
    gives: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    @property
    def start(self) -> tuple[float, ...]:
        """The state of a part in which there is nothing."""
        found: tuple[float, ...] = getattr(reductions, self.kind.upper())
        return found

    def formula(self, step: str) -> Formula:
        """``absorbed``, ``joined`` or ``finished``."""
        found: Formula = getattr(reductions, f"{self.kind}_{step}")
        return found


# Formulas of the wiring itself


def is_at(place: Any, at: Any) -> Any:
    """1 at the class that has this place, 0 elsewhere."""
    return where(place == at, 1, 0)


def at_hit(hit: Any, x: Any) -> Any:
    """What the target's class has for itself."""
    return where(hit > 0, x, 0)


def other_share(hit: Any, smoothing: Any, classes: Any) -> Any:
    """The smoothed mass of all classes but one, where the target's has one of 1 before."""
    rest = quotient(smoothing * (classes - 1), classes)
    return where(hit > 0, rest, (1 - smoothing) + rest)


def mass_times_gap(mass: Any, gap: Any) -> Any:
    """Of the top nothing, even of an infinite mass."""
    return where(gap == 0, 0, product(mass, gap))


def even_gaps(
    hit_gap: Any, hit_mass: Any, smoothing: Any, classes: Any, top: Any, input_sum: Any
) -> Any:
    """The sum of mass times gap, where all classes but the target's have the same mass."""
    others = (classes * top - input_sum) - hit_gap
    return hit_mass * hit_gap + quotient(smoothing, classes) * others


def in_parts(gap_sum: Any, total_mass: Any, log_mass: Any) -> Any:
    """The sum of mass times surprise, from that of mass times gap."""
    return where(gap_sum < INFINITY, gap_sum + product(total_mass, log_mass), gap_sum)


def elsewhere(hit: Any, x: Any) -> Any:
    """And what that leaves to the others."""
    return where(hit > 0, 0, x)


def itself(x: Any) -> Any:
    return x


def both(x: Any, y: Any) -> Any:
    return x + y


def doubled(x: Any) -> Any:
    return 2 * x


def top_p(tail: Any, tail_error: Any) -> Any:
    """p of the class with the largest logit."""
    return probability(1, 0, tail, tail_error)


def top_q(tail: Any, tail_error: Any) -> Any:
    """And 1 - p."""
    return complement(1, 0, 1, tail, tail_error)


def left_by(p: Any, is_top: Any, top_q: Any) -> Any:
    """1 - p: only the top's p can be more than 1/2."""
    return where(is_top > 0, top_q, 1 - p)


def scaled(x: Any, upstream: Any, denominator: Any) -> Any:
    """A derivative of the reduced loss, or by the values' own upstream gradient."""
    return x * upstream / denominator


def rescaled(x: Any, upstream: Any, rate: Any) -> Any:
    """The same with rate = 1 / denominator: no division, for one more rounding."""
    return x * (upstream * rate)


def poisoned(x: Any, touched: Any) -> Any:
    """NaN where what it depends on is NaN."""
    return where(touched == touched, x, touched)


def silenced(x: Any, label: Any) -> Any:
    """Zero in a row that is ignored."""
    return where(label >= 0, x, 0)


class Numbers(Mapping[str, Any]):
    """Quantities by name, each made when it is asked for and once."""

    def __init__(self, table: Table, known: Mapping[str, Any], read: Read) -> None:
        self.table, self.known, self.read = table, dict(known), read

    def __getitem__(self, name: str | float) -> Any:
        if not isinstance(name, str):
            return name
        if name not in self.known:
            made = self.table.made[name]
            self.known[name] = self.read(made.formula)(*(self[one] for one in made.names))
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


@dataclass
class Table:
    """All quantities of a call.

    Attributes
    ----------
    each : quantities that are loaded for every class
    made, reduced : by name, what makes the others
    dear : quantities of a class that are better kept from one pass to the next than made again
    """

    each: tuple[str, ...]
    made: dict[str, Made] = field(default_factory=dict)
    reduced: dict[str, Reduction] = field(default_factory=dict)
    dear: list[str] = field(default_factory=list)

    def make(self, name: str, formula: Formula, **renamed: str | float) -> str:
        """A quantity made by a formula of those that its parameters name, or of others."""
        names = tuple(renamed.get(one, one) for one in parameters(formula))
        self.made[name] = Made(formula, names)
        return name

    def reduce(self, kind: str, each: Sequence[str], gives: Sequence[str], *parameters: str) -> str:
        """Quantities of the row, by a reduction; the first of them."""
        reduction = Reduction(kind, tuple(each), tuple(gives), parameters)
        self.reduced.update(dict.fromkeys(gives, reduction))
        return gives[0]

    def numbers(self, known: Mapping[str, Any], read: Read) -> Numbers:
        """The quantities that follow from those that are known."""
        return Numbers(self, known, read)

    def is_each(self, name: str | float) -> bool:
        """Whether a quantity belongs to a class, not to its row."""
        if name in self.each or name == PLACE:
            return True
        made = self.made.get(str(name))
        return made is not None and any(map(self.is_each, made.names))

    def sources(self, names: Iterable[str | float]) -> set[str]:
        """All quantities that these are made of, themselves included; not through reductions."""
        found: set[str] = set()
        waiting = [name for name in names if isinstance(name, str)]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                made = self.made.get(name)
                waiting += [one for one in made.names if isinstance(one, str)] if made else []
        return found

    def depth(self, names: Iterable[str | float]) -> int:
        """How many passes over a row it takes before these can be told."""
        found = [self.reduced[name] for name in self.sources(names) if name in self.reduced]
        return max((1 + self.depth((*one.each, *one.parameters)) for one in found), default=0)

    def passes(self, names: Iterable[str]) -> list[list[Reduction]]:
        """The reductions that these need, by the pass that they can be made in."""
        needed: dict[Reduction, None] = {}
        waiting = sorted(self.sources(names))
        while waiting:
            reduction = self.reduced.get(waiting.pop(0))
            if reduction is not None and reduction not in needed:
                needed[reduction] = None
                waiting += sorted(self.sources((*reduction.each, *reduction.parameters)))
        count = self.depth(names)
        found: list[list[Reduction]] = [[] for _ in range(count)]
        for reduction in sorted(needed, key=lambda one: one.gives):
            found[self.depth((*reduction.each, *reduction.parameters))].append(reduction)
        return found


@dataclass(frozen=True)
class Outputs:
    """The names of what a call asks for: a value, and derivatives in order."""

    value: str | None
    derivatives: tuple[str, ...]


def _named(formula: Formula) -> set[str]:
    return set(parameters(formula))


class Wiring:
    """A plan's table, and where its outputs are found in it; each shape says how they are made."""

    def __init__(
        self,
        plan: Plan,
        formulas: Sequence[Formula],
        value: bool,
        scale: Formula = scaled,
        in_steps: bool = False,
        in_pairs: bool = False,
    ) -> None:
        self.plan, self.scale, self.in_steps, self.in_pairs = plan, scale, in_steps, in_pairs
        self.formulas = list(formulas)
        self.table = Table(each=())
        self.fill()
        self.outputs = Outputs(
            self.value("value") if value else None,
            tuple(self.derivative(f"out{k}", one) for k, one in enumerate(self.formulas)),
        )

    def fill(self) -> None:
        """Put the quantities of the plan's shape into the table."""

    def value(self, name: str) -> str:
        """The loss of an element or row."""
        raise NotImplementedError

    def derivative(self, name: str, formula: Formula) -> str:
        """A derivative, scaled."""
        raise NotImplementedError

    def _poisoned(self, name: str, source: str, touched: Iterable[str]) -> str:
        for number, one in enumerate(touched):
            source = self.table.make(f"{name}_clean{number}", poisoned, x=source, touched=one)
        return source


class ElementWiring(Wiring):
    """Every element is alone."""

    def fill(self) -> None:
        weight = () if self.plan.weight is None else ("weight",)
        self.table.each = (*self.plan.arrays, *weight)

    def _run(self, name: str, formula: Formula) -> str:
        source = self.table.make(f"{name}_plain", formula)
        touched = [one for one in parameters(formula) if one in self.plan.arrays]
        if self.plan.weight is None:
            touched = [one for one in touched if not carries(formula, one)]
        else:  # of zero, it silences what it weighs
            source = self.table.make(f"{name}_weighted", weighted, x=source)
            touched.append("weight")
        return self._poisoned(name, source, touched)

    def value(self, name: str) -> str:
        return self._run(name, self.plan.formulas.value)

    def derivative(self, name: str, formula: Formula) -> str:
        return self.table.make(name, self.scale, x=self._run(name, formula))


def is_lonely(plan: Plan, in_steps: bool) -> bool:
    """Whether no class but the target's can have a mass.

    An infinite weight would be one of zero times infinity. To look for one costs a GPU more than it
    saves.
    """
    if "labels" not in plan.arrays or plan.parameters.get("smoothing", 0) != 0:
        return False
    return plan.weight is None or (in_steps and has_finite_sum(plan.weight))


def is_unsmoothed(plan: Plan) -> bool:
    """Whether nothing is smoothed."""
    return plan.parameters.get("smoothing") == 0


def has_finite_sum(weight: Any) -> bool:
    """Whether weights, none of which is negative, are finite; huge ones may be taken for others."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(weight.sum(dtype=np.float64)))


class RowWiring(Wiring):
    """A row of classes: what `refloss.blocks.RowBlock` answers for."""

    @cached_property
    def lonely(self) -> bool:
        """Whether no class but the target's can have a mass."""
        return is_lonely(self.plan, self.in_steps)

    @cached_property
    def even(self) -> bool:
        """Whether the masses are known before: the target's, and one for every other class."""
        is_smoothed = "labels" in self.plan.arrays and "smoothing" in self.plan.parameters
        return self.in_steps and is_smoothed and self.plan.weight is None and not self.lonely

    @cached_property
    def parted(self) -> bool:
        """Whether the top's mass is kept apart from all others, and no other class's is."""
        is_mixed = self.plan.mass is not None and not self.lonely
        return self.even or (self.in_pairs and is_mixed)

    def fill(self) -> None:
        plan, table = self.plan, self.table
        arrays = tuple(name for name in plan.arrays if name not in ("labels", "kept"))
        table.each = (*arrays, *(() if plan.weight is None else ("weight",)))
        if plan.weight is None:
            table.make("weight", itself, x=1)
        if "labels" in plan.arrays:
            table.make("hit", is_at, at=LABEL)
            table.make("target", itself, x="hit")
        self._softmax("", "input", "temperature" if "temperature" in plan.parameters else 1)
        if "teacher" in arrays:
            self._softmax("teacher_", "teacher", "temperature")
            table.make("drift", drift)
            self._others("other_drift", "drift")
        if plan.mass is not None:
            bare = {"smoothing": 0.0} if self.in_steps and is_unsmoothed(plan) else {}
            table.make("mass", plan.mass, **bare)
            table.reduce("sum", ["mass"], ["total_mass"])
            self._others("other_mass", "mass")
        if self.even:
            self._even_masses()
        elif self.parted:
            self._parted_masses()
        if "labels" in plan.arrays:
            self._at_hit()
            table.make(
                "hit_root", root_of_p, half="hit_half_p", top_half="half_top_p", top_p="top_p"
            )
            table.made["hit_q_lost"] = table.made["hit_q_error"]
        if self.lonely and plan.mass is not None:
            del table.reduced["total_mass"]
            table.make("total_mass", itself, x="hit_mass")
            if self.in_steps:
                table.make("mass", at_hit, x="hit_mass")
                table.make("other_mass", elsewhere, x="hit_mass")
                table.make(f"{HIT}other_mass", itself, x=0)
            else:
                renamed = {"x": "mass", "big": "hit_mass", "at": LABEL}
                table.make("other_mass", reductions.all_but, **renamed, rest=0)

    @cached_property
    def follows_decay(self) -> bool:
        """Whether what rounding took from an exponential counts.

        It does where a power multiplies it, and where probabilities cancel: but for a target that
        is one class.
        """
        return not self.in_pairs and (
            not self.in_steps or not self.lonely or self.follows_complement
        )

    @cached_property
    def follows_complement(self) -> bool:
        """Whether 1 - p is wanted to the last digits, for a power or for masses of any size."""
        asked = map(_named, (self.plan.formulas.value, *self.formulas))
        is_paired = any("hit_q_lost" in names for names in asked)
        is_mixed = self.plan.mass is not None and not (self.parted or self.lonely)
        return not self.in_steps or is_paired or is_mixed

    def _even_masses(self) -> None:
        plan, table = self.plan, self.table
        assert plan.mass is not None
        del table.reduced["total_mass"]
        table.make("total_mass", itself, x=1)
        table.make("other_mass", other_share)
        table.make("top_mass", plan.mass, target="hit_is_top", weight=1)
        table.make("mass_below", other_share, hit="hit_is_top")

    def _parted_masses(self) -> None:
        table = self.table
        for name, part in (("top_mass", at_hit), ("mass_below", elsewhere)):
            each = table.make(f"{name}_each", part, hit="is_top", x="mass")
            table.reduce("sum", [each], [name])
        del table.reduced["total_mass"]
        table.make("total_mass", both, x="top_mass", y="mass_below")

    def _softmax(self, stem: str, array: str, temperature: str | float) -> None:
        table = self.table
        heat = table.make(f"{stem}temperature_", itself, x=temperature)
        top, tail = ("top", "top_at"), ("tail", "tail_error")
        if self.in_pairs and self.lonely:
            # which of the largest is the top does not matter then, but how many there are
            table.reduce("peak", [array], [f"{stem}top"])
            each = [f"{stem}{one}" for one in ("decay", "is_top")]
            table.reduce("below", each, [f"{stem}{one}" for one in tail])
            table.make(f"{stem}poison", itself, x=0)
            table.dear += each[:1]
        elif self.in_steps:
            table.reduce("top", [array, PLACE], [f"{stem}{one}" for one in (*top, "poison")])
            each = [f"{stem}{one}" for one in ("decay", "decay_error", "is_top")]
            table.reduce("tail", each, [f"{stem}{one}" for one in tail])
            table.dear += each[: 2 if self.follows_decay else 1]
        else:
            gives = [f"{stem}{one}" for one in (*top, *tail, "poison")]
            table.reduce("softmax", [array, PLACE], gives, heat)
        if self.in_pairs and self.lonely:
            table.make(f"{stem}is_top", is_at, place=array, at=f"{stem}top")
        else:
            table.make(f"{stem}is_top", is_at, at=f"{stem}top_at")
        for name, formula in (
            ("gap", row.gap),
            ("gap_error", row.gap_error),
            ("decay", row.decay),
            ("decay_error", row.decay_error),
            ("log_mass", row.log_mass),
            ("surprise", row.surprise),
            ("p", row.probability),
            ("q", row.complement),
            ("q_error", row.complement_error),
            ("top_p", top_p),
            ("top_q", top_q),
        ):
            renamed = {one: f"{stem}{one}" for one in _named(formula) - {"z", "temperature"}}
            table.make(f"{stem}{name}", formula, **renamed, z=array, temperature=heat)
        if not self.follows_decay:
            table.make(f"{stem}decay_error", itself, x=0)
        if not self.follows_complement:
            own = {one: f"{stem}{one}" for one in ("p", "is_top", "top_q")}
            table.make(f"{stem}q", left_by, **own)
        if not stem and "labels" in self.plan.arrays:
            twice = table.make("twice_temperature", doubled, x=heat)
            self._softmax("half_", array, twice)

    def _others(self, name: str, each: str) -> None:
        gives = [f"{name}_{one}" for one in ("big", "at", "rest")]
        self.table.reduce("others", [each, PLACE], gives)
        big, at, rest = gives
        self.table.make(name, reductions.all_but, x=each, big=big, at=at, rest=rest)

    def _at_hit(self) -> None:
        """Each quantity of a class once more, for the target's; those that are there stay."""
        table = self.table
        for name, made in list(table.made.items()):
            if table.is_each(name):
                names = tuple(
                    f"{HIT}{one}" if isinstance(one, str) and table.is_each(one) else one
                    for one in made.names
                )
                table.made.setdefault(f"{HIT}{name}", Made(made.formula, names))
        if self.plan.weight is None:
            table.make("hit_weight", itself, x=1)
        table.make(f"{HIT}{PLACE}", itself, x=LABEL)

    @cached_property
    def loaded_at_hit(self) -> tuple[str, ...]:
        """What is loaded of the target's class."""
        return tuple(f"{HIT}{name}" for name in self.table.each)

    def _touched(self, formula: Formula) -> list[str]:
        names = _named(formula)
        asked = ("input",) if self.parted else ("input", "mass")
        touched: list[str] = [name for name in asked if name in names]
        touched += ["poison"] if names & OF_INPUT else []
        return touched + (["teacher_poison"] if names & OF_TEACHER else [])

    def value(self, name: str) -> str:
        formula, table = self.plan.formulas.value, self.table
        touched = self._touched(formula)
        if self.lonely and {"mass"} <= _named(formula):
            renamed = {one: f"{HIT}{one}" for one in _named(formula) if table.is_each(one)}
            source = table.make(f"{name}_hit", formula, **renamed)
        elif self.in_steps and _named(formula) == {"mass", "surprise"}:
            # their product: what does not wait for the sum of the decays is summed beside it
            if self.in_pairs and self.even:
                table.reduce("sum", ["input"], ["input_sum"])
                table.make("gap_sum", even_gaps)
            else:
                table.make(f"{name}_each", mass_times_gap)
                table.reduce("sum", [f"{name}_each"], ["gap_sum"])
            source = table.make(f"{name}_all", in_parts)
        else:
            source = table.make(f"{name}_each", formula)
            if table.is_each(source):
                source = table.reduce("sum", [source], [f"{name}_sum"])
        rows = []
        for one in touched:
            is_row = not table.is_each(one) or (one == "mass" and self.lonely)
            rows.append(
                {"mass": "hit_mass"}.get(one, one)
                if is_row
                else table.reduce("poison", [one], [f"{name}_{one}_poison"])
            )
        if "hit_input" in _named(formula):
            rows.append("hit_input")
        source = self._poisoned(name, source, rows)
        return self._kept(name, source)

    def derivative(self, name: str, formula: Formula) -> str:
        if self.parted:
            formula = self.plan.formulas.parted.get(formula, formula)
        source = self.table.make(f"{name}_plain", formula)
        source = self._poisoned(name, source, self._touched(formula))
        made = self._kept(name, self.table.make(f"{name}_scaled", self.scale, x=source))
        if self.in_steps and "labels" in self.plan.arrays:
            self._at_hit()
        return made

    def _kept(self, name: str, source: str) -> str:
        if "labels" not in self.plan.arrays:
            return source
        return self.table.make(name, silenced, x=source, label=LABEL)


class PairWiring(Wiring):
    """Vectors that are compared row by row: what `refloss.vectors.PairBlock` answers for."""

    @property
    def of_row(self) -> tuple[str, ...]:
        """Arrays that have one number a row."""
        return tuple(name for name in self.plan.arrays if name not in self.plan.originals)

    def fill(self) -> None:
        self.table.each = tuple(self.plan.originals)
        for stem, (first, second) in self.plan.pairs.items():
            if self.plan.norm is None:
                self._angle(stem, first, second)
            else:
                self._difference(f"{stem}_" if stem else "", first, second)
        for name in self.plan.originals:
            self.table.reduce("poison", [name], [f"{name}_poison"])

    def _make(self, stem: str, name: str, formula: Formula, **renamed: str | float) -> str:
        own = {one: f"{stem}{one}" for one in _named(formula) - {"x", "y", "eps", "p"}}
        return self.table.make(f"{stem}{name}", formula, **(own | renamed))

    def _difference(self, stem: str, first: str, second: str) -> None:
        norm, make = self.plan.norm, self._make
        eps: dict[str, str | float] = {"eps": "eps" if "eps" in self.plan.parameters else 0.0}
        make(stem, "residual", length.residual, x=first, y=second, **eps)
        make(stem, "residual_error", length.residual_error, x=first, y=second, **eps)
        size = make(stem, "size", length.size, x=f"{stem}residual")
        self.table.reduce("largest", [size], [f"{stem}top"])
        make(stem, "share", length.share)
        make(stem, "share_error", length.share_error)
        term = make(stem, "term", norm.term)
        self.table.reduce("sum", [term], [f"{stem}total"])
        make(stem, "distance", norm.root)
        make(stem, "slope", norm.slope)

    def _vector(self, name: str) -> str:
        stem = f"{name}_"
        if f"{stem}unit" in self.table.made:
            return stem
        size = self._make(stem, "size", length.size, x=name)
        self.table.reduce("largest", [size], [f"{stem}top"])
        self._make(stem, "scaled", direction.scaled, x=name)
        square = self._make(stem, "square", direction.square)
        self.table.reduce("sum", [square], [f"{stem}total"])
        self._make(stem, "length", direction.length)
        self._make(stem, "unit", direction.unit)
        return stem

    def _angle(self, stem: str, first: str, second: str) -> None:
        one, other = self._vector(first), self._vector(second)
        prefix = f"{stem}_" if stem else ""
        ends = {"first": f"{one}unit", "second": f"{other}unit"}
        for name, formula in (
            ("cosine", direction.overlap),
            ("apart", direction.apart),
            ("against", direction.against),
        ):
            term = self.table.make(f"{prefix}{name}_term", formula, **ends)
            self.table.reduce("sum", [term], [f"{prefix}{name}"])
        self._make(prefix, "gap", direction.gap)
        for name, moving, fixed in (("turn", one, other), ("counterturn", other, one)):
            renamed = {"first": f"{moving}unit", "second": f"{fixed}unit"}
            self._make(prefix, name, direction.turn, **renamed, length=f"{moving}length")

    def _touched(self) -> list[str]:
        return [f"{name}_poison" for name in self.plan.originals] + sorted(self.of_row)

    def value(self, name: str) -> str:
        source = self.table.make(f"{name}_plain", self.plan.formulas.value)
        if self.table.is_each(source):
            source = self.table.reduce("sum", [source], [f"{name}_sum"])
        return self._poisoned(name, source, self._touched())

    def derivative(self, name: str, formula: Formula) -> str:
        source = self.table.make(f"{name}_plain", formula)
        return self.table.make(name, self.scale, x=self._poisoned(name, source, self._touched()))


def wiring_of(
    plan: Plan,
    formulas: Sequence[Formula],
    value: bool,
    scale: Formula = scaled,
    in_steps: bool = False,
    in_pairs: bool = False,
) -> Wiring:
    """The wiring of a plan's shape: for its value, if wanted, and for derivatives by formulas.

    ``in_steps`` takes a softmax in two reductions instead of one; ``in_pairs`` leaves to others
    what has an infinity, and more digits than it needs.
    """
    kinds = {"ElementBlock": ElementWiring, "RowBlock": RowWiring, "PairBlock": PairWiring}
    return kinds[plan.block.__name__](plan, formulas, value, scale, in_steps, in_pairs)
