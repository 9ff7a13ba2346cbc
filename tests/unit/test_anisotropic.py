"""Anisotropic Gaussians: data, gradient, compiled runs and exact risk against brute force."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from meanfield.kernels.momentum import SGD, Momentum
from meanfield.kernels.reference import TwoLayer, sequential_two_layer
from meanfield.kernels.streams import standard_samples, stream_key
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import PiecewiseLinear, Smooth
from meanfield.problems.anisotropic import AnisotropicGaussians, TwoLayerLaw, pack, unpack

RELU = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)
SLANTED = PiecewiseLinear((-1.2, 0.3, 2.0), (0.5, -1.0, 0.25), left_slope=-0.5, right_slope=0.75)
TANH = Smooth("tanh", amplitude=2.0, gain=1.5, shift=0.4, offset=-0.3)

several_activations = pytest.mark.parametrize("activation", [RELU, SLANTED, TANH], ids=["relu", "slanted", "tanh"])


def weights_of(neurons, dimension, seed=0, scale=1.5):
    law = TwoLayerLaw(scale, output_mean=0.4, output_deviation=1.0, bias_mean=-0.3, bias_deviation=0.8)
    return law.sample(neurons, dimension, seed, "weights", 0)


def rectifier_pair(s1, b1, s2, b2, c):
    """E relu(s1 G1 + b1) relu(s2 G2 + b2) by the distribution function of the bivariate normal law."""
    x, y, root = b1 / s1, b2 / s2, math.sqrt(1 - c * c)
    both = stats.multivariate_normal.cdf([x, y], cov=[[1, c], [c, 1]], abseps=1e-12, releps=1e-12)
    density = stats.multivariate_normal.pdf([x, y], cov=[[1, c], [c, 1]])
    return (
        (b1 * b2 + s1 * s2 * c) * both
        + b1 * s2 * stats.norm.pdf(y) * stats.norm.cdf((x - c * y) / root)
        + b2 * s1 * stats.norm.pdf(x) * stats.norm.cdf((y - c * x) / root)
        + s1 * s2 * root**2 * density
    )


# -- averages with a bias -------------------------------------------------------------------------------------


@several_activations
@pytest.mark.parametrize("bias", [-1.7, 0.0, 0.6])
def test_hermite_coefficients_with_a_bias_are_the_integrals_they_stand_for(activation, bias):
    t = 0.8
    knots = [(k - bias) / t for k in getattr(activation, "knots", ())]
    he = [lambda g: 1.0, lambda g: g, lambda g: (g * g - 1) / math.sqrt(2), lambda g: (g**3 - 3 * g) / math.sqrt(6)]

    def mean(f):
        return integrate.quad(lambda g: f(g) * stats.norm.pdf(g), -9, 9, points=knots, limit=300, epsabs=1e-12)[0]

    value = activation.hermite(np.array([t]), 3, np.array([bias]))[:, 0]
    slope = activation.slope_hermite(np.array([t]), 3, np.array([bias]))[:, 0]
    for n in range(4):
        expected = mean(lambda g, n=n: float(activation(t * g + bias)) * he[n](g))
        expected_slope = mean(lambda g, n=n: float(activation.derivative(t * g + bias)) * he[n](g))
        assert value[n] == pytest.approx(expected, rel=0, abs=1e-9)
        assert slope[n] == pytest.approx(expected_slope, rel=0, abs=1e-9)
    square = mean(lambda g: float(activation(t * g + bias)) ** 2)
    assert activation.gaussian_mean_square(np.array([t]), np.array([bias]))[0] == pytest.approx(square, abs=1e-9)


@pytest.mark.parametrize("c", [-0.999, -0.6, 0.0, 0.3, 0.95, 0.9999])
@pytest.mark.parametrize(("b1", "b2"), [(0.0, 0.0), (1.0, -0.5), (-1.5, -1.2)])
def test_pair_mean_of_rectifiers_with_biases_has_the_closed_form(b1, b2, c):
    found = RELU.pair_mean(0.9, 1.7, c, bias1=b1, bias2=b2)
    assert float(found) == pytest.approx(rectifier_pair(0.9, b1, 1.7, b2, c), rel=0, abs=1e-6)


# -- data and gradients ---------------------------------------------------------------------------------------


def test_samples_are_the_stream_with_informative_coordinates_scaled_by_class():
    problem = AnisotropicGaussians(7, 3, 0.4, RELU)
    x, y = problem.samples(3, "data", 2, 10, 50)
    z, sign = standard_samples(stream_key(3, "data", 2), 10, 50, 7)
    assert np.array_equal(y, sign)
    np.testing.assert_array_equal(x[:, 3:], z[:, 3:])
    np.testing.assert_allclose(x[y > 0, :3], 1.4 * z[y > 0, :3], rtol=1e-15)
    np.testing.assert_allclose(x[y < 0, :3], 0.6 * z[y < 0, :3], rtol=1e-15)


def test_network_and_reduced_variables_of_two_neurons_computed_by_hand():
    problem = AnisotropicGaussians(3, 2, 0.5, RELU)
    weights = np.array([[2.0, 0.5, 3.0, 4.0, -1.0], [-1.0, 1.0, 0.0, 0.0, 2.0]])
    # <w, x> + b = 3.5 and 3; -0.5 and 5.
    np.testing.assert_allclose(problem.network(weights, np.array([[1.0, 0.25, 1.0], [0, 0.25, 2.0]])), [2.0, -2.5])
    np.testing.assert_allclose(problem.reduced(weights), [[2, -1], [0.5, 1], [5, 0], [1, 2]])


def test_packing_and_unpacking_are_inverse():
    packed = weights_of(4, 3)
    np.testing.assert_array_equal(pack(*unpack(packed)), packed)


@several_activations
def test_sample_gradient_is_n_times_the_derivative_of_the_squared_error(activation):
    problem = AnisotropicGaussians(5, 2, 0.5, activation)
    weights = weights_of(4, 5)
    inputs, targets = problem.samples(0, "gradient", 0, 0, 5)
    h = 1e-6
    for x, y in zip(inputs, targets, strict=True):
        expected = np.empty_like(weights)
        for index in np.ndindex(*weights.shape):
            shift = np.zeros_like(weights)
            shift[index] = h
            ahead, behind = ((y - problem.network(w, x[None])[0]) ** 2 for w in (weights + shift, weights - shift))
            expected[index] = 4 * (ahead - behind) / (2 * h)
        np.testing.assert_allclose(problem.sample_gradient(weights, x, y), expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("momentum", [SGD, Momentum(gamma=0.9)], ids=["sgd", "nesterov"])
@pytest.mark.parametrize(("neurons", "dimension", "informative"), [(16, 70, 9), (33, 6, 6), (5, 9, 1)])
def test_compiled_run_is_the_sequential_one_on_the_same_samples(momentum, neurons, dimension, informative):
    problem = AnisotropicGaussians(dimension, informative, 0.4, RELU)
    start = weights_of(neurons, dimension)
    schedule, count = Schedule(0.7, -0.25), 150
    inputs, targets = problem.samples(1, "run", 2, 0, count)
    a, b, w = unpack(start)
    expected = sequential_two_layer(
        TwoLayer(w, b, a), inputs, targets, schedule.step_sizes(1e-3, 0, count), RELU, RELU.derivative,
        train_biases=True, train_output=True, momentum=momentum,
    )  # fmt: skip
    state = problem.block_state(start, momentum)
    settings = {"key": stream_key(1, "run", 2), "scales": problem.scales, "step_size": 1e-3}
    state.advance_stream(0, state.block, coefficient=0.7, exponent=-0.25, **settings)
    ahead = state.copy()
    ahead.advance_stream(state.block, count, coefficient=0.7, exponent=-0.25, **settings)
    found = ahead.weights
    assert np.abs(found - start).max() > 1e-2
    np.testing.assert_allclose(
        found, pack(expected.output_weights, expected.biases, expected.weights), rtol=0, atol=1e-11
    )
    assert not np.array_equal(state.weights, found)  # the copy ran, not the original


def test_single_precision_stays_single():
    problem = AnisotropicGaussians(6, 2, 0.4, RELU)
    state = problem.block_state(weights_of(5, 6).astype(np.float32))
    assert state.weights.dtype == np.float32


# -- risk -----------------------------------------------------------------------------------------------------


@several_activations
@pytest.mark.parametrize(("neurons", "dimension", "informative"), [(1, 1, 1), (20, 5, 2), (60, 40, 40), (60, 40, 10)])
def test_risk_agrees_with_monte_carlo(activation, neurons, dimension, informative):
    problem = AnisotropicGaussians(dimension, informative, 0.5, activation)
    weights = weights_of(neurons, dimension)
    x, y = problem.samples(0, "risk", 0, 0, 100_000)
    losses = (y - problem.network(weights, x)) ** 2
    error = losses.std() / math.sqrt(losses.size)
    assert abs(problem.risk(weights) - losses.mean()) < 3 * error


def test_risk_at_initialisation_agrees_with_monte_carlo_at_the_papers_sizes():
    problem = AnisotropicGaussians(320, 60, 0.4, RELU)
    weights = TwoLayerLaw(0.8).sample(800, 320, 0, "initial", 0)
    x, y = problem.samples(0, "initial", 0, 0, 10_000)
    losses = (y - problem.network(weights, x)) ** 2
    assert abs(problem.risk(weights) - losses.mean()) < 3 * losses.std() / 100


def test_risk_of_rectifiers_is_the_sum_of_closed_forms_over_all_pairs():
    problem = AnisotropicGaussians(4, 2, 0.4, RELU)
    weights = weights_of(6, 4)
    a, b, w = unpack(weights)
    expected = 0.0
    for label, scale in zip((1, -1), problem.scales, strict=True):
        covariance = (w * scale) @ (w * scale).T
        s = np.sqrt(np.diag(covariance))
        means = s * stats.norm.pdf(b / s) + b * stats.norm.cdf(b / s)
        second = np.diag((s**2 + b**2) * stats.norm.cdf(b / s) + s * b * stats.norm.pdf(b / s)).copy()
        for i in range(6):
            for j in range(i):
                second[i, j] = second[j, i] = rectifier_pair(s[i], b[i], s[j], b[j], covariance[i, j] / (s[i] * s[j]))
        expected += 0.5 * (1 - 2 * label * (a @ means) / 6 + a @ second @ a / 36)
    assert problem.risk(weights) == pytest.approx(expected, rel=0, abs=1e-8)


@several_activations
def test_risk_agrees_with_quadrature_in_the_plane(activation):
    problem = AnisotropicGaussians(2, 1, 0.5, activation)
    weights = weights_of(3, 2)
    # Midpoint rule in polar coordinates: the error of a kink is of order (9/3000)^2 and (2 pi/1500)^2.
    radius = (np.arange(3000) + 0.5) * 9 / 3000
    phi = (np.arange(1500) + 0.5) * math.pi / 750
    density = radius * np.exp(-(radius**2) / 2) * 9 / 3000
    x = np.stack([np.multiply.outer(radius, f(phi)) for f in (np.cos, np.sin)], axis=-1)
    expected = 0.0
    for y, scale in zip((1, -1), problem.scales, strict=True):
        prediction = problem.network(weights, (x * scale).reshape(-1, 2)).reshape(3000, 1500)
        expected += 0.5 * density @ ((y - prediction) ** 2).mean(axis=1)
    assert problem.risk(weights) == pytest.approx(expected, rel=0, abs=5e-5)


@several_activations
def test_risk_of_duplicated_neurons_is_that_of_the_originals(activation):
    problem = AnisotropicGaussians(6, 2, 0.5, activation)
    weights = weights_of(5, 6)
    assert problem.risk(np.concatenate([weights, weights])) == pytest.approx(problem.risk(weights), rel=0, abs=2e-6)


def test_risk_of_neurons_without_weights_is_the_hand_computed_one():
    # Predictions are the mean of a relu(b): (2 - 0) / 2 = 1, right for one class, off by two for the other.
    weights = np.zeros((2, 6))
    weights[0, :2], weights[1, :2] = (1.0, 2.0), (3.0, -1.0)
    assert AnisotropicGaussians(4, 2, 0.5, RELU).risk(weights) == pytest.approx(2.0, abs=1e-14)


def test_without_anisotropy_the_risk_depends_on_neither_the_split_nor_rotations():
    weights = weights_of(9, 6)
    rotation = stats.ortho_group.rvs(6, random_state=1)
    rotated = weights.copy()
    rotated[:, 2:] = weights[:, 2:] @ rotation
    for split in (1, 4, 6):
        found = AnisotropicGaussians(6, split, 0.0, RELU).risk(rotated)
        assert found == pytest.approx(AnisotropicGaussians(6, 3, 0.0, RELU).risk(weights), rel=0, abs=1e-8)


# -- initial law and refusals -----------------------------------------------------------------------------------


def test_initial_law_has_constants_and_the_stated_variances():
    packed = TwoLayerLaw(0.8, bias_mean=0.5, bias_deviation=2.0).sample(4000, 20, 0, "law", 0)
    assert (packed[:, 0] == 1).all()
    assert packed[:, 1].mean() == pytest.approx(0.5, abs=4 * 2 / math.sqrt(4000))
    assert packed[:, 1].std() == pytest.approx(2, rel=4 / math.sqrt(8000))
    assert packed[:, 2:].var() == pytest.approx(0.64 / 20, rel=4 * math.sqrt(2 / 80_000))


def test_initial_weights_are_reproducible_and_grow_by_rows():
    law = TwoLayerLaw(0.8, output_deviation=1.0)
    few, many = law.sample(5, 7, 1, "law", 2), law.sample(9, 7, 1, "law", 2)
    np.testing.assert_array_equal(few, many[:5])
    assert not np.array_equal(few, law.sample(5, 7, 1, "law", 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 0, 0.5), "informative: found 0; from 1 to the dimension, 4, needed"),
        ((4, 5, 0.5), "informative: found 5; from 1 to the dimension, 4, needed"),
        ((4, 2, 1.0), "separation: found 1; at least 0 and less than 1 needed"),
    ],
)
def test_bad_problems_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AnisotropicGaussians(*arguments, RELU)


def test_bad_laws_are_refused():
    with pytest.raises(ValueError, match="bias_deviation: found -1; at least 0 needed"):
        TwoLayerLaw(0.8, bias_deviation=-1)
