"""Confidence intervals over replicates. Numpy in, numpy out; no files."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

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
    half = special.stdtrit(n - 1, (1 + level) / 2) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def log_interval(values: Floats, level: float = 0.95) -> Interval:
    """Return the geometric mean over the first axis and its Student t interval on the logarithmic scale.

    Parameters as in `mean_interval`; where a value is not positive the result is nan.
    """
    values = np.asarray(values, float)
    logarithms = np.log(np.where(values > 0, values, np.nan))
    return Interval(*(np.exp(part) for part in mean_interval(logarithms, level)))


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Return a proportion and its score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Parameters
    ----------
    successes, trials : int or array of int
        Counts; at least one trial.
    level : float
        Confidence level in (0, 1).

    """
    trials = np.asarray(trials, dtype=float)
    return score_interval(np.asarray(successes, dtype=float) / trials, trials, special.ndtri((1 + level) / 2))


def score_interval(share: Floats, trials: Floats, quantile: float) -> Interval:
    """Return Wilson's score interval of a proportion, see `wilson_interval`.

    Parameters
    ----------
    share, trials : float or array of float
        The proportion and the number of trials, which may be an effective one.
    quantile : float
        Of the law of the studentised proportion: 1.96 for independent trials at 95 %.

    """
    z2 = quantile**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = quantile * np.sqrt((share * (1 - share) + z2 / (4 * trials)) / trials) / (1 + z2 / trials)
    return Interval(share, np.clip(centre - half, 0, share), np.clip(centre + half, share, 1))


def largest(values: Floats) -> Floats:
    """Return the largest defined value along the last axis; nan where none is defined."""
    kept = np.where(np.isnan(values), -np.inf, values).max(axis=-1)
    return np.where(np.isinf(kept) & (kept < 0), np.nan, kept)
