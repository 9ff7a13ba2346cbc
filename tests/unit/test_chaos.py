"""Dependence of pairs and tests of normality: laws whose dependence is known, by hand and in closed form."""

import numpy as np
import pytest
from scipy import stats

from meanfield.analysis.chaos import (
    bootstrap_weights,
    distribution_shares,
    log_slopes,
    pair_covariance,
    pair_law_distance,
    percentiles,
)
from meanfield.analysis.normality import anderson, standardised_moments


def common_factor(generator, replicates, neurons, correlation):
    """Return normal numbers with the same correlation between all neurons of a replicate."""
    shared = generator.standard_normal((replicates, 1))
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * generator.standard_normal((replicates, neurons))


def uniform(replicates):
    return np.full((1, replicates), 1 / replicates)


def test_the_covariance_of_pairs_by_hand():
    # Three replicates of two neurons: products -2, 6, 2 about zero, mean of all 1.
    values = np.array([[-1.0, 2.0], [2.0, 3.0], [-1.0, 1.0]])
    mean = values.mean()
    products = [(a - mean) * (b - mean) for a, b in values]
    between = np.mean((values.mean(axis=1) - mean) ** 2)
    found = pair_covariance(values.mean(axis=1), (values**2).mean(axis=1), 2, uniform(3))[0]
    assert found == pytest.approx(np.mean(products) + between / 2, rel=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_covariance_and_distance_are_those_of_the_law(correlation):
    generator = np.random.default_rng(3)
    covariances, squares = [], []
    for _ in range(40):
        values = common_factor(generator, 200, 5, correlation)
        covariances.append(pair_covariance(values.mean(axis=1), (values**2).mean(axis=1), 5, uniform(200))[0])
        squares.append(pair_law_distance(distribution_shares(values, 8), 5, uniform(200))[0])
    assert np.mean(covariances) == pytest.approx(correlation, abs=4 * np.std(covariances) / np.sqrt(40))
    level = stats.norm.ppf((np.arange(8) + 0.5) / 8)
    pair = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]])
    gap = [[pair.cdf([a, b]) - stats.norm.cdf(a) * stats.norm.cdf(b) for a in level] for b in level]
    # Relative bias of order one over the replicates.
    expected = np.mean(np.square(gap))
    assert np.mean(squares) == pytest.approx(expected, abs=4 * np.std(squares) / np.sqrt(40) + 0.03 * expected)


def test_intervals_of_the_bootstrap_cover():
    generator = np.random.default_rng(5)
    weights, hits = bootstrap_weights(150, 300), 0
    assert weights.sum(axis=1) == pytest.approx(np.ones(300))
    for _ in range(100):
        values = common_factor(generator, 150, 4, 0.2)
        mean, square = values.mean(axis=1), (values**2).mean(axis=1)
        band = percentiles(
            pair_covariance(mean, square, 4, uniform(150))[0], pair_covariance(mean, square, 4, weights), 0.95
        )
        hits += band.low <= 0.2 <= band.high
    assert hits >= 85


def test_slopes_of_powers():
    x = np.array([1.0, 2.0, 8.0])
    values = np.stack([3 * x**-0.5, x**2, -x], axis=1)
    np.testing.assert_allclose(log_slopes(x, values)[:2], [-0.5, 2.0])
    assert np.isnan(log_slopes(x, values)[2])


def test_percentiles_leave_out_what_is_not_finite():
    drawn = np.column_stack([np.arange(101.0), np.full(101, np.nan)])
    drawn[7, 0] = np.nan
    band = percentiles(np.array([50.0, 0.0]), drawn, 0.9)
    assert band.low[0] == pytest.approx(5, abs=0.5)
    assert np.isnan(band.low[1])


def test_anderson_is_scipys_and_its_p_values_are_uniform():
    generator = np.random.default_rng(7)
    values = generator.standard_normal(200)
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(FutureWarning)
        known = stats.anderson(values, "norm").statistic
    assert anderson(values)[0] == pytest.approx(known * (1 + 0.75 / 200 + 2.25 / 200**2), rel=1e-9)
    p = np.array([anderson(generator.standard_normal(100))[1] for _ in range(1000)])
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert anderson(generator.exponential(size=100))[1] < 1e-4
    assert np.isnan(anderson(np.ones(20))).all()


def test_moments():
    assert standardised_moments(np.array([0.0, 0, 0, 1])) == pytest.approx((2 / np.sqrt(3), -2 / 3))
    assert np.isnan(standardised_moments(np.ones(4))).all()
