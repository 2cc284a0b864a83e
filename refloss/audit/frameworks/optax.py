"""optax on JAX. Its losses come one by one; the mean or the sum is the caller's."""

from __future__ import annotations

from refloss.audit.calls import Call, UnsupportedError, keywords, refuse, scalar
from refloss.audit.cases import Case
from refloss.audit.frameworks import reduced

REQUIRES = ("optax", "jax")
DISTRIBUTION = "optax"
INSTALL = "optax"
ARRAYS = "jax"
IMPORTS = "import optax"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def each(expression: str, case: Case, *, composition: bool = False) -> Call:
    """A loss per element or per row, reduced as the case asks."""
    gradients = case.asked("gradient")
    return Call(reduced(expression, case), differentiable=gradients, composition=composition)


def axis(case: Case) -> int:
    return 1 if case.arrays["input"].ndim > 1 else 0


def cross_entropy(case: Case) -> Call:
    refuse(case, "weight", label_smoothing=0.0)
    if case.indices:
        if case.ignored:
            raise UnsupportedError("no ignored labels")
        name = "softmax_cross_entropy_with_integer_labels"
    else:
        name = "softmax_cross_entropy"
    return each(f"optax.losses.{name}(input, target, axis={axis(case)})", case)


def binary_cross_entropy_with_logits(case: Case) -> Call:
    refuse(case, "weight", "pos_weight")
    return each("optax.losses.sigmoid_binary_cross_entropy(input, target)", case)


def sigmoid_focal_loss(case: Case) -> Call:
    options = {"alpha": case.options.get("alpha", 0.25), "gamma": case.options.get("gamma", 2.0)}
    return each(f"optax.losses.sigmoid_focal_loss(input, target{keywords(options)})", case)


def mse_loss(case: Case) -> Call:
    refuse(case, "weight")
    return each("optax.losses.squared_error(input, target)", case)


def huber_loss(case: Case) -> Call:
    refuse(case, "weight")
    delta = case.options.get("delta", 1.0)
    return each(f"optax.losses.huber_loss(input, target{keywords({'delta': delta})})", case)


def kl_div(case: Case) -> Call:
    """optax sums over an axis, so only the sums of the elementwise losses can be compared."""
    if case.arrays["input"].ndim < 1:
        raise UnsupportedError("no elementwise losses")
    logs = case.options.get("log_target", False)
    name = "kl_divergence_with_log_targets" if logs else "kl_divergence"
    value = f"optax.losses.{name}(input, target).sum()"
    reduction = case.options.get("reduction", "mean")
    if reduction == "none":
        raise UnsupportedError("no elementwise losses")
    if reduction == "mean":
        value += f" / {case.arrays['input'].size}"
    if reduction == "batchmean":
        value += f" / {case.arrays['input'].shape[0]}"
    return Call(value, differentiable=case.asked("gradient"))


def smooth_labels(case: Case) -> Call:
    if case.indices:
        raise UnsupportedError("no class indices")
    return Call(f"optax.losses.smooth_labels(target, {case.options['epsilon']!r})")


def distillation_loss(case: Case) -> Call:
    temperature = case.options.get("temperature", 1.0)
    student = f"jax.nn.log_softmax(input / {temperature!r}, 1)"
    teacher = f"jax.nn.softmax(teacher / {temperature!r}, 1)"
    loss = f"(optax.losses.kl_divergence({student}, {teacher}, axis=1) * {temperature!r} ** 2)"
    value = reduced(loss, case, default="batchmean")
    return Call(value, differentiable=case.asked("gradient"), composition=True)


def triplet_margin_loss(case: Case) -> Call:
    refuse(case, swap=False)
    options = {
        "norm_degree": case.options.get("p", 2.0),
        "margin": case.options.get("margin", 1.0),
        "eps": case.options.get("eps", 1e-6),
    }
    if options["norm_degree"] == float("inf"):
        raise UnsupportedError("no infinite p")
    arguments = f"anchor, positive, negative{keywords(options)}"
    return each(f"optax.losses.triplet_margin_loss({arguments})", case)


def cosine_embedding_loss(case: Case) -> Call:
    """From cosine_similarity and cosine_distance, whose epsilon is 0 by default."""
    margin = scalar(case.options.get("margin", 0.0))
    alike = "optax.losses.cosine_distance(input1, input2)"
    apart = f"jax.nn.relu(optax.losses.cosine_similarity(input1, input2) - {margin})"
    return each(f"jnp.where(target > 0, {alike}, {apart})", case, composition=True)


def margin_ranking_loss(case: Case) -> Call:
    """hinge_loss of the difference, where the margin is hinge_loss's own."""
    if case.options.get("margin", 0.0) != 1:
        raise UnsupportedError("no margin but 1")
    return each("optax.losses.hinge_loss(input1 - input2, target)", case, composition=True)


def nt_xent_loss(case: Case) -> Call:
    """Two views of a sample share its label."""
    labels = f"jnp.tile(jnp.arange({len(case.arrays['z_i'])}), 2)"
    return ntxent(f"jnp.concatenate([z_i, z_j]), {labels}", 0.5, case)


def sup_con_loss(case: Case) -> Call:
    return ntxent("embeddings, labels", 0.1, case)


def ntxent(data: str, temperature: float, case: Case) -> Call:
    if case.options.get("reduction", "mean") != "mean":
        raise UnsupportedError("no reduction but the mean")
    temperature = case.options.get("temperature", temperature)
    value = f"optax.losses.ntxent({data}, {scalar(temperature)})"
    return Call(value, differentiable=case.asked("gradient"))
