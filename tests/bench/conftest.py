"""A history of a made-up project: in its results one commit is slower, and one less accurate."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

COMMITS, SLOWER, WORSE = 24, 14, 9
SECONDS, SLOW_SECONDS = 0.010, 0.021
ULP, MORE_ULP = 0.5, 4.5
TIME = "elementwise.ValueAndGradient.time_value_and_gradient"
ERROR = "accuracy.Elementwise.track_max_ulp"


@pytest.fixture(autouse=True, scope="module")
def _scripts() -> Iterator[None]:
    """Let scripts of asv_bench/ be imported, and forget them afterwards."""
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(ROOT / "asv_bench"))
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if Path(file).parent == ROOT / "asv_bench":
            del sys.modules[name]


@dataclass(frozen=True)
class Planted:
    """Where the made-up project is, and the hashes of its commits, oldest first."""

    configuration: Path
    commits: tuple[str, ...]

    @property
    def slower(self) -> str:
        return self.commits[SLOWER]

    @property
    def worse(self) -> str:
        return self.commits[WORSE]


def benchmark(name: str, kind: str, unit: str, names: list[str], params: Any) -> dict[str, Any]:
    """As asv describes one."""
    return {
        "code": "",
        "name": name,
        "param_names": names,
        "params": params,
        "timeout": 60.0,
        "type": kind,
        "unit": unit,
        "version": "1",
    }


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    repository, results = folder / "repository", folder / "bench" / "results" / "asv"
    repository.mkdir()

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        command = ["git", "-C", str(repository), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    commits = []
    for number in range(COMMITS):
        (repository / "file").write_text(str(number))
        git("add", "file")
        git("commit", "--quiet", "--message", f"Change number {number}")
        commits.append(git("rev-parse", "HEAD"))

    configuration = folder / "bench" / "asv.conf.json"
    (results / "box").mkdir(parents=True)
    configuration.write_text(
        json.dumps(
            {
                "version": 1,
                "project": "planted",
                "project_url": "../index.html",
                "show_commit_url": "../index.html#",
                "repo": "../repository",
                "branches": ["main"],
                "benchmark_dir": "benchmarks",
                "results_dir": "results/asv",
                "html_dir": "html/asv",
                "regressions_thresholds": {"time": 0.2, "ulp": 0.25},
            }
        )
    )
    losses, cases = ["'huber_loss'", "'mse_loss'"], ["'huber_loss: bulk'"]
    shape, dtype = ["'1048576'"], ["'float32'"]
    time_params, error_params = [losses, shape, dtype], [cases, dtype]
    described = {
        TIME: benchmark(TIME, "time", "seconds", ["loss", "shape", "dtype"], time_params),
        ERROR: benchmark(ERROR, "track", "ulp", ["case", "dtype"], error_params),
        # never measured
        "memory.Peak.peakmem": benchmark("memory.Peak.peakmem", "peakmemory", "bytes", [], []),
    }
    (results / "benchmarks.json").write_text(json.dumps({**described, "version": 2}))
    machine = {
        "machine": "box",
        "cpu": "a CPU",
        "num_cpu": "2",
        "os": "an OS",
        "arch": "",
        "ram": "",
    }
    (results / "box" / "machine.json").write_text(json.dumps({**machine, "version": 1}))
    for number, commit in enumerate(commits):
        noise = 1 + 0.01 * ((7 * number) % 5 - 2)
        slow = SLOW_SECONDS if number >= SLOWER else SECONDS
        one_off = 3.0 if number == 5 else 1.0  # somebody else's work, once
        error = MORE_ULP if number >= WORSE else ULP
        record = {
            "commit_hash": commit,
            "env_name": "existing",
            "date": 1_700_000_000_000 + 60_000 * number,
            "params": {**machine, "python": "3"},
            "python": "3",
            "requirements": {},
            "env_vars": {},
            "result_columns": ["result", "params", "version"],
            "results": {
                TIME: [[slow * noise, SECONDS * noise * one_off], time_params, "1"],
                ERROR: [[error], error_params, "1"],
            },
            "durations": {},
            "version": 2,
        }
        (results / "box" / f"{commit[:8]}-existing.json").write_text(json.dumps(record))
    return Planted(configuration, tuple(commits))
