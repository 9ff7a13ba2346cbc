r"""Nesterov accelerated SGD with constant momentum.

With the stochastic gradient g without 1/N (as in `meanfield.methods.sgd`) and the step s,

.. math:: w' = u - s g(u), \qquad u' = w' + \mu (w' - w) .

The weights of a record are the points u. For slowly varying gradients it moves like SGD with the step
:math:`s/(1 - \mu)`. Source: Nesterov (2004), *Introductory Lectures on Convex Optimization*, scheme 2.2.11, with a
stochastic gradient; libraries write it with a velocity (Sutskever, Martens, Dahl & Hinton 2013, eqs. 3-4). Cost: one
gradient per iteration.
"""

from dataclasses import dataclass
from typing import NamedTuple

from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.methods.oracle import Oracle
from meanfield.methods.ranges import require_range

TITLE = "Nesterov"


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
    """The point u, where the gradient is taken, and w, where the last step ended."""

    point: NDArray
    end: NDArray


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state at the initial weights."""
    return State(point, point)


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    end = oracle.retract(state.point - step_size * oracle.gradient(state.point))
    oracle.next()
    return State(oracle.retract(end + hyperparameters.momentum * (end - state.end)), end)


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return 1


def clock(hyperparameters: Hyperparameters, step_size: float) -> float:
    r"""Return the factor of SGD's step with the same effect where gradients vary slowly: :math:`1/(1 - \mu)`."""
    return 1 / (1 - hyperparameters.momentum)


def recurrence(hyperparameters: Hyperparameters) -> Momentum:
    """Return the coefficients for the compiled kernels."""
    return Momentum(gamma=hyperparameters.momentum)
