"""Check and time refloss on a GPU, beside torch, Triton and a copy; writes one JSON.

    python asv_bench/gpu.py                         # all of it: under ten minutes
    python asv_bench/gpu.py --quick --only 'cross_entropy-*-bfloat16' -o quick.json

Runs from the repository's root, installed or with PYTHONPATH=. . Times are those of CUDA events
around value and gradient of a mean loss, after a warm-up, with the L2 cache flushed before each of
many repetitions; the median counts. The peers of a case, and a copy of as many bytes as it has to
read and write, are timed one after the other in this process. What fails, is missing or comes too
late is reported with its reason and costs no other result.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "asv_bench")]

import gpu_cases  # noqa: E402
from gpu_cases import CASES, OWN, PEERS, Case, NotRunError  # noqa: E402

SCHEMA = "refloss-gpu-1"
RESULTS = ROOT / "asv_bench" / "results"
VERSIONS = ("torch", "triton", "cupy", "numba-cuda", "numba", "numpy", "refloss")
DISTRIBUTIONS = {"cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy")}

FLUSHED = 1 << 28  # bytes: more than any L2 cache
WARM_UP = 3
MILLISECONDS, QUICK = 500.0, 50.0  # of repetitions
LEAST, MOST = 5, 200
SECONDS = 300.0  # after which no further peer is begun
CHECK_SECONDS = 280.0  # after which the tests are stopped


@dataclass(frozen=True)
class Times:
    """How long a call took, over and over, in milliseconds.

    Attributes
    ----------
    device : between two events on the stream
    wall : until the device has nothing left to do, the Python before it included
    """

    device: Sequence[float]
    wall: Sequence[float]


class Clock(Protocol):
    """What times calls."""

    def __call__(self, call: Callable[[], Any]) -> Times:
        """Warm up, and measure."""
        ...


class DeviceClock:
    """Times by CUDA events on torch's current stream."""

    def __init__(self, budget: float) -> None:
        import torch

        self.cuda, self.budget = torch.cuda, budget
        self.scratch = torch.empty(FLUSHED, dtype=torch.uint8, device="cuda")

    def __call__(self, call: Callable[[], Any]) -> Times:
        for _ in range(WARM_UP):
            call()
        self.cuda.synchronize()
        wall = [self._wall(call) for _ in range(LEAST)]
        count = int(min(MOST, max(LEAST, self.budget / max(1e-3, min(wall)))))
        events = [
            (self.cuda.Event(enable_timing=True), self.cuda.Event(enable_timing=True))
            for _ in range(count)
        ]
        for start, end in events:
            self.scratch.zero_()
            start.record()
            call()
            end.record()
        self.cuda.synchronize()
        return Times([start.elapsed_time(end) for start, end in events], wall)

    def _wall(self, call: Callable[[], Any]) -> float:
        self.scratch.zero_()
        self.cuda.synchronize()
        start = time.perf_counter()
        call()
        self.cuda.synchronize()
        return 1000 * (time.perf_counter() - start)


# Measuring ----------------------------------------------------------------------------------------


def brief(problem: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text}"[:300]


def measured(
    case: Case,
    clock: Clock,
    deadline: float,
    make: Callable[[str, Case], Callable[..., Any]] = gpu_cases.maker,
    draw: Callable[[Case], tuple[Any, ...]] = gpu_cases.inputs,
) -> dict[str, Any]:
    """All peers on a case."""
    results: dict[str, dict[str, Any]] = {}
    truth: list[Any] = []
    for peer in PEERS:
        if time.monotonic() > deadline:
            results[peer] = {"not_run": "the time was up"}
            continue
        try:
            results[peer] = _peer(peer, case, clock, truth, make, draw)
        except NotRunError as problem:
            results[peer] = {"not_run": str(problem)}
        except Exception as problem:  # a peer's failure is a result, whatever it is
            results[peer] = {"error": brief(problem)}
        _free()
    compare(case, results)
    return described(case, results)


def described(case: Case, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The row of a case."""
    return {
        "case": case.name,
        "loss": case.loss,
        "shape": list(case.shape),
        "dtype": case.dtype,
        "bytes": case.moved,
        "results": results,
    }


def _peer(
    peer: str,
    case: Case,
    clock: Clock,
    truth: list[Any],
    make: Callable[[str, Case], Callable[..., Any]],
    draw: Callable[[Case], tuple[Any, ...]],
) -> dict[str, Any]:
    call = make(peer, case)
    accuracy = {} if peer == "copy" else _accuracy(case, call, truth, draw)
    given = () if peer == "copy" else draw(case)  # anew: a peer may write into it
    times = clock(lambda: call(*given))
    return {
        "median_ms": statistics.median(times.device),
        "min_ms": min(times.device),
        "wall_ms": statistics.median(times.wall),
        "repetitions": len(times.device),
        **accuracy,
    }


def _accuracy(
    case: Case,
    call: Callable[..., Any],
    truth: list[Any],
    draw: Callable[[Case], tuple[Any, ...]],
) -> dict[str, Any]:
    """How far the gradient is from that of the Numba kernels, on a sample."""
    import numpy as np

    from refloss.accuracy import distance

    whole = gpu_cases.sampled(case) if case.loss == "nt_xent_loss" else case
    if not truth:
        truth.append(gpu_cases.expected(case, draw(whole)))
    _, gradient = call(*draw(whole))
    apart = distance(gpu_cases.found(case, gradient), truth[0], case.dtype)
    largest = float(np.max(apart))
    return {
        "max_ulp": largest if math.isfinite(largest) else str(largest),
        "same_numbers": float(np.mean(apart == 0)),
    }


def healthy() -> bool:
    """Whether the device still answers this process; after a wild access it does no longer."""
    torch = sys.modules.get("torch")
    try:
        if torch is not None and torch.cuda.is_available():
            torch.cuda.synchronize()
    except Exception:
        return False
    return True


def in_fresh_process(case: Case, quick: bool, seconds: float) -> dict[str, Any]:
    """A case that this process can no longer measure."""
    command = [sys.executable, __file__, "--measure", case.name, *(["--quick"] if quick else [])]
    done = None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=max(30.0, seconds), cwd=ROOT
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.TimeoutExpired, ValueError, IndexError) as problem:
        last = done.stderr.strip().splitlines()[-1:] if done else []
        failed = {peer: {"error": last[0] if last else brief(problem)} for peer in PEERS}
        return described(case, failed)


def _free() -> None:
    """Give a peer's memory back before the next one asks for its own."""
    import gc

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and healthy():
        torch.cuda.empty_cache()


def compare(case: Case, results: dict[str, dict[str, Any]]) -> None:
    """Add each one's share of the copy's bandwidth, and how many times faster refloss is."""
    copied = results["copy"].get("median_ms")
    for peer, result in results.items():
        if copied and "median_ms" in result:
            result["gigabytes_per_second"] = case.moved / result["median_ms"] / 1e6
            result["share_of_copy"] = copied / result["median_ms"]
        if peer in OWN and "median_ms" in result:
            result["faster_than"] = {
                other: results[other]["median_ms"] / result["median_ms"]
                for other in PEERS
                if other not in (*OWN, "copy") and "median_ms" in results[other]
            }


# What it ran on -----------------------------------------------------------------------------------


def version(name: str) -> str | None:
    """Of a package, or None if it is not there."""
    if name == "refloss":
        import refloss

        return refloss.__version__
    for distribution in DISTRIBUTIONS.get(name, (name,)):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    module = sys.modules.get(name)
    return getattr(module, "__version__", None)


def output_of(*command: str) -> str | None:
    """The first line that a command prints, or None if it does not run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def device() -> dict[str, Any]:
    """The GPU, its driver and CUDA."""
    import torch

    one = torch.cuda.get_device_properties(0)
    query = ("--query-gpu=driver_version", "--format=csv,noheader")
    return {
        "name": one.name,
        "capability": f"{one.major}.{one.minor}",
        "memory_bytes": one.total_memory,
        "multiprocessors": one.multi_processor_count,
        "driver": output_of("nvidia-smi", *query),
        "cuda": torch.version.cuda,
    }


def revision() -> str | None:
    """The commit that is measured, with a mark if files differ from it."""
    found = output_of("git", "rev-parse", "HEAD")
    changed = found and output_of("git", "status", "--porcelain", "--untracked-files=no")
    return f"{found} and changes" if changed else found


COUNTED = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed|deselected)")


def checks(quick: bool) -> dict[str, Any]:
    """The tests that need a GPU, in a process of their own."""
    if quick:
        return {"not_run": "--quick leaves them out"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    start = time.monotonic()
    try:
        done = subprocess.run(
            [*command, "tests/cuda/test_gpu.py"],
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            cwd=ROOT,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {CHECK_SECONDS:.0f} seconds"}
    said = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    if "No module named pytest" in done.stderr:
        return {"not_run": "pytest is not installed"}
    return {
        "status": done.returncode,
        "outcomes": outcomes(said[-1]),
        "notes": [line for line in said if line.startswith(("FAILED", "ERROR", "SKIPPED"))],
        "seconds": round(time.monotonic() - start, 1),
    }


def outcomes(line: str) -> dict[str, int]:
    """The counts in the last line of pytest."""
    return {what: int(count) for count, what in COUNTED.findall(line)}


# The report ---------------------------------------------------------------------------------------


def report(chosen: Sequence[Case], quick: bool) -> dict[str, Any]:
    """Everything that a run found out."""
    start = time.monotonic()
    clock = DeviceClock(QUICK if quick else MILLISECONDS)
    machine = device()
    rows = []
    for case in chosen:
        if healthy():
            row = measured(case, clock, start + SECONDS)
        else:
            row = in_fresh_process(case, quick, start + SECONDS - time.monotonic())
        rows.append(row)
        print(line(row), flush=True)
    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "quick": quick,
        "device": machine,
        "versions": {"python": platform.python_version(), **{n: version(n) for n in VERSIONS}},
        "checks": checks(quick),
        "cases": rows,
        "seconds": round(time.monotonic() - start, 1),
    }


def line(row: dict[str, Any]) -> str:
    """A case, to be read."""
    parts = [f"{row['case']:48}"]
    for peer, result in row["results"].items():
        said = result.get("not_run") or result.get("error")
        shown = "not run" if "not_run" in result else "error"
        parts.append(f"{peer} {shown if said else format(result['median_ms'], '.3f') + ' ms'}")
    return "  ".join(parts)


def default_path(found: dict[str, Any]) -> Path:
    """Where a report goes that nobody gave a name."""
    name = re.sub(r"[^a-z0-9]+", "-", found["device"]["name"].lower()).strip("-")
    return RESULTS / f"gpu-{name}-{found['date'][:10]}.json"


def write(found: dict[str, Any], path: Path) -> None:
    """Write the whole report, or nothing."""
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def obstacle() -> str | None:
    """Why nothing can be measured here."""
    from refloss.kernels.cuda import available

    if reason := available.reason():
        return reason
    if available.simulated():
        return "Numba's simulator has no times; unset NUMBA_ENABLE_CUDASIM"
    try:
        import torch
    except ImportError:
        return "torch, which holds the arrays and the clock, is not installed"
    return None if torch.cuda.is_available() else "torch finds no CUDA device"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="by default results/")
    parser.add_argument("--quick", action="store_true", help="few repetitions, no tests")
    parser.add_argument("--only", metavar="GLOB", default="*", help="of cases, as they are printed")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if reason := obstacle():
        print(f"BackendUnavailable: {reason}", file=sys.stderr)
        return 2
    chosen = [case for case in CASES if fnmatch.fnmatch(case.name, asked.measure or asked.only)]
    if not chosen:
        names = ", ".join(case.name for case in CASES)
        parser.error(f"no case is called {asked.only!r}; there are {names}")
    if asked.measure:
        clock = DeviceClock(QUICK if asked.quick else MILLISECONDS)
        print(json.dumps(measured(chosen[0], clock, time.monotonic() + SECONDS)))
        return 0
    found = report(chosen, asked.quick)
    path = asked.output or default_path(found)
    write(found, path)
    print(f"written to {path}")
    return 0


RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
