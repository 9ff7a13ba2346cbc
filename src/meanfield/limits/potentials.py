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
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield.problems.isotropic import IsotropicGaussians

Floats = NDArray[np.float64]

_NODES = (16, 32, 64, 128, 256, 512, 1024)
_QUADRATURE_TOLERANCE = 1e-9
_TABLE_TOLERANCE = 1e-9
_LARGEST_TABLE = 1 << 16


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
        Largest error of v, and change of u against half as many nodes, over a grid of norms.

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
    probe = np.linspace(0.05, 6.0, 60)
    previous = made = None
    for order in _NODES:
        norms, weights = norm_rule(problem.dimension, order)
        radii = np.concatenate([wide * norms, narrow * norms])
        keep = np.tile(weights, 2) > 1e-20  # nodes of no weight only cost time
        candidate = RadialPotentials(
            problem, False, radii[keep], np.tile(weights, 2)[keep] / 2, np.repeat(labels, order)[keep], np.nan
        )
        features = candidate.features(probe)
        pair = (features * candidate.weights[:, None]).T @ features
        # The exact v is known in every dimension; u is compared with what half as many nodes gave.
        error = float(np.abs(candidate.single(probe) - problem.potential(probe)).max())
        error = max(error, np.inf if previous is None else float(np.abs(pair - previous).max()))
        if made is not None and error <= _QUADRATURE_TOLERANCE * np.abs(pair).max():
            return dataclasses.replace(candidate, error=error)
        previous, made = pair, candidate
    return dataclasses.replace(made, error=error)


class TabulatedDrift:
    """Fast risk and drift of many atoms: cubic Hermite tables of the features, compiled.

    Parameters
    ----------
    potentials : RadialPotentials
        What to tabulate.
    largest_norm : float
        Norms up to here come from the table; beyond it `covers` is false and the caller makes a larger table.

    """

    def __init__(self, potentials: RadialPotentials, largest_norm: float):
        self.potentials = potentials
        self.largest_norm = largest_norm
        top = largest_norm * potentials.radii.max()
        size = 4096
        while True:
            grid = np.linspace(0, top, size + 1)
            spacing = top / size
            value, slope = potentials._mean(grid), potentials._mean_derivative(grid)
            shift = 0.02 * spacing
            left = potentials._mean_derivative(np.maximum(grid - shift, 0))
            curvature = (potentials._mean_derivative(grid + shift) - left) / (shift + np.minimum(shift, grid))
            self._tables = (value, slope, curvature, spacing)
            middle = (grid[1:] + grid[:-1]) / 2
            exact, exact_slope = potentials._mean(middle), potentials._mean_derivative(middle)
            guess, guess_slope = np.empty(size), np.empty(size)
            _evaluate(middle, *self._tables, guess, guess_slope)
            self.error = max(np.abs(guess - exact).max(), spacing * np.abs(guess_slope - exact_slope).max())
            if self.error <= _TABLE_TOLERANCE * max(1.0, np.abs(value).max()) or size >= _LARGEST_TABLE:
                break
            size *= 2

    def covers(self, r: Floats) -> bool:
        """Return whether all norms lie inside the table."""
        return bool(np.max(r) <= self.largest_norm)

    def __call__(self, r: Floats, mass: Floats) -> tuple[Floats, float]:
        """Return the drift of each atom per unit of the clock, shape (atom,), and the risk [1].

        Negative norms, which intermediate stages of an integrator may produce, count as zero.
        """
        p = self.potentials
        out = np.empty(r.size)
        risk = _drift(r, mass, p.radii, p.weights, p.targets, *self._tables, out)
        return out, risk


@nb.njit(nogil=True, fastmath={"contract"})
def _cubic(value, slope, spacing, x):
    # Cubic Hermite interpolation at x in units of the spacing; the last interval serves beyond the table's end too.
    i = min(int(x), value.size - 2)
    t = x - i
    d = value[i + 1] - value[i]
    a, b = slope[i] * spacing, slope[i + 1] * spacing
    return value[i] + t * (a + t * ((3 * d - 2 * a - b) + t * (a + b - 2 * d)))


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def _evaluate(s, value, slope, curvature, spacing, out, out_slope):
    for n in range(s.size):
        out[n] = _cubic(value, slope, spacing, s[n] / spacing)
        out_slope[n] = _cubic(slope, curvature, spacing, s[n] / spacing)


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def _drift(r, mass, radii, weights, targets, value, slope, curvature, spacing, out):
    risk = 0.0
    out[:] = 0
    for q in range(radii.size):
        scale = radii[q] / spacing
        prediction = 0.0
        for j in range(r.size):
            prediction += mass[j] * _cubic(value, slope, spacing, max(r[j], 0.0) * scale)
        error = targets[q] - prediction
        risk += weights[q] * error * error
        factor = 2 * weights[q] * error * radii[q]
        for j in range(r.size):
            out[j] += factor * _cubic(slope, curvature, spacing, max(r[j], 0.0) * scale)
    return risk
