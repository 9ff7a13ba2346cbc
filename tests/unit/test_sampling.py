"""Gradient flows of measures: closed forms on Gaussians, invariance, the law that is left, and the finite ensemble."""

import numpy as np
import pytest

from meanfield.problems.plane import muller_brown
from meanfield.sampling import flows, targets

NARROW = targets.Gaussian(np.array([1.0, -2.0]), np.diag([1.0, 100.0]))


def ensemble(count, replicates=1, seed=0):
    return np.random.default_rng(seed).normal([10, 10], [np.sqrt(0.5), np.sqrt(2)], (replicates, count, 2))


@pytest.mark.parametrize(
    "target",
    [
        NARROW,
        targets.Banana(0.3),
        targets.PlaneGibbs(muller_brown(), 20.0, (-2.5, 2.0, -1.2, 3.0)),
        targets.Mapped(targets.Banana(1.0), np.array([[2.0, 0.4], [-0.3, 1.0]]), np.array([1.0, 3.0])),
    ],
    ids=["gaussian", "banana", "gibbs", "mapped"],
)
def test_gradients_are_those_of_the_potential(target):
    points = np.random.default_rng(1).normal(0.3, 0.6, (20, 2))
    h = 1e-6
    for axis, step in enumerate(np.eye(2) * h):
        slope = (target.potential(points + step) - target.potential(points - step)) / (2 * h)
        np.testing.assert_allclose(target.gradient(points)[:, axis], slope, rtol=1e-6, atol=1e-5)


def test_moments_of_the_banana_are_those_of_its_density():
    for stiffness in (0.1, 1.0):
        banana = targets.Banana(stiffness)
        xs, ys = np.linspace(-22, 24, 800), np.linspace(-60, 500, 2400)
        mean, covariance = targets.grid_moments(xs, ys, -banana.potential(np.stack(np.meshgrid(xs, ys), axis=-1)))
        np.testing.assert_allclose(mean, banana.mean, rtol=1e-5)
        np.testing.assert_allclose(covariance, banana.covariance, rtol=1e-4)


def test_moments_of_the_gibbs_law_do_not_depend_on_the_box():
    one = targets.PlaneGibbs(muller_brown(), 20.0, (-3.5, 2.5, -2.2, 4.0), 500)
    other = targets.PlaneGibbs(muller_brown(), 20.0, (-4.0, 3.0, -2.7, 4.5), 900)
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-8)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-8)
    # The deepest well holds .806 of the mass at beta = .05: the mean lies near it.
    assert one.mean == pytest.approx([-0.45, 1.15], abs=0.15)


def test_gaussian_flows_are_the_closed_forms():
    mean, covariance, t = np.array([10.0, 10.0]), np.diag([0.5, 2.0]), 1.5
    steps = [0, 300]
    for flow in ("wasserstein", "affine", "fisher_rao"):
        found = flows.run_gaussian(NARROW, mean, covariance, flow, step_size=5e-3, records=steps)
        c0, c, shift = np.diag(covariance), np.diag(NARROW.covariance), mean - NARROW.mean
        if flow == "wasserstein":  # Ornstein and Uhlenbeck, coordinate by coordinate
            expected_mean = NARROW.mean + np.exp(-t / c) * shift
            expected = c + np.exp(-2 * t / c) * (c0 - c)
        elif flow == "fisher_rao":  # Chen et al. 2023: precision interpolates, m = m* + e^-t C_t C_0^-1 (m_0 - m*)
            expected = 1 / (1 / c + np.exp(-t) * (1 / c0 - 1 / c))
            expected_mean = NARROW.mean + np.exp(-t) * expected / c0 * shift
        else:  # twice as fast for the covariance; the mean obeys m' = -(C/C*)(m - m*), solved by the root of that
            expected = 1 / (1 / c + np.exp(-2 * t) * (1 / c0 - 1 / c))
            expected_mean = NARROW.mean + np.exp(-t) * np.sqrt(expected / c0) * shift
        np.testing.assert_allclose(found.means[-1], expected_mean, rtol=1e-7, err_msg=flow)
        np.testing.assert_allclose(np.diag(found.covariances[-1]), expected, rtol=1e-7, err_msg=flow)
        np.testing.assert_array_equal(found.means[0], mean)


def moved(target, mean, covariance, flow, t):
    # Moments at time t in closed form, coordinate by coordinate: Ornstein and Uhlenbeck, or interpolated precisions.
    c0, c, shift = covariance, np.diag(target.covariance), mean - target.mean
    if flow == "wasserstein":
        return target.mean + np.exp(-t / c) * shift, c + np.exp(-2 * t / c) * (c0 - c)
    share = np.exp(-2 * t) if flow == "affine" else np.exp(-t)
    found = 1 / (1 / c + share * (1 / c0 - 1 / c))
    return target.mean + (np.sqrt(share * found / c0) if flow == "affine" else share * found / c0) * shift, found


FLOWS = ("wasserstein", "affine", "fisher_rao")


@pytest.mark.parametrize("flow", FLOWS)
def test_relaxation_times_solve_the_closed_forms(flow):
    target = targets.Gaussian(np.array([1.0, -2.0]), np.diag([1.0, 30.0]))
    mean, variances = np.array([3.0, 1.0]), np.array([0.5, 2.0])
    for threshold in (3.0, 0.1, 1e-6):
        time = flows.relaxation_time(target, mean, np.diag(variances), flow, threshold)
        at, variance = moved(target, mean, variances, flow, time)
        found = flows.errors(target, flows.Moments(at, np.diag(variance)))
        assert found.divergence == pytest.approx(threshold, rel=1e-8)
    far = flows.errors(target, flows.Moments(mean, np.diag(variances))).divergence
    assert flows.relaxation_time(target, mean, np.diag(variances), flow, 1.01 * far) == 0


@pytest.mark.parametrize("flow", FLOWS)
def test_exact_divergences_are_those_of_the_moment_equations(flow):
    # Start and target do not commute.
    target = targets.Gaussian(np.array([1.0, -2.0]), np.array([[2.0, 0.7], [0.7, 1.0]]))
    mean, covariance = np.array([2.0, 1.0]), np.array([[0.5, -0.3], [-0.3, 3.0]])
    found = flows.run_gaussian(target, mean, covariance, flow, step_size=0.01, records=[0, 50, 200, 1000], nodes=2)
    exact = flows.exact_divergence(target, mean, covariance, flow)
    expected = [exact(t) for t in (0.0, 0.5, 2.0, 10.0)]
    np.testing.assert_allclose(flows.errors(target, found).divergence, expected, rtol=1e-6, atol=1e-14)


def test_relaxation_times_are_found_however_long_or_stiff():
    # Of one coordinate with variance k relative to the target's the Fisher-Rao flow has the precision 1 + s (1/k - 1).
    wide = targets.Gaussian(np.zeros(2), np.diag([1.0, 1e8]))
    time = flows.relaxation_time(wide, np.zeros(2), np.diag([1.0, 1e-6]), "fisher_rao", 0.1)
    k = 1 / (1 + np.exp(-time) * (1e14 - 1))
    assert time == pytest.approx(32.209, abs=0.2)
    assert (k - 1 - np.log(k)) / 2 == pytest.approx(0.1, rel=1e-6)
    unit = targets.Gaussian(np.zeros(2), np.eye(2))
    times = [flows.relaxation_time(unit, np.ones(2), 1e3 * np.eye(2), flow, 0.1) for flow in FLOWS]
    assert np.all(np.diff(times) != 0)
    assert np.isfinite(times).all()
    # Thresholds and variances at the ends of what numbers hold.
    for flow in FLOWS:
        assert 300 < flows.relaxation_time(unit, np.ones(2), 2 * np.eye(2), flow, 1e-300) < 800
        assert 0 < flows.relaxation_time(unit, np.zeros(2), 1e-300 * np.eye(2), flow, 0.1) < 800


def test_intervals_are_divided_into_the_fewest_equal_steps():
    assert flows.divided(0.2, 0.19) == (2, 0.1)
    assert flows.divided(0.2, 0.3) == (1, 0.2)
    assert flows.divided(1.0, 0.3) == (4, 0.25)
    # Multiples up to rounding keep the step's bits: .3/.1 < 3 and .7/.1 < 7, .25/.01 = 25.
    for count, step in ((3, 0.1), (7, 0.1), (25, 0.01), (1, 1 / 3)):
        assert flows.divided(count * step, step) == (count, step)
        assert flows.divided(np.nextafter(count * step, 9), step) == (count, step)


@pytest.mark.parametrize(("flow", "step_size"), [("wasserstein", 0.05), ("affine", 5.0)])
def test_particles_that_blow_up_are_named(flow, step_size):
    narrow = targets.Gaussian(np.zeros(2), np.diag([1.0, 0.01]))
    settings = {"records": [0, 400], "generator": np.random.default_rng(0)}
    with pytest.raises(FloatingPointError, match=r"the particles diverged by time \d"):
        flows.run_particles(narrow, ensemble(20), flow, step_size=step_size, **settings)


def test_particles_just_below_the_largest_stable_step_are_not_refused():
    # Largest step 2/100; at 99.9 % of it the variance is 1000 times too large, as it must be: C / (1 - h/(2C)).
    narrow = targets.Gaussian(np.zeros(2), np.diag([1.0, 0.01]))
    found = flows.run_particles(
        narrow, ensemble(20), "wasserstein", step_size=0.01998, records=[4000], generator=np.random.default_rng(0)
    )
    assert 1 < found.covariances[0, 0, 1, 1] < 100


@pytest.mark.parametrize("flow", FLOWS)
def test_too_long_steps_of_moment_equations_are_named(flow):
    narrow = targets.Gaussian(np.zeros(2), np.diag([1.0, 0.01]))
    with pytest.raises(FloatingPointError, match=r"the moment equations diverged by time \d"):
        flows.run_gaussian(narrow, np.ones(2), np.eye(2), flow, step_size=3.0, records=[0, 100], nodes=3)


def test_the_gaussian_integrator_has_order_four():
    banana, mean, covariance = targets.Banana(0.1), np.array([0.0, 0.0]), 4 * np.eye(2)
    ends = [
        flows.run_gaussian(banana, mean, covariance, "affine", step_size=0.1 / n, records=[5 * n]).means[-1]
        for n in (1, 2, 4, 32)
    ]
    coarse, middle, fine = (np.abs(end - ends[-1]).max() for end in ends[:3])
    assert np.log2(coarse / middle) == pytest.approx(4, abs=0.5)
    assert np.log2(middle / fine) == pytest.approx(4, abs=0.4)


def test_stein_gives_the_mean_hessian():
    # Of the banana: E Phi'' under N(m, C) is a polynomial in the moments.
    stiffness, m, c = 0.3, np.array([0.4, -1.0]), np.array([[1.2, 0.3], [0.3, 0.7]])
    gradient, hessian = flows.expectations(targets.Banana(stiffness), m, c, nodes=6)
    square = m[0] ** 2 + c[0, 0]
    cube = m[0] ** 3 + 3 * m[0] * c[0, 0]
    bend = stiffness / 10
    np.testing.assert_allclose(gradient[1], bend * (m[1] - square), rtol=1e-12)
    np.testing.assert_allclose(gradient[0], -2 * bend * (m[0] * m[1] + c[0, 1] - cube) - (1 - m[0]) / 10, rtol=1e-12)
    expected = [[2 * bend * (3 * square - m[1]) + 0.1, -2 * bend * m[0]], [-2 * bend * m[0], bend]]
    np.testing.assert_allclose(hessian, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("flow", ["affine", "wasserstein"])
def test_only_the_affine_flow_commutes_with_affine_maps(flow):
    banana = targets.Banana(1.0)
    matrix, shift = np.array([[3.0, 20.0], [-0.5, 0.7]]), np.array([4.0, -30.0])
    mapped = targets.Mapped(banana, matrix, shift)
    starts = np.random.default_rng(2).normal(0, 1, (3, 12, 2))
    settings = {"step_size": 2e-3, "records": [0, 50, 200]}
    runs = [
        flows.errors(target, flows.run_particles(target, x, flow, generator=np.random.default_rng(3), **settings))
        for target, x in ((banana, starts), (mapped, starts @ matrix.T + shift))
    ]
    with np.errstate(invalid="ignore"):
        apart = max(np.abs(a - b).max() for a, b in zip(*runs, strict=True))
    assert (apart < 1e-10) == (flow == "affine")


@pytest.mark.parametrize(("count", "corrected", "known"), [(6, False, (0.505, 1.99)), (6, True, (0.998, 4.03))])
def test_finite_ensembles_need_their_correction(count, corrected, known):
    # Second moments of 6 particles under N(0, diag(1, 4)); long-time averages by an independent simulation.
    target = targets.Gaussian(np.zeros(2), np.diag([1.0, 4.0]))
    starts = np.random.default_rng(4).normal(0, [1, 2], (400, count, 2))
    records = list(range(500, 3000, 50))
    found = flows.run_particles(
        target, starts, "affine", step_size=0.01, records=records, generator=np.random.default_rng(5),
        corrected=corrected,
    )  # fmt: skip
    second = found.covariances + found.means[..., None] * found.means[..., None, :]
    averages = second.mean(axis=(0, 1))
    # 400 ensembles over some 25 relaxation times: a relative error of about 1 %, three of them allowed.
    assert averages[0, 0] == pytest.approx(known[0], rel=0.06)
    assert averages[1, 1] == pytest.approx(known[1], rel=0.06)


def test_particles_follow_the_gaussian_moment_equations():
    starts = np.random.default_rng(6).multivariate_normal([10, 10], np.diag([0.5, 2.0]), (4, 4000))
    found = flows.run_particles(
        NARROW, starts, "wasserstein", step_size=5e-3, records=[0, 200], generator=np.random.default_rng(7)
    )
    exact = flows.run_gaussian(
        NARROW, np.array([10.0, 10.0]), np.diag([0.5, 2.0]), "wasserstein", step_size=5e-3, records=[200]
    )
    # 16000 particles: standard errors sqrt(C/16000) of means and C sqrt(2/16000) of variances, four of each, plus
    # the bias of Euler's method, h/2 times rates of order one.
    np.testing.assert_allclose(found.means[-1].mean(axis=0), exact.means[-1], atol=0.05)
    variances = np.diagonal(found.covariances[-1].mean(axis=0))
    np.testing.assert_allclose(variances, np.diagonal(exact.covariances[-1]), rtol=0.05)


def test_fisher_rao_on_a_grid_is_the_gaussian_closed_form():
    xs, ys = np.linspace(-30, 40, 700), np.linspace(-80, 80, 700)
    points = np.stack(np.meshgrid(xs, ys), axis=-1)
    start = targets.Gaussian(np.array([10.0, 10.0]), np.diag([0.5, 2.0]))
    found = flows.fisher_rao_density(-start.potential(points), -NARROW.potential(points), 1.5)
    mean, covariance = targets.grid_moments(xs, ys, found)
    exact = flows.run_gaussian(NARROW, start.mean, start.covariance, "fisher_rao", step_size=5e-3, records=[300])
    np.testing.assert_allclose(mean, exact.means[-1], atol=1e-6)
    np.testing.assert_allclose(covariance, exact.covariances[-1], rtol=1e-6, atol=1e-6)


def test_errors_vanish_at_the_target_and_are_the_known_divergence_elsewhere():
    moments = flows.Moments(NARROW.mean, NARROW.covariance)
    assert all(np.abs(error) < 1e-14 for error in flows.errors(NARROW, moments))
    off = flows.errors(NARROW, flows.Moments(NARROW.mean + np.array([2.0, 0.0]), 4 * NARROW.covariance))
    assert off.mean == pytest.approx(2.0)
    assert off.covariance == pytest.approx(3.0)
    assert off.divergence == pytest.approx(0.5 * (8 - 2 - np.log(16) + 4))
