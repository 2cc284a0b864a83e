"""Machine-learning loss functions with known answers: proved formulas, certified oracles."""

from refloss._version import __version__

__all__ = ["__version__"]
