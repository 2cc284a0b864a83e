"""Losses that compare every embedding of a batch with every other."""

import timing


class Value(timing.Value):
    params = timing.once("batch")


class Gradient(timing.Gradient):
    params = timing.once("batch")


class ValueAndGradient(timing.ValueAndGradient):
    params = timing.everywhere("batch")


class Parallel(timing.Parallel):
    params = timing.once("batch", "nt_xent_loss", "batch_triplet_loss")
