r"""SGD with heavy-ball momentum.

With the stochastic gradient g without 1/N (as in `meanfield.methods.sgd`) and the step s,

.. math:: v' = \mu v - s g(u), \qquad u' = u + v' .

For slowly varying gradients it moves like SGD with the step :math:`s/(1 - \mu)`. Source: Polyak (1964), USSR Comput.
Math. Math. Phys. 4(5), 1-17, eq. 9, with a stochastic gradient. Cost: one gradient per iteration.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.methods.oracle import Oracle
from meanfield.methods.ranges import require_range

TITLE = "Heavy ball"


@dataclass(frozen=True)
class Hyperparameters:
    r"""Hyper-parameters.

    Parameters
    ----------
    momentum : float
        :math:`\mu` in [0, 1) [1].

    """

    momentum: float

    def __post_init__(self):
        require_range("momentum", self.momentum, 0, 1)


class State(NamedTuple):
    """The weights and the velocity."""

    point: NDArray
    velocity: NDArray


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state at rest at the initial weights."""
    return State(point, np.zeros_like(point))


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    velocity = hyperparameters.momentum * state.velocity - step_size * oracle.gradient(state.point)
    oracle.next()
    return State(oracle.retract(state.point + velocity), velocity)


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return 1


def clock(hyperparameters: Hyperparameters, step_size: float) -> float:
    r"""Return the factor of SGD's step with the same effect where gradients vary slowly: :math:`1/(1 - \mu)`."""
    return 1 / (1 - hyperparameters.momentum)


def recurrence(hyperparameters: Hyperparameters) -> Momentum:
    """Return the coefficients for the compiled kernels."""
    return Momentum(gamma=hyperparameters.momentum, heavy_ball=True)
