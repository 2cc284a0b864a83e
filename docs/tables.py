"""Renew the generated parts of README.md; nothing between their markers is typed by hand.

    python docs/tables.py                      the table of losses
    python docs/tables.py --audit report.json  also what the audit found, from
        refloss audit torch optax sklearn scipy pytorch_metric_learning --dtype float32 \
            --region bulk --region tails --region offset --region large --region confident \
            --region temperature --region near-duplicates --format json -o report.json
    python docs/tables.py --check              exit 1 if the table of losses is not current
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import refloss
from refloss import oracles
from refloss.audit import markdown

README = Path(__file__).parent.parent / "README.md"


def losses() -> str:
    """One row a loss: what it is, what it can be differentiated by, how many certified rows."""
    rows = ["| loss | what it is | gradient by | Hessian diagonal by | certified rows |"]
    rows.append("| --- | --- | --- | --- | ---: |")
    for name in (name for name in refloss.__all__ if name in oracles.names()):
        header = oracles.header(name)
        gradient, curvature = (
            ", ".join(f"`{argument}`" for argument in header[part]) or "–"
            for part in ("gradient", "curvature")
        )
        count = len(oracles.load(name).rows)
        title = header["title"].replace("|", "&#124;")
        rows.append(f"| `{name}` | {title} | {gradient} | {curvature} | {count} |")
    return "\n".join(rows)


def audit(report: dict[str, Any]) -> str:
    """The table of grades, and the shortest line for a defect of each loss in each target."""
    composed = {
        (target["target"], verdict["loss"])
        for target in report["targets"]
        for verdict in target["verdicts"]
        if verdict["composition"]
    }
    shortest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in markdown.findings(report):
        key = one["target"], one["loss"]
        if key in composed:
            continue
        if key not in shortest or len(one["line"]) < len(shortest[key]["line"]):
            shortest[key] = one
    lines = [markdown.table(report), "", "A line for what is wrong in each, ready to paste:", ""]
    for (target, loss), one in shortest.items():
        part = one["component"].partition(".")[0]
        lines += [
            f"* **{target} {one['version']}**, {part} of `{loss}`: {one['kind']} ({one['region']})",
            "",
            "  ```python",
            f"  {one['line']}",
            "  ```",
        ]
    return "\n".join(lines)


def renewed(text: str, part: str, body: str) -> str:
    """The text with what stands between a part's markers replaced."""
    pattern = re.compile(rf"(<!-- {part}: .*? -->\n).*?(<!-- end of {part} -->)", re.DOTALL)
    assert pattern.search(text), f"README.md has no markers for {part}"
    return pattern.sub(lambda found: f"{found[1]}{body}\n{found[2]}", text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audit", type=Path, help="a JSON report of refloss audit")
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    before = README.read_text(encoding="utf-8")
    after = renewed(before, "losses", losses())
    if options.audit:
        report = json.loads(options.audit.read_text(encoding="utf-8"))
        after = renewed(after, "audit", audit(report))
    if options.check:
        if before != after:
            print("README.md: the table of losses is not current; run python docs/tables.py")
        return int(before != after)
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
