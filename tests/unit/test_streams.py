"""The random streams: known answers of the generator, the law of the numbers, and what they depend on."""

import math

import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from meanfield.kernels.streams import (
    INITIAL_WEIGHTS,
    SAMPLES,
    _normal_pair,
    _philox,
    fill_block,
    fill_four,
    seed_sequence,
    standard_samples,
    stream_key,
)

KEY = np.array([0xA4093822, 0x299F31D0], np.uint32)
LARGE = 200_000

examples = settings(derandomize=True, deadline=None, max_examples=25)


@nb.njit
def normal_pairs(a, b, first, second):
    for i in range(a.size):
        first[i], second[i] = _normal_pair(a[i], b[i])


def philox(counter, key):
    return tuple(int(word) for word in _philox(*(np.uint32(word) for word in (*counter, *key))))


def box_muller(a, b):
    """The transform in float64, from the float32 uniform that the stream takes from its first word."""
    u = np.float64((np.float32(a) + np.float32(0.5)) * np.float32(2.0**-32))
    radius = np.sqrt(-2 * np.log(u))
    angle = np.pi * np.asarray(b, np.uint32).view(np.int32) / 2.0**31
    return radius * np.sin(angle), radius * np.cos(angle)


@pytest.fixture(scope="module")
def large_sample():
    return standard_samples(stream_key(1, "large sample", 0), 0, LARGE, 6)


# -- the generator -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_the_published_answers(counter, key, expected):
    # The known-answer vectors of philox4x32-10 published with Salmon et al. (2011).
    assert philox(counter, key) == expected


def test_first_sample_of_the_zero_key_follows_from_the_published_answer():
    # Counter (0, 0, 0, 0), key (0, 0): first word 6627e8d5, top bit clear, hence the sign +1.
    _, sign = standard_samples(np.zeros(2, np.uint32), 0, 1, 4)
    assert sign.tolist() == [1.0]


@pytest.mark.parametrize("first", [0, 5, 2**31 - 3, 2**32 - 2, 3 * 2**32 + 7])
def test_block_of_samples_is_philox_and_box_muller_word_by_word(first):
    count, dimension = 5, 12
    z, sign = standard_samples(KEY, first, count, dimension)
    for n in range(count):
        number = first + n
        low, high = number % 2**32, number // 2**32
        assert sign[n] == (1.0 if philox((low, high, 0, 0), KEY)[0] < 2**31 else -1.0)
        for quad in range(3):
            a, b, c, d = philox((low, high, quad + 1, 0), KEY)
            expected = [*box_muller(a, b), *box_muller(c, d)]
            # float32 arithmetic: about five roundings of 6e-8 on numbers below 7.
            np.testing.assert_allclose(z[n, 4 * quad : 4 * quad + 4], expected, rtol=0, atol=2e-6)


def test_transform_is_accurate_at_the_ends_of_both_words():
    ends = np.array([0, 1, 2, 255, 2**23, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 256, 2**32 - 1], np.uint32)
    angles = np.array([0, 1, 2**29, 2**30, 3 * 2**29, 2**31 - 1, 2**31, 2**31 + 2**29, 3 * 2**30, 2**32 - 1], np.uint32)
    a, b = (grid.ravel() for grid in np.meshgrid(ends, angles))
    first, second = np.empty(a.size), np.empty(a.size)
    normal_pairs(a, b, first, second)
    expected_first, expected_second = box_muller(a, b)
    np.testing.assert_allclose(first, expected_first, rtol=0, atol=2e-6)
    np.testing.assert_allclose(second, expected_second, rtol=0, atol=2e-6)


def test_smallest_uniform_gives_the_end_of_the_tail():
    first, second = np.empty(1), np.empty(1)
    normal_pairs(np.zeros(1, np.uint32), np.zeros(1, np.uint32), first, second)
    # u = 2^-33 at angle zero: sine 0, cosine sqrt(66 log 2) = 6.7639, the end stated in the module.
    assert first[0] == 0
    assert second[0] == pytest.approx(math.sqrt(66 * math.log(2)), rel=3e-7)


# -- what a sample depends on --------------------------------------------------------------------------------


@examples
@given(first=st.integers(0, 300), count=st.integers(1, 70))
def test_a_sample_does_not_depend_on_where_its_block_starts_or_ends(first, count):
    z, sign = standard_samples(KEY, 0, 400, 10)
    part, part_sign = standard_samples(KEY, first, count, 10)
    assert np.array_equal(part, z[first : first + count])
    assert np.array_equal(part_sign, sign[first : first + count])


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 8, 13])
def test_a_smaller_dimension_keeps_the_first_coordinates(dimension):
    z, sign = standard_samples(KEY, 7, 20, 24)
    part, part_sign = standard_samples(KEY, 7, 20, dimension)
    assert np.array_equal(part, z[:, :dimension])
    assert np.array_equal(part_sign, sign)


def test_single_precision_blocks_hold_the_same_numbers():
    x, sign = np.empty((8, 16), np.float32), np.empty(16, np.float32)
    fill_block(x, sign, KEY, 32)
    z, sign64 = standard_samples(KEY, 32, 16, 8)
    assert np.array_equal(x.T.astype(float), z)  # the transform is in float32 in both cases
    assert np.array_equal(sign.astype(float), sign64)


@pytest.mark.parametrize("count", [1, 7, 800])
def test_four_rows_are_those_of_a_block(count):
    block, sign = np.empty((12, count), np.float32), np.empty(count, np.float32)
    fill_block(block, sign, KEY, 2**32 - 3)
    rows, words, radius = np.empty((4, count), np.float32), np.empty((4, count), np.uint32), np.empty(count, np.float32)
    for quad in range(3):
        fill_four(rows, KEY, 2**32 - 3, quad, words, radius)
        assert np.array_equal(rows, block[4 * quad : 4 * quad + 4])


def test_counters_beyond_32_bits_do_not_repeat():
    z, _ = standard_samples(KEY, 0, 4, 4)
    later, _ = standard_samples(KEY, 2**32, 4, 4)
    assert not np.any(z == later)


def test_both_words_of_the_key_matter():
    z, _ = standard_samples(KEY, 0, 4, 4)
    for word in (0, 1):
        other = KEY.copy()
        other[word] ^= 1
        assert not np.any(z == standard_samples(other, 0, 4, 4)[0])


def test_keys_of_streams_are_pinned():
    # Recorded once: a change here changes the data of every figure.
    assert [hex(word) for word in stream_key(0, "isotropic", 0)] == ["0x3b1525e0", "0x8ef37d6"]
    assert [hex(word) for word in stream_key(7, "isotropic", 3, INITIAL_WEIGHTS)] == [
        "0x8dc0bc9b",
        "0x20e7f82c",
    ]


def test_keys_differ_between_roots_experiments_replicates_and_purposes():
    keys = {
        tuple(int(word) for word in stream_key(root, name, replicate, purpose))
        for root in (0, 1)
        for name in ("a", "b", "")
        for replicate in range(50)
        for purpose in (INITIAL_WEIGHTS, SAMPLES)
    }
    assert len(keys) == 2 * 3 * 50 * 2


def test_the_default_purpose_of_a_key_is_samples():
    assert np.array_equal(stream_key(3, "a", 1), stream_key(3, "a", 1, SAMPLES))
    words = seed_sequence(3, "a", 1, SAMPLES).generate_state(2, np.uint32)
    assert np.array_equal(stream_key(3, "a", 1), words)


# -- the law of the numbers ----------------------------------------------------------------------------------
# Fixed keys: each bound holds or does not, once and for all. Bounds are four to five standard errors.


def test_moments_are_those_of_the_normal_law(large_sample):
    z, _ = large_sample
    for power, mean, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10395 - 225)]:
        error = np.abs((z**power).mean(axis=0) - mean).max()
        assert error < 4.5 * math.sqrt(variance / LARGE), power


def test_every_coordinate_passes_the_kolmogorov_smirnov_test(large_sample):
    z, _ = large_sample
    p_values = [stats.kstest(z[:, j], "norm").pvalue for j in range(6)]
    assert min(p_values) > 1e-3


def test_tails_hold_the_right_share_and_end_where_they_must(large_sample):
    z, _ = large_sample
    for edge in (3.0, 4.0):
        expected = z.size * 2 * stats.norm.sf(edge)
        assert abs((np.abs(z) > edge).sum() - expected) < 4.5 * math.sqrt(expected)
    assert np.abs(z).max() < math.sqrt(66 * math.log(2)) + 1e-6


def test_signs_are_fair_and_only_signs(large_sample):
    _, sign = large_sample
    assert set(np.unique(sign)) == {-1.0, 1.0}
    assert abs(sign.mean()) < 4.5 / math.sqrt(LARGE)


def test_coordinates_signs_and_neighbouring_samples_are_uncorrelated(large_sample):
    z, sign = large_sample
    columns = np.column_stack([z, z**2 / math.sqrt(2), sign, *(np.roll(z, lag, axis=0) for lag in (1, 2, 16))])
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    # 31 columns, 465 pairs: the largest of so many is below 4.5 standard errors but for a chance of 0.3 %.
    assert np.abs(correlation).max() < 4.5 / math.sqrt(LARGE)


def test_angle_and_radius_of_a_pair_are_independent(large_sample):
    z, _ = large_sample
    radius2 = z[:, 0] ** 2 + z[:, 1] ** 2
    angle = np.arctan2(z[:, 0], z[:, 1])
    assert stats.kstest(radius2, "expon", args=(0, 2)).pvalue > 1e-3
    assert stats.kstest(angle, "uniform", args=(-np.pi, 2 * np.pi)).pvalue > 1e-3
    for harmonic in (1, 2, 4):
        mean = (radius2 / 2 * np.cos(harmonic * angle)).mean()
        assert abs(mean) < 4.5 / math.sqrt(LARGE)  # variance E (r^2/2)^2 / 2 = 1


def test_streams_of_other_replicates_purposes_and_experiments_are_uncorrelated():
    count = 50_000
    streams = [
        standard_samples(stream_key(root, name, replicate, purpose), 0, count, 2)[0]
        for root, name, replicate, purpose in [
            (0, "a", 0, SAMPLES),
            (0, "a", 1, SAMPLES),
            (0, "a", 0, INITIAL_WEIGHTS),
            (0, "b", 0, SAMPLES),
            (1, "a", 0, SAMPLES),
        ]
    ]
    columns = np.concatenate(streams, axis=1)
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 4.5 / math.sqrt(count)
