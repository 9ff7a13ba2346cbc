"""Runs on the plane: lanes against the optimisers' plain definitions, budgets, bits, and known shares."""

import numpy as np
import pytest

from meanfield import registry
from meanfield.kernels import landscape
from meanfield.kernels.landscape import INNER_NOISE, STEP_NOISE
from meanfield.kernels.streams import INJECTED_NOISE, stream_key
from meanfield.methods.oracle import FullOracle
from meanfield.plane_runs import (
    CONVERGED,
    LEFT_DOMAIN,
    Conditions,
    cluster_size,
    is_thermal,
    run,
    scaled,
    uniform_starts,
)
from meanfield.problems.plane import PlanePotential, assign_to_minima, critical_points, muller_brown

WINDOW = (-1.5, 1.2, -0.2, 2.0)
MB = muller_brown()
MINIMA = critical_points(MB, [(-0.56, 1.44), (0.62, 0.03), (-0.05, 0.47)])


def conditions(**changes):
    settings = {
        "root": 5, "experiment": "test", "window": WINDOW, "domain": (-4.0, 4.0, -4.0, 5.0), "largest_gradient": 1e12,
        "tolerance": 1e-5, "polish": {"step_size": 1e-4, "iterations": 20000}, **changes,
    }  # fmt: skip
    return Conditions(**settings)


def phase(method, step_size=1e-4, iterations=50, **rest):
    hyperparameters = rest.pop("hyperparameters", {})
    return {
        "method": method,
        "hyperparameters": hyperparameters,
        "step_size": step_size,
        "iterations": iterations,
        **rest,
    }


def quiet_starts(count):
    """Starts low enough that no gradient is wild: rounding stays rounding over some hundred steps."""
    starts = uniform_starts(1, "quiet", 40 * count, WINDOW)
    return starts[MB.value(starts) < -40][:count]


class LaneNormals(FullOracle):
    """Full gradients, with the normals that the lanes draw."""

    def __init__(self, key, count, purpose, sign):
        super().__init__(MB.gradient, MB.value)
        self.key, self.count, self.purpose, self.sign, self.drawn = key, count, purpose, sign, 0

    def normal(self, shape):
        z = landscape.normals(self.key, np.arange(self.count), self.drawn, 1, self.purpose)[0]
        self.drawn += 1
        return self.sign * z.reshape(shape)


PLAIN = {
    "sgd": ({}, STEP_NOISE),
    "heavy_ball": ({"momentum": 0.9}, STEP_NOISE),
    "nesterov": ({"momentum": 0.9}, STEP_NOISE),
    "nesterov_restart": ({"scheme": "gradient", "inverse_condition": 0.0}, STEP_NOISE),
    "nesterov_rational": ({"scheme": "none"}, STEP_NOISE),
    "mass": ({"momentum": 0.9, "compensation": 0.5}, STEP_NOISE),
    "langevin": ({"temperature": 20.0}, STEP_NOISE),
    "entropy_sgd": ({"scope": 0.03, "inner_steps": 7, "ratio": 0.6, "temperature": 5.0, "scoping": 0.02}, INNER_NOISE),
    "mf_homsgld": (
        {"scope": 0.2, "agents": 5, "burn_in": 3, "averaging": 4, "attraction": 2.0, "temperature": 20.0,
         "scoping": 0.01}, INNER_NOISE,
    ),
    "affine_langevin": ({"temperature": 20.0, "agents": 5}, STEP_NOISE),
}  # fmt: skip
SCHEMES = {
    "function": ("nesterov_restart", {"scheme": "function", "inverse_condition": 0.0}),
    "none, q": ("nesterov_restart", {"scheme": "none", "inverse_condition": 0.02}),
    "gradient, q": ("nesterov_restart", {"scheme": "gradient", "inverse_condition": 0.02}),
    "rational, gradient": ("nesterov_rational", {"scheme": "gradient"}),
    "rational, function": ("nesterov_rational", {"scheme": "function"}),
}
CASES = [(name, *PLAIN[name]) for name in PLAIN] + [(method, h, STEP_NOISE) for method, h in SCHEMES.values()]


def test_every_method_of_the_plane_has_its_plain_definition_here():
    assert set(PLAIN) == set(registry.PLANE_METHODS)


@pytest.mark.parametrize(("method", "hyperparameters", "purpose"), CASES)
def test_lanes_are_the_plain_definition(method, hyperparameters, purpose):
    starts, iterations = quiet_starts(20), 60
    step_size = 1e-3 if method == "affine_langevin" else 1e-4
    phases = [phase(method, step_size, iterations, hyperparameters=hyperparameters)]
    done = run(MB, phases, starts, conditions(tolerance=1e-300), recorded=True)

    module = registry.load(registry.PLANE_METHODS, method)
    settings = module.Hyperparameters(**hyperparameters)
    # To the lanes Langevin noise is noise of the gradient, which is subtracted.
    sign = -1 if method == "langevin" else 1
    oracle = LaneNormals(stream_key(5, "test", 0, INJECTED_NOISE), len(starts), purpose, sign)
    points = starts.reshape(-1, 5, 2) if method in ("mf_homsgld", "affine_langevin") else starts
    more = {"weight_axes": 1} if method == "mf_homsgld" else {}
    # Agents begin at starts of their own, where `start` would place them all at one.
    state = module.State(points, points, 0) if more else module.start(points, settings)
    for _ in range(iterations):
        state = module.step(state, oracle, step_size, settings, **more)
    end = next(getattr(state, name) for name in ("end", "agents", "point") if hasattr(state, name))
    # Rounding of 1e-16 grows with the curvature 4e3 of 60 steps of 1e-4, and where a wall amplifies it.
    np.testing.assert_allclose(done.ends, end.reshape(-1, 2), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(done.paths[-1], done.ends)
    assert done.paths.shape == (iterations + 1, 20, 2)
    cost = module.evaluations(settings) / (5 if method in ("mf_homsgld", "affine_langevin") else 1)
    if hyperparameters.get("scheme") != "function":
        assert (done.evaluations == cost * iterations).all()


def test_recorded_trajectories_are_those_of_the_whole_run():
    phases = [
        phase("langevin", iterations=200, hyperparameters={"temperature": 20.0}),
        phase("mf_homsgld", iterations=3, hyperparameters={"scope": 0.2, "agents": 10, "temperature": 20.0}),
        phase("sgd", iterations=100, gradient_noise=30.0),
    ]
    starts = uniform_starts(5, "test", 300, WINDOW)
    whole = run(MB, phases, starts, conditions(largest_gradient=1e4))
    part = run(MB, phases, starts[:20], conditions(largest_gradient=1e4), recorded=True)
    np.testing.assert_array_equal(part.ends, whole.ends[:20])
    np.testing.assert_array_equal(part.paths[-1], part.ends)
    # 200 steps, 3 macro steps of 20, 100 steps.
    assert part.path_evaluations[[0, 200, 201, 203, 303]].tolist() == [0, 200, 220, 260, 360]
    assert part.paths.shape[0] == 304
    twice = run(MB, phases, starts, conditions(largest_gradient=1e4), threads=2)
    np.testing.assert_array_equal(twice.polished, whole.polished)


def test_the_first_starts_do_not_depend_on_their_number():
    np.testing.assert_array_equal(uniform_starts(5, "a", 10, WINDOW), uniform_starts(5, "a", 1000, WINDOW)[:10])
    assert not np.array_equal(uniform_starts(5, "a", 10, WINDOW), uniform_starts(5, "b", 10, WINDOW))


def test_phases_of_an_ensemble_carry_their_fast_variables():
    settings = {"scope": 0.2, "agents": 10, "burn_in": 3, "averaging": 4, "temperature": 20.0}
    starts = quiet_starts(20)
    whole = run(MB, [phase("mf_homsgld", iterations=10, hyperparameters=settings)], starts, conditions())
    parts = run(MB, [phase("mf_homsgld", iterations=5, hyperparameters=settings)] * 2, starts, conditions())
    np.testing.assert_array_equal(whole.ends, parts.ends)


def test_shares_of_gradient_descent_are_those_of_the_basins():
    # Reference: .478, .17, .35 (4000 to 20000 uniform starts); standard errors of 4000 starts: .008, .006, .0075.
    starts = uniform_starts(7, "basins", 4000, WINDOW)
    done = run(MB, [phase("sgd", iterations=100_000)], starts, conditions())
    assert (done.outcome == CONVERGED).all()
    at = assign_to_minima(done.ends, MINIMA, radius=1e-4)
    shares = [(at == n).mean() for n in range(3)]
    assert shares == pytest.approx([0.478, 0.172, 0.348], abs=0.024)
    np.testing.assert_allclose(done.polished, done.ends, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("variance", "known"),
    [
        (0.01, (0.487, 0.205, 0.308)),
        (0.05, (0.525, 0.475, 0.0)),
        (0.1, (0.577, 0.0, 0.423)),
        (0.2, (1.0, 0.0, 0.0)),
    ],
)
def test_shares_after_heat_smoothing_and_polishing_are_the_known_ones(variance, known):
    # Measured with 4000 or more starts; three standard errors of 2000 starts here and 4000 there.
    smoothed = phase("sgd", iterations=100_000, smoothing={"kind": "heat", "variance": variance})
    done = run(MB, [smoothed], uniform_starts(8, "heat", 2000, WINDOW), conditions(largest_gradient=1e4))
    at = assign_to_minima(done.polished, MINIMA, radius=1e-3)
    assert [(at == n).mean() for n in range(3)] == pytest.approx(known, abs=0.042)


def test_langevin_finds_the_gibbs_masses():
    # Masses at beta = .05 by quadrature: .806, .129, .065 (Gibbs law in the basins); 1000 starts, 3 standard errors.
    settings = {"temperature": 20.0}
    done = run(
        MB, [phase("langevin", iterations=20_000, hyperparameters=settings)],
        uniform_starts(9, "gibbs", 1024, WINDOW), conditions(largest_gradient=1e4),
    )  # fmt: skip
    at = assign_to_minima(done.polished, MINIMA, radius=1e-3)
    assert [(at == n).mean() for n in range(3)] == pytest.approx([0.806, 0.129, 0.065], abs=0.04)


def test_who_leaves_is_lost_for_good():
    # A hill: descent runs off. The second phase must not bring anybody back.
    hill = PlanePotential(np.array([[10.0, -1.0, 0.0, -1.0, 0.0, 0.0], [-5.0, -1.0, 0.0, -1.0, 4.0, 0.0]]))
    starts = np.array([[0.1, 0.05], [3.5, 0.1]])
    box = {"window": (-1.0, 5.0, -1.0, 1.0), "domain": (-2.0, 6.0, -0.5, 0.5)}
    polish = {"step_size": 0.01, "iterations": 20000}
    done = run(
        hill, [phase("sgd", 0.01, 2000), phase("nesterov", 0.01, 2000, hyperparameters={"momentum": 0.5})], starts,
        conditions(polish=polish, **box),
    )  # fmt: skip
    assert done.outcome.tolist() == [LEFT_DOMAIN, CONVERGED]
    assert done.polished_outcome.tolist() == [LEFT_DOMAIN, CONVERGED]
    assert abs(done.ends[0, 1]) <= 0.5
    assert done.ends[1] == pytest.approx([4.0, 0.0], abs=1e-3)


def test_ensembles_need_starts_that_fill_them():
    with pytest.raises(ValueError, match="7 starts do not make ensembles of 5"):
        run(MB, [phase("affine_langevin", hyperparameters=PLAIN["affine_langevin"][0])], quiet_starts(7), conditions())


def test_scaling_reaches_every_step_and_temperature():
    phases = [
        phase("langevin", 1e-4, hyperparameters={"temperature": 20.0}),
        phase("sgd", 0.01, smoothing={"kind": "inner_langevin", "time": 0.03, "temperature": 5.0, "step_size": 1e-4,
                                      "inner_steps": 20, "burn_in": 5}),
        phase("sgd", 1e-4, gradient_noise=300.0),
    ]  # fmt: skip
    found = scaled(phases, step=2.0, temperature=4.0)
    assert [p["step_size"] for p in found] == [2e-4, 0.02, 2e-4]
    assert found[0]["hyperparameters"]["temperature"] == 80.0
    assert found[1]["smoothing"]["temperature"] == 20.0
    assert found[1]["smoothing"]["step_size"] == 2e-4
    assert found[2]["gradient_noise"] == 600.0  # epsilon sigma^2 / 2 is the temperature
    assert phases[0]["hyperparameters"]["temperature"] == 20.0
    assert is_thermal(phases)
    assert not is_thermal([phase("nesterov", hyperparameters={"momentum": 0.9})])


def test_clusters_are_common_multiples():
    coupled = phase("mf_homsgld", hyperparameters={"scope": 0.2, "agents": 10})
    assert cluster_size([coupled, phase("affine_langevin", hyperparameters={"temperature": 1.0, "agents": 4})]) == 20
    assert cluster_size([phase("sgd")]) == 1
