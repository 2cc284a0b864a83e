"""Losses of rows of classes."""

import timing


class Value(timing.Value):
    params = timing.once("rowwise")


class Gradient(timing.Gradient):
    params = timing.once("rowwise")


class ValueAndGradient(timing.ValueAndGradient):
    params = timing.everywhere("rowwise")


class Curvature(timing.Curvature):
    params = timing.once("rowwise", "cross_entropy", "softmax_focal_loss")


class Parallel(timing.Parallel):
    params = timing.once("rowwise", "cross_entropy", "distillation_loss")
