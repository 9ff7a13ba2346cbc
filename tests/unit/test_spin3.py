"""The spherical 3-spin target and its closed forms, against differences, quadrature and quasi-Monte Carlo."""

import itertools

import numpy as np
import pytest
from scipy import special

from meanfield.kernels.streams import stream_key
from meanfield.problems.spin3 import (
    GaussianUnits,
    SigmoidUnits,
    Spin3,
    bessel_series,
    sphere_samples,
    to_sphere,
)

CASES = [(2, 0.7), (3, 1.3), (5, 1.0), (10, 0.5)]


def random_case(dimension, alpha, *, normalised=True, units=6):
    problem = Spin3.random(dimension, 0, "spin3", dimension)
    kernel = GaussianUnits(dimension, alpha, normalised)
    return problem, kernel, problem.initial_units(kernel, units, 0, "spin3", 0)


def sphere_mean(test_set, values):
    """Mean of values (scrambling, point) and its standard error over the scramblings."""
    means = values.mean(axis=1)
    return means.mean(), means.std(ddof=1) / np.sqrt(len(means))


def agrees(found, expected, error, size=None):
    # Sixteen scramblings: five standard errors of a t variable with 15 degrees of freedom, p = 2e-4 a test. The error
    # is small against the size of what is measured, so that this says something.
    assert abs(found - expected) <= 5 * error
    assert error <= 0.02 * (size or abs(expected))


# -- target --------------------------------------------------------------------------------------------------


def test_target_computed_by_hand():
    # Two couplings: f = (1/2) (2 x1^2 x2 - 3 x1 x2^2) at (1, 1): -1/2; at (sqrt 2, 0): 0.
    a = np.zeros((2, 2, 2))
    a[0, 1, 0], a[1, 0, 1] = 2.0, -3.0
    problem = Spin3(a)
    np.testing.assert_allclose(problem.target(np.array([[1.0, 1.0], [np.sqrt(2), 0.0]])), [-0.5, 0], atol=1e-15)
    # Gradient (1/2) (4 x1 x2 - 3 x2^2, 2 x1^2 - 6 x1 x2) at (1, 1): (1/2, -2).
    np.testing.assert_allclose(problem.gradient(np.array([[1.0, 1.0]])), [[0.5, -2.0]], atol=1e-15)


@pytest.mark.parametrize("dimension", [2, 5, 7])
def test_target_is_the_triple_sum_and_its_polynomial(dimension):
    problem = Spin3.random(dimension, 1, "triple", 0)
    x = to_sphere(np.random.default_rng(0).standard_normal((3, dimension)))
    terms = problem.kernel_code()
    for k in range(3):
        cube = np.einsum("p,q,r->pqr", x[k], x[k], x[k])
        # d^3 products of size one.
        np.testing.assert_allclose(problem.target(x)[k], np.sum(problem.couplings * cube) / dimension, atol=1e-13)
        np.testing.assert_allclose(problem.target(x)[k], np.sum(terms * cube), atol=1e-13)
    for p, q, r in itertools.product(range(dimension), repeat=3):
        assert terms[p, q, r] == 0 or p <= q <= r


@pytest.mark.parametrize("dimension", [2, 5, 10])
def test_gradient_is_that_of_differences(dimension):
    problem = Spin3.random(dimension, 0, "gradient", 0)
    x = to_sphere(np.random.default_rng(1).standard_normal((4, dimension)))
    h = 1e-4
    for p in range(dimension):
        e = h * np.eye(dimension)[p]
        difference = (problem.target(x + e) - problem.target(x - e)) / (2 * h)
        # A cubic: the error h^2 / 6 of the third derivative is 1e-8, rounding 1e-11.
        np.testing.assert_allclose(problem.gradient(x)[:, p], difference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_parts_are_harmonics_of_degrees_one_and_three(dimension):
    problem = Spin3.random(dimension, 0, "parts", 0)
    tests = problem.test_set(0, "parts")
    linear = np.array([problem.linear_part(p) for p in tests.points])
    cubic = np.array([problem.cubic_part(p) for p in tests.points])
    for part, expected in zip((linear, cubic), problem.mean_squares, strict=True):
        agrees(*reversed_pair(sphere_mean(tests, part**2), expected))
    for j in range(dimension):
        mean, error = sphere_mean(tests, cubic * tests.points[:, :, j])
        assert abs(mean) <= 5 * error
    # Harmonic: the Laplacian of the homogeneous cubic f - |x|^2 f_1 / d vanishes; that of f is (6/d) <t, x>, that
    # of |x|^2 <b, x> is 2 (d + 2) <b, x>.
    b = 3 / (dimension + 2) * problem.trace / dimension
    np.testing.assert_allclose(6 / dimension * problem.trace, 2 * (dimension + 2) * b, atol=1e-14)


def reversed_pair(found, expected):
    mean, error = found
    return mean, expected, error


def test_mean_square_averages_to_the_dimension():
    squares = [sum(Spin3.random(5, 0, "average", k).mean_squares) for k in range(400)]
    # E over the couplings of E f^2 is d exactly.
    assert abs(np.mean(squares) - 5) <= 4 * np.std(squares) / 20
    assert np.std(squares) / 20 < 0.15


# -- kernel --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        (5, (0.048003, 0.031195, 0.0076642)),
        (10, (0.021147, 0.0089336, 0.0010618)),
        (25, (0.011011, 0.0021258, 6.4088e-5)),
    ],
)
def test_eigenvalues_are_the_tabulated_ones(dimension, expected):
    kernel = GaussianUnits(dimension, 5 / dimension, normalised=False)
    np.testing.assert_allclose(
        [kernel.eigenvalue(degree) for degree in (0, 1, 3)], expected, rtol=3e-5
    )  # digits printed
    assert GaussianUnits(dimension, 5 / dimension).eigenvalue(0) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("alpha", [0.01, 0.7, 4.0, 60.0])
@pytest.mark.parametrize("degree", [0, 1, 3])
def test_eigenvalues_are_integrals(alpha, degree):
    # d = 2: trapezoidal rule, which converges exponentially; larger d: Gegenbauer polynomials.
    angle = 2 * np.pi * np.arange(4096) / 4096
    circle = np.mean(np.cos(degree * angle) * np.exp(2 * alpha * (np.cos(angle) - 1)))
    assert GaussianUnits(2, alpha, False).eigenvalue(degree) == pytest.approx(circle, rel=1e-11, abs=1e-15)
    for d in (3, 5, 10):
        order = d / 2 - 1
        weight = special.gamma(d / 2) / (np.sqrt(np.pi) * special.gamma((d - 1) / 2))
        scale = weight / special.eval_gegenbauer(degree, order, 1.0)
        t, w = special.roots_legendre(400)
        found = scale * np.sum(
            w * special.eval_gegenbauer(degree, order, t) * np.exp(d * alpha * (t - 1)) * (1 - t * t) ** ((d - 3) / 2)
        )
        # The weight is smooth for odd d; for d = 10 its derivative of order 4 is singular at the ends.
        assert GaussianUnits(d, alpha, False).eigenvalue(degree) == pytest.approx(found, rel=1e-9, abs=1e-13)


def test_bessel_series_where_the_bessel_function_underflows():
    # 1 + q/(v+1) + q^2/(2 (v+1)(v+2)) + ... with q = k^2/4 = 25, v = 249 (d = 500): I_249(10) is about 1e-318.
    term = total = 1.0
    for m in range(1, 60):
        term *= 25 / (m * (249 + m))
        total += term
    np.testing.assert_allclose(bessel_series(249.0, np.array([10.0])), np.exp(-10) * total, rtol=1e-14)
    np.testing.assert_allclose(bessel_series(1.5, np.array([0.0])), 1.0)
    # Both sides of the switch at k = 1e-3; v = 1/2 is sinh(k)/k.
    k = np.array([0.999e-3, 1.001e-3, 3.0, 500.0])
    expected = -np.expm1(-2 * k) / (2 * k)
    np.testing.assert_allclose(bessel_series(0.5, k), expected, rtol=1e-13)


@pytest.mark.parametrize("alpha", [0.05, 0.7, 5.0])
def test_pair_average_on_the_circle_is_an_integral(alpha):
    kernel = GaussianUnits(2, alpha)
    angle = 2 * np.pi * np.arange(2048) / 2048
    x = np.sqrt(2) * np.column_stack([np.cos(angle), np.sin(angle)])
    turn = np.linspace(0, np.pi, 9)
    z = np.sqrt(2) * np.column_stack([np.cos(turn), np.sin(turn)])
    expected = kernel(x, z).T @ kernel(x, z[:1])[:, 0] / len(x)
    np.testing.assert_allclose(kernel.pair_average(z @ z[0]), expected, rtol=1e-12)


@pytest.mark.parametrize(("dimension", "alpha"), [*CASES, (25, 0.2), (500, 0.01), (2, 100.0)])
def test_pair_series_is_the_closed_form(dimension, alpha):
    kernel = GaussianUnits(dimension, alpha)
    product = np.linspace(-dimension, dimension, 41)
    t = (1 + product / dimension) / 2
    closed = kernel.pair_average(product)
    series = np.polynomial.polynomial.polyval(t, kernel.pair_series)
    # Logarithms of size up to 1000 are exponentiated in both.
    np.testing.assert_allclose(series, closed, rtol=1e-12)
    slope = np.polynomial.polynomial.polyval(t, np.polynomial.polynomial.polyder(kernel.pair_series)) / (2 * dimension)
    np.testing.assert_allclose(slope, kernel.pair_average(product, 1), rtol=1e-12)
    # The kernels take shorter polynomials, good to rounding of the largest value.
    for table, exact in zip(kernel.pair_tables, (closed, kernel.pair_average(product, 1)), strict=True):
        assert len(table) % 8 == 0
        np.testing.assert_allclose(np.polyval(table, product / dimension), exact, rtol=0, atol=1e-12 * exact.max())


@pytest.mark.parametrize(("dimension", "alpha"), CASES)
def test_smoothed_target_and_loss_agree_with_quasi_monte_carlo(dimension, alpha):
    for normalised in (True, False):
        problem, kernel, units = random_case(dimension, alpha, normalised=normalised)
        units[:, -1] *= 3
        tests = problem.test_set(0, "loss", log2_points=14 if dimension == 10 else 12)
        for i in range(2):
            z = units[i : i + 1, :-1]
            values = np.array(
                [y * kernel(x, z)[:, 0] for x, y in zip(tests.points, tests.targets, strict=True)]
            )  # fmt: skip
            mean, error = sphere_mean(tests, values)
            first, third = problem.mean_squares
            size = np.sqrt(kernel.eigenvalue(1) ** 2 * first + kernel.eigenvalue(3) ** 2 * third)
            agrees(mean, problem.smoothed_target(kernel, z)[0], error, size)
        found, error = tests.loss(kernel, units)
        agrees(found, problem.loss(kernel, units), error)


def test_smoothed_gradient_is_tangentially_that_of_differences():
    problem, kernel, units = random_case(5, 1.0)
    z = units[:, :-1]
    direction = np.random.default_rng(0).standard_normal(z.shape)
    direction -= (np.sum(direction * z, 1) / 5)[:, None] * z
    h = 1e-5
    difference = (
        problem.smoothed_target(kernel, to_sphere(z + h * direction))
        - problem.smoothed_target(kernel, to_sphere(z - h * direction))
    ) / (2 * h)
    np.testing.assert_allclose(np.sum(problem.smoothed_gradient(kernel, z) * direction, 1), difference, atol=1e-8)


def test_kernel_norm_of_a_target_that_is_a_network():
    # A network of many units with coefficients f(y) approaches the smoothed target, in the norm of the kernel too:
    # ||f - T f||^2 = sum_l E f_l^2 (1 - lambda_l)^2 / lambda_l for the normalised kernel.
    problem, kernel, _ = random_case(5, 1.0)
    y = sphere_samples(stream_key(0, "norm", 0), 0, 4000, 5)
    units = np.column_stack([y, problem.target(y)])
    expected = sum(
        square * (1 - kernel.eigenvalue(degree)) ** 2 / kernel.eigenvalue(degree)
        for square, degree in zip(problem.mean_squares, (1, 3), strict=True)
    )
    # The Monte Carlo excess is E f^2 (k(y, y) - ...) / n, about 2 % here.
    assert 2 * problem.batch_free_objective(kernel, units) == pytest.approx(expected, rel=0.06)


# -- sigmoid units, samples, initial laws --------------------------------------------------------------------


def test_sigmoid_loss_by_hand_and_its_error_bar():
    problem = Spin3.random(5, 0, "sigmoid", 0)
    tests = problem.test_set(0, "sigmoid", log2_points=10, scramblings=8)
    # With a = b = 0 the network is c/2 everywhere; f is odd: the loss is E f^2 / 2 + c^2 / 8.
    units = np.zeros((1, 7))
    units[0, -1] = 2.0
    loss, error = tests.loss(SigmoidUnits(5), units)
    agrees(loss, sum(problem.mean_squares) / 2 + 0.5, error)
    again = problem.test_set(0, "sigmoid", log2_points=10, scramblings=8)
    assert np.array_equal(again.points, tests.points)
    assert not np.array_equal(problem.test_set(1, "sigmoid", log2_points=10, scramblings=8).points, tests.points)


def test_samples_are_uniform_on_the_sphere_and_do_not_depend_on_the_cut():
    key = stream_key(0, "uniform", 0)
    x = sphere_samples(key, 0, 20000, 5)
    np.testing.assert_allclose(np.sum(x * x, 1), 5, rtol=1e-14)
    # Covariance I; the standard error of an entry is below 1/sqrt(20000) = 0.007.
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(5), atol=0.03)
    # The square of a coordinate over d is Beta(1/2, 2): mean 1/5, fourth moment 3/35.
    assert abs(np.mean(x**4) / 25 - 3 / 35) < 0.002
    assert np.array_equal(np.vstack([sphere_samples(key, 0, 7, 5), sphere_samples(key, 7, 93, 5)]), x[:100])


def test_initial_units_are_nested_and_lie_on_the_sphere():
    problem, kernel, _ = random_case(5, 1.0)
    wide = problem.initial_units(kernel, 64, 0, "nested", 3, coefficient_scale=2.0)
    assert np.array_equal(problem.initial_units(kernel, 16, 0, "nested", 3, coefficient_scale=2.0), wide[:16])
    np.testing.assert_allclose(np.sum(wide[:, :-1] ** 2, 1), 5, rtol=1e-14)
    assert 1.3 < wide[:, -1].std() < 2.7
    assert problem.initial_units(SigmoidUnits(5), 8, 0, "nested", 0).shape == (8, 7)


def test_refusals():
    with pytest.raises(ValueError, match="cube of side"):
        Spin3(np.zeros((3, 3, 2)))
    with pytest.raises(ValueError, match="alpha > 0"):
        GaussianUnits(5, 0.0)
