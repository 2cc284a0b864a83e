"""The page in front of asv's: where each loss stands now, and what changed in which commit."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import comparison
import drawing
from cpu_cases import LOSSES, ROOMS, room_of, shown
from history import Commit

NO_ERRORS: Mapping[str, Any] = {"float32": None, "float64": None}
NOTHING = {"time": None, "to_copy": None, "to_torch": None, "errors": NO_ERRORS}
TEMPLATE = Path(__file__).resolve().parent / "site"

# Numbers that are the same in every run: one measurement is enough to tell a change
EXACT = re.compile(r"track_max_ulp")
# What is shown but blames no commit: it depends on what else the machine does
INFORMS = re.compile(r"time_parallel|track_import|track_first_call|track_ratio")


@dataclass(frozen=True)
class Series:
    """One benchmark with one set of parameters, over the measured commits, oldest first."""

    benchmark: str
    parameters: tuple[str, ...]
    names: tuple[str, ...]
    unit: str
    values: tuple[float | None, ...]

    @property
    def title(self) -> str:
        """In words: `value and gradient of huber_loss, 1048576, float32`."""
        what = self.benchmark.rpartition(".")[2].partition("_")[2].replace("_", " ")
        if not self.parameters:
            return what
        return f"{what} of {', '.join(self.parameters)}"

    @property
    def link(self) -> str:
        """Where asv draws it."""
        chosen = "&".join(
            f"p-{quote(name)}={quote(value)}"
            for name, value in zip(self.names, self.quoted, strict=True)
        )
        return f"asv/index.html#{self.benchmark}{'?' if chosen else ''}{chosen}"

    @property
    def quoted(self) -> tuple[str, ...]:
        return tuple(f"'{value}'" for value in self.parameters)

    @property
    def now(self) -> float | None:
        """The newest number there is."""
        return next((value for value in reversed(self.values) if value is not None), None)


@dataclass(frozen=True)
class Measured:
    """All results of one machine."""

    machine: Mapping[str, Any]
    commits: tuple[Commit, ...]
    series: tuple[Series, ...]
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Step:
    """Where a series left what it was before for good."""

    series: Series
    index: int  # of the commit where it is different
    previous: int  # of the measured commit before
    before: float
    after: float
    sure: bool

    @property
    def worse(self) -> bool:
        return self.after > self.before

    @property
    def ratio(self) -> float:
        return self.after / self.before


def threshold_of(benchmark: str, thresholds: Mapping[str, float]) -> float:
    """The change, as a share, from which on a step of a benchmark counts."""
    found = (share for pattern, share in thresholds.items() if re.search(pattern, benchmark))
    return next(found, 0.2)


def steps(series: Series, threshold: float) -> Iterator[Step]:
    """Where both neighbours on one side are beyond both on the other, by more than the threshold.

    One slow run between others is no step, and the nearest numbers of the two sides count. Beside
    the oldest and the newest commit there is one neighbour only: such a step is not sure, unless
    the number is the same in every run.
    """
    exact = bool(EXACT.search(series.benchmark))
    near = 1 if exact else 2
    known = [(index, value) for index, value in enumerate(series.values) if value is not None]
    for at in range(1, len(known)):
        before = [value for _, value in known[max(0, at - near) : at]]
        after = [value for _, value in known[at : at + near]]
        worse = min(after) > max(before) * (1 + threshold)
        better = max(after) * (1 + threshold) < min(before)
        if worse or better:
            nearest = (max(before), min(after)) if worse else (min(before), max(after))
            sure = len(before) == len(after) == near
            yield Step(series, known[at][0], known[at - 1][0], *nearest, sure)


def load(configuration: Any, commits: Sequence[Commit]) -> Measured | None:
    """The results of the machine that has most of them; nothing where there are none."""
    from asv.benchmarks import Benchmarks
    from asv.results import iter_results

    order = {commit.hash: index for index, commit in enumerate(commits)}
    by_machine: dict[str, list[Any]] = {}
    for result in iter_results(configuration.results_dir):
        if result.commit_hash in order:
            by_machine.setdefault(result.params.get("machine", ""), []).append(result)
    if not by_machine:
        return None
    machine, results = max(
        by_machine.items(), key=lambda item: (len({r.commit_hash for r in item[1]}), item[0])
    )
    measured = sorted({order[result.commit_hash] for result in results})
    place = {commits[index].hash: at for at, index in enumerate(measured)}
    values: dict[tuple[str, tuple[str, ...]], list[float | None]] = {}
    benchmarks = Benchmarks.load(configuration)
    # Of a commit that was measured in several environments, the one with most commits counts.
    size = Counter(result.env_name for result in results)
    for result in sorted(results, key=lambda result: (size[result.env_name], result.env_name)):
        for name in result.get_result_keys(benchmarks):
            params = benchmarks[name]["params"]
            found = result.get_result_value(name, params) or []
            for chosen, value in zip(itertools.product(*params), found, strict=False):
                key = name, tuple(one.strip("'") for one in chosen)
                line = values.setdefault(key, [None] * len(measured))
                if isinstance(value, int | float) and math.isfinite(value):
                    line[place[result.commit_hash]] = float(value)
    series = [
        Series(
            name,
            chosen,
            tuple(benchmarks[name]["param_names"]),
            benchmarks[name].get("unit", ""),
            tuple(line),
        )
        for (name, chosen), line in values.items()
        if any(value is not None for value in line)
    ]
    facts = json.loads(
        (Path(configuration.results_dir) / machine / "machine.json").read_text(encoding="utf-8")
    )
    return Measured(
        facts,
        tuple(commits[index] for index in measured),
        tuple(series),
        configuration.regressions_thresholds,
    )


# What the page shows ------------------------------------------------------------------------------


def standing(measured: Measured, least: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a loss: time, ratios and errors now, and how the time went."""
    found: dict[str, dict[str, Any]] = {}
    for series in measured.series:
        loss = series.parameters[0].partition(":")[0] if series.parameters else ""
        row = found.setdefault(
            loss,
            {**NOTHING, "loss": loss, "least": least.get(loss)},
        )
        name = series.benchmark
        if name.endswith(".time_value_and_gradient") and stands_for_all(loss, series):
            row["time"] = series
        elif name.endswith("track_ratio_to_copy"):
            row["to_copy"] = series
        elif name.endswith("track_ratio_to_torch"):
            row["to_torch"] = series
        elif name.endswith("track_max_ulp"):
            dtype = series.parameters[1]
            now = series.now
            assert now is not None
            if row["errors"][dtype] is None or now > row["errors"][dtype][0]:
                where = series.parameters[0].partition(": ")[2]
                row["errors"] = {**row["errors"], dtype: (now, where)}
    ordered = [loss for loss in LOSSES if loss in found]
    ordered += sorted(
        loss for loss in found if loss not in LOSSES and found[loss]["errors"] != NO_ERRORS
    )
    return [found[loss] for loss in ordered]


def stands_for_all(loss: str, series: Series) -> bool:
    """Whether it is the shape and dtype that are shown of a loss."""
    if loss not in LOSSES:
        return False
    return series.parameters[1:] == (shown(ROOMS[room_of(loss)].shapes[-1]), "float32")


def changes(measured: Measured) -> list[Step]:
    """All steps, the newest commit first, the largest first in each."""
    found = [
        step
        for series in measured.series
        if not INFORMS.search(series.benchmark)
        for step in steps(series, threshold_of(series.benchmark, measured.thresholds))
    ]
    return sorted(found, key=lambda step: (-step.index, -abs(math.log(step.ratio))))


def between(step: Step, measured: Measured, commits: Sequence[Commit]) -> list[Commit]:
    """The commits that may have done it, newest first."""
    places = {commit.hash: index for index, commit in enumerate(commits)}
    first = places[measured.commits[step.previous].hash] + 1
    last = places[measured.commits[step.index].hash] + 1
    return list(reversed(commits[first:last]))


def place_of(series: Series) -> tuple[Any, ...]:
    """Losses in one order everywhere."""
    loss = series.parameters[0].partition(":")[0] if series.parameters else ""
    return (
        (LOSSES.index(loss) if loss in LOSSES else len(LOSSES)),
        series.benchmark,
        series.parameters,
    )


def plots(measured: Measured, found: Sequence[Step], pattern: str) -> list[dict[str, Any]]:
    """One plot for each series of a kind that has been measured more than once."""
    titles = [f"{commit.hash[:8]} {commit.subject}" for commit in measured.commits]
    made = []
    for series in measured.series:
        if (
            not re.search(pattern, series.benchmark)
            or sum(v is not None for v in series.values) < 2
        ):
            continue
        marks = [(step.index, step.worse) for step in found if step.series is series]
        made.append(
            {
                "series": series,
                "svg": drawing.history(series.values, titles, series.unit, marks),
            }
        )
    return made


def floor(measured: Measured) -> str:
    """Every loss against a copy of the bytes that it has to move."""
    rows = [
        (series.parameters[0], series.now)
        for series in measured.series
        if series.benchmark.endswith("track_ratio_to_copy") and series.now is not None
    ]
    if not rows:
        return ""
    return drawing.bars(sorted(rows, key=lambda row: row[1]), "times", 1.0, "a copy")


def page(
    measured: Measured | None,
    commits: Sequence[Commit],
    report: Mapping[str, Any] | None,
    project: str,
) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["number"] = drawing.number
    environment.filters["day"] = lambda when: f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M}"
    template = environment.get_template("summary.html")
    if measured is None:
        return template.render(measured=None, project=project)
    found = changes(measured)
    return template.render(
        measured=measured,
        project=project,
        rows=standing(measured, comparison.least(report)),
        comparison=comparison.shown(report) if report else None,
        steps=[(step, between(step, measured, commits)) for step in found],
        floor=floor(measured),
        times=plots(measured, found, r"\.time_value_and_gradient$"),
        errors=[
            plot
            for plot in plots(measured, found, r"track_max_ulp$")
            if len(set(plot["series"].values) - {None}) > 1
        ],
        others=plots(measured, found, r"track_first_call|track_import|peakmem"),
        commits=list(reversed(commits)),
        reached={commit.hash for commit in measured.commits},
    )
