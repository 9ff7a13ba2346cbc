r"""Stochastic gradient descent, one fresh sample per iteration.

.. math:: w_i \leftarrow w_i + 2 s_k (y_k - \hat y(x_k))\, \nabla_{w_i} \sigma_*(x_k; w_i),
          \qquad s_k = \varepsilon\, \xi((k + 1) \varepsilon),

without 1/N, so that iteration k sits at the mean-field time :math:`k \varepsilon` for every width. On a problem with a
full gradient it is gradient descent. Source: Mei, Montanari & Nguyen (2018), PNAS 115(33), E7665, eq. 3 of the main
text. Cost: one gradient per iteration.
"""

from dataclasses import dataclass
from typing import NamedTuple

from numpy.typing import NDArray

from meanfield.kernels.momentum import SGD, Momentum
from meanfield.methods.oracle import Oracle

TITLE = "SGD"


@dataclass(frozen=True)
class Hyperparameters:
    """What SGD has besides the step size: nothing."""


class State(NamedTuple):
    """The weights."""

    point: NDArray


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state at the initial weights."""
    return State(point)


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    moved = oracle.retract(state.point - step_size * oracle.gradient(state.point))
    oracle.next()
    return State(moved)


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return 1


def clock(hyperparameters: Hyperparameters, step_size: float) -> float:
    """Return the factor of SGD's step that has the same effect where gradients vary slowly: one."""
    return 1.0


def recurrence(hyperparameters: Hyperparameters) -> Momentum:
    """Return the coefficients for the compiled kernels."""
    return SGD
