"""Exponentials without branches, for loops that vectorise and for explicit vectors (`meanfield.kernels.lanes`)."""

import numba as nb
import numpy as np

from meanfield.kernels import lanes

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds a float64 to an integer, left in the low bits.
_52 = np.int64(52)

# 2^r = 1 + C1 r + … + C10 r^10.
_C1 = 0.6931471805599497
_C2 = 0.24022650695908768
_C3 = 0.05550410866445883
_C4 = 0.00961812910803459
_C5 = 0.0013333558228561476
_C6 = 0.00015403529961135955
_C7 = 1.5252658116561384e-05
_C8 = 1.3215662831846104e-06
_C9 = 1.0208537904552164e-07
_C10 = 7.037279530582804e-09
# The same, by power, and what else `exp2_pair` needs, for `exp2_vectors`.
EXP2 = (1.0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, -1021.0, 1023.0, _ROUND)
_LEAST, _GREATEST, _SHIFT = 11, 12, 13


@nb.njit(nogil=True, fastmath={"contract"})
def exp2_pair(x0, x1):
    """Return 2^x0 and 2^x1; arguments beyond the range of float64 are clamped to it."""
    # The nearest integer into the exponent, a polynomial of degree 10 on [-1/2, 1/2], minimax for the relative error
    # (2.1e-16), even and odd powers apart.
    x0, x1 = min(max(x0, -1021.0), 1023.0), min(max(x1, -1021.0), 1023.0)
    n0, n1 = x0 + _ROUND, x1 + _ROUND
    r0, r1 = x0 - (n0 - _ROUND), x1 - (n1 - _ROUND)
    q0, q1 = r0 * r0, r1 * r1
    a0, a1 = _C10 * q0 + _C8, _C10 * q1 + _C8
    b0, b1 = _C9 * q0 + _C7, _C9 * q1 + _C7
    a0, a1 = a0 * q0 + _C6, a1 * q1 + _C6
    b0, b1 = b0 * q0 + _C5, b1 * q1 + _C5
    a0, a1 = a0 * q0 + _C4, a1 * q1 + _C4
    b0, b1 = b0 * q0 + _C3, b1 * q1 + _C3
    a0, a1 = a0 * q0 + _C2, a1 * q1 + _C2
    b0, b1 = b0 * q0 + _C1, b1 * q1 + _C1
    a0, a1 = a0 * q0 + 1.0, a1 * q1 + 1.0
    a0, a1 = b0 * r0 + a0, b1 * r1 + a1
    u0 = np.float64(a0).view(np.int64) + (np.float64(n0).view(np.int64) << _52)
    u1 = np.float64(a1).view(np.int64) + (np.float64(n1).view(np.int64) << _52)
    return np.int64(u0).view(np.float64), np.int64(u1).view(np.float64)


@nb.njit(nogil=True, inline="always")
def _horner(a0, a1, q0, q1, coefficients, k):
    c = lanes.splat(coefficients[k])
    return lanes.fma(a0, q0, c), lanes.fma(a1, q1, c)


@nb.njit(nogil=True, inline="always")
def exp2_vectors(x0, x1, c):
    """Return the same for two vectors; `c` is an array of the numbers in `EXP2`."""
    # Read where they are needed, because in registers they would crowd out everything else. Told to be inlined, which
    # a function that returns two is not.
    x0, x1 = lanes.clip(x0, c[_LEAST], c[_GREATEST]), lanes.clip(x1, c[_LEAST], c[_GREATEST])
    shift = lanes.splat(c[_SHIFT])
    n0, n1 = lanes.add(x0, shift), lanes.add(x1, shift)
    r0, r1 = lanes.subtract(x0, lanes.subtract(n0, shift)), lanes.subtract(x1, lanes.subtract(n1, shift))
    q0, q1 = lanes.multiply(r0, r0), lanes.multiply(r1, r1)
    a0, a1 = _horner(lanes.splat(c[10]), lanes.splat(c[10]), q0, q1, c, 8)
    b0, b1 = _horner(lanes.splat(c[9]), lanes.splat(c[9]), q0, q1, c, 7)
    a0, a1 = _horner(a0, a1, q0, q1, c, 6)
    b0, b1 = _horner(b0, b1, q0, q1, c, 5)
    a0, a1 = _horner(a0, a1, q0, q1, c, 4)
    b0, b1 = _horner(b0, b1, q0, q1, c, 3)
    a0, a1 = _horner(a0, a1, q0, q1, c, 2)
    b0, b1 = _horner(b0, b1, q0, q1, c, 1)
    a0, a1 = _horner(a0, a1, q0, q1, c, 0)
    return lanes.add_exponent(lanes.fma(b0, r0, a0), n0), lanes.add_exponent(lanes.fma(b1, r1, a1), n1)
