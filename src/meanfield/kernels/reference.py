r"""Sequential SGD in plain numpy: the definition that the compiled kernels are tested against."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def sequential_sgd(
    weights: NDArray,
    inputs: NDArray,
    targets: NDArray,
    step_sizes: NDArray,
    activation: Callable[[NDArray], NDArray],
    derivative: Callable[[NDArray], NDArray],
) -> NDArray:
    r"""Run one-pass SGD of :math:`\hat y(x) = N^{-1} \sum_i \sigma(\langle w_i, x \rangle)`, a sample at a time.

    .. math:: w_i \leftarrow w_i + 2 s_k (y_k - \hat y(x_k))\, \sigma'(\langle w_i, x_k\rangle)\, x_k .

    The step absorbs the 1/N of the gradient (Mei, Montanari & Nguyen 2018).

    Parameters
    ----------
    weights : array, shape (neuron, coordinate)
        Initial weights [1]. Not modified.
    inputs : array, shape (sample, coordinate)
        Samples [1], used once each and in order.
    targets, step_sizes : array, shape (sample,)
        Target [1] and step size [1] of each sample.
    activation, derivative : callable
        :math:`\sigma` and :math:`\sigma'`, elementwise.

    Returns
    -------
    array, shape (neuron, coordinate)
        The weights after the last sample.

    """
    w = weights.copy()
    for x, y, step in zip(inputs, targets, step_sizes, strict=True):
        z = w @ x
        residual = y - activation(z).mean()
        w += (2 * step * residual) * np.outer(derivative(z), x)
    return w
