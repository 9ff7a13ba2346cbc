"""The fast-slow system: its limit, orders of the multiscale method, and errors measured independently."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from meanfield.multiscale import fast_slow as fs


def test_the_averaged_force_is_the_gaussian_mean():
    y, w = np.polynomial.hermite_e.hermegauss(20)
    for x in (-0.7, 1.3):
        mean = (w @ fs.slow_force(x, x + np.sqrt(0.5) * y, 0.4)) / w.sum()
        assert fs.averaged_force(x, 0.4) == pytest.approx(mean, rel=1e-12)


def test_the_limit_is_scipys():
    times = np.linspace(0, 4, 9)
    exact = solve_ivp(lambda t, x: fs.averaged_force(x, t), (0, 4), [1.0], t_eval=times, rtol=1e-11, atol=1e-12).y[0]
    np.testing.assert_allclose(fs.averaged_solution(1.0, times), exact, atol=1e-8)


@pytest.mark.parametrize(("step", "known"), [(0.2, 0.200), (0.1, 0.0661), (0.05, 0.0287), (0.025, 0.0135)])
def test_euler_alone_has_the_known_errors(step, known):
    error, _ = fs.largest_error(fs.euler_of_the_limit(1.0, horizon=4.0, macro_step=step), 1.0)
    assert error == pytest.approx(known, abs=6e-4 if step < 0.2 else 1e-2)


def test_euler_of_the_limit_has_order_one():
    steps = np.array([0.02, 0.01, 0.005, 0.0025])
    errors = [fs.largest_error(fs.euler_of_the_limit(1.0, horizon=4.0, macro_step=h), 1.0)[0] for h in steps]
    assert fs.fitted_order(steps, errors) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("scale", "known"), [(0.1, 0.402), (0.01, 0.129)])
def test_the_direct_solution_has_the_known_distance_from_the_limit(scale, known):
    paths = fs.direct(
        1.0, 1.0, scale, horizon=4.0, micro_step=0.1, records=40, replicates=1000, generator=np.random.default_rng(1)
    )
    # The supremum of 40 means of 1000 runs with a spread of three quarters of the mean: 5 %, and 3 % of the reference.
    assert fs.largest_error(paths, 1.0)[0] == pytest.approx(known, rel=0.1)
    assert paths.micro_steps == round(4 / (0.1 * scale))


@pytest.mark.parametrize(
    ("estimator", "step", "known"),
    [
        (fs.Estimator(0.5, 8, 8), 0.1, 0.251),
        (fs.Estimator(0.1, 40, 40), 0.05, 0.145),
        (fs.Estimator(0.1, 40, 400), 0.1, 0.091),
        (fs.Estimator(0.1, 40, 400), 0.05, 0.051),
    ],
)
def test_the_multiscale_method_has_the_known_errors(estimator, step, known):
    # Measured with 200 runs, standard error 6 %; 400 here, 4 %: three standard errors of the difference.
    paths = fs.multiscale(
        1.0, 1.0, horizon=4.0, macro_step=step, estimator=estimator, replicates=400,
        generator=np.random.default_rng(2),
    )  # fmt: skip
    assert fs.largest_error(paths, 1.0)[0] == pytest.approx(known, rel=0.21)
    assert paths.micro_steps == round(4 / step) * (estimator.relaxation + estimator.averaging)


def test_the_rate_of_forgetting_is_that_of_the_lengths_that_tell():
    x, mean = np.array([0, 5, 10, 300]), np.array([2.0, 2.0 * np.exp(-0.5), 2.0 * np.exp(-1.0), 0.3])
    error = np.full(4, 0.1)
    rate, uncertainty = fs.memory_rate(x, mean, error)
    assert rate == pytest.approx(-0.1, rel=1e-12)
    # Weights -1/10, 0, 1/10 of the logarithms, whose errors are those of the means over the means.
    assert uncertainty == pytest.approx(0.1 * np.hypot(0.05, 0.05 * np.e), rel=1e-12)
    assert np.isnan(fs.memory_rate(x[[0, 3]], mean[[0, 3]], error[:2])).all()


def test_steps_are_whole_shares_of_the_horizon():
    for step, taken in ((0.2, 0.25), (0.14, 0.125), (0.1, 0.1)):
        assert fs.taken_step(0.5, step) == taken
        paths = fs.euler_of_the_limit(1.0, horizon=0.5, macro_step=step)
        assert paths.times[1] == pytest.approx(taken, rel=1e-15)


def test_the_micro_step_biases_the_force_as_its_variance_says():
    generator, count = np.random.default_rng(3), 20000
    for step in (0.5, 1.0):
        x = np.full(count, 1.0)
        y = np.full((1, count), 1.0)
        force, _ = fs.estimate_force(x, y, 0.0, fs.Estimator(step, 60, 60), generator)
        bias = force.mean() - fs.averaged_force(1.0, 0.0)
        assert bias == pytest.approx(fs.micro_bias(1.0, step), abs=4 * force.std() / np.sqrt(count))
    # -3 x (1/(2 - lambda) - 1/2) = -3/4 lambda x to first order.
    assert fs.micro_bias(1.0, 0.01) == pytest.approx(-0.0075, rel=0.01)


def test_averaging_reduces_the_spread_by_its_root():
    generator, spreads, lengths = np.random.default_rng(4), [], [200, 800, 3200]
    for length in lengths:
        x, y = np.zeros(400), np.zeros((1, 400))
        force, _ = fs.estimate_force(x, y, 0.0, fs.Estimator(0.2, 50, length), generator)
        spreads.append(force.std())
    assert fs.fitted_order(lengths, spreads) == pytest.approx(-0.5, abs=0.07)


def test_an_ensemble_is_as_good_as_a_longer_average():
    generator = np.random.default_rng(5)
    one = fs.estimate_force(np.zeros(2000), np.zeros((1, 2000)), 0.0, fs.Estimator(0.2, 50, 400), generator)[0].std()
    four = fs.estimate_force(np.zeros(2000), np.zeros((4, 2000)), 0.0, fs.Estimator(0.2, 50, 100, 4), generator)[
        0
    ].std()
    assert four == pytest.approx(one, rel=0.1)


def test_costs_are_compared_at_equal_error():
    # Errors 1/cost and 2/cost: half the cost at equal error, wherever both are known.
    cost = np.array([10.0, 100.0, 1000.0])
    assert fs.cost_at_equal_error(cost, 1 / cost, 3 * cost, 2 / (3 * cost)) == pytest.approx((0.5, 0.5), rel=1e-12)
    # Orders one and one half from a common point on: the ratio at the smallest common error, 0.1, is 100/1000.
    found = fs.cost_at_equal_error(cost, 10 / cost, cost, np.sqrt(10 / cost))
    assert found == pytest.approx((0.1, 1.0), rel=1e-12)
    assert np.isnan(fs.cost_at_equal_error(cost, 1 / cost, cost, 1e4 / cost)).all()
    assert np.isnan(fs.cost_at_equal_error(cost, np.array([0.1, 0.2, 0.05]), cost, 1 / cost)).all()
