"""Running the lines that a report shows."""

import contextlib
import io
import warnings

import numpy as np


def printed(line: str) -> tuple[str, str]:
    """Run a line in an empty namespace: the number it prints, and what stands beside it."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        exec(compile(line, "<line>", "exec"), {})
    assert out.getvalue().count("\n") == 1
    answer, _, beside = out.getvalue().strip().partition(" ")
    return answer, beside
