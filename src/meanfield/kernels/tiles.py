"""What a block of samples does to the weights: products with a tile of neurons, in explicit vectors.

A tile is 64 neurons, one word of the bit sets that say who moved. The kernels of blocks (`meanfield.kernels.block_sgd`,
`meanfield.kernels.inner_blocks`) predict the preactivations of a tile, and move its neurons by what the sweeps
(`meanfield.kernels.sweeps`) found. Where an activation is flat, a neuron does not move, and a term of zero changes no
bit: there are three ways to move a tile, with the same bits, and the share of neurons that moved says which is the
fastest.

Compiled functions on arrays that belong to the caller; no files.
"""

import numba as nb
import numpy as np

from meanfield.kernels import lanes
from meanfield.kernels.lanes import COLUMNS

# Neurons per tile: one word of the bit sets that say who moved.
TILE = 64
# Neurons are padded to multiples of this, a vector of float32.
PAD = 16
# Rows whose predictions are transposed together.
ROWS = 32
# Iterations of a block whose mutual corrections are applied one by one; those of earlier ones are a matrix product.
STRIP = 4
# Numbers between the scalars of one tile and those of the next: blocks are powers of two, and without a gap the strips
# of all tiles would meet in the same places of the first-level cache.
_GAP = STRIP * TILE
# Coordinates per piece of a long prediction, so that a piece of the samples stays in the first-level cache.
_PIECE = 128
# Ways to move a tile: the neurons that each sample moved, the samples that moved each neuron, all of both.
BY_SAMPLE, BY_NEURON, DENSE = 0, 1, 2
# Rows of at least so many numbers go by neuron where not all neurons are visited, shorter ones by sample.
_LONG = 192
# Below these shares of moved neurons an update by sample, or by neuron, is faster than a dense one.
_SPARSE, _MOST = 0.3, 0.7


def layout(neurons: int, coordinates: int, block: int) -> tuple[int, ...]:
    """Return what the kernels know as a network's shape: neurons, stride, chunk, block, coordinates, columns.

    Rows end in zeros: products run over whole quads of coordinates, updates over whole vectors.
    """
    coordinates = padded(coordinates, 4)
    return neurons, padded(neurons), block * TILE + _GAP, block, coordinates, padded(coordinates, COLUMNS)


def padded(size: int, multiple: int = PAD) -> int:
    """Return the smallest multiple that is not below a size."""
    return -(-size // multiple) * multiple


# -- the update of the last block ------------------------------------------------------------------------------------
#
# Scalars of a block, the preactivations p and the slopes c, lie tile by tile: number `tile * chunk + k * TILE + lane`
# belongs to iteration k. Scaled samples lie column by column in vectors: number `j * block + k * width` starts the
# vector of coordinates j … of sample k, j a multiple of the width. Both keep a pass over a tile within few pages.


@nb.njit(nogil=True, fastmath={"contract"})
def scale_rows(x, e, response, count, block, columns, out):
    """Fill `out` with the samples times what they move the weights by, e[k] response[k], in the layout of `update`."""
    width = lanes.width(x)
    for k in range(count):
        factor = e[k] * response[k]
        for j in range(0, columns, width):
            length = min(width, columns - j)
            row, target = x[k * columns + j : k * columns + j + length], out[j * block + k * width :]
            for n in range(length):
                target[n] = factor * row[n]


@nb.njit(nogil=True)
def way_of(moved, count, columns):
    """Return how `update` moves a tile of whose neurons so many moved, counted over `count` iterations."""
    if columns < _LONG:
        return BY_SAMPLE if moved <= _SPARSE * count * TILE else DENSE
    return BY_NEURON if moved <= _MOST * count * TILE else DENSE


@nb.njit(nogil=True)
def find_movers(bits, words, tile, count, movers):
    """Turn who moved at each iteration into when each neuron moved.

    Bit k of `movers[first + lane]`, `first` a multiple of `TILE`, says whether iteration `first + k` moved that neuron.
    """
    for first in range(0, count, TILE):
        square = movers[first : first + TILE]
        for k in range(TILE):
            square[k] = bits[(first + k) * words + tile] if first + k < count else np.uint64(0)
        # The transpose of a square of bits: blocks off the diagonal change places, at half the size each time.
        step, mask = TILE // 2, np.uint64(0xFFFFFFFF)
        while step > 0:
            shift = np.uint64(step)
            for corner in range(0, TILE, 2 * step):
                for k in range(corner, corner + step):
                    change = ((square[k] >> shift) ^ square[k + step]) & mask
                    square[k + step] ^= change
                    square[k] ^= change << shift
            step //= 2
            mask ^= mask << np.uint64(step)


@nb.njit(nogil=True)
def prepare(moved, count, columns, bits, words, tile, movers):
    """Return `way_of` a tile, with what `update` needs for it in `movers`."""
    way = way_of(moved, count, columns)
    if way == BY_NEURON:
        find_movers(bits, words, tile, count, movers)
    return way


@nb.njit(nogil=True, forceinline=True)
def update(way, w, tile, last, columns, x, block, c, chunk, bits, words, count, movers):
    """Move the neurons of a tile, those before `last`: w[i] += sum_k c[k, i] x[k] over `count` iterations.

    All ways give the same bits; one of them asks for `movers`, see `prepare`.
    """
    if way == BY_SAMPLE:
        _update_by_sample(w, tile, columns, x, block, c, chunk, bits, words, count)
    elif way == BY_NEURON:
        _update_by_neuron(w, tile, last, columns, x, block, c, chunk, count, movers)
    else:
        _update_dense(w, tile, last, columns, x, block, c, chunk, count)


@nb.njit(nogil=True)
def _update_by_sample(w, tile, columns, x, block, c, chunk, bits, words, count):
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
def _update_by_neuron(w, tile, last, columns, x, block, c, chunk, count, movers):
    # Each neuron takes the samples that moved it; of all samples four vectors at a time, which the first-level cache
    # holds while the neurons go by.
    width = lanes.width(w)
    wide = columns - columns % (4 * width)
    for first in range(0, count, TILE):
        for j in range(0, wide, 4 * width):
            _four_vectors(w, tile, last, columns, j, x, block, c, chunk, first, movers)
        for j in range(wide, columns - width + 1, width):
            _one_vector(lanes.load, w, tile, last, columns, j, x, block, c, chunk, first, movers)
        # In float32 half a vector may be left.
        for j in range(columns - columns % width, columns, COLUMNS):
            _one_vector(lanes.load_columns, w, tile, last, columns, j, x, block, c, chunk, first, movers)


@nb.njit(nogil=True)
def _four_vectors(w, tile, last, columns, j, x, block, c, chunk, first, movers):
    # Coordinates j … of the neurons of a tile, over the samples of at most TILE iterations.
    width = lanes.width(w)
    place0 = j * block + first * width
    place1, place2, place3 = place0 + width * block, place0 + 2 * width * block, place0 + 3 * width * block
    for lane in range(last - tile * TILE):
        left = movers[first + lane]
        if left == 0:
            continue
        row, slopes = (tile * TILE + lane) * columns + j, tile * chunk + first * TILE + lane
        w0, w1 = lanes.load(w, row), lanes.load(w, row + width)
        w2, w3 = lanes.load(w, row + 2 * width), lanes.load(w, row + 3 * width)
        while left != 0:
            k = lanes.lowest_bit(left)
            left &= left - np.uint64(1)
            slope, sample = slopes + k * TILE, k * width
            w0 = lanes.fma_at(c, slope, lanes.load(x, place0 + sample), w0)
            w1 = lanes.fma_at(c, slope, lanes.load(x, place1 + sample), w1)
            w2 = lanes.fma_at(c, slope, lanes.load(x, place2 + sample), w2)
            w3 = lanes.fma_at(c, slope, lanes.load(x, place3 + sample), w3)
        lanes.store(w, row, w0)
        lanes.store(w, row + width, w1)
        lanes.store(w, row + 2 * width, w2)
        lanes.store(w, row + 3 * width, w3)


@nb.njit(nogil=True)
def _one_vector(load, w, tile, last, columns, j, x, block, c, chunk, first, movers):
    # The same for the coordinates that `load` takes from j on.
    width = lanes.width(w)
    for lane in range(last - tile * TILE):
        left = movers[first + lane]
        if left == 0:
            continue
        row, slopes = (tile * TILE + lane) * columns + j, tile * chunk + first * TILE + lane
        wj = load(w, row)
        while left != 0:
            k = lanes.lowest_bit(left)
            left &= left - np.uint64(1)
            wj = lanes.fma_at(c, slopes + k * TILE, load(x, j * block + (first + k) * width), wj)
        lanes.store(w, row, wj)


@nb.njit(nogil=True)
def _update_dense(w, tile, last, columns, x, block, c, chunk, count):
    # w[i] += sum_k c[k, i] x[k] for a tile's neurons before `last`.
    width = lanes.width(w)
    for group in range(tile * TILE, last, PAD):
        for j in range(0, columns - width + 1, width):
            _update_columns(lanes.load, w, tile, group, columns, j, x, block, c, chunk, count)
        # In float32 half a vector may be left.
        for j in range(columns - columns % width, columns, COLUMNS):
            _update_columns(lanes.load_columns, w, tile, group, columns, j, x, block, c, chunk, count)


@nb.njit(nogil=True)
def _update_columns(load, w, tile, group, columns, j, x, block, c, chunk, count):
    # The coordinates that `load` takes from j on, for one group of neurons: four neurons at a time in registers.
    width = lanes.width(w)
    for i in range(group, group + PAD, 4):
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


# -- the prediction of this block ------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def predict(w, first, last, columns, coordinates, panels, block, p, place, pitch, scratch):
    """Fill p[k, i] = sum_j w[i, j] x[k, j] for rows first … last - 1 of w.

    p[0, first] is at `place`, p[1, first] `pitch` further on. `panels` are the samples, a vector of them side by side
    for each coordinate.
    """
    # Four rows by one panel of samples in registers, long rows in pieces. Sums wait in `scratch`, to be transposed many
    # at a time: between the products of every four rows the multipliers would stand still.
    width = lanes.width(w)
    zero = lanes.splat(p.dtype.type(0))
    for panel in range(block // width):
        base = panel * columns * width
        for group in range(first, last, ROWS):
            beyond = min(group + ROWS, last)
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


@nb.njit(nogil=True)
def inner_products(x, panels, block, columns, coordinates, out, scratch):
    """Fill out[k, l] = <x_k, x_l> of the samples of a block for k <= l, row by row; elsewhere it may be anything."""
    width = lanes.width(x)
    for k in range(0, block, width):
        predict(x, k, block, columns, coordinates, panels[k * columns :], width, out, k * block + k, block, scratch)
