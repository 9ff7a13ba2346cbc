"""Outputs of a wide network on many inputs, from preactivations that a matrix product has made. Arrays only."""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.activate import PIECEWISE_LINEAR, activate_smooth

# Preactivations at once: they stay in the second-level cache between the product and the activation.
_NEURONS = 256
_INPUTS = 512


@nb.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _add_outputs(p, output_weights, out, code, value, slope):
    # out[m] += sum_i a_i sigma(p[m, i]), in double precision.
    kind, knots, slopes, intercepts, parameters = code
    for m in range(p.shape[0]):
        row = p[m]
        if kind == PIECEWISE_LINEAR:
            for i in range(row.size):
                n = 0
                for knot in knots:
                    n += row[i] > knot
                value[i] = intercepts[n] + slopes[n] * row[i]
        else:
            activate_smooth(row, value, slope, kind, parameters)
        total = 0.0
        for i in range(row.size):
            total += np.float64(output_weights[i]) * np.float64(value[i])
        out[m] += total


def network_outputs(weights: NDArray, output_weights: NDArray, inputs: NDArray, code: tuple) -> NDArray[np.float64]:
    r"""Return :math:`N^{-1} \sum_i a_i \sigma(\langle w_i, x\rangle)` for each input.

    Parameters
    ----------
    weights : array, shape (neuron, coordinate), float32 or float64
        Weights [1]; their type is that of the preactivations. Sums over neurons are in float64.
    output_weights : array, shape (neuron,)
        Output weights a [1].
    inputs : array, shape (input, coordinate)
        Inputs [1].
    code : tuple
        The activation as `meanfield.problems.activations.Activation.kernel_code` returns it.

    Returns
    -------
    array, shape (input,)
        Outputs [1].

    """
    dtype = weights.dtype
    kind, *tables = code
    code = (kind, *(np.ascontiguousarray(table, dtype) for table in tables))
    inputs = np.ascontiguousarray(inputs, dtype)
    output_weights = np.ascontiguousarray(output_weights, dtype)
    out = np.zeros(len(inputs))
    for first in range(0, len(weights), _NEURONS):
        part = weights[first : first + _NEURONS].T
        value, slope = np.empty((2, part.shape[1]), dtype)
        for start in range(0, len(inputs), _INPUTS):
            p = inputs[start : start + _INPUTS] @ part
            _add_outputs(p, output_weights[first : first + _NEURONS], out[start : start + _INPUTS], code, value, slope)
    return out / len(weights)
