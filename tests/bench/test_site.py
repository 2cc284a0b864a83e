"""The site in a real browser: graphs are drawn, planted regressions listed, nothing is loaded from
elsewhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browser import Site, browsed, chromium
from .conftest import ERROR, TIME

pytest.importorskip("asv", reason="asv is not installed: pip install '.[bench]'")
pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no chromium here (on Debian: apt-get install chromium)"
)

# Looks into the page that is named in its address, and says what every canvas shows.
PROBE = """<!doctype html><link rel="icon" href="data:,"><body><script>
const frame = document.createElement("iframe");
frame.width = 1200; frame.height = 800;
frame.src = decodeURIComponent(location.search.slice(1));
document.body.append(frame);
setTimeout(() => {
  const inside = frame.contentDocument;
  for (const canvas of inside.querySelectorAll("canvas.flot-base")) {
    const dots = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let blue = 0;
    for (let at = 0; at < dots.length; at += 4)
      if (dots[at + 3] > 128 && dots[at + 2] > dots[at] + 60) blue += 1;
    document.body.append(`[blue dots: ${blue}]`);
  }
}, 6000);
</script></body>"""


@pytest.fixture(scope="module")
def folder(planted: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import dashboard
    import offline

    try:
        offline.fetch_scripts()
    except offline.ScriptsMissingError as problem:
        pytest.skip(str(problem))
    front = dashboard.build(planted.configuration, tmp_path_factory.mktemp("results"))
    (front.parent / "probe.html").write_text(PROBE)
    return Path(front.parent)


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Iterator[Site]:
    with browsed(folder, tmp_path / "profile") as opened:
        yield opened


def test_the_summary_stands_alone(site: Site, planted: Any) -> None:
    page = site.page("index.html")
    assert planted.slower[:8] in page
    assert "<polyline" in page
    assert site.elsewhere == site.missing == []
    assert len(site.answered) == 1, "one file, scripts, styles and plots included"


def test_regressions_are_listed(site: Site, planted: Any) -> None:
    page = site.page("asv/index.html#regressions")
    assert f"{TIME}(&#39;huber_loss&#39;".replace("&#39;", "'") in page
    assert f"{ERROR}('huber_loss: bulk'" in page
    assert "'mse_loss'" not in page
    assert planted.slower[:8] in page
    assert planted.worse[:8] in page
    assert site.elsewhere == []


def test_graphs_are_drawn(site: Site) -> None:
    address = f"asv/index.html%23{TIME}"
    page = site.page(f"probe.html?{address}")
    dots = [int(number) for number in re.findall(r"\[blue dots: (\d+)\]", page)]
    assert max(dots, default=0) > 200, page
    assert site.elsewhere == site.missing == []


def test_the_grid_shows_what_was_measured(site: Site) -> None:
    page = site.page("asv/index.html")
    assert TIME.partition(".")[2] in page
    assert "peakmem" not in page
    assert site.elsewhere == site.missing == []


def test_a_request_elsewhere_would_be_seen(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "site"
    shutil.copytree(folder, copied)
    page = copied / "index.html"
    page.write_text(page.read_text() + '<script src="https://cdn.example.org/jquery.js"></script>')
    with browsed(copied, tmp_path / "profile") as opened:
        opened.page("index.html")
        assert opened.elsewhere == ["cdn.example.org:443"]
