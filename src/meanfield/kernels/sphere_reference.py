r"""Learning on the sphere in plain numpy: the definitions that `meanfield.kernels.sphere` is tested against.

Units are rows: (y, c) for Gaussian units, with y on the sphere of radius :math:`\sqrt d`, and (a, b, c) for sigmoid
units. Gradients are those of half the mean squared error, times n. Arrays in, arrays out; no files.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Of units u, shape (unit, parameter), at iteration k: the gradient, same shape, and the loss.
Gradient = Callable[[NDArray, int], tuple[NDArray, float]]


def retract(centers: NDArray) -> NDArray:
    """Return the nearest points on the sphere of radius sqrt(d); centres have shape (unit, coordinate)."""
    dimension = centers.shape[1]
    return centers * np.sqrt(dimension / np.sum(centers * centers, axis=1))[:, None]


def tangent(vectors: NDArray, centers: NDArray) -> NDArray:
    """Return the vectors without their components along the centres, shape (unit, coordinate)."""
    dimension = centers.shape[1]
    return vectors - (np.sum(vectors * centers, axis=1) / dimension)[:, None] * centers


def gaussian_gradient(
    units: NDArray, inputs: NDArray, targets: NDArray, alpha: float, amplitude: float
) -> tuple[NDArray, float]:
    r"""Return the batch's gradient for Gaussian units, in the tangent space, and its loss.

    .. math:: g_{c_i} = -\frac1P \sum_p r_p \varphi(x_p, y_i), \qquad
              g_{y_i} = -\frac1P \sum_p r_p c_i \nabla_y \varphi(x_p, y_i), \qquad r = f - f_n,

    with :math:`\varphi = A e^{-\alpha |x - y|^2 / 2}`. Source: Rotskoff & Vanden-Eijnden (2018), arXiv:1805.00915,
    section 4, without the factor 1/n.

    Parameters
    ----------
    units : array, shape (unit, d + 1)
        Centres and coefficients [1].
    inputs, targets : array, shape (sample, d) and (sample,)
        The batch [1].
    alpha, amplitude : float
        Inverse squared width and A [1].

    """
    centers, coefficients = units[:, :-1], units[:, -1]
    difference = inputs[:, None, :] - centers
    value = amplitude * np.exp(-alpha / 2 * np.sum(difference * difference, axis=2))
    residual = targets - value @ coefficients / len(units)
    batch = len(inputs)
    pull = alpha * np.einsum("p,pi,pij->ij", residual, value, difference)
    gradient = np.empty_like(units)
    gradient[:, :-1] = -tangent(coefficients[:, None] * pull, centers) / batch
    gradient[:, -1] = -(residual @ value) / batch
    return gradient, np.sum(residual * residual) / (2 * batch)


def sigmoid_gradient(units: NDArray, inputs: NDArray, targets: NDArray) -> tuple[NDArray, float]:
    r"""Return the batch's gradient for the units :math:`h(\langle a, x\rangle + b)`, and its loss.

    Parameters
    ----------
    units : array, shape (unit, d + 2)
        Weights a, biases b and coefficients c [1].
    inputs, targets : array, shape (sample, d) and (sample,)
        The batch [1].

    """
    weights, biases, coefficients = units[:, :-2], units[:, -2], units[:, -1]
    # By tanh, which does not overflow.
    value = (1 + np.tanh((inputs @ weights.T + biases) / 2)) / 2
    residual = targets - value @ coefficients / len(units)
    batch = len(inputs)
    inner = residual[:, None] * coefficients * value * (1 - value)
    gradient = np.empty_like(units)
    gradient[:, :-2] = -(inner.T @ inputs) / batch
    gradient[:, -2] = -inner.sum(axis=0) / batch
    gradient[:, -1] = -(residual @ value) / batch
    return gradient, np.sum(residual * residual) / (2 * batch)


def flow_gradient(
    units: NDArray,
    potential: Callable[[NDArray], NDArray],
    force: Callable[[NDArray], NDArray],
    pair: Callable[[NDArray], NDArray],
    pair_slope: Callable[[NDArray], NDArray],
) -> tuple[NDArray, float]:
    r"""Return the gradient of a pair-interaction objective, in the tangent space, and the objective.

    .. math:: E = -\frac1n \sum_i c_i V(y_i) + \frac1{2 n^2} \sum_{ij} c_i c_j k(\langle y_i, y_j\rangle)

    and n times its gradient: with V = f and k the kernel, the batch-free flow of Rotskoff & Vanden-Eijnden (2018),
    arXiv:1805.00915, eq. 4.5; with :math:`V = E_x f \varphi` and :math:`k = E_x \varphi \varphi`, descent on the
    population loss.

    Parameters
    ----------
    units : array, shape (unit, d + 1)
        Centres and coefficients [1].
    potential, force : callable
        V and its gradient at points (unit, coordinate): shapes (unit,) and (unit, coordinate).
    pair, pair_slope : callable
        k and its derivative, functions of the inner product, elementwise.

    """
    centers, coefficients = units[:, :-1], units[:, -1]
    count = len(units)
    product = centers @ centers.T
    pull = pair(product) @ coefficients / count
    drag = (pair_slope(product) * coefficients) @ centers / count
    value = potential(centers)
    gradient = np.empty_like(units)
    gradient[:, :-1] = -tangent(coefficients[:, None] * (force(centers) - drag), centers)
    gradient[:, -1] = -(value - pull)
    return gradient, coefficients @ (pull / 2 - value) / count


def iterate(units: NDArray, gradient: Gradient, iterations: int, recurrence, *, constrained: bool):
    r"""Run :math:`w' = u - \eta_1 g`, :math:`u' = (1 + \gamma_k) w' - \gamma_k w + \eta_2 g` from u = w = units.

    Parameters
    ----------
    units : array, shape (unit, parameter)
        Initial units [1]. Not modified.
    gradient : callable
        Of u and the iteration.
    iterations : int
        How many.
    recurrence : meanfield.kernels.sphere.Recurrence
        Steps, momentum schedule and restart scheme.
    constrained : bool
        Whether all parameters but the last are points of the sphere, to be put back there whenever formed.

    Returns
    -------
    w, u : array, shape (unit, parameter)
        Both sequences.
    restarts : int
        How often the method restarted.

    """

    def back(z):
        return np.column_stack([retract(z[:, :-1]), z[:, -1]]) if constrained else z

    u, w = units.copy(), units.copy()
    theta, age, last_loss, restarts = 1.0, 0, np.inf, 0
    for k in range(iterations):
        g, loss = gradient(u, k)
        if recurrence.heavy_ball:
            velocity = recurrence.momentum * (u - w) - recurrence.step * g
            u = back(u + velocity)
            w = u - velocity
            continue
        moved = back(u - recurrence.step * g)
        uphill = np.sum(g * (moved - w)) > 0
        again = {"none": False, "gradient": uphill, "function": loss > last_loss}[recurrence.restart]
        last_loss = loss
        gamma, eta2 = recurrence.momentum, recurrence.compensation
        if again:
            gamma, eta2, theta, age = 0.0, 0.0, 1.0, 0
            restarts += 1
        elif recurrence.schedule == "theta":
            q = recurrence.condition
            following = np.roots([1.0, theta**2 - q, -(theta**2)]).max()
            gamma = theta * (1 - theta) / (theta**2 + following)
            theta = following
        elif recurrence.schedule == "harmonic":
            gamma = age / (age + 3)
            age += 1
        u = moved if gamma == 0 and eta2 == 0 else back((1 + gamma) * moved - gamma * w + eta2 * g)
        w = moved
    return w, u, restarts
