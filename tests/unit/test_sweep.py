"""Sweeps, and simulations of the anisotropic problem, through the functions that the jobs call."""

import math

import numpy as np
import pytest

from meanfield.errors import DivergenceError
from meanfield.limits.schedule import Schedule
from meanfield.methods import nesterov
from meanfield.methods.runs import PlainWalk
from meanfield.problems.anisotropic import TwoLayerLaw
from meanfield.problems.factory import make_problem
from meanfield.simulation import simulate, sweep, sweep_looks

RAMP = {
    "kind": "piecewise_linear", "knots": [0.5, 1.5], "values": [-2.5, 7.5], "left_slope": 0.0, "right_slope": 0.0,
}  # fmt: skip
RELU = {"kind": "piecewise_linear", "knots": [0.0], "values": [0.0], "left_slope": 0.0, "right_slope": 1.0}
ISOTROPIC = {
    "experiment": "test", "seed": 7, "problem": {"kind": "isotropic_gaussians", "dimension": 6, "separation": 0.5},
    "activation": RAMP, "neurons": 20, "initial_law": {"kind": "gaussian", "scale": 0.8},
    "schedule": {"coefficient": 1.0, "exponent": 0.0},
}  # fmt: skip
ANISOTROPIC = {
    "experiment": "test", "seed": 7,
    "problem": {"kind": "anisotropic_gaussians", "dimension": 6, "informative": 2, "separation": 0.5},
    "activation": RELU, "neurons": 20, "initial_law": {"scale": 0.8, "output_deviation": 0.5},
    "schedule": {"coefficient": 1.0, "exponent": -0.25},
}  # fmt: skip
MOMENTUM = {"hyperparameters": {"momentum": 0.9}}


def ends(setting, method, candidate, iterations, replicates):
    """Return the risks at the end of simulations of one candidate."""
    settings = {"method": method, "precision": "float64", "snapshots": {}, **candidate}
    runs = simulate(
        **setting, simulation="s", settings=settings, iterations=[0, iterations // 2, iterations], replicates=replicates
    )
    return runs.risk[:, -1]


@pytest.mark.parametrize("setting", [ISOTROPIC, ANISOTROPIC], ids=["isotropic", "anisotropic"])
def test_a_sweep_has_the_numbers_of_simulations_of_each_candidate(setting):
    candidates = [{"step_size": step, **MOMENTUM} for step in (1e-3, 3e-3)]
    told = []
    found = sweep(
        **setting, sweep="s", settings={"method": "nesterov", "precision": "float64", "evaluations": 40},
        candidates=candidates, replicates=range(5, 8), progress=told.append,
    )  # fmt: skip
    for candidate, risk in zip(candidates, found.risk, strict=True):
        assert np.array_equal(risk, ends(setting, "nesterov", candidate, 40, range(5, 8)))
    assert np.array_equal(found.lowest_risk, found.risk)  # without looks on the way
    assert found.risk.shape == (2, 3)
    assert len(np.unique(found.risk)) == 6
    assert found.replicate.tolist() == [5, 6, 7]
    assert found.evaluations.tolist() == [40, 40]
    exponent = 1 / (1 + setting["schedule"]["exponent"])
    assert found.limit_step == pytest.approx(np.array([1e-3, 3e-3]) * 10**exponent, rel=1e-12)
    assert sum(told) == 6


@pytest.mark.parametrize(
    ("setting", "step"), [(ISOTROPIC, 0.05), (ANISOTROPIC, 0.005)], ids=["isotropic", "anisotropic"]
)
def test_looks_find_the_lowest_risk_and_change_nothing_else(setting, step):
    plain = {"method": "nesterov", "precision": "float64", "evaluations": 400}
    run = {"sweep": "s", "candidates": [{"step_size": step, **MOMENTUM}], "replicates": range(2)}
    once, often = (sweep(**setting, **run, settings={**plain, **more}) for more in ({}, {"looks": 6}))
    assert np.array_equal(once.risk, often.risk)
    runs = simulate(
        **setting, simulation="s", settings={**plain, "snapshots": {}, **run["candidates"][0]},
        iterations=sweep_looks(400, 6), replicates=range(2),
    )  # fmt: skip
    assert np.array_equal(often.lowest_risk[0], runs.risk.min(axis=1))
    if setting is ISOTROPIC:  # at so large a step its risk falls and rises again
        assert (often.lowest_risk < often.risk).all()
    for name, values in runs.observables.items():
        assert often.observables[name][0] == pytest.approx(values[:, -1].mean(axis=1), rel=1e-14)


def test_looks_are_log_spaced_up_to_the_end():
    assert sweep_looks(10**6, 3) == [100, 10**4, 10**6]
    assert sweep_looks(30, 1) == [30]
    assert sweep_looks(10**12, 1) == [10**12]
    assert sweep_looks(4, 10) == [1, 2, 3, 4]  # never two at one iteration


def test_a_budget_counts_gradients_and_not_iterations():
    loop = {"hyperparameters": {"scope": 0.1, "agents": 3, "burn_in": 1, "averaging": 1}}
    found = sweep(
        **ISOTROPIC, sweep="s", settings={"method": "mf_homsgld", "precision": "float64", "evaluations": 65},
        candidates=[{"step_size": 1e-3, **loop}], replicates=range(1),
    )  # fmt: skip
    assert found.evaluations.tolist() == [60]  # ten iterations of six gradients; an eleventh is beyond the budget
    assert found.risk[0, 0] == ends(ISOTROPIC, "mf_homsgld", {"step_size": 1e-3, **loop}, 10, range(1))[0]


def test_a_budget_below_one_iteration_is_one_iteration():
    found = sweep(
        **ISOTROPIC, sweep="s", settings={"method": "entropy_sgd", "precision": "float64", "evaluations": 1},
        candidates=[{"step_size": 1e-3, "hyperparameters": {"scope": 0.1, "inner_steps": 4}}], replicates=range(1),
    )  # fmt: skip
    assert found.evaluations.tolist() == [4]


def test_a_horizon_is_in_the_clock_of_sgd():
    settings = {"method": "nesterov", "precision": "float64", "horizon": 0.3}
    found = sweep(
        **ISOTROPIC, sweep="s", settings=settings, candidates=[{"step_size": 1e-3, **MOMENTUM}], replicates=range(1)
    )
    assert found.evaluations.tolist() == [30]  # 0.3 / (1e-3 / (1 - 0.9)), not one more by rounding
    # Without a constant clock it is in units of the method's own step, and the clock is undefined.
    restart = {"scheme": "gradient", "inverse_condition": 0.0}
    found = sweep(
        **ISOTROPIC, sweep="s", settings={**settings, "method": "nesterov_restart"},
        candidates=[{"step_size": 1e-3, "hyperparameters": restart}], replicates=range(1),
    )  # fmt: skip
    assert found.evaluations.tolist() == [300]
    assert math.isnan(found.limit_step[0])


@pytest.mark.parametrize("setting", [ISOTROPIC, ANISOTROPIC], ids=["isotropic", "anisotropic"])
@pytest.mark.filterwarnings("error")
def test_a_candidate_that_diverges_ends_with_infinity_and_the_others_go_on(setting):
    found = sweep(
        **{**setting, "activation": RELU}, sweep="s",
        settings={"method": "sgd", "precision": "float64", "evaluations": 100},
        candidates=[{"step_size": step, "hyperparameters": {}} for step in (100.0, 1e-3)], replicates=range(2),
    )  # fmt: skip
    assert np.isposinf(found.risk[0]).all()
    assert np.isposinf(found.lowest_risk[0]).all()
    assert np.isfinite(found.risk[1]).all()
    for values in found.observables.values():
        assert np.isnan(values[0]).all()
        assert np.isfinite(values[1]).all()


@pytest.mark.filterwarnings("error")
def test_weights_whose_risk_overflows_count_as_diverged():
    # After four steps they are still finite, near 1e84; the risk has their fourth powers.
    found = sweep(
        **ANISOTROPIC, sweep="s", settings={"method": "sgd", "precision": "float64", "evaluations": 4},
        candidates=[{"step_size": 1e5, "hyperparameters": {}}], replicates=range(8),
    )  # fmt: skip
    assert np.isposinf(found.risk).any()
    assert not np.isnan(found.risk).any()


def test_a_run_of_the_anisotropic_problem_is_the_plain_run_on_the_same_samples():
    settings = {
        "method": "nesterov", "step_size": 2e-3, **MOMENTUM, "precision": "float64", "snapshots": {"mid": 7, "end": 90},
    }  # fmt: skip
    runs = simulate(**ANISOTROPIC, simulation="s", settings=settings, iterations=[0, 7, 90], replicates=range(2))
    problem = make_problem(ANISOTROPIC["problem"], RELU)
    start = TwoLayerLaw(0.8, output_deviation=0.5).sample(20, 6, 7, "test", 1)
    plain = list(
        PlainWalk(
            nesterov, nesterov.Hyperparameters(0.9), problem, start, (7, "test", 1), Schedule(1.0, -0.25), 2e-3,
            [0, 7, 90],
        )
    )  # fmt: skip
    assert np.linalg.norm(plain[2] - start) > 0.1
    np.testing.assert_allclose(runs.weight[1], plain[1:], rtol=0, atol=1e-12)
    assert runs.snapshot == ["mid", "end"]
    assert set(runs.observables) == {"output_weight", "bias", "informative_norm", "other_norm"}
    np.testing.assert_allclose(runs.observables["output_weight"][1, 2], plain[2][:, 0], atol=1e-12)
    np.testing.assert_allclose(runs.observables["informative_norm"][1, 2] ** 2, (plain[2][:, 2:4] ** 2).sum(axis=1))
    np.testing.assert_allclose(runs.observables["other_norm"][1, 2] ** 2, (plain[2][:, 4:] ** 2).sum(axis=1))
    assert runs.risk[1, 2] == pytest.approx(problem.risk(plain[2]), abs=1e-11)
    assert runs.limit_time == pytest.approx(np.array([0, 7, 90]) * 2e-3 * 10 ** (4 / 3), rel=1e-12)
    assert runs.time == pytest.approx(np.array([0, 7, 90]) * 2e-3, rel=1e-15)


def test_the_risk_of_a_run_is_the_mean_squared_error_on_fresh_data():
    settings = {
        "method": "sgd",
        "step_size": 2e-3,
        "hyperparameters": {},
        "precision": "float64",
        "snapshots": {"end": 90},
    }
    runs = simulate(**ANISOTROPIC, simulation="s", settings=settings, iterations=[90], replicates=range(1))
    problem = make_problem(ANISOTROPIC["problem"], RELU)
    inputs, targets = problem.samples(99, "fresh", 0, 0, 40000)
    errors = (targets - problem.network(runs.weight[0, 0], inputs)) ** 2
    assert runs.risk[0, 0] == pytest.approx(errors.mean(), abs=4 * errors.std() / 200)


def test_a_diverging_anisotropic_run_is_named():
    settings = {"method": "sgd", "step_size": 100.0, "hyperparameters": {}, "precision": "float64", "snapshots": {}}
    with pytest.raises(DivergenceError, match=r"test/s, replicate 0: sgd diverged.*step_size 100 is too large"):
        simulate(**ANISOTROPIC, simulation="s", settings=settings, iterations=[0, 200], replicates=range(1))
