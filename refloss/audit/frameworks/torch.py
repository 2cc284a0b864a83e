"""PyTorch: torch.nn.functional, and the compositions people write where it has no function."""

from __future__ import annotations

from refloss.audit.calls import Call, UnsupportedError, call, refuse, scalar
from refloss.audit.cases import Case
from refloss.audit.frameworks import reduced

REQUIRES = ("torch",)
DISTRIBUTION = "torch"
INSTALL = "torch"
ARRAYS = "torch"
IMPORTS = "import torch, torch.nn.functional as F"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def direct(name: str, case: Case) -> Call:
    """A function that torch has, with refloss's own arguments."""
    value = call(f"F.{name}", case, "input", "target")
    return Call(value, differentiable=case.asked("gradient"))


def composition(value: str, case: Case) -> Call:
    """What people write, torch having no function for it."""
    return Call(value, differentiable=case.asked("gradient"), composition=True)


def cross_entropy(case: Case) -> Call:
    return direct("cross_entropy", case)


def nll_loss(case: Case) -> Call:
    return direct("nll_loss", case)


def cross_entropy_with_probs(case: Case) -> Call:
    if case.indices:
        return composition(call("F.nll_loss", case, "input", "target", log="input"), case)
    refuse(case, "weight")
    axis = 1 if case.arrays["input"].ndim > 1 else 0
    return composition(reduced(f"(-(target * input.log()).sum({axis}))", case), case)


def binary_cross_entropy_with_logits(case: Case) -> Call:
    return direct("binary_cross_entropy_with_logits", case)


def binary_cross_entropy(case: Case) -> Call:
    return direct("binary_cross_entropy", case)


def sigmoid_focal_loss(case: Case) -> Call:
    """torchvision's expression, which most copies are copies of."""
    gamma, alpha = case.options.get("gamma", 2.0), case.options.get("alpha", 0.25)
    p = "torch.sigmoid(input)"
    entropy = 'F.binary_cross_entropy_with_logits(input, target, reduction="none")'
    loss = f"{entropy} * (1 - ({p} * target + (1 - {p}) * (1 - target))) ** {gamma!r}"
    if alpha is not None:
        loss = f"({alpha!r} * target + {1 - alpha!r} * (1 - target)) * ({loss})"
    return composition(reduced(f"({loss})", case), case)


def softmax_focal_loss(case: Case) -> Call:
    """The probability recovered from the cross-entropy, as most copies do."""
    refuse(case, "weight")
    gamma = case.options.get("gamma", 2.0)
    ignore = case.options.get("ignore_index", -100)
    entropy = f'F.cross_entropy(input, target, ignore_index={ignore}, reduction="none")'
    loss = f"(lambda ce: (1 - torch.exp(-ce)) ** {gamma!r} * ce)({entropy})"
    if case.ignored and case.options.get("reduction", "mean") == "mean":
        return composition(f"{loss}.sum() / (target != {ignore}).sum()", case)
    return composition(reduced(loss, case), case)


def mse_loss(case: Case) -> Call:
    return direct("mse_loss", case)


def l1_loss(case: Case) -> Call:
    return direct("l1_loss", case)


def huber_loss(case: Case) -> Call:
    return direct("huber_loss", case)


def smooth_l1_loss(case: Case) -> Call:
    return direct("smooth_l1_loss", case)


def kl_div(case: Case) -> Call:
    return direct("kl_div", case)


def gaussian_kl(case: Case) -> Call:
    """The line of Kingma and Welling's appendix B, as every autoencoder has it."""
    return composition(reduced("(-0.5 * (1 + logvar - mu.pow(2) - logvar.exp()))", case), case)


def distillation_loss(case: Case) -> Call:
    """The line of PyTorch's own tutorial on knowledge distillation, by way of kl_div."""
    temperature = case.options.get("temperature", 1.0)
    student = f"F.log_softmax(input / {temperature!r}, 1)"
    teacher = f"F.softmax(teacher / {temperature!r}, 1)"
    reduction = case.options.get("reduction", "batchmean")
    loss = f'F.kl_div({student}, {teacher}, reduction="none").sum(1)'
    if reduction == "batchmean":
        loss = f'F.kl_div({student}, {teacher}, reduction="batchmean")'
        return composition(f"({loss} * {temperature!r} ** 2)", case)
    return composition(reduced(f"({loss} * {temperature!r} ** 2)", case), case)


def contrastive_loss(case: Case) -> Call:
    """The line of most siamese networks, with pairwise_distance and its own eps."""
    p = scalar(case.options.get("p", 2.0))
    return composition(_contrastive(f"F.pairwise_distance(x1, x2, p={p})", case), case)


def contrastive_loss_from_distance(case: Case) -> Call:
    return composition(_contrastive("distance", case), case)


def _contrastive(distance: str, case: Case) -> str:
    margin = scalar(case.options.get("margin", 1.0))
    far = f"F.relu({margin} - d) ** 2"
    return reduced(f"(lambda d: target * d ** 2 + (1 - target) * {far})({distance})", case)


def triplet_margin_loss(case: Case) -> Call:
    value = call("F.triplet_margin_loss", case, "anchor", "positive", "negative")
    return Call(value, differentiable=case.asked("gradient"))


def cosine_embedding_loss(case: Case) -> Call:
    if case.arrays["input1"].ndim > 2:
        raise UnsupportedError("no further axes")
    value = call("F.cosine_embedding_loss", case, "input1", "input2", "target")
    return Call(value, differentiable=case.asked("gradient"))


def margin_ranking_loss(case: Case) -> Call:
    value = call("F.margin_ranking_loss", case, "input1", "input2", "target")
    return Call(value, differentiable=case.asked("gradient"))


def hinge_embedding_loss(case: Case) -> Call:
    return direct("hinge_embedding_loss", case)


def nt_xent_loss(case: Case) -> Call:
    """The similarities of all views as logits, each view's own masked out."""
    temperature = scalar(case.options.get("temperature", 0.5))
    views = 2 * len(case.arrays["z_i"])
    others = f'masked_fill(torch.eye({views}, dtype=torch.bool), float("-inf"))'
    logits = f"(lambda z: (z @ z.T / {temperature}).{others})(F.normalize(torch.cat([z_i, z_j])))"
    partners = f"torch.arange({views}).roll({views // 2})"
    return composition(_entropy(logits, partners, case), case)


def info_nce_loss(case: Case) -> Call:
    """With a queue the lines of MoCo's README, without one its similarities within the batch."""
    temperature = scalar(case.options.get("temperature", 0.07))
    rows = len(case.arrays["query"])
    if "negative_keys" not in case.arrays:
        logits = f"F.normalize(query) @ F.normalize(positive_key).T / {temperature}"
        return composition(_entropy(logits, f"torch.arange({rows})", case), case)
    logits = "torch.cat([(q * k).sum(1, keepdim=True), q @ F.normalize(negative_keys).T], 1)"
    both = "F.normalize(query), F.normalize(positive_key)"
    logits = f"(lambda q, k: {logits} / {temperature})({both})"
    return composition(_entropy(logits, f"torch.zeros({rows}, dtype=torch.int64)", case), case)


def _entropy(logits: str, labels: str, case: Case) -> str:
    reduction = case.options.get("reduction", "mean")
    return f'F.cross_entropy({logits}, {labels}, reduction="{reduction}")'


def sup_con_loss(case: Case) -> Call:
    """The masks and the mean log-probability of the positives, as in SupContrast."""
    temperature = scalar(case.options.get("temperature", 0.1))
    own = f"torch.eye({len(case.arrays['labels'])}, dtype=torch.bool)"
    logits = f'(z @ z.T / {temperature}).masked_fill({own}, float("-inf"))'
    rows = (
        "(lambda log_p, positive: -log_p.where(positive, 0).sum(1) / positive.sum(1).clamp(min=1))"
        f"((lambda z: {logits}.log_softmax(1))(F.normalize(embeddings)), {POSITIVES} & ~{own})"
    )
    if case.options.get("reduction", "mean") == "mean":
        return composition(f"{rows}.sum() / (({POSITIVES}).sum(1) > 1).sum().clamp(min=1)", case)
    return composition(reduced(rows, case), case)


POSITIVES = "(labels[:, None] == labels)"


def batch_triplet_loss(case: Case) -> Call:
    """Distances by torch.cdist, and a mask of all triplets or the two extremes of each anchor."""
    distance, mining = (
        case.options.get("distance", "euclidean"),
        case.options.get("mining", "all"),
    )
    if mining not in ("all", "hard"):
        raise UnsupportedError(f"no {mining} mining")
    distances = {
        "euclidean": "torch.cdist(embeddings, embeddings)",
        "sqeuclidean": "torch.cdist(embeddings, embeddings) ** 2",
        "cityblock": "torch.cdist(embeddings, embeddings, p=1.0)",
        "cosine": "1 - (lambda z: z @ z.T)(F.normalize(embeddings))",
    }[distance]
    own = f"torch.eye({len(case.arrays['labels'])}, dtype=torch.bool)"
    margin = scalar(case.options.get("margin", 1.0))
    if mining == "all":
        losses = (
            f"(lambda d, same, own: F.relu(d[:, :, None] - d[:, None, :] + {margin})"
            "[(same & ~own)[:, :, None] & ~same[:, None, :]])"
        )
    else:
        losses = (
            "(lambda d, same, own: F.relu("
            'd.masked_fill(~same | own, float("-inf")).amax(1)'
            f' - d.masked_fill(same, float("inf")).amin(1) + {margin})'
            "[(same & ~own).any(1) & (~same).any(1)])"
        )
    losses = f"{losses}({distances}, {POSITIVES}, {own})"
    if case.options.get("reduction", "mean") == "mean_nonzero":
        return composition(f"(lambda losses: losses[losses > 0].mean())({losses})", case)
    return composition(reduced(losses, case), case)
