"""Time and peak memory of losses over a whole batch, as the batch grows, beside other libraries.

    python asv_bench/growth.py                         # all losses, until a minute or 6 GB a call
    python asv_bench/growth.py --loss nt_xent_loss --sizes 1024 4096 32768 --json growth.json

Every measurement is value and gradient of one batch of float32 embeddings, in a fresh process that
has warmed up on a small batch; time is the best of three, memory what the call needs on top of what
was there. The growth exponent is the slope of log(time), or log(memory), over log(N) between the
two largest batches. Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Batch = tuple[Any, Any]
Call = Callable[[Any, Any], Any]

SIZES = {
    "nt_xent_loss": (512, 1024, 2048, 4096, 8192, 16384, 32768),
    "sup_con_loss": (512, 1024, 2048, 4096, 8192),
    "batch_triplet_loss": (64, 128, 256, 512, 1024, 2048, 4096),
    "batch_hard_triplet_loss": (64, 128, 256, 512, 1024, 2048, 4096),
}
COMPONENTS = 128
CLASSES = 32
TEMPERATURE = 0.1
SECONDS, MEGABYTES = 60.0, 6000.0  # where an implementation is not taken further
STATUS = Path("/proc/self/status")


def batch(loss: str, size: int) -> Batch:
    """Embeddings and labels: two noisy views of each example, or classes."""
    rng = np.random.default_rng(size)
    if loss == "nt_xent_loss":
        views = rng.normal(size=(size // 2, COMPONENTS))
        both = np.concatenate([views, views]) + rng.normal(size=(size, COMPONENTS))
        return both.astype(np.float32), np.tile(np.arange(size // 2), 2)
    labels = rng.integers(0, CLASSES, size)
    centres = rng.normal(scale=0.3, size=(CLASSES, COMPONENTS))
    return (centres[labels] + rng.normal(size=(size, COMPONENTS))).astype(np.float32), labels


# Implementations: what makes a call, given the loss -----------------------------------------------


def by_refloss(loss: str) -> Call:
    import refloss

    def nt_xent(x: Any, labels: Any) -> Any:
        half = len(x) // 2
        names = ("z_i", "z_j")
        return refloss.nt_xent_loss.value_and_grad(x[:half], x[half:], TEMPERATURE, wrt=names)

    return {
        "nt_xent_loss": nt_xent,
        "sup_con_loss": lambda x, y: refloss.sup_con_loss.value_and_grad(x, y, TEMPERATURE),
        "batch_triplet_loss": lambda x, y: refloss.batch_triplet_loss.value_and_grad(x, y),
        "batch_hard_triplet_loss": lambda x, y: refloss.batch_triplet_loss.value_and_grad(
            x, y, mining="hard"
        ),
    }[loss]


def by_torch(loss: str) -> Call:
    """As people write it: the matrix of all similarities, or of all triplets."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    def similarities(x: Any) -> Any:
        unit = F.normalize(x)
        s = unit @ unit.T / TEMPERATURE
        return s.masked_fill(torch.eye(len(x), dtype=torch.bool), -math.inf)

    def nt_xent(x: Any, labels: Any) -> Any:
        return F.cross_entropy(similarities(x), torch.arange(len(x)).roll(len(x) // 2))

    def sup_con(x: Any, labels: Any) -> Any:
        log_p = similarities(x).log_softmax(1)
        same = (labels[:, None] == labels) & ~torch.eye(len(x), dtype=torch.bool)
        return -(log_p.where(same, torch.zeros(())).sum(1) / same.sum(1)).mean()

    def batch_triplet(x: Any, labels: Any) -> Any:
        distance = torch.cdist(x, x)
        same = (labels[:, None] == labels) & ~torch.eye(len(x), dtype=torch.bool)
        other = labels[:, None] != labels
        hinges = torch.relu(distance[:, :, None] - distance[:, None, :] + 1)
        return hinges[same[:, :, None] & other[:, None, :]].mean()

    def batch_hard(x: Any, labels: Any) -> Any:
        distance = torch.cdist(x, x)
        same = labels[:, None] == labels
        farthest = distance.masked_fill(~same, -math.inf).amax(1)
        nearest = distance.masked_fill(same, math.inf).amin(1)
        return torch.relu(farthest - nearest + 1).mean()

    known = {
        "nt_xent_loss": nt_xent,
        "sup_con_loss": sup_con,
        "batch_triplet_loss": batch_triplet,
        "batch_hard_triplet_loss": batch_hard,
    }
    return differentiated(known[loss])


def by_pytorch_metric_learning(loss: str) -> Call:
    from pytorch_metric_learning import distances, losses, miners, reducers

    euclidean = distances.LpDistance(normalize_embeddings=False)

    def triplets() -> Call:
        return losses.TripletMarginLoss(
            margin=1, distance=euclidean, reducer=reducers.MeanReducer()
        )

    def batch_hard() -> Call:
        loss, miner = triplets(), miners.BatchHardMiner(distance=euclidean)
        return lambda x, labels: loss(x, labels, miner(x, labels))

    made = {
        "nt_xent_loss": lambda: losses.NTXentLoss(temperature=TEMPERATURE),
        "sup_con_loss": lambda: losses.SupConLoss(temperature=TEMPERATURE),
        "batch_triplet_loss": triplets,
        "batch_hard_triplet_loss": batch_hard,
    }
    return differentiated(made[loss]())


def differentiated(function: Call) -> Call:
    """A torch loss with its backward pass."""
    import torch

    def call(x: Any, labels: Any) -> Any:
        tensor = torch.tensor(x, requires_grad=True)
        value = function(tensor, torch.tensor(labels))
        value.backward()
        return value.item(), tensor.grad.numpy()

    return call


def by_optax(loss: str) -> Call:
    import jax
    import optax

    compiled = jax.jit(jax.value_and_grad(lambda x, y: optax.losses.ntxent(x, y, TEMPERATURE)))

    def call(x: Any, labels: Any) -> Any:
        value, gradient = compiled(x, labels)
        return float(value), np.asarray(gradient)

    return call


LIBRARIES: dict[str, tuple[Callable[[str], Call], str, tuple[str, ...]]] = {
    "refloss": (by_refloss, "refloss", tuple(SIZES)),
    "torch": (by_torch, "torch", tuple(SIZES)),
    "pytorch-metric-learning": (
        by_pytorch_metric_learning,
        "pytorch_metric_learning",
        tuple(SIZES),
    ),
    "optax": (by_optax, "optax", ("nt_xent_loss",)),
}


# Measuring ----------------------------------------------------------------------------------------


def status(field: str) -> float:
    """A line of /proc/self/status, in MB."""
    line = next(row for row in STATUS.read_text().splitlines() if row.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def measure(library: str, loss: str, size: int) -> dict[str, float]:
    """One call in this process: value, seconds, and megabytes on top of what was there."""
    call = LIBRARIES[library][0](loss)
    call(*batch(loss, 64))
    x, labels = batch(loss, size)
    if library == "optax":
        call(x, labels)  # compiled anew for each shape
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before, best = status("VmRSS"), math.inf
    for repetition in range(3):
        start = time.perf_counter()
        value, _ = call(x, labels)
        best = min(best, time.perf_counter() - start)
        if repetition == 0:
            peak = status("VmHWM") - before
        if best > SECONDS / 10:
            break
    return {"value": float(value), "seconds": best, "megabytes": max(peak, 0.0)}


def in_fresh_process(library: str, loss: str, size: int) -> dict[str, Any]:
    """The measurement, or what went wrong."""
    asked = ["--measure", library, "--loss", loss, "--sizes", str(size)]
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, *asked],
            capture_output=True,
            text=True,
            timeout=10 * SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"failed": "took too long"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return {"failed": last[0]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def grown(library: str, loss: str, sizes: list[int]) -> Iterator[dict[str, Any]]:
    """Batch after batch, as long as the next one is likely to end."""
    last: list[dict[str, Any]] = []
    for size in sizes:
        if last:
            longer = (size / last[-1]["size"]) ** exponent(last, "seconds", default=2.0)
            larger = (size / last[-1]["size"]) ** exponent(last, "megabytes", default=2.0)
            if last[-1]["seconds"] * longer > SECONDS and library != "refloss":
                return
            if last[-1]["megabytes"] * larger > MEGABYTES:
                return
        row = {"loss": loss, "library": library, "size": size}
        row |= in_fresh_process(library, loss, size)
        yield row
        if "failed" in row:
            return
        last.append(row)


def exponent(rows: list[dict[str, Any]], what: str, default: float = math.nan) -> float:
    """The slope of the logarithm over the logarithm of N, between the two largest batches."""
    known = [row for row in rows if row.get(what, 0) > 0]
    if len(known) < 2:
        return default
    (first, second) = known[-2:]
    return math.log(second[what] / first[what]) / math.log(second["size"] / first["size"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("--loss", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument(
        "--library", dest="names", nargs="+", choices=LIBRARIES, default=list(LIBRARIES)
    )
    parser.add_argument("--sizes", nargs="+", type=int, help="of the batches, N")
    parser.add_argument("--json", type=Path, help="a file to write the measurements to")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.loss[0], asked.sizes[0])))
        return
    rows: list[dict[str, Any]] = []
    for loss in asked.loss:
        print(f"\n{loss}, {COMPONENTS} components, value and gradient, float32")
        print(f"{'':25}{'N':>7}{'seconds':>12}{'extra MB':>12}{'value':>14}")
        for library in asked.names:
            _, module, losses = LIBRARIES[library]
            if find_spec(module) is None or loss not in losses:
                continue
            found = []
            for row in grown(library, loss, asked.sizes or list(SIZES[loss])):
                found.append(row)
                print(line(row), flush=True)
            slopes = (exponent(found, what) for what in ("seconds", "megabytes"))
            print(f"{library:25}{'~ N^':>7}" + "".join(f"{slope:>12.2f}" for slope in slopes))
            rows += found
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def line(row: dict[str, Any]) -> str:
    """One measurement, to be read."""
    head = f"{row['library']:25}{row['size']:>7}"
    if "failed" in row:
        return f"{head}  {row['failed']}"
    return f"{head}{row['seconds']:>12.4f}{row['megabytes']:>12.1f}{row['value']:>14.6g}"


RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    main()
