r"""Sums over all pairs of neurons of Mehler's series, from which population risks follow.

For preactivations of correlation c, :math:`E[\sigma_i \sigma_j] = \sum_n c^n h_n(i) h_n(j)` with the Hermite
coefficients of each neuron. By Cauchy and Schwarz, what the orders above n hold is at most
:math:`|c|^{n+1} R_n`, where :math:`R_n` is the largest :math:`E\sigma_i^2 - \sum_{m\le n} h_m(i)^2` of any neuron. So
each pair gets as many orders as its correlation asks for, and most have a small one: sixteen pairs at a time get what
the most correlated of them needs.

Arrays in, arrays out; no files.
"""

import itertools
import math
from collections.abc import Callable

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield.kernels.lanes import add, clip, fma, fma_at, load, multiply, splat, store, total

Floats = NDArray[np.float64]

# Of the series of a pair, relative to the largest mean square of a neuron where that exceeds one.
TOLERANCE = 1e-8
# Orders that are tried before a pair is left to another method, and how many coefficients of a class there may be,
# unless the order is small.
_ORDERS = (16, 64, 256, 1024)
_COEFFICIENTS = 1 << 21
_SMALL_ORDER = 128
_TOGETHER = 16  # pairs: two vectors, for the latency of a multiplication
_BINS = 1024  # of |c|


def gram(weights: Floats) -> Floats:
    """Return inner products of the rows of weights (neuron, coordinate): a square whose lower triangle is filled."""
    if not weights.shape[1]:
        return np.zeros((len(weights), len(weights)))
    return linalg.blas.dsyrk(1.0, weights.T, trans=1).T


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def weighted_sum(factor: float, first: Floats, second: Floats) -> Floats:
    """Return factor * first + second for two such squares: a square whose lower triangle is filled."""
    out = np.empty(first.shape)
    for i in range(len(first)):
        for j in range(i + 1):
            out[i, j] = factor * first[i, j] + second[i, j]
    return out


def sum_of_pairs(
    products: Floats, tables: Callable[[int], Floats], squares: Floats, *, pair_cost: float, from_order: int = 0
):
    r"""Return the sum over unordered pairs of neurons, and over classes, of :math:`\sum_n c^n h_n(i) h_n(j)`.

    Parameters
    ----------
    products : array, shape (neuron, neuron)
        Inner products of the weights, in the lower triangle [1]; the correlation of two preactivations is the cosine.
    tables : callable
        Maps an order to Hermite coefficients :math:`h_n`, shape (class, order + 1, neuron) [1].
    squares : array, shape (class, neuron)
        Mean squares, to which the squares of all coefficients of a neuron sum [1].
    pair_cost : float
        What the other method takes for a pair, in units of what a coefficient takes: the order rises only where that
        is cheaper.
    from_order : int
        Orders below this are left out: 1 for covariances.

    Returns
    -------
    total : float
        The sum over all pairs but those that follow; each pair to `TOLERANCE` [1].
    rows, columns : arrays of int
        Pairs that are too close to parallel for the series, to be summed by another method.
    cosines : array
        Their cosines [1].

    """
    norms = np.sqrt(np.diagonal(products))
    # A neuron at zero is a constant, whatever its angle.
    inverse = np.divide(1, norms, out=np.zeros_like(norms), where=norms != 0)
    flat = products.ravel()
    counts, cosine = _count(flat, inverse)
    coefficients, enough = _enough(tables, squares, pair_cost, counts, cosine)
    orders = min(int(np.searchsorted(enough, cosine)) + 1, enough.size)
    order_of_bin = np.searchsorted(enough, np.arange(1, _BINS + 2) / _BINS).clip(max=orders - 1)
    beside, single = _packed(coefficients, orders, from_order)
    return _sum_of_pairs(flat, inverse, beside, single, len(squares), orders, order_of_bin, float(enough[orders - 1]))


def _enough(
    tables: Callable[[int], Floats], squares: Floats, pair_cost: float, counts: NDArray, cosine: float
) -> tuple[Floats, Floats]:
    # Coefficients to an order that is enough up to the cosine, unless that does not pay, and up to which |c| each is.
    tolerance, neurons = TOLERANCE * max(1.0, float(squares.max())), squares.shape[1]
    largest = max(_SMALL_ORDER, _COEFFICIENTS // neurons)
    if cosine < 1:  # for any activation: R_n is at most the largest mean square
        largest = min(largest, max(1, math.ceil(math.log(TOLERANCE) / math.log(max(cosine, 1e-300))) - 1))
    for order, following in itertools.pairwise((*_ORDERS, math.inf)):
        coefficients = tables(min(order, largest))
        left = _remainders(coefficients, squares.copy()) / tolerance
        with np.errstate(divide="ignore"):
            enough = np.minimum(left ** (-1 / np.arange(1, left.size + 1)), 1.0)
        # Of infinite weights: the sum is no number, and no pair is worth a quadrature.
        enough[np.isnan(enough)] = 1.0
        beyond = counts[int(enough[-1] * _BINS) :].sum()
        if order >= largest or enough[-1] >= cosine or beyond * pair_cost <= min(following, largest) * neurons:
            break
    return coefficients, np.maximum.accumulate(enough)


@nb.njit(cache=True, nogil=True)
def _remainders(coefficients, left):
    # R_n of every order; what is left of the mean squares is eaten up.
    most = np.zeros(coefficients.shape[1])
    for k in range(len(left)):
        rest = left[k]
        for n in range(most.size):
            row, largest = coefficients[k, n], most[n]
            for i in range(rest.size):
                rest[i] -= row[i] * row[i]
                largest = max(largest, rest[i])
            most[n] = largest
    return most


@nb.njit(cache=True, nogil=True)
def _packed(coefficients, orders, from_order):
    # Coefficients twice: of sixteen neurons beside each other, and of one neuron beside each other.
    classes, neurons = len(coefficients), coefficients.shape[2]
    size = orders * classes
    blocks = (neurons + _TOGETHER - 1) // _TOGETHER
    beside, single = np.zeros(blocks * size * _TOGETHER), np.zeros(neurons * size)
    for block in range(blocks):
        start = block * _TOGETHER
        count = min(_TOGETHER, neurons - start)
        for n in range(from_order, orders):
            for k in range(classes):
                q = n * classes + k
                place = (block * size + q) * _TOGETHER
                for lane in range(count):
                    number = coefficients[k, n, start + lane]
                    beside[place + lane] = number
                    single[(start + lane) * size + q] = number
    return beside, single


@nb.njit(cache=True, nogil=True)
def _count(products, inverse):
    # How many pairs have an absolute cosine in each bin, and the largest.
    neurons, largest = inverse.size, 0.0
    counts = np.zeros(_BINS + 1, np.int64)
    for i in range(1, neurons):
        for j in range(i):
            c = min(abs(products[i * neurons + j]) * inverse[i] * inverse[j], 1.0)
            if c >= 0:  # a number
                largest = max(largest, c)
                counts[int(c * _BINS)] += 1
    return counts, largest


@nb.njit(nogil=True, fastmath={"nnan", "nsz"})
def _largest(values):
    # Of numbers that are none, either may be found.
    largest = 0.0
    for lane in range(_TOGETHER):
        largest = max(largest, abs(values[lane]))
    return largest


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def _sum_of_pairs(products, inverse, beside, single, classes, orders, order_of_bin, enough):
    # Block by block of neurons, whose coefficients stay in the first cache while the other neurons go by.
    neurons, size = inverse.size, classes * orders
    rows = np.empty(neurons * (neurons - 1) // 2, np.intp)
    columns = np.empty(rows.size, np.intp)
    cosines = np.empty(rows.size)
    cosine, value = np.zeros(_TOGETHER), np.zeros(_TOGETHER)
    zero, one = splat(np.float64(0)), np.float64(1)
    sum0, sum1, rest, kept = zero, zero, 0.0, 0
    for start in range(0, neurons, _TOGETHER):
        block = beside[start * size : (start + _TOGETHER) * size]
        for i in range(start + 1, neurons):
            place = i * neurons + start
            count = min(_TOGETHER, i - start)
            if count == _TOGETHER:
                own = splat(inverse[i])
                c0 = multiply(multiply(load(products, place), own), load(inverse, start))
                c1 = multiply(multiply(load(products, place + 8), own), load(inverse, start + 8))
                store(cosine, 0, clip(c0, -one, one))
                store(cosine, 8, clip(c1, -one, one))
            else:  # some are on the other side of the diagonal
                cosine[:] = 0
                for lane in range(count):
                    c = products[place + lane] * inverse[i] * inverse[start + lane]
                    cosine[lane] = min(max(c, -1.0), 1.0)
            most = _largest(cosine)
            if not most <= 1:  # not a number
                most = 1.0
            c0, c1 = load(cosine, 0), load(cosine, 8)
            v0, v1 = zero, zero
            for n in range(order_of_bin[int(most * _BINS)], -1, -1):  # Horner's scheme
                s0, s1 = zero, zero
                for k in range(n * classes, (n + 1) * classes):
                    s0 = fma_at(single, i * size + k, load(block, k * _TOGETHER), s0)
                    s1 = fma_at(single, i * size + k, load(block, k * _TOGETHER + 8), s1)
                v0, v1 = fma(v0, c0, s0), fma(v1, c1, s1)
            if count == _TOGETHER and most <= enough:
                sum0, sum1 = add(sum0, v0), add(sum1, v1)
                continue
            store(value, 0, v0)
            store(value, 8, v1)
            for lane in range(count):
                if abs(cosine[lane]) <= enough:
                    rest += value[lane]
                else:
                    rows[kept], columns[kept], cosines[kept] = i, start + lane, cosine[lane]
                    kept += 1
    return rest + total(add(sum0, sum1)), rows[:kept], columns[:kept], cosines[:kept]
