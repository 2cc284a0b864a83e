"""The arguments of a loss, read from the public function's signature."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import refloss

__all__ = ["defaults", "required"]


@cache
def _parameters(loss: str) -> Mapping[str, inspect.Parameter]:
    parameters = inspect.signature(getattr(refloss, loss)).parameters
    # Those by keyword only say how refloss computes, not what.
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


def required(loss: str) -> tuple[str, ...]:
    """The arguments without a default, in order."""
    return tuple(
        name
        for name, parameter in _parameters(loss).items()
        if parameter.default is inspect.Parameter.empty
    )


def defaults(loss: str) -> dict[str, Any]:
    """The other arguments, and what they are where a row does not give them."""
    return {
        name: parameter.default
        for name, parameter in _parameters(loss).items()
        if parameter.default is not inspect.Parameter.empty
    }
