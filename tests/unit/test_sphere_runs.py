"""Optimisers on the 3-spin: compiled against plain definitions, plain gradients against references."""

import numpy as np
import pytest

from meanfield import registry
from meanfield.kernels import sphere_reference as reference
from meanfield.kernels.streams import stream_key
from meanfield.methods.sphere_runs import Phase, SphereOracle, has_compiled_form, sphere_trajectory
from meanfield.problems.spin3 import GaussianUnits, SigmoidUnits, Spin3, sphere_samples

# Hyper-parameters of every entry of the registry.
EXAMPLES = {
    "sgd": {},
    "heavy_ball": {"momentum": 0.8},
    "nesterov": {"momentum": 0.8},
    "nesterov_restart": {"scheme": "gradient", "inverse_condition": 0.01},
    "mass": {"momentum": 0.8, "compensation": 0.3},
    "langevin": {"temperature": 1e-3, "regularisation": 0.0},
    "entropy_sgd": {"scope": 0.05, "inner_steps": 4, "ratio": 0.8, "temperature": 1e-3},
    "mf_homsgld": {"scope": 0.05, "agents": 2, "burn_in": 1, "averaging": 3, "attraction": 2.0, "temperature": 1e-3},
}
COMPILED = sorted(EXAMPLES)
NAMES = (3, "sphere runs", 1)


def setting(*, sigmoid=False, units=12, dimension=5):
    problem = Spin3.random(dimension, *NAMES)
    unit = SigmoidUnits(dimension) if sigmoid else GaussianUnits(dimension, 1.0)
    return problem, unit, problem.initial_units(unit, units, *NAMES)


def run(name, gradient, stops=(0, 40), *, sigmoid=False, phases=None, hyperparameters=None, step=5e-3):
    problem, unit, start = setting(sigmoid=sigmoid)
    method = registry.load(registry.METHODS, name)
    given = method.Hyperparameters(**(EXAMPLES[name] if hyperparameters is None else hyperparameters))
    return list(
        sphere_trajectory(
            method, given, problem, unit, start, gradient=gradient, phases=phases or [Phase(stops[-1], 3)],
            step_size=step, stops=list(stops), names=NAMES,
        )
    )  # fmt: skip


def test_every_registered_optimiser_has_an_example_here():
    assert set(EXAMPLES) == set(registry.METHODS)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("gradient", ["samples", "population", "batch_free", "sigmoid"])
def test_a_compiled_run_is_the_plain_definition(name, gradient):
    sigmoid = gradient == "sigmoid"
    gradient = "samples" if sigmoid else gradient
    problem, unit, start = setting(sigmoid=sigmoid)
    method = registry.load(registry.METHODS, name)
    hyperparameters = method.Hyperparameters(**EXAMPLES[name])
    assert has_compiled_form(method, hyperparameters)
    oracle = SphereOracle(problem, unit, gradient, 3, *NAMES)
    state = method.start(start, hyperparameters)
    for k in range(40):
        oracle.batch = 3 if k < 25 else 7
        state = method.step(state, oracle, 5e-3, hyperparameters)
    expected = oracle.retract(getattr(method, "point", lambda state: state.point)(state))
    *_, found = run(name, gradient, (0, 11, 40), sigmoid=sigmoid, phases=[Phase(25, 3), Phase(40, 7)])
    # Rounding, amplified by the run itself.
    assert np.linalg.norm(found - expected) < 1e-10 * np.linalg.norm(found - start)
    assert np.linalg.norm(found - start) > 0.1


def test_a_plain_run_of_sgd_without_noise_is_the_compiled_one():
    *_, found = run("langevin", "samples", hyperparameters={"temperature": 0.0})
    *_, expected = run("sgd", "samples")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_restarts_by_the_loss_are_run_plainly_and_do_happen():
    method = registry.load(registry.METHODS, "nesterov_restart")
    scheme = {"scheme": "function", "inverse_condition": 0.0}
    assert not has_compiled_form(method, method.Hyperparameters(**scheme))
    stops = (0, 400)
    *_, restarted = run("nesterov_restart", "population", stops, hyperparameters=scheme, step=2e-2)
    *_, free = run(
        "nesterov_restart", "population", stops, hyperparameters={"scheme": "none", "inverse_condition": 0.0}, step=2e-2
    )
    problem, unit, _ = setting()
    assert not np.allclose(restarted, free, atol=1e-3)
    assert problem.loss(unit, restarted) < 0.5 * problem.mean_squares[0]


@pytest.mark.parametrize("sigmoid", [False, True])
def test_gradients_of_batches_are_those_of_the_reference(sigmoid):
    problem, unit, start = setting(sigmoid=sigmoid)
    oracle = SphereOracle(problem, unit, "samples", 4, *NAMES)
    agents = np.stack([start, start[::-1]])
    found, losses = oracle.gradient(agents), oracle.loss(agents)
    x = sphere_samples(stream_key(*NAMES), 0, 8, 5)
    for a in range(2):
        batch = x[4 * a : 4 * a + 4]
        if sigmoid:
            expected, loss = reference.sigmoid_gradient(agents[a], batch, problem.target(batch))
        else:
            expected, loss = reference.gaussian_gradient(
                agents[a], batch, problem.target(batch), unit.alpha, unit.amplitude
            )
        np.testing.assert_allclose(found[a], expected, rtol=0, atol=1e-12)
        assert losses[a, 0, 0] == pytest.approx(loss, rel=1e-12)
    oracle.next()
    # Two agents with four samples each: the next batch begins with sample 8.
    x = sphere_samples(stream_key(*NAMES), 8, 4, 5)
    residual = problem.target(x) - unit.network(start, x)
    assert oracle.loss(agents)[0, 0, 0] == pytest.approx(np.mean(residual**2) / 2, rel=1e-12)


@pytest.mark.parametrize("gradient", ["population", "batch_free", "batch_free_printed"])
def test_full_gradients_are_n_times_the_differences_of_the_energy(gradient):
    problem, unit, start = setting()
    oracle = SphereOracle(problem, unit, gradient, 1, *NAMES)
    direction = oracle._tangent(np.random.default_rng(0).standard_normal(start.shape), start)
    direction /= np.linalg.norm(direction)
    h = 1e-4
    up, down = (oracle.loss(oracle.retract(start + s * h * direction))[0, 0] for s in (1, -1))
    expected = len(start) * (up - down) / (2 * h)
    found = oracle.inner(oracle.gradient(start), direction)[0, 0]
    # The retraction is of second order, so that central differences have an error of h^2; acceptance 1e-6.
    assert abs(found - expected) < 1e-6 * abs(expected)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_full_gradients_of_agents_are_those_of_the_reference(sign):
    problem, unit, start = setting()
    oracle = SphereOracle(problem, unit, "batch_free" if sign > 0 else "batch_free_printed", 1, *NAMES)
    agents = np.stack([start, start[::-1], problem.initial_units(unit, 12, 3, "other", 0)])
    for a in range(3):
        expected, energy = reference.flow_gradient(
            agents[a], problem.target, problem.gradient,
            lambda s: unit.amplitude * np.exp(sign * unit.alpha * s - unit.alpha * 5),
            lambda s: sign * unit.alpha * unit.amplitude * np.exp(sign * unit.alpha * s - unit.alpha * 5),
        )  # fmt: skip
        np.testing.assert_allclose(oracle.gradient(agents)[a], expected, rtol=0, atol=1e-11)
        assert oracle.loss(agents)[a, 0, 0] == pytest.approx(energy, rel=1e-12)
    population = SphereOracle(problem, unit, "population", 1, *NAMES)
    expected, _ = reference.flow_gradient(
        start, lambda z: problem.smoothed_target(unit, z), lambda z: problem.smoothed_gradient(unit, z),
        unit.pair_average, lambda s: unit.pair_average(s, 1),
    )  # fmt: skip
    np.testing.assert_allclose(population.gradient(start), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("gradient", ["samples", "population"])
def test_units_do_not_depend_on_where_the_run_is_looked_at(name, gradient):
    phases = [Phase(25, 3), Phase(40, 5)]
    seldom = run(name, gradient, phases=phases)
    often = run(name, gradient, (0, 1, 7, 24, 25, 26, 40), phases=phases)
    assert np.array_equal(seldom[-1], often[-1])
    np.testing.assert_allclose(np.sum(seldom[-1][:, :-1] ** 2, axis=1), 5, rtol=0, atol=1e-12)


def test_a_quench_takes_the_samples_that_follow():
    problem, unit, start = setting()
    *_, found = run("sgd", "samples", (0, 40), phases=[Phase(30, 3), Phase(40, 7)])
    x = sphere_samples(stream_key(*NAMES), 0, 30 * 3 + 10 * 7, 5)
    units = start
    first = 0
    for k in range(40):
        batch = x[first : first + (3 if k < 30 else 7)]
        first += len(batch)
        g, _ = reference.gaussian_gradient(units, batch, problem.target(batch), unit.alpha, unit.amplitude)
        units = units - 5e-3 * g
        units[:, :-1] = reference.retract(units[:, :-1])
    np.testing.assert_allclose(found, units, rtol=0, atol=1e-11)
