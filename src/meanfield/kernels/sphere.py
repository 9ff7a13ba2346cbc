r"""Learning the spherical 3-spin by SGD, accelerated methods and gradient flows: compiled, vector lanes over units.

Inputs x lie on the sphere of radius :math:`\sqrt d`; the network is :math:`f_n(x) = n^{-1} \sum_i c_i\,
\varphi(x, y_i)` with :math:`\varphi = A e^{-\alpha |x - y|^2 / 2}`, centres y on the same sphere, or with
:math:`\varphi = h(\langle a_i, x\rangle + b_i)`, h the logistic function. One iteration moves every unit along minus
n times the gradient of the loss: without 1/n in the step, a step size is a mean-field time for every width.

Why one sample at a time, in lanes over units
---------------------------------------------
The delayed update of `meanfield.kernels.block_sgd` would be exact here too: a centre moves inside the span of itself
and the samples, and the retraction is a scalar factor, so that inner products with the samples of a block follow from
the Gram matrix. It would not pay. It trades 2 d multiply-adds per unit and sample for about 3 K in-block corrections,
so K has to stay well below d = 5; and it saves passes over parameters that do not fit the first cache, while 256
units in d = 5 take 12 kB. The exponentials, most of the work, are the same either way. So this is that algorithm with
K = 1: parameters lie coordinate-major, every inner loop runs over units, the exponential is a branch-free polynomial.
Samples of one batch share the parameters, and four of them share each pass over the gradient.

No sum is reassociated by the compiler, sums over units go through eight partial sums in a fixed order, and an
iteration depends only on the state and its samples: chunks, restarts and other threads change no bit.

The definition, plain numpy, is `meanfield.kernels.sphere_reference`. Arrays in, arrays out; no files.
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.kernels.streams import fill_block

LANES = 32  # units are padded to a multiple of this
_0, _1, _2, _3, _4 = np.uintp(0), np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(4)
_5, _6, _7, _8 = np.uintp(5), np.uintp(6), np.uintp(7), np.uintp(8)
_FILL = 64  # samples drawn at a time, at least

# Units.
GAUSSIAN = 0
SIGMOID = 1
# Pair interactions of the gradient flows.
EXPONENTIAL = 0
SERIES = 1

_SCHEDULES = {"constant": 0, "theta": 1, "harmonic": 2}
_RESTARTS = {"none": 0, "gradient": 1, "function": 2}

# -- exponential ---------------------------------------------------------------------------------------------

_LOG2E = 1.4426950408889634
# log 2 in two parts, the first with enough trailing zeros for its product with an exponent to be exact.
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
# Adding 1.5 * 2^52 rounds to the nearest integer and leaves it in the low bits of the mantissa.
_MAGIC = 6755399441055744.0
_LOWEST = -708.0
_52 = np.int64(52)

_LOG2E_32 = np.float32(1.4426950408889634)
_LN2_HIGH_32 = np.float32(0.693359375)
_LN2_LOW_32 = np.float32(-2.12194440e-4)
_MAGIC_32 = np.float32(12582912.0)
_LOWEST_32 = np.float32(-87.0)
_23 = np.int32(23)
_ONE_32 = np.float32(1)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _exp64(x):
    # exp(x) for x <= 709, relative error below 3e-16; arguments below -708 count as -708 (3e-308). With
    # x = n log 2 + r: (exp(r) - 1 - r) / r^2 by its Chebyshev interpolant of degree 9 on |r| <= log(2)/2,
    # error 1.3e-17, and n added to the exponent bits.
    x = x if x > _LOWEST else _LOWEST
    t = x * _LOG2E + _MAGIC
    n = t - _MAGIC
    r = x - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    q = 2.5100425028118572e-08
    q = q * r + 2.762013985250421e-07
    q = q * r + 2.755726837685132e-06
    q = q * r + 2.4801521187834317e-05
    q = q * r + 1.984126986310715e-04
    q = q * r + 1.388888891728333e-03
    q = q * r + 8.333333333330051e-03
    q = q * r + 4.166666666662399e-02
    q = q * r + 1.6666666666666669e-01
    q = q * r + 5.000000000000001e-01
    p = 1.0 + (r + (r * r) * q)
    bits = np.float64(p).view(np.int64) + (np.float64(t).view(np.int64) << _52)
    return np.int64(bits).view(np.float64)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _exp32(argument):
    # The same in single precision: degree 4, error 8e-9 before rounding; relative error below 1.2e-7.
    x = np.float32(argument)
    x = x if x > _LOWEST_32 else _LOWEST_32
    t = np.float32(x * _LOG2E_32 + _MAGIC_32)
    n = np.float32(t - _MAGIC_32)
    r = np.float32(x - n * _LN2_HIGH_32)
    r = np.float32(r - n * _LN2_LOW_32)
    q = np.float32(1.3926214139550561e-03)
    q = np.float32(q * r + np.float32(8.363203510510061e-03))
    q = np.float32(q * r + np.float32(4.166655443363941e-02))
    q = np.float32(q * r + np.float32(1.666657684275473e-01))
    q = np.float32(q * r + np.float32(0.5))
    p = np.float32(_ONE_32 + (r + (r * r) * q))
    bits = np.int32(p.view(np.int32) + np.int32(t.view(np.int32) << _23))
    return np.int32(bits).view(np.float32)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _gaussian(z, rate, offset, amplitude):
    # z = amplitude exp(rate z - offset), elementwise, in place.
    if z.itemsize == 4:
        for i in range(z.size):
            z[i] = amplitude * _exp32(rate * z[i] - offset)
    else:
        for i in range(z.size):
            z[i] = amplitude * _exp64(rate * z[i] - offset)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _logistic(z, slope):
    # z = h(z), slope = h'(z), elementwise, in place; never an overflow.
    if z.itemsize == 4:
        for i in range(z.size):
            e = _exp32(-abs(z[i]))
            inverse = np.float32(_ONE_32 / (_ONE_32 + e))
            slope[i] = e * inverse * inverse
            z[i] = inverse if z[i] >= 0 else e * inverse
    else:
        for i in range(z.size):
            e = _exp64(-abs(z[i]))
            inverse = 1.0 / (1.0 + e)
            slope[i] = e * inverse * inverse
            z[i] = inverse if z[i] >= 0 else e * inverse


@nb.njit(nogil=True)
def _eight(a, m):
    return a[m], a[m + 1], a[m + 2], a[m + 3], a[m + 4], a[m + 5], a[m + 6], a[m + 7]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _series(s, slope, t, center, values, slopes):
    # With t = center[0] s + center[1] in [-1, 1], s = sum_m values[m] t^m and slope likewise, in place; tables start
    # at the highest power and have a multiple of eight entries: the fewer passes, the less goes through memory.
    scale, shift = center
    for i in range(s.size):
        t[i] = scale * s[i] + shift
        s[i] = 0
        slope[i] = 0
    for m in range(0, values.size, 8):
        a0, a1, a2, a3, a4, a5, a6, a7 = _eight(values, m)
        b0, b1, b2, b3, b4, b5, b6, b7 = _eight(slopes, m)
        for i in range(s.size):
            x = t[i]
            z = (((s[i] * x + a0) * x + a1) * x + a2) * x + a3
            s[i] = (((z * x + a4) * x + a5) * x + a6) * x + a7
            z = (((slope[i] * x + b0) * x + b1) * x + b2) * x + b3
            slope[i] = (((z * x + b4) * x + b5) * x + b6) * x + b7


# -- units and samples ---------------------------------------------------------------------------------------


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _combine(u, x, first, last, out):
    # out[i] = sum_{first <= j < last} x[j] u[j, i], four rows a pass; last > first.
    j = first
    if j + 4 <= last:
        x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
        for i in range(out.size):
            out[i] = x0 * u[j, i] + x1 * u[j + 1, i] + x2 * u[j + 2, i] + x3 * u[j + 3, i]
        j += 4
    else:
        x0 = x[j]
        for i in range(out.size):
            out[i] = x0 * u[j, i]
        j += 1
    while j + 4 <= last:
        x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
        for i in range(out.size):
            out[i] += x0 * u[j, i] + x1 * u[j + 1, i] + x2 * u[j + 2, i] + x3 * u[j + 3, i]
        j += 4
    while j < last:
        x0 = x[j]
        for i in range(out.size):
            out[i] += x0 * u[j, i]
        j += 1


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _inner_product(a, b):
    # Eight partial sums, added in a fixed order: the bits do not depend on how this is vectorised. The size is a
    # multiple of eight; unsigned indices, because signed ones cost a test for wraparound each.
    zero = a.dtype.type(0)
    s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
    for i in range(_0, np.uintp(a.size), _8):
        s0 += a[i] * b[i]
        s1 += a[i + _1] * b[i + _1]
        s2 += a[i + _2] * b[i + _2]
        s3 += a[i + _3] * b[i + _3]
        s4 += a[i + _4] * b[i + _4]
        s5 += a[i + _5] * b[i + _5]
        s6 += a[i + _6] * b[i + _6]
        s7 += a[i + _7] * b[i + _7]
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _accumulate(v, x, p, weights, value, slope, count):
    # v[j, i] += sum_q weights[q] x[p + q, j] slope[q, i] for the parameters of a unit, and with value and without x
    # for its coefficient, the last row; `count` <= 4 samples.
    last, width = v.shape[0] - 1, v.shape[1]
    if count == 4:
        w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
        for j in range(last):
            a0, a1, a2, a3 = w0 * x[p, j], w1 * x[p + 1, j], w2 * x[p + 2, j], w3 * x[p + 3, j]
            for i in range(width):
                v[j, i] += a0 * slope[0, i] + a1 * slope[1, i] + a2 * slope[2, i] + a3 * slope[3, i]
        for i in range(width):
            v[last, i] += w0 * value[0, i] + w1 * value[1, i] + w2 * value[2, i] + w3 * value[3, i]
        return
    for q in range(count):
        w0 = weights[q]
        for j in range(last):
            a0 = w0 * x[p + q, j]
            for i in range(width):
                v[j, i] += a0 * slope[q, i]
        for i in range(width):
            v[last, i] += w0 * value[q, i]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _batch_velocity(u, v, x, f, first, samples, unit, units, work):
    # v = minus n times the gradient of the loss of one batch, in the ambient space; returns the loss.
    kind, alpha, offset, amplitude = unit
    weights, value, slope = work[0], work[1], work[2]
    last = u.shape[0] - 1
    width = u.shape[1]
    c = u[last]
    loss = 0.0
    for j in range(last + 1):
        for i in range(width):
            v[j, i] = 0
    for p in range(0, samples, 4):
        count = samples - p if samples - p < 4 else 4
        for q in range(count):
            z = value[q]
            _combine(u, x[first + p + q], 0, last, z)
            if kind == GAUSSIAN:
                _gaussian(z, alpha, offset, amplitude)
            else:
                _logistic(z, slope[q])
            residual = f[first + p + q] - _inner_product(c, z) / units
            loss += residual * residual
            weights[q] = residual / samples
        # The gradient of a Gaussian unit is proportional to its value: alpha comes in at the end.
        _accumulate(v, x, first + p, weights, value, value if kind == GAUSSIAN else slope, count)
    for j in range(last):
        for i in range(width):
            v[j, i] = (alpha * v[j, i]) * c[i]
    for i in range(units, width):
        v[last, i] = 0
    return loss / (2 * samples)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _cubic(x, terms, out, middle, inner):
    # out = sum_{p <= q <= r} terms[p, q, r] x_p x_q x_r in lanes; x is coordinate-major.
    dimension = terms.shape[0]
    out[:] = 0
    for p in range(dimension):
        middle[:] = 0
        for q in range(p, dimension):
            _combine(x, terms[p, q], q, dimension, inner)
            for i in range(inner.size):
                middle[i] += x[q, i] * inner[i]
        for i in range(inner.size):
            out[i] += x[p, i] * middle[i]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _rescale(u, dimension, scale):
    # Nearest point of the sphere of radius sqrt(d); on entry scale holds the squared norms.
    squared = scale.dtype.type(dimension)
    for i in range(scale.size):
        scale[i] = np.sqrt(squared / scale[i])
    for j in range(dimension):
        for i in range(scale.size):
            u[j, i] *= scale[i]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _retract(u, dimension, scale):
    scale[:] = 0
    for j in range(dimension):
        for i in range(scale.size):
            scale[i] += u[j, i] * u[j, i]
    _rescale(u, dimension, scale)


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _radial(v, u, dimension, normal):
    # normal[i] = <v_i, u_i> / d, so that v - normal u is tangent.
    normal[:] = 0
    j = 0
    while j + 2 <= dimension:
        for i in range(normal.size):
            normal[i] += v[j, i] * u[j, i] + v[j + 1, i] * u[j + 1, i]
        j += 2
    if j < dimension:
        for i in range(normal.size):
            normal[i] += v[j, i] * u[j, i]
    inverse = normal.dtype.type(1.0 / dimension)
    for i in range(normal.size):
        normal[i] *= inverse


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _project(v, u, dimension, normal):
    # v becomes tangent to the sphere at u.
    _radial(v, u, dimension, normal)
    for j in range(dimension):
        for i in range(normal.size):
            v[j, i] -= normal[i] * u[j, i]


# -- two-sequence recurrence ---------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _copy(source, target):
    for j in range(source.shape[0]):
        for i in range(source.shape[1]):
            target[j, i] = source[j, i]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _descend(u, v, moved, eta, constrained, normal, scale):
    # v becomes tangent at u; moved = u + eta v, back on the sphere. Few arrays a loop, none twice: LLVM compiles
    # only loops to vector code whose arrays it can cheaply prove distinct.
    rows, width = u.shape
    if constrained > 0:
        _radial(v, u, constrained, normal)
        scale[:] = 0
        for j in range(constrained):
            for i in range(width):
                v[j, i] -= normal[i] * u[j, i]
            for i in range(width):
                moved[j, i] = u[j, i] + eta * v[j, i]
                scale[i] += moved[j, i] * moved[j, i]
        _rescale(moved, constrained, scale)
    for j in range(constrained, rows):
        for i in range(width):
            moved[j, i] = u[j, i] + eta * v[j, i]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _roll(u, w, v, eta, momentum, constrained, normal, scale):
    # Heavy ball: the second sequence holds u minus the velocity p, in the ambient space; u' = u + p' on the sphere.
    rows, width = u.shape
    if constrained > 0:
        _project(v, u, constrained, normal)
    for j in range(rows):
        for i in range(width):
            v[j, i] = momentum * (u[j, i] - w[j, i]) + eta * v[j, i]
            u[j, i] += v[j, i]
    if constrained > 0:
        _retract(u, constrained, scale)
    for j in range(rows):
        for i in range(width):
            w[j, i] = u[j, i] - v[j, i]


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _move(u, w, v, loss, constrained, recurrence, memory, work):
    # One iteration from the velocity v at u; `memory` is (theta, loss before, age, number of restarts).
    step, momentum, compensation, schedule, condition, restart, heavy_ball = recurrence
    moved, normal, scale = work[3], work[4], work[5]
    rows, width = u.shape
    if heavy_ball:
        _roll(u, w, v, u.dtype.type(step), u.dtype.type(momentum), constrained, normal, scale)
        return
    _descend(u, v, moved, u.dtype.type(step), constrained, normal, scale)
    if schedule == 0 and momentum == 0 and compensation == 0 and restart == 0:
        # Plain descent: the second sequence is the first.
        _copy(moved, u)
        return

    again = False
    if restart == 1:
        uphill = 0.0
        for j in range(rows):
            for i in range(width):
                scale[i] = w[j, i] - moved[j, i]
            uphill += _inner_product(v[j], scale)  # v is minus the gradient
        again = uphill > 0
    elif restart == 2:
        again = loss > memory[1]
    memory[1] = loss

    gamma = momentum
    eta2 = compensation
    if again:
        gamma = 0.0
        eta2 = 0.0
        memory[0] = 1.0
        memory[2] = 0.0
        memory[3] += 1.0
    elif schedule == 1:
        theta = memory[0]
        square = theta * theta
        # The positive root of t^2 = (1 - t) theta^2 + q t.
        half = 0.5 * (condition - square)
        following = half + np.sqrt(half * half + square)
        gamma = theta * (1.0 - theta) / (square + following)
        memory[0] = following
    elif schedule == 2:
        gamma = memory[2] / (memory[2] + 3.0)
        memory[2] += 1.0
    if gamma == 0.0 and eta2 == 0.0:
        _copy(moved, u)
    else:
        ahead, behind, push = u.dtype.type(1.0 + gamma), u.dtype.type(gamma), u.dtype.type(eta2)
        for j in range(rows):
            for i in range(width):
                u[j, i] = (ahead * moved[j, i] - behind * w[j, i]) - push * v[j, i]
        if constrained > 0:
            _retract(u, constrained, scale)
    _copy(moved, w)


@nb.njit(nogil=True)
def _finish(u, w, recurrence):
    if recurrence[1] == 0 and recurrence[2] == 0 and recurrence[3] == 0 and recurrence[5] == 0:
        _copy(u, w)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _advance(u, w, v, iterations, batch, source, units, unit, terms, recurrence, memory, work, samples):
    # `source` is (inputs, key, first): if there are no inputs, samples come from the stream, from number `first` on.
    # All work arrays belong to the caller.
    inputs, key, first = source
    z, sign, x, f, norm, middle, inner = samples
    dimension = terms.shape[0]
    constrained = dimension if unit[0] == GAUSSIAN else 0
    per_fill = x.shape[0] // batch
    done = 0
    while done < iterations:
        now = min(per_fill, iterations - done)
        if inputs.shape[0] == 0:
            fill_block(z, sign, key, first + done * batch)
            _retract(z, dimension, norm)
        else:
            for k in range(now * batch):
                for j in range(dimension):
                    z[j, k] = inputs[done * batch + k, j]
        _cubic(z, terms, f, middle, inner)
        for k in range(now * batch):
            for j in range(dimension):
                x[k, j] = z[j, k]
        for k in range(now):
            loss = _batch_velocity(u, v, x, f, k * batch, batch, unit, units, work)
            _move(u, w, v, loss, constrained, recurrence, memory, work)
        done += now
    _finish(u, w, recurrence)


# -- gradient flows ------------------------------------------------------------------------------------------


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _force(u, quadratic, linear, force, inner):
    # force[p] = sum_{q <= r} quadratic[p, q, r] u_q u_r + linear[p], and the potential itself in the last row: by
    # Euler's identity a third of the cubic part's, and all of the linear part's, radial derivative.
    dimension = linear.size
    force[:] = 0
    third = inner.dtype.type(1.0 / 3.0)
    for p in range(dimension):
        for q in range(dimension):
            _combine(u, quadratic[p, q], q, dimension, inner)
            for i in range(inner.size):
                force[p, i] += u[q, i] * inner[i]
        b = linear[p]
        for i in range(inner.size):
            force[dimension, i] += u[p, i] * (third * force[p, i] + b)
        for i in range(inner.size):
            force[p, i] += b


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _flow_velocity(u, v, y, force, units, flow, work):
    # v_c = potential(y_i) - (1/n) sum_j c_j k(y_i, y_j), and c_i times its gradient in y_i, in the ambient space.
    # Returns (1/n) sum_i c_i [(1/2n) sum_j c_j k(y_i, y_j) - potential(y_i)], which decreases along the flow.
    kind, rate, offset, amplitude, center, values, slopes, quadratic, linear = flow
    weights, value, slope, normal = work[0], work[1], work[2], work[4]
    last, width = u.shape[0] - 1, u.shape[1]
    c = u[last]
    for j in range(last):
        for i in range(units):
            y[i, j] = u[j, i]
    for j in range(last + 1):
        for i in range(width):
            v[j, i] = 0
    for p in range(0, units, 4):
        count = units - p if units - p < 4 else 4
        for q in range(count):
            z = value[q]
            _combine(u, y[p + q], 0, last, z)
            if kind == EXPONENTIAL:
                _gaussian(z, rate, offset, amplitude)
            else:
                _series(z, slope[q], normal, center, values, slopes)
            weights[q] = -c[p + q] / units
        _accumulate(v, y, p, weights, value, value if kind == EXPONENTIAL else slope, count)
    _force(u, quadratic, linear, force, normal)
    half = normal.dtype.type(0.5)
    for i in range(width):
        normal[i] = -half * v[last, i] - force[last, i]
    energy = _inner_product(c, normal) / units
    for j in range(last):
        for i in range(width):
            v[j, i] = c[i] * (rate * v[j, i] + force[j, i])
    for i in range(width):
        v[last, i] += force[last, i]
    for i in range(units, width):
        v[last, i] = 0
    return energy


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _advance_flow(u, w, v, iterations, units, flow, recurrence, memory, work, y, force):
    # With no iterations: the tangent velocity at u.
    dimension = u.shape[0] - 1
    if iterations == 0:
        energy = _flow_velocity(u, v, y, force, units, flow, work)
        _project(v, u, dimension, work[4])
        return energy
    energy = np.nan
    for _ in range(iterations):
        energy = _flow_velocity(u, v, y, force, units, flow, work)
        _move(u, w, v, energy, dimension, recurrence, memory, work)
    _finish(u, w, recurrence)
    return energy


# -- what callers see ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recurrence:
    r"""A first-order method as one linear recurrence of two sequences (u, w), gradients g taken at u.

    .. math:: w' = u - \eta_1 g, \qquad u' = (1 + \gamma_k) w' - \gamma_k w + \eta_2 g .

    Gradient descent has :math:`\gamma = \eta_2 = 0`, Nesterov's method :math:`\eta_2 = 0`, and MaSS (Liu & Belkin
    2020, arXiv:1810.13395) all three; with :math:`\eta_2 = 0` it is Nesterov's, bit for bit. Adaptive restart
    is that of O'Donoghue & Candès (2015), Found. Comput. Math. 15, 715.

    For constrained centres the formulas hold in the ambient space with g the gradient projected on the tangent space
    at u, and each of w' and u', once formed, is replaced by the nearest point of the sphere; where
    :math:`\gamma_k = \eta_2 = 0`, u' is w' itself. Coefficients and sigmoid units are unconstrained.

    Parameters
    ----------
    step : float
        :math:`\eta_1 > 0` [mean-field time].
    momentum : float
        :math:`\gamma` of the constant schedule, in [0, 1) [1].
    compensation : float
        :math:`\eta_2 \ge 0` [mean-field time].
    schedule : str
        ``constant``; ``theta``: :math:`\gamma_k = \theta_k (1 - \theta_k) / (\theta_k^2 + \theta_{k+1})` with
        :math:`\theta_{k+1}^2 = (1 - \theta_{k+1}) \theta_k^2 + q \theta_{k+1}`, :math:`\theta_0 = 1`; ``harmonic``:
        :math:`\gamma_k = k / (k + 3)`, k counted from the last restart.
    condition : float
        q of the schedule ``theta``, in [0, 1] [1]; q = 1 is gradient descent.
    restart : str
        ``none``; ``gradient``: when :math:`\langle g, w' - w\rangle > 0`, over all parameters of all units;
        ``function``: when the loss at u exceeds that at the last u, the batch's loss in stochastic runs (at u and
        not at w, because there it costs nothing). A restart sets :math:`\theta = 1` and :math:`u' = w'`.
    heavy_ball : bool
        Polyak's method instead, :math:`p' = \gamma p - \eta_1 g`, :math:`u' = u + p'`, with the constant schedule. Its
        second sequence is :math:`u - p`; the velocity p is one of the ambient space.

    """

    step: float
    momentum: float = 0.0
    compensation: float = 0.0
    schedule: str = "constant"
    condition: float = 0.0
    restart: str = "none"
    heavy_ball: bool = False

    def __post_init__(self):
        checks = (
            (self.step > 0, f"step must be positive, not {self.step}"),
            (0 <= self.momentum < 1, f"momentum must lie in [0, 1), not {self.momentum}"),
            (self.compensation >= 0, f"compensation must not be negative, not {self.compensation}"),
            (self.schedule in _SCHEDULES, f"schedule must be one of {sorted(_SCHEDULES)}, not {self.schedule!r}"),
            (0 <= self.condition <= 1, f"condition must lie in [0, 1], not {self.condition}"),
            (self.restart in _RESTARTS, f"restart must be one of {sorted(_RESTARTS)}, not {self.restart!r}"),
            (self.schedule == "constant" or self.momentum == 0, "momentum belongs to the constant schedule only"),
            (
                not self.heavy_ball
                or (self.schedule == "constant" and self.restart == "none" and self.compensation == 0),
                "heavy ball has neither schedule nor restart nor compensation",
            ),
        )
        for fine, message in checks:
            if not fine:
                raise ValueError(message)

    @classmethod
    def of(cls, momentum: Momentum, step: float) -> "Recurrence":
        """Return the recurrence of an optimiser's coefficients with the step [mean-field time].

        Raises
        ------
        ValueError
            If restarts depend on losses: `Momentum` takes them at the second sequence, these kernels at the first.

        """
        if momentum.rule == "function_restart":
            msg = "restarts by the loss at the second sequence have no compiled form on the sphere"
            raise ValueError(msg)
        return cls(
            step,
            momentum.gamma,
            momentum.compensation * step,
            "constant" if momentum.rule == "constant" else "theta",
            momentum.q,
            "gradient" if momentum.rule == "gradient_restart" else "none",
            momentum.heavy_ball,
        )

    @classmethod
    def nesterov(cls, step: float, momentum: float) -> "Recurrence":
        """Return Nesterov's method with constant momentum."""
        return cls(step, momentum)

    @classmethod
    def mass(cls, step: float, alpha: float, kappa: float) -> "Recurrence":
        r"""Return MaSS from its theory's parameters :math:`\alpha` in (0, 1] and :math:`\tilde\kappa \ge 1` [1].

        :math:`\gamma = (1 - \alpha) / (1 + \alpha)`, :math:`\eta_2 = \eta_1 (1 - 1/\tilde\kappa) / (1 + \alpha)`.
        """
        return cls(step, (1 - alpha) / (1 + alpha), step * (1 - 1 / kappa) / (1 + alpha))

    @classmethod
    def accelerated(cls, step: float, *, condition: float = 0.0, restart: str = "gradient") -> "Recurrence":
        """Return Nesterov's method with the theta schedule and adaptive restart."""
        return cls(step, schedule="theta", condition=condition, restart=restart)

    def _numbers(self) -> tuple:
        return (
            float(self.step), float(self.momentum), float(self.compensation), _SCHEDULES[self.schedule],
            float(self.condition), _RESTARTS[self.restart], self.heavy_ball,
        )  # fmt: skip


_ANY = Recurrence(1.0)._numbers()  # where no iteration is made


def _padded(count: int) -> int:
    return -(-count // LANES) * LANES


class SphereState:
    r"""Units, both sequences and work space of one run; made once, then advanced.

    Parameters
    ----------
    units : array, shape (unit, parameter)
        Initial units [1]; float32 or float64, and so is all arithmetic. A Gaussian unit is (y, c), d + 1 numbers,
        y on the sphere of radius :math:`\sqrt d`; a sigmoid unit is (a, b, c), d + 2 numbers. Not modified.
    unit : tuple
        From ``kernel_code()`` of a unit in `meanfield.problems.spin3`: number, alpha, alpha d, amplitude.
    terms : array, shape (d, d, d)
        The target as :math:`\sum_{p \le q \le r} t_{pqr} x_p x_q x_r`.

    Attributes
    ----------
    iterations, samples : int
        Iterations made and samples used so far; the stream goes on from there.

    """

    def __init__(self, units: NDArray, unit: tuple, terms: NDArray):
        if units.dtype not in (np.float32, np.float64) or units.ndim != 2:
            msg = f"units must be a float32 or float64 matrix, not {units.dtype} of shape {units.shape}"
            raise ValueError(msg)
        self.dimension = terms.shape[0]
        kind, *constants = unit
        expected = self.dimension + (1 if kind == GAUSSIAN else 2)
        if units.shape[1] != expected:
            msg = f"a unit has {expected} parameters in dimension {self.dimension}, not {units.shape[1]}"
            raise ValueError(msg)
        self.dtype = units.dtype
        self.units_count = len(units)
        self.iterations = 0
        self.samples = 0
        self._unit = (kind, *(self.dtype.type(constant) for constant in constants))
        self._terms = np.ascontiguousarray(terms, self.dtype)
        width = _padded(self.units_count)
        self._shape = (units.shape[1], width)
        self._u = self._zeros(*self._shape)
        self._u[:, : self.units_count] = units.T
        if kind == GAUSSIAN:
            centers = self._u[: self.dimension]
            centers[0, self.units_count :] = np.sqrt(self.dimension)  # padding: on the sphere, coefficient zero
            squared = np.einsum("ji,ji->i", centers, centers, dtype=np.float64)
            if not np.allclose(squared, self.dimension, rtol=1e-5, atol=0):
                msg = f"centres must lie on the sphere of radius sqrt({self.dimension})"
                raise ValueError(msg)
        self._w = self._u.copy()
        # theta, loss at the last u, iterations since the last restart, number of restarts
        self._memory = np.array([1.0, np.inf, 0.0, 0.0])
        self._v = self._zeros(*self._shape)
        self._work = (
            self._zeros(4), self._zeros(4, width), self._zeros(4, width), self._zeros(*self._shape),
            self._zeros(width), self._zeros(width),
        )  # fmt: skip
        self._flow_work = (self._zeros(self.units_count, self.dimension), self._zeros(self.dimension + 1, width))
        self._buffers: dict[int, tuple] = {}
        self._converted: tuple = (None, None)

    def _zeros(self, *shape: int) -> NDArray:
        return np.zeros(shape, self.dtype)

    def _samples_of(self, batch: int) -> tuple:
        if batch < 1:
            msg = f"a batch has at least one sample, not {batch}"
            raise ValueError(msg)
        if batch not in self._buffers:
            count = batch * max(1, _FILL // batch)
            lanes = _padded(count)
            rows = -(-self.dimension // 4) * 4
            self._buffers = {
                batch: (
                    self._zeros(rows, lanes), self._zeros(lanes), np.ones((count, self._shape[0] - 1), self.dtype),
                    self._zeros(lanes), self._zeros(lanes), self._zeros(lanes), self._zeros(lanes),
                )
            }  # fmt: skip
        return self._buffers[batch]

    @property
    def units(self) -> NDArray:
        """A copy of the sequence w, shape (unit, parameter) [1]: equal to u in plain descent."""
        return np.ascontiguousarray(self._w[:, : self.units_count].T)

    @property
    def lookahead(self) -> NDArray:
        """A copy of the points where the next gradient is taken, the sequence u, shape (unit, parameter) [1]."""
        return np.ascontiguousarray(self._u[:, : self.units_count].T)

    @property
    def restarts(self) -> int:
        """Number of restarts so far."""
        return int(self._memory[3])

    def advance_stream(self, iterations: int, recurrence: Recurrence, *, key: NDArray, batch: int = 1) -> None:
        """Run iterations of SGD, each on the next `batch` samples of a stream.

        Sample k is the normal vector of number k of the stream, divided by its norm and multiplied by the square
        root of d: a function of the key and k, whatever the batches, the calls or the restarts.

        Parameters
        ----------
        iterations : int
            How many, 0 or more.
        recurrence : Recurrence
            The method; the gradient is the mean over the batch of the n-fold derivative of half the squared error.
        key : array of uint32, shape (2,)
            From `meanfield.kernels.streams.stream_key`.
        batch : int
            P, samples per iteration.

        """
        self._advance(np.empty((0, self.dimension), self.dtype), key, iterations, batch, recurrence)

    def advance_arrays(self, inputs: NDArray, recurrence: Recurrence, *, batch: int = 1) -> None:
        """Run an iteration per `batch` rows of `inputs`, shape (sample, coordinate), points of the sphere.

        Raises
        ------
        ValueError
            If the samples do not make whole batches, or are not points of the sphere.

        """
        if inputs.ndim != 2 or inputs.shape[1] != self.dimension or len(inputs) % batch:
            msg = f"inputs must be whole batches of {batch} points in dimension {self.dimension}, not {inputs.shape}"
            raise ValueError(msg)
        if not np.allclose(np.einsum("kj,kj->k", inputs, inputs), self.dimension, rtol=1e-5, atol=0):
            msg = f"inputs must lie on the sphere of radius sqrt({self.dimension})"
            raise ValueError(msg)
        if len(inputs):
            key = np.zeros(2, np.uint32)
            self._advance(np.ascontiguousarray(inputs, self.dtype), key, len(inputs) // batch, batch, recurrence)

    def _advance(self, inputs, key, iterations, batch, recurrence) -> None:
        _advance(
            self._u, self._w, self._v, iterations, batch, (inputs, key, self.samples), self.units_count, self._unit,
            self._terms, recurrence._numbers(), self._memory, self._work, self._samples_of(batch),
        )  # fmt: skip
        self.iterations += iterations
        self.samples += iterations * batch

    def _flow(self, flow: tuple) -> tuple:
        if self._unit[0] != GAUSSIAN:
            msg = "the flows have closed forms for Gaussian units only"
            raise ValueError(msg)
        if self._converted[0] is not flow:
            kind, rate, offset, amplitude, center, *arrays = flow
            real = self.dtype.type
            converted = (
                kind, real(rate), real(offset), real(amplitude), (real(center[0]), real(center[1])),
                *(np.ascontiguousarray(array, self.dtype) for array in arrays),
            )  # fmt: skip
            self._converted = (flow, converted)  # an integrator asks for the same one ten thousand times
        return self._converted[1]

    def advance_flow(self, iterations: int, recurrence: Recurrence, flow: tuple) -> float:
        """Run iterations with the full gradient of a flow (explicit Euler, if the recurrence is plain descent).

        Parameters
        ----------
        iterations : int
            How many, 0 or more.
        recurrence : Recurrence
            The method.
        flow : tuple
            From ``population_flow`` or ``batch_free_flow`` of `meanfield.problems.spin3`.

        Returns
        -------
        float
            The flow's objective, without its constant, at the u where the last gradient was taken [1]; nan if
            there was no iteration.

        """
        if iterations == 0:
            return np.nan
        energy = self._run_flow(flow, iterations, recurrence._numbers())
        self.iterations += iterations
        return energy

    def _run_flow(self, flow, iterations, numbers) -> float:
        return float(
            _advance_flow(
                self._u, self._w, self._v, iterations, self.units_count, self._flow(flow), numbers,
                self._memory, self._work, *self._flow_work,
            )
        )  # fmt: skip

    def flow_velocity(self, flow: tuple) -> tuple[NDArray, float]:
        """Return the right-hand side of a flow at u, shape (unit, parameter), tangent, and its objective."""
        energy = self._run_flow(flow, 0, _ANY)
        return np.ascontiguousarray(self._v[:, : self.units_count].T), energy

    def set_units(self, units: NDArray) -> None:
        """Put both sequences at `units`, shape (unit, parameter); centres are put on the sphere."""
        self._u[:, : self.units_count] = units.T
        if self._unit[0] == GAUSSIAN:
            centers = self._u[: self.dimension]
            centers *= np.sqrt(self.dimension / np.einsum("ji,ji->i", centers, centers))
        self._w[:] = self._u

    def snapshot(self) -> dict[str, NDArray]:
        """Return everything that the next iterations depend on, as arrays."""
        return {
            "lookahead": self.lookahead,
            "units": self.units,
            "memory": self._memory.copy(),
            "counters": np.array([self.iterations, self.samples], np.int64),
        }

    def restore(self, snapshot: dict[str, NDArray]) -> None:
        """Go on from a snapshot of a run of the same shape: the same bits as without the interruption."""
        self._u[:, : self.units_count] = snapshot["lookahead"].T
        self._w[:, : self.units_count] = snapshot["units"].T
        self._memory[:] = snapshot["memory"]
        self.iterations, self.samples = (int(number) for number in snapshot["counters"])
