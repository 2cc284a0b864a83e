"""One side of a comparison: a process that measures the refloss of one folder.

    python asv_bench/side.py FOLDER errors LOSS...    prints errors in ulps as JSON
    python asv_bench/side.py FOLDER times             answers questions on its standard input

The questions of ``times`` are lines of JSON: a case to get ready, then numbers of calls to time.
Each is answered by one line. `gate.py` asks two such processes in turns.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cpu_cases
import errors


def unmet(folder: Path) -> list[str]:
    """What the commit needs that is not installed here, in words."""
    from packaging.requirements import Requirement

    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = []
    for requirement in map(Requirement, project["dependencies"]):
        try:
            here = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            here = "not installed"
        if here == "not installed" or not requirement.specifier.contains(here, prereleases=True):
            found.append(f"{requirement} ({here})")
    return found


def use(folder: Path) -> None:
    """Import refloss from the folder, and from nowhere else."""
    sys.path.insert(0, str(folder))
    import refloss

    if Path(refloss.__file__).resolve().parent.parent != folder.resolve():
        raise ImportError(f"refloss came from {refloss.__file__}, not from {folder}")


def best_of(call: Callable[[], Any], count: int) -> float:
    """The shortest of several calls, in seconds."""
    best = float("inf")
    for _ in range(count):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def answer_questions() -> None:
    """Until the input ends."""
    call: Callable[[], Any] = lambda: None  # noqa: E731
    for line in sys.stdin:
        question = json.loads(line)
        reply: dict[str, Any] = {}
        if "loss" in question:
            try:
                cpu_cases.threads(question["threads"])
                given = cpu_cases.arguments(
                    question["loss"], tuple(question["shape"]), question["dtype"]
                )
                call = cpu_cases.call_of(question["loss"], question["part"], given)
                reply["seconds"] = best_of(call, 2)
            except NotImplementedError as reason:
                reply["missing"] = str(reason)
        else:
            reply["seconds"] = best_of(call, question["calls"])
        print(json.dumps(reply), flush=True)


def main(folder: Path, task: str, losses: list[str]) -> int:
    """Measure; 0 unless something is in the way."""
    if missing := unmet(folder):
        print(f"needs {', '.join(missing)}", file=sys.stderr)
        return 2
    use(folder)
    if task == "errors":
        rows = []
        for loss in losses:
            for key, ulp in errors.of_loss(loss, cpu_cases.DTYPES).items():
                rows.append([*key, ulp])
        print(json.dumps(rows))
    else:
        answer_questions()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
