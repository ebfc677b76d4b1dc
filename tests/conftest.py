"""Set before anything else is loaded: torch computes with one thread, unless told otherwise."""

import os

# Sums of floats depend on the number of threads, and two workers of two threads each take twice
# the time. Torch reads it when it is loaded; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
