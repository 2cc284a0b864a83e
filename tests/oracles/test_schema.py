"""Every line of every oracle file is what the schema says, and says what it means."""

import json
from collections import Counter
from typing import Any

import jsonschema
import pytest

from refloss import oracles

SCHEMA = json.loads((oracles.FOLDER / "schema.json").read_text(encoding="utf-8"))
README = (oracles.FOLDER / "README.md").read_text(encoding="utf-8")


def lines(loss: str) -> list[dict[str, Any]]:
    with (oracles.FOLDER / f"{loss}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("loss", oracles.names())
def test_every_line_follows_the_schema(loss: str) -> None:
    header, *rows = lines(loss)
    check = jsonschema.Draft202012Validator(SCHEMA).validate
    check(header)
    assert header["loss"] == loss
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        check(unseen(row, seen))


def unseen(part: Any, seen: set[tuple[str, ...]], *place: str) -> Any:
    """The part, its lists without items that the schema has been asked about: it is slow to tell.

    Which schema an item has to follow depends on the names of what it lies in alone.
    """
    if isinstance(part, dict):
        return {name: unseen(inner, seen, *place, name) for name, inner in part.items()}
    if not isinstance(part, list) or place[-1] not in ("data", "scale", "at", "index"):
        return part
    kept = []
    for item in part:
        key = (place[0], place[-1], json.dumps(item))
        if key not in seen:
            seen.add(key)
            kept.append(item)
    return kept


def test_every_item_is_checked_once() -> None:
    first = {"value": {"data": ["0x1p+0", ["nan", "inf"], "0x1p+0"]}}
    again = {"gradient": {"x": {"data": ["inf"]}}, "value": {"data": ["nan", "0x1p+0"]}}
    seen: set[tuple[str, ...]] = set()
    assert unseen(first, seen) == {"value": {"data": ["0x1p+0", ["nan", "inf"]]}}
    assert unseen(again, seen) == {"gradient": {"x": {"data": ["inf"]}}, "value": {"data": ["nan"]}}


@pytest.mark.parametrize("loss", oracles.names())
def test_a_header_explains_what_its_rows_use(loss: str) -> None:
    header, *rows = lines(loss)
    assert {row["region"] for row in rows} == set(header["regions"])
    used = {name for row in rows for name in row.get("conventions", ())}
    assert used <= set(header["conventions"])
    assert max(Counter(row["id"] for row in rows).values()) == 1
    for row in rows:
        assert row["id"].partition("/")[0] == row["region"]
        assert all(f"`{flag}`" in README for flag in row["flags"])


@pytest.mark.parametrize("loss", oracles.names())
def test_answers_fill_their_shapes(loss: str) -> None:
    for row in lines(loss)[1:]:
        answers = [row["value"], *row.get("gradient", {}).values()]
        answers += row.get("curvature", {}).values()
        for answer in answers:
            size = 1
            for length in answer["shape"]:
                size *= length
            expected = len(answer["at"]) if "at" in answer else size
            assert len(answer["data"]) == expected, row["id"]
            assert len(answer.get("scale", answer["data"])) == expected, row["id"]


@pytest.mark.parametrize(
    "spoiled",
    [
        {"value": {"shape": [], "data": ["1.5"]}},
        {"value": {"shape": [], "data": ["0x1.8"]}},
        {"value": {"shape": [], "data": [["0x0p+0"]]}},
        {"flags": ["unheard-of"]},
        {"certificate": {"method": "guess", "bits": 64}},
        {"dtypes": ["float128"]},
        {"more": 1},
    ],
)
def test_the_schema_refuses(spoiled: dict[str, Any]) -> None:
    row = lines("huber_loss")[1]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**row, **spoiled}, SCHEMA)
