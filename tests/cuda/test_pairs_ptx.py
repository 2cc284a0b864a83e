"""The kernels of similarities and mined triplets, compiled: what each thread holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from numba import types

from refloss.formula import direction, triplet
from refloss.formula.similarity import across
from refloss.kernels.cuda import mapped, pairs, selection, similarity
from refloss.triplets import METRICS

from .compilation import compiled

pytestmark = pytest.mark.ptx

NUMBER, INDEX = types.float64, types.int64
NUMBERS, INDICES = types.Array(NUMBER, 1, "C"), types.Array(INDEX, 1, "C")


def several(kind: Any, count: int) -> Any:
    return types.UniTuple(kind, count) if count else types.Tuple(())


def mapping(formula: Any, lanes: int, **layout: str) -> tuple[Any, Any]:
    """A formula of arrays that lie in these ways, and the kernel's arguments."""
    laid = sorted(layout.items(), key=lambda item: item[1])
    kernel = mapped._map_kernel(formula, (), tuple((n, how, "float64") for n, how in laid), lanes)
    groups = [
        several(NUMBERS, sum(how in wanted for how in layout.values()))
        for wanted in (("column",), ("row",), ("single", "whole"))
    ]
    return kernel, (*groups, several(NUMBER, 0), several(NUMBERS, 1), INDEX, INDEX)


LABELS, ONE = several(INDICES, 2), several(NUMBER, 1)

# Each kernel, its arguments, and the registers of a thread that it may have: 128 let two blocks of
# 256 threads share a multiprocessor, 64 let four, 40 six
KERNELS = {
    "across": (
        *mapping(across, 2, unit="whole", pull="whole", along="row", length="row"),
        64,
    ),
    "overlap": (*mapping(direction.overlap, 2, first="whole", second="whole"), 40),
    "regrouped": (
        *mapping(
            triplet.regrouped,
            1,
            **dict.fromkeys(
                ["reach", "below", "passed", "running", "running_low", "start", "start_low"],
                "whole",
            ),
        ),
        64,
    ),
    **{
        f"class_sum, {team} threads a row": (
            mapped.sum_kernel(team),
            (NUMBERS, NUMBERS, INDEX, INDEX),
            64,
        )
        for team in (1, 8, 32, 256)
    },
    **{
        f"sum of parts by {threads} threads": (
            mapped.part_kernel(threads),
            (NUMBERS, NUMBERS, INDEX, INDEX),
            64,
        )
        for threads in (32, 256)
    },
    "sum of pairs": (mapped.pair_kernel(), (NUMBERS, NUMBERS, INDEX), 40),
    **{
        f"absorb, {team} threads a row": (
            similarity.absorb_kernel(team),
            (
                *(NUMBERS, LABELS, several(NUMBERS, 4), INDICES),
                *(several(NUMBERS, 4), INDICES, ONE, INDEX, INDEX, INDEX, INDEX),
            ),
            128,
        )
        for team in (1, 8, 32, 256)
    },
    **{
        f"pulls{' by column' if by_column else ''}": (
            similarity.pull_kernel(by_column),
            (
                *(NUMBERS, LABELS, several(NUMBERS, 5), INDICES, ONE, NUMBERS),
                *(INDEX, INDEX, INDEX, INDEX),
            ),
            64,
        )
        for by_column in (False, True)
    },
    **{
        f"{name} {what}": (
            pairs.metric_kernel(metric, what == "distances"),
            (NUMBERS, NUMBERS, several(NUMBERS, count), INDEX, INDEX, INDEX),
            64,
        )
        for name, metric in METRICS.items()
        for what, count in (("distances", 1), ("totals", 2))
    },
    **{
        f"{name} steered": (
            pairs.steering_kernel(metric),
            (
                *(NUMBERS, NUMBERS, several(NUMBERS, 3 if pairs._needs_pair(metric) else 1)),
                *(NUMBERS, INDEX, INDEX, INDEX),
            ),
            64,
        )
        for name, metric in METRICS.items()
    },
    **{
        f"angles, {count} numbers": (
            pairs.angle_kernel(count == 1),
            (NUMBERS, NUMBERS, several(NUMBERS, count), INDEX, INDEX, INDEX),
            64,
        )
        for count in (1, 3)
    },
    "turned": (
        pairs.turning_kernel(),
        (NUMBERS, NUMBERS, several(NUMBERS, 4), NUMBERS, INDEX, INDEX, INDEX),
        64,
    ),
    **{
        f"numbers {'up to' if up_to else 'below'}": (
            selection.count_kernel(up_to),
            (NUMBERS, NUMBERS, INDICES, INDEX, INDEX, INDEX),
            40,
        )
        for up_to in (False, True)
    },
    "running sums": (selection.running_kernel(), (NUMBERS, NUMBERS, NUMBERS, INDEX, INDEX), 64),
}
VECTORS = ("across", "overlap")


@pytest.mark.parametrize("cc", [(9, 0)], ids=["sm_90"])  # sm_80 has the same registers
@pytest.mark.parametrize("name", KERNELS)
def test_what_a_thread_holds(
    name: str, cc: tuple[int, int], record_property: Callable[[str, Any], None]
) -> None:
    kernel, arguments, most = KERNELS[name]
    found = compiled(kernel, arguments, cc)
    record_property("registers", found.registers)
    assert (found.spills, found.stack) == (0, 0)
    assert found.registers <= most
    assert not found.having("ftz")
    assert not found.having("f32")  # all of it is float64
    assert bool(found.having("v2")) == (name in VECTORS)
    assert not any(name.startswith(("atom", "red")) for name in found.instructions)
