"""The sum of all values that a kernel call comes upon, as a pair (high, low)."""

from __future__ import annotations

from typing import Any

from refloss.formula import reductions
from refloss.formula.emitted import DOUBLE, Code, Flag, Number, meaning
from refloss.formula.reading import read
from refloss.kernels.simd.writing import LANES, Body, Stored


class Total:
    """A running sum in each lane; whatever the arithmetic inside, what it loses is kept."""

    def __init__(self, body: Body) -> None:
        self.body = body
        words = meaning(Code(body.builder, DOUBLE, cuda=False, lanes=LANES))
        self.absorbed = read(reductions.total_absorbed, words)
        self.joined = read(reductions.total_joined, words)
        zeros = [body.code.number(x) for x in reductions.TOTAL]
        self.state = body.variables(zeros)

    def absorb(self, x: Any, where: Flag | None = None) -> None:
        """Take up a number in each lane, or in some."""
        spread = Number(self.body.code, self.body.code.spread(self.body.code.number(x).value))
        self.state.set(self.absorbed(*self.state.get(), spread), where)

    def put(self, pair: Stored) -> None:
        """Write what all lanes come to."""
        state = self.state.get()
        distance = LANES // 2
        while distance:
            state = list(self.joined(*state, *(self.body.turned(x, distance) for x in state)))
            distance //= 2
        for k, x in enumerate(state):
            self.body.put(pair, self.body.whole(k), self.body.lane(x, 0))
