r"""The block idea in plain numpy: exact, and what it buys without a compiler.

A block of K samples needs the weights only through :math:`P = X W^\top` and :math:`G = X X^\top`; the updates within
the block act on P through G, and on the weights once, at its end. See `meanfield.kernels.block_sgd`.
"""

import numpy as np

from benchmarks.peers.numpy_plain import NumpyRunner


class NumpyBlocked(NumpyRunner):
    """Exact block SGD in plain numpy."""

    name = "numpy, exact blocks"

    def __init__(self, workload, dtype):
        super().__init__(workload, dtype)
        self._block = 32 if workload.dimension <= 64 else 64

    def run(self, inputs, targets, step_sizes):
        w, b, a = self.w, self.b, self.a
        neurons = self.dtype.type(len(w))
        steps = (2 * step_sizes).astype(self.dtype)
        c = np.empty((self._block, len(w)), self.dtype)
        correction = np.empty(len(w), self.dtype)
        for first in range(0, len(targets), self._block):
            x, y, s = (array[first : first + self._block] for array in (inputs, targets, steps))
            p, gram = x @ w.T, x @ x.T
            if b is not None:
                p += b
                gram += 1  # a bias is the weight of a coordinate that is always one
            for k in range(len(y)):
                z = p[k]
                if k:
                    z += np.dot(gram[k, :k], c[:k], out=correction)
                value, slope = self.activation(z)
                if a is None:
                    np.multiply(s[k] * (y[k] - value.sum() / neurons), slope, out=c[k])
                else:
                    e = s[k] * (y[k] - a @ value / neurons)
                    np.multiply(e * a, slope, out=c[k])
                    a += e * value
            w += c[: len(y)].T @ x
            if b is not None:
                b += c[: len(y)].sum(axis=0)


METHODS = [NumpyBlocked]
