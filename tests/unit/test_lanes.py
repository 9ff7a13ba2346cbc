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
    array = np.random.default_rng(0).standard_normal(4 * count + 5).astype(dtype)
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
    lanes.store(array, 2, lanes.add(lanes.multiply(a, b), lanes.splat(array[1])))


@nb.njit
def _clip(array):
    lanes.store(array, 2, lanes.clip(lanes.load(array, 0), array.dtype.type(-0.5), array.dtype.type(0.25)))


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
    n = lanes.width(array)
    a, b, c, d = lanes.load(array, 0), lanes.load(array, 1), lanes.load(array, n), lanes.load(array, 2 * n)
    # Rows five apart overlap nothing and leave a gap, into the part of the array that fits them.
    lanes.store_columns(array, 1, 4, a, b, c, d)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "operation", [_fma, _fma_at, _fma_scalar, _arithmetic, _clip, _between, _reduce, _columns], ids=lambda f: f.__name__
)
def test_vector_operations_equal_their_numpy_twins(operation, dtype, monkeypatch):
    found, expected = compiled(operation, dtype, monkeypatch)
    # One rounding more or less where a product and a sum fuse, and sums of 16 numbers in the same order.
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
    assert not np.array_equal(found, np.random.default_rng(0).standard_normal(found.size).astype(dtype))


def test_columns_land_where_they_belong():
    array = np.arange(64, dtype=np.float64)
    _columns(array)
    # Vectors of eight numbers: rows (k, k + 1, k + 8, k + 16) from element 1 on.
    assert array[1:9].tolist() == [0, 1, 8, 16, 1, 2, 9, 17]
    assert array[33:35].tolist() == [33, 34]


def test_both_sets_of_operations_have_the_same_names_and_arguments():
    for name, twin in inspect.getmembers(lanes_numpy, inspect.isfunction):
        operation = getattr(lanes, name)
        assert inspect.signature(getattr(operation, "py_func", operation)) == inspect.signature(twin), name


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


@pytest.mark.parametrize("code", ["block", "stream", "dynamics", "plane", "spheres", "inner"])
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
