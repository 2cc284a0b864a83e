"""One formula, many number systems: a function with its words bound to one reading of them."""

import builtins
import types
from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any

from refloss.formula import words

Formula = Callable[..., Any]


@cache
def parameters(formula: Formula) -> tuple[str, ...]:
    """The quantities that a formula names."""
    return tuple(signature(formula).parameters)


_WORDS = {word: word.__name__ for word in words.WORDS}


def read(
    formula: Formula,
    meaning: Mapping[str, Any],
    finish: Callable[[Formula], Formula] = lambda function: function,
) -> Formula:
    """The formula in another number system.

    Parameters
    ----------
    formula : function
        A plain Python function of words, operators, numbers and other such functions.
    meaning : mapping of str to object
        What each word means in the number system, by name; a formula that it names too is not
        read but replaced.
    finish : callable, optional
        Applied to the formula and to every formula that it calls (``numba.njit``, say).

    Raises
    ------
    TypeError
        A name that the formula uses is neither a word, a formula, nor a number.
    """
    return _read(formula, meaning, finish, {})


def _read(
    formula: Any,
    meaning: Mapping[str, Any],
    finish: Callable[[Formula], Formula],
    done: dict[Any, Formula],
) -> Formula:
    if formula in done:
        return done[formula]
    # arrays may import lazily when they are compared, with what their caller has for builtins
    namespace: dict[str, Any] = {"__builtins__": builtins, "__name__": formula.__module__}
    for name in formula.__code__.co_names:
        found = formula.__globals__.get(name)
        if found in _WORDS:
            namespace[name] = meaning[_WORDS[found]]
        elif isinstance(found, types.FunctionType) and found.__name__ in meaning:
            namespace[name] = meaning[found.__name__]
        elif isinstance(found, types.FunctionType):
            namespace[name] = _read(found, meaning, finish, done)
        elif isinstance(found, int | float):
            namespace[name] = meaning.get(name, found)
        else:
            raise TypeError(
                f"formula {formula.__qualname__}: {name!r} is no word, no formula and no number"
            )
    bound = types.FunctionType(formula.__code__, namespace, formula.__name__)
    bound.__qualname__ = formula.__qualname__
    bound.__module__ = formula.__module__
    done[formula] = finish(bound)
    return done[formula]
