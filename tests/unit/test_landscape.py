"""Lanes on the plane: each method against its definition, what its bits depend on, and what it must reach."""

import os
import subprocess
import sys

import numpy as np
import pytest

from meanfield.kernels import landscape_reference as reference
from meanfield.kernels.landscape import (
    CONVERGED,
    COUPLED_NOISE,
    INNER_NOISE,
    LANES,
    LEFT_DOMAIN,
    RUNNING,
    EnsembleStage,
    HomogenisedStage,
    HopfLax,
    InnerLangevin,
    LocalEntropy,
    Rule,
    Stage,
    affine_invariant_langevin,
    descend,
    gradient_descent,
    homogenised,
    langevin_noise,
    normals,
    window_grid,
)
from meanfield.kernels.streams import _normal_pair, _philox
from meanfield.problems.plane import PlanePotential, assign_to_minima, critical_points, muller_brown, narrow_well

WINDOW = (-1.5, 1.2, -0.2, 2.0)
KEY = np.array([0xA4093822, 0x299F31D0], np.uint32)
MB = muller_brown()
MINIMA = critical_points(MB, [(-0.56, 1.44), (0.62, 0.03), (-0.05, 0.47)])


def starts(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform([WINDOW[0], WINDOW[2]], [WINDOW[1], WINDOW[3]], (count, 2))


def quiet_starts(count):
    """Starts on the lower slopes, where no method of the tests diverges."""
    chosen = starts(20 * count, 3)
    return chosen[MB.value(chosen) < 0][:count]


def plain(potential, steps, step_size, noise=0.0):
    return reference.PlainStage(lambda x, _: potential.gradient(x), steps, step_size, noise, potential.value)


def quadratic_well(precision):
    """A term that is -A + x' P x / 2 up to relative corrections of x' P x / (4 A), A = 1e8."""
    (a, b), (_, c) = np.asarray(precision, float)
    return PlanePotential([[-1e8, -a / 2e8, -b / 1e8, -c / 2e8, 0.0, 0.0]])


def node_points(grid):
    return np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, 2)


# -- gradient descent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "potential", [MB, narrow_well(), PlanePotential(MB.terms[:3])], ids=["four terms", "five terms", "three terms"]
)
def test_gradient_descent_is_the_definition(potential):
    # Contracting trajectories: a rounding per step, forgotten at the rate of the step. Thousands of steps, 1e-13.
    x = starts(100)
    expected = reference.descend([plain(potential, 2000, 2e-5)], x)[0]
    found = gradient_descent(potential.terms, x, step_size=2e-5, steps=2000)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_one_step_by_hand():
    # At the centre of a single term there is no slope; one unit to the right of it, V' = 2 a A exp(a).
    term = PlanePotential([[-3.0, -0.5, 0.0, -2.0, 1.0, 2.0]])
    found = gradient_descent(term.terms, [[1.0, 2.0], [2.0, 2.0], [1.0, 3.0]], step_size=0.1, steps=1)
    expected = [[1.0, 2.0], [2 - 0.1 * 3 * np.exp(-0.5), 2.0], [1.0, 3 - 0.1 * 12 * np.exp(-2)]]
    np.testing.assert_allclose(found, expected, rtol=4e-16)


def test_the_exponential_reaches_both_ends_of_its_range():
    # One step of size one from x: x + 2 A x exp(-x^2) for A = 1 exposes the exponential from 1 to underflow.
    x = np.sqrt(np.concatenate([np.linspace(0.01, 700, 500), [800.0, 1e6]]))
    found = gradient_descent([[1.0, -1.0, 0.0, 0.0, 0.0, 0.0]], np.stack([x, 0 * x], 1), step_size=1.0, steps=1)[:, 0]
    np.testing.assert_allclose(found, x + 2 * x * np.exp(-x * x), rtol=3e-16)
    # The slope alone, for the relative accuracy of the exponential: rounding of the exponent makes |x| eps.
    tiny = gradient_descent([[1e8, -1.0, 0.0, 0.0, 0.0, 0.0]], np.stack([x, 0 * x], 1), step_size=1e250, steps=1)[:, 0]
    deep = (x * x > 30) & (x * x < 600)
    np.testing.assert_allclose(tiny[deep], (x + 2e258 * x * np.exp(-x * x))[deep], rtol=3e-13)


def test_basin_fractions_of_gradient_descent():
    ends = gradient_descent(MB.terms, starts(4000, 11), step_size=1e-4, steps=4000)
    basin = assign_to_minima(ends, MINIMA, radius=1e-5)
    fractions = np.bincount(basin, minlength=3) / basin.size
    # Areas of the basins by 20000 starts: .475 +- .004, .173, .352; four standard errors of 4000 starts are .032.
    np.testing.assert_allclose(fractions, [0.475, 0.173, 0.352], rtol=0, atol=0.032)
    assert fractions.sum() == 1


# -- what the bits depend on --------------------------------------------------------------------------------------


NOISY = (Stage(MB.terms, 75, 1e-4, langevin_noise(1e-4, 0.05)), Stage(MB.heat_smoothed(0.01).terms, 50, 1e-4, 3.0))


@pytest.mark.parametrize("rule", [Rule(), Rule("nesterov", 0.9, restart="gradient")], ids=["langevin", "restart"])
def test_bits_depend_neither_on_threads_nor_on_the_company(rule):
    x = starts(3 * LANES + 5)
    settings = {"rule": rule, "key": KEY, "clip": 1e4, "domain": (-3, 3, -3, 3), "record_every": 25}
    whole = descend(NOISY, x, **settings)
    threaded = descend(NOISY, x, threads=3, **settings)
    some = np.array([0, 1, 17, LANES, 3 * LANES + 4, 3])
    part = descend(NOISY, x[some], numbers=some, **settings)
    assert np.unique(whole.ends, axis=0).shape == x.shape
    for name in ("ends", "steps", "evaluations", "outcome", "records"):
        a, b, c = (getattr(result, name) for result in (whole, threaded, part))
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[:, some] if name == "records" else a[some], c)


def test_ensembles_do_not_know_of_each_other():
    x = starts(70 * 6).reshape(70, 6, 2)
    numbers = np.arange(70 * 6).reshape(70, 6)
    stages = [HomogenisedStage(MB.terms, 3, 0.05, 0.1, 2.0, 1e-4, 0.1, 0.01)]
    settings = {"burn_in": 3, "average": 4, "key": KEY, "clip": 1e4}
    whole, _ = homogenised(stages, x, **settings)
    np.testing.assert_array_equal(homogenised(stages, x, threads=2, **settings)[0], whole)
    np.testing.assert_array_equal(homogenised(stages, x[50:53], numbers=numbers[50:53], **settings)[0], whole[50:53])
    stages = [EnsembleStage(MB.terms, 7, 1e-4, 0.05)]
    whole, _ = affine_invariant_langevin(stages, x, key=KEY, clip=1e4)
    np.testing.assert_array_equal(affine_invariant_langevin(stages, x, key=KEY, clip=1e4, threads=2)[0], whole)
    alone, _ = affine_invariant_langevin(stages, x[50:53], key=KEY, clip=1e4, numbers=numbers[50:53])
    np.testing.assert_array_equal(alone, whole[50:53])


def test_a_schedule_goes_on_where_it_was():
    # Two stages alike are one: the noise counts iterations through, odd numbers of them included.
    x = starts(10)
    noise = langevin_noise(1e-4, 0.1)
    whole = descend([Stage(MB.terms, 60, 1e-4, noise)], x, key=KEY, clip=1e4, record_every=23)
    split = descend([Stage(MB.terms, n, 1e-4, noise) for n in (23, 37)], x, key=KEY, clip=1e4, record_every=23)
    np.testing.assert_array_equal(split.ends, whole.ends)
    np.testing.assert_array_equal(split.records, whole.records)
    np.testing.assert_array_equal(whole.records[0], x)
    first = descend([Stage(MB.terms, 23, 1e-4, noise)], x, key=KEY, clip=1e4)
    np.testing.assert_array_equal(whole.records[1], first.ends)
    assert whole.records.shape == (3, 10, 2)


@pytest.mark.parametrize("iteration", [0, 7, 2**33 + 6])
def test_noise_is_philox_and_box_muller(iteration):
    numbers = np.array([0, 5, 2**32 - 1], np.uint32)
    z = normals(KEY, numbers, iteration, 1, COUPLED_NOISE)[0]
    half = iteration // 2
    for number, found in zip(numbers, z, strict=True):
        counter = (half % 2**32, half // 2**32, number, COUPLED_NOISE)
        words = _philox(*(np.uint32(word) for word in counter), *KEY)
        a, b = words[2:] if iteration % 2 else words[:2]
        np.testing.assert_array_equal(found, _normal_pair(np.uint32(a), np.uint32(b)))


def test_noise_is_normal_and_each_number_its_own():
    z = normals(KEY, np.arange(300), 5, 400)
    # 240000 numbers: standard errors .002 of the mean, .003 of the variance, .005 of the fourth moment's root.
    assert abs(z.mean()) < 0.01
    assert abs(z.var() - 1) < 0.012
    assert abs((z**4).mean() - 3) < 0.08
    flat = z.transpose(1, 0, 2).reshape(300, -1)
    correlations = np.corrcoef(flat)[np.triu_indices(300, 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(flat.shape[1])
    assert abs(np.corrcoef(z[..., 0].ravel(), z[..., 1].ravel())[0, 1]) < 0.015
    assert abs((z[1:] * z[:-1]).mean()) < 0.01
    assert np.unique(z).size > 0.98 * z.size  # float32 normals: a few coincide
    np.testing.assert_array_equal(normals(KEY, [7], 100, 3), z[95:98, 7:8])
    for purpose in (INNER_NOISE, COUPLED_NOISE):
        other = normals(KEY, np.arange(300), 5, 400, purpose)
        assert abs((z * other).mean()) < 0.01
    assert abs((z * normals(np.array([1, 2], np.uint32), np.arange(300), 5, 400)).mean()) < 0.01


def test_both_orders_of_the_gradients_passes_give_the_same_bits():
    # Which one is compiled depends on the processor's registers. Interpreted, one process can do both.
    script = """
import numpy as np
from meanfield.kernels import lanes
from meanfield.kernels.landscape import Stage, descend
from meanfield.problems.plane import muller_brown
starts = np.random.default_rng(0).uniform(-1, 1, (70, 2))
ends = []
for lanes.WIDE in (True, False):
    ends.append(descend([Stage(muller_brown().terms, 20, 1e-4)], starts).ends)
assert np.abs(ends[0] - starts).max() > 0.01
print(np.array_equal(*ends))
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_plain_descent_looks_after_records_and_gives_the_bits_of_the_watched_one():
    x = starts(LANES + 3)
    stages = [Stage(MB.terms, 45, 1e-5), Stage(MB.heat_smoothed(0.02).terms, 30, 2e-5)]
    plainly = descend(stages, x, record_every=20)
    watched = descend(stages, x, record_every=20, domain=(-99, 99, -99, 99))
    np.testing.assert_array_equal(plainly.records, watched.records)
    np.testing.assert_array_equal(plainly.ends, watched.ends)
    np.testing.assert_array_equal(plainly.steps, watched.steps)
    assert plainly.records.shape == (4, LANES + 3, 2)
    np.testing.assert_array_equal(plainly.records[2], descend([Stage(MB.terms, 40, 1e-5)], x).ends)


# -- momentum and restarts ----------------------------------------------------------------------------------------


RULES = {
    "heavy ball": ("heavy ball", 0.9),
    "nesterov": ("nesterov", 0.9),
    "k/(k+3)": ("nesterov", "k/(k+3)"),
    "theta": ("nesterov", "theta"),
    "mass": ("nesterov", 0.9, 4e-5),
    "function": ("nesterov", "theta", 0.0, "function"),
    "function back": ("nesterov", "k/(k+3)", 0.0, "function", True),
    "gradient": ("nesterov", "k/(k+3)", 0.0, "gradient"),
    "gradient back": ("nesterov", 0.95, 0.0, "gradient", True),
}


@pytest.mark.parametrize("name", RULES)
def test_momentum_is_the_definition(name):
    rule = Rule(*RULES[name])
    x = quiet_starts(40)
    arguments = {
        "method": rule.method, "momentum": rule.momentum, "second_step": rule.second_step,
        "restart": rule.restart, "step_back": rule.step_back,
    }  # fmt: skip
    _, _, _, path = reference.descend([plain(MB, 150, 5e-5)], x, **arguments)
    found = descend([Stage(MB.terms, 150, 5e-5)], x, rule=rule, record_every=50).records
    # Momentum amplifies rounding by its gain, and trajectories pass saddles. Values near a minimum tell points apart
    # only to sqrt(1e-16 |V| / L), about 1e-8: there the function restart is a matter of rounding.
    np.testing.assert_allclose(found[1], path[50], rtol=0, atol=1e-12)
    atol = 1e-7 if rule.restart == "function" else 1e-9
    np.testing.assert_allclose(found[3], path[150], rtol=0, atol=atol)


def test_restarts_happen_and_differ():
    x = quiet_starts(40)

    def end(**change):
        return descend([Stage(MB.terms, 60, 5e-5)], x, rule=Rule("nesterov", "k/(k+3)", **change)).ends

    ends = [end(), end(restart="gradient"), end(restart="function"), end(restart="gradient", step_back=True)]
    for i in range(4):
        for j in range(i):
            assert (np.abs(ends[i] - ends[j]).max(axis=1) > 1e-6).sum() >= 5


def test_two_steps_of_momentum_by_hand():
    # On the parabola x^2 / 2 (to 1e-8): steps of size 1/2 from x = 1 with mu = 1/2.
    well, x = quadratic_well(np.eye(2)).terms, [[1.0, 0.0]]

    def after(steps, rule):
        return descend([Stage(well, steps, 0.5)], x, rule=rule).ends[0, 0]

    # Heavy ball: 1, 1/2, 1/4 + (1/2)(-1/2) = 0. Nesterov: w = 1/2, u = 1/4, w = 1/8.
    assert after(2, Rule("heavy ball", 0.5)) == pytest.approx(0.0, abs=1e-8)
    assert after(2, Rule("nesterov", 0.5)) == pytest.approx(0.125, abs=1e-8)
    # MaSS with eta_2 = 1/4: u = 1/4 + 1/4 = 1/2, w = 1/4. k/(k+3): no momentum first, 1/4 in the second step.
    assert after(2, Rule("nesterov", 0.5, 0.25)) == pytest.approx(0.25, abs=1e-8)
    assert after(2, Rule("nesterov", "k/(k+3)")) == pytest.approx(0.25, abs=1e-8)
    assert after(3, Rule("nesterov", "k/(k+3)")) == pytest.approx((0.25 - 0.0625) / 2, abs=1e-8)


def test_mass_without_second_step_is_nesterov_and_without_momentum_descent():
    x = starts(100)
    stages = [Stage(MB.terms, 300, 5e-5)]
    nesterov = descend(stages, x, rule=Rule("nesterov", 0.9)).ends
    np.testing.assert_array_equal(descend(stages, x, rule=Rule("nesterov", 0.9, 0.0)).ends, nesterov)
    np.testing.assert_array_equal(descend(stages, x, rule=Rule("nesterov", 0.0)).ends, descend(stages, x).ends)
    np.testing.assert_array_equal(descend(stages, x, rule=Rule("heavy ball", 0.0)).ends, descend(stages, x).ends)
    assert (descend(stages, x, rule=Rule("nesterov", 0.9, 1e-6)).ends != nesterov).any()


# -- stopping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{"gradient_tolerance": 1e-2}, {"step_tolerance": 1e-6}, {"domain": (-1.4, 1.0, -0.1, 1.4)}, {"clip": 300.0}],
    ids=["gradient", "step", "domain", "clip"],
)
@pytest.mark.parametrize("rule", [Rule(), Rule("nesterov", 0.8)], ids=["descent", "nesterov"])
def test_stopping_and_clipping_are_the_definition(settings, rule):
    x = quiet_starts(40)
    settings = {"domain": (-9, 9, -9, 9), **settings}
    ends, steps, outcome, _ = reference.descend(
        [plain(MB, 400, 1e-4)], x, method=rule.method, momentum=rule.momentum, **settings
    )
    found = descend([Stage(MB.terms, 400, 1e-4)], x, rule=rule, **settings)
    np.testing.assert_allclose(found.ends, ends, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.steps, steps)
    np.testing.assert_array_equal(found.outcome, outcome)
    if "clip" not in settings:
        assert np.count_nonzero(outcome) > 0
        assert np.unique(steps).size > 3
    converged = (outcome == CONVERGED) & ("gradient_tolerance" in settings)
    np.testing.assert_array_equal(found.evaluations, steps + converged)  # the gradient that ended it made no step


def test_who_diverges_is_flagged_and_stays_finite():
    corner = np.array([[1.2, 2.0], [-0.5, 1.4]])
    found = descend([Stage(MB.terms, 2000, 4e-3)], corner, domain=(-5, 5, -5, 5))
    assert found.outcome[0] == LEFT_DOMAIN
    assert np.isfinite(found.ends).all()
    assert found.steps[0] < 10
    stable = descend([Stage(MB.terms, 100, 1e-5)], corner, domain=(-5, 5, -5, 5))
    assert stable.outcome.tolist() == [RUNNING, RUNNING]
    assert stable.steps.tolist() == [100, 100]


def test_converged_trajectories_go_on_with_the_next_stage():
    smooth = MB.heat_smoothed(0.05)
    found = descend([Stage(t, 5000, 1e-4) for t in (smooth.terms, MB.terms)], quiet_starts(20), gradient_tolerance=1e-6)
    assert (found.outcome == CONVERGED).all()
    assert (assign_to_minima(found.ends, MINIMA, radius=1e-8) >= 0).all()
    assert (found.steps < 10000).all()
    np.testing.assert_array_equal(found.evaluations, found.steps + 2)


# -- noise and sampling -------------------------------------------------------------------------------------------


def test_langevin_is_the_definition_on_the_same_normals():
    x = quiet_starts(30)
    z = normals(KEY, np.arange(30), 0, 120)
    stages = [plain(MB, 70, 1e-4, langevin_noise(1e-4, 0.1)), plain(MB.heat_smoothed(0.02), 50, 5e-5, 11.0)]
    expected = reference.descend(stages, x, clip=2000.0, normals=z.__getitem__)[0]
    stages = [
        Stage(MB.terms, 70, 1e-4, langevin_noise(1e-4, 0.1)),
        Stage(MB.heat_smoothed(0.02).terms, 50, 5e-5, 11.0),
    ]
    # Noisy trajectories cross ridges, where neighbours part: 1e-15 a step grows, but stays small for 120 steps.
    np.testing.assert_allclose(descend(stages, x, clip=2000.0, key=KEY).ends, expected, rtol=0, atol=1e-10)


def test_langevin_has_the_variance_of_its_discretisation():
    # On a quadratic well of curvature L the chain is autoregressive: variance 2 / (beta L (2 - h L)), exactly.
    step, beta, curvature = 0.1, 2.0, np.array([1.0, 4.0])
    stage = Stage(quadratic_well(np.diag(curvature)).terms, 150, step, langevin_noise(step, beta))
    ends = descend([stage], np.zeros((40_000, 2)), key=KEY).ends
    expected = 2 / (beta * curvature * (2 - step * curvature))
    np.testing.assert_allclose((ends**2).mean(axis=0), expected, rtol=4 * np.sqrt(2 / 40_000))


def test_affine_invariant_langevin_is_the_definition():
    x = quiet_starts(24).reshape(3, 8, 2)
    z = normals(KEY, np.arange(24), 0, 60).reshape(60, 3, 8, 2)
    for correction in (True, False):
        settings = {"finite_ensemble_correction": correction}
        expected = reference.affine_invariant_langevin(
            MB.gradient, x, steps=60, step_size=1e-4, inverse_temperature=0.1, normals=z.__getitem__, **settings
        )
        stages = [EnsembleStage(MB.terms, 25, 1e-4, 0.1), EnsembleStage(MB.terms, 35, 1e-4, 0.1)]
        found, records = affine_invariant_langevin(stages, x, key=KEY, record_every=30, **settings)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
        np.testing.assert_array_equal(records[[0, 2]], [x, found])


def test_finite_ensembles_need_their_correction():
    # Target N(0, diag(1, 4)), J = 6, h = .01: E theta^2 is (1, 4) with the correction, up to O(h), and about
    # (.505, 1.99) without it.
    terms = quadratic_well(np.diag([1.0, 0.25])).terms
    x = np.random.default_rng(2).standard_normal((1000, 6, 2)) * [1.0, 2.0]
    moments = {}
    for correction in (True, False):
        ends, _ = affine_invariant_langevin(
            [EnsembleStage(terms, 800, 0.01, 1.0)], x, key=KEY, finite_ensemble_correction=correction
        )
        moments[correction] = (ends**2).mean(axis=(0, 1)) / [1.0, 4.0]
    # 1000 ensembles whose second moments fluctuate by about their size: standard error below .035.
    np.testing.assert_allclose(moments[True], 1.0, rtol=0, atol=0.12)
    np.testing.assert_allclose(moments[False], 0.5, rtol=0, atol=0.1)


def test_affine_invariance_along_a_path():
    # A lower triangular map of potential and start maps the path: the Cholesky factor follows it.
    matrix = np.array([[3.0, 0.0], [-2.0, 0.25]])
    inverse = np.linalg.inv(matrix)
    precision = np.array([[2.0, 0.5], [0.5, 1.0]])
    x = np.random.default_rng(4).standard_normal((2, 10, 2))
    settings = {"key": KEY}
    plain_path, _ = affine_invariant_langevin(
        [EnsembleStage(quadratic_well(precision).terms, 200, 0.02, 1.0)], x, **settings
    )
    mapped = quadratic_well(inverse.T @ precision @ inverse).terms
    mapped_path, _ = affine_invariant_langevin([EnsembleStage(mapped, 200, 0.02, 1.0)], x @ matrix.T, **settings)
    np.testing.assert_allclose(mapped_path, plain_path @ matrix.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("macro_noise", [0.0, 0.02])
def test_coupled_agents_are_the_definition(macro_noise):
    x = quiet_starts(24).reshape(6, 4, 2)
    inner = normals(KEY, np.arange(24), 0, 8 * 9, INNER_NOISE).reshape(72, 6, 4, 2)
    outer = normals(KEY, np.arange(24), 0, 8, COUPLED_NOISE).reshape(8, 6, 4, 2)
    expected = reference.homogenised(
        MB.gradient, x, steps=8, inverse_temperature=0.1, time=0.05, coupling=2.0, micro_step=1e-4, macro_step=0.03,
        burn_in=3, average=6, normals=inner.__getitem__, macro_noise=macro_noise, macro_normals=outer.__getitem__,
    )  # fmt: skip
    stages = [HomogenisedStage(MB.terms, n, 0.1, 0.05, 2.0, 1e-4, 0.03, macro_noise) for n in (3, 5)]
    found, records = homogenised(stages, x, burn_in=3, average=6, key=KEY, record_every=4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(records[[0, 2]], [x, found])


def test_agents_without_temperature_and_potential_collapse_to_their_mean():
    # Zero potential, infinite beta, y = x: only the coupling acts, x - mean shrinks by 1 - h eta each time.
    x = starts(12).reshape(3, 4, 2)
    flat = [[0.0, -1.0, 0.0, -1.0, 0.0, 0.0]]
    found, _ = homogenised([HomogenisedStage(flat, 1, np.inf, 0.5, 1.5, 1e-3, 0.2)], x, burn_in=0, average=2, key=KEY)
    mean = x.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, mean + (1 - 0.2 * 1.5) * (x - mean), rtol=1e-13)


# -- smoothing ----------------------------------------------------------------------------------------------------


def one_step(smoothing, x, grid=None, step=1e-3, potential=MB, **settings):
    """The smoothed gradient at x, from one step of descent."""
    ends = descend([Stage(potential.terms, 1, step, smoothing=smoothing)], x, grid=grid, **settings).ends
    return (np.asarray(x) - ends) / step


@pytest.mark.parametrize(("time", "beta"), [(0.03, 0.2), (0.01, 0.05), (0.02, 1.0)])
def test_local_entropy_is_the_definition(time, beta):
    grid = window_grid(WINDOW, 0.05, 0.4)
    x = starts(70)
    gradient, _ = reference.local_entropy(MB.value, x, time, beta, node_points(grid))
    found = one_step(LocalEntropy(time, beta), x, grid)
    # Gradients up to 200; the difference quotient loses 1e-16 / 1e-3, means lose a few roundings over t.
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-10)


def test_local_entropy_where_every_weight_underflows():
    # beta V reaches 8 * 3500 in the corner, beta |x - y|^2 / 2t far more: nothing is left but the log domain.
    grid = window_grid(WINDOW, 0.05, 0.0)
    x = np.array([[1.19, 1.98], [-1.48, -0.19], [-0.5, 1.4]])
    gradient, _ = reference.local_entropy(MB.value, x, 1e-4, 8.0, node_points(grid))
    found = one_step(LocalEntropy(1e-4, 8.0), x, grid, step=1e-5)
    np.testing.assert_allclose(found, gradient, rtol=1e-8, atol=1e-8)


def test_local_entropy_of_a_quadratic_is_closed_form():
    # f = L x^2 / 2: the gradient is L x / (1 + t L) whatever beta is.
    well = quadratic_well(np.diag([1.0, 4.0]))
    x = np.array([[0.7, -0.4], [0.1, 0.9]])
    grid = (np.linspace(-6, 6, 121), np.linspace(-5, 5, 101))
    for smoothing in (LocalEntropy(0.5, 3.0), HopfLax(0.5)):
        found = one_step(smoothing, x, grid, step=0.1, potential=well)
        np.testing.assert_allclose(found, x * [1 / 1.5, 4 / 3], rtol=0, atol=1e-6)  # of 1e8 wide wells


def test_local_entropy_does_not_depend_on_a_grid_that_resolves_it():
    x = quiet_starts(30)
    coarse, fine = (one_step(LocalEntropy(0.03, 0.2), x, window_grid(WINDOW, h, 0.5)) for h in (0.03, 0.02))
    # The trapezoidal rule converges faster than any power once it resolves wells of width 1/sqrt(.2 * 4068) = .035.
    np.testing.assert_allclose(coarse, fine, rtol=0, atol=3e-3)
    assert np.abs(fine).max() > 10


def test_minimum_of_the_local_entropy_is_the_known_one():
    # beta = .2, t = .03: one minimum only, at (-.56, 1.44) and -128.32.
    grid = window_grid(WINDOW, 0.03, 0.5)
    found = descend(
        [Stage(MB.terms, 120, 5e-3, smoothing=LocalEntropy(0.03, 0.2))], starts(65), grid=grid,
        rule=Rule("nesterov", 0.5, restart="gradient"),
    )  # fmt: skip
    np.testing.assert_allclose(found.ends, [[-0.56, 1.44]] * 65, rtol=0, atol=6e-3)
    _, value = reference.local_entropy(MB.value, found.ends[:1], 0.03, 0.2, node_points(grid))
    # The sum over nodes times h^2 and the Gaussian's density, of variance t / beta.
    assert value[0] - np.log(0.03**2 / (2 * np.pi * 0.15)) / 0.2 == pytest.approx(-128.32, abs=6e-3)


@pytest.mark.parametrize("forgetting", [None, 0.75])
def test_inner_averaging_is_the_definition(forgetting):
    smoothing = InnerLangevin(0.02, 0.2, 1e-4, steps=7, burn_in=2, forgetting=forgetting)
    x = quiet_starts(20)
    z = normals(KEY, np.arange(20), 0, 7 * 3, INNER_NOISE)

    def gradient(points, k):
        part = z[7 * k : 7 * k + 7]
        return reference.inner_langevin(MB.gradient, points, 0.02, 0.2, 1e-4, smoothing.averaging(), part, 3000.0)

    expected = reference.descend([reference.PlainStage(gradient, 3, 2e-3)], x)[0]
    found = descend([Stage(MB.terms, 3, 2e-3, smoothing=smoothing)], x, key=KEY, clip=3000.0)
    np.testing.assert_allclose(found.ends, expected, rtol=0, atol=1e-12)
    assert (found.evaluations == 21).all()


def test_inner_averaging_tends_to_the_local_entropy():
    # The mean over 20000 inner steps of 50 copies, against quadrature; its own scatter says how near it must be.
    x = np.repeat([[0.35, 0.3]], 64, axis=0)
    smoothing = InnerLangevin(0.01, 0.2, 2e-5, steps=20_000, burn_in=2000)
    sample = one_step(smoothing, x, step=1e-6, key=KEY)
    exact = reference.local_entropy(MB.value, x[:1], 0.01, 0.2, node_points(window_grid(WINDOW, 0.02, 0.5)))[0][0]
    error = sample.std(axis=0) / 8
    assert (error < 0.15 * np.linalg.norm(exact)).all()
    assert (np.abs(sample.mean(axis=0) - exact) < 4 * error + 0.02 * np.abs(exact)).all()


@pytest.mark.parametrize("time", [0.003, 0.03])
def test_hopf_lax_is_the_definition(time):
    x = starts(40)
    minimisers, minima = reference.hopf_lax(MB.value, x, time, (-2.0, 1.7, -0.7, 2.5))
    found = x - time * one_step(HopfLax(time, 20), x, window_grid(WINDOW, 0.05, 0.3), step=time)
    reached = MB.value(found) + ((found - x) ** 2).sum(axis=1) / (2 * time)
    np.testing.assert_allclose(reached, minima, rtol=1e-12, atol=1e-9)
    # Search by values is good to the root of rounding only.
    np.testing.assert_allclose(found, minimisers, rtol=0, atol=1e-6)


def test_function_restart_on_a_smoothed_potential_descends_it():
    grid = window_grid(WINDOW, 0.06, 0.4)
    for smoothing, value in (
        (LocalEntropy(0.02, 0.1), lambda p: reference.local_entropy(MB.value, p, 0.02, 0.1, node_points(grid))[1]),
        (HopfLax(0.01, 15), lambda p: reference.hopf_lax(MB.value, p, 0.01, (-2.0, 1.7, -0.7, 2.5))[1]),
    ):
        stage = Stage(MB.terms, 20, 2e-3, smoothing=smoothing)
        rule = Rule("nesterov", "k/(k+3)", restart="function", step_back=True)
        found = descend([stage], quiet_starts(3), grid=grid, rule=rule, record_every=1)
        values = np.array([value(points) for points in found.records])
        # Stepping back undoes every rise, except of the first step after a restart: gradient descent, which descends.
        assert (np.diff(values, axis=0) < 1e-7).all()
        free = descend([stage], quiet_starts(3), grid=grid, rule=Rule("nesterov", "k/(k+3)"), record_every=1)
        assert (np.diff([value(points) for points in free.records], axis=0) > 1e-3).any()


def test_narrow_well_survives_hamilton_jacobi_and_not_heat():
    potential = narrow_well()
    well = critical_points(potential, [[0.5, 1.0]])
    x = well + np.array([[0.1, 0.0], [0.0, -0.1], [0.05, 0.1]])
    heat = gradient_descent(potential.heat_smoothed(0.03).terms, x, step_size=1e-4, steps=5000)
    assert (np.linalg.norm(heat - well, axis=1) > 0.3).all()
    stage = Stage(potential.terms, 60, 5e-3, smoothing=LocalEntropy(0.01, 0.2))
    viscous = descend([stage], x, grid=window_grid(WINDOW, 0.02, 0.4)).ends
    np.testing.assert_allclose(viscous, np.tile(well, (3, 1)), rtol=0, atol=0.02)


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"stages": []}, "stage"),
        ({"starts": [[np.nan, 0.0]]}, "finite"),
        ({"starts": [1.0, 2.0]}, "finite"),
        ({"stages": [Stage(MB.terms, 1, 1e-4, 1.0)]}, "key"),
        ({"stages": [Stage(MB.terms, 1, 1e-4, smoothing=HopfLax(0.1))]}, "grid"),
        ({"stages": [Stage(MB.terms, 1, 1e-4), Stage(narrow_well().terms, 1, 1e-4)]}, "number of terms"),
        ({"rule": Rule("newton")}, "method"),
        ({"rule": Rule("nesterov", "k/(k+2)")}, "momentum"),
        ({"rule": Rule("heavy ball", 0.9, restart="gradient")}, "nesterov"),
        ({"rule": Rule("descent", 0.9)}, "no momentum"),
        ({"numbers": [1, 2]}, "numbers"),
        (
            {
                "stages": [Stage(MB.terms, 1, 1e-4, smoothing=InnerLangevin(0.1, np.inf, 1e-4))],
                "rule": Rule("nesterov", 0.9, restart="function"),
            },
            "function restart",
        ),
    ],
)
def test_nonsense_is_refused(change, match):
    arguments = {"stages": [Stage(MB.terms, 1, 1e-4)], "starts": [[0.0, 0.0]], **change}
    with pytest.raises(ValueError, match=match):
        descend(**arguments)


def test_ensembles_are_checked():
    with pytest.raises(ValueError, match="4 agents"):
        affine_invariant_langevin([EnsembleStage(MB.terms, 1, 1e-4, 0.1)], np.zeros((2, 3, 2)), key=KEY)
    with pytest.raises(ValueError, match="shape"):
        affine_invariant_langevin([EnsembleStage(MB.terms, 1, 1e-4, 0.1)], np.zeros((3, 2)), key=KEY)
    with pytest.raises(ValueError, match="at most gamma"):
        homogenised(
            [HomogenisedStage(MB.terms, 1, 0.1, 0.1, 0.0, 1e-4, 0.11)], np.zeros((2, 3, 2)),
            burn_in=0, average=1, key=KEY,
        )  # fmt: skip
