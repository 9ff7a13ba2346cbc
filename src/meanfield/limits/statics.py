r"""Optimal rotation-invariant laws: the best law of the norm, the best single sphere, and where one becomes the other.

The risk is a convex quadratic function of the law, :math:`R(\rho) = \sum_q p_q (y_q - \int F_q\,d\rho)^2`, with the
features of `meanfield.limits.potentials`. A law is optimal among those with norms up to some bound exactly if
:math:`\psi(\cdot; \rho)` is smallest on its support (Mei, Montanari & Nguyen 2018, PNAS 115(33), E7665), and for any
law

.. math:: R(\rho) - \min R \le 2 \left(\int \psi\, d\rho - \min_r \psi(r; \rho)\right),

because the risk lies above its tangent. The right-hand side, the gap, certifies every law returned here.

Arrays in, arrays out; no files.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from meanfield.limits.potentials import RadialPotentials
from meanfield.problems.activations import Activation, PiecewiseLinear, Smooth

Floats = NDArray[np.float64]

# Norms on the grid: zero, and as many per decade over as many decades below the largest.
_PER_DECADE = 120
_DECADES = 8
_ROUNDS = 60
# Atoms closer than this, relative to their norm, may be one sphere whose position the grid could not tell.
_SAME = 0.05
_ALIKE = 1e-12
_FLAT = 1e-14
# Averages of smooth activations over this many nodes and norms at a time, to bound the memory.
_AT_A_TIME = 4096
# Margins of single spheres that rounding may leave.
_ROUNDING = 1e-12


class OptimalLaw(NamedTuple):
    """Atoms of an optimal law of the norm."""

    norm: Floats  # shape (atom,), increasing [1]
    mass: Floats  # shape (atom,), sums to one [1]
    risk: float  # population risk [1]
    gap: float  # the risk is at most this much above the smallest possible one [1]


class Sphere(NamedTuple):
    """The best law on a single sphere."""

    norm: float  # [1]
    risk: float  # [1]
    margin: float  # smallest value of psi elsewhere minus that on the sphere; negative if not optimal [1]


def norm_grid(largest_norm: float) -> Floats:
    """Return norms from zero to the largest, shape (norm,) [1], evenly spaced in their logarithm but for zero."""
    decades = np.linspace(-_DECADES, 0, _DECADES * _PER_DECADE + 1)
    return np.concatenate([[0.0], largest_norm * 10.0**decades])


def at_infinity(potentials: RadialPotentials) -> Floats | None:
    """Return the features of an infinite norm, shape (node,) [1]; None where the activation is not bounded."""
    limit = _mean_at_infinity(potentials.problem.activation)
    return None if limit is None else np.full(potentials.radii.size, limit)


def _mean_at_infinity(activation: Activation) -> float | None:
    if isinstance(activation, PiecewiseLinear):
        if activation.left_slope or activation.right_slope:
            return None
        return (activation.values[0] + activation.values[-1]) / 2
    if not isinstance(activation, Smooth) or activation.shape == "softplus":
        return None
    # tanh and erf go from -1 to 1, the logistic function from 0 to 1; the average of a sine tends to zero.
    return activation.offset + activation.amplitude * (0.5 if activation.shape == "logistic" else 0.0)


def features_and_slopes(potentials: RadialPotentials, r: Floats) -> tuple[Floats, Floats]:
    """Return F_q(r) and F_q'(r), both shape (node, norm), for many norms, shape (norm,), in little memory."""
    parts = np.array_split(r, -(-r.size * potentials.radii.size // _AT_A_TIME) or 1)
    return (
        np.concatenate([potentials.features(part) for part in parts], axis=1),
        np.concatenate([potentials.feature_derivatives(part) for part in parts], axis=1),
    )


def slope_roots(slope: Callable[[Floats], Floats], grid: Floats, value: Floats) -> Floats:
    """Return where a function changes its sign between points of a grid, shape (root,), to rounding.

    Parameters
    ----------
    slope : callable
        Maps points, shape (point,), to values, shape (point,).
    grid, value : array, shape (point,)
        Increasing, and the values there. What rounding may leave of a value, per unit of the logarithm of the point,
        counts as zero: where features are flat everywhere there is no root.

    """
    change = np.abs(value * grid)
    sign = np.where(change <= _FLAT * max(1.0, float(change.max(initial=0.0))), 0.0, np.sign(value))
    found = [grid[n] for n in np.flatnonzero(value == 0) if 0 < n < grid.size - 1 and sign[n - 1] * sign[n + 1] < 0]
    for n in np.flatnonzero(sign[:-1] * sign[1:] < 0):
        found.append(
            optimize.brentq(
                lambda r: float(slope(np.array([r]))[0]), grid[n], grid[n + 1], xtol=1e-14 * grid[n + 1], rtol=1e-14
            )
        )
    return np.array(sorted(found))


def optimal_law(potentials: RadialPotentials, largest_norm: float, *, tolerance: float = 1e-11) -> OptimalLaw:
    """Return the law of the smallest risk among all with norms up to a bound.

    Weights on a finite set of norms are found by non-negative least squares. The set starts as a grid; then the local
    minima of psi, found as roots of its slope to rounding, join it until the gap is below the tolerance or stops
    falling, so that the result does not depend on the grid. Clusters of atoms are then replaced by one sphere each
    where the gap allows it, and norms whose features equal those of zero are called zero.

    Parameters
    ----------
    potentials : RadialPotentials
        The problem's.
    largest_norm : float
        Bound on the norm [1].
    tolerance : float
        Gap to reach, relative to the risk of the law concentrated at zero, or to one if that is larger.

    """
    grid = norm_grid(largest_norm)
    features, slopes = features_and_slopes(potentials, grid)
    # The risk of a law is the square of the distance of a mean of these columns from the origin.
    roots, targets = np.sqrt(potentials.weights)[:, None], potentials.targets[:, None]
    columns = roots * (features - targets)
    goal = tolerance * max(float((columns[:, 0] ** 2).sum()), 1.0)

    def certified(norm: Floats, mass: Floats) -> tuple[OptimalLaw, Floats]:
        # The law with its gap, and the local minima of psi.
        error = potentials.weights * (potentials.predictions(norm, mass) - potentials.targets)
        minima = np.concatenate(
            [grid[[0, -1]], slope_roots(lambda r: error @ potentials.feature_derivatives(r), grid, error @ slopes)]
        )
        lowest = min(float((error @ potentials.features(minima)).min()), float((error @ features).min()))
        gap = max(2 * (float(mass @ (error @ potentials.features(norm))) - lowest), 0.0)
        return OptimalLaw(norm, mass, potentials.risk(norm, mass), gap), minima

    norm, mass = grid, nearest_mean(columns)
    best, idle = None, 0
    for _ in range(_ROUNDS):
        norm, mass = norm[mass > 0], mass[mass > 0]
        law, minima = certified(norm, mass)
        idle = 0 if best is None or law.gap < best.gap / 2 else idle + 1
        best = law if best is None or law.gap < best.gap else best
        if best.gap <= goal or idle > 3:
            break
        norm = np.unique(np.concatenate([norm, minima]))
        mass = nearest_mean(roots * (potentials.features(norm) - targets))
    order = np.argsort(best.norm)
    norm, mass = best.norm[order], best.mass[order]
    # Where the activation is flat around its value at zero, small norms are all alike.
    alike = np.abs(potentials.features(norm) - features[:, :1]).max(axis=0) <= _ALIKE * np.abs(features).max()
    norm = np.where(alike, 0.0, norm)
    starts = np.flatnonzero(np.diff(norm, prepend=-1.0))
    best, _ = certified(norm[starts], np.add.reduceat(mass, starts))
    merged = _merged(potentials, best, largest_norm)
    if merged is not None:
        law, _ = certified(*merged)
        best = law if law.gap <= max(goal, best.gap) else best
    return best


def nearest_mean(columns: Floats) -> Floats:
    r"""Return the weights, shape (column,), of the convex combination of columns that is nearest to the origin.

    With a row of ones below the columns M, the solution x >= 0 of :math:`\min |Mx|^2 + (1 - \sum x)^2` is a multiple
    of the wanted weights, as the conditions of optimality of both show: no large penalty is needed.
    """
    system = np.vstack([columns, np.ones(columns.shape[1])])
    found, _ = optimize.nnls(system, np.append(np.zeros(len(columns)), 1.0))
    return found / found.sum()


def _merged(potentials: RadialPotentials, law: OptimalLaw, largest: float) -> tuple[Floats, Floats] | None:
    # One sphere for each cluster of atoms, moved to where psi is stationary on each and equal on all, in the logarithms
    # of the positions and in the masses; None if that leads nowhere.
    starts = np.flatnonzero(np.diff(law.norm, prepend=-1.0) > _SAME * law.norm)
    mass = np.add.reduceat(law.mass, starts)
    norm = np.add.reduceat(law.norm * law.mass, starts) / mass
    norm[norm > largest * (1 - 1e-9)] = largest
    moved = (norm > 0) & (norm < largest)

    def laws(x: Floats) -> tuple[Floats, Floats]:
        here = norm.copy()
        here[moved] = np.exp(np.clip(x[: moved.sum()], -700, 700))
        return here, x[moved.sum() : -1]

    def conditions(x: Floats) -> Floats:
        here, weight = laws(x)
        slope = -potentials.drift(here[moved], here, weight) / 2 * here[moved]
        return np.concatenate([slope, potentials.first_variation(here, here, weight) - x[-1], [weight.sum() - 1]])

    start = np.concatenate([np.log(norm[moved]), mass, [float(mass @ potentials.first_variation(norm, norm, mass))]])
    found = optimize.root(conditions, start, method="hybr", options={"xtol": 1e-14})
    norm, mass = laws(found.x)
    if not np.isfinite(found.x).all() or (mass <= 0).any() or (norm > largest).any():
        return None
    order = np.argsort(norm)
    return norm[order], mass[order] / mass.sum()


def single_sphere(potentials: RadialPotentials, largest_norm: float) -> Sphere:
    """Return the best law on one sphere of a norm up to a bound, and by how much it is optimal among all laws.

    The margin compares psi on the sphere with its other local minima, with zero, and with an infinite norm where the
    activation is bounded (else with the bound): it changes its sign where the sphere stops being optimal.
    """
    grid = norm_grid(largest_norm)
    features, slopes = features_and_slopes(potentials, grid)
    one = np.ones(1)

    def risk_slope(r: Floats) -> Floats:
        f, g = (features, slopes) if r is grid else features_and_slopes(potentials, r)
        return np.einsum("q,qr->r", potentials.weights, (f - potentials.targets[:, None]) * g)

    candidates = np.concatenate([grid[[0, -1]], slope_roots(risk_slope, grid, risk_slope(grid))])
    risks = np.array([potentials.risk(np.array([r]), one) for r in candidates])
    best = float(candidates[risks.argmin()])
    error = potentials.weights * (potentials.predictions(np.array([best]), one) - potentials.targets)
    here = float(error @ potentials.features(np.array([best]))[:, 0])
    others = slope_roots(lambda r: error @ potentials.feature_derivatives(r), grid, error @ slopes)
    others = others[np.abs(others - best) > 1e-6 * best]
    values = [error @ potentials.features(others)] if others.size else []
    far = at_infinity(potentials)
    values += [np.array([float(error @ (features[:, -1] if far is None else far))])] if best < largest_norm else []
    values += [error @ features[:, :1]] if best > 0 else []
    return Sphere(best, float(risks.min()), float(np.concatenate(values).min()) - here)


def separation_grid(least: float, greatest: float, number: int) -> Floats:
    """Return separations between bounds in (0, 1), shape (number,), denser towards zero and one."""
    ends = np.log([least / (1 - least), greatest / (1 - greatest)])
    return 1 / (1 + np.exp(-np.linspace(*ends, number)))


def single_sphere_range(
    potentials_of: Callable[[float], RadialPotentials], separations: Floats, largest_norm: float
) -> tuple[float, float]:
    """Return the smallest and the largest separation at which a single sphere is optimal.

    Parameters
    ----------
    potentials_of : callable
        Maps a separation to the potentials of the problem with it.
    separations : array, shape (point,)
        Increasing separations that are tried; an end of the range is then found to rounding between two of them.
    largest_norm : float
        Bound on the norm of the sphere [1].

    Returns
    -------
    lowest, highest : float
        nan where no sphere is optimal, or where the first or last separation tried is still in the range: the end is
        then not known. The range is the last one, if there are several.

    """

    def margin(separation: float) -> float:
        return single_sphere(potentials_of(float(separation)), largest_norm).margin + _ROUNDING

    margins = np.array([margin(one) for one in separations])
    optimal = np.flatnonzero(margins >= 0)
    if not optimal.size:
        return np.nan, np.nan
    last = first = optimal[-1]
    while first > 0 and margins[first - 1] >= 0:
        first -= 1

    def end(outside: int, inside: int) -> float:
        if not 0 <= outside < len(separations):
            return np.nan
        return float(optimize.brentq(margin, separations[outside], separations[inside], xtol=1e-12, rtol=1e-13))

    return end(first - 1, first), end(last + 1, last)


def perfect_sphere(activation: Activation, largest_norm: float) -> tuple[float, float]:
    r"""Return the smallest separation at which one sphere has no risk in the limit d = infinity, and its norm.

    With :math:`q(t) = E\,\sigma(tG)` that needs :math:`q((1 + \Delta) r) = 1` and :math:`q((1 - \Delta) r) = -1`, so
    :math:`\Delta = (t_+ - t_-)/(t_+ + t_-)` and :math:`r = (t_+ + t_-)/2` for roots :math:`t_+ > t_-` of the two
    equations. Both are nan if there are none.
    """
    grid = norm_grid(2 * largest_norm)
    roots = [
        slope_roots(lambda t, y=y: activation.gaussian_mean(t) - y, grid, activation.gaussian_mean(grid) - y)
        for y in (1.0, -1.0)
    ]
    pairs = [((high - low) / (high + low), (high + low) / 2) for high in roots[0] for low in roots[1] if high > low]
    return min(pairs, default=(np.nan, np.nan))
