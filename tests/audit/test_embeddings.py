"""Losses of embeddings: what the audit asks of a function, and what it is known to find."""

from typing import Any

import numpy as np
import pytest

import refloss
from refloss.accuracy import Grade
from refloss.audit import Finding, audit, audit_targets, framework
from refloss.audit.targets import adapter_of, missing_for


def test_gradients_by_name_are_those_that_a_row_has() -> None:
    """With a queue there is one more array to differentiate by."""

    def info_nce(
        query: Any,
        positive_key: Any,
        negative_keys: Any = None,
        temperature: float = 0.07,
        reduction: str = "mean",
    ) -> Any:
        given = query, positive_key, negative_keys, temperature, reduction
        names = ["query", "positive_key", *(["negative_keys"] if negative_keys is not None else [])]
        value, gradients = refloss.info_nce_loss.value_and_grad(*given, wrt=names)
        gradients = dict(zip(names, gradients, strict=True))
        if negative_keys is not None:
            gradients["negative_keys"] = -gradients["negative_keys"]
        return value, gradients

    report = audit(info_nce, "info_nce_loss", dtypes=["float32"], region="bulk".__eq__)
    assert {finding.component for finding in report.findings} == {"gradient.negative_keys"}
    assert "wrong sign" in kinds(list(report.findings), "gradient.negative_keys")
    assert set(report.verdicts[0].errors) == {"value", "gradient"}


def miner_of_tuples(embeddings: Any, labels: Any, mining: str = "hard", margin: float = 1.0) -> Any:
    return refloss.mine_triplets(embeddings, labels, mining, margin)


def miner_of_one_array(
    embeddings: Any, labels: Any, mining: str = "hard", margin: float = 1.0
) -> Any:
    return np.stack(refloss.mine_triplets(embeddings, labels, mining, margin))


def miner_that_turns_them_round(embeddings: Any, labels: Any, mining: str = "hard") -> Any:
    a, p, n = refloss.mine_triplets(embeddings, labels, mining)
    return a, n, p


def test_miners_return_three_arrays_or_one() -> None:
    for miner in (miner_of_tuples, miner_of_one_array):
        report = audit(miner, "mine_triplets", dtypes=["float32"], region="bulk".__eq__)
        assert report.cases > 0
        assert not report.findings, report.to_text()
    report = audit(miner_that_turns_them_round, "mine_triplets", region="bulk".__eq__)
    assert report.grade is Grade.WRONG


def test_a_loss_that_is_always_one_number_has_its_default_reduction() -> None:
    def batch_all(embeddings: Any, labels: Any, margin: float = 1.0) -> Any:
        return refloss.batch_triplet_loss(embeddings, labels, margin)

    report = audit(batch_all, "batch_triplet_loss", dtypes=["float32"], region="bulk".__eq__)
    assert report.cases > 0
    assert not report.findings, report.to_text()
    skipped = report.verdicts[0].skipped
    assert {"its reduction is mean", "it takes no mining", "it takes no distance"} == set(skipped)


def found(name: str, loss: str, region: str, dtype: str = "float32") -> list[Finding]:
    if missing := missing_for(adapter_of(name)):
        pytest.skip(f"needs {' and '.join(missing)}")
    report = audit_targets([framework(name)], [loss], [dtype], region=region.__eq__)
    assert report.cases > 0, report.summary()
    return list(report.findings)


def kinds(findings: list[Finding], component: str) -> set[str]:
    return {finding.kind for finding in findings if finding.component == component}


def test_optax_takes_no_absolute_value() -> None:
    """NaN for an odd p, in 0.2.8."""
    findings = found("optax", "triplet_margin_loss", "bulk")
    assert "NaN where the answer is a number" in kinds(findings, "value")
    assert "convention: eps-inside-the-root" in kinds(findings, "value")


def test_optax_has_no_cosine_for_a_vector_of_zeros() -> None:
    findings = found("optax", "cosine_embedding_loss", "zero-vectors")
    assert kinds(findings, "value") == {"NaN where the answer is a number"}


def test_optax_picks_each_positive_alone() -> None:
    findings = found("optax", "sup_con_loss", "large")
    assert {finding.kind for finding in findings} == {"convention: one-positive-per-denominator"}


def test_pytorch_metric_learning_caps_its_logarithm() -> None:
    """At -log of the smallest normal number, 87.3 in float32, in 2.9.0."""
    findings = found("pytorch_metric_learning", "nt_xent_loss", "far")
    assert any(finding.computed.startswith("87.33") for finding in findings)
    assert max(finding.grade for finding in findings) is Grade.WRONG


def test_pytorch_metric_learning_does_not_square() -> None:
    findings = found("pytorch_metric_learning", "contrastive_loss", "bulk")
    assert {finding.kind for finding in findings} == {"convention: unsquared"}


@pytest.mark.parametrize("loss", ["batch_triplet_loss", "mine_triplets", "triplet_margin_loss"])
def test_pytorch_metric_learning_agrees_about_triplets(loss: str) -> None:
    """Down to digits: torch's own norms lose some for a high p."""
    findings = found("pytorch_metric_learning", loss, "bulk")
    assert all(finding.grade is Grade.LOSES_DIGITS for finding in findings)


def test_pytorch_metric_learning_needs_a_negative_class() -> None:
    """A batch of one class has loss 0 in its SupConLoss."""
    findings = found("pytorch_metric_learning", "sup_con_loss", "labels")
    assert kinds(findings, "value") == {"0 where the answer is not"}


def test_torch_raises_the_squares_of_tiny_vectors() -> None:
    findings = found("torch", "cosine_embedding_loss", "norms")
    assert "convention: squares-plus-1e-12" in kinds(findings, "value")


def test_lost_digits_are_no_convention() -> None:
    """1 - cos of nearly parallel vectors is what rounding left, with any eps."""
    findings = found("torch", "cosine_embedding_loss", "near-duplicates")
    assert kinds(findings, "value") <= {"wrong value", "wrong sign", "loses digits"}
    assert kinds(findings, "value")


@pytest.mark.parametrize("loss", ["nt_xent_loss", "info_nce_loss"])
def test_lightly_agrees_with_and_without_a_memory_bank(loss: str) -> None:
    findings = found("lightly", loss, "temperature", "float64")
    assert not [finding for finding in findings if finding.component == "value"]
