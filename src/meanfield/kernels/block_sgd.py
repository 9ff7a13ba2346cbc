r"""Exact block SGD of a two-layer network: the trajectory of sequential SGD, up to rounding, many times faster.

The network is :math:`\hat y(x) = N^{-1} \sum_i a_i \sigma(\langle w_i, x\rangle + b_i)`. One iteration moves every
neuron by :math:`w_i \leftarrow w_i + e_k c_{ki} x_k` with :math:`e_k = 2 s_k (y_k - \hat y_k)` and
:math:`c_{ki} = a_i \sigma'(\langle w_i, x_k\rangle)`; a bias is the weight of a coordinate that is always one. The
weights stay in the span of the samples, so a block of K iterations needs them only through inner products: with
:math:`P = X W^\top` at the start of the block and the Gram matrix :math:`G = X X^\top`,

.. math:: \langle w_i^{(k)}, x_k\rangle = P_{ki} + \sum_{l<k} G_{kl}\, e_l\, c_{li}.

A block is one pass over the weights (the update of the last block fused with the prediction of the next) and K sweeps
over N scalars. Nothing is approximated: sums are only reordered.

Optimisers with momentum have two sequences per weight, the point u where the gradient is taken and a second one w,
and an iteration is linear in them, :math:`(u, w) \leftarrow M_k (u, w) + (\beta_k, \beta'_k)\, e_k c_{ki} x_k` with a
2 x 2 matrix :math:`M_k` shared by all neurons (`meanfield.kernels.momentum`). Both stay in the span of the samples:

.. math:: \langle u_i^{(k)}, x_k\rangle = A_k P^u_{ki} + B_k P^w_{ki} + \sum_{l<k} H_{kl}\, G_{kl}\, e_l\, c_{li},

where :math:`(A_k, B_k)` is the first row of :math:`M_{k-1} \cdots M_0` and :math:`H_{kl}` the first entry of
:math:`M_{k-1} \cdots M_{l+1} (\beta_l, \beta'_l)`: scalars, whatever N and d.

Rows of weights are contiguous, and all arithmetic on them runs in explicit vectors (`meanfield.kernels.lanes`): the
prediction holds four neurons by one vector of samples in registers. Where the activation is flat, :math:`c_{ki} = 0`
exactly, and the update visits only the neurons that moved; a term of zero changes no bit, so that the sparse and the
dense update give the same numbers. Sums have a fixed order, block boundaries sit at fixed multiples of the block size:
records, chunks, threads and restarts change no bit either.

The definition, sequential numpy, is `meanfield.kernels.reference`; tests compare the two on the same samples. The
derivation, with a figure, is in ``docs/kernels.md``.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels import lanes
from meanfield.kernels.activate import PIECEWISE_LINEAR, activate_smooth
from meanfield.kernels.lanes import WIDTH
from meanfield.kernels.momentum import CONSTANT, FUNCTION_RESTART, GRADIENT_RESTART, SGD, Momentum, coefficients
from meanfield.kernels.streams import fill_block

# Neurons per tile: one word of the bit sets that say who moved.
TILE = 64
# Neurons and rows are padded to multiples of this, a vector of float32.
_PAD = 16
# Coordinates per piece of a long prediction, so that a piece of the samples stays in the first-level cache.
_PIECE = 128
# Iterations of a block whose mutual corrections are applied one by one; those of earlier ones are a matrix product.
_STRIP = 4
# Below this share of moved neurons the update of a tile visits them one by one.
_SPARSE = 0.3
# Samples that the random stream draws at once, at least.
_DRAW = 64


def block_size(dimension: int, neurons: int = 1) -> int:
    """Return the number of samples per block, which depends on the sizes of the network alone.

    A block costs each neuron K/2 multiplications for the in-block correction against 2 d for prediction and
    update: K stays well below d, and grows where the weights no longer fit the caches, so that they are fetched
    less often.
    """
    if dimension <= 64:
        return 16
    if dimension <= 192:
        return 32
    return 64 if dimension * neurons <= 1 << 20 else 128


# -- the update of the last block ------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _update_sparse(w, tile, columns, x, c, stride, bits, words, count):
    # w[i] += c[k, i] x[k], sample by sample, for the moved neurons of one tile.
    width = lanes.BYTES // w.itemsize
    for k in range(count):
        word = bits[k * words + tile]
        while word != 0:
            i = tile * TILE + lanes.lowest_bit(word)
            word &= word - np.uint64(1)
            row, place = i * columns, k * stride + i
            for j in range(0, columns, width):
                moved = lanes.fma_at(c, place, lanes.load(x, k * columns + j), lanes.load(w, row + j))
                lanes.store(w, row + j, moved)


@nb.njit(nogil=True)
def _update_dense(w, first, last, columns, x, c, stride, count):
    # w[i] += sum_k c[k, i] x[k] for neurons first … last - 1: four neurons by one vector of coordinates in registers.
    width = lanes.BYTES // w.itemsize
    for group in range(first, last, _PAD):
        for j in range(0, columns, width):
            for i in range(group, group + _PAD, 4):
                row = i * columns + j
                w0 = lanes.load(w, row)
                w1 = lanes.load(w, row + columns)
                w2 = lanes.load(w, row + 2 * columns)
                w3 = lanes.load(w, row + 3 * columns)
                for k in range(count):
                    xk = lanes.load(x, k * columns + j)
                    place = k * stride + i
                    w0 = lanes.fma_at(c, place, xk, w0)
                    w1 = lanes.fma_at(c, place + 1, xk, w1)
                    w2 = lanes.fma_at(c, place + 2, xk, w2)
                    w3 = lanes.fma_at(c, place + 3, xk, w3)
                lanes.store(w, row, w0)
                lanes.store(w, row + columns, w1)
                lanes.store(w, row + 2 * columns, w2)
                lanes.store(w, row + 3 * columns, w3)


@nb.njit(nogil=True, fastmath={"contract"})
def _mix(u, w, first, last, au, bu, aw, bw):
    # (u, w) <- (au u + bu w, aw u + bw w), elementwise.
    for n in range(first, last):
        point, second = u[n], w[n]
        u[n] = au * point + bu * second
        w[n] = aw * point + bw * second


# -- the prediction of this block ------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _predict(w, first, last, columns, coordinates, panels, block, p, stride, scratch):
    # p[k, i] = sum_j w[i, j] x[k, j]: four neurons by one panel of samples in registers; long rows in pieces, whose
    # partial sums wait in `scratch`.
    width = lanes.BYTES // w.itemsize
    zero = lanes.splat(p.dtype.type(0))
    for panel in range(block // width):
        base = panel * columns * width
        for group in range(first, last, _PAD):
            for start in range(0, coordinates, _PIECE):
                end = min(start + _PIECE, coordinates)
                for i in range(group, group + _PAD, 4):
                    kept = (i - group) * width
                    if start == 0:
                        p0, p1, p2, p3 = zero, zero, zero, zero
                    else:
                        p0 = lanes.load(scratch, kept)
                        p1 = lanes.load(scratch, kept + width)
                        p2 = lanes.load(scratch, kept + 2 * width)
                        p3 = lanes.load(scratch, kept + 3 * width)
                    row = i * columns
                    for j in range(start, end):
                        xj = lanes.load(panels, base + j * width)
                        p0 = lanes.fma_at(w, row + j, xj, p0)
                        p1 = lanes.fma_at(w, row + columns + j, xj, p1)
                        p2 = lanes.fma_at(w, row + 2 * columns + j, xj, p2)
                        p3 = lanes.fma_at(w, row + 3 * columns + j, xj, p3)
                    if end == coordinates:
                        lanes.store_columns(p, panel * width * stride + i, stride, p0, p1, p2, p3)
                    else:
                        lanes.store(scratch, kept, p0)
                        lanes.store(scratch, kept + width, p1)
                        lanes.store(scratch, kept + 2 * width, p2)
                        lanes.store(scratch, kept + 3 * width, p3)


# -- the sweeps ------------------------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _correct_strip(p, c, g, first, count, stride, block, neurons):
    # p[k] += sum_{l < first} g[k, l] c[l] for the four iterations first … first + 3.
    width = lanes.BYTES // p.itemsize
    for i in range(0, neurons, width):
        place = first * stride + i
        p0 = lanes.load(p, place)
        p1 = lanes.load(p, place + stride)
        p2 = lanes.load(p, place + 2 * stride)
        p3 = lanes.load(p, place + 3 * stride)
        for m in range(count):
            cm = lanes.load(c, m * stride + i)
            p0 = lanes.fma_at(g, first * block + m, cm, p0)
            p1 = lanes.fma_at(g, (first + 1) * block + m, cm, p1)
            p2 = lanes.fma_at(g, (first + 2) * block + m, cm, p2)
            p3 = lanes.fma_at(g, (first + 3) * block + m, cm, p3)
        lanes.store(p, place, p0)
        lanes.store(p, place + stride, p1)
        lanes.store(p, place + 2 * stride, p2)
        lanes.store(p, place + 3 * stride, p3)


@nb.njit(nogil=True)
def _correct_row(p, c, g, k, first, stride, block, neurons):
    # p[k] += sum_{first <= l < k} g[k, l] c[l]
    width = lanes.BYTES // p.itemsize
    for i in range(0, neurons, width):
        pi = lanes.load(p, k * stride + i)
        for m in range(first, k):
            pi = lanes.fma_at(g, k * block + m, lanes.load(c, m * stride + i), pi)
        lanes.store(p, k * stride + i, pi)


@nb.njit(nogil=True)
def _combine(p, q, k, a, b, stride, neurons):
    # p[k] <- a p[k] + b q[k]
    width = lanes.BYTES // p.itemsize
    zero = lanes.splat(p.dtype.type(0))
    for i in range(0, neurons, width):
        place = k * stride + i
        second = lanes.fma_scalar(b, lanes.load(q, place), zero)
        lanes.store(p, place, lanes.fma_scalar(a, lanes.load(p, place), second))


@nb.njit(nogil=True)
def _total(parts):
    # Sum of the numbers of one vector, in a fixed order.
    width = parts.size // 2
    while width > 0:
        for i in range(width):
            parts[i] += parts[i + width]
        width //= 2
    return parts[0]


@nb.njit(nogil=True)
def _step_piecewise(p, c, g, k, first, stride, block, neurons, tables, bits, moved, words, parts):
    # One iteration with all output weights one: the last corrections, the sum of the values, the slopes, who moved.
    width = lanes.BYTES // p.itemsize
    knots, slopes, intercepts = tables
    total = lanes.splat(p.dtype.type(0))
    for tile in range(words):
        word = np.uint64(0)
        start = tile * TILE
        for i in range(start, min(start + TILE, neurons), width):
            pi = lanes.load(p, k * stride + i)
            for m in range(first, k):
                pi = lanes.fma_at(g, k * block + m, lanes.load(c, m * stride + i), pi)
            slope, value = lanes.splat(slopes[0]), lanes.splat(intercepts[0])
            for n in range(knots.size):
                slope = lanes.choose_above(pi, knots[n], slopes[n + 1], slope)
                value = lanes.choose_above(pi, knots[n], intercepts[n + 1], value)
            total = lanes.add(total, lanes.fma(slope, pi, value))
            lanes.store(c, k * stride + i, slope)
            word |= lanes.nonzero_bits(slope) << np.uint64(i - start)
        bits[k * words + tile] = word
        moved[tile] += lanes.count_bits(word)
    lanes.store(parts, 0, total)
    return _total(parts)


@nb.njit(nogil=True)
def _step_weighted(p, c, k, stride, neurons, kind, tables, outputs, value, slope, bits, moved, words, parts):
    # One iteration with output weights, corrections applied already: fills the values of the units, the slopes times
    # the output weights, and who moved. Padding has output weight zero, hence neither a value nor a move.
    width = lanes.BYTES // p.itemsize
    if kind == PIECEWISE_LINEAR:
        knots, slopes, intercepts = tables
        for i in range(0, neurons, width):
            pi = lanes.load(p, k * stride + i)
            s, v = lanes.splat(slopes[0]), lanes.splat(intercepts[0])
            for n in range(knots.size):
                s = lanes.choose_above(pi, knots[n], slopes[n + 1], s)
                v = lanes.choose_above(pi, knots[n], intercepts[n + 1], v)
            lanes.store(value, i, lanes.fma(s, pi, v))
            lanes.store(slope, i, s)
    else:
        activate_smooth(p[k * stride : k * stride + neurons], value[:neurons], slope[:neurons], kind, tables[0])
    total = lanes.splat(p.dtype.type(0))
    for tile in range(words):
        word = np.uint64(0)
        start = tile * TILE
        for i in range(start, min(start + TILE, neurons), width):
            a = lanes.load(outputs, i)
            total = lanes.fma(a, lanes.load(value, i), total)
            ci = lanes.multiply(a, lanes.load(slope, i))
            lanes.store(c, k * stride + i, ci)
            word |= lanes.nonzero_bits(ci) << np.uint64(i - start)
        bits[k * words + tile] = word
        moved[tile] += lanes.count_bits(word)
    lanes.store(parts, 0, total)
    return _total(parts)


@nb.njit(nogil=True, fastmath={"contract"})
def _update_outputs(u, w, value, neurons, e, gamma, beta, beta_second, single):
    # The output weights take their step at once: they enter the next iteration as they are.
    for i in range(neurons):
        change = e * value[i]
        point = u[i]
        if single:
            u[i] = point + change
        else:
            u[i] = (1 + gamma) * point - gamma * w[i] + beta * change
            w[i] = point + beta_second * change


@nb.njit(nogil=True, fastmath={"contract"})
def _restarts(rule, p, q, k, stride, neurons, c, value, e, norm2, y, kind, tables, outputs, second, trained, scratch):
    # Whether this iteration restarts. p and q hold <u, x> and <w, x>; norm2 is |x|^2; e the step times 2 (y - yhat).
    if rule == GRADIENT_RESTART:
        # <g, w' - w> with g = -(2 (y - yhat)) c x and w' = u + e c x; the sign is that of -e times the sum.
        total = 0.0
        for i in range(neurons):
            ci = c[k * stride + i]
            total += ci * (p[k * stride + i] + e * ci * norm2 - q[k * stride + i])
            if trained:
                total += value[i] * (outputs[i] + e * value[i] - second[i])
        return -e * total > 0
    # Loss of this sample at w' and at w.
    preactivation, unit, slope = scratch
    losses = np.empty(2)
    for point in range(2):
        for i in range(neurons):
            ahead = p[k * stride + i] + e * c[k * stride + i] * norm2
            preactivation[i] = ahead if point == 0 else q[k * stride + i]
        _units(preactivation, unit, slope, neurons, kind, tables)
        total = 0.0
        for i in range(neurons):
            a = outputs[i]
            if trained:
                a = outputs[i] + e * value[i] if point == 0 else second[i]
            total += a * unit[i]
        losses[point] = (y - total / neurons) ** 2
    return losses[0] > losses[1]


@nb.njit(nogil=True)
def _units(p, value, slope, neurons, kind, tables):
    if kind == PIECEWISE_LINEAR:
        knots, slopes, intercepts = tables
        for i in range(neurons):
            n = 0
            while n < knots.size and p[i] > knots[n]:
                n += 1
            value[i] = intercepts[n] + slopes[n] * p[i]
    else:
        activate_smooth(p[:neurons], value[:neurons], slope[:neurons], kind, tables[0])


@nb.njit(nogil=True)
def _fill_g(g, gram, response, e, k, first, last, block):
    for m in range(first, last):
        g[k * block + m] = gram[k * block + m] * response[k, m] * e[m]


@nb.njit(nogil=True)
def _sweep(count, y, steps, shape, network, work, outputs, responses, scheme):
    # The iterations of one block: fills e and c, moves the output weights, and leaves the responses of the block.
    neurons, stride, block = shape
    kind, tables, weighted, trained, single = network
    p, q, c, gram, g, h, e, bits, moved, parts, value, slope, scratch = work
    a, second = outputs
    points, point_of, seconds, second_of = responses
    rule, numbers, theta = scheme
    words = moved.size
    known = single or rule == CONSTANT
    restarting = rule == FUNCTION_RESTART or rule == GRADIENT_RESTART
    moved[:] = 0
    for k in range(count):
        if known:
            first = k - k % _STRIP
            if k == first:
                for m in range(first, first + _STRIP):
                    _fill_g(g, gram, points, e, m, 0, first, block)
                    if not single:
                        _combine(p, q, m, point_of[m, 0], point_of[m, 1], stride, neurons)
                if first > 0:
                    _correct_strip(p, c, g, first, first, stride, block, neurons)
            _fill_g(g, gram, points, e, k, first, k, block)
        else:
            first = 0
            _fill_g(g, gram, points, e, k, 0, k, block)
            if restarting:
                for i in range(neurons):
                    place = k * stride + i
                    point, other = p[place], q[place]
                    p[place] = point_of[k, 0] * point + point_of[k, 1] * other
                    q[place] = second_of[k, 0] * point + second_of[k, 1] * other
                _fill_g(h, gram, seconds, e, k, 0, k, block)
                _correct_row(q, c, h, k, 0, stride, block, neurons)
            else:
                _combine(p, q, k, point_of[k, 0], point_of[k, 1], stride, neurons)
        if kind == PIECEWISE_LINEAR and not weighted and not restarting:
            total = _step_piecewise(p, c, g, k, first, stride, block, neurons, tables, bits, moved, words, parts)
        else:
            if k > first:
                _correct_row(p, c, g, k, first, stride, block, neurons)
            total = _step_weighted(
                p, c, k, stride, neurons, kind, tables, a, value, slope, bits, moved, words, parts
            )
        e[k] = 2 * steps[k] * (y[k] - total / neurons)
        if single:
            if trained:
                _update_outputs(a, second, value, neurons, e[k], 0.0, 1.0, 1.0, True)
            continue
        restart = restarting and _restarts(
            rule, p, q, k, stride, neurons, c, value, e[k], gram[k * block + k], y[k], kind, tables, a, second,
            trained, scratch,
        )  # fmt: skip
        gamma, beta, beta_second, following = coefficients(rule, numbers, theta[0], restart)
        theta[0] = following
        if trained:
            _update_outputs(a, second, value, neurons, e[k], gamma, beta, beta_second, False)
        if not known:
            _respond(points, point_of, seconds, second_of, k, gamma, beta, beta_second)


@nb.njit(nogil=True)
def _respond(points, point_of, seconds, second_of, k, gamma, beta, beta_second):
    # Responses after iteration k, from those before it: of the two sequences to each earlier increment, and to the
    # two sequences at the start of the block.
    for m in range(k):
        points[k + 1, m] = (1 + gamma) * points[k, m] - gamma * seconds[k, m]
        seconds[k + 1, m] = points[k, m]
    points[k + 1, k] = beta
    seconds[k + 1, k] = beta_second
    for m in range(2):
        point_of[k + 1, m] = (1 + gamma) * point_of[k, m] - gamma * second_of[k, m]
        second_of[k + 1, m] = point_of[k, m]


# -- samples ---------------------------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _draw(z, sign, drawn, k, count, scales, schedule, panels, x, y, steps, columns):
    # Samples k … k + count - 1 of the stream; `drawn` is the number of the first sample in the buffer.
    dimension = scales.shape[1]
    width = lanes.BYTES // x.itemsize
    size, coefficient, exponent = schedule
    for lane in range(count):
        place = k + lane - drawn
        y[lane] = sign[place]
        scale = scales[0] if sign[place] > 0 else scales[1]
        base = (lane // width) * columns * width + lane % width
        for j in range(dimension):
            xj = z[j, place] * scale[j]
            x[lane * columns + j] = xj
            panels[base + j * width] = xj
        s = size * coefficient
        if exponent != 0:
            s *= ((k + lane + 1) * size) ** exponent
        steps[lane] = s


@nb.njit(nogil=True)
def _fetch(inputs, index, targets, step_sizes, k, count, panels, x, y, steps, columns):
    # Samples number index[k] … of a data set.
    dimension = inputs.shape[1]
    width = lanes.BYTES // x.itemsize
    for lane in range(count):
        row = inputs[index[k + lane]]
        base = (lane // width) * columns * width + lane % width
        for j in range(dimension):
            x[lane * columns + j] = row[j]
            panels[base + j * width] = row[j]
        y[lane] = targets[index[k + lane]]
        steps[lane] = step_sizes[k + lane]


@nb.njit(nogil=True)
def _clear(first, block, panels, x, columns):
    width = lanes.BYTES // x.itemsize
    for lane in range(first, block):
        base = (lane // width) * columns * width + lane % width
        for j in range(columns):
            x[lane * columns + j] = 0
            panels[base + j * width] = 0


@nb.njit(nogil=True, fastmath={"contract"})
def _scale_rows(x, e, response, count, columns, out):
    for k in range(count):
        factor = e[k] * response[k]
        for j in range(columns):
            out[k * columns + j] = factor * x[k * columns + j]


# -- the run ---------------------------------------------------------------------------------------------------------


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _advance(first, last, shape, network, scheme, weights, outputs, samples, work, responses, stream, dataset):
    # Iterations first .. last - 1; `first` is a multiple of the block size. All arrays belong to the caller.
    neurons, stride, block, coordinates, columns = shape
    u, w = weights
    single = network[4]
    panels, x, scaled, scaled_second, y, steps = samples
    p, q, c, gram, _g, _h, e, bits, moved, _parts, _value, _slope, scratch = work
    points, point_of, seconds, second_of = responses
    key, scales, schedule, z, sign = stream
    inputs, index, targets, step_sizes = dataset
    streaming = scales.shape[1] > 0
    ones = np.ones(block)
    point_of[0, 0], point_of[0, 1], second_of[0, 0], second_of[0, 1] = 1, 0, 0, 1
    if single:
        points[:] = 1
    elif scheme[0] == CONSTANT:
        for k in range(block):
            gamma, beta, beta_second, _ = coefficients(scheme[0], scheme[1], 1.0, False)
            _respond(points, point_of, seconds, second_of, k, gamma, beta, beta_second)
    drawn = first - z.shape[1]
    pending = 0
    k = first
    while True:
        count = min(block, last - k)
        if count > 0:
            if streaming:
                if k >= drawn + z.shape[1]:
                    fill_block(z, sign, key, k)
                    drawn = k
                _draw(z, sign, drawn, k, count, scales, schedule, panels, x, y, steps, columns)
            else:
                _fetch(inputs, index, targets, step_sizes, k, count, panels, x, y, steps, columns)
            if count < block:
                _clear(count, block, panels, x, columns)
        for tile in range(moved.size):
            start, end = tile * TILE, min((tile + 1) * TILE, stride)
            if pending > 0:
                if not single:
                    _mix(
                        u, w, start * columns, end * columns,
                        point_of[pending, 0], point_of[pending, 1], second_of[pending, 0], second_of[pending, 1],
                    )  # fmt: skip
                if moved[tile] <= _SPARSE * pending * TILE:
                    _update_sparse(u, tile, columns, scaled, c, stride, bits, moved.size, pending)
                    if not single:
                        _update_sparse(w, tile, columns, scaled_second, c, stride, bits, moved.size, pending)
                else:
                    _update_dense(u, start, end, columns, scaled, c, stride, pending)
                    if not single:
                        _update_dense(w, start, end, columns, scaled_second, c, stride, pending)
            if count > 0:
                _predict(u, start, end, columns, coordinates, panels, block, p, stride, scratch[0])
                if not single:
                    _predict(w, start, end, columns, coordinates, panels, block, q, stride, scratch[0])
        if count <= 0:
            break
        _predict(x, 0, block, columns, coordinates, panels, block, gram, block, scratch[0])
        _sweep(count, y, steps, (neurons, stride, block), network, work, outputs, responses, scheme)
        if single:
            _scale_rows(x, e, ones, count, columns, scaled)
        else:
            _scale_rows(x, e, points[count], count, columns, scaled)
            _scale_rows(x, e, seconds[count], count, columns, scaled_second)
        pending = count
        k += count


class BlockState:
    """Weights and work space of one run of block SGD; made once, then advanced.

    Parameters
    ----------
    weights : array, shape (neuron, coordinate)
        Initial weights [1]; their dtype, float32 or float64, is that of all arithmetic. Not modified.
    activation : tuple
        The activation as `meanfield.problems.activations.Activation.kernel_code` returns it.
    output_weights : array, shape (neuron,), optional
        Output weights a [1]; all one if not given.
    train_output : bool
        Whether SGD moves the output weights too.
    biases : array, shape (neuron,), optional
        Biases b [1], trained like the weights; no biases if not given.
    momentum : Momentum
        The optimiser's coefficients; plain SGD if not given.

    """

    def __init__(
        self,
        weights: NDArray,
        activation: tuple,
        *,
        output_weights: NDArray | None = None,
        train_output: bool = False,
        biases: NDArray | None = None,
        momentum: Momentum = SGD,
    ):
        if weights.dtype not in WIDTH or weights.ndim != 2:
            msg = f"weights must be a float32 or float64 matrix, not {weights.dtype} of shape {weights.shape}"
            raise ValueError(msg)
        self.neurons, self.dimension = weights.shape
        for name, given in (("output_weights", output_weights), ("biases", biases)):
            if given is not None and given.shape != (self.neurons,):
                msg = f"{name} must have one entry per neuron, {self.neurons}, not the shape {given.shape}"
                raise ValueError(msg)
        self.dtype = weights.dtype
        self.block = block_size(self.dimension, self.neurons)
        self.momentum = momentum
        self._biased = biases is not None
        coordinates = self.dimension + self._biased
        self._columns = _padded(coordinates)
        stride = _padded(self.neurons)
        self._shape = (self.neurons, stride, self.block, coordinates, self._columns)

        kind, *tables = activation
        tables = tuple(np.asarray(table, self.dtype) for table in tables)
        # The kernel that needs no output weights handles whole vectors only.
        weighted = train_output or output_weights is not None or self.neurons % WIDTH[self.dtype] != 0
        single = momentum.plain
        self._network = (kind, tables[:3] if kind == PIECEWISE_LINEAR else (tables[3],) * 3, weighted, train_output, single)
        self._scheme = (*momentum.code(), np.ones(1))

        start = self._zeros(stride, self._columns)
        start[: self.neurons, : self.dimension] = weights
        if biases is not None:
            start[: self.neurons, self.dimension] = biases
        self._weights = (start.ravel(), start.ravel().copy() if not single else self._zeros(1))
        outputs = self._zeros(stride)
        outputs[: self.neurons] = 1 if output_weights is None else output_weights
        self._outputs = (outputs, outputs.copy())
        self._make_work(stride, single)

    def _make_work(self, stride: int, single: bool) -> None:
        block, columns = self.block, self._columns
        width, words = WIDTH[self.dtype], -(-stride // TILE)
        self._samples = (
            self._zeros(block * columns), self._zeros(block * columns), self._zeros(block * columns),
            self._zeros(1 if single else block * columns), self._zeros(block), self._zeros(block),
        )  # fmt: skip
        if self._biased:
            self._samples[1].reshape(block, columns)[:, self.dimension] = 1
            self._samples[0].reshape(-1, columns, width)[:, self.dimension] = 1
        self._work = (
            self._zeros(block * stride), self._zeros(1 if single else block * stride), self._zeros(block * stride),
            self._zeros(block * block), self._zeros(block * block), self._zeros(1 if single else block * block),
            self._zeros(block), np.zeros(block * words, np.uint64), np.zeros(words, np.int64), self._zeros(width),
            self._zeros(stride), self._zeros(stride),
            (self._zeros(max(stride, _PAD * width)), self._zeros(stride), self._zeros(stride)),
        )  # fmt: skip
        self._responses = tuple(np.zeros(size) for size in ((block + 1, block), (block + 1, 2)) * 2)
        draw = max(block, _DRAW)
        self._buffer = (self._zeros(-(-self.dimension // 4) * 4, draw), self._zeros(draw))

    def _zeros(self, *shape: int) -> NDArray:
        return np.zeros(shape, self.dtype)

    def _rows(self, flat: NDArray) -> NDArray:
        return flat.reshape(-1, self._columns)[: self.neurons]

    @property
    def weights(self) -> NDArray:
        """A copy of the weights, shape (neuron, coordinate) [1]; with momentum, where the gradient is taken."""
        return self._rows(self._weights[0])[:, : self.dimension].copy()

    @property
    def biases(self) -> NDArray:
        """A copy of the biases, shape (neuron,) [1]; zero if there are none."""
        return self._rows(self._weights[0])[:, self.dimension].copy() if self._biased else self._zeros(self.neurons)

    @property
    def output_weights(self) -> NDArray:
        """A copy of the output weights, shape (neuron,) [1]."""
        return self._outputs[0][: self.neurons].copy()

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
        scales : pair of float or of arrays, shape (coordinate,)
            Standard deviation of the coordinates of x given y = +1 and given y = -1 [1].
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
        table = np.empty((2, self.dimension), self.dtype)
        table[0], table[1] = scales
        stream = (key, table, (float(step_size), float(coefficient), float(exponent)), *self._buffer)
        nothing = (self._zeros(0, 0), np.zeros(0, np.int64), self._zeros(0), self._zeros(0))
        self._run(first, last, stream, nothing)

    def advance_arrays(self, inputs, targets, step_sizes, index=None) -> None:
        """Run one iteration per sample of a data set.

        Parameters
        ----------
        inputs : array, shape (sample, coordinate)
            Inputs [1].
        targets : array, shape (sample,)
            Targets [1].
        step_sizes : array, shape (iteration,)
            Step size s of each iteration [1].
        index : array of int, shape (iteration,), optional
            Which sample each iteration takes; one after the other if not given.

        Raises
        ------
        ValueError
            If the shapes disagree, or an index points outside the data set.

        """
        if index is None:
            index = np.arange(targets.size)
        if inputs.shape != (targets.size, self.dimension) or step_sizes.shape != index.shape:
            msg = f"shapes disagree: inputs {inputs.shape}, targets {targets.shape}, steps {step_sizes.shape}"
            raise ValueError(msg)
        if index.size and not (0 <= index.min() and index.max() < targets.size):
            msg = f"an index points outside the {targets.size} samples: {index.min()} to {index.max()}"
            raise ValueError(msg)
        dataset = (
            np.ascontiguousarray(inputs, self.dtype),
            np.ascontiguousarray(index, np.int64),
            np.ascontiguousarray(targets, self.dtype),
            np.ascontiguousarray(step_sizes, self.dtype),
        )
        stream = (np.zeros(2, np.uint32), self._zeros(2, 0), (0.0, 0.0, 0.0), *self._buffer)
        self._run(0, index.size, stream, dataset)

    def _run(self, first: int, last: int, stream: tuple, dataset: tuple) -> None:
        _advance(
            first, last, self._shape, self._network, self._scheme, self._weights, self._outputs, self._samples,
            self._work, self._responses, stream, dataset,
        )  # fmt: skip

    def copy(self) -> "BlockState":
        """Return an independent copy, for looking ahead inside a block without disturbing its boundaries."""
        other = object.__new__(BlockState)
        other.__dict__.update(self.__dict__)
        for name in ("_scheme", "_weights", "_outputs", "_samples", "_work", "_responses", "_buffer"):
            setattr(other, name, _copied(getattr(self, name)))
        return other


def _padded(size: int) -> int:
    return -(-size // _PAD) * _PAD


def _copied(value):
    if isinstance(value, tuple):
        return tuple(_copied(item) for item in value)
    return value.copy() if isinstance(value, np.ndarray) else value
