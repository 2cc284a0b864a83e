"""What kernels call that which they know of a row beside its arrays."""

PLACE = "place"  # the number of a class in its row
LABEL = "label"  # the number of the target's class
IGNORED = -1  # the label of a row that counts for nothing
HIT = "hit_"  # before a quantity: its number at the target's class

# What derivatives are multiplied with, and what all values are divided by, or its reciprocal
UPSTREAM, DENOMINATOR, RATE = "upstream", "denominator", "rate"
