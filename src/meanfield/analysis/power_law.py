"""Power laws fitted to scattered points. Numpy in, numpy out; no files."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]


class PowerLaw(NamedTuple):
    """The line through logarithms: y = factor x^exponent, with the exponent's confidence interval."""

    exponent: float
    low: float
    high: float
    factor: float


def fit_power_law(x: Floats, y: Floats, level: float = 0.95) -> PowerLaw:
    """Return the least-squares line through the logarithms of positive points, with Student's interval.

    Parameters
    ----------
    x, y : array, shape (point,)
        Positive values at two different places at least; points that are not positive and finite are left out.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    PowerLaw
        All nan if no two places are left, and a nan interval for two points, which lie on a line whatever they are.

    """
    x, y = np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    good = (x > 0) & (y > 0) & np.isfinite(x) & np.isfinite(y)
    x, y = np.log(x[good]), np.log(y[good])
    if x.size < 2 or np.ptp(x) == 0:
        return PowerLaw(*[float("nan")] * 4)
    # Not scipy.stats: its import takes as long as all the rest of a job that needs a slope.
    middle = x.mean()
    if x.size > 2:
        (slope, height), covariance = np.polyfit(x - middle, y, 1, cov=True)
        half = special.stdtrit(x.size - 2, (1 + level) / 2) * np.sqrt(covariance[0, 0])
    else:
        (slope, height), half = np.polyfit(x - middle, y, 1), np.nan
    return PowerLaw(float(slope), float(slope - half), float(slope + half), float(np.exp(height - slope * middle)))
