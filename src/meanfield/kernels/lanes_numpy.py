"""The vector operations of `meanfield.kernels.lanes` in numpy: their definition, and what runs without compilation."""

import numpy as np


def width(array):
    """Return how many of an array's numbers make a vector of 64 bytes."""
    return 64 // array.itemsize


def load(array, index):
    """Return the vector that starts at a flat array's element `index`."""
    return array[index : index + width(array)].copy()


def load_columns(array, index):
    """Return the eight numbers that start at a flat array's element `index`."""
    return array[index : index + 8].copy()


def store(array, index, vector):
    """Write a vector to a flat array, from element `index` on."""
    array[index : index + vector.size] = vector


def splat(scalar):
    """Return the vector whose numbers all equal `scalar`."""
    return np.full(64 // scalar.itemsize, scalar)


def fma(a, b, c):
    """Return a b + c for three vectors."""
    return a * b + c


def fma_at(array, index, b, c):
    """Return a b + c, where the number a is element `index` of a flat array."""
    return array[index] * b + c


def fma_scalar(a, b, c):
    """Return a b + c for a number a and two vectors."""
    return b.dtype.type(a) * b + c


def add(a, b):
    """Return a + b."""
    return a + b


def subtract(a, b):
    """Return a - b."""
    return a - b


def multiply(a, b):
    """Return a b, elementwise."""
    return a * b


def clip(p, low, high):
    """Return p, clipped to [low, high]; what is not a number stays so."""
    return np.clip(p, low, high)


def add_exponent(a, shifted):
    """Return a 2^n, where adding 1.5 times two to the number of mantissa bits to the integers n gave `shifted`."""
    bits = np.finfo(a.dtype).nmant
    return np.ldexp(a, (shifted - a.dtype.type(1.5 * 2.0**bits)).astype(np.int32))


def where_between(p, low, high, scalar):
    """Return the number `scalar` where low < p <= high, and zero elsewhere."""
    return np.where((p > low) & (p <= high), p.dtype.type(scalar), p.dtype.type(0))


def total(vector):
    """Return the sum of a vector's numbers: halves are added until one is left."""
    while vector.size > 1:
        vector = vector[: vector.size // 2] + vector[vector.size // 2 :]
    return vector[0]


def nonzero_bits(vector):
    """Return a word whose bit n says whether number n differs from zero."""
    return np.uint64(sum(1 << n for n in np.flatnonzero(vector).tolist()))


def lowest_bit(word):
    """Return the place of the lowest set bit of a word that is not zero."""
    return (int(word) & -int(word)).bit_length() - 1


def count_bits(word):
    """Return the number of set bits of a word."""
    return int(word).bit_count()


def store_columns(array, index, stride, rows, start):
    """Write the eight vectors from element `start` of `rows` on as columns, `stride` apart, from `index` on."""
    count = width(rows)
    for k in range(count):
        place = index + k * stride
        array[place : place + 8] = rows[start + k : start + k + 8 * count : count]
