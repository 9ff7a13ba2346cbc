r"""Noisy SGD: Langevin dynamics with stochastic or full gradients.

.. math:: w \leftarrow w - s \bigl[g(w) + \lambda w\bigr] + \sqrt{2 s T}\, \xi, \qquad \xi \sim N(0, I),

with the gradient g of `meanfield.methods.sgd` or of a potential f. With a full gradient and a small step the law of w
tends to :math:`\exp(-[f(w) + \lambda |w|^2/2]/T)`. Mei, Montanari & Nguyen (2018), PNAS 115(33), E7665, "noisy SGD",
write :math:`\theta \leftarrow (1 - 2\lambda' s)\theta + 2 s (y - \hat y)\nabla\sigma_* + \dots`: there
:math:`\lambda = 2\lambda'`, and the limit equation with the diffusion :math:`2\xi\beta^{-1}` is the one of
:math:`T = 2/\beta`. With T = 0 and :math:`\lambda = 0` it is SGD. Source: Welling & Teh (2011), ICML, eq. 4, in the
notation of dynamics. Cost: one gradient per iteration, and noise, drawn for blocks of iterations at once
(`meanfield.kernels.inner_blocks`).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.inner_loop import InnerLoop
from meanfield.methods.oracle import Oracle
from meanfield.methods.ranges import require_range

TITLE = "Noisy SGD"


@dataclass(frozen=True)
class Hyperparameters:
    r"""Hyper-parameters.

    Parameters
    ----------
    temperature : float
        T >= 0 [units of the loss that the gradient belongs to].
    regularisation : float
        :math:`\lambda \ge 0` [1].

    """

    temperature: float
    regularisation: float = 0.0

    def __post_init__(self):
        require_range("temperature", self.temperature, 0, math.inf)
        require_range("regularisation", self.regularisation, 0, math.inf)


class State(NamedTuple):
    """The weights."""

    point: NDArray


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state at the initial weights."""
    return State(point)


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    drift = oracle.gradient(state.point) + hyperparameters.regularisation * state.point
    oracle.next()
    noise = math.sqrt(2 * step_size * hyperparameters.temperature) * oracle.normal(state.point.shape)
    return State(oracle.retract(state.point - step_size * drift + noise))


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return 1


def clock(hyperparameters: Hyperparameters, step_size: float) -> float:
    """Return the factor of SGD's step that has the same effect where gradients vary slowly: one."""
    return 1.0


def inner_loop(hyperparameters: Hyperparameters) -> InnerLoop:
    """Return the coefficients for the compiled run on networks."""
    return InnerLoop(
        np.array([0.0, 1.0]),
        temperature=hyperparameters.temperature,
        regularisation=hyperparameters.regularisation,
    )
