"""The largest error of each loss, region and dtype, in ulps, against the certified answers.

One process of a commit audits the losses of a class; each parameter reads what that found. The
questions are those of the commit itself: one that asks harder ones may raise a number too. A long
history asks about few losses: REFLOSS_BENCH_LOSSES=huber_loss,cross_entropy.
"""

import os
from collections.abc import Sequence

import cpu_cases
import errors

REGIONS = errors.regions()
OTHERS = tuple(loss for loss in REGIONS if loss not in cpu_cases.LOSSES)


def _params(losses: Sequence[str]) -> list[list[str]]:
    cases = [f"{loss}: {region}" for loss in losses for region in REGIONS.get(loss, ())]
    return [cases, list(cpu_cases.DTYPES)]


def _audited(losses: Sequence[str]) -> errors.Errors:
    found: errors.Errors = {}
    wanted = os.environ.get("REFLOSS_BENCH_LOSSES", "")
    for loss in losses:
        if not wanted or loss in wanted.split(","):
            found |= errors.of_loss(loss, cpu_cases.DTYPES)
    return found


def _largest(found: errors.Errors, case: str, dtype: str) -> float:
    loss, region = case.split(": ")
    parts = [(loss, region, dtype, part) for part in ("value", "gradient")]
    known = [found[part] for part in parts if part in found]
    if not known:
        raise NotImplementedError("nothing is asked there, or not in this commit")
    return max(known)


class Elementwise:
    params = _params(cpu_cases.ROOMS["elementwise"].losses)
    param_names = ("case", "dtype")

    def setup_cache(self) -> errors.Errors:
        return _audited(cpu_cases.ROOMS["elementwise"].losses)

    def setup(self, found: errors.Errors, case: str, dtype: str) -> None:
        _largest(found, case, dtype)  # or a skip

    def track_max_ulp(self, found: errors.Errors, case: str, dtype: str) -> float:
        return _largest(found, case, dtype)

    setup_cache.timeout = 600
    track_max_ulp.unit = "ulp"


class Rowwise(Elementwise):
    params = _params(cpu_cases.ROOMS["rowwise"].losses)

    def setup_cache(self) -> errors.Errors:
        return _audited(cpu_cases.ROOMS["rowwise"].losses)

    setup_cache.timeout = 600


class Pairwise(Elementwise):
    params = _params(cpu_cases.ROOMS["pairwise"].losses)

    def setup_cache(self) -> errors.Errors:
        return _audited(cpu_cases.ROOMS["pairwise"].losses)

    setup_cache.timeout = 600


class Batch(Elementwise):
    params = _params(cpu_cases.ROOMS["batch"].losses)

    def setup_cache(self) -> errors.Errors:
        return _audited(cpu_cases.ROOMS["batch"].losses)

    setup_cache.timeout = 600


class Others(Elementwise):
    """What is no loss, but has certified answers too: miners, weights, labels."""

    params = _params(OTHERS)

    def setup_cache(self) -> errors.Errors:
        return _audited(OTHERS)

    setup_cache.timeout = 600
