"""One setting of hypothesis for all tests: the same examples every time, and no clock."""

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")  # no window, with or without a screen

settings.register_profile("book", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("book")
