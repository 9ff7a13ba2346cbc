r"""First variation of the risk for neurons (a, b, r1, r2) whose directions are uniform in two blocks of coordinates.

The preactivation of a neuron, given the class, is normal with the standard deviation
:math:`s = \sqrt{\tau^2 r_1^2 + r_2^2}` around b, and two of them have the correlation :math:`p p' A + q q' B` with
:math:`p = \tau r_1/s`, :math:`q = r_2/s` and independent cosines A, B. Its powers average to sums of products, so that
with Hermite coefficients :math:`h_n(s, b)` of :math:`\sigma(sG + b)`

.. math:: \Psi = \tfrac12 \sum_y a \sum_n h_n P_n(p, q), \qquad
          P_n = \sum_k W_{nk} S_{nk}\, p^k q^{n-k}, \qquad
          S_{nk} = \int a\, h_n\, p^k q^{n-k}\, d\rho,

and :math:`P_0 = \int a h_0\, d\rho - y`. The coefficients of :math:`\sigma'`, :math:`D_n`, give all others,
:math:`\sqrt{n} h_n = s D_{n-1}`, and the derivatives

.. math:: \partial_b h_n = D_n, \qquad
          \partial_{r_1} (h_n P_n) = \tau\, [\sqrt{n+1}\, D_{n+1}\, p P_n + D_{n-1}\, \partial_p P_n/\sqrt{n}],

in which nothing is divided by s; for :math:`r_2`, q takes the place of p, and 1 that of tau.
"""

import numba as nb
import numpy as np

# Highest order of the series.
HIGHEST = 128


@nb.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _fill_powers(powers, base):
    powers[0] = 1
    for k in range(1, powers.size):
        powers[k] = powers[k - 1] * base


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def add_variation(label, tau, theta, mass, mean, slopes, orders, splits, weights, sums, out):
    r"""Add one class's part of the gradient of :math:`\Psi` to `out` and return its part of the risk.

    Parameters
    ----------
    label, tau : float
        y, and the standard deviation of an informative coordinate [1].
    theta : array, shape (4, atom)
        a, b, r1 and r2 [1].
    mass : array, shape (atom,)
        Masses, which sum to one [1].
    mean : array, shape (atom,)
        :math:`h_0` [1].
    slopes : array, shape (highest order + 2, atom)
        :math:`D_n` [1].
    orders, splits : array of int, shape (term,)
        n >= 2 and k of each term, n increasing.
    weights : array, shape (term,)
        :math:`W_{nk}` [1].
    sums : array, shape (term,)
        Overwritten with :math:`S_{nk}`.
    out : array, shape (4, atom)
        Added to: the derivatives in a, b, r1 and r2 [1].

    """
    atoms, terms = mass.size, orders.size
    highest = orders[terms - 1] if terms else 0
    p_power, q_power = np.empty(highest + 1), np.empty(highest + 1)
    p, q, s = np.empty(atoms), np.empty(atoms), np.empty(atoms)
    for j in range(atoms):
        x, y = tau * theta[2, j], theta[3, j]
        s[j] = np.hypot(x, y)
        inverse = 1 / max(s[j], 1e-300)
        p[j], q[j] = x * inverse, y * inverse
    # The means.
    excess = -label
    sums[:] = 0
    for j in range(atoms):
        weight = mass[j] * theta[0, j]
        excess += weight * mean[j]
        weight *= s[j]
        _fill_powers(p_power, p[j])
        _fill_powers(q_power, q[j])
        for t in range(terms):
            n, k = orders[t], splits[t]
            sums[t] += weight * slopes[n - 1, j] * p_power[k] * q_power[n - k]
    risk = 0.5 * excess * excess
    for t in range(terms):
        sums[t] /= np.sqrt(orders[t])
        risk += 0.5 * weights[t] * sums[t] * sums[t]
    # The first variation.
    for j in range(atoms):
        a = theta[0, j]
        da, db = mean[j] * excess, slopes[0, j] * excess
        d1, d2 = p[j] * slopes[1, j] * excess, q[j] * slopes[1, j] * excess
        _fill_powers(p_power, p[j])
        _fill_powers(q_power, q[j])
        t = 0
        while t < terms:
            n = orders[t]
            value = by_p = by_q = 0.0
            while t < terms and orders[t] == n:
                k = splits[t]
                w = weights[t] * sums[t]
                value += w * p_power[k] * q_power[n - k]
                if k > 0:
                    by_p += w * k * p_power[k - 1] * q_power[n - k]
                if k < n:
                    by_q += w * (n - k) * p_power[k] * q_power[n - k - 1]
                t += 1
            root = np.sqrt(n)
            below, above = slopes[n - 1, j] / root, np.sqrt(n + 1.0) * slopes[n + 1, j]
            da += s[j] * below * value
            db += slopes[n, j] * value
            d1 += above * p[j] * value + below * by_p
            d2 += above * q[j] * value + below * by_q
        out[0, j] += 0.5 * da
        out[1, j] += 0.5 * a * db
        out[2, j] += 0.5 * a * tau * d1
        out[3, j] += 0.5 * a * d2
    return risk
