r"""How many modes a law on the line has: density estimates, Hartigan's dip test, one Gaussian against two.

Numpy in, numpy out; no files.
"""

import math
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Density(NamedTuple):
    """A density estimate on an even grid."""

    position: Floats  # shape (point,)
    value: Floats  # shape (point,) [1 / unit of the sample]


def kernel_density(sample: Floats, points: int = 2048, weights: Floats | None = None) -> Density:
    r"""Return the Gaussian kernel density estimate with Scott's bandwidth, :math:`n^{-1/5}` standard deviations.

    The sample is split linearly between the two nearest of the grid's points and smoothed by a discrete convolution:
    the error is of the order of the squared spacing over the squared bandwidth.

    Parameters
    ----------
    sample : array, shape (n,)
        Values, not all equal.
    points : int
        Points of the grid, which reaches three bandwidths beyond the extremes [count].
    weights : array, shape (n,), optional
        Masses, which sum to the number of values that they stand for; one each if not given.

    """
    sample = np.asarray(sample, dtype=float)
    mass = np.ones(sample.size) if weights is None else np.asarray(weights, dtype=float)
    total = mass.sum()
    mean = mass @ sample / total
    deviation = math.sqrt(mass @ (sample - mean) ** 2 / (total - 1))
    if not deviation > 0:
        msg = "a density estimate needs values that are not all equal"
        raise ValueError(msg)
    bandwidth = deviation * total**-0.2
    low, high = sample.min() - 3 * bandwidth, sample.max() + 3 * bandwidth
    grid, spacing = np.linspace(low, high, points, retstep=True)
    place = (sample - low) / spacing
    left = np.minimum(place.astype(np.int64), points - 2)
    share = place - left
    binned = np.bincount(left, mass * (1 - share), points) + np.bincount(left + 1, mass * share, points)
    reach = math.ceil(6 * bandwidth / spacing)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * spacing / bandwidth) ** 2)
    smooth = np.convolve(binned, kernel / kernel.sum())[reach : reach + points]
    return Density(grid, np.maximum(smooth, 0.0) / (total * spacing))


class Modes(NamedTuple):
    """Modes of a density estimate."""

    position: Floats  # shape (mode,), in increasing order
    valley: float  # lowest density between the two highest modes over the lower of them [1]; one for a single mode


def modes(density: Density, least: float = 0.01) -> Modes:
    """Return the local maxima that reach the share `least` of the highest, and the depth of the valley between."""
    f = density.value
    inner = np.flatnonzero((f[1:-1] > f[:-2]) & (f[1:-1] >= f[2:])) + 1
    inner = inner[f[inner] >= least * f.max()]
    if inner.size < 2:
        return Modes(density.position[inner], 1.0)
    first, second = np.sort(inner[np.argsort(f[inner], kind="stable")[-2:]])
    valley = float(f[first : second + 1].min() / min(f[first], f[second]))
    return Modes(density.position[inner], valley)


@nb.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _hull(x, hull, sign):
    # Indices of the greatest convex minorant of the points (x_i, i) (sign 1), or of the least concave majorant (-1).
    n = x.size
    count = 0
    for i in range(n):
        while count >= 2:
            a, b = hull[count - 2], hull[count - 1]
            # The middle point stays if the slope grows (shrinks) there.
            if sign * ((b - a) * (x[i] - x[b]) - (i - b) * (x[b] - x[a])) < 0:
                break
            count -= 1
        hull[count] = i
        count += 1
    return count


@nb.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _gap_below(x, low, high, hull):
    # Largest distance of the empirical distribution, from above, to its convex minorant on [low, high], in points.
    count = _hull(x[low : high + 1], hull, 1)
    worst = 1.0
    for j in range(count - 1):
        a, b = low + hull[j], low + hull[j + 1]
        if b - a > 1 and x[b] > x[a]:
            slope = (b - a) / (x[b] - x[a])
            for i in range(a, b + 1):
                worst = max(worst, (i - a + 1) - (x[i] - x[a]) * slope)
    return worst


@nb.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _gap_above(x, low, high, hull):
    # The same from below to the concave majorant.
    count = _hull(x[low : high + 1], hull, -1)
    worst = 1.0
    for j in range(count - 1):
        a, b = low + hull[j], low + hull[j + 1]
        if b - a > 1 and x[b] > x[a]:
            slope = (b - a) / (x[b] - x[a])
            for i in range(a, b + 1):
                worst = max(worst, (x[i] - x[a]) * slope - (i - a - 1))
    return worst


@nb.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _dip(x, minorant, majorant, spare):
    # Twice n times the dip of a sorted sample. Hartigan (1985)'s iteration: between the ends of the modal interval the
    # minorant and the majorant are compared; the interval shrinks to where they are farthest apart, and what it leaves
    # behind must be as near to its minorant (majorant) as the dip found.
    n = x.size
    low, high = 0, n - 1
    dip = 1.0
    while True:
        count_low = _hull(x[low : high + 1], minorant, 1)
        count_high = _hull(x[low : high + 1], majorant, -1)
        # Largest vertical distance between majorant and minorant, at a corner of either.
        worst = -1.0
        new_low, new_high = low, high
        j = 0
        for k in range(count_high):  # corners of the majorant, against the minorant
            b = low + majorant[k]
            while j + 1 < count_low - 1 and x[low + minorant[j + 1]] <= x[b]:
                j += 1
            a0, a1 = low + minorant[j], low + minorant[min(j + 1, count_low - 1)]
            under = a0 + 0.0
            if x[a1] > x[a0]:
                under += (a1 - a0) * (x[b] - x[a0]) / (x[a1] - x[a0])
            if b - under + 1 > worst:
                worst, new_low, new_high = b - under + 1, a0, b
        j = 0
        for k in range(count_low):  # corners of the minorant, against the majorant
            a = low + minorant[k]
            while j + 1 < count_high - 1 and x[low + majorant[j + 1]] < x[a]:
                j += 1
            b0, b1 = low + majorant[j], low + majorant[min(j + 1, count_high - 1)]
            over = b0 + 0.0
            if x[b1] > x[b0]:
                over += (b1 - b0) * (x[a] - x[b0]) / (x[b1] - x[b0])
            if over - a + 1 >= worst:
                worst, new_low, new_high = over - a + 1, a, b1
        if worst < dip or (new_low == low and new_high == high) or new_low >= new_high:
            break
        dip = max(dip, _gap_below(x, low, new_low, spare), _gap_above(x, new_high, high, spare))
        low, high = new_low, new_high
    return max(dip, 1.0)


def dip(sample: Floats) -> float:
    r"""Return Hartigan's dip, the distance of the empirical distribution to the nearest unimodal one [1].

    It is the least :math:`\sup_x |F_n(x) - U(x)|` over distributions U that are convex up to some point and concave
    after it; at least :math:`1/(2n)` by convention. Source: Hartigan & Hartigan (1985), Ann. Statist. 13(1), 70-84;
    algorithm: Hartigan (1985), Appl. Statist. 34(3), 320-325.

    Parameters
    ----------
    sample : array, shape (n,)
        Values.

    """
    x = np.sort(np.asarray(sample, dtype=float))
    if x.size == 0 or not np.isfinite(x).all():
        msg = "the dip needs values, all of them finite"
        raise ValueError(msg)
    return float(_dip(x, *np.empty((3, x.size), np.int64)) / (2 * x.size))


def dip_null(size: int, draws: int, seed: int) -> Floats:
    """Return dips of uniform samples of a size, sorted: the least favourable unimodal law of the test [1]."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, size))))
    return np.sort([dip(generator.random(size)) for _ in range(draws)])


def p_value(statistic: float, null: Floats) -> float:
    """Return the share of a null sample, itself counted in, that is at least as large [1]."""
    return float((1 + (null >= statistic).sum()) / (1 + null.size))


def gaussian_bic_difference(sample: Floats, sweeps: int = 500, tolerance: float = 1e-8) -> float:
    r"""Return by how much the BIC of one Gaussian exceeds that of a mixture of two: positive speaks for two [1].

    The mixture, with weights, means and variances of its own, is fitted by expectation and maximisation from the two
    halves of the sorted sample. BIC is :math:`k \log n - 2 \log L` with k = 2 and 5 parameters. It says that two
    Gaussians describe the law better, not that the law has two modes.

    Parameters
    ----------
    sample : array, shape (n,)
        At least four values, not all equal.
    sweeps : int
        Sweeps at most [count].
    tolerance : float
        Stop when a sweep raises the mean log-likelihood by less [1].

    """
    x = np.sort(np.asarray(sample, dtype=float))
    n = x.size
    x = (x - x.mean()) / x.std()
    one = -0.5 * n * (math.log(2 * math.pi) + 1)
    half = n // 2
    means = np.array([x[:half].mean(), x[half:].mean()])
    variances = np.array([x[:half].var(), x[half:].var()]) + 1e-6
    shares = np.array([half / n, 1 - half / n])
    last = -math.inf
    for _ in range(sweeps):
        logs = np.log(shares) - 0.5 * (np.log(2 * math.pi * variances) + (x[:, None] - means) ** 2 / variances)
        top = logs.max(axis=1)
        total = top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
        mean_log = float(total.mean())
        if mean_log - last < tolerance:
            break
        last = mean_log
        membership = np.exp(logs - total[:, None])
        counts = np.maximum(membership.sum(axis=0), 1e-12)
        shares = counts / n
        means = (membership * x[:, None]).sum(axis=0) / counts
        variances = np.maximum((membership * (x[:, None] - means) ** 2).sum(axis=0) / counts, 1e-6)
    return float(2 * (n * max(last, mean_log) - one) - 3 * math.log(n))
