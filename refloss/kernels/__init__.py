"""Loops over arrays: for the CPU in Numba, and over whole arrays of any library."""
