r"""Nesterov's method with the growing momentum k / (k + 3), with or without adaptive restart.

.. math:: w_{k+1} = u_k - s g(u_k), \qquad u_{k+1} = w_{k+1} + \tfrac{k}{k + 3} (w_{k+1} - w_k),

k being the iterations since the last restart. A restart sets k = 0 and :math:`u_{k+1} = w_{k+1}`: under the scheme
``gradient`` when :math:`\langle g(u_k), w_{k+1} - w_k\rangle > 0`, under ``function`` when the loss is larger at
:math:`w_{k+1}` than at :math:`w_k`; ``none`` never restarts. Source: Su, Boyd & Candes (2016), J. Mach. Learn. Res. 17
(153), 1-43, eq. 1; restarts of O'Donoghue & Candes (2015), Found. Comput. Math. 15, 715-732, section 3.2. Cost: one
gradient per iteration; the function scheme adds evaluations of the loss.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.methods.oracle import Oracle
from meanfield.methods.restarts import is_due, require_scheme

TITLE = "Nesterov, k/(k + 3)"


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters: the scheme of restarts, ``gradient``, ``function`` or ``none``."""

    scheme: str = "none"

    def __post_init__(self):
        require_scheme(self.scheme)


class State(NamedTuple):
    """The point u, where the gradient is taken, w, where the last step ended, and the iterations since a restart."""

    point: NDArray
    end: NDArray
    age: NDArray | float


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state at the initial weights."""
    return State(point, point, 0.0)


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    gradient = oracle.gradient(state.point)
    end = oracle.retract(state.point - step_size * gradient)
    restart = is_due(hyperparameters.scheme, oracle, gradient, end, state.end)
    oracle.next()
    momentum = np.where(restart, 0.0, state.age / (state.age + 3))
    return State(oracle.retract(end + momentum * (end - state.end)), end, np.where(restart, 0.0, state.age + 1))


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return 1


def clock(hyperparameters: Hyperparameters, step_size: float) -> None:
    """Return None: the momentum grows, and no constant step of SGD has the same effect."""
