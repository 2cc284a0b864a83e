"""One evaluation of a plan by fused kernels: what it asks for, and what makes a kernel its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from refloss.formula.emitted import DOUBLE, Kind
from refloss.formula.paired import PAIRED
from refloss.kernels.named import DENOMINATOR, RATE, UPSTREAM
from refloss.quantities import Wiring, is_lonely, is_unsmoothed, rescaled, scaled, wiring_of

if TYPE_CHECKING:
    from refloss.evaluation import Plan, Wanted

Array = Any
Formula = Callable[..., Any]


class Call:
    """One evaluation of a plan.

    Attributes
    ----------
    formulas : what the derivatives are made by, in order
    sources : the arguments that they are derivatives by
    kind : the arithmetic inside
    total : whether the values are summed
    each : whether there is an upstream gradient for each value
    """

    in_steps = False

    def __init__(self, plan: Plan, wanted: Wanted, grad_output: Array | None, kind: Kind) -> None:
        self.plan, self.wanted, self.grad_output, self.kind = plan, wanted, grad_output, kind
        parts = (
            (plan.formulas.gradient, wanted.gradient),
            (plan.formulas.curvature, wanted.curvature),
        )
        self.formulas = [formulas[name] for formulas, names in parts for name in names]
        self.sources = [plan.originals[name] for _, names in parts for name in names]
        self.total = wanted.value and plan.reduction != "none"
        self.each = plan.reduction == "none" and grad_output is not None

    @cached_property
    def scale(self) -> Formula:
        """How a derivative is scaled."""
        return scaled if self.kind is DOUBLE else rescaled

    @cached_property
    def scalars(self) -> dict[str, float]:
        """Numbers that count for all elements."""
        found = dict(self.plan.parameters)
        if self.grad_output is None:
            found[UPSTREAM] = 1.0
        if self.kind is DOUBLE:
            return {**found, DENOMINATOR: self.plan.denominator}
        return {**found, RATE: 1.0 / self.plan.denominator if self.plan.denominator else np.inf}

    @cached_property
    def wiring(self) -> Wiring:
        """How all that is wanted comes about."""
        formulas, value = self.formulas, self.wanted.value
        in_pairs = self.kind is PAIRED
        return wiring_of(self.plan, formulas, value, self.scale, self.in_steps, in_pairs)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes the wiring what it is."""
        plan = self.plan
        return (
            plan.block.__name__,
            plan.formulas.value if self.wanted.value else None,
            tuple(self.formulas),
            plan.mass,
            plan.norm,
            tuple(plan.pairs.items()),
            tuple(plan.originals),
            tuple(plan.arrays),
            tuple(self.scalars),
            plan.weight is None,
            is_lonely(plan, self.in_steps),
            is_unsmoothed(plan),
            self.kind.name,
        )
