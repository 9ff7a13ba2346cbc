"""Replicates, widths and records of the 3-spin; slopes and slices."""

import numpy as np
import pytest

from meanfield.analysis.intervals import log_interval
from meanfield.analysis.slices import great_circles, sphere_map
from meanfield.analysis.slopes import first_crossings, replicate_slopes
from meanfield.errors import DivergenceError
from meanfield.kernels.sphere import Recurrence
from meanfield.kernels.streams import stream_key
from meanfield.problems.spin3 import GaussianUnits, Spin3
from meanfield.sphere_simulation import make_target, simulate_sphere, solve_flows

PROBLEM = {
    "kind": "spherical_3spin", "dimension": 5, "couplings": "independent", "units": "gaussian_kernel",
    "inverse_squared_width": 1.0, "normalised": True,
}  # fmt: skip
COMMON = {"experiment": "test", "seed": 4, "problem": PROBLEM, "initial_law": {"coefficient_scale": 1.0}}


def cases(end):
    return [{"neurons": n, "factor": 0.2, "phases": [[end, max(1, n // 5)]]} for n in (6, 12)]


def simulated(method="sgd", hyperparameters=None, gradient="samples", **changes):
    settings = {"method": method, "hyperparameters": hyperparameters or {}, "step_size": 1e-2, "gradient": gradient}
    given = {
        **COMMON, "simulation": "run", "settings": settings, "iterations": [0, 1, 50, 100], "replicates": range(2),
        **changes,
    }  # fmt: skip
    return simulate_sphere(**given, cases=cases(given["iterations"][-1]))


def test_records_are_those_of_the_kernel_run_by_hand():
    runs = simulated()
    target = Spin3.random(5, 4, "test", 1)
    kernel = GaussianUnits(5, 1.0)
    state = target.state(kernel, target.initial_units(kernel, 12, 4, "test", 1))
    assert runs.loss[1, 1, 0] == target.loss(kernel, state.units)
    state.advance_stream(50, Recurrence(1e-2), key=stream_key(4, "test", 1), batch=2)
    assert runs.loss[1, 1, 2] == target.loss(kernel, state.units)
    state.advance_stream(50, Recurrence(1e-2), key=stream_key(4, "test", 1), batch=2)
    assert np.array_equal(runs.units[1, 6:], state.units)
    assert runs.cases.case_of_unit.tolist() == [0] * 6 + [1] * 12
    assert np.array_equal(runs.couplings[1], target.couplings)
    assert runs.mean_square[1] == sum(target.mean_squares)
    assert runs.time.tolist() == [0.0, 0.01, 0.5, 1.0]
    assert runs.radius_error.max() < 1e-12


@pytest.mark.parametrize(("method", "hyperparameters"), [("sgd", {}), ("langevin", {"temperature": 1e-3})])
def test_replicates_do_not_depend_on_their_company(method, hyperparameters):
    both = simulated(method, hyperparameters)
    alone = simulated(method, hyperparameters, replicates=range(1, 2))
    assert np.array_equal(both.loss[1], alone.loss[0])
    assert np.array_equal(both.units[1], alone.units[0])
    assert not np.array_equal(both.units[0], both.units[1])


def test_couplings_are_independent_or_shared():
    own = [make_target(PROBLEM, 4, "test", r).couplings for r in range(2)]
    shared = [make_target({**PROBLEM, "couplings": "shared"}, 4, "test", r).couplings for r in range(2)]
    assert not np.array_equal(own[0], own[1])
    assert np.array_equal(shared[0], shared[1])
    assert np.array_equal(shared[0], own[0])
    seeded = make_target({**PROBLEM, "couplings": "shared", "coupling_seed": 0}, 4, "test", 1).couplings
    # The first numbers of numpy's default generator with the seed 0.
    np.testing.assert_allclose(seeded[0, 0, :2], [0.12573022, -0.13210486], rtol=0, atol=1e-8)


def test_evaluations_and_clock_of_a_method_with_an_inner_loop():
    runs = simulated("entropy_sgd", {"scope": 0.1, "inner_steps": 5, "forgetting": 0.0}, iterations=[0, 3])
    assert runs.evaluation.tolist() == [0, 15]
    # With the last step alone in the average, and a constant gradient: y - x = -scope g (1 - (1 - s/scope)^5).
    assert runs.limit_time[1] == pytest.approx(3 * 0.1 * (1 - 0.9**5), rel=1e-12)


def test_sigmoid_losses_have_error_bars_and_need_test_points():
    problem = {"kind": "spherical_3spin", "dimension": 5, "couplings": "shared", "units": "sigmoid"}
    runs = simulated(problem=problem, evaluate={"log2_points": 8, "scramblings": 4})
    assert np.all(runs.loss_error > 0)
    assert np.all(runs.loss_error < 0.2 * runs.loss)
    assert runs.units.shape == (2, 18, 7)
    tests = {"log2_points": 8, "scramblings": 4}
    settings = {"method": "sgd", "hyperparameters": {}, "step_size": 1e-2, "gradient": "samples"}
    for precision, agreement in (("float64", 0), ("float32", 1e-5)):
        other = simulated(problem=problem, evaluate=tests, settings={**settings, "precision": precision})
        assert other.units.dtype == precision
        assert other.loss.dtype == float
        np.testing.assert_allclose(other.loss, runs.loss, rtol=agreement)


@pytest.mark.filterwarnings("ignore:overflow")
def test_divergence_is_one_line_and_the_printed_sign_may_diverge():
    with pytest.raises(DivergenceError, match=r"test/run, replicate 0, 6 neurons: sgd diverged.*step_size 200"):
        settings = {"method": "sgd", "hyperparameters": {}, "step_size": 200.0, "gradient": "batch_free"}
        simulated(settings=settings, iterations=[0, 10, 2000])
    settings = {"method": "sgd", "hyperparameters": {}, "step_size": 1.0, "gradient": "batch_free_printed"}
    runs = simulated(settings=settings, iterations=[0, 10, 2000])
    assert np.isfinite(runs.loss[..., 0]).all()
    assert np.isnan(runs.loss[..., -1]).all()
    assert np.isnan(runs.units).all()


def test_a_loss_that_is_lost_before_its_units_is_divergence():
    problem = {**PROBLEM, "dimension": 13, "inverse_squared_width": 0.9}
    common = {**COMMON, "seed": 0, "simulation": "run", "problem": problem, "replicates": range(1)}
    one = [{"neurons": 1, "factor": 0.0, "phases": [[50, 0]]}]
    settings = {"method": "sgd", "hyperparameters": {}, "step_size": 0.02, "gradient": "batch_free"}
    with pytest.raises(DivergenceError, match=r"its loss is no longer finite, or beyond 1e\+100, at iteration \d+ "):
        simulate_sphere(**common, settings=settings, cases=one, iterations=[0, *range(1, 51)])


def test_flows_start_where_simulations_do_and_keep_their_records():
    flows = solve_flows(
        **COMMON, simulation="flow", neurons=[6, 12], times=[0.0, 0.5, 1.0], replicates=range(2),
        settings={"flow": "population", "relative_tolerance": 1e-8, "divergence_factor": 1e3},
    )  # fmt: skip
    runs = simulated()
    assert flows.loss.shape == (2, 2, 3)
    np.testing.assert_array_equal(flows.loss[..., 0], runs.loss[..., 0])
    assert np.all(np.diff(flows.objective, axis=-1) < 0)
    np.testing.assert_allclose(
        flows.objective[..., :1] - flows.objective, flows.dissipated, rtol=0, atol=1e-6 * flows.objective.max()
    )
    # SGD with tiny steps ends near the flow.
    small = simulated(
        settings={"method": "sgd", "hyperparameters": {}, "step_size": 1e-3, "gradient": "population"},
        iterations=[0, 1000],
    )
    np.testing.assert_allclose(small.loss[..., -1], flows.loss[..., -1], rtol=0.02)


# -- slopes and slices ---------------------------------------------------------------------------------------


def test_slopes_of_powers_are_their_exponents():
    x = np.array([16.0, 32.0, 64.0])
    values = np.array([3 * x**-1.5, 0.1 * x**-1.0])
    np.testing.assert_allclose(replicate_slopes(x, values), [-1.5, -1.0], rtol=1e-12)
    # Points (1, 1), (2, 2), (4, 2): by hand, slope of log2: (0, 0), (1, 1), (2, 1): 1/2.
    assert replicate_slopes([1, 2, 4], [[1, 2, 2]])[0] == pytest.approx(0.5, rel=1e-12)
    assert np.isnan(replicate_slopes(x, [[1.0, 0.0, 1.0], [1.0, np.nan, 1.0]])).all()
    assert np.isnan(replicate_slopes([3.0], [[1.0]])).all()
    assert np.isnan(replicate_slopes([3.0, 3.0], [[1.0, 2.0]])).all()


def test_geometric_means_and_their_intervals():
    found = log_interval(np.array([1.0, 4.0])[:, None])
    assert found.mean[0] == pytest.approx(2.0)
    # t quantile with one degree of freedom, 12.706; standard error of the log: log(4)/2.
    assert found.high[0] == pytest.approx(2 * np.exp(12.7062047 * np.log(4) / 2), rel=1e-6)
    assert np.isnan(log_interval(np.array([[1.0], [0.0]])).mean).all()


def test_first_crossings_are_interpolated_in_logarithms():
    x = np.array([0.0, 1.0, 4.0, 16.0])
    values = np.array([[8.0, 4.0, 1.0, 0.1], [8.0, 8.0, 8.0, 8.0], [8.0, 1.0, 4.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    # From 4 at x = 1 to 1 at x = 4: 2 half way in the logarithm, at x = 2; the third is there at its first record.
    np.testing.assert_allclose(first_crossings(x, values, np.array([2.0, 2.0, 2.0, 2.0])), [2.0, np.nan, 1.0, 0.0])


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_slices_lie_on_the_sphere(dimension):
    angle, circles = great_circles(dimension, 9)
    assert circles.shape == (1 if dimension == 2 else 3, 9, dimension)
    np.testing.assert_allclose(np.sum(circles**2, axis=-1), dimension, rtol=0, atol=1e-12)
    np.testing.assert_allclose(circles[0, 2], np.sqrt(dimension) * np.eye(dimension)[1], atol=1e-12)
    assert angle[2] == pytest.approx(np.pi / 2)
    if dimension == 2:
        with pytest.raises(ValueError, match="needs d >= 3"):
            sphere_map(dimension, 9)
        return
    polar, azimuth, points = sphere_map(dimension, 9)
    assert points.shape == (9, 17, dimension)
    np.testing.assert_allclose(np.sum(points**2, axis=-1), dimension, rtol=0, atol=1e-12)
    np.testing.assert_allclose(points[4, 8], np.sqrt(dimension) * np.eye(dimension)[0], atol=1e-12)
    np.testing.assert_allclose(points[0], np.sqrt(dimension) * np.eye(dimension)[2] * np.ones((17, 1)), atol=1e-12)
    assert polar[-1] == pytest.approx(np.pi)
    assert azimuth[0] == pytest.approx(-np.pi)
