"""Losses of single elements: one number in, one out."""

import timing


class Value(timing.Value):
    params = timing.once("elementwise")


class Gradient(timing.Gradient):
    params = timing.once("elementwise")


class ValueAndGradient(timing.ValueAndGradient):
    params = timing.everywhere("elementwise")


class Curvature(timing.Curvature):
    params = timing.once("elementwise", "binary_cross_entropy_with_logits", "sigmoid_focal_loss")


class Parallel(timing.Parallel):
    params = timing.once("elementwise", "huber_loss", "binary_cross_entropy_with_logits")
