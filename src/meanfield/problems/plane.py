r"""Potentials on the plane: sums of terms :math:`A \exp(a\,\delta_x^2 + b\,\delta_x \delta_y + c\,\delta_y^2)`.

The Müller–Brown potential is such a sum, and so are its narrow-well variant and its convolution with any Gaussian
narrow enough, in closed form: one class holds all three. Arrays in, arrays out; no files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Columns of the table of terms.
AMPLITUDE, XX, XY, YY, X, Y = range(6)


@dataclass(frozen=True, eq=False)
class PlanePotential:
    r"""A potential :math:`V(x, y) = \sum_k A_k \exp(a_k \delta_x^2 + b_k \delta_x \delta_y + c_k \delta_y^2)`.

    Here :math:`\delta_x = x - x_k` and :math:`\delta_y = y - y_k`. Terms may decay, grow or do both: nothing asks for
    a definite quadratic form.

    Parameters
    ----------
    terms : array, shape (term, 6)
        Rows :math:`(A, a, b, c, x_0, y_0)` [1]. Copied, and read-only from then on.

    Raises
    ------
    ValueError
        If the table has another shape, no term, or entries that are not finite.

    """

    terms: Floats

    def __post_init__(self) -> None:
        terms = np.array(self.terms, np.float64)
        if terms.ndim != 2 or terms.shape[1] != 6 or not terms.size or not np.isfinite(terms).all():
            msg = f"terms must be a finite table of shape (term, 6) with a row or more, not of shape {terms.shape}"
            raise ValueError(msg)
        terms.setflags(write=False)
        object.__setattr__(self, "terms", terms)

    def __add__(self, other: "PlanePotential") -> "PlanePotential":
        return PlanePotential(np.concatenate([self.terms, other.terms]))

    def _parts(self, points: ArrayLike) -> tuple[Floats, Floats, Floats]:
        # Each of shape (…, term): the terms' values and the two derivatives of their exponents.
        points = np.asarray(points, np.float64)
        amplitude, a, b, c, x0, y0 = self.terms.T
        dx, dy = points[..., 0, None] - x0, points[..., 1, None] - y0
        value = amplitude * np.exp(a * dx * dx + b * dx * dy + c * dy * dy)
        return value, 2 * a * dx + b * dy, b * dx + 2 * c * dy

    def value(self, points: ArrayLike) -> Floats:
        """Return V [1], shape (…), at points of shape (…, 2)."""
        return self._parts(points)[0].sum(axis=-1)

    def gradient(self, points: ArrayLike) -> Floats:
        """Return the gradient of V [1], shape (…, 2), at points of shape (…, 2)."""
        value, slope_x, slope_y = self._parts(points)
        return np.stack([(value * slope_x).sum(axis=-1), (value * slope_y).sum(axis=-1)], axis=-1)

    def hessian(self, points: ArrayLike) -> Floats:
        """Return the Hessian of V [1], shape (…, 2, 2), at points of shape (…, 2)."""
        value, slope_x, slope_y = self._parts(points)
        xx = (value * (slope_x * slope_x + 2 * self.terms[:, XX])).sum(axis=-1)
        xy = (value * (slope_x * slope_y + self.terms[:, XY])).sum(axis=-1)
        yy = (value * (slope_y * slope_y + 2 * self.terms[:, YY])).sum(axis=-1)
        return np.stack([np.stack([xx, xy], axis=-1), np.stack([xy, yy], axis=-1)], axis=-2)

    @property
    def smoothing_bound(self) -> float:
        r"""The variance [1] that `heat_smoothed` must stay below: :math:`\min_k 1 / (2 \lambda_k)`, or infinity.

        :math:`\lambda_k` is the largest eigenvalue of the quadratic form of term k: a term that grows along some
        direction has a Gaussian average only against Gaussians that decay faster.
        """
        largest = np.linalg.eigvalsh(_forms(self.terms))[:, -1].max()
        return 1 / (2 * largest) if largest > 0 else np.inf

    def heat_smoothed(self, variance: float) -> "PlanePotential":
        r"""Return :math:`x \mapsto E\,V(x + \sqrt{s}\, G)`, G standard normal: the heat flow of V at time s / 2.

        With the quadratic form of a term written :math:`-\tfrac12 z^\top P z`, its average is

        .. math:: A \det(I + s P)^{-1/2} \exp\bigl(-\tfrac12 z^\top P (I + s P)^{-1} z\bigr),

        which is a term again. (Product of two Gaussians, integrated; textbook.)

        Parameters
        ----------
        variance : float
            s, at least 0 [1].

        Raises
        ------
        ValueError
            If s is negative, or if :math:`I + s P` is not positive definite for some term: the average is infinite.

        """
        if not 0 <= variance < self.smoothing_bound:
            msg = f"the variance must be in [0, {self.smoothing_bound:g}) for this potential, not {variance:g}"
            raise ValueError(msg)
        precision = -2 * _forms(self.terms)
        widened = np.eye(2) + variance * precision
        smoothed = np.linalg.solve(widened, precision)
        terms = self.terms.copy()
        terms[:, AMPLITUDE] /= np.sqrt(np.linalg.det(widened))
        terms[:, XX] = -smoothed[:, 0, 0] / 2
        terms[:, XY] = -(smoothed[:, 0, 1] + smoothed[:, 1, 0]) / 2
        terms[:, YY] = -smoothed[:, 1, 1] / 2
        return PlanePotential(terms)


def _forms(terms: Floats) -> Floats:
    # Matrices [[a, b/2], [b/2, c]], shape (term, 2, 2).
    forms = np.empty((len(terms), 2, 2))
    forms[:, 0, 0], forms[:, 1, 1] = terms[:, XX], terms[:, YY]
    forms[:, 0, 1] = forms[:, 1, 0] = terms[:, XY] / 2
    return forms


def muller_brown() -> PlanePotential:
    """Return the potential of Müller & Brown (1979), Theor. Chim. Acta 53, 75, table of the model surface."""
    return PlanePotential(
        np.array(
            [
                [-200.0, -1.0, 0.0, -10.0, 1.0, 0.0],
                [-100.0, -1.0, 0.0, -10.0, 0.0, 0.5],
                [-170.0, -6.5, 11.0, -6.5, -0.5, 1.5],
                [15.0, 0.7, 0.6, 0.7, -1.0, 1.0],
            ]
        )
    )


def narrow_well(depth: float = 240.0, centre: tuple[float, float] = (0.5, 1.0), width: float = 0.05) -> PlanePotential:
    r"""Return Müller–Brown plus a narrow well :math:`-D \exp(-|x - c|^2 / (2 w^2))`: ours, not from a paper.

    With the defaults the well is the global minimum and the first to vanish under heat smoothing.

    Parameters
    ----------
    depth, width : float
        D and w [1].
    centre : pair of float
        c [1].

    """
    curvature = -1 / (2 * width * width)
    return muller_brown() + PlanePotential(np.array([[-depth, curvature, 0.0, curvature, *centre]]))


def potential_from(problem: dict) -> PlanePotential:
    """Return the potential that a configuration's block names by its kind: the rest of the block are its numbers."""
    if problem["kind"] == "muller_brown":
        return muller_brown()
    if problem["kind"] == "narrow_well":
        return narrow_well(problem["depth"], tuple(problem["centre"]), problem["width"])
    if problem["kind"] == "plane_terms":
        return PlanePotential(np.array(problem["terms"], np.float64))
    msg = f"{problem['kind']!r} is no kind of potential on the plane"
    raise ValueError(msg)


def critical_points(
    potential: PlanePotential, guesses: ArrayLike, *, tolerance: float = 1e-12, iterations: int = 50
) -> Floats:
    """Refine guesses to critical points by Newton's method: minima, saddles and maxima alike.

    Parameters
    ----------
    potential : PlanePotential
        V.
    guesses : array, shape (point, 2)
        Where to start, near enough for the plain iteration to converge [1].
    tolerance : float
        Largest last step, in either coordinate [1].
    iterations : int
        Most iterations.

    Returns
    -------
    array, shape (point, 2)
        The critical points [1]; which kind each is, the eigenvalues of `potential.hessian` say.

    Raises
    ------
    ValueError
        If a guess does not converge.

    """
    points = np.array(guesses, np.float64)
    for _ in range(iterations):
        step = np.linalg.solve(potential.hessian(points), potential.gradient(points)[..., None])[..., 0]
        points -= step
        if (np.abs(step) <= tolerance).all():
            return points
        if not np.isfinite(points).all():
            break
    msg = f"Newton's method did not converge from every guess within {iterations} iterations"
    raise ValueError(msg)


def assign_to_minima(points: ArrayLike, minima: ArrayLike, *, radius: float) -> NDArray[np.int64]:
    """Return the number of the nearest minimum for each point, or -1 if none is within `radius`.

    Parameters
    ----------
    points : array, shape (…, 2)
        End points of trajectories [1]; one that is not finite belongs to no minimum.
    minima : array, shape (minimum, 2)
        From `critical_points` [1].
    radius : float
        Largest distance [1].

    Returns
    -------
    array of int, shape (…)
        Index into `minima`, or -1.

    """
    points, minima = np.asarray(points, np.float64), np.asarray(minima, np.float64)
    distance = np.linalg.norm(points[..., None, :] - minima, axis=-1)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    nearest = distance.argmin(axis=-1)
    return np.where(distance.min(axis=-1) <= radius, nearest, -1)
