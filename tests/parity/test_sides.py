"""Every side there is, as far as it is installed, and every loss on drawn inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from refloss import oracles
from refloss.accuracy import FORMATS
from refloss.audit.answered import evaluate
from refloss.parity import Side, SideError, compare, draw, of_function, prepared, side
from refloss.parity.drawn import FORMS, drawn
from refloss.parity.layouts import LAYOUTS, layouts_of
from refloss.parity.sides import KNOWN

from .printed import printed


def here(name: str) -> Side:
    """The side, or a skipped test where it is not installed."""
    try:
        return side(name, ["mse_loss"])
    except SideError as missing:
        pytest.skip(str(missing))
    except ValueError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", KNOWN)
def test_every_side_that_is_here_is_close(name: str) -> None:
    """On ordinary numbers in float32, in which all losses of errors are accurate everywhere."""
    found = here(name)
    if "mse_loss" not in found.target.calls:
        pytest.skip(f"{name} has no mse_loss")
    region = {"reductions"} if "jax" in found.target.arrays else {"bulk"}
    report = compare(
        side("array:numpy", ["mse_loss"]),
        found,
        ["mse_loss"],
        ["float32"],
        region=region.__contains__,
        repeat=2,
        layouts=True,
    )
    assert report.cases > 0
    assert not report.findings
    for verdict in report.verdicts:
        if found.backend:
            assert set(verdict.compared) == {"value", "gradient", "curvature"}
        assert verdict.layouts is not None
        assert set(verdict.layouts[1]) == set(layouts_of(found.target.arrays))
        if verdict.worst:
            for answer, line in zip(verdict.worst.answers, verdict.worst.lines, strict=True):
                assert printed(line)[0] == answer


def test_every_loss_can_be_drawn() -> None:
    assert set(FORMS) == set(oracles.names())


@pytest.mark.parametrize("loss", oracles.names())
def test_drawn_inputs_are_answered(loss: str) -> None:
    backend = side("array:numpy", [loss])
    case = drawn(loss, "float32", FORMS[loss].reductions[0], 330)
    results = evaluate(backend.target, backend.target.call(case), case.arrays)
    for component, result in results.items():
        assert isinstance(result, np.ndarray), f"{component}: {result}"
        assert np.isfinite(result).all(), component
    gradients = {name for name in results if name.startswith("gradient")}
    assert bool(gradients) == bool(oracles.header(loss)["gradient"])


@pytest.mark.parametrize("numbers", [1, 33, 10**4])
@pytest.mark.parametrize("loss", oracles.names())
def test_the_first_array_has_the_size_asked_for(loss: str, numbers: int) -> None:
    first = next(iter(draw(loss, "float32", numbers).values()))
    assert first.size <= max(numbers, 2 * 33)
    assert first.size > numbers - 64 - 33


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_holds_the_same_numbers(layout: str, dtype: str) -> None:
    for shape in ((7,), (5, 3), (2, 3, 4)):
        array = np.arange(np.prod(shape)).reshape(shape).astype(FORMATS[dtype].dtype)
        view: Callable[[Any], str] = LAYOUTS[layout].view
        if layout == "transposed" and len(shape) > 2:
            continue
        laid = eval(f"x{view(array)}", {"x": prepared(array, layout)})
        assert np.array_equal(laid, array)
        assert laid.dtype == array.dtype
        plain = laid.flags.c_contiguous and laid.flags.aligned
        assert plain == (layout == "offset" or (layout == "transposed" and len(shape) == 1))
        if layout == "offset":
            assert laid.base is not None


def test_tensors_stand_on_the_device_that_is_named() -> None:
    """Shown on the CPU, as if it were another device."""
    torch = pytest.importorskip("torch")

    def squared(input: Any, target: Any) -> Any:
        assert isinstance(input, torch.Tensor)
        assert torch.get_default_device() == torch.device("cpu")
        return (input - target) ** 2 + torch.zeros(1, dtype=input.dtype)

    globals()["squared"] = squared
    placed = of_function(squared, "mse_loss", arrays="torch@cpu")
    backend, bulk = side("array:numpy", ["mse_loss"]), {"bulk"}.__contains__
    report = compare(placed, backend, ["mse_loss"], ["float32"], region=bulk)
    assert report.cases > 0
    assert not report.findings
    (verdict,) = report.verdicts
    assert "gradient" in verdict.compared
    assert verdict.worst is not None
    assert "torch.set_default_device('cpu'); " in verdict.worst.lines[0]
