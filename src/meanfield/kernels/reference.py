r"""Sequential SGD and characteristics in plain numpy: the definitions that the compiled kernels are tested against."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.characteristics import DENSE, ERROR, STAGES
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


def dormand_prince(
    drift: Callable[[NDArray, NDArray], tuple[NDArray, float]],
    radius: NDArray,
    mass: NDArray,
    clock: NDArray,
    tolerance: float,
) -> tuple[NDArray, NDArray, int]:
    r"""Move atoms on the half-line by an embedded Runge-Kutta pair 5(4) with step control.

    The pair of Dormand & Prince (1980), with its continuous extension for the records. Atoms are stopped at zero.

    Parameters
    ----------
    drift : callable
        Maps norms and masses, shape (atom,), to the drift, shape (atom,), and the risk; negative norms count as zero.
    radius, mass : array, shape (atom,)
        Initial norms [1] and masses, which sum to one.
    clock : array, shape (record,), increasing
        Times of the records; the first is that of `radius` [1].
    tolerance : float
        Local error per step in the mean-square norm of the law, relative to its root mean square norm, or to 0.1.

    Returns
    -------
    records : array, shape (record, atom)
        Norms at the records.
    risks : array, shape (record,)
        Risks at the records.
    evaluations : int
        Evaluations of the drift.

    Raises
    ------
    FloatingPointError
        If the solution stops being finite or needs steps below rounding.

    """
    radius, now = np.asarray(radius, dtype=float), float(clock[0])
    slope, risk = drift(radius, mass)
    records, risks, evaluations = [], [], 1
    while len(records) < len(clock) and clock[len(records)] <= now:
        records.append(radius)
        risks.append(risk)
    step = 1e-3 * radius.max() / max(np.abs(slope).max(), 1e-9)
    while len(records) < len(clock):
        stages = [slope]
        for n, row in enumerate(STAGES):
            point = radius + step * np.tensordot(row[: n + 1], np.array(stages), 1)
            stages.append(drift(point, mass)[0])
            evaluations += 1
        low = point - step * np.tensordot(ERROR, np.array(stages), 1)
        new = np.maximum(point, 0)
        gap = np.where(radius > 0, point - low, new - np.maximum(low, 0))
        error = np.sqrt(mass @ gap**2) / (tolerance * max(np.sqrt(mass @ new**2), 0.1))
        if not np.isfinite(error):
            msg = f"the solution stopped being finite at clock {now:.6g}"
            raise FloatingPointError(msg)
        if error <= 1:
            end = now + step
            fourth = step * np.tensordot(DENSE, np.array(stages), 1)
            change = point - radius
            left = step * stages[0] - change
            right = change - step * stages[-1] - left
            while len(records) < len(clock) and clock[len(records)] <= end:
                a = (clock[len(records)] - now) / step
                at = radius + a * (change + (1 - a) * (left + a * (right + (1 - a) * fourth)))
                records.append(np.maximum(at, 0))
                risks.append(drift(records[-1], mass)[1])
                evaluations += 1
            now, radius, slope = end, new, stages[-1]
        step *= min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
        if error > 1 and now + step == now:
            msg = f"the solution needs steps below rounding at clock {now:.6g}"
            raise FloatingPointError(msg)
    return np.array(records), np.array(risks), evaluations
