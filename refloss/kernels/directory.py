"""Where compiled kernels lie on disk: a directory for every state of sources and versions.

It is ``REFLOSS_CACHE_DIR``, otherwise ``refloss`` in the user's cache directory;
``REFLOSS_CACHE_DIR=off`` keeps nothing.
"""

import os
import re
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path

GENERATIONS = 6  # whose kernels stay, however old they are
IN_USE = 3600.0  # seconds for which a generation counts as used by another process

_GENERATION = re.compile(r"kernels-[0-9a-f]{32}")
_FILE = re.compile(r"[0-9a-f]{32}\.(kernel|[0-9a-f]{16}\.part)")


def chosen() -> Path | None:
    """Where kernels are kept; None if they are not."""
    asked = os.environ.get("REFLOSS_CACHE_DIR", "")
    if asked:
        return None if asked == "off" else Path(asked).absolute()
    if sys.platform == "win32":
        parent = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        parent = "~/Library/Caches"
    else:
        parent = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = Path(os.path.expanduser(parent))
    return path / "refloss" if path.is_absolute() else None  # without a home, "~" stays as it is


def generation(state: str) -> Path | None:
    """The directory for a state of sources and versions, marked as in use."""
    parent = chosen()
    if parent is None:
        return None
    path = parent / f"kernels-{state}"
    with suppress(OSError):  # none yet, or somebody else's, which is as good to read
        os.utime(path)
    return path


def write(path: Path, data: bytes) -> None:
    """All of the file or none of it, whoever else writes it too."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_old(path.parent)
    part = path.with_suffix(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def generations(parent: Path) -> list[Path]:
    """The directories that kernels lie in, the last used first."""
    if not parent.is_dir():
        return []
    found = [path for path in parent.iterdir() if _GENERATION.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def kernels(parent: Path) -> list[Path]:
    """The files of all generations."""
    return [
        path
        for generation in generations(parent)
        for path in generation.iterdir()
        if _FILE.fullmatch(path.name)
    ]


def _remove_old(new: Path) -> None:
    for path in generations(new.parent)[GENERATIONS:]:
        if time.time() - path.stat().st_mtime > IN_USE:
            remove(path)


def remove(generation: Path) -> None:
    """Remove a generation's kernels, and its directory if there is nothing else in it."""
    for path in generation.iterdir():
        if _FILE.fullmatch(path.name):
            path.unlink(missing_ok=True)
    if not any(generation.iterdir()):
        generation.rmdir()
