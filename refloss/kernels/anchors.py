"""What is known of anchors while their candidates pass by in blocks, and after all have passed.

Every field has one number for each anchor, (R, 1).
"""

from typing import Any, NamedTuple

Array = Any

NOWHERE = -(2**62)


class Seen(NamedTuple):
    """The softmax so far: the largest similarity, which candidate has it, the sum of the others'
    decays; the similarities of the positives, added, and how many they are."""

    top: Array
    top_at: Array
    tail: Array
    positives: Array
    count: Array


class Softmax(NamedTuple):
    """The softmax over all candidates, the mass on each positive, and the anchor's weight."""

    top: Array
    top_at: Array
    tail: Array
    mass: Array
    weight: Array


class Place(NamedTuple):
    """Where a block of similarities lies.

    ``self_at`` is the column that holds the first row's similarity with itself (it moves on by one
    with each row), and ``first`` the number of the first candidate.
    """

    self_at: int
    first: int
