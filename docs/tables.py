"""Renew the generated parts of README.md; nothing between their markers is typed by hand.

    python docs/tables.py                      the tables of losses, and of times on a CPU and on a
        GPU, from the newest reports of asv_bench/compare.py and gpu.py in asv_bench/results/
    python docs/tables.py --audit report.json  also what the audit found, from
        refloss audit torch optax sklearn scipy pytorch_metric_learning --dtype float32 \
            --region bulk --region tails --region offset --region large --region confident \
            --region temperature --region near-duplicates --format json -o report.json
    python docs/tables.py --check              exit 1 if one of these is not current
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import refloss
from refloss import oracles
from refloss.audit import markdown

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "asv_bench" / "results"
sys.path.append(str(ROOT / "asv_bench"))

import compare_report  # noqa: E402
import comparison  # noqa: E402
from gpu_cases import CASES, PEERS  # noqa: E402


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


def newest(results: Path) -> dict[str, Any] | None:
    """The latest report of a run on a GPU, if there is one."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("gpu-*.json")]
    return max(reports, key=lambda report: report["date"], default=None)


def gpu(report: dict[str, Any] | None) -> str:
    """The times of every case by every peer, and what they were measured on."""
    rows = {row["case"]: row["results"] for row in report["cases"]} if report else {}
    heads = ["loss", "shape", "dtype", *(HEADS.get(peer, peer) for peer in PEERS), "of the copy"]
    lines = [_row(heads), _row(["---", "---", "---"] + ["---:"] * (len(PEERS) + 1))]
    for case in CASES:
        results = rows.get(case.name, {})
        share = results.get("cuda", {}).get("share_of_copy")
        cells = [_time(results.get(peer)) for peer in PEERS]
        cells.append(NOT_RUN if share is None else f"{100 * share:.0f} %")
        lines.append(_row([f"`{case.loss}`", case.title, case.dtype, *cells]))
    return "\n".join([_measured_on(report), "", *lines])


HEADS = {"cuda": "`cuda`", "cuda:float32": "`cuda:float32`", "triton": "Triton"}
NOT_RUN = "not run"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _time(result: dict[str, Any] | None) -> str:
    if result is None or "not_run" in result:
        return NOT_RUN
    return "failed" if "error" in result else f"{result['median_ms']:.3f} ms"


def _measured_on(report: dict[str, Any] | None) -> str:
    if report is None:
        return "No run on a GPU has been committed yet."
    machine, versions = report["device"], report["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    outcomes = report["checks"].get("outcomes", {})
    checked = ", ".join(f"{count} {what}" for what, count in outcomes.items()) or NOT_RUN
    return (
        f"{machine['name']}, driver {machine['driver']}, CUDA {machine['cuda']}; {named}; "
        f"commit {str(report['revision'])[:12]}, {report['date'][:10]}"
        f"{', few repetitions' if report['quick'] else ''}. Tests on it: {checked}."
    )


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
    compared = comparison.newest(RESULTS)
    times = compare_report.markdown(compared) if compared else "No run has been committed yet."
    after = renewed(after, "speed", times)
    after = renewed(after, "gpu", gpu(newest(RESULTS)))
    if options.audit:
        report = json.loads(options.audit.read_text(encoding="utf-8"))
        after = renewed(after, "audit", audit(report))
    if options.check:
        if before != after:
            print("README.md: its tables are not current; run python docs/tables.py")
        return int(before != after)
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
