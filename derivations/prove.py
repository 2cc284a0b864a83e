"""``python -m derivations prove [LOSS ...]``: every obligation, and what came of it.

*proved*: an identity over the reals, shown symbolically on every arm. *bounded*: an approximation
whose error is enclosed by ball arithmetic. *checked*: only tried at points. *FAILED*: neither.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from derivations import (
    bounds,
    chain_proofs,
    composition_proofs,
    element_proofs,
    end_proofs,
    identities,
    pair_proofs,
    reduction_proofs,
    row_proofs,
    similarity_proofs,
    triplet_proofs,
    weight_proofs,
    wiring_proofs,
)
from derivations.composition import Composition
from derivations.derivation import LOSSES, load
from derivations.obligations import FAILED, Obligation, Outcome, settle
from derivations.statement import Statement
from derivations.working import WORKING


def obligations(losses: Sequence[str]) -> Iterator[Obligation]:
    """What there is to show of some losses, and of what they share."""
    rows = vectors = False
    for loss in losses:
        derivation = load(loss)
        for variant, statement in {"": derivation.statement, **derivation.variants}.items():
            if isinstance(statement, Composition):
                vectors = True
            else:
                rows |= statement.index is not None
            yield from of_statement(loss, variant, statement)
    if rows:
        yield from row_proofs.pieces()
    if rows or vectors:
        yield from reduction_proofs.pieces()
    if vectors:
        yield from chain_proofs.obligations()
        yield from pair_proofs.pieces()
    yield from identities.obligations(losses)
    yield from bounds.obligations()


def of_statement(
    loss: str, variant: str, statement: Statement | Composition
) -> Iterator[Obligation]:
    """What there is to show of one statement of a loss."""
    name = f"{loss}, {variant}" if variant else loss
    if loss in triplet_proofs.LOSSES:
        yield from triplet_proofs.obligations(loss, variant)
    elif isinstance(statement, Composition):
        yield from composition_proofs.obligations(name, variant, statement)
        if loss in pair_proofs.LOSSES:
            yield from pair_proofs.obligations(name, variant, statement)
            if not variant:
                yield from wiring_proofs.of_pairs(statement)
        elif loss in similarity_proofs.LOSSES:
            yield from similarity_proofs.obligations(name, variant, statement)
    elif loss == "smooth_labels":
        yield from weight_proofs.smoothed_labels(name, statement)
    elif loss == "class_balanced_weights":
        beta = statement.options["beta"]
        yield from weight_proofs.class_weights(name, statement, 1 if variant else beta)
    else:
        working = WORKING[loss][variant]
        plan, quantities = working.plan(loss), working.quantities(statement)
        kind: Any = element_proofs if statement.index is None else row_proofs
        yield from kind.obligations(name, statement, plan, quantities)
        yield from end_proofs.obligations(name, statement, plan, quantities)
        if statement.index is not None:
            yield from wiring_proofs.obligations(loss, variant)
        elif not variant:
            yield from wiring_proofs.of_elements(loss, statement, plan)


def table(claims: Iterable[Obligation]) -> bool:
    """Settle every claim and print its line as it comes; whether all held."""
    start = time.perf_counter()
    verdicts: Counter[str] = Counter()
    print(f"{'verdict':8} {'time':>7}  obligation")
    for claim in claims:
        outcome = settle(claim)
        verdicts[outcome.verdict] += 1
        print(line(outcome), flush=True)
    counts = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items())
    seconds = time.perf_counter() - start
    print(f"\n{verdicts.total()} obligations: {counts or 'none'} ({seconds:.0f} s)")
    return not verdicts[FAILED]


def line(outcome: Outcome) -> str:
    """One line of the table."""
    claim = outcome.obligation
    detail = f"  [{outcome.detail}]" if outcome.detail else ""
    return f"{outcome.verdict:8} {outcome.seconds:6.2f}s  {claim.loss}: {claim.claim}{detail}"


def prove(losses: Sequence[str] = LOSSES) -> int:
    """Print the table; the exit code, 1 if an obligation failed."""
    return 0 if table(obligations(losses)) else 1


if __name__ == "__main__":
    sys.exit(prove(tuple(sys.argv[1:]) or LOSSES))
