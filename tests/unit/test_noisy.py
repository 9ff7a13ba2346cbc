"""The distributional dynamics with diffusion: exact laws, orders, free energy, rest, and runs of noisy SGD."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from meanfield.limits.characteristics import solve_characteristics
from meanfield.limits.noisy import (
    NoisySolution,
    _bernoulli,
    _Cells,
    _log_measure,
    reach_of,
    solve_noisy,
    stationary_law,
)
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.noisy_runs import run_noisy
from meanfield.problems.activations import PiecewiseLinear, make_activation
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

RAMP = {"kind": "piecewise_linear", "knots": [0.5, 1.5], "values": [-2.5, 7.5], "left_slope": 0.0, "right_slope": 0.0}
FLAT = PiecewiseLinear((0.0,), (0.3,))


@pytest.fixture(scope="module")
def potentials():
    return radial_potentials(IsotropicGaussians(5, 0.8, make_activation(RAMP)))


def solve(
    potentials, law, time, cells=120, step=0.02, beta=50.0, regularisation=0.05, reach=None, largest=0.1
) -> NoisySolution:
    rest = stationary_law(potentials, inverse_temperature=beta, regularisation=regularisation)
    return solve_noisy(
        potentials, law, np.asarray(time), inverse_temperature=beta, regularisation=regularisation,
        reach=reach or reach_of(potentials, [law], [rest]), cells=cells, relative_step=step, largest_step=largest,
    )  # fmt: skip


@pytest.mark.parametrize("dimension", [2, 7])
def test_without_a_potential_the_law_is_that_of_ornstein_and_uhlenbeck(dimension):
    # A flat activation has no force: |w| of normal weights of variance s(t) = s0 e^(-4 l t) + (1 - e^(-4 l t))/(b l).
    flat = radial_potentials(IsotropicGaussians(dimension, 0.5, FLAT))
    beta, lam, scale, times = 4.0, 0.5, 0.4, np.array([0.0, 0.05, 0.4])
    errors = []
    for refined in (1, 2):
        found = solve(
            flat, RadialLaw("gaussian", scale), times, cells=60 * refined, step=0.02 / refined**2, beta=beta,
            regularisation=lam, reach=5.0, largest=0.02 / refined**2,
        )  # fmt: skip
        decay = np.exp(-4 * lam * times)
        variance = scale**2 / dimension * decay + (1 - decay) / (beta * lam)
        exact = stats.chi.cdf(found.edge[1:] / np.sqrt(variance)[:, None], dimension)
        errors.append(np.abs(np.cumsum(found.mass, axis=1) - exact)[1:].max())
    assert errors[1] < 8e-3
    assert errors[0] / errors[1] > 3  # order two in the cells, one in the steps


def test_the_law_at_rest_is_the_boltzmann_law_without_a_potential():
    flat = radial_potentials(IsotropicGaussians(4, 0.5, FLAT))
    rest = stationary_law(flat, inverse_temperature=5.0, regularisation=0.4)
    # Variance 1/(b l) = .5 of each weight: E|w|^2 = 2, ln Z = 2 ln(2 pi .5) less ln of the sphere's area.
    assert rest.mass @ rest.radius**2 == pytest.approx(2.0, rel=1e-10)
    logarithm = np.log(quad(lambda r: r**3 * np.exp(-(r**2)), 0, np.inf)[0])
    assert rest.free_energy == pytest.approx(rest.risk / 2 - logarithm / 5, rel=1e-10)
    assert rest.risk == pytest.approx(1 + 0.3**2, rel=1e-10)


@pytest.mark.parametrize("beta", [10.0, 250.0])
def test_the_free_energy_falls_to_that_of_the_boltzmann_law(potentials, beta):
    rest = stationary_law(potentials, inverse_temperature=beta, regularisation=0.05)
    assert rest.residual < 1e-11
    found = solve(potentials, RadialLaw("gaussian", 2.0), [0.0, 1.0, 300.0], beta=beta, step=0.05, largest=2.0)
    assert found.largest_rise <= 1e-12
    assert found.smallest_mass >= 0
    assert found.mass_error < 1e-11
    finer = solve(
        potentials,
        RadialLaw("gaussian", 0.3),
        [0.0, 300.0],
        beta=beta,
        step=0.05,
        cells=240,
        reach=found.edge[-1],
        largest=2.0,
    )
    gaps = [abs(one.free_energy[-1] - rest.free_energy) for one in (found, finer)]
    assert gaps[1] < 0.35 * gaps[0] < 2e-3  # order two
    assert found.risk[-1] == pytest.approx(rest.risk, abs=5e-3)
    assert finer.risk[-1] == pytest.approx(rest.risk, abs=1.3e-3)


def test_fixed_points_are_boltzmann_laws_by_a_plain_iteration(potentials):
    # Damped iteration on a grid of its own.
    beta, lam = 20.0, 0.1
    r = np.linspace(1e-3, 9, 6001)
    mass, features = np.full(r.size, 1 / r.size), potentials.features(r)
    for _ in range(800):
        psi = (potentials.weights * (features @ mass - potentials.targets)) @ features
        exponent = 4 * np.log(r) - beta * (psi + lam / 2 * r**2)
        new = np.exp(exponent - exponent.max())
        mass = 0.97 * mass + 0.03 * new / new.sum()
    rest = stationary_law(potentials, inverse_temperature=beta, regularisation=lam)
    assert rest.risk == pytest.approx(potentials.risk(r, mass), abs=1e-5)
    assert rest.mass @ rest.radius == pytest.approx(mass @ r, abs=1e-5)


def test_little_noise_leaves_the_dynamics_without_noise(potentials):
    law, times = RadialLaw("gaussian", 0.8), np.array([0.0, 0.1, 0.3])
    without = solve_characteristics(potentials, law, times, atoms=400, schedule=Schedule(), relative_tolerance=1e-8)
    fine, rough = (
        solve_noisy(
            potentials, law, times, inverse_temperature=1e5, regularisation=1e-4, reach=4.0, cells=cells,
            relative_step=0.01, largest_step=0.01,
        ).risk
        for cells in (800, 400)
    )  # fmt: skip
    # Upstream differences smear the law where noise is weak, as wide as the cells.
    np.testing.assert_allclose(fine, without.risk, atol=0.05)
    assert np.abs(fine - without.risk).max() < 0.4 * np.abs(rough - without.risk).max()


def test_bernoulli_and_cell_measures():
    x = np.array([-700.0, -3.0, -1e-3, 0.0, 1e-3, 2.0, 700.0])
    value, slope = _bernoulli(x)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(value[[1, 2, 4, 5]], (x / np.expm1(x))[[1, 2, 4, 5]], rtol=1e-12)
    assert value[3] == 1
    assert slope[3] == -0.5
    np.testing.assert_allclose(_bernoulli(-x[1:6])[0], value[1:6] + x[1:6], rtol=1e-12)  # B(-x) = B(x) + x
    h = 1e-5
    np.testing.assert_allclose(slope[1:6], ((_bernoulli(x + h)[0] - _bernoulli(x - h)[0]) / (2 * h))[1:6], atol=1e-9)
    # Cells of the plane: areas of rings over 2 pi; and no underflow in many dimensions.
    np.testing.assert_allclose(np.exp(_log_measure(np.array([0.0, 1.0, 3.0]), 2)), [0.5, 4.0])
    assert np.isfinite(_log_measure(np.linspace(0, 1, 50), 2000)).all()


def test_fluxes_vanish_in_the_discrete_boltzmann_law(potentials):
    cells = _Cells(potentials, 6.0, 80, 20.0, 0.1)
    mass = np.full(80, 1 / 80)
    for _ in range(3000):
        new = np.exp(-20.0 * (cells.potential(mass) - cells.potential(mass).min()))
        mass = 0.97 * mass + 0.03 * new / new.sum()
    np.testing.assert_allclose(cells.step(mass, 10.0), mass, atol=1e-10)


def test_noisy_sgd_follows_the_limit(potentials):
    settings = {
        "experiment": "noisy", "seed": 3, "problem": {"dimension": 5, "separation": 0.8}, "activation": RAMP,
        "initial_law": {"kind": "gaussian", "scale": 0.8}, "times": [0.0, 0.1, 0.5, 9.0], "last_time": 0.5,
        "inverse_temperatures": [10.0], "regularisation": 0.05, "neurons": 100, "step_size": 1e-3, "replicates": 40,
        "precision": "float32", "directions": 16,
    }  # fmt: skip
    found = run_noisy(**settings)
    limit = solve(potentials, RadialLaw("gaussian", 0.8), [0.0, 0.1, 0.5], beta=10.0)
    centre = (limit.edge[1:] + limit.edge[:-1]) / 2
    mean = found.norm[0].mean(axis=(0, 2))
    # A hundred neurons are 0.02 off (400 replicates, with noise in blocks and step by step); a standard error is 0.006.
    np.testing.assert_allclose(mean, limit.mass @ centre, atol=0.04)
    # Half the diffusion, the printed factor, would widen the law by half as much.
    spread = found.norm[0].reshape(40, 3, -1).transpose(1, 0, 2).reshape(3, -1).std(axis=1)
    expected = np.sqrt(limit.mass @ centre**2 - (limit.mass @ centre) ** 2)
    np.testing.assert_allclose(spread, expected, rtol=0.1)
    assert found.risk.shape == (1, 40, 3)
    assert found.risk.mean(axis=1)[0, 2] == pytest.approx(limit.risk[2] + 7 / 100, abs=0.12)
