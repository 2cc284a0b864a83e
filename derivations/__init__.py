"""Why refloss is right: textbook statements, proofs of the formulas, certified answers.

Nothing in ``refloss`` imports this package, and the part of it that makes oracles imports nothing
of ``refloss``: the certified answers come from the textbook alone.
"""
