"""Where a falling loss stops falling, and whether it rises again. Numpy in, numpy out; no files."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.analysis.intervals import Interval, log_interval, mean_interval
from meanfield.analysis.slopes import replicate_slopes

Floats = NDArray[np.float64]


class Plateau(NamedTuple):
    """The end of a loss curve."""

    level: float  # mean loss over the last half decade [unit of the loss]
    start: float  # first time from which on the loss stays near the level [unit of the time]
    exponent: float  # power of the time with which the loss goes in its last decade, mean over replicates [1]
    low: float  # its 95 % interval; nan for a single replicate
    high: float


def plateau(time: Floats, loss: Floats, share: float) -> Plateau:
    """Return level and start of the plateau at the end of some loss curves.

    Parameters
    ----------
    time : array, shape (record,)
        Positive except for the first, increasing.
    loss : array, shape (replicate, record)
        Positive losses.
    share : float
        The mean loss is near the level while it is at most (1 + share) times it [1].

    """
    time, loss = np.asarray(time, dtype=float), np.asarray(loss, dtype=float)
    mean = loss.mean(axis=0)
    level = float(mean[time >= time[-1] / np.sqrt(10)].mean())
    above = np.flatnonzero(mean > (1 + share) * level)
    start = 0 if above.size == 0 else min(above[-1] + 1, time.size - 1)
    late = time >= time[-1] / 10
    # Replicate by replicate: the records of one run are not independent.
    law = mean_interval(replicate_slopes(time[late], loss[:, late]))
    return Plateau(level, float(time[start]), *map(float, law))


def rise(loss: Floats) -> Interval:
    """Return the loss at the end by that at the record where its mean is smallest, geometric mean over replicates.

    One record for all replicates: the smallest loss of each on its own would lie below its end by chance alone. Where
    the mean is smallest at the end, the ratio is one and nothing is random.

    Parameters
    ----------
    loss : array, shape (replicate, record)
        Positive losses.

    """
    loss = np.asarray(loss, dtype=float)
    return log_interval(loss[:, -1] / loss[:, loss.mean(axis=0).argmin()])
