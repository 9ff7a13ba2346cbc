"""Activations inside the compiled kernels: values and slopes of many neurons at once.

Piecewise-linear ones are tables (knots, slopes, intercepts) and run in explicit vectors, in the kernel itself; the
smooth ones are here. Exponentials are polynomials without branches, so that the loops over neurons vectorise.
"""

import math

import numba as nb
import numpy as np

# Activations known to the kernels, by number; parameters are (amplitude, gain, shift, offset).
PIECEWISE_LINEAR = 0
TANH = 1
LOGISTIC = 2
ERF = 3
SOFTPLUS = 4
SINE = 5

_TWO_OVER_SQRT_PI = 1.1283791670955126
_LOG2E = 1.4426950408889634
# log 2 in two parts, the first with trailing zeros: products with small integers are exact (Cody & Waite 1980).
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, which lands in the low bits


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def expm1(x):
    """Return exp(x) - 1 for |x| <= 700, within 4e-16 of max(|exp(x) - 1|, |x|), without branches."""
    shifted = x * _LOG2E + _MAGIC
    n = shifted - _MAGIC
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    # Taylor's series on |r| <= log(2)/2; the term left out is 3e-18 of r.
    q = 1 / 87178291200.0
    q = q * r + 1 / 6227020800.0
    q = q * r + 1 / 479001600.0
    q = q * r + 1 / 39916800.0
    q = q * r + 1 / 3628800.0
    q = q * r + 1 / 362880.0
    q = q * r + 1 / 40320.0
    q = q * r + 1 / 5040.0
    q = q * r + 1 / 720.0
    q = q * r + 1 / 120.0
    q = q * r + 1 / 24.0
    q = q * r + 1 / 6.0
    q = q * r + 0.5
    fraction = r + r * r * q
    bits = np.float64(shifted).view(np.int64)
    power = np.int64((bits + np.int64(1023)) << np.int64(52)).view(np.float64)
    return power * fraction + (power - 1.0)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _tanh(p, value, slope, amplitude, gain, shift, offset):
    for i in range(p.size):
        z = min(max(2 * gain * (p[i] - shift), -80.0), 80.0)
        e = expm1(z)
        v = e / (e + 2.0)
        value[i] = offset + amplitude * v
        slope[i] = amplitude * gain * (1.0 - v * v)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _expm1_single(x):
    # exp(x) - 1 for 0 <= x <= 80 in float32 arithmetic, within two units in the last place; the same scheme, shorter.
    shifted = x * np.float32(_LOG2E) + np.float32(12582912)  # 1.5 * 2^23
    n = shifted - np.float32(12582912)
    r = (x - n * np.float32(0.693359375)) - n * np.float32(-2.12194440e-4)
    # Taylor's series; the term left out is 1.5e-8 of r.
    q = np.float32(1 / 5040.0)
    q = q * r + np.float32(1 / 720.0)
    q = q * r + np.float32(1 / 120.0)
    q = q * r + np.float32(1 / 24.0)
    q = q * r + np.float32(1 / 6.0)
    q = q * r + np.float32(0.5)
    fraction = r + r * r * q
    # Integers stay 32 bits wide at every step.
    bits = np.int32(np.float32(shifted).view(np.int32) + np.int32(127))
    power = np.int32(bits << np.int32(23)).view(np.float32)
    return power * fraction + (power - np.float32(1))


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _tanh_single(p, value, slope, amplitude, gain, shift, offset):
    # In float32 arithmetic. By the modulus, so that value and slope keep their relative accuracy where tanh saturates.
    one, two, four = np.float32(1), np.float32(2), np.float32(4)
    most = np.float32(80)
    twice, scale = two * np.float32(gain), np.float32(amplitude) * np.float32(gain)
    for i in range(p.size):
        z = twice * (np.float32(p[i]) - np.float32(shift))
        size = abs(z)
        size = most if size > most else size
        e = _expm1_single(size)
        d = one / (e + two)
        v = e * d
        value[i] = np.float32(offset) + np.float32(amplitude) * (-v if z < np.float32(0) else v)
        slope[i] = scale * (four * ((one + e) * d) * d)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _logistic(p, value, slope, amplitude, gain, shift, offset):
    for i in range(p.size):
        z = min(max(np.float64(gain * (p[i] - shift)), -700.0), 700.0)
        v = 1.0 / (2.0 + expm1(-z))
        value[i] = offset + amplitude * v
        slope[i] = amplitude * gain * (v * (1.0 - v))


@nb.njit(nogil=True, error_model="numpy")
def activate_smooth(p, value, slope, kind, parameters):
    """Fill value = sigma(p) and slope = sigma'(p), neuron by neuron.

    Parameters
    ----------
    p, value, slope : array, shape (neuron,)
        Preactivations [1]; the other two are modified.
    kind : int
        `TANH`, `LOGISTIC`, `ERF`, `SOFTPLUS` or `SINE`.
    parameters : array, shape (4,)
        Amplitude, gain, shift and offset [1].

    """
    amplitude, gain, shift, offset = parameters[0], parameters[1], parameters[2], parameters[3]
    if kind == TANH and p.itemsize == 4:
        _tanh_single(p, value, slope, amplitude, gain, shift, offset)
        return
    if kind == TANH:
        _tanh(p, value, slope, amplitude, gain, shift, offset)
        return
    if kind == LOGISTIC:
        _logistic(p, value, slope, amplitude, gain, shift, offset)
        return
    for i in range(p.size):
        z = gain * (p[i] - shift)
        if kind == ERF:
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
