"""The sum of all values that a kernel call comes upon, as a pair (high, low)."""

from __future__ import annotations

from typing import Any

from refloss.formula import reductions
from refloss.formula.emitted import DOUBLE, Code, Flag, Number, meaning
from refloss.formula.reading import read
from refloss.kernels.simd.writing import Body, Stored

RUN = 32  # numbers of a lane that are added up plainly where the results have few digits


class Total:
    """A running sum in each lane; whatever the arithmetic inside, what it loses is kept.

    Within ``RUN`` numbers of one sign, nothing is where the working arithmetic has 29 digits of two
    more than what is asked for.
    """

    def __init__(self, body: Body, one_sign: bool = False) -> None:
        self.body = body
        self.is_plain = one_sign and not body.kind.keeps_lost
        self.run = body.variables([body.code.number(0)])
        words = meaning(Code(body.builder, DOUBLE, cuda=False, lanes=body.lanes))
        self.absorbed = read(reductions.total_absorbed, words)
        self.joined = read(reductions.total_joined, words)
        zeros = [body.code.number(x) for x in reductions.TOTAL]
        self.state = body.variables(zeros)

    def absorb(self, x: Any, where: Flag | None = None) -> None:
        """Take up a number in each lane, or in some."""
        spread = Number(self.body.code, self.body.code.spread(self.body.code.number(x).value))
        self.state.set(self.absorbed(*self.state.get(), spread), where)

    def absorb_next(self, x: Number, where: Flag, i: Any) -> None:
        """Take up a number in some lanes; i is the index of the first of them."""
        if not self.is_plain:
            self.absorb(x, where)
            return
        builder, last = self.body.builder, self.body.whole(self.body.lanes * (RUN - 1))
        (plain,) = self.run.get()
        self.run.set([plain + x], where)
        with builder.if_then(builder.icmp_signed("==", builder.and_(i, last), last)):
            self._end_run()

    def _end_run(self) -> None:
        (plain,) = self.run.get()
        self.absorb(plain)
        self.run.set([self.body.code.number(0)])

    def put(self, pair: Stored) -> None:
        """Write what all lanes come to."""
        if self.is_plain:
            self._end_run()
        state = self.state.get()
        distance = self.body.lanes // 2
        while distance:
            state = list(self.joined(*state, *(self.body.turned(x, distance) for x in state)))
            distance //= 2
        for k, x in enumerate(state):
            self.body.put(pair, self.body.whole(k), self.body.lane(x, 0))
