"""Risk, gradients and constants of the isotropic problem against brute force; laws of the initial weights."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from meanfield.kernels.streams import INITIAL_WEIGHTS, seed_sequence, standard_samples, stream_key
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.methods import langevin
from meanfield.methods.runs import trajectory
from meanfield.problems.activations import PiecewiseLinear, Smooth
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

# The two activations of Mei, Montanari & Nguyen (2018).
MONOTONE = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
NONMONOTONE = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
RELU = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)
TANH = Smooth("tanh", amplitude=2.0, gain=1.5, shift=0.4, offset=-0.3)

several_activations = pytest.mark.parametrize(
    "activation", [MONOTONE, NONMONOTONE, RELU, TANH], ids=["monotone", "nonmonotone", "relu", "tanh"]
)


def weights_of(neurons, dimension, scale=1.5, seed=0):
    return np.random.default_rng(seed).standard_normal((neurons, dimension)) * scale / math.sqrt(dimension)


def pair_by_integration(activation, first, second):
    """E sigma(first . g) sigma(second . g), g normal, by nested quadrature in the plane of both vectors."""
    a = np.linalg.norm(first)
    along = first @ second / a
    across = math.sqrt(max(second @ second - along**2, 0.0))
    knots = getattr(activation, "knots", ())

    def inner(g):
        edges = [-10.0, *sorted(z for k in knots if across and abs(z := (k - along * g) / across) < 10), 10.0]
        return sum(
            integrate.quad(
                lambda h: float(activation(along * g + across * h)) * math.exp(-h * h / 2),
                lo,
                hi,
                epsabs=1e-11,
            )[0]
            for lo, hi in itertools.pairwise(edges)
        )

    edges = [-10.0, *sorted(k / a for k in knots if abs(k / a) < 10), 10.0]
    total = sum(
        integrate.quad(
            lambda g: float(activation(a * g)) * inner(g) * math.exp(-g * g / 2),
            lo,
            hi,
            epsabs=1e-9,
            epsrel=1e-9,
        )[0]
        for lo, hi in itertools.pairwise(edges)
    )
    return total / (2 * math.pi)


# -- data ----------------------------------------------------------------------------------------------------


def test_samples_are_the_stream_scaled_by_class():
    problem = IsotropicGaussians(7, 0.6, MONOTONE)
    x, y = problem.samples(3, "data", 2, 10, 50)
    z, sign = standard_samples(stream_key(3, "data", 2), 10, 50, 7)
    assert problem.scales == (1.6, 0.4)
    assert np.array_equal(y, sign)
    np.testing.assert_allclose(x[y > 0], 1.6 * z[y > 0], rtol=1e-15)
    np.testing.assert_allclose(x[y < 0], 0.4 * z[y < 0], rtol=1e-15)


def test_classes_have_the_stated_variances():
    x, y = IsotropicGaussians(8, 0.6, MONOTONE).samples(3, "data", 0, 0, 50_000)
    for label, scale in ((1, 1.6), (-1, 0.4)):
        variance = (x[y == label] ** 2).mean()
        # Relative standard error sqrt(2 / 200 000); four of them.
        assert variance == pytest.approx(scale**2, rel=4 * math.sqrt(2 / 2e5))


def test_network_is_the_mean_over_neurons():
    problem = IsotropicGaussians(2, 0.5, NONMONOTONE)
    weights = np.array([[1.0, 0.0], [0.0, 2.0]])
    inputs = np.array([[0.25, 0.5], [2.0, -1.0]])
    # sigma(0.25) = -3.25 and sigma(1) = 1.75; sigma(2) = 7.5 and sigma(-2) = -2.5.
    np.testing.assert_allclose(problem.network(weights, inputs), [-0.75, 2.5], rtol=0, atol=1e-15)


# -- gradients -----------------------------------------------------------------------------------------------


@several_activations
@pytest.mark.parametrize(("neurons", "dimension"), [(1, 2), (4, 5)])
def test_sample_gradient_is_n_times_the_derivative_of_the_squared_error(activation, neurons, dimension):
    problem = IsotropicGaussians(dimension, 0.5, activation)
    weights = weights_of(neurons, dimension)
    inputs, targets = problem.samples(0, "gradient", 0, 0, 5)
    h = 1e-6
    for x, y in zip(inputs, targets, strict=True):

        def loss(w, x=x, y=y):
            return (y - problem.network(w, x[None, :])[0]) ** 2

        expected = np.empty_like(weights)
        for index in np.ndindex(*weights.shape):
            shift = np.zeros_like(weights)
            shift[index] = h
            expected[index] = neurons * (loss(weights + shift) - loss(weights - shift)) / (2 * h)
        # Rounding: N eps loss / h with a loss below 100; no preactivation is within h of a knot.
        np.testing.assert_allclose(problem.sample_gradient(weights, x, y), expected, rtol=0, atol=2e-7)


def test_sample_gradient_of_one_neuron_is_the_one_computed_by_hand():
    problem = IsotropicGaussians(2, 0.5, NONMONOTONE)
    # <w, x> = 0.25: sigma = -3.25, slope -3; -2 (1 + 3.25) (-3) x = 25.5 x.
    gradient = problem.sample_gradient(np.array([[0.25, 0.0]]), np.array([1.0, 2.0]), 1.0)
    np.testing.assert_allclose(gradient, [[25.5, 51.0]], rtol=1e-15)


# -- potentials and risk -------------------------------------------------------------------------------------


@several_activations
def test_potential_agrees_with_monte_carlo(activation):
    problem = IsotropicGaussians(5, 0.5, activation)
    x, y = problem.samples(0, "potential", 0, 0, 100_000)
    for norm in (0.2, 1.0, 2.5):
        w = np.full(5, norm / math.sqrt(5))
        values = -y * activation(x @ w)
        error = values.std() / math.sqrt(values.size)
        assert abs(problem.potential(np.array([norm]))[0] - values.mean()) < 4 * error


@several_activations
def test_interaction_agrees_with_monte_carlo(activation):
    problem = IsotropicGaussians(4, 0.5, activation)
    x, _ = problem.samples(0, "interaction", 0, 0, 200_000)
    first = np.array([0.9, 0, 0, 0])
    for c in (-0.7, 0.2, 0.95):
        second = 1.7 * np.array([c, math.sqrt(1 - c * c), 0, 0])
        values = activation(x @ first) * activation(x @ second)
        error = values.std() / math.sqrt(values.size)
        assert abs(float(problem.interaction(0.9, 1.7, c)) - values.mean()) < 4 * error


@several_activations
@pytest.mark.parametrize(("neurons", "dimension"), [(1, 3), (20, 5), (100, 40)])
def test_risk_agrees_with_monte_carlo(activation, neurons, dimension):
    problem = IsotropicGaussians(dimension, 0.5, activation)
    weights = weights_of(neurons, dimension)
    x, y = problem.samples(0, "risk", 0, 0, 100_000)
    losses = (y - problem.network(weights, x)) ** 2
    error = losses.std() / math.sqrt(losses.size)
    assert abs(problem.risk(weights) - losses.mean()) < 4 * error


@pytest.mark.parametrize("activation", [MONOTONE, NONMONOTONE], ids=["monotone", "nonmonotone"])
def test_risk_agrees_with_numerical_integration_over_all_pairs(activation):
    problem = IsotropicGaussians(2, 0.5, activation)
    weights = np.array([[0.9, 0.3], [-0.4, 1.6], [2.0, 0.5]])
    pairs = np.mean(
        [
            0.5 * sum(pair_by_integration(activation, tau * a, tau * b) for tau in (1.5, 0.5))
            for a in weights
            for b in weights
        ]
    )
    norms = np.linalg.norm(weights, axis=1)
    potential = np.mean(
        [
            -0.5 * sum(
                y * integrate.quad(
                    lambda g, s=tau * r: float(activation(s * g)) * stats.norm.pdf(g), -10, 10, limit=500,
                    points=[k / (tau * r) for k in activation.knots], epsabs=1e-10,
                )[0]
                for y, tau in ((1, 1.5), (-1, 0.5))
            )
            for r in norms
        ]
    )  # fmt: skip
    # The series is cut at 1e-8, quad is asked for 1e-9 per piece.
    assert problem.risk(weights) == pytest.approx(1 + 2 * potential + pairs, rel=0, abs=5e-8)


def test_risk_of_one_rectifier_is_a_parabola_in_the_norm():
    # 1 - 2 Delta r / sqrt(2 pi) + (1 + Delta^2) r^2 / 2.
    problem = IsotropicGaussians(3, 0.4, RELU)
    for r in (0.0, 0.5, 2.0):
        expected = 1 - 0.8 * r / math.sqrt(2 * math.pi) + 1.16 * r**2 / 2
        assert problem.risk(np.array([[0.0, r, 0.0]])) == pytest.approx(expected, rel=0, abs=1e-13)


@pytest.mark.parametrize("activation", [MONOTONE, NONMONOTONE], ids=["monotone", "nonmonotone"])
@pytest.mark.parametrize("neurons", [1, 2, 5])
def test_risk_of_neurons_at_the_origin_is_seven_and_a_quarter(activation, neurons):
    # Every prediction is sigma(0) = -2.5: (3.5^2 + 1.5^2) / 2.
    assert IsotropicGaussians(10, 0.5, activation).risk(np.zeros((neurons, 10))) == pytest.approx(7.25, abs=1e-12)


@several_activations
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.02, math.pi - 1e-4, math.pi])
def test_risk_of_nearly_parallel_neurons_is_continuous_and_correct(activation, angle):
    problem = IsotropicGaussians(2, 0.5, activation)
    weights = np.array([[0.9, 0.0], [1.7 * math.cos(angle), 1.7 * math.sin(angle)]])
    # Midpoint rule in polar coordinates: the error of a kink is of order (9/3000)^2 and (2 pi/1500)^2.
    radius = (np.arange(3000) + 0.5) * 9 / 3000
    phi = (np.arange(1500) + 0.5) * math.pi / 750
    density = radius * np.exp(-(radius**2) / 2) * 9 / 3000
    expected = 0.0
    for y, tau in ((1, 1.5), (-1, 0.5)):
        first = activation(tau * 0.9 * np.multiply.outer(radius, np.cos(phi)))
        second = activation(tau * 1.7 * np.multiply.outer(radius, np.cos(phi - angle)))
        expected += 0.5 * density @ ((y - (first + second) / 2) ** 2).mean(axis=1)
    assert problem.risk(weights) == pytest.approx(expected, rel=0, abs=5e-5)


@several_activations
def test_risk_of_duplicated_neurons_is_that_of_the_originals(activation):
    problem = IsotropicGaussians(6, 0.5, activation)
    weights = weights_of(5, 6)
    double = np.concatenate([weights, weights])
    # Parallel pairs go through a quadrature accurate to 1e-6.
    assert problem.risk(double) == pytest.approx(problem.risk(weights), rel=0, abs=2e-6)


@several_activations
def test_risk_does_not_change_under_rotations_and_permutations(activation):
    problem = IsotropicGaussians(6, 0.5, activation)
    weights = weights_of(9, 6)
    rotation = stats.ortho_group.rvs(6, random_state=1)
    # The series is cut at 1e-8 per pair, at the same place up to rounding.
    for other in (weights @ rotation, weights[::-1]):
        assert problem.risk(other) == pytest.approx(problem.risk(weights), rel=0, abs=1e-8)


def test_mean_risk_of_a_finite_network_exceeds_the_limit_by_the_pair_bracket_over_n():
    problem = IsotropicGaussians(40, 0.8, MONOTONE)
    law = RadialLaw("gaussian", 0.8)
    norms = law.quantile((np.arange(4000) + 0.5) / 4000, 40)
    limit = radial_potentials(problem).risk(norms, np.full(4000, 1 / 4000))
    excess = np.array([problem.risk(law.sample(50, 40, 0, "offset", n)) for n in range(200)]) - limit
    error = excess.std() / math.sqrt(excess.size)
    assert abs(excess.mean() - 7.412 / 50) < 4 * error
    assert error < 7.412 / 50 / 10  # the statement has teeth


@pytest.mark.parametrize(
    ("activation", "dimension", "separation", "scale", "printed", "digits"),
    [
        (MONOTONE, 40, 0.8, 0.8, 7.412, 5e-4),
        (NONMONOTONE, 320, 0.5, 0.1, 0.0381, 5e-5),
        (NONMONOTONE, 320, 0.5, 0.4, 1.5836, 5e-5),
    ],
)
def test_bracket_of_the_finite_width_offset_has_the_printed_value(
    activation, dimension, separation, scale, printed, digits
):
    # int U(w, w) rho(dw) - int int U rho rho at the Gaussian law of scale kappa.
    problem = IsotropicGaussians(dimension, separation, activation)
    r = RadialLaw("gaussian", scale).quantile((np.arange(20_000) + 0.5) / 20_000, dimension)
    mass = np.full(r.size, 1 / r.size)
    diagonal = sum(0.5 * activation.gaussian_mean_square(tau * r) for tau in problem.scales).mean()
    potentials = radial_potentials(problem)
    pairs = potentials.weights @ potentials.predictions(r, mass) ** 2
    # Quantile midpoints are off by about 1/20 000 times the spread of the integrand.
    assert diagonal - pairs == pytest.approx(printed, rel=0, abs=digits + 1e-4 * printed)


# -- constants of the origin ---------------------------------------------------------------------------------


def test_conical_slope_of_the_nonmonotone_activation_is_nine_over_the_root_of_two_pi():
    # (7/2 * 3/2 + 3/2 * 1/2) / 2 = 3, times the slope jump 3, times E max(G, 0) = 1/sqrt(2 pi).
    problem = IsotropicGaussians(320, 0.5, NONMONOTONE)
    assert problem.conical_slope() == pytest.approx(9 / math.sqrt(2 * math.pi), rel=1e-14)


@pytest.mark.parametrize("activation", [NONMONOTONE, RELU, TANH], ids=["nonmonotone", "relu", "tanh"])
@pytest.mark.parametrize("dimension", [40, 320])
def test_conical_slope_is_the_slope_of_the_first_variation_at_the_origin(activation, dimension):
    problem = IsotropicGaussians(dimension, 0.5, activation)
    potentials = radial_potentials(problem)
    h = 1e-5
    psi = potentials.first_variation(np.array([0.0, h, 2 * h]), np.zeros(1), np.ones(1))
    one_sided = (4 * psi[1] - psi[2] - 3 * psi[0]) / (2 * h)
    # Error h^2 psi''', and rounding eps psi / h of about 1e-10.
    assert problem.conical_slope() == pytest.approx(one_sided, rel=1e-6, abs=1e-8)


def test_noise_floor_is_the_balance_of_drift_and_noise_measured_on_samples():
    problem = IsotropicGaussians(40, 0.5, NONMONOTONE)
    x, y = problem.samples(0, "floor", 0, 0, 20_000)
    w = np.zeros((1, 40))
    w[0, 0] = 1e-9  # both sides of the knot, no change of the prediction
    squares = np.array([(problem.sample_gradient(w, a, b) ** 2).sum() for a, b in zip(x, y, strict=True)])
    # Balance in the square of the norm: 2 r * 2 eps psi'(0+) = eps^2 E |gradient|^2.
    measured = 1e-4 * squares.mean() / (4 * problem.conical_slope())
    error = squares.std() / math.sqrt(squares.size) / squares.mean()
    assert problem.noise_floor(1e-4) == pytest.approx(measured, rel=4 * error)
    assert error < 0.03
    # Injected noise adds 2 eps T d to the square.
    hot = measured + 2 * 1e-4 * 0.01 * 40 / (4 * 1e-4 * problem.conical_slope())
    assert problem.noise_floor(1e-4, temperature=0.01) == pytest.approx(hot, rel=4 * error)


def test_noisy_sgd_hovers_at_the_noise_floor():
    problem = IsotropicGaussians(80, 0.5, NONMONOTONE)
    step, temperature = 1e-5, 1e-3
    weights = np.random.default_rng(0).standard_normal((64, 80)) * 0.05 / math.sqrt(80)
    walk = trajectory(
        langevin, langevin.Hyperparameters(temperature), problem, weights.astype(np.float32),
        schedule=Schedule(1.0, 0.0), step_size=step, stops=list(range(4000, 20001, 1000)), root=0, experiment="floor",
        replicate=0,
    )  # fmt: skip
    norms = [np.linalg.norm(one, axis=1).mean() for one in walk]
    assert problem.noise_floor(step, temperature) == pytest.approx(np.mean(norms), rel=0.1)
    assert problem.noise_floor(step) < 0.6 * np.mean(norms)  # without the injected noise it would be too low


def test_noise_floor_is_proportional_to_step_size_and_dimension():
    # 9/2 * (49/4 * 9/4 + 9/4 * 1/4)/2 = 1012.5/16 per dimension, over 9/sqrt(2 pi).
    expected = 1012.5 / 16 / (9 / math.sqrt(2 * math.pi))
    for step, dimension in ((1e-5, 320), (1e-6, 320), (1e-5, 40)):
        problem = IsotropicGaussians(dimension, 0.5, NONMONOTONE)
        assert problem.noise_floor(step) == pytest.approx(expected * step * dimension, rel=1e-13)
    # SGD was seen to hover at 0.0573 at step 1e-5 in dimension 320; the balance is good to a few per cent.
    assert IsotropicGaussians(320, 0.5, NONMONOTONE).noise_floor(1e-5) == pytest.approx(0.0573, rel=0.04)


def test_there_is_no_noise_floor_where_the_origin_does_not_attract():
    assert IsotropicGaussians(320, 0.5, MONOTONE).conical_slope() == 0
    assert math.isnan(IsotropicGaussians(320, 0.5, MONOTONE).noise_floor(1e-5))
    assert IsotropicGaussians(320, 0.5, RELU).conical_slope() < 0  # a rectifier leaves the origin
    assert math.isnan(IsotropicGaussians(320, 0.5, RELU).noise_floor(1e-5))


# -- initial laws --------------------------------------------------------------------------------------------


def test_gaussian_weights_have_the_stated_moments():
    weights = RadialLaw("gaussian", 0.8).sample(5000, 40, 0, "law", 0)
    squares = (weights**2).sum(axis=1)
    assert weights.shape == (5000, 40)
    # |w|^2 has mean kappa^2 and variance 2 kappa^4 / d; four standard errors.
    assert squares.mean() == pytest.approx(0.64, abs=4 * 0.64 * math.sqrt(2 / 40 / 5000))
    assert np.abs(weights.mean(axis=0)).max() < 5 * 0.8 / math.sqrt(40 * 5000)
    assert stats.kstest(weights.ravel() * math.sqrt(40) / 0.8, "norm").pvalue > 1e-3


def test_shell_weights_have_equal_norms_and_uniform_directions():
    weights = RadialLaw("shell", 0.7).sample(20_000, 3, 0, "law", 0)
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 0.7, rtol=1e-14)
    # In three dimensions each coordinate of a direction is uniform (Archimedes).
    for column in weights.T:
        assert stats.kstest(column / 0.7, "uniform", args=(-1, 2)).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["gaussian", "shell"])
def test_more_neurons_keep_the_weights_of_the_first_ones(kind):
    law = RadialLaw(kind, 0.8)
    assert np.array_equal(law.sample(30, 7, 5, "law", 2)[:11], law.sample(11, 7, 5, "law", 2))


def test_weights_depend_on_root_experiment_and_replicate_and_on_their_own_stream():
    law = RadialLaw("gaussian", 1.0)
    draws = [law.sample(3, 4, *place) for place in [(0, "a", 0), (0, "a", 1), (1, "a", 0), (0, "b", 0)]]
    assert len({draw.tobytes() for draw in draws}) == 4
    rng = np.random.default_rng(seed_sequence(0, "a", 0, INITIAL_WEIGHTS))
    assert np.array_equal(draws[0], rng.standard_normal((3, 4)) / 2)


def test_mean_and_deviation_of_the_norm_are_those_of_the_chi_law():
    law = RadialLaw("gaussian", 0.8)
    mean = 0.8 / math.sqrt(40) * math.sqrt(2) * math.exp(math.lgamma(20.5) - math.lgamma(20))
    deviation = math.sqrt(0.64 - mean**2)
    assert mean == pytest.approx(0.795, abs=5e-4)  # printed to three digits, as is the deviation 0.089
    assert law.deviation(40) == pytest.approx(deviation, rel=1e-10)
    assert law.deviation(40) == pytest.approx(0.089, abs=5e-4)
    norms = np.linalg.norm(law.sample(5000, 40, 0, "chi", 0), axis=1)
    assert norms.mean() == pytest.approx(mean, abs=4 * deviation / math.sqrt(5000))
    assert RadialLaw("shell", 0.8).deviation(40) == 0.0


@pytest.mark.parametrize("dimension", [2, 40, 640])
def test_distribution_is_the_inverse_of_the_quantile(dimension):
    law = RadialLaw("gaussian", 0.8)
    p = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 0.9999])
    np.testing.assert_allclose(law.distribution(law.quantile(p, dimension), dimension), p, rtol=1e-10)


def test_norm_in_two_dimensions_has_the_rayleigh_law():
    law = RadialLaw("gaussian", math.sqrt(2))  # unit variance per coordinate
    r = np.array([0.0, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(law.distribution(r, 2), 1 - np.exp(-(r**2) / 2), rtol=1e-13)
    np.testing.assert_allclose(law.quantile(1 - np.exp(-(r**2) / 2), 2), r, rtol=1e-13, atol=1e-13)


def test_quantiles_are_those_of_the_sampled_norms():
    law = RadialLaw("gaussian", 0.4)
    norms = np.linalg.norm(law.sample(5000, 20, 0, "quantile", 0), axis=1)
    assert stats.kstest(norms, lambda r: law.distribution(r, 20)).pvalue > 1e-3


def test_norms_of_a_shell_and_of_infinite_dimension_are_certain():
    p = np.array([0.1, 0.9])
    assert RadialLaw("shell", 0.7).quantile(p, 40).tolist() == [0.7, 0.7]
    assert RadialLaw("gaussian", 0.7).quantile(p, None).tolist() == [0.7, 0.7]
    assert RadialLaw("shell", 0.7).distribution([0.69, 0.7, 0.71], 40).tolist() == [0.0, 1.0, 1.0]


def test_an_unknown_initial_law_is_refused_by_name():
    with pytest.raises(ValueError, match="'uniform' is unknown; known: gaussian, shell"):
        RadialLaw("uniform", 1.0)
