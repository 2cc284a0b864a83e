"""Fused kernels for the CPU: eight elements, classes or rows at a time, or sixteen, in one pass.

What a kernel does is written as LLVM instructions on vectors (`refloss.formula.emitted`), so it
does not depend on what a compiler makes of a loop: every CPU adds the same numbers in the same
order.
"""
