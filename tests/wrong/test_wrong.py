"""The tester tested: every planted mistake is found, every right loss passes."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from refloss import oracles
from refloss.accuracy import FORMATS, Grade
from refloss.audit import Report, audit

# Importing a file enrols its mistakes.
from . import (
    binary,
    cross_entropy,
    divergence,
    focal,
    hinges,
    labels,
    mining,
    pairs,
    probabilities,
    regression,
    right,
    right_batches,
    right_vectors,
    similarities,
)
from .mistake import MISTAKES, Mistake, twin

FILES = (
    *(binary, cross_entropy, divergence, focal, hinges, labels),
    *(mining, pairs, probabilities, regression, similarities),
)
RIGHT = right.RIGHT | right_vectors.RIGHT | right_batches.RIGHT


def judged(function: Callable[..., Any], made: Mistake) -> Report:
    """What the audit says of a function where the mistake shows."""
    report = audit(
        function, made.loss, dtypes=[made.dtype], region=lambda region: region == made.region
    )
    assert report.cases > 0, f"nothing was judged: {report.summary()}"
    return report


@pytest.mark.parametrize("made", MISTAKES, ids=str)
def test_each_mistake_is_found_where_it_was_made(made: Mistake) -> None:
    report = judged(made.function, made)
    found = report.at_least(Grade.CONVENTION)
    flagged = {finding.component.partition(".")[0] for finding in found}
    assert flagged == {made.part}, f"{made.part} is wrong, flagged is\n{report.to_text()}"
    assert max(finding.grade for finding in found) >= made.grade, report.to_text()
    if made.grade is Grade.CONVENTION:
        kinds = {finding.kind for finding in found}
        named = {kind for kind in kinds if kind.startswith("convention: ")}
        assert len(named) == 1, kinds


@pytest.mark.parametrize("made", MISTAKES, ids=str)
def test_the_right_loss_with_the_same_arguments_passes(made: Mistake) -> None:
    report = judged(twin(made), made)
    assert not report.findings, report.to_text()


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", RIGHT)
def test_careful_numpy_passes_everywhere(name: str, dtype: str) -> None:
    report = audit(RIGHT[name], name, dtypes=[dtype])
    assert not report.findings, report.to_text()
    assert report.cases > 0


def test_mistakes_are_many_and_their_makers_named() -> None:
    assert len(MISTAKES) >= 20
    assert all(made.function.__doc__ for made in MISTAKES)
    names = Counter(made.function.__name__ for made in MISTAKES)
    assert max(names.values()) == 1, names
    assert {made.function.__module__ for made in MISTAKES} == {file.__name__ for file in FILES}


def test_every_loss_has_a_planted_mistake() -> None:
    assert {made.loss for made in MISTAKES} == set(oracles.names())
