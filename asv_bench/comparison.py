"""The newest report of `compare.py`, as tables for the summary page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def newest(results: Path) -> Mapping[str, Any] | None:
    """What the newest `speed-*.json` says; nothing where there is none."""
    return None
