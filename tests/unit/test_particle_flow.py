"""Adaptive gradient flows on the sphere: against another integrator, Euler steps, conservation and monotonicity."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from meanfield.kernels import sphere_reference as reference
from meanfield.kernels.sphere import Recurrence
from meanfield.limits.particle_flow import FLOWS, flow_code, flow_constant, solve_flow
from meanfield.problems.spin3 import GaussianUnits, Spin3

KERNEL = GaussianUnits(5, 1.0)
PROBLEM = Spin3.random(5, 0, "flow", 0)
TIME = np.array([0.0, 0.1, 0.3, 1.0, 3.0])


def start(units=12):
    return PROBLEM.initial_units(KERNEL, units, 0, "flow", 0)


def solved(flow, *, tolerance=1e-8, time=TIME, units=12, factor=1e4):
    return solve_flow(
        PROBLEM, KERNEL, start(units), time, flow=flow, relative_tolerance=tolerance, divergence_factor=factor
    )


def closed_forms(flow):
    if flow == "population":
        return (
            lambda z: PROBLEM.smoothed_target(KERNEL, z),
            lambda z: PROBLEM.smoothed_gradient(KERNEL, z),
            KERNEL.pair_average,
            lambda s: KERNEL.pair_average(s, 1),
        )
    a, d = (-1.0 if flow == "batch_free_printed" else 1.0), KERNEL.dimension
    return (
        PROBLEM.target,
        PROBLEM.gradient,
        lambda s: KERNEL.amplitude * np.exp(a * s - d),
        lambda s: a * KERNEL.amplitude * np.exp(a * s - d),
    )


@pytest.mark.parametrize("flow", FLOWS)
def test_the_solution_is_that_of_another_integrator_in_numpy(flow):
    # LSODA on the closed forms, no projection: the sphere is an invariant of the equation.
    units, time = start(), np.array([0.0, 0.2, 0.5])
    terms = closed_forms(flow)
    other = solve_ivp(
        lambda _, z: -reference.flow_gradient(z.reshape(units.shape), *terms)[0].ravel(),
        (0, time[-1]), units.ravel(), method="LSODA", t_eval=time, rtol=1e-10, atol=1e-10,
    )  # fmt: skip
    found = solved(flow, tolerance=1e-10, time=time)
    for n in range(len(time)):
        expected = other.y[:, n].reshape(units.shape)
        assert np.linalg.norm(found.units[n] - expected) < 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("flow", ["population", "batch_free"])
def test_what_is_lost_has_been_dissipated_and_nothing_rises(flow):
    found = solved(flow)
    lost = found.objective[0] - found.objective
    np.testing.assert_allclose(lost, found.dissipated, rtol=0, atol=1e-6 * found.objective[0])
    assert found.dissipated[0] == 0
    assert np.all(np.diff(found.objective) < 0)
    assert found.largest_rise <= 1e-8
    assert found.end == TIME[-1]
    # The objective is a squared norm of what is left to learn, or the loss itself.
    assert found.objective[-1] > 0
    if flow == "population":
        np.testing.assert_allclose(found.objective, found.loss, rtol=0, atol=1e-12)
    else:
        expected = PROBLEM.batch_free_objective(KERNEL, found.units[-1])
        assert found.objective[-1] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("flow", ["population", "batch_free"])
def test_errors_follow_the_tolerance_and_records_lie_on_the_sphere(flow):
    exact = solved(flow, tolerance=1e-11).units
    errors = [np.abs(solved(flow, tolerance=t).units - exact).max() for t in (1e-4, 1e-6, 1e-8)]
    assert errors[1] < errors[0] / 5
    assert errors[2] < errors[1] / 5
    assert errors[2] < 1e-5
    np.testing.assert_allclose(np.sum(exact[:, :, :-1] ** 2, axis=2), 5, rtol=0, atol=1e-12)


@pytest.mark.parametrize("flow", ["population", "batch_free"])
def test_euler_steps_approach_the_solution_at_order_one(flow):
    time = np.array([0.0, 0.5])
    exact = solved(flow, tolerance=1e-10, time=time).units[-1]
    errors = []
    for steps in (1000, 2000):
        state = PROBLEM.state(KERNEL, start())
        state.advance_flow(steps, Recurrence(0.5 / steps), flow_code(PROBLEM, KERNEL, flow))
        errors.append(np.linalg.norm(state.lookahead - exact))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.15)


def test_records_do_not_depend_on_each_other():
    few, many = solved("batch_free", time=TIME[[0, 4]]), solved("batch_free")
    np.testing.assert_array_equal(few.units[-1], many.units[-1])
    assert solved("batch_free", time=np.zeros(1)).units.shape == (1, 12, 6)


def test_the_printed_sign_descends_without_bound():
    found = solved("batch_free_printed", time=np.array([0.0, 0.5, 1.0, 10.0]), tolerance=1e-6)
    assert 0.5 < found.end < 10
    assert np.isfinite(found.loss[1])
    assert np.isnan(found.loss[-1])
    assert np.isnan(found.units[-1]).all()
    # It is a gradient flow all the same, of an energy that has no lower bound.
    assert found.largest_rise <= 1e-8
    assert found.objective[1] < found.objective[0]
    assert solved("batch_free", time=np.array([0.0, 10.0]), tolerance=1e-6).loss[-1] < 0.3 * found.loss[0]


def test_constants_and_refusals():
    assert flow_constant(PROBLEM, KERNEL, "population") == pytest.approx(sum(PROBLEM.mean_squares) / 2)
    assert flow_constant(PROBLEM, KERNEL, "batch_free_printed") == 0
    with pytest.raises(ValueError, match="flow: 'batchfree' found; allowed: population, batch_free"):
        flow_code(PROBLEM, KERNEL, "batchfree")
