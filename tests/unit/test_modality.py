"""Modes, Hartigan's dip and mixtures: against other programs' values, closed forms and direct sums."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from meanfield.analysis import modality

RNG = np.random.default_rng(5)
NORMAL = RNG.normal(size=400)
PAIR = np.concatenate([RNG.normal(-2, 1, 300), RNG.normal(2, 1, 100)])


def grid(n, power):
    """Numbers that any program can make again."""
    return (np.arange(n) * 0.6180339887498949 % 1) ** power


# Values of the package diptest 0.12 (Hartigan's Fortran through Maechler's C) on the same samples.
@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (grid(20, 1), 0.046086471203089174),
        (grid(63, 3), 0.012937545581369751),
        (grid(500, 0.3), 0.0021105206663970043),
        (np.concatenate([grid(40, 2), 1.5 + grid(60, 0.5)]), 0.0875136348839672),
        (np.floor(10 * grid(90, 2)), 0.06666666666666667),
        (np.concatenate([grid(200, 1) ** 3, 5 - grid(100, 4), [2.5]]), 0.12605631934985656),
    ],
)
def test_the_dip_is_that_of_the_reference_implementation(sample, expected):
    assert modality.dip(sample) == pytest.approx(expected, abs=1e-12)


def test_the_dip_of_two_atoms_is_a_quarter():
    # The nearest unimodal distribution of two equal atoms misses each by a quarter.
    assert modality.dip(np.array([0.0] * 50 + [1.0] * 50)) == pytest.approx(0.25)
    assert modality.dip(np.array([3.0])) == 0.5  # 1/(2n)


def test_the_dip_knows_neither_order_nor_scale():
    assert modality.dip(RNG.permutation(PAIR) * 7 - 3) == pytest.approx(modality.dip(PAIR), abs=1e-12)
    assert modality.dip(-PAIR) == pytest.approx(modality.dip(PAIR), abs=1e-12)


@pytest.mark.parametrize("bad", [[], [1.0, np.nan]])
def test_the_dip_refuses_what_is_no_sample(bad):
    with pytest.raises(ValueError, match="finite"):
        modality.dip(np.array(bad))


def test_the_dip_test_has_its_level_and_finds_two_modes():
    # Under the uniform law p-values are uniform: 200 of them, Kolmogorov distance below the 1e-4 quantile, 2.2/sqrt(n).
    null = modality.dip_null(200, 400, seed=1)
    generator = np.random.default_rng(8)
    found = np.sort([modality.p_value(modality.dip(generator.random(200)), null) for _ in range(200)])
    assert np.abs(found - (np.arange(200) + 0.5) / 200).max() < 2.2 / np.sqrt(200)
    pair = np.concatenate([generator.normal(-2, 1, 100), generator.normal(2, 1, 100)])
    assert modality.p_value(modality.dip(pair), null) == 1 / 401
    assert modality.p_value(modality.dip(generator.normal(size=200)), null) > 0.2


def test_published_quantiles_of_the_dip():
    # Maechler's table of 1 000 001 samples (R package diptest, qDiptab), n = 50.
    null = modality.dip_null(50, 4000, seed=2)
    assert np.quantile(null, [0.5, 0.9, 0.95]) == pytest.approx([0.048851, 0.064914, 0.070274], abs=1.5e-3)


@pytest.mark.parametrize("sample", [NORMAL, PAIR])
def test_densities_are_the_direct_sums(sample):
    found = modality.kernel_density(sample, 2048)
    direct = gaussian_kde(sample)(found.position)  # Scott's bandwidth too
    assert np.abs(found.value - direct).max() < 1e-4 * direct.max()
    assert np.trapezoid(found.value, found.position) == pytest.approx(1, abs=1e-3)


def test_weighted_densities_are_those_of_repeated_values():
    sample, times = np.array([0.0, 1.0, 5.0]), np.array([4, 2, 3])
    repeated = modality.kernel_density(np.repeat(sample, times))
    assert modality.kernel_density(sample, weights=times).value == pytest.approx(repeated.value, abs=1e-12)


def test_a_density_of_equal_values_is_refused():
    with pytest.raises(ValueError, match="equal"):
        modality.kernel_density(np.ones(5))


def test_modes_and_valley_of_a_mixture():
    x = np.linspace(-6, 6, 4001)
    f = 0.7 * np.exp(-0.5 * (x + 2) ** 2) + 0.3 * np.exp(-0.5 * (x - 2) ** 2)
    found = modality.modes(modality.Density(x, f))
    assert found.position == pytest.approx([-2, 2], abs=0.01)
    inside = np.abs(x) < 2
    assert found.valley == pytest.approx(f[inside].min() / 0.3, rel=0.01)
    single = modality.modes(modality.Density(x, np.exp(-(x**2))))
    assert single.position == pytest.approx([0], abs=0.01)
    assert single.valley == 1


def test_ripples_far_below_the_peak_are_no_modes():
    x = np.linspace(-5, 25, 3001)
    f = np.exp(-(x**2)) + 1e-3 * np.exp(-((x - 20) ** 2))
    assert modality.modes(modality.Density(x, f)).position.size == 1


def test_the_bic_difference_of_well_separated_halves_is_a_closed_form():
    # Far apart: log-likelihood gain n [log(s/sigma) - log 2] with s the overall and sigma the component deviation.
    generator = np.random.default_rng(3)
    parts = [generator.normal(c, 1, 2000) for c in (-20, 20)]
    sample = np.concatenate(parts)
    n = sample.size
    gain = n * (np.log(sample.std()) - np.log(2)) - sum(2000 * np.log(part.std()) for part in parts)
    assert modality.gaussian_bic_difference(sample) == pytest.approx(2 * gain - 3 * np.log(n), rel=1e-6)


def test_the_bic_prefers_one_gaussian_for_a_gaussian():
    generator = np.random.default_rng(4)
    assert np.mean([modality.gaussian_bic_difference(generator.normal(size=500)) < 0 for _ in range(20)]) >= 0.9
