"""Compare a commit with another: has anything become slower, or less accurate?

    python asv_bench/gate.py main              the commit that is checked out, against main
    python asv_bench/gate.py main .            the working tree, with what is not committed
    python asv_bench/gate.py v0.1 v0.2 --only 'cross_entropy*'

The exit status is 0 when nothing is, 1 when something is, 2 when it could not be measured (or asked
for). Times on one thread and errors in ulps decide; times on several threads are only shown.

Both commits run in this interpreter, each from a copy of its files. Times are taken in turns, a few
milliseconds each, so that whatever else the machine does meets both; what looks slower is measured
again, twice, in fresh processes, and counts only if it is slower each time. Errors are those of the
base's certified answers on both sides: asking harder questions is no regression.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import importlib.metadata
import io
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "asv_bench"))

import errors  # noqa: E402
from cpu_cases import LOSSES, ROOMS, room_of  # noqa: E402

REPOSITORY = ROOT
KEPT = ROOT / "asv_bench" / "env" / "gate"  # errors of commits, which never change

FINE, REGRESSION, NOT_MEASURED = 0, 1, 2

KINDS = ("serial", "parallel", "ulp")
SLOWER: Mapping[str, float] = {"serial": 1.3, "parallel": 1.3}  # times the base's
FURTHER, FURTHER_SHARE = 1.0, 0.25  # ulp, or of the base's error: whichever is more

ROUNDS, AGAIN = 9, 15
CONFIRMATIONS = 2
SECONDS = 0.01  # of calls, of which the shortest counts
PARALLEL = ("huber_loss", "cross_entropy", "triplet_margin_loss", "nt_xent_loss")
PATIENCE, CALL_PATIENCE = 900.0, 180.0  # seconds for all errors of a side, and for one reply


class NotMeasuredError(Exception):
    """Something is in the way of measuring; the message says what."""


@dataclass(frozen=True)
class Change:
    """What was measured of both."""

    kind: str
    case: str
    base: float
    head: float
    worse: bool

    @property
    def ratio(self) -> float:
        return self.head / self.base


# Decisions ----------------------------------------------------------------------------------------


def ratio_of(base: Sequence[float], head: Sequence[float]) -> float:
    """How many times as long the head takes; the kinder of two robust estimates.

    What disturbs one of them (a drift: the ratio of the shortest; bursts: the median of ratios of
    neighbours) seldom disturbs the other, and what is really slower is so in both.
    """
    neighbours = statistics.median(b / a for a, b in zip(base, head, strict=True))
    return min(neighbours, min(head) / min(base))


def is_slower(kind: str, ratio: float) -> bool:
    """Whether a time has grown beyond noise."""
    return ratio > SLOWER[kind]


def is_further(base: float, head: float) -> bool:
    """Whether an error in ulps has grown; it is the same in every run, so that little is noise."""
    return head > base + max(FURTHER, FURTHER_SHARE * base)


def verdict(changes: Sequence[Change]) -> int:
    """The exit status; several threads decide nothing."""
    worse = [change for change in changes if change.worse and change.kind != "parallel"]
    return REGRESSION if worse else FINE


def confirmed(ratios: Callable[[], float], kind: str) -> float:
    """The smallest of a ratio measured again and again, until one is below the threshold."""
    smallest = float("inf")
    for _ in range(CONFIRMATIONS):
        smallest = min(smallest, ratios())
        if not is_slower(kind, smallest):
            break
    return smallest


# Sides --------------------------------------------------------------------------------------------


def git(*arguments: str) -> bytes:
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, check=False
    )
    if done.returncode:
        raise NotMeasuredError(done.stderr.decode().strip() or f"git {arguments[0]} failed")
    return done.stdout


def commit_of(revision: str) -> str:
    """The full hash; `.` for the working tree."""
    if revision == ".":
        return "."
    try:
        return git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
    except NotMeasuredError:
        raise NotMeasuredError(f"{revision!r} is no commit here") from None


def copy_files(commit: str, folder: Path) -> None:
    """What refloss is in a commit, or in the working tree."""
    wanted = ("pyproject.toml", "refloss")
    if commit == ".":
        for name in wanted:
            source = REPOSITORY / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)
    else:
        with tarfile.open(fileobj=io.BytesIO(git("archive", commit, *wanted))) as archive:
            # Python 3.11.4 and newer want to be told
            known = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(folder, **known)
    # The audit asks for the version that is installed.
    metadata = folder / "refloss-0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: refloss\nVersion: 0\n", encoding="utf-8")


@dataclass(frozen=True)
class Side:
    """A copy of a commit, and the interpreter that runs it."""

    name: str
    commit: str
    folder: Path
    python: str

    def command(self, *arguments: str) -> list[str]:
        return [self.python, str(ROOT / "asv_bench" / "side.py"), str(self.folder), *arguments]

    def failed(self, said: str) -> NotMeasuredError:
        last = said.strip().splitlines()[-1:] or ["no reason given"]
        return NotMeasuredError(f"{self.name} ({self.commit[:8]}): {last[0]}")


class Clock:
    """A process of one side that times calls."""

    def __init__(self, side: Side, complaints: Path) -> None:
        self.side, self.complaints = side, complaints
        with complaints.open("w") as file:
            self.process = subprocess.Popen(
                side.command("times"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def tell(self, **question: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.process.wait()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        watch = threading.Timer(CALL_PATIENCE, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        if not line:
            code = self.process.wait()
            raise self.side.failed(self.complaints.read_text() + f"exit status {code}" * (code < 0))
        reply: dict[str, Any] = json.loads(line)
        return reply

    def seconds(self, calls: int) -> float:
        self.tell(calls=calls)
        return float(self.hear()["seconds"])

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def clocks(sides: Sequence[Side]) -> Iterator[list[Clock]]:
    """One for each side, ended afterwards."""
    with ExitStack() as stack:
        made = []
        for side in sides:
            clock = Clock(side, side.folder / f"{side.name}.stderr")
            stack.callback(clock.end)
            made.append(clock)
        yield made


# Times --------------------------------------------------------------------------------------------


def timed_cases(only: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """What is timed: every loss once, value and gradient together, and the value alone."""
    found = []
    for loss in (loss for loss in LOSSES if fnmatch.fnmatch(loss, only)):
        case = {
            "loss": loss,
            "shape": ROOMS[room_of(loss)].shapes[-1],
            "dtype": "float32",
            "part": "value_and_gradient",
            "threads": 1,
        }
        if "serial" in kinds:
            found += [case, {**case, "part": "value"}]
        if "parallel" in kinds and loss in PARALLEL:
            found.append({**case, "threads": 2})
    return found


def kind_of(case: Mapping[str, Any]) -> str:
    return "serial" if case["threads"] == 1 else "parallel"


def title_of(case: Mapping[str, Any]) -> str:
    shape = " x ".join(map(str, case["shape"]))
    return f"{case['part'].replace('_', ' ')} of {case['loss']}, {shape}, {case['dtype']}"


def times_of(
    base: Clock, head: Clock, case: Mapping[str, Any], rounds: int
) -> tuple[list[float], list[float]] | None:
    """Times of both, taken in turns; nothing where the base has no such call."""
    for clock in (base, head):
        clock.tell(**case)  # both compile at once
    ready = base.hear(), head.hear()
    if "missing" in ready[0]:
        return None
    if "missing" in ready[1]:
        raise head.side.failed(ready[1]["missing"])
    calls = max(1, int(SECONDS / max(reply["seconds"] for reply in ready)))
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        turns = [(base, found[0]), (head, found[1])]
        for clock, times in turns if number % 2 else reversed(turns):
            times.append(clock.seconds(calls))
    return found


def compared_times(sides: Sequence[Side], cases: Sequence[Mapping[str, Any]]) -> list[Change]:
    """All cases in one pair of processes, and what looks slower in further ones."""
    changes = []
    with clocks(sides) as (base, head):
        for case in cases:
            found = times_of(base, head, case, ROUNDS)
            if found is None:
                say(f"new: {title_of(case)}")
                continue
            changes.append((case, min(found[0]), ratio_of(*found)))

    def again(case: Mapping[str, Any]) -> float:
        with clocks(sides) as (base, head):
            found = times_of(base, head, case, AGAIN)
        assert found is not None
        return ratio_of(*found)

    judged = []
    for case, seconds, ratio in changes:
        kind = kind_of(case)
        if kind == "serial" and is_slower(kind, ratio):
            say(f"{ratio:.2f} times as long, measured again: {title_of(case)}")
            ratio = min(ratio, confirmed(lambda case=case: again(case), kind))
        judged.append(
            Change(kind, title_of(case), seconds, seconds * ratio, is_slower(kind, ratio))
        )
    return judged


# Errors -------------------------------------------------------------------------------------------


def errors_of(sides: Sequence[Side], losses: Sequence[str]) -> list[errors.Errors]:
    """Those of both sides, side by side; what was measured of a commit before is read."""
    kept = [kept_errors(side, sides[0], losses) for side in sides]
    running = [
        None
        if path is not None and path.exists()
        else subprocess.Popen(
            side.command("errors", *losses),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for side, path in zip(sides, kept, strict=True)
    ]
    found = []
    try:
        for side, path, process in zip(sides, kept, running, strict=True):
            if process is None:
                assert path is not None
                text = path.read_text(encoding="utf-8")
            else:
                text, complaints = process.communicate(timeout=PATIENCE)
                if process.returncode:
                    raise side.failed(complaints)
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, encoding="utf-8")
            found.append({tuple(key): ulp for *key, ulp in json.loads(text)})
    except subprocess.TimeoutExpired:
        raise NotMeasuredError(f"errors took longer than {PATIENCE:.0f} s") from None
    finally:
        for process in running:
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()
    return found


def kept_errors(side: Side, base: Side, losses: Sequence[str]) -> Path | None:
    """Where the errors of a commit are kept: they depend on nothing that is not in the name."""
    if "." in (side.commit, base.commit) or side.python != sys.executable:
        return None
    versions = [importlib.metadata.version(name) for name in ("numpy", "numba")]
    everything = (side.commit, base.commit, platform.machine(), versions, losses)
    digest = hashlib.sha256(repr(everything).encode()).hexdigest()[:16]
    return KEPT / f"errors-{digest}.json"


def compared_errors(sides: Sequence[Side], losses: Sequence[str]) -> list[Change]:
    """Where both sides answer."""
    base, head = errors_of(sides, losses)
    if lost := sorted(set(base) - set(head)):
        raise sides[1].failed(f"no longer answers {' '.join(lost[0])}")
    return [
        Change(
            "ulp", "{3} of {0}, {1}, {2}".format(*key), ulp, head[key], is_further(ulp, head[key])
        )
        for key, ulp in base.items()
    ]


# The command --------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, flush=True)


def compare(
    base: str,
    head: str,
    *,
    only: str = "*",
    kinds: Sequence[str] = KINDS,
    pythons: tuple[str, str] = (sys.executable, sys.executable),
) -> list[Change]:
    """Everything that is measured of both."""
    commits = commit_of(base), commit_of(head)
    with tempfile.TemporaryDirectory(prefix="refloss-gate-") as name:
        sides = []
        for title, commit, python in zip(("base", "head"), commits, pythons, strict=True):
            folder = Path(name) / title
            folder.mkdir()
            copy_files(commit, folder)
            sides.append(Side(title, commit, folder, python))
        losses = [loss for loss in errors.regions() if fnmatch.fnmatch(loss, only)]
        if not losses:
            raise NotMeasuredError(f"no loss is called {only!r}")
        changes = []
        if cases := timed_cases(only, kinds):
            changes += compared_times(sides, cases)
        if "ulp" in kinds:
            questions = sides[1].folder / "refloss" / "oracles"
            for path in questions.glob("*.jsonl"):
                path.unlink()
            for path in (sides[0].folder / "refloss" / "oracles").glob("*.jsonl"):
                shutil.copy(path, questions)
            changes += compared_errors(sides, losses)
        return changes


def shown(change: Change) -> str:
    """One line."""
    if change.kind == "ulp":
        return f"{change.case}: {change.base:.2f} -> {change.head:.2f} ulp"
    return (
        f"{change.case}: {change.base * 1e3:.3f} -> {change.head * 1e3:.3f} ms, "
        f"{change.ratio:.2f} times as long, "
        f"{'one thread' if change.kind == 'serial' else 'two threads'}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(
        prog="gate.py",
        description="Has a commit become slower or less accurate than another?",
        epilog="exit status: 0 no; 1 yes; 2 not measured, or usage",
    )
    parser.add_argument("base", help="a revision, such as main")
    parser.add_argument("head", nargs="?", default="HEAD", help="a revision, or . for your files")
    parser.add_argument("--only", default="*", metavar="GLOB", help="only these losses")
    parser.add_argument("--kind", action="append", choices=KINDS, help="default: all three")
    parser.add_argument("--base-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument(
        "--head-python",
        default=sys.executable,
        metavar="PYTHON",
        help="an interpreter that has what the commit needs, if that differs",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write all as JSON")
    options = parser.parse_args(arguments)
    try:
        changes = compare(
            options.base,
            options.head,
            only=options.only,
            kinds=options.kind or KINDS,
            pythons=(options.base_python, options.head_python),
        )
        if not changes:
            raise NotMeasuredError("the two have nothing in common that could be measured")
    except NotMeasuredError as problem:
        print(f"not measured: {problem}", file=sys.stderr)
        return NOT_MEASURED
    except Exception:  # Python would leave with 1, which says something else here
        traceback.print_exc()
        return NOT_MEASURED
    if options.output:
        rows = [asdict(change) for change in changes]
        options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for change in changes:
        if change.kind != "ulp" or change.worse:
            decides = change.kind != "parallel"
            mark = ("! " if change.worse else "  ") if decides else "~ "
            say(mark + shown(change))
    status = verdict(changes)
    counts = ", ".join(f"{sum(change.kind == kind for change in changes)} {kind}" for kind in KINDS)
    worse = [change for change in changes if change.worse and change.kind != "parallel"]
    say(f"{'REGRESSION' if status else 'fine'}: {len(worse)} worse of {counts}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
