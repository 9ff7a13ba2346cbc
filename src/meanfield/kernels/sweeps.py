"""One iteration of a block, seen by all neurons: corrections, values, slopes, and who moved.

Scalars of a block, the preactivations p and the slopes c, lie tile by tile: number `tile * chunk + k * TILE + lane`
belongs to iteration k. The kernels of blocks call these functions between two passes over the weights
(`meanfield.kernels.tiles`).

Compiled functions on arrays that belong to the caller; no files.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels import lanes
from meanfield.kernels.activate import PIECEWISE_LINEAR, activate_smooth
from meanfield.kernels.tiles import TILE


def tables_of(activation: tuple, dtype: np.dtype) -> tuple[int, tuple[NDArray, ...]]:
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


@nb.njit(nogil=True)
def correct_strip(p, c, g, first, chunk, block, tiles, neurons):
    """Do p[k] += sum_{l < first} g[l, k] c[l] for the four iterations first … first + 3."""
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
def correct_row(p, c, g, k, first, tile, count, chunk, block):
    """Do p[k] += sum_{first <= l < k} g[l, k] c[l] for `count` neurons of a tile."""
    width = lanes.width(p)
    for lane in range(0, count, width):
        base = tile * chunk + lane
        pi = lanes.load(p, base + k * TILE)
        for m in range(first, k):
            pi = lanes.fma_at(g, m * block + k, lanes.load(c, base + m * TILE), pi)
        lanes.store(p, base + k * TILE, pi)


@nb.njit(nogil=True)
def add_row(p, q, k, factor, chunk, tiles, neurons):
    """Do p[k] += factor q[k]."""
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
def step_in_strip(own, p, c, g, k, chunk, block, neurons, tables, bits, moved):
    """Do iteration k, the `own`-th of its strip, of units that are piecewise linear without output weights.

    Applies the corrections by the iterations before it in its strip, replaces preactivations by slopes, notes who
    moved, and returns the sum of the values of all units.
    """
    # Compiled for each number of corrections: the loops over neurons have no branches.
    if own == 0:
        return _step_plain(0, p, c, g, k, chunk, block, neurons, tables, bits, moved)
    if own == 1:
        return _step_plain(1, p, c, g, k, chunk, block, neurons, tables, bits, moved)
    if own == 2:
        return _step_plain(2, p, c, g, k, chunk, block, neurons, tables, bits, moved)
    return _step_plain(3, p, c, g, k, chunk, block, neurons, tables, bits, moved)


@nb.njit(nogil=True)
def units(p, place, count, kind, tables, value, slope, start):
    """Find values and slopes, from number `start` on, of `count` units; their preactivations start at p[place]."""
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
def step_weighted(p, c, g, k, first, chunk, block, neurons, kind, tables, outputs, value, slope, bits, moved):
    """Do iteration k, of a strip that starts at `first`, of units with output weights; see `step_in_strip`."""
    # What takes the place of the preactivations is the slopes times the output weights. Padding has output weight zero,
    # hence neither a value nor a move.
    width = lanes.width(p)
    sum_of = lanes.splat(p.dtype.type(0))
    for tile in range(moved.size):
        start = tile * TILE
        count = min(TILE, neurons - start)
        base = tile * chunk + k * TILE
        if k > first:
            correct_row(p, c, g, k, first, tile, count, chunk, block)
        units(p, base, count, kind, tables, value, slope, start)
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
