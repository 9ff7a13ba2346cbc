"""The two solvers of the distributional dynamics: exact solutions, printed values, orders, conservation."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import integrate

from meanfield.analysis.distances import empirical, kolmogorov, wasserstein, weighted
from meanfield.kernels import characteristics as kernel
from meanfield.kernels.reference import dormand_prince
from meanfield.limits import characteristics as module
from meanfield.limits.characteristics import graded_atoms, solve_characteristics
from meanfield.limits.finite_volume import _Grid, _settle, solve_finite_volume
from meanfield.limits.potentials import TabulatedDrift, radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import PiecewiseLinear
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

# The two activations of Mei, Montanari & Nguyen (2018) and the settings of their figures.
MONOTONE = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
NONMONOTONE = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
RELU = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)

ISOTROPIC = radial_potentials(IsotropicGaussians(40, 0.8, MONOTONE))
FAILURE = radial_potentials(IsotropicGaussians(320, 0.5, NONMONOTONE))
LINEAR = radial_potentials(IsotropicGaussians(40, 0.8, RELU))
GAUSSIAN = RadialLaw("gaussian", 0.8)
CONSTANT = Schedule()


def characteristics(potentials, law, time, *, atoms=400, schedule=CONSTANT, relative_tolerance=1e-7):
    return solve_characteristics(
        potentials, law, np.asarray(time, dtype=float),
        atoms=atoms, schedule=schedule, relative_tolerance=relative_tolerance,
    )  # fmt: skip


def equal_classes(potentials, law, time, *, atoms=400):
    """Records and risks of atoms of equal mass at the middle of their classes, as the printed values have them.

    By the plain integrator, from the problem's dimension.
    """
    start = law.quantile((np.arange(atoms) + 0.5) / atoms, potentials.problem.dimension)
    drift = TabulatedDrift(potentials, 8.0 * max(start.max(), 1.0))
    records, risks, _ = dormand_prince(drift, start, np.full(atoms, 1 / atoms), np.asarray(time, dtype=float), 1e-7)
    return records, risks


def levels(solution):
    """Probability of a norm up to the middle of each atom, shape (atom,)."""
    x = (np.arange(solution.mass.size) + 0.5) / solution.mass.size
    return x * x * (3 - 2 * x)


def deviation(solution):
    """Standard deviation of the norm, shape (record,)."""
    mean = solution.radius @ solution.mass
    return np.sqrt(solution.radius**2 @ solution.mass - mean**2)


def finite_volume(potentials, law, time, *, cells=10.0, courant=0.4, schedule=CONSTANT):
    return solve_finite_volume(
        potentials, law, np.asarray(time, dtype=float),
        cells_per_deviation=cells, courant=courant, schedule=schedule,
    )  # fmt: skip


def mean_norm(solution):
    centre = (solution.edge[1:] + solution.edge[:-1]) / 2
    return solution.mass @ centre


def distribution(solution):
    """Probability of a norm up to each edge, shape (record, edge)."""
    return solution.atom[:, None] + np.pad(np.cumsum(solution.mass, axis=1), ((0, 0), (1, 0)))


def transport_distance(coarse, fine):
    """Wasserstein distance of the last records, from the distribution at the coarser edges."""
    other = np.interp(coarse.edge, fine.edge, distribution(fine)[-1])
    return np.abs(distribution(coarse)[-1] - other).sum() * coarse.edge[1]


def mean_of_the_rectifier(start, time):
    """Mean norm under a rectifier: m' = 2 (a - b m), from F(r) = r R E c_+, which is linear in r."""
    positive = 0.5 * math.exp(math.lgamma(20) - math.lgamma(20.5)) / math.sqrt(math.pi)
    a, b = 0.8 / math.sqrt(2 * math.pi), 40 * positive**2 * 1.64
    return a / b + (start - a / b) * np.exp(-2 * b * np.asarray(time))


# -- exact solutions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.8, 2.5])
def test_characteristics_under_a_rectifier_move_all_norms_by_the_same_known_amount(scale):
    time = [0.0, 0.1, 1.0, 4.0]
    law = RadialLaw("gaussian", scale)
    found = characteristics(LINEAR, law, time, atoms=50, relative_tolerance=1e-9)
    start = found.mass @ found.radius[0]
    # The drift is the same at every norm; no norm reaches zero.
    shift = mean_of_the_rectifier(start, time) - start
    np.testing.assert_allclose(found.radius, found.radius[0] + shift[:, None], rtol=0, atol=2e-7)


@pytest.mark.parametrize("scale", [0.8, 2.5])
def test_finite_volume_under_a_rectifier_moves_the_mean_by_the_known_amount(scale):
    time = [0.0, 0.1, 1.0, 4.0]
    errors = []
    for cells in (5, 10, 20):
        mean = mean_norm(finite_volume(LINEAR, RadialLaw("gaussian", scale), time, cells=cells))
        errors.append(np.abs(mean - mean_of_the_rectifier(mean[0], time)).max())
    assert errors[2] < 3e-5
    # Heun's method at steps proportional to the width: second order.
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert ((orders > 1.7) & (orders < 2.4)).all(), orders


def test_finite_volume_keeps_the_shape_of_a_law_that_is_only_shifted():
    found = finite_volume(LINEAR, GAUSSIAN, [0.0, 1.0], cells=20)
    shift = mean_norm(found)[1] - mean_norm(found)[0]
    assert shift > 0.15  # about two standard deviations
    expected = GAUSSIAN.distribution(found.edge - shift, 40)
    # Numerical diffusion of a second-order scheme at 20 cells per deviation: measured 3.4e-4.
    assert np.abs(distribution(found)[1] - expected).max() < 6e-4


@pytest.mark.parametrize(
    ("activation", "dimension", "separation", "scale"),
    [
        (MONOTONE, 40, 0.8, 0.8),
        (NONMONOTONE, 320, 0.5, 0.4),
        (NONMONOTONE, 320, 0.5, 0.25),
        (MONOTONE, None, 0.4, 0.8),
    ],
)
def test_a_shell_descends_the_gradient_of_its_own_risk(activation, dimension, separation, scale):
    problem = IsotropicGaussians(dimension or 40, separation, activation)
    potentials = radial_potentials(problem, infinite=dimension is None)
    h = 1e-5

    def risk(r):  # of a single norm: 1 + 2 v(r) + u(r, r), so that its slope is 2 psi'(r)
        r = np.array([r])
        return 1 + 2 * problem.potential(r)[0] + potentials.pair(r, r)[0]

    time = [0.0, 0.05, 0.3, 1.0, 3.0]
    exact = integrate.solve_ivp(
        lambda _, y: [-(risk(y[0] + h) - risk(y[0] - h)) / (2 * h)],
        (0, time[-1]), [scale], t_eval=time, rtol=1e-10, atol=1e-10,
    )  # fmt: skip
    found = characteristics(potentials, RadialLaw("shell", scale), time, atoms=3, relative_tolerance=1e-9)
    # The difference quotient is good to h^2 R''' and eps/h, about 1e-9; the tables to 1e-8.
    np.testing.assert_allclose(found.radius, np.tile(exact.y[0][:, None], 3), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.risk, [risk(r) for r in exact.y[0]], rtol=0, atol=2e-6)


def test_a_shell_on_the_grid_stays_within_a_cell_of_the_exact_one():
    time = [0.0, 0.01, 0.1, 1.0, 3.0]
    law = RadialLaw("shell", 0.4)
    exact = characteristics(FAILURE, law, time, atoms=1).radius[:, 0]
    found = finite_volume(FAILURE, law, time, cells=2)
    width = found.edge[1]
    assert width == pytest.approx(0.4 / 50 / 2, rel=1e-14)
    # The grid sees a law one cell wide, which the drift around the repelling norm stretches: measured 0.6 of
    # a cell on the way and 0.02 at rest.
    gap = np.abs(mean_norm(found) - exact)
    assert gap[0] <= width
    assert gap.max() <= width
    assert gap[-1] <= 0.1 * width


def test_first_step_from_a_shell_is_the_drift_computed_by_hand():
    # d = infinity, Delta = 0.4: after a short time t the norm is r - 2 psi'(r) t with
    # psi' = (1/2) [(q(1.4 r) - 1) 1.4 q'(1.4 r) + (q(0.6 r) + 1) 0.6 q'(0.6 r)].
    potentials = radial_potentials(IsotropicGaussians(40, 0.4, MONOTONE), infinite=True)

    def q(t):  # -2.5 + 10 E [(tG - 1/2)_+ - (tG - 3/2)_+]
        def ramp(b):
            return t * math.exp(-((b / t) ** 2) / 2) / math.sqrt(2 * math.pi) - b * math.erfc(b / t / 2**0.5) / 2

        return -2.5 + 10 * (ramp(0.5) - ramp(1.5))

    def slope(t):
        return 10 * (math.exp(-((0.5 / t) ** 2) / 2) - math.exp(-((1.5 / t) ** 2) / 2)) / math.sqrt(2 * math.pi)

    r = 0.8
    psi = 0.5 * ((q(1.4 * r) - 1) * 1.4 * slope(1.4 * r) + (q(0.6 * r) + 1) * 0.6 * slope(0.6 * r))
    found = characteristics(potentials, RadialLaw("shell", r), [0.0, 1e-4], atoms=2)
    # Second order in t: 1e-8 times a curvature of a few tens.
    np.testing.assert_allclose(found.radius[1], r - 2e-4 * psi, rtol=0, atol=1e-6)
    assert abs(2e-4 * psi) > 1e-4
    assert found.risk[0] == pytest.approx(0.5 * (1 - q(1.4 * r)) ** 2 + 0.5 * (1 + q(0.6 * r)) ** 2, abs=1e-7)


# -- printed values ------------------------------------------------------------------------------------------

TIMES = [0, 0.001, 0.1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
# Computed by an independent program with 400 atoms.
RISKS = [
    1.7044,
    1.6964,
    1.3390,
    1.0706,
    1.0115,
    0.9497,
    0.8594,
    0.6997,
    0.5218,
    0.3826,
    0.2852,
    0.2195,
    0.1754,
]
MEANS = [0.795, 0.798, 0.980, 1.423, 1.659, 1.883, 2.119, 2.356, 2.615, 2.873, 3.102, 3.295, 3.454]
DEVIATIONS = [0.089, 0.089, 0.067, 0.069, 0.124, 0.229, 0.407, 0.692, 0.960, 1.165, 1.321, 1.442, 1.537]


@pytest.fixture(scope="module")
def isotropic():
    return characteristics(ISOTROPIC, GAUSSIAN, TIMES)


def test_atoms_of_equal_mass_reproduce_the_printed_risks_and_those_in_use_come_closer_to_the_limit(isotropic):
    risks = equal_classes(ISOTROPIC, GAUSSIAN, TIMES)[1]
    np.testing.assert_allclose(risks, RISKS, rtol=0, atol=6e-5)  # 4 decimals, half a unit and rounding
    # The converged values at t = 4 and 10, from runs with up to 6400 atoms of either kind.
    assert isotropic.risk[[6, 12]] == pytest.approx([0.85903, 0.17532], abs=1e-4)
    assert abs(risks[6] - 0.85903) > 3e-4


def test_characteristics_reproduce_the_printed_means_and_deviations_of_the_norm(isotropic):
    np.testing.assert_allclose(isotropic.radius @ isotropic.mass, MEANS, rtol=0, atol=6e-4)  # 3 decimals
    # The printed ones have equal classes, of which the outermost are too narrow at t = 4: by 1e-3.
    np.testing.assert_allclose(equal_classes(ISOTROPIC, GAUSSIAN, TIMES)[0].std(axis=1), DEVIATIONS, rtol=0, atol=6e-4)
    np.testing.assert_allclose(deviation(isotropic), DEVIATIONS, rtol=0, atol=1.5e-3)


def test_characteristics_reproduce_the_printed_quantiles_and_the_split():
    records, _ = equal_classes(ISOTROPIC, GAUSSIAN, [0, 1, 4, 10], atoms=1000)
    found = characteristics(ISOTROPIC, GAUSSIAN, [0, 1, 4, 10], atoms=1000)
    p = np.arange(0.05, 1.0, 0.1)
    printed = {
        1: [1.321, 1.353, 1.374, 1.392, 1.409, 1.426, 1.444, 1.466, 1.494, 1.545],
        2: [1.414, 1.704, 1.865, 1.987, 2.094, 2.194, 2.294, 2.402, 2.533, 2.741],
        3: [0.071, 1.51, 3.145, 3.631, 3.921, 4.136, 4.317, 4.485, 4.662, 4.905],
    }
    for record, values in printed.items():
        # Three decimals, two for 1.51 in the gap between the two groups, where few atoms are left.
        gap = np.abs(np.quantile(records[record], p) - values)
        assert (gap <= np.where(np.equal(values, 1.51), 6e-3, 1e-3)).all(), gap
        # A thousand equal classes are themselves 2.4e-3 off in the left tail at t = 4, and 1.4e-2 in the gap.
        gap = np.abs(np.interp(p, levels(found), found.radius[record]) - values)
        assert (gap <= np.where(np.equal(values, 1.51), 2e-2, 3e-3)).all(), gap
    assert found.mass @ (found.radius[3] < 0.3) == pytest.approx(0.138, abs=1e-3)
    assert found.mass @ (found.radius[3] > 3) == pytest.approx(0.77, abs=5e-3)


FAILURE_TIMES = [0, 0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]


@pytest.mark.parametrize(
    ("scale", "risks", "means"),
    [
        (
            0.1,
            [7.9844, 7.9291, 7.4379, 7.25, 7.25, 7.25, 7.25, 7.25, 7.25],
            [0.100, 0.0925, 0.0260, 0, 0, 0, 0, 0, 0],
        ),
        (
            0.4,
            [6.7745, 6.6243, 5.3461, 3.5724, 1.5364, 0.3588, 0.0277, 0.0143, 0.0143],
            [0.400, 0.4119, 0.5191, 0.7064, 1.0761, 1.5433, 1.9675, 2.0847, 2.0882],
        ),
    ],
)
def test_both_solvers_reproduce_the_printed_failure_and_escape(scale, risks, means):
    law = RadialLaw("gaussian", scale)
    lagrange = characteristics(FAILURE, law, FAILURE_TIMES)
    # Four decimals, three for the first norms.
    np.testing.assert_allclose(lagrange.risk, risks, rtol=0, atol=1e-4)
    np.testing.assert_allclose(lagrange.radius @ lagrange.mass, means, rtol=0, atol=4e-4)
    euler = finite_volume(FAILURE, law, FAILURE_TIMES, cells=8)
    # Second order at 8 cells per deviation: measured 4e-4 where the risk falls fast.
    np.testing.assert_allclose(euler.risk, risks, rtol=0, atol=8e-4)
    np.testing.assert_allclose(mean_norm(euler), means, rtol=0, atol=4e-4)


def test_absorbed_atoms_rest_exactly_at_zero_with_risk_seven_and_a_quarter():
    law = RadialLaw("gaussian", 0.1)
    lagrange = characteristics(FAILURE, law, [0.0, 0.05, 0.1, 1.0])
    assert (lagrange.radius[1:] == 0).all()
    np.testing.assert_allclose(lagrange.risk[1:], 7.25, rtol=0, atol=1e-12)
    euler = finite_volume(FAILURE, law, [0.0, 0.05, 0.1, 1.0], cells=5)
    np.testing.assert_allclose(euler.atom[1:], 1.0, rtol=0, atol=1e-12)
    assert not euler.mass[1:].any()
    np.testing.assert_allclose(euler.risk[1:], 7.25, rtol=0, atol=1e-11)
    # Absorption costs no small steps: the whole run after it takes a handful.
    assert lagrange.evaluations < 400


# -- convergence of the characteristics ----------------------------------------------------------------------


def test_graded_atoms_of_the_rayleigh_law_are_those_computed_by_hand():
    law = RadialLaw("gaussian", math.sqrt(2))  # in the plane: the Rayleigh law, F^{-1}(p) = sqrt(-2 log(1 - p))
    radius, mass = graded_atoms(law, 2, 2)
    # x = 1/4 and 3/4: p = x^2 (3 - 2x) = 5/32 and 27/32, equal masses by symmetry.
    np.testing.assert_allclose(radius, np.sqrt(-2 * np.log([27 / 32, 5 / 32])), rtol=1e-13)
    assert mass.tolist() == [0.5, 0.5]
    # x = 1/6, 1/2, 5/6: p' = 6 x (1 - x) proportional to 5 : 9 : 5.
    np.testing.assert_allclose(graded_atoms(law, 2, 3)[1], np.array([5, 9, 5]) / 19, rtol=1e-14)


@pytest.mark.parametrize(("dimension", "scale"), [(2, 1.0), (40, 0.8), (320, 0.1)])
def test_graded_atoms_have_the_mean_norm_of_their_law_to_second_order(dimension, scale):
    exact = (
        scale
        / math.sqrt(dimension)
        * math.sqrt(2)
        * math.exp(math.lgamma((dimension + 1) / 2) - math.lgamma(dimension / 2))
    )
    errors = []
    for atoms in (50, 100, 200, 400):
        radius, mass = graded_atoms(RadialLaw("gaussian", scale), dimension, atoms)
        assert mass.sum() == pytest.approx(1, abs=1e-14)
        errors.append(abs(mass @ radius - exact))
    orders = -np.diff(np.log2(errors))
    # J^-2 times a power of log J; measured 1.73 to 1.86, in the plane, where one end is not singular, up to 2.05.
    assert ((orders > 1.65) & (orders < 2.1)).all(), orders


def test_distances_of_graded_atoms_to_their_law_are_those_of_atoms_so_heavy():
    radius, mass = graded_atoms(GAUSSIAN, 40, 100)
    graded, fine = weighted(radius, mass), empirical(GAUSSIAN.quantile((np.arange(50_000) + 0.5) / 50_000, 40))
    # An atom in the middle of its class: half the heaviest mass, 1.5 / 100, away in probability.
    assert kolmogorov(graded, fine) == pytest.approx(1.5 / 200, rel=0.02)
    # A quarter of the width of a class on average, and the classes span some five deviations of 0.089.
    assert wasserstein(graded, fine, 1) == pytest.approx(0.25 * 5 * 0.089 / 100, rel=0.5)


def test_atoms_of_a_shell_coincide():
    radius, mass = graded_atoms(RadialLaw("shell", 0.4), 40, 7)
    assert (radius == 0.4).all()
    assert mass.sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("potentials", "law", "time"),
    [(ISOTROPIC, GAUSSIAN, [0, 0.1, 1]), (FAILURE, RadialLaw("gaussian", 0.4), [0, 0.01, 0.1])],
    ids=["isotropic", "escape"],
)
def test_characteristics_converge_in_the_number_of_atoms_with_order_two_up_to_a_logarithm(potentials, law, time):
    runs = [characteristics(potentials, law, time, atoms=n, relative_tolerance=1e-10) for n in (50, 100, 200, 400)]
    for values in (
        np.array([run.risk for run in runs]),
        np.array([run.radius @ run.mass for run in runs]),
    ):
        gaps = np.abs(np.diff(values, axis=0))
        orders = np.log2(gaps[:-1] / gaps[1:])
        # Measured 1.71 to 1.83; equal classes have 1.
        assert ((orders > 1.65) & (orders < 1.95)).all(), orders


@pytest.mark.parametrize(
    ("potentials", "law", "bound"),
    [
        (ISOTROPIC, GAUSSIAN, 1e-4),
        (radial_potentials(IsotropicGaussians(100, 0.8, MONOTONE)), GAUSSIAN, 1e-4),
        # The time of arrival at zero is under error control too, or this would be 4e-6.
        (FAILURE, RadialLaw("gaussian", 0.1), 2e-6),
        (FAILURE, RadialLaw("gaussian", 0.4), 2e-5),
    ],
    ids=["isotropic", "isotropic-100", "failure", "escape"],
)
def test_four_hundred_atoms_give_the_risk_to_a_ten_thousandth_over_the_whole_curve(potentials, law, bound):
    time = np.concatenate([[0], np.logspace(-4, 1, 101)])
    found = characteristics(potentials, law, time)
    fine = characteristics(potentials, law, time, atoms=1600, relative_tolerance=1e-9)
    # Measured 8.2e-5, 5.6e-5, 5e-7 and 5e-6; the largest where the flow tears the law apart, at the end.
    assert np.abs(found.risk - fine.risk).max() < bound


def test_atoms_of_equal_mass_converge_to_the_same_curve():
    time = [0, 0.1, 1]
    fine = characteristics(ISOTROPIC, GAUSSIAN, time, atoms=1600)
    gaps = []
    for atoms in (200, 400, 800):
        gaps.append(np.abs(equal_classes(ISOTROPIC, GAUSSIAN, time, atoms=atoms)[1] - fine.risk))
    orders = -np.diff(np.log2(gaps), axis=0)
    # The midpoint of the outermost class misses the tail by one over J: order one, measured 0.98 to 1.02.
    assert ((orders > 0.9) & (orders < 1.1)).all(), orders


@pytest.mark.parametrize(
    ("potentials", "law"),
    [(ISOTROPIC, GAUSSIAN), (FAILURE, RadialLaw("gaussian", 0.1)), (FAILURE, RadialLaw("shell", 0.25))],
    ids=["isotropic", "absorbed", "shell"],
)
def test_compiled_integrator_takes_the_steps_of_the_plain_one(potentials, law):
    time = np.array([0, 1e-3, 0.01, 0.012, 0.1, 2.0])
    compiled = characteristics(potentials, law, time, atoms=61)
    start, mass = graded_atoms(law, potentials.problem.dimension, 61)
    drift = TabulatedDrift(potentials, 8.0 * max(start.max(), 1.0))
    records, risks, evaluations = dormand_prince(drift, start, mass, time, 1e-7)
    assert compiled.evaluations == evaluations
    # Rounding of sums in another order, stretched by the flow: measured 6e-13.
    np.testing.assert_allclose(compiled.radius, records, rtol=0, atol=1e-11)
    np.testing.assert_allclose(compiled.risk, risks, rtol=0, atol=1e-12)


def test_tables_cost_no_accuracy():
    # The plain integrator on the closed forms themselves.
    def drift(radius, mass):
        radius = np.maximum(radius, 0)
        return ISOTROPIC.drift(radius, radius, mass), ISOTROPIC.risk(radius, mass)

    start, mass = graded_atoms(GAUSSIAN, 40, 20)
    time = np.array([0, 0.1, 1.0, 4.0])
    records, risks, _ = dormand_prince(drift, start, mass, time, 1e-7)
    found = characteristics(ISOTROPIC, GAUSSIAN, time, atoms=20)
    # Tables to 1e-10, stretched by the flow.
    np.testing.assert_allclose(found.radius, records, rtol=0, atol=2e-8)
    np.testing.assert_allclose(found.risk, risks, rtol=0, atol=1e-8)


def test_a_law_that_leaves_its_table_goes_on_with_a_larger_one(monkeypatch):
    time = [0, 0.5, 4.0]
    one = characteristics(ISOTROPIC, GAUSSIAN, time, atoms=30)
    made = []
    monkeypatch.setattr(module, "_REACH", 1.05)
    monkeypatch.setattr(module, "TabulatedDrift", lambda *a: made.append(TabulatedDrift(*a)) or made[-1])
    several = characteristics(ISOTROPIC, GAUSSIAN, time, atoms=30)
    assert [table.largest_norm / made[0].largest_norm for table in made] == [1, 2, 4]
    # The same steps but for those repeated; other tables, to 1e-10, and the flow stretches their difference.
    np.testing.assert_allclose(several.radius, one.radius, rtol=0, atol=1e-7)
    np.testing.assert_allclose(several.risk, one.risk, rtol=0, atol=1e-7)


def test_the_tableau_is_that_of_dormand_and_prince():
    # SciPy's table of the same pair; its error weights have the other sign.
    pair = integrate.RK45
    np.testing.assert_allclose(kernel.STAGES[:5, :5], np.vstack([pair.A[1:], pair.A[:0]])[:5], rtol=1e-15, atol=0)
    np.testing.assert_allclose(kernel.STAGES[5], pair.B, rtol=1e-15, atol=0)
    np.testing.assert_allclose(kernel.ERROR, -pair.E, rtol=1e-14, atol=1e-17)


def test_records_between_steps_are_as_good_as_the_steps():
    # dr/dt = r (3 - 2 r) stands in for the drift: r = 3 / (2 + e^{-3t}) from r(0) = 1. Records every thousandth.
    time = np.linspace(0, 1, 1001)
    exact = 3 / (2 + np.exp(-3 * time))
    for tolerance in (1e-4, 1e-6, 1e-8):
        records, _, evaluations = dormand_prince(
            lambda r, _: (r * (3 - 2 * r), 0.0), np.ones(1), np.ones(1), time, tolerance
        )
        steps = (evaluations - time.size) / 6
        assert steps < 60
        # One local error per step, and half a dozen of them overlap; linear interpolation would be off by h^2/8.
        assert np.abs(records[:, 0] - exact).max() < 3 * tolerance


def test_characteristics_converge_with_the_tolerance():
    def run(tolerance):
        return characteristics(ISOTROPIC, GAUSSIAN, [0, 2], atoms=100, relative_tolerance=tolerance)

    fine = run(1e-11)
    tolerances = np.array([1e-3, 1e-5, 1e-7])
    runs = [run(tolerance) for tolerance in tolerances]
    errors = np.array([np.abs(r.radius[1] - fine.radius[1]).max() for r in runs])
    # Local errors of the size of the tolerance add up, and this flow stretches them: measured a factor of 4.
    assert (errors < 20 * tolerances).all(), errors
    assert (errors[1:] < errors[:-1] / 10).all(), errors
    assert runs[0].evaluations < runs[1].evaluations < runs[2].evaluations < fine.evaluations


def test_records_do_not_depend_on_other_records():
    # Steps do not end at records.
    few = characteristics(ISOTROPIC, GAUSSIAN, [0, 1], atoms=50)
    many = characteristics(ISOTROPIC, GAUSSIAN, np.linspace(0, 2, 81), atoms=50)
    assert np.array_equal(many.radius[40], few.radius[1])
    assert many.risk[40] == few.risk[1]
    assert many.time.tolist() == np.linspace(0, 2, 81).tolist()
    assert np.array_equal(many.radius[0], graded_atoms(GAUSSIAN, 40, 50)[0])


def test_order_of_atoms_is_kept_along_the_flow(isotropic):
    # Characteristics of one drift field never cross; atoms absorbed at zero are equal.
    assert (np.diff(isotropic.radius, axis=1) >= -1e-9).all()
    assert (isotropic.radius >= 0).all()


# -- the finite-volume scheme --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("potentials", "law", "last"),
    [
        (ISOTROPIC, GAUSSIAN, 6.0),
        (FAILURE, RadialLaw("gaussian", 0.1), 0.3),
        (FAILURE, RadialLaw("gaussian", 0.2), 0.3),
        (FAILURE, RadialLaw("shell", 0.25), 1.0),
    ],
    ids=["isotropic", "absorbed", "split", "shell"],
)
@pytest.mark.parametrize("courant", [0.25, 0.5])
def test_finite_volume_conserves_mass_and_keeps_it_non_negative(potentials, law, last, courant):
    found = finite_volume(potentials, law, np.linspace(0, last, 13), cells=5, courant=courant)
    total = found.mass.sum(axis=1) + found.atom
    # Rounding of some thousand steps on cells that add up to one.
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-12)
    assert found.mass_error < 1e-12
    assert (found.mass >= 0).all()
    assert (found.atom >= 0).all()


@pytest.mark.parametrize("last", [0.1, 1.0])
def test_finite_volume_is_of_second_order_in_the_law_while_it_is_smooth(last):
    runs = [finite_volume(ISOTROPIC, GAUSSIAN, [0, last], cells=cells) for cells in (10, 20, 40, 80)]
    gaps = np.array([transport_distance(a, b) for a, b in itertools.pairwise(runs)])
    orders = np.log2(gaps[:-1] / gaps[1:])
    # Measured 2.0 to 2.2.
    assert ((orders > 1.6) & (orders < 2.4)).all(), orders


def test_finite_volume_converges_to_the_characteristics():
    time = [0, 1, 4]
    exact = characteristics(ISOTROPIC, GAUSSIAN, time, atoms=1600)
    p = levels(exact)
    errors = []
    for cells in (5, 10, 20):
        found = finite_volume(ISOTROPIC, GAUSSIAN, time, cells=cells)
        table = distribution(found)
        gaps = [exact.mass @ np.abs(np.interp(exact.radius[n], found.edge, table[n]) - p) for n in range(3)]
        errors.append([*gaps, abs(found.risk[2] - exact.risk[2])])
    errors = np.array(errors)
    # Measured ratios 3.9 to 4.6.
    assert (errors[1] < errors[0] / 3).all(), errors
    assert (errors[2] < errors[1] / 3).all(), errors
    assert (errors[2] < 2e-3).all(), errors


def test_initial_cells_hold_the_mass_of_the_law():
    found = finite_volume(ISOTROPIC, GAUSSIAN, [0.0], cells=10)
    assert found.edge[1] == pytest.approx(GAUSSIAN.deviation(40) / 10, rel=1e-14)
    np.testing.assert_allclose(distribution(found)[0], GAUSSIAN.distribution(found.edge, 40), rtol=0, atol=1e-14)
    assert found.steps == 0
    # The printed 1.7044 is that of 400 atoms, 4e-5 below the law itself.
    assert found.risk[0] == pytest.approx(1.7045, abs=1e-4)


def test_the_grid_grows_when_mass_runs_outwards():
    found = finite_volume(FAILURE, RadialLaw("gaussian", 0.4), [0.0, 1.0], cells=5)
    start = finite_volume(FAILURE, RadialLaw("gaussian", 0.4), [0.0], cells=5)
    assert start.edge[-1] < 1.0
    assert found.edge[-1] > 2.2
    assert np.array_equal(found.edge[: start.edge.size], start.edge)
    assert found.mass.shape == (2, found.edge.size - 1)
    np.testing.assert_allclose(found.mass.sum(axis=1), 1, rtol=0, atol=1e-12)


def test_atom_at_zero_dissolves_where_the_drift_points_outwards_and_stays_where_it_does_not():
    mass = np.zeros(20)
    mass[10] = 0.25
    outwards = _Grid(LINEAR, 0.05, 20)
    new, atom, drift = _settle(outwards, mass, 0.75)
    assert drift[0] > 0
    assert atom == 0
    assert new[0] == 0.75
    assert new[10] == 0.25
    assert mass[0] == 0  # the caller's masses are left alone
    inwards = _Grid(FAILURE, 0.05, 20)
    new, atom, drift = _settle(inwards, mass * 0.01, 0.9975)
    assert drift[0] < 0
    assert atom == 0.9975
    assert np.array_equal(new, mass * 0.01)


def test_faces_of_the_grid_carry_the_drift_of_the_potentials():
    grid = _Grid(ISOTROPIC, 0.05, 60)
    centre = (grid.edge[1:] + grid.edge[:-1]) / 2
    mass = np.exp(-((centre - 1) ** 2) / 0.1)
    mass *= 0.9 / mass.sum()
    drift = grid.drift(mass, 0.1)
    atoms = np.append(0.0, centre)
    expected = ISOTROPIC.drift(grid.edge, atoms, np.append(0.1, mass))
    # Cell averages of the features against their midpoint values: width^2 F''/24, measured 1.5e-3.
    np.testing.assert_allclose(drift, expected, rtol=0, atol=3e-3)
    assert grid.risk(mass, 0.1) == pytest.approx(ISOTROPIC.risk(atoms, np.append(0.1, mass)), abs=5e-4)
    assert np.abs(expected).max() > 1


def test_features_of_a_cell_are_their_averages_over_it():
    grid = _Grid(ISOTROPIC, 0.01, 100)
    fine = (np.arange(100 * 50) + 0.5) * 0.01 / 50
    expected = ISOTROPIC.features(fine).reshape(-1, 100, 50).mean(axis=2)
    # Midpoint rule on 50 pieces, (0.01/50)^2 F''/24 with F'' of some thousands at the outermost nodes; the
    # value at the centre of the cell would be off by 2500 times that.
    np.testing.assert_allclose(grid.features, expected, rtol=0, atol=5e-6)


def test_flux_of_a_linear_profile_is_the_one_computed_by_hand():
    # Masses 1, 2, 3 in cells of width 0.5, drift 1: the face carries the upwind density at the face,
    # (2 + 1/2)/0.5 between the second and the third cell; the first cell has no slope.
    grid = _Grid(ISOTROPIC, 0.5, 3)
    assert grid.fluxes(np.array([1.0, 2.0, 3.0]), np.ones(4)).tolist() == [0.0, 2.0, 5.0, 0.0]
    # Drift -1: from the right, (3 - 0)/0.5 and (2 - 1/2)/0.5; the first face empties the first cell.
    assert grid.fluxes(np.array([1.0, 2.0, 3.0]), -np.ones(4)).tolist() == [-2.0, -3.0, -6.0, 0.0]
    # At a maximum the limiter sets the slope to zero; otherwise it is the harmonic mean, 2*1*3/(1+3) = 1.5.
    assert grid.fluxes(np.array([1.0, 2.0, 1.0]), np.ones(4)).tolist() == [0.0, 2.0, 4.0, 0.0]
    assert grid.fluxes(np.array([1.0, 2.0, 5.0]), np.ones(4)).tolist() == [0.0, 2.0, 5.5, 0.0]


@pytest.mark.parametrize("courant", [0.0, -0.1, 0.51, 1.0, math.nan])
def test_a_courant_number_beyond_one_half_is_refused(courant):
    with pytest.raises(ValueError, match=r"Courant number must lie in \(0, 0.5\]"):
        finite_volume(ISOTROPIC, GAUSSIAN, [0, 1], courant=courant)


# -- structure of the flow -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("potentials", "law", "last"),
    [
        (ISOTROPIC, GAUSSIAN, 10.0),
        (FAILURE, RadialLaw("gaussian", 0.4), 1.0),
        (FAILURE, RadialLaw("gaussian", 0.1), 0.1),
    ],
    ids=["isotropic", "escape", "failure"],
)
def test_risk_never_grows_along_the_flow(potentials, law, last):
    time = np.linspace(0, last, 60)
    # 1e-9: the tables of the features.
    assert (np.diff(characteristics(potentials, law, time).risk) <= 1e-9).all()
    assert (np.diff(finite_volume(potentials, law, time, cells=5).risk) <= 1e-9).all()


@pytest.mark.parametrize(("potentials", "law"), [(ISOTROPIC, GAUSSIAN), (FAILURE, RadialLaw("gaussian", 0.4))])
def test_risk_falls_at_the_rate_of_the_mean_squared_drift(potentials, law):
    # dR/dclock = 2 int psi' b drho with b = -2 psi', hence -int b^2 drho.
    h = 1e-3
    for centre in (0.05, 0.4):
        found = characteristics(potentials, law, [0, centre - h, centre, centre + h], relative_tolerance=1e-9)
        rate = (found.risk[3] - found.risk[1]) / (2 * h)
        drift = potentials.drift(found.radius[2], found.radius[2], found.mass)
        # h^2 R'''/6; R falls on scales of 0.05 and more.
        assert rate == pytest.approx(-found.mass @ drift**2, rel=5e-4)


@pytest.mark.parametrize("solve", [characteristics, finite_volume])
def test_a_power_law_equals_the_constant_schedule_at_equal_clock(solve):
    schedule = Schedule(0.5, -0.5)  # clock sqrt(t)
    clock = np.array([0.0, 0.25, 0.5, 1.0])
    power = solve(ISOTROPIC, GAUSSIAN, clock**2, schedule=schedule)
    constant = solve(ISOTROPIC, GAUSSIAN, clock)
    # Squares and roots of these times are exact.
    assert np.array_equal(power.risk, constant.risk)
    assert power.time.tolist() == (clock**2).tolist()


def test_a_coefficient_of_two_doubles_the_speed():
    fast = characteristics(ISOTROPIC, GAUSSIAN, [0, 0.5], schedule=Schedule(2.0))
    slow = characteristics(ISOTROPIC, GAUSSIAN, [0, 1.0])
    assert np.array_equal(fast.radius, slow.radius)


def test_high_dimension_approaches_the_limit_dynamics():
    # Equal initial laws, so that potentials alone differ: a gap like 1/d.
    gaps = []
    for dimension in (160, 640):
        problem = IsotropicGaussians(dimension, 0.5, MONOTONE)
        law = RadialLaw("shell", 0.8)
        finite = characteristics(radial_potentials(problem), law, [0, 1], atoms=2)
        limit = characteristics(radial_potentials(problem, infinite=True), law, [0, 1], atoms=2)
        gaps.append(abs(finite.risk[1] - limit.risk[1]))
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.03)
    assert gaps[1] < 0.02


def test_limit_dynamics_starts_from_the_law_of_the_finite_dimension():
    problem = IsotropicGaussians(40, 0.8, MONOTONE)
    limit = radial_potentials(problem, infinite=True)
    lagrange = characteristics(limit, GAUSSIAN, [0, 1], atoms=1000)
    euler = finite_volume(limit, GAUSSIAN, [0, 1], cells=20)
    assert np.array_equal(lagrange.radius[0], graded_atoms(GAUSSIAN, 40, 1000)[0])
    # R = mean square over the two classes of the mean prediction: a one-dimensional integral each.
    r = lagrange.radius[0]
    wide, narrow = lagrange.mass @ MONOTONE.gaussian_mean(1.8 * r), lagrange.mass @ MONOTONE.gaussian_mean(0.2 * r)
    assert lagrange.risk[0] == pytest.approx(0.5 * (1 - wide) ** 2 + 0.5 * (1 + narrow) ** 2, abs=1e-8)
    np.testing.assert_allclose(euler.risk, lagrange.risk, rtol=0, atol=1e-4)


def test_a_shell_on_the_attractor_of_the_limit_has_the_printed_risk():
    potentials = radial_potentials(IsotropicGaussians(320, 0.5, NONMONOTONE), infinite=True)
    found = characteristics(potentials, RadialLaw("shell", 0.4), [0, 20], atoms=2)
    assert found.radius[1, 0] == pytest.approx(2.0877, abs=6e-5)
    assert found.risk[1] == pytest.approx(0.00830, abs=6e-6)


@pytest.mark.parametrize(("start", "rest"), [(0.19, 0.0), (0.205, 2.0882)])
def test_the_repelling_norm_separates_failure_from_escape(start, rest):
    # The one-shell drift vanishes at 0.1963 in d = 320.
    found = characteristics(FAILURE, RadialLaw("shell", start), [0, 20], atoms=2)
    np.testing.assert_allclose(found.radius[1], rest, rtol=0, atol=6e-5)


@pytest.mark.parametrize("solve", [characteristics, finite_volume])
def test_a_solution_that_stops_being_finite_is_an_error(solve):
    broken = dataclasses.replace(ISOTROPIC, weights=np.full_like(ISOTROPIC.weights, np.nan))
    with pytest.raises(FloatingPointError, match="stopped being finite at clock 0"):
        solve(broken, GAUSSIAN, [0, 1])


def test_solutions_report_the_errors_of_their_quadrature_and_tables():
    found = characteristics(ISOTROPIC, GAUSSIAN, [0, 0.1], atoms=20)
    assert found.quadrature_error == ISOTROPIC.error
    assert 0 < found.table_error < 1e-8
    assert finite_volume(ISOTROPIC, GAUSSIAN, [0.0], cells=5).quadrature_error == ISOTROPIC.error
