"""The separable radial potentials against series, angle averages, differences and printed values."""

import math

import numpy as np
import pytest
from conftest import SPHERE_THRESHOLDS
from scipy import optimize

from meanfield.kernels import characteristics as kernel
from meanfield.limits.potentials import (
    RadialPotentials,
    TabulatedDrift,
    _quintic,
    _tabulate,
    norm_rule,
    radial_potentials,
)
from meanfield.problems.activations import PiecewiseLinear, Smooth, direction_rule
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

# The two activations of Mei, Montanari & Nguyen (2018).
MONOTONE = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
NONMONOTONE = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
RELU = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)
TANH = Smooth("tanh", amplitude=2.0, gain=1.5, shift=0.4, offset=-0.3)
ACTIVATIONS = {"monotone": MONOTONE, "nonmonotone": NONMONOTONE, "relu": RELU, "tanh": TANH}

several_activations = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())

ONE = np.ones(1)
NORMS = np.array([0.0, 0.1, 0.4, 0.9, 1.7, 3.1, 8.0])


def series_pair(activation, scales, dimension, r1, r2, order=60):
    """u_d(r1, r2) from Hermite coefficients and the even moments (n - 1)!! / (d (d + 2) ... (d + n - 2))."""
    total = np.zeros(np.broadcast_shapes(np.shape(r1), np.shape(r2)))
    for tau in scales:
        first = activation.hermite(tau * np.asarray(r1, float), order)
        second = activation.hermite(tau * np.asarray(r2, float), order)
        moment = 1.0
        for n in range(0, order + 1, 2):
            total += 0.5 * moment * first[n] * second[n]
            moment *= (n + 1) / (dimension + n)
    return total


def best_shell(potentials):
    """Norm and risk of the best law with a single norm."""
    grid = np.arange(0.5, 30.0, 0.05)
    risks = [potentials.risk(np.array([r]), ONE) for r in grid]
    n = int(np.argmin(risks))
    found = optimize.minimize_scalar(
        lambda r: potentials.risk(np.array([r]), ONE),
        bounds=(grid[n - 1], grid[n + 1]), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    return found.x, found.fun


def made(dimension, separation, activation):
    """Potentials of a dimension, or of the limit if it is None."""
    problem = IsotropicGaussians(dimension or 40, separation, activation)
    return radial_potentials(problem, infinite=dimension is None)


# -- the rule for the norm -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [2, 3, 20, 40, 320, 640, 10_000])
def test_norm_rule_has_the_even_moments_of_a_normal_vector(dimension):
    norms, weights = norm_rule(dimension, 16)
    d = dimension
    moments = [1, d, d * (d + 2), d * (d + 2) * (d + 4)]
    for n, moment in enumerate(moments):
        # Gauss quadrature in the square of the norm: exact up to rounding.
        assert weights @ norms ** (2 * n) == pytest.approx(moment, rel=1e-11)


def test_norm_rule_with_two_nodes_in_the_plane_is_the_one_computed_by_hand():
    # Half the squared norm is exponential: Gauss-Laguerre nodes 2 -+ sqrt 2, weights (2 +- sqrt 2) / 4.
    norms, weights = norm_rule(2, 2)
    root = math.sqrt(2)
    np.testing.assert_allclose(norms**2 / 2, [2 - root, 2 + root], rtol=1e-14)
    np.testing.assert_allclose(weights, [(2 + root) / 4, (2 - root) / 4], rtol=1e-13)


def test_mean_norm_in_forty_dimensions_is_that_of_the_chi_law():
    norms, weights = norm_rule(40, 32)
    expected = math.sqrt(2) * math.exp(math.lgamma(20.5) - math.lgamma(20))
    assert weights @ norms == pytest.approx(expected, rel=1e-12)


# -- single and pair potential -------------------------------------------------------------------------------


@several_activations
@pytest.mark.parametrize(("dimension", "tolerance"), [(20, 1e-8), (40, 1e-8), (320, 1e-8), (640, 1e-8)])
def test_single_potential_is_the_exact_one_of_the_problem(activation, dimension, tolerance):
    potentials = made(dimension, 0.5, activation)
    # v is the same in every dimension. The fixed number of direction nodes of smooth activations limits them
    # to moderate norms in high dimension; piecewise-linear ones are exact but for the norm rule.
    r = NORMS[NORMS < 4] if activation is TANH else NORMS
    np.testing.assert_allclose(potentials.single(r), potentials.problem.potential(r), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("activation", "dimension", "printed"),
    [
        (NONMONOTONE, 10, 1.991987),
        (NONMONOTONE, 40, 1.872202),
        (MONOTONE, 10, 1.351112),
        (MONOTONE, 40, 1.243544),
    ],
)
def test_pair_potential_at_separation_one_half_has_the_printed_value(activation, dimension, printed):
    pair = made(dimension, 0.5, activation).pair(np.array([0.9]), np.array([1.7]))
    assert pair[0] == pytest.approx(printed, rel=0, abs=6e-7)  # printed to 6 decimals


@several_activations
@pytest.mark.parametrize("dimension", [20, 40, 320])
def test_pair_potential_is_the_sum_of_its_hermite_series(activation, dimension):
    potentials = made(dimension, 0.5, activation)
    r1, r2 = (grid.ravel() for grid in np.meshgrid(NORMS[:-1], NORMS[:-1]))
    expected = series_pair(activation, (1.5, 0.5), dimension, r1, r2)
    # M_60 < 1e-15 in 20 dimensions; the number of nodes is chosen for 1e-9 of u, which reaches 30.
    np.testing.assert_allclose(potentials.pair(r1, r2), expected, rtol=0, atol=3e-8)


@several_activations
@pytest.mark.parametrize("dimension", [10, 40])
def test_pair_potential_is_the_interaction_averaged_over_angles(activation, dimension):
    potentials = made(dimension, 0.8, activation)
    cosine, weights = direction_rule(dimension, 40)
    for r1, r2 in ((0.9, 1.7), (0.3, 0.3)):
        expected = weights @ potentials.problem.interaction(r1, r2, cosine)
        # Forty nodes resolve the interaction, which is smooth inside (-1, 1).
        assert potentials.pair(np.array([r1]), np.array([r2]))[0] == pytest.approx(expected, rel=0, abs=1e-7)


@several_activations
def test_pair_potential_of_the_limit_is_the_product_of_gaussian_means(activation):
    potentials = made(None, 0.5, activation)
    q = activation.gaussian_mean
    expected = 0.5 * (q(1.5 * 0.9) * q(1.5 * 1.7) + q(0.5 * 0.9) * q(0.5 * 1.7))
    assert potentials.pair(np.array([0.9]), np.array([1.7]))[0] == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(potentials.single(NORMS), potentials.problem.potential(NORMS), atol=1e-13)


def test_rectifier_has_polynomial_potentials():
    # v(r) = -Delta r / sqrt(2 pi); u(r, s) = r s d (E c_+)^2 (1 + Delta^2), (E c_+)^2 by the gamma function.
    potentials = made(40, 0.8, RELU)
    positive = 0.5 * math.exp(math.lgamma(20) - math.lgamma(20.5)) / math.sqrt(math.pi)
    r, s = np.array([0.5, 2.0]), np.array([1.0, 3.0])
    # The number of nodes is chosen for 1e-9 of the largest u; E |x| converges slower than E |x|^2, which is exact.
    np.testing.assert_allclose(potentials.single(r), -0.8 * r / math.sqrt(2 * math.pi), rtol=1e-8)
    np.testing.assert_allclose(potentials.pair(r, s), r * s * 40 * positive**2 * 1.64, rtol=1e-11)


@several_activations
def test_potentials_approach_the_limit_like_one_over_the_dimension(activation):
    r, s = np.array([0.9]), np.array([1.7])
    limit = made(None, 0.5, activation).pair(r, s)[0]
    gaps = [made(d, 0.5, activation).pair(r, s)[0] - limit for d in (160, 320, 640)]
    # The next term is of order 1/d^2: one half up to a per cent or so.
    assert gaps[1] / gaps[0] == pytest.approx(0.5, abs=0.01)
    assert gaps[2] / gaps[1] == pytest.approx(0.5, abs=0.01)


@several_activations
@pytest.mark.parametrize("dimension", [2, 3, 40, 320, 640, None])
def test_everything_is_finite_in_every_dimension_up_to_extreme_norms(activation, dimension):
    potentials = made(dimension, 0.5, activation)
    r = np.array([0.0, 1e-300, 1e-12, 1e-3, 1.0, 30.0, 1e4])
    mass = np.full(r.size, 1 / r.size)
    assert np.isfinite(potentials.features(r)).all()
    assert np.isfinite(potentials.feature_derivatives(r)).all()
    assert np.isfinite(potentials.risk(r, mass))
    assert np.isfinite(potentials.drift(r, r, mass)).all()
    assert potentials.weights.sum() == pytest.approx(1, abs=1e-12)
    assert np.isfinite(potentials.error)


@pytest.mark.parametrize(("dimension", "error"), [(2, 0.02), (3, 2e-3), (20, 1e-8), (320, 1e-8)])
def test_quadrature_error_is_reported_honestly(dimension, error):
    potentials = made(dimension, 0.5, NONMONOTONE)
    assert potentials.error < error
    r = np.array([0.9, 2.0, 5.0])
    # Twice as many nodes again, by hand.
    norms, weights = norm_rule(dimension, 1500)
    problem = potentials.problem
    fine = RadialPotentials(
        problem, False, np.concatenate([1.5 * norms, 0.5 * norms]), np.tile(weights, 2) / 2,
        np.repeat([1.0, -1.0], 1500), 0.0,
    )  # fmt: skip
    gap = np.abs(potentials.pair(r, r[::-1]) - fine.pair(r, r[::-1])).max()
    assert gap <= 1.5 * potentials.error + 1e-10


@several_activations
def test_features_at_the_origin_are_the_value_there(activation):
    features = made(40, 0.5, activation).features(np.zeros(1))
    np.testing.assert_allclose(features, activation(0.0), rtol=0, atol=1e-13)


# -- derivatives ---------------------------------------------------------------------------------------------


@several_activations
@pytest.mark.parametrize("dimension", [3, 40, None])
def test_drift_is_minus_twice_the_slope_of_the_first_variation(activation, dimension):
    potentials = made(dimension, 0.5, activation)
    r, mass = np.array([0.4, 1.1, 2.3]), np.array([0.2, 0.5, 0.3])
    at = np.array([0.15, 0.6, 1.3, 2.9])
    h = 1e-5
    slope = (potentials.first_variation(at + h, r, mass) - potentials.first_variation(at - h, r, mass)) / (2 * h)
    # h^2 psi'''/6 and rounding eps psi / h, each about 1e-9; in d = 3 psi'' jumps at every node.
    tolerance = 1e-4 if dimension == 3 else 2e-8
    np.testing.assert_allclose(potentials.drift(at, r, mass), -2 * slope, rtol=0, atol=tolerance)


@several_activations
@pytest.mark.parametrize("dimension", [40, None])
def test_first_variation_is_half_the_derivative_of_the_risk_towards_an_atom(activation, dimension):
    potentials = made(dimension, 0.5, activation)
    r, mass = np.array([0.4, 1.1, 2.3]), np.array([0.2, 0.5, 0.3])
    for at in (0.0, 0.7, 3.0):

        def risk(weight, at=at):
            return potentials.risk(np.append(r, at), np.append(mass * (1 - weight), weight))

        slope = (risk(1e-4) - risk(-1e-4)) / 2e-4  # exact: the risk is a parabola in the weight
        psi = potentials.first_variation(np.array([at]), r, mass)[0]
        mean = mass @ potentials.first_variation(r, r, mass)
        assert 2 * (psi - mean) == pytest.approx(slope, rel=0, abs=1e-9)


@several_activations
def test_risk_is_one_plus_twice_the_single_plus_the_pair_potential(activation):
    potentials = made(40, 0.5, activation)
    r, mass = np.array([0.4, 1.1, 2.3]), np.array([0.2, 0.5, 0.3])
    pairs = sum(
        a * b * potentials.pair(np.array([x]), np.array([y]))[0]
        for a, x in zip(mass, r, strict=True)
        for b, y in zip(mass, r, strict=True)
    )
    expected = 1 + 2 * mass @ potentials.single(r) + pairs
    assert potentials.risk(r, mass) == pytest.approx(expected, rel=0, abs=1e-12)


def test_risk_of_the_origin_is_seven_and_a_quarter():
    for dimension in (2, 40, 320, None):
        # ((1 + 2.5)^2 + (1 - 2.5)^2) / 2.
        assert made(dimension, 0.5, NONMONOTONE).risk(np.zeros(1), ONE) == pytest.approx(7.25, abs=1e-11)


def test_risk_of_the_law_is_the_limit_of_the_risk_of_wide_networks():
    problem = IsotropicGaussians(40, 0.8, MONOTONE)
    law = RadialLaw("gaussian", 0.8)
    r = law.quantile((np.arange(4000) + 0.5) / 4000, 40)
    limit = radial_potentials(problem).risk(r, np.full(4000, 1 / 4000))
    wide = problem.risk(law.sample(1500, 40, 0, "wide", 0))
    # 7.412/1500 above on average, with a standard deviation of about 0.012 (measured 0.35 / sqrt(N)).
    assert wide == pytest.approx(limit + 7.412 / 1500, abs=0.04)
    assert limit == pytest.approx(1.7045, abs=1e-4)


# -- statics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dimension", "printed"),
    [
        (20, [0.74312, 0.45276, 0.24512, 0.12306, 0.09021, 0.15083, 0.30755, 0.55324, 0.85952]),
        (40, [0.68405, 0.39514, 0.19052, 0.07288, 0.04551, 0.11204, 0.27401, 0.52267, 0.82914]),
        (320, [0.63552, 0.34770, 0.14547, 0.03133, 0.00830, 0.07950, 0.24556, 0.49652, 0.80315]),
        (None, [0.62882, 0.34115, 0.13924, 0.02557]),
    ],
)
def test_risk_of_the_best_shell_has_the_printed_values(dimension, printed):
    found = [best_shell(made(dimension, 0.1 * (n + 1), MONOTONE))[1] for n in range(len(printed))]
    np.testing.assert_allclose(found, printed, rtol=0, atol=6e-6)  # five decimals, half a unit and rounding


def test_norm_of_the_best_shell_in_forty_dimensions_has_the_printed_values():
    found = [best_shell(made(40, 0.1 * n, MONOTONE))[0] for n in range(1, 7)]
    np.testing.assert_allclose(found, [1.4478, 1.4678, 1.5247, 1.6290, 1.8053, 2.1122], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("dimension", "threshold", "norm", "risk"), SPHERE_THRESHOLDS)
def test_a_single_shell_stops_being_optimal_at_the_printed_separation(dimension, threshold, norm, risk):
    potentials = made(dimension, threshold, MONOTONE)
    r, found = best_shell(potentials)
    assert r == pytest.approx(norm, abs=6e-5)
    # Half a unit of the printed risk and of the printed separation, at which the risk falls with slope one.
    assert found == pytest.approx(risk, abs=1.2e-5)
    far, here = potentials.first_variation(np.array([1e8, r]), np.array([r]), ONE)
    # The threshold is printed to 5 decimals and the gap falls by about 0.9 per unit of separation.
    assert far - here == pytest.approx(0, abs=6e-6)


def test_shell_of_the_nonmonotone_activation_rests_where_printed():
    # The one-shell drift vanishes at 0.1963 (repelling) and at 2.0882 (attracting) in d = 320, risk 0.01431.
    potentials = made(320, 0.5, NONMONOTONE)

    def drift(r):
        return potentials.drift(np.array([r]), np.array([r]), ONE)[0]

    low, high = optimize.brentq(drift, 0.1, 0.5), optimize.brentq(drift, 1.5, 3.0)
    assert low == pytest.approx(0.1963, abs=6e-5)
    assert high == pytest.approx(2.0882, abs=6e-5)
    assert drift(low - 0.01) < 0 < drift(low + 0.01)
    assert potentials.risk(np.array([high]), ONE) == pytest.approx(0.01431, abs=1e-5)


def test_risk_of_the_resting_shell_in_the_limit():
    norm, risk = best_shell(made(None, 0.5, NONMONOTONE))
    assert norm == pytest.approx(2.0877, abs=6e-5)
    assert risk == pytest.approx(0.00830, abs=6e-6)


# -- tables --------------------------------------------------------------------------------------------------


@several_activations
@pytest.mark.parametrize("dimension", [40, 320, None])
def test_table_agrees_with_the_closed_forms_to_ten_digits(activation, dimension):
    potentials = made(dimension, 0.5, activation)
    table = TabulatedDrift(potentials, 5.0)
    r = RadialLaw("gaussian", 1.2).quantile((np.arange(100) + 0.5) / 100, 5)
    mass = np.linspace(1, 2, 100) / 150
    for scale in (0.3, 1.0, 1.7):
        drift, risk = table(scale * r, mass)
        exact = potentials.drift(scale * r, scale * r, mass)
        # Tables and compression aim at 1e-10 of the largest slope of a feature.
        np.testing.assert_allclose(drift, exact, rtol=0, atol=1e-10 * np.abs(exact).max())
        assert risk == pytest.approx(potentials.risk(scale * r, mass), rel=0, abs=1e-10)
    assert 0 < table.error < 3e-10


def test_drift_of_the_isotropic_problem_has_a_relative_error_of_five_in_a_hundred_billion():
    potentials = made(40, 0.8, MONOTONE)
    r = RadialLaw("gaussian", 0.8).quantile((np.arange(400) + 0.5) / 400, 40)
    mass = np.full(400, 1 / 400)
    drift, risk = TabulatedDrift(potentials, 10.0)(r, mass)
    exact = potentials.drift(r, r, mass)
    np.testing.assert_allclose(drift, exact, rtol=0, atol=5e-11 * np.abs(exact).max())  # measured 3e-11
    assert risk == pytest.approx(potentials.risk(r, mass), rel=0, abs=1e-12)


@pytest.mark.parametrize(("dimension", "kept"), [(12, 48), (40, 16), (320, 16), (None, 16)])
def test_compression_keeps_the_numerical_rank_and_reports_what_it_costs(dimension, kept):
    potentials = made(dimension, 0.8, MONOTONE)
    table = TabulatedDrift(potentials, 6.0)
    assert table.arrays[0].shape[1:] == (kept // kernel.LANES, 6 * kernel.LANES)
    r = np.array([0.05, 0.3, 0.9, 2.0, 4.0])
    largest = np.sqrt(potentials.weights) @ np.abs(potentials.feature_derivatives(np.linspace(0, 6, 200))).max(axis=1)
    for atom in (0.2, 1.0, 5.0):  # laws far from each other
        at = np.append(r, atom)
        mass = np.append(np.zeros(r.size), 1.0)
        gap = np.abs(table(at, mass)[0] - potentials.drift(at, at, mass))
        # The bound is in units of the largest slope; targets and means are at most 8.5 apart.
        assert gap.max() <= 2 * 8.5 * table.error * largest


def test_quintic_is_exact_for_polynomials_of_degree_five():
    # s^5 - 2 s^2 + 1 on two intervals, in units of the interval: values and slopes at 0, 1/2, 1, 3/2, 2.
    s = np.arange(5) / 2
    rows = _quintic(s**5 - 2 * s**2 + 1, 5 * s**4 - 4 * s)
    np.testing.assert_allclose(rows[0], [1, 0, -2, 0, 0, 1], rtol=0, atol=1e-13)
    # (1 + t)^5 - 2 (1 + t)^2 + 1
    np.testing.assert_allclose(rows[1], [0, 1, 8, 10, 5, 1], rtol=0, atol=1e-12)


def test_table_of_a_function_converges_with_order_six_and_its_slope_with_five():
    errors = []
    for size in (32, 64, 128):
        rows, width, _ = _tabulate(lambda s: (np.exp(-s), -np.exp(-s)), 6.0, 1.0, [size])
        at = np.linspace(0, 6, 2001)
        value, slope = np.empty_like(at), np.empty_like(at)
        kernel.evaluate(rows, 1.0, width, at, value, slope)
        errors.append([np.abs(value - np.exp(-at)).max(), np.abs(slope + np.exp(-at)).max()])
    orders = -np.diff(np.log2(errors), axis=0)
    assert (np.abs(orders - [6, 5]) < 0.2).all(), orders


@pytest.mark.parametrize(("dimension", "activation"), [(3, NONMONOTONE), (12, MONOTONE)])
def test_error_of_a_table_covers_what_is_found_elsewhere(dimension, activation):
    # Kinks of the features in low dimension: no table is good, and it says so.
    potentials = made(dimension, 0.5, activation)
    table = TabulatedDrift(potentials, 4.0)
    r = np.linspace(0.01, 3.9, 301)
    mass = np.full(301, 1 / 301)
    gap = np.abs(table(r, mass)[0] - potentials.drift(r, r, mass)).max()
    slopes = np.sqrt(potentials.weights @ potentials.feature_derivatives(r) ** 2).max()
    # Drift is twice a mean of residuals, below 8.5, times slopes.
    assert gap <= 2 * 8.5 * table.error * slopes


def test_table_counts_negative_norms_as_zero():
    table = TabulatedDrift(made(40, 0.5, NONMONOTONE), 3.0)
    mass = np.array([0.5, 0.5])
    drift, risk = table(np.array([-0.3, 1.0]), mass)
    expected_drift, expected_risk = table(np.array([0.0, 1.0]), mass)
    assert np.array_equal(drift, expected_drift)
    assert risk == expected_risk


def test_table_at_the_origin_has_the_conical_drift():
    table = TabulatedDrift(made(320, 0.5, NONMONOTONE), 3.0)
    drift, risk = table(np.zeros(1), ONE)
    # -2 psi'(0+) = -18/sqrt(2 pi), risk 7.25.
    assert drift[0] == pytest.approx(-18 / math.sqrt(2 * math.pi), rel=1e-8)
    assert risk == pytest.approx(7.25, abs=1e-11)


def test_table_says_which_norms_it_covers_and_serves_them():
    potentials = made(40, 0.5, MONOTONE)
    table = TabulatedDrift(potentials, 3.0)
    assert table.covers(np.array([0.0, 3.0]))
    assert not table.covers(np.array([0.0, 3.0001]))
    edge = np.array([3.0])
    assert table(edge, ONE)[0][0] == pytest.approx(potentials.drift(edge, edge, ONE)[0], abs=1e-7)
