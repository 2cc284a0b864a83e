"""What stays unimported: the audit is quick to start and needs no framework it does not judge."""

import subprocess
import sys
import time

import pytest

HEAVY = (
    *("numba", "sympy", "torch", "jax", "optax", "sklearn", "scipy", "rich", "flint"),
    *("pytorch_metric_learning", "lightly"),
)


def imported(statement: str, names: tuple[str, ...]) -> set[str]:
    code = f"import sys\n{statement}\nprint(*(n for n in {names!r} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) if done.stdout.strip() else set()


@pytest.mark.parametrize(
    "statement",
    [
        "import refloss.audit",
        "import refloss.audit.command, refloss.audit.report",
        "import refloss.accuracy",
        "from refloss import oracles; oracles.load(oracles.names()[0])",
        "from refloss.audit.frameworks import torch, optax, sklearn, scipy, refloss",
        "from refloss.audit.frameworks import pytorch_metric_learning, lightly",
    ],
)
def test_no_framework_is_imported_before_it_is_audited(statement: str) -> None:
    assert imported(statement, HEAVY) == set()


def test_list_and_show_need_no_numpy() -> None:
    statement = "from refloss.__main__ import main; main(['list']); main(['show', 'huber_loss'])"
    assert imported(statement, ("numpy", *HEAVY)) == set()


def test_help_starts_within_100_ms() -> None:
    """The best of five, above what an empty Python takes on this machine at the same time."""

    def best(*arguments: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best("-m", "refloss", "--help") - best("-c", "pass") < 0.1
