"""Blocks of vectors: distances and cosines of the vectors that a loss compares, row by row."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from refloss.blocks import Block, RowBlock
from refloss.formula import direction
from refloss.formula import distance as length

if TYPE_CHECKING:
    from refloss.evaluation import Plan

Array = Any
Formula = Callable[..., Any]


class Norm(NamedTuple):
    """The formulas of a p-norm: a component's term, the norm of the sum, and the norm's slope."""

    term: Formula
    root: Formula
    slope: Formula


def norm_of(p: float) -> Norm:
    """The formulas that run for an exponent."""
    if p == 1:
        return Norm(length.absolute_term, length.absolute_root, length.absolute_slope)
    if p == 2:
        return Norm(length.square_term, length.square_root, length.square_slope)
    if p == float("inf"):
        return Norm(length.largest_term, length.largest_root, length.largest_slope)
    return Norm(length.power_term, length.power_root, length.power_slope)


class PairBlock(RowBlock):
    """Some rows of vectors, as float64 (R, D), and how the vectors of a row lie to each other.

    ``plan.pairs`` names pairs of arguments. A formula names what it needs of the pair ``positive``
    as ``positive_distance`` or ``positive_slope``; a loss with a single pair calls it ``""``, and
    writes ``distance`` and ``slope``.
    """

    def __init__(self, plan: "Plan", block: Block) -> None:
        super().__init__(plan, block)
        self.pairs: dict[str, Any] = {}
        self.vectors: dict[str, Vector] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self.plan.parameters:
            return self.plan.parameters[name]
        if name in self.plan.arrays:
            return self.rows(self.plan.arrays[name])
        stem, _, quantity = name.rpartition("_")
        return getattr(self.pair(stem), quantity)

    def rows(self, array: Array) -> Array:
        """(N, 1) -> (R, 1), as float64."""
        return self.classes(array[:, None, :])

    def pair(self, stem: str) -> Any:
        """A pair of the plan, made once."""
        if stem not in self.pairs:
            first, second = self.plan.pairs[stem]
            if self.plan.norm is None:
                self.pairs[stem] = Angle(self.vector(first), self.vector(second))
            else:
                self.pairs[stem] = Difference(self, self.vector(first), self.vector(second))
        return self.pairs[stem]

    def vector(self, name: str) -> "Vector":
        """One argument's vectors, made once."""
        if name not in self.vectors:
            self.vectors[name] = Vector(self.kernels, self.classes(self.plan.arrays[name]))
        return self.vectors[name]

    def _touched(self, formula: Formula) -> list[Array]:
        """Everything in a row depends on all of its vectors, and on the row's own numbers."""
        own = set(self.plan.arrays) - set(self.plan.originals)
        rows = [self.kernels.nan_rows(self.vector(name).x) for name in self.plan.originals]
        return rows + [self.rows(self.plan.arrays[name]) for name in sorted(own)]

    def upstream(self, grad_output: Array) -> Array:
        """The upstream gradient of each row, (R, 1)."""
        return self.rows(grad_output)


class Vector:
    """One vector of each row, its length and direction."""

    def __init__(self, kernels: Any, x: Array) -> None:
        self.kernels, self.x = kernels, x

    @cached_property
    def top(self) -> Array:
        """The largest absolute value of the components, (R, 1)."""
        return self.kernels.row_max(self.kernels.map_formula(length.size, {"x": self.x}))

    @cached_property
    def scaled(self) -> Array:
        """The components over the largest of them."""
        return self.kernels.map_formula(direction.scaled, {"x": self.x, "top": self.top})

    @cached_property
    def total(self) -> Array:
        """The sum of their squares, (R, 1)."""
        squares = self.kernels.map_formula(direction.square, {"scaled": self.scaled})
        return self.kernels.class_sum(squares)

    @cached_property
    def length(self) -> Array:
        """The Euclidean norm, (R, 1)."""
        return self.kernels.map_formula(direction.length, {"total": self.total, "top": self.top})

    @cached_property
    def unit(self) -> Array:
        """The direction, (R, D)."""
        known = {"scaled": self.scaled, "total": self.total}
        return self.kernels.map_formula(direction.unit, known)


class Difference:
    """The p-norm of the difference of two vectors of each row."""

    def __init__(self, block: PairBlock, first: Vector, second: Vector) -> None:
        self.norm: Norm = block.plan.norm
        self.kernels: Any = block.kernels
        self.known: dict[str, Any] = {
            "x": first.x,
            "y": second.x,
            "eps": block.plan.parameters.get("eps", 0.0),
            "p": block.plan.parameters["p"],
        }
        self._know(length.residual, length.residual_error)
        sizes = self.kernels.map_formula(length.size, {"x": self.known["residual"]})
        self.known["top"] = self.kernels.row_max(sizes)
        self._know(length.share, length.share_error)
        self.known["total"] = self.kernels.class_sum(self._run(self.norm.term))

    def _run(self, formula: Formula) -> Array:
        return self.kernels.map_formula(formula, self.known)

    def _know(self, *formulas: Formula) -> None:
        for formula in formulas:
            self.known[formula.__name__] = self._run(formula)

    @cached_property
    def distance(self) -> Array:
        """The norm, (R, 1)."""
        return self._run(self.norm.root)

    @cached_property
    def slope(self) -> Array:
        """Its derivative by the first vector, (R, D); by the second it is the opposite."""
        return self._run(self.norm.slope)


class Angle:
    """The cosine of two vectors of each row."""

    def __init__(self, first: Vector, second: Vector) -> None:
        self.first, self.second = first, second
        self.kernels = first.kernels

    def _total(self, formula: Formula) -> Array:
        known = {"first": self.first.unit, "second": self.second.unit}
        return self.kernels.class_sum(self.kernels.map_formula(formula, known))

    @cached_property
    def cosine(self) -> Array:
        """u . v, (R, 1)."""
        return self._total(direction.overlap)

    @cached_property
    def apart(self) -> Array:
        """|u - v|^2 / 2, (R, 1)."""
        return self._total(direction.apart)

    @cached_property
    def gap(self) -> Array:
        """1 - u . v, (R, 1)."""
        return self.kernels.map_formula(direction.gap, {"cosine": self.cosine, "apart": self.apart})

    def _turn(self, moving: Vector, fixed: Vector) -> Array:
        known = {
            "first": moving.unit,
            "second": fixed.unit,
            "cosine": self.cosine,
            "apart": self.apart,
            "against": self._total(direction.against),
            "length": moving.length,
        }
        return self.kernels.map_formula(direction.turn, known)

    @cached_property
    def turn(self) -> Array:
        """The derivative of the cosine by the first vector, (R, D)."""
        return self._turn(self.first, self.second)

    @cached_property
    def counterturn(self) -> Array:
        """The derivative of the cosine by the second vector, (R, D)."""
        return self._turn(self.second, self.first)
