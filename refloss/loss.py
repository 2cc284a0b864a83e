"""A loss as a callable: its value, gradient and curvature from one checked call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from inspect import signature
from typing import Any, Generic, ParamSpec, Protocol

from refloss import arguments, repeated
from refloss.evaluation import Answer, Wanted

Array = Any
P = ParamSpec("P")


class Plan(Protocol):
    """A call whose arguments have been checked, ready to run."""

    @property
    def model(self) -> Array: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def reduction(self) -> str: ...
    @property
    def row_shape(self) -> tuple[int, int] | None: ...
    def names(self, part: str) -> Sequence[str]:
        """The arguments that a part of the answer can be asked for."""

    def evaluate(self, wanted: Wanted, grad_output: Array | None = None) -> Answer:
        """Run it."""


@dataclass(frozen=True)
class Promise:
    """The largest error of value and gradient, in ulps, for each dtype.

    Where terms of opposite sign cancel, in ulps of the largest term. The second derivative keeps
    to the same below float64, and to ``float64_curvature`` there. The array path takes ``exp`` and
    ``log`` from its library, whose own error it cannot put back: ``float64_arrays``, on NumPy.

    ``float32_inside`` is the promise of value and gradient in float32 by float32 arithmetic, for
    numbers (a margin, a delta) that float32 holds: others are rounded first, and near a kink that
    tells.
    """

    float16: float = 1
    bfloat16: float = 1
    float32: float = 1
    float64: float = 4
    float64_curvature: float = 8
    float64_arrays: float = 8
    float32_inside: float = 16


class Loss(Generic[P]):
    """A loss function with its derivatives.

    Called, it returns the value. Every method takes the same arguments as the loss itself, and
    ``wrt`` names the arguments to differentiate with respect to: one name gives one array, several
    give a tuple in that order.
    """

    __name__: str
    __doc__: str | None

    def __init__(self, plan: Callable[P, Plan], promise: Promise) -> None:
        update_wrapper(self, plan)
        self._plan = plan
        self._again: dict[Any, Any] = {}
        self.promise = promise
        self.__signature__ = signature(plan).replace(return_annotation=Array)

    def __reduce__(self) -> str:
        return self.__name__  # a loss is pickled by its name

    def __repr__(self) -> str:
        return f"<loss refloss.{self.__name__}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Array:
        return self._answer("value", None, None, args, kwargs).value

    def value_and_grad(
        self,
        *args: Any,
        wrt: str | Sequence[str] | None = None,
        grad_output: Array | None = None,
        **kwargs: Any,
    ) -> tuple[Array, Any]:
        """The value and its gradient, from one pass.

        Parameters
        ----------
        wrt : str or sequence of str, optional
            Arguments to differentiate with respect to; the first differentiable one by default.
        grad_output : array, optional
            Upstream gradient, in the shape of the value; ones by default.
        """
        answer = self._answer("both", wrt, grad_output, args, kwargs)
        return answer.value, _as_asked(answer.gradient, wrt)

    def grad(
        self,
        *args: Any,
        wrt: str | Sequence[str] | None = None,
        grad_output: Array | None = None,
        **kwargs: Any,
    ) -> Any:
        """The gradient alone; parameters as in ``value_and_grad``."""
        return _as_asked(self._answer("gradient", wrt, grad_output, args, kwargs).gradient, wrt)

    def hessian_diag(
        self, *args: Any, wrt: str | Sequence[str] | None = None, **kwargs: Any
    ) -> Any:
        """The diagonal of the Hessian of the (reduced) value, in closed form.

        With ``reduction="none"`` that of the sum of the values: each element's or row's own.
        """
        return _as_asked(self._answer("curvature", wrt, None, args, kwargs).curvature, wrt)

    def grad_and_hessian_diag(
        self, *args: Any, wrt: str | Sequence[str] | None = None, **kwargs: Any
    ) -> tuple[Any, Any]:
        """The gradient and the diagonal of the Hessian, from one pass.

        What gradient boosting asks of an objective in each round; the same numbers as ``grad`` and
        ``hessian_diag`` give, to the bit, in less time than both take. With ``reduction="sum"`` or
        ``"none"`` those of each element's or row's own loss. ``wrt`` is as there: a name gives an
        array, several give a tuple, in both parts. Raises ValueError for an argument, or a loss,
        that cannot be differentiated twice.

        Examples
        --------
        >>> import numpy as np, refloss
        >>> margin, label = np.array([0.0, 2.0]), np.array([1.0, 0.0])
        >>> refloss.binary_cross_entropy_with_logits.grad_and_hessian_diag(
        ...     margin, label, reduction="none"
        ... )
        (array([-0.5       ,  0.88079708]), array([0.25      , 0.10499359]))
        """
        answer = self._answer("gradient and curvature", wrt, None, args, kwargs)
        return _as_asked(answer.gradient, wrt), _as_asked(answer.curvature, wrt)

    def _answer(
        self, part: str, wrt: Any, grad_output: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Answer:
        """A part of the answer, straight away if there was a call like this one before."""
        about = None
        if grad_output is None and _is_plain(wrt):
            about = repeated.description(args, kwargs)
        if about is None:
            plan = self._plan(*args, **kwargs)
            return plan.evaluate(self._wanted(plan, part, wrt), self._upstream(plan, grad_output))
        key = (part, wrt, about)
        again = self._again.get(key)
        if again is not None:
            found: Answer | None = again.answer((*args, *kwargs.values()))
            if found is not None:
                return found
        with arguments.looks() as looks:
            plan = self._plan(*args, **kwargs)
        wanted = self._wanted(plan, part, wrt)
        if len(self._again) >= repeated.MOST:
            self._again.clear()
        self._again[key] = repeated.remembered(plan, wanted, (*args, *kwargs.values()), looks)
        return plan.evaluate(wanted)

    def _wanted(self, plan: Plan, part: str, wrt: Any) -> Wanted:
        if part == "value":
            return Wanted(value=True)
        if "curvature" in part:
            names = self._names(plan, wrt, "curvature", "differentiated twice")
            return Wanted(gradient=names if "gradient" in part else (), curvature=names)
        names = self._names(plan, wrt, "gradient", "differentiated")
        return Wanted(value=part == "both", gradient=names)

    def _names(
        self, plan: Plan, wrt: str | Sequence[str] | None, part: str, verb: str
    ) -> Sequence[str]:
        known = plan.names(part)
        if not known:
            raise ValueError(f"wrt: {self.__name__} cannot be {verb} here")
        if wrt is None:
            return known[:1]
        if not isinstance(wrt, str | list | tuple):
            raise TypeError(f"wrt: expected a name or a list of names, got {wrt!r}")
        asked = (wrt,) if isinstance(wrt, str) else tuple(wrt)
        for name in asked:
            if name not in known:
                raise ValueError(
                    f"wrt: {self.__name__} can here be {verb} with respect to "
                    f"{', '.join(map(repr, known))}, got {name!r}"
                )
        return asked

    def _upstream(self, plan: Plan, grad_output: Array | None) -> Array | None:
        if grad_output is None:
            return None
        array = arguments.floating(
            "grad_output", arguments.as_array_like("grad_output", grad_output, plan.model)
        )
        arguments.same_library("grad_output", array, plan.model, "the value")
        shape = plan.shape if plan.reduction == "none" else ()
        if tuple(array.shape) != shape:
            raise ValueError(
                f"grad_output: expected the shape of the value, {shape}, got {tuple(array.shape)}"
            )
        if plan.row_shape is not None and plan.reduction == "none":
            return arguments.namespace(array).reshape(array, plan.row_shape)
        return array


def _is_plain(wrt: Any) -> bool:
    """Whether a call may be remembered by it."""
    return wrt is None or type(wrt) is str or (type(wrt) is tuple and all(map(_is_plain, wrt)))


def _as_asked(found: Sequence[Array], wrt: str | Sequence[str] | None) -> Any:
    return found[0] if wrt is None or isinstance(wrt, str) else tuple(found)


def loss(promise: Promise) -> Callable[[Callable[P, Plan]], Loss[P]]:
    """Make a loss of the function that checks its arguments and plans the call."""

    def make(plan: Callable[P, Plan]) -> Loss[P]:
        return Loss(plan, promise)

    return make
