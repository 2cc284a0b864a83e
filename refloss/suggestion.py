"""What to say to somebody who typed a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["suggestion"]


def suggestion(name: str, known: Iterable[str]) -> str:
    """``did you mean 'mse_loss'?``, or the list of all there is."""
    from difflib import get_close_matches  # 5 ms that only a typing error should cost

    names = tuple(known)
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
