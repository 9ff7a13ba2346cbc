import numpy as np
import pytest
import xarray as xr
from scipy import stats

from meanfield.analysis.distances import empirical, kolmogorov, wasserstein, weighted
from meanfield.analysis.intervals import largest, mean_interval, wilson_interval
from meanfield.analysis.jackknife import jackknife
from meanfield.analysis.slopes import log_slope
from meanfield.analysis.solutions import comparable_records, histogram_at, law_at, records_at, time_average
from meanfield.errors import DataError


def test_two_points_by_hand():
    a, b = weighted(np.array([0.0, 4.0]), np.array([0.75, 0.25])), empirical(np.array([1.0, 1.0]))
    # Three quarters move by 1 and one quarter by 3; the distribution functions differ most, by 3/4, below 1.
    assert wasserstein(a, b, 1) == pytest.approx(1.5, abs=1e-15)
    assert wasserstein(a, b, 2) == pytest.approx(np.sqrt(0.75 + 0.25 * 9), abs=1e-15)
    assert kolmogorov(a, b) == pytest.approx(0.75, abs=1e-15)


def test_distances_agree_with_scipy_on_samples():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(301), rng.standard_normal(170) + 0.3
    assert wasserstein(empirical(x), empirical(y), 1) == pytest.approx(stats.wasserstein_distance(x, y), abs=1e-12)
    assert kolmogorov(empirical(x), empirical(y)) == pytest.approx(stats.ks_2samp(x, y).statistic, abs=1e-12)


def test_weighted_laws_agree_with_scipy():
    rng = np.random.default_rng(2)
    x, y, p, q = rng.random(40), rng.random(60), rng.random(40), rng.random(60)
    assert wasserstein(weighted(x, p), weighted(y, q), 1) == pytest.approx(
        stats.wasserstein_distance(x, y, p, q), abs=1e-12
    )


def test_a_shift_moves_every_distance_by_itself():
    x = np.random.default_rng(3).standard_normal(100)
    for order in (1, 2):
        assert wasserstein(empirical(x), empirical(x + 0.7), order) == pytest.approx(0.7, abs=1e-12)
        assert wasserstein(empirical(x), empirical(x), order) == 0


def test_quantile_atoms_against_a_sample_of_the_same_law_fall_with_its_size():
    atoms = weighted(stats.norm.ppf((np.arange(2000) + 0.5) / 2000), np.ones(2000))
    rng = np.random.default_rng(4)
    sizes = np.array([100, 400, 1600, 6400])
    means = [np.mean([wasserstein(empirical(rng.standard_normal(n)), atoms, 1) for _ in range(30)]) for n in sizes]
    slope = np.polyfit(np.log(sizes), np.log(means), 1)[0]
    assert -0.6 < slope < -0.4  # N^(-1/2)


def test_interval_of_three_numbers_by_hand():
    interval = mean_interval(np.array([1.0, 2.0, 6.0]))
    # Mean 3, standard deviation sqrt(7), t quantile 4.302652730 at two degrees of freedom.
    half = 4.302652730 * np.sqrt(7.0 / 3.0)
    assert interval.mean == 3
    assert interval.low == pytest.approx(3 - half, abs=1e-7)
    assert interval.high == pytest.approx(3 + half, abs=1e-7)


def test_one_replicate_has_no_interval():
    interval = mean_interval(np.array([[1.0, 2.0]]))
    assert interval.mean.tolist() == [1, 2]
    assert np.isnan(interval.low).all()
    assert np.isnan(interval.high).all()


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(5)
    interval = mean_interval(rng.standard_normal((4, 20000)))
    covered = ((interval.low < 0) & (interval.high > 0)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 20000))


VOLUME = xr.Dataset(
    {
        "edge": ("edge", [0.0, 1.0, 2.0]),
        "density": (("record", "cell"), [[0.5, 0.25], [0.2, 0.6]]),
        "mass_at_zero": ("record", [0.25, 0.2]),
        "time": ("record", [0.0, 1.0]),
    },
    coords={"centre": ("cell", [0.5, 1.5])},
)


def test_cells_and_the_atom_at_zero_make_a_law():
    law = law_at(VOLUME, 0)
    assert law.position.tolist() == [0.0, 0.5, 1.5]
    assert law.mass.tolist() == [0.25, 0.5, 0.25]


def test_histogram_of_cells_spreads_their_mass_and_keeps_the_atom_in_the_first_bin():
    edges = np.array([0.0, 0.5, 2.0])
    density = histogram_at(VOLUME, 0, edges)
    # First bin: the atom 0.25 and half of the first cell; second: the rest.
    assert density == pytest.approx([0.5 / 0.5, 0.5 / 1.5], abs=1e-15)


def test_records_are_found_by_time_and_a_missing_one_is_named():
    assert records_at(VOLUME, np.array([1.0, 0.0]), "x.nc").tolist() == [1, 0]
    with pytest.raises(DataError, match=r"x\.nc: has no record at t = 0\.5"):
        records_at(VOLUME, np.array([0.5]), "x.nc")


def test_wilson_intervals_are_the_published_ones():
    # Newcombe (1998), Stat. Med. 17, 857-872, table I, score method without continuity correction.
    for successes, trials, low, high in [
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
    ]:  # fmt: skip
        interval = wilson_interval(successes, trials)
        assert interval.mean == successes / trials
        assert interval.low == pytest.approx(low, abs=5e-5)
        assert interval.high == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_intervals_agree_with_scipy(level):
    successes = np.arange(13)
    found = wilson_interval(successes, 12, level)
    for k in successes:
        expected = stats.binomtest(int(k), 12).proportion_ci(level, method="wilson")
        assert found.low[k] == pytest.approx(expected.low, abs=1e-12)
        assert found.high[k] == pytest.approx(expected.high, abs=1e-12)
    assert found.low[0] == 0
    assert found.high[12] == 1


def test_the_jackknife_of_means_is_welch():
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=5), 3 * generator.normal(size=8)
    found = jackknife(lambda kept: x[kept[0]].mean() - y[kept[1]].mean(), (5, 8))
    low, high = stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    assert [*map(float, found)] == pytest.approx([x.mean() - y.mean(), low, high])
    alone = jackknife(lambda kept: np.array([x[:1][kept[0]].sum() + y[kept[1]].mean()]), (1, 8))
    assert np.isnan(alone.low).all()
    assert np.isnan(alone.high).all()


def test_the_largest_value_ignores_what_is_undefined():
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan], [-2.0, -5.0, np.nan]])
    np.testing.assert_array_equal(largest(values), [3.0, np.nan, -2.0])


def test_the_slope_of_a_power_law_is_its_exponent():
    x = np.array([10.0, 30.0, 100.0, 1000.0])
    factor = np.random.default_rng(1).lognormal(size=6)
    slope = log_slope(x, 5 * x[:, None] ** -0.75 * factor)
    # A factor that all points of a replicate share moves no slope, in no resample.
    for value in slope:
        assert value == pytest.approx(-0.75, abs=1e-12)
    # Of two points it is the difference quotient; one replicate tells nothing about the spread.
    alone = log_slope(np.array([1.0, 4.0]), np.array([[3.0], [12.0]]))
    assert alone.mean == pytest.approx(1.0, abs=1e-12)
    assert np.isnan([alone.low, alone.high]).all()


def test_a_statistic_of_ones_own_has_its_slope():
    x = np.array([1.0, 10.0])
    values = np.array([[-1.0, 1.0, 0.0], [-10.0, 10.0, 0.0]])
    slope = log_slope(x, values, statistic=lambda sample: sample.std(axis=1, ddof=1))
    # Resamples of one value only have no spread and no logarithm: they are left out.
    for value in slope:
        assert value == pytest.approx(1.0, abs=1e-12)


def test_intervals_of_slopes_cover_the_slope_about_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr("meanfield.analysis.slopes._RESAMPLES", 200)
    rng = np.random.default_rng(6)
    x = np.array([1.0, 2.0, 4.0, 8.0])
    trials, replicates = 200, 20
    covered = 0
    for _ in range(trials):
        slope = log_slope(x, (1 / x)[:, None] * (1 + 0.3 * rng.standard_normal((4, replicates))))
        covered += slope.low < -1 < slope.high
    # Percentile intervals of twenty replicates are a little short (about 0.93): 0.95 within five points.
    assert abs(covered / trials - 0.95) < 0.05 + 2 * np.sqrt(0.95 * 0.05 / trials)


def test_records_that_can_be_compared():
    times = np.array([0.0, 0.5, 1.0, 1.5, np.nan])
    with pytest.raises(DataError, match=r"x\.nc: has no record at t = 0\.5"):
        comparable_records(VOLUME, times, "x.nc", complete=True)
    found, index = comparable_records(VOLUME, times, "x.nc", complete=False)
    assert found.tolist() == [True, False, True, False, False]
    assert index.tolist() == [0, 1]
    found, index = comparable_records(VOLUME, times[[2, 3, 4]], "x.nc", complete=True)  # beyond the end: none needed
    assert found.tolist() == [True, False, False]
    assert index.tolist() == [1]
    found, index = comparable_records(VOLUME, np.full(3, np.nan), "x.nc", complete=False)
    assert not found.any()
    assert index.size == 0


def test_the_average_over_time_is_not_that_over_records():
    time = np.array([1.0, 1.1, 1.2, 5.0])
    assert time_average(np.array([[3.0, 3.0, 3.0, 3.0], time]), time) == pytest.approx([3.0, 3.0])
    assert time_average(np.array([[7.0]]), np.array([np.nan])) == pytest.approx([7.0])
