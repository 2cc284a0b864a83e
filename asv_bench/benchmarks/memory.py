"""Peak memory of a process that computes value and gradient, its inputs included."""

from typing import Any

import cpu_cases

LARGE = {
    "huber_loss": (1 << 23,),
    "cross_entropy": (8192, 1000),
    "distillation_loss": (8192, 1000),
    "triplet_margin_loss": (16384, 128),
    "nt_xent_loss": (2048, 64),
    "batch_triplet_loss": (512, 64),
}


class Peak:
    params = (list(LARGE),)
    param_names = ("loss",)
    timeout = 120.0

    def setup(self, loss: str) -> None:
        cpu_cases.threads(1)
        self.given = cpu_cases.arguments(loss, LARGE[loss], "float32")
        small = cpu_cases.ROOMS[cpu_cases.room_of(loss)].shapes[0]
        # compiles for the same types
        cpu_cases.call_of(loss, "value_and_gradient", cpu_cases.arguments(loss, small, "float32"))

    def peakmem_value_and_gradient(self, loss: str) -> Any:
        return cpu_cases.loss_of(loss).value_and_grad(*self.given)
