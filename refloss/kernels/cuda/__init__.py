"""The kernels for NVIDIA GPUs, in Numba CUDA: the functions of `refloss.kernels.arrays`.

What profits from a kernel of its own has one here, in float64; everything else is whole-array work
of the caller's library. Nothing is imported before it is asked for: that CUDA is missing is an
error of its own (`refloss.kernels.cuda.available`).
"""

from importlib import import_module
from typing import Any

# How much is worked on at once: a GPU is idle over less
ANCHORS = 4096
CANDIDATES = 8192
ROOM = 1 << 24

# A file may not have the name of one of these: importing it would put it in its place
WHERE = {
    "map_formula": "cuda.mapped",
    "class_sum": "cuda.mapped",
    "sum_pair": "cuda.mapped",
    "absorb": "cuda.similarity",
    "pulls": "cuda.similarity",
    "distances": "cuda.pairs",
    "steered": "cuda.pairs",
    "angles": "cuda.pairs",
    "turned": "cuda.pairs",
    "ordered": "cuda.selection",
    "number_below": "cuda.selection",
    "number_up_to": "cuda.selection",
    "running_sums": "cuda.selection",
    "taken": "cuda.selection",
    "constant": "arrays",
    "others": "arrays",
    "softmax": "arrays",
    "onehot": "arrays",
    "picked": "arrays",
    "row_max": "arrays",
    "nan_rows": "arrays",
    "poison": "arrays",
    "products": "arrays",
    "combine": "arrays",
}


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"refloss.kernels.{WHERE[name]}"), name)
    globals()[name] = found
    return found
