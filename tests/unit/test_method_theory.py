"""The optimisers' plain definitions against textbooks: rates on quadratics, restarts, stationary laws, smoothing."""

import numpy as np
import pytest

from meanfield.kernels.streams import stream_key
from meanfield.methods import entropy_sgd, heavy_ball, langevin, mass, mf_homsgld, nesterov, nesterov_restart, sgd
from meanfield.methods.oracle import FullOracle

CURVATURES = np.array([1.0, 0.3, 0.05, 0.01])  # of a quadratic with its minimum at zero; L = 1, condition 100


def quadratic(curvatures=CURVATURES, key=None):
    return FullOracle(lambda x: curvatures * x, lambda x: 0.5 * (curvatures * x * x).sum(axis=-1), key)


def descend(method, hyperparameters, oracle, step_size, iterations, point):
    state = method.start(point, hyperparameters)
    points = [point]
    for _ in range(iterations):
        state = method.step(state, oracle, step_size, hyperparameters)
        points.append(state.point)
    return np.array(points)


def rate(points):
    """Contraction of the distance per iteration, late."""
    distance = np.linalg.norm(points, axis=-1)
    half = len(distance) // 2
    return (distance[-1] / distance[half]) ** (1 / (len(distance) - 1 - half))


def spectral_radius(matrix_of):
    """Largest modulus among the eigenvalues of an iteration's 2 x 2 matrices, one per curvature."""
    return max(np.abs(np.linalg.eigvals(np.array(matrix_of(c)))).max() for c in CURVATURES)


def test_gradient_descent_contracts_at_the_textbook_rate():
    # Step 2/(L + m): contraction (kappa - 1)/(kappa + 1), exactly.
    points = descend(sgd, sgd.Hyperparameters(), quadratic(), 2 / 1.01, 400, np.ones(4))
    assert rate(points) == pytest.approx(99 / 101, rel=1e-9)


def test_nesterov_contracts_at_the_textbook_rate():
    # Step 1/L and momentum (sqrt(kappa) - 1)/(sqrt(kappa) + 1): 1 - 1/sqrt(kappa) per iteration.
    root = np.sqrt(1 / CURVATURES.min())
    h = nesterov.Hyperparameters((root - 1) / (root + 1))
    points = descend(nesterov, h, quadratic(), 1.0, 2000, np.ones(4))
    assert rate(points) == pytest.approx(1 - 1 / root, abs=2e-3)  # a double root: n times the geometric sequence


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_momentum_contracts_as_its_matrix_says(momentum):
    step = 0.7
    points = descend(nesterov, nesterov.Hyperparameters(momentum), quadratic(), step, 3000, np.ones(4))
    radius = spectral_radius(lambda c: [[(1 + momentum) * (1 - step * c), -momentum * (1 - step * c)], [1, 0]])
    assert rate(points) == pytest.approx(radius, rel=1e-3)
    points = descend(heavy_ball, heavy_ball.Hyperparameters(momentum), quadratic(), step, 3000, np.ones(4))
    radius = spectral_radius(lambda c: [[1 + momentum - step * c, -momentum], [1, 0]])
    assert rate(points) == pytest.approx(radius, rel=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_nesterov_is_stable_up_to_its_bound(momentum):
    # On a quadratic of curvature L: step < 2 (1 + mu)/((1 + 2 mu) L).
    bound = 2 * (1 + momentum) / (1 + 2 * momentum)
    h = nesterov.Hyperparameters(momentum)
    for factor, grows in ((0.99, False), (1.01, True)):
        points = descend(nesterov, h, quadratic(np.array([1.0])), factor * bound, 3000, np.ones(1))
        assert (abs(points[-1, 0]) > 1) == grows


def test_accelerated_sequence_keeps_nesterovs_bound_and_plain_descent_does_not():
    # f(x_k) - f* <= 2 |x_0 - x*|^2 / (s (k + 1)^2) for the step 1/L, over many curvatures.
    curvatures = np.logspace(-6, 0, 200)
    oracle = quadratic(curvatures)
    start = np.sqrt(1 / curvatures)
    h = nesterov_restart.Hyperparameters("none", 0.0)
    state = nesterov_restart.start(start, h)
    plain = start
    for k in range(1, 400):
        state = nesterov_restart.step(state, oracle, 1.0, h)
        plain = plain - oracle.gradient(plain)
        assert oracle.loss(state.end)[0] <= 2 * (start @ start) / (k + 1) ** 2
    assert oracle.loss(state.end)[0] < 0.5 * oracle.loss(plain)[0]


@pytest.mark.parametrize("scheme", ["gradient", "function"])
def test_restart_makes_the_loss_monotone_and_the_rate_linear(scheme):
    oracle = quadratic()
    h = nesterov_restart.Hyperparameters(scheme, 0.0)
    state = nesterov_restart.start(np.ones(4), h)
    losses, restarts = [], 0
    for _ in range(1500):
        before = state
        state = nesterov_restart.step(state, oracle, 1.0, h)
        restarts += float(np.squeeze(state.theta)) == 1.0
        losses.append(float(oracle.loss(state.end)[0]))
        if scheme == "function" and float(np.squeeze(before.theta)) == 1.0:
            assert losses[-1] <= losses[max(len(losses) - 2, 0)] * (1 + 1e-12)
    unrestarted = nesterov_restart.Hyperparameters("none", 0.0)
    plain = descend(nesterov_restart, unrestarted, oracle, 1.0, 1500, np.ones(4))
    assert restarts > 5
    assert losses[-1] < 1e-12 * float(oracle.loss(plain[-1])[0])


def test_a_restart_acts_on_each_of_many_points_alone():
    h = nesterov_restart.Hyperparameters("gradient", 0.0)
    starts = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 3.0], [5.0, -1.0, 0.0, 2.0]])
    together = descend(nesterov_restart, h, quadratic(), 1.0, 200, starts)
    for n, start in enumerate(starts):
        assert np.array_equal(together[:, n], descend(nesterov_restart, h, quadratic(), 1.0, 200, start))


def test_mass_without_compensation_is_nesterov_bit_for_bit():
    ours = descend(mass, mass.Hyperparameters(0.9, 0.0), quadratic(), 0.7, 300, np.ones(4))
    theirs = descend(nesterov, nesterov.Hyperparameters(0.9), quadratic(), 0.7, 300, np.ones(4))
    assert np.array_equal(ours, theirs)


class Decoupled:
    """Data along one axis at a time, x = (s_1 z, 0) or (0, s_2 z), z ~ N(0, 2), targets zero: loss (x . w)^2 / 2."""

    def __init__(self, scales, runs, seed):
        self._rng = np.random.default_rng(seed)
        self._scales, self._runs = np.array(scales), runs
        self.next()

    def next(self):
        axis = self._rng.integers(0, 2, self._runs)
        z = np.sqrt(2) * self._rng.standard_normal(self._runs)
        self._x = np.zeros((self._runs, 2))
        self._x[np.arange(self._runs), axis] = self._scales[axis] * z

    def gradient(self, w):
        return (self._x * w).sum(axis=1, keepdims=True) * self._x

    def retract(self, w):
        return w


def test_mass_reproduces_its_table_on_the_decoupled_problem():
    # Liu & Belkin's construction with sigma^2 = 1 and 2^-9: mean losses after 300, 1000, 3000 iterations from (1, 1).
    scales = np.sqrt([1.0, 2.0**-9])
    gamma, eta, eta2 = 0.98538, 1 / 6, 0.137873

    def losses(method, hyperparameters, step_size):
        state = method.start(np.ones((400, 2)), hyperparameters)
        oracle, found = Decoupled(scales, 400, 5), []
        for k in range(1, 3001):
            state = method.step(state, oracle, step_size, hyperparameters)
            if k in (300, 1000, 3000):
                found.append(0.5 * float((scales**2 * state.point**2).sum(axis=1).mean()))
        return found

    with np.errstate(over="ignore", invalid="ignore"):
        momentum = mass.Hyperparameters(gamma, eta2 / eta)
        tables = (
            (losses(sgd, sgd.Hyperparameters(), eta), (8.0e-4, 5.1e-4, 1.4e-4)),
            (losses(mass, momentum, eta), (1.1e-4, 3.8e-8, 2.5e-18)),
            (losses(nesterov, nesterov.Hyperparameters(gamma), eta / 100), (8e-3, 6.4e-4, 2.6e-4)),
        )
        diverged = losses(nesterov, nesterov.Hyperparameters(gamma), eta)
    for found, table in tables:
        assert np.abs(np.log10(found) - np.log10(table)).max() < 1, (found, table)
    assert not diverged[0] < 1e10


def test_langevin_has_the_stationary_variance_of_its_chain():
    # x' = (1 - s c) x + sqrt(2 s T) xi: variance T / (c (1 - s c / 2)); T/c for small steps.
    step_size, temperature, curvatures = 0.2, 0.5, np.array([1.0, 2.0])
    oracle = quadratic(curvatures, stream_key(1, "chain", 0))
    h = langevin.Hyperparameters(temperature, 0.5)
    state = langevin.start(np.zeros((4000, 2)), h)
    for _ in range(100):
        state = langevin.step(state, oracle, step_size, h)
    total = curvatures + 0.5
    expected = temperature / (total * (1 - step_size * total / 2))
    assert state.point.var(axis=0) == pytest.approx(expected, rel=0.06)
    assert abs(state.point.mean(axis=0)).max() < 0.04


def test_averaged_gradients_are_those_of_the_local_entropy():
    # f = c x^2 / 2: the local entropy has the gradient c x / (1 + gamma c), and y the mean x / (1 + gamma c).
    curvature, scope = np.array([2.0]), 0.8
    expected = 1.5 * curvature / (1 + scope * curvature)
    oracle = quadratic(curvature, stream_key(2, "entropy", 0))
    x = np.full((3000, 1), 1.5)
    h = mf_homsgld.Hyperparameters(scope, agents=1, burn_in=60, averaging=60, temperature=0.3)
    moved = mf_homsgld.step(mf_homsgld.start(x, h, 1), oracle, 0.05, h, 1)
    gradient = (x - mf_homsgld.point(moved, 1)) / scope
    error = gradient.std() / np.sqrt(gradient.size)
    assert abs(gradient.mean() - expected[0]) < 4 * error < 0.02
    h = entropy_sgd.Hyperparameters(scope, inner_steps=200, forgetting=0.97, temperature=0.3)
    moved = entropy_sgd.step(entropy_sgd.start(x, h), oracle, 0.05, h)
    gradient = (x - moved.point) / scope
    error = gradient.std() / np.sqrt(gradient.size)
    assert abs(gradient.mean() - expected[0]) < 4 * error + 0.97**200 < 0.05


def test_agents_are_drawn_to_their_mean():
    h = mf_homsgld.Hyperparameters(0.5, agents=2, burn_in=0, averaging=1, ratio=0.5, attraction=1.2)
    flat = FullOracle(np.zeros_like, lambda x: x[..., 0] * 0, stream_key(0, "flat", 0))
    state = mf_homsgld.State(np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]), 0)
    moved = mf_homsgld.step(state, flat, 0.1, h, 1)
    # y stays, so x keeps its place but for ratio * scope * attraction = 0.3 of the way to the mean.
    assert moved.agents[:, 0] == pytest.approx([1.3, 2.7])


@pytest.mark.parametrize(
    ("kind", "bad", "line"),
    [
        (mf_homsgld, {"scope": 0.0}, "scope: 0.0 found"),
        (mf_homsgld, {"scope": 1.0, "attraction": 1.0}, "attraction: 1.0 found; less than"),
        (mf_homsgld, {"scope": 1.0, "agents": 0}, "agents: 0 found; a whole number from 1 to 1000000"),
        (entropy_sgd, {"scope": 1.0, "ratio": 1.5}, "ratio: 1.5 found"),
        (langevin, {"temperature": -1.0}, "temperature: -1.0 found; a number of at least 0 needed"),
    ],
)
def test_impossible_hyperparameters_are_refused_by_name(kind, bad, line):
    with pytest.raises(ValueError, match=line):
        kind.Hyperparameters(**bad)
