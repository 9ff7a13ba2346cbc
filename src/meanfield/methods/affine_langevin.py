r"""Langevin dynamics preconditioned by the covariance of an ensemble: the affine-invariant Wasserstein flow.

With J agents, their mean :math:`\bar\theta` and covariance :math:`C = J^{-1} \sum_j (\theta^j - \bar\theta)(\theta^j -
\bar\theta)^\top`, in d dimensions,

.. math:: \theta^j \leftarrow \theta^j - \tfrac{s}{T} C \nabla f(\theta^j) + s \tfrac{d + 1}{J} (\theta^j - \bar\theta)
          + \sqrt{2 s}\, C^{1/2} \xi^j .

The middle term keeps the Gibbs law :math:`e^{-f/T}` invariant for finite ensembles (Garbuno-Inigo, Nusken & Reich 2020,
SIAM J. Appl. Dyn. Syst. 19, 1633-1658). Source of the flow: Chen, Huang, Huang, Reich & Stuart (2023),
arXiv:2302.11024, section 5; its own clock makes the step s dimensionless. The root is the Cholesky factor. Cost: one
gradient per agent and iteration. The agents are on the axis before the coordinates.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.methods.oracle import Oracle
from meanfield.methods.ranges import require_count, require_positive

TITLE = "Affine-invariant Langevin"


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters.

    Parameters
    ----------
    temperature : float
        T > 0 [units of the loss].
    agents : int
        J, at least 4 in the plane [count].

    """

    temperature: float
    agents: int = 100

    def __post_init__(self):
        require_positive("temperature", self.temperature)
        require_count("agents", self.agents, 4)


class State(NamedTuple):
    """The agents, shape (…, agent, coordinate)."""

    point: NDArray


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state of ensembles at initial points, shape (…, agent, coordinate)."""
    if point.shape[-2] != hyperparameters.agents:
        msg = f"agents: {hyperparameters.agents} found, but ensembles of {point.shape[-2]} points"
        raise ValueError(msg)
    return State(point)


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    theta = state.point
    agents, dimension = theta.shape[-2:]
    centred = theta - theta.mean(axis=-2, keepdims=True)
    covariance = np.swapaxes(centred, -1, -2) @ centred / agents
    drift = oracle.gradient(theta) @ covariance / hyperparameters.temperature
    oracle.next()
    noise = oracle.normal(theta.shape) @ np.swapaxes(np.linalg.cholesky(covariance), -1, -2)
    correction = (dimension + 1) / agents * centred
    return State(oracle.retract(theta + step_size * (correction - drift) + math.sqrt(2 * step_size) * noise))


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return hyperparameters.agents


def clock(hyperparameters: Hyperparameters, step_size: float) -> None:
    """Return None: the ensemble's covariance sets the pace."""
