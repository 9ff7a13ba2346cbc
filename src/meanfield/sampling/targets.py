r"""Laws to sample from, :math:`\rho \propto e^{-\Phi}`, with their means and covariances. Numpy in, numpy out."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meanfield.problems.plane import PlanePotential

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A normal law.

    Parameters
    ----------
    mean : array, shape (coordinate,)
        Its mean [1].
    covariance : array, shape (coordinate, coordinate)
        Its covariance, positive definite [1].

    """

    mean: Floats
    covariance: Floats
    precision: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", np.linalg.inv(self.covariance))

    def potential(self, points: Floats) -> Floats:
        """Return Phi, shape (…), at points of shape (…, coordinate) [1]."""
        centred = points - self.mean
        return 0.5 * (centred * (centred @ self.precision)).sum(axis=-1)

    def gradient(self, points: Floats) -> Floats:
        """Return the gradient of Phi at points of shape (…, coordinate) [1]."""
        return (points - self.mean) @ self.precision


@dataclass(frozen=True, eq=False)
class Banana:
    r"""Rosenbrock's banana, :math:`\Phi = \lambda (y - x^2)^2/20 + (1 - x)^2/20`.

    Source: Chen, Huang, Huang, Reich & Stuart (2023), arXiv:2302.11024, third test problem.

    Parameters
    ----------
    stiffness : float
        lambda > 0 [1].

    """

    stiffness: float
    mean: Floats = field(init=False)
    covariance: Floats = field(init=False)

    def __post_init__(self) -> None:
        # x is N(1, 10) and y given x is N(x^2, 10/lambda).
        object.__setattr__(self, "mean", np.array([1.0, 11.0]))
        object.__setattr__(self, "covariance", np.array([[10.0, 20.0], [20.0, 10 / self.stiffness + 240]]))

    def potential(self, points: Floats) -> Floats:
        """Return Phi, shape (…), at points of shape (…, 2) [1]."""
        x, y = points[..., 0], points[..., 1]
        return (self.stiffness * (y - x * x) ** 2 + (1 - x) ** 2) / 20

    def gradient(self, points: Floats) -> Floats:
        """Return the gradient of Phi at points of shape (…, 2) [1]."""
        x, y = points[..., 0], points[..., 1]
        bend = self.stiffness * (y - x * x) / 10
        return np.stack([-2 * x * bend - (1 - x) / 10, bend], axis=-1)


class PlaneGibbs:
    r"""The Gibbs law of a potential on the plane, :math:`\Phi = V/T`, with moments by quadrature.

    Parameters
    ----------
    plane : PlanePotential
        V.
    temperature : float
        T > 0 [1].
    box : tuple of float
        Least and greatest x, least and greatest y of the quadrature: the law must be negligible outside [1].
    nodes : int
        Nodes along each axis.

    """

    def __init__(
        self, plane: PlanePotential, temperature: float, box: tuple[float, float, float, float], nodes: int = 600
    ):
        self._plane, self.temperature = plane, temperature
        xs, ys = np.linspace(box[0], box[1], nodes), np.linspace(box[2], box[3], nodes)
        self.mean, self.covariance = grid_moments(xs, ys, -self.potential(np.stack(np.meshgrid(xs, ys), axis=-1)))

    def potential(self, points: Floats) -> Floats:
        """Return Phi, shape (…), at points of shape (…, 2) [1]."""
        with np.errstate(over="ignore"):
            return self._plane.value(points) / self.temperature

    def gradient(self, points: Floats) -> Floats:
        """Return the gradient of Phi at points of shape (…, 2) [1]."""
        return self._plane.gradient(points) / self.temperature


@dataclass(frozen=True, eq=False)
class Mapped:
    r"""The law of :math:`A\theta + b` where :math:`\theta` has another law.

    Parameters
    ----------
    base
        The law of theta.
    matrix : array, shape (coordinate, coordinate)
        A, invertible [1].
    shift : array, shape (coordinate,)
        b [1].

    """

    base: object
    matrix: Floats
    shift: Floats

    @property
    def mean(self) -> Floats:
        """The mean [1]."""
        return self.matrix @ self.base.mean + self.shift

    @property
    def covariance(self) -> Floats:
        """The covariance [1]."""
        return self.matrix @ self.base.covariance @ self.matrix.T

    def _back(self, points: Floats) -> Floats:
        return (points - self.shift) @ np.linalg.inv(self.matrix).T

    def potential(self, points: Floats) -> Floats:
        """Return Phi, shape (…), at points of shape (…, coordinate) [1]."""
        return self.base.potential(self._back(points))

    def gradient(self, points: Floats) -> Floats:
        """Return the gradient of Phi at points of shape (…, coordinate) [1]."""
        return self.base.gradient(self._back(points)) @ np.linalg.inv(self.matrix)


def grid_moments(xs: Floats, ys: Floats, log_density: Floats) -> tuple[Floats, Floats]:
    """Return mean and covariance of an unnormalised density on a grid, shape (y, x), by the trapezoidal rule."""
    weights = np.exp(log_density - log_density.max())
    weights[[0, -1]] /= 2
    weights[:, [0, -1]] /= 2
    weights /= weights.sum()
    along_x, along_y = weights.sum(axis=0), weights.sum(axis=1)
    mean = np.array([along_x @ xs, along_y @ ys])
    dx, dy = xs - mean[0], ys - mean[1]
    cross = dy @ weights @ dx
    return mean, np.array([[along_x @ dx**2, cross], [cross, along_y @ dy**2]])
