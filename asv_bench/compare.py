"""Time refloss on the CPU beside its peers and the machine's limits; writes one JSON.

    python asv_bench/compare.py                     # every line of the table: most of an hour
    python asv_bench/compare.py --quick --cases 'cross_entropy-8192x1000-float32*' -o quick.json
    python asv_bench/compare.py --list              # lines and cases

Runs from the repository's root. Peers that are not installed are left out, and torch.compile needs
a C++ compiler. All contestants of a case take turns in this process, on the same two CPUs, with the
same inputs, compiled and checked against each other before; each has several turns, and its
shortest and its median time count. Ratios are of the shortest times, the fastest peer's over
refloss's. The *copy* is a contestant too: it moves as many bytes as the case has to read and write
(for a value alone it only reads). The exit status is 0 if everything chosen was measured, 2 if not.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import math
import os
import platform
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "asv_bench")]

import compare_cases  # noqa: E402
import compare_floors as floors  # noqa: E402
import compare_fresh as fresh  # noqa: E402
import compare_peers as peers  # noqa: E402
import compare_report  # noqa: E402
import cpu_cases  # noqa: E402
import growth  # noqa: E402
from compare_cases import HARD, LINES, OWN, VALUE, Case, Line  # noqa: E402
from gpu import RAW, RESULTS, brief, output_of, revision, version, write  # noqa: E402
from gpu_cases import NotRunError  # noqa: E402

SCHEMA = "refloss-speed-1"
THREADS = 2
VERSIONS = (
    *("refloss", "numpy", "numba", "llvmlite", "torch", "jax", "jaxlib", "scikit-learn", "scipy"),
    *("pytorch-metric-learning", "optax"),
)

SECONDS, QUICK = 4.0, 0.5  # for all turns of a case
LEAST, LEAST_QUICK, MOST = 5, 2, 60  # turns
TURN = 0.02  # seconds of calls in a turn
PAUSE = 0.01  # before each: the threads of the one before stop spinning
SAMPLE = 1e-4  # seconds; calls that are shorter are timed several at once
CALL = 0.01  # milliseconds; where the limits are lower, the call itself is the limit
HOPELESS = 3.0  # times the fastest: no further turns after the least

Times = dict[str, list[float]]
Results = dict[str, dict[str, Any]]


# Taking turns -------------------------------------------------------------------------------------


def turns(calls: Mapping[str, Callable[[], Any]], seconds: float, least: int) -> Times:
    """How long each call takes, over and over, in turns; every call has been made before."""
    times: Times = {name: [] for name in calls}
    at_once = {name: max(1, int(SAMPLE / _seconds(call, 1))) for name, call in calls.items()}
    until = time.perf_counter() + seconds
    for turn in range(MOST):
        if turn >= least and time.perf_counter() > until:
            break
        order = list(calls) if turn % 2 == 0 else list(reversed(calls))
        fastest = min((min(taken) for taken in times.values() if taken), default=math.inf)
        for name in order:
            if turn >= least and name != OWN and min(times[name]) > HOPELESS * fastest:
                continue
            time.sleep(PAUSE)
            end = time.perf_counter() + TURN
            while True:
                times[name].append(_seconds(calls[name], at_once[name]))
                if time.perf_counter() >= end:
                    break
    return times


def _seconds(call: Callable[[], Any], number: int) -> float:
    """Of one call, from as many."""
    start = time.perf_counter()
    for _ in range(number):
        call()
    return max(1e-9, (time.perf_counter() - start) / number)


def summary(taken: Sequence[float]) -> dict[str, Any]:
    """What is kept of the times of a contestant."""
    return {
        "min_ms": 1000 * min(taken),
        "median_ms": 1000 * statistics.median(taken),
        "repetitions": len(taken),
    }


class Turns:
    """How many turns there are, on how many threads."""

    def __init__(self, quick: bool, threads: int) -> None:
        self.seconds, self.least = (QUICK, LEAST_QUICK) if quick else (SECONDS, LEAST)
        self.quick, self.threads = quick, threads
        self.limits: dict[str, float] = {}

    def __call__(self, calls: Mapping[str, Callable[[], Any]]) -> Results:
        gc.collect()
        times = turns(calls, self.seconds, self.least)
        return {name: summary(taken) for name, taken in times.items()}


# Kinds of cases -----------------------------------------------------------------------------------


def against_peers(line: Line, case: Case, take: Turns) -> dict[str, Any]:
    """Every peer that has the loss and agrees, and the floor."""
    given = compare_cases.given(case)
    own = peers.contestant(OWN, case, given, take.threads)
    truth = own.read(own.call())
    calls, results = {OWN: own.call}, {OWN: {}}
    for peer in line.peers:
        found = _checked(peer, case, given, take.threads, truth)
        if isinstance(found, peers.Contestant):
            calls[peer], results[peer] = found.call, {}
        else:
            results[peer] = found
    moved = case.moved(given.arrays)
    floor = floors.read_of if case.part == VALUE else floors.copy_of
    calls["copy"] = floor(moved, take.threads)
    calls["copy"]()
    results = {**results, **take(calls)}
    return {"bytes": moved, **_limit(case, take, results), "results": results}


def _checked(
    peer: str, case: Case, given: compare_cases.Given, threads: int, truth: peers.Result
) -> peers.Contestant | dict[str, Any]:
    """A peer that has made the call and agrees; or why it is left out."""
    try:
        found = peers.contestant(peer, case, given, threads)
        for _ in range(2):
            result = found.read(found.call())
        if apart := peers.disagreement(case, truth, result):
            return {"disagrees": apart}
        return found
    except NotRunError as problem:
        return {"not_run": str(problem)}
    except Exception as problem:  # a peer's failure is a result, whatever it is
        return {"error": brief(problem)}


def _limit(case: Case, take: Turns, results: Results) -> dict[str, Any]:
    """Whether memory or arithmetic is the limit, and how long the arithmetic has to take."""
    milliseconds = 1000 * case.transcendental / take.limits["exponentials_per_second"]
    copied = results["copy"]["min_ms"]
    limit = "memory" if copied >= milliseconds else "arithmetic"
    limit = "call" if max(copied, milliseconds) < CALL else limit
    return {"arithmetic_ms": milliseconds, "limit": limit}


def against_one_thread(line: Line, case: Case, take: Turns) -> dict[str, Any]:
    """The same on one thread."""
    import refloss

    given = compare_cases.given(case)
    own = peers.contestant(OWN, case, given, take.threads).call

    def on(threads: int) -> Callable[[], Any]:
        def call() -> None:
            if refloss.get_num_threads() != threads:
                refloss.set_num_threads(threads)
            own()

        call()
        return call

    moved = case.moved(given.arrays)
    copy = floors.copy_of(moved, take.threads)
    copy()
    found = take({OWN: on(take.threads), "one thread": on(1), "copy": copy})
    refloss.set_num_threads(take.threads)
    return {"bytes": moved, **_limit(case, take, found), "results": found}


def against_products(line: Line, case: Case, take: Turns) -> dict[str, Any]:
    """The matrix products that the loss takes, alone."""
    own = peers.contestant(OWN, case, compare_cases.given(case), take.threads).call
    products = floors.products_of(*case.shape, compare_cases.PRODUCTS[case.loss])
    for call in (own, products):
        call()
    return {"limit": "products", "results": take({OWN: own, "products": products})}


def against_batches(line: Line, case: Case, take: Turns) -> dict[str, Any]:
    """Peers in processes of their own, for their memory."""
    loss = "batch_hard_triplet_loss" if case.variant == HARD else case.loss
    results: Results = {}
    for peer in (OWN, *line.peers):
        _, module, losses = growth.LIBRARIES[peer]
        if loss not in losses:
            continue
        if peer in compare_cases.BEYOND.get(case.name, ()):
            results[peer] = {"not_run": "needs more than six gigabytes, or a minute"}
            continue
        found = growth.in_fresh_process(peer, loss, case.shape[0])
        if "failed" in found:
            missing = f"No module named '{module}" in found["failed"]
            results[peer] = {"not_run" if missing else "error": found["failed"]}
            continue
        milliseconds = 1000 * found["seconds"]
        results[peer] = {"min_ms": milliseconds, "median_ms": milliseconds, "repetitions": 1}
        results[peer] |= {"megabytes": found["megabytes"], "value": found["value"]}
        if abs(found["value"] - results[OWN]["value"]) > 1e-3 * abs(results[OWN]["value"]):
            results[peer] = {"disagrees": f"value {found['value']:g}"}
    return {"results": results}


def first_calls(line: Line, case: Case, take: Turns) -> dict[str, Any]:
    """The slowest loss counts."""
    if not take.limits.get("first calls"):
        losses = cpu_cases.LOSSES[:2] if take.quick else cpu_cases.LOSSES
        FIRST.update(fresh.first_calls(losses))
        take.limits["first calls"] = len(losses)
    taken = {loss: found[line.kind] for loss, found in FIRST.items()}
    slowest = max(taken, key=lambda loss: taken[loss])
    return {"of": taken, "slowest": slowest, "results": {OWN: summary([taken[slowest]])}}


FIRST: dict[str, dict[str, float]] = {}


def audit(line: Line, case: Case, take: Turns) -> dict[str, Any]:
    """Once."""
    return {"results": {OWN: summary([fresh.audit()])}}


def memory(line: Line, case: Case, take: Turns) -> dict[str, Any]:
    """In a fresh process."""
    return {"results": {OWN: {"megabytes": fresh.megabytes_beside(case.loss, case.shape)}}}


KINDS: Mapping[str, Callable[[Line, Case, Turns], dict[str, Any]]] = {
    "peers": against_peers,
    "threads": against_one_thread,
    "products": against_products,
    "batch": against_batches,
    "first": first_calls,
    "again": first_calls,
    "audit": audit,
    "memory": memory,
}


def row(line: Line, case: Case, take: Turns) -> dict[str, Any]:
    """A case as it is written down: what was measured, or why nothing was."""
    described = {
        "case": case.name,
        "loss": case.loss,
        "shape": case.title if case.shape else "",
        "dtype": case.dtype,
        "variant": case.variant,
    }
    try:
        found = KINDS[line.kind](line, case, take)
    except NotRunError as problem:
        found = {"results": {OWN: {"not_run": str(problem)}}}
    except Exception as problem:  # one case's failure costs no other's result
        found = {"results": {OWN: {"error": brief(problem)}}}
    _forget()
    return compare_report.judged(line, {**described, **found})


def _forget() -> None:
    """Give back what peers have compiled for a case."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    if jax is not None:
        jax.clear_caches()


# What it ran on -----------------------------------------------------------------------------------


def machine(threads: int) -> dict[str, Any]:
    """The CPU, and how busy it was before."""
    facts = _facts(Path("/proc/cpuinfo"))
    flags = facts.get("flags", "").split()
    wide = [name for name in ("avx2", "avx512f", "amx_tile", "asimd", "sve") if name in flags]
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "model": " ".join(filter(None, (facts.get("cpu family"), facts.get("model")))),
        "vectors": wide,
        "threads": threads,
        "system": platform.platform(terse=True),
        "memory": _facts(Path("/proc/meminfo")).get("MemTotal"),
        "compiler": output_of("g++", "--version"),
        "load_before": os.getloadavg()[0],
    }


def _facts(path: Path) -> dict[str, str]:
    """The first value of each name."""
    found: dict[str, str] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found


def keep_to(threads: int) -> None:
    """Have everything that starts from here on run on as many CPUs."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("REFLOSS_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=true "
        f"intra_op_parallelism_threads={threads}"
    ).strip()


# The report ---------------------------------------------------------------------------------------


def report(chosen: Mapping[str, Sequence[Case]], quick: bool, threads: int) -> dict[str, Any]:
    """Everything that a run found out."""
    start = time.monotonic()
    where, measured = machine(threads), revision()
    take = Turns(quick, threads)
    take.limits |= floors.measured(threads)
    limits = dict(take.limits)
    found = {}
    for name, cases in chosen.items():
        rows = []
        for case in cases:
            rows.append(row(LINES[name], case, take))
            print(compare_report.progress(LINES[name], rows[-1]), file=sys.stderr, flush=True)
        found[name] = compare_report.line(LINES[name], rows)
    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": measured,
        "quick": quick,
        "machine": where,
        "versions": {"python": platform.python_version(), **{n: version(n) for n in VERSIONS}},
        "floors": limits,
        "lines": found,
        "seconds": round(time.monotonic() - start, 1),
    }


def default_path(found: Mapping[str, Any]) -> Path:
    """Where a report goes that nobody gave a name."""
    cpu = re.sub(r"\(.*?\)|@.*|\b(cpu|processor)\b", " ", found["machine"]["cpu"].lower())
    name = re.sub(r"[^a-z0-9]+", "-", f"{cpu} {found['machine']['model']}").strip("-")
    return RESULTS / f"speed-{name}-{found['date'][:10]}.json"


def chosen(lines: Sequence[str], pattern: str) -> dict[str, list[Case]]:
    """The cases of these lines that fit the pattern, or whose line does."""
    found = {
        name: [case for case in LINES[name].cases if fnmatch.fnmatch(case.name, pattern)]
        for name in lines
    }
    return {name: cases for name, cases in found.items() if cases}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="by default results/")
    parser.add_argument("--quick", action="store_true", help="few turns, few first calls")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES), metavar="LINE")
    parser.add_argument("--cases", metavar="GLOB", default="*", help="as --list prints them")
    parser.add_argument("--threads", type=int, default=THREADS, help="and CPUs, for everybody")
    parser.add_argument("--list", action="store_true", help="print lines and cases, and stop")
    asked = parser.parse_args(arguments)
    selected = chosen(asked.lines, asked.cases)
    if not selected:
        parser.error(f"no case is called {asked.cases!r}; see --list")
    if asked.threads < 1:
        parser.error("--threads: at least 1")
    if asked.list:
        for name, cases in selected.items():
            print(f"{name}: {LINES[name].title}", *(f"  {c.name}" for c in cases), sep="\n")
        return 0
    warnings.simplefilter("ignore")
    keep_to(asked.threads)
    found = report(selected, asked.quick, asked.threads)
    compare_report.show(found)
    path = asked.output or default_path(found)
    write(found, path)
    print(f"written to {path}")
    return 0 if compare_report.complete(found) else 2


if __name__ == "__main__":
    sys.exit(main())
