"""Proofs can fail: planted wrong formulas, through the same machinery, are not proved."""

import math
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from sympy import Abs, Mod, Rational, Sum, Symbol, exp
from sympy import log as log_of

from derivations import (
    bounds,
    chain_proofs,
    composition_proofs,
    derivation,
    element_proofs,
    end_proofs,
    pair_proofs,
    prove,
    row_proofs,
    similarity_proofs,
    vector_identities,
)
from derivations.composition import Composition
from derivations.facts import POSITIVE
from derivations.obligations import (
    BOUNDED,
    CHECKED,
    FAILED,
    PROVED,
    Obligation,
    RefutedError,
    settle,
)
from derivations.working import WORKING
from refloss.formula import (
    absolute,
    distance,
    emitted,
    log,
    log1p,
    paired,
    product,
    similarity,
    softmax,
    sqrt,
    where,
)
from refloss.formula.hinge import active, hinge
from refloss.formula.logistic import sigmoid, softplus
from refloss.losses import cross_entropy, huber_loss
from refloss.losses.huber_loss import slope


def planted(loss: str, part: str, wrong, variant: str = "", argument: str = "input") -> Obligation:
    """The obligation that a formula falls under, with a wrong formula in its place."""
    made = derivation.load(loss)
    statement = made.variants[variant] if variant else made.statement
    working = WORKING[loss][variant]
    plan = working.plan(loss)
    if part == "value":
        formulas, claim = replace(plan.formulas, value=wrong), "value = textbook"
    else:
        changed = {**getattr(plan.formulas, part), argument: wrong}
        formulas = replace(plan.formulas, **{part: changed})
        claim = f"{part} in {argument} = closed form"
    kind = element_proofs if statement.index is None else row_proofs
    claims = kind.obligations(
        loss, statement, replace(plan, formulas=formulas), working.quantities(statement)
    )
    return next(c for c in claims if c.claim == claim)


def huber_with_full_edge(input, target, delta):
    a = absolute(input - target)
    return where(a > delta, delta * (a - delta), (input - target) * (input - target) / 2)


def huber_with_arms_swapped(input, target, delta):
    a = absolute(input - target)
    return where(a > delta, a * a / 2, delta * (a - delta / 2))


def huber_without_lower_arm(input, target, delta):
    r = input - target
    return where(r > delta, delta, r)


def huber_with_wrong_sign(input, target, delta):
    return slope(target - input, delta)


def huber_bend_everywhere(input, target, delta):
    return 1 + 0 * input


def l1_slope_of_two_at_zero(input, target):
    r = input - target
    return where(r > 0, 1, where(r < 0, -1, 2))


def bce_without_second_term(input, target, pos_weight):
    return product(pos_weight * target, softplus(-input))


def bce_with_factor_swapped(input, target, pos_weight):
    return product(target, softplus(-input)) + product(pos_weight * (1 - target), softplus(input))


def bce_slope_without_pos_weight(input, target, pos_weight):
    return (1 - target) * sigmoid(input) - target * sigmoid(-input)


def bce_slope_wrong_left_of_zero(input, target, pos_weight):
    right = (1 - target) * sigmoid(input) - pos_weight * target * sigmoid(-input)
    return where(input < 0, -right, right)


def bce_curvature_of_sigmoid(input, target, pos_weight):
    return (pos_weight * target + (1 - target)) * sigmoid(input)


def bce_of_probability_swapped(input, target):
    return product(target, -log1p(-input)) + product(1 - target, -log(input))


def kl_without_entropy(input, target):
    return -target * input


def gaussian_without_half(mu, logvar):
    return mu * mu + exp_minus_tangent(logvar)


def exp_minus_tangent(x):
    return 2 * (softplus(x) - softplus(x)) + x


def ce_with_lost_term(p, q, mass, other_mass):
    return p * other_mass


def ce_with_wrong_sign(p, q, mass, other_mass):
    return p * other_mass + mass * q


def ce_hessian_without_mass(p, q, total_mass):
    return p * q


def ce_hessian_of_square(p, q, total_mass):
    return total_mass * p * p


def ce_without_mass(mass, surprise):
    return surprise


def focal_without_power_rule(p, hit, hit_weight, hit_surprise, hit_p, hit_q, hit_q_lost, gamma):
    return hit_weight * where(hit > 0, -hit_q, p)


def distillation_without_square(p, surprise, teacher_p, teacher_surprise, temperature):
    return temperature * product(teacher_p, surprise - teacher_surprise)


def ranking_the_wrong_way_round(input1, input2, target, margin):
    return hinge(target * (input1 - input2) + margin)


def ranking_margin_without_its_sign(input1, input2, target, margin):
    return hinge(target * (input2 - input1) - margin)


def hinge_embedding_with_both_arms_pulled(input, target, margin):
    return where(target > 0, 1, active(margin - input))


def hinge_embedding_without_hinge(input, target, margin):
    return where(target > 0, input, margin - input)


def contrastive_with_target_turned(distance, target, margin):
    missing = hinge(margin - distance)
    return (1 - target) * distance * distance + target * missing * missing


def contrastive_like_caffe(distance, target, margin):
    return target * distance * distance + (1 - target) * hinge(margin - distance * distance)


WRONG = [
    ("huber_loss", "value", huber_with_full_edge),
    ("huber_loss", "value", huber_with_arms_swapped),
    ("huber_loss", "gradient", huber_without_lower_arm),
    ("huber_loss", "gradient", huber_with_wrong_sign),
    ("huber_loss", "curvature", huber_bend_everywhere),
    ("l1_loss", "gradient", l1_slope_of_two_at_zero),
    ("binary_cross_entropy_with_logits", "value", bce_without_second_term),
    ("binary_cross_entropy_with_logits", "value", bce_with_factor_swapped),
    ("binary_cross_entropy_with_logits", "gradient", bce_slope_without_pos_weight),
    ("binary_cross_entropy_with_logits", "gradient", bce_slope_wrong_left_of_zero),
    ("binary_cross_entropy_with_logits", "curvature", bce_curvature_of_sigmoid),
    ("binary_cross_entropy", "value", bce_of_probability_swapped),
    ("kl_div", "value", kl_without_entropy),
    ("gaussian_kl", "value", gaussian_without_half),
    ("cross_entropy", "value", ce_without_mass),
    ("cross_entropy", "gradient", ce_with_lost_term),
    ("cross_entropy", "gradient", ce_with_wrong_sign),
    ("cross_entropy", "curvature", ce_hessian_without_mass),
    ("cross_entropy", "curvature", ce_hessian_of_square),
    ("softmax_focal_loss", "gradient", focal_without_power_rule),
    ("distillation_loss", "value", distillation_without_square),
    ("margin_ranking_loss", "value", ranking_the_wrong_way_round),
    ("margin_ranking_loss", "value", ranking_margin_without_its_sign),
    ("hinge_embedding_loss", "gradient", hinge_embedding_with_both_arms_pulled),
    ("hinge_embedding_loss", "value", hinge_embedding_without_hinge),
    ("contrastive_loss_from_distance", "value", contrastive_with_target_turned),
    ("contrastive_loss_from_distance", "value", contrastive_like_caffe),
]


@pytest.mark.parametrize(("loss", "part", "wrong"), WRONG, ids=[w.__name__ for *_, w in WRONG])
def test_a_wrong_formula_fails(loss, part, wrong):
    outcome = settle(planted(loss, part, wrong))
    assert outcome.verdict == FAILED
    assert "Error" not in outcome.detail.split(":")[0], outcome.detail  # refuted, not stumbled


def test_the_right_formula_passes_in_the_place_of_the_wrong_one():
    right = huber_loss.FORMULAS.gradient["input"]
    assert settle(planted("huber_loss", "gradient", right)).verdict == PROVED
    right = cross_entropy.FORMULAS.curvature["input"]
    assert settle(planted("cross_entropy", "curvature", right)).verdict == PROVED


STATED = [
    ("huber_loss", "gradient", "input"),
    ("huber_loss", "curvature", "target"),
    ("sigmoid_focal_loss", "gradient", "target"),
    ("gaussian_kl", "curvature", "logvar"),
    ("cross_entropy", "gradient", "input"),
    ("cross_entropy", "gradient", "target"),
    ("softmax_focal_loss", "curvature", "input"),
]


@pytest.mark.parametrize(("loss", "part", "argument"), STATED)
def test_a_closed_form_that_is_no_derivative_fails(loss, part, argument):
    statement = derivation.load(loss).statement
    terms = getattr(statement, part)[argument]
    wrong = (*terms[:-1], 2 * terms[-1])
    statement = replace(statement, **{part: {**getattr(statement, part), argument: wrong}})
    working = WORKING[loss][""]
    kind = element_proofs if statement.index is None else row_proofs
    claims = kind.obligations(loss, statement, working.plan(loss), working.quantities(statement))
    claim = next(c for c in claims if c.claim.startswith(f"{part} in {argument}")
                 and "differentiated" in c.claim)  # fmt: skip
    assert settle(claim).verdict == FAILED


def refuted(claim: Obligation) -> bool:
    outcome = settle(claim)
    assert "Error" not in outcome.detail.split(":")[0], outcome.detail  # refuted, not stumbled
    return outcome.verdict == FAILED


def composed(loss: str, variant: str, argument: str, **changes) -> Obligation:
    """The obligation of a gradient in closed form, of a composition with wrong parts."""
    made = derivation.load(loss)
    composition = replace(made.variants[variant] if variant else made.statement, **changes)
    claims = composition_proofs.obligations(loss, variant, composition)
    return next(c for c in claims if c.claim.startswith(f"gradient in {argument}"))


WRONG_CLOSED = [
    ("contrastive_loss", "", "x1", lambda g: -g),
    ("contrastive_loss", "p = inf", "x2", lambda g: 2 * g),
    ("triplet_margin_loss", "", "positive", lambda g: -g),
    ("triplet_margin_loss", "swap", "negative", lambda g: 2 * g),
    ("cosine_embedding_loss", "", "input1", lambda g: -g),
    ("nt_xent_loss", "", "z_j", lambda g: g / 2),
    ("info_nce_loss", "", "negative_keys", lambda g: -g),
    ("sup_con_loss", "", "embeddings", lambda g: 2 * g),
]


@pytest.mark.parametrize(("loss", "variant", "argument", "wrong"), WRONG_CLOSED)
def test_a_gradient_of_vectors_that_is_no_derivative_fails(loss, variant, argument, wrong):
    made = derivation.load(loss)
    gradient = dict((made.variants[variant] if variant else made.statement).gradient)
    gradient[argument] = wrong(gradient[argument])
    assert refuted(composed(loss, variant, argument, gradient=gradient))


def test_a_norm_without_absolute_values_fails():
    """The mistake of optax 0.2.8: the sum of the powers without abs."""
    where = derivation.load("triplet_margin_loss").statement.where
    bare = tuple(
        replace(one, expression=one.expression.replace(Abs, lambda r: r))
        if str(one.symbol) == "d_ap" else one
        for one in where
    )  # fmt: skip
    assert bare != where
    assert refuted(composed("triplet_margin_loss", "", "anchor", where=bare))


def test_a_softmax_that_forgets_to_leave_out_the_anchor_fails():
    statement = derivation.load("nt_xent_loss").statement
    n = statement.rows
    s = next(d.symbol for d in statement.where if str(d.symbol) == "s")
    i, k = statement.row, Symbol("k", integer=True, nonnegative=True)
    own = exp(s[i, Mod(i + n / 2, n)] / statement.options["temperature"])
    whole = Sum(exp(s[i, k] / statement.options["temperature"]), (k, 0, n - 1))
    wrong = composed("nt_xent_loss", "", "z_i", textbook=-log_of(own / whole))
    assert refuted(wrong)


def of_pair(loss: str, argument: str | None, **wrong) -> Obligation:
    """The obligation of what runs, with wrong formulas in it."""
    composition = derivation.load(loss).statement

    def change(plan):
        return replace(plan, formulas=replace(plan.formulas, **wrong))

    def show() -> str:
        for place in pair_proofs.places(loss, ""):
            pair_proofs.agreeing(composition, argument, place, change)
        return "everywhere"

    return Obligation(loss, "planted", show)


def unhinged_distance(positive_distance, negative_distance, margin):
    return positive_distance - negative_distance + margin


def triplet_that_adds_the_negative(positive_distance, negative_distance, margin):
    return hinge(positive_distance + negative_distance + margin)


def cosine_of_the_gap(cosine, gap, target, margin):
    return where(target > 0, 1 - gap, hinge(cosine - margin))


def pull_without_hinge(slope, distance, target, margin):
    return 2 * (target * distance - (1 - target) * (margin - distance)) * slope


def turn_the_other_way(turn, cosine, target, margin):
    return turn * where(target > 0, 1, active(cosine - margin))


def positive_against_the_anchor(positive_slope, positive_distance, negative_distance, margin):
    return positive_slope * active(positive_distance - negative_distance + margin)


WRONG_PAIRS = [
    ("triplet_margin_loss", None, unhinged_distance),
    ("triplet_margin_loss", None, triplet_that_adds_the_negative),
    ("cosine_embedding_loss", None, cosine_of_the_gap),
    ("contrastive_loss", "x1", pull_without_hinge),
    ("cosine_embedding_loss", "input1", turn_the_other_way),
    ("triplet_margin_loss", "positive", positive_against_the_anchor),
]


@pytest.mark.parametrize(("loss", "argument", "wrong"), WRONG_PAIRS)
def test_a_wrong_formula_of_pairs_fails(loss, argument, wrong):
    planted = {"value": wrong} if argument is None else {"gradient": {argument: wrong}}
    assert refuted(of_pair(loss, argument, **planted))


def value_of_the_tail(top, tail, positives, count, temperature):
    return where(count > 0, log1p(tail), 0)


def joined_without_the_top(top, tail, other_top, other_tail, temperature):
    return tail + other_tail


def coefficient_of_all(decay, is_top, is_positive, tail, mass):
    return where(is_top > 0, 1, decay) / (1 + tail) - mass


def across_with_the_part_along(pull, unit, along, length):
    return pull / length


WRONG_SIMILARITIES = [
    ("value", value_of_the_tail, None),
    ("joined_tail", joined_without_the_top, None),
    ("coefficient", coefficient_of_all, "embeddings"),
    ("across", across_with_the_part_along, "embeddings"),
]


@pytest.mark.parametrize(("name", "wrong", "argument"), WRONG_SIMILARITIES)
def test_a_wrong_formula_of_similarities_fails(monkeypatch, name, wrong, argument):
    wrong.__name__ = name  # gathered under its name
    monkeypatch.setattr(similarity, name, wrong)
    composition = derivation.load("sup_con_loss").statement

    def show() -> str:
        for place in similarity_proofs.places("sup_con_loss", ""):
            similarity_proofs.agreeing(composition, argument, place)
        return "everywhere"

    assert refuted(Obligation("sup_con_loss", "planted", show))


def size_without_abs(x):
    return x


def root_without_top(total, top):
    return sqrt(total)


def slope_without_sign(residual, share, total):
    return share / sqrt(total)


def slope_that_picks_all(residual, share, total):
    return where(residual > 0, 1, where(residual < 0, -1, 0)) / total


WRONG_PIECES = [
    ("size", size_without_abs, "p: slope"),
    ("square_root", root_without_top, "p = 2: distance"),
    ("square_slope", slope_without_sign, "p = 2: slope"),
    ("largest_slope", slope_that_picks_all, "p = oo: slope"),
]


@pytest.mark.parametrize(("name", "wrong", "claim"), WRONG_PIECES)
def test_a_wrong_piece_of_a_distance_fails(monkeypatch, name, wrong, claim):
    monkeypatch.setattr(distance, name, wrong)
    claims = [c for c in pair_proofs.pieces() if c.claim.startswith(claim)]
    assert claims
    assert all(settle(c).verdict == FAILED for c in claims)


def test_a_wrong_chain_rule_fails():
    x, xx = chain_proofs.x, chain_proofs.total(chain_proofs.x[chain_proofs.d] ** 2)
    facts = chain_proofs.known((xx, POSITIVE))
    length, k = xx ** Rational(1, 2), chain_proofs.k
    assert chain_proofs.slope(length, x[k], x[k] / length, facts)
    for wrong in (-x[k] / length, 2 * x[k] / length, x[k] * length, x[k] / xx):
        with pytest.raises(RefutedError):
            chain_proofs.slope(length, x[k], wrong, facts)


def test_a_derivative_that_is_not_stated_fails():
    statement = replace(derivation.load("mse_loss").statement, curvature={})
    working = WORKING["mse_loss"][""]
    plan = working.plan("mse_loss")
    claims = element_proofs.obligations("mse", statement, plan, working.quantities(statement))
    failed = [c.claim for c in claims if settle(c).verdict == FAILED]
    assert failed == ["curvature in input = closed form", "curvature in target = closed form"]


def bce_that_multiplies_zero_by_infinity(input, target):
    return target * -log(input) + (1 - target) * -log1p(-input)


def bce_that_clips(input, target):
    return where(input > 0, bce_that_multiplies_zero_by_infinity(input, target), 100 * target)


def right_bce(input, target):
    return product(target, -log(input)) + product(1 - target, -log1p(-input))


@pytest.mark.parametrize(
    ("formula", "verdict"),
    [
        (bce_that_multiplies_zero_by_infinity, FAILED),
        (bce_that_clips, FAILED),
        (right_bce, PROVED),
    ],
)
def test_limits_at_the_ends_of_the_domain(formula, verdict):
    statement = derivation.load("binary_cross_entropy").statement
    working = WORKING["binary_cross_entropy"][""]
    plan = working.plan("binary_cross_entropy")
    plan = replace(plan, formulas=replace(plan.formulas, value=formula))
    claims = end_proofs.obligations("bce", statement, plan, working.quantities(statement))
    assert settle(next(claims)).verdict == verdict


def wrong_complement(decay, decay_error, is_top, tail, tail_error):
    return (1 - decay) / (1 + tail)


def wrong_gap(z, top, is_top, temperature):
    return where(is_top > 0, 0, (top - z) * temperature)


@pytest.mark.parametrize(("name", "wrong"), [("complement", wrong_complement), ("gap", wrong_gap)])
def test_a_wrong_piece_of_the_softmax_fails(monkeypatch, name, wrong):
    wrong.__name__ = name  # the kernels know their pieces by name
    monkeypatch.setattr(softmax, name, wrong)
    verdicts = {settle(piece).verdict for piece in row_proofs.pieces()}
    assert FAILED in verdicts


def test_a_wrong_coefficient_breaks_a_bound():
    for found, error in (
        (bounds.exp_coefficients(), bounds.exp_error),
        (bounds.atanh_coefficients(), bounds.log_error),
    ):
        error(found)
        degree = sorted(found)[2]
        for change in (Rational(1, 2**40), -Rational(1, 2**40)):
            with pytest.raises(RefutedError, match="may reach"):
                error({**found, degree: found[degree] + change})
        highest = max(found)
        with pytest.raises(RefutedError, match="may reach"):
            error({k: c for k, c in found.items() if k != highest})


@pytest.mark.parametrize(
    ("kind", "degree"),
    [
        pytest.param(kind, degree, id=f"{name}-{degree}")
        for name, kind in emitted.KINDS.items()
        for degree in ("exp_degree", "atanh_degree", "unit_degree", "excess_degree")
        if getattr(kind, degree)  # some polynomials are only for several numbers at once
    ],
)
def test_a_kind_of_arithmetic_of_a_lower_degree_breaks_its_bound(kind, degree):
    def failed(kind: emitted.Kind) -> set[str]:
        return {o.loss.split(",")[0] for o in bounds.of_kind(kind) if settle(o).verdict == FAILED}

    assert failed(kind) == set()
    lower = replace(kind, **{degree: getattr(kind, degree) - 2})
    names = {"exp_degree": "exp", "excess_degree": "excess"}
    assert failed(lower) == {names.get(degree, "log")}


@pytest.mark.parametrize("kind", emitted.KINDS.values(), ids=emitted.KINDS)
def test_a_wrong_constant_breaks_its_bound(monkeypatch, kind):
    high = kind.ln2_high * (1 + 2.0 ** (1 - kind.digits))  # one digit more than there is room for
    assert [o.loss for o in bounds.of_kind(replace(kind, ln2_high=high))
            if settle(o).verdict == FAILED] == [f"ln 2, {kind.name}"]  # fmt: skip
    right = emitted.factorials(kind.exp_degree)
    monkeypatch.setattr(emitted, "factorials", lambda degree: [*right[:4], 1.001 * right[4]])
    assert settle(next(bounds.of_kind(kind))).verdict == FAILED


def test_steps_of_the_exponent_that_reach_beyond_normal_numbers_are_refused(monkeypatch):
    for end in (-709.0, 710.0):
        ends = [*bounds.literals("quick_exp"), *bounds.literals("quick_fading"), end]
        with monkeypatch.context() as patch:
            patch.setattr(bounds, "literals", lambda word, ends=ends: ends)
            with pytest.raises(RefutedError, match="not normal"):
                bounds.precisely(lambda: bounds.one_step(emitted.WORKING))()


@pytest.mark.parametrize("ends", [(-709.0, 2.0**-128), (-708.0, 2.0**-50)])
def test_a_step_that_does_not_lift_enough_or_in_time_is_refused(monkeypatch, ends):
    found = {"in_one_step": [*ends], "exp_parts": bounds.literals("exp_parts")}
    monkeypatch.setattr(bounds, "literals", found.__getitem__)
    with pytest.raises(RefutedError, match="not normal"):
        bounds.precisely(lambda: bounds.lifted_step(emitted.DOUBLE))()


def test_an_exponential_that_would_reach_infinity_in_one_step_is_refused(monkeypatch):
    monkeypatch.setattr(emitted, "LARGEST", 709.7828)
    with pytest.raises(RefutedError, match="not normal"):
        bounds.precisely(lambda: bounds.lifted_step(emitted.DOUBLE))()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("EXP_DEGREE", 7),
        ("LN2", math.log(2)),
        ("LN2", float(np.float32(math.log(2) + 1e-7))),
        ("LN2_LOW", 0.0),
        ("FADED", 133.0),
        ("FADING", 126),
        ("REACH", 2.0**30),
    ],
)
def test_a_wrong_constant_of_pairs_breaks_a_bound(monkeypatch, name, wrong):
    def failed():
        found = [o for o in bounds.obligations() if o.loss == "exp, pairs"]
        assert len(found) == 3
        return any(settle(o).verdict == FAILED for o in found)

    assert not failed()
    monkeypatch.setattr(paired, name, wrong)
    assert failed()


def test_the_bounds_are_taken_from_the_rounded_coefficients_that_run():
    third = Fraction(1, 6)
    assert bounds.exp_coefficients()[3] == Rational(*(1 / 6).as_integer_ratio())
    assert Fraction(*(1 / 6).as_integer_ratio()) != third


def raises() -> str:
    raise ArithmeticError("lost its way")


def test_whatever_goes_wrong_is_a_failure():
    outcome = settle(Obligation("loss", "claim", raises))
    assert (outcome.verdict, outcome.detail) == (FAILED, "ArithmeticError: lost its way")


def test_the_table_says_which_is_which(capsys):
    claims = [
        Obligation("a", "holds", lambda: "1 arm"),
        Obligation("b", "is close", lambda: "", BOUNDED),
        Obligation("c", "was tried", lambda: "", CHECKED),
    ]
    assert prove.table(claims)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == [PROVED, BOUNDED, CHECKED]
    assert lines[1].endswith("a: holds  [1 arm]")
    assert re.fullmatch(r"3 obligations: 1 proved, 1 bounded, 1 checked \(\d+ s\)", lines[-1])


def test_one_failure_is_the_exit_code(monkeypatch, capsys):
    good, bad = Obligation("a", "holds", lambda: ""), Obligation("b", "does not", raises)
    monkeypatch.setattr(prove, "obligations", lambda losses: [good])
    assert prove.prove(()) == 0
    monkeypatch.setattr(prove, "obligations", lambda losses: [bad, good])
    assert prove.prove(()) == 1
    assert "2 obligations: 1 FAILED, 1 proved" in capsys.readouterr().out


def test_every_statement_of_every_loss_has_obligations():
    for loss in derivation.LOSSES:
        made = derivation.load(loss)
        for variant, statement in {"": made.statement, **made.variants}.items():
            claims = [o.claim for o in prove.of_statement(loss, variant, statement)]
            assert "value = textbook" in claims or isinstance(statement, Composition)
            for part in ("gradient", "curvature"):
                for argument in getattr(statement, part, ()):
                    assert any(c.startswith(f"{part} in {argument} = ") for c in claims)


def test_the_exit_code_reaches_the_shell(monkeypatch):
    from derivations.__main__ import main

    monkeypatch.setattr(prove, "prove", lambda losses: 1)
    assert main(["prove", "mse_loss"]) == 1


def test_a_wrong_identity_of_vectors_fails(monkeypatch):
    """Half of NT-Xent for both of its directions."""
    half = vector_identities._value
    monkeypatch.setattr(
        vector_identities, "_value", lambda run, anchor: lambda path: half(run, anchor)(path) / 2
    )
    shown = {claim: show for _, claim, show in vector_identities.vectorwise()}
    wrong = next(show for claim, show in shown.items() if claim.startswith("InfoNCE"))
    assert settle(Obligation("info_nce_loss", "planted", wrong)).verdict == FAILED
