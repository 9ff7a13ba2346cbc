"""Smoothed potentials: closed forms, known minima, independent convolutions, and where minima end."""

import numpy as np
import pytest

from meanfield.analysis.surfaces import MAXIMUM, MINIMUM, SADDLE, basins, find_critical_points, grid_of
from meanfield.problems import smoothing
from meanfield.problems.plane import PlanePotential, muller_brown, narrow_well, potential_from

WINDOW = (-1.5, 1.2, -0.2, 2.0)
MB, WELL = muller_brown(), narrow_well()


def critical(potential):
    return find_critical_points(potential, WINDOW)


def minima_of(potential):
    points = critical(potential)
    return points.positions[points.kinds == MINIMUM]


def quadratic(curvatures):
    """A term that is -A + sum of h z^2 / 2 up to a relative correction of h z^2 / (4 A), A = 1e8."""
    h, k = curvatures
    return PlanePotential(np.array([[-1e8, -h / 2e8, 0.0, -k / 2e8, 0.0, 0.0]]))


# -- critical points and basins -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("potential", "minima", "saddles"), [(MB, 3, 2), (WELL, 4, 3)], ids=["standard", "well"])
def test_all_critical_points_are_found(potential, minima, saddles):
    points = critical(potential)
    counts = [(points.kinds == kind).sum() for kind in (MINIMUM, SADDLE, MAXIMUM)]
    # V grows to infinity all around, so that minima less saddles plus maxima are one (Poincare & Hopf).
    assert counts == [minima, saddles, 0]
    assert (points.steps < 1e-10).all()
    assert (np.diff(points.values[:minima]) > 0).all()
    assert (points.curvatures[points.kinds == SADDLE][:, 0] < 0).all()


def test_known_critical_points():
    found = critical(MB)
    np.testing.assert_allclose(
        found.values, [-146.699517, -108.166724, -80.767818, -72.248940, -40.664844], rtol=0, atol=5.1e-7
    )


def test_plains_have_no_critical_points():
    # A narrow well in a wide window: nearly everywhere gradient and Hessian underflow.
    well = PlanePotential(np.array([[-1.0, -500.0, 0.0, -500.0, 0.3, 0.4]]))
    found = find_critical_points(well, (-5.0, 5.0, -5.0, 5.0), nodes=120)
    np.testing.assert_allclose(found.positions, [[0.3, 0.4]], atol=1e-12)


def test_basins_are_the_known_ones_and_do_not_depend_on_the_step():
    minima, grid = minima_of(MB), grid_of(WINDOW, 64)
    flow = {"step_size": 2e-5, "longest_step": 0.005, "domain": (-4.0, 4.0, -4.0, 5.0)}
    found = basins(MB, minima, *grid, **flow)
    # Areas: .478, .17, .35 by 20000 uniform starts; a grid of 64 moves them by the pixels on the border.
    assert found.shares == pytest.approx([0.478, 0.17, 0.35], abs=0.01)
    assert found.destination.shape == (64, 64)
    halved = basins(MB, minima, *grid, **{**flow, "step_size": 1e-5, "longest_step": 0.0025})
    assert (halved.destination != found.destination).mean() < 1e-3


def test_basins_of_a_double_well_are_its_halves():
    wells = PlanePotential(np.array([[-1.0, -1.0, 0.0, -1.0, x, 0.0] for x in (-1.5, 1.5)]))
    box = (-2.0, 2.0, -2.0, 2.0)
    xs, ys = grid_of(box, 20)
    minima = find_critical_points(wells, box)
    minima = minima.positions[minima.kinds == MINIMUM]
    found = basins(wells, minima, xs, ys, step_size=0.05, longest_step=0.01, domain=(-3.0, 3.0, -3.0, 3.0))
    left = int(np.argmin(minima[:, 0]))
    np.testing.assert_array_equal(found.destination == left, np.tile(xs < 0, (20, 1)))


# -- local entropy and envelope -------------------------------------------------------------------------------------


def test_the_jet_of_a_quadratic_is_closed_form():
    # Local entropy of z' H z / 2: curvature h/(1 + th), level sum log(1 + th)/(2 beta).
    h, time, beta, x = np.array([30.0, 400.0]), 0.02, 3.0, np.array([0.2, -0.1])
    grid = smoothing.EntropyGrid(quadratic(h), (-1.0, 1.0, -1.0, 1.0), beta, (time, time), h.max())
    value, gradient, hessian = grid.jet(x, time)
    bent = h / (1 + time * h)
    # The level is known to 1e-8 because A = 1e8 takes eight digits away.
    assert value + 1e8 == pytest.approx((bent * x**2).sum() / 2 + np.log(1 + time * h).sum() / (2 * beta), abs=1e-5)
    np.testing.assert_allclose(gradient, bent * x, atol=1e-5)
    np.testing.assert_allclose(hessian, np.diag(bent), atol=1e-4)


def test_gradient_and_hessian_are_those_of_the_value():
    grid = smoothing.EntropyGrid(MB, WINDOW, 0.2, (0.01, 0.01), 4100)
    for x in ([-0.5, 1.3], [0.1, 0.4], [0.8, 0.1]):
        here, h = grid.jet(x, 0.01), 1e-4
        ahead = [grid.jet(x + step, 0.01) for step in np.eye(2) * h]
        behind = [grid.jet(x - step, 0.01) for step in np.eye(2) * h]
        slopes = [(a.value - b.value) / (2 * h) for a, b in zip(ahead, behind, strict=True)]
        bends = [(a.gradient - b.gradient) / (2 * h) for a, b in zip(ahead, behind, strict=True)]
        np.testing.assert_allclose(here.gradient, slopes, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(here.hessian, bends, rtol=1e-5, atol=1e-2)


def test_weights_that_underflow_are_taken_in_the_log_domain():
    # At beta = 20 the far wall's weights are below e^-700.
    cold = smoothing.EntropyGrid(MB, WINDOW, 20.0, (0.001, 0.001), 4100)
    value, gradient, _ = cold.jet([1.1, 1.9], 0.001)
    lowest, _ = smoothing.hopf_lax_field(MB, np.array([1.1, 1.2]), np.array([1.9, 2.0]), 0.001, margin=1.0)[0], None
    assert np.isfinite(gradient).all()
    # Cold local entropy is the envelope plus fluctuations of order log(1 + th)/beta.
    assert value == pytest.approx(lowest[0], abs=30)


@pytest.mark.parametrize(
    ("beta", "time", "known"),
    [
        (0.2, 0.01, [(-133.40, -0.56, 1.44), (-95.13, 0.60, 0.03), None]),
        (0.2, 0.03, [(-128.32, -0.56, 1.44), None, None]),
        (0.05, 0.01, [(-95.29, -0.58, 1.41), (-62.47, 0.40, 0.15), None]),
        (0.05, 0.03, [(-76.16, -0.56, 1.35), None, None]),
    ],
)
def test_minima_of_the_local_entropy_are_the_known_ones(beta, time, known):
    # Measured on a grid in the log domain, independently of this code.
    grid = smoothing.EntropyGrid(MB, WINDOW, beta, (1e-4, time), 4100)
    for minimum, expected in zip(minima_of(MB), known, strict=True):
        branch = smoothing.follow_minimum(grid.jet, minimum, np.geomspace(1e-4, time, 8).tolist())
        if expected is None:
            assert branch.end < time
            assert np.isnan(branch.values[-1])
        else:
            assert branch.end == np.inf
            assert branch.values[-1] == pytest.approx(expected[0], abs=6e-3)
            assert branch.positions[-1] == pytest.approx(expected[1:], abs=6e-3)


def test_minima_of_the_narrow_well_are_the_known_ones():
    grid = smoothing.EntropyGrid(WELL, WINDOW, 0.2, (1e-3, 0.03), 9.7e4)
    branch = smoothing.follow_minimum(grid.jet, minima_of(WELL)[0], [0.001, 0.003, 0.01, 0.03])
    assert branch.values == pytest.approx([-151.4, -145.9, -139.9, -134.5], abs=0.051)


def test_a_finer_grid_changes_nothing():
    for potential, steepest in ((MB, 4100), (WELL, 9.7e4)):
        coarse = smoothing.EntropyGrid(potential, WINDOW, 0.2, (0.003, 0.03), steepest)
        fine = smoothing.EntropyGrid(potential, WINDOW, 0.2, (0.003, 0.03), 4 * steepest)
        for x in (minima_of(potential)[0], [0.3, 0.7]):
            for time in (0.003, 0.03):
                a, b = coarse.jet(x, time), fine.jet(x, time)
                assert a.value == pytest.approx(b.value, abs=1e-5)
                np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-5, atol=1e-3)


def test_the_field_is_the_jet_on_a_grid():
    xs, ys = grid_of(WINDOW, 90)
    field = smoothing.local_entropy_field(MB, xs, ys, 0.01, 0.2, margin=0.8)
    grid = smoothing.EntropyGrid(MB, WINDOW, 0.2, (0.01, 0.01), 4100)
    for i, j in ((10, 20), (45, 45), (70, 30)):
        assert field[i, j] == pytest.approx(grid.jet([xs[j], ys[i]], 0.01).value, abs=1e-3)


def test_the_envelope_lies_below_and_touches_at_minima_that_are_left():
    xs, ys = grid_of(WINDOW, 136)
    field = smoothing.hopf_lax_field(MB, xs, ys, 0.01, margin=0.5)
    nodes = np.stack(np.meshgrid(xs, ys), axis=-1)
    assert (field <= MB.value(nodes) + 1e-9).all()
    # Minima 1 and 2 are left at t = .01, minimum 3 has gone under.
    for minimum, left in zip(minima_of(MB), (True, True, False), strict=True):
        j, i = np.abs(xs - minimum[0]).argmin(), np.abs(ys - minimum[1]).argmin()
        assert (field[i, j] > MB.value(minimum) - 1e-3) == left


def test_the_inviscid_end_of_a_minimum_is_where_the_envelope_leaves_it():
    # Two wells of depths 1 and 2 far apart: the shallow one ends near t = d^2/(2 * 1), d the distance.
    wells = PlanePotential(np.array([[-1.0, -50.0, 0.0, -50.0, 0.0, 0.0], [-2.0, -50.0, 0.0, -50.0, 1.0, 0.0]]))
    branch = smoothing.hopf_lax_branch(wells, [0.0, 0.0], [0.1, 0.3, 1.0], (-1.0, 2.0, -1.0, 1.0))
    y = np.linspace(0.5, 1.0, 200001)
    exact = (y**2 / (2 * np.maximum(2 * np.exp(-50 * (y - 1) ** 2) - 1, 1e-12))).min()
    assert branch.end == pytest.approx(exact, rel=1e-6)
    assert branch.values[:2] == pytest.approx([-1.0, -1.0])
    assert np.isnan(branch.values[2])
    h = 100.0
    assert branch.curvatures[0] == pytest.approx(h / (1 + 0.1 * h), rel=1e-6)
    deepest = smoothing.hopf_lax_branch(wells, [1.0, 0.0], [0.1, 1.0], (-1.0, 2.0, -1.0, 1.0))
    assert deepest.end == np.inf


# -- heat -----------------------------------------------------------------------------------------------------------


def test_heat_branches_end_where_the_known_table_says():
    # Minimum 3 is there at .01 and gone at .02; minimum 2 is there at .15 and gone at .2; the first stays to .3.
    known = [(0.3, np.inf), (0.15, 0.2), (0.01, 0.02)]
    for minimum, (there, gone) in zip(minima_of(MB), known, strict=True):
        strengths = [s for s in (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3) if s <= max(there, min(gone, 0.3))]
        branch = smoothing.follow_minimum(lambda x, s: smoothing.heat_jet(MB, x, s), minimum, strengths)
        assert there < branch.end <= gone
    known = {0.05: (-85.23, -0.614, 1.378), 0.2: (-39.95, -0.711, 1.049)}
    branch = smoothing.follow_minimum(lambda x, s: smoothing.heat_jet(MB, x, s), minima_of(MB)[0], list(known))
    for n, (value, x, y) in enumerate(known.values()):
        assert (branch.values[n], *branch.positions[n]) == pytest.approx((value, x, y), abs=6e-3)


def test_the_end_of_a_branch_is_a_fold():
    # V_s = x^3/3 - (c - s) x + y^2: minimum and saddle meet at s = c; written as a jet by hand.
    c = 0.37

    def jet(point, s):
        x, y = point
        return smoothing.Jet(x**3 / 3 - (c - s) * x + y * y, np.array([x * x - (c - s), 2 * y]), np.diag([2 * x, 2.0]))

    branch = smoothing.follow_minimum(jet, [np.sqrt(c), 0.0], [0.1, 0.2, 0.3, 0.36, 0.4], resolution=1e-6)
    assert branch.end == pytest.approx(c, rel=1e-4)
    np.testing.assert_allclose(branch.positions[:4, 0], np.sqrt(c - np.array([0.1, 0.2, 0.3, 0.36])), atol=1e-9)
    assert np.isnan(branch.values[4])


@pytest.mark.parametrize("variance", [0.005, 0.01, 0.03])
def test_the_closed_form_is_the_convolution_within_its_stated_error(variance):
    check = smoothing.fourier_check(MB, WINDOW, variance, nodes=64)
    assert check.deviation < check.bound < 1e-3


def test_a_convolution_that_would_tell_nothing_is_not_compared():
    check = smoothing.fourier_check(MB, WINDOW, 0.1, nodes=64)
    assert np.isnan(check.deviation)
    assert check.bound > 1


@pytest.mark.parametrize("potential", [MB, WELL], ids=["standard", "narrow well"])
@pytest.mark.parametrize("variance", [0.005, 0.05, 0.2, 0.4])
def test_the_closed_form_is_the_quadrature_at_every_strength_in_use(potential, variance):
    points = np.array([[-1.5, -0.2], [0.5, 1.0], [1.2, 2.0]])
    check = smoothing.quadrature_check(potential, points, variance)
    assert check.deviation < 1e-10
    assert check.change < 1e-10


def test_the_quadrature_tells_a_wrong_closed_form(monkeypatch):
    exact = type(MB).heat_smoothed
    monkeypatch.setattr(type(MB), "heat_smoothed", lambda self, s: exact(self, 1.001 * s))
    assert smoothing.quadrature_check(MB, minima_of(MB), 0.1).deviation > 1e-5


def test_kinds_of_the_configuration():
    assert len(potential_from({"kind": "muller_brown"}).terms) == 4
    well = potential_from({"kind": "narrow_well", "depth": 240.0, "centre": [0.5, 1.0], "width": 0.05})
    np.testing.assert_array_equal(well.terms, WELL.terms)
    own = potential_from({"kind": "plane_terms", "terms": [[-1, -1, 0, -1, 0, 0]]})
    assert own.value([0.0, 0.0]) == -1
    with pytest.raises(ValueError, match="'plane' is no kind"):
        potential_from({"kind": "plane"})


def test_the_least_temperature_is_that_of_the_largest_grid():
    steepest = critical(MB).curvatures.max()
    least = smoothing.least_temperature(WINDOW, 0.2, steepest, most=300)
    smoothing.EntropyGrid(MB, WINDOW, 1 / (1.001 * least), (0.2, 0.2), steepest, most=300)
    with pytest.raises(ValueError, match="at most 300 allowed"):
        smoothing.EntropyGrid(MB, WINDOW, 1 / (0.98 * least), (0.2, 0.2), steepest, most=300)
    assert smoothing.least_temperature(WINDOW, 0.2, 1e9, most=300) == np.inf
