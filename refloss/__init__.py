"""Machine-learning loss functions with known answers: proved formulas, certified oracles.

    value = refloss.cross_entropy(input, target)
    value, gradient = refloss.cross_entropy.value_and_grad(input, target)
    curvature = refloss.cross_entropy.hessian_diag(input, target)
    gradient, curvature = refloss.cross_entropy.grad_and_hessian_diag(input, target)

Importing refloss is cheap: a loss, and Numba with it, is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from refloss._version import __version__

if TYPE_CHECKING:
    from refloss.kernels.cuda.available import BackendUnavailable
    from refloss.kernels.threads import get_num_threads, set_num_threads
    from refloss.losses.batch_triplet_loss import batch_triplet_loss
    from refloss.losses.binary_cross_entropy import binary_cross_entropy
    from refloss.losses.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
    from refloss.losses.class_balanced_weights import class_balanced_weights
    from refloss.losses.contrastive_loss import contrastive_loss
    from refloss.losses.contrastive_loss_from_distance import contrastive_loss_from_distance
    from refloss.losses.cosine_embedding_loss import cosine_embedding_loss
    from refloss.losses.cross_entropy import cross_entropy
    from refloss.losses.cross_entropy_with_probs import cross_entropy_with_probs
    from refloss.losses.distillation_loss import distillation_loss
    from refloss.losses.gaussian_kl import gaussian_kl
    from refloss.losses.hinge_embedding_loss import hinge_embedding_loss
    from refloss.losses.huber_loss import huber_loss
    from refloss.losses.info_nce_loss import info_nce_loss
    from refloss.losses.kl_div import kl_div
    from refloss.losses.l1_loss import l1_loss
    from refloss.losses.margin_ranking_loss import margin_ranking_loss
    from refloss.losses.mine_triplets import mine_triplets
    from refloss.losses.mse_loss import mse_loss
    from refloss.losses.nll_loss import nll_loss
    from refloss.losses.nt_xent_loss import nt_xent_loss
    from refloss.losses.sigmoid_focal_loss import sigmoid_focal_loss
    from refloss.losses.smooth_l1_loss import smooth_l1_loss
    from refloss.losses.smooth_labels import smooth_labels
    from refloss.losses.softmax_focal_loss import softmax_focal_loss
    from refloss.losses.sup_con_loss import sup_con_loss
    from refloss.losses.triplet_margin_loss import triplet_margin_loss

__all__ = [
    "BackendUnavailable",
    "__version__",
    "batch_triplet_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "class_balanced_weights",
    "contrastive_loss",
    "contrastive_loss_from_distance",
    "cosine_embedding_loss",
    "cross_entropy",
    "cross_entropy_with_probs",
    "distillation_loss",
    "gaussian_kl",
    "get_num_threads",
    "hinge_embedding_loss",
    "huber_loss",
    "info_nce_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mine_triplets",
    "mse_loss",
    "nll_loss",
    "nt_xent_loss",
    "set_num_threads",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "smooth_labels",
    "softmax_focal_loss",
    "sup_con_loss",
    "triplet_margin_loss",
]

ELSEWHERE = {
    "BackendUnavailable": "kernels.cuda.available",
    "get_num_threads": "kernels.threads",
    "set_num_threads": "kernels.threads",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'refloss' has no attribute {name!r}")
    room = ELSEWHERE.get(name, f"losses.{name}")
    found = getattr(import_module(f"refloss.{room}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
