"""A comparison judged by its aims, and shown: as text after a run, as Markdown in the README."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compare_cases import LINES, OWN, Line

Row = dict[str, Any]
NOTHING = "–"
FLOORS = ("copy", "products")
BUSY = 0.5  # programs that want a CPU, on average over the minute before
HEADS = {
    "sklearn": "scikit-learn",
    "jax": "JAX",
    "scipy": "SciPy",
    "pytorch-metric-learning": "PML",
}


# Judging ------------------------------------------------------------------------------------------


def judged(line: Line, row: Row) -> Row:
    """The row with its ratio, its multiple of the floor, and whether it is where it is aimed at."""
    results = row["results"]
    own = results[OWN]
    times = {peer: results[peer]["min_ms"] for peer in line.peers if _timed(results.get(peer))}
    found: Row = {"ratio": None, "fastest": None, "of_floor": None, "memory_share": None}
    if not _timed(own):
        return {**row, **found, "met": _met(line, row, found)}
    floor = results.get("copy") or results.get("products")
    if floor:
        found["of_floor"] = own["min_ms"] / floor["min_ms"]
    rivals = {peer: ms for peer, ms in times.items() if peer not in FLOORS}
    if rivals:
        found["fastest"] = min(rivals, key=lambda peer: rivals[peer])
        found["ratio"] = rivals[found["fastest"]] / own["min_ms"]
    others = [results[peer]["megabytes"] for peer in rivals if "megabytes" in results[peer]]
    if others:
        found["memory_share"] = own["megabytes"] / max(1e-3, min(others))
    return {**row, **found, "met": _met(line, row, found)}


def _timed(result: Mapping[str, Any] | None) -> bool:
    return result is not None and "min_ms" in result


def _met(line: Line, row: Row, found: Row) -> bool | None:
    """Whether every aim that says something about this row is reached; None if none does."""
    if doubtful(row):
        return False
    aim, limit, own = line.aim, row.get("limit"), row["results"][OWN]
    each = aim.each if line.kind != "threads" or limit == "arithmetic" else None
    floor = aim.floor if limit in ("memory", "products") else None
    seconds = own["min_ms"] / 1000 if _timed(own) else None
    verdicts = [
        number >= least if sign > 0 else number <= least
        for number, least, sign in (
            (found["ratio"], each, 1),
            (found["of_floor"], floor, -1),
            (seconds, aim.seconds, -1),
            (found["memory_share"], aim.memory, -1),
            (own.get("megabytes"), aim.megabytes, -1),
        )
        if number is not None and least is not None
    ]
    return all(verdicts) if verdicts else None


def doubtful(row: Row) -> bool:
    """Whether several peers contradict refloss, and none agrees: then refloss may be wrong."""
    others = [row["results"][peer] for peer in row["results"] if peer not in (OWN, *FLOORS)]
    return sum("disagrees" in one for one in others) > 1 and not any(map(_timed, others))


def line(of: Line, rows: Sequence[Row]) -> dict[str, Any]:
    """A line with its rows, and what they come to."""
    ratios = [row["ratio"] for row in rows if row["ratio"]]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None
    verdicts = [row["met"] for row in rows if row["met"] is not None]
    return {
        "title": of.title,
        "aim": str(of.aim),
        "rows": list(rows),
        "mean_ratio": mean,
        "least_ratio": min(ratios, default=None),
        "mean_met": mean >= of.aim.mean if mean and of.aim.mean else None,
        "met": sum(verdicts),
        "judged": len(verdicts),
    }


def complete(report: Mapping[str, Any]) -> bool:
    """Whether refloss has a number in every row."""
    every = (row["results"][OWN] for one in report["lines"].values() for row in one["rows"])
    return all("min_ms" in own or "megabytes" in own for own in every)


# Cells --------------------------------------------------------------------------------------------


def milliseconds(number: float) -> str:
    """Three digits, in a unit to be read."""
    if number < 0.1:
        return f"{_digits(1000 * number)} us"
    return f"{_digits(number)} ms" if number < 1000 else f"{_digits(number / 1000)} s"


def _digits(number: float) -> str:
    places = max(0, 2 - math.floor(math.log10(number))) if number > 0 else 2
    return f"{number:.{places}f}"


def cell(result: Mapping[str, Any] | None) -> str:
    """A contestant's time, and its memory where that is known; or a word why there is none."""
    if result is None or "not_run" in result:
        return NOTHING
    if "disagrees" in result or "error" in result:
        return "disagrees" if "disagrees" in result else "failed"
    parts = [milliseconds(result["min_ms"])] if "min_ms" in result else []
    if "megabytes" in result:
        parts.append(f"{result['megabytes']:.0f} MB")
    return ", ".join(parts)


def times(number: float | None) -> str:
    return NOTHING if number is None else f"{number:.2f}x"


def what(row: Row) -> str:
    """What a row is about."""
    if "slowest" in row:
        return f"slowest of {len(row['of'])}: {row['slowest']}"
    return " ".join(filter(None, (row["loss"], row["shape"], row["dtype"], row["variant"])))


def columns(of: Line, rows: Iterable[Row]) -> list[str]:
    """The contestants that have an answer somewhere, refloss first, the floor last."""
    answered = {peer for row in rows for peer, r in row["results"].items() if "not_run" not in r}
    peers = [peer for peer in of.peers if peer in answered and peer not in FLOORS]
    return [OWN, *peers, *(floor for floor in FLOORS if floor in answered)]


def table(of: Line, rows: Sequence[Row]) -> list[list[str]]:
    """Heads and cells of a line."""
    shown = columns(of, rows)
    floored = shown[-1] in FLOORS
    compared = len(shown) > 1 + floored
    heads = ["case", *(HEADS.get(peer, peer) for peer in shown)]
    found = [[*heads, *["ratio"] * compared, *["of floor", "limit"] * floored, "met"]]
    for row in rows:
        cells = [what(row), *(cell(row["results"].get(peer)) for peer in shown)]
        if compared:
            cells.append(times(row["ratio"]))
        if floored:
            cells += [times(row["of_floor"]), row.get("limit") or NOTHING]
        found.append([*cells, {True: "yes", False: "no", None: NOTHING}[row["met"]]])
    return found


def said(one: Mapping[str, Any]) -> str:
    """What a line comes to."""
    parts = []
    if one["mean_ratio"] is not None:
        parts.append(f"geometric mean {times(one['mean_ratio'])}")
        parts.append(f"least {times(one['least_ratio'])}")
    if one["judged"]:
        parts.append(f"{one['met']} of {one['judged']} points reach the aim")
    if one["mean_met"] is not None:
        parts.append(f"the mean {'does' if one['mean_met'] else 'does not'}")
    return ", ".join(parts) or "nothing to judge"


# As text ------------------------------------------------------------------------------------------


def progress(of: Line, row: Row) -> str:
    """A row as soon as it is measured."""
    answers = "  ".join(f"{peer} {cell(result)}" for peer, result in row["results"].items())
    return f"{what(row):60}  {answers}  ratio {times(row['ratio'])}"


def show(report: Mapping[str, Any]) -> None:
    """The whole report, on the terminal."""
    print(f"\n{ran_on(report)}\n{limits(report)}")
    if report["machine"]["load_before"] > BUSY:
        print("Other programs were running before this one: take the times again when it is quiet.")
    for name, one in report["lines"].items():
        print(f"\n{one['title']}\n  aim: {one['aim']}\n")
        print(*aligned(table(LINES[name], one["rows"])), sep="\n")
        for reason in sorted(reasons(one["rows"])):
            print(f"  {reason}")
    print("\nratio: the fastest peer's time over refloss's, both the shortest of several turns")
    print("of floor: refloss's time over a copy of the bytes that have to move (or the products)\n")
    width = max(len(one["title"]) for one in report["lines"].values())
    for one in report["lines"].values():
        print(f"{one['title']:{width}}  {said(one)}")


def reasons(rows: Iterable[Row]) -> set[str]:
    """Why cells are empty that could have a number."""
    return {
        f"{row['case']}: {peer} {kind.replace('_', ' ')}: {result[kind]}"
        for row in rows
        for peer, result in row["results"].items()
        for kind in ("disagrees", "error", "not_run")
        if kind in result and not result[kind].startswith("has no")
    }


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            f"{cell:{'<' if index == 0 else '>'}{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def ran_on(report: Mapping[str, Any]) -> str:
    """Machine, versions, commit and date."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {one}" for name, one in report["versions"].items() if one)
    return (
        f"{machine['cpu']} (model {machine['model']}, {', '.join(machine['vectors'])}), "
        f"{machine['threads']} threads; {versions}; commit {str(report['revision'])[:12]}, "
        f"{report['date'][:10]}{', few repetitions' if report['quick'] else ''}."
    )


def limits(report: Mapping[str, Any]) -> str:
    """What the machine does at most."""
    found = report["floors"]
    return (
        f"A copy moves {found['copy_bytes_per_second'] / 1e9:.1f} GB/s (read and write), a read "
        f"{found['read_bytes_per_second'] / 1e9:.1f} GB/s; NumPy's float64 exp does "
        f"{found['exponentials_per_second'] / 1e9:.2f} a nanosecond, float64 matrix products "
        f"{found['flops_per_second'] / 1e9:.0f} GFLOP/s."
    )


# As Markdown --------------------------------------------------------------------------------------


def markdown(report: Mapping[str, Any]) -> str:
    """What every line comes to, and the float32 rows of the lines without variants."""
    parts = [f"{ran_on(report)} {limits(report)}", "", _bar(["work", "aim", "found"])]
    parts.append(_bar(["---"] * 3))
    parts += [_bar([one["title"], one["aim"], said(one)]) for one in report["lines"].values()]
    for name, one in report["lines"].items():
        rows = [row for row in one["rows"] if row["dtype"] != "float64" and shown(row)]
        head, *cells = table(LINES[name], rows) if rows else ([], [])
        if head:
            title = f"{one['title']}, float32:" if rows[0]["dtype"] else f"{one['title']}:"
            parts += ["", title, "", _bar(head), _bar(["---", *["---:"] * (len(head) - 1)])]
            parts += [_bar(row) for row in cells]
    return "\n".join(parts)


def shown(row: Row) -> bool:
    """Whether a row is in the README: variants of cross-entropy are only in the report."""
    return row["loss"] != "cross_entropy" or not row["variant"]


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
