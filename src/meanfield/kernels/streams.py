"""Counter-based random numbers: sample k is a function of (key, k) and of nothing else.

The generator is Philox-4x32-10 (Salmon, Moraes, Dror & Shaw 2011, *Parallel random numbers: as easy
as 1, 2, 3*, SC'11), so that a run can be cut into blocks, chunks or restarts anywhere without changing
one bit of its data. Normals come from the Box-Muller transform in single precision with 32-bit uniforms:
their tails end at 6.76 standard deviations and their resolution is that of float32, in float64 runs too.

Numpy in, numpy out; no files.
"""

import hashlib

import numba as nb
import numpy as np
from numpy.typing import NDArray

# Purposes: independent streams of one replicate.
INITIAL_WEIGHTS = 0
SAMPLES = 1
COUPLINGS = 2  # of a random target
TEST_POINTS = 3  # scrambling of quasi-random test sets
INJECTED_NOISE = 4  # of Langevin dynamics

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

_ONE = np.float32(1)
_HALF = np.float32(0.5)


def seed_sequence(root: int, experiment: str, replicate: int, purpose: int) -> np.random.SeedSequence:
    """Return the seed sequence of one stream.

    Parameters
    ----------
    root : int
        Root seed of the configuration, 0 or larger.
    experiment : str
        Name of the experiment; enters by its SHA-256, so that Python's hash seed does not matter.
    replicate : int
        Index of the replicate, from 0.
    purpose : int
        What the numbers are for: `INITIAL_WEIGHTS`, `SAMPLES`, `COUPLINGS`, `TEST_POINTS` or
        `INJECTED_NOISE`.

    Returns
    -------
    numpy.random.SeedSequence
        Equal arguments give equal streams; unequal ones give independent streams.

    """
    name = np.frombuffer(hashlib.sha256(experiment.encode()).digest()[:8], dtype="<u4")
    return np.random.SeedSequence(root, spawn_key=(*(int(word) for word in name), replicate, purpose))


def stream_key(root: int, experiment: str, replicate: int, purpose: int = SAMPLES) -> NDArray[np.uint32]:
    """Return the Philox key, shape (2,), of one stream; see `seed_sequence`."""
    return seed_sequence(root, experiment, replicate, purpose).generate_state(2, np.uint32)


# Products and sums are not fused here, so that the numbers are the same on every processor, compiled or not. It has to
# be said: a function without the option takes it over from whichever caller happens to be compiled first.
@nb.njit(nogil=True, fastmath=False, inline="always")
def _philox_round(w0, w1, w2, w3, a, b):
    p, q = _M0 * (w0 & _LOW), _M1 * (w2 & _LOW)
    return (q >> _32) ^ w1 ^ a, q, (p >> _32) ^ w3 ^ b, p, (a + _W0) & _LOW, (b + _W1) & _LOW


@nb.njit(nogil=True, fastmath=False, inline="always")
def _philox(c0, c1, c2, c3, k0, k1):
    # Words live in 64 bits, whose upper halves are not cleared, because the multiplications read the lower ones only;
    # rounds are written out: a loop over lanes becomes one of vectors that stay in registers.
    w0, w1, w2, w3, a, b = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3), np.uint64(k0), np.uint64(k1)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    w0, w1, w2, w3, a, b = _philox_round(w0, w1, w2, w3, a, b)
    return np.uint32(w0 & _LOW), np.uint32(w1 & _LOW), np.uint32(w2 & _LOW), np.uint32(w3 & _LOW)


@nb.njit(nogil=True, fastmath=False)
def _radius(a):
    # sqrt(-2 log u), u in (0, 1]; logarithm by exponent and a polynomial for the mantissa, so that the
    # loop over lanes vectorises. The coefficients are the classical single-precision ones of Cephes' logf.
    u = (np.float32(a) + _HALF) * np.float32(2.0**-32)
    # Integers stay 32 bits wide at every step: numba would widen them, and half of each vector would be lost.
    bits = np.float32(u).view(np.int32)
    exponent = np.float32(np.int32(np.int32(bits >> np.int32(23)) - np.int32(127)))
    mantissa = np.int32(np.int32(bits & np.int32(0x007FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    large = mantissa > np.float32(1.41421356)
    mantissa = mantissa * _HALF if large else mantissa
    exponent = exponent + _ONE if large else exponent
    f = mantissa - _ONE
    z = f * f
    p = np.float32(7.0376836292e-2)
    p = p * f - np.float32(1.1514610310e-1)
    p = p * f + np.float32(1.1676998740e-1)
    p = p * f - np.float32(1.2420140846e-1)
    p = p * f + np.float32(1.4249322787e-1)
    p = p * f - np.float32(1.6668057665e-1)
    p = p * f + np.float32(2.0000714765e-1)
    p = p * f - np.float32(2.4999993993e-1)
    p = p * f + np.float32(3.3333331174e-1)
    log_u = f + (f * z * p - _HALF * z) + exponent * np.float32(0.69314718056)
    return np.sqrt(np.float32(-2) * min(log_u, np.float32(0)))


@nb.njit(nogil=True, fastmath=False)
def _direction(b):
    # Sine and cosine of the angle pi * th, th in [-1, 1]: nearest multiple of pi/2, then Cephes' polynomials on
    # [-pi/4, pi/4].
    th = np.float32(np.int32(b)) * np.float32(2.0**-31)
    quarter = np.rint(th * np.float32(2))
    x = (th - quarter * _HALF) * np.float32(3.14159265358979)
    x2 = x * x
    sine = x * (
        _ONE
        + x2 * (np.float32(-1.6666654611e-1) + x2 * (np.float32(8.3321608736e-3) + x2 * np.float32(-1.9515295891e-4)))
    )
    cosine = (
        _ONE
        - _HALF * x2
        + x2
        * x2
        * (
            np.float32(4.166664568298827e-2)
            + x2 * (np.float32(-1.388731625493765e-3) + x2 * np.float32(2.443315711809948e-5))
        )
    )
    turn = np.int32(quarter)
    swap = np.int32(turn & np.int32(1)) != np.int32(0)
    s = cosine if swap else sine
    c = sine if swap else cosine
    s = -s if np.int32(turn & np.int32(2)) != np.int32(0) else s
    c = -c if np.int32(np.int32(turn + np.int32(1)) & np.int32(2)) != np.int32(0) else c
    return s, c


@nb.njit(nogil=True, fastmath=False)
def _normal_pair(a, b):
    radius = _radius(a)
    s, c = _direction(b)
    return radius * s, radius * c


@nb.njit(nogil=True, fastmath=False)
def _normals(a, b, radius, x, y):
    # Pairs of normals, lane by lane; in two passes, because the logarithm is a long chain of dependent operations.
    for lane in range(a.size):
        radius[lane] = _radius(a[lane])
    for lane in range(a.size):
        s, c = _direction(b[lane])
        x[lane], y[lane] = radius[lane] * s, radius[lane] * c


@nb.njit(cache=True, nogil=True, fastmath=False)
def fill_block(x, sign, key, first):
    """Fill one block of samples: standard normal inputs and fair signs.

    Parameters
    ----------
    x : array, shape (padded dimension, block), modified
        Standard normals [1]; the sample is the column. The number of rows is a multiple of 4.
    sign : array, shape (block,), modified
        +1 or -1 with probability one half each [1].
    key : array of uint32, shape (2,)
        From `stream_key`.
    first : int
        Number of the block's first sample, from 0.

    """
    rows, block = x.shape
    a, b = np.uint64(key[0]), np.uint64(key[1])
    w0 = np.empty(block, np.uint32)
    w1 = np.empty(block, np.uint32)
    w2 = np.empty(block, np.uint32)
    w3 = np.empty(block, np.uint32)
    radius = np.empty(block, np.float32)
    start, zero = np.uint64(first), np.uint64(0)
    for quad in range(rows // 4 + 1):
        counter = np.uint64(quad)
        for lane in range(block):
            number = start + np.uint64(lane)
            w0[lane], w1[lane], w2[lane], w3[lane] = _philox(number, number >> _32, counter, zero, a, b)
        if quad == 0:
            for lane in range(block):
                sign[lane] = 1.0 if (w0[lane] >> np.uint32(31)) == np.uint32(0) else -1.0
            continue
        _normals(w0, w1, radius, x[4 * quad - 4], x[4 * quad - 3])
        _normals(w2, w3, radius, x[4 * quad - 2], x[4 * quad - 1])


@nb.njit(nogil=True, fastmath=False)
def fill_four(x, key, first, quad, words, radius):
    """Fill four rows of what `fill_block` fills, for many samples at once.

    A whole block of many samples leaves the first cache before it is used; four rows do not. Short blocks are faster
    by `fill_block`.

    Parameters
    ----------
    x : array, shape (4, block), modified
        Rows 4 quad … 4 quad + 3 of the block [1].
    key, first
        As there.
    quad : int
        Which rows, from 0.
    words, radius : arrays of uint32 and float32, shapes (4, block) and (block,)
        Room to work in.

    """
    fill_rows(x[0], x[1], x[2], x[3], key, first, quad, words, radius)


@nb.njit(nogil=True, fastmath=False)
def fill_rows(x0, x1, x2, x3, key, first, quad, words, radius):
    """Fill what `fill_four` fills, its rows given apart; arguments as there, the room possibly larger."""
    count = x0.size
    a, b = np.uint64(key[0]), np.uint64(key[1])
    w0, w1, w2, w3 = words[0][:count], words[1][:count], words[2][:count], words[3][:count]
    start, counter, zero = np.uint64(first), np.uint64(quad + 1), np.uint64(0)
    for lane in range(count):
        number = start + np.uint64(lane)
        w0[lane], w1[lane], w2[lane], w3[lane] = _philox(number, number >> _32, counter, zero, a, b)
    _normals(w0, w1, radius, x0, x1)
    _normals(w2, w3, radius, x2, x3)


def standard_samples(key: NDArray[np.uint32], first: int, count: int, dimension: int):
    """Return samples `first` … `first + count - 1` of a stream as plain arrays.

    Returns
    -------
    z : array, shape (count, dimension)
        Standard normal vectors [1].
    sign : array, shape (count,)
        Fair signs, +1 or -1 [1].

    """
    x = np.empty((-(-dimension // 8) * 8, count))
    sign = np.empty(count)
    fill_block(x, sign, key, first)
    return np.ascontiguousarray(x[:dimension].T), sign
