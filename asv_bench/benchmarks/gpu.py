"""The cases of `asv_bench/gpu.py` for airspeed velocity; without a device they are skipped."""

import sys

import gpu
import gpu_cases

# The script lets the working tree's refloss be imported; here it has to be the commit's.
sys.path.remove(str(gpu.ROOT))

BY_NAME = {case.name: case for case in gpu_cases.CASES}


class ValueAndGradient:
    """Value and gradient of a mean, until the device has finished."""

    params = (list(BY_NAME), list(gpu_cases.PEERS))
    param_names = ("case", "peer")

    def setup(self, name: str, peer: str) -> None:
        if gpu.obstacle() is not None:
            raise NotImplementedError(gpu.obstacle())  # asv's word for a skip
        case = BY_NAME[name]
        try:
            self.call = gpu_cases.maker(peer, case)
        except gpu_cases.NotRunError as reason:
            raise NotImplementedError(str(reason)) from None
        self.inputs = gpu_cases.inputs(case)
        self.time_call(name, peer)  # compiles

    def time_call(self, name: str, peer: str) -> None:
        import torch

        self.call(*self.inputs)
        torch.cuda.synchronize()
