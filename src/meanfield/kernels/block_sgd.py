r"""Exact block SGD of a two-layer network: the trajectory of sequential SGD, up to rounding, many times faster.

The network is :math:`\hat y(x) = N^{-1} \sum_i a_i \sigma(\langle w_i, x\rangle + b_i)`. One iteration moves every
neuron by :math:`w_i \leftarrow w_i + e_k c_{ki} x_k` with :math:`e_k = 2 s_k (y_k - \hat y_k)` and
:math:`c_{ki} = a_i \sigma'(\langle w_i, x_k\rangle)`; a bias is the weight of a coordinate that is always one. The
weights stay in the span of the samples, so a block of K iterations needs them only through inner products: with
:math:`P = X W^\top` at the start of the block and the Gram matrix :math:`G = X X^\top`,

.. math:: \langle w_i^{(k)}, x_k\rangle = P_{ki} + \sum_{l<k} G_{kl}\, e_l\, c_{li}.

A block is one pass over the weights (the update of the last block fused with the prediction of the next) and K sweeps
over N scalars. Nothing is approximated: sums are only reordered.

Optimisers with momentum (`meanfield.kernels.momentum`) have a velocity v beside the point u where the gradient is
taken, and an iteration is linear in both with coefficients shared by all neurons: both stay in the span of the samples,

.. math:: \langle u_i^{(k)}, x_k\rangle = P^u_{ki} + B_k P^v_{ki} + \sum_{l<k} H_{kl}\, G_{kl}\, e_l\, c_{li},

where :math:`H_{kl}` is what a unit increment of iteration l has moved the point by before iteration k, and
:math:`B_k` the same for the velocity at the start of the block: scalars, whatever N and d.

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
from meanfield.kernels.lanes import COLUMNS, WIDTH
from meanfield.kernels.momentum import CONSTANT, FUNCTION_RESTART, GRADIENT_RESTART, SGD, Momentum, coefficients
from meanfield.kernels.streams import fill_block

# Neurons per tile: one word of the bit sets that say who moved.
TILE = 64
# Neurons are padded to multiples of this, a vector of float32.
_PAD = 16
# Coordinates per piece of a long prediction, so that a piece of the samples stays in the first-level cache.
_PIECE = 128
# Rows whose predictions are transposed together.
_ROWS = 32
# Iterations of a block whose mutual corrections are applied one by one; those of earlier ones are a matrix product.
_STRIP = 4
# Below this share of moved neurons the update of a tile visits them one by one.
_SPARSE = 0.3
# Samples that the random stream draws at once, at least.
_DRAW = 64
# Numbers between the scalars of one tile and those of the next: blocks are powers of two, and without a gap the strips
# of all tiles would meet in the same places of the first-level cache.
_GAP = _STRIP * TILE


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
#
# Scalars of a block, the preactivations p and the slopes c, lie tile by tile: number `tile * chunk + k * TILE + lane`
# belongs to iteration k. Scaled samples lie column by column in vectors: number `j * block + k * width` starts the
# vector of coordinates j … of sample k, j a multiple of the width. Both keep a pass over a tile within few pages.


@nb.njit(nogil=True)
def _update_sparse(w, tile, columns, x, block, c, chunk, bits, words, count):
    # w[i] += c[k, i] x[k], sample by sample, for the moved neurons of one tile; forty columns of x stay in registers.
    width = lanes.width(w)
    for k in range(count):
        moved = bits[k * words + tile]
        if moved == 0:
            continue
        slopes = tile * chunk + k * TILE
        j = 0
        while j + 40 <= columns:
            x0 = lanes.load_columns(x, _scaled_place(j, k, block, width))
            x1 = lanes.load_columns(x, _scaled_place(j + 8, k, block, width))
            x2 = lanes.load_columns(x, _scaled_place(j + 16, k, block, width))
            x3 = lanes.load_columns(x, _scaled_place(j + 24, k, block, width))
            x4 = lanes.load_columns(x, _scaled_place(j + 32, k, block, width))
            word = moved
            while word != 0:
                lane = lanes.lowest_bit(word)
                word &= word - np.uint64(1)
                row, place = (tile * TILE + lane) * columns + j, slopes + lane
                lanes.store(w, row, lanes.fma_at(c, place, x0, lanes.load_columns(w, row)))
                lanes.store(w, row + 8, lanes.fma_at(c, place, x1, lanes.load_columns(w, row + 8)))
                lanes.store(w, row + 16, lanes.fma_at(c, place, x2, lanes.load_columns(w, row + 16)))
                lanes.store(w, row + 24, lanes.fma_at(c, place, x3, lanes.load_columns(w, row + 24)))
                lanes.store(w, row + 32, lanes.fma_at(c, place, x4, lanes.load_columns(w, row + 32)))
            j += 40
        while j < columns:
            xj = lanes.load_columns(x, _scaled_place(j, k, block, width))
            word = moved
            while word != 0:
                lane = lanes.lowest_bit(word)
                word &= word - np.uint64(1)
                row, place = (tile * TILE + lane) * columns + j, slopes + lane
                lanes.store(w, row, lanes.fma_at(c, place, xj, lanes.load_columns(w, row)))
            j += 8


@nb.njit(nogil=True)
def _scaled_place(j, k, block, width):
    # Where coordinates j … of sample k are among the scaled samples; j is a multiple of eight.
    return j // width * width * block + k * width + j % width


@nb.njit(nogil=True)
def _update_dense(w, tile, last, columns, x, block, c, chunk, count):
    # w[i] += sum_k c[k, i] x[k] for a tile's neurons before `last`.
    width = lanes.width(w)
    for group in range(tile * TILE, last, _PAD):
        for j in range(0, columns - width + 1, width):
            _update_columns(lanes.load, w, tile, group, columns, j, x, block, c, chunk, count)
        # In float32 half a vector may be left.
        for j in range(columns - columns % width, columns, COLUMNS):
            _update_columns(lanes.load_columns, w, tile, group, columns, j, x, block, c, chunk, count)


@nb.njit(nogil=True)
def _update_columns(load, w, tile, group, columns, j, x, block, c, chunk, count):
    # The coordinates that `load` takes from j on, for one group of neurons: four neurons at a time in registers.
    width = lanes.width(w)
    for i in range(group, group + _PAD, 4):
        row, slopes = i * columns + j, tile * chunk + i - tile * TILE
        w0, w1 = load(w, row), load(w, row + columns)
        w2, w3 = load(w, row + 2 * columns), load(w, row + 3 * columns)
        for k in range(count):
            xk = load(x, j * block + k * width)
            place = slopes + k * TILE
            w0, w1 = lanes.fma_at(c, place, xk, w0), lanes.fma_at(c, place + 1, xk, w1)
            w2, w3 = lanes.fma_at(c, place + 2, xk, w2), lanes.fma_at(c, place + 3, xk, w3)
        lanes.store(w, row, w0)
        lanes.store(w, row + columns, w1)
        lanes.store(w, row + 2 * columns, w2)
        lanes.store(w, row + 3 * columns, w3)


@nb.njit(nogil=True, fastmath={"contract"})
def _coast(u, v, first, last, carried, kept):
    # (u, v) <- (u + carried v, kept v), elementwise: what the old velocity does during a block.
    for n in range(first, last):
        velocity = v[n]
        u[n] += carried * velocity
        v[n] = kept * velocity


# -- the prediction of this block ------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _predict(w, first, last, columns, coordinates, panels, block, p, place, pitch, scratch):
    # p[k, i] = sum_j w[i, j] x[k, j] for rows first … last - 1 of w, four by one panel of samples in registers; long
    # rows in pieces. Sums wait in `scratch`, to be transposed many at a time: between the products of every four rows
    # the multipliers would stand still. p[0, first] is at `place`, p[1, first] `pitch` further on.
    width = lanes.width(w)
    zero = lanes.splat(p.dtype.type(0))
    for panel in range(block // width):
        base = panel * columns * width
        for group in range(first, last, _ROWS):
            beyond = min(group + _ROWS, last)
            for start in range(0, coordinates, _PIECE):
                end = min(start + _PIECE, coordinates)
                for i in range(group, beyond, 4):
                    kept = (i - group) * width
                    if start == 0:
                        p0, p1, p2, p3 = zero, zero, zero, zero
                    else:
                        p0 = lanes.load(scratch, kept)
                        p1 = lanes.load(scratch, kept + width)
                        p2 = lanes.load(scratch, kept + 2 * width)
                        p3 = lanes.load(scratch, kept + 3 * width)
                    row = i * columns
                    for j in range(start, end, 4):
                        for step in range(4):
                            xj = lanes.load(panels, base + (j + step) * width)
                            p0 = lanes.fma_at(w, row + j + step, xj, p0)
                            p1 = lanes.fma_at(w, row + columns + j + step, xj, p1)
                            p2 = lanes.fma_at(w, row + 2 * columns + j + step, xj, p2)
                            p3 = lanes.fma_at(w, row + 3 * columns + j + step, xj, p3)
                    lanes.store(scratch, kept, p0)
                    lanes.store(scratch, kept + width, p1)
                    lanes.store(scratch, kept + 2 * width, p2)
                    lanes.store(scratch, kept + 3 * width, p3)
            target = place + panel * width * pitch - first
            for i in range(group, beyond, COLUMNS):
                lanes.store_columns(p, target + i, pitch, scratch, (i - group) * width)


# -- the sweeps ------------------------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _correct_strip(p, c, g, first, chunk, block, tiles, neurons):
    # p[k] += sum_{l < first} g[l, k] c[l] for the four iterations first … first + 3.
    width = lanes.width(p)
    for tile in range(tiles):
        for lane in range(0, min(TILE, neurons - tile * TILE), width):
            base = tile * chunk + lane
            place = base + first * TILE
            p0, p1 = lanes.load(p, place), lanes.load(p, place + TILE)
            p2, p3 = lanes.load(p, place + 2 * TILE), lanes.load(p, place + 3 * TILE)
            for m in range(first):
                cm = lanes.load(c, base + m * TILE)
                weight = m * block + first
                p0, p1 = lanes.fma_at(g, weight, cm, p0), lanes.fma_at(g, weight + 1, cm, p1)
                p2, p3 = lanes.fma_at(g, weight + 2, cm, p2), lanes.fma_at(g, weight + 3, cm, p3)
            lanes.store(p, place, p0)
            lanes.store(p, place + TILE, p1)
            lanes.store(p, place + 2 * TILE, p2)
            lanes.store(p, place + 3 * TILE, p3)


@nb.njit(nogil=True)
def _correct_row(p, c, g, k, first, tile, count, chunk, block):
    # p[k] += sum_{first <= l < k} g[l, k] c[l] for `count` neurons of a tile.
    width = lanes.width(p)
    for lane in range(0, count, width):
        base = tile * chunk + lane
        pi = lanes.load(p, base + k * TILE)
        for m in range(first, k):
            pi = lanes.fma_at(g, m * block + k, lanes.load(c, base + m * TILE), pi)
        lanes.store(p, base + k * TILE, pi)


@nb.njit(nogil=True)
def _add_row(p, q, k, factor, chunk, tiles, neurons):
    # p[k] += factor q[k]
    width = lanes.width(p)
    for tile in range(tiles):
        for lane in range(0, min(TILE, neurons - tile * TILE), width):
            place = tile * chunk + k * TILE + lane
            lanes.store(p, place, lanes.fma_scalar(factor, lanes.load(q, place), lanes.load(p, place)))


@nb.njit(nogil=True)
def _corrected(p, c, g, k, own, base, block):
    # p[k] with the corrections by the `own` iterations before it, those of its own strip.
    pi = lanes.load(p, base + k * TILE)
    if own > 2:
        pi = lanes.fma_at(g, (k - 3) * block + k, lanes.load(c, base + (k - 3) * TILE), pi)
    if own > 1:
        pi = lanes.fma_at(g, (k - 2) * block + k, lanes.load(c, base + (k - 2) * TILE), pi)
    if own > 0:
        pi = lanes.fma_at(g, (k - 1) * block + k, lanes.load(c, base + (k - 1) * TILE), pi)
    return pi


@nb.njit(nogil=True, forceinline=True)
def _step_ramp(own, p, c, g, k, chunk, block, neurons, tables, bits, moved):
    # One iteration with all output weights one and an activation with one segment that is not flat: the last
    # corrections, the sum of the values, the slopes, who moved.
    width = lanes.width(p)
    low, high, steepness, offset = tables[0][0], tables[1][0], tables[2][0], tables[3][0]
    sum_of = lanes.splat(p.dtype.type(0))
    for tile in range(moved.size):
        word = np.uint64(0)
        for lane in range(0, min(TILE, neurons - tile * TILE), width):
            base = tile * chunk + lane
            pi = _corrected(p, c, g, k, own, base, block)
            slope = lanes.where_between(pi, low, high, steepness)
            sum_of = lanes.fma_scalar(steepness, lanes.clip(pi, low, high), sum_of)
            lanes.store(c, base + k * TILE, slope)
            word |= lanes.nonzero_bits(slope) << np.uint64(lane)
        bits[k * moved.size + tile] = word
        moved[tile] += lanes.count_bits(word)
    return lanes.total(sum_of) + offset * neurons


@nb.njit(nogil=True, forceinline=True)
def _step_piecewise(own, p, c, g, k, chunk, block, neurons, tables, bits, moved):
    # The same for several segments.
    width = lanes.width(p)
    lows, highs, slopes, offset = tables
    zero = lanes.splat(p.dtype.type(0))
    sum_of = zero
    for tile in range(moved.size):
        word = np.uint64(0)
        for lane in range(0, min(TILE, neurons - tile * TILE), width):
            base = tile * chunk + lane
            pi = _corrected(p, c, g, k, own, base, block)
            slope = zero
            for n in range(slopes.size):
                slope = lanes.add(slope, lanes.where_between(pi, lows[n], highs[n], slopes[n]))
                sum_of = lanes.fma_scalar(slopes[n], lanes.clip(pi, lows[n], highs[n]), sum_of)
            lanes.store(c, base + k * TILE, slope)
            word |= lanes.nonzero_bits(slope) << np.uint64(lane)
        bits[k * moved.size + tile] = word
        moved[tile] += lanes.count_bits(word)
    return lanes.total(sum_of) + offset[0] * neurons


@nb.njit(nogil=True, forceinline=True)
def _step_plain(own, p, c, g, k, chunk, block, neurons, tables, bits, moved):
    if tables[0].size == 1:
        return _step_ramp(own, p, c, g, k, chunk, block, neurons, tables, bits, moved)
    return _step_piecewise(own, p, c, g, k, chunk, block, neurons, tables, bits, moved)


@nb.njit(nogil=True, forceinline=True)
def _step_in_strip(own, p, c, g, k, chunk, block, neurons, tables, bits, moved):
    # Compiled for each number of corrections: the loops over neurons have no branches.
    if own == 0:
        return _step_plain(0, p, c, g, k, chunk, block, neurons, tables, bits, moved)
    if own == 1:
        return _step_plain(1, p, c, g, k, chunk, block, neurons, tables, bits, moved)
    if own == 2:
        return _step_plain(2, p, c, g, k, chunk, block, neurons, tables, bits, moved)
    return _step_plain(3, p, c, g, k, chunk, block, neurons, tables, bits, moved)


@nb.njit(nogil=True)
def _units(p, place, count, kind, tables, value, slope, start):
    # Values and slopes, from number `start` on, of the `count` units whose preactivations are p[place], …
    width = lanes.width(p)
    if kind != PIECEWISE_LINEAR:
        end = start + count
        activate_smooth(p[place : place + count], value[start:end], slope[start:end], kind, tables[3])
        return
    lows, highs, slopes, offset = tables
    zero = lanes.splat(p.dtype.type(0))
    for i in range(0, count, width):
        pi = lanes.load(p, place + i)
        s, v = zero, lanes.splat(offset[0])
        for n in range(slopes.size):
            s = lanes.add(s, lanes.where_between(pi, lows[n], highs[n], slopes[n]))
            v = lanes.fma_scalar(slopes[n], lanes.clip(pi, lows[n], highs[n]), v)
        lanes.store(slope, start + i, s)
        lanes.store(value, start + i, v)


@nb.njit(nogil=True)
def _step_weighted(p, c, g, k, first, chunk, block, neurons, kind, tables, outputs, value, slope, bits, moved):
    # One iteration with output weights: the last corrections, the values of the units, the slopes times the output
    # weights, and who moved. Padding has output weight zero, hence neither a value nor a move.
    width = lanes.width(p)
    sum_of = lanes.splat(p.dtype.type(0))
    for tile in range(moved.size):
        start = tile * TILE
        count = min(TILE, neurons - start)
        base = tile * chunk + k * TILE
        if k > first:
            _correct_row(p, c, g, k, first, tile, count, chunk, block)
        _units(p, base, count, kind, tables, value, slope, start)
        word = np.uint64(0)
        for lane in range(0, count, width):
            a = lanes.load(outputs, start + lane)
            sum_of = lanes.fma(a, lanes.load(value, start + lane), sum_of)
            ci = lanes.multiply(a, lanes.load(slope, start + lane))
            lanes.store(c, base + lane, ci)
            word |= lanes.nonzero_bits(ci) << np.uint64(lane)
        bits[k * moved.size + tile] = word
        moved[tile] += lanes.count_bits(word)
    return lanes.total(sum_of)


@nb.njit(nogil=True, fastmath={"contract"})
def _update_outputs(a, velocity, value, neurons, e, gamma, kappa, beta, single):
    # The output weights take their step at once: they enter the next iteration as they are.
    for i in range(neurons):
        step = e * value[i]
        if single:
            a[i] += step
        else:
            velocity[i] = gamma * velocity[i] + kappa * step
            a[i] += velocity[i] + beta * step


@nb.njit(nogil=True, fastmath={"contract"})
def _restarts(rule, p, q, k, chunk, neurons, c, value, e, norm2, y, kind, tables, outputs, velocity, trained, scratch):
    # Whether this iteration restarts. p and q hold <u, x> and <v, x>; norm2 is |x|^2; e is 2 s (y - yhat).
    if rule == GRADIENT_RESTART:
        # -s g = e c x, and w' - w = v + e c x: <g, w' - w> has the sign of -e times the sum.
        total = 0.0
        for i in range(neurons):
            place = i // TILE * chunk + k * TILE + i % TILE
            total += c[place] * (q[place] + e * c[place] * norm2)
            if trained:
                total += value[i] * (velocity[i] + e * value[i])
        return e * total < 0
    # Loss of this sample at w' = u + e c x and at w = u - v.
    losses = (0.0, 0.0)
    _, preactivation, unit, slope = scratch
    for ahead in (True, False):
        for i in range(neurons):
            place = i // TILE * chunk + k * TILE + i % TILE
            preactivation[i] = p[place] + (e * c[place] * norm2 if ahead else -q[place])
        _units(preactivation, 0, neurons, kind, tables, unit, slope, 0)
        total = 0.0
        for i in range(neurons):
            a = outputs[i]
            if trained:
                a += e * value[i] if ahead else -velocity[i]
            total += a * unit[i]
        losses = (losses[1], (y - total / neurons) ** 2)
    return losses[0] > losses[1]


@nb.njit(nogil=True)
def _weigh(g, gram, responses, e, k, block):
    # g[l, k] = G_kl H_kl e_l for all l < k.
    for m in range(k):
        g[m * block + k] = gram[m * block + k] * responses[k, m] * e[m]


@nb.njit(nogil=True)
def _sweep(count, y, steps, shape, network, work, outputs, responses, scheme):
    # The iterations of one block: fills e and c, moves the output weights, and leaves the responses of the block.
    neurons, chunk, block = shape
    kind, tables, weighted, trained, single = network
    p, q, c, gram, g, h, e, bits, moved, value, slope, scratch = work
    a, velocity = outputs
    moves, kicks, carried, kept = responses
    rule, numbers, theta = scheme
    known = single or rule == CONSTANT
    restarting = rule in (FUNCTION_RESTART, GRADIENT_RESTART)
    moved[:] = 0
    for k in range(count):
        first = 0
        if known:
            first = k - k % _STRIP
            if k == first:
                if not single:
                    for m in range(first, first + _STRIP):
                        _add_row(p, q, m, carried[m], chunk, moved.size, neurons)
                if first > 0:
                    _correct_strip(p, c, g, first, chunk, block, moved.size, neurons)
        else:
            _add_row(p, q, k, carried[k], chunk, moved.size, neurons)
            _weigh(g, gram, moves, e, k, block)
            if restarting:
                _add_row(q, q, k, kept[k] - 1, chunk, moved.size, neurons)
                _weigh(h, gram, kicks, e, k, block)
                for tile in range(moved.size):
                    _correct_row(q, c, h, k, 0, tile, min(TILE, neurons - tile * TILE), chunk, block)
        if kind == PIECEWISE_LINEAR and not weighted and known:
            total = _step_in_strip(k - first, p, c, g, k, chunk, block, neurons, tables, bits, moved)
        else:
            total = _step_weighted(p, c, g, k, first, chunk, block, neurons, kind, tables, a, value, slope, bits, moved)
        e[k] = 2 * steps[k] * (y[k] - total / neurons)
        if known:
            # Whole rows, although those of iterations past are not used: loops of a length that is known are shorter.
            if single:
                factor = lanes.splat(e[k])
                for m in range(k * block, (k + 1) * block, lanes.width(g)):
                    lanes.store(g, m, lanes.multiply(factor, lanes.load(gram, m)))
            else:
                row, out = gram[k * block : (k + 1) * block], g[k * block : (k + 1) * block]
                for m in range(k + 1, block):
                    out[m] = row[m] * moves[m, k] * e[k]
        restart = restarting and _restarts(
            rule, p, q, k, chunk, neurons, c, value, e[k], gram[k * block + k], y[k], kind, tables, a, velocity,
            trained, scratch,
        )  # fmt: skip
        gamma, kappa, beta, theta[0] = coefficients(rule, numbers, theta[0], restart)
        if trained:
            _update_outputs(a, velocity, value, neurons, e[k], gamma, kappa, beta, single)
        if not known:
            _respond(moves, kicks, carried, kept, k, gamma, kappa, beta)


@nb.njit(nogil=True)
def _respond(moves, kicks, carried, kept, k, gamma, kappa, beta):
    # After iteration k: what unit increments of the iterations of this block have moved the point by, and what is in
    # the velocity; the same for the velocity at the start of the block.
    for m in range(k):
        kicks[k + 1, m] = gamma * kicks[k, m]
        moves[k + 1, m] = moves[k, m] + kicks[k + 1, m]
    kicks[k + 1, k] = kappa
    moves[k + 1, k] = kappa + beta
    kept[k + 1] = gamma * kept[k]
    carried[k + 1] = carried[k] + kept[k + 1]


# -- samples ---------------------------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _draw(z, sign, drawn, k, block, scales, schedule, panels, x, y, steps, columns):
    # Samples k … k + block - 1 of the stream; `drawn` is the number of the first sample in the buffer.
    width = lanes.width(x)
    dimension = scales.shape[1]
    size, coefficient, exponent = schedule
    for lane in range(block):
        y[lane] = sign[k + lane - drawn]
        s = size * coefficient
        if exponent != 0:
            s *= ((k + lane + 1) * size) ** exponent
        steps[lane] = s
    for start in range(0, block, width):
        signs = y[start : start + width]
        base = (start // width) * columns * width
        for j in range(dimension):
            plus, minus = scales[0, j], scales[1, j]
            normals = z[j, k + start - drawn : k + start - drawn + width]
            row = panels[base + j * width : base + (j + 1) * width]
            for lane in range(width):
                row[lane] = normals[lane] * (plus if signs[lane] > 0 else minus)
        for j in range(0, columns, COLUMNS):
            lanes.store_columns(x, start * columns + j, columns, panels, base + j * width)


@nb.njit(nogil=True)
def _fetch(inputs, index, targets, step_sizes, k, count, panels, x, y, steps, columns):
    # Samples number index[k] … of a data set.
    dimension = inputs.shape[1]
    width = lanes.width(x)
    for lane in range(count):
        row = inputs[index[k + lane]]
        base = (lane // width) * columns * width + lane % width
        for j in range(dimension):
            x[lane * columns + j] = row[j]
            panels[base + j * width] = row[j]
        y[lane] = targets[index[k + lane]]
        steps[lane] = step_sizes[k + lane]


@nb.njit(nogil=True, fastmath={"contract"})
def _scale_rows(x, e, response, count, block, columns, out):
    # The samples times what they move the weights by, in the layout of the update.
    width = lanes.width(x)
    for k in range(count):
        factor = e[k] * response[k]
        for j in range(0, columns, width):
            length = min(width, columns - j)
            row, target = x[k * columns + j : k * columns + j + length], out[j * block + k * width :]
            for n in range(length):
                target[n] = factor * row[n]


# -- the run ---------------------------------------------------------------------------------------------------------


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _advance(first, last, shape, network, scheme, weights, outputs, samples, work, responses, stream, dataset):
    # Iterations first .. last - 1; `first` is a multiple of the block size. All arrays belong to the caller.
    neurons, stride, chunk, block, coordinates, columns = shape
    u, v = weights
    single = network[4]
    panels, x, scaled, scaled_kicks, y, steps = samples
    p, q, c, gram, _g, _h, e, bits, moved, _value, _slope, scratch = work
    moves, kicks, carried, kept = responses
    key, scales, schedule, z, sign = stream
    inputs, index, targets, step_sizes, increments = dataset
    streaming = scales.shape[1] > 0
    carried[0], kept[0] = 0, 1
    if single:
        moves[:] = 1
    elif scheme[0] == CONSTANT:
        gamma, kappa, beta, _ = coefficients(scheme[0], scheme[1], 1.0, False)
        for k in range(block):
            _respond(moves, kicks, carried, kept, k, gamma, kappa, beta)
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
                _draw(z, sign, drawn, k, block, scales, schedule, panels, x, y, steps, columns)
            else:
                _fetch(inputs, index, targets, step_sizes, k, count, panels, x, y, steps, columns)
        for tile in range(moved.size):
            start, end = tile * TILE, min((tile + 1) * TILE, stride)
            if pending > 0:
                if not single:
                    _coast(u, v, start * columns, end * columns, carried[pending], kept[pending])
                if moved[tile] <= _SPARSE * pending * TILE:
                    _update_sparse(u, tile, columns, scaled, block, c, chunk, bits, moved.size, pending)
                    if not single:
                        _update_sparse(v, tile, columns, scaled_kicks, block, c, chunk, bits, moved.size, pending)
                else:
                    _update_dense(u, tile, end, columns, scaled, block, c, chunk, pending)
                    if not single:
                        _update_dense(v, tile, end, columns, scaled_kicks, block, c, chunk, pending)
            if count > 0:
                place = tile * chunk
                _predict(u, start, end, columns, coordinates, panels, block, p, place, TILE, scratch[0])
                if not single:
                    _predict(v, start, end, columns, coordinates, panels, block, q, place, TILE, scratch[0])
        if count <= 0:
            break
        _predict(x, 0, block, columns, coordinates, panels, block, gram, 0, block, scratch[0])
        _sweep(count, y, steps, (neurons, chunk, block), network, work, outputs, responses, scheme)
        if increments.size > 0:
            increments[k : k + count] = e[:count]
        _scale_rows(x, e, moves[count], count, block, columns, scaled)
        if not single:
            _scale_rows(x, e, kicks[count], count, block, columns, scaled_kicks)
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
        self._shape = _layout(self.neurons, self.dimension + self._biased, self.block)
        stride, self._columns = self._shape[1], self._shape[5]

        kind, tables = _tables(activation, self.dtype)
        # The kernel that needs no output weights handles whole vectors only.
        weighted = train_output or output_weights is not None or self.neurons % WIDTH[self.dtype] != 0
        single = momentum.plain
        self._network = (kind, tables, weighted, train_output, single)
        self._scheme = (*momentum.code(), np.ones(1))

        start = self._zeros(stride, self._columns)
        start[: self.neurons, : self.dimension] = weights
        if biases is not None:
            start[: self.neurons, self.dimension] = biases
        self._weights = (start.reshape(-1), self._zeros(1 if single else start.size))
        outputs = self._zeros(stride)
        outputs[: self.neurons] = 1 if output_weights is None else output_weights
        self._outputs = (outputs, self._zeros(stride))
        self._make_work(stride, single)

    def _make_work(self, stride: int, single: bool) -> None:
        block, columns = self.block, self._columns
        width, words = WIDTH[self.dtype], -(-stride // TILE)
        vectors = block * _padded(columns, width)
        self._samples = (
            self._zeros(block * columns), self._zeros(block * columns), self._zeros(vectors),
            self._zeros(1 if single else vectors), self._zeros(block), self._zeros(block),
        )  # fmt: skip
        if self._biased:
            self._samples[1].reshape(block, columns)[:, self.dimension] = 1
            self._samples[0].reshape(-1, columns, width)[:, self.dimension] = 1
        # The slopes of an iteration take the place of its preactivations, which are not needed again, unless a restart
        # asks for them; half the memory stays in the caches.
        scalars = words * self._shape[2]
        preactivations = self._zeros(scalars)
        restarting = self._scheme[0] in (FUNCTION_RESTART, GRADIENT_RESTART)
        self._work = (
            preactivations, self._zeros(1 if single else scalars),
            self._zeros(scalars) if restarting else preactivations,
            self._zeros(block * block), self._zeros(block * block), self._zeros(1 if single else block * block),
            self._zeros(block), np.zeros(block * words, np.uint64), np.zeros(words, np.int64),
            self._zeros(stride), self._zeros(stride),
            (self._zeros(_ROWS * width), self._zeros(stride), self._zeros(stride), self._zeros(stride)),
        )  # fmt: skip
        shapes = ((block + 1, block), (block + 1, block), (block + 1,), (block + 1,))
        self._responses = tuple(self._zeros(*shape) for shape in shapes)
        draw = max(block, _DRAW)
        self._buffer = (np.zeros((-(-self.dimension // 4) * 4, draw), np.float32), np.zeros(draw, np.float32))

    def _zeros(self, *shape: int) -> NDArray:
        return lanes.aligned_zeros(shape, self.dtype)

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
        nothing = (self._zeros(0, 0), np.zeros(0, np.int64), self._zeros(0), self._zeros(0), self._zeros(0))
        self._run(first, last, stream, nothing)

    def advance_arrays(self, inputs, targets, step_sizes, index=None, increments=None) -> None:
        r"""Run one iteration per sample of a data set.

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
        increments : array, shape (iteration,), optional, modified
            Takes :math:`2 s_k (y_k - \hat y_k)`, the error of each iteration's prediction before its step [1]; of the
            weights' type.

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
        if index.size and (index.min() < 0 or index.max() >= targets.size):
            msg = f"an index points outside the {targets.size} samples: {index.min()} to {index.max()}"
            raise ValueError(msg)
        if increments is None:
            increments = self._zeros(0)
        elif increments.shape != index.shape or increments.dtype != self.dtype:
            msg = f"increments must be {self.dtype} of shape {index.shape}, not {increments.dtype} {increments.shape}"
            raise ValueError(msg)
        dataset = (
            np.ascontiguousarray(inputs, self.dtype),
            np.ascontiguousarray(index, np.int64),
            np.ascontiguousarray(targets, self.dtype),
            np.ascontiguousarray(step_sizes, self.dtype),
            increments,
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

    def snapshot(self) -> dict[str, tuple]:
        """Return everything that the iterations after the end of a block depend on."""
        return {name: _copied(getattr(self, f"_{name}")) for name in ("weights", "outputs", "scheme")}

    def restore(self, snapshot: dict[str, tuple]) -> None:
        """Go on from a snapshot of a run of the same shape: the same bits as without the interruption."""
        for name, values in snapshot.items():
            for own, value in zip(getattr(self, f"_{name}"), values, strict=True):
                if isinstance(own, np.ndarray):
                    own[...] = value


def _layout(neurons: int, coordinates: int, block: int) -> tuple[int, ...]:
    """Return what the kernel knows as a network's shape: neurons, stride, chunk, block, coordinates, columns.

    Rows end in zeros: products run over whole quads of coordinates, updates over whole vectors.
    """
    coordinates = _padded(coordinates, 4)
    return neurons, _padded(neurons), block * TILE + _GAP, block, coordinates, _padded(coordinates, COLUMNS)


def _tables(activation: tuple, dtype: np.dtype) -> tuple[int, tuple[NDArray, ...]]:
    """Return an activation's number and its tables, those of a piecewise-linear one by segments."""
    kind, *given = activation
    tables = tuple(np.ascontiguousarray(table, dtype) for table in given)
    return kind, _segments(*tables[:3]) if kind == PIECEWISE_LINEAR else tables


def _segments(knots: NDArray, slopes: NDArray, intercepts: NDArray) -> tuple[NDArray, ...]:
    """Return ends and slopes of the segments that are not flat, and the offset of the sum of their clipped values.

    sigma(z) = offset + sum_n slope_n clip(z, low_n, high_n), exactly constant where sigma is flat.
    """
    ends = np.concatenate([[-np.inf], knots, [np.inf]]).astype(knots.dtype)
    steep = np.flatnonzero(slopes) if slopes.any() else np.array([0])
    lows, highs = ends[:-1][steep], ends[1:][steep]
    at_first_knot = intercepts[0] + slopes[0] * knots[0]
    offset = at_first_knot - (slopes[steep] * np.clip(knots[0], lows, highs)).sum()
    return lows, highs, slopes[steep], np.array([offset], knots.dtype)


def _padded(size: int, multiple: int = _PAD) -> int:
    return -(-size // multiple) * multiple


def _copied(value):
    if isinstance(value, tuple):
        return tuple(_copied(item) for item in value)
    if not isinstance(value, np.ndarray):
        return value
    twin = lanes.aligned_zeros(value.shape, value.dtype)
    twin[...] = value
    return twin
