r"""Nesterov's accelerated sequence with adaptive restart.

.. math:: w_{k+1} = u_k - s g(u_k), \qquad u_{k+1} = w_{k+1} + \gamma_k (w_{k+1} - w_k), \qquad
          \gamma_k = \frac{\theta_k (1 - \theta_k)}{\theta_k^2 + \theta_{k+1}},

where :math:`\theta_{k+1}^2 = (1 - \theta_{k+1}) \theta_k^2 + q\,\theta_{k+1}` and :math:`\theta_0 = 1`. A restart sets
:math:`\theta = 1` and :math:`u_{k+1} = w_{k+1}`: under the scheme ``gradient`` when
:math:`\langle g(u_k), w_{k+1} - w_k\rangle > 0`, under ``function`` when the loss is larger at :math:`w_{k+1}` than at
:math:`w_k`. With stochastic gradients both are judged by the sample of the iteration, which is all that one-pass
learning has; with ``none`` the sequence never restarts. Source: O'Donoghue & Candes (2015), Found. Comput. Math. 15,
715-732, section 3.2. Cost: one gradient per iteration; the function scheme adds two evaluations of the loss.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.methods.oracle import Oracle
from meanfield.methods.ranges import require_range
from meanfield.methods.restarts import is_due, require_scheme

TITLE = "Restarted Nesterov"

_RULES = {"gradient": "gradient_restart", "function": "function_restart", "none": "accelerated"}


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters.

    Parameters
    ----------
    scheme : str
        ``gradient``, ``function`` or ``none``.
    inverse_condition : float
        q in [0, 1], the inverse condition number that the sequence assumes [1]; 0 is the standard sequence.

    """

    scheme: str
    inverse_condition: float

    def __post_init__(self):
        require_scheme(self.scheme)
        require_range("inverse_condition", self.inverse_condition, 0, 1, include_high=True)


class State(NamedTuple):
    """The point u, where the gradient is taken, w, where the last step ended, and the sequence's theta."""

    point: NDArray
    end: NDArray
    theta: NDArray | float


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state at the initial weights."""
    return State(point, point, 1.0)


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    gradient = oracle.gradient(state.point)
    end = oracle.retract(state.point - step_size * gradient)
    restart = is_due(hyperparameters.scheme, oracle, gradient, end, state.end)
    oracle.next()
    theta = np.asarray(state.theta)
    b = theta**2 - hyperparameters.inverse_condition
    following = (np.sqrt(b**2 + 4 * theta**2) - b) / 2
    gamma = np.where(restart, 0.0, theta * (1 - theta) / (theta**2 + following))
    return State(oracle.retract(end + gamma * (end - state.end)), end, np.where(restart, 1.0, following))


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return 1


def clock(hyperparameters: Hyperparameters, step_size: float) -> None:
    """Return None: the momentum grows, and no constant step of SGD has the same effect."""


def recurrence(hyperparameters: Hyperparameters) -> Momentum:
    """Return the coefficients for the compiled kernels."""
    return Momentum(_RULES[hyperparameters.scheme], q=hyperparameters.inverse_condition)
