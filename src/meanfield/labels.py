"""Labelled variables that several scripts make in the same way: an estimate with the ends of its interval."""

import numpy as np

from meanfield import io
from meanfield.analysis.intervals import Interval


def with_ends(name: str, dims: str, found: Interval, text: str) -> dict[str, tuple]:
    """Return the variables of an estimate: `name`, and `name` with _low and _high for the ends of its interval."""
    words = ("", ", lower end of its interval", ", upper end of its interval")
    return {
        f"{name}{end}": io.variable(dims, np.asarray(part), f"{text}{more}")
        for end, part, more in zip(("", "_low", "_high"), found, words, strict=True)
    }
