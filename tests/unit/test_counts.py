"""Shares with intervals: closed forms, coverage, pairs, clusters, ranks."""

import numpy as np
import pytest
from scipy import stats

from meanfield.analysis.counts import design_effect, mcnemar, paired_difference, ranks, wilson


def flags(hits, total):
    return np.arange(total) < hits


def test_wilson_by_hand():
    # 8 of 10 at z = 1.959964: centre (0.8 + z^2/20)/(1 + z^2/10), half-width from the textbook formula.
    share, low, high = wilson(flags(8, 10))
    assert share == 0.8
    assert (low, high) == pytest.approx((0.4901625, 0.9433178), abs=1e-7)


@pytest.mark.parametrize(("hits", "total"), [(0, 50), (50, 50), (3, 1000)])
def test_wilson_is_scipys(hits, total):
    exact = stats.binomtest(hits, total).proportion_ci(0.99, method="wilson")
    share, low, high = wilson(flags(hits, total), level=0.99)
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert low <= share <= high


def test_wilson_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(2000):
        _, low, high = wilson(rng.random(80) < 0.2, level=0.9)
        inside += low <= 0.2 <= high
    # Wilson's coverage oscillates by about .02 around its level; binomial error of 2000 trials .0067.
    assert inside / 2000 == pytest.approx(0.9, abs=0.03)


def test_fully_coupled_trajectories_count_as_one():
    rng = np.random.default_rng(2)
    ensembles = rng.random(200) < 0.4
    hits = np.repeat(ensembles, 10)
    assert design_effect(hits, 10) == pytest.approx(10, rel=0.01)
    assert wilson(hits, cluster=10)[1:] == pytest.approx(wilson(ensembles)[1:], abs=3e-3)
    assert design_effect(rng.random(2000) < 0.4, 10) == pytest.approx(1, abs=0.25)
    assert design_effect(flags(0, 100), 10) == 10  # nothing to estimate it from: the worst case
    assert design_effect(hits, 1) == 1


def test_pairs_decide_what_two_samples_could_not():
    # 1000 starts; the second method gains 20 and loses 4: unpaired intervals overlap widely, the pairs are clear.
    first = flags(500, 1000)
    second = first.copy()
    second[500:520] = True
    second[:4] = False
    difference, low, high = paired_difference(second, first)
    assert difference == pytest.approx(0.016)
    # By hand: (20.5 - 4.5)/1002 +- 1.96 sqrt((25/1002 - (16/1002)^2)/1002).
    centre, half = 16 / 1002, 1.959964 * np.sqrt((25 / 1002 - (16 / 1002) ** 2) / 1002)
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-7)
    assert low > 0
    assert mcnemar(second, first) == pytest.approx(2 * stats.binom.cdf(4, 24, 0.5), rel=1e-12)
    assert wilson(first).high > wilson(second).low
    assert paired_difference(first, second)[1:] == pytest.approx((-high, -low), abs=1e-15)


def test_equal_outcomes_differ_by_nothing_but_not_with_certainty():
    difference, low, high = paired_difference(flags(5, 50), flags(5, 50))
    assert difference == 0
    assert low < 0 < high
    assert mcnemar(flags(5, 50), flags(5, 50)) == 1.0


def test_ranks_are_intervals_where_differences_are_not_clear():
    hits = np.stack([flags(900, 1000), flags(500, 1000), flags(505, 1000), flags(100, 1000)])
    differences, best, worst = ranks(hits, np.ones(4, int))
    assert best.tolist() == [1, 2, 2, 4]
    assert worst.tolist() == [1, 3, 3, 4]
    assert differences[0, 3, 0] == pytest.approx(0.8)
    np.testing.assert_allclose(differences[:, :, 1], -differences[:, :, 2].T)
