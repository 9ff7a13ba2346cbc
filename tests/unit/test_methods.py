"""Every optimiser through the workflow's own entry point, against its sequential definition and against its clock."""

import numpy as np
import pytest

from meanfield import registry
from meanfield.kernels.momentum import Momentum
from meanfield.kernels.reference import TwoLayer, sequential_two_layer
from meanfield.limits.schedule import Schedule
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


def run(method, hyperparameters, *, step_size=1e-3, iterations=(0, 1, 100, 333), neurons=30, replicates=2, scale=0.8):
    return simulate(
        experiment="methods", simulation=method, seed=3, problem=PROBLEM, activation=DIP, neurons=neurons,
        initial_law={"kind": "gaussian", "scale": scale}, schedule={"coefficient": 1.0, "exponent": -0.25},
        settings={
            "method": method, "step_size": step_size, "hyperparameters": hyperparameters, "precision": "float64",
            "snapshots": {"final": iterations[-1]},
        },
        iterations=list(iterations), replicates=range(replicates),
    )  # fmt: skip


def test_every_registered_optimiser_has_an_example_here():
    assert set(EXAMPLES) == set(registry.METHODS)


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


@pytest.mark.parametrize("method", EXAMPLES)
def test_weights_do_not_depend_on_where_the_run_is_looked_at(method):
    hyperparameters, _ = EXAMPLES[method]
    seldom = run(method, hyperparameters, replicates=1)
    often = run(method, hyperparameters, replicates=1, iterations=(0, 1, 7, 16, 20, 100, 200, 333))
    assert np.array_equal(seldom.weight, often.weight)


@pytest.mark.parametrize(
    ("method", "hyperparameters", "clock"),
    [
        ("heavy_ball", {"momentum": 0.9}, 10.0),
        ("nesterov", {"momentum": 0.9}, 10.0),
        ("mass", {"momentum": 0.9, "compensation": 0.5}, 5.0),
    ],
)
def test_small_steps_with_momentum_are_sgd_with_a_faster_clock(method, hyperparameters, clock):
    # (eta_1 - eta_2)/(1 - gamma) is the step of the equivalent SGD; without it the risks would differ by far more.
    problem = {"step_size": 2e-6, "iterations": (0, 20000), "neurons": 200, "replicates": 3, "scale": 0.4}
    with_momentum = run(method, hyperparameters, **problem).risk
    sgd = run("sgd", {}, **problem | {"iterations": (0, round(20000 * clock))}).risk
    same_iterations = run("sgd", {}, **problem).risk
    # xi = t^(-1/4) is asked at other times by the two runs: t -> clock t scales it by clock^(-1/4).
    scaled = run("sgd", {}, **problem | {"step_size": 2e-6 * clock ** (4 / 3)}).risk
    moved = np.abs(same_iterations[:, -1] - same_iterations[:, 0]).mean()
    gap = np.abs(with_momentum[:, -1] - scaled[:, -1]).mean()
    assert gap < 0.03 * np.abs(scaled[:, -1] - same_iterations[:, -1]).mean()
    assert moved > 0.05
    assert sgd.shape == scaled.shape
