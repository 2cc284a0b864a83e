"""Lines of an oracle file: certified answers as JSON, keys in a fixed order."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flint import ctx

from derivations.case import Answered, Answers, Case
from derivations.derivation import Derivation
from derivations.enclose import doubling
from derivations.entry import Entry, is_ball
from derivations.rounding import Uncertain, hexadecimal
from derivations.show import definition, header_texts

SCHEMA = "refloss-oracle-1"


class Refused(ArithmeticError):
    """No precision tried is enough to certify an answer."""


def lines(derivation: Derivation) -> Iterator[str]:
    """The oracle file of a loss, line by line."""
    yield _dump(header(derivation))
    numbers: Counter[str] = Counter()
    for case in derivation.cases():
        assert case.region in derivation.regions, case.region
        identity = f"{case.region}/{numbers[case.region]:04d}"
        numbers[case.region] += 1
        yield _dump(row(derivation, identity, case))


def header(derivation: Derivation) -> dict[str, Any]:
    statement = derivation.statement
    return {
        "schema": SCHEMA,
        "loss": statement.loss,
        "generated_by": f"python -m derivations generate {statement.loss}",
        "title": statement.title,
        "source": list(statement.source),
        "definition": definition(statement),
        **header_texts(statement),
        "conventions": {name: c.sentence for name, c in derivation.conventions.items()},
        "regions": dict(derivation.regions),
    }


def row(derivation: Derivation, identity: str, case: Case) -> dict[str, Any]:
    """One line: inputs, options, certified answers, and what certified them."""
    for precision in doubling():
        with ctx.workprec(precision):
            try:
                answered = derivation.textbook(case)
                parts = _certified(answered)
                conventions = _conventions(derivation, case, answered, parts)
            except Uncertain:
                continue
        return {
            "id": identity,
            "region": case.region,
            "flags": list(case.flags),
            "dtypes": case.dtypes(),
            "inputs": {name: array.json() for name, array in case.inputs.items()},
            "options": {name: _option(value) for name, value in case.options.items()},
            "value": parts["value"][""],
            **{part: parts[part] for part in ("gradient", "curvature") if part in parts},
            **({"conventions": conventions} if conventions else {}),
            "certificate": _certificate(case, answered, precision),
        }
    raise Refused(f"{derivation.statement.loss} {identity}: {case}")


def _conventions(
    derivation: Derivation, case: Case, textbook: Answered, parts: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, convention in derivation.conventions.items():
        if not convention.applies(case):
            continue
        other = _certified(derivation.conventional(convention, case, textbook))
        differing: dict[str, Any] = {}
        if "value" in other and other["value"][""] != parts["value"][""]:
            differing["value"] = other["value"][""]
        for part in ("gradient", "curvature"):
            named = other.get(part, {}).items()
            changed = {k: v for k, v in named if v != parts.get(part, {}).get(k)}
            if changed:
                differing[part] = changed
        if differing:
            found[name] = differing
    return found


def _certified(answered: Answered) -> dict[str, dict[str, Any]]:
    return {
        part: {name: _array(answers) for name, answers in by_argument.items()}
        for part, by_argument in answered.items()
    }


def _array(answers: Answers) -> dict[str, Any]:
    result: dict[str, Any] = {"shape": list(answers.shape)}
    if answers.at is not None:
        result["at"] = list(answers.at)
    result["data"] = [entry.certified() for entry in answers.entries]
    scale = [entry.certified_scale() for entry in answers.entries]
    if any(s is not None for s in scale):
        result["scale"] = scale
    return result


def _certificate(case: Case, answered: Answered, precision: int) -> dict[str, Any]:
    entries: list[Entry] = [
        entry
        for by_argument in answered.values()
        for answers in by_argument.values()
        for entry in answers.entries
    ]
    balls = any(is_ball(entry) for entry in entries)
    if any(math.isnan(v) for a in case.inputs.values() for v in a.values):
        method = "nan"
    elif any(entry.limit for entry in entries):
        method = "limit"
    else:
        method = "arb" if balls else "exact"
    return {"method": method, "bits": precision if balls else 0}


def _option(value: Any) -> Any:
    return hexadecimal(value) if isinstance(value, float) else value


def _dump(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(", ", ": "))
