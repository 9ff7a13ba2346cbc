r"""Stationary rotation-invariant laws on few spheres, their stability, and their continuation in a parameter.

Without noise a law of the norm is stationary under :math:`\partial_t\rho = 2\,\partial_r(\rho\,\partial_r\psi)` exactly
if :math:`\psi'(r; \rho) = 0` on its support, zero excepted, where atoms rest by symmetry. Since :math:`\psi'` is affine
in the law, the stationary laws on given spheres follow from linear equations in their masses:

* one sphere: the roots of :math:`\psi'(r; \delta_r)`;
* zero and one sphere, :math:`m\,\delta_0 + (1 - m)\,\delta_r`: one mass :math:`m(r)` for each norm r;
* two spheres: one equation in :math:`(r_1, r_2)`, that the two conditions have a common solution m.

Linearised, with :math:`a_k = \psi''(r_k; \rho)` and :math:`U_{kl} = \partial_1\partial_2 u(r_k, r_l)`, displacements of
the atoms on the spheres have the rates :math:`-2 a_k`, if they leave the mean position of their sphere where it is
(the sphere splits), and the eigenvalues of :math:`-2(\mathrm{diag}(a) + U\,\mathrm{diag}(m))` else. Displacements that
depend on the direction add no instability: their pair potential is positive semidefinite, and the tangential part of
the Hessian of :math:`\psi` is :math:`\psi'(r)/r = 0`. Atoms at zero stay there under small displacements if
:math:`\psi'(0+) > 0`, or if :math:`\psi'(0+) = 0` and :math:`\psi''(0+) > 0`.

Arrays in, arrays out; no files.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import contourpy
import numpy as np
from numpy.typing import NDArray

from meanfield.limits.continuation import Branch, follow
from meanfield.limits.potentials import RadialPotentials, radial_potentials
from meanfield.limits.statics import features_and_slopes, norm_grid, slope_roots
from meanfield.problems.activations import Activation
from meanfield.problems.isotropic import IsotropicGaussians

Floats = NDArray[np.float64]

STABLE, NEUTRAL, UNSTABLE = 0, 1, 2

# Steps of the differences that give second derivatives, relative to the norm: the error is of order four.
_STEP = 2e-3
# Rates below this, relative to the curvature of the features, or in absolute size, count as zero.
_ZERO = 1e-9
_SLOW = 1e-12
_REFINEMENTS = 60
_TOUCH_UPS = 5


def feature_curvatures(potentials: RadialPotentials, r: Floats) -> Floats:
    """Return F_q''(r), shape (node, *r.shape) [1], for r > 0, by differences of order four of the exact slopes."""
    r = np.asarray(r, dtype=float)
    h = _STEP * r
    slopes = [potentials.feature_derivatives(r + n * h) for n in (-2, -1, 1, 2)]
    return (slopes[0] - 8 * slopes[1] + 8 * slopes[2] - slopes[3]) / (12 * h)


class Rates(NamedTuple):
    """Linearised stability of a stationary law on few spheres, rates per unit of the clock [1]."""

    splitting: float  # largest rate at which a sphere splits; nan if there is none of positive norm
    collective: float  # largest real part of a rate at which spheres move as wholes; nan likewise
    inward: float  # psi'(0+), or psi''(0+) where that vanishes, if there is mass at zero; nan if not
    kind: int  # STABLE, NEUTRAL or UNSTABLE


def rates(potentials: RadialPotentials, norm: Floats, mass: Floats) -> Rates:
    """Return the linearised stability of a stationary law of atoms with given norms and masses, shape (atom,)."""
    norm, mass = np.atleast_1d(norm).astype(float), np.atleast_1d(mass).astype(float)
    predictions = potentials.predictions(norm, mass)
    error = potentials.weights * (predictions - potentials.targets)
    size = potentials.weights * (np.abs(predictions) + np.abs(potentials.targets))  # what rounding is relative to
    moving = norm > 0
    splitting = collective = inward = np.nan
    verdicts = []
    if moving.any():
        r = norm[moving]
        slopes, curvatures = potentials.feature_derivatives(r), feature_curvatures(potentials, r)
        bend = error @ curvatures
        pair = (slopes * potentials.weights[:, None]).T @ slopes
        splitting = float(-2 * bend.min())
        collective = float(np.linalg.eigvals(-2 * (np.diag(bend) + pair * mass[moving])).real.max())
        least = _ZERO * float((size @ np.abs(curvatures)).max()) + _SLOW
        verdicts += [(splitting, least), (collective, least)]
    if not moving.all():
        # Where the slope at zero vanishes, that at a small norm over the norm; it too where the features are flat.
        for r, scale in ((0.0, 1.0), (1e-4, 1e-4)):
            slope = potentials.feature_derivatives(np.array([r]))[:, 0] / scale
            inward, least = float(error @ slope), _ZERO * float(size @ np.abs(slope)) + _SLOW
            if abs(inward) > least:
                break
        verdicts.append((-inward, least))
    kinds = [UNSTABLE if rate > least else STABLE if rate < -least else NEUTRAL for rate, least in verdicts]
    return Rates(splitting, collective, inward, max(kinds, default=NEUTRAL))


# -- all stationary laws on few spheres -----------------------------------------------------------------------------


def one_sphere(potentials: RadialPotentials, largest_norm: float) -> Floats:
    """Return the norms r > 0 of all stationary laws on one sphere, shape (law,) [1]."""
    grid = norm_grid(largest_norm)[1:]

    def slope(r: Floats) -> Floats:
        features, slopes = features_and_slopes(potentials, r)
        return np.einsum("q,qr->r", potentials.weights, (features - potentials.targets[:, None]) * slopes)

    return slope_roots(slope, grid, slope(grid))


def mass_at_zero(potentials: RadialPotentials, norm: Floats) -> Floats:
    r"""Return the mass m with which :math:`m\,\delta_0 + (1 - m)\,\delta_r` is stationary, shape (norm,) [1].

    The law exists where it lies in [0, 1); nan where no mass at zero changes the force on the sphere.
    """
    zero = potentials.features(np.zeros(1))
    features, slopes = features_and_slopes(potentials, norm)
    with np.errstate(divide="ignore", invalid="ignore"):
        alone = np.einsum("q,qr->r", potentials.weights, (features - potentials.targets[:, None]) * slopes)
        found = alone / np.einsum("q,qr->r", potentials.weights, (features - zero) * slopes)
    return np.where(np.isfinite(found), found, np.nan)


def spheres_with_zero(potentials: RadialPotentials, mass: float, largest_norm: float) -> Floats:
    r"""Return the norms of all stationary laws :math:`m\,\delta_0 + (1 - m)\,\delta_r` of a given m, shape (law,)."""
    grid = norm_grid(largest_norm)[1:]
    slope = _slope_with_zero(potentials, mass)
    return slope_roots(slope, grid, slope(grid))


def _slope_with_zero(potentials: RadialPotentials, mass: float) -> Callable[[Floats], Floats]:
    zero = potentials.features(np.zeros(1))

    def slope(r: Floats) -> Floats:
        features, slopes = features_and_slopes(potentials, r)
        error = mass * zero + (1 - mass) * features - potentials.targets[:, None]
        return np.einsum("q,qr->r", potentials.weights, error * slopes)

    return slope


class Family(NamedTuple):
    """A curve of stationary laws on two spheres."""

    norm: Floats  # shape (law, 2), increasing along the second axis; the first is zero in families with zero [1]
    mass: Floats  # shape (law, 2) [1]


def families_with_zero(potentials: RadialPotentials, largest_norm: float, points: int) -> list[Family]:
    r"""Return all curves of stationary laws :math:`m\,\delta_0 + (1 - m)\,\delta_r`, parametrised by the norm r.

    Parameters
    ----------
    potentials : RadialPotentials
        The problem's.
    largest_norm : float
        Bound on the norm [1].
    points : int
        Norms per decade; more where the mass changes fast.

    """
    below = largest_norm * 1e-7
    norm = np.geomspace(below, largest_norm, max(int(7 * points), 2))
    # A curve's ends belong to it: no mass at zero, or all of it.
    ends = [spheres_with_zero(potentials, mass, largest_norm) for mass in (0.0, 1.0)]
    norm = np.unique(np.concatenate([norm, *(end[end >= below] for end in ends)]))
    mass = mass_at_zero(potentials, norm)
    for _ in range(_REFINEMENTS):
        clipped = np.clip(np.nan_to_num(mass, nan=-1.0), -0.1, 1.1)
        wide = np.flatnonzero(np.abs(np.diff(clipped)) > 1 / points)
        wide = wide[np.diff(norm)[wide] > 1e-13 * norm[wide]]
        if not wide.size:
            break
        middle = (norm[wide] + norm[wide + 1]) / 2
        norm, mass = np.append(norm, middle), np.append(mass, mass_at_zero(potentials, middle))
        order = np.argsort(norm)
        norm, mass = norm[order], mass[order]
    mass = np.where(np.abs(mass) < 1e-9, 0.0, mass)
    inside = (mass >= 0) & (mass < 1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    curves = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        r, m = norm[first:last], mass[first:last]
        if r.size > 1:
            curves.append(Family(np.stack([np.zeros_like(r), r], 1), np.stack([m, 1 - m], 1)))
    return curves


def families_of_two(
    potentials: RadialPotentials, smallest_norm: float, largest_norm: float, points: int
) -> list[Family]:
    r"""Return all curves of stationary laws on two spheres of different positive norms within bounds.

    Both conditions are affine in the mass, :math:`a_k + m b_k = 0`. They have a common solution where
    :math:`a_1 b_2 = a_2 b_1`; the lines on which that holds are traced on a grid (by contourpy), and their points moved
    onto the solutions by Newton's method.

    Parameters
    ----------
    potentials : RadialPotentials
        The problem's.
    smallest_norm, largest_norm : float
        Bounds on both norms [1].
    points : int
        Norms on the grid, evenly spaced in their logarithm.

    """
    logs = np.linspace(np.log(smallest_norm), np.log(largest_norm), points)
    features, slopes = features_and_slopes(potentials, np.exp(logs))
    force = (slopes * potentials.weights[:, None]).T @ features  # on row k by column l
    aim = slopes.T @ (potentials.weights * potentials.targets)
    own = np.diag(force)
    a1, b1 = force - aim[:, None], own[:, None] - force
    a2, b2 = own[None, :] - aim[None, :], force.T - own[None, :]
    gap = logs[None, :] - logs[:, None]
    # The function has a double zero where the norms agree, which is divided out; norms count in increasing order.
    value = np.where(gap > 0, (a1 * b2 - a2 * b1) / np.where(gap > 0, gap, 1.0) ** 2, np.nan)
    scale = float(np.nanmax(np.abs(value)))
    if scale == 0:  # nothing acts on any sphere
        return []
    lines = contourpy.contour_generator(logs, logs, np.ma.masked_invalid(value / scale)).lines(0.0)
    curves = []
    for line in lines:
        norm, mass, good = _onto_two(potentials, np.exp(line[:, ::-1]))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
        curves += [
            Family(norm[start:stop], np.stack([mass[start:stop], 1 - mass[start:stop]], 1))
            for start, stop in zip(edges[::2], edges[1::2], strict=True)
            if stop - start > 1
        ]
    return curves


def _onto_two(potentials: RadialPotentials, norm: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    # The stationary laws on two spheres next to guesses of the norms, shape (point, 2): norms, mass of the first, and
    # whether there is one with a mass in (0, 1). Newton's method with the smallest step, as there is a curve of them.
    x = np.log(norm)
    mass = None
    step = np.zeros((len(x), 3))
    for _ in range(_TOUCH_UPS):
        r = np.exp(x)
        features = np.moveaxis(potentials.features(r), 0, 1)  # (point, node, sphere)
        slopes, curvatures = (
            np.moveaxis(a, 0, 1) for a in (potentials.feature_derivatives(r), feature_curvatures(potentials, r))
        )
        weighted = slopes * potentials.weights[:, None]
        apart = np.einsum("pqk,pq->pk", weighted, features[..., 0] - features[..., 1])
        alone = np.einsum("pqk,pq->pk", weighted, features[..., 1] - potentials.targets)
        if mass is None:
            mass = -(alone * apart).sum(1) / np.maximum((apart**2).sum(1), 1e-300)
        m = np.stack([mass, 1 - mass], 1)
        error = potentials.weights * (np.einsum("pqk,pk->pq", features, m) - potentials.targets)
        matrix = np.einsum("pqk,pql->pkl", weighted, slopes) * m[:, None, :]
        matrix[:, [0, 1], [0, 1]] += np.einsum("pq,pqk->pk", error, curvatures)
        jacobian = np.concatenate([matrix * r[:, None, :], apart[:, :, None]], axis=2)
        good = np.isfinite(jacobian).all(axis=(1, 2)) & np.isfinite(mass)
        step[:] = 0
        step[good] = -np.einsum("pij,pj->pi", np.linalg.pinv(jacobian[good]), (alone + mass[:, None] * apart)[good])
        step = np.clip(step, -0.5, 0.5)
        x, mass = x + step[:, :2], mass + step[:, 2]
    good &= (np.abs(step).max(axis=1) < 1e-9) & (mass > 0) & (mass < 1) & (x[:, 1] - x[:, 0] > 1e-4)
    return np.exp(x), mass, good


# -- problems with a parameter --------------------------------------------------------------------------------------


def classes(dimension: int, activation: Activation, largest: float) -> Callable[[float], RadialPotentials]:
    r"""Return the potentials of the two isotropic classes as a function of their separation.

    Parameters
    ----------
    dimension : int
        d >= 2 [1].
    activation : Activation
        Of the network.
    largest : float
        Largest separation that will be asked for; the nodes of the norm of x are those that it needs.

    """
    base = radial_potentials(IsotropicGaussians(dimension, largest, activation))

    def at(separation: float) -> RadialPotentials:
        scale = (1 + separation * base.targets) / (1 + largest * base.targets)
        problem = IsotropicGaussians(dimension, float(separation), activation)
        return dataclasses.replace(base, problem=problem, radii=base.radii * scale)

    return at


def teacher(dimension: int, activation: Activation, norm: float, masses: Floats) -> Callable[[float], RadialPotentials]:
    r"""Return the potentials of regression on a radial function as a function of how far its spheres are apart.

    The target is the function of a rotation-invariant network of the same activation, whose neurons have the norms
    :math:`r_*(1 - s)` and :math:`r_*(1 + s)` with given probabilities, at inputs :math:`x \sim N(0, I_d)`; the loss is
    the mean squared error. It is a target in the closure of the networks' functions, as in Rotskoff & Vanden-Eijnden
    (2018, arXiv:1805.00915), and the only thing known of it is its value on spheres: the teacher's law has no error.

    Parameters
    ----------
    dimension : int
        d >= 2 [1].
    activation : Activation
        Of teacher and student.
    norm : float
        r_* > 0 [1].
    masses : array, shape (2,)
        Probabilities of the smaller and of the larger norm [1].

    """
    base = radial_potentials(IsotropicGaussians(dimension, 0.0, activation))
    one = base.targets > 0  # without separation both classes have the same inputs
    base = dataclasses.replace(base, radii=base.radii[one], weights=2 * base.weights[one], targets=base.targets[one])
    masses = np.asarray(masses, dtype=float)

    def at(spread: float) -> RadialPotentials:
        spheres = norm * np.array([1 - spread, 1 + spread])
        return dataclasses.replace(base, targets=base.predictions(spheres, masses / masses.sum()))

    return at


# -- continuation ---------------------------------------------------------------------------------------------------


def follow_sphere(
    potentials_at: Callable[[float], RadialPotentials],
    norm: float,
    parameter: float,
    *,
    mass: float = 0.0,
    bounds: tuple[float, float],
    norm_bounds: tuple[float, float],
    largest_step: float = 0.02,
) -> Branch:
    r"""Follow a stationary law :math:`m\,\delta_0 + (1 - m)\,\delta_r` of fixed m in a parameter.

    Parameters
    ----------
    potentials_at : callable
        Maps the parameter to potentials.
    norm, parameter : float
        Norm r of a stationary law, and its parameter [1].
    mass : float
        m in [0, 1) [1].
    bounds, norm_bounds : tuple of float
        Where the curve ends [1].
    largest_step : float
        In log r and in the parameter [1].

    Returns
    -------
    Branch
        With the norm r as the only unknown.

    """
    zero = potentials_at(parameter).features(np.zeros(1))  # whatever the parameter

    def residual(x: Floats, value: float) -> Floats:
        potentials = potentials_at(value)
        r = np.exp(x)
        features, slopes = potentials.features(r), potentials.feature_derivatives(r)
        error = mass * zero + (1 - mass) * features - potentials.targets[:, None]
        # Relative to the slopes, which may be tiny where the features are flat.
        scale = potentials.weights @ np.abs(slopes)
        return (potentials.weights @ (error * slopes)) / np.maximum(scale, 1e-300)

    branch = follow(
        residual, np.log([norm]), parameter, bounds=bounds, state_bounds=tuple(np.log(norm_bounds)),
        largest_step=largest_step,
    )  # fmt: skip
    return branch._replace(state=np.exp(branch.state))
