r"""Dependence of exchangeable neurons over replicates: covariances of pairs, and the pair law against the product law.

Exchangeability lets every pair of a replicate count. With the average :math:`\bar f_m` and the mean square :math:`q_m`
of a function over the N neurons of replicate m, the mean product over its pairs is
:math:`(N \bar f_m^2 - q_m)/(N - 1)`.

The distance between the law of two neurons and the product of their laws is Hoeffding's (1948, Ann. Math. Stat. 19,
546),

.. math:: \Phi^2 = \iint [P(r_1 \le a, r_2 \le b) - P(r_1 \le a) P(r_2 \le b)]^2\, \mu(da)\, \mu(db),

:math:`\mu` the law of one neuron, here in midpoints of equal classes. The square is estimated by products of different
replicates only, so that its mean is zero where the neurons are independent.

Numpy in, numpy out; no files.
"""

import numpy as np
from numpy.typing import NDArray

from meanfield.analysis.intervals import Interval

Floats = NDArray[np.float64]


def bootstrap_weights(replicates: int, resamples: int) -> Floats:
    """Return the weights of replicates in bootstrap resamples, shape (resample, replicate); rows sum to one."""
    rng = np.random.default_rng(0)  # fixed: intervals are functions of the values
    return rng.multinomial(replicates, np.full(replicates, 1 / replicates), size=resamples) / replicates


def percentiles(estimate: Floats, drawn: Floats, level: float) -> Interval:
    """Return an estimate with percentile ends over the first axis of what was drawn; nan where nothing was."""
    tail = (1 - level) / 2
    finite = np.isfinite(drawn)
    kept = np.where(finite.any(axis=0), drawn, 0.0)
    ends = np.nanquantile(kept, [tail, 1 - tail], axis=0)
    ends = np.where(finite.any(axis=0), ends, np.nan)
    return Interval(np.asarray(estimate), ends[0], ends[1])


def pair_covariance(mean: Floats, square: Floats, neurons: int, weights: Floats) -> Floats:
    """Return the covariance of a function of two neurons, shape (resample, …).

    Parameters
    ----------
    mean, square : array, shape (replicate, …)
        Average and mean square over the neurons of each replicate.
    neurons : int
        N >= 2.
    weights : array, shape (resample, replicate)
        Weights of the replicates; uniform ones give the estimate itself.

    """
    replicates = mean.shape[0]
    # About the overall mean: the formula subtracts squares.
    centre = mean.mean(axis=0)
    square = square - 2 * centre * mean + centre**2
    mean = mean - centre
    first = np.tensordot(weights, mean, 1)
    between = np.tensordot(weights, mean**2, 1) - first**2
    within = np.tensordot(weights, square, 1) - first**2
    covariance = (neurons * between - within) / (neurons - 1)
    return covariance + (between / (replicates - 1) if replicates > 1 else np.nan)


def distribution_shares(values: Floats, levels: int) -> Floats:
    """Return the share of a replicate's neurons up to each level, shape (replicate, level).

    Parameters
    ----------
    values : array, shape (replicate, neuron)
        One number per neuron.
    levels : int
        Levels are the midpoints of equal classes of all values pooled.

    """
    at = np.quantile(values, (np.arange(levels) + 0.5) / levels)
    return (values[:, :, None] <= at).mean(axis=1)


def pair_law_distance(shares: Floats, neurons: int, weights: Floats) -> Floats:
    """Return the square of Hoeffding's distance of the pair law from the product law, shape (resample,).

    Parameters
    ----------
    shares : array, shape (replicate, level)
        See `distribution_shares`.
    neurons : int
        N >= 2.
    weights : array, shape (resample, replicate)
        Weights of the replicates, multiples of one over their number.

    Returns
    -------
    array
        Without bias but for a relative error of order one over the replicates; may be negative.

    """
    replicates, levels = shares.shape
    centre = shares.mean(axis=0)
    deviation = shares - centre
    lower = np.minimum.outer(np.arange(levels), np.arange(levels))
    rows, columns = np.triu_indices(levels)
    twice = np.where(rows == columns, 1.0, 2.0) / levels**2
    # Indicators of both levels, centred: 1(r <= a) 1(r <= b) = 1(r <= min(a, b)).
    own = (
        shares[:, lower[rows, columns]] - centre[rows] * shares[:, columns] - shares[:, rows] * centre[columns]
        + centre[rows] * centre[columns]
    )  # fmt: skip
    gap = (neurons * deviation[:, rows] * deviation[:, columns] - own) / (neurons - 1) * np.sqrt(twice)
    # The overall mean is one of the sample: what it takes away, on average over replicates.
    gap += np.sqrt(twice) * (deviation[:, rows] * deviation[:, columns]).mean(axis=0) / max(replicates - 1, 1)
    total = ((weights @ gap) ** 2).sum(axis=1)
    squares = (gap**2).sum(axis=1)
    diagonal = (weights**2).sum(axis=1)
    return (total - weights**2 @ squares) / (1 - diagonal)


def log_slopes(x: Floats, values: Floats) -> Floats:
    """Return least-squares slopes of log value against log x, over the first axis; nan where one is not positive."""
    x = np.log(np.asarray(x, dtype=float))
    centred = x - x.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log(np.where(values > 0, values, np.nan))
    return np.tensordot(centred / (centred @ centred), logarithms, 1)
