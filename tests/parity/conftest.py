"""Functions that differ from refloss in one respect each, in a module of their own."""

import sys
import textwrap
from pathlib import Path

import pytest

PLANTED = """
    import numpy as np
    import refloss

    generator = np.random.default_rng(1)

    def right(input, target, reduction="mean"):
        return refloss.mse_loss.value_and_grad(input, target, reduction=reduction)

    def one_ulp(input, target, reduction="mean"):
        value, gradient = right(input, target, reduction)
        return np.nextafter(value, value.dtype.type(np.inf)), gradient

    def last_bit(input, target, reduction="mean"):
        value, gradient = right(input, target, reduction)
        # Only where there is much to do, as where threads race.
        if gradient.size > 1000 and generator.random() < 0.5:
            gradient.flat[7] = np.nextafter(gradient.flat[7], gradient.dtype.type(np.inf))
        return value, gradient

    def of_the_layout(input, target, reduction="mean"):
        value, gradient = right(input, target, reduction)
        if min(input.strides, default=0) < 0:
            gradient = np.nextafter(gradient, gradient.dtype.type(np.inf))
        return value, gradient

    def of_the_size(input, target, reduction="mean"):
        value, gradient = right(input, target, reduction)
        if value.size > 20000:
            value.flat[20000] *= value.dtype.type(1.5)
        return value, gradient

    def negative_zero(input, target, reduction="mean"):
        value, gradient = right(input, target, reduction)
        return value, np.where(gradient == 0, -np.abs(gradient), gradient)

    def no_empty(input, target, reduction="mean"):
        if input.size == 0:
            raise ValueError("nothing to do")
        return right(input, target, reduction)

    def flat(input, target, reduction="mean"):
        value, gradient = right(input, target, reduction)
        return value, gradient.ravel()

    def one_term(input1, input2, target, margin=0.0, reduction="mean"):
        if reduction != "none":
            return refloss.margin_ranking_loss(
                input1, input2, target, margin=margin, reduction=reduction
            )
        difference = np.nextafter(input1 - input2, np.zeros_like(input1))
        return np.where(target * difference < margin, margin - target * difference, 0)

    def upper(input, target, reduction="mean"):
        value, gradient = refloss.l1_loss.value_and_grad(input, target, reduction=reduction)
        rows = 1 if reduction != "mean" else input.size
        return value, np.where(input == target, gradient.dtype.type(1) / rows, gradient)
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory, under a name of its own for every test."""
    name = f"planted_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(PLANTED))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    return name
