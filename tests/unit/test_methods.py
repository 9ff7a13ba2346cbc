"""Every optimiser through the workflow's own entry point, against its sequential definition and against its clock."""

import numpy as np
import pytest

from meanfield import registry
from meanfield.kernels.momentum import Momentum
from meanfield.kernels.reference import TwoLayer, sequential_two_layer
from meanfield.limits.schedule import Schedule
from meanfield.methods.clocks import matched_step
from meanfield.methods.runs import PlainWalk
from meanfield.problems.factory import make_problem
from meanfield.problems.isotropic import RadialLaw
from meanfield.simulation import simulate

DIP = {
    "kind": "piecewise_linear", "knots": [0.0, 0.5, 1.5], "values": [-2.5, -4.0, 7.5], "left_slope": 0.0,
    "right_slope": 0.0,
}  # fmt: skip
PROBLEM = {"kind": "isotropic_gaussians", "dimension": 20, "separation": 0.5}
# Hyper-parameters of each entry of the registry, and the coefficients that its docstring's equations have.
EXAMPLES = {
    "sgd": ({}, Momentum()),
    "heavy_ball": ({"momentum": 0.7}, Momentum(gamma=0.7, heavy_ball=True)),
    "nesterov": ({"momentum": 0.7}, Momentum(gamma=0.7)),
    "nesterov_restart": ({"scheme": "gradient", "inverse_condition": 0.01}, Momentum("gradient_restart", q=0.01)),
    "mass": ({"momentum": 0.7, "compensation": 0.3}, Momentum(gamma=0.7, compensation=0.3)),
}
# Those with an inner loop of noisy steps.
NOISY = {
    "langevin": {"temperature": 1e-3, "regularisation": 0.1},
    "entropy_sgd": {"scope": 0.05, "inner_steps": 4, "ratio": 0.8, "temperature": 1e-3, "scoping": 0.01},
    "mf_homsgld": {
        "scope": 0.05, "agents": 2, "burn_in": 2, "averaging": 3, "ratio": 0.9, "attraction": 5.0, "temperature": 1e-3,
        "scoping": 0.01,
    },
}  # fmt: skip
ALL = {**{name: given for name, (given, _) in EXAMPLES.items()}, **NOISY}


def run(
    method,
    hyperparameters,
    *,
    step_size=1e-3,
    iterations=(0, 1, 100, 333),
    neurons=30,
    replicates=2,
    scale=0.8,
    exponent=-0.25,
):
    return simulate(
        experiment="methods", simulation=method, seed=3, problem=PROBLEM, activation=DIP, neurons=neurons,
        initial_law={"kind": "gaussian", "scale": scale}, schedule={"coefficient": 1.0, "exponent": exponent},
        settings={
            "method": method, "step_size": step_size, "hyperparameters": hyperparameters, "precision": "float64",
            "snapshots": {"final": iterations[-1]},
        },
        iterations=list(iterations), replicates=range(replicates),
    )  # fmt: skip


def test_every_registered_optimiser_has_an_example_here():
    assert set(ALL) == set(registry.METHODS)


@pytest.mark.parametrize("method", EXAMPLES)
def test_a_run_is_the_sequential_run_on_the_same_samples(method):
    hyperparameters, momentum = EXAMPLES[method]
    runs = run(method, hyperparameters)
    problem = make_problem(PROBLEM, DIP)
    start = RadialLaw("gaussian", 0.8).sample(30, 20, 3, "methods", 1)
    inputs, targets = problem.samples(3, "methods", 1, 0, 333)
    steps = Schedule(1.0, -0.25).step_sizes(1e-3, 0, 333)
    expected = sequential_two_layer(
        TwoLayer(start, np.zeros(30), np.ones(30)), inputs, targets, steps, problem.activation,
        problem.activation.derivative, momentum=momentum,
    )  # fmt: skip
    error = np.linalg.norm(runs.weight[1, 0] - expected.weights) / np.linalg.norm(expected.weights - start)
    assert error < 1e-12


@pytest.mark.parametrize("name", ALL)
def test_a_run_is_the_plain_definition_on_the_same_samples(name):
    # start and step of the method's own file, in numpy, against the compiled run; with noise the two have the same law
    # only, see test_inner_blocks.
    method = registry.load(registry.METHODS, name)
    given = {**ALL[name], "temperature": 0.0} if name in NOISY else ALL[name]
    hyperparameters = method.Hyperparameters(**given)
    runs = run(name, given, iterations=(0, 60))
    problem = make_problem(PROBLEM, DIP)
    weights = RadialLaw("gaussian", 0.8).sample(30, 20, 3, "methods", 1)
    *_, expected = PlainWalk(
        method, hyperparameters, problem, weights, (3, "methods", 1), Schedule(1.0, -0.25), 1e-3, [0, 60]
    )
    error = np.linalg.norm(runs.weight[1, 0] - expected) / np.linalg.norm(expected - weights)
    assert error < 1e-11
    assert np.linalg.norm(expected - weights) > 0.1


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_noise_enters_as_in_the_equation(precision):
    # Without data forces (a dead activation) y is an Ornstein-Uhlenbeck chain: variance T (1 - decay^2n)/(...).
    flat = {**DIP, "values": [1.0, 1.0, 1.0]}
    runs = simulate(
        experiment="noise", simulation="langevin", seed=1, problem=PROBLEM, activation=flat, neurons=5000,
        initial_law={"kind": "gaussian", "scale": 1e-9}, schedule={"coefficient": 1.0, "exponent": 0.0},
        settings={
            "method": "langevin", "step_size": 0.1, "hyperparameters": {"temperature": 0.5, "regularisation": 2.0},
            "precision": precision, "snapshots": {"one": 1, "last": 30},
        },
        iterations=[0, 1, 30], replicates=range(1),
    )  # fmt: skip
    one, last = runs.weight[0].astype(float)
    assert one.var() == pytest.approx(2 * 0.1 * 0.5, rel=0.02)
    decay = 1 - 0.1 * 2.0
    assert last.var() == pytest.approx(0.1 * (1 - decay**60) / (1 - decay**2), rel=0.02)
    assert abs(np.corrcoef(one.ravel(), (last - decay**29 * one).ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("method", ALL)
def test_weights_do_not_depend_on_where_the_run_is_looked_at(method):
    hyperparameters = ALL[method]
    seldom = run(method, hyperparameters, replicates=1)
    often = run(method, hyperparameters, replicates=1, iterations=(0, 1, 7, 16, 20, 100, 200, 333))
    assert np.array_equal(seldom.weight, often.weight)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "exponent", "iterations"),
    [
        ("heavy_ball", {"momentum": 0.9}, -0.25, 20000),
        ("nesterov", {"momentum": 0.9}, -0.25, 20000),
        ("mass", {"momentum": 0.9, "compensation": 0.5}, -0.25, 20000),
        ("entropy_sgd", {"scope": 1e-4, "inner_steps": 10, "forgetting": 0.5}, 0.0, 2500),
        ("mf_homsgld", {"scope": 1e-4, "agents": 1, "burn_in": 2, "averaging": 8, "ratio": 0.7}, 0.0, 2500),
    ],
)
def test_small_steps_are_sgd_with_another_clock(name, hyperparameters, exponent, iterations):
    method = registry.load(registry.METHODS, name)
    base = 2e-6
    problem = {"neurons": 200, "replicates": 3, "scale": 0.4, "exponent": exponent, "iterations": (0, iterations)}
    step = matched_step(method, method.Hyperparameters(**hyperparameters), base, Schedule(1.0, exponent))
    ours = run(name, hyperparameters, step_size=base, **problem).risk
    matched = run("sgd", {}, step_size=step, **problem).risk
    unmatched = run("sgd", {}, step_size=base, **problem).risk
    gap = np.abs(ours[:, -1] - matched[:, -1]).mean()
    assert gap < 0.04 * np.abs(unmatched[:, -1] - matched[:, -1]).mean()


def test_clocks_of_momentum_follow_their_formulas():
    schedule = Schedule(1.0, 0.0)
    for name, hyperparameters, factor in (
        ("sgd", {}, 1.0),
        ("nesterov", {"momentum": 0.75}, 4.0),
        ("mass", {"momentum": 0.75, "compensation": 0.5}, 2.0),
        ("langevin", {"temperature": 0.1}, 1.0),
        # without pull and averaging, an iteration of three inner steps is three steps of SGD
        ("entropy_sgd", {"scope": 1e12, "inner_steps": 3, "forgetting": 0.0}, 3.0),
    ):
        method = registry.load(registry.METHODS, name)
        step = matched_step(method, method.Hyperparameters(**hyperparameters), 1e-3, schedule)
        assert step == pytest.approx(1e-3 * factor, rel=1e-3)
    restarted = registry.load(registry.METHODS, "nesterov_restart")
    assert matched_step(restarted, restarted.Hyperparameters("none", 0.0), 1e-3, schedule) is None
