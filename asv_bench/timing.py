"""What the timed benchmarks of every shape have in common: asv finds them in `benchmarks/`."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import cpu_cases
from cpu_cases import DTYPES, ROOMS

Params = list[list[str]]


class Timed:
    """A call that has been made before; the median of a few repetitions counts.

    On one thread, by the time that the process had a CPU: what else the machine does in between
    would be taken for the commit's. Those times decide. What several threads take only informs, and
    has to be taken by the clock on the wall: `Parallel`.
    """

    rounds = 1
    repeat = (3, 20, 0.4)  # at least, at most, seconds
    sample_time = 0.01
    warmup_time = 0.0  # `setup` has called already
    timeout = 120.0
    param_names = ("loss", "shape", "dtype")
    timer = staticmethod(time.process_time)
    threads = 1
    part = ""
    params: ClassVar[Params] = []

    def setup(self, loss: str, shape: str, dtype: str) -> None:
        cpu_cases.threads(self.threads)
        given = cpu_cases.arguments(loss, cpu_cases.shape_of(shape), dtype)
        self.call = cpu_cases.call_of(loss, self.part, given)


class Value(Timed):
    """The value alone."""

    part = "value"

    def time_value(self, *case: Any) -> None:
        self.call()


class Gradient(Timed):
    """The gradient alone."""

    part = "gradient"

    def time_gradient(self, *case: Any) -> None:
        self.call()


class ValueAndGradient(Timed):
    """Both, from one pass."""

    part = "value_and_gradient"

    def time_value_and_gradient(self, *case: Any) -> None:
        self.call()


class Curvature(Timed):
    """Gradient and diagonal of the Hessian, from one pass, as boosting libraries ask for them."""

    part = "gradient_and_curvature"

    def time_gradient_and_curvature(self, *case: Any) -> None:
        self.call()


class Parallel(Timed):
    """Value and gradient on two threads."""

    part = "value_and_gradient"
    timer = staticmethod(time.perf_counter)
    threads = 2

    def time_parallel_value_and_gradient(self, *case: Any) -> None:
        self.call()


def everywhere(room: str) -> Params:
    """The losses of a room, at all shapes and in all dtypes: first what asv shows first."""
    shapes = [cpu_cases.shown(shape) for shape in reversed(ROOMS[room].shapes)]
    return [list(ROOMS[room].losses), shapes, [*DTYPES]]


def once(room: str, *losses: str) -> Params:
    """The losses of a room (or some) at the one shape and dtype that stand for all."""
    return [list(losses or ROOMS[room].losses), everywhere(room)[1][:1], ["float32"]]
