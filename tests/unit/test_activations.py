"""Averages of activations against numerical integration, closed forms of the literature, printed values."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from meanfield.problems.activations import (
    PiecewiseLinear,
    Smooth,
    direction_rule,
    gaussian_rule,
    legendre_rule,
    make_activation,
    normalised_hermite,
)

# The two activations of Mei, Montanari & Nguyen (2018): monotone ramp and the one with a dip.
MONOTONE = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
NONMONOTONE = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
RELU = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)
SLANTED = PiecewiseLinear((-1.2, 0.3, 2.0), (0.5, -1.0, 0.25), left_slope=-0.5, right_slope=1.25)

PIECEWISE = {"monotone": MONOTONE, "nonmonotone": NONMONOTONE, "relu": RELU, "slanted": SLANTED}
SMOOTH = {
    "tanh": Smooth("tanh", amplitude=2.0, gain=1.5, shift=0.4, offset=-0.3),
    "logistic": Smooth("logistic", amplitude=3.0, gain=2.0, shift=-0.2, offset=0.1),
    "erf": Smooth("erf", amplitude=-1.5, gain=0.8, shift=0.7, offset=0.2),
    "softplus": Smooth("softplus", amplitude=0.7, gain=1.2, shift=0.3, offset=-1.0),
    "sine": Smooth("sine", amplitude=1.3, gain=1.7, shift=0.25, offset=0.5),
}
ALL = PIECEWISE | SMOOTH
NORMS = (0.05, 0.9, 3.0)

every_activation = pytest.mark.parametrize("activation", ALL.values(), ids=ALL.keys())
every_piecewise = pytest.mark.parametrize("activation", PIECEWISE.values(), ids=PIECEWISE.keys())

examples = settings(derandomize=True, deadline=None, max_examples=25)


@st.composite
def piecewise_linear(draw):
    gaps = draw(st.lists(st.floats(0.1, 2.0), min_size=1, max_size=4))
    knots = np.cumsum(gaps) - draw(st.floats(0.0, 4.0))
    values = draw(st.lists(st.floats(-3.0, 3.0), min_size=len(gaps), max_size=len(gaps)))
    slopes = st.floats(-2.0, 2.0)
    return PiecewiseLinear(tuple(knots), tuple(values), draw(slopes), draw(slopes))


def gaussian_average(function, knots=()):
    """E f(G) by adaptive quadrature, split at the kinks; the mass beyond 12 is below 1e-32."""
    edges = [-12.0, *sorted(k for k in knots if -12 < k < 12), 12.0]
    pieces = [
        integrate.quad(lambda g: function(g) * stats.norm.pdf(g), a, b, epsabs=1e-13, epsrel=1e-13, limit=400)[0]
        for a, b in itertools.pairwise(edges)
    ]
    return math.fsum(pieces)


def spherical_average(function, s, dimension, knots=()):
    """E f(s cos theta) with the density of theta proportional to sin^(d-2), split at the kinks."""
    kinks = sorted(math.acos(k / s) for k in knots if abs(k) < s)
    edges = [0.0, *kinks, math.pi / 2, math.pi]
    edges = sorted(edges)
    log_norm = math.lgamma(dimension / 2) - math.lgamma((dimension - 1) / 2) - 0.5 * math.log(math.pi)

    def density(theta):
        return math.exp(log_norm) * math.sin(theta) ** (dimension - 2)

    return math.fsum(
        integrate.quad(lambda th: function(s * math.cos(th)) * density(th), a, b, epsabs=1e-13, limit=400)[0]
        for a, b in itertools.pairwise(edges)
        if b > a
    )


def shifted_mean(activation, mean, deviation):
    """E sigma(mean + deviation G) of a piecewise-linear activation, from the mean of a shifted ramp."""
    knots = np.array(activation.knots)
    z = (mean - knots) / deviation
    ramps = deviation * stats.norm.pdf(z) + (mean - knots) * stats.norm.cdf(z)
    left = activation.values[0] + activation.left_slope * (mean - knots[0])
    return left + ramps @ activation.slope_changes


def knots_over(activation, t):
    return [k / t for k in getattr(activation, "knots", ())]


# -- values --------------------------------------------------------------------------------------------------


def test_values_of_the_nonmonotone_activation_are_those_read_off_its_graph():
    z = [-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0]
    # Exact: every number is a short binary fraction.
    assert NONMONOTONE(z).tolist() == [-2.5, -2.5, -3.25, -4.0, 1.75, 7.5, 7.5]


def test_slope_at_a_knot_is_the_one_on_its_left():
    z = [-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0]
    assert NONMONOTONE.derivative(z).tolist() == [0.0, 0.0, -3.0, -3.0, 11.5, 11.5, 0.0]


def test_slope_changes_of_the_nonmonotone_activation():
    assert NONMONOTONE.slope_changes.tolist() == [-3.0, 14.5, -11.5]


def test_slopes_at_zero_see_a_knot_there_and_no_other():
    assert NONMONOTONE.slopes_at_zero() == (0.0, -3.0)
    assert MONOTONE.slopes_at_zero() == (0.0, 0.0)
    assert RELU.slopes_at_zero() == (0.0, 1.0)
    left, right = SMOOTH["tanh"].slopes_at_zero()
    assert left == right == pytest.approx(2.0 * 1.5 * (1 - math.tanh(0.6) ** 2), rel=1e-14)


def test_outer_slopes_continue_to_infinity():
    assert SLANTED(-3.2) == pytest.approx(0.5 + 0.5 * 2.0, abs=1e-14)
    assert SLANTED(4.0) == pytest.approx(0.25 + 1.25 * 2.0, abs=1e-14)


@pytest.mark.parametrize(
    ("shape", "value", "slope"),
    [
        ("tanh", math.tanh(0.6), 1 / math.cosh(0.6) ** 2),
        ("logistic", 1 / (1 + math.exp(-0.6)), 0.25 / math.cosh(0.3) ** 2),
        ("erf", math.erf(0.6), 2 / math.sqrt(math.pi) * math.exp(-0.36)),
        ("softplus", math.log(1 + math.exp(0.6)), 1 / (1 + math.exp(-0.6))),
        ("sine", math.sin(0.6), math.cos(0.6)),
    ],
)
def test_smooth_activation_scales_and_shifts_its_shape(shape, value, slope):
    activation = Smooth(shape, amplitude=3.0, gain=2.0, shift=0.2, offset=-1.0)
    assert activation(0.5) == pytest.approx(-1 + 3 * value, rel=1e-14)
    assert activation.derivative(0.5) == pytest.approx(6 * slope, rel=1e-14)


@every_activation
def test_derivative_is_the_slope_of_the_value(activation):
    z = np.array([-2.3, -0.71, 0.13, 0.88, 1.77, 4.1])  # no knot within 1e-2
    h = 1e-5
    slope = (activation(z + h) - activation(z - h)) / (2 * h)
    # Central differences: h^2 f'''/6 and rounding eps/h, both below 1e-9 times the scale of f'''.
    np.testing.assert_allclose(activation.derivative(z), slope, rtol=0, atol=5e-9)


@examples
@given(piecewise_linear())
def test_piecewise_linear_activation_passes_through_its_points_and_is_continuous(activation):
    knots = np.array(activation.knots)
    # Slopes reach 60 and knots 10: a few hundred roundings of size eps.
    np.testing.assert_allclose(activation(knots), activation.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(activation(np.nextafter(knots, 99)), activation.values, rtol=0, atol=1e-12)


# -- rules ---------------------------------------------------------------------------------------------------


def test_gaussian_rule_has_the_moments_of_the_normal_law():
    nodes, weights = gaussian_rule(2049)
    moments = [weights @ nodes**n for n in range(9)]
    # Truncation at 13 leaves 13^8 exp(-84.5) < 1e-27; the rest is rounding.
    np.testing.assert_allclose(moments, [1, 0, 1, 0, 3, 0, 15, 0, 105], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dimension", [2, 3, 4, 5, 7, 13, 15, 40, 320, 640, 100_000])
def test_direction_rule_has_the_moments_of_a_uniform_direction(dimension):
    nodes, weights = direction_rule(dimension, 2049)
    d = dimension
    expected = [1, 0, 1 / d, 0, 3 / (d * (d + 2)), 0, 15 / (d * (d + 2) * (d + 4))]
    for n, moment in enumerate(expected):
        # The rule converges geometrically; each moment is compared at its own scale d^(-n/2). What is left is
        # rounding, of cos^(d-2) at d = 1e5 too, and 1e-17 of the mass beyond the range.
        assert weights @ nodes**n * d ** (n / 2) == pytest.approx(moment * d ** (n / 2), abs=2e-11)


def test_direction_rule_is_sharp_enough_for_steep_activations_of_large_neurons():
    # E tanh(s c)^2 at a gain-times-norm of 150 in d = 640, where 768 Gauss nodes were 1e-4 off.
    nodes, weights = direction_rule(640, 2049)
    fine_nodes, fine_weights = direction_rule(640, 20001)
    coarse, fine = weights @ np.tanh(150 * nodes) ** 2, fine_weights @ np.tanh(150 * fine_nodes) ** 2
    assert coarse == pytest.approx(fine, abs=1e-13)


def test_direction_rule_in_the_plane_by_hand():
    # Angles -90, -45, 0, 45 and 90 degrees, the ends with half the weight.
    nodes, weights = direction_rule(2, 5)
    np.testing.assert_allclose(nodes, [-1, -np.sqrt(0.5), 0, np.sqrt(0.5), 1], atol=1e-15)
    np.testing.assert_allclose(weights, [0.125, 0.25, 0.25, 0.25, 0.125], rtol=1e-14)


def test_hermite_polynomials_at_two_are_those_computed_by_hand():
    # He_0..He_5 at 2: 1, 2, 3, 2, -5, -18.
    expected = np.array([1, 2, 3, 2, -5, -18]) / np.sqrt([1, 1, 2, 6, 24, 120])
    np.testing.assert_allclose(normalised_hermite(np.array(2.0), 5), expected, rtol=1e-14)


def test_hermite_polynomials_are_orthonormal():
    nodes, weights = gaussian_rule(2049)
    table = normalised_hermite(nodes, 16)
    # Products of two polynomials live within 2 sqrt(2 * 16) < 13 standard deviations: only rounding is left.
    np.testing.assert_allclose((table * weights) @ table.T, np.eye(17), rtol=0, atol=1e-12)


# -- Gaussian averages ---------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("t", NORMS)
def test_hermite_coefficients_agree_with_numerical_integration(activation, t):
    order = 9
    table = activation.hermite(np.array(t), order)
    for n in range(order + 1):
        expected = gaussian_average(
            lambda g, n=n: float(activation(t * g)) * normalised_hermite(np.array(g), n)[n],
            knots_over(activation, t),
        )
        # quad is asked for 1e-13 and the trapezoidal rule converges beyond that at gain * t <= 6.
        assert table[n] == pytest.approx(expected, rel=0, abs=2e-11)


@every_activation
def test_hermite_coefficients_at_zero_norm_are_those_of_a_constant(activation):
    table = activation.hermite(np.zeros(2), 6)
    np.testing.assert_allclose(table[0], activation(0.0), rtol=0, atol=1e-15)
    np.testing.assert_allclose(table[1:], 0, rtol=0, atol=1e-14)


@every_activation
def test_hermite_coefficients_keep_the_shape_of_their_argument(activation):
    t = np.array([[0.3, 1.0, 2.0], [0.0, 0.1, 5.0]])
    table = activation.hermite(t, 4)
    assert table.shape == (5, 2, 3)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(table[(slice(None), *index)], activation.hermite(t[index], 4), atol=1e-14)


@every_activation
@pytest.mark.parametrize("t", NORMS)
def test_gaussian_mean_and_mean_square_agree_with_numerical_integration(activation, t):
    knots = knots_over(activation, t)
    mean = gaussian_average(lambda g: float(activation(t * g)), knots)
    square = gaussian_average(lambda g: float(activation(t * g)) ** 2, knots)
    assert activation.gaussian_mean(t) == pytest.approx(mean, rel=0, abs=1e-11)
    assert activation.gaussian_mean_square(t) == pytest.approx(square, rel=1e-12, abs=1e-11)


@every_activation
@pytest.mark.parametrize("t", NORMS)
def test_derivative_of_the_gaussian_mean_agrees_with_numerical_integration_and_differences(activation, t):
    integral = gaussian_average(lambda g: float(activation.derivative(t * g)) * g, knots_over(activation, t))
    assert activation.gaussian_mean_derivative(t) == pytest.approx(integral, rel=0, abs=1e-11)
    h = 1e-4 * t
    difference = (activation.gaussian_mean(t + h) - activation.gaussian_mean(t - h)) / (2 * h)
    # h^2 q'''/6 with h = 1e-4 t, and rounding eps q / h <= 4e-10.
    assert activation.gaussian_mean_derivative(t) == pytest.approx(difference, rel=0, abs=1e-6)


def test_averages_of_the_rectifier_are_elementary():
    t = np.array([0.3, 1.0, 4.0])
    np.testing.assert_allclose(RELU.gaussian_mean(t), t / math.sqrt(2 * math.pi), rtol=1e-14)
    np.testing.assert_allclose(RELU.gaussian_mean_square(t), t**2 / 2, rtol=1e-14)
    np.testing.assert_allclose(RELU.gaussian_mean_derivative(t), 1 / math.sqrt(2 * math.pi), rtol=1e-14)
    table = RELU.hermite(t, 4)
    np.testing.assert_allclose(table[1], t / 2, rtol=1e-14)
    np.testing.assert_allclose(table[2], t / (2 * math.sqrt(math.pi)), rtol=1e-14)
    np.testing.assert_allclose(table[3], 0, atol=1e-15)
    np.testing.assert_allclose(table[4], -t / math.sqrt(48 * math.pi), rtol=1e-14)


def test_averages_of_the_sine_and_the_error_function_are_elementary():
    t = np.array([0.3, 1.0, 2.0])
    sine = SMOOTH["sine"]
    expected = 0.5 - 1.3 * math.sin(1.7 * 0.25) * np.exp(-((1.7 * t) ** 2) / 2)
    np.testing.assert_allclose(sine.gaussian_mean(t), expected, rtol=0, atol=1e-13)
    erf = Smooth("erf", gain=0.8)
    a = 2 * (0.8 * t) ** 2
    np.testing.assert_allclose(erf.gaussian_mean_square(t), 2 / math.pi * np.arcsin(a / (1 + a)), rtol=0, atol=1e-13)


def test_gaussian_mean_of_the_monotone_ramp_has_the_printed_inverse_and_the_right_limit():
    # Roots of q = -1 and q = +1, printed to 6 decimals; the slope of q there is below 3.
    np.testing.assert_allclose(MONOTONE.gaussian_mean([0.919830, 2.579080]), [-1, 1], rtol=0, atol=2e-6)
    # q(infinity) is the mean of the two plateaus; the next term is of order 1/t.
    assert MONOTONE.gaussian_mean(1e9) == pytest.approx(2.5, abs=1e-7)


@examples
@given(piecewise_linear(), st.floats(0.01, 5.0))
def test_partial_sums_of_squared_coefficients_grow_towards_the_mean_square(activation, t):
    sums = np.cumsum(activation.hermite(np.array(t), 200) ** 2)
    square = float(activation.gaussian_mean_square(t))
    slack = 1e-11 * max(1.0, square)
    assert sums[-1] <= square + slack
    # Coefficients of a kinked function fall like n^(-5/4): the tail is of order n^(-3/2) (t sum m)^2.
    bound = (t * np.abs(activation.slope_changes).sum()) ** 2 * 200**-1.5
    assert square - sums[-1] <= bound + slack


@examples
@given(piecewise_linear(), st.floats(0.01, 5.0))
def test_gaussian_mean_is_a_sum_of_averaged_ramps(activation, t):
    expected = float(shifted_mean(activation, 0.0, t))
    assert activation.gaussian_mean(t) == pytest.approx(expected, rel=0, abs=1e-11)


# -- pairs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [-0.9, -0.3, 0.0, 0.5, 0.9])
def test_pair_mean_of_rectifiers_is_the_arc_cosine_kernel(c):
    # Cho & Saul (2009), degree one.
    angle = math.acos(c)
    expected = 0.7 * 2.0 * (math.sin(angle) + (math.pi - angle) * c) / (2 * math.pi)
    assert RELU.pair_mean(0.7, 2.0, c) == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize(("c", "expected"), [(1.0, 0.7), (-1.0, 0.0)])
def test_pair_mean_of_parallel_rectifiers_is_within_the_stated_accuracy(c, expected):
    assert RELU.pair_mean(0.7, 2.0, c) == pytest.approx(expected, rel=0, abs=1e-6)


@pytest.mark.parametrize("c", [-1.0, -0.9, 0.0, 0.4, 1.0])
def test_pair_mean_of_error_functions_is_the_arc_sine_kernel(c):
    # Williams (1997).
    erf = Smooth("erf", gain=0.8)
    a, b = 2 * (0.8 * 0.7) ** 2, 2 * (0.8 * 1.5) ** 2
    expected = 2 / math.pi * math.asin(c * math.sqrt(a * b / ((1 + a) * (1 + b))))
    # Pairs of nodes of joint weight below 1e-16 are left out, 4e4 of them at most.
    assert erf.pair_mean(0.7, 1.5, c) == pytest.approx(expected, rel=0, abs=1e-11)


@every_piecewise
@pytest.mark.parametrize(("c", "tolerance"), [(-0.9, 1e-11), (0.3, 1e-11), (0.9, 1e-11), (0.99, 1e-6)])
def test_pair_mean_agrees_with_numerical_integration(activation, c, tolerance):
    s1, s2 = 0.9, 1.7
    rest = s2 * math.sqrt(1 - c * c)
    expected = gaussian_average(
        lambda g: float(activation(s1 * g)) * float(shifted_mean(activation, s2 * c * g, rest)),
        [*knots_over(activation, s1), *knots_over(activation, s2 * c)],
    )
    # The docstring promises 1e-12 up to |c| = 0.9, for quantities of size one; these reach 20.
    assert activation.pair_mean(s1, s2, c) == pytest.approx(expected, rel=0, abs=tolerance)


@every_piecewise
@pytest.mark.parametrize("c", [-1.0, 1.0])
def test_pair_mean_of_parallel_directions_agrees_with_a_single_integral(activation, c):
    s1, s2 = 0.9, 1.7
    expected = gaussian_average(
        lambda g: float(activation(s1 * g)) * float(activation(c * s2 * g)),
        [*knots_over(activation, s1), *knots_over(activation, c * s2)],
    )
    # Stated accuracy 1e-6 up to |c| = 1.
    assert activation.pair_mean(s1, s2, c) == pytest.approx(expected, rel=0, abs=1e-6)


@every_piecewise
def test_pair_mean_of_a_pair_does_not_depend_on_its_neighbours(activation):
    # Sixteen pairs are computed at a time; the last of 37 have fewer neighbours than that.
    rng = np.random.default_rng(3)
    s1, s2, bias1, bias2 = np.abs(rng.normal(size=(4, 37))) * [[1], [2], [0.5], [1e-3]]
    c = np.concatenate([[1, -1, 0], rng.uniform(-1, 1, 34)])
    s1[5], s2[20] = 0, 0
    together = activation.pair_mean(s1, s2, c, bias1=bias1, bias2=bias2)
    alone = [
        float(activation.pair_mean(*pair[:3], bias1=pair[3], bias2=pair[4]))
        for pair in zip(s1, s2, c, bias1, bias2, strict=True)
    ]
    assert together.tolist() == alone


@every_activation
def test_pair_mean_is_the_sum_of_mehlers_series(activation):
    s1, s2 = np.array([0.4, 1.1]), np.array([1.3, 0.6])
    for c in (-0.6, 0.0, 0.35):
        n = np.arange(81)[:, None]
        series = (c**n * activation.hermite(s1, 80) * activation.hermite(s2, 80)).sum(axis=0)
        # Remainder 0.6^81 < 1e-17; smooth activations truncate the plane at joint weights of 1e-16.
        np.testing.assert_allclose(activation.pair_mean(s1, s2, c), series, rtol=0, atol=1e-10)


@every_piecewise
def test_pair_mean_is_symmetric_and_factorises_without_correlation(activation):
    one = activation.pair_mean(0.7, 1.9, 0.55)
    assert one == pytest.approx(activation.pair_mean(1.9, 0.7, 0.55), rel=0, abs=1e-13)
    product = activation.gaussian_mean(0.7) * activation.gaussian_mean(1.9)
    assert activation.pair_mean(0.7, 1.9, 0.0) == pytest.approx(product, rel=0, abs=1e-14)


@examples
@given(piecewise_linear(), st.floats(0.05, 4.0), st.floats(0.05, 4.0), st.floats(-0.95, 0.95))
def test_pair_mean_obeys_the_cauchy_schwarz_inequality(activation, s1, s2, c):
    bound = math.sqrt(activation.gaussian_mean_square(s1) * activation.gaussian_mean_square(s2))
    # Slack: quadrature near the narrowest correlations allowed here, and rounding at zero.
    assert abs(float(activation.pair_mean(s1, s2, c))) <= bound * (1 + 1e-9) + 1e-7


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
    # u(0.9, 1.7) = E U over a uniform angle between the two neurons; smooth in the cosine.
    cosine, weights = direction_rule(dimension, 120)
    u = sum(0.5 * weights @ activation.pair_mean(tau * 0.9, tau * 1.7, cosine) for tau in (1.5, 0.5))
    assert u == pytest.approx(printed, rel=0, abs=6e-7)  # printed to 6 decimals


# -- spherical averages --------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("dimension", [2, 3, 40, 640])
def test_spherical_mean_and_derivative_agree_with_numerical_integration(activation, dimension):
    scale = math.sqrt(dimension)
    knots = getattr(activation, "knots", ())
    for s in (0.2 * scale, 1.1 * scale, 3.0 * scale):
        mean = spherical_average(lambda z: float(activation(z)), s, dimension, knots)
        slope = spherical_average(lambda z: float(activation.derivative(z)) * z / s, s, dimension, knots)  # noqa: B023
        # quad is asked for 1e-13 per piece.
        assert activation.spherical_mean(s, dimension) == pytest.approx(mean, rel=0, abs=1e-10)
        assert activation.spherical_mean_derivative(s, dimension) == pytest.approx(slope, rel=0, abs=1e-10)


@pytest.mark.parametrize("dimension", [2, 3, 4, 5, 7, 9, 13, 15, 16, 40, 640])
@pytest.mark.parametrize("shape", ["tanh", "logistic", "erf", "softplus", "sine"])
def test_fewer_nodes_for_smaller_norms_are_as_good_as_many(shape, dimension):
    # Against many more nodes: Gauss' with the density in the coordinate for odd d, for which it is a
    # polynomial, else equidistant angles. Norms are on both sides of every change of the number of nodes.
    activation = Smooth(shape, gain=1.5, shift=0.3)
    if dimension % 2:
        nodes, weights = legendre_rule(2500)
        weights = weights * (1 - nodes**2) ** ((dimension - 3) // 2)
        weights /= weights.sum()
    else:
        nodes, weights = direction_rule(dimension, 8193)
    s = np.concatenate([[0.0], np.geomspace(1e-2, 100, 30)])
    value, slope = activation(s[:, None] * nodes), activation.derivative(s[:, None] * nodes)
    # Sums of some hundred or thousand terms, each with a relative rounding of 1e-16.
    size, size_of_slope = (np.abs(part).max(axis=1) for part in (value, slope))
    found, found_slope = activation.spherical_mean(s, dimension), activation.spherical_mean_derivative(s, dimension)
    assert (np.abs(found - value @ weights) <= 1e-13 * size).all()
    assert (np.abs(found_slope - slope @ (weights * nodes)) <= 1e-13 * np.maximum(size_of_slope, 1e-3)).all()


@pytest.mark.parametrize("degree", [0, 1, 16, 255, 1024])
@pytest.mark.parametrize("shape", ["tanh", "logistic", "erf", "softplus", "sine"])
def test_gaussian_averages_take_as_many_nodes_as_they_need(shape, degree):
    # Against 8001 nodes, relative to the root mean square: every coefficient is at most that.
    activation = Smooth(shape, gain=2.0, shift=0.3)
    nodes, weights = gaussian_rule(8001)
    weighted = normalised_hermite(nodes, degree) * weights
    taken = set()
    for largest in (0.01, 0.3, 1.0, 3.0, 8.0):
        t, bias = np.linspace(0, largest, 7), np.linspace(-1, 1, 7)
        z = t[:, None] * nodes + bias[:, None]
        value, slope = activation(z), activation.derivative(z)
        size, size_of_slope = (math.sqrt((part**2 @ weights).max()) for part in (value, slope))
        taken.add(activation._nodes(t, degree))
        np.testing.assert_allclose(activation.hermite(t, degree, bias), weighted @ value.T, atol=1e-14 * size, rtol=0)
        np.testing.assert_allclose(
            activation.slope_hermite(t, degree, bias), weighted @ slope.T, atol=1e-14 * size_of_slope, rtol=0
        )
        np.testing.assert_allclose(activation.gaussian_mean(t, bias), value @ weights, atol=1e-14 * size, rtol=0)
        np.testing.assert_allclose(
            activation.gaussian_mean_square(t, bias), value**2 @ weights, atol=1e-14 * size**2, rtol=0
        )
        np.testing.assert_allclose(
            activation.gaussian_mean_square_slope(t, bias), slope**2 @ weights, atol=1e-14 * size_of_slope**2, rtol=0
        )
        without = activation.derivative(t[:, None] * nodes) @ (weights * nodes)
        np.testing.assert_allclose(activation.gaussian_mean_derivative(t), without, atol=1e-14 * max(1, size_of_slope))
    assert min(taken) < 300 < max(taken)
    assert activation._nodes(np.array([np.inf]), 0) == activation._nodes(np.array([np.nan]), 0) == activation.order


@pytest.mark.parametrize("shape", ["tanh", "logistic", "erf", "softplus", "sine"])
def test_pair_averages_of_smooth_activations_take_as_many_nodes_as_they_need(shape):
    # Against the product of two rules of 1201 nodes; 201, which every pair once got, are 2e-6 off for the steepest.
    activation = Smooth(shape, gain=3.0, shift=0.3)
    nodes, weights = gaussian_rule(1201)
    for largest in (0.1, 2.0):
        s1, s2, c = np.array([0.2, 1.0, 1.0]) * largest, np.array([1.0, 0.3, 1.0]) * largest, np.array([0.5, -1, 0.999])
        first, across = np.multiply.outer(s1, nodes) + 0.3, np.multiply.outer(s2 * np.sqrt(1 - c * c), nodes)
        expected = [
            weights @ (activation(first[k]) * (activation((s2 * c)[k] * nodes[:, None] + across[k] - 0.2) @ weights))
            for k in range(3)
        ]
        found = activation.pair_mean(s1, s2, c, bias1=0.3, bias2=-0.2)
        size = np.sqrt(activation.gaussian_mean_square(s1, 0.3) * activation.gaussian_mean_square(s2, -0.2))
        np.testing.assert_allclose(found / size, expected / size, atol=3e-14, rtol=0)


def test_spherical_mean_of_the_rectifier_in_two_and_three_dimensions():
    s = np.array([0.0, 0.5, 3.0])
    np.testing.assert_allclose(RELU.spherical_mean(s, 2), s / math.pi, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(RELU.spherical_mean(s, 3), s / 4, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(RELU.spherical_mean_derivative(s, 3), 0.25, rtol=1e-14)


def test_spherical_mean_in_three_dimensions_is_an_average_over_an_interval():
    # c is uniform on [-1, 1]: for the monotone ramp at s = 2, (1/4) int_{-2}^{2} sigma
    # = (1/4) (2.5 * (-2.5) + 1 * 2.5 + 0.5 * 7.5) = 0.
    assert MONOTONE.spherical_mean(2.0, 3) == pytest.approx(0.0, abs=1e-14)


@every_activation
def test_spherical_mean_at_zero_norm_is_the_value_at_zero(activation):
    for dimension in (2, 40):
        mean = activation.spherical_mean(np.zeros(1), dimension)
        assert mean == pytest.approx(float(activation(0.0)), rel=0, abs=1e-14)


@every_activation
def test_spherical_mean_approaches_the_gaussian_mean_in_high_dimension(activation):
    s = np.array([0.3, 1.0, 2.0])
    gaussian = activation.gaussian_mean(s)
    gaps = [np.abs(activation.spherical_mean(s * math.sqrt(d), d) - gaussian).max() for d in (10_000, 40_000)]
    # sqrt(d) c is normal up to 1/d: the gap is below 5/d and falls by four.
    assert gaps[0] < 5e-4
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.05)


# -- making and refusing -------------------------------------------------------------------------------------


def test_make_activation_reads_a_block_of_settings():
    block = {
        "kind": "piecewise_linear", "description": "the ramp", "knots": [0.5, 1.5], "values": [-2.5, 7.5],
    }  # fmt: skip
    assert make_activation(block) == MONOTONE
    assert block["kind"] == "piecewise_linear"  # the caller's block is left alone
    assert make_activation({"kind": "tanh", "gain": 2.0}) == Smooth("tanh", gain=2.0)


@pytest.mark.parametrize("knots", [(0.5, 0.5), (1.0, 0.5), (0.0, 2.0, 1.0)])
def test_knots_that_do_not_increase_are_refused(knots):
    with pytest.raises(ValueError, match="knots must increase strictly"):
        PiecewiseLinear(knots, (1.0,) * len(knots))


@pytest.mark.parametrize(("knots", "values"), [((), ()), ((0.0, 1.0), (2.0,)), ((0.0,), (1.0, 2.0))])
def test_knots_without_one_value_each_are_refused(knots, values):
    with pytest.raises(ValueError, match="needs one value per knot"):
        PiecewiseLinear(knots, values)


def test_an_unknown_shape_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'swish' is unknown; known: tanh, logistic, erf, softplus, sine"):
        make_activation({"kind": "swish"})


def test_mean_square_is_never_negative():
    # A kink sixteen standard deviations out: the terms cancel to rounding, which must not become a negative square.
    activation = PiecewiseLinear((1.0,), (0.0,), left_slope=0.0, right_slope=1.0)
    assert 0 <= float(activation.gaussian_mean_square(0.0625)) < 1e-18
