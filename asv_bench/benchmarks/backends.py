"""The same call by each backend that takes NumPy arrays: the kernels, and formulas over arrays."""

from typing import Any

import cpu_cases
import timing


class Backends:
    params = (
        ["huber_loss", "cross_entropy", "triplet_margin_loss", "nt_xent_loss"],
        ["numba", "array"],
        list(cpu_cases.DTYPES),
    )
    param_names = ("loss", "backend", "dtype")
    rounds, repeat, sample_time = 1, timing.Timed.repeat, timing.Timed.sample_time
    warmup_time, timeout = 0.0, timing.Timed.timeout
    timer = staticmethod(timing.Timed.timer)

    def setup(self, loss: str, backend: str, dtype: str) -> None:
        cpu_cases.threads(1)
        shape = cpu_cases.ROOMS[cpu_cases.room_of(loss)].shapes[-1]
        given = cpu_cases.arguments(loss, shape, dtype)
        self.call = cpu_cases.call_of(loss, "value_and_gradient", given, backend)

    def time_backend_value_and_gradient(self, *case: Any) -> None:
        self.call()
