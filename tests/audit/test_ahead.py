"""Kernels that another process compiles while an audit runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refloss.audit import ahead
from refloss.kernels import cache
from refloss.kernels import threads as kernel_threads


def run(kept_in: Path, *command: str) -> None:
    env = {**os.environ, "REFLOSS_CACHE_DIR": str(kept_in)}
    subprocess.run([sys.executable, *command], env=env, check=True, capture_output=True)


def kernels(kept_in: Path) -> set[str]:
    return {path.name for path in kept_in.glob("*/*.kernel")}


def test_an_audit_finds_what_was_compiled_ahead_and_needs_no_more(tmp_path: Path) -> None:
    run(tmp_path, "-m", "refloss.audit.ahead", "float32", "hinge_embedding_loss")
    compiled = kernels(tmp_path)
    assert compiled
    asked = ("--loss", "hinge_embedding_loss", "--dtype", "float32")
    run(tmp_path, "-m", "refloss", "audit", "refloss", *asked)
    assert kernels(tmp_path) == compiled


LOSSES = ("l1_loss", "mse_loss", "huber_loss", "kl_div", "smooth_l1_loss")


@pytest.mark.parametrize(
    ("losses", "kept", "threads", "is_started"),
    [
        (LOSSES, 0, 2, True),
        (LOSSES, 0, 1, False),
        (LOSSES, 500, 2, False),
        (LOSSES, None, 2, False),
        (LOSSES[:1], 0, 2, False),
    ],
)
def test_the_other_process_is_there_when_it_is_of_use_and_gone_afterwards(
    losses: tuple[str, ...],
    kept: int | None,
    threads: int,
    is_started: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = []

    def noted(*args: Any, start: Any = subprocess.Popen, **options: Any) -> Any:
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(ahead.subprocess, "Popen", noted)
    monkeypatch.setattr(cache, "kept_kernels", lambda: kept)
    monkeypatch.setattr(kernel_threads, "get_num_threads", lambda: threads)
    monkeypatch.setenv("REFLOSS_CACHE_DIR", "off")

    def interrupted() -> None:
        with ahead.compiled_ahead(losses, ["float32"]):
            assert [one.poll() for one in started] == [None] * is_started
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [one.poll() is not None for one in started] == [True] * is_started


def test_without_another_process_an_audit_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*args: Any, **options: Any) -> Any:
        raise BlockingIOError("resource temporarily unavailable")

    monkeypatch.setattr(ahead.subprocess, "Popen", none_left)
    monkeypatch.setattr(cache, "kept_kernels", lambda: 0)
    monkeypatch.setattr(kernel_threads, "get_num_threads", lambda: 2)
    with ahead.compiled_ahead(LOSSES, ["float32"]):
        pass


def test_a_number_of_threads_that_is_none_is_one_clear_message() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "refloss", "audit", "refloss"],
        env={**os.environ, "REFLOSS_NUM_THREADS": "many"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("refloss audit: REFLOSS_NUM_THREADS: expected a whole number")
    assert len(done.stderr.splitlines()) == 1
