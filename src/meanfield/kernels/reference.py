r"""Sequential SGD in plain numpy: the definition that the compiled kernels are tested against."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.momentum import FUNCTION_RESTART, GRADIENT_RESTART, SGD, Momentum, coefficients


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


class TwoLayer(NamedTuple):
    """Weights, biases and output weights of a two-layer network."""

    weights: NDArray  # shape (neuron, coordinate) [1]
    biases: NDArray  # shape (neuron,) [1]
    output_weights: NDArray  # shape (neuron,) [1]

    def predict(self, x: NDArray, activation: Callable[[NDArray], NDArray]) -> float:
        """Return the prediction at one input, shape (coordinate,)."""
        return float((self.output_weights * activation(self.weights @ x + self.biases)).mean())


def sequential_two_layer(
    start: TwoLayer,
    inputs: NDArray,
    targets: NDArray,
    step_sizes: NDArray,
    activation: Callable[[NDArray], NDArray],
    derivative: Callable[[NDArray], NDArray],
    *,
    train_biases: bool = False,
    train_output: bool = False,
    momentum: Momentum = SGD,
) -> TwoLayer:
    r"""Run a one-pass optimiser of :math:`\hat y(x) = N^{-1} \sum_i a_i \sigma(\langle w_i, x \rangle + b_i)`.

    With the stochastic gradient g at the point u, without the factor 1/N,

    .. math:: v' = \gamma v - \kappa s g, \qquad u' = u + v' - \beta s g,

    for all trained parameters at once; see `meanfield.kernels.momentum` for the coefficients. Returns the point u.

    Parameters
    ----------
    start : TwoLayer
        Initial parameters. Not modified.
    inputs : array, shape (sample, coordinate)
        Samples [1], used once each and in order.
    targets, step_sizes : array, shape (sample,)
        Target [1] and step size s [1] of each sample.
    activation, derivative : callable
        :math:`\sigma` and :math:`\sigma'`, elementwise.
    train_biases, train_output : bool
        Whether biases and output weights move; the weights always do.
    momentum : Momentum
        The optimiser's coefficients.

    Returns
    -------
    TwoLayer
        The parameters after the last sample.

    """
    rule, numbers = momentum.code()
    trained = np.array([1.0, float(train_biases), float(train_output)])
    u = start
    v = TwoLayer(*(np.zeros_like(part) for part in start))
    theta = 1.0
    for x, y, step in zip(inputs, targets, step_sizes, strict=True):
        z = u.weights @ x + u.biases
        e = 2 * step * (y - (u.output_weights * activation(z)).mean())
        slope = u.output_weights * derivative(z)
        # Minus the step times the gradient, for each kind of parameter.
        moves = (e * np.outer(slope, x), trained[1] * e * slope, trained[2] * e * activation(z))
        restart = False
        if rule == GRADIENT_RESTART:  # <g, w' - w> > 0
            along = sum((move * (velocity + move)).sum() for move, velocity in zip(moves, v, strict=True))
            restart = along < 0
        elif rule == FUNCTION_RESTART:
            new = TwoLayer(*(point + move for point, move in zip(u, moves, strict=True)))
            old = TwoLayer(*(point - velocity for point, velocity in zip(u, v, strict=True)))
            restart = (y - new.predict(x, activation)) ** 2 > (y - old.predict(x, activation)) ** 2
        gamma, kappa, beta, theta = coefficients(rule, numbers, theta, restart)
        v = TwoLayer(*(gamma * velocity + kappa * move for velocity, move in zip(v, moves, strict=True)))
        u = TwoLayer(*(point + velocity + beta * move for point, velocity, move in zip(u, v, moves, strict=True)))
    return u
