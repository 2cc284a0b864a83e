"""A call like one before: what was checked and planned for that one holds again.

Most of a small call is checks of shapes, dtypes and options, which come out alike for arguments of
like shapes, dtypes and options. Such a call is remembered by them and goes straight to the kernel,
once what depends on the numbers themselves has been looked at again: labels, and whether
probabilities are some. A call with weights of elements is planned each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from refloss.arguments import Look, any_wrong
from refloss.evaluation import Answer, Plan, Wanted, reduced
from refloss.kernels import labels
from refloss.kernels.address import address_of
from refloss.kernels.weights import ends_of
from refloss.vectorised import (
    LIFTING,
    NOWHERE,
    Elements,
    Prepared,
    Rows,
    are_moderate,
    arrays_of,
    is_for_pairs,
    narrow,
    prepare,
    wide,
)

Array = Any

MOST = 256  # calls that a loss remembers

SCALARS = (float, int, str, bool, type(None))
SIMPLE = ("float32", "float64")
SURELY_FINITE = 1e30


def description(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What a call is remembered by; None if it has an argument that says too little of itself."""
    found: list[Any] = [len(args), *kwargs]
    for x in (*args, *kwargs.values()):
        if type(x) is np.ndarray:
            flags = x.flags
            if not (flags.c_contiguous and flags.aligned):
                return None
            found += (x.dtype, x.shape)
        elif type(x) in SCALARS:
            found += (type(x), x)
        else:
            return None
    return tuple(found)


class Again:
    """What is known of a call: where its arrays are among the arguments, and what runs."""

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        places: Mapping[str, int],
        looks: Sequence[tuple[int, Callable[[Array], Array]]],
    ) -> None:
        self.looks = looks
        self.prepared, self.denominator = prepared, plan.denominator
        self.by_labels = plan.marks is not None and plan.reduction == "mean"
        self.labels = places.get("labels")
        self.classes, self.ignored = plan.classes, plan.marks[1] if plan.marks is not None else 0
        order = prepared.order if isinstance(prepared, Rows) else list(plan.arrays)
        self.weight = places.get("weight")
        self.order = [
            places[name] if name in places else _constant(plan.arrays[name], prepared)
            for name in order
            if name != "labels"
        ]
        # kernels have a place for values, those of rows even where none are wanted
        self.gives_value = isinstance(prepared, Rows) or prepared.has_value
        self.in_pairs = isinstance(prepared, Rows) and prepared.marks > 0
        self.is_for_pairs = is_for_pairs(plan)
        self.is_simple = prepared.model.dtype.name in SIMPLE
        is_all = prepared.wanted == list(range(len(prepared.sources)))
        self.gives_all = is_all and not prepared.widens and not prepared.has_numbers

    def answer(self, values: Sequence[Any]) -> Answer | None:
        """The answer for arguments that are like those before; None if an entry is wrong."""
        for place, wrong in self.looks:
            if any_wrong(values[place], wrong):
                return None
        prepared, denominator = self.prepared, self.denominator
        if self.weight is not None and not self._is_usual(values[self.weight]):
            return None
        given = [values[k] if type(k) is int else k for k in self.order]
        if prepared.widens:
            given = list(map(wide, given))
        if self.labels is not None:
            marked = labels.marked(values[self.labels], self.classes, self.ignored)
            if marked.wrong:
                return None
            given.append(marked.array)
            if self.by_labels and self.weight is not None:
                denominator = labels.weight_of(marked.array, values[self.weight])
            elif self.by_labels:
                denominator = float(marked.kept)
        addresses = list(map(address_of, given))
        value = None
        if prepared.writes_value:
            value = np.empty(prepared.shape, prepared.stored)
            addresses.append(address_of(value))
        elif self.gives_value:
            addresses.append(NOWHERE)
        found = [np.empty(*one) for one in prepared.sources]
        addresses += map(address_of, found)
        totals = prepared.run_all(addresses, prepared.scalars(denominator))
        if self.in_pairs and any(a != a for a, _ in totals):
            return None  # some rows are to be computed in another way
        if prepared.total:
            value = self._reduced(totals, denominator)
        elif value is not None:
            value = narrow(value, prepared.model.dtype)[()]
        if self.gives_all:
            return Answer(value, found[: prepared.split], found[prepared.split :])
        return Answer(value, *prepared.parts(found))

    def _is_usual(self, weight: Array) -> bool:
        """Whether weights leave the arithmetic and the wiring as they are."""
        if self.in_pairs:
            return are_moderate(weight)
        return is_usual(weight) and not (self.is_for_pairs and are_moderate(weight))

    def _reduced(self, totals: Sequence[tuple[float, float]], denominator: float) -> Any:
        if self.is_simple and len(totals) == 1 and denominator > 0:
            total = totals[0][0] + totals[0][1]
            if -SURELY_FINITE < total < SURELY_FINITE and denominator < inf:
                return self.prepared.model.dtype.type(total / denominator)
        return reduced(self.prepared.model, totals, denominator)


def remembered(
    plan: Any, wanted: Wanted, values: Sequence[Any], looks: Sequence[Look]
) -> Again | None:
    """What a later call like this one may use; None if there would be too much to check.

    ``looks`` are those that it took into its arrays.
    """
    if not isinstance(plan, Plan) or not plan.kernels.__name__.endswith(".cpu"):
        return None
    if plan.weight is not None and (plan.row_shape is None or not is_usual(plan.weight)):
        return None
    if plan.row_shape is not None and plan.row_shape[1] != 1:
        return None
    given = [x for x in values if type(x) is np.ndarray]
    if not all(x.dtype.isnative for x in given):
        return None
    arrays = {n: array for n, array in arrays_of(plan).items() if n not in plan.constants}
    if plan.marks is not None:
        arrays["labels"] = plan.marks[0]
    places = {name: _place(array, values) for name, array in arrays.items()}
    again = [(_place(look.array, values), look.wrong) for look in looks]
    if None in places.values() or any(place is None for place, _ in again):
        return None
    again = [(place, wrong) for place, wrong in again if place != places.get("weight")]
    if len(set(places.values())) < len(given):
        # one array twice, where a later call may have two; or an option, of which not the place but
        # what it holds went into the plan
        return None
    prepared = prepare(plan, wanted)
    if isinstance(prepared, Elements) and any(one.shape != plan.shape for one in arrays.values()):
        return None
    if isinstance(prepared, Rows):
        prepared.in_doubles = _not_remembered  # it would keep the arrays
    return Again(plan, prepared, places, again)  # type: ignore[arg-type]


def _not_remembered() -> Rows:
    raise AssertionError("who remembers a call gives up where some rows are not usual")


def is_usual(weight: Array) -> bool:
    """Whether weights are some, and leave the arithmetic and the wiring as for others like them."""
    least, largest = ends_of(weight)
    return least >= 0 and largest <= LIFTING


def _constant(array: Array, prepared: Prepared) -> Array:
    return wide(array) if prepared.widens else array


def _place(array: Array, values: Sequence[Any]) -> int | None:
    """Which of the arguments an array is, under whatever shape."""
    for k, x in enumerate(values):
        alike = type(x) is np.ndarray and x.dtype == array.dtype and x.size == array.size > 0
        if alike and address_of(x) == address_of(array):
            return k
    return None
