"""Sums of Mehler's series over all pairs of neurons, against sums written out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meanfield.kernels import pair_series
from meanfield.problems.activations import PiecewiseLinear, Smooth, gaussian_rule
from meanfield.problems.anisotropic import AnisotropicGaussians, pack
from meanfield.problems.isotropic import IsotropicGaussians

RAMP = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
TANH = Smooth("tanh", gain=2.0, shift=0.3)
SCALES = (1.3, 0.7)


def summed(activation, weights, pair_cost=1e9, from_order=0, scales=SCALES):
    """Return the sum over pairs and what it left, for the classes of the given scales."""
    products = pair_series.gram(weights)
    norms = np.sqrt(np.diagonal(products))
    squares = np.array([activation.gaussian_mean_square(tau * norms) for tau in scales])
    return pair_series.sum_of_pairs(
        products,
        lambda order: np.array([activation.hermite(tau * norms, order) for tau in scales]),
        squares,
        pair_cost=pair_cost,
        from_order=from_order,
    )


def plainly(activation, weights, pairs, from_order=0, scales=SCALES):
    """Return the same over the given pairs, by the activation's own average of a pair."""
    if not pairs:
        return 0.0
    i, j = np.array(pairs).T
    norms = np.linalg.norm(weights, axis=1)
    cosine = np.clip((weights[i] * weights[j]).sum(axis=1) / np.maximum(norms[i] * norms[j], 1e-300), -1, 1)
    total = 0.0
    for tau in scales:
        total += activation.pair_mean(tau * norms[i], tau * norms[j], cosine).sum()
        if from_order:
            mean = activation.gaussian_mean(tau * norms)
            total -= (mean[i] * mean[j]).sum()
    return float(total)


@pytest.mark.parametrize("activation", [RAMP, TANH])
@pytest.mark.parametrize("neurons", [2, 16, 17, 33])
def test_the_sum_is_that_over_pairs_one_by_one(activation, neurons):
    weights = np.random.default_rng(neurons).normal(size=(neurons, 30)) / 5
    total, rows, columns, cosines = summed(activation, weights)
    assert rows.size == columns.size == cosines.size == 0
    pairs = list(itertools.combinations(range(neurons), 2))
    # The tolerance of a pair, relative to the largest mean square, which is below 12 here.
    error = 12 * pair_series.TOLERANCE * len(pairs) * len(SCALES)
    assert abs(total - plainly(activation, weights, pairs)) < error


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), neurons=st.integers(2, 40), dimension=st.integers(1, 4), from_order=st.integers(0, 1)
)
def test_every_pair_is_either_summed_or_handed_back(seed, neurons, dimension, from_order):
    # In few dimensions many pairs are nearly parallel, in one all are.
    weights = np.random.default_rng(seed).normal(size=(neurons, dimension))
    total, rows, columns, cosines = summed(RAMP, weights, from_order=from_order)
    assert np.all(columns < rows)
    left = list(zip(columns.tolist(), rows.tolist(), strict=True))
    assert len(set(left)) == len(left)
    units = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, (units[rows] * units[columns]).sum(axis=1), atol=1e-12)
    others = sorted(set(itertools.combinations(range(neurons), 2)) - set(left))
    expected = plainly(RAMP, weights, others, from_order=from_order)
    # Close pairs that are summed are compared with a quadrature that is good to 1e-6 there.
    assert total == pytest.approx(expected, rel=1e-6, abs=1e-5)
    if dimension == 1:
        assert len(left) == neurons * (neurons - 1) // 2


def test_the_order_rises_only_where_that_is_cheaper_than_the_other_method():
    rng = np.random.default_rng(3)
    weights = rng.normal(size=60) + 0.5 * rng.normal(size=(40, 60))  # cosines about 0.8
    asked = []

    def count(pair_cost):
        products = pair_series.gram(weights)
        norms = np.sqrt(np.diagonal(products))
        asked.clear()

        def tables(order):
            asked.append(order)
            return RAMP.hermite(norms, order)[None]

        squares = RAMP.gaussian_mean_square(norms)[None]
        return pair_series.sum_of_pairs(products, tables, squares, pair_cost=pair_cost)[1].size

    assert count(0) > 700
    assert asked == [16]
    assert count(1e9) == 0
    assert asked[-1] > 64
    assert asked == sorted(asked)


def test_a_polynomial_ends_with_its_degree_whatever_the_angle():
    # sigma(z) = z: all coefficients but the first vanish, and parallel pairs are summed too.
    line = PiecewiseLinear((0.0,), (0.0,), 1.0, 1.0)
    weights = np.array([[1.0, 0.0], [1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]])
    total, rows, _, _ = summed(line, weights, scales=(1.0,))
    assert rows.size == 0
    assert total == pytest.approx(1 - 2 - 2, abs=1e-12)


@pytest.mark.parametrize("neurons", [3, 40])
def test_what_is_not_a_number_is_not_lost(neurons):
    weights = np.random.default_rng(0).normal(size=(neurons, 5)) / 4
    weights[1, 2] = np.nan
    total, rows, columns, _ = summed(RAMP, weights)
    assert np.isnan(total) or {1} <= {*rows.tolist(), *columns.tolist()}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("largest", [1e160, np.inf])
def test_weights_beyond_all_bounds_give_no_number_and_no_error(largest):
    weights = np.random.default_rng(0).normal(size=(20, 5)) / 4
    weights[3, 1] = largest
    assert not np.isfinite(summed(RAMP, weights)[0])


@pytest.mark.parametrize("scale", [0.0, 1e-160])
def test_neurons_at_zero_are_constants(scale):
    weights = np.random.default_rng(1).normal(size=(20, 12)) / 4
    weights[7] *= scale
    weights[9] *= scale
    total, rows, _, _ = summed(RAMP, weights)
    assert rows.size == 0
    pairs = list(itertools.combinations(range(20), 2))
    assert total == pytest.approx(plainly(RAMP, weights, pairs), abs=1e-5)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 0.03, 0.1, 0.3])
def test_risks_are_continuous_where_the_series_hands_over(angle):
    # Two neurons at an angle: the risk against the average over samples that lie in their plane, by quadrature.
    nodes, weights_of = gaussian_rule(301)
    x = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    mass = np.outer(weights_of, weights_of).ravel()
    weights = np.array([[1.2, 0.0], [0.9 * np.cos(angle), 0.9 * np.sin(angle)]])
    isotropic = IsotropicGaussians(2, 0.3, TANH)
    anisotropic = AnisotropicGaussians(2, 1, 0.3, TANH)
    packed = pack(np.array([1.0, -0.5]), np.array([0.2, 0.1]), weights)
    for problem, point in ((isotropic, weights), (anisotropic, packed)):
        expected = 0.0
        for label, scale in zip((1.0, -1.0), problem.scales, strict=True):
            expected += 0.5 * float(mass @ (problem.network(point, x * scale) - label) ** 2)
        assert problem.risk(point) == pytest.approx(expected, abs=2e-6)
