"""Loops over arrays: for the CPU in Numba, and over whole arrays of any library."""

import time

LOADED = time.time()  # sources younger than this may not be those that this process runs
