"""Plain numpy that updates only the neurons with a nonzero derivative."""

import numpy as np

from benchmarks.peers.numpy_plain import NumpyRunner
from benchmarks.workloads import DIPPING_RAMP, RISING_RAMP


class NumpyActiveRows(NumpyRunner):
    """Plain numpy, update of the active rows only."""

    name = "numpy, active rows"

    @staticmethod
    def applies(workload):
        return workload.activation in (RISING_RAMP, DIPPING_RAMP)

    def run(self, inputs, targets, step_sizes):
        w = self.w
        neurons = self.dtype.type(len(w))
        for x, y, s in zip(inputs, targets, (2 * step_sizes).astype(self.dtype), strict=True):
            z = w @ x
            value, slope = self.activation(z)
            rows = np.flatnonzero(slope)
            c = (s * (y - value.sum() / neurons)) * slope[rows]
            w[rows] += c[:, None] * x


METHODS = [NumpyActiveRows]
