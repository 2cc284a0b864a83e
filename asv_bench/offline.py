"""Make asv's pages stand alone: what they load from elsewhere is copied beside them.

The scripts are npm packages, fixed by version and digest in `site/package-lock.json`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

SITE = Path(__file__).resolve().parent / "site"
SCRIPTS = SITE / "node_modules"

# What asv's pages call the files, and where the packages have them
FILES = {
    r"jquery-[\d.]+(\.min)?\.js": "jquery/dist/jquery.min.js",
    r"jquery\.flot\.min\.js": "jquery.flot/jquery.flot.js",
    r"jquery\.flot\.(time|selection|categories)\.min\.js": r"jquery.flot/jquery.flot.\1.js",
    r"jquery\.flot\.orderBars\.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    r"stupidtable\.min\.js": "stupid-table-plugin/stupidtable.min.js",
    r"md5\.min\.js": "blueimp-md5/js/md5.min.js",
    r"bootstrap\.min\.js": "bootstrap/dist/js/bootstrap.min.js",
    r"bootstrap\.min\.css": "bootstrap/dist/css/bootstrap.min.css",
}

LOADED = re.compile(r'(<(?:script|link)\b[^>]*?\b(?:src|href)=)"((?:https?:)?//[^"]+)"([^>]*>)')
GUARDS = re.compile(r' (?:integrity|crossorigin|referrerpolicy)="[^"]*"')


# asv's list of benchmarks hides what is too wide, and browsers then cut its lines in half.
STYLE = "<style>.nav-list > li { overflow: visible; }</style>\n  </head>"


class ScriptsMissingError(Exception):
    """The scripts cannot be had; the message says what to do."""


def fetch_scripts() -> Path:
    """The folder of the packages, filled by npm where it is not yet."""
    if not (SCRIPTS / "jquery" / "dist").is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise ScriptsMissingError("asv's pages need npm once (on Debian: apt-get install npm)")
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, cwd=SITE, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ScriptsMissingError(f"npm ci in {SITE}: {(done.stderr or done.stdout).strip()}")
    return SCRIPTS


def source_of(address: str) -> str:
    """Where the packages have what a page loads from an address."""
    name = address.rpartition("/")[2]
    for pattern, path in FILES.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(path)
    raise ScriptsMissingError(f"asv loads {address}, which is new here: add it to {__file__}")


def stand_alone(pages: Path, scripts: Path) -> None:
    """Copy the scripts into published pages and load them from there."""
    vendor = pages / "vendor"
    vendor.mkdir(exist_ok=True)

    def here(match: re.Match[str]) -> str:
        before, address, after = match.groups()
        source = scripts / source_of(address)
        shutil.copy(source, vendor / source.name)
        return f'{GUARDS.sub("", before)}"vendor/{source.name}"{GUARDS.sub("", after)}'

    for page in pages.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = LOADED.sub(here, text).replace("</head>", STYLE)
        page.write_text(text, encoding="utf-8")


def measured_only(pages: Path) -> None:
    """Leave out benchmarks without any result: their graphs would be asked for in vain."""
    path = pages / "index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    drawn = pages / "graphs" / "summary"
    index["benchmarks"] = {
        name: benchmark
        for name, benchmark in index["benchmarks"].items()
        if (drawn / f"{name}.json").exists()
    }
    path.write_text(json.dumps(index), encoding="utf-8")
