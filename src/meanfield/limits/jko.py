r"""The distributional dynamics as a gradient flow of the risk: minimising movements, and what energy they dissipate.

In the clock :math:`\int\xi` the reduced equation is :math:`\partial_t\rho = \partial_r(\rho\,\partial_r(2\psi))`, and
:math:`2\psi` is the first variation of the risk: the flow of steepest descent of R in the metric W2 (Jordan,
Kinderlehrer & Otto 1998, SIAM J. Math. Anal. 29, 1-17; Mei, Montanari & Nguyen 2018 on the distributional dynamics).
Hence

.. math:: \frac{dR}{dt} = -\int |2\psi'|^2\, d\rho = -4 \int |\psi'|^2\, d\rho ,

and the law after a step h is close to the minimiser of :math:`R(\rho) + W_2^2(\rho, \rho_k)/(2h)`. On the line W2 is
the distance of quantile functions, so that a law of J atoms of given masses moves by

.. math:: r^{k+1} = \arg\min_{r \ge 0}\; R(r) + \frac{1}{2h} \sum_j m_j (r_j - r_j^k)^2 ,

as long as the minimiser keeps the order of the atoms, which is checked. Newton's method solves it: the Hessian is a
diagonal plus a product of few columns, since the pair potential is a sum over few features.

Arrays in, arrays out; no files.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.limits.potentials import RadialPotentials
from meanfield.limits.stationary import feature_curvatures

Floats = NDArray[np.float64]

_NEWTON = 60
_HALVINGS = 40
_CONVERGED = 1e-12


class Movement(NamedTuple):
    """A sequence of minimising movements."""

    time: Floats  # shape (step + 1,), clock [1]
    radius: Floats  # shape (step + 1, atom), norm of each atom [1]
    mass: Floats  # shape (atom,), sums to one [1]
    risk: Floats  # shape (step + 1,), population risk [1]
    moved: Floats  # shape (step,), W2 distance of each step [1]
    residual: float  # largest violation of a step's first-order condition, as a speed [1]
    disorder: float  # largest loss of order among atoms; 0 if each step is a minimiser in W2 [1]


class _Features:
    # Features with the roots of their weights in: the risk is the squared distance of their mean from `target`.

    def __init__(self, potentials: RadialPotentials):
        self.potentials = potentials
        self.roots = np.sqrt(potentials.weights)[:, None]
        self.target = self.roots[:, 0] * potentials.targets

    def __call__(self, r: Floats) -> tuple[Floats, Floats]:
        p = self.potentials
        return self.roots * p.features(r), self.roots * p.feature_derivatives(r)

    def curvatures(self, r: Floats) -> Floats:
        return self.roots * feature_curvatures(self.potentials, r)


def minimising_movements(
    potentials: RadialPotentials, radius: Floats, mass: Floats, *, step: float, steps: int
) -> Movement:
    """Return a sequence of minimising movements from a law of atoms.

    Parameters
    ----------
    potentials : RadialPotentials
        The problem's.
    radius, mass : array, shape (atom,)
        Norms, in increasing order, and masses [1].
    step : float
        Time h of a step [1].
    steps : int
        Number of steps.

    Raises
    ------
    FloatingPointError
        If the minimisation of a step does not converge.

    """
    features = _Features(potentials)
    radius = np.asarray(radius, dtype=float)
    radii, moved, worst = [radius], [], 0.0
    for n in range(steps):
        # The step before is the first guess at this one.
        guess = np.maximum(2 * radius - radii[-2], 0.0) if n else radius
        radius, residual = _minimise(features, radius, mass, step, guess)
        if residual is None:
            msg = f"step {n + 1} of {steps} with h = {step:g} did not converge"
            raise FloatingPointError(msg)
        worst = max(worst, residual)
        moved.append(np.sqrt(mass @ (radius - radii[-1]) ** 2))
        radii.append(radius)
    radii = np.array(radii)
    return Movement(
        step * np.arange(steps + 1), radii, mass, np.array([potentials.risk(r, mass) for r in radii]), np.array(moved),
        worst, float(max(0.0, -np.diff(radii, axis=1).min(initial=0.0))),
    )  # fmt: skip


def _minimise(features: _Features, old: Floats, mass: Floats, h: float, guess: Floats) -> tuple[Floats, float | None]:
    # One minimising movement by a projected Newton method; the new norms and the first-order condition's violation.
    def energy(r: Floats, values: Floats) -> float:
        gap = values @ mass - features.target
        return float(gap @ gap + mass @ (r - old) ** 2 / (2 * h))

    values, slopes = features(old)
    r, trial = old, guess
    new_values, new_slopes = features(trial)
    if energy(trial, new_values) < energy(old, values):
        r, values, slopes = trial, new_values, new_slopes
    bends, before = None, np.inf
    scale = max(float(np.sqrt(mass @ old**2)), 0.1)
    for _ in range(_NEWTON):
        gap = values @ mass - features.target
        # Gradient per mass: 2 psi' + (r - old)/h.
        gradient = 2 * (gap @ slopes) + (r - old) / h
        free = (r > 0) | (gradient < 0)
        residual = float(np.abs(gradient[free]).max(initial=0.0))
        if residual * h <= _CONVERGED * scale:
            return r, residual
        # Only the direction needs the features' curvatures; they are taken again where they no longer serve.
        if bends is None or residual > 0.1 * before:
            bends = features.curvatures(np.maximum(r, 1e-9))
        before = residual
        curvature = 2 * (gap @ bends) + 1 / h
        positive = np.maximum(curvature, 0.05 / h)[free]
        columns = np.sqrt(2) * slopes[:, free]
        direction = np.zeros_like(r)
        # (diag(positive) + columns^T columns diag(mass)) direction = -gradient, by Woodbury's identity.
        inverse = gradient[free] / positive
        small = np.eye(len(columns)) + (columns * (mass[free] / positive)) @ columns.T
        direction[free] = -(inverse - columns.T @ np.linalg.solve(small, columns @ (mass[free] * inverse)) / positive)
        here, length = energy(r, values), 1.0
        for _ in range(_HALVINGS):
            trial = np.maximum(r + length * direction, 0.0)
            new_values, new_slopes = features(trial)
            if energy(trial, new_values) <= here + 1e-4 * float((mass * gradient) @ (trial - r)) + 1e-15 * abs(here):
                break
            length /= 2
        else:
            return r, residual if residual * h <= 1e-8 * scale else None
        if np.abs(trial - r).max() <= 1e-15 * scale:
            return trial, residual
        r, values, slopes = trial, new_values, new_slopes
    return r, residual if residual * h <= 1e-8 * scale else None


def dissipation(potentials: RadialPotentials, radius: Floats, mass: Floats) -> Floats:
    r"""Return :math:`4 \int |\psi'|^2 d\rho`, the rate at which the flow lowers the risk, shape (record,) [1].

    Atoms that rest at zero against an inward drift do not move and dissipate nothing.

    Parameters
    ----------
    potentials : RadialPotentials
        The problem's.
    radius : array, shape (record, atom)
        Norms [1].
    mass : array, shape (atom,)
        Masses [1].

    """
    found = []
    for r in radius:
        speed = potentials.drift(r, r, mass)
        speed[(r <= 0) & (speed < 0)] = 0.0
        found.append(mass @ speed**2)
    return np.array(found)
