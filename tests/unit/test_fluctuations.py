"""Linearised fluctuations: by differences of the limit, by particles, in closed form; averages of short runs of SGD."""

import numpy as np
import pytest

from meanfield.fluctuation_runs import RiskMeter, cells, run_ensemble
from meanfield.kernels import characteristics as kernel
from meanfield.limits.fluctuations import AbsorptionError, Features, influence, predict, width_bias
from meanfield.limits.potentials import TabulatedDrift, radial_potentials
from meanfield.problems.activations import PiecewiseLinear, make_activation
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

RAMP = {"kind": "piecewise_linear", "knots": [0.5, 1.5], "values": [-2.5, 7.5], "left_slope": 0.0, "right_slope": 0.0}
LAW = RadialLaw("gaussian", 0.8)
NAMES = ["norm", "squared_norm", "tanh_norm", "cosine_norm", "bump_norm", "risk"]


@pytest.fixture(scope="module")
def potentials():
    return radial_potentials(IsotropicGaussians(10, 0.8, make_activation(RAMP)))


def moved(potentials, radius, mass, time):
    """Return norms at a time and the risk there, from atoms of any masses."""
    drift = TabulatedDrift(potentials, 10.0)
    records, risks = np.empty((1, radius.size)), np.empty(1)
    kernel.integrate(radius.copy(), mass, np.array([time]), 0, 0.0, 0.0, 1e-11, 10.0, drift.arrays, records, risks)
    return records[0], risks[0]


def test_features_have_the_derivatives_of_the_potentials(potentials):
    features = Features(potentials, 5.0)
    assert features.error < 1e-7
    r = np.array([0.3, 1.1, 2.7])
    roots = features.roots[:, None]
    np.testing.assert_allclose(features.basis @ features.value(r), roots * potentials.features(r), atol=1e-7)
    np.testing.assert_allclose(features.basis @ features.slope(r), roots * potentials.feature_derivatives(r), atol=1e-7)
    # Second derivatives count by the drift's: inputs of great norm have sharp features and next to no weight.
    atoms, mass, h = np.array([0.5, 1.5]), np.array([0.4, 0.6]), 1e-4
    by_difference = (potentials.drift(r + h, atoms, mass) - potentials.drift(r - h, atoms, mass)) / (2 * h)
    error = features.basis.T @ features.residual - features.value(atoms) @ mass
    np.testing.assert_allclose(2 * error @ features.bend(r), by_difference, rtol=1e-5)


def test_the_influence_is_the_derivative_in_the_mass_of_neurons(potentials):
    # A little mass is moved to one atom; the flow of all atoms, by another integrator, answers.
    time, names = 0.3, ["norm", "tanh_norm", "risk"]
    radius, mass, found = influence(potentials, LAW, time, names, atoms=100, steps=100)
    for atom in (5, 50, 93):
        ends = []
        for sign in (1, -1):
            share = sign * 1e-5
            shifted = (1 - share) * mass
            shifted[atom] += share
            r, risk = moved(potentials, radius, shifted, time)
            ends.append([r @ shifted, np.tanh(r) @ shifted, risk])
        by_difference = (np.array(ends[0]) - np.array(ends[1])) / 2e-5
        np.testing.assert_allclose(found[atom], by_difference, atol=2e-5 * np.abs(found).max(axis=0).max())


@pytest.mark.parametrize("kind", ["tanh", "ramp"])
def test_the_adjoint_is_the_derivative_in_the_scale(kind):
    smooth = {"kind": "tanh", "amplitude": 3.0, "gain": 1.5, "shift": 0.5, "offset": 0.5}
    problem = IsotropicGaussians(6, 0.6, make_activation(smooth if kind == "tanh" else RAMP))
    potentials, times = radial_potentials(problem), np.array([0.0, 0.1, 0.5])
    found = predict(potentials, LAW, times, NAMES, atoms=100, steps=100)
    h = 1e-3
    up, down = (
        predict(potentials, RadialLaw("gaussian", 0.8 * (1 + s)), times, NAMES, atoms=100, steps=8) for s in (h, -h)
    )
    difference = (up.mean - down.mean) / (2 * h)
    np.testing.assert_allclose(
        found.scale_derivative, difference, atol=1e-5 * np.abs(difference).max(axis=1).max(), rtol=1e-4
    )


def test_variances_at_the_start_are_those_of_independent_neurons(potentials):
    found = predict(potentials, LAW, np.array([0.0, 0.1]), NAMES, atoms=2000, steps=20)
    assert found.initial[0, 0] == pytest.approx(LAW.deviation(10) ** 2, rel=1e-4)
    # |w|^2 of N(0, .064 I_10): 2 * 10 * .064^2.
    assert found.initial[1, 0] == pytest.approx(0.08192, rel=1e-4)
    np.testing.assert_allclose(found.initial[:-1, 0], found.spread[:-1, 0], rtol=1e-12)
    assert (found.data[:, 0] == 0).all()


def test_deviations_of_the_radial_particle_system_are_the_known_ones():
    # 240 runs of the deterministic system, d = 40, t = .3: .0126 and .0206, standard errors 4.6 %.
    potentials = radial_potentials(IsotropicGaussians(40, 0.8, make_activation(RAMP)))
    found = predict(potentials, LAW, np.array([0.0, 0.3]), ["norm", "risk"], atoms=400, steps=100)
    assert found.mean[:, 1] == pytest.approx([1.153713, 1.180583], abs=2e-5)
    assert np.sqrt(found.initial[:, 1]) == pytest.approx([0.0206, 0.0126], rel=0.14)
    # The same by 1000 systems of 50 particles of our own.
    rng = np.random.default_rng(1)
    drift, ends = TabulatedDrift(potentials, 10.0), []
    for _ in range(1000):
        radius, mass = 0.8 / np.sqrt(40) * np.sqrt(rng.chisquare(40, 50)), np.full(50, 0.02)
        records, risks = np.empty((1, 50)), np.empty(1)
        kernel.integrate(radius, mass, np.array([0.3]), 0, 0.0, 0.0, 1e-6, 10.0, drift.arrays, records, risks)
        ends.append([records.mean(), risks[0]])
    deviation = np.std(ends, axis=0) * np.sqrt(50)
    assert deviation == pytest.approx(np.sqrt(found.initial[:, 1]), rel=0.08)  # 3.5 standard errors


def test_the_noise_of_one_step_is_that_of_sampled_steps(potentials):
    # One step of a wide network from many samples: variance of the mean of f over the step size, at time 0.
    found = predict(potentials, LAW, np.array([0.0, 1e-3]), ["norm", "tanh_norm"], atoms=400, steps=8)
    rate = found.data[:, 1] / 1e-3
    problem = potentials.problem
    weights = LAW.sample(4000, 10, 0, "noise", 0)
    inputs, targets = problem.samples(0, "noise", 0, 0, 3000)
    norms = np.linalg.norm(weights, axis=1)
    z = inputs @ weights.T
    residual = 2 * (targets - problem.activation(z).mean(axis=1))
    pull = problem.activation.derivative(z) * z / norms  # sigma' <w, x>/|w|
    moves = [residual * (pull * slope).mean(axis=1) for slope in (np.ones(4000), 1 / np.cosh(norms) ** 2)]
    assert np.var(moves, axis=1) == pytest.approx(rate, rel=0.12)


def test_neurons_that_reach_zero_are_refused():
    dip = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
    potentials = radial_potentials(IsotropicGaussians(20, 0.5, dip))
    with pytest.raises(AbsorptionError, match="reach zero at t = "):
        predict(potentials, RadialLaw("gaussian", 0.1), np.array([0.0, 1.0]), ["norm"], atoms=50, steps=10)


def test_the_bias_of_the_risk_is_the_known_one():
    # Both brackets for d = 40, kappa = .8, and for the other problem.
    x = (np.arange(4000) + 0.5) / 4000
    ramp = radial_potentials(IsotropicGaussians(40, 0.8, make_activation(RAMP)))
    assert width_bias(ramp, LAW.quantile(x, 40)[None], np.full(4000, 1 / 4000))[0] == pytest.approx(7.412, abs=2e-3)
    dip = radial_potentials(IsotropicGaussians(320, 0.5, PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))))
    r = RadialLaw("gaussian", 0.4).quantile(x, 320)[None]
    assert width_bias(dip, r, np.full(4000, 1 / 4000))[0] == pytest.approx(1.5836, abs=1e-3)


def test_the_risk_in_two_parts_is_the_risk_by_all_pairs(potentials):
    meter = RiskMeter(potentials.problem, 32)
    weights = LAW.sample(40, 10, 0, "risk", 0)
    norms = np.linalg.norm(weights, axis=1)
    rests = [meter.rest(weights, np.random.default_rng(n)) for n in range(60)]
    rest = potentials.problem.risk(weights) - meter.averaged(norms)
    assert np.mean(rests) == pytest.approx(rest, abs=4 * np.std(rests) / np.sqrt(60))
    assert np.std(rests) < 0.2 * rest
    assert meter.averaged(norms) == pytest.approx(potentials.risk(norms, np.full(40, 1 / 40)), abs=1e-8)


@pytest.fixture(scope="module")
def ensemble():
    return {
        "experiment": "fluctuations", "seed": 1, "problem": {"dimension": 10, "separation": 0.8}, "activation": RAMP,
        "initial_law": {"kind": "gaussian", "scale": 0.8}, "precision": "float32", "times": [0.0, 0.05, 0.1],
        "law_times": [0.1], "test_functions": ["norm", "tanh_norm"],
        "ensemble": {"neurons": [40], "noise_ratio": 0.02, "replicates": 400, "directions": 2},
    }  # fmt: skip


def test_sgd_fluctuates_as_the_linearised_equation_says(ensemble, potentials):
    (cell,) = run_ensemble(**ensemble)
    found = predict(potentials, LAW, np.array(ensemble["times"]), ["norm", "tanh_norm"], atoms=200, steps=40)
    variance = 40 * cell.mean.var(axis=1, ddof=1)
    # Standard error of a variance of 400 runs: 7 %; the next order in 1/N adds some.
    np.testing.assert_allclose(variance, found.initial + 0.02 * found.data, rtol=0.25)
    assert cell.iteration.tolist() == [0, 100, 200]
    np.testing.assert_allclose(cell.norm[:, 0].mean(axis=1), cell.mean[0, :, 2], rtol=1e-6)
    excess = cell.risk.mean(axis=0) - cell.averaged_risk.mean(axis=0)
    # Independent at time 0; training lowers the risk in the directions that rotations average over.
    independent = width_bias(potentials, found.limit.radius, found.limit.mass) / 40
    assert excess[0] == pytest.approx(independent[0], rel=0.1)
    assert (excess[1:] > 0).all()
    assert (excess[1:] < 0.8 * independent[1:]).all()


def test_cells_and_replicates_do_not_depend_on_each_other(ensemble):
    block = {"neurons": [10, 20], "noise_ratio": 0.02, "replicates": 3, "directions": 2}
    both = run_ensemble(**{**ensemble, "ensemble": block})
    (alone,) = run_ensemble(**{**ensemble, "ensemble": {**block, "neurons": [20], "replicates": 2}})
    assert (both[1].risk[:2] == alone.risk).all()
    assert (both[1].norm[:2] == alone.norm).all()
    assert cells({"neurons": [10, 20], "step_sizes": [0.1]}) == [(10, 0.1), (20, 0.1)]
    assert cells({"neurons": [10, 20], "noise_ratio": 1.0}) == [(10, 0.1), (20, 0.05)]
