"""Calls whose arrays end, or begin, where memory does: what reads or writes beyond is killed.

Run as a script, which names a call before it makes it. NumPy is given an allocator that puts every
array between two pages that nobody may touch: arguments, results and what kernels keep in between.
``beyond`` or ``before`` as an argument steps over the wall instead, to see that it stands.
"""

import ctypes
import faulthandler
import mmap
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
from numpy._core.multiarray import get_handler_name

import refloss
from refloss import vectorised
from refloss.kernels.simd.rows import PART
from refloss.vectorised import FEW, MANY_PARTS

Array = Any
Call = Callable[[], Any]

NAME = b"walled"
CAPSULE = b"mem_handler"
SET_HANDLER = 304  # the place of PyDataMem_SetHandler among NumPy's functions for C
PAGE = mmap.PAGESIZE

BFLOAT16 = ml_dtypes.bfloat16
COUNTS = (1, 7, 8, 9, 17)
CLASSES = (1, 2, 7, 8, 9, 63, 64, 65, 71, 72, 100, 1000)

_Pointer, _Size = ctypes.c_void_p, ctypes.c_size_t


class Allocator(ctypes.Structure):
    """NumPy's ``PyDataMemAllocator``."""

    _fields_ = [(name, _Pointer) for name in ("context", "malloc", "calloc", "realloc", "free")]


class Handler(ctypes.Structure):
    """NumPy's ``PyDataMem_Handler``."""

    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("allocator", Allocator),
    ]


class Walls:
    """Memory whose last byte, or first, has a wall behind it, or before it."""

    def __init__(self) -> None:
        self.at_end = True
        self.held: dict[int, tuple[int, int, int]] = {}
        system = ctypes.CDLL(None, use_errno=True)
        whole, page = ctypes.c_int, ctypes.c_long
        system.mmap.restype = _Pointer
        system.mmap.argtypes = _Pointer, _Size, whole, whole, whole, page
        system.mprotect.argtypes = _Pointer, _Size, whole
        system.munmap.argtypes = _Pointer, _Size
        self.system = system
        kinds = {
            "malloc": ctypes.CFUNCTYPE(_Pointer, _Pointer, _Size),
            "calloc": ctypes.CFUNCTYPE(_Pointer, _Pointer, _Size, _Size),
            "realloc": ctypes.CFUNCTYPE(_Pointer, _Pointer, _Pointer, _Size),
            "free": ctypes.CFUNCTYPE(None, _Pointer, _Pointer, _Size),
        }
        self.functions = [kind(getattr(self, name)) for name, kind in kinds.items()]
        addresses = [ctypes.cast(function, _Pointer).value for function in self.functions]
        self.handler = Handler(NAME, 1, Allocator(None, *addresses))

    def malloc(self, _: Any, size: int) -> int:
        size = max(size, 1)
        inside = -(-size // PAGE) * PAGE
        readable, private = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        base: int = self.system.mmap(None, inside + 2 * PAGE, readable, private, -1, 0)
        assert not self.system.mprotect(base, PAGE, 0)
        assert not self.system.mprotect(base + PAGE + inside, PAGE, 0)
        start = base + PAGE + (inside - size if self.at_end else 0)
        self.held[start] = base, inside + 2 * PAGE, size
        return start

    def calloc(self, _: Any, count: int, size: int) -> int:
        return self.malloc(None, count * size)  # zeros, as the system gives it

    def realloc(self, _: Any, old: int | None, size: int) -> int:
        new = self.malloc(None, size)
        if old:
            ctypes.memmove(new, old, min(size, self.held[old][2]))
            self.free(None, old, 0)
        return new

    def free(self, _: Any, start: int | None, size: int) -> None:
        if start:
            base, length, _size = self.held.pop(start)
            self.system.munmap(base, length)

    def stand(self) -> None:
        """Have NumPy's new arrays of this thread between walls, as long as the process lives."""
        python = ctypes.pythonapi
        python.PyCapsule_New.restype = ctypes.py_object
        python.PyCapsule_New.argtypes = _Pointer, ctypes.c_char_p, _Pointer
        python.PyCapsule_GetPointer.restype = _Pointer
        python.PyCapsule_GetPointer.argtypes = ctypes.py_object, ctypes.c_char_p
        table = python.PyCapsule_GetPointer(np._core.multiarray._ARRAY_API, None)
        function = ctypes.cast(table, ctypes.POINTER(_Pointer))[SET_HANDLER]
        set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(function)
        set_handler(python.PyCapsule_New(ctypes.addressof(self.handler), CAPSULE, None))
        assert get_handler_name(np.empty(1)) == NAME.decode()


RNG = np.random.default_rng(0)


def numbers(*shape: int, dtype: Any = np.float32) -> Array:
    return RNG.normal(size=shape).astype(dtype)


def shares(*shape: int, dtype: Any = np.float32) -> Array:
    return RNG.uniform(0.1, 0.9, shape).astype(dtype)


def labels(count: int, classes: int) -> Array:
    """The last class comes first, for it is the one at the end; the second row is ignored."""
    found = RNG.integers(0, classes, count)
    found[0], found[1:2] = classes - 1, -100
    return found


def of_rows(n: int, c: int) -> Iterator[tuple[str, Call]]:
    entropy, options = refloss.cross_entropy, {"reduction": "none"}
    z, y, weight = numbers(n, c), labels(n, c), shares(c)
    double, masses = numbers(n, c, dtype=np.float64), shares(n, c, dtype=np.float64)
    yield "labels", lambda: entropy.value_and_grad(z, y, **options)
    smoothing = {"weight": weight, "label_smoothing": 0.125}
    yield "labels, weight, smoothing", lambda: entropy.hessian_diag(double, y, **smoothing)
    upstream = {"grad_output": numbers(n, dtype=np.float64), "wrt": ("input", "target")}
    yield "masses, upstream", lambda: entropy.grad(double, masses, **upstream, **options)
    yield "a power", lambda: refloss.softmax_focal_loss.value_and_grad(z, y, gamma=0.5)
    yield "value", lambda: refloss.nll_loss(-shares(n, c), y, weight=weight)
    if c in (2, 9, 72):
        thrice = numbers(n, c, 3), np.repeat(y[:, None], 3, axis=1)
        yield "positions", lambda: entropy.value_and_grad(*thrice, **options)
    short = {"input": numbers(n, c, dtype=np.float16), "teacher": numbers(n, c, dtype=np.float16)}
    both: dict[str, Any] = {"wrt": tuple(short), "reduction": "none"}
    yield "float16", lambda: refloss.distillation_loss.value_and_grad(**short, **both)
    shorter = numbers(n, c, dtype=BFLOAT16)
    yield "bfloat16", lambda: entropy.value_and_grad(shorter, y)


def of_elements(n: int) -> Iterator[tuple[str, Call]]:
    x, y = numbers(n), numbers(n)
    both: dict[str, Any] = {"wrt": ("input", "target"), "reduction": "none"}
    yield "both", lambda: refloss.mse_loss.value_and_grad(x, y, **both)
    double, target = numbers(n, dtype=np.float64), shares(n, dtype=np.float64)
    weights = {"weight": shares(n), "pos_weight": shares(1)}
    logits = refloss.binary_cross_entropy_with_logits
    yield "weights", lambda: logits.hessian_diag(double, target, **weights)
    short = numbers(n, dtype=BFLOAT16), numbers(n, dtype=BFLOAT16)
    yield "bfloat16", lambda: refloss.mse_loss(*short)
    half = numbers(n, dtype=np.float16), shares(n, dtype=np.float16)
    upstream = {"grad_output": numbers(n, dtype=np.float16), "reduction": "none"}
    yield "float16", lambda: refloss.kl_div.grad(*half, **upstream)


def of_pairs(n: int, d: int) -> Iterator[tuple[str, Call]]:
    x, y, signs = numbers(n, d), numbers(n, d), np.ones(n, np.int8)
    both = {"wrt": ("input1", "input2"), "reduction": "none"}
    yield "cosine", lambda: refloss.cosine_embedding_loss.value_and_grad(x, y, signs, **both)
    three = [numbers(n, d, dtype=np.float64) for _ in range(3)]
    yield "triplet", lambda: refloss.triplet_margin_loss.value_and_grad(*three, swap=True)
    short = [numbers(n, d, dtype=BFLOAT16) for _ in range(2)]
    marks = np.ones(n, bool)
    yield "bfloat16", lambda: refloss.contrastive_loss.value_and_grad(*short, marks)


def of_few(n: int, c: int) -> Iterator[tuple[str, Call]]:
    """What is widened first, and rounded at the end."""
    options: dict[str, Any] = {"reduction": "none"}
    half, y = numbers(n, c, dtype=np.float16), labels(n, c)
    upstream = {**options, "grad_output": numbers(n, dtype=np.float16)}
    yield "rows", lambda: refloss.cross_entropy.value_and_grad(half, y, **upstream)
    single = numbers(n, c)
    yield "elements", lambda: refloss.l1_loss.value_and_grad(single, single + 1, **options)


def of_batches(n: int, d: int) -> Iterator[tuple[str, Call]]:
    x, groups = numbers(n, d), RNG.integers(0, 3, n)
    yield "contrast", lambda: refloss.sup_con_loss.value_and_grad(x, groups)
    sides = {"query": numbers(n, d, dtype=np.float64), "positive_key": numbers(n, d, dtype=float)}
    sides["negative_keys"] = numbers(2 * n - 1, d, dtype=np.float64)
    yield "queue", lambda: refloss.info_nce_loss.value_and_grad(**sides, wrt=tuple(sides))
    for mining, distance in (("all", "euclidean"), ("hard", "cosine"), ("semihard", "cityblock")):
        options: dict[str, Any] = {"mining": mining, "distance": distance}
        yield (
            f"{mining}, {distance}",
            lambda options=options: refloss.batch_triplet_loss.value_and_grad(x, groups, **options),
        )


def calls() -> Iterator[tuple[str, Call]]:
    """All of them; of kernels, as many as it takes to have one of each kind."""
    for n in COUNTS:
        for name, call in of_elements(FEW + n):
            yield f"elements: {name}, {FEW + n}", call
        for c in CLASSES:
            many = FEW // c + n
            for name, call in of_rows(many, c):
                yield f"rows: {name}, {many} of {c} classes", call
            for name, call in of_few(n, c) if n * c <= FEW else ():
                yield f"few: {name}, {n} of {c} classes", call
        for name, call in of_rows(n, PART * MANY_PARTS + n) if n in (1, 7, 9) else ():
            yield f"rows: {name}, {n} of many classes", call
        for d in (1, 7, 8, 9, 33, 65, 72):
            many = FEW // d + n
            for name, call in of_pairs(many, d):
                yield f"pairs: {name}, {many} of {d} components", call
            for name, call in of_batches(n, d):
                yield f"batches: {name}, {n} of {d} components", call


def main(step: str = "") -> None:
    faulthandler.enable()
    refloss.set_num_threads(1)  # another thread would have another allocator
    walls = Walls()
    walls.stand()
    if step:
        walls.at_end = step == "beyond"
        x = np.empty(7, np.float32)
        ctypes.string_at(x.ctypes.data + (x.nbytes if walls.at_end else -1), 1)  # no return from it
        return
    made = 0
    for walls.at_end in (True, False):
        for name, call in calls():
            print(name, "at the end" if walls.at_end else "at the beginning", flush=True)
            vectorised._mine.__dict__.clear()  # a larger room would hide something
            for _ in range(2):  # and once more, as a loss that remembers such a call
                call()
            made += 1
    print("made", made, flush=True)


if __name__ == "__main__":
    status = 0
    try:
        main(*sys.argv[1:])
    except Exception:
        traceback.print_exc()
        status = 1
    os._exit(status)  # at once, for arrays would outlive what gives their memory back
