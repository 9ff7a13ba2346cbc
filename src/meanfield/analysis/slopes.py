"""Slopes, first crossings and values between records on logarithmic axes, with intervals. Numpy, no files."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meanfield.analysis.intervals import Interval

Floats = NDArray[np.float64]

_RESAMPLES = 2000


def _mean(values: Floats) -> Floats:
    return values.mean(axis=1)


def log_slope(
    x: Floats, values: Floats, *, statistic: Callable[[Floats], Floats] = _mean, level: float = 0.95
) -> Interval:
    """Return the least-squares slope of log statistic against log x, with a bootstrap interval over replicates.

    Parameters
    ----------
    x : array, shape (point,)
        Positive, at least two different.
    values : array, shape (point, replicate, …)
        Samples of each point; replicate m of all points is resampled together where they share their data.
    statistic : callable
        Maps values to one positive number per point, shape (point,); the mean over replicates if not given.
    level : float
        Confidence level in (0, 1) of the percentile interval.

    Returns
    -------
    Interval
        The slope of all replicates and the ends; nan for a single replicate, or where a statistic is not positive.

    """
    x = np.log(np.asarray(x, dtype=float))
    centred = x - x.mean()
    weights = centred / (centred @ centred)

    def slope(sample: Floats) -> float:
        found = statistic(sample)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(weights @ np.log(found))

    replicates = values.shape[1]
    if replicates < 2:
        return Interval(np.float64(slope(values)), np.float64(np.nan), np.float64(np.nan))
    rng = np.random.default_rng(0)  # fixed: the interval is a function of the values
    drawn = [slope(values[:, rng.integers(0, replicates, replicates)]) for _ in range(_RESAMPLES)]
    tail = (1 - level) / 2
    low, high = np.quantile([one for one in drawn if np.isfinite(one)] or [np.nan], [tail, 1 - tail])
    return Interval(np.float64(slope(values)), np.float64(low), np.float64(high))


def replicate_slopes(x: Floats, values: Floats) -> Floats:
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


def first_crossings(x: Floats, values: Floats, levels: Floats) -> Floats:
    """Return where each replicate first falls to its level, interpolated between records in log-log coordinates.

    Parameters
    ----------
    x : array, shape (record,), increasing
        Nonnegative abscissas; only the first may be zero [any].
    values : array, shape (replicate, record)
        Positive values [any].
    levels : array, shape (replicate,)
        Positive levels [any].

    Returns
    -------
    array, shape (replicate,)
        Abscissas; nan where the level is never reached.

    """
    x, values = np.asarray(x, float), np.asarray(values, float)
    found = np.full(len(values), np.nan)
    for m, level in enumerate(levels):
        below = np.flatnonzero(values[m] <= level)
        if not len(below):
            continue
        k = int(below[0])
        if k == 0 or x[k - 1] == 0:
            found[m] = x[k]
            continue
        rise = np.log(values[m, k - 1] / level) / np.log(values[m, k - 1] / values[m, k])
        found[m] = x[k - 1] * (x[k] / x[k - 1]) ** rise
    return found


def logs_at(counts: Floats, recorded: Floats, logs: Floats) -> Floats:
    """Return logarithms of values at other counts than the recorded ones, interpolated on logarithmic axes.

    Parameters
    ----------
    counts, recorded : arrays, shape (point,) and (record,), increasing
        Counts from zero on, of iterations or gradients; those of the records [count].
    logs : array, shape (replicate, record)
        Logarithms of what was recorded [1].

    Returns
    -------
    array, shape (replicate, point)
        At a record's count, its own value to the last bit.

    """
    at, places = np.log1p(counts), np.log1p(recorded)
    found = np.empty((len(logs), at.size))
    for out, row in zip(found, logs, strict=True):
        out[:] = np.interp(at, places, row)
    return found
