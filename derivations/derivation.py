"""Everything that ``derivations/<loss>.py`` says about a loss, in one object."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from derivations import composition_answers, elements, rows
from derivations.case import Answered, Case
from derivations.composition import Composition
from derivations.conventions import Convention
from derivations.statement import Statement

LOSSES = (
    "cross_entropy",
    "nll_loss",
    "cross_entropy_with_probs",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy",
    "sigmoid_focal_loss",
    "softmax_focal_loss",
    "smooth_labels",
    "mse_loss",
    "l1_loss",
    "huber_loss",
    "smooth_l1_loss",
    "kl_div",
    "gaussian_kl",
    "distillation_loss",
    "class_balanced_weights",
    "margin_ranking_loss",
    "hinge_embedding_loss",
    "contrastive_loss_from_distance",
    "triplet_margin_loss",
    "contrastive_loss",
    "cosine_embedding_loss",
    "nt_xent_loss",
    "info_nce_loss",
    "sup_con_loss",
    "batch_triplet_loss",
    "mine_triplets",
)


@dataclass(frozen=True)
class Derivation:
    """A loss: its statement, the variants that options select, its conventions, its inputs."""

    statement: Statement | Composition
    denominator: Callable[..., Any]
    regions: Mapping[str, str]
    cases: Callable[[], Iterable[Case]]
    conventions: Mapping[str, Convention] = field(default_factory=dict)
    variants: Mapping[str, Statement | Composition] = field(default_factory=dict)
    choose: Callable[[Case], Any] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    answer: Callable[[Any, Case, Any], Answered] | None = None

    def statement_for(self, case: Case) -> Statement | Composition:
        return self.statement if self.choose is None else self.choose(case)

    def textbook(self, case: Case) -> Answered:
        return self._answer(self.statement_for(case), case, self.denominator)

    def conventional(self, convention: Convention, case: Case, textbook: Answered) -> Answered:
        """The answers under a convention; only the parts it has an opinion on."""
        if convention.amend is not None:
            answered = convention.amend(case, textbook)
        else:
            statement = convention.statement or self.statement_for
            denominator = convention.denominator or self.denominator
            answered = self._answer(statement(case), case, denominator)
        return {part: answered[part] for part in convention.parts}

    def _answer(self, statement: Statement | Composition, case: Case, denominator: Any) -> Answered:
        given = {name: case.options.get(name, self.defaults.get(name)) for name in self.defaults}
        full = Case(case.region, case.inputs, {**given, **case.options}, case.flags, case.at)
        if self.answer is not None:
            return self.answer(statement, full, denominator)
        if isinstance(statement, Composition):
            return composition_answers.answer(statement, full, denominator)
        kind: Any = elements if statement.index is None else rows
        return kind.answer(statement, full, denominator)  # type: ignore[no-any-return]


def load(loss: str) -> Derivation:
    """The derivation of a loss by name."""
    derivation = importlib.import_module(f"derivations.{loss}").derivation
    assert isinstance(derivation, Derivation)
    return derivation
