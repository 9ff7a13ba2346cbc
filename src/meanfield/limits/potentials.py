r"""Radial potentials of the isotropic problem in separable form, in finite dimension and in the limit.

For a rotation-invariant law of the weights the prediction at an input of norm R and class q depends on R only,
:math:`\hat y_q = \int F_q(r)\, \rho(dr)` with :math:`F_q(r) = E\,\sigma(r R_q c)`, c a coordinate of a uniform
direction. With Gauss-Laguerre nodes :math:`R_q` for the norm of x in each class and weights :math:`p_q`,

.. math:: R(\rho) = \sum_q p_q (y_q - \hat y_q)^2, \qquad
          \psi(r; \rho) = \sum_q p_q (\hat y_q - y_q) F_q(r), \qquad
          u(r, s) = \sum_q p_q F_q(r) F_q(s),

so that J particles cost J times the number of nodes and no J x J matrix. In the limit d = infinity the norm of x
concentrates and one node per class remains, :math:`F_\pm(r) = E\,\sigma(\tau_\pm r G)`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield.kernels import characteristics as kernel
from meanfield.problems.isotropic import IsotropicGaussians

Floats = NDArray[np.float64]

_NODES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
_QUADRATURE_TOLERANCE = 1e-9
_TABLE_TOLERANCE = 1e-10
# Intervals tried for the table of the mean and for that of the features, and the most (intervals times features) of
# the latter: 13 MB.
_MEAN_INTERVALS = tuple(512 << n for n in range(7))
_INTERVALS = tuple(512 << n for n in range(4))
_LARGEST_TABLE = 1 << 18
_GRID_PER_NODE = 4
_TINY = 1e-300


def norm_rule(dimension: int, order: int) -> tuple[Floats, Floats]:
    """Return nodes and weights (summing to one) of Gauss quadrature for the norm of a standard normal vector."""
    n = np.arange(order)
    alpha = dimension / 2 - 1
    nodes, vectors = linalg.eigh_tridiagonal(2 * n + 1 + alpha, np.sqrt(n[1:] * (n[1:] + alpha)))
    return np.sqrt(2 * np.maximum(nodes, 0)), vectors[0] ** 2


@dataclass(frozen=True)
class RadialPotentials:
    """Features of all nodes and what follows from them; made by `radial_potentials`.

    Attributes
    ----------
    problem : IsotropicGaussians
        The problem.
    infinite : bool
        Whether these are the potentials of the limit d = infinity.
    radii, weights, targets : array, shape (node,)
        Norm of the input (standard deviation of the preactivation per unit norm if d is infinite), probability
        and label of each node [1].
    error : float
        Largest error of v, and change of u with twice as many nodes (half as many, if there were no more to try),
        over a grid of norms.

    """

    problem: IsotropicGaussians
    infinite: bool
    radii: Floats
    weights: Floats
    targets: Floats
    error: float

    def _mean(self, s: Floats) -> Floats:
        a = self.problem.activation
        return a.gaussian_mean(s) if self.infinite else a.spherical_mean(s, self.problem.dimension)

    def _mean_derivative(self, s: Floats) -> Floats:
        a = self.problem.activation
        if self.infinite:
            return a.gaussian_mean_derivative(s)
        return a.spherical_mean_derivative(s, self.problem.dimension)

    def features(self, r: Floats) -> Floats:
        """Return F_q(r), shape (node, *r.shape) [1], for r >= 0."""
        return self._mean(np.multiply.outer(self.radii, np.asarray(r, dtype=float)))

    def feature_derivatives(self, r: Floats) -> Floats:
        """Return F_q'(r), shape (node, *r.shape) [1]; at r = 0 the right derivative."""
        r = np.asarray(r, dtype=float)
        radii = self.radii.reshape(-1, *([1] * r.ndim))
        return radii * self._mean_derivative(np.multiply.outer(self.radii, r))

    def predictions(self, r: Floats, mass: Floats) -> Floats:
        """Return the prediction at each node, shape (node,), of atoms of given norms and masses."""
        return self.features(r) @ mass

    def risk(self, r: Floats, mass: Floats) -> float:
        """Return the population risk of a law of atoms with given norms and masses [1]."""
        return float(self.weights @ (self.targets - self.predictions(r, mass)) ** 2)

    def first_variation(self, at: Floats, r: Floats, mass: Floats) -> Floats:
        r"""Return :math:`\psi(r; \rho)` at the norms `at` [1]; its derivative is minus half the drift."""
        error = self.weights * (self.predictions(r, mass) - self.targets)
        return np.tensordot(error, self.features(at), axes=1)

    def drift(self, at: Floats, r: Floats, mass: Floats) -> Floats:
        r"""Return the drift :math:`-2 \psi'(r; \rho)` per unit of the clock at the norms `at` [1]."""
        error = self.weights * (self.targets - self.predictions(r, mass))
        return 2 * np.tensordot(error, self.feature_derivatives(at), axes=1)

    def single(self, r: Floats) -> Floats:
        """Return v(r) [1]."""
        return -np.tensordot(self.weights * self.targets, self.features(r), axes=1)

    def pair(self, r1: Floats, r2: Floats) -> Floats:
        """Return u(r1, r2) [1], elementwise."""
        return np.tensordot(self.weights, self.features(r1) * self.features(r2), axes=1)


def radial_potentials(problem: IsotropicGaussians, *, infinite: bool = False) -> RadialPotentials:
    """Return the radial potentials of a problem, with as many nodes as the pair potential needs.

    Parameters
    ----------
    problem : IsotropicGaussians
        The problem.
    infinite : bool
        Whether to take the limit d = infinity.

    Returns
    -------
    RadialPotentials
        The number of nodes doubles until v is exact and u changes by less than 1e-9 of its size, both for norms up
        to 6; what is reached is kept as `error`.

    """
    wide, narrow = problem.scales
    half = np.array([0.5, 0.5])
    labels = np.array([1.0, -1.0])
    if infinite:
        return RadialPotentials(problem, True, np.array([wide, narrow]), half, labels, 0.0)
    probe = np.linspace(0.05, 6.0, 30)
    exact = problem.potential(probe)
    coarse = coarse_pair = None
    for order in _NODES:
        norms, weights = norm_rule(problem.dimension, order)
        radii = np.concatenate([wide * norms, narrow * norms])
        keep = np.tile(weights, 2) > 1e-20  # nodes of no weight only cost time
        fine = RadialPotentials(
            problem, False, radii[keep], np.tile(weights, 2)[keep] / 2, np.repeat(labels, order)[keep], np.nan
        )
        features = fine.features(probe)
        pair = (features * fine.weights[:, None]).T @ features
        # The exact v is known in every dimension; u is compared with what twice as many nodes give.
        v_error = float(np.abs(features.T @ (fine.weights * fine.targets) + exact).max())
        if coarse is not None:
            change = float(np.abs(pair - coarse_pair).max())
            if max(coarse.error, change) <= _QUADRATURE_TOLERANCE * np.abs(pair).max():
                return dataclasses.replace(coarse, error=max(coarse.error, change))
        coarse, coarse_pair = dataclasses.replace(fine, error=v_error), pair
    return dataclasses.replace(fine, error=max(v_error, change))


class TabulatedDrift:
    r"""Fast risk and drift of many atoms: compressed features in one table, compiled.

    1. The mean :math:`h(s) = E\,\sigma(s c)` is tabulated, as a polynomial of degree five per interval that has the
       value and the slope of h at both ends and in the middle. Intervals are equal in :math:`s/(s + b)`, b the standard
       deviation of 1/c, roughly: the mean changes fast at small arguments and slowly at large ones.
    2. The features are compressed. With the singular value decomposition
       :math:`\sqrt{p_q} F_q(r) = \sum_k U_{qk} \varphi_k(r)` over a grid of norms and
       :math:`z_k = \sum_q U_{qk} \sqrt{p_q} y_q`,

       .. math:: R(\rho) = \sum_k (z_k - \bar\varphi_k)^2, \qquad
                 \text{drift}(r) = 2 \sum_k (z_k - \bar\varphi_k)\, \varphi_k'(r), \qquad
                 \bar\varphi_k = \int \varphi_k\, d\rho,

       and the terms beyond the numerical rank, restricted to them, change the drift of no law by more than
       :math:`2 (|z \cdot \varphi'(r)| + \max_s |\varphi(s)|\, |\varphi'(r)|)`.
    3. The kept :math:`\varphi_k` are tabulated like h, in intervals equal in :math:`r/(r + b/\max R_q)`.

    Parameters
    ----------
    potentials : RadialPotentials
        What to tabulate.
    largest_norm : float
        Norms up to here come from the table; beyond it `covers` is false and the caller makes a larger table.

    Attributes
    ----------
    arrays : tuple
        What `meanfield.kernels.characteristics.drift` takes.
    error : float
        The sum of three relative errors: of the two tables (values relative to the largest value, slopes relative to
        the largest slope), and of the compression (of the drift, relative to the largest slope).

    """

    def __init__(self, potentials: RadialPotentials, largest_norm: float):
        p = self.potentials = potentials
        self.largest_norm = largest_norm
        widest = float(p.radii.max())
        mean_bend = 1.0 if p.infinite else float(np.sqrt(p.problem.dimension))
        bend = mean_bend / widest
        mean_rows, mean_width, mean_error = _tabulate(
            lambda s: (p._mean(s), p._mean_derivative(s)), largest_norm * widest, mean_bend, _MEAN_INTERVALS
        )
        roots = np.sqrt(p.weights)

        def features(r: Floats) -> tuple[Floats, Floats]:
            # sqrt(p_q) F_q(r) and its derivative, shape (norm, node)
            at = np.multiply.outer(r, p.radii)
            value, slope = np.empty_like(at), np.empty_like(at)
            kernel.evaluate(mean_rows, mean_bend, mean_width, at.ravel(), value.reshape(-1), slope.reshape(-1))
            return value * roots, slope * (roots * p.radii)

        left = 1 - np.linspace(0, 1, _GRID_PER_NODE * p.radii.size + 1) * _compressed(largest_norm, bend)
        basis, compression_error = _leading_part(*features(bend * (1 - left) / left), roots * p.targets)
        target = basis.T @ (roots * p.targets)
        rows, width, error = _tabulate(
            lambda r: tuple(a @ basis for a in features(r)), largest_norm, bend,
            [n for n in _INTERVALS if n <= max(_INTERVALS[0], _LARGEST_TABLE // basis.shape[1])],
        )  # fmt: skip
        self.error = mean_error + error + compression_error
        # Terms of zero fill up the last block of lanes.
        lanes = -basis.shape[1] % kernel.LANES
        rows = np.pad(rows, ((0, 0), (0, 0), (0, lanes))).reshape(len(rows), 6, -1, kernel.LANES)
        residual = max(float(p.weights @ p.targets**2 - target @ target), 0.0)
        self.arrays = (
            rows.transpose(0, 2, 1, 3).reshape(len(rows), -1, 6 * kernel.LANES), bend, width,
            np.pad(target, (0, lanes)).reshape(-1, kernel.LANES), residual,
        )  # fmt: skip

    def covers(self, r: Floats) -> bool:
        """Return whether all norms lie inside the table."""
        return bool(np.max(r) <= self.largest_norm)

    def __call__(self, r: Floats, mass: Floats) -> tuple[Floats, float]:
        """Return the drift of each atom per unit of the clock, shape (atom,), and the risk [1].

        Negative norms, which intermediate stages of an integrator may produce, count as zero.
        """
        out = np.empty(r.size)
        return out, kernel.drift(r, mass, self.arrays, out)


def _compressed(s: float, bend: float) -> float:
    return s / (s + bend)


def _leading_part(value: Floats, slope: Floats, target: Floats) -> tuple[Floats, float]:
    # Orthonormal vectors, shape (node, kept), onto which features and targets may be projected, from features and
    # slopes on a grid, shape (norm, node); and the relative error of the drift, see `TabulatedDrift`. They come in
    # whole blocks of lanes, as the kernel fills those up anyway.
    nodes = target.size
    if not (np.isfinite(value).all() and np.isfinite(target).all()):  # the integrator reports that, with its clock
        return np.eye(nodes), np.nan
    basis = np.linalg.svd(value.T, full_matrices=False)[0]
    scale = float(np.linalg.norm(slope, axis=1).max())
    for kept in range(kernel.LANES, nodes, kernel.LANES):
        rest = basis[:, kept:]
        part, part_slope = value @ rest, slope @ rest
        error = np.abs(part_slope @ (target @ rest)).max()
        error += np.linalg.norm(part, axis=1).max() * np.linalg.norm(part_slope, axis=1).max()
        if error <= _TABLE_TOLERANCE * scale:
            return basis[:, :kept], float(error / scale)
    return np.eye(nodes), 0.0


def _tabulate(function: Callable, top: float, bend: float, sizes: Sequence[int]) -> tuple[Floats, float, float]:
    # Rows of coefficients, shape (interval, 6, ...), of a function that returns value and slope, shape (point, ...),
    # on [0, top]; the width of an interval in s/(s + bend); the largest relative error. As many intervals as the
    # tolerance needs, or as still help.
    best = None
    for size in sizes:
        width = _compressed(top, bend) / size

        def scaled(x: Floats, width: float = width) -> tuple[Floats, Floats, Floats]:
            # value, slope per interval, and d s / d x, at places x in units of the interval
            left = 1 - x * width  # = bend / (s + bend)
            value, slope = function(bend * (1 - left) / left)
            stretch = (bend * width / left**2).reshape(-1, *[1] * (value.ndim - 1))
            return value, slope * stretch, stretch

        value, slope, _ = scaled(np.arange(2 * size + 1) / 2)
        rows = _quintic(value, slope)
        # Near these places the errors of value and slope are largest.
        n = np.arange(size)
        t = np.where(n % 2, 0.2, 0.8)
        exact, exact_slope, stretch = scaled(n + t)
        c, t = np.moveaxis(rows, 1, 0), t.reshape(stretch.shape)
        found = c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * c[5]))))
        found_slope = c[1] + t * (2 * c[2] + t * (3 * c[3] + t * (4 * c[4] + t * 5 * c[5])))
        error = max(_ratio(found - exact, exact), _ratio((found_slope - exact_slope) / stretch, exact_slope / stretch))
        if best is None or error < best[2]:
            best = rows, width, error
        if error <= _TABLE_TOLERANCE or best[2] < error:  # beyond that more intervals only add rounding
            break
    return best


def _ratio(error: Floats, exact: Floats) -> float:
    return float(np.abs(error).max() / max(np.abs(exact).max(), _TINY))


def _quintic(value: Floats, slope: Floats) -> Floats:
    # Coefficients of the polynomials that have the given values and slopes at 0, 1/2 and 1; shape (interval, 6, ...)
    # from nodes and middles in turn, shape (2 interval + 1, ...).
    v, s = value[:-1:2], slope[:-1:2]
    a = value[1::2] - v - s / 2
    b = value[2::2] - v - s
    p = slope[1::2] - s
    q = slope[2::2] - s
    return np.stack(
        [
            v,
            s,
            16 * a + 7 * b - 8 * p - q,
            -32 * a - 34 * b + 32 * p + 5 * q,
            16 * a + 52 * b - 40 * p - 8 * q,
            -24 * b + 16 * p + 4 * q,
        ],
        axis=1,
    )
