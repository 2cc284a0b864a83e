"""Triplets of a batch: against plain loops over fractions, and against their own statement."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import sympy
from flint import arb, ctx, fmpq
from sympy import Float, Indexed, Integer, Piecewise, Rational, Sum

from derivations import surds, triplet_regions, triplets
from derivations.derivation import load
from derivations.enclose import rational
from derivations.entry import Entry
from derivations.oracle import row
from derivations.pair_distances import NORMALISED
from derivations.rounding import Uncertain
from derivations.triplet_regions import DISTANCES, MININGS, Sample
from derivations.triplet_statements import batch_loss, mined_triplets

REDUCTIONS = ("mean", "mean_nonzero", "sum")


@pytest.fixture(autouse=True)
def precise():
    with ctx.workprec(256):
        yield


# From the origin: 5 to the first three, 10 to the fourth; and every other distance is whole, too
LINE = [[0], [3], [4], [-5], [10], [1]]
TRIANGLES = [[0, 0], [0, 3], [4, 0], [4, 3]]


# Plain loops over fractions --------------------------------------------------------------------


def length(x, y, distance):
    r = [a - b for a, b in zip(x, y, strict=True)]
    if distance == "cityblock":
        return sum(abs(c) for c in r)
    square = sum(c * c for c in r)
    if distance == "sqeuclidean":
        return square
    root = math.isqrt(square)
    assert root * root == square
    return Fraction(root)


def direction(x, y, distance, k):
    """The derivative of the length by x[k]; 0 at a kink."""
    r = Fraction(x[k] - y[k])
    if distance == "sqeuclidean":
        return 2 * r
    if distance == "cityblock":
        return Fraction((r > 0) - (r < 0))
    whole = length(x, y, distance)
    return r / whole if whole else Fraction(0)


def loops(points, labels, margin, mining, distance):
    """The mined triplets, by the words of the papers."""
    count = range(len(points))
    d = [[length(points[i], points[j], distance) for j in count] for i in count]
    found = []
    for a in count:
        positives = [p for p in count if p != a and labels[p] == labels[a]]
        negatives = [n for n in count if labels[n] != labels[a]]
        if mining == "hard":
            if positives and negatives:
                p = max(positives, key=lambda p: (d[a][p], -p))
                n = min(negatives, key=lambda n: (d[a][n], n))
                found.append((a, p, n))
            continue
        for p, n in itertools.product(positives, negatives):
            if mining == "semihard" and not d[a][p] < d[a][n] < d[a][p] + margin:
                continue
            if mining == "easy" and not d[a][n] >= d[a][p] + margin:
                continue
            found.append((a, p, n))
    return found, d


def expected(points, labels, margin, mining, distance, reduction):
    """Value, and the gradient with 0 for everything at a kink."""
    found, d = loops(points, labels, margin, mining, distance)
    losses = [max(Fraction(0), d[a][p] - d[a][n] + margin) for a, p, n in found]
    counts = {"sum": 1, "mean": len(found), "mean_nonzero": sum(one > 0 for one in losses)}
    divisor = counts[reduction] or 1
    gradient = [[Fraction(0)] * len(points[0]) for _ in points]
    for (a, p, n), loss in zip(found, losses, strict=True):
        for k in range(len(points[0])) if loss > 0 else ():
            for other, weight in ((p, 1), (n, -1)):
                slope = weight * direction(points[a], points[other], distance, k) / divisor
                gradient[a][k] += slope
                gradient[other][k] -= slope
    return sum(losses, Fraction(0)) / divisor, gradient


def fraction(number):
    assert isinstance(number, fmpq)
    return Fraction(int(number.p), int(number.q))


def numbers(answers) -> list[Fraction]:
    return [fraction(entry.value) for entry in answers.entries]


def holds(entry: Entry, number: Fraction) -> bool:
    low = fraction(entry.value)
    high = low if entry.upper is None else fraction(entry.upper)
    return low <= number <= high


HAND_MADE = [
    (points, labels, Fraction(margin))
    for points, marks in (
        (LINE, ([0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1], [2, 2, 7, 7, 2, -1])),
        (TRIANGLES, ([0, 0, 1, 1], [0, 1, 1, 0], [5, 5, 5, 1], [0, 0, 1, 2])),
        ([[0, 0], [0, 0], [3, 4], [3, 4]], ([0, 0, 1, 1], [0, 1, 1, 0])),
    )
    for labels in marks
    for margin in (0, 1, 2, 5)
]


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cityblock"])
def test_loops_over_fractions_agree(distance: str, mining: str) -> None:
    for (points, labels, margin), reduction in itertools.product(HAND_MADE, REDUCTIONS):
        sample = Sample("bulk", points, labels, float(margin), mining, distance)
        answered = triplets.answer(sample.case(reduction=reduction))
        value, gradient = expected(points, labels, margin, mining, distance, reduction)
        (found,) = answered["value"][""].entries
        assert fraction(found.value) == value
        flat = [one for vector in gradient for one in vector]
        entries = answered["gradient"]["embeddings"].entries
        for entry, number in zip(entries, flat, strict=True):
            assert holds(entry, number), (sample, entry, number)
        mined, _ = loops(points, labels, margin, mining, distance)
        indices = triplets.indices(sample.case())
        assert [fraction(e.value) for e in indices.entries] == [
            t[i] for i in range(3) for t in mined
        ]
        assert indices.shape == (3, len(mined))


# The statement, read by SymPy ------------------------------------------------------------------


class Reading:
    """A composition at numbers of fifty digits: its definitions looked up index by index."""

    def __init__(self, composition, points, labels, margin) -> None:
        self.composition = composition
        rows, components = composition.axes["embeddings"]
        self.sizes = {rows: len(points), components: len(points[0])}
        self.known = {composition.options["margin"]: margin}
        x, y = composition.arguments.values()
        self.tables = {
            x: {(i, k): Float(c, 50) for i, row in enumerate(points) for k, c in enumerate(row)},
            y: {(i,): Integer(label) for i, label in enumerate(labels)},
        }
        self.definitions = {one.symbol: one for one in composition.where}

    def __call__(self, e):
        if isinstance(e, Indexed):
            return self.entry(e.base, tuple(int(i) for i in e.indices))
        if isinstance(e, Sum):
            names = [index for index, _, _ in e.limits]
            ranges = [range(low, high.subs(self.sizes) + 1) for _, low, high in e.limits]
            places = (dict(zip(names, at, strict=True)) for at in itertools.product(*ranges))
            return sympy.Add(*(self(e.function.subs(at)) for at in places))
        if isinstance(e, Piecewise):
            return next((self(value) for value, condition in e.args if self(condition)), None)
        if isinstance(e, sympy.Or):
            return any(self(part) for part in e.args)
        if isinstance(e, sympy.And):
            return all(self(part) for part in e.args)
        if not e.args:
            return self.known.get(e, e)
        parts = [self(part) for part in e.args]
        if e.is_Mul and 0 in parts:  # a triplet that is not mined may well be at the kink
            return Integer(0)
        return e.func(*parts)

    def entry(self, base, indices):
        table = self.tables.setdefault(base, {})
        if indices not in table:
            definition = self.definitions[base]
            at = dict(zip(definition.indices, indices, strict=True))
            table[indices] = self(
                definition.expression.xreplace({k: Integer(v) for k, v in at.items()})
            )
        return table[indices]


INDICES = sympy.symbols("a p n", integer=True)
CLEAR = [[1, Rational(33, 16)], [Rational(1, 2), -1], [3, Rational(1, 4)], [-1, Rational(13, 8)]]


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_the_brute_force_is_the_statement(distance: str, mining: str) -> None:
    losing = 0
    for labels, sixtyfourths in (([0, 0, 1, 1], 65), ([0, 1, 0, 1], 193), ([0, 0, 0, 1], 17)):
        margin = Rational(sixtyfourths, 64)
        composition = batch_loss(mining, distance)
        read = Reading(composition, CLEAR, labels, margin)
        anchors = [composition.textbook.subs(composition.row, a) for a in range(len(CLEAR))]
        points = [[float(c) for c in point] for point in CLEAR]
        sample = Sample("bulk", points, labels, float(margin), mining, distance)
        answered = triplets.answer(sample.case(reduction="sum"))
        assert same(answered["value"][""].entries[0], sum(read(one) for one in anchors))
        (stated,) = composition.gradient.values()
        entries = iter(answered["gradient"]["embeddings"].entries)
        for a, k in itertools.product(range(len(CLEAR)), range(2)):
            found = next(entries)
            assert same(found, read(stated.subs({composition.row: a, composition.component: k})))
            losing += found.value != 0
        indicator = mined_triplets(mining, distance)
        read = Reading(indicator, CLEAR, labels, margin)
        mined = [
            triplet
            for triplet in itertools.product(range(len(CLEAR)), repeat=3)
            if read(indicator.textbook.xreplace(dict(zip(INDICES, triplet, strict=True))))
        ]
        assert mined == [one.triplet for one in triplets.batch_of(sample.case()).mined]
        assert mined or (mining in ("semihard", "easy"))
    assert losing or mining == "easy"


def same(entry: Entry, number: sympy.Expr) -> bool:
    """Whether a number and an exact expression agree to thirty digits."""
    with ctx.workdps(50):
        digits = arb(entry.value).str(40, radius=False)
    return entry.upper is None and abs(sympy.N(number, 40) - Float(digits, 40)) < 1e-30


# Ties ------------------------------------------------------------------------------------------


def gradient_of(points, labels, mining, distance, margin=1.0, reduction="sum"):
    case = Sample("hinge", points, labels, margin, mining, distance).case(reduction=reduction)
    found = row(load("batch_triplet_loss"), "hinge/0000", case)
    return found["value"]["data"], found["gradient"]["embeddings"]["data"]


def test_a_hinge_at_zero_spans_from_nothing_to_the_full_slope() -> None:
    for mining in ("all", "hard", "easy"):
        value, gradient = gradient_of([[0.0], [1.0], [2.0]], [0, 0, 1], mining, "euclidean")
        # the anchor 0 is at the kink; the anchor 1 loses 1 under "all" and "hard"
        assert value == (["0x0p+0"] if mining == "easy" else ["0x1p+0"])
        if mining == "easy":
            # d_01 - d_02 + 1: slopes -1 + 1, 1, -1
            assert gradient == ["0x0p+0", ["0x0p+0", "0x1p+0"], ["-0x1p+0", "0x0p+0"]]
    value, gradient = gradient_of([[0.0], [1.0], [2.0]], [0, 0, 1], "semihard", "euclidean")
    assert (value, gradient) == (["0x0p+0"], ["0x0p+0"] * 3)  # not mined at all


def test_hardest_ones_that_tie_span_all_choices() -> None:
    points = [[0.0, 0.0], [3.0, 4.0], [-3.0, 4.0], [6.0, 0.0]]
    _, gradient = gradient_of(points, [0, 0, 0, 1], "hard", "euclidean", margin=2.0)
    case = Sample("ties", points, [0, 0, 0, 1], 2.0, "hard", "euclidean").case()
    assert numbers(triplets.indices(case)) == [0, 1, 2, 1, 2, 1, 3, 3, 3]  # the lower of 1 and 2
    anchor = gradient[0]
    assert isinstance(anchor, list)
    assert float.fromhex(anchor[0]) < float.fromhex(anchor[1])


def test_equal_embeddings_have_any_slope_up_to_one() -> None:
    points = [[1.0, 2.0], [1.0, 2.0], [4.0, 6.0]]
    value, gradient = gradient_of(points, [0, 0, 1], "all", "euclidean", margin=8.0)
    assert value == ["0x1.8p+2"]  # 2 (0 - 5 + 8)
    # 2 d_01 and its slope in [-2, 2], and 3/5 taken away with the negative
    low, high = (float.fromhex(end) for end in gradient[0])
    assert (low, high) == (-2 + 0.6, 2 + 0.6)


def test_a_vector_of_zeros_has_no_direction() -> None:
    points = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]
    value, gradient = gradient_of(points, [0, 0, 1], "all", "cosine")
    assert value == ["0x1p+1"]  # every distance is 1
    assert gradient[:2] == [["-inf", "inf"]] * 2
    case = Sample("zero-vectors", points, [0, 0, 1], 1.0, "all", "cosine").case()
    assert case.flags == ("zero-vector",)


def test_nothing_to_lose_is_nothing() -> None:
    for mining, reduction in itertools.product(MININGS, REDUCTIONS):
        for labels in ([4, 4], [1, 2]):
            points = [[1.0], [3.0]]
            value, gradient = gradient_of(points, labels, mining, "cityblock", reduction=reduction)
            assert (value, gradient) == (["0x0p+0"], ["0x0p+0"] * 2)


def test_a_near_duplicate_is_known_to_the_last_digit() -> None:
    points = [[1.0, 1.0], [1.0, 1.0 + 2.0**-52], [5.0, -2.0]]
    case = Sample("near-duplicates", points, [0, 0, 1], 0.0, "all", "euclidean").case(
        reduction="sum"
    )
    assert triplets.batch_of(case).apart(0, 1).number() == rational(2.0**-52)


def test_where_errors_cancel_the_scale_says_so() -> None:
    points = [[0.0], [1.0], [2.0 - 2.0**-20]]
    case = Sample("hinge", points, [0, 0, 1], 1.0, "hard", "euclidean").case(reduction="sum")
    found = row(load("batch_triplet_loss"), "hinge/0000", case)["value"]
    # of the anchor 0: 1 - (2 - 2^-20) + 1, whose condition is about 4; of the anchor 1 about 3
    assert float.fromhex(found["data"][0]) == 1 + 2.0**-19
    assert 6.9 < float.fromhex(found["scale"][0]) < 7.1


# Exact signs -----------------------------------------------------------------------------------


def test_the_sign_of_a_sum_of_roots_is_certain() -> None:
    two, eight, three = (surds.root(fmpq(n)) for n in (2, 8, 3))
    assert (two + two - eight).sign() == 0
    assert (surds.root(fmpq(9, 4)) - surds.exact(fmpq(3, 2))).sign() == 0
    # 11 and 99 share a square that no list of small ones holds: 11 * 99 = 33^2
    assert (surds.root(fmpq(11 * 13**2)) - surds.root(fmpq(11)).times(fmpq(13))).sign() == 0
    assert (two + three - surds.exact(3)).sign() == 1
    near = surds.root(fmpq(10)) + surds.root(fmpq(17)) - surds.root(fmpq(5)) - surds.root(fmpq(26))
    assert near.sign() == -1
    tiny = two - surds.exact(rational(math.sqrt(2)))
    with ctx.workprec(40), pytest.raises(Uncertain):
        (tiny + two - two).sign()
    assert tiny.sign() == -1


def test_a_ball_alone_cannot_be_called_zero() -> None:
    inexact = surds.ball(arb(2).sqrt())
    with pytest.raises(Uncertain):
        (inexact - inexact).sign()


# What is asked ---------------------------------------------------------------------------------


def test_every_comparison_asked_for_is_one_that_floats_can_make() -> None:
    count = 0
    for sample in triplet_regions.samples():
        if sample.region not in ("hinge", "duplicates"):  # written by hand
            assert triplet_regions.fair(sample), sample
            count += 1
    for distance, mining in itertools.product(DISTANCES, MININGS):
        assert triplet_regions.fair(triplet_regions.large(distance, mining))
    assert count > 400
    assert not triplet_regions.fair(
        Sample(
            "bulk",
            [[0.0, 0.0], [1.0, 2.0], [1.0, 2.0 + 1e-12]],
            [0, 0, 1],
            0.0,
            "semihard",
            "euclidean",
        )
    )


def test_normalised_is_the_loss_of_the_unit_vectors() -> None:
    """3-4-5 vectors have rational directions, so that both ways are open."""
    points = [[6.0, 8.0], [-3.0, 4.0], [4.0, -3.0], [10.0, 0.0]]
    units = [[3, 4], [-3, 4], [4, -3], [5, 0]]
    for mining, labels in itertools.product(MININGS, ([0, 0, 1, 1], [0, 1, 0, 1])):
        sample = Sample("bulk", points, labels, 0.5, mining, "euclidean")
        wanted = Sample("bulk", units, labels, 2.5, mining, "euclidean")
        found = triplets.answer(sample.case(reduction="sum"), NORMALISED)["value"][""].entries
        other = triplets.answer(wanted.case(reduction="sum"))["value"][""].entries
        assert same(found[0], Float(arb(other[0].value / 5).str(40, radius=False), 40))
