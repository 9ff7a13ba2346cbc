r"""MaSS, momentum-added stochastic solver: Nesterov SGD with a compensation term.

.. math:: w' = u - \eta_1 g(u), \qquad u' = (1 + \gamma) w' - \gamma w + \eta_2 g(u),

with the stochastic gradient g without 1/N (as in `meanfield.methods.sgd`) and :math:`\eta_1 = s`, the step. The
hyper-parameters are :math:`\gamma` and the ratio :math:`\eta_2/\eta_1`; without compensation it is Nesterov SGD, bit
for bit. In the authors' parameters :math:`\gamma = (1 - \alpha)/(1 + \alpha)` and
:math:`\eta_2/\eta_1 = (1 - 1/\tilde\kappa)/(1 + \alpha)`. For slowly varying gradients it moves like SGD with the step
:math:`(\eta_1 - \eta_2)/(1 - \gamma)`. Source: Liu & Belkin (2020), ICLR, arXiv:1810.13395, eq. 5. Cost: one gradient
per iteration.
"""

from dataclasses import dataclass
from typing import NamedTuple

from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.methods.oracle import Oracle
from meanfield.methods.ranges import require_range

TITLE = "MaSS"


@dataclass(frozen=True)
class Hyperparameters:
    r"""Hyper-parameters.

    Parameters
    ----------
    momentum : float
        :math:`\gamma` in [0, 1) [1].
    compensation : float
        :math:`\eta_2/\eta_1` in [0, 1) [1].

    """

    momentum: float
    compensation: float

    def __post_init__(self):
        require_range("momentum", self.momentum, 0, 1)
        require_range("compensation", self.compensation, 0, 1)


class State(NamedTuple):
    """The point u, where the gradient is taken, and w, where the last step ended."""

    point: NDArray
    end: NDArray


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state at the initial weights."""
    return State(point, point)


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    gradient = oracle.gradient(state.point)
    oracle.next()
    end = oracle.retract(state.point - step_size * gradient)
    ahead = end + hyperparameters.momentum * (end - state.end)
    compensation = hyperparameters.compensation * step_size
    return State(oracle.retract(ahead + compensation * gradient if compensation else ahead), end)


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return 1


def clock(hyperparameters: Hyperparameters, step_size: float) -> float:
    r"""Return the factor of SGD's step with the same effect where gradients vary slowly.

    It is: :math:`(1 - \eta_2/\eta_1)/(1 - \gamma)`.
    """
    return (1 - hyperparameters.compensation) / (1 - hyperparameters.momentum)


def recurrence(hyperparameters: Hyperparameters) -> Momentum:
    """Return the coefficients for the compiled kernels."""
    return Momentum(gamma=hyperparameters.momentum, compensation=hyperparameters.compensation)
