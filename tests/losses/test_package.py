"""What a caller sees first: the import, the documentation, the one number from the README."""

import doctest
import importlib
import inspect
import pickle
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import refloss
from refloss.loss import Loss

from .enrolled import EMBEDDED, ENROLLED, NAMES, Entry

HEAVY = ("numba", "llvmlite", "sympy", "flint", "torch", "jax", "optax", "sklearn", "scipy", "rich")
SECTIONS = ("Parameters", "Returns", "Raises", "Notes", "References", "Examples")


def modules_after(code: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after some code."""
    script = f"{code}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    loaded = modules_after("import refloss")
    assert not loaded & {*HEAVY, "numpy"}, loaded & {*HEAVY, "numpy"}


def test_looking_around_loads_nothing_heavy() -> None:
    assert not modules_after("import refloss; dir(refloss); refloss.__version__") & {*HEAVY}


def test_a_loss_needs_no_framework() -> None:
    code = "import refloss; refloss.mse_loss([1.0], [2.0])"
    of_numba = {"numba", "llvmlite", "scipy"}  # numba imports SciPy where there is one
    assert not modules_after(code) & {*HEAVY} - of_numba


def test_unknown_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match=r"'refloss' has no attribute 'huber'"):
        _ = refloss.huber  # type: ignore[attr-defined]


def test_the_confident_tail_of_cross_entropy() -> None:
    """2.061153620314381e-09 to the last bit of float32, where others say 0."""
    found = refloss.cross_entropy(np.float32([[20, 0]]), [0])
    assert type(found) is np.float32
    assert found == np.float32(2.0611537e-09)


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_has_its_sections(name: str) -> None:
    function = getattr(refloss, name)
    lines = inspect.getdoc(function).splitlines()
    assert lines[0].endswith("."), "the first line is a sentence"
    sections = [line for line, under in pairwise(lines) if under == "-" * len(line) and line]
    assert tuple(sections) == SECTIONS
    documented = [
        part.strip()
        for line in lines
        if " : " in line and not line.startswith(" ")
        for part in line.partition(" : ")[0].split(",")
    ]
    assert documented == list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_runs(name: str) -> None:
    module = importlib.import_module(f"refloss.losses.{name}")
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    text = getattr(module, name).__doc__
    test = parser.get_doctest(text, {}, name, module.__file__, 0)
    assert test.examples, "an example that runs"
    report: list[str] = []
    assert runner.run(test, out=report.append).failed == 0, "".join(report)


@pytest.mark.parametrize("entry", [*ENROLLED, *EMBEDDED], ids=str)
def test_results_have_the_type_of_the_input(entry: Entry) -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        arrays = entry.sample(1, dtype)
        expected = arrays[entry.first].dtype
        value: Any = entry.function(**arrays, **entry.options)
        assert value.dtype == expected
        assert np.ndim(value) == 0
        if "none" in entry.reductions:
            rows = entry.function(**arrays, **entry.options, reduction="none")
            assert rows.shape == entry.value_shape(arrays)
            assert rows.dtype == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_shows_its_name_and_signature(name: str) -> None:
    function = getattr(refloss, name)
    assert function.__name__ == name
    assert function.__module__ == f"refloss.losses.{name}"
    assert pickle.loads(pickle.dumps(function)) is function
    if isinstance(function, Loss):
        assert repr(function) == f"<loss refloss.{name}>"
        assert "reduction" in inspect.signature(function).parameters
