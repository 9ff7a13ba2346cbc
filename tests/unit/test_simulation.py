import math

import numpy as np
import pytest

from meanfield.errors import DivergenceError
from meanfield.kernels.block_sgd import block_size
from meanfield.kernels.reference import sequential_sgd
from meanfield.limits.schedule import Schedule
from meanfield.logs import Progress
from meanfield.methods.runs import with_looks
from meanfield.problems.factory import make_problem
from meanfield.problems.isotropic import RadialLaw
from meanfield.simulation import make_optimiser, simulate

RAMP = {
    "kind": "piecewise_linear", "knots": [0.5, 1.5], "values": [-2.5, 7.5], "left_slope": 0.0, "right_slope": 0.0,
}  # fmt: skip
RELU = {"kind": "piecewise_linear", "knots": [0.0], "values": [0.0], "left_slope": 0.0, "right_slope": 1.0}


def run(**changes):
    settings = {
        "method": "sgd", "step_size": 1e-3, "hyperparameters": {}, "precision": "float64",
        "snapshots": {"early": 5, "final": 200},
    }  # fmt: skip
    arguments = {
        "experiment": "test", "simulation": "sgd", "seed": 7,
        "problem": {"kind": "isotropic_gaussians", "dimension": 6, "separation": 0.5},
        "activation": RAMP, "neurons": 20, "initial_law": {"kind": "gaussian", "scale": 0.8},
        "schedule": {"coefficient": 1.0, "exponent": 0.0}, "settings": settings,
        "iterations": [0, 1, 5, 37, 200], "replicates": range(2),
    }  # fmt: skip
    settings.update(changes.pop("settings", {}))
    arguments.update(changes)
    return simulate(**arguments)


def test_a_run_is_the_sequential_run_on_the_same_samples():
    runs = run(schedule={"coefficient": 0.5, "exponent": -0.25})
    problem = make_problem({"kind": "isotropic_gaussians", "dimension": 6, "separation": 0.5}, RAMP)
    start = RadialLaw("gaussian", 0.8).sample(20, 6, 7, "test", 1)
    inputs, targets = problem.samples(7, "test", 1, 0, 200)
    steps = Schedule(0.5, -0.25).step_sizes(1e-3, 0, 200)
    assert steps[0] == pytest.approx(1e-3 * 0.5 * 1e-3**-0.25, rel=1e-14)
    last = sequential_sgd(start, inputs, targets, steps, problem.activation, problem.activation.derivative)
    moved = np.linalg.norm(last - start)
    assert moved > 0.1
    assert np.linalg.norm(runs.weight[1, 1] - last) < 1e-12 * moved
    assert runs.snapshot == ["early", "final"]
    assert runs.risk[1, -1] == pytest.approx(problem.risk(last), abs=1e-10)
    assert runs.observables["norm"][1, -1] == pytest.approx(np.linalg.norm(last, axis=1), abs=1e-10)


def test_records_start_with_the_initial_state():
    runs = run()
    start = RadialLaw("gaussian", 0.8).sample(20, 6, 7, "test", 0)
    assert (runs.observables["norm"][0, 0] == np.linalg.norm(start, axis=1)).all()
    assert runs.time.tolist() == [0.0, 1e-3, 5e-3, 37e-3, 0.2]


def test_what_is_recorded_in_between_changes_no_bit():
    assert block_size(6) == 16  # 5 and 37 lie inside blocks
    many, few = run(), run(iterations=[5, 200])
    assert (many.weight == few.weight).all()


def test_a_replicate_is_the_same_alone_and_among_threads():
    together = run(replicates=range(4), threads=2)
    for replicate in range(4):
        alone = run(replicates=range(replicate, replicate + 1))
        assert (alone.weight[0] == together.weight[replicate]).all()
        assert (alone.risk[0] == together.risk[replicate]).all()


def test_replicates_seeds_and_experiments_differ():
    base = run()
    assert (base.weight[0] != base.weight[1]).all()
    assert (run(seed=8).weight != base.weight).all()
    assert (run(experiment="other").weight != base.weight).all()


def test_single_precision_stays_near_double():
    single, double = run(settings={"precision": "float32"}), run()
    assert single.weight.dtype == np.float32
    assert np.abs(single.risk - double.risk).max() < 1e-4  # 200 steps, rounding 6e-8 a step, slope 10


def test_divergence_names_experiment_method_iteration_and_cause():
    with pytest.raises(DivergenceError) as caught:
        run(activation=RELU, settings={"step_size": 100.0})
    text = str(caught.value)
    assert "\n" not in text
    for word in ("test/sgd", "replicate 0", "sgd diverged", "at iteration", "step_size 100 is too large"):
        assert word in text


def test_a_diverging_run_is_seen_long_before_its_end():
    with pytest.raises(DivergenceError, match=r"at iteration 128 \(they were at 0\)"):
        run(activation=RELU, settings={"step_size": 100.0, "snapshots": {"final": 10**6}}, iterations=[0, 10**6])


def test_a_run_is_looked_at_early_and_then_often_enough():
    assert with_looks([0, 100], 10) == [0, 100]
    assert with_looks([0, 100, 1000], 10) == [0, 100, 128, 256, 512, 1000]
    long = with_looks([10**6], 10**5)  # ten seconds are 1e5 iterations
    assert long[:4] == [0, 128, 256, 512]
    assert long[-1] == 10**6
    assert max(np.diff(long)) == 10**5


def test_progress_counts_every_iteration_and_says_rate_and_time_left(caplog):
    caplog.set_level("INFO", logger="meanfield")
    progress = Progress(400, "test", interval=0.0)
    run(progress=progress)
    progress.close()
    assert progress.done == 400
    assert any("per second" in line and "s left" in line for line in caplog.messages)
    assert "400 iterations in" in caplog.messages[-1]


# -- the noise floor ---------------------------------------------------------------------------------------------------

DIPPING_RAMP = {
    "kind": "piecewise_linear", "knots": [0.0, 0.5, 1.5], "values": [-2.5, -4.0, 7.5], "left_slope": 0.0,
    "right_slope": 0.0,
}  # fmt: skip
FAILURE = make_problem({"kind": "isotropic_gaussians", "dimension": 320, "separation": 0.5}, DIPPING_RAMP)


CONSTANT = Schedule(1.0, 0.0)


def floor(method, hyperparameters, *, problem=FAILURE, schedule=CONSTANT, iterations=100):
    settings = {"method": method, "step_size": 1e-6, "hyperparameters": hyperparameters}
    return make_optimiser(settings).noise_floor(problem, schedule, iterations)


def test_the_noise_floor_of_a_method_is_that_of_sgd_that_keeps_pace():
    assert floor("sgd", {}) == FAILURE.noise_floor(1e-6)
    assert floor("nesterov", {"momentum": 0.9}) == pytest.approx(FAILURE.noise_floor(1e-5), rel=1e-12)
    hot = floor("langevin", {"temperature": 1e-3})
    assert hot == FAILURE.noise_floor(1e-6, 1e-3) > FAILURE.noise_floor(1e-6)


def test_the_noise_floor_follows_the_schedule_to_the_last_iteration():
    assert floor("sgd", {}, schedule=Schedule(2.0, 0.0)) == pytest.approx(FAILURE.noise_floor(2e-6), rel=1e-12)
    falling = floor("sgd", {}, schedule=Schedule(1.0, -0.25), iterations=1000)
    assert falling == pytest.approx(FAILURE.noise_floor(1e-6 * (1000 * 1e-6) ** -0.25), rel=1e-12)


def test_there_is_no_noise_floor_without_clock_or_with_many_gradients_or_elsewhere():
    anisotropic = {"kind": "anisotropic_gaussians", "dimension": 6, "informative": 2, "separation": 0.5}
    assert math.isnan(floor("nesterov_restart", {"scheme": "none", "inverse_condition": 0.0}))
    assert math.isnan(floor("entropy_sgd", {"scope": 0.1}))
    assert math.isnan(floor("langevin", {"temperature": 1e-3, "regularisation": 0.1}))
    assert math.isnan(floor("sgd", {}, problem=make_problem(anisotropic, DIPPING_RAMP)))
