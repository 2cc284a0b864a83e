"""From the caller's arguments to a plan: array type to kernels, shapes to a layout.

`elementwise` and `rowwise` check what every loss of that shape has in common; what is particular
to one loss is checked in its own file.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
from array_api_compat import device, is_cupy_array

from refloss import arguments
from refloss.blocks import ElementBlock, RowBlock
from refloss.evaluation import Formulas, Plan
from refloss.kernels.cuda import available
from refloss.similarity import Side, SimilarityPlan
from refloss.triplets import DISTANCES, MININGS
from refloss.vectors import PairBlock, norm_of

Array = Any
Formula = Callable[..., Any]

REDUCTIONS = ("none", "mean", "sum")
WITH_BATCHMEAN = (*REDUCTIONS, "batchmean")
MAX_AXES = 7
MOST_IN_FLOAT32 = 1 << 24

KERNELS = {"numba": "cpu", "array": "arrays", "cuda": "cuda", "cuda:float32": "cuda.single"}


def kernels_for(
    model: Array, backend: str | None, name: str = "input", *, in_float32: bool = False
) -> ModuleType:
    """The kernels that run a call.

    Numba for NumPy arrays; on a CUDA device the CUDA kernels if they can run here; the array path
    for all others. ``name`` is the argument that ``model`` came as; ``in_float32`` says that the
    call has a variant with float32 arithmetic.
    """
    if backend is None:
        backend = _usual_backend(model)
    arguments.one_of("backend", backend, tuple(KERNELS))
    if backend == "numba" and not isinstance(model, np.ndarray):
        raise TypeError(
            f"{name}: backend='numba' expected a NumPy array, got {type(model).__name__}; "
            "backend='array' takes it"
        )
    if backend == "array":
        _can_compute(model, name)
    if backend.startswith("cuda"):
        _fits_cuda(model, backend, name, in_float32)
        available.require()
    return import_module(f"refloss.kernels.{KERNELS[backend]}")


def _usual_backend(model: Array) -> str:
    if isinstance(model, np.ndarray):
        return "numba"
    return "cuda" if arguments.on_cuda(model) and available.reason() is None else "array"


def _probe(model: Array) -> Array:
    """A piece of the array that tells what its library can do; CuPy tells by running a kernel."""
    xp = arguments.namespace(model)
    if is_cupy_array(model) and arguments.dtype_name(model) == "bfloat16":
        return xp.zeros(1, dtype=model.dtype)
    return model[:0, ...] if model.ndim else xp.reshape(model, (1,))


def _fits_cuda(model: Array, backend: str, name: str, in_float32: bool) -> None:
    if backend == "cuda:float32" and not in_float32:
        raise ValueError(
            "backend: 'cuda:float32' is for losses of elements, of rows of classes and of pairs of "
            "vectors, this is none; backend='cuda' runs it"
        )
    if isinstance(model, np.ndarray):
        if not available.simulated():
            raise TypeError(
                f"{name}: backend={backend!r} expected an array on a CUDA device, got a NumPy "
                "array; copy it there with cupy.asarray, or with .cuda() as a torch tensor"
            )
    elif not arguments.on_cuda(model):
        raise TypeError(
            f"{name}: backend={backend!r} expected a CuPy array or a torch tensor on a CUDA "
            f"device, got {type(model).__name__} on {device(model)}"
        )
    if backend == "cuda:float32" and arguments.dtype_name(model) == "float64":
        raise TypeError(
            f"{name}: backend='cuda:float32' expected float16, bfloat16 or float32, got "
            f"{model.dtype}; backend='cuda' takes it"
        )


def _can_compute(model: Array, name: str) -> None:
    xp = arguments.namespace(model)
    try:
        probe = xp.astype(_probe(model), xp.float64)
    except Exception as problem:
        raise TypeError(
            f"{name}: the array path computes in float64, which {type(model).__name__} refused: "
            f"{problem}"
        ) from problem
    if arguments.dtype_name(probe) != "float64":
        raise TypeError(
            f"{name}: the array path computes in float64, but {type(model).__name__} made it "
            f"{probe.dtype} (JAX needs jax_enable_x64)"
        )


def elementwise(
    formulas: Formulas,
    variables: Mapping[str, Array],
    *,
    reduction: str,
    reductions: Sequence[str] = REDUCTIONS,
    weight: Array | None = None,
    mean_over_weights: bool = False,
    constants: Mapping[str, Array | float] | None = None,
    parameters: Mapping[str, float] | None = None,
    fixed: Sequence[str] = (),
    backend: str | None = None,
) -> Plan:
    """The plan of a loss that treats every element alone.

    Parameters
    ----------
    variables : the differentiable arguments, checked, of one shape; the first is the model
    reduction, reductions : the one asked for and the ones there are
    weight : weights of the elements, checked
    mean_over_weights : whether a weighted mean divides by the sum of the weights
    constants : further arrays (or numbers, which count for every element) that formulas name
    parameters : numbers that formulas name
    fixed : variables that cannot be differentiated in this call
    """
    first, model = next(iter(variables.items()))
    arguments.one_of("reduction", reduction, reductions)
    shape = tuple(model.shape)
    arrays: dict[str, Array] = dict(variables)
    xp = arguments.namespace(model)
    numbers = set()
    for name, constant in (constants or {}).items():
        arrays[name] = constant
        if isinstance(constant, float):
            numbers.add(name)
            arrays[name] = xp.full((1,) * len(shape), constant, device=device(model))
    kernels = kernels_for(model, backend, first, in_float32=True)
    denominator = 1.0
    if reduction == "mean":
        denominator = float(prod(shape))
        if mean_over_weights and weight is not None:
            denominator = _sum(weight, shape, _summing(kernels))
    elif reduction == "batchmean":
        denominator = float(shape[0] if shape else 1)
    return Plan(
        block=ElementBlock,
        formulas=formulas,
        kernels=kernels,
        model=model,
        arrays=arrays,
        originals={name: array for name, array in variables.items() if name not in fixed},
        parameters=parameters or {},
        shape=shape,
        reduction=reduction,
        denominator=denominator,
        weight=weight,
        constants=frozenset(numbers),
    )


def _numberable(kernels: ModuleType, count: int, name: str) -> None:
    """Refuse more classes or components than float32 arithmetic can tell apart by number."""
    if kernels.__name__ == "refloss.kernels.cuda.single" and count > MOST_IN_FLOAT32:
        raise ValueError(
            f"{name}: expected at most {MOST_IN_FLOAT32} classes or components with "
            f"backend='cuda:float32', got {count}; backend='cuda' takes them"
        )


def _summing(kernels: ModuleType) -> ModuleType:
    """The kernels that sum weights before a plan runs: in float64, whatever comes then."""
    single = kernels.__name__ == "refloss.kernels.cuda.single"
    return import_module("refloss.kernels.cuda") if single else kernels


def _sum(weight: Array, shape: tuple[int, ...], kernels: ModuleType) -> float:
    xp = arguments.namespace(weight)
    wide = xp.broadcast_to(xp.astype(weight, xp.float64), shape)
    with np.errstate(all="ignore"):  # weights may be infinite
        return float(sum(kernels.sum_pair(wide)))


def class_shape(input: Array) -> tuple[int, int, int]:
    """(N, C, D) of a class array (C,) or (N, C, d1, ..., dk)."""
    shape = tuple(input.shape)
    if not 1 <= len(shape) <= MAX_AXES:
        raise ValueError(
            f"input: expected shape (C,) or (N, C, d1, ..., dk) with at most {MAX_AXES} axes, "
            f"got {shape}"
        )
    classes = shape[0] if len(shape) == 1 else shape[1]
    if classes == 0:
        raise ValueError(f"input: expected at least one class, got shape {shape}")
    return (1, classes, 1) if len(shape) == 1 else (shape[0], classes, prod(shape[2:]))


def rowwise(
    formulas: Formulas,
    variables: Mapping[str, Array],
    *,
    reduction: str,
    reductions: Sequence[str] = REDUCTIONS,
    labels: Array | None = None,
    ignore_index: int = -100,
    weight: Any = None,
    parameters: Mapping[str, float] | None = None,
    mass: Formula | None = None,
    backend: str | None = None,
) -> Plan:
    """The plan of a loss with one value for each row of classes.

    Parameters
    ----------
    variables : the differentiable class arrays, checked, of one shape; the first is the model
    labels : class indices, integers, one a row; rows with ``ignore_index`` count for nothing
    weight : class weights as the caller gave them; with labels a mean divides by the sum of the
        weights of the rows' classes
    mass : the formula of the mass that multiplies -log p_c
    """
    model = next(iter(variables.values()))
    arguments.one_of("reduction", reduction, reductions)
    rows, classes, positions = class_shape(model)
    kernels = kernels_for(model, backend, in_float32=True)
    _numberable(kernels, classes, "input")
    shape = tuple(model.shape)
    value_shape = () if len(shape) == 1 else (shape[0], *shape[2:])
    xp = arguments.namespace(model)
    arrays = {
        name: xp.reshape(array, (rows, classes, positions)) for name, array in variables.items()
    }
    weight = arguments.class_weights(weight, classes, model)
    denominator, marks = float(rows * positions), None
    if labels is not None:
        if tuple(labels.shape) != value_shape:
            raise ValueError(
                f"target: expected class indices of shape {value_shape} for input of shape "
                f"{shape}, got {tuple(labels.shape)}"
            )
        if kernels.__name__ == "refloss.kernels.cpu":
            marks = (labels, ignore_index)
            arrays["labels"], denominator = _marked(labels, classes, ignore_index, weight)
            arrays["labels"] = arrays["labels"].reshape(rows, positions)
        else:
            arguments.class_indices(labels, classes, ignore_index)
            labels = xp.reshape(labels, (rows, positions))
            kept = labels != ignore_index
            arrays["labels"] = xp.where(kept, labels, -xp.ones_like(labels))
            arrays["kept"] = kept
            denominator = _label_weight(arrays["labels"], weight, _summing(kernels))
    if reduction == "batchmean":
        denominator = float(rows)
    return Plan(
        block=RowBlock,
        formulas=formulas,
        kernels=kernels,
        model=model,
        arrays=arrays,
        originals=variables,
        parameters={"classes": float(classes), **(parameters or {})},
        shape=value_shape,
        reduction=reduction,
        denominator=denominator if reduction in ("mean", "batchmean") else 1.0,
        weight=weight,
        row_shape=(rows, positions),
        classes=classes,
        mass=mass,
        marks=marks,
    )


def _marked(
    labels: Array, classes: int, ignore_index: int, weight: Array | None
) -> tuple[Array, float]:
    """The labels, -1 where a row is ignored, and the sum of the weights of the rows' classes."""
    from refloss.kernels import labels as of_labels  # compiles

    found = of_labels.marked(labels, classes, ignore_index)
    if found.wrong:
        arguments.class_indices(labels, classes, ignore_index)
    if weight is None:
        return found.array, float(found.kept)
    return found.array, of_labels.weight_of(found.array, weight)


def vectorwise(
    formulas: Formulas,
    variables: Mapping[str, Array],
    *,
    pairs: Mapping[str, tuple[str, str]],
    reduction: str,
    p: float | None = None,
    constants: Mapping[str, Array] | None = None,
    parameters: Mapping[str, float] | None = None,
    backend: str | None = None,
) -> Plan:
    """The plan of a loss with one value for each row of vectors, whose components come last.

    Parameters
    ----------
    variables : the differentiable vectors, checked, of one shape (..., D); the first is the model
    pairs : which of them are compared, by the name that formulas give to the pair
    p : the exponent of the norm of their difference; None compares them by angle
    constants : further numbers of each row, of shape (...)
    parameters : numbers that formulas name
    """
    first, model = next(iter(variables.items()))
    arguments.one_of("reduction", reduction, REDUCTIONS)
    arguments.vectors(first, model)
    *outer, components = model.shape
    rows = prod(outer)
    xp = arguments.namespace(model)
    arrays = {
        name: xp.reshape(array, (rows, components, 1)) for name, array in variables.items()
    } | {name: xp.reshape(array, (rows, 1)) for name, array in (constants or {}).items()}
    kernels = kernels_for(model, backend, first, in_float32=True)
    _numberable(kernels, components, first)
    return Plan(
        block=PairBlock,
        formulas=formulas,
        kernels=kernels,
        model=model,
        arrays=arrays,
        originals=variables,
        parameters={**(parameters or {}), **({} if p is None else {"p": p})},
        shape=tuple(outer),
        reduction=reduction,
        denominator=float(rows) if reduction == "mean" else 1.0,
        row_shape=(rows, 1),
        classes=components,
        pairs=pairs,
        norm=None if p is None else norm_of(p),
    )


def numbered(rows: int, model: Array) -> Array:
    """A label of its own for each row."""
    xp = arguments.namespace(model)
    return xp.arange(rows, dtype=xp.int64, device=device(model))


def similarities(
    variables: Mapping[str, Array],
    *,
    anchors: Side,
    candidates: Side,
    temperature: Any,
    reduction: str,
    own: str | None = None,
    only_paired: bool = False,
    backend: str | None = None,
) -> SimilarityPlan:
    """The plan of a softmax of the cosines of anchors with candidates.

    Parameters
    ----------
    variables : the differentiable embeddings, checked, (N, D) each; the first is the model
    anchors, candidates : which of them stand on the two sides, and their labels
    own : the embeddings of which each anchor has one more candidate, its positive
    only_paired : whether a mean counts only the anchors that have a positive
    """
    first, model = next(iter(variables.items()))
    arguments.one_of("reduction", reduction, REDUCTIONS)
    return SimilarityPlan(
        kernels=kernels_for(model, backend, first),
        model=model,
        originals=variables,
        shape=(int(anchors.labels.shape[0]),),
        reduction=reduction,
        temperature=arguments.number("temperature", temperature, low=0, open_low=True, finite=True),
        anchors=anchors,
        candidates=candidates,
        own=own,
        only_paired=only_paired,
    )


def batch_of(
    embeddings: Any, labels: Any, *, mining: Any, margin: Any, distance: Any, backend: str | None
) -> dict[str, Any]:
    """The checked arguments of losses and miners of a batch's triplets."""
    x = arguments.embeddings("embeddings", embeddings)
    return {
        "model": x,
        "labels": arguments.row_labels(labels, x, "embeddings"),
        "mining": arguments.one_of("mining", mining, MININGS),
        "margin": arguments.number("margin", margin, low=0, finite=True),
        "distance": arguments.one_of("distance", distance, DISTANCES),
        "kernels": kernels_for(x, backend, "embeddings"),
    }


def _label_weight(labels: Array, weight: Array | None, kernels: ModuleType) -> float:
    """The sum of the weights of the rows' classes; a label of -1 counts for nothing."""
    xp = arguments.namespace(labels)
    kept = labels >= 0
    if weight is None:
        return float(xp.sum(xp.astype(kept, xp.int64)))
    flat = xp.reshape(xp.where(kept, labels, xp.zeros_like(labels)), (-1,))
    weights = xp.take(xp.astype(weight, xp.float64), flat, axis=0)
    counted = xp.where(xp.reshape(kept, (-1,)), weights, xp.zeros_like(weights))
    with np.errstate(all="ignore"):
        return float(sum(kernels.sum_pair(counted)))
