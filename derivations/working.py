"""What refloss runs for a statement: the formulas that a real call chooses, and what they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from sympy import Expr, Integer

from derivations.statement import Statement
from refloss.evaluation import Plan

_ELEMENTS = np.array([0.5])
_ROWS = np.array([[0.25, 0.75]])
_LABELS = np.array([1])
_MARKS = np.array([1.0])
_PAIR = {"input": _ELEMENTS, "target": _ELEMENTS}
_BY_LABEL = {"input": _ROWS, "target": _LABELS, "weight": np.array([1.0, 2.0])}
_BY_MASS = {"input": _ROWS, "target": _ROWS, "weight": np.array([1.0, 2.0])}

Known = Mapping[str, Any]


@dataclass(frozen=True)
class Working:
    """A call of the loss as a statement describes it.

    ``named`` gives the numbers that formulas call by another name than the statement does, from
    the statement's symbols by their names.
    """

    call: Mapping[str, Any]
    named: Mapping[str, Callable[[Known], Expr]] = field(default_factory=dict)

    def plan(self, loss: str) -> Plan:
        """What the call runs."""
        plan = getattr(import_module(f"refloss.losses.{loss}"), loss)._plan(**self.call)
        assert isinstance(plan, Plan)
        return plan

    def quantities(self, statement: Statement) -> dict[str, Any]:
        """The statement's symbols, by the names that formulas use."""
        known = {**statement.arguments, **statement.options}
        return {**known, **{name: make(known) for name, make in self.named.items()}}


_SMOOTHING = {"smoothing": lambda known: known["label_smoothing"]}
_ALPHA = {"on": lambda known: known["alpha"], "off": lambda known: 1 - known["alpha"]}
_NO_ALPHA = {"on": lambda known: Integer(1), "off": lambda known: Integer(1)}

WORKING: dict[str, dict[str, Working]] = {
    "binary_cross_entropy": {"": Working(_PAIR)},
    "binary_cross_entropy_with_logits": {"": Working({**_PAIR, "pos_weight": _ELEMENTS})},
    "cross_entropy": {
        "": Working({**_BY_MASS, "label_smoothing": 0.5}, _SMOOTHING),
        "class indices": Working({**_BY_LABEL, "label_smoothing": 0.5}, _SMOOTHING),
    },
    "cross_entropy_with_probs": {
        "": Working(_BY_MASS),
        "class indices": Working(_BY_LABEL),
    },
    "distillation_loss": {"": Working({"input": _ROWS, "teacher": _ROWS, "temperature": 2.0})},
    "contrastive_loss_from_distance": {
        "": Working({"distance": _ELEMENTS, "target": _ELEMENTS}),
    },
    "gaussian_kl": {"": Working({"mu": _ELEMENTS, "logvar": _ELEMENTS})},
    "hinge_embedding_loss": {"": Working({"input": _ELEMENTS, "target": _MARKS})},
    "huber_loss": {"": Working(_PAIR)},
    "kl_div": {"": Working(_PAIR), "log_target": Working({**_PAIR, "log_target": True})},
    "l1_loss": {"": Working(_PAIR)},
    "margin_ranking_loss": {
        "": Working({"input1": _ELEMENTS, "input2": _ELEMENTS, "target": _MARKS}),
    },
    "mse_loss": {"": Working(_PAIR)},
    "nll_loss": {"": Working(_BY_LABEL)},
    "sigmoid_focal_loss": {
        "": Working({**_PAIR, "alpha": 0.25}, _ALPHA),
        "alpha = None": Working({**_PAIR, "alpha": None}, _NO_ALPHA),
    },
    "smooth_l1_loss": {"": Working(_PAIR), "beta = 0": Working({**_PAIR, "beta": 0.0})},
    "softmax_focal_loss": {"": Working(_BY_LABEL)},
}
