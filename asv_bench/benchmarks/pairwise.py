"""Losses of pairs and triplets of vectors."""

import timing


class Value(timing.Value):
    params = timing.once("pairwise")


class Gradient(timing.Gradient):
    params = timing.once("pairwise")


class ValueAndGradient(timing.ValueAndGradient):
    params = timing.everywhere("pairwise")


class Parallel(timing.Parallel):
    params = timing.once("pairwise", "triplet_margin_loss")
