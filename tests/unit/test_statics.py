"""Optimal radial laws: published thresholds, risks by a second method, certificates, closed forms."""

import numpy as np
import pytest
from scipy import optimize

from meanfield.limits import statics
from meanfield.limits.potentials import radial_potentials
from meanfield.problems.activations import PiecewiseLinear, Smooth
from meanfield.problems.isotropic import IsotropicGaussians

RAMP = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
RECTIFIER = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)
LARGEST = 1e4


def potentials(dimension, separation, activation=RAMP):
    problem = IsotropicGaussians(dimension or 2, separation, activation)
    return radial_potentials(problem, infinite=dimension is None)


# d, the largest separation at which a single sphere is optimal, its norm and its risk there.
THRESHOLDS = [
    (20, 0.37763, 1.6039, 0.14276),
    (40, 0.43101, 1.6742, 0.05456),
    (80, 0.45344, 1.7108, 0.02409),
    (160, 0.46400, 1.7299, 0.01132),
    (320, 0.46915, 1.7396, 0.00548),
    (640, 0.47169, 1.7445, 0.00270),
    (None, 0.47422, 1.7495, 0.0),
]


@pytest.mark.parametrize(("dimension", "threshold", "norm", "risk"), THRESHOLDS)
def test_thresholds_to_their_printed_digits(dimension, threshold, norm, risk):
    lowest, highest = statics.single_sphere_range(
        lambda value: potentials(dimension, value), np.array([0.3, 0.5]), LARGEST
    )
    assert np.isnan(lowest)
    assert highest == pytest.approx(threshold, abs=5.1e-6)
    sphere = statics.single_sphere(potentials(dimension, highest), LARGEST)
    assert sphere.norm == pytest.approx(norm, abs=5.1e-5)
    assert sphere.risk == pytest.approx(risk, abs=5.1e-6)


OPTIMAL = {
    20: [0.74312, 0.45276, 0.24512, 0.12222, 0.05949, 0.03087, 0.01537, 0.00643, 0.00168],
    40: [0.68405, 0.39514, 0.19052, 0.07288, 0.03089, 0.01520, 0.00747, 0.00310, 0.00080],
    320: [0.63552, 0.34770, 0.14547, 0.03133, 0.00408, 0.00188, 0.00091, 0.00038, 0.00010],
    None: [0.62882, 0.34115, 0.13924, 0.02557, 0, 0, 0, 0, 0],
}
SPHERE = {
    20: [0.74312, 0.45276, 0.24512, 0.12306, 0.09021, 0.15083, 0.30755, 0.55324, 0.85952],
    40: [0.68405, 0.39514, 0.19052, 0.07288, 0.04551, 0.11204, 0.27401, 0.52267, 0.82914],
    320: [0.63552, 0.34770, 0.14547, 0.03133, 0.00830, 0.07950, 0.24556, 0.49652, 0.80315],
}
NORMS = [1.4478, 1.4678, 1.5247, 1.6290, 1.8053, 2.1122]  # d = 40


@pytest.mark.parametrize("dimension", list(OPTIMAL))
def test_risks_to_their_printed_digits(dimension):
    for n, separation in enumerate(np.arange(1, 10) / 10):
        p = potentials(dimension, separation)
        law, sphere = statics.optimal_law(p, LARGEST), statics.single_sphere(p, LARGEST)
        assert law.risk == pytest.approx(OPTIMAL[dimension][n], abs=5.1e-6)
        assert law.gap < 1e-12
        assert law.mass.sum() == pytest.approx(1)
        assert (sphere.margin < 0) == (separation > 0.45 or (dimension == 20 and separation > 0.35))
        if dimension in SPHERE:
            assert sphere.risk == pytest.approx(SPHERE[dimension][n], abs=5.1e-6)
        if dimension == 40 and n < len(NORMS):
            assert sphere.norm == pytest.approx(NORMS[n], abs=5.1e-5)


@pytest.mark.parametrize(("dimension", "separation"), [(20, 0.6), (40, 0.8)])
def test_the_optimum_of_a_second_method(dimension, separation):
    # Rows sqrt(M_n/2) h_n(tau r) from Mehler's series in place of quadrature over the norm of x, the sum of the masses
    # by a heavy row: nothing is shared with the module but the scalar Hermite coefficients.
    grid = np.concatenate([[0.0], np.geomspace(0.02, LARGEST, 3000)])
    tables = {tau: RAMP.hermite(tau * grid, 60) for tau in (1 + separation, 1 - separation)}
    rows, target, moment = [], [], 1.0
    for n in range(0, 62, 2):
        if n:
            moment *= (n - 1) / (dimension + n - 2)
        for y, tau in ((1, 1 + separation), (-1, 1 - separation)):
            rows.append(np.sqrt(moment / 2) * tables[tau][n])
            target.append(y * np.sqrt(0.5) if n == 0 else 0.0)
    weight = 1e4
    mass, _ = optimize.nnls(np.vstack([rows, weight * np.ones_like(grid)]), np.append(target, weight))
    risk = float(((np.array(rows) @ mass - target) ** 2).sum())
    assert statics.optimal_law(potentials(dimension, separation), LARGEST).risk == pytest.approx(risk, abs=3e-6)


def test_no_law_beats_the_certificate():
    p, rng = potentials(20, 0.6), np.random.default_rng(1)
    law = statics.optimal_law(p, LARGEST)
    psi = p.first_variation(np.geomspace(1e-2, LARGEST, 999), law.norm, law.mass)
    on_support = p.first_variation(law.norm, law.norm, law.mass)
    assert np.ptp(on_support) < 1e-12
    assert psi.min() > on_support.min() - 1e-12
    for _ in range(200):  # laws near the optimal one and far from it
        norm = np.concatenate([law.norm, np.exp(rng.uniform(-3, 6, 4))])
        mass = np.concatenate([law.mass, rng.uniform(0, 10 ** -rng.uniform(0, 5), 4)])
        assert p.risk(norm, mass / mass.sum()) >= law.risk - law.gap - 1e-14


def test_a_gap_bounds_what_is_missing():
    # On a coarse bound the optimum is worse, and by less than the gap over the larger set.
    p = potentials(40, 0.8)
    coarse, fine = statics.optimal_law(p, 3.0), statics.optimal_law(p, LARGEST)
    grid = statics.norm_grid(LARGEST)
    psi = p.first_variation(grid, coarse.norm, coarse.mass)
    gap = 2 * (coarse.mass @ p.first_variation(coarse.norm, coarse.norm, coarse.mass) - psi.min())
    assert 0 < coarse.risk - fine.risk <= gap


def test_a_sphere_without_risk_in_closed_form():
    separation, norm = statics.perfect_sphere(RAMP, LARGEST)
    assert separation == pytest.approx(0.474219, abs=5e-7)
    assert norm == pytest.approx(1.749455, abs=5e-7)
    low, high = (1 - separation) * norm, (1 + separation) * norm
    assert (low, high) == pytest.approx((0.919830, 2.579080), abs=5e-7)
    assert np.isnan(statics.perfect_sphere(PiecewiseLinear((0.0, 1.0), (0.0, 0.5)), LARGEST)).all()


def test_homogeneous_features_leave_the_law_undetermined_but_for_its_mean():
    # Rectifier, d = infinity: F_y(r) = tau_y r/sqrt(2 pi), and the risk is a parabola of the mean norm.
    separation = 0.5
    slopes = np.array([1.5, 0.5]) / np.sqrt(2 * np.pi)
    mean = (slopes[0] - slopes[1]) / (slopes**2).sum()
    risk = 0.5 * ((1 - slopes[0] * mean) ** 2 + (1 + slopes[1] * mean) ** 2)
    p = potentials(None, separation, RECTIFIER)
    law, sphere = statics.optimal_law(p, 100.0), statics.single_sphere(p, 100.0)
    assert law.norm @ law.mass == pytest.approx(mean)
    assert law.risk == pytest.approx(risk)
    assert law.gap < 1e-11
    assert sphere.norm == pytest.approx(mean)
    assert abs(sphere.margin) < 1e-12
    assert statics.at_infinity(p) is None


def test_a_smooth_activation_with_a_constant_mean_cannot_learn():
    # tanh is odd: a rotation-invariant network predicts zero.
    p = potentials(40, 0.5, Smooth("tanh"))
    law = statics.optimal_law(p, 10.0)
    assert law.risk == pytest.approx(1)
    assert law.gap < 1e-12


def test_weights_of_the_nearest_mean():
    assert statics.nearest_mean(np.eye(2)) == pytest.approx([0.5, 0.5])
    assert statics.nearest_mean(np.array([[1.0, 2.0], [0.0, 0.0]])) == pytest.approx([1, 0])
    assert statics.nearest_mean(np.array([[-1.0, 3.0]])) == pytest.approx([0.75, 0.25])


def test_roots_of_a_slope():
    grid = np.linspace(-2, 2, 10)
    assert statics.slope_roots(lambda x: x**3 - x, grid, grid**3 - grid) == pytest.approx([-1, 0, 1], abs=1e-13)
    grid = np.linspace(-1, 1, 5)  # a root on the grid
    assert statics.slope_roots(lambda x: x, grid, grid) == pytest.approx([0])


def test_no_range_where_no_sphere_is_optimal():
    assert np.isnan(
        statics.single_sphere_range(lambda value: potentials(20, value), np.array([0.5, 0.7]), LARGEST)
    ).all()


def test_the_lower_end_of_the_range():
    lowest, _ = statics.single_sphere_range(lambda value: potentials(40, value), np.array([0.02, 0.05]), LARGEST)
    p = potentials(40, lowest)
    assert abs(statics.single_sphere(p, LARGEST).margin) < 1e-10
    below, above = (statics.optimal_law(potentials(40, lowest + shift), LARGEST) for shift in (-2e-3, 2e-3))
    assert below.norm.size > 1
    assert above.norm.size == 1


def test_separations_are_dense_at_both_ends():
    found = statics.separation_grid(0.1, 0.9, 3)
    assert found == pytest.approx([0.1, 0.5, 0.9])
