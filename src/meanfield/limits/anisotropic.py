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

Arrays in, arrays out; no files.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from meanfield.kernels import separable
from meanfield.kernels.characteristics import DENSE, ERROR, STAGES
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import Smooth
from meanfield.problems.anisotropic import LABELS, AnisotropicGaussians, TwoLayerLaw

Floats = NDArray[np.float64]

LIMITS = ("infinite", "first_order", "finite")
# Terms of the series below this weight, relative to E sigma^2, are left out.
_TERM_TOLERANCE = 1e-11
# Nodes of Gaussian averages of smooth activations: 1e-8 up to gain * norm = 10.
_SMOOTH_ORDER = 513


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
        if isinstance(self._activation, Smooth) and self._activation.order > _SMOOTH_ORDER:
            self._activation = dataclasses.replace(self._activation, order=_SMOOTH_ORDER)

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
            s = np.hypot(tau * theta[2], theta[3])
            mean = self._activation.gaussian_mean(s, theta[1])
            slopes = np.ascontiguousarray(self._activation.slope_hermite(s, highest + 1, theta[1]))
            risk += separable.add_variation(label, tau, theta, mass, mean, slopes, order, split, weight, sums, gradient)
        return -2 * gradient, risk

    def risk(self, theta: Floats, mass: Floats) -> float:
        """Return the population risk of a law of atoms (4, atom) [1]."""
        return self.drift(theta, mass)[1]


class ReducedSolution(NamedTuple):
    """The law of the reduced variables over time, as weighted atoms."""

    time: Floats  # shape (record,), mean-field time [1]
    atoms: Floats  # shape (record, 4, atom): a, b, r1 and r2 [1]
    mass: Floats  # shape (atom,), sums to one [1]
    risk: Floats  # shape (record,), population risk [1]
    dissipation: Floats  # shape (record,), minus the derivative of the risk in the clock [1]
    evaluations: int  # evaluations of the right-hand side
    remainder: float  # of the series of the potential, see `Series`

    @property
    def means(self) -> Floats:
        """Means of a, b, r1 and r2 over the law, shape (record, 4) [1]."""
        return self.atoms @ self.mass


def law_atoms(law: TwoLayerLaw, problem: AnisotropicGaussians, atoms: int) -> tuple[Floats, Floats]:
    r"""Return atoms of the initial law of the reduced variables: (4, atom) and their masses (atom,).

    The norms are those of normal weights in the dimension of the problem. Every variable that is not constant takes
    its quantiles at one coordinate of an additive recurrence (the Kronecker sequence of the generalised golden ratio),
    of low discrepancy in any number of coordinates; masses are equal.
    """
    d, s = problem.dimension, problem.informative
    unit = law.scale / math.sqrt(d)
    rows = [
        (law.output_mean, law.output_deviation, special.ndtri),
        (law.bias_mean, law.bias_deviation, special.ndtri),
        (0.0, unit, lambda u: stats.chi.ppf(u, s)),
        (0.0, unit if s < d else 0.0, lambda u: stats.chi.ppf(u, d - s)),
    ]
    points = iter(low_discrepancy(sum(spread > 0 for _, spread, _ in rows), atoms))
    theta = np.array(
        [centre + spread * quantile(next(points)) if spread > 0 else np.full(atoms, centre)
         for centre, spread, quantile in rows]
    )  # fmt: skip
    return theta, np.full(atoms, 1 / atoms)


def low_discrepancy(coordinates: int, points: int) -> Floats:
    """Return the first points of an additive recurrence in the open unit cube, shape (coordinate, point)."""
    ratio = 2.0
    for _ in range(64):  # the positive root of x^(n + 1) = x + 1
        ratio = (1 + ratio) ** (1 / (coordinates + 1))
    steps = ratio ** -(1.0 + np.arange(coordinates))
    if coordinates == 1:  # in one coordinate the middles of equal classes are better
        return ((np.arange(points) + 0.5) / points)[None, :]
    return (0.5 + np.multiply.outer(steps, np.arange(1, points + 1))) % 1.0


def solve_reduced(
    problem: AnisotropicGaussians,
    law: TwoLayerLaw,
    time: Floats,
    *,
    limit: str,
    atoms: int,
    schedule: Schedule,
    relative_tolerance: float,
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
    return follow(ReducedPotentials(problem, limit), theta, mass, time, schedule, relative_tolerance)


def follow(
    potentials: ReducedPotentials,
    theta: Floats,
    mass: Floats,
    time: Floats,
    schedule: Schedule,
    relative_tolerance: float,
) -> ReducedSolution:
    """Move given atoms, shape (4, atom), along the characteristics.

    The local error of a step is measured as a root mean square over the law and over the four variables together,
    relative to their root mean square (to 0.1, if that is larger).
    """
    time = np.asarray(time, dtype=float)
    clock = schedule.clock(time)
    atoms, risks, drifts, evaluations = _integrate(
        lambda point: potentials.drift(point, mass), theta, mass, clock, relative_tolerance
    )
    atoms[:, 2:] = np.abs(atoms[:, 2:])
    dissipation = np.array([(mass * drift**2).sum() for drift in drifts])
    return ReducedSolution(time, atoms, mass, risks, dissipation, evaluations, potentials.series.remainder)


def _combined(base: Floats, step: float, weights: Floats, stages: list[Floats]) -> Floats:
    # base + step sum_n weights[n] stages[n], summed in this order.
    total = weights[0] * stages[0]
    for weight, stage in zip(weights[1:], stages[1:], strict=False):
        if weight:
            total += weight * stage
    return base + step * total


def _integrate(
    drift: Callable[[Floats], tuple[Floats, float]], point: Floats, mass: Floats, clock: Floats, tolerance: float
) -> tuple[Floats, Floats, list[Floats], int]:
    # The embedded pair 5(4) of Dormand & Prince with its continuous extension; see `kernels.characteristics`.
    now = float(clock[0])
    slope, risk = drift(point)
    evaluations = 1
    records, risks, drifts = [], [], []
    while len(records) < clock.size and clock[len(records)] <= now:
        records.append(point)
        risks.append(risk)
        drifts.append(slope)
    step = 1e-3 * max(np.abs(point).max(), 0.1) / max(np.abs(slope).max(), 1e-9)
    while len(records) < clock.size:
        stages = [slope]
        for n, row in enumerate(STAGES):
            new = _combined(point, step, row[: n + 1], stages)
            stages.append(drift(new)[0])
        evaluations += len(STAGES)
        gap = _combined(np.zeros_like(point), step, ERROR, stages)
        size = math.sqrt((mass * new**2).sum())
        error = math.sqrt((mass * gap**2).sum()) / (tolerance * max(size, 0.1))
        if not math.isfinite(error):
            msg = f"the distributional dynamics stopped being finite at clock {now:.6g}"
            raise FloatingPointError(msg)
        if error <= 1:
            end = now + step
            fourth = _combined(np.zeros_like(point), step, DENSE, stages)
            change = new - point
            left = step * stages[0] - change
            right = change - step * stages[-1] - left
            while len(records) < clock.size and clock[len(records)] <= end:
                a = (clock[len(records)] - now) / step
                records.append(point + a * (change + (1 - a) * (left + a * (right + (1 - a) * fourth))))
                slope, risk = drift(records[-1])
                risks.append(risk)
                drifts.append(slope)
                evaluations += 1
            now, point, slope = end, new, stages[-1]
        step *= min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
        if error > 1 and now + step == now:
            msg = f"the distributional dynamics needs steps below rounding at clock {now:.6g}"
            raise FloatingPointError(msg)
    return np.array(records), np.array(risks), drifts, evaluations
