r"""Exact block SGD of a two-layer network: the trajectory of sequential SGD, up to rounding, many times faster.

One iteration moves every neuron by :math:`w_i \leftarrow w_i + e_k \sigma'(\langle w_i, x_k\rangle) x_k` with the
scalar :math:`e_k = 2 s_k (y_k - \hat y_k)`. The weights therefore stay in the span of the samples, and a block of K
iterations needs them only through inner products: with :math:`P = X W^\top` at the start of the block and the
Gram matrix :math:`G = X X^\top`,

.. math:: \langle w_i^{(k)}, x_k\rangle = P_{ki} + \sum_{l<k} G_{kl}\, e_l\, c_{li},
          \qquad c_{li} = \sigma'(\langle w_i^{(l)}, x_l\rangle),

so that the block is one pass of matrix products over the weights (the update of the last block fused with the
prediction of the next) and K sweeps over N scalars. Nothing is approximated: sums are only reordered.

Neurons lie in tiles of `LANES`, coordinate-major inside a tile, so that each inner loop runs over neurons and
compiles to vector code; no sum is reassociated by the compiler, hence the bits do not depend on its vector width.
Block boundaries sit at fixed multiples of the block size, so records, chunks and restarts change no bit either.

The definition, sequential numpy, is `meanfield.kernels.reference`; tests compare the two on the same samples.
"""

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.streams import fill_block

LANES = 32

_L = np.uintp(LANES)
_L1, _L2, _L3 = np.uintp(LANES), np.uintp(2 * LANES), np.uintp(3 * LANES)
_L4, _L5, _L6, _L7 = np.uintp(4 * LANES), np.uintp(5 * LANES), np.uintp(6 * LANES), np.uintp(7 * LANES)

# Activations known to the kernel, by number; parameters are (amplitude, gain, shift, offset).
PIECEWISE_LINEAR = 0
TANH = 1
LOGISTIC = 2
ERF = 3
SOFTPLUS = 4
SINE = 5

_TWO_OVER_SQRT_PI = 1.1283791670955126


def block_size(dimension: int) -> int:
    """Return the number of samples per block, which depends on the dimension alone.

    A block costs each neuron K/2 multiplications for the in-block correction against 2 d for prediction and
    update: K stays well below d, and grows where the weights no longer fit the caches.
    """
    if dimension <= 64:
        return 16
    return 32 if dimension <= 192 else 64


@nb.njit(nogil=True, fastmath={"contract"})
def _predict_tile(w, x, p, rows, block):
    # p[k, lane] = sum_j x[j, k] w[j, lane]; 4 samples by 8 coordinates at a time, in registers.
    for k in range(0, block, 4):
        out = p[k * LANES : (k + 4) * LANES]
        for i in range(4 * LANES):
            out[i] = 0
        for j in range(0, rows, 8):
            xj = x[j : j + 8, k : k + 4]
            a0, a1, a2, a3, a4, a5, a6, a7 = (
                xj[0, 0], xj[1, 0], xj[2, 0], xj[3, 0], xj[4, 0], xj[5, 0], xj[6, 0], xj[7, 0],
            )  # fmt: skip
            b0, b1, b2, b3, b4, b5, b6, b7 = (
                xj[0, 1], xj[1, 1], xj[2, 1], xj[3, 1], xj[4, 1], xj[5, 1], xj[6, 1], xj[7, 1],
            )  # fmt: skip
            c0, c1, c2, c3, c4, c5, c6, c7 = (
                xj[0, 2], xj[1, 2], xj[2, 2], xj[3, 2], xj[4, 2], xj[5, 2], xj[6, 2], xj[7, 2],
            )  # fmt: skip
            d0, d1, d2, d3, d4, d5, d6, d7 = (
                xj[0, 3], xj[1, 3], xj[2, 3], xj[3, 3], xj[4, 3], xj[5, 3], xj[6, 3], xj[7, 3],
            )  # fmt: skip
            ww = w[j * LANES : (j + 8) * LANES]
            for i in range(_L):
                w0, w1, w2, w3 = ww[i], ww[i + _L1], ww[i + _L2], ww[i + _L3]
                w4, w5, w6, w7 = ww[i + _L4], ww[i + _L5], ww[i + _L6], ww[i + _L7]
                out[i] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3 + a4 * w4 + a5 * w5 + a6 * w6 + a7 * w7
                out[i + _L1] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3 + b4 * w4 + b5 * w5 + b6 * w6 + b7 * w7
                out[i + _L2] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3 + c4 * w4 + c5 * w5 + c6 * w6 + c7 * w7
                out[i + _L3] += d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3 + d4 * w4 + d5 * w5 + d6 * w6 + d7 * w7


@nb.njit(nogil=True, fastmath={"contract"})
def _update_tile(w, x, e, c, rows, count):
    # w[j, lane] += sum_q x[j, q] e[q] c[q, lane]; 8 samples by 2 coordinates at a time.
    for q in range(0, count, 8):
        cc = c[q * LANES : (q + 8) * LANES]
        for j in range(0, rows, 2):
            a, b = x[j, q : q + 8], x[j + 1, q : q + 8]
            e0, e1, e2, e3 = e[q], e[q + 1], e[q + 2], e[q + 3]
            e4, e5, e6, e7 = e[q + 4], e[q + 5], e[q + 6], e[q + 7]
            a0, a1, a2, a3 = a[0] * e0, a[1] * e1, a[2] * e2, a[3] * e3
            a4, a5, a6, a7 = a[4] * e4, a[5] * e5, a[6] * e6, a[7] * e7
            b0, b1, b2, b3 = b[0] * e0, b[1] * e1, b[2] * e2, b[3] * e3
            b4, b5, b6, b7 = b[4] * e4, b[5] * e5, b[6] * e6, b[7] * e7
            ww = w[j * LANES : (j + 2) * LANES]
            for i in range(_L):
                c0, c1, c2, c3 = cc[i], cc[i + _L1], cc[i + _L2], cc[i + _L3]
                c4, c5, c6, c7 = cc[i + _L4], cc[i + _L5], cc[i + _L6], cc[i + _L7]
                ww[i] += a0 * c0 + a1 * c1 + a2 * c2 + a3 * c3 + a4 * c4 + a5 * c5 + a6 * c6 + a7 * c7
                ww[i + _L1] += b0 * c0 + b1 * c1 + b2 * c2 + b3 * c3 + b4 * c4 + b5 * c5 + b6 * c6 + b7 * c7


@nb.njit(nogil=True, fastmath={"contract"})
def _correct(p, c, g, count):
    # p[i] += sum_{m < count} g[m] c[m, i]
    m = 0
    while m + 4 <= count:
        g0, g1, g2, g3 = g[m], g[m + 1], g[m + 2], g[m + 3]
        c0, c1, c2, c3 = c[m], c[m + 1], c[m + 2], c[m + 3]
        for i in range(p.size):
            p[i] += g0 * c0[i] + g1 * c1[i] + g2 * c2[i] + g3 * c3[i]
        m += 4
    while m < count:
        g0, c0 = g[m], c[m]
        for i in range(p.size):
            p[i] += g0 * c0[i]
        m += 1


@nb.njit(nogil=True, fastmath={"contract"})
def _activate(p, value, slope, kind, knots, slopes, intercepts, parameters):
    # value = sigma(p), slope = sigma'(p), neuron by neuron; at a knot the segment on its left counts.
    if kind == PIECEWISE_LINEAR:
        value[:] = intercepts[0]
        slope[:] = slopes[0]
        for n in range(knots.size):
            knot, s, v = knots[n], slopes[n + 1], intercepts[n + 1]
            for i in range(p.size):
                right = p[i] > knot
                slope[i] = s if right else slope[i]
                value[i] = v if right else value[i]
        for i in range(p.size):
            value[i] += slope[i] * p[i]
        return
    amplitude, gain, shift, offset = parameters[0], parameters[1], parameters[2], parameters[3]
    for i in range(p.size):
        z = gain * (p[i] - shift)
        if kind == TANH:
            v = np.tanh(z)
            s = 1 - v * v
        elif kind == LOGISTIC:
            v = 1 / (1 + np.exp(-z))
            s = v * (1 - v)
        elif kind == ERF:
            v = math.erf(z)
            s = _TWO_OVER_SQRT_PI * np.exp(-z * z)
        elif kind == SOFTPLUS:
            v = max(z, 0.0) + np.log1p(np.exp(-abs(z)))
            s = 1 / (1 + np.exp(-z))
        else:
            v = np.sin(z)
            s = np.cos(z)
        value[i] = offset + amplitude * v
        slope[i] = amplitude * gain * s


@nb.njit(nogil=True, fastmath={"contract"})
def _sum(value, total):
    # Sum in a fixed order, one partial sum per lane, whatever the vector width of the processor.
    total[:] = 0
    for t in range(0, value.size, LANES):
        v = value[t : t + LANES]
        for i in range(_L):
            total[i] += v[i]
    width = LANES // 2
    while width > 0:
        for i in range(width):
            total[i] += total[i + width]
        width //= 2
    return total[0]


@nb.njit(nogil=True, fastmath={"contract"})
def _run_block(w, x, y, steps, count, neurons, pending, work, activation):
    # Finish the pending update of the last block, then sweep through `count` samples of this one. The update of
    # this block is left pending, so that the next call fuses it with its own pass over the weights.
    x_old, e_old = pending
    p, c, gram, g, e, value, total, tile_p, tile_c = work
    kind, knots, slopes, intercepts, parameters = activation
    rows, block = x.shape
    for t in range(w.shape[0]):
        _update_from(w[t], x_old, e_old, c, t, tile_c)
        _predict_tile(w[t], x, tile_p, rows, block)
        for k in range(block):
            p[k, t * LANES : (t + 1) * LANES] = tile_p[k * LANES : (k + 1) * LANES]
    gram[:] = 0
    for j in range(rows):
        xj = x[j]
        for k in range(block):
            a = xj[k]
            gk = gram[k]
            for m in range(block):
                gk[m] += a * xj[m]
    e[:] = 0
    for k in range(count):
        for m in range(k):
            g[m] = gram[k, m] * e[m]
        _correct(p[k], c, g, k)
        _activate(p[k], value, c[k], kind, knots, slopes, intercepts, parameters)
        value[neurons:] = 0
        e[k] = 2 * steps[k] * (y[k] - _sum(value, total) / neurons)
    x_old[:] = x
    e_old[:] = e


@nb.njit(nogil=True, fastmath={"contract"})
def _update_from(w, x_old, e_old, c, t, tile_c):
    rows, block = x_old.shape
    for k in range(block):
        tile_c[k * LANES : (k + 1) * LANES] = c[k, t * LANES : (t + 1) * LANES]
    _update_tile(w, x_old, e_old, tile_c, rows, block)


@nb.njit(nogil=True)
def _flush(w, pending, work):
    x_old, e_old = pending
    for t in range(w.shape[0]):
        _update_from(w[t], x_old, e_old, work[1], t, work[8])
    e_old[:] = 0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _advance_stream(w, first, last, shape, key, scales, schedule, work, pending, samples, activation):
    # Iterations first .. last-1; `first` is a multiple of the block size. All work arrays belong to the caller.
    x, y, steps = samples
    size, coefficient, exponent = schedule
    neurons, dimension = shape
    rows, block = x.shape
    k = first
    while k < last:
        count = min(block, last - k)
        fill_block(x, y, key, k)
        for lane in range(block):
            scale = scales[0] if y[lane] > 0 else scales[1]
            for j in range(dimension):
                x[j, lane] *= scale
            for j in range(dimension, rows):
                x[j, lane] = 0
            steps[lane] = size * coefficient * ((k + lane + 1) * size) ** exponent
        _run_block(w, x, y, steps, count, neurons, pending, work, activation)
        k += count
    _flush(w, pending, work)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _advance_arrays(w, inputs, targets, step_sizes, neurons, work, pending, samples, activation):
    x, y, steps = samples
    _rows, block = x.shape
    k = 0
    total, dimension = inputs.shape
    while k < total:
        count = min(block, total - k)
        x[:] = 0
        for lane in range(count):
            for j in range(dimension):
                x[j, lane] = inputs[k + lane, j]
            y[lane] = targets[k + lane]
            steps[lane] = step_sizes[k + lane]
        _run_block(w, x, y, steps, count, neurons, pending, work, activation)
        k += count
    _flush(w, pending, work)


class BlockState:
    """Weights and work space of one run of block SGD; made once, then advanced.

    Parameters
    ----------
    weights : array, shape (neuron, coordinate)
        Initial weights [1]; their dtype, float32 or float64, is that of all arithmetic. Not modified.
    activation : tuple
        The activation as `meanfield.problems.activations.Activation.kernel_code` returns it.

    """

    def __init__(self, weights: NDArray, activation: tuple):
        if weights.dtype not in (np.float32, np.float64) or weights.ndim != 2:
            msg = f"weights must be a float32 or float64 matrix, not {weights.dtype} of shape {weights.shape}"
            raise ValueError(msg)
        self.neurons, self.dimension = weights.shape
        self.dtype = weights.dtype
        self.block = block_size(self.dimension)
        self._rows = -(-self.dimension // 8) * 8
        self._tiles = -(-self.neurons // LANES)
        kind, *tables = activation
        self._activation = (kind, *(np.asarray(table, self.dtype) for table in tables))
        self._work = (
            self._zeros(self.block, self._tiles * LANES),
            self._zeros(self.block, self._tiles * LANES),
            self._zeros(self.block, self.block),
            self._zeros(self.block),
            self._zeros(self.block),
            self._zeros(self._tiles * LANES),
            self._zeros(LANES),
            self._zeros(self.block * LANES),
            self._zeros(self.block * LANES),
        )
        self._pending = (self._zeros(self._rows, self.block), self._zeros(self.block))
        self._samples = (
            self._zeros(self._rows, self.block), self._zeros(self.block), self._zeros(self.block),
        )  # fmt: skip
        self._tiled = self._zeros(self._tiles, self._rows * LANES)
        self._fill(weights)

    def _zeros(self, *shape: int) -> NDArray:
        return np.zeros(shape, self.dtype)

    def _fill(self, weights: NDArray) -> None:
        padded = self._zeros(self._tiles * LANES, self._rows)
        padded[: self.neurons, : self.dimension] = weights
        self._tiled[:] = padded.reshape(self._tiles, LANES, self._rows).transpose(0, 2, 1).reshape(self._tiled.shape)

    @property
    def weights(self) -> NDArray:
        """A copy of the weights, shape (neuron, coordinate) [1]."""
        tiles = self._tiled.reshape(self._tiles, self._rows, LANES).transpose(0, 2, 1)
        return np.ascontiguousarray(tiles.reshape(self._tiles * LANES, self._rows)[: self.neurons, : self.dimension])

    def advance_stream(self, first, last, *, key, scales, step_size, coefficient=1.0, exponent=0.0) -> None:
        r"""Run iterations `first` … `last - 1` on the samples of a stream.

        Sample k is :math:`x = \tau_\pm z` with the sign :math:`y = \pm 1` and the normal vector z of number k of
        the stream; iteration k (from 0) has the step size
        :math:`s = \varepsilon \xi((k + 1) \varepsilon)`, :math:`\xi(t) = a t^b`.

        Parameters
        ----------
        first, last : int
            `first` is a multiple of the block size.
        key : array of uint32, shape (2,)
            From `meanfield.kernels.streams.stream_key`.
        scales : pair of float
            Standard deviation of a coordinate of x given y = +1 and y = -1 [1].
        step_size, coefficient, exponent : float
            epsilon, a and b of the step size [1].

        Raises
        ------
        ValueError
            If `first` is not a multiple of the block size: rounding would depend on where the run was cut.

        """
        if first % self.block:
            msg = f"a run restarts at multiples of {self.block} iterations only, not at {first}"
            raise ValueError(msg)
        _advance_stream(
            self._tiled, first, last, (self.neurons, self.dimension), key,
            (self.dtype.type(scales[0]), self.dtype.type(scales[1])),
            (float(step_size), float(coefficient), float(exponent)),
            self._work, self._pending, self._samples, self._activation,
        )  # fmt: skip

    def advance_arrays(self, inputs: NDArray, targets: NDArray, step_sizes: NDArray) -> None:
        """Run one iteration per row of `inputs`, shape (sample, coordinate); targets and step sizes (sample,)."""
        if inputs.shape != (targets.size, self.dimension) or step_sizes.shape != targets.shape:
            msg = f"shapes disagree: inputs {inputs.shape}, targets {targets.shape}, steps {step_sizes.shape}"
            raise ValueError(msg)
        _advance_arrays(
            self._tiled,
            np.ascontiguousarray(inputs, self.dtype),
            np.ascontiguousarray(targets, self.dtype),
            np.ascontiguousarray(step_sizes, self.dtype),
            self.neurons, self._work, self._pending, self._samples, self._activation,
        )  # fmt: skip

    def copy(self) -> "BlockState":
        """Return an independent copy, for looking ahead inside a block without disturbing its boundaries."""
        other = object.__new__(BlockState)
        other.__dict__.update(self.__dict__)
        other._tiled = self._tiled.copy()
        other._work = tuple(a.copy() for a in self._work)
        other._pending = tuple(a.copy() for a in self._pending)
        other._samples = tuple(a.copy() for a in self._samples)
        return other
