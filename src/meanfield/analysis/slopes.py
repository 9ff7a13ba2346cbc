"""Slopes in doubly logarithmic coordinates, replicate by replicate. Numpy in, numpy out; no files."""

import numpy as np
from numpy.typing import NDArray

from meanfield.analysis.intervals import Interval, mean_interval

Floats = NDArray[np.float64]


def log_slopes(x: Floats, values: Floats) -> Floats:
    """Return the least-squares slope of log(value) against log(x) for each replicate.

    Parameters
    ----------
    x : array, shape (point,)
        Positive abscissas [any].
    values : array, shape (replicate, point)
        Positive values [any].

    Returns
    -------
    array, shape (replicate,)
        Slopes [1]; nan where there are fewer than two different abscissas, or a value is not positive and finite.

    """
    x, values = np.log(np.asarray(x, float)), np.asarray(values, float)
    if len(x) < 2 or np.ptp(x) == 0:
        return np.full(len(values), np.nan)
    logarithms = np.log(np.where((values > 0) & np.isfinite(values), values, np.nan))
    centred = x - x.mean()
    return logarithms @ centred / (centred @ centred)


def log_interval(values: Floats, level: float = 0.95) -> Interval:
    """Return the geometric mean over the first axis and its Student t interval on the logarithmic scale.

    Parameters as in `meanfield.analysis.intervals.mean_interval`; where a value is not positive the result is nan.
    """
    values = np.asarray(values, float)
    logarithms = np.log(np.where(values > 0, values, np.nan))
    return Interval(*(np.exp(part) for part in mean_interval(logarithms, level)))
