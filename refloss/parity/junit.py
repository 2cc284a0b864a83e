"""JUnit's XML, which CI systems read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

__all__ = ["written"]

# What XML 1.0 cannot say, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def written(suite: str, cases: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    """One test suite; a case is a loss, a dtype, and what failed there."""
    found = list(cases)
    failed = sum(bool(failures) for _, _, failures in found)
    counts = {"tests": str(len(found)), "failures": str(failed), "errors": "0"}
    root = ElementTree.Element("testsuites", counts)
    group = ElementTree.SubElement(root, "testsuite", {"name": _clean(suite), **counts})
    for loss, dtype, failures in found:
        words = {"classname": _clean(f"{suite}.{loss}"), "name": f"{loss}[{dtype}]"}
        case = ElementTree.SubElement(group, "testcase", words)
        if failures:
            # A test case has one failure at most for most readers.
            first = failures[0].partition("\n")[0]
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            failure = ElementTree.SubElement(case, "failure", {"message": _clean(first + more)})
            failure.text = _clean("\n".join(failures))
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _clean(text: str) -> str:
    return FORBIDDEN.sub("?", text)
