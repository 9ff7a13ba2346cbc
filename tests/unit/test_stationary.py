"""Stationary laws: published families, residuals, linearised against measured rates, continuation, basins."""

import numpy as np
import pytest

from meanfield.limits import basins, stationary
from meanfield.limits.continuation import follow
from meanfield.problems.activations import PiecewiseLinear, Smooth
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

RAMP = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
DIP = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
ONE = np.ones(1)

MASSES = [0, 0.05, 0.1, 0.2, 0.26, 0.3, 0.4, 0.5]
FAMILIES = [
    (DIP, 0.5, 320, [2.088, 2.212, 2.354, 2.725, 3.036, 3.304, 4.394, 7.492],
     [0.01431, 0.00531, 0.01250, 0.08035, 0.15863, 0.22785, 0.46544, 0.80359]),
    (RAMP, 0.8, 40, [4.079, 4.355, 4.651, 5.354, 5.893, 6.331, 7.912, 11.21],
     [0.52267, 0.34089, 0.19817, 0.03593, 0.02082, 0.04621, 0.23765, 0.61841]),
    (RAMP, 0.2, 40, [1.468, 1.558, 1.667, 1.971, 2.249, 2.507, 3.762, 11.03],
     [0.39514, 0.42601, 0.46111, 0.54600, 0.60788, 0.65438, 0.79156, 0.96230]),
]  # fmt: skip


def failing(separation=0.5):
    return stationary.classes(320, DIP, 0.95)(separation)


@pytest.mark.parametrize(("activation", "separation", "dimension", "norms", "risks"), FAMILIES)
def test_families_to_their_printed_digits(activation, separation, dimension, norms, risks):
    p = stationary.classes(dimension, activation, 0.95)(separation)
    for mass, norm, risk in zip(MASSES, norms, risks, strict=True):
        outer = stationary.spheres_with_zero(p, mass, 1e4)[-1]
        # One of the published norms, 2.212, is 2.2115 here: a unit of its last digit.
        assert outer == pytest.approx(norm, rel=5e-4 if norm > 10 else 0, abs=5.4e-4)
        assert p.risk(np.array([0, outer]), np.array([mass, 1 - mass])) == pytest.approx(risk, abs=5.1e-6)
        if mass:
            assert stationary.mass_at_zero(p, np.array([outer])) == pytest.approx(mass, abs=1e-9)
    assert p.risk(np.zeros(1), ONE) == pytest.approx(7.25)


def test_spheres_of_the_failing_problem():
    p = failing()
    inner, outer = stationary.one_sphere(p, 1e4)
    assert (inner, outer) == pytest.approx((0.1963, 2.0882), abs=5e-5)
    found = stationary.rates(p, outer, 1.0)
    # The sphere at 2.088 attracts as a whole and splits: psi'' = -.018.
    assert found.splitting == pytest.approx(2 * 0.018, rel=0.02)
    assert found.collective < 0
    assert found.kind == stationary.UNSTABLE
    assert stationary.rates(p, inner, 1.0).collective > 0
    zero = stationary.rates(p, 0.0, 1.0)
    assert zero.kind == stationary.STABLE
    assert zero.inward == pytest.approx(IsotropicGaussians(320, 0.5, DIP).conical_slope())
    assert zero.inward == pytest.approx(9 / np.sqrt(2 * np.pi))
    # With a tenth of the mass at zero the sphere is stable.
    (*_, norm) = stationary.spheres_with_zero(p, 0.1, 1e4)
    assert stationary.rates(p, [0, norm], [0.1, 0.9]).kind == stationary.STABLE


def test_neurons_that_feel_no_force_are_neutral():
    p = stationary.classes(40, RAMP, 0.95)(0.8)
    assert stationary.rates(p, 0.0, 1.0).kind == stationary.NEUTRAL
    (*_, norm) = stationary.spheres_with_zero(p, 0.4, 1e4)
    assert stationary.rates(p, [0, norm], [0.4, 0.6]).kind == stationary.NEUTRAL
    smooth = stationary.classes(40, Smooth("erf", amplitude=5.0, shift=1.0, offset=2.5), 0.95)(0.5)
    assert stationary.rates(smooth, 0.0, 1.0).kind == stationary.UNSTABLE


def test_rates_by_differences_and_on_the_flow():
    p = failing()
    for norm in stationary.one_sphere(p, 1e4):
        found = stationary.rates(p, norm, 1.0)
        h = 1e-4 * norm
        drifts = [float(p.drift(np.array([r]), np.array([r]), ONE)[0]) for r in (norm - h, norm + h)]
        assert found.collective == pytest.approx((drifts[1] - drifts[0]) / (2 * h), rel=1e-5)
        measured = basins.measured_rates(p, norm, (found.splitting, found.collective))
        assert measured == pytest.approx((found.splitting, found.collective), rel=1e-4)


def test_all_members_of_a_family_are_at_rest():
    p = failing()
    curves = [*stationary.families_with_zero(p, 1e3, 30), *stationary.families_of_two(p, 0.05, 50, 80)]
    assert len(curves) >= 3
    for curve in curves:
        assert curve.mass.sum(axis=1) == pytest.approx(1)
        for norm, mass in zip(curve.norm[::7], curve.mass[::7], strict=True):
            moving = norm > 0
            speed = p.drift(norm, norm, mass)[moving]
            scale = np.abs(p.weights @ np.abs(p.feature_derivatives(norm[moving])))
            assert np.abs(speed / scale).max() < 1e-7
    # A nearly vertical family, from no mass at zero to all of it within a ten-thousandth of the norm.
    vertical = min(curves, key=lambda curve: np.ptp(curve.norm[:, 1]))
    assert vertical.mass[:, 0].min() == 0
    assert vertical.mass[:, 0].max() > 0.95
    assert np.ptp(vertical.norm[:, 1]) < 1e-4


def test_a_teacher_is_found_among_the_laws_on_two_spheres():
    p = stationary.teacher(40, DIP, 1.7, np.array([0.3, 0.7]))(0.4)
    norm, mass = 1.7 * np.array([0.6, 1.4]), np.array([0.3, 0.7])
    assert p.risk(norm, mass) < 1e-25
    best = [np.inf, None]
    for curve in stationary.families_of_two(p, 0.5, 5.0, 150):
        risks = [p.risk(*law) for law in zip(curve.norm, curve.mass, strict=True)]
        n = int(np.argmin(risks))
        if risks[n] < best[0]:
            best = [risks[n], (curve.norm[n], curve.mass[n])]
    assert best[0] < 1e-6
    assert best[1][0] == pytest.approx(norm, rel=0.05)
    assert best[1][1] == pytest.approx(mass, abs=0.05)


def test_curvatures_of_features():
    p = stationary.classes(40, RAMP, 0.95)(0.8)
    r = np.array([0.7, 1.5, 6.0])
    h = 1e-5 * r
    slopes = (p.feature_derivatives(r + h) - p.feature_derivatives(r - h)) / (2 * h)
    assert stationary.feature_curvatures(p, r) == pytest.approx(slopes, rel=1e-5, abs=1e-6)


def test_the_nodes_of_a_separation_are_those_of_its_own_problem():
    from meanfield.limits.potentials import radial_potentials

    r, s = np.array([0.5, 1.0, 3.0]), np.array([2.0, 1.0, 0.4])
    direct = radial_potentials(IsotropicGaussians(40, 0.3, RAMP))
    scaled = stationary.classes(40, RAMP, 0.9)(0.3)
    assert scaled.pair(r, s) == pytest.approx(direct.pair(r, s), rel=1e-8)
    assert scaled.single(r) == pytest.approx(direct.single(r), rel=1e-8)


# -- continuation ---------------------------------------------------------------------------------------------------


def test_a_parabola_is_followed_through_its_fold():
    branch = follow(
        lambda x, value: x**2 - value, np.array([0.5]), 0.25,
        bounds=(-1.0, 1.0), state_bounds=(-3.0, 3.0), largest_step=0.1,
    )  # fmt: skip
    assert branch.state[:, 0] ** 2 == pytest.approx(branch.parameter, abs=1e-9)
    assert branch.fold.size == 1
    assert branch.parameter[branch.fold[0]] == pytest.approx(0, abs=0.01)
    assert branch.parameter[[0, -1]] == pytest.approx([1, 1])
    assert sorted(branch.state[[0, -1], 0]) == pytest.approx([-1, 1])


def test_a_curve_in_two_unknowns_leaves_its_box():
    branch = follow(
        lambda x, value: np.array([x[0] - np.sin(value), x[1] - value**2]), np.zeros(2), 0.0,
        bounds=(-1.0, 5.0), state_bounds=(-10.0, 4.0), largest_step=0.2,
    )  # fmt: skip
    assert branch.state == pytest.approx(np.stack([np.sin(branch.parameter), branch.parameter**2], 1), abs=1e-9)
    assert branch.state[:, 1].max() <= 4
    assert branch.parameter.max() > 1.7
    assert branch.fold.size == 0


def test_no_curve_where_there_is_no_solution():
    with pytest.raises(ValueError, match="no solution near"):
        follow(lambda x, value: x**2 + 1 + value**2, np.array([0.3]), 0.0,
               bounds=(-1, 1), state_bounds=(-9, 9), largest_step=0.1)  # fmt: skip


def test_branches_meet_laws_found_directly():
    at = stationary.classes(320, DIP, 0.8)
    for mass in (0.0, 0.2):
        for norm in stationary.spheres_with_zero(at(0.5), mass, 1e3):
            branch = stationary.follow_sphere(
                at, norm, 0.5, mass=mass, bounds=(0.3, 0.8), norm_bounds=(1e-3, 1e3), largest_step=0.1
            )
            assert branch.parameter[[0, -1]] == pytest.approx([0.3, 0.8])
            for n in (0, len(branch.parameter) // 2, -1):
                direct = stationary.spheres_with_zero(at(float(branch.parameter[n])), mass, 1e3)
                assert np.abs(direct / branch.state[n, 0] - 1).min() < 1e-9


# -- basins ---------------------------------------------------------------------------------------------------------

FLOW = basins.Flow(10.0, 100, 1e-7, 0.02)


def test_both_published_ends_of_the_flow():
    near, far = (FLOW.end(failing(), RadialLaw("gaussian", scale)) for scale in (0.1, 0.4))
    assert near.inner_mass == pytest.approx(1)
    assert np.isnan(near.outer_norm)
    assert near.risk == pytest.approx(7.25)
    assert near.speed == 0
    assert far.inner_mass == 0
    assert (far.outer_norm, far.risk) == pytest.approx((2.0882, 0.0143), abs=5e-4)


def test_shells_escape_beyond_the_repelling_sphere():
    p = failing()
    inner, _ = stationary.one_sphere(p, 1e3)
    scales = np.geomspace(0.05, 1.0, 6)
    found = basins.boundary(FLOW, p, lambda scale: RadialLaw("shell", scale), scales, tolerance=1e-4)
    assert found == pytest.approx(inner, rel=1e-4)
    assert np.isnan(basins.boundary(FLOW, p, lambda scale: RadialLaw("shell", scale), scales[:2], tolerance=1e-4))
    assert np.isnan(basins.boundary(FLOW, p, lambda scale: RadialLaw("shell", scale), scales[3:], tolerance=1e-4))


@pytest.mark.parametrize(("mass", "norm"), [(0.2, 1.0), (0.4, 3.0)])
def test_a_shell_beside_a_mass_at_zero_ends_on_the_family(mass, norm):
    p = failing()
    end = FLOW._replace(horizon=1000.0).end(p, basins.MixedLaw(mass, norm))
    assert end.inner_mass == pytest.approx(mass, abs=0.01)
    assert stationary.spheres_with_zero(p, end.inner_mass, 1e3)[-1] == pytest.approx(end.outer_norm, rel=1e-5)
    assert end.speed <= end.fastest < 1e-4


def test_a_law_that_is_torn_apart_ends_on_the_family():
    p = failing()
    end = basins.Flow(1000.0, 100, 1e-8, 0.02).end(p, RadialLaw("gaussian", 0.2))
    assert 0.2 < end.inner_mass < 0.5
    assert end.outer_spread < 1e-6
    assert stationary.spheres_with_zero(p, end.inner_mass, 1e3)[-1] == pytest.approx(end.outer_norm, rel=1e-6)
