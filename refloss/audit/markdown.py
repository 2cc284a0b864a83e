"""Tables for a README, from the JSON of a report: so that no number in it is typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["findings", "table"]

Json = Mapping[str, Any]


def table(report: Json, dtype: str = "float32") -> str:
    """One row a loss, one column a target: the grade, and the largest error where there is one.

    Parameters
    ----------
    report : dict
        What ``refloss audit --format json`` wrote, parsed.
    dtype : str
        The format to show.

    Returns
    -------
    str
        A table in Markdown. A star marks what people compose because the target has no such
        function; a dash, a loss that the target does not have.
    """
    cells: dict[str, dict[str, str]] = {}
    for target in report["targets"]:
        for verdict in target["verdicts"]:
            if verdict["dtype"] == dtype and verdict["cases"]:
                cells.setdefault(verdict["loss"], {})[target["target"]] = _cell(verdict)
    names = [target["target"] for target in report["targets"]]
    titles = [f"{one['target']} {one['version']}".strip() for one in report["targets"]]
    rows = [["loss", *titles], ["---"] * (len(names) + 1)]
    rows += [[f"`{loss}`", *(row.get(name, "–") for name in names)] for loss, row in cells.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def findings(report: Json, grades: Iterable[str] = ("wrong",)) -> list[Json]:
    """The shortest line for each defect of each loss: by target, component and kind."""
    shortest: dict[tuple[str, ...], dict[str, Any]] = {}
    for target in report["targets"]:
        for verdict in target["verdicts"]:
            for finding in verdict["findings"]:
                if finding["grade"] in grades:
                    key = target["target"], *(finding[of] for of in ("loss", "component", "kind"))
                    found = {**finding, "target": target["target"], "version": target["version"]}
                    if key not in shortest or len(found["line"]) < len(shortest[key]["line"]):
                        shortest[key] = found
    return list(shortest.values())


def _cell(verdict: Json) -> str:
    star = "*" if verdict["composition"] else ""
    largest = [errors["largest"] for errors in verdict["errors"].values()]
    if not largest or "inf" in largest:
        return f"{verdict['grade']}{star}"
    ulp = max(largest)
    return f"{verdict['grade']}{star}, {f'{ulp:.1f}' if ulp < 100 else f'{ulp:.0e}'} ulp"
