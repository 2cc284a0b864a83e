"""Chromium without a screen, every request of which is seen: it goes through a proxy of the test's.

The proxy serves a folder under one made-up host, answers nothing else, and writes down what was
asked of it, requests of the browser's own included.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "http://site.test"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-extensions",
    # What a browser asks for on its own account is not asked for here
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-component-extensions-with-background-pages",
    "--disable-client-side-phishing-detection",
    "--disable-features=NetworkTimeServiceQuerying,AutofillServerCommunication,"
    "OptimizationHints,MediaRouter,Translate,PreconnectToSearch,AimServerRequestOnStartupEnabled",
    "--metrics-recording-only",
    "--component-updater=url-source=http://127.0.0.1:9/",
    "--gaia-url=http://127.0.0.1:9/",
)


def chromium() -> str | None:
    """The command, where it is installed."""
    names = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@dataclass
class Site:
    """A folder that a browser looks at."""

    proxy: str
    profile: Path
    answered: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def page(self, path: str) -> str:
        """The document after its scripts have run."""
        command = chromium()
        assert command is not None
        done = subprocess.run(
            [
                command,
                *FLAGS,
                f"--user-data-dir={self.profile}",
                f"--proxy-server={self.proxy}",
                "--proxy-bypass-list=<-loopback>",
                "--virtual-time-budget=20000",
                "--window-size=1300,900",
                "--dump-dom",
                f"{HOST}/{path}",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


@contextmanager
def browsed(folder: Path, profile: Path) -> Iterator[Site]:
    """Serve a folder to the browser, and to nobody else."""
    site = Site("", profile)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{HOST}/"):
                site.elsewhere.append(self.path)
                self.send_error(403)
                return
            self.path = self.path.removeprefix(HOST)
            super().do_GET()

        def do_CONNECT(self) -> None:
            site.elsewhere.append(self.path)
            self.send_error(403)

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            if int(code) == 404:
                site.missing.append(self.path)
            elif int(code) < 400:
                site.answered.append(self.path)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    serving = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), serving) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        site.proxy = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
