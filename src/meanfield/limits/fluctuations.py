r"""Fluctuations around the mean-field limit: their variance by the linearised equation, integrated along the limit.

With N neurons from independent initial weights and the step size :math:`\varepsilon`, the empirical law deviates from
its limit by :math:`\hat\rho^N_t - \rho_t \approx N^{-1/2} \eta_t` (Sirignano & Spiliopoulos 2020, Stoch. Proc. Appl.
130, 1820; there :math:`\varepsilon = \alpha/N`). For a function f of the norm, :math:`\langle f, \eta_T \rangle` is
normal. Let :math:`g_t` solve the adjoint of the linearised distributional dynamics, backwards from :math:`g_T = f`,

.. math:: -\partial_t g_t(r) = b_t(r)\, g_t'(r) - 2 \int \partial_1 u(s, r)\, g_t'(s)\, \rho_t(ds),
          \qquad b_t = -2 \psi'(\cdot; \rho_t).

Then, to leading order in 1/N and :math:`\varepsilon`,

.. math:: \operatorname{Var} \langle f, \hat\rho^N_T \rangle = \frac1N \operatorname{Var}_{\rho_0}(g_0)
          + \varepsilon \int_0^T \operatorname{Var}_{(x, y)}(M_t)\, dt, \qquad
          M_t = 2 (y - \hat y_{\rho_t}(x)) \int g_t'(s)\, F'(s; |x|)\, \rho_t(ds),

the initial weights and the noise of the samples, which all neurons share; F is the mean of :math:`\sigma(\langle w, x
\rangle)` over directions of w (see `meanfield.limits.potentials`), so that :math:`E M_t = \int g_t' b_t\, d\rho_t`.
The two parts are independent. In rotation-invariant laws functions of the norm see no other part of :math:`\eta`.

Along a characteristic :math:`\dot r_j = b(r_j)` the slope :math:`p_j = g_t'(r_j)` and the value :math:`h_j = g_t(r_j)`
obey a closed linear system, with the sums :math:`a_q = \sum_j m_j p_j F_q'(r_j)` over atoms of masses m,

.. math:: \dot p_j = -b'(r_j)\, p_j + 2 \sum_q p_q a_q F_q'(r_j), \qquad \dot h_j = 2 \sum_q p_q a_q F_q(r_j).

It is integrated by the classical Runge-Kutta scheme on a grid of times. Arrays in, arrays out; no files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from meanfield.limits.characteristics import CharacteristicSolution, solve_characteristics
from meanfield.limits.potentials import RadialPotentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.isotropic import RadialLaw

Floats = NDArray[np.float64]

# Relative size of the features that the compressed basis leaves out; nodes tried for its tables, until the slopes
# between the nodes are this exact.
_RANK_TOLERANCE = 1e-8
_TABLE_NODES = tuple((250 << n) + 1 for n in range(5))
_TABLE_TOLERANCE = 1e-7
# An atom with less than this of the initial scale has reached zero, where the flow is not smooth.
_ARRIVED = 1e-9


@dataclass(frozen=True)
class RadialFunction:
    """A test function of the norm with its derivative, both from arrays to arrays, and its name in figures."""

    value: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    label: str


TEST_FUNCTIONS = {
    "norm": RadialFunction(lambda r: r, np.ones_like, r"$|w|$"),
    "squared_norm": RadialFunction(np.square, lambda r: 2 * r, r"$|w|^2$"),
    "tanh_norm": RadialFunction(np.tanh, lambda r: 1 / np.cosh(r) ** 2, r"$\tanh |w|$"),
    "cosine_norm": RadialFunction(lambda r: np.cos(2 * r), lambda r: -2 * np.sin(2 * r), r"$\cos 2|w|$"),
    "bump_norm": RadialFunction(
        lambda r: np.exp(-2 * (r - 1) ** 2), lambda r: -4 * (r - 1) * np.exp(-2 * (r - 1) ** 2), r"$e^{-2(|w| - 1)^2}$"
    ),
}
# The risk itself, a functional of the law whose first variation is twice psi.
RISK = "risk"


class Prediction(NamedTuple):
    """The limit and the leading order of its fluctuations, for several functions at several times."""

    time: Floats  # shape (record,), mean-field time [1]
    mean: Floats  # shape (function, record), average over the limit law; the risk itself for `RISK` [1]
    spread: Floats  # shape (function, record), variance under the limit law; nan for `RISK` [1]
    initial: Floats  # shape (function, record), N times the variance by the initial weights [1]
    data: Floats  # shape (function, record), variance by the samples, over the step size [1 / mean-field time]
    scale_derivative: Floats  # shape (function, record), of the average, in log kappa, by the adjoint [1]
    limit: CharacteristicSolution  # the limit at the same times
    quadrature_error: float  # of the pair potential, see RadialPotentials.error
    table_error: float  # of the slopes of the features, relative to the largest


class AbsorptionError(ValueError):
    """Neurons reach zero, where the limit dynamics is not differentiable in its initial law."""


class Features:
    r"""The features of all nodes in a short orthonormal basis, as splines of the norm.

    :math:`\sqrt{p_q} F_q(r) = \sum_k U_{qk} \varphi_k(r)`; what is left out is below rounding.

    Parameters
    ----------
    potentials : RadialPotentials
        Finite or infinite dimension.
    largest_norm : float
        Norms up to here [1].

    Attributes
    ----------
    basis : array, shape (node, feature)
        U.
    roots, residual : array, shape (node,)
        :math:`\sqrt{p_q}` and :math:`\sqrt{p_q} y_q`.
    error : float
        Largest error of the slopes between the nodes of the splines, relative to the largest slope.

    """

    def __init__(self, potentials: RadialPotentials, largest_norm: float):
        self.roots = np.sqrt(potentials.weights)
        self.residual = self.roots * potentials.targets
        self.largest_norm = largest_norm
        for nodes in _TABLE_NODES:
            self._tabulate(potentials, nodes)
            if self.error < _TABLE_TOLERANCE:
                break

    def _tabulate(self, potentials: RadialPotentials, nodes: int) -> None:
        # Denser at small norms, where features of wide inputs change fast.
        r = self.largest_norm * np.linspace(0, 1, nodes) ** 1.5
        value = self.roots[:, None] * potentials.features(r)
        slope = self.roots[:, None] * potentials.feature_derivatives(r)
        left, sizes, _ = np.linalg.svd(np.hstack([value, slope * self.largest_norm]), full_matrices=False)
        kept = max(1, int((sizes > _RANK_TOLERANCE * sizes[0]).sum()))
        self.basis = left[:, :kept]
        self._value = CubicHermiteSpline(r, self.basis.T @ value, self.basis.T @ slope, axis=1)
        self._slope = CubicSpline(r, self.basis.T @ slope, axis=1)
        self._bend = self._slope.derivative()
        # What the splines say between their nodes.
        middle = (r[1:] + r[:-1]) / 2
        exact = self.roots[:, None] * potentials.feature_derivatives(middle)
        error = np.abs(self.basis @ self._slope(middle) - exact).max()
        self.error = float(error / max(np.abs(slope).max(), 1e-300))

    def value(self, r: Floats) -> Floats:
        """Return the features, shape (feature, atom)."""
        return self._value(r)

    def slope(self, r: Floats) -> Floats:
        """Return their derivatives, shape (feature, atom)."""
        return self._slope(r)

    def bend(self, r: Floats) -> Floats:
        """Return their second derivatives, shape (feature, atom)."""
        return self._bend(r)


def predict(
    potentials: RadialPotentials,
    law: RadialLaw,
    time: Floats,
    functions: list[str],
    *,
    atoms: int,
    steps: int,
    relative_tolerance: float = 1e-10,
) -> Prediction:
    """Return the limit at several times and the variances of the fluctuations around it.

    Parameters
    ----------
    potentials : RadialPotentials
        Of a finite dimension.
    law : RadialLaw
        Law of the initial weights.
    time : array, shape (record,), increasing, from 0
        Mean-field times [1]; the step-size schedule is constant.
    functions : list of str
        Keys of `TEST_FUNCTIONS`, or `RISK`.
    atoms : int
        Atoms of the limit law.
    steps : int
        Steps of the integrator up to the last time, at least; every interval between two times has some.
    relative_tolerance : float
        Of the limit equation's integrator.

    Raises
    ------
    AbsorptionError
        If neurons reach zero before the last time.

    """
    time = np.asarray(time, dtype=float)
    grid, place = _grid(time, steps)
    limit = solve_characteristics(
        potentials, law, grid, atoms=atoms, schedule=Schedule(), relative_tolerance=relative_tolerance
    )
    if limit.radius.min() < _ARRIVED * law.scale:
        first = grid[np.flatnonzero(limit.radius.min(axis=1) < _ARRIVED * law.scale)[0]]
        msg = f"neurons reach zero at t = {first:.3g}, where the linearised equation ends"
        raise AbsorptionError(msg)
    flow = _Flow(Features(potentials, 1.01 * float(limit.radius.max())), limit)
    mean, spread = np.full((2, len(functions), len(time)), np.nan)
    for n, index in enumerate(place):
        for k, name in enumerate(functions):
            if name == RISK:
                mean[k, n] = limit.risk[index]
                continue
            value = TEST_FUNCTIONS[name].value(limit.radius[index])
            mean[k, n] = limit.mass @ value
            spread[k, n] = limit.mass @ (value - mean[k, n]) ** 2
    h, p, data = flow.adjoint(place, functions)
    centred = h - np.tensordot(limit.mass, h, 1)
    initial = np.tensordot(limit.mass, centred**2, 1)
    derivative = np.tensordot(limit.mass * limit.radius[0], p, 1)
    kept = CharacteristicSolution(
        time, limit.radius[place], limit.mass, limit.risk[place], limit.evaluations, limit.quadrature_error,
        limit.table_error,
    )  # fmt: skip
    return Prediction(time, mean, spread, initial, data, derivative, kept, float(potentials.error), flow.error)


def influence(
    potentials: RadialPotentials, law: RadialLaw, time: float, functions: list[str], *, atoms: int, steps: int
) -> tuple[Floats, Floats, Floats]:
    """Return initial norms, their masses and the influence functions g_0, shape (atom, function), centred.

    The influence is the derivative of an average at `time` in the share of neurons that start at a norm. Arguments as
    in `predict`.
    """
    grid, place = _grid(np.array([0.0, time]), steps)
    limit = solve_characteristics(potentials, law, grid, atoms=atoms, schedule=Schedule(), relative_tolerance=1e-10)
    flow = _Flow(Features(potentials, 1.01 * float(limit.radius.max())), limit)
    h = flow.adjoint(place, functions)[0][:, :, -1]
    return limit.radius[0], limit.mass, h - limit.mass @ h


def width_bias(potentials: RadialPotentials, radius: Floats, mass: Floats) -> Floats:
    r"""Return N times the mean excess of the risk of N independent neurons over that of their law, shape (record,).

    :math:`\int U(w, w)\, d\rho - \iint U\, d\rho\, d\rho`, for a rotation-invariant law.

    Parameters
    ----------
    potentials : RadialPotentials
        Of a finite dimension.
    radius : array, shape (record, atom)
        Norms [1].
    mass : array, shape (atom,) or (record, atom)
        Masses, which sum to one [1].

    """
    problem = potentials.problem
    masses = np.broadcast_to(mass, radius.shape)
    own = sum(0.5 * problem.activation.gaussian_mean_square(tau * radius) for tau in problem.scales)
    together = [potentials.weights @ potentials.predictions(r, m) ** 2 for r, m in zip(radius, masses, strict=True)]
    return (own * masses).sum(axis=1) - np.array(together)


def _grid(time: Floats, steps: int) -> tuple[Floats, NDArray[np.intp]]:
    # Times of the integrator, an even number of equal intervals from each record to the next, finer at early times
    # where the dynamics is fast; and the places of the records.
    parts, place = [np.zeros(1)], [0]
    for start, end in pairwise(time):
        share = np.sqrt(end / time[-1]) - np.sqrt(start / time[-1])
        count = 2 * max(4, int(np.ceil(steps * share)))
        parts.append(start + (end - start) * np.arange(1, count + 1) / count)
        place.append(place[-1] + count)
    return np.concatenate(parts), np.array(place)


class _Flow:
    # The linearised equation along the limit.

    def __init__(self, features: Features, limit: CharacteristicSolution):
        self.features, self.limit, self.error = features, limit, features.error
        self.target = features.basis.T @ features.residual

    def at(self, index: int) -> "_Coefficients":
        return _Coefficients(self.features, self.limit.radius[index], self.limit.mass, self.target)

    def adjoint(self, place: NDArray[np.intp], functions: list[str]) -> tuple[Floats, Floats, Floats]:
        # Values and slopes at time 0, shape (atom, function, record), of the functions at each record, and integrals
        # of the noise, shape (function, record): one way back, on which the functions of every record join.
        count, atoms = len(functions), self.limit.mass.size
        h, p, noise = np.empty((atoms, 0)), np.empty((atoms, 0)), np.empty(0)
        time, ahead = self.limit.time, self.at(int(place[-1]))
        for n in range(int(place[-1]), -1, -2):
            if n in place:
                values, slopes = ahead.ends(functions)
                h, p = np.hstack([values, h]), np.hstack([slopes, p])
                noise = np.concatenate([np.zeros(count), noise])
            if n == 0:
                break
            between, behind = self.at(n - 1), self.at(n - 2)
            step = time[n] - time[n - 2]
            p1, h1 = ahead.rates(p)
            p2, h2 = between.rates(p - step / 2 * p1)
            p3, h3 = between.rates(p - step / 2 * p2)
            p4, h4 = behind.rates(p - step * p3)
            start = p - step / 6 * (p1 + 2 * p2 + 2 * p3 + p4)
            h = h - step / 6 * (h1 + 2 * h2 + 2 * h3 + h4)
            # Hermite's cubic gives the slopes in the middle, for Simpson's rule.
            middle = (start + p) / 2 + step / 8 * (behind.rates(start)[0] - p1)
            noise = noise + step / 6 * (ahead.noise(p) + 4 * between.noise(middle) + behind.noise(start))
            p, ahead = start, behind
        shape = (atoms, len(place), count)
        return (
            h.reshape(shape).transpose(0, 2, 1), p.reshape(shape).transpose(0, 2, 1), noise.reshape(len(place), count).T
        )  # fmt: skip


class _Coefficients:
    # Of the linearised equation at one time.

    def __init__(self, features: Features, radius: Floats, mass: Floats, target: Floats):
        self.features, self.radius, self.mass, self.target = features, radius, mass, target
        self.value, self.slope = features.value(radius), features.slope(radius)
        # The error of each feature's mean, and the derivative of the drift.
        self.error = target - self.value @ mass
        self.bend = 2 * self.error @ features.bend(radius)

    def ends(self, functions: list[str]) -> tuple[Floats, Floats]:
        # Values and slopes of functions at the atoms, shape (atom, function); of the risk those of twice psi.
        values, slopes = [], []
        for name in functions:
            if name == RISK:
                values.append(-2 * self.error @ self.value)
                slopes.append(-2 * self.error @ self.slope)
            else:
                values.append(TEST_FUNCTIONS[name].value(self.radius))
                slopes.append(TEST_FUNCTIONS[name].slope(self.radius))
        return np.array(values).T, np.array(slopes).T

    def sums(self, p: Floats) -> Floats:
        return (self.slope * self.mass) @ p

    def rates(self, p: Floats) -> tuple[Floats, Floats]:
        # Derivatives in time of the slopes p and of the values, shape (atom, column).
        sums = self.sums(p)
        return -self.bend[:, None] * p + 2 * self.slope.T @ sums, 2 * self.value.T @ sums

    def noise(self, p: Floats) -> Floats:
        # Variance over samples of what one step of unit size moves an average by, shape (column,).
        f = self.features
        # Errors of the nodes, times the root of their probability; then moves, times the probability.
        error = f.residual - f.basis @ (self.target - self.error)
        part = 2 * error[:, None] * (f.basis @ self.sums(p))
        return ((part / f.roots[:, None]) ** 2).sum(axis=0) - part.sum(axis=0) ** 2
