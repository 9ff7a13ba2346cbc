"""A short run of each kernel, printed; test_lanes.py runs it with and without compilation."""

import sys

import numpy as np

from meanfield.analysis.modality import dip
from meanfield.kernels import landscape
from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.inner_blocks import InnerBlocks
from meanfield.kernels.inner_loop import InnerLoop, InnerLoopRun
from meanfield.kernels.momentum import Momentum
from meanfield.kernels.sphere import Recurrence
from meanfield.kernels.streams import standard_samples, stream_key
from meanfield.limits.anisotropic import solve_reduced
from meanfield.limits.characteristics import solve_characteristics
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import PiecewiseLinear, Smooth
from meanfield.problems.anisotropic import AnisotropicGaussians, TwoLayerLaw
from meanfield.problems.digits import DigitClassifier
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw
from meanfield.problems.plane import muller_brown
from meanfield.problems.spin3 import GaussianUnits, Spin3


def block() -> list[np.ndarray]:
    """Return the end points of runs that take every way through the block kernel."""
    rng = np.random.default_rng(0)
    ends = []
    for activation, momentum, full, dimension in [
        (PiecewiseLinear((0.5, 1.5), (-2.5, 7.5)), Momentum(), False, 5),
        (PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5)), Momentum(gamma=0.5), False, 5),
        (Smooth("tanh"), Momentum("gradient_restart"), True, 5),
        (PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5)), Momentum(), False, 200),
    ]:
        weights = rng.standard_normal((16, dimension))
        extra = {"output_weights": np.ones(16), "train_output": True, "biases": np.zeros(16)} if full else {}
        state = BlockState(weights, activation.kernel_code(), momentum=momentum, **extra)
        state.advance_stream(0, 37, key=stream_key(0, "plain", 0), scales=(1.5, 0.5), step_size=1e-3)
        ends += [state.weights, state.biases, state.output_weights]
    return ends


def stream() -> list[np.ndarray]:
    """Return some samples."""
    return list(standard_samples(stream_key(0, "plain", 1), 3, 20, 6))


def dynamics() -> list[np.ndarray]:
    """Return the law and the risk of a short solution of the distributional dynamics."""
    problem = IsotropicGaussians(6, 0.5, PiecewiseLinear((0.5, 1.5), (-2.5, 7.5)))
    solution = solve_characteristics(
        radial_potentials(problem), RadialLaw("gaussian", 0.8), np.array([0.0, 1e-3, 3e-3]), atoms=12,
        schedule=Schedule(), relative_tolerance=1e-4,
    )  # fmt: skip
    return [solution.radius, solution.risk]


def anisotropic() -> list[np.ndarray]:
    """Return the risk of a network and a short solution of the reduced dynamics of the anisotropic problem."""
    problem = AnisotropicGaussians(6, 2, 0.5, PiecewiseLinear((0.0,), (0.0,), right_slope=1.0))
    weights = TwoLayerLaw(0.8).sample(7, 6, 0, "plain", 0)
    solution = solve_reduced(
        problem, TwoLayerLaw(0.8), np.array([0.0, 0.1]), limit="finite", atoms=8, schedule=Schedule(),
        relative_tolerance=1e-4,
    )  # fmt: skip
    return [np.array(problem.risk(np.concatenate([weights, weights[:1]]))), solution.atoms, solution.risk]


def plane() -> list[np.ndarray]:
    """Return the end points of noisy and of accelerated descent on the Müller–Brown potential."""
    terms = muller_brown().terms
    starts = np.random.default_rng(1).uniform((-1.2, 0.0), (1.0, 1.5), (12, 2))
    numbers = np.arange(12)
    noisy = landscape.Stage(terms, 15, 1e-4, noise=landscape.langevin_noise(1e-4, 0.1))
    still = landscape.Stage(terms, 15, 1e-4)
    rule = landscape.Rule("nesterov", "theta", restart="gradient")
    key = stream_key(0, "plain", 2)
    return [
        landscape.descend([noisy], starts, key=key, numbers=numbers).ends,
        landscape.descend([still], starts, rule=rule).ends,
    ]


def spheres() -> list[np.ndarray]:
    """Return the units of a short 3-spin run."""
    problem = Spin3.random(5, 0, "plain", 0)
    unit = GaussianUnits(5, 1.0)
    state = problem.state(unit, problem.initial_units(unit, 12, 0, "plain", 0))
    state.advance_stream(20, Recurrence.nesterov(1e-2, 0.5), key=stream_key(0, "plain", 3), batch=2)
    return [state.units]


def digits() -> list[np.ndarray]:
    """Return outputs of a classifier with each kind of activation, a short noisy run, and a dip."""
    generator = np.random.default_rng(2)
    inputs, weights = generator.normal(size=(9, 5)), generator.normal(size=(18, 6))
    found = []
    for activation in (Smooth("tanh"), Smooth("logistic"), PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)):
        problem = DigitClassifier(inputs, np.sign(inputs[:, 0]), activation)
        run = InnerLoopRun(
            problem, weights, InnerLoop(np.array([0.0, 1.0]), temperature=0.1), (0, "plain", 0),
            stream_key(0, "plain", 4),
        )  # fmt: skip
        run.advance(0.01)
        found += [problem.outputs(weights, inputs), run.point]
    return [*found, np.array(dip(generator.normal(size=60)))]


def inner() -> list[np.ndarray]:
    """Return the weights after iterations with an inner loop, of one agent and of two, on both problems."""
    ends = []
    names = (0, "plain", 4)
    for problem, law, agents in [
        (IsotropicGaussians(5, 0.5, PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))), RadialLaw("gaussian", 0.8), 1),
        (AnisotropicGaussians(5, 2, 0.5, Smooth("tanh")), TwoLayerLaw(0.8), 2),
    ]:
        loop = InnerLoop(np.array([0.2, 0.3, 0.5]), scope=0.1, agents=agents, temperature=1e-3, carried=agents > 1)
        run = InnerLoopRun(problem, law.sample(12, 5, *names), loop, names, stream_key(*names))
        for _ in range(3):
            run.advance(1e-2)
        ends.append(run.point)
        blocks = InnerBlocks(problem, law.sample(12, 5, *names), loop, names, stream_key(*names))
        blocks.advance(0, 3, lambda _first, count: np.full(count, 1e-2))
        ends.append(blocks.point)
    return ends


RUNS = {
    "digits": digits,
    "block": block,
    "stream": stream,
    "dynamics": dynamics,
    "anisotropic": anisotropic,
    "plane": plane,
    "spheres": spheres,
    "inner": inner,
}

if __name__ == "__main__":
    for array in RUNS[sys.argv[1]]():
        print(*(repr(float(number)) for number in np.ravel(array)))
