"""Losses on vectors: values by hand, kinks, scales, gradients by differences, refusals."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import sympy
from flint import arb, ctx, fmpq

from derivations.case import Case, array, labels
from derivations.composition import Composition
from derivations.composition_source import Formula, compiled, sizes_of
from derivations.conditioned import number
from derivations.derivation import load
from derivations.oracle import Refused, row
from derivations.rounding import certified, hexadecimal
from derivations.show import show

PAIRS = ("contrastive_loss", "cosine_embedding_loss")
LOSSES = (*PAIRS, "triplet_margin_loss", "nt_xent_loss", "info_nce_loss", "sup_con_loss")
Inputs = dict[str, Any]


def answer(loss: str, inputs: Inputs, **options: Any) -> dict[str, Any]:
    arrays = {name: labels(x) if name == "labels" else array(x) for name, x in inputs.items()}
    found = row(
        load(loss), "test/0000", case := Case("bulk", arrays, {"reduction": "none"} | options)
    )
    assert case.dtypes()
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def text(x: Any) -> str:
    return hexadecimal(certified(x if isinstance(x, arb | fmpq) else fmpq(*x.as_integer_ratio())))


def texts(*numbers: Any) -> list[Any]:
    return [[text(x[0]), text(x[1])] if isinstance(x, tuple) else text(x) for x in numbers]


def triplet(a: Any, p: Any, n: Any) -> Inputs:
    return {"anchor": [a], "positive": [p], "negative": [n]}


def pair(x: Any, y: Any, target: float) -> Inputs:
    return {"x1": [x], "x2": [y], "target": [target]}


def sides(x: Any, y: Any, target: float) -> Inputs:
    return {"input1": [x], "input2": [y], "target": [target]}


AXES: Inputs = {"z_i": [[1.0, 0.0], [0.0, 1.0]], "z_j": [[2.0, 0.0], [0.0, 0.5]]}
ONE_CLASS: Inputs = {"embeddings": [[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]], "labels": [0, 1, 0]}
VALUES: dict[str, tuple[str, Inputs, dict[str, Any], Callable[[], list[Any]]]] = {
    "3-4-5": (
        "triplet_margin_loss",
        triplet([0.0, 0.0], [3.0, 4.0], [0.0, 2.0]),
        {"eps": 0.0, "margin": 0.5},
        lambda: [3.5],
    ),
    "city block": (
        "triplet_margin_loss",
        triplet([0.0, 0.0], [3.0, -4.0], [1.0, 1.0]),
        {"eps": 0.0, "p": 1.0},
        lambda: [6],
    ),
    "largest component": (
        "triplet_margin_loss",
        triplet([0.0, 0.0], [3.0, -4.0], [1.0, 1.0]),
        {"eps": 0.0, "p": "inf"},
        lambda: [4],
    ),
    "cubes": (
        "triplet_margin_loss",
        triplet([0.0, 0.0], [3.0, -4.0], [0.0, 0.0]),
        {"eps": 0.0, "p": 3.0, "margin": 0.0},
        lambda: [arb(91).root(3)],
    ),
    "swap": (
        "triplet_margin_loss",
        triplet([0.0, 0.0], [3.0, 4.0], [3.0, 0.0]),
        {"eps": 0.0, "swap": True},
        lambda: [3],
    ),
    "eps in each component": (
        "triplet_margin_loss",
        triplet([0.0] * 4, [0.0] * 4, [-1.0, 0.0, 0.0, 0.0]),
        {"eps": 0.5, "p": 1.0, "margin": 4.0},
        lambda: [3],
    ),
    "similar": ("contrastive_loss", pair([3.0, 0.0], [0.0, 4.0], 1.0), {}, lambda: [25]),
    "dissimilar": (
        "contrastive_loss",
        pair([3.0, 0.0], [0.0, 4.0], 0.0),
        {"margin": 7.5},
        lambda: [6.25],
    ),
    "half similar": (
        "contrastive_loss",
        pair([3.0, 0.0], [0.0, 4.0], 0.5),
        {"margin": 7.0, "p": 1.0},
        lambda: [24.5],
    ),
    "cosine": (
        "cosine_embedding_loss",
        sides([3.0, 4.0], [0.0, 2.0], 1.0),
        {},
        lambda: [fmpq(1, 5)],
    ),
    "parallel": ("cosine_embedding_loss", sides([1.0, 3.0], [2.0, 6.0], 1.0), {}, lambda: [0]),
    "opposite": (
        "cosine_embedding_loss",
        sides([1.0, 3.0], [-2.0, -6.0], -1.0),
        {"margin": -1.0},
        lambda: [0],
    ),
    "over the margin": (
        "cosine_embedding_loss",
        sides([1.0, 1.0], [1.0, 0.0], -1.0),
        {"margin": 0.5},
        lambda: [arb(2).rsqrt() - fmpq(1, 2)],
    ),
    "two views": (
        "nt_xent_loss",
        AXES,
        {"temperature": 0.5},
        lambda: [(2 * arb(-2).exp()).log1p()] * 4,
    ),
    "one pair": (
        "nt_xent_loss",
        {"z_i": [[1.0, 0.25]], "z_j": [[-0.5, 3.0]]},
        {},
        lambda: [0, 0],
    ),
    "a queue": (
        "info_nce_loss",
        {
            "query": [[2.0, 0.0]],
            "positive_key": [[3.0, 0.0]],
            "negative_keys": [[0.0, 1.0], [-1.0, 0.0]],
        },
        {"temperature": 0.25},
        lambda: [(arb(-4).exp() + arb(-8).exp()).log1p()],
    ),
    "far above any cap": (
        "info_nce_loss",
        {"query": [[1.0, 0.0]], "positive_key": [[-1.0, 0.0]], "negative_keys": [[1.0, 0.0]]},
        {"temperature": 2.0**-9},
        lambda: [1024 + arb(-1024).exp().log1p()],
    ),
    "negatives in batch": (
        "info_nce_loss",
        {"query": [[2.0, 0.0], [0.0, 1.0]], "positive_key": [[3.0, 0.0], [3.0, 4.0]]},
        {"temperature": 1.0},
        lambda: [arb(fmpq(3, 5) - 1).exp().log1p(), arb(fmpq(-4, 5)).exp().log1p()],
    ),
    "one class, and one alone": (
        "sup_con_loss",
        ONE_CLASS,
        {"temperature": 1.0},
        lambda: [arb(-1).exp().log1p(), 0, arb(-1).exp().log1p()],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_by_hand(name: str) -> None:
    loss, inputs, options, expected = VALUES[name]
    with ctx.workprec(4096):
        assert answer(loss, inputs, **options)["value"]["data"] == texts(*expected())


def test_means() -> None:
    value = answer("nt_xent_loss", AXES, temperature=0.5, reduction="mean")["value"]["data"]
    assert value == answer("nt_xent_loss", AXES, temperature=0.5)["value"]["data"][:1]
    # over the anchors that have a positive: two of three
    alone = answer("sup_con_loss", ONE_CLASS, temperature=1.0, reduction="mean")
    named = alone["conventions"]["mean-over-all-anchors"]["value"]["data"]
    with ctx.workprec(256):
        assert alone["value"]["data"] == texts(arb(-1).exp().log1p())
        assert named == texts(arb(-1).exp().log1p() * 2 / 3)
    different: Inputs = {"embeddings": [[1.0], [2.0]], "labels": [3, 4]}
    found = answer("sup_con_loss", different, reduction="mean")
    assert found["value"]["data"] == found["gradient"]["embeddings"]["data"][:1] == ["0x0p+0"]


KINKS: dict[str, tuple[str, Inputs, dict[str, Any], str, list[Any]]] = {
    "hinge": (
        "triplet_margin_loss",
        triplet([0.0, 0.0], [3.0, 4.0], [0.0, 6.0]),
        {"eps": 0.0},
        "positive",
        [(0, fmpq(3, 5)), (0, fmpq(4, 5))],
    ),
    "distance zero": (
        "triplet_margin_loss",
        triplet([1.0, 2.0], [1.0, 2.0], [1.0, 2.25]),
        {"eps": 0.0},
        "positive",
        [(-1, 1), (-1, 1)],
    ),
    "distance zero, twice": (
        "triplet_margin_loss",
        triplet([1.0], [1.0], [1.0]),
        {"eps": 0.0},
        "anchor",
        [(-2, 2)],
    ),
    "a component of zero": (
        "triplet_margin_loss",
        triplet([1.0, 2.0], [1.0, 3.0], [1.5, 2.0]),
        {"eps": 0.0, "p": 1.0},
        "positive",
        [(-1, 1), 1],
    ),
    "largest components tie": (
        "triplet_margin_loss",
        triplet([0.0, 0.0, 0.0], [2.0, -2.0, 1.0], [1.0, 0.0, 0.0]),
        {"eps": 0.0, "p": "inf"},
        "positive",
        [(0, 1), (-1, 0), 0],
    ),
    "swap ties": (
        "triplet_margin_loss",
        triplet([0.0, 0.0], [2.0, 0.0], [1.0, 0.0]),
        {"eps": 0.0, "swap": True},
        "negative",
        [(-1, 1), (-1, 1)],
    ),
    "pushed apart at zero": (
        "contrastive_loss",
        pair([0.5], [0.5], 0.0),
        {"margin": 2.0},
        "x1",
        [(-4, 4)],
    ),
    "pulled together at zero": ("contrastive_loss", pair([0.5], [0.5], 1.0), {}, "x1", [0]),
    "cosine at its margin": (
        "cosine_embedding_loss",
        sides([1.0, 1.0, 0.0], [0.0, 1.0, 1.0], -1.0),
        {"margin": 0.5},
        "input1",
        [(fmpq(-1, 4), 0), (0, fmpq(1, 4)), (0, fmpq(1, 2))],
    ),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_intervals(name: str) -> None:
    loss, inputs, options, argument, expected = KINKS[name]
    found = answer(loss, inputs, **options)["gradient"][argument]["data"]
    if name == "swap ties":  # along the line it is pulled either way, across it nothing is said
        assert found[0] == texts((-1, 1))[0]
    else:
        assert found == texts(*expected)


def test_a_vector_of_zeros_has_no_direction() -> None:
    found = answer("cosine_embedding_loss", sides([0.0, 0.0], [1.0, 2.0], 1.0))
    assert found["value"]["data"] == texts(1)
    assert found["gradient"]["input1"]["data"] == [["-inf", "inf"]] * 2
    assert found["gradient"]["input2"]["data"] == texts(0, 0)
    views: Inputs = {"z_i": [[0.0, 0.0], [1.0, 0.0]], "z_j": [[0.0, 2.0], [3.0, 4.0]]}
    gradient = answer("nt_xent_loss", views)["gradient"]
    assert gradient["z_i"]["data"][:2] == [["-inf", "inf"]] * 2
    assert all(isinstance(x, str) and "inf" not in x for x in gradient["z_j"]["data"])


def test_nan_stays_in_its_row() -> None:
    x = [[math.nan, 1.0], [3.0, 0.0]]
    found = answer("contrastive_loss", {"x1": x, "x2": [[0.0, 0.0]] * 2, "target": [0.0, 1.0]})
    assert found["value"]["data"] == ["nan", *texts(9)]
    for name in ("x1", "x2"):
        assert [x == "nan" for x in found["gradient"][name]["data"]] == [True, True, False, False]
    queue: Inputs = {"query": x, "positive_key": [[1.0, 0.0]] * 2, "negative_keys": [[0.0, 1.0]]}
    found = answer("info_nce_loss", queue)
    assert [x == "nan" for x in found["value"]["data"]] == [True, False]
    assert set(found["gradient"]["negative_keys"]["data"]) == {"nan"}


def test_scales() -> None:
    near = [1.0 + 2.0**-23, 0.0]
    found = answer("contrastive_loss", pair([1.0, 0.0], near, 1.0))
    assert "scale" not in found["value"]  # a difference of inputs is as good as they are
    found = answer("triplet_margin_loss", triplet([0.0], [2.0], [2.5]), eps=0.0, margin=0.75)
    assert found["value"]["data"] == texts(0.25)
    assert found["value"]["scale"] == texts(5.25)
    # 1 - cos is as certain as the difference of the unit vectors is
    found = answer("cosine_embedding_loss", sides([3.0, 4.0], [3.0, 4.0 + 2.0**-20], 1.0))
    assert 2.0**-48 < float.fromhex(found["value"]["data"][0]) < 2.0**-46
    assert 2.0**-24 < float.fromhex(found["value"]["scale"][0]) < 2.0**-22
    found = answer("cosine_embedding_loss", sides([1.0, 3.0], [2.0, 6.0], 1.0))
    assert found["value"]["scale"] == texts(1)
    # a confident answer is judged by itself, but for what a small temperature costs
    for temperature, factor in ((1.0, 1), (2.0**-6, 64)):
        found = answer("nt_xent_loss", AXES, temperature=temperature)
        size = float.fromhex(found["value"].get("scale", found["value"]["data"])[0])
        value = float.fromhex(found["value"]["data"][0])
        assert value <= size < 3 * factor * value


# Any rationals as inputs, at high precision ----------------------------------------------------

X = [[0.5, -1.25, 2.0], [1.5, -1.0, 0.25], [-0.75, 0.5, 1.0]]
Y = [[1.0, 0.5, -0.5], [-0.25, 2.0, 0.75], [0.125, -1.25, -1.0]]
Z = [[0.75, 0.25, 0.5], [-1.5, -0.25, 0.5], [0.25, 1.5, -1.75]]
SMOOTH: dict[str, tuple[str, str, Inputs, dict[str, Any]]] = {
    "triplet": ("triplet_margin_loss", "", {"anchor": X, "positive": Y, "negative": Z}, {}),
    "triplet, p = 3": (
        "triplet_margin_loss", "", {"anchor": X, "positive": Y, "negative": Z}, {"p": 3.0},
    ),
    "triplet, swap": (
        "triplet_margin_loss", "swap", {"anchor": X, "positive": Y, "negative": Z}, {"p": 1.5},
    ),
    "triplet, p = inf": (
        "triplet_margin_loss", "p = inf", {"anchor": X, "positive": Y, "negative": Z}, {},
    ),
    "contrastive": (
        "contrastive_loss", "", {"x1": X, "x2": Y, "target": [1.0, 0.0, 0.25]}, {"margin": 4.0},
    ),
    "cosine": (
        "cosine_embedding_loss", "", {"input1": X, "input2": Z, "target": [1.0, -1.0, 1.0]}, {},
    ),
    "nt_xent": ("nt_xent_loss", "", {"z_i": X, "z_j": Y}, {"temperature": 0.25}),
    "queue": (
        "info_nce_loss", "", {"query": X, "positive_key": Y, "negative_keys": Z[:2]}, {},
    ),
    "in batch": (
        "info_nce_loss", "negatives in batch", {"query": X, "positive_key": Y}, {},
    ),
    "classes": (
        "sup_con_loss", "", {"embeddings": [*X, *Y], "labels": [0, 1, 0, 0, 1, 2]}, {},
    ),
}  # fmt: skip


def composition_of(loss: str, variant: str) -> Composition:
    derivation = load(loss)
    found = derivation.variants[variant] if variant else derivation.statement
    assert isinstance(found, Composition)
    return found


def formulas(
    composition: Composition,
    inputs: Inputs,
    options: Mapping[str, Any],
    moved: tuple[str, int, int] | None = None,
    by: fmpq | None = None,
) -> tuple[Mapping[str, Formula], int]:
    """The functions of a composition, an entry of an input moved by a rational."""
    places = []
    for name in composition.axes:
        values = inputs[name]
        if name == "labels":
            places.append(dict(enumerate(values)))
            continue
        if not isinstance(values[0], list):
            places.append({n: number(fmpq(*x.as_integer_ratio())) for n, x in enumerate(values)})
            continue
        entries = {
            (n, d): fmpq(*x.as_integer_ratio())
            for n, vector in enumerate(values)
            for d, x in enumerate(vector)
        }
        if moved is not None and by is not None and moved[0] == name:
            entries[moved[1:]] += by
        places.append({place: number(x) for place, x in entries.items()})
    shapes = {name: array(inputs[name]).shape for name in composition.axes}
    sizes = sizes_of(composition.axes, shapes)
    scalars = [
        number(fmpq(*float(options[name]).as_integer_ratio())) for name in composition.options
    ]
    extents = [sizes[symbol] for symbol in sorted(sizes, key=str)]
    return compiled(composition)(*places, *scalars, *extents), int(composition.rows.subs(sizes))


def sum_of_rows(*arguments: Any) -> Any:
    found, rows = formulas(*arguments)
    return sum((found[""](n).low for n in range(rows)), fmpq(0))


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_slopes_of_the_textbook(name: str) -> None:
    loss, variant, inputs, options = SMOOTH[name]
    composition = composition_of(loss, variant)
    textbook = replace(composition, stated=None)
    full = {**load(loss).defaults, **options}
    step = fmpq(1, 2**60)
    with ctx.workprec(512):
        gradient, _ = formulas(composition, inputs, full)
        slopes = 0
        for argument in composition.gradient:
            for n, vector in enumerate(inputs[argument]):
                for d in range(len(vector)):
                    place = (argument, n, d)
                    above = sum_of_rows(textbook, inputs, full, place, step)
                    below = sum_of_rows(textbook, inputs, full, place, -step)
                    difference = (above - below) / (2 * step)
                    found = gradient[argument](n, d).low
                    assert abs(difference - found) < step, place  # it errs by the step squared
                    slopes += found != 0
        assert slopes > 0


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_worked_out_is_the_textbook(name: str) -> None:
    loss, variant, inputs, options = SMOOTH[name]
    composition = composition_of(loss, variant)
    full = {**load(loss).defaults, **options}
    with ctx.workprec(512):
        stated, rows = formulas(composition, inputs, full)
        textbook, _ = formulas(replace(composition, stated=None), inputs, full)
        for n in range(rows):
            difference = arb(stated[""](n).low - textbook[""](n).low)
            assert difference.contains(0)
            assert difference.rad() < arb(2) ** -300


def test_a_definition_is_put_in_whole() -> None:
    composition = composition_of("nt_xent_loss", "")
    (N, D) = composition.axes["z_i"]
    first = composition.explicit(composition.textbook.subs(composition.row, 0), {N: 1, D: 2})
    assert sympy.simplify(first) == 0
    contrastive = composition_of("contrastive_loss", "")
    x, y, t = (contrastive.arguments[name] for name in ("x1", "x2", "target"))
    written = contrastive.explicit(contrastive.textbook, {D: 1}).subs(contrastive.options["p"], 2)
    i = contrastive.row
    expected = t[i] * (x[i, 0] - y[i, 0]) ** 2
    assert sympy.expand((written - expected).subs(t[i], 1)) == 0


def test_what_cannot_be_told_from_zero_is_refused() -> None:
    # the first view is pulled either way with the same strength, and no ball can tell
    symmetric: Inputs = {"z_i": [[1.0, 0.0], [0.0, 1.0]], "z_j": [[1.0, 0.0], [0.0, -1.0]]}
    with pytest.raises(Refused, match="nt_xent_loss"):
        answer("nt_xent_loss", symmetric, temperature=0.5)


@pytest.mark.parametrize("loss", LOSSES)
def test_show_prints_what_a_loss_builds_on(loss: str) -> None:
    composition = composition_of(loss, "")
    printed = show(load(loss))
    for definition in composition.where:
        assert f"\nwhere {definition.symbol}\n" in printed
    assert "\\begin{cases}" in printed
    assert all(f"∂L/∂{name}" in printed for name in composition.gradient)
