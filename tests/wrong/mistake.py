"""A planted mistake: a wrong loss, and what the audit has to say about it.

``@mistake`` enrols a function. Its docstring says who made the mistake; a name like pytorch#2298
is an issue or a pull request of that project, "torch" and the like what the software itself does.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

import refloss
from refloss.accuracy import Grade
from refloss.loss import Loss

Array = NDArray[Any]


@dataclass(frozen=True)
class Mistake:
    """A wrong loss.

    ``part`` is the one part that is wrong, ``"value"``, ``"gradient"`` or ``"curvature"``;
    ``region`` the part of the domain where it shows, in ``dtype``, with at least that ``grade``.
    """

    function: Callable[..., Any]
    loss: str
    part: str
    region: str
    grade: Grade
    dtype: str

    def __str__(self) -> str:
        return self.function.__name__


MISTAKES: list[Mistake] = []


def mistake(
    loss: str, part: str, region: str, grade: Grade = Grade.WRONG, dtype: str = "float32"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enrol a wrong loss."""

    def enrol(function: Callable[..., Any]) -> Callable[..., Any]:
        MISTAKES.append(Mistake(function, loss, part, region, grade, dtype))
        return function

    return enrol


def twin(made: Mistake) -> Callable[..., Any]:
    """The right loss with the same arguments, that returns as much as the wrong one."""
    loss = getattr(refloss, made.loss)
    arguments = inspect.signature(made.function)

    @wraps(made.function)
    def right(*args: Any, **kwargs: Any) -> Any:
        bound = arguments.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        if not isinstance(loss, Loss):
            return loss(**given)
        if "reduction" in inspect.signature(loss).parameters:
            given.setdefault("reduction", "none")
        returned = made.function(*args, **kwargs)
        if not isinstance(returned, tuple):
            return loss(**given)
        value, gradient = loss.value_and_grad(**given)
        return (
            (value, gradient, loss.hessian_diag(**given))
            if len(returned) > 2
            else (value, gradient)
        )

    return right


def class_last(array: Array) -> Array:
    """(C,) or (N, C, d1, ...) with the class axis last."""
    return np.moveaxis(array, 1 if array.ndim > 1 else 0, -1)


def class_back(array: Array) -> Array:
    """The class axis, which is last, where it belongs."""
    return np.moveaxis(array, -1, 1 if array.ndim > 1 else 0)


def masses(input: Array, target: Array) -> Array:
    """The target's mass on each class, class axis last; ignored rows have none."""
    if target.dtype.kind != "i":
        return class_last(target)
    classes = class_last(input).shape[-1]
    return (target[..., None] == np.arange(classes)).astype(input.dtype)


def reduced(losses: Array, reduction: str) -> Any:
    """The reduction of losses that are all counted."""
    if reduction == "none":
        return losses
    total = losses.sum(dtype=np.float64)
    return total.astype(losses.dtype) if reduction == "sum" else total / losses.size
