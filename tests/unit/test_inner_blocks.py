"""Inner loops in blocks of samples: the plain algorithm without noise, and its law with noise."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from test_inner_loop import ACTIVATIONS, FULL, NAMES, both, case

from meanfield.kernels import inner_blocks
from meanfield.kernels.inner_blocks import LONGEST, InnerBlocks, in_blocks
from meanfield.kernels.inner_loop import InnerLoop
from meanfield.kernels.streams import INJECTED_NOISE, stream_key
from meanfield.limits.schedule import Schedule
from meanfield.methods import entropy_sgd, langevin, mf_homsgld
from meanfield.methods.oracle import SampleOracle
from meanfield.methods.runs import BlockWalk, InnerLoopWalk, inner_loop_walk, trajectory
from meanfield.problems.activations import PiecewiseLinear
from meanfield.problems.digits import DigitClassifier
from meanfield.problems.isotropic import IsotropicGaussians

SCHEDULE = Schedule(1.0, -0.25)
METHODS = {
    "langevin": (langevin, langevin.Hyperparameters(0.02, 0.3), 75),
    "langevin, free": (langevin, langevin.Hyperparameters(0.02), 75),
    "entropy": (entropy_sgd, entropy_sgd.Hyperparameters(0.05, inner_steps=6, ratio=0.7, temperature=1e-3), 8),
    "entropy, no memory": (entropy_sgd, entropy_sgd.Hyperparameters(0.1, 20, forgetting=0.0, temperature=1e-3), 4),
    "entropy, one step": (entropy_sgd, entropy_sgd.Hyperparameters(0.05, inner_steps=1, temperature=1e-3), 9),
    "agents": (mf_homsgld, FULL, 8),
    "agent": (mf_homsgld, mf_homsgld.Hyperparameters(0.05, agents=1, burn_in=9, averaging=8, temperature=1e-3), 5),
    "agent, one step": (mf_homsgld, mf_homsgld.Hyperparameters(0.1, 1, 0, 1, ratio=0.5, temperature=1e-3), 9),
}


def blocks(name, problem, weights, **changes):
    """Return the run of a method's inner loop in blocks, and its step sizes."""
    method, hyperparameters, _ = METHODS[name]
    loop = method.inner_loop(replace(hyperparameters, **changes))
    run = InnerBlocks(problem, weights, loop, NAMES, stream_key(*NAMES, INJECTED_NOISE))
    return run, lambda first, count: SCHEDULE.step_sizes(5e-3, first, count)


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", METHODS)
def test_without_noise_it_is_the_plain_definition(name, activation, kind):
    # Neurons: part of a vector, whole vectors, and more than a tile.
    method, hyperparameters, iterations = METHODS[name]
    for neurons in (11, 16, 80) if activation == "ramp" else (11,):
        problem, weights = case(kind, ACTIVATIONS[activation], neurons)
        cold = replace(hyperparameters, temperature=0.0)
        plain, compiled = both(method, cold, problem, weights, iterations, walk=inner_loop_walk)
        moved = np.linalg.norm(plain - weights)
        assert moved > 0.01
        assert np.linalg.norm(compiled - plain) < 1e-12 * moved


def test_single_precision_stays_near_double_and_keeps_its_type():
    problem, weights = case("anisotropic", ACTIVATIONS["tanh"], 20)
    cold = replace(FULL, temperature=0.0)
    _, wide = both(mf_homsgld, cold, problem, weights, 10, walk=inner_loop_walk)
    _, narrow = both(mf_homsgld, cold, problem, weights.astype(np.float32), 10, walk=inner_loop_walk)
    assert narrow.dtype == np.float32
    assert 0 < np.abs(narrow - wide).max() < 50 * 6e-8 * 10


def test_long_inner_loops_run_step_by_step():
    problem, weights = case("isotropic", ACTIVATIONS["ramp"], 8)
    settings = {"schedule": SCHEDULE, "step_size": 1e-3, "stops": [1], "root": 0, "experiment": "x", "replicate": 0}
    for steps, kind in ((LONGEST, BlockWalk), (LONGEST + 1, InnerLoopWalk)):
        hyperparameters = entropy_sgd.Hyperparameters(0.1, inner_steps=steps)
        walk = trajectory(entropy_sgd, hyperparameters, problem, weights, **settings)
        assert type(walk) is kind
        assert in_blocks(entropy_sgd.inner_loop(hyperparameters)) == (kind is BlockWalk)
        assert np.isfinite(next(walk)).all()


# -- the noise -------------------------------------------------------------------------------------------------------


class Given(SampleOracle):
    """A network's gradients, with noise that is given, in the order of its use."""

    def __init__(self, problem, noise):
        super().__init__(problem, *NAMES)
        self._noise = iter(noise)

    def normal(self, shape):
        """Return the next noise."""
        return next(self._noise).reshape(shape)


def drawn(run, inputs, regression, rest, basis, extra=None):
    """Return noise of every step and weight, shape (step, neuron, weight), with which the last block agrees.

    `extra`, if given, is a step and the noise of all steps before it that a look has shown, in every coordinate.
    """
    size, normals = basis.shape
    columns, neurons = run._shape[5], run.neurons
    g = run._fields[0][run._states :].reshape(normals, -1, columns)[:, :neurons, : run.dimension]
    z, factor, *_ = run._noise
    products = z.reshape(len(factor), -1)[:size, :neurons].T @ factor[:size, :size].T
    noise = np.einsum("ln,nij->lij", basis, g)
    # What is left is as small as it can be: basis^T of it is zero, and its products with the samples are those used.
    dimension = run.dimension
    rows = [np.kron(basis.T, np.eye(dimension))]
    rows += [np.kron(rest[k], inputs[k])[None] for k in range(1, size)]
    values = [np.zeros((normals * dimension, neurons)), products[:, 1:].T]
    if extra is not None:
        count, shown, response = extra
        rows.append(np.kron(response[count], np.eye(dimension)))
        values.append((shown - np.einsum("l,lij->ij", response[count], noise)).T)
    system, values = np.concatenate(rows), np.concatenate(values)
    solution, *_ = np.linalg.lstsq(system, values, rcond=1e-12)
    np.testing.assert_allclose(system @ solution, values, rtol=0, atol=1e-8)
    return noise + solution.T.reshape(neurons, size, dimension).transpose(1, 0, 2)


def plain_run(name, problem, weights, noise, iterations, step_sizes, run):
    """Return the plain algorithm's weights with the given noise."""
    method, hyperparameters, _ = METHODS[name]
    if run._trained:
        extra = run._output_noise.reshape(-1, run._shape[1])[: len(noise), : run.neurons, None]
        noise = np.concatenate([extra, noise], axis=2)
    oracle, state = Given(problem, noise), method.start(weights, hyperparameters)
    for k in range(iterations):
        state = method.step(state, oracle, step_sizes[k], hyperparameters)
    return getattr(method, "point", lambda state: state.point)(state)


def recursion_of(run, step_sizes):
    """Return the recursion of the run's first block."""
    loop, size = run.loop, run._steps
    steps = step_sizes(0, size) if run._free else np.full(size, step_sizes(0, 1)[0])
    pull = steps / loop.scope
    end = np.eye(size + 1)[size]
    kept = [end] if run._free else [end, loop.averaging] if loop.carried else [loop.averaging]
    amplitude = np.sqrt(2 * steps * loop.temperature)
    return inner_blocks._recursion(1 - pull - steps * loop.regularisation, pull, amplitude, kept), steps


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "agents"])
def test_a_noisy_block_is_the_plain_algorithm_with_some_noise(name, kind):
    # Given what was drawn, there is noise for every step and weight with which the plain algorithm takes the same path.
    problem, weights = case(kind, ACTIVATIONS["ramp"], 16, dimension=40)
    run, step_sizes = blocks(name, problem, weights)
    recursion, steps = recursion_of(run, step_sizes)
    inputs = run._samples.take(0, run._steps)[0][:, run._trained :]
    rest = recursion.noise - recursion.regression @ recursion.basis.T
    run.advance(0, run.block, step_sizes)
    noise = drawn(run, inputs, recursion.regression, rest, recursion.basis)
    expected = plain_run(name, problem, weights, noise, run.block, steps, run)
    cold, _ = blocks(name, problem, weights, temperature=0.0)
    cold.advance(0, run.block, step_sizes)
    effect = np.linalg.norm(run.point - cold.point)
    assert effect > 0.01
    assert np.linalg.norm(run.point - expected) < 1e-9 * effect


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("name", ["langevin", "langevin, free"])
@pytest.mark.parametrize("count", [1, 2, 13, 31])
def test_a_look_inside_a_block_is_on_the_same_path(name, kind, count):
    problem, weights = case(kind, ACTIVATIONS["ramp"], 16, dimension=40)
    run, step_sizes = blocks(name, problem, weights)
    recursion, steps = recursion_of(run, step_sizes)
    inputs = run._samples.take(0, run._steps)[0][:, run._trained :]
    rest = recursion.noise - recursion.regression @ recursion.basis.T
    look = run.copy()
    look.advance(0, count, step_sizes)
    seen = look.point
    bridge = look._bridge(count, recursion.covariance[: run._steps, : run._steps], inputs, 0)
    g = look._fields[0][1].reshape(-1, run._shape[5])[: run.neurons, : run.dimension]
    shown = recursion.regression[count, 0] * g + bridge
    run.advance(0, run.block, step_sizes)
    noise = drawn(run, inputs, recursion.regression, rest, recursion.basis, (count, shown, recursion.noise))
    early = plain_run(name, problem, weights, noise, count, steps, run)
    late = plain_run(name, problem, weights, noise, run.block, steps, run)
    assert np.linalg.norm(seen - early) < 1e-8 * np.linalg.norm(seen - weights)
    assert np.linalg.norm(run.point - late) < 1e-9 * np.linalg.norm(run.point - weights)


def test_what_is_drawn_has_the_law_of_the_whole_noise():
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 32):
        keep, pull, amplitude = rng.uniform(0.7, 1, size), rng.uniform(0, 0.1, size), rng.uniform(0.5, 1, size)
        kept = [np.eye(size + 1)[size], rng.dirichlet(np.ones(size + 1))]
        r = inner_blocks._recursion(keep, pull, amplitude, kept)
        np.testing.assert_allclose(r.basis.T @ r.basis, np.eye(r.basis.shape[1]), atol=1e-12)
        whole = r.noise @ r.noise.T
        np.testing.assert_allclose(r.regression @ r.regression.T + r.covariance, whole, atol=1e-12)
        # The ends that are kept are functions of the normals.
        np.testing.assert_allclose(np.array(kept) @ r.covariance, 0, atol=1e-12)
        np.testing.assert_allclose((r.noise - r.regression @ r.basis.T) @ r.basis, 0, atol=1e-12)


@pytest.mark.parametrize("dimension", [3, 40])
def test_products_with_the_samples_have_their_covariance(dimension):
    # More samples than coordinates, too: the Gram matrix is singular then, the covariance of the products is not.
    problem, weights = case("isotropic", ACTIVATIONS["ramp"], 16, dimension)
    run, step_sizes = blocks("langevin, free", problem, weights)
    recursion, _ = recursion_of(run, step_sizes)
    run.advance(0, run.block, step_sizes)
    inputs, _ = run._samples.take(0, run.block)
    size = run.block
    factor = run._noise[1][:size, :size]
    assert not np.triu(factor, 1).any()
    expected = recursion.covariance[:size, :size] * (inputs @ inputs.T)
    np.testing.assert_allclose(factor @ factor.T, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def within(found, expected, error):
    """Assert that estimates are within five standard errors."""
    assert np.max(np.abs(found - expected) / error) < 5


FLAT = PiecewiseLinear((0.0,), (0.0,), 0.0, 0.0)


@pytest.mark.parametrize("stops", [[1, 5, 31, 32, 50, 64, 100], [100]])
def test_a_random_walk_with_friction_has_its_variance(stops):
    # No gradient: the chain is x <- (1 - s lambda) x + sqrt(2 s T) xi, seen at looks and at the ends of blocks.
    dimension, neurons, step = 6, 4000, 0.02
    problem = IsotropicGaussians(dimension, 0.5, FLAT)
    loop = langevin.inner_loop(langevin.Hyperparameters(0.3, 1.5))
    weights = np.ones((neurons, dimension))
    seen = list(inner_loop_walk(loop, problem, weights, NAMES, Schedule(), step, stops))
    decay = 1 - step * 1.5
    for k, point in zip(stops, seen, strict=True):
        variance = 2 * step * 0.3 * (1 - decay ** (2 * k)) / (1 - decay**2)
        within(point.mean(), decay**k, np.sqrt(variance / point.size))
        within(point.var(), variance, variance * np.sqrt(2 / point.size))
        within(np.corrcoef(point.T)[0, 1:], 0, 1 / np.sqrt(neurons))
    for (k, early), (n, late) in itertools.pairwise(zip(stops, seen, strict=True)):
        if k // 32 == n // 32:
            continue  # two looks at one block
        move = late - decay ** (n - k) * early
        variance = 2 * step * 0.3 * (1 - decay ** (2 * (n - k))) / (1 - decay**2)
        within(move.var(), variance, variance * np.sqrt(2 / move.size))
        within(np.corrcoef(move.ravel(), early.ravel())[0, 1], 0, 1 / np.sqrt(move.size))


@pytest.mark.parametrize("name", ["entropy", "agent", "agent, one step"])
def test_weights_and_fast_copies_have_the_covariance_of_the_linear_chain(name):
    method, h, _ = METHODS[name]
    problem = IsotropicGaussians(6, 0.5, FLAT)
    loop = method.inner_loop(replace(h, temperature=0.3))
    run = InnerBlocks(problem, np.zeros((4000, 6)), loop, NAMES, stream_key(*NAMES, INJECTED_NOISE))
    step = 0.01
    run.advance(0, 3, lambda _first, count: np.full(count, step))
    # The covariance of (x, y, average), step by step.
    covariance = np.zeros((3, 3))
    for _ in range(3):
        begin = np.array([[1, 0, 0], [0, 1, 0] if loop.carried else [1, 0, 0], [loop.averaging[0], 0, 0]])
        covariance = begin @ covariance @ begin.T
        for weight in loop.averaging[1:]:
            pull = step / loop.scope
            move = np.array([[1, 0, 0], [pull, 1 - pull, 0], [weight * pull, weight * (1 - pull), 1]])
            kick = np.array([0, 1, weight]) * np.sqrt(2 * step * 0.3)
            covariance = move @ covariance @ move.T + np.outer(kick, kick)
        end = np.array([[1 - loop.ratio, 0, loop.ratio], [0, 1, 0], [0, 0, 1]])
        covariance = end @ covariance @ end.T
    x = run._fields[0][run._states - 1].reshape(-1, run._shape[5])[:4000, :6].ravel()
    within(x.var(), covariance[0, 0], covariance[0, 0] * np.sqrt(2 / x.size))
    if loop.carried:
        y = run._fields[0][0].reshape(-1, run._shape[5])[:4000, :6].ravel()
        within(y.var(), covariance[1, 1], covariance[1, 1] * np.sqrt(2 / x.size))
        error = np.sqrt((covariance[0, 0] * covariance[1, 1] + covariance[0, 1] ** 2) / x.size)
        within(np.mean(x * y), covariance[0, 1], error)


def test_blocks_agents_and_neurons_have_noise_of_their_own():
    problem = IsotropicGaussians(6, 0.5, FLAT)
    loop = InnerLoop(np.array([0.0, 0.5, 0.5]), scope=1.0, agents=2, temperature=0.3, carried=True)
    run = InnerBlocks(problem, np.zeros((18, 6)), loop, NAMES, stream_key(*NAMES, INJECTED_NOISE))
    found = []
    for k in range(2):
        run.advance(k, k + 1, lambda _first, count: np.full(count, 0.01))
        found += [fields[run._states :].reshape(2, -1, run._shape[5])[:, :18, :6].copy() for fields in run._fields]
    numbers = np.concatenate([block.ravel() for block in found])
    assert len(np.unique(numbers)) == numbers.size
    # Padding takes no noise.
    for fields in run._fields:
        assert not fields.reshape(4, -1, run._shape[5])[:, 18:].any()
        assert not fields.reshape(4, -1, run._shape[5])[:, :, 6:].any()


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("name", ["langevin", "agents"])
def test_looks_and_interruptions_change_no_bit(name, kind):
    method, hyperparameters, iterations = METHODS[name]
    problem, weights = case(kind, ACTIVATIONS["ramp"], 20)
    loop = method.inner_loop(hyperparameters)

    def walk(stops):
        return inner_loop_walk(loop, problem, weights, NAMES, SCHEDULE, 5e-3, stops)

    stops = [0, 3, iterations // 2, iterations]
    whole = list(walk(stops))
    assert (next(walk([iterations])) == whole[-1]).all()
    first, second = walk(stops), walk(stops)
    for _ in range(3):
        next(first)
    second.restore(first.snapshot())
    assert (next(second) == whole[-1]).all()
    assert (whole[1] != whole[2]).any()


def test_looks_and_blocks_pass_over_a_blank_sample():
    # Its product with the noise is zero whatever the noise is.
    inputs = np.random.default_rng(1).normal(size=(5, 7))
    inputs[2] = 0
    problem = DigitClassifier(inputs, np.array([1.0, -1.0, 1.0, 1.0, -1.0]), ACTIVATIONS["tanh"])
    weights = np.random.default_rng(2).normal(size=(16, 8))
    loop = langevin.inner_loop(langevin.Hyperparameters(0.3))
    seen = list(inner_loop_walk(loop, problem, weights, NAMES, Schedule(), 0.01, [0, 13, 32, 50]))
    for early, late in itertools.pairwise(seen):
        move = late - early
        assert 0.1 < move.std() < 1  # sqrt(2 s T n) is 0.28 to 0.34, and the data's part


def test_a_bent_loop_does_not_count_as_langevin():
    # Blocks of many iterations are for single free steps with nothing left behind.
    problem, weights = case("isotropic", ACTIVATIONS["ramp"], 8)
    key = stream_key(*NAMES, INJECTED_NOISE)
    for loop, free in [
        (InnerLoop(np.array([0.0, 1.0])), True),
        (InnerLoop(np.array([0.5, 0.5])), False),
        (InnerLoop(np.array([0.0, 1.0]), ratio=0.5), False),
        (InnerLoop(np.array([0.0, 1.0]), scope=1.0), False),
        (InnerLoop(np.array([0.0, 1.0]), agents=2), False),
    ]:
        assert (InnerBlocks(problem, weights, loop, NAMES, key).block > 1) == free
