"""Explicit vectors against their numpy twins, and the kernels' elementary functions against libraries."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numba as nb
import numpy as np
import pytest
from scipy import special

from meanfield.kernels import activate, lanes, lanes_numpy

DTYPES = [np.float32, np.float64]


def compiled(operation, dtype, monkeypatch):
    """Apply a compiled operation to an array, and its twin, which is the same source with numpy's vectors."""
    count = lanes.WIDTH[np.dtype(dtype)]
    array = np.random.default_rng(0).standard_normal(10 * count + 5).astype(dtype)
    expected = array.copy()
    operation(array)
    monkeypatch.setitem(operation.py_func.__globals__, "lanes", lanes_numpy)
    operation.py_func(expected)
    monkeypatch.undo()
    return array, expected


@nb.njit
def _fma(array):
    n = lanes.width(array)
    lanes.store(array, 3, lanes.fma(lanes.load(array, 1), lanes.load(array, n), lanes.load(array, 2 * n + 1)))


@nb.njit
def _fma_at(array):
    lanes.store(array, 3, lanes.fma_at(array, 2, lanes.load(array, 1), lanes.load(array, 7)))


@nb.njit
def _fma_scalar(array):
    lanes.store(array, 3, lanes.fma_scalar(array[2], lanes.load(array, 1), lanes.load(array, 7)))


@nb.njit
def _arithmetic(array):
    n = lanes.width(array)
    a, b = lanes.load(array, 0), lanes.load(array, n + 1)
    lanes.store(array, 2, lanes.subtract(lanes.add(lanes.multiply(a, b), lanes.splat(array[1])), a))


@nb.njit
def _clip(array):
    lanes.store(array, 2, lanes.clip(lanes.load(array, 0), array.dtype.type(-0.5), array.dtype.type(0.25)))


@nb.njit
def _exponent(array):
    n = lanes.width(array)
    shift = lanes.splat(array.dtype.type(1.5 * 2.0**52 if n == 8 else 1.5 * 2.0**23))
    lanes.store(array, 2, lanes.add_exponent(lanes.load(array, n), lanes.add(lanes.load(array, 1), shift)))


@nb.njit
def _between(array):
    low, high = array[1], array[3]  # numbers of the vector itself: the ends of the interval count as they should
    lanes.store(array, 0, lanes.where_between(lanes.load(array, 0), min(low, high), max(low, high), array[5]))


@nb.njit
def _reduce(array):
    vector = lanes.where_between(lanes.load(array, 0), array.dtype.type(0), array.dtype.type(1), array.dtype.type(1))
    bits = lanes.nonzero_bits(vector)
    array[0] = lanes.total(lanes.load(array, 0))
    array[1] = lanes.count_bits(bits)
    array[2] = lanes.lowest_bit(bits)
    array[3] = bits


@nb.njit
def _columns(array):
    # Columns nine apart overlap nothing and leave gaps.
    lanes.store_columns(array, 1, 9, array.copy(), 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "operation",
    [_fma, _fma_at, _fma_scalar, _arithmetic, _clip, _exponent, _between, _reduce, _columns],
    ids=lambda f: f.__name__,
)
def test_vector_operations_equal_their_numpy_twins(operation, dtype, monkeypatch):
    found, expected = compiled(operation, dtype, monkeypatch)
    # One rounding more or less where a product and a sum fuse, and sums of 16 numbers in the same order.
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
    assert not np.array_equal(found, np.random.default_rng(0).standard_normal(found.size).astype(dtype))


def test_columns_land_where_they_belong():
    array = np.arange(80, dtype=np.float64)
    _columns(array)
    # Vectors of eight numbers: column k holds 3 + k, 11 + k, …, and what is between columns stays.
    assert array[1:10].tolist() == [3, 11, 19, 27, 35, 43, 51, 59, 9]
    assert array[64:74].tolist() == [10, 18, 26, 34, 42, 50, 58, 66, 72, 73]


def test_both_sets_of_operations_have_the_same_names_and_arguments():
    for name, twin in inspect.getmembers(lanes_numpy, inspect.isfunction):
        operation = getattr(lanes, name)
        assert inspect.signature(getattr(operation, "py_func", operation)) == inspect.signature(twin), name


def test_clipping_keeps_what_is_not_a_number():
    array = np.array([np.nan, np.inf, -np.inf, 0.1, *range(8)])
    _clip(array)
    assert np.array_equal(array[2:7], [np.nan, 0.25, -0.5, 0.1, 0.0], equal_nan=True)


def test_interval_is_open_on_the_left_and_closed_on_the_right():
    array = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, -1.0, 0.75])
    for module in (lanes, lanes_numpy):
        found = np.array(module.where_between(array, 0.25, 1.0, 3.0)) if module is lanes_numpy else array.copy()
        if module is lanes:
            _interval(found)
        assert found.tolist() == [0, 0, 3, 3, 0, 0, 0, 3]


@nb.njit
def _interval(array):
    lanes.store(array, 0, lanes.where_between(lanes.load(array, 0), 0.25, 1.0, 3.0))


def test_exponential_is_accurate_to_rounding():
    x = np.concatenate([np.linspace(-700, 700, 20001), np.logspace(-300, 0, 500), -np.logspace(-300, 0, 500)])
    found = np.array([activate.expm1(value) for value in x])
    expected = np.expm1(x)
    np.testing.assert_allclose(found, expected, rtol=5e-16, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kind", "function", "derivative"),
    [
        (activate.TANH, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        (activate.LOGISTIC, special.expit, lambda z: special.expit(z) * special.expit(-z)),
        (activate.ERF, special.erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-z * z)),
        (activate.SOFTPLUS, lambda z: np.logaddexp(0, z), special.expit),
        (activate.SINE, np.sin, np.cos),
    ],
    ids=["tanh", "logistic", "erf", "softplus", "sine"],
)
def test_smooth_activations_equal_library_functions(kind, function, derivative, dtype):
    p = np.concatenate([np.linspace(-30, 30, 4001), [-1e4, 1e4]]).astype(dtype)
    value, slope = np.empty_like(p), np.empty_like(p)
    activate.activate_smooth(p, value, slope, kind, np.array([2.0, 0.5, 1.0, -3.0], dtype))
    z = 0.5 * (p.astype(float) - 1)
    # Two functions of size one and arguments up to 5e3, whose sine is known to 5e3 eps.
    rounding = np.finfo(dtype).eps
    np.testing.assert_allclose(value, -3 + 2 * function(z), rtol=4 * rounding, atol=8 * rounding + 1e-12)
    np.testing.assert_allclose(slope, derivative(z), rtol=4 * rounding, atol=4 * rounding + 1e-12)


def test_tanh_in_single_precision_is_accurate_over_the_whole_range():
    magnitude = np.concatenate([np.logspace(-45, 38, 20001), np.linspace(0, 12, 50001), [np.inf]]).astype(np.float32)
    p = np.concatenate([magnitude, -magnitude])
    value, slope = np.empty_like(p), np.empty_like(p)
    activate.activate_smooth(p, value, slope, activate.TANH, np.array([1, 1, 0, 0], np.float32))
    exact, eps = p.astype(float), np.finfo(np.float32).eps
    # Two units in the last place of the value, three of the slope, which stays tiny where it would be less than 1e-34;
    # denormal arguments are returned as they are.
    np.testing.assert_allclose(value, np.tanh(exact), rtol=2 * eps, atol=0)
    decay = np.exp(-2 * np.abs(exact))
    np.testing.assert_allclose(slope, 4 * decay / (1 + decay) ** 2, rtol=3 * eps, atol=1e-34)


def test_tanh_keeps_what_is_not_a_number():
    for dtype in DTYPES:
        p = np.full(16, np.nan, dtype)
        value, slope = np.zeros_like(p), np.zeros_like(p)
        activate.activate_smooth(p, value, slope, activate.TANH, np.array([1, 1, 0, 0], dtype))
        assert np.isnan(value).all()
        assert np.isnan(slope).all()


@pytest.mark.parametrize("code", ["block", "stream", "dynamics", "anisotropic", "plane", "spheres", "digits", "inner"])
def test_kernels_give_the_same_numbers_without_compilation(code):
    # Another process, because numba looks at the switch when it is imported.
    script = Path(__file__).parent / "uncompiled_run.py"
    runs = []
    for switch in ("0", "1"):
        done = subprocess.run(
            [sys.executable, str(script), code],
            env={**os.environ, "NUMBA_DISABLE_JIT": switch}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        runs.append(np.array([float(word) for word in done.stdout.split()]))
    assert runs[0].size > 30
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-12, atol=1e-14)
