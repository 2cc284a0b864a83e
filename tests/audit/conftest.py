"""A handful of hand-made oracle rows, so that the tests of the audit know every answer by heart.

The answers come from gmpy2 at 300 bits, by the textbook formula.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpfr

from refloss import oracles

ALL = ["float16", "bfloat16", "float32", "float64"]


def text(number: Any) -> str:
    """Write a number with 80 bits."""
    if not gmpy2.is_finite(number):
        return str(float(number))
    with gmpy2.context(precision=80):
        mantissa, exponent = (+number).as_mantissa_exp()
    sign = "-" if mantissa < 0 else ""
    return f"{sign}0x{int(abs(mantissa)):x}p{int(exponent):+d}"


def answer(shape: list[int], numbers: list[Any]) -> dict[str, Any]:
    return {"shape": shape, "data": [text(mpfr(number)) for number in numbers]}


def cross_entropy(name: str, logits: list[float], label: int, reduction: str) -> dict[str, Any]:
    exps = [gmpy2.exp(mpfr(z) - mpfr(logits[label])) for z in logits]
    p = [e / sum(exps) for e in exps]
    others = sum(e for c, e in enumerate(exps) if c != label)
    mass = [-others / sum(exps) if c == label else p[c] for c in range(len(p))]
    return {
        "id": name,
        "region": name.partition("/")[0],
        "flags": [],
        "dtypes": ALL,
        "inputs": {
            "input": {"shape": [1, len(logits)], "data": [float(z).hex() for z in logits]},
            "target": {"shape": [1], "index": [label]},
        },
        "options": {"reduction": reduction},
        "value": answer([1] if reduction == "none" else [], [gmpy2.log1p(others)]),
        "gradient": {"input": answer([1, len(logits)], mass)},
        "curvature": {"input": answer([1, len(logits)], [abs(m) * (1 - abs(m)) for m in mass])},
        "certificate": {"method": "arb", "bits": 300},
    }


def binary(name: str, z: float, t: float, **more: Any) -> dict[str, Any]:
    p, q = 1 / (1 + gmpy2.exp(-mpfr(z))), 1 / (1 + gmpy2.exp(mpfr(z)))
    value = t * gmpy2.log1p(gmpy2.exp(-mpfr(z))) + (1 - t) * gmpy2.log1p(gmpy2.exp(mpfr(z)))
    row = {
        "id": name,
        "region": name.partition("/")[0],
        "flags": [],
        "dtypes": ALL,
        "inputs": {
            "input": {"shape": [1], "data": [float(z).hex()]},
            "target": {"shape": [1], "data": [float(t).hex()]},
        },
        "options": {"reduction": "none"},
        "value": answer([1], [value]),
        "gradient": {
            "input": answer([1], [(1 - t) * p - t * q]),
            "target": answer([1], [-z]),
        },
        "curvature": {"input": answer([1], [p * q])},
    }
    for part, changes in more.items():
        row[part] = {**row.get(part, {}), **changes}
    return row


def probability(name: str, p: float, t: float) -> dict[str, Any]:
    """Binary cross-entropy at 0 or 1, where torch clamps the logarithm at -100."""
    return {
        "id": name,
        "region": name.partition("/")[0],
        "flags": [],
        "dtypes": ALL,
        "inputs": {
            "input": {"shape": [1], "data": [float(p).hex()]},
            "target": {"shape": [1], "data": [float(t).hex()]},
        },
        "options": {"reduction": "none"},
        "value": answer([1], [float("inf") if p != t else 0]),
        "gradient": {},
        "curvature": {},
        "conventions": {"clamp_100": {"value": answer([1], [100])}} if p != t else {},
    }


def rows() -> dict[str, list[dict[str, Any]]]:
    weighted = {
        "inputs": {"weight": {"shape": [1], "data": ["0x1p+0"]}},
    }
    return {
        "cross_entropy": [
            cross_entropy("bulk/0001", [1.0, 0.5, -2.0], 0, "none"),
            cross_entropy("bulk/0002", [1.0, 0.5, -2.0], 2, "mean"),
            cross_entropy("bulk/0003", [1.0, 0.5, -2.0], 1, "sum"),
            cross_entropy("tail/0001", [20.0, 0.0], 0, "none"),
            cross_entropy("tail/0002", [20.0, 0.0], 0, "mean"),
            cross_entropy("tail/0003", [200.0, 0.0], 0, "mean"),
        ],
        "binary_cross_entropy_with_logits": [
            binary("bulk/0001", 0.5, 0.25),
            binary("bulk/0002", -1.5, 1.0, **weighted),
            binary("tail/0001", 40.0, 1.0),
            binary("tail/0002", -40.0, 0.0),
            binary("tail/0003", -200.0, 1.0),
        ],
        "binary_cross_entropy": [
            probability("limit/0001", 0.0, 1.0),
            probability("limit/0002", 1.0, 1.0),
            probability("limit/0003", 1.0, 0.0),
        ],
    }


def header(loss: str, regions: set[str]) -> dict[str, Any]:
    formula = {"unicode": "ℓ = …", "latex": "\\ell = \\ldots"}
    return {
        "schema": "refloss-oracle-1",
        "loss": loss,
        "generated_by": "tests/audit/conftest.py",
        "title": f"Title of {loss}",
        "source": ["the textbook"],
        "definition": formula,
        "gradient": {"input": formula},
        "curvature": {"input": formula},
        "conventions": {"clamp_100": "the logarithm is at least -100"},
        "regions": dict.fromkeys(sorted(regions), "a few rows"),
    }


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three losses with a few rows each take the place of the oracles."""
    with gmpy2.context(precision=300):
        for loss, lines in rows().items():
            first = header(loss, {row["region"] for row in lines})
            written = "".join(json.dumps(line) + "\n" for line in [first, *lines])
            (tmp_path / f"{loss}.jsonl").write_text(written, encoding="utf-8")
    monkeypatch.setattr(oracles, "FOLDER", tmp_path)
    oracles.load.cache_clear()
    yield tmp_path
    oracles.load.cache_clear()
