r"""Activation functions and their exact averages over Gaussian and spherical inputs.

Every activation offers, besides its value and derivative, the averages from which population risks follow:

* :math:`h_n(t) = E[\sigma(tG)\,He_n(G)]/\sqrt{n!}`, G standard normal (Hermite coefficients), and the same with a
  bias, :math:`E[\sigma(tG + b)\,He_n(G)]/\sqrt{n!}`, or with :math:`\sigma'` in place of :math:`\sigma`,
* :math:`E\,\sigma(tG)^2` and :math:`E[\sigma(s_1 G_1)\sigma(s_2 G_2)]` for correlated normals,
* :math:`h(s; d) = E\,\sigma(s c)`, c a coordinate of a uniform direction in d dimensions.

Piecewise-linear activations have closed forms (elementary functions, the error function and the incomplete
beta function); smooth ones use Gauss quadrature of stated order. Numpy in, numpy out; no files.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numba as nb
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from meanfield.kernels import activate
from meanfield.kernels.knot_pairs import add_knot_pairs

Floats = NDArray[np.float64]

_TINY = 1e-300
_SQRT_2PI = math.sqrt(2 * math.pi)
# Nodes for averages of smooth activations over a normal variable; and over directions, of which the density wants some.
_NODES = (33, 65, 129, 257, 513, 1025, 2049)
_DIRECTION_NODES = _NODES[2:]
# Odd dimensions up to here have a polynomial rule; above, the trapezoidal rule's error is below 1e-16.
_LARGEST_ODD = 13
# Widest spacing of the arguments of an activation's shape. The nearest pole of a shape is that of tanh, pi/2 from the
# real line: the trapezoidal rule's error is of the order exp(-pi^2 / spacing), 7e-18.
_SPACING = 0.25
# Most evaluations of an activation at a time: what the second cache holds (0.5 MB an array).
_EVALUATIONS = 1 << 16
# Standard deviations on either side that the rule for a normal law covers.
_RANGE = 13.0
# exp(-38^2/2) is the smallest Gaussian density that float64 represents; beyond it all terms vanish.
_LARGEST_KNOT = 38.0


def _pdf(x: Floats) -> Floats:
    return np.exp(-0.5 * x * x) / _SQRT_2PI


@lru_cache(maxsize=16)
def gaussian_rule(order: int) -> tuple[Floats, Floats]:
    """Return nodes and weights (summing to one) of the trapezoidal rule for the standard normal law.

    For analytic integrands it converges geometrically, like Gauss quadrature, and unlike it stays accurate when
    multiplied by Hermite polynomials of high degree. The range is +-13 standard deviations.
    """
    nodes = np.linspace(-_RANGE, _RANGE, order)
    weights = _pdf(nodes)
    return nodes, weights / weights.sum()


@lru_cache(maxsize=16)
def _without_tails(order: int) -> tuple[Floats, Floats]:
    # The Gaussian rule without the nodes that weigh less than a product of two such rules can show.
    nodes, weights = gaussian_rule(order)
    kept = weights > 1e-18
    return nodes[kept], weights[kept]


def _reach(dimension: int) -> float:
    # The angle within which all but 1e-17 of the directions lie.
    return min(np.pi / 2, math.sqrt(80 / max(dimension - 2, 1)))


@lru_cache(maxsize=64)
def direction_rule(dimension: int, order: int) -> tuple[Floats, Floats]:
    """Return nodes and weights (summing to one) for one coordinate of a uniform direction in d >= 2 dimensions.

    The coordinate is the sine of an angle of density proportional to cos^(d - 2). The trapezoidal rule in the angle,
    over the range that holds all but 1e-17 of the mass, converges geometrically for analytic integrands if integrand
    and density continue periodically. For odd d the density changes its sign at the ends of the full range, which
    leaves an error of the order h^(d - 1); but there it is a polynomial in the coordinate itself, and few dimensions
    get the Gauss-Legendre rule.
    """
    if dimension % 2 and dimension <= _LARGEST_ODD:
        nodes, weights = legendre_rule(order)
        weights = weights * (1 - nodes * nodes) ** ((dimension - 3) // 2)
        return nodes, weights / weights.sum()
    reach = _reach(dimension)
    angle = np.linspace(-reach, reach, order)
    weights = np.cos(angle) ** (dimension - 2)
    weights[[0, -1]] /= 2
    return np.sin(angle), weights / weights.sum()


@lru_cache(maxsize=16)
def legendre_rule(order: int) -> tuple[Floats, Floats]:
    """Return nodes and weights of the Gauss-Legendre rule on [-1, 1]."""
    return special.roots_legendre(order)


def normalised_hermite(x: Floats, order: int) -> Floats:
    """Return He_n(x)/sqrt(n!) for n = 0 … order, shape (order + 1, *x.shape)."""
    table = np.empty((order + 1, *np.shape(x)))
    table[0] = 1
    if order:
        table[1] = x
    for n in range(1, order):
        table[n + 1] = (x * table[n] - math.sqrt(n) * table[n - 1]) / math.sqrt(n + 1)
    return table


@lru_cache(maxsize=16)
def _hermite_at_nodes(nodes: int, order: int) -> Floats:
    # He_n/sqrt(n!) at the nodes of a Gaussian rule, shape (node, order + 1).
    return np.ascontiguousarray(normalised_hermite(gaussian_rule(nodes)[0], order).T)


@dataclass(frozen=True)
class PiecewiseLinear:
    r"""The continuous piecewise-linear activation through given points.

    Parameters
    ----------
    knots : sequence of float, strictly increasing
        Positions of the kinks [1].
    values : sequence of float, one per knot
        Values there [1].
    left_slope, right_slope : float
        Slopes before the first and after the last knot [1].

    """

    knots: tuple[float, ...]
    values: tuple[float, ...]
    left_slope: float = 0.0
    right_slope: float = 0.0
    # Of `pair_mean`, in units of what a Hermite coefficient takes: 0.7 us against 7 ns, but orders are also packed and
    # summed for other pairs. With 20, risks along the report's runs took least. Smooth ones: 0.4 ms.
    pair_cost = 20

    def __post_init__(self):
        knots, values = tuple(map(float, self.knots)), tuple(map(float, self.values))
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "values", values)
        if not knots or len(knots) != len(values):
            msg = f"a piecewise-linear activation needs one value per knot: {len(knots)} knots, {len(values)} values"
            raise ValueError(msg)
        if any(b <= a for a, b in itertools.pairwise(knots)):
            msg = f"knots must increase strictly: {list(knots)}"
            raise ValueError(msg)

    @cached_property
    def _tables(self) -> tuple[Floats, Floats, Floats]:
        b, v = np.array(self.knots), np.array(self.values)
        slopes = np.concatenate([[self.left_slope], np.diff(v) / np.diff(b), [self.right_slope]])
        anchor_b, anchor_v = np.concatenate([b[:1], b]), np.concatenate([v[:1], v])
        return b, slopes, anchor_v - slopes * anchor_b

    @property
    def slope_changes(self) -> Floats:
        """Change of slope at each knot, shape (knot,) [1]."""
        return np.diff(self._tables[1])

    def __call__(self, z: ArrayLike) -> Floats:
        """Return sigma(z), elementwise."""
        z = np.asarray(z, dtype=float)
        b, slopes, intercepts = self._tables
        n = np.searchsorted(b, z, side="left")
        return intercepts[n] + slopes[n] * z

    def derivative(self, z: ArrayLike) -> Floats:
        """Return sigma'(z), elementwise; at a knot, the slope on its left."""
        b, slopes, _ = self._tables
        return slopes[np.searchsorted(b, np.asarray(z, dtype=float), side="left")]

    def slopes_at_zero(self) -> tuple[float, float]:
        """Return the left and the right derivative at zero [1]."""
        b, slopes, _ = self._tables
        left = slopes[np.searchsorted(b, 0.0, side="left")]
        right = slopes[np.searchsorted(b, 0.0, side="right")]
        return float(left), float(right)

    def kernel_code(self) -> tuple:
        """Return the activation as the compiled kernels take it."""
        return (activate.PIECEWISE_LINEAR, *self._tables, np.zeros(4))

    def hermite(self, t: ArrayLike, order: int, bias: ArrayLike = 0.0) -> Floats:
        r"""Return h_n(t) for n = 0 … order, shape (order + 1, *t.shape); t >= 0 [1].

        With :math:`\zeta_k = (b_k - b)/t`, slope changes :math:`m_k` and the bias b, which has the shape of t or none,
        for n >= 2, :math:`h_n = t \sum_k m_k \varphi(\zeta_k) He_{n-2}(\zeta_k)/\sqrt{n!}`.
        """
        t = np.maximum(np.asarray(t, dtype=float), _TINY)
        b, slopes, intercepts = self._tables
        out = np.zeros((order + 1, *t.shape))
        out[0] = intercepts[0] + slopes[0] * np.asarray(bias)
        if order >= 1:
            out[1] = slopes[0] * t
        for knot, m in zip(b, self.slope_changes, strict=True):
            distance = knot - bias
            zeta = np.clip(distance / t, -_LARGEST_KNOT, _LARGEST_KNOT)
            density, upper = _pdf(zeta), special.ndtr(-zeta)
            out[0] += m * (t * density - distance * upper)
            if order >= 1:
                out[1] += m * t * upper
            if order >= 2:
                _add_knot(out[2:].reshape(order - 1, -1), (m * t * density).reshape(-1), zeta.reshape(-1))
        return out

    def slope_hermite(self, t: ArrayLike, order: int, bias: ArrayLike = 0.0) -> Floats:
        r"""Return :math:`E[\sigma'(tG + b) He_n(G)]/\sqrt{n!}` for n = 0 … order, shape (order + 1, *t.shape).

        It is :math:`\partial_b h_n`, and :math:`\sqrt{n}\, h_n = t` times the coefficient n - 1.
        """
        t = np.maximum(np.asarray(t, dtype=float), _TINY)
        out = np.zeros((order + 1, *t.shape))
        out[0] = self._tables[1][0]
        n = np.arange(1, order + 1).reshape(-1, *([1] * t.ndim))
        for knot, m in zip(self.knots, self.slope_changes, strict=True):
            zeta = np.clip((knot - bias) / t, -_LARGEST_KNOT, _LARGEST_KNOT)
            out[0] += m * special.ndtr(-zeta)
            if order:
                out[1:] += m * _pdf(zeta) * normalised_hermite(zeta, order - 1) / np.sqrt(n)
        return out

    def gaussian_mean(self, t: ArrayLike, bias: ArrayLike = 0.0) -> Floats:
        """Return E sigma(tG + b), elementwise in t >= 0 and the bias b [1]."""
        return self.hermite(t, 0, bias)[0]

    def gaussian_mean_derivative(self, t: ArrayLike) -> Floats:
        """Return the derivative of `gaussian_mean`, elementwise in t >= 0 [1]."""
        t = np.maximum(np.asarray(t, dtype=float), _TINY)
        out = np.zeros(t.shape)
        for knot, m in zip(self.knots, self.slope_changes, strict=True):
            out += m * _pdf(np.clip(knot / t, -_LARGEST_KNOT, _LARGEST_KNOT))
        return out

    def gaussian_mean_square(self, t: ArrayLike, bias: ArrayLike = 0.0) -> Floats:
        """Return E sigma(tG + b)^2, elementwise in t >= 0 and the bias b [1]."""
        t = np.maximum(np.asarray(t, dtype=float), _TINY)
        b, slopes, intercepts = self._tables
        out = np.zeros(t.shape)
        edges = [-np.inf, *b, np.inf]
        for left, right, slope, value in zip(edges, edges[1:], slopes, intercepts, strict=False):
            value = value + slope * np.asarray(bias)
            lo = np.clip((left - bias) / t, -_LARGEST_KNOT, _LARGEST_KNOT)
            hi = np.clip((right - bias) / t, -_LARGEST_KNOT, _LARGEST_KNOT)
            mass = special.ndtr(hi) - special.ndtr(lo)
            first = _pdf(lo) - _pdf(hi)
            second = mass + lo * _pdf(lo) - hi * _pdf(hi)
            out += value**2 * mass + 2 * value * slope * t * first + (slope * t) ** 2 * second
        return np.maximum(out, 0.0)  # rounding may leave -1e-20 where the activation hardly ever leaves zero

    def gaussian_mean_square_slope(self, t: ArrayLike, bias: ArrayLike = 0.0) -> Floats:
        """Return E sigma'(tG + b)^2, elementwise in t >= 0 and the bias b [1]."""
        t = np.maximum(np.asarray(t, dtype=float), _TINY)
        b, slopes, _ = self._tables
        out = np.full(t.shape, slopes[0] ** 2)
        for knot, change in zip(b, np.diff(slopes**2), strict=True):
            out += change * special.ndtr((bias - knot) / t)
        return out

    def pair_mean(
        self,
        s1: ArrayLike,
        s2: ArrayLike,
        c: ArrayLike,
        order: int = 64,
        *,
        bias1: ArrayLike = 0.0,
        bias2: ArrayLike = 0.0,
    ) -> Floats:
        r"""Return :math:`E[\sigma(s_1 G_1 + b_1) \sigma(s_2 G_2 + b_2)]` for normals of correlation c, elementwise.

        Twice Price's theorem: the second derivative in c is a sum of bivariate normal densities at the knots,
        integrated here by Gauss-Legendre quadrature in the angle arcsin c. Accurate to about 1e-12 for
        \|c\| <= 0.9 and to 1e-6 up to \|c\| = 1 at the default order.
        """
        s1, s2, c, bias1, bias2 = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (s1, s2, c, bias1, bias2)))
        s1, s2 = np.maximum(s1, _TINY), np.maximum(s2, _TINY)
        h1, h2 = self.hermite(s1, 1, bias1), self.hermite(s2, 1, bias2)
        out = h1[0] * h2[0] + c * h1[1] * h2[1]
        nodes, weights = legendre_rule(order)
        out = np.array(out, dtype=float, order="C")
        add_knot_pairs(
            *(np.array(a).ravel() for a in (s1, s2, c, bias1, bias2)),  # copies: a broadcast array is read-only
            np.array(self.knots), self.slope_changes, nodes, weights, out.reshape(-1),
        )  # fmt: skip
        return out

    def spherical_mean(self, s: ArrayLike, dimension: int) -> Floats:
        """Return E sigma(s c), c a coordinate of a uniform direction in d >= 2 dimensions; s >= 0 [1]."""
        s = np.maximum(np.asarray(s, dtype=float), _TINY)
        b, _, intercepts = self._tables
        out = np.full(s.shape, intercepts[0])
        for knot, m in zip(b, self.slope_changes, strict=True):
            a = np.clip(knot / s, -1, 1)
            tail = 0.5 * special.betainc((dimension - 1) / 2, 0.5, 1 - a * a)
            tail = np.where(a >= 0, tail, 1 - tail)
            out += m * (s * _first_moment(a, dimension) - knot * tail)
        return out

    def spherical_mean_derivative(self, s: ArrayLike, dimension: int) -> Floats:
        """Return the derivative of `spherical_mean` in s, elementwise; at s = 0 the right derivative."""
        s = np.maximum(np.asarray(s, dtype=float), _TINY)
        out = np.zeros(s.shape)
        for knot, m in zip(self.knots, self.slope_changes, strict=True):
            out += m * _first_moment(np.clip(knot / s, -1, 1), dimension)
        return out


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _add_knot(table, factor, x):
    # table[n] += factor He_n(x) / sqrt((n + 2)!), elementwise in x: a step of the recursion at a time.
    before, now = np.zeros(x.size), factor / math.sqrt(2.0)
    for n in range(len(table)):
        row = table[n]
        # p_n = He_n / sqrt((n + 2)!): p_{n+1} = (x p_n - n p_{n-1} / sqrt(n + 2)) / sqrt(n + 3)
        a, b = 1 / math.sqrt(n + 3.0), n / math.sqrt((n + 2.0) * (n + 3.0))
        for i in range(x.size):
            row[i] += now[i]
            before[i], now[i] = now[i], a * x[i] * now[i] - b * before[i]


def _first_moment(a: Floats, dimension: int) -> Floats:
    # E[c; c > a] for a coordinate c of a uniform direction.
    log_z = math.lgamma(dimension / 2) - math.lgamma((dimension - 1) / 2) - 0.5 * math.log(math.pi)
    return math.exp(log_z) * (1 - a * a) ** ((dimension - 1) / 2) / (dimension - 1)


def _softplus(z: Floats) -> Floats:
    return np.logaddexp(0.0, z)


_SMOOTH = {
    "tanh": (activate.TANH, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "logistic": (activate.LOGISTIC, special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "erf": (activate.ERF, special.erf, lambda z: 2 / math.sqrt(math.pi) * np.exp(-z * z)),
    "softplus": (activate.SOFTPLUS, _softplus, special.expit),
    "sine": (activate.SINE, np.sin, np.cos),
}


@dataclass(frozen=True)
class Smooth:
    r"""A smooth activation, :math:`\sigma(z) = o + A f(g (z - z_0))`.

    Parameters
    ----------
    shape : str
        f: one of tanh, logistic, erf, softplus, sine.
    amplitude, gain, shift, offset : float
        A, g, z_0 and o [1].
    order : int
        Largest number of quadrature nodes for Gaussian averages; 2049 gives 1e-8 up to gain * norm = 40.

    """

    shape: str
    amplitude: float = 1.0
    gain: float = 1.0
    shift: float = 0.0
    offset: float = 0.0
    order: int = field(default=2049, repr=False)
    pair_cost = 30000

    def __post_init__(self):
        if self.shape not in _SMOOTH:
            msg = f"activation shape {self.shape!r} is unknown; known: {', '.join(_SMOOTH)}"
            raise ValueError(msg)

    def __call__(self, z: ArrayLike) -> Floats:
        """Return sigma(z), elementwise."""
        f = _SMOOTH[self.shape][1]
        return self.offset + self.amplitude * f(self.gain * (np.asarray(z, dtype=float) - self.shift))

    def derivative(self, z: ArrayLike) -> Floats:
        """Return sigma'(z), elementwise."""
        f = _SMOOTH[self.shape][2]
        return self.amplitude * self.gain * f(self.gain * (np.asarray(z, dtype=float) - self.shift))

    def slopes_at_zero(self) -> tuple[float, float]:
        """Return the left and the right derivative at zero [1]."""
        slope = float(self.derivative(0.0))
        return slope, slope

    def kernel_code(self) -> tuple:
        """Return the activation as the compiled kernels take it."""
        parameters = np.array([self.amplitude, self.gain, self.shift, self.offset])
        return (_SMOOTH[self.shape][0], np.zeros(1), np.zeros(2), np.zeros(2), parameters)

    def _nodes(self, t: ArrayLike, degree: int, factors: int = 1, most: int | None = None) -> int:
        # How many nodes averages of He_degree(G) times so many factors sigma(tG + b) need. The trapezoidal rule with
        # spacing h is exact but for the integrand's Fourier transform beyond 2 pi / h. That of He_n times the density
        # is gone 6.5 beyond sqrt(n), and each factor, with poles pi / (2 gain t) away, adds 23.5 gain t (1e-16).
        largest = float(np.max(np.abs(t), initial=0.0))
        band = math.sqrt(degree) + 6.5 + factors * 23.5 * abs(self.gain) * largest
        most = self.order if most is None else most
        return next((m for m in _NODES if m < most and band * _RANGE <= math.pi * (m - 1)), most)

    def _inputs(self, t: ArrayLike, bias: ArrayLike, order: int) -> tuple[Floats, Floats, Floats]:
        # Preactivations t G + b at the nodes of G, which are the last axis; the nodes and their weights.
        nodes, weights = gaussian_rule(order)
        return np.asarray(t, dtype=float)[..., None] * nodes + np.asarray(bias)[..., None], nodes, weights

    def _projected(self, function: Callable[[Floats], Floats], t: ArrayLike, order: int, bias: ArrayLike) -> Floats:
        nodes = self._nodes(t, order)
        z, _, weights = self._inputs(t, bias, nodes)
        return np.moveaxis((function(z) * weights) @ _hermite_at_nodes(nodes, order), -1, 0)

    def hermite(self, t: ArrayLike, order: int, bias: ArrayLike = 0.0) -> Floats:
        """Return h_n(t) for n = 0 … order, shape (order + 1, *t.shape); t >= 0, the bias of its shape or none [1]."""
        return self._projected(self, t, order, bias)

    def slope_hermite(self, t: ArrayLike, order: int, bias: ArrayLike = 0.0) -> Floats:
        r"""Return :math:`E[\sigma'(tG + b) He_n(G)]/\sqrt{n!}` for n = 0 … order, shape (order + 1, *t.shape)."""
        return self._projected(self.derivative, t, order, bias)

    def gaussian_mean(self, t: ArrayLike, bias: ArrayLike = 0.0) -> Floats:
        """Return E sigma(tG + b), elementwise in t >= 0 and the bias b [1]."""
        z, _, weights = self._inputs(t, bias, self._nodes(t, 0))
        return self(z) @ weights

    def gaussian_mean_derivative(self, t: ArrayLike) -> Floats:
        """Return the derivative of `gaussian_mean`, elementwise in t >= 0 [1]."""
        nodes, weights = gaussian_rule(self._nodes(t, 1))
        return self.derivative(np.asarray(t, dtype=float)[..., None] * nodes) @ (weights * nodes)

    def gaussian_mean_square(self, t: ArrayLike, bias: ArrayLike = 0.0) -> Floats:
        """Return E sigma(tG + b)^2, elementwise in t >= 0 and the bias b [1]."""
        z, _, weights = self._inputs(t, bias, self._nodes(t, 0, factors=2))
        return self(z) ** 2 @ weights

    def gaussian_mean_square_slope(self, t: ArrayLike, bias: ArrayLike = 0.0) -> Floats:
        """Return E sigma'(tG + b)^2, elementwise in t >= 0 and the bias b [1]."""
        z, _, weights = self._inputs(t, bias, self._nodes(t, 0, factors=2))
        return self.derivative(z) ** 2 @ weights

    def pair_mean(
        self,
        s1: ArrayLike,
        s2: ArrayLike,
        c: ArrayLike,
        order: int | None = None,
        *,
        bias1: ArrayLike = 0.0,
        bias2: ArrayLike = 0.0,
    ) -> Floats:
        """Return E[sigma(s1 G1 + b1) sigma(s2 G2 + b2)] for normals of correlation c, elementwise.

        By the product of two Gaussian rules, of as many nodes as the functions ask for, `order` at most each (the
        activation's own `order`, if there is none).
        """
        s1, s2, c, bias1, bias2 = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (s1, s2, c, bias1, bias2)))
        # G2 = c G1 + o G, so that sigma(s2 G2 + b2) moves along both axes.
        along, across = s2 * c, s2 * np.sqrt(np.maximum(1 - c * c, 0))
        nodes, weights = _without_tails(self._nodes(np.abs(s1) + np.abs(along), 0, most=order))
        inner_nodes, inner_weights = _without_tails(self._nodes(across, 0, most=order))
        columns = [np.ravel(a)[:, None] for a in (s1, along, across, bias1, bias2)]
        out, step = np.zeros(s1.size), max(1, _EVALUATIONS // inner_nodes.size)
        for start in range(0, s1.size, step):
            part = slice(start, start + step)
            first, second, third, b1, b2 = (a[part] for a in columns)
            offset = third * inner_nodes + b2
            for node, weight in zip(nodes, weights, strict=True):
                inner = self(second * node + offset) @ inner_weights
                out[part] += weight * self(first * node + b1)[:, 0] * inner
        return out.reshape(s1.shape)

    def spherical_mean(self, s: ArrayLike, dimension: int) -> Floats:
        """Return E sigma(s c), c a coordinate of a uniform direction in d >= 2 dimensions; s >= 0 [1]."""
        return _average(self, self.gain, s, dimension, 0)

    def spherical_mean_derivative(self, s: ArrayLike, dimension: int) -> Floats:
        """Return the derivative of `spherical_mean` in s, elementwise."""
        return _average(self.derivative, self.gain, s, dimension, 1)


def _average(function: Callable[[Floats], Floats], gain: float, s: ArrayLike, dimension: int, power: int) -> Floats:
    # E[c^power function(s c)] over directions, elementwise in s, with as many nodes as each s asks for.
    s = np.asarray(s, dtype=float)
    flat = s.reshape(-1)
    out = np.empty(flat.size)
    reach = _reach(dimension)
    largest = [_SPACING * (order - 1) / (2 * reach) for order in _DIRECTION_NODES[:-1]]
    choice = np.searchsorted(largest, np.abs(gain * flat))
    for k, order in enumerate(_DIRECTION_NODES):
        chosen = np.flatnonzero(choice == k)
        if chosen.size:
            nodes, weights = direction_rule(dimension, order)
            out[chosen] = _weighted_sums(function, flat[chosen], nodes, weights * nodes**power)
    return out.reshape(s.shape)


def _weighted_sums(function: Callable[[Floats], Floats], s: Floats, nodes: Floats, weights: Floats) -> Floats:
    # Sums of weights times function(s node) for each s: so many at a time that they stay in the cache, since the
    # norms of all nodes of a rule with those of a whole table make tens of millions.
    step = max(1, _EVALUATIONS // nodes.size)
    out = np.empty(s.size)
    for start in range(0, s.size, step):
        out[start : start + step] = function(s[start : start + step, None] * nodes) @ weights
    return out


Activation = PiecewiseLinear | Smooth


def make_activation(settings: dict) -> Activation:
    """Return the activation of one configuration block, such as ``{kind: tanh, gain: 2.0, …}``.

    Raises
    ------
    ValueError
        If the kind is unknown or the points do not define a function.

    """
    settings = dict(settings)
    kind = settings.pop("kind")
    settings.pop("description", None)
    if kind == "piecewise_linear":
        return PiecewiseLinear(**settings)
    return Smooth(shape=kind, **settings)
