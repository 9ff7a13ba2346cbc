"""Minimising movements: one step by another minimiser, a closed form, the order in the step, the energy."""

import numpy as np
import pytest
from scipy import integrate, optimize

from meanfield.limits.characteristics import graded_atoms, solve_characteristics
from meanfield.limits.jko import dissipation, minimising_movements
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import PiecewiseLinear, Smooth
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

RAMP = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
DIP = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
RECTIFIER = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)


@pytest.mark.parametrize(
    ("activation", "scale", "step"),
    [(RAMP, 0.8, 0.05), (DIP, 0.15, 2e-3), (Smooth("tanh", amplitude=5.0, shift=1.0, offset=2.5), 0.8, 0.05)],
)
def test_a_step_is_the_minimiser_that_another_method_finds(activation, scale, step):
    p = radial_potentials(IsotropicGaussians(40, 0.5, activation))
    start, mass = graded_atoms(RadialLaw("gaussian", scale), 40, 6)
    moved = minimising_movements(p, start, mass, step=step, steps=1)

    def energy(r):
        return p.risk(r, mass) + mass @ (r - start) ** 2 / (2 * step)

    def gradient(r):
        return mass * (-p.drift(r, r, mass) + (r - start) / step)

    found = optimize.minimize(
        energy, start, jac=gradient, method="L-BFGS-B", bounds=[(0, None)] * 6, options={"ftol": 1e-15, "gtol": 1e-10}
    )
    assert moved.radius[1] == pytest.approx(found.x, abs=2e-6)
    assert energy(moved.radius[1]) <= found.fun + 1e-12
    assert moved.moved[0] == pytest.approx(np.sqrt(mass @ (moved.radius[1] - start) ** 2))
    assert moved.disorder == 0


def test_the_implicit_step_of_a_parabola():
    # Rectifier, d = infinity: R = sum_y (y - a_y m)^2/2 of the mean m alone, so that m moves by the implicit Euler
    # method and every atom by as much.
    p = radial_potentials(IsotropicGaussians(2, 0.5, RECTIFIER), infinite=True)
    a = np.array([1.5, 0.5]) / np.sqrt(2 * np.pi)
    start, mass, h = np.array([2.0, 3.0, 4.0]), np.array([0.2, 0.5, 0.3]), 0.7
    mean = start @ mass
    moved = minimising_movements(p, start, mass, step=h, steps=2)
    for n in (1, 2):
        mean = (mean / h + a[0] - a[1]) / (1 / h + (a**2).sum())
        assert moved.radius[n] == pytest.approx(start + mean - start @ mass, abs=1e-10)
    assert moved.time == pytest.approx([0, h, 2 * h])
    rate = dissipation(p, moved.radius[:1], mass)
    assert rate == pytest.approx([((a**2).sum() * (start @ mass) - a[0] + a[1]) ** 2])


def test_order_one_and_energy_that_only_falls():
    p = radial_potentials(IsotropicGaussians(40, 0.8, RAMP))
    law, horizon = RadialLaw("gaussian", 0.8), 0.1
    start, mass = graded_atoms(law, 40, 16)
    exact = solve_characteristics(
        p, law, np.array([0.0, horizon]), atoms=16, schedule=Schedule(), relative_tolerance=1e-11
    ).radius[-1]
    errors = []
    for steps in (16, 32, 64):
        moved = minimising_movements(p, start, mass, step=horizon / steps, steps=steps)
        errors.append(np.sqrt(mass @ (moved.radius[-1] - exact) ** 2))
        assert (np.diff(moved.risk) < 0).all()
        # A minimiser pays for its way with at least half of what it gains.
        assert (moved.moved**2 / (2 * horizon / steps) <= -np.diff(moved.risk)).all()
        assert moved.residual < 1e-8
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([1, 1], abs=0.1)
    assert abs(orders[1] - 1) < abs(orders[0] - 1)


def test_the_risk_falls_by_what_is_dissipated():
    p = radial_potentials(IsotropicGaussians(320, 0.5, DIP))
    law, time = RadialLaw("gaussian", 0.4), np.linspace(0, 0.1, 161)
    flow = solve_characteristics(p, law, time, atoms=32, schedule=Schedule(), relative_tolerance=1e-11)
    spent = integrate.simpson(dissipation(p, flow.radius, flow.mass), x=time)
    assert spent == pytest.approx(flow.risk[0] - flow.risk[-1], rel=1e-6)


def test_atoms_at_rest_dissipate_nothing():
    p = radial_potentials(IsotropicGaussians(320, 0.5, DIP))
    start, mass = graded_atoms(RadialLaw("gaussian", 0.1), 320, 8)
    moved = minimising_movements(p, start, mass, step=5e-3, steps=8)
    assert (moved.radius[-1] == 0).all()
    assert moved.risk[-1] == pytest.approx(7.25)
    assert dissipation(p, moved.radius[-1:], mass) == pytest.approx([0])
