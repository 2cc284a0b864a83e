"""Airspeed velocity's benchmarks: by the shape of the inputs, and what else is worth watching.

asv runs these files, as they are now, beside the refloss of any commit. So refloss may only be
imported inside a benchmark, never by what asv imports here, and never from the working tree.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the cases, beside this folder
