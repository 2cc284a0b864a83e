"""Which commits of a history are measured, and how."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# A long history is told by few benchmarks: the standing shapes of losses from every room
STANDING = {
    "mse_loss": "1048576",
    "huber_loss": "1048576",
    "binary_cross_entropy_with_logits": "1048576",
    "sigmoid_focal_loss": "1048576",
    "cross_entropy": "4096 x 100",
    "distillation_loss": "4096 x 100",
    "triplet_margin_loss": "4096 x 128",
    "nt_xent_loss": "512 x 128",
}
AUDITED = ("huber_loss", "binary_cross_entropy_with_logits", "cross_entropy")
FEW = (
    *(
        re.escape(f"time_value_and_gradient('{loss}', '{shape}', 'float32')")
        for loss, shape in STANDING.items()
    ),
    rf"track_max_ulp\('({'|'.join(AUDITED)}): (bulk|tails|saturation|reductions|large)'",
    r"Copy.track_ratio_to_copy",
    r"track_first_call",
)
EVERYTHING = (r"^(?!gpu\.)",)


@dataclass(frozen=True)
class Commit:
    """One commit: its hash, when it was made (seconds since 1970), and what it says."""

    hash: str
    time: int
    subject: str


def git(repository: Path, *arguments: str) -> str:
    """What git says."""
    return subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True
    ).stdout


def commits(repository: Path, branch: str, *paths: str) -> list[Commit]:
    """Those of a branch that touch the paths, oldest first."""
    shape = ("--first-parent", "--reverse", "--format=%H\t%ct\t%s")
    lines = git(repository, "log", *shape, branch, "--", *paths).splitlines()
    rows = [line.split("\t", 2) for line in lines]
    return [Commit(name, int(when), subject) for name, when, subject in rows]


def spread(candidates: Sequence[str], measured: set[str], count: int) -> list[str]:
    """What to measure next: the newest, then the middles of the widest gaps, up to ``count``.

    What has been measured stays in the count, so that a site that is built again measures the
    newest commit and nothing else.
    """
    if not candidates:
        return []
    chosen = {index for index, name in enumerate(candidates) if name in measured}
    wanted: list[int] = []

    def choose(index: int) -> None:
        if index not in chosen:
            chosen.add(index)
            wanted.append(index)

    choose(len(candidates) - 1)
    if len(chosen) < count:
        choose(0)
    while len(chosen) < min(count, len(candidates)):
        ordered = sorted(chosen)
        left, right = max(itertools.pairwise(ordered), key=lambda pair: pair[1] - pair[0])
        choose((left + right) // 2)
    return [candidates[index] for index in sorted(wanted)]


def measured_commits(results: Path) -> set[str]:
    """The commits of which there are results."""
    found = set()
    for path in results.glob("*/*.json"):
        if path.name != "machine.json":
            found.add(json.loads(path.read_text(encoding="utf-8"))["commit_hash"])
    return found


def asv(configuration: Path, *arguments: str, losses: Sequence[str] = ()) -> int:
    """Run asv on a configuration; gives its exit status."""
    environment = {**os.environ, "REFLOSS_BENCH_LOSSES": ",".join(losses)}
    command = [sys.executable, "-m", "asv", *arguments, "--config", configuration.name]
    return subprocess.run(
        command, cwd=configuration.parent, env=environment, check=False
    ).returncode


def run(configuration: Path, names: Sequence[str], benchmarks: Sequence[str]) -> None:
    """Measure commits in asv's environment, passing over what has been measured."""
    if not names:
        return
    asv(configuration, "machine", "--yes")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(names) + "\n")
        file.flush()
        chosen = [part for regex in benchmarks for part in ("--bench", regex)]
        few = AUDITED if tuple(benchmarks) == FEW else ()
        arguments = ["run", "--skip-existing", *chosen, f"HASHFILE:{file.name}"]
        asv(configuration, *arguments, losses=few)
