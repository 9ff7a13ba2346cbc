"""Intervals of any statistic of several groups of replicates, by leaving one out. Numpy in, numpy out; no files."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from meanfield.analysis.intervals import Interval

Floats = NDArray[np.float64]


def jackknife(
    statistic: Callable[[list[NDArray[np.int64]]], Floats], sizes: Sequence[int], level: float = 0.95
) -> Interval:
    r"""Return a statistic of independent groups and its interval.

    Its variance is :math:`\sum_g \frac{n_g - 1}{n_g} \sum_i (\theta_{-gi} - \bar\theta_g)^2` with one replicate of one
    group left out at a time, and Student's quantile has Welch and Satterthwaite's degrees of freedom.

    Parameters
    ----------
    statistic : callable
        Maps the indices kept of each group to one value or an array of them.
    sizes : sequence of int
        Replicates of each group.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval
        The statistic of all replicates; the ends are nan where it needs a replicate that is left out.

    """
    whole = [np.arange(size) for size in sizes]
    value = np.asarray(statistic(whole), dtype=float)
    variances = []
    for group, size in enumerate(sizes):
        left = np.array(
            [statistic([np.delete(k, i) if g == group else k for g, k in enumerate(whole)]) for i in range(size)]
        )
        variances.append((size - 1) / size * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    total = np.sum(variances, axis=0)
    # A single replicate has nothing to be left out: no variance, no interval.
    freedom = np.maximum(np.array(sizes) - 1, 1).reshape(-1, *[1] * value.ndim)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = total**2 / (np.square(variances) / freedom).sum(axis=0)
    half = special.stdtrit(np.where(total > 0, found, 1.0), (1 + level) / 2) * np.sqrt(total)
    half = np.where(np.array(sizes).min() > 1, half, np.nan)
    return Interval(value, value - half, value + half)
