r"""Deterministic gradient flows of the 3-spin network's units, by an adaptive integrator on the sphere.

With :math:`E` the objective as a function of all units, every unit moves along minus n times its gradient,

.. math:: \dot c_i = V(y_i) - \frac1n \sum_j c_j k(y_i, y_j), \qquad
          \dot y_i = c_i P_i \nabla \Big[ V - \frac1n \sum_j c_j k(\cdot, y_j) \Big](y_i),

P the projection on the tangent space, so that :math:`\dot E = -n^{-1} \sum_i |\dot u_i|^2`, u_i = (y_i, c_i). With
:math:`V = f` and k the kernel no sample of inputs is needed: the *batch-free* flow of Rotskoff & Vanden-Eijnden
(2018), arXiv:1805.00915, eq. 4.5. With the averages :math:`V = E_x f \varphi`, :math:`k = E_x \varphi \varphi` it is
the flow of the population loss, which SGD follows as its step vanishes.

The integrator is scipy's Dormand-Prince 8(5,3). Off the sphere, where its stages lie by the order of a step's error,
the right-hand side is that of the nearest point on it; a step's end is put back there (Hairer, Lubich & Wanner 2006,
*Geometric Numerical Integration*, section IV.4), which keeps the order. What has been dissipated is integrated along
with the units: energy lost minus energy dissipated is zero but for the integrator's error.

Arrays in, arrays out; no files.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.problems.spin3 import GaussianUnits, Spin3, to_sphere

Floats = NDArray[np.float64]

POPULATION = "population"
BATCH_FREE = "batch_free"
BATCH_FREE_PRINTED = "batch_free_printed"
FLOWS = (POPULATION, BATCH_FREE, BATCH_FREE_PRINTED)


class FlowSolution(NamedTuple):
    """Units along a gradient flow; records after a blow-up are nan."""

    time: Floats  # shape (record,), mean-field time [1]
    units: Floats  # shape (record, unit, d + 1), centres and coefficients [1]
    loss: Floats  # shape (record,), population loss, half the mean squared error [1]
    objective: Floats  # shape (record,), what the flow descends [1]
    dissipated: Floats  # shape (record,), integral of the squared speed, averaged over units [1]
    largest_rise: float  # of the objective over one step, relative to its range; at most 0 where it never rises
    radius_error: float  # largest relative distance from the sphere before a step's end is put back
    steps: int
    evaluations: int
    end: float  # time reached [1]: the last record, or where the flow blew up


def flow_code(problem: Spin3, kernel: GaussianUnits, flow: str) -> tuple:
    """Return a flow as the compiled kernels take it.

    Parameters
    ----------
    problem : Spin3
        The target.
    kernel : GaussianUnits
        The units.
    flow : str
        ``population``; ``batch_free``; or ``batch_free_printed``, with the misprinted sign in the kernel's exponent.

    """
    if flow == POPULATION:
        return problem.population_flow(kernel)
    if flow in (BATCH_FREE, BATCH_FREE_PRINTED):
        return problem.batch_free_flow(kernel, printed_sign=flow == BATCH_FREE_PRINTED)
    msg = f"flow: {flow!r} found; allowed: {', '.join(FLOWS)}"
    raise ValueError(msg)


def flow_constant(problem: Spin3, kernel: GaussianUnits, flow: str) -> float:
    """Return what makes a flow's energy its objective [1]: half the squared norm of f, in L2 or the kernel's space.

    With the printed sign no norm belongs to the kernel, which is indefinite; the constant is zero.
    """
    if flow == POPULATION:
        return sum(problem.mean_squares) / 2
    return problem.squared_norm(kernel) / 2 if flow == BATCH_FREE else 0.0


def solve_flow(
    problem: Spin3,
    kernel: GaussianUnits,
    units: Floats,
    time: Floats,
    *,
    flow: str,
    relative_tolerance: float,
    divergence_factor: float,
) -> FlowSolution:
    """Integrate a gradient flow from given units.

    Parameters
    ----------
    problem : Spin3
        The target.
    kernel : GaussianUnits
        The units.
    units : array, shape (unit, d + 1)
        Initial centres on the sphere and coefficients [1].
    time : array, shape (record,), increasing, from 0
        Mean-field times of the records [1].
    flow : str
        See `flow_code`.
    relative_tolerance : float
        Local error allowed per step, as a root mean square over all numbers, each relative to the larger of 1 and
        its size.
    divergence_factor : float
        The flow with the printed sign counts as blown up once its loss exceeds this many times the initial loss, or its
        steps become too small for rounding. The others cannot blow up: their objectives are squared norms.

    Returns
    -------
    FlowSolution
        Records at exactly the given times, nan after a blow-up.

    """
    time = np.asarray(time, float)
    shape, count = units.shape, len(units)
    state = problem.state(kernel, units)
    code, constant = flow_code(problem, kernel, flow), flow_constant(problem, kernel, flow)

    def velocity(z: Floats) -> tuple[Floats, float]:
        state.set_units(z[:-1].reshape(shape))
        return state.flow_velocity(code)

    def right_hand_side(_: float, z: Floats) -> Floats:
        v = velocity(z)[0].ravel()
        derivative = np.empty_like(z)
        derivative[:-1] = v
        derivative[-1] = np.add.reduce(v * v) / count
        return derivative

    def retracted(z: Floats) -> Floats:
        moved = z[:-1].reshape(shape)
        return np.concatenate([np.column_stack([to_sphere(moved[:, :-1]), moved[:, -1]]).ravel(), z[-1:]])

    records = np.full((len(time), len(units.ravel()) + 1), np.nan)
    records[0] = np.append(units, 0.0)
    # The compiled energy of the population flow is the loss but for a constant.
    population, bound = problem.population_flow(kernel), divergence_factor * problem.loss(kernel, units)

    def blown_up(z: Floats) -> bool:
        state.set_units(z[:-1].reshape(shape))
        return not state.flow_velocity(population)[1] + sum(problem.mean_squares) / 2 <= bound

    from scipy.integrate import DOP853  # here, because its import takes a second, which every job would pay

    with np.errstate(over="ignore", invalid="ignore"):
        solver = DOP853(
            right_hand_side, 0.0, records[0], time[-1] or 1.0, rtol=relative_tolerance, atol=relative_tolerance
        )
        energies, radius_error, steps, following = [velocity(solver.y)[1]], 0.0, 0, 1
        while following < len(time):
            if solver.step() is not None and solver.status == "failed":
                break
            steps += 1
            squares = np.sum(solver.y[:-1].reshape(shape)[:, :-1] ** 2, axis=1) / (shape[1] - 1)
            radius_error = max(radius_error, float(np.max(np.abs(squares - 1))) / 2)
            inside = np.searchsorted(time, solver.t, side="right")
            if inside > following:
                interpolant = solver.dense_output()
                for n in range(following, inside):
                    records[n] = retracted(interpolant(time[n]))
                following = inside
            # The derivative there is the same: the right-hand side sees the nearest point on the sphere.
            solver.y = retracted(solver.y)
            energies.append(velocity(solver.y)[1])
            if flow == BATCH_FREE_PRINTED and blown_up(solver.y):
                break
    found = records[:, :-1].reshape(-1, *shape)
    alive = np.isfinite(records[:, 0])
    loss, objective = np.full(len(time), np.nan), np.full(len(time), np.nan)
    for n in np.flatnonzero(alive):
        loss[n] = problem.loss(kernel, found[n])
        objective[n] = velocity(records[n])[1] + constant
    energy = np.array(energies)
    rises = np.diff(energy)
    return FlowSolution(
        time, found, loss, objective, records[:, -1],
        float(rises.max() / np.ptp(energy)) if len(rises) else 0.0,
        radius_error, steps, solver.nfev, float(min(solver.t, time[-1])),
    )  # fmt: skip
