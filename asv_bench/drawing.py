"""Small plots as SVG: lines over commits, and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

LINE, WORSE, BETTER = "#2563a8", "#b3261e", "#2e7d4f"

Point = tuple[int, float]


def number(value: float, unit: str = "") -> str:
    """A number with its unit, as people read it: three digits, seconds in ms or µs."""
    if unit in ("seconds", "s"):
        for factor, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if value >= factor or name == "µs":
                return f"{_digits(value / factor)} {name}"
    if unit == "bytes":
        return f"{_digits(value / 2**20)} MiB"
    if unit.startswith("times"):
        return f"{_digits(value)}×"
    return f"{_digits(value)} {unit}".strip()


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value:.1e}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text(x: float, y: float, said: str, anchor: str = "start", kind: str = "axis") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(said)}</text>'
    )


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    shape = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg {shape} role="img">{"".join(parts)}</svg>'


def _top(largest: float) -> float:
    """The end of an axis: a round number at or above the largest value."""
    power = 10.0 ** math.floor(math.log10(largest))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= largest)


def history(
    values: Sequence[float | None],
    titles: Sequence[str],
    unit: str,
    marks: Sequence[tuple[int, bool]] = (),
    size: tuple[int, int] = (300, 130),
) -> str:
    """A line over commits, from 0; ``marks`` are where it became worse (or, false, better)."""
    points = [(index, value) for index, value in enumerate(values) if value is not None]
    width, height = size
    left, right, upper, lower = 52, 10, 10, 18
    top = _top(max((value for _, value in points), default=1.0) or 1.0)
    step = (width - left - right) / max(1, len(values) - 1)

    def at(point: Point) -> tuple[float, float]:
        index, value = point
        return left + index * step, height - lower - value / top * (height - upper - lower)

    parts = []
    for share in (0.0, 0.5, 1.0):
        y = at((0, share * top))[1]
        parts += [
            f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e7eb"/>',
            _text(left - 5, y + 3.5, number(share * top, unit) if share else "0", "end"),
        ]
    for index, worse in marks:
        x = at((index, 0))[0]
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{upper}" y2="{height - lower}" '
            f'stroke="{WORSE if worse else BETTER}" stroke-width="8" stroke-opacity="0.18"/>'
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.8"/>')
    for point in points:
        x, y = at(point)
        said = escape(f"{number(point[1], unit)}: {titles[point[0]]}")
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{LINE}">'
        parts.append(f"{circle}<title>{said}</title></circle>")
    if len(values) > 1:
        parts += [
            _text(left, height - 4, "older"),
            _text(width - right, height - 4, "newest", "end"),
        ]
    return _svg(width, height, parts)


def bars(
    rows: Sequence[tuple[str, float]],
    unit: str,
    line: float,
    said: str,
    width: int = 800,
) -> str:
    """Horizontal bars from 0, with a line to hold them against."""
    left, right, thick = 340, 70, 22
    height = thick * len(rows) + 24
    top = _top(max([line, *(value for _, value in rows)]) or 1.0)
    scale = (width - left - right) / top
    x = left + line * scale
    parts = [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}" stroke="{WORSE}" '
        f'stroke-dasharray="3 3"/>',
        _text(x, height - 6, said, "middle"),
    ]
    for index, (name, value) in enumerate(rows):
        y = index * thick
        parts += [
            _text(left - 8, y + 15, name, "end", "name"),
            f'<rect x="{left}" y="{y + 4}" width="{max(1.0, value * scale):.1f}" '
            f'height="{thick - 8}" fill="{LINE}" fill-opacity="0.85" rx="1.5"/>',
            _text(left + value * scale + 6, y + 15, number(value, unit), kind="name"),
        ]
    return _svg(width, height, parts)
