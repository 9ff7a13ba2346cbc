"""Optimisers with an inner loop of noisy steps: the compiled run against the plain definition, and the clock."""

import math

import numpy as np
import pytest

from meanfield import registry
from meanfield.kernels.inner_loop import InnerLoop
from meanfield.kernels.streams import stream_key
from meanfield.limits.schedule import Schedule
from meanfield.methods import entropy_sgd, langevin, mf_homsgld
from meanfield.methods.oracle import FullOracle
from meanfield.methods.runs import InnerLoopWalk, PlainWalk, inner_loop_walk
from meanfield.problems.activations import PiecewiseLinear, Smooth
from meanfield.problems.anisotropic import AnisotropicGaussians, TwoLayerLaw
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

NAMES = (5, "inner", 1)
ACTIVATIONS = {
    "ramp": PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5)),
    "rectifier": PiecewiseLinear((0.0,), (0.0,), 0.0, 1.0),
    **{kind: Smooth(kind, 1.5, 0.8, 0.3, -0.2) for kind in ("tanh", "logistic", "erf", "softplus", "sine")},
}
FULL = mf_homsgld.Hyperparameters(
    scope=0.05, agents=3, burn_in=2, averaging=3, ratio=0.9, attraction=4.0, temperature=1e-3, scoping=0.05
)


def case(kind, activation, neurons, dimension=5):
    """Return a problem and initial weights."""
    if kind == "isotropic":
        problem = IsotropicGaussians(dimension, 0.4, activation)
        return problem, RadialLaw("gaussian", 0.8).sample(neurons, dimension, *NAMES)
    problem = AnisotropicGaussians(dimension, 2, 0.4, activation)
    return problem, TwoLayerLaw(0.8, 1.0, 0.3, 0.5, 0.2).sample(neurons, dimension, *NAMES)


def both(method, hyperparameters, problem, weights, iterations, step_size=5e-3, walk=InnerLoopWalk):
    """Return the ends of the plain and of the compiled run on the same samples and the same noise."""
    settings = (problem, weights, NAMES, Schedule(1.0, -0.25), step_size, [0, iterations])
    *_, plain = PlainWalk(method, hyperparameters, *settings)
    *_, compiled = walk(method.inner_loop(hyperparameters), *settings)
    return plain, compiled


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_on_both_problems_is_the_plain_definition(kind, activation):
    problem, weights = case(kind, ACTIVATIONS[activation], 11)
    plain, compiled = both(mf_homsgld, FULL, problem, weights, 8)
    moved = np.linalg.norm(plain - weights)
    assert moved > 0.05
    assert np.linalg.norm(compiled - plain) < 1e-11 * moved


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
def test_noise_is_drawn_in_tiles_of_neurons_and_samples_in_advance(kind):
    # More neurons than a tile of noise, and more gradients in an iteration than samples are drawn at once.
    problem, weights = case(kind, ACTIVATIONS["ramp"], 150)
    many = mf_homsgld.Hyperparameters(scope=0.05, agents=3, burn_in=50, averaging=50, temperature=1e-3)
    plain, compiled = both(mf_homsgld, many, problem, weights, 2)
    assert np.linalg.norm(compiled - plain) < 1e-11 * np.linalg.norm(plain - weights)


@pytest.mark.parametrize(
    ("method", "hyperparameters"),
    [
        (langevin, langevin.Hyperparameters(1e-3, 0.3)),
        (entropy_sgd, entropy_sgd.Hyperparameters(0.05, inner_steps=6, ratio=0.7, temperature=1e-3)),
        (entropy_sgd, entropy_sgd.Hyperparameters(0.05, inner_steps=6, forgetting=0.0)),
    ],
)
def test_the_other_methods_on_the_anisotropic_problem(method, hyperparameters):
    problem, weights = case("anisotropic", ACTIVATIONS["rectifier"], 20)
    plain, compiled = both(method, hyperparameters, problem, weights, 10)
    assert np.linalg.norm(compiled - plain) < 1e-11 * np.linalg.norm(plain - weights)


def test_single_precision_stays_near_double_and_keeps_its_type():
    problem, weights = case("anisotropic", ACTIVATIONS["tanh"], 20)
    _, wide = both(mf_homsgld, FULL, problem, weights, 10)
    _, narrow = both(mf_homsgld, FULL, problem, weights.astype(np.float32), 10)
    assert narrow.dtype == np.float32
    # 50 steps of weights of size one, each rounded to 6e-8.
    error = np.abs(narrow - wide).max()
    assert 0 < error < 50 * 6e-8 * 10


@pytest.mark.parametrize("walk", [InnerLoopWalk, inner_loop_walk])
def test_agents_have_samples_of_their_own_and_their_mean_is_the_point(walk):
    problem, weights = case("isotropic", ACTIVATIONS["ramp"], 10)

    def run(agents):
        loop = InnerLoop(np.array([0.0, 1.0]), agents=agents)
        return next(walk(loop, problem, weights, NAMES, Schedule(), 1e-2, [1]))

    # A step of SGD on the samples 0 and 1, each from the same weights, then the mean.
    inputs, targets = problem.samples(*NAMES, 0, 2)
    ends = [weights - 1e-2 * problem.sample_gradient(weights, x, y) for x, y in zip(inputs, targets, strict=True)]
    np.testing.assert_allclose(run(1), ends[0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(run(2), (ends[0] + ends[1]) / 2, rtol=0, atol=1e-14)


CLOCKS = [
    (langevin, langevin.Hyperparameters(0.0)),
    (entropy_sgd, entropy_sgd.Hyperparameters(0.01, inner_steps=20)),
    (entropy_sgd, entropy_sgd.Hyperparameters(0.5, inner_steps=3, forgetting=0.2, ratio=0.4)),
    (mf_homsgld, mf_homsgld.Hyperparameters(0.01)),
    (mf_homsgld, mf_homsgld.Hyperparameters(0.02, agents=2, burn_in=0, averaging=1, ratio=0.5, attraction=3.0)),
    (mf_homsgld, mf_homsgld.Hyperparameters(0.005, agents=1, burn_in=7, averaging=2, ratio=0.3)),
]


@pytest.mark.parametrize(("method", "hyperparameters"), CLOCKS)
def test_the_clock_is_the_pace_under_a_constant_gradient(method, hyperparameters):
    # By brute force: SGD moves by the step per iteration where the gradient is one.
    oracle = FullOracle(np.ones_like, lambda x: x[..., 0], stream_key(0, "clock", 0))
    axes = {"weight_axes": 1} if method is mf_homsgld else {}
    step_size, state = 1e-3, method.start(np.zeros(1), hyperparameters, **axes)
    point = (lambda state: method.point(state, 1)) if axes else (lambda state: state.point)
    for _ in range(400):  # until a carried chain has settled
        before, state = point(state), method.step(state, oracle, step_size, hyperparameters, **axes)
    pace = float((before - point(state))[0]) / step_size
    assert pace == pytest.approx(method.clock(hyperparameters, step_size), rel=1e-9)


def test_the_clock_of_a_carried_chain_is_its_closed_form():
    # rho (gamma/s) (1 - B)/(1 - B + rho A), as the docstring of the method says.
    h = mf_homsgld.Hyperparameters(0.01, burn_in=5, averaging=15, ratio=0.8)
    powers = (1 - 2e-3 / 0.01) ** np.arange(21)
    mean, last = powers[6:].mean(), powers[-1]
    assert mf_homsgld.clock(h, 2e-3) == pytest.approx(0.8 * 5 * (1 - last) / (1 - last + 0.8 * mean), rel=1e-12)


@pytest.mark.filterwarnings("error")
def test_there_is_no_clock_where_inner_steps_diverge():
    for scope in (1e-25, 1e-300, 5e-4):
        assert mf_homsgld.clock(mf_homsgld.Hyperparameters(scope), 1e-3) is None
    assert mf_homsgld.clock(mf_homsgld.Hyperparameters(6e-4), 1e-3) > 0


def test_there_is_no_clock_where_the_scope_shrinks():
    assert entropy_sgd.clock(entropy_sgd.Hyperparameters(0.1, scoping=0.01), 1e-3) is None
    assert InnerLoop(np.array([0.0, 0.0, 1.0])).clock(1e-3) == 2.0
    assert InnerLoop(np.array([0.5, 0.5])).clock(math.pi) == 0.5


def test_methods_with_an_inner_loop_are_those_of_the_registry():
    modules = [registry.load(registry.METHODS, name) for name in registry.METHODS]
    assert {m for m in modules if hasattr(m, "inner_loop")} == {langevin, entropy_sgd, mf_homsgld}
