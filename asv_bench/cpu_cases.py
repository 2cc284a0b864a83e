"""What is measured on the CPU: losses on inputs of one shape and dtype, drawn from a seed.

Nothing here imports refloss before it is asked for a loss, so that asv may import this file beside
any commit. What a commit lacks raises NotImplementedError, asv's word for a skip.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Arguments = tuple[Any, ...]

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Room:
    """Losses that take inputs of the same kind, and the shapes at which they are measured.

    Attributes
    ----------
    shapes : the one in the middle of memory's levels last; it stands for the others
    """

    losses: tuple[str, ...]
    shapes: tuple[Shape, ...]


ROOMS: Mapping[str, Room] = {
    "elementwise": Room(
        (
            "mse_loss",
            "l1_loss",
            "huber_loss",
            "smooth_l1_loss",
            "binary_cross_entropy",
            "binary_cross_entropy_with_logits",
            "sigmoid_focal_loss",
            "kl_div",
            "gaussian_kl",
            "hinge_embedding_loss",
            "margin_ranking_loss",
            "contrastive_loss_from_distance",
        ),
        ((1000,), (1 << 20,)),
    ),
    "rowwise": Room(
        (
            "cross_entropy",
            "cross_entropy_with_probs",
            "softmax_focal_loss",
            "distillation_loss",
            "nll_loss",
        ),
        ((8, 10), (65536, 10), (16, 32000), (4096, 100)),
    ),
    "pairwise": Room(
        ("contrastive_loss", "cosine_embedding_loss", "triplet_margin_loss"),
        ((64, 64), (4096, 128)),
    ),
    "batch": Room(
        ("nt_xent_loss", "info_nce_loss", "sup_con_loss", "batch_triplet_loss"),
        ((32, 64), (512, 128)),
    ),
}
LOSSES = tuple(loss for room in ROOMS.values() for loss in room.losses)


def shown(shape: Shape) -> str:
    """A shape as parameters name it."""
    return " x ".join(str(n) for n in shape)


def shape_of(text: str) -> Shape:
    """The shape that is named."""
    return tuple(int(n) for n in text.split(" x "))


def room_of(loss: str) -> str:
    """What kind of inputs the loss takes."""
    return next(name for name, room in ROOMS.items() if loss in room.losses)


# Inputs -------------------------------------------------------------------------------------------


def arguments(loss: str, shape: Shape, dtype: str) -> Arguments:
    """The arguments of a call, the same numbers each time."""
    rng = np.random.default_rng(zlib.crc32(repr((loss, shape)).encode()))
    drawn = INPUTS.get(loss) or DRAWN[room_of(loss)]
    return tuple(
        one.astype(dtype) if isinstance(one, np.ndarray) and one.dtype.kind == "f" else one
        for one in drawn(rng, shape)
    )


Generator = np.random.Generator
Draw = Callable[[Generator, Shape], Arguments]


def _residuals(rng: Generator, shape: Shape) -> Arguments:
    return 2 * rng.standard_normal(shape), rng.standard_normal(shape)


def _marked(*marks: float) -> Draw:
    def draw(rng: Generator, shape: Shape) -> Arguments:
        return 3 * rng.standard_normal(shape), rng.choice(np.array(marks), shape)

    return draw


def _probabilities(rng: Generator, shape: Shape) -> Arguments:
    return rng.uniform(0.01, 0.99, shape), rng.uniform(0.0, 1.0, shape)


def _log_probabilities(rng: Generator, shape: Shape) -> Arguments:
    return np.log(rng.uniform(0.01, 0.99, shape)), rng.uniform(0.01, 0.99, shape)


def _ranked(rng: Generator, shape: Shape) -> Arguments:
    return *_residuals(rng, shape), rng.choice(np.array([-1.0, 1.0]), shape)


def _distances(rng: Generator, shape: Shape) -> Arguments:
    return rng.uniform(0.0, 2.0, shape), rng.choice(np.array([0.0, 1.0]), shape)


def _labelled(rng: Generator, shape: Shape) -> Arguments:
    return 3 * rng.standard_normal(shape), rng.integers(0, shape[1], shape[0])


def _labelled_probabilities(rng: Generator, shape: Shape) -> Arguments:
    share = rng.uniform(0.01, 1.0, shape)
    return share / share.sum(1, keepdims=True), rng.integers(0, shape[1], shape[0])


def _distilled(rng: Generator, shape: Shape) -> Arguments:
    return 3 * rng.standard_normal(shape), 3 * rng.standard_normal(shape), 2.0


def _labelled_log_probabilities(rng: Generator, shape: Shape) -> Arguments:
    logits, labels = _labelled(rng, shape)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True)), labels


def _similar(rng: Generator, shape: Shape) -> Arguments:
    first = rng.standard_normal(shape)
    return first, first + 0.5 * rng.standard_normal(shape)


def _marked_pairs(*marks: float) -> Draw:
    def draw(rng: Generator, shape: Shape) -> Arguments:
        return *_similar(rng, shape), rng.choice(np.array(marks), shape[0])

    return draw


def _triplets(rng: Generator, shape: Shape) -> Arguments:
    return *_similar(rng, shape), rng.standard_normal(shape)


def _classes(rng: Generator, shape: Shape) -> Arguments:
    labels = rng.integers(0, 16, shape[0])
    centres = rng.standard_normal((16, shape[1]))
    return centres[labels] + 0.5 * rng.standard_normal(shape), labels


DRAWN: Mapping[str, Draw] = {
    "elementwise": _residuals,
    "rowwise": _labelled,
    "pairwise": _marked_pairs(0.0, 1.0),
    "batch": _similar,
}
INPUTS: Mapping[str, Draw] = {
    "binary_cross_entropy": _probabilities,
    "binary_cross_entropy_with_logits": _marked(0.0, 1.0),
    "sigmoid_focal_loss": _marked(0.0, 1.0),
    "kl_div": _log_probabilities,
    "hinge_embedding_loss": _marked(-1.0, 1.0),
    "margin_ranking_loss": _ranked,
    "contrastive_loss_from_distance": _distances,
    "cross_entropy_with_probs": _labelled_probabilities,
    "distillation_loss": _distilled,
    "nll_loss": _labelled_log_probabilities,
    "cosine_embedding_loss": _marked_pairs(-1.0, 1.0),
    "triplet_margin_loss": _triplets,
    "sup_con_loss": _classes,
    "batch_triplet_loss": _classes,
}


# Calls --------------------------------------------------------------------------------------------


def loss_of(name: str) -> Any:
    """The loss as the installed commit has it."""
    try:
        import refloss

        return getattr(refloss, name)
    except (ImportError, AttributeError) as problem:
        raise NotImplementedError(f"no {name} in this commit: {problem}") from None


def call_of(
    name: str, part: str, given: Arguments, backend: str | None = None
) -> Callable[[], Any]:
    """A call that has been made once, with everything compiled."""
    loss = loss_of(name)
    methods = {
        "value": lambda: loss,
        "gradient": lambda: loss.grad,
        "value_and_gradient": lambda: loss.value_and_grad,
        "gradient_and_curvature": lambda: loss.grad_and_hessian_diag,
    }
    try:
        asked = {} if backend is None else {"backend": backend}
        call = partial(methods[part](), *given, **asked)
        call()
    except (AttributeError, TypeError, ImportError) as problem:
        raise NotImplementedError(f"not in this commit: {problem}") from None
    except ValueError as problem:
        if backend is None:
            raise
        raise NotImplementedError(f"no such backend in this commit: {problem}") from None
    return call


def threads(count: int) -> None:
    """Let refloss use as many, where the commit can be told."""
    try:
        loss_of("set_num_threads")(count)
    except NotImplementedError:
        if count == 1:
            return  # commits without the setting have one thread
        raise


def bytes_moved(given: Arguments) -> int:
    """What a value and a gradient by the first argument have to read and write."""
    arrays = [one for one in given if isinstance(one, np.ndarray)]
    return sum(one.nbytes for one in arrays) + arrays[0].nbytes


def copy_of(moved: int) -> Callable[[], Any]:
    """A copy that reads half of the bytes and writes as many."""
    source = np.ones(max(1, moved // 2), np.uint8)
    copied = np.empty_like(source)
    return partial(np.copyto, copied, source)
