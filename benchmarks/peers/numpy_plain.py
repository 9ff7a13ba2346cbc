"""Plain numpy, a sample at a time, as one would write it by hand for speed: one product, one rank-one update."""

import numpy as np

from benchmarks.peers import Runner
from benchmarks.workloads import DIPPING_RAMP, RELU, RISING_RAMP, TANH, Network


def rising_ramp(z):
    """Return value and derivative of the rising ramp."""
    return np.clip(10 * (z - 0.5) - 2.5, -2.5, 7.5), ((z > 0.5) & (z <= 1.5)) * z.dtype.type(10)


def dipping_ramp(z):
    """Return value and derivative of the dipping ramp."""
    one = z.dtype.type(1)
    value = -2.5 - 3 * np.clip(z, 0, 0.5) + 11.5 * np.clip(z - 0.5, 0, 1)
    return value, (z > 0) * (-3 * one) + (z > 0.5) * (14.5 * one) - (z > 1.5) * (11.5 * one)


def relu(z):
    """Return value and derivative of the rectifier."""
    return np.maximum(z, 0), z > 0


def tanh(z):
    """Return value and derivative of the hyperbolic tangent."""
    value = np.tanh(z)
    return value, 1 - value * value


ACTIVATIONS = {RISING_RAMP: rising_ramp, DIPPING_RAMP: dipping_ramp, RELU: relu, TANH: tanh}


class NumpyRunner(Runner):
    """What the numpy variants share: parameters and samples from numpy's fastest generator, SFC64."""

    def __init__(self, workload, dtype):
        super().__init__(workload, dtype)
        self.w, self.b, self.a = workload.initial(dtype)
        self.activation = ACTIVATIONS[workload.activation]
        self._rng = np.random.Generator(np.random.SFC64(2))
        if workload.scales is not None:
            self._scales = [np.asarray(scale, dtype) for scale in workload.scales]

    def draw(self, count):
        targets = self._rng.integers(0, 2, count).astype(self.dtype) * 2 - 1
        inputs = self._rng.standard_normal((count, self.workload.dimension), self.dtype)
        inputs *= np.where(targets[:, None] > 0, *self._scales)
        return inputs, targets

    def network(self):
        return Network(
            self.w.copy(), None if self.b is None else self.b.copy(), None if self.a is None else self.a.copy()
        )


class NumpyPlain(NumpyRunner):
    """One product and one rank-one update per sample."""

    name = "numpy, plain"

    def run(self, inputs, targets, step_sizes):
        w, b, a = self.w, self.b, self.a
        neurons = self.dtype.type(len(w))
        for x, y, s in zip(inputs, targets, (2 * step_sizes).astype(self.dtype), strict=True):
            z = w @ x
            if b is not None:
                z += b
            value, slope = self.activation(z)
            if a is None:
                c = (s * (y - value.sum() / neurons)) * slope
            else:
                e = s * (y - a @ value / neurons)
                c = (e * a) * slope
                a += e * value
            if b is not None:
                b += c
            w += c[:, None] * x


METHODS = [NumpyPlain]
