r"""Shares of trajectories that reach a goal: intervals, paired differences, ranks. Numpy in, numpy out.

Trajectories of an ensemble are coupled. Ensembles are clusters of equal size, consecutive in the arrays, and every
variance is multiplied by the *design effect*: the variance of a share over clusters relative to the one of independent
trajectories (Kish 1965, *Survey Sampling*, section 8.2), never taken below one; quantiles are then Student's.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from meanfield.analysis.intervals import score_interval

Floats = NDArray[np.float64]


class Share(NamedTuple):
    """A share and the ends of its interval [1]."""

    share: float
    low: float
    high: float


def design_effect(values: ArrayLike, cluster: int) -> float:
    """Return by how much clusters of consecutive entries raise the variance of a mean, at least 1 [1].

    Parameters
    ----------
    values : array, shape (trajectory,)
        What is averaged.
    cluster : int
        Trajectories per cluster; a remainder at the end is left out. With values that are all equal, or a single
        cluster, the answer is the cluster size: the worst case.

    """
    if cluster <= 1:
        return 1.0
    values = np.asarray(values, float)
    count = values.size // cluster
    kept = values[: count * cluster]
    if count < 2 or kept.std() == 0:
        return float(cluster)
    between = kept.reshape(count, cluster).mean(axis=1).var(ddof=1) / count
    return max(1.0, between / (kept.var(ddof=1) / kept.size))


def _quantile(level: float, size: int, cluster: int) -> float:
    # Student's where few clusters tell of their spread; the normal one for independent trajectories.
    if cluster <= 1:
        return float(special.ndtri((1 + level) / 2))
    return float(special.stdtrit(max(size // cluster - 1, 1), (1 + level) / 2))


def wilson(hits: ArrayLike, *, level: float = 0.95, cluster: int = 1) -> Share:
    """Return the share of hits with Wilson's interval (1927, J. Am. Stat. Assoc. 22, 209), for clusters.

    Parameters
    ----------
    hits : array of bool, shape (trajectory,)
        Who reached the goal.
    level : float
        Confidence level in (0, 1).
    cluster : int
        Trajectories that are coupled to each other.

    """
    hits = np.asarray(hits, float)
    trials = hits.size / design_effect(hits, cluster)
    return Share(*map(float, score_interval(hits.mean(), trials, _quantile(level, hits.size, cluster))))


def paired_difference(first: ArrayLike, second: ArrayLike, *, level: float = 0.95, cluster: int = 1) -> Share:
    """Return the difference of two shares over the same starts, with an interval for pairs.

    The interval is Wald's for paired proportions after half a pair has been added to each of the four cells (Agresti &
    Min 2005, Stat. Med. 24, 729): its two sides exclude zero where McNemar's test rejects, up to small counts.

    Parameters
    ----------
    first, second : array of bool, shape (trajectory,)
        Who reached the goal under either method, start by start.
    level, cluster
        As in `wilson`.

    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    difference = first.astype(float) - second
    only_first, only_second = (first & ~second).sum() + 0.5, (second & ~first).sum() + 0.5
    n = difference.size + 2
    centre = (only_first - only_second) / n
    variance = ((only_first + only_second) / n - centre**2) / n * design_effect(difference, cluster)
    half = _quantile(level, difference.size, cluster) * np.sqrt(variance)
    mean = difference.mean()
    return Share(mean, max(-1.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p-value of McNemar's exact test of equal shares, for independent starts [1]."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    discordant = int((first ^ second).sum())
    ahead = int((first & ~second).sum())
    return min(1.0, 2 * float(special.bdtr(min(ahead, discordant - ahead), discordant, 0.5)))


def ranks(hits: ArrayLike, clusters: ArrayLike, *, level: float = 0.95) -> tuple[Floats, NDArray, NDArray]:
    r"""Rank methods by their shares as far as simultaneous intervals of all paired differences decide.

    Parameters
    ----------
    hits : array of bool, shape (method, trajectory)
        Who reached the goal.
    clusters : array of int, shape (method,)
        Trajectories that are coupled to each other.
    level : float
        Confidence level of all differences together (Bonferroni).

    Returns
    -------
    differences : array, shape (method, method, 3)
        Share of row minus share of column, and the ends of its interval [1].
    best, worst : array of int, shape (method,)
        One plus the methods that are better beyond doubt; the methods less those that are worse beyond doubt.

    """
    hits, clusters = np.asarray(hits, bool), np.asarray(clusters)
    count = len(hits)
    each = 1 - (1 - level) / max(1, count * (count - 1) // 2)
    differences = np.zeros((count, count, 3))
    for i in range(count):
        for j in range(i):
            # Coupled ensembles of two sizes: the larger ones contain the smaller where sizes divide each other.
            cluster = int(np.lcm(clusters[i], clusters[j]))
            share, low, high = paired_difference(hits[i], hits[j], level=each, cluster=cluster)
            differences[i, j] = share, low, high
            differences[j, i] = -share, -high, -low
    better = differences[:, :, 1] > 0
    return differences, 1 + better.sum(axis=0), count - better.sum(axis=1)
