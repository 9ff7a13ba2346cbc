r"""The step-size schedule :math:`\xi(t) = a t^b` and the clock in which the limit dynamics has no schedule."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Schedule:
    r"""A constant or power-law schedule, :math:`\xi(t) = a t^b` with a > 0 and b > -1.

    Iteration k (from 0) of SGD has the step size :math:`\varepsilon \xi((k+1) \varepsilon)`, so that the schedule
    is never asked at t = 0, where it may be singular; after k iterations the time is :math:`t = k \varepsilon`.
    """

    coefficient: float = 1.0
    exponent: float = 0.0

    def __post_init__(self):
        if self.coefficient <= 0 or self.exponent <= -1:
            msg = f"schedule needs coefficient > 0 and exponent > -1: {self.coefficient}, {self.exponent}"
            raise ValueError(msg)

    def clock(self, time: ArrayLike) -> NDArray[np.float64]:
        r"""Return :math:`\int_0^t \xi(s)\,ds` [1]."""
        power = self.exponent + 1
        return self.coefficient * np.asarray(time, dtype=float) ** power / power

    def rate(self, clock: float) -> float:
        r"""Return :math:`\xi` at a given value of the clock [1]."""
        power = self.exponent + 1
        return self.coefficient * (power * clock / self.coefficient) ** (self.exponent / power)

    def step_sizes(self, step_size: float, first: int, count: int) -> NDArray[np.float64]:
        """Return the step sizes of iterations `first` … `first + count - 1`, shape (count,) [1]."""
        k = np.arange(first + 1, first + count + 1)
        return step_size * self.coefficient * (k * step_size) ** self.exponent
