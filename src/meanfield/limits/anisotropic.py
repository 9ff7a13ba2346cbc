r"""Distributional dynamics of the anisotropic Gaussians in the reduced variables (a, b, r1, r2), by characteristics.

The law of the neurons is invariant under rotations of the informative coordinates and of the others, so that it is
known by that of the output weight a, the bias b and the two norms :math:`r_1, r_2` of w. Its atoms move by

.. math:: \dot\theta = -2 \xi(t) \nabla \Psi(\theta; \rho), \qquad \Psi(\theta; \rho) = V + \int U d\rho,

(Mei, Montanari & Nguyen 2018, PNAS 115(33), E7665), in the clock :math:`\int \xi` an autonomous system. Three forms:

* ``infinite``: the preactivations of different neurons are independent given the class, which is the limit
  :math:`d, s_0 \to \infty`;
* ``first_order``: their correlations to leading order, :math:`1/s_0` and :math:`1/(d - s_0)`;
* ``finite``: exact in every dimension. The potential is averaged over the angles between the weights of two neurons,
  as a Hermite series of which each term is a product; see `meanfield.kernels.separable`.

Each may have the leading effect of a finite step size :math:`\varepsilon`, that of order :math:`\varepsilon d`: a step
moves w by :math:`2 \varepsilon \xi (y - \hat y)\, a\, \sigma' x`, of which :math:`s_0 - 1` informative and
:math:`d - s_0 - 1` other directions are perpendicular to w and lengthen it. Per unit of the clock,

.. math:: \dot r_1 = \dots + 2 \varepsilon \xi\, \frac{s_0 - 1}{r_1}\, a^2 \cdot
          \tfrac12 \sum_y (y - m_y)^2\, \tau_y^2\, E[\sigma'^2 | y],

and the same for :math:`r_2` with :math:`d - s_0 - 1` and 1 in place of :math:`\tau_y^2`; :math:`m_y` is the mean
prediction in a class. Left out is what is smaller: the residual's variance within a class, of order :math:`1/s_0`, and
the fluctuations of order :math:`\varepsilon`, which all neurons share as they see the same sample.

Arrays in, arrays out; no files.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from meanfield.kernels import separable
from meanfield.kernels.characteristics import DENSE, ERROR, STAGES
from meanfield.limits.schedule import Schedule
from meanfield.problems.anisotropic import LABELS, AnisotropicGaussians, TwoLayerLaw
from meanfield.problems.isotropic import chi_quantile

Floats = NDArray[np.float64]

LIMITS = ("infinite", "first_order", "finite")
# Terms of the series below this weight, relative to E sigma^2, are left out.
_TERM_TOLERANCE = 1e-11
# Lattices that are tried for the atoms of the initial law.
_GENERATORS = 512
# Share of the tolerance by which a step may raise the risk, and how fast steps grow once one was too long for that.
_RISE, _CAREFUL = 0.1, 1.1
# Where the stages of the integrator are in its step.
_PLACES = STAGES.sum(axis=1)


def cosine_moments(dimension: int, highest: int) -> Floats:
    r"""Return :math:`E\,c^n`, n = 0 … highest, shape (highest + 1,), c a coordinate of a uniform direction.

    In no dimension there is no direction, and all moments but the first are zero.
    """
    moments = np.zeros(highest + 1)
    moments[0] = 1
    if dimension > 0:
        for n in range(2, highest + 1, 2):
            moments[n] = moments[n - 2] * (n - 1) / (dimension + n - 2)
    return moments


class Series(NamedTuple):
    r"""The terms :math:`W_{nk}` of the pair potential beyond the means, and what is left out."""

    order: NDArray[np.int64]  # shape (term,), n
    split: NDArray[np.int64]  # shape (term,), k
    weight: Floats  # shape (term,)
    remainder: float  # bound on the terms left out, relative to E sigma^2 of a rectifier


def series(problem: AnisotropicGaussians, limit: str) -> Series:
    r"""Return the series :math:`W_{nk} = \binom{n}{k} M_k(s_0) M_{n-k}(d - s_0)` of one form of the limit.

    A term contributes at most :math:`W_{nk} (k/n)^k (1 - k/n)^{n-k} h_n^2`, and the squares of the coefficients of a
    rectifier are below :math:`0.2 s^2/(n(n-1))` (Cramer's inequality for Hermite functions).
    """
    if limit not in LIMITS:
        msg = f"limit: found {limit!r}; one of {', '.join(LIMITS)} needed"
        raise ValueError(msg)
    highest = {"infinite": 0, "first_order": 2, "finite": separable.HIGHEST}[limit]
    informative = cosine_moments(problem.informative, separable.HIGHEST)
    others = cosine_moments(problem.dimension - problem.informative, separable.HIGHEST)
    kept, left_out = [], 0.0
    for n in range(2, highest + 1, 2):
        for k in range(0, n + 1, 2):
            weight = math.comb(n, k) * informative[k] * others[n - k]
            bound = 0.2 * weight * (k / n) ** k * (1 - k / n) ** (n - k) / (n * (n - 1))
            if bound > _TERM_TOLERANCE or (n == 2 and weight > 0):
                kept.append((n, k, weight))
            else:
                left_out += bound
    if limit == "finite":
        # Beyond the highest order the moments are at most those of the lower dimension, which decrease.
        left_out += 0.1 * max(informative[-1], others[-1]) / separable.HIGHEST
    order, split, weight = (np.array(column) for column in zip(*kept, strict=True)) if kept else ([], [], [])
    return Series(np.array(order, np.int64), np.array(split, np.int64), np.array(weight, float), left_out)


class ReducedPotentials:
    """Risk and drift of the reduced dynamics.

    Parameters
    ----------
    problem : AnisotropicGaussians
        The problem.
    limit : str
        ``infinite``, ``first_order`` or ``finite``.

    """

    def __init__(self, problem: AnisotropicGaussians, limit: str):
        self.problem = problem
        self.limit = limit
        self.series = series(problem, limit)
        self._activation = problem.activation

    def drift(self, theta: Floats, mass: Floats) -> tuple[Floats, float]:
        r"""Return the drift :math:`-2 \nabla\Psi` per unit of the clock, shape (4, atom), and the risk [1].

        Parameters
        ----------
        theta : array, shape (4, atom)
            a, b, r1 and r2 of each atom [1]; of norms below zero, which stages of an integrator may produce, only the
            size counts.
        mass : array, shape (atom,)
            Masses, which sum to one [1].

        """
        order, split, weight, _ = self.series
        highest = int(order[-1]) if order.size else 0
        gradient = np.zeros_like(theta)
        sums = np.empty(order.size)
        risk = 0.0
        for label, tau in zip(LABELS, self.problem.deviations, strict=True):
            s, mean = self._class_mean(tau, theta)
            slopes = np.ascontiguousarray(self._activation.slope_hermite(s, highest + 1, theta[1]))
            risk += separable.add_variation(label, tau, theta, mass, mean, slopes, order, split, weight, sums, gradient)
        return -2 * gradient, risk

    def growth(self, theta: Floats, mass: Floats) -> Floats:
        r"""Return the growth of :math:`r_1^2` and :math:`r_2^2` by step noise, shape (2, atom) [1].

        It is per unit of the clock and of :math:`\varepsilon \xi`; see the module's text.
        """
        d, s0 = self.problem.dimension, self.problem.informative
        growth = np.zeros((2, mass.size))
        for label, tau in zip(LABELS, self.problem.deviations, strict=True):
            s, mean = self._class_mean(tau, theta)
            excess = float((mass * theta[0] * mean).sum()) - label
            squares = 2 * (excess * theta[0]) ** 2 * self._activation.gaussian_mean_square_slope(s, theta[1])
            growth[0] += (s0 - 1) * tau**2 * squares
            growth[1] += max(d - s0 - 1, 0) * squares
        return growth

    def _class_mean(self, tau: float, theta: Floats) -> tuple[Floats, Floats]:
        # Standard deviation of each atom's preactivation and mean of its activation in a class.
        s = np.hypot(tau * theta[2], theta[3])
        return s, self._activation.gaussian_mean(s, theta[1])

    def risk(self, theta: Floats, mass: Floats) -> float:
        """Return the population risk of a law of atoms (4, atom) [1]."""
        return self.drift(theta, mass)[1]


class ReducedSolution(NamedTuple):
    """The law of the reduced variables over time, as weighted atoms."""

    time: Floats  # shape (record,), mean-field time [1]
    atoms: Floats  # shape (record, 4, atom): a, b, r1 and r2 [1]
    mass: Floats  # shape (atom,), sums to one [1]
    risk: Floats  # shape (record,), population risk [1]
    dissipation: Floats  # shape (record,), mean square of the drift: minus dR/dclock without step noise [1]
    evaluations: int  # evaluations of the right-hand side
    remainder: float  # of the series of the potential, see `Series`

    @property
    def means(self) -> Floats:
        """Means of a, b, r1 and r2 over the law, shape (record, 4) [1]."""
        return self.atoms @ self.mass


def law_atoms(law: TwoLayerLaw, problem: AnisotropicGaussians, atoms: int) -> tuple[Floats, Floats]:
    r"""Return atoms of the initial law of the reduced variables: (4, atom) and their masses (atom,).

    The norms are those of normal weights in the dimension of the problem. Every variable that is not constant takes
    its quantiles at one coordinate of a lattice, graded by :math:`p(x) = x^2 (3 - 2x)`,

    .. math:: \int f(F^{-1}(p))\, dp = \int f(F^{-1}(p(x))) \prod_i p'(x_i)\, dx,

    whose integrand vanishes where quantile functions are singular and continues periodically. The observed order of
    the risk is about 1.4 even in the steepest descent of the report's problem, with an error of 1e-4 at 300 atoms;
    random atoms have the order one half and spread by 0.008 at 200 atoms.
    """
    d, s = problem.dimension, problem.informative
    unit = law.scale / math.sqrt(d)
    rows = [
        (law.output_mean, law.output_deviation, special.ndtri),
        (law.bias_mean, law.bias_deviation, special.ndtri),
        (0.0, unit, lambda u: chi_quantile(u, s)),
        (0.0, unit if s < d else 0.0, lambda u: chi_quantile(u, d - s)),
    ]
    points = lattice(sum(spread > 0 for _, spread, _ in rows), atoms)
    levels = iter(points * points * (3 - 2 * points))
    theta = np.array(
        [centre + spread * quantile(next(levels)) if spread > 0 else np.full(atoms, centre)
         for centre, spread, quantile in rows]
    )  # fmt: skip
    mass = (points * (1 - points)).prod(axis=0)
    return theta, mass / mass.sum()


def lattice(coordinates: int, points: int) -> Floats:
    r"""Return a good lattice in the open unit cube, shape (coordinate, point).

    Korobov's lattice :math:`x_{jn} = (n z^j + \frac12)/J` modulo 1, with that generator z, of at most `_GENERATORS`
    tried ones, of which the error is smallest in the worst case over periodic functions with square-integrable mixed
    second derivatives (criterion :math:`P_2`; Sloan & Joe 1994, *Lattice Methods for Multiple Integration*).
    """
    numbers = np.arange(points)
    best, least = np.zeros((coordinates, points)), np.inf
    for generator in np.unique(np.linspace(1, max(points - 1, 1), _GENERATORS).astype(int)):
        steps = [1]
        for _ in range(coordinates - 1):
            steps.append(steps[-1] * int(generator) % points)
        x = np.multiply.outer(steps, numbers) % points / points
        error = (1 + 2 * np.pi**2 * (x * x - x + 1 / 6)).prod(axis=0).sum()
        if error < least * (1 - 1e-9):
            best, least = x, error
        if coordinates < 2:
            break
    return best + 0.5 / points


def solve_reduced(
    problem: AnisotropicGaussians,
    law: TwoLayerLaw,
    time: Floats,
    *,
    limit: str,
    atoms: int,
    schedule: Schedule,
    relative_tolerance: float,
    step_size: float = 0.0,
) -> ReducedSolution:
    """Solve the reduced dynamics from the initial law.

    Parameters
    ----------
    problem : AnisotropicGaussians
        The problem.
    law : TwoLayerLaw
        Initial law of the weights. The norms have the law of the finite dimension in all forms of the limit, so that
        these differ by the potential alone.
    time : array, shape (record,), increasing, from 0
        Mean-field times of the records [1].
    limit : str
        ``infinite``, ``first_order`` or ``finite``.
    atoms : int
        Number of atoms J; see `law_atoms`.
    schedule : Schedule
        The step-size schedule xi.
    relative_tolerance : float
        Local error allowed per step; see `follow`.
    step_size : float
        epsilon >= 0 of the steps whose noise lengthens the weights; 0 for the limit of small steps [1].

    Returns
    -------
    ReducedSolution
        Records at exactly the given times.

    Raises
    ------
    FloatingPointError
        If the solution stops being finite, or its error cannot be controlled by smaller steps.

    """
    theta, mass = law_atoms(law, problem, atoms)
    return follow(ReducedPotentials(problem, limit), theta, mass, time, schedule, relative_tolerance, step_size)


def follow(
    potentials: ReducedPotentials,
    theta: Floats,
    mass: Floats,
    time: Floats,
    schedule: Schedule,
    relative_tolerance: float,
    step_size: float = 0.0,
) -> ReducedSolution:
    """Move given atoms, shape (4, atom), along the characteristics.

    The local error of a step is measured as a root mean square over the law and over the four variables together,
    relative to their root mean square (to 0.1, if that is larger). Without step noise the dynamics is a gradient flow,
    so that a step which raises the risk by more than a tenth of the tolerance is not taken either: near its end the
    largest steps that the error allows are unstable, and where the risk is steep a loose tolerance would let it grow.
    """
    time = np.asarray(time, dtype=float)
    clock = schedule.clock(time)
    if step_size:
        # Squares of norms, as the noise has them grow from zero at a finite rate. The first step is at time epsilon.
        earliest = float(schedule.clock(step_size))

        def rate(now: float, point: Floats) -> tuple[Floats, float]:
            at = _with_norms(point)
            drift, _ = potentials.drift(at, mass)
            growth = step_size * schedule.rate(max(now, earliest)) * potentials.growth(at, mass)
            drift[2:] = 2 * at[2:] * drift[2:] + growth
            return drift, 0.0  # in place of the risk, which the noise may raise

        start = np.concatenate([theta[:2], theta[2:] ** 2])
    else:

        def rate(_now: float, point: Floats) -> tuple[Floats, float]:
            return potentials.drift(point, mass)

        start = theta
    records, evaluations = _integrate(rate, start, mass, clock, relative_tolerance)
    if step_size:
        records = np.array([_with_norms(record) for record in records])
    records[:, 2:] = np.abs(records[:, 2:])
    ends = [potentials.drift(record, mass) for record in records]
    risks = np.array([risk for _, risk in ends])
    dissipation = np.array([(mass * drift**2).sum() for drift, _ in ends])
    return ReducedSolution(
        time, records, mass, risks, dissipation, evaluations + len(ends), potentials.series.remainder
    )


def _with_norms(point: Floats) -> Floats:
    # a, b and the norms from a, b and their squares; stages may leave these below zero.
    return np.concatenate([point[:2], np.sqrt(np.maximum(point[2:], 0))])


def _combined(base: Floats, step: float, weights: Floats, stages: list[Floats]) -> Floats:
    # base + step sum_n weights[n] stages[n], summed in this order.
    total = weights[0] * stages[0]
    for weight, stage in zip(weights[1:], stages[1:], strict=False):
        if weight:
            total += weight * stage
    return base + step * total


def _integrate(
    rate: Callable[[float, Floats], tuple[Floats, float]],
    point: Floats,
    mass: Floats,
    clock: Floats,
    tolerance: float,
) -> tuple[Floats, int]:
    # The embedded pair 5(4) of Dormand & Prince with its continuous extension; see `kernels.characteristics`. `rate`
    # gives the slope at a point and what must not rise, the risk there.
    now = float(clock[0])
    slope, risk = rate(now, point)
    evaluations, growth = 1, 5.0
    records = []
    while len(records) < clock.size and clock[len(records)] <= now:
        records.append(point)
    step = 1e-3 * max(np.abs(point).max(), 0.1) / max(np.abs(slope).max(), 1e-9)
    while len(records) < clock.size:
        stages = [slope]
        for n, row in enumerate(STAGES):
            new = _combined(point, step, row[: n + 1], stages)
            stage, new_risk = rate(now + step * _PLACES[n], new)
            stages.append(stage)
        evaluations += len(STAGES)
        gap = _combined(np.zeros_like(point), step, ERROR, stages)
        size = math.sqrt((mass * new**2).sum())
        error = math.sqrt((mass * gap**2).sum()) / (tolerance * max(size, 0.1))
        if not math.isfinite(error):
            msg = f"the distributional dynamics stopped being finite at clock {now:.6g}"
            raise FloatingPointError(msg)
        if error <= 1 and new_risk - risk > _RISE * tolerance:
            error, growth = 10.0, _CAREFUL  # about half the step
        if error <= 1:
            end = now + step
            fourth = _combined(np.zeros_like(point), step, DENSE, stages)
            change = new - point
            left = step * stages[0] - change
            right = change - step * stages[-1] - left
            while len(records) < clock.size and clock[len(records)] <= end:
                a = (clock[len(records)] - now) / step
                records.append(point + a * (change + (1 - a) * (left + a * (right + (1 - a) * fourth))))
            now, point, slope, risk = end, new, stages[-1], new_risk
        step *= min(growth, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
        if error > 1 and now + step == now:
            msg = f"the distributional dynamics needs steps below rounding at clock {now:.6g}"
            raise FloatingPointError(msg)
    return np.array(records), evaluations
