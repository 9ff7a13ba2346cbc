"""Means of products of piecewise-linear units of two correlated normals: what two knots have to do with each other."""

import math

import numba as nb
import numpy as np

from meanfield.kernels.exponentials import EXP2, LOG2_E, exp2_vectors
from meanfield.kernels.lanes import fma, fma_at, load, multiply, splat, store, subtract

_TOGETHER = 16  # pairs of units: two vectors, for the latency of a multiplication
# Taylor's series of the sine on [-pi/2, pi/2]; the term left out is 2e-18.
_SINE = tuple((-1) ** n / math.factorial(2 * n + 1) for n in range(11, -1, -1))


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def add_knot_pairs(s1, s2, c, bias1, bias2, knots, changes, nodes, weights, out):
    r"""Add to `out` the second part of :math:`E[\sigma(s_1 G_1 + b_1) \sigma(s_2 G_2 + b_2)]`, elementwise.

    By Price's theorem the second derivative of the mean in the correlation is a sum over pairs of knots of the normal
    density there; it is integrated twice, in the angle :math:`\arcsin c`.

    Parameters
    ----------
    s1, s2, c, bias1, bias2 : arrays, shape (pair,)
        Standard deviations, correlations and biases of the preactivations [1].
    knots, changes : arrays, shape (knot,)
        The activation's knots and the changes of its slope there [1].
    nodes, weights : arrays, shape (node,)
        Gauss and Legendre's rule on [-1, 1].
    out : array, shape (pair,)
        What is added to [1].

    """
    count, size, width = knots.size, s1.size, _TOGETHER // 2
    x, y = np.zeros(count * _TOGETHER), np.zeros(count * _TOGETHER)
    top, cosine, sine, rest, scale, total = np.zeros((6, _TOGETHER))
    changed = np.outer(changes, changes).ravel()
    coefficients = np.array(EXP2)
    zero = splat(np.float64(0))
    for start in range(0, size, _TOGETHER):
        present = min(_TOGETHER, size - start)
        for i in range(present):
            n = start + i
            for a in range(count):
                x[a * _TOGETHER + i] = min(max((knots[a] - bias1[n]) / s1[n], -1e8), 1e8)
                y[a * _TOGETHER + i] = min(max((knots[a] - bias2[n]) / s2[n], -1e8), 1e8)
            cosine[i] = c[n]
            top[i] = math.asin(min(max(c[n], -1.0), 1.0))
        total0, total1 = zero, zero
        for q in range(nodes.size):
            fraction = (1 + nodes[q]) / 2
            for i in range(_TOGETHER):
                angle = fraction * top[i]
                square, value = angle * angle, 0.0
                for term in range(len(_SINE)):
                    value = value * square + _SINE[term]
                sine[i] = angle * value
                # x^2 + y^2 - 2 x y sine = (x - y)^2 + 2 x y (1 - sine), without cancellation as the sine approaches one
                rest[i] = 2 * (1 - sine[i])
                scale[i] = -0.5 * LOG2_E / max(1 - sine[i] * sine[i], 1e-300)
            density0, density1 = zero, zero
            for a in range(count):
                x0, x1 = load(x, a * _TOGETHER), load(x, a * _TOGETHER + width)
                product0, product1 = multiply(x0, load(rest, 0)), multiply(x1, load(rest, width))
                for b in range(count):
                    y0, y1 = load(y, b * _TOGETHER), load(y, b * _TOGETHER + width)
                    d0, d1 = subtract(x0, y0), subtract(x1, y1)
                    form0, form1 = fma(d0, d0, multiply(product0, y0)), fma(d1, d1, multiply(product1, y1))
                    e0, e1 = exp2_vectors(
                        multiply(form0, load(scale, 0)), multiply(form1, load(scale, width)), coefficients
                    )
                    density0 = fma_at(changed, a * count + b, e0, density0)
                    density1 = fma_at(changed, a * count + b, e1, density1)
            ahead0 = subtract(load(cosine, 0), load(sine, 0))
            ahead1 = subtract(load(cosine, width), load(sine, width))
            total0 = fma(multiply(splat(weights[q]), ahead0), density0, total0)
            total1 = fma(multiply(splat(weights[q]), ahead1), density1, total1)
        store(total, 0, total0)
        store(total, width, total1)
        for i in range(present):
            n = start + i
            out[n] += total[i] * top[i] / 2 * s1[n] * s2[n] / (2 * math.pi)
