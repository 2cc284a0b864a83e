"""Losses over all pairs of embeddings, without ever holding all of their similarities.

Anchors and candidates are unit vectors. Their similarities come as products of one block of anchors
with one block of candidates, twice: once to learn each anchor's softmax, once more for the
gradient, in which an embedding gathers what it gets as an anchor and what it gets as a candidate.
Memory beyond inputs and outputs is a few arrays of the size of the embeddings in float64, and a
block of similarities for each thread.

The blocks do not depend on the number of threads, each row of the gradient is gathered by one
thread in the order of the blocks, and BLAS runs on one: a result has the same bits however many
threads there are, though another BLAS may give others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from array_api_compat import device

from refloss.arguments import namespace, native
from refloss.evaluation import Answer, Wanted, cast, over, reduced, runs
from refloss.formula import direction, similarity
from refloss.kernels import threads
from refloss.kernels.anchors import NOWHERE, Place, Seen, Softmax
from refloss.vectors import Vector

Array = Any
Kind = TypeVar("Kind")

# In a block, unless kernels have sizes of their own
ANCHORS = 256
CANDIDATES = 1024


class Side(NamedTuple):
    """Stacked arguments that stand on one side of the similarities, and a label for each row.

    A candidate is positive for the anchors that have its label.
    """

    arguments: tuple[str, ...]
    labels: Array


class Directions(NamedTuple):
    """Unit vectors (M, D) and the lengths (M, 1) that they had."""

    unit: Array
    length: Array


class Pull(NamedTuple):
    """A gradient by directions: all of it, (M, D), and its part along them, (M, 1)."""

    whole: Array
    along: Array


@dataclass(frozen=True)
class SimilarityPlan:
    """A call whose arguments have been checked.

    Attributes
    ----------
    kernels, model, originals, shape, reduction : as a `refloss.evaluation.Plan` has them
    anchors, candidates : the two sides; one object if each embedding meets all the others
    own : the argument that holds one more candidate for each anchor, its positive
    only_paired : whether a mean counts only the anchors that have a positive
    """

    kernels: ModuleType
    model: Array
    originals: Mapping[str, Array]
    shape: tuple[int, ...]
    reduction: str
    temperature: float
    anchors: Side
    candidates: Side
    own: str | None = None
    only_paired: bool = False

    @property
    def row_shape(self) -> tuple[int, int]:
        """One value an anchor, as a column."""
        return self.shape[0], 1

    def names(self, part: str) -> Sequence[str]:
        """The arguments that a part of the answer can be asked for."""
        return tuple(self.originals) if part == "gradient" else ()

    def evaluate(self, wanted: Wanted, grad_output: Array | None = None) -> Answer:
        """Run it."""
        with np.errstate(all="ignore"), threads.blas_on_one_thread():
            return _Run(self, grad_output).answer(wanted)


class _Run:
    """One evaluation of a plan."""

    def __init__(self, plan: SimilarityPlan, grad_output: Array | None) -> None:
        self.plan, self.kernels, self.grad_output = plan, plan.kernels, grad_output
        self.xp = namespace(plan.model)
        self.directions: dict[tuple[str, ...], Directions] = {}
        self.anchors = getattr(plan.kernels, "ANCHORS", ANCHORS)
        self.candidates = getattr(plan.kernels, "CANDIDATES", CANDIDATES)
        # kernels that weigh a block in its place want to know whether all digits matter
        self.accuracy: dict[str, bool] = {}
        if hasattr(plan.kernels, "weigh"):
            self.accuracy = {"few_digits": native(plan.model) != np.float64}

    def answer(self, wanted: Wanted) -> Answer:
        value = self.value() if wanted.value else None
        if not wanted.gradient:
            return Answer(value, (), ())
        gradients = self.gradients()
        found = [cast(gradients[name], self.plan.originals[name]) for name in wanted.gradient]
        return Answer(value, found, ())

    # Values

    def value(self) -> Array:
        """Of each anchor, or reduced."""
        known = {**self.seen._asdict(), "temperature": self.plan.temperature}
        each = self.kernels.map_formula(similarity.value, known)
        if self.plan.reduction == "none":
            return cast(self.xp.reshape(each, (-1,)), self.plan.model)
        return reduced(self.plan.model, [self.kernels.sum_pair(each)], self.denominator)

    @cached_property
    def denominator(self) -> float:
        """What a sum of the anchors' losses is divided by."""
        if self.plan.reduction != "mean":
            return 1.0
        if not self.plan.only_paired:
            return float(self.plan.shape[0])
        counted = self.xp.astype(self.seen.count > 0, self.xp.float64)
        return max(1.0, float(sum(self.kernels.sum_pair(counted))))

    # What the anchors see

    def of(self, side: Side) -> Directions:
        """The directions of one side, made once."""
        if side.arguments not in self.directions:
            parts = [self._directions(name, rows) for name, rows in self._pieces(side)]
            self.directions[side.arguments] = self._joined(Directions, parts)
        return self.directions[side.arguments]

    def _pieces(self, side: Side) -> list[tuple[str, slice]]:
        sizes = {name: self.plan.originals[name].shape[0] for name in side.arguments}
        return [
            (name, rows) for name, size in sizes.items() for rows in _rows(size, self.candidates)
        ]

    def _directions(self, name: str, rows: slice) -> Directions:
        part = self.plan.originals[name][rows, :]
        vector = Vector(self.kernels, self.xp.astype(part, self.xp.float64))
        return Directions(vector.unit, vector.length)

    @cached_property
    def seen(self) -> Seen:
        """What each anchor knows when all candidates have passed."""
        count = self.plan.anchors.labels.shape[0]
        _ = self.of(self.plan.anchors), self.of(self.plan.candidates)
        if self.plan.own is not None:
            _ = self.own_similarity
        return self._joined(Seen, self._over(_rows(count, self.anchors), self._see))

    def _see(self, rows: slice) -> Seen:
        anchors, candidates = self.plan.anchors, self.plan.candidates
        unit = self.of(anchors).unit[rows, :]
        seen = self._first_seen(rows)
        for columns in runs(candidates.labels.shape[0], self.candidates):
            s = self.kernels.products(unit, self.of(candidates).unit[columns, :])
            where = self._place(rows, columns, columns.start)
            labels = (anchors.labels[rows], candidates.labels[columns])
            temperature = self.plan.temperature
            seen = self.kernels.absorb(seen, s, *labels, where, temperature, **self.accuracy)
        return seen

    def _place(self, rows: slice, columns: slice, first: int) -> Place:
        alone = self.plan.anchors is not self.plan.candidates
        return Place(NOWHERE if alone else rows.start - columns.start, first)

    def _first_seen(self, rows: slice) -> Seen:
        """Before any block: nothing, or the anchor's own positive."""
        like = self.of(self.plan.anchors).length[rows, :]
        nothing, nowhere = self.xp.zeros_like(like), self._whole_numbers(like, NOWHERE)
        if self.plan.own is None:
            top = self.xp.full_like(like, -float("inf"))
            return Seen(top, nowhere, nothing, nothing, nothing)
        s = self.own_similarity[rows, :]
        return Seen(s, nowhere, nothing, s, self.xp.ones_like(like))

    def _whole_numbers(self, like: Array, number: int) -> Array:
        return self.xp.full(like.shape, number, dtype=self.xp.int64, device=device(like))

    @cached_property
    def own_similarity(self) -> Array:
        """Of each anchor with its own positive, (R, 1)."""
        assert self.plan.own is not None
        known = {
            "first": self.of(self.plan.anchors).unit,
            "second": self.of(self.own_side).unit,
        }
        return self.kernels.class_sum(self.kernels.map_formula(direction.overlap, known))

    @property
    def own_side(self) -> Side:
        assert self.plan.own is not None
        return Side((self.plan.own,), self.plan.anchors.labels)

    # Gradients

    @cached_property
    def softmax(self) -> Softmax:
        """The anchors' softmax, and what each of them counts."""
        seen = self.seen
        weight = self.xp.full_like(seen.tail, 1.0 / self.denominator if seen.tail.shape[0] else 1.0)
        if self.grad_output is not None:
            weight = weight * self.xp.astype(self.grad_output, self.xp.float64)
        weight = self.xp.where(seen.count > 0, weight, self.xp.zeros_like(weight))
        mass = self.kernels.map_formula(similarity.share, {"count": seen.count})
        return Softmax(seen.top, seen.top_at, seen.tail, mass, weight)

    def gradients(self) -> dict[str, Array]:
        """By every argument, float64."""
        anchors, candidates = self.plan.anchors, self.plan.candidates
        _ = self.of(anchors), self.of(candidates), self.softmax  # made before threads want them
        if self.accuracy:
            _ = self.factor
        if anchors is candidates:
            pull = self._gathered(anchors, anchors, as_anchors=True, as_candidates=True)
            return self._by_argument(anchors, pull)
        by_anchors = self._gathered(anchors, candidates, as_anchors=True)
        by_candidates = self._gathered(candidates, anchors, as_candidates=True)
        found = self._by_argument(candidates, by_candidates)
        if self.plan.own is not None:
            along, pulled, pulling = self._own_pulls()
            by_anchors = Pull(by_anchors.whole + pulled, by_anchors.along + along)
            found |= self._by_argument(self.own_side, Pull(pulling, along))
        return found | self._by_argument(anchors, by_anchors)

    def _gathered(
        self, side: Side, other: Side, *, as_anchors: bool = False, as_candidates: bool = False
    ) -> Pull:
        """What the rows of one side get from the other side."""
        unit, other_unit = self.of(side).unit, self.of(other).unit
        temperature = self.plan.temperature
        if self.accuracy:
            return self._weighed(side, other, as_anchors, as_candidates)

        def gather(rows: slice) -> Pull:
            whole = self.xp.zeros_like(unit[rows, :])
            along = whole[:, :1]
            for columns in runs(other.labels.shape[0], self.candidates):
                s = self.kernels.products(unit[rows, :], other_unit[columns, :])
                labels = (side.labels[rows], other.labels[columns])
                weights = self.xp.zeros_like(s)
                if as_anchors:
                    softmax, where = self._part(rows), self._place(rows, columns, columns.start)
                    weights = self.kernels.pulls(s, softmax, *labels, where, temperature)
                if as_candidates:
                    softmax, where = self._part(columns), self._place(rows, columns, rows.start)
                    weights = weights + self.kernels.pulls(
                        s, softmax, *labels, where, temperature, by_column=True
                    )
                whole = whole + self.kernels.combine(weights, other_unit[columns, :])
                along = along + self.kernels.class_sum(weights * s)
            return Pull(whole, along)

        return self._joined(Pull, self._over(_rows(side.labels.shape[0], self.anchors), gather))

    def _weighed(self, side: Side, other: Side, as_anchors: bool, as_candidates: bool) -> Pull:
        """The same by kernels that weigh a block for both sides at once, in its place."""
        unit, other_unit = self.of(side).unit, self.of(other).unit

        def gather(rows: slice) -> Pull:
            whole = self.xp.zeros_like(unit[rows, :])
            along = whole[:, :1]
            for columns in runs(other.labels.shape[0], self.candidates):
                s = self.kernels.products(unit[rows, :], other_unit[columns, :])
                part = self.kernels.weigh(
                    s,
                    (self._part(rows), self.factor[rows, :]) if as_anchors else None,
                    (self._part(columns), self.factor[columns, :]) if as_candidates else None,
                    (side.labels[rows], other.labels[columns]),
                    self._place(rows, columns, columns.start),
                    rows.start,
                    self.plan.temperature,
                    **self.accuracy,
                )
                whole = whole + self.kernels.combine(s, other_unit[columns, :])
                along = along + part
            return Pull(whole, along)

        return self._joined(Pull, self._over(_rows(side.labels.shape[0], self.anchors), gather))

    @cached_property
    def factor(self) -> Array:
        """What the decay of an anchor's negative is multiplied with."""
        known = {**self.softmax._asdict(), "temperature": self.plan.temperature}
        return self.kernels.map_formula(similarity.negative, known)

    def _over(self, rows: list[slice], work: Callable[[slice], Kind]) -> list[Kind]:
        return over(rows, work, self.plan.model, self.kernels)

    def _joined(self, kind: Callable[..., Kind], parts: Sequence[Any]) -> Kind:
        """Rows of blocks, put together."""
        return kind(*(self.xp.concat(column, axis=0) for column in zip(*parts, strict=True)))

    def _part(self, rows: slice) -> Softmax:
        return Softmax(*(part[rows, :] for part in self.softmax))

    def _own_pulls(self) -> tuple[Array, Array, Array]:
        """What an anchor and its own positive get from each other, and how much along both."""
        known: dict[str, Any] = {
            **self.softmax._asdict(),
            "s": self.own_similarity,
            "temperature": self.plan.temperature,
            "is_positive": self.xp.ones_like(self.own_similarity),
        }
        is_top = self.softmax.top_at == NOWHERE
        known["is_top"] = self.xp.astype(is_top, self.xp.float64)
        for formula in (similarity.decay, similarity.coefficient, similarity.weighted):
            known[formula.__name__] = self.kernels.map_formula(formula, known)
        pull = known["weighted"]
        anchors, own = self.of(self.plan.anchors).unit, self.of(self.own_side).unit
        return pull * self.own_similarity, pull * own, pull * anchors

    def _by_argument(self, side: Side, pull: Pull) -> dict[str, Array]:
        """Gradients by the embeddings themselves, through the normalisation."""
        directions = self.of(side)
        known = {
            "pull": pull.whole,
            "unit": directions.unit,
            "along": pull.along,
            "length": directions.length,
        }
        gradient = self.kernels.map_formula(similarity.across, known)
        found, start = {}, 0
        for name in side.arguments:
            stop = start + self.plan.originals[name].shape[0]
            found[name] = gradient[start:stop, :]
            start = stop
        return found


def _rows(count: int, length: int) -> list[slice]:
    """A range, cut into pieces of a length; nothing is one empty piece."""
    return runs(count, length) or [slice(0, 0)]
