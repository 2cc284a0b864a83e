"""Build the dashboard: speed and accuracy of this repository's own history, as a static site.

    python asv_bench/dashboard.py               measure twelve commits, and build the site
    python asv_bench/dashboard.py --full        also everything there is, at the newest commit
    python asv_bench/dashboard.py --no-run      build the site of what has been measured
    python asv_bench/dashboard.py --bench 'time_value.*cross_entropy' --commits 30

The site is `asv_bench/html/index.html`: a summary page, and behind it asv's pages. It loads nothing
from elsewhere. What has been measured is kept in `asv_bench/results/asv` and not measured again, so
that the command may be stopped at any time and goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "asv_bench"))

import comparison  # noqa: E402
import history  # noqa: E402
import offline  # noqa: E402
import summary  # noqa: E402

CONFIGURATION = ROOT / "asv_bench" / "asv.conf.json"


def configured(path: Path) -> Any:
    """asv's configuration, its folders from the file's own."""
    from asv.config import Config

    found = Config.load(str(path))
    for name in ("results_dir", "html_dir"):
        setattr(found, name, str((path.parent / getattr(found, name)).resolve()))
    return found


def candidates(repository: Path, branch: str) -> list[history.Commit]:
    """The commits that changed the package and can be installed: with a README, which it names."""
    added = history.git(
        repository, "log", "--first-parent", "--reverse", "--format=%ct", branch, "--", "README.md"
    ).split()
    since = int(added[0]) if added else 0
    every = history.commits(repository, branch, "refloss", "pyproject.toml")
    return [commit for commit in every if commit.time >= since]


def measure(path: Path, count: int, benchmarks: Sequence[str], full: bool) -> None:
    """Run asv where there are no results yet."""
    configuration = configured(path)
    repository = (path.parent / configuration.repo).resolve()
    names = [commit.hash for commit in candidates(repository, configuration.branches[0])]
    done = history.measured_commits(Path(configuration.results_dir)) & set(names)
    wanted = history.spread(names, done, count)
    print(f"{len(done)} commits measured before, {len(wanted)} to measure", flush=True)
    history.run(path, sorted(done | set(wanted), key=names.index), benchmarks)
    if full:
        history.run(path, names[-1:], history.EVERYTHING)


def build(path: Path, results: Path) -> Path:
    """Publish asv's pages, make them stand alone, and put the summary in front."""
    configuration = configured(path)
    pages = Path(configuration.html_dir)
    repository = (path.parent / configuration.repo).resolve()
    every = history.commits(repository, configuration.branches[0])
    measured = summary.load(configuration, every)
    pages.parent.mkdir(parents=True, exist_ok=True)
    if measured is not None:
        if history.asv(path, "publish", "--no-pull"):
            raise SystemExit("asv publish failed")
        offline.stand_alone(pages, offline.fetch_scripts())
        offline.measured_only(pages)
    front = pages.parent / "index.html"
    beside = comparison.newest(results)
    front.write_text(summary.page(measured, every, beside, configuration.project), encoding="utf-8")
    return front


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(
        prog="dashboard.py", description="Measure the history and build the dashboard."
    )
    parser.add_argument("--commits", type=int, default=12, metavar="N", help="at least so many")
    parser.add_argument(
        "--bench", action="append", metavar="REGEX", help="these benchmarks and not the usual few"
    )
    parser.add_argument("--full", action="store_true", help="all benchmarks at the newest commit")
    parser.add_argument("--no-run", action="store_true", help="with the results at hand")
    parser.add_argument("--config", type=Path, default=CONFIGURATION, metavar="FILE")
    options = parser.parse_args(arguments)
    path = options.config.resolve()
    try:
        if not options.no_run:
            measure(path, options.commits, options.bench or history.FEW, options.full)
        front = build(path, path.parent / "results")
    except offline.ScriptsMissingError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"the dashboard is {front}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
