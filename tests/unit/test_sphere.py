"""The compiled kernels on the sphere against their numpy definitions; what must not change their bits."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba as nb
import numpy as np
import pytest

from meanfield.kernels import sphere_reference as reference
from meanfield.kernels.sphere import Recurrence, SphereState, _gaussian, _logistic
from meanfield.kernels.streams import stream_key
from meanfield.problems.spin3 import GaussianUnits, SigmoidUnits, Spin3, sphere_samples

KEY = stream_key(0, "sphere", 0)
SGD = Recurrence(1e-2)
METHODS = {
    "sgd": SGD,
    "nesterov": Recurrence.nesterov(2e-3, 0.9),
    "mass": Recurrence.mass(5e-3, 0.1, 3.0),
    "gradient restart": Recurrence.accelerated(5e-3),
    "function restart": Recurrence.accelerated(5e-3, restart="function"),
    "condition": Recurrence.accelerated(5e-3, condition=0.02, restart="none"),
    "harmonic": Recurrence(2e-3, schedule="harmonic", restart="gradient"),
    "constant, restarted": Recurrence(2e-3, 0.9, restart="gradient"),
    "heavy ball": Recurrence(2e-3, 0.9, heavy_ball=True),
}


def setting(dimension=5, units=64, *, sigmoid=False, normalised=True, replicate=0):
    problem = Spin3.random(dimension, 0, "sphere", 0)
    unit = SigmoidUnits(dimension) if sigmoid else GaussianUnits(dimension, 5 / dimension, normalised)
    return problem, unit, problem.initial_units(unit, units, 0, "sphere", replicate)


def batch_gradient(problem, unit, inputs, batch):
    targets = problem.target(inputs)

    def gradient(units, k):
        x, y = inputs[k * batch : (k + 1) * batch], targets[k * batch : (k + 1) * batch]
        if isinstance(unit, SigmoidUnits):
            return reference.sigmoid_gradient(units, x, y)
        return reference.gaussian_gradient(units, x, y, unit.alpha, unit.amplitude)

    return gradient


def flow_gradient(problem, kernel, name):
    if name == "population":
        return lambda units, k: reference.flow_gradient(
            units,
            lambda z: problem.smoothed_target(kernel, z),
            lambda z: problem.smoothed_gradient(kernel, z),
            kernel.pair_average,
            lambda s: kernel.pair_average(s, 1),
        )
    return lambda units, k: reference.flow_gradient(
        units,
        problem.target,
        problem.gradient,
        lambda s: kernel.amplitude * np.exp(kernel.alpha * (s - kernel.dimension)),
        lambda s: kernel.alpha * kernel.amplitude * np.exp(kernel.alpha * (s - kernel.dimension)),
    )


def flow_of(problem, kernel, name):
    return problem.population_flow(kernel) if name == "population" else problem.batch_free_flow(kernel)


def relative_error(found, expected, start):
    """Size of the error of the displacement, relative to the displacement."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected - start)


# -- exponential ---------------------------------------------------------------------------------------------


@nb.njit
def gaussian(z):
    _gaussian(z, z.dtype.type(1), z.dtype.type(0), z.dtype.type(1))


@nb.njit
def logistic(z, slope):
    _logistic(z, slope)


@pytest.mark.parametrize(("dtype", "lowest", "tolerance"), [(np.float64, -708, 4e-16), (np.float32, -87, 1.5e-7)])
def test_exponential(dtype, lowest, tolerance):
    rng = np.random.default_rng(0)
    x = np.concatenate([np.linspace(lowest, 88, 100_001), 1e-3 * rng.standard_normal(1000), [0.0, -0.0]]).astype(dtype)
    z = x.copy()
    gaussian(z)
    exact = np.exp(x.astype(np.longdouble))
    assert np.max(np.abs(z / exact - 1)) < tolerance
    assert z[-1] == z[-2] == 1
    below = np.array([2.0 * lowest, -np.inf], dtype)
    gaussian(below)
    assert np.all((below >= 0) & (below < 1e-37))


def test_logistic_function_at_any_argument():
    z = np.concatenate([np.linspace(-40, 40, 4001), [-1e4, 1e4, 0.0]])
    value, slope = z.copy(), np.empty_like(z)
    logistic(value, slope)
    exact = z[:-3].astype(np.longdouble)
    np.testing.assert_allclose(value[:-3], (1 / (1 + np.exp(-exact))).astype(float), rtol=1e-15)
    # Even, and without the cancellation of h (1 - h).
    np.testing.assert_allclose(
        slope[:-3], (np.exp(-abs(exact)) / (1 + np.exp(-abs(exact))) ** 2).astype(float), rtol=1e-15
    )
    assert value[-1] == 0.5
    assert value[-2] == 1
    assert 0 <= value[-3] < 1e-300


# -- by hand -------------------------------------------------------------------------------------------------


def test_one_step_of_two_gaussian_units_by_hand():
    # d = 2, f = x_2^3 / 2, alpha = log(2) / 2. The sample (0, sqrt 2) is at squared distance 4 from the first centre
    # (kernel 1/2) and on the second (kernel 1): f = sqrt 2, prediction (1/2 + 3) / 2. The first centre turns.
    a = np.zeros((2, 2, 2))
    a[1, 1, 1] = 1.0
    root, alpha, step = np.sqrt(2), np.log(2) / 2, 0.1
    units = np.array([[root, 0.0, 1.0], [0.0, root, 3.0]])
    residual = root - 1.75
    angle = np.arctan(step * residual * alpha / 2)
    expected = np.array(
        [[root * np.cos(angle), root * np.sin(angle), 1 + step * residual / 2], [0, root, 3 + step * residual]]
    )
    kernel, problem = GaussianUnits(2, alpha, False), Spin3(a)
    x = np.array([[0.0, root]])
    state = problem.state(kernel, units)
    state.advance_arrays(x, Recurrence(step))
    # A dozen operations on numbers below 4.
    np.testing.assert_allclose(state.units, expected, rtol=0, atol=2e-15)
    found, _, _ = reference.iterate(
        units, batch_gradient(problem, kernel, x, 1), 1, Recurrence(step), constrained=True
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


def test_one_step_of_a_sigmoid_unit_by_hand():
    # f = x_1^3 / 2 = sqrt 2 at (sqrt 2, 0); a = b = 0, c = 2: h = 1/2, h' = 1/4, prediction 1.
    a = np.zeros((2, 2, 2))
    a[0, 0, 0] = 1.0
    root, step = np.sqrt(2), 0.1
    state = Spin3(a).state(SigmoidUnits(2), np.array([[0.0, 0.0, 0.0, 2.0]]))
    state.advance_arrays(np.array([[root, 0.0]]), Recurrence(step))
    r = step * (root - 1)
    np.testing.assert_allclose(state.units, [[r / 2 * root, 0, r / 2, 2 + r / 2]], rtol=0, atol=1e-15)


def test_first_steps_of_a_momentum_method_by_hand():
    # Linear in the coefficient alone: y = x, kernel 1, f = sqrt 2, gradient c - sqrt 2; w' = u + s (f - u),
    # u' = w' + gamma (w' - w) - eta2 (f - u).
    a = np.zeros((2, 2, 2))
    a[1, 1, 1] = 1.0
    root = np.sqrt(2)
    state = Spin3(a).state(GaussianUnits(2, 1.0, False), np.array([[0.0, root, 0.0]]))
    x = np.array([[0.0, root]] * 2)
    state.advance_arrays(x, Recurrence(0.1, 0.5, 0.02))
    w1 = 0.1 * root
    u1 = 1.5 * w1 - 0.02 * root
    w2 = u1 + 0.1 * (root - u1)
    u2 = 1.5 * w2 - 0.5 * w1 - 0.02 * (root - u1)
    np.testing.assert_allclose(state.units[0, 2], w2, rtol=1e-14)
    np.testing.assert_allclose(state.lookahead[0, 2], u2, rtol=1e-14)


# -- against the definitions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dimension", "units", "batch", "sigmoid", "step"),
    [
        # At 1e-2 with single samples this trajectory amplifies rounding: the definition itself, started one ulp away,
        # ends 1.5e-11 away.
        (5, 64, 1, False, 1e-3),
        (5, 64, 12, False, 1e-2),
        (2, 3, 5, False, 1e-2),
        (10, 33, 6, False, 1e-2),
        (5, 64, 1, True, 1e-2),
        (10, 20, 7, True, 1e-2),
    ],
)
def test_sgd_is_its_definition_after_4000_steps(dimension, units, batch, sigmoid, step):
    method = Recurrence(step)
    problem, unit, start = setting(dimension, units, sigmoid=sigmoid)
    x = sphere_samples(KEY, 0, 4000 * batch, dimension)
    expected, _, _ = reference.iterate(
        start, batch_gradient(problem, unit, x, batch), 4000, method, constrained=not sigmoid
    )  # fmt: skip
    state = problem.state(unit, start)
    state.advance_arrays(x, method, batch=batch)
    assert relative_error(state.units, expected, start) < 1e-12
    streamed = problem.state(unit, start)
    streamed.advance_stream(4000, method, key=KEY, batch=batch)
    assert relative_error(streamed.units, expected, start) < 1e-12


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_its_definition(name, sigmoid):
    problem, unit, start = setting(5, 20, sigmoid=sigmoid)
    method, batch, iterations = METHODS[name], 4, 400
    x = sphere_samples(KEY, 0, iterations * batch, 5)
    w, u, restarts = reference.iterate(
        start, batch_gradient(problem, unit, x, batch), iterations, method, constrained=not sigmoid
    )
    state = problem.state(unit, start)
    state.advance_arrays(x, method, batch=batch)
    assert relative_error(state.units, w, start) < 1e-12
    assert relative_error(state.lookahead, u, start) < 1e-12
    assert state.restarts == restarts
    assert (restarts > 0) == (method.restart != "none")


@pytest.mark.parametrize("flow", ["population", "batch free"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_with_the_full_gradient_is_its_definition(name, flow):
    problem, kernel, start = setting(5, 33)
    method = METHODS[name]
    w, u, restarts = reference.iterate(start, flow_gradient(problem, kernel, flow), 100, method, constrained=True)
    state = problem.state(kernel, start)
    state.advance_flow(100, method, flow_of(problem, kernel, flow))
    assert relative_error(state.units, w, start) < 1e-12
    assert relative_error(state.lookahead, u, start) < 1e-12
    assert state.restarts == restarts


@pytest.mark.parametrize("dimension", [2, 3, 5, 10])
@pytest.mark.parametrize("flow", ["population", "batch free"])
def test_velocity_is_minus_n_times_the_gradient_of_the_objective(dimension, flow):
    problem, kernel, start = setting(dimension, 7)
    objective = problem.loss if flow == "population" else problem.batch_free_objective
    state = problem.state(kernel, start)
    velocity, energy = state.flow_velocity(flow_of(problem, kernel, flow))
    expected, _ = flow_gradient(problem, kernel, flow)(start, 0)
    np.testing.assert_allclose(velocity, -expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(np.sum(velocity[:, :-1] * start[:, :-1], 1), 0, atol=1e-12)
    constant = (sum(problem.mean_squares) if flow == "population" else problem.squared_norm(kernel)) / 2
    assert energy + constant == pytest.approx(objective(kernel, start), rel=1e-12)
    h = 1e-5
    for seed in range(3):
        change = np.random.default_rng(seed).standard_normal(start.shape)
        change[:, :-1] = reference.tangent(change[:, :-1], start[:, :-1])
        ends = []
        for sign in (1, -1):
            moved = start + sign * h * change
            moved[:, :-1] = reference.retract(moved[:, :-1])
            ends.append(objective(kernel, moved))
        slope = (ends[0] - ends[1]) / (2 * h)
        assert slope == pytest.approx(-np.sum(velocity * change) / len(start), abs=1e-6)


def test_single_precision_follows_double():
    # Rounding errors 6e-8 a step, of random sign, in a contracting dynamics: after 4000 steps a few 1e-6.
    problem, kernel, start = setting()
    double, single = problem.state(kernel, start), problem.state(kernel, start.astype(np.float32))
    for state in (double, single):
        state.advance_stream(4000, SGD, key=KEY, batch=12)
    assert single.units.dtype == np.float32
    assert 0 < relative_error(single.units, double.units, start) < 2e-5
    assert np.abs(np.sum(single.units[:, :-1].astype(float) ** 2, 1) / 5 - 1).max() < 5e-7
    # The loss does not notice.
    assert problem.loss(kernel, single.units) == pytest.approx(problem.loss(kernel, double.units), rel=1e-4)


# -- the sphere and special cases ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_both_sequences_stay_on_the_sphere(name):
    problem, kernel, start = setting(5, 16)
    state = problem.state(kernel, start)
    state.advance_stream(2000, METHODS[name], key=KEY, batch=3)
    # The second sequence of the heavy ball is the point without its velocity.
    for sequence in (state.lookahead,) if METHODS[name].heavy_ball else (state.units, state.lookahead):
        np.testing.assert_allclose(np.linalg.norm(sequence[:, :-1], axis=1), np.sqrt(5), rtol=0, atol=1e-12)
    assert not np.allclose(state.units, start, atol=0.1)


def test_methods_that_coincide_do_so_bit_for_bit():
    problem, kernel, start = setting(5, 40)
    groups = [
        [Recurrence.mass(5e-3, 0.1, 1.0), Recurrence.nesterov(5e-3, (1 - 0.1) / (1 + 0.1))],
        [SGD, Recurrence.nesterov(1e-2, 0.0), Recurrence.accelerated(1e-2, condition=1.0, restart="none")],
        [Recurrence(1e-2, restart="gradient"), SGD],
    ]
    for group in groups:
        results = []
        for method in group:
            state = problem.state(kernel, start)
            state.advance_stream(300, method, key=KEY, batch=2)
            results.append((state.units, state.lookahead))
        for result in results[1:]:
            assert np.array_equal(result[0], results[0][0])
            assert np.array_equal(result[1], results[0][1])
    assert Recurrence.mass(5e-3, 0.1, 1.0).compensation == 0
    mass = problem.state(kernel, start)
    mass.advance_stream(300, Recurrence.mass(5e-3, 0.1, 3.0), key=KEY, batch=2)
    assert not np.allclose(mass.units, results[0][0], atol=1e-3)


# -- bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sgd", "mass", "gradient restart", "function restart", "harmonic"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_chunks_and_restarts_from_a_snapshot_change_no_bit(name, dtype):
    problem, kernel, start = setting(5, 21)
    start = start.astype(dtype)
    whole, pieces = problem.state(kernel, start), problem.state(kernel, start)
    whole.advance_stream(171, METHODS[name], key=KEY, batch=3)
    for count in (1, 0, 63, 7):
        pieces.advance_stream(count, METHODS[name], key=KEY, batch=3)
    resumed = problem.state(kernel, np.ascontiguousarray(start[::-1]))
    resumed.restore(pieces.snapshot())
    resumed.advance_stream(100, METHODS[name], key=KEY, batch=3)
    assert np.array_equal(resumed.units, whole.units)
    assert np.array_equal(resumed.lookahead, whole.lookahead)
    assert (resumed.iterations, resumed.samples, resumed.restarts) == (171, 513, whole.restarts)


def test_flows_and_arrays_in_pieces_change_no_bit():
    problem, kernel, start = setting(5, 21)
    method = METHODS["gradient restart"]
    x = sphere_samples(KEY, 0, 300, 5)
    flow = problem.population_flow(kernel)
    whole, pieces = problem.state(kernel, start), problem.state(kernel, start)
    whole.advance_arrays(x, method, batch=3)
    whole.advance_flow(30, method, flow)
    for a, b in ((0, 3), (3, 99), (99, 300)):
        pieces.advance_arrays(x[a:b], method, batch=3)
    pieces.flow_velocity(flow)
    for count in (1, 29):
        pieces.advance_flow(count, method, flow)
    assert np.array_equal(pieces.units, whole.units)
    assert np.array_equal(pieces.lookahead, whole.lookahead)


def test_samples_are_numbered_through_whatever_the_batch():
    problem, kernel, start = setting(5, 21)
    state, arrays = problem.state(kernel, start), problem.state(kernel, start)
    first = 0
    for iterations, batch in ((10, 1), (5, 70), (8, 4)):
        state.advance_stream(iterations, SGD, key=KEY, batch=batch)
        x = sphere_samples(KEY, first, iterations * batch, 5)
        arrays.advance_arrays(x, SGD, batch=batch)
        first += iterations * batch
    # The samples are normalised in another order of summation.
    assert relative_error(state.units, arrays.units, start) < 1e-13
    assert state.samples == arrays.samples == first


def test_runs_on_threads_have_the_bits_of_runs_alone():
    problem, kernel, start = setting(5, 64)

    def run(replicate):
        state = problem.state(kernel, start)
        state.advance_stream(3000, SGD, key=stream_key(0, "threads", replicate), batch=2)
        return state.units

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(run, range(3)))
    for replicate in range(3):
        assert np.array_equal(together[replicate], run(replicate))
    assert not np.array_equal(together[0], together[1])


def test_other_units_are_unaffected_by_padding():
    # A unit without coefficient that never acquires one would change nothing; widths on either side of a lane's end.
    problem, kernel, start = setting(5, 33)
    for count in (31, 32, 33):
        x = sphere_samples(KEY, 0, 200, 5)
        expected, _, _ = reference.iterate(
            start[:count], batch_gradient(problem, kernel, x, 2), 100, SGD, constrained=True
        )  # fmt: skip
        state = problem.state(kernel, start[:count])
        state.advance_arrays(x, SGD, batch=2)
        assert relative_error(state.units, expected, start[:count]) < 1e-12


WITHOUT_COMPILER = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
from test_sphere import without_compiler
np.save({file!r}, without_compiler())
"""


def sphere_points(count, dimension):
    z = np.random.default_rng(0).standard_normal((count, dimension))
    return z * np.sqrt(dimension / np.sum(z * z, axis=1))[:, None]


def without_compiler():
    results = []
    for sigmoid in (False, True):
        problem, unit, start = setting(3, 3, sigmoid=sigmoid)
        state = problem.state(unit, start)
        state.advance_arrays(sphere_points(10, 3), Recurrence.accelerated(1e-2), batch=5)
        if not sigmoid:
            state.advance_flow(1, SGD, problem.population_flow(unit))
            state.advance_flow(1, SGD, problem.batch_free_flow(unit))
        results.append(state.units.ravel())
    state.advance_stream(2, SGD, key=KEY, batch=2)
    return np.concatenate([*results, state.units.ravel()])


def test_the_same_numbers_without_the_compiler(tmp_path):
    file = tmp_path / "units.npy"
    code = WITHOUT_COMPILER.format(folder=os.path.dirname(__file__), file=str(file))  # noqa: PTH120
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found, expected = np.load(file), without_compiler()
    # Fused multiply-adds round once; on the stream's normals, which are single precision, too.
    np.testing.assert_allclose(found[:-15], expected[:-15], rtol=0, atol=1e-14)
    np.testing.assert_allclose(found[-15:], expected[-15:], rtol=0, atol=1e-7)


# -- what the flows do ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference_problem():
    return Spin3(np.random.default_rng(0).standard_normal((5, 5, 5)))


def test_batch_free_flow_reaches_the_reference_losses(reference_problem):
    # An independent computation gave these at t = 1, 3, 5, 10, 20 from initial units that nobody recorded: inside our
    # spread over standard normal coefficients, at t = 1 at its 90 % quantile.
    expected = [0.4705, 0.0631, 0.0161, 0.00249, 0.00123]
    kernel = GaussianUnits(5, 1.0)
    losses = []
    for seed in range(40):
        start = reference_problem.initial_units(kernel, 64, 0, "reference", seed)
        state = reference_problem.state(kernel, start)
        flow, row = reference_problem.batch_free_flow(kernel), []
        for steps in (100, 200, 200, 500, 1000):
            state.advance_flow(steps, Recurrence(1e-2), flow)
            row.append(reference_problem.loss(kernel, state.units))
        losses.append(row)
    losses = np.array(losses)
    assert np.all(losses.min(axis=0) < expected)
    assert np.all(losses.max(axis=0) > expected)
    # The spread is narrow, so that this says something.
    assert np.all(losses.max(axis=0) < 4 * losses.min(axis=0))


@pytest.mark.parametrize("flow", ["population", "batch free"])
def test_objective_decreases_along_its_flow(reference_problem, flow):
    kernel = GaussianUnits(5, 1.0)
    start = reference_problem.initial_units(kernel, 64, 0, "monotone", 0)
    state = reference_problem.state(kernel, start)
    functional, energies = flow_of(reference_problem, kernel, flow), []
    for _ in range(300):
        energies.append(state.advance_flow(1, Recurrence(1e-2), functional))
    assert np.all(np.diff(energies) < 0)


def test_the_printed_sign_blows_up(reference_problem):
    kernel = GaussianUnits(5, 1.0)
    start = reference_problem.initial_units(kernel, 64, 0, "sign", 0)
    initial = reference_problem.loss(kernel, start)
    losses = {}
    for printed in (True, False):
        state = reference_problem.state(kernel, start)
        flow = reference_problem.batch_free_flow(kernel, printed_sign=printed)
        state.advance_flow(1000, Recurrence(1e-2), flow)
        losses[printed] = reference_problem.loss(kernel, state.units)
    assert losses[True] > 1e6 * initial
    assert losses[False] < 1e-2 * initial


def test_sgd_in_small_steps_follows_the_population_flow(reference_problem):
    kernel = GaussianUnits(5, 1.0)
    start = reference_problem.initial_units(kernel, 32, 0, "limit", 0)
    flow = reference_problem.state(kernel, start)
    flow.advance_flow(1000, Recurrence(1e-3), reference_problem.population_flow(kernel))
    errors = []
    for step in (4e-3, 2.5e-4):
        state = reference_problem.state(kernel, start)
        state.advance_stream(round(1 / step), Recurrence(step), key=KEY, batch=8)
        errors.append(relative_error(state.units, flow.units, start))
    # Fluctuations of size sqrt(step): a quarter, give or take chance.
    assert errors[1] < 0.5 * errors[0]
    assert errors[0] < 0.2


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 0.0}, "step must be positive"),
        ({"step": 1.0, "momentum": 1.0}, "momentum must lie"),
        ({"step": 1.0, "compensation": -1.0}, "compensation"),
        ({"step": 1.0, "schedule": "fast"}, "schedule must be one of"),
        ({"step": 1.0, "schedule": "theta", "condition": 2.0}, "condition must lie"),
        ({"step": 1.0, "restart": "often"}, "restart must be one of"),
        ({"step": 1.0, "schedule": "theta", "momentum": 0.5}, "constant schedule only"),
        ({"step": 1.0, "heavy_ball": True, "restart": "gradient"}, "neither schedule nor restart"),
    ],
)
def test_recurrences_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Recurrence(**arguments)


def test_states_and_samples_out_of_place_are_refused():
    problem, kernel, start = setting(5, 4)
    with pytest.raises(ValueError, match="float32 or float64"):
        problem.state(kernel, start.astype(int))
    with pytest.raises(ValueError, match="6 parameters in dimension 5"):
        problem.state(kernel, start[:, 1:])
    with pytest.raises(ValueError, match="centres must lie on the sphere"):
        SphereState(2 * start, kernel.kernel_code(), problem.kernel_code())
    state = problem.state(kernel, start)
    with pytest.raises(ValueError, match="inputs must lie on the sphere"):
        state.advance_arrays(np.ones((2, 5)) * 2, SGD)
    with pytest.raises(ValueError, match="whole batches of 2"):
        state.advance_arrays(np.ones((3, 5)), SGD, batch=2)
    with pytest.raises(ValueError, match="at least one sample"):
        state.advance_stream(1, SGD, key=KEY, batch=0)
    sigmoid = problem.state(SigmoidUnits(5), problem.initial_units(SigmoidUnits(5), 4, 0, "s", 0))
    with pytest.raises(ValueError, match="Gaussian units only"):
        sigmoid.advance_flow(1, SGD, problem.batch_free_flow(kernel))
