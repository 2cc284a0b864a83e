"""Identities between row losses, as refloss wires them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy
from sympy import Expr, IndexedBase, Integer, KroneckerDelta, S, Symbol

from derivations.agreement import counted, show_equal
from derivations.explorer import Path, formula_on
from derivations.reasoning import Q, Show, W, all_equal, facts, of
from derivations.row_proofs import EXPLICIT
from derivations.symbolic_rows import Hit, Row, RowKernels, SymbolicBlock
from derivations.working import WORKING
from refloss.losses import binary_cross_entropy_with_logits, kl_div
from refloss.losses.smooth_labels import smoothed

C = Symbol("C", integer=True, positive=True)
k, y = Symbol("k", integer=True), Symbol("y", integer=True)
t, z = Symbol("t", real=True), Symbol("z", real=True)
Z, V = IndexedBase("z", real=True), IndexedBase("v", real=True)


def rowwise() -> Iterator[tuple[Sequence[str], str, Show]]:
    yield (
        ("softmax_focal_loss", "cross_entropy"),
        "focal(gamma = 0) = cross-entropy; value, gradient, curvature",
        _softmax_focal_is_cross_entropy,
    )
    yield (
        ("cross_entropy",),
        "a one-hot target = the label",
        lambda: _of_rows(
            ("cross_entropy", "", {"input": Z, "target": "hit"}, {"smoothing": S.Zero}),
            ("cross_entropy", "class indices", {"input": Z}, {"smoothing": S.Zero}),
        ),
    )
    yield (
        ("cross_entropy", "nll_loss"),
        "cross-entropy without smoothing = nll of log-softmax",
        lambda: _of_rows(
            ("cross_entropy", "class indices", {"input": Z}, {"smoothing": S.Zero}),
            ("nll_loss", "", {"input": "log_softmax"}, {}),
        ),
    )
    yield (
        ("cross_entropy", "cross_entropy_with_probs"),
        "cross-entropy of logits = that of their softmax",
        lambda: _of_rows(
            ("cross_entropy", "", {"input": Z, "target": Q}, {"smoothing": S.Zero}),
            ("cross_entropy_with_probs", "", {"input": "softmax", "target": Q}, {}),
        ),
    )
    yield (
        ("cross_entropy_with_probs", "nll_loss"),
        "cross-entropy of probabilities = nll of their logarithms",
        lambda: _of_rows(
            ("cross_entropy_with_probs", "class indices", {"input": "softmax"}, {}),
            ("nll_loss", "", {"input": "log_softmax"}, {}),
        ),
    )
    yield (
        ("cross_entropy",),
        "the entries of a gradient by the logits sum to 0",
        lambda: _gradient_sums_to_zero("cross_entropy"),
    )
    yield (
        ("softmax_focal_loss",),
        "the entries of a gradient by the logits sum to 0",
        lambda: _gradient_sums_to_zero("softmax_focal_loss"),
    )
    yield (
        ("cross_entropy", "binary_cross_entropy_with_logits"),
        "cross-entropy of [0, z] against [1 - t, t] = bce with logits z",
        _binary_is_two_classes,
    )
    yield ("smooth_labels", "cross_entropy"), "smoothing by 0 leaves the target", _smoothing_by_zero
    yield ("smooth_labels",), "smoothed labels sum to 1 where the target does", _smoothed_sum
    yield (
        ("kl_div", "cross_entropy"),
        "the sum of kl_div of log-softmax against a one-hot target = cross-entropy",
        _kl_of_onehot,
    )
    yield (
        ("distillation_loss", "kl_div"),
        "distillation at T = 1 = the sum of kl_div of the log-softmax against the softmax",
        _distillation_is_kl,
    )


def block(
    path: Path,
    loss: str,
    variant: str,
    classes: Any,
    arrays: Mapping[str, Any],
    numbers: Mapping[str, Expr],
    label: Any = None,
    weight: IndexedBase | None = W,
) -> SymbolicBlock:
    """A loss's own wiring on rows of symbols, or on softmaxes of them."""
    kernels: Any = RowKernels(path, classes)
    rows = {name: _row(source, kernels, label) for name, source in arrays.items()}
    if label is not None and "target" not in rows:
        rows["labels"] = label
    weights = kernels.constant(1, Row(Z.__getitem__)) if weight is None else Row(weight.__getitem__)
    plan = WORKING[loss][variant].plan(loss)
    parameters: Any = {**numbers, "classes": classes}
    return SymbolicBlock(
        replace(plan, kernels=kernels, arrays=rows, parameters=parameters, weight=weights)
    )


def _row(source: Any, kernels: RowKernels, label: Any) -> Row:
    if isinstance(source, Row):
        return source
    if source == "hit":
        return Hit(label)
    logits = Row(Z.__getitem__)
    surprise, p, _, _ = kernels.softmax(logits)
    if source == "softmax":
        return p
    if source == "log_softmax":
        return Row(lambda index: -surprise.at(index))
    return Row(source.__getitem__)


def labels() -> Iterator[tuple[Any, Any]]:
    """Numbers of classes, and a label for each."""
    for classes in EXPLICIT:
        for label in range(classes):
            yield Integer(classes), Integer(label)
    yield C, y


def _of_rows(one: tuple[Any, ...], other: tuple[Any, ...]) -> str:
    pairs = []
    for classes, label in labels():

        def value(side: tuple[Any, ...], classes: Any = classes, label: Any = label) -> Any:
            loss, variant, arrays, numbers = side
            given = None if arrays.get("target") is Q else label
            return lambda path: block(
                path, loss, variant, classes, arrays, numbers, given
            ).value().at(0)  # fmt: skip

        pairs.append((value(one), value(other)))
    return all_equal(pairs, facts())


def _softmax_focal_is_cross_entropy() -> str:
    arms = 0
    for classes, label in labels():
        indices = [k, label] if classes == C else [Integer(c) for c in range(int(classes))]
        for index in indices:
            known = facts(distinct=[frozenset({k, y})] if index == k else [])

            def focal(path: Path, classes: Any = classes, label: Any = label) -> SymbolicBlock:
                return block(
                    path, "softmax_focal_loss", "", classes, {"input": Z}, {"gamma": S.Zero}, label
                )

            def ce(path: Path, classes: Any = classes, label: Any = label) -> SymbolicBlock:
                numbers = {"smoothing": S.Zero}
                return block(
                    path, "cross_entropy", "class indices", classes, {"input": Z}, numbers, label
                )

            def entry(
                make: Callable[[Path], SymbolicBlock], part: str, index: Any = index
            ) -> Callable[[Path], Expr]:
                def at(path: Path) -> Expr:
                    made = make(path)
                    if part == "value":
                        return made.value().at(0)
                    formula = getattr(made.plan.formulas, part)["input"]
                    return made.derivative(formula).at(index)

                return at

            parts = ("value", "gradient", "curvature")
            pairs = [(entry(focal, part), entry(ce, part)) for part in parts]
            arms += int(all_equal(pairs, known).split()[0])
    return counted(arms, "arm")


def _gradient_sums_to_zero(loss: str) -> str:
    variant = "class indices" if loss == "cross_entropy" else ""
    numbers = {
        "smoothing": Symbol("epsilon", nonnegative=True),
        "gamma": Symbol("gamma", nonnegative=True),
    }
    pairs = []
    for classes, label in labels():

        def total(path: Path, classes: Any = classes, label: Any = label) -> Expr:
            made = block(path, loss, variant, classes, {"input": Z}, numbers, label)
            slope = made.derivative(made.plan.formulas.gradient["input"])
            if classes != C:
                return sympy.Add(*(slope.at(Integer(c)) for c in range(int(classes))))
            # the label's entry apart from the others, which are all alike
            at_label, other = slope.at(label), slope.at(k)
            everywhere = sympy.Sum(other, (k, 0, classes - 1))
            return at_label + everywhere - other.subs(k, label)

        pairs.append((total, lambda path: S.Zero))
    # other than y, except where the entry itself says how much of the label it is
    distinct = [frozenset({k, y})] if loss == "softmax_focal_loss" else []
    return all_equal(pairs, facts(distinct=distinct))


def _binary_is_two_classes() -> str:
    logits = Row(lambda index: z if index == 1 else S.Zero)
    masses = Row(lambda index: t if index == 1 else 1 - t)
    arrays, numbers = {"input": logits, "target": masses}, {"smoothing": S.Zero}

    def made(path: Path) -> SymbolicBlock:
        return block(path, "cross_entropy", "", Integer(2), arrays, numbers, weight=None)

    def slope(path: Path) -> Expr:
        here = made(path)
        return here.derivative(here.plan.formulas.gradient["input"]).at(Integer(1))

    bce = binary_cross_entropy_with_logits.FORMULAS
    at = {"input": z, "target": t, "pos_weight": 1}
    pairs = [
        (lambda path: made(path).value().at(0), of(bce.value, **at)),
        (slope, of(bce.gradient["input"], **at)),
    ]
    return all_equal(pairs, facts())


def _sum_of_kl(path: Path, classes: Any, target: Callable[[Any, RowKernels], Expr]) -> Expr:
    kernels = RowKernels(path, classes)
    log_softmax = _row("log_softmax", kernels, None)
    return kernels.total(
        lambda index: formula_on(
            path,
            kl_div.value,
            {"input": log_softmax.at(index), "target": target(index, kernels)},
        )
    )


def _kl_of_onehot() -> str:
    pairs = []
    for classes, label in labels():
        if classes == C:
            continue

        def ours(path: Path, classes: Any = classes, label: Any = label) -> Expr:
            return _sum_of_kl(path, classes, lambda index, _: KroneckerDelta(index, label))

        def theirs(path: Path, classes: Any = classes, label: Any = label) -> Expr:
            numbers = {"smoothing": S.Zero}
            return block(path, "cross_entropy", "class indices", classes, {"input": Z}, numbers,
                         label, weight=None).value().at(0)  # fmt: skip

        pairs.append((ours, theirs))
    return "C = 2, 3, 4: " + all_equal(pairs, facts())


def _distillation_is_kl() -> str:
    pairs = []
    for classes in (*map(Integer, EXPLICIT), C):

        def ours(path: Path, classes: Any = classes) -> Expr:
            arrays, numbers = {"input": Z, "teacher": V}, {"temperature": S.One}
            made = block(path, "distillation_loss", "", classes, arrays, numbers, weight=None)
            return made.value().at(0)

        def theirs(path: Path, classes: Any = classes) -> Expr:
            def teacher(index: Any, kernels: RowKernels) -> Expr:
                return kernels.softmax(Row(V.__getitem__))[1].at(index)

            return _sum_of_kl(path, classes, teacher)

        pairs.append((ours, theirs))
    return all_equal(pairs, facts())


def _smoothing_by_zero() -> str:
    return show_equal(of(smoothed, target=t, smoothing=0, classes=C), lambda path: t, facts())


def _smoothed_sum() -> str:
    eps = Symbol("epsilon", nonnegative=True)

    def total(path: Path) -> Expr:
        kernels = RowKernels(path, C)
        labels = kernels.map_formula(smoothed, {"target": Hit(y), "smoothing": eps, "classes": C})
        return kernels.total(labels.at)

    return "any C: " + show_equal(total, lambda path: S.One, facts())
