"""Inputs for losses of one number, or of two, that a margin cuts off."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from derivations import regions
from derivations.case import Array, Case, Option, array
from derivations.formats import Format
from derivations.regions import FORMATS, INF, NAN

REGIONS = regions.selected(
    ["bulk", "saturation", "subnormal", "infinite", "nan", "reductions", "empty", "large"]
) | {"kinks": "The hinge exactly at zero, and one unit in the last place to either side."}


@dataclass(frozen=True)
class Hinges:
    """A loss whose hinge is at zero where its number, or the gap of its two, is the margin.

    ``arguments`` are those two, or the one; it may be negative if ``signed``. ``targets`` are the
    numbers that a target may be; with `between`, any number between them.
    """

    loss: str
    arguments: tuple[str, ...]
    targets: tuple[float, float]
    margins: tuple[float, ...]
    signed: bool = True
    between: bool = False

    def cases(self) -> Iterator[Case]:
        for form in FORMATS:
            yield from self._ordinary(form)
            for margin in self.margins:
                yield from self._kinks(form, margin)
            yield from self._extremes(form)
        yield from self._specials()
        yield from self._reductions()
        yield from self._large()

    def _numbers(self, xs: Sequence[float]) -> list[float]:
        return list(xs) if self.signed else [abs(x) for x in xs]

    def _marks(self, count: int, form: Format, *key: object) -> list[float]:
        rng = regions.seeded(self.loss, "target", form.name, *key)
        if self.between and key and key[-1]:
            low, high = self.targets
            return regions.uniforms(rng, count, form, low, high)
        return [rng.choice(self.targets) for _ in range(count)]

    def _case(
        self,
        region: str,
        columns: Sequence[Sequence[float]],
        targets: Sequence[float],
        margin: float,
        reduction: str = "none",
    ) -> Case:
        names = (*self.arguments, "target")
        given = dict(zip(names, (*columns, targets), strict=True))
        return regions.elementwise(region, given, {"margin": margin}, reduction=reduction)

    def _ordinary(self, form: Format) -> Iterator[Case]:
        rng = regions.seeded(self.loss, form.name)
        for margin, scale, soft in itertools.product(
            self.margins, (0.5, 4.0), (False, True) if self.between else (False,)
        ):
            columns = [self._numbers(regions.normals(rng, 12, form, scale)) for _ in self.arguments]
            targets = self._marks(12, form, margin, scale, soft)
            yield self._case("bulk", columns, targets, margin)

    def _kinks(self, form: Format, margin: float) -> Iterator[Case]:
        """Numbers around the margin; where there are two, a gap around it from several places."""
        edge = regions.neighbours(margin, form)
        signs = (1, -1) if self.signed else (1,)
        places = (0.0, 1.0, -2.5) if len(self.arguments) == 2 else (0.0,)
        for target, place in itertools.product(self.targets, places):
            xs = self._numbers([form.nearest(s * x + place) for s in signs for x in edge])
            columns = [xs, [place] * len(xs)][: len(self.arguments)]
            yield self._case("kinks", columns, [target] * len(xs), margin)

    def _extremes(self, form: Format) -> Iterator[Case]:
        margin, top = self.margins[0], form.largest
        huge = [top, form.down(top), form.nearest(1e4), form.up(form.nearest(1e4))]
        tiny = regions.tiny_numbers(form)
        for region, xs in (("saturation", huge), ("subnormal", tiny)):
            xs = self._numbers([*xs, *(-x for x in xs)])
            columns = [xs, [xs[0], 0.0, form.tiny, 1.0] * (len(xs) // 4)][: len(self.arguments)]
            for target, m in itertools.product(self.targets, (margin, form.tiny)):
                yield self._case(region, columns, [target] * len(xs), m)

    def _specials(self) -> Iterator[Case]:
        margin = self.margins[0] or 1.0  # without a margin, inf - inf has no limit to speak of
        ends = [INF, -INF, 1.5] if self.signed else [INF, 1.5]
        marks = [*self.targets, 0.25] if self.between else list(self.targets)
        for target in marks:
            columns = self._combined(ends)
            yield self._case("infinite", columns, [target] * len(columns[0]), margin)
        ones = [1.0, 1.0]
        for reduction, name in itertools.product(
            ("none", "mean", "sum"), (*self.arguments, "target")
        ):
            for bad in (INF, NAN):
                if bad == INF and name == "target":
                    continue
                columns = [[bad, 0.5] if name == n else ones for n in self.arguments]
                targets = [self.targets[0], bad if name == "target" else self.targets[1]]
                region = "infinite" if bad == INF else "nan"
                yield self._case(region, columns, targets, margin, reduction)

    def _combined(self, values: list[float]) -> list[list[float]]:
        if len(self.arguments) == 1:
            return [values]
        return [list(column) for column in regions.pairs(values, values)]

    def _reductions(self) -> Iterator[Case]:
        form = FORMATS[0]
        for reduction, margin, shape in itertools.product(
            ("none", "mean", "sum"),
            self.margins[:2],
            ((6,), (2, 3), (), (1, 3, 2), (0,), (0, 3)),
        ):
            rng = regions.seeded(self.loss, reduction, margin, shape)
            size = math.prod(shape)
            inputs = {
                name: array(self._numbers(regions.normals(rng, size, form)), shape)
                for name in self.arguments
            }
            inputs["target"] = array(self._marks(size, form, reduction, margin, False), shape)
            options: dict[str, Option] = {"margin": margin, "reduction": reduction}
            yield Case("reductions" if size else "empty", inputs, options)

    def _large(self) -> Iterator[Case]:
        for reduction, shape in (("mean", (1_000_000,)), ("sum", (1000, 1000))):
            number = regions.eighths if self.signed else regions.sixteenths
            inputs = {name: number(shape, 31 + n) for n, name in enumerate(self.arguments)}
            inputs["target"] = self._many_marks(shape)
            options: dict[str, Option] = {"margin": self.margins[1], "reduction": reduction}
            yield Case("large", inputs, options, at=regions.sampled(1_000_000))

    def _many_marks(self, shape: tuple[int, ...]) -> Array:
        return (regions.sixteenths if self.between else regions.signs)(shape, 37)
