"""The contestants of a comparison: from a case to a call that answers it, warm and checked.

A peer is written as its own users write it at their best: compiled before, with nothing
differentiated that was not asked for, and scikit-learn into arrays that are there already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from compare_cases import BOTH, CURVATURE, IGNORE, OWN, VALUE, WEIGHTS, Case, Given
from gpu_cases import IGNORED, NotRunError, torch_losses

Result = tuple[Any, ...]  # value; value and gradient; or gradient and curvature

# How far apart two float32 or float64 libraries may be, of the largest number
AGREEMENT = {"float32": 1e-4, "float64": 1e-9}


@dataclass(frozen=True)
class Contestant:
    """A call without arguments, and how its result reads as NumPy arrays of the same scale."""

    call: Callable[[], Any]
    read: Callable[[Any], Result]


def contestant(peer: str, case: Case, given: Given, threads: int) -> Contestant:
    """Whoever answers the case; raises `NotRunError` if it does not, or is not here."""
    make = MAKERS[peer]
    try:
        return make(case, given, threads)
    except ImportError as problem:
        raise NotRunError(f"cannot be imported: {problem}") from problem


def disagreement(case: Case, own: Result, other: Result) -> str | None:
    """In what two results differ by more than their arithmetic excuses."""
    parts = {
        VALUE: ("value",),
        BOTH: ("value", "gradient"),
        CURVATURE: ("gradient", "curvature"),
    }[case.part]
    for part, mine, theirs in zip(parts, own, other, strict=True):
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            return (
                f"{part}: {theirs.dtype}{theirs.shape} where refloss has {mine.dtype}{mine.shape}"
            )
        largest = float(np.max(np.abs(mine))) or 1.0
        apart = float(np.max(np.abs(theirs - mine))) / largest
        if not apart <= AGREEMENT[case.dtype]:
            return f"{part}: {apart:.1e} of the largest number apart"
    return None


def _arrays(result: Any) -> Result:
    found = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(one) for one in found)


# refloss ------------------------------------------------------------------------------------------


def of_refloss(case: Case, given: Given, threads: int) -> Contestant:
    import refloss

    loss = getattr(refloss, case.loss)
    if case.part == VALUE:
        return Contestant(partial(loss, *given.arguments, **given.options), _arrays)
    if case.part == CURVATURE:
        options = {**given.options, "reduction": "sum"}

        return Contestant(partial(loss.grad_and_hessian_diag, *given.arguments, **options), _arrays)
    wrt = {"wrt": ("z_i", "z_j")} if case.loss == "nt_xent_loss" else {}
    call = partial(loss.value_and_grad, *given.arguments, **given.options, **wrt)
    return Contestant(call, _arrays)


# torch --------------------------------------------------------------------------------------------


def of_torch(case: Case, given: Given, threads: int, compiled: bool = False) -> Contestant:
    import torch

    torch.set_num_threads(threads)
    function = _torch(case.loss)
    first, *others = (_tensor(one) for one in given.arguments)
    options = {name: _tensor(one) for name, one in given.options.items()}
    if compiled:
        if case.part == CURVATURE:
            raise NotRunError("torch.compile does not differentiate twice")
        torch.compiler.reset()
        function = torch.compile(function, dynamic=False)

    def value() -> Any:
        with torch.no_grad():
            return function(first, *others, **options)

    def both() -> Result:
        leaf = first.detach().requires_grad_()
        found = function(leaf, *others, **options)
        (gradient,) = torch.autograd.grad(found, leaf)
        return found, gradient

    def twice() -> Result:
        leaf = first.detach().requires_grad_()
        total = function(leaf, *others, **options, reduction="sum")
        (gradient,) = torch.autograd.grad(total, leaf, create_graph=True)
        return gradient, torch.autograd.grad(gradient.sum(), leaf)[0]

    def read(result: Any) -> Result:
        found = result if isinstance(result, tuple) else (result,)
        return tuple(one.detach().numpy() for one in found)

    if case.part == CURVATURE and case.loss == "cross_entropy":
        raise NotRunError("has no diagonal of a Hessian but by one pass a class")
    return Contestant({VALUE: value, BOTH: both, CURVATURE: twice}[case.part], read)


def _tensor(one: Any) -> Any:
    import torch

    return torch.from_numpy(one) if isinstance(one, np.ndarray) else one


@cache
def _torch_losses() -> Mapping[str, Callable[..., Any]]:
    """The losses as people write them, with refloss's defaults."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    def softmax_focal(x: Any, target: Any) -> Any:
        surprise = F.cross_entropy(x, target, reduction="none")
        return ((1 - torch.exp(-surprise)) ** 2 * surprise).mean()

    def distillation(x: Any, teacher: Any, temperature: float) -> Any:
        log_p = F.log_softmax(x / temperature, 1)
        q = F.softmax(teacher / temperature, 1)
        return temperature**2 * F.kl_div(log_p, q, reduction="batchmean")

    return {
        **torch_losses(),
        "cross_entropy": F.cross_entropy,
        "softmax_focal_loss": softmax_focal,
        "distillation_loss": distillation,
    }


def _torch(loss: str) -> Callable[..., Any]:
    import torch.nn.functional as F  # noqa: N812

    own = _torch_losses()
    function = own[loss] if loss in own else getattr(F, loss, None)
    if function is None:
        raise NotRunError("has no such loss")
    return function  # type: ignore[no-any-return]


# JAX ----------------------------------------------------------------------------------------------


def of_jax(case: Case, given: Given, threads: int) -> Contestant:
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    losses = _jax_losses()
    if case.loss not in losses or (case.part == CURVATURE and case.loss == "cross_entropy"):
        raise NotRunError("has no such loss, or no diagonal of its Hessian")
    function = losses[case.loss]
    options = {name: _device(one) for name, one in given.options.items()}
    fixed = {name: one for name, one in options.items() if not hasattr(one, "shape")}
    arguments = [*map(_device, given.arguments)]
    scalars = [index for index, one in enumerate(arguments) if not hasattr(one, "shape")]
    if case.variant == IGNORE:
        fixed["ignore"] = True
    function = partial(function, **fixed)
    arrays = {name: one for name, one in options.items() if name not in fixed}

    def total(x: Any, *others: Any) -> Any:
        return function(x, *others) * x.size

    def twice(x: Any, *others: Any) -> Any:
        slope = jax.grad(total)
        return jax.jvp(lambda y: slope(y, *others), (x,), (jax.numpy.ones_like(x),))

    wanted = {VALUE: function, BOTH: jax.value_and_grad(function), CURVATURE: twice}[case.part]
    compiled = jax.jit(wanted, static_argnums=scalars)
    return Contestant(lambda: jax.block_until_ready(compiled(*arguments, **arrays)), _arrays)


def _device(one: Any) -> Any:
    """On JAX's device; labels in its own kind of integers."""
    import jax.numpy as jnp

    if not isinstance(one, np.ndarray):
        return one
    return jnp.asarray(one, dtype=jnp.int32 if one.dtype.kind == "i" else None)


@cache
def _jax_losses() -> Mapping[str, Callable[..., Any]]:
    """The losses as optax writes them, with refloss's defaults."""
    import jax
    import jax.numpy as jnp

    def cross_entropy(
        x: Any, t: Any, weight: Any = None, label_smoothing: float = 0.0, ignore: bool = False
    ) -> Any:
        if jnp.issubdtype(t.dtype, jnp.floating):
            return -jnp.mean(jnp.sum(t * jax.nn.log_softmax(x), 1))
        label = jnp.where(t == IGNORED, 0, t) if ignore else t
        hit = jnp.take_along_axis(x, label[:, None], 1)[:, 0]
        if label_smoothing:
            hit = (1 - label_smoothing) * hit + label_smoothing * jnp.mean(x, 1)
        each = jax.nn.logsumexp(x, 1) - hit
        if ignore:
            counts = t != IGNORED
            return jnp.sum(jnp.where(counts, each, 0)) / jnp.sum(counts).astype(x.dtype)
        if weight is not None:
            return jnp.sum(weight[t] * each) / jnp.sum(weight[t])
        return jnp.mean(each)

    def softmax_focal(x: Any, t: Any) -> Any:
        surprise = jax.nn.logsumexp(x, 1) - jnp.take_along_axis(x, t[:, None], 1)[:, 0]
        return jnp.mean((1 - jnp.exp(-surprise)) ** 2 * surprise)

    def distillation(x: Any, teacher: Any, temperature: float) -> Any:
        log_p = jax.nn.log_softmax(x / temperature)
        log_q = jax.nn.log_softmax(teacher / temperature)
        return temperature**2 * jnp.sum(jnp.exp(log_q) * (log_q - log_p)) / len(x)

    def logistic(x: Any, t: Any) -> Any:
        return -t * jax.nn.log_sigmoid(x) - (1 - t) * jax.nn.log_sigmoid(-x)

    def sigmoid_focal(x: Any, t: Any) -> Any:
        p = jax.nn.sigmoid(x)
        p_t = p * t + (1 - p) * (1 - t)
        alpha_t = 0.25 * t + 0.75 * (1 - t)
        return jnp.mean(alpha_t * (1 - p_t) ** 2 * logistic(x, t))

    def huber(x: Any, t: Any) -> Any:
        size = jnp.abs(x - t)
        near = jnp.minimum(size, 1.0)
        return jnp.mean(0.5 * near**2 + (size - near))

    return {
        "cross_entropy": cross_entropy,
        "softmax_focal_loss": softmax_focal,
        "distillation_loss": distillation,
        "sigmoid_focal_loss": sigmoid_focal,
        "binary_cross_entropy_with_logits": lambda x, t: jnp.mean(logistic(x, t)),
        "kl_div": lambda x, t: jnp.mean(jax.scipy.special.xlogy(t, t) - t * x),
        "huber_loss": huber,
        "smooth_l1_loss": huber,
        "mse_loss": lambda x, t: jnp.mean((x - t) ** 2),
    }


# scikit-learn -------------------------------------------------------------------------------------


def of_sklearn(case: Case, given: Given, threads: int) -> Contestant:
    """Its compiled losses: of each sample, so that the gradient is that of a sum."""
    import sklearn._loss.loss as L  # noqa: N812

    if case.variant not in ("", WEIGHTS):
        raise NotRunError("has no such variant")
    x, target = given.arguments[:2]
    makers: Mapping[str, tuple[Callable[[], Any], float]] = {
        "cross_entropy": (lambda: L.HalfMultinomialLoss(n_classes=case.shape[1]), 1),
        "binary_cross_entropy_with_logits": (L.HalfBinomialLoss, 1),
        "huber_loss": (lambda: L.HuberLoss(delta=1.0), 1),
        "smooth_l1_loss": (lambda: L.HuberLoss(delta=1.0), 1),
        "mse_loss": (L.HalfSquaredError, 2),
    }
    if case.loss not in makers:
        raise NotRunError("has no such loss")
    make, factor = makers[case.loss]
    loss, rows = make(), len(x)
    given_to_all = {"y_true": target.astype(case.dtype), "raw_prediction": x, "n_threads": threads}
    count = float(rows)
    if case.variant == WEIGHTS:
        given_to_all["sample_weight"] = given.options["weight"][target]
        count = float(given_to_all["sample_weight"].sum(dtype=np.float64))
    each, first, second = np.empty(rows, case.dtype), np.empty_like(x), np.empty_like(x)
    scale = np.asarray(factor / count, case.dtype)

    def value() -> Result:
        return (loss.loss(**given_to_all, loss_out=each).sum(),)

    def both() -> Result:
        loss.loss_gradient(**given_to_all, loss_out=each, gradient_out=first)
        return each.sum(), first

    def twice() -> Result:
        return tuple(loss.gradient_hessian(**given_to_all, gradient_out=first, hessian_out=second))

    def read(result: Result) -> Result:
        scaled = 1 if case.part == CURVATURE else scale
        return tuple(np.asarray(one * scaled) for one in result)

    return Contestant({VALUE: value, BOTH: both, CURVATURE: twice}[case.part], read)


# SciPy --------------------------------------------------------------------------------------------


def of_scipy(case: Case, given: Given, threads: int) -> Contestant:
    """Its special functions, put together as a user of NumPy would."""
    from scipy import special

    if case.variant or case.part == CURVATURE:
        raise NotRunError("has no function for it")
    x, target = given.arguments[:2]
    size, wants_gradient = x.dtype.type(x.size), case.part == BOTH

    def cross_entropy() -> Result:
        rows = np.arange(len(x))
        log_p = special.log_softmax(x, axis=1)
        value = -np.mean(log_p[rows, target])
        if not wants_gradient:
            return (value,)
        gradient = np.exp(log_p, out=log_p)
        gradient[rows, target] -= 1
        gradient /= x.dtype.type(len(x))
        return value, gradient

    def logistic() -> Result:
        value = -np.mean(special.log_expit(x) + (target - 1) * x)
        return (value, (special.expit(x) - target) / size) if wants_gradient else (value,)

    def divergence() -> Result:
        value = np.mean(special.xlogy(target, target) - target * x)
        return (value, target / -size) if wants_gradient else (value,)

    def huber() -> Result:
        r = x - target
        value = np.mean(special.huber(x.dtype.type(1), r))
        return (value, np.clip(r, -1, 1) / size) if wants_gradient else (value,)

    known = {
        "cross_entropy": cross_entropy,
        "binary_cross_entropy_with_logits": logistic,
        "kl_div": divergence,
        "huber_loss": huber,
        "smooth_l1_loss": huber,
    }
    if case.loss not in known:
        raise NotRunError("has no function for it")
    return Contestant(known[case.loss], _arrays)


MAKERS: Mapping[str, Callable[[Case, Given, int], Contestant]] = {
    OWN: of_refloss,
    "torch": of_torch,
    "torch.compile": partial(of_torch, compiled=True),
    "jax": of_jax,
    "sklearn": of_sklearn,
    "scipy": of_scipy,
}
