"""refloss list, show and show-versions."""

from pathlib import Path

import pytest

from refloss import oracles
from refloss.__main__ import main
from refloss.kernels.cuda import available


def test_list_names_every_loss(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cross_entropy",
    ]


@pytest.mark.parametrize("loss", oracles.names())
def test_show_tells_everything_the_header_says(
    loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    header = oracles.header(loss)
    assert main(["show", loss]) == 0
    shown = capsys.readouterr().out
    assert header["title"] in shown
    for region in header["regions"]:
        assert region in shown
    for convention in header["conventions"]:
        assert convention in shown
    for source in header["source"]:
        assert source in shown
    assert main(["show", loss, "--latex"]) == 0
    assert header["definition"]["latex"].splitlines()[0] in capsys.readouterr().out


def test_show_suggests(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "crossentropy"]) == 2
    assert "did you mean 'cross_entropy'?" in capsys.readouterr().err


def test_show_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show-versions"]) == 0
    shown = capsys.readouterr().out
    assert "numpy" in shown
    assert "torch" in shown
    kernels, arrays = shown.splitlines()[-2:]
    assert kernels.startswith("CUDA kernels")
    assert kernels.endswith(available.reason() or "can run")
    assert arrays.startswith("CuPy arrays")
    assert arrays.endswith(available.cupy_reason() or "can be used")
