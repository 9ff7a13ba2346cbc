"""Tests of normality and standardised moments of a sample. Numpy in, numpy out; no files."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def anderson(values: Floats) -> tuple[float, float]:
    r"""Return Anderson and Darling's statistic for normality, mean and variance estimated, and its p-value.

    :math:`A^{*2} = A^2 (1 + 0.75/n + 2.25/n^2)` with the p-values of D'Agostino & Stephens (1986), *Goodness-of-fit
    techniques*, table 4.9. nan for a constant sample or less than eight values.
    """
    values = np.sort(np.asarray(values, dtype=float))
    n = values.size
    if n < 8 or np.ptp(values) == 0:
        return np.nan, np.nan
    z = (values - values.mean()) / values.std(ddof=1)
    k = np.arange(1, n + 1)
    a2 = -n - np.mean((2 * k - 1) * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1])))
    a = a2 * (1 + 0.75 / n + 2.25 / n**2)
    if a >= 0.6:
        p = np.exp(1.2937 - 5.709 * a + 0.0186 * a**2)
    elif a >= 0.34:
        p = np.exp(0.9177 - 4.279 * a - 1.38 * a**2)
    elif a >= 0.2:
        p = 1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2)
    else:
        p = 1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2)
    return float(a), float(np.clip(p, 0, 1))


def standardised_moments(values: Floats) -> tuple[float, float]:
    """Return skewness and excess kurtosis of a sample; nan for a constant one."""
    if np.ptp(values) == 0:
        return np.nan, np.nan
    return float(stats.skew(values)), float(stats.kurtosis(values))
