"""Wrong losses of similarities: NT-Xent, InfoNCE, SupCon."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import mistake, reduced

NT_XENT, INFO_NCE, SUP_CON = "nt_xent_loss", "info_nce_loss", "sup_con_loss"


def unit(x: Any) -> Any:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths == 0, 1, lengths)


def views(z_i: Any, z_j: Any, temperature: float) -> tuple[Any, Any]:
    """Similarities of all views over the temperature, in float64, and whose partner is whose."""
    z = unit(np.concatenate([z_i, z_j]).astype(np.float64))
    return z @ z.T / temperature, np.roll(np.arange(len(z)), len(z_i))


def entropy(s: Any, partner: Any, counted: Any) -> Any:
    """Cross-entropy of each row, over the entries that are counted."""
    s = np.where(counted, s, -np.inf)
    top = s.max(1, keepdims=True)
    p = np.take_along_axis(s, partner[:, None], 1)
    return (np.log(np.exp(s - top).sum(1, keepdims=True)) + top - p)[:, 0]


def others(n: int) -> Any:
    return ~np.eye(n, dtype=bool)


@mistake(NT_XENT, "value", "temperature")
def overflow_of_exp(z_i: Any, z_j: Any, temperature: float = 0.5, reduction: str = "mean") -> Any:
    """exp(s / t) is infinite from t = 1/88 on in float32: lightning-bolts#811, #320."""
    z = unit(np.concatenate([z_i, z_j]))
    exps = np.where(others(len(z)), np.exp(z @ z.T / z.dtype.type(temperature)), 0)
    partner = np.roll(np.arange(len(z)), len(z_i))
    return reduced(-np.log(exps[np.arange(len(z)), partner] / exps.sum(1)), reduction)


@mistake(NT_XENT, "value", "bulk")
def itself_among_its_negatives(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """The diagonal, exp(1 / t), stays in the denominator."""
    s, partner = views(z_i, z_j, temperature)
    return entropy(s, partner, np.ones_like(s, bool)).astype(z_i.dtype)


@mistake(NT_XENT, "value", "far")
def log_of_no_less_than_tiny(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """-log(p + tiny) is at most 87.3 in float32: PyTorch Metric Learning."""
    s, partner = views(z_i, z_j, temperature)
    p = np.exp(-entropy(s, partner, others(len(s))))
    return -np.log(p + np.finfo(np.float32).tiny)


@mistake(NT_XENT, "value", "confident")
def log_of_a_softmax(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """-log(p) where p rounds to 1: nothing is left of a loss that is small."""
    s, partner = views(z_i, z_j, temperature)
    p = np.exp(-entropy(s, partner, others(len(s)))).astype(z_i.dtype)
    return -np.log(p)


@mistake(NT_XENT, "value", "temperature", Grade.CONVENTION)
def directions_added(z_i: Any, z_j: Any, temperature: float = 0.5, reduction: str = "mean") -> Any:
    """Each direction averaged over the N pairs: google-research/simclr, Spijkervet/SimCLR#18."""
    twice = 2 if reduction == "mean" else 1
    return twice * refloss.nt_xent_loss(z_i, z_j, temperature, reduction)


@mistake(NT_XENT, "value", "temperature", Grade.LOSES_DIGITS)
def one_direction(z_i: Any, z_j: Any, temperature: float = 0.5, reduction: str = "mean") -> Any:
    """The views of z_j are negatives and never anchors."""
    losses = refloss.nt_xent_loss(
        z_i.astype(np.float64), z_j.astype(np.float64), temperature, "none"
    )
    return reduced(losses[: len(z_i)], reduction) if reduction != "none" else losses


@mistake(NT_XENT, "value", "bulk")
def negatives_from_the_other_view(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """Logits z_i against z_j, N x N: the other views of one's own side are left out (torchgeo)."""
    s, partner = views(z_i, z_j, temperature)
    side = np.arange(len(s)) < len(z_i)
    return entropy(s, partner, side[:, None] != side)


@mistake(NT_XENT, "value", "bulk")
def temperature_multiplied(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """s t for s / t."""
    return refloss.nt_xent_loss(z_i, z_j, 1 / temperature, "none")


@mistake(NT_XENT, "value", "norms")
def products_for_cosines(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """Embeddings are expected to come normalised."""
    z = np.concatenate([z_i, z_j]).astype(np.float64)
    partner = np.roll(np.arange(len(z)), len(z_i))
    return entropy(z @ z.T / temperature, partner, others(len(z)))


@mistake(NT_XENT, "value", "zero-vectors")
def view_of_length_zero(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """0 / 0 in one view is NaN in every loss."""
    z = np.concatenate([z_i, z_j]).astype(np.float64)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    partner = np.roll(np.arange(len(z)), len(z_i))
    return entropy(z @ z.T / temperature, partner, others(len(z)))


def chained(g: Any, z: Any) -> Any:
    """From the gradient by the similarities to that by the vectors, through their lengths."""
    u = unit(z)
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    pull = g @ u
    projected = pull - (pull * u).sum(1, keepdims=True) * u
    return projected / np.where(lengths == 0, np.inf, lengths)


def slopes(z_i: Any, z_j: Any, temperature: float) -> tuple[Any, Any]:
    """Gradient of the losses' sum by each anchor's similarities, and all views."""
    s, partner = views(z_i, z_j, temperature)
    s = np.where(others(len(s)), s, -np.inf)
    p = np.exp(s - s.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    hit = partner[:, None] == np.arange(len(s))
    return (p - hit) / temperature, np.concatenate([z_i, z_j]).astype(np.float64)


@mistake(NT_XENT, "gradient", "bulk")
def lengths_not_differentiated(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """The gradient by the unit vectors, taken for that by the vectors."""
    value = refloss.nt_xent_loss(z_i, z_j, temperature, "none")
    g, z = slopes(z_i, z_j, temperature)
    return value, ((g + g.T) @ unit(z))[: len(z_i)].astype(z_i.dtype)


@mistake(NT_XENT, "gradient", "bulk")
def anchors_only(z_i: Any, z_j: Any, temperature: float = 0.5) -> Any:
    """A view is moved as an anchor; as a positive or negative of others it is held constant."""
    value = refloss.nt_xent_loss(z_i, z_j, temperature, "none")
    return value, chained(*slopes(z_i, z_j, temperature))[: len(z_i)].astype(z_i.dtype)


def keys(
    query: Any, positive_key: Any, negative_keys: Any, temperature: float
) -> tuple[Any, Any, Any]:
    """Similarities to the positives, (N,), those to the negatives, and which of them count."""
    q, k = unit(query.astype(np.float64)), unit(positive_key.astype(np.float64))
    if negative_keys is None:
        return (q * k).sum(1) / temperature, q @ k.T / temperature, others(len(q))
    s = q @ unit(negative_keys.astype(np.float64)).T / temperature
    return (q * k).sum(1) / temperature, s, np.ones_like(s, bool)


def chosen(positive: Any, negative: Any, counted: Any) -> Any:
    s = np.concatenate([positive[:, None], np.where(counted, negative, -np.inf)], 1)
    return entropy(s, np.zeros(len(s), int), np.ones_like(s, bool))


@mistake(INFO_NCE, "value", "bulk")
def queue_as_it_came(
    query: Any, positive_key: Any, negative_keys: Any = None, temperature: float = 0.07
) -> Any:
    """Keys in the queue lose their normalisation: lightly#564."""
    positive, negative, counted = keys(query, positive_key, negative_keys, temperature)
    if negative_keys is not None:
        negative = unit(query.astype(np.float64)) @ negative_keys.T / temperature
    return chosen(positive, negative, counted)


@mistake(INFO_NCE, "value", "bulk")
def positive_left_out(
    query: Any, positive_key: Any, negative_keys: Any = None, temperature: float = 0.07
) -> Any:
    """Negatives alone in the denominator, as in decoupled contrastive learning."""
    positive, negative, counted = keys(query, positive_key, negative_keys, temperature)
    negative = np.where(counted, negative, -np.inf)
    top = np.maximum(negative.max(1), -1e300)
    return np.log(np.exp(negative - top[:, None]).sum(1)) + top - positive


@mistake(INFO_NCE, "value", "bulk")
def batch_beside_the_queue(
    query: Any, positive_key: Any, negative_keys: Any = None, temperature: float = 0.07
) -> Any:
    """The other keys of the batch are negatives even where there is a queue."""
    positive, negative, counted = keys(query, positive_key, negative_keys, temperature)
    if negative_keys is not None:
        _, more, too = keys(query, positive_key, None, temperature)
        negative, counted = np.concatenate([negative, more], 1), np.concatenate([counted, too], 1)
    return chosen(positive, negative, counted)


@mistake(INFO_NCE, "value", "bulk")
def keys_ask_too(
    query: Any, positive_key: Any, negative_keys: Any = None, temperature: float = 0.07
) -> Any:
    """The mean of both directions, as in CLIP."""
    value = refloss.info_nce_loss(query, positive_key, negative_keys, temperature, "none")
    if negative_keys is not None:
        return value
    return (value + refloss.info_nce_loss(positive_key, query, None, temperature, "none")) / 2


@mistake(INFO_NCE, "value", "far")
def log_of_no_less_than_eps(
    query: Any, positive_key: Any, negative_keys: Any = None, temperature: float = 0.07
) -> Any:
    """-log(p + 1e-8): no query costs more than 18.4."""
    positive, negative, counted = keys(query, positive_key, negative_keys, temperature)
    return -np.log(np.exp(-chosen(positive, negative, counted)) + 1e-8)


@mistake(INFO_NCE, "gradient", "bulk")
def keys_detached(
    query: Any, positive_key: Any, negative_keys: Any = None, temperature: float = 0.07
) -> Any:
    """The keys come from an encoder that is not trained, and here from one that is: MoCo's code."""
    loss = refloss.info_nce_loss
    value, gradient = loss.value_and_grad(query, positive_key, negative_keys, temperature, "none")
    return value, {"query": gradient, "positive_key": np.zeros_like(positive_key)}


def log_shares(embeddings: Any, temperature: float) -> Any:
    """Logarithm of each row's softmax over the other rows."""
    z = unit(embeddings.astype(np.float64))
    s = np.where(others(len(z)), z @ z.T / temperature, -np.inf)
    top = s.max(1, keepdims=True, initial=-1e300)
    return s - top - np.log(np.exp(s - top).sum(1, keepdims=True))


def positives(labels: Any) -> Any:
    return (labels[:, None] == labels) & others(len(labels))


@mistake(SUP_CON, "value", "bulk")
def positive_of_itself(embeddings: Any, labels: Any, temperature: float = 0.1) -> Any:
    """The anchor counts among its positives, at the similarity 1."""
    z = unit(embeddings.astype(np.float64))
    s = z @ z.T / temperature
    logs = np.log(np.where(others(len(z)), np.exp(s), 0).sum(1, keepdims=True))
    same, alone = labels[:, None] == labels, ~positives(labels).any(1)
    return np.where(alone, 0, -np.where(same, s - logs, 0).sum(1) / same.sum(1))


@mistake(SUP_CON, "value", "bulk")
def logarithm_outside(embeddings: Any, labels: Any, temperature: float = 0.1) -> Any:
    """Khosla's L_in, -log of the positives' mean share, for L_out."""
    shares, mask = np.exp(log_shares(embeddings, temperature)), positives(labels)
    mean = np.where(mask, shares, 0).sum(1) / np.maximum(1, mask.sum(1))
    return np.where(mask.any(1), -np.log(np.where(mask.any(1), mean, 1)), 0)


@mistake(SUP_CON, "value", "bulk", Grade.CONVENTION)
def over_the_base_temperature(embeddings: Any, labels: Any, temperature: float = 0.1) -> Any:
    """Scaled by temperature / base_temperature, 0.07 there: SupContrast's code."""
    return refloss.sup_con_loss(embeddings, labels, temperature, "none") * (temperature / 0.07)


@mistake(SUP_CON, "value", "bulk")
def sum_over_positives(embeddings: Any, labels: Any, temperature: float = 0.1) -> Any:
    """1 / |P(i)| forgotten: classes with many members weigh their size."""
    return -np.where(positives(labels), log_shares(embeddings, temperature), 0).sum(1)


@mistake(SUP_CON, "value", "labels", Grade.CONVENTION)
def every_anchor_in_the_mean(
    embeddings: Any, labels: Any, temperature: float = 0.1, reduction: str = "mean"
) -> Any:
    """Anchors without a positive have loss 0 and count, as in SupContrast's PR #142."""
    if reduction != "mean":
        return refloss.sup_con_loss(embeddings, labels, temperature, reduction)
    wide = embeddings.astype(np.float64)
    return refloss.sup_con_loss(wide, labels, temperature, "sum") / len(labels)


@mistake(SUP_CON, "value", "labels", Grade.CONVENTION)
def one_positive_at_a_time(
    embeddings: Any, labels: Any, temperature: float = 0.1, reduction: str = "mean"
) -> Any:
    """Each positive against negatives alone, averaged over pairs: NT-Xent in PML and optax."""
    mask = positives(labels)
    if reduction == "none" or not mask.any():
        return refloss.sup_con_loss(embeddings, labels, temperature, reduction)
    z = unit(embeddings.astype(np.float64))
    s = z @ z.T / temperature
    negative = np.where(labels[:, None] == labels, -np.inf, s)
    ratios = np.exp(negative[:, None] - s[:, :, None]).sum(2)
    return reduced(np.log1p(ratios)[mask], reduction)


@mistake(SUP_CON, "value", "labels")
def anchor_without_a_positive(embeddings: Any, labels: Any, temperature: float = 0.1) -> Any:
    """0 / 0 for the only one of its class: SupContrast#141."""
    mask = positives(labels)
    return -np.where(mask, log_shares(embeddings, temperature), 0).sum(1) / mask.sum(1)


@mistake(SUP_CON, "value", "labels")
def nothing_without_negatives(
    embeddings: Any, labels: Any, temperature: float = 0.1, reduction: str = "mean"
) -> Any:
    """0 in a batch of one class, whose members still repel each other: PyTorch Metric Learning."""
    value = refloss.sup_con_loss(embeddings, labels, temperature, reduction)
    return value if len(set(labels.tolist())) > 1 else 0 * value


@mistake(SUP_CON, "gradient", "bulk")
def normalisation_held_constant(embeddings: Any, labels: Any, temperature: float = 0.1) -> Any:
    """Divided by the lengths, but not projected: a component along the vector stays."""
    value = refloss.sup_con_loss(embeddings, labels, temperature, "none")
    mask = positives(labels)
    counts = mask.sum(1, keepdims=True)
    g = np.exp(log_shares(embeddings, temperature)) - mask / np.maximum(1, counts)
    g = np.where(counts > 0, g, 0) / temperature
    z = embeddings.astype(np.float64)
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    return value, ((g + g.T) @ unit(z) / lengths).astype(embeddings.dtype)
