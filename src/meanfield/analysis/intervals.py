"""Confidence intervals over replicates. Numpy in, numpy out; no files."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: Floats
    low: Floats
    high: Floats


def mean_interval(values: Floats, level: float = 0.95) -> Interval:
    """Return the mean over the first axis and its Student t interval.

    Parameters
    ----------
    values : array, shape (replicate, …)
        One value per replicate.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval
        Arrays of shape (…); the ends are nan for a single replicate, which tells nothing about its spread.

    """
    values = np.asarray(values, dtype=float)
    n = values.shape[0]
    mean = values.mean(axis=0)
    if n < 2:
        unknown = np.full(mean.shape, np.nan)
        return Interval(mean, unknown, unknown)
    half = stats.t.ppf((1 + level) / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return Interval(mean, mean - half, mean + half)
