"""The certified answers, and how to read them.

One JSON Lines file a loss: a header, then one row a line. ``names`` and ``header`` need nothing
but the standard library; ``load`` reads the rows into NumPy arrays. The format is explained in
``README.md`` and in ``schema.json`` beside the files, for readers in any language.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refloss.oracles.rows import Oracle

__all__ = ["header", "inputs", "load", "names"]

FOLDER = Path(__file__).parent
SCHEMA = "refloss-oracle-1"


def names() -> tuple[str, ...]:
    """The losses that have an oracle, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.jsonl")))


def header(loss: str) -> dict[str, Any]:
    """What a loss is: title, sources, formulas, conventions and regions."""
    with (FOLDER / f"{loss}.jsonl").open(encoding="utf-8") as lines:
        first: dict[str, Any] = json.loads(next(lines))
    if first.get("schema") != SCHEMA:
        raise ValueError(f"{loss}.jsonl: expected schema {SCHEMA!r}, got {first.get('schema')!r}")
    return first


@cache
def load(loss: str) -> Oracle:
    """Read all rows of a loss."""
    from refloss.oracles.rows import read

    with (FOLDER / f"{loss}.jsonl").open(encoding="utf-8") as lines:
        return read(lines)


def inputs(loss: str, row: str, dtype: str) -> dict[str, NDArray[Any]]:
    """The array arguments of one row: ``inputs("nll_loss", "bulk/0001", "float32")["target"]``.

    For inputs too large to write down; lines that reproduce a finding use it.
    """
    return load(loss).row(row).arrays(dtype)
