"""Potentials on the plane: derivatives, known critical points, heat smoothing in closed form and its bound."""

import numpy as np
import pytest

from meanfield.problems.plane import (
    PlanePotential,
    assign_to_minima,
    critical_points,
    muller_brown,
    narrow_well,
)

WINDOW = (-1.5, 1.2, -0.2, 2.0)
MINIMA = [(-0.558224, 1.441726), (0.623499, 0.028038), (-0.050011, 0.466694)]
SADDLES = [(0.212487, 0.292988), (-0.822002, 0.624313)]


def points(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform([WINDOW[0], WINDOW[2]], [WINDOW[1], WINDOW[3]], (count, 2))


def gauss_hermite(potential, at, variance, nodes=40):
    """The Gaussian average of the potential at one point, by product quadrature."""
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1)
    return (np.outer(w, w) * potential.value(at + np.sqrt(variance) * grid)).sum() / (2 * np.pi)


@pytest.mark.parametrize("potential", [muller_brown(), narrow_well()], ids=["standard", "narrow well"])
def test_derivatives_are_those_of_the_value(potential):
    x, h = points(50), 1e-5
    for axis, step in enumerate(np.eye(2) * h):
        slope = (potential.value(x + step) - potential.value(x - step)) / (2 * h)
        bend = (potential.gradient(x + step) - potential.gradient(x - step)) / (2 * h)
        # Differences: rounding 1e-16 |V| / h with |V| < 4e3, and h^2 times third derivatives up to 1e7.
        np.testing.assert_allclose(potential.gradient(x)[:, axis], slope, rtol=1e-7, atol=2e-3)
        np.testing.assert_allclose(potential.hessian(x)[:, axis], bend, rtol=1e-6, atol=0.3)


def test_value_at_the_origin_term_by_term():
    # exp(-1) and exp(-10/4) times -200 and -100; exponents -14.625 + ... of the third term, 1.9999... of the fourth.
    third = -170 * np.exp(-6.5 * 0.25 + 11 * 0.5 * -1.5 - 6.5 * 2.25)
    fourth = 15 * np.exp(0.7 - 0.6 + 0.7)
    expected = -200 * np.exp(-1) - 100 * np.exp(-2.5) + third + fourth
    assert muller_brown().value([0.0, 0.0]) == pytest.approx(expected, rel=1e-14)
    assert expected == pytest.approx(-48.401274, abs=5e-7)


def test_critical_points_are_the_known_ones():
    potential = muller_brown()
    found = critical_points(potential, np.round(MINIMA + SADDLES, 2))
    np.testing.assert_allclose(found, MINIMA + SADDLES, rtol=0, atol=5.1e-7)
    known = [-146.699517, -108.166724, -80.767818, -72.248940, -40.664844]
    np.testing.assert_allclose(potential.value(found), known, rtol=0, atol=5.1e-7)
    assert np.abs(potential.gradient(found)).max() < 1e-9  # Hessians below 5e3 times steps of 1e-13
    known = [(410.5, 4068.2), (543.8, 3005.4), (221.0, 1479.2), (-735.2, 510.9), (-750.9, 490.2)]
    np.testing.assert_allclose(np.linalg.eigvalsh(potential.hessian(found)), known, rtol=0, atol=0.051)


def test_narrow_well_is_the_global_minimum_of_its_variant():
    found = critical_points(narrow_well(), [[0.5, 1.0]])
    np.testing.assert_allclose(found, [[0.49836, 0.99865]], rtol=0, atol=6e-6)
    assert narrow_well().value(found[0]) == pytest.approx(-174.1565, abs=6e-5)


def test_newton_says_when_it_does_not_converge():
    with pytest.raises(ValueError, match="did not converge"):
        critical_points(muller_brown(), [MINIMA[0], (3.0, -8.0)], iterations=5)


@pytest.mark.parametrize(
    ("variance", "known"),
    [
        (0.01, [(-127.58, -0.568, 1.432), (-93.27, 0.574, 0.046), (-73.83, -0.010, 0.435)]),
        (0.02, [(-113.21, -0.578, 1.421), (-82.63, 0.521, 0.070)]),
        (0.05, [(-85.23, -0.614, 1.378), (-64.02, 0.337, 0.170)]),
        (0.1, [(-61.40, -0.675, 1.269), (-46.74, 0.124, 0.276)]),
        (0.15, [(-48.71, -0.707, 1.149), (-34.72, -0.120, 0.399)]),
        (0.2, [(-39.95, -0.711, 1.049)]),
        (0.3, [(-24.96, -0.718, 0.913)]),
    ],
)
def test_minima_of_the_smoothed_potential(variance, known):
    smoothed = muller_brown().heat_smoothed(variance)
    known = np.array(known)
    found = critical_points(smoothed, known[:, 1:])
    assert (np.linalg.eigvalsh(smoothed.hessian(found)) > 0).all()
    np.testing.assert_allclose(found, known[:, 1:], rtol=0, atol=6e-4)
    np.testing.assert_allclose(smoothed.value(found), known[:, 0], rtol=0, atol=6e-3)


def test_smoothing_is_the_gaussian_average():
    potential, x = narrow_well(), np.array([-0.4, 0.9])
    # The narrow well limits quadrature: s = 4e-4 is (0.4 widths)^2; larger s is compared without it below.
    assert gauss_hermite(potential, x, 4e-4) == pytest.approx(potential.heat_smoothed(4e-4).value(x), rel=1e-12)
    near = np.array([0.48, 1.03])
    assert gauss_hermite(potential, near, 4e-4) == pytest.approx(potential.heat_smoothed(4e-4).value(near), rel=1e-10)
    potential = muller_brown()
    for variance in (0.01, 0.05):
        expected = gauss_hermite(potential, x, variance, 60)
        assert potential.heat_smoothed(variance).value(x) == pytest.approx(expected, rel=1e-9)


def test_smoothing_agrees_with_monte_carlo():
    potential, x, variance = muller_brown(), np.array([0.3, 0.8]), 0.1
    z = np.random.default_rng(5).standard_normal((400_000, 2))
    sample = potential.value(x + np.sqrt(variance) * z)
    error = sample.std() / np.sqrt(sample.size)
    assert error < 0.2  # of values around 30
    assert abs(potential.heat_smoothed(variance).value(x) - sample.mean()) < 4 * error


def test_smoothing_twice_is_smoothing_by_the_sum():
    # The semigroup property, exact but for rounding.
    x = points(20)
    once = muller_brown().heat_smoothed(0.17).value(x)
    twice = muller_brown().heat_smoothed(0.05).heat_smoothed(0.12).value(x)
    np.testing.assert_allclose(twice, once, rtol=1e-12)
    np.testing.assert_array_equal(muller_brown().heat_smoothed(0.0).terms, muller_brown().terms)


def test_smoothing_stops_where_the_average_is_infinite():
    # The fourth term's form [[.7, .3], [.3, .7]] has the largest eigenvalue 1, hence the bound 1/2.
    assert muller_brown().smoothing_bound == pytest.approx(0.5, rel=1e-15)
    assert np.isfinite(muller_brown().heat_smoothed(0.49).terms).all()
    for variance in (0.5, 0.7, -0.01, np.nan):
        with pytest.raises(ValueError, match="variance"):
            muller_brown().heat_smoothed(variance)
    assert PlanePotential([[-1.0, -1.0, 0.0, -1.0, 0.0, 0.0]]).smoothing_bound == np.inf


def test_end_points_are_assigned_to_the_nearest_minimum_in_reach():
    ends = np.array([[-0.55, 1.44], [0.6, 0.0], [0.3, 0.3], [np.nan, 0.0], [np.inf, 1.0]])
    assert assign_to_minima(ends, MINIMA, radius=0.05).tolist() == [0, 1, -1, -1, -1]


def test_terms_are_checked_and_frozen():
    for bad in ([1.0, 2.0], np.zeros((2, 5)), np.zeros((0, 6)), np.full((1, 6), np.nan)):
        with pytest.raises(ValueError, match="terms"):
            PlanePotential(bad)
    with pytest.raises(ValueError, match="read-only"):
        muller_brown().terms[0, 0] = 1
