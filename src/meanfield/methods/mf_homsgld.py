r"""MF-HomSGLD: mean-field stochastic gradient Langevin dynamics with homogenisation: a reconstruction.

The text of Kantas, Parpas & Pavliotis (2019), arXiv:1905.04121, has not been at hand; its abstract and the report that
is rebuilt here name an algorithm of interacting agents whose gradient is that of the local entropy, averaged over a
fast variable, with a quadratic attraction between agents. What follows is a discretisation of

.. math:: dX^i = -\bigl[(X^i - Y^i)/\gamma + \eta (X^i - \bar X)\bigr] dt, \qquad
          dY^i = -\tfrac1\epsilon\bigl[\nabla f(Y^i) + (Y^i - X^i)/\gamma\bigr] dt + \sqrt{2T/\epsilon}\, dW^i,

in the manner of the heterogeneous multiscale method (E, Liu & Vanden-Eijnden 2005, Comm. Pure Appl. Math. 58, 1544):
an iteration runs :math:`M_0 + M` micro steps of each Y, which goes on from where it was left,

.. math:: Y \leftarrow Y - s \bigl[g(Y) + (Y - X)/\gamma\bigr] + \sqrt{2 s T}\,\xi,

averages the last M of them to :math:`\bar Y`, and takes one macro step
:math:`X \leftarrow X - h[(X - \bar Y)/\gamma + \eta (X - \bar X)]` with :math:`h = \rho\gamma`. With one agent it is
descent on the local entropy (`meanfield.methods.entropy_sgd`) with a carried chain. The point of a record is the mean
of the agents. Without attraction that is no network that was trained: the mean of the weights of networks that moved
apart has a loss far above theirs. Source: a reconstruction, after the abstract of Kantas, Parpas & Pavliotis (2019) and
the scheme of E, Liu & Vanden-Eijnden (2005). Cost: agents x (M0 + M) gradients per iteration, each with a fresh sample,
and two normal numbers per weight and agent unless T = 0 (`meanfield.kernels.inner_blocks`).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.inner_loop import InnerLoop
from meanfield.methods.oracle import Oracle
from meanfield.methods.ranges import require_count, require_positive, require_range

TITLE = "MF-HomSGLD (reconstruction)"


@dataclass(frozen=True)
class Hyperparameters:
    r"""Hyper-parameters.

    Parameters
    ----------
    scope : float
        :math:`\gamma > 0` [mean-field time].
    agents : int
        Networks that move together [count].
    burn_in : int
        Micro steps M0 >= 0 before the average [count].
    averaging : int
        Micro steps M >= 1 in the average [count].
    ratio : float
        :math:`\rho = h/\gamma` in (0, 1] [1].
    attraction : float
        :math:`\eta \ge 0` [1 / mean-field time]; stability needs :math:`\rho (1 + \gamma\eta) < 2`. With 0 agents are
        not coupled, and the mean of several is no trained network.
    temperature : float
        T >= 0 [units of the loss that the gradient belongs to].
    scoping : float
        In [0, 1): the scope shrinks by this per iteration [1].

    """

    scope: float
    agents: int = 3
    burn_in: int = 5
    averaging: int = 15
    ratio: float = 1.0
    attraction: float = 0.0
    temperature: float = 0.0
    scoping: float = 0.0

    def __post_init__(self):
        require_positive("scope", self.scope)
        require_count("agents", self.agents, 1)
        require_count("burn_in", self.burn_in, 0)
        require_count("averaging", self.averaging, 1)
        require_positive("ratio", self.ratio)
        require_range("ratio", self.ratio, 0, 1, include_high=True)
        require_range("attraction", self.attraction, 0, math.inf)
        require_range("temperature", self.temperature, 0, math.inf)
        require_range("scoping", self.scoping, 0, 1)
        if self.ratio * (1 + self.scope * self.attraction) >= 2:
            limit = (2 / self.ratio - 1) / self.scope
            msg = f"attraction: {self.attraction!r} found; less than (2/ratio - 1)/scope = {limit:g} needed"
            raise ValueError(msg)


class State(NamedTuple):
    """The agents' weights, agents on the axis before those of one network, their fast copies, and the iteration."""

    agents: NDArray
    fast: NDArray
    iteration: int


def start(point: NDArray, hyperparameters: Hyperparameters, weight_axes: int = 2) -> State:
    """Return the state with all agents at the initial weights.

    `weight_axes` says how many axes of the point belong to one agent: two for a network, one for a point of the plane.
    """
    axis = point.ndim - weight_axes
    agents = np.repeat(np.expand_dims(point, axis), hyperparameters.agents, axis=axis)
    return State(agents, agents, 0)


def step(
    state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters, weight_axes: int = 2
) -> State:
    """Return the state after one iteration."""
    h = hyperparameters
    scope = h.scope * (1 - h.scoping) ** state.iteration
    x, y = state.agents, state.fast
    average = np.zeros_like(x)
    for m in range(h.burn_in + h.averaging):
        drift = oracle.gradient(y) + (y - x) / scope
        oracle.next()
        y = oracle.retract(y - step_size * drift + math.sqrt(2 * step_size * h.temperature) * oracle.normal(y.shape))
        if m >= h.burn_in:
            average = average + y / h.averaging
    centre = x.mean(axis=x.ndim - weight_axes - 1, keepdims=True)
    moved = x - h.ratio * ((x - average) + scope * h.attraction * (x - centre))
    return State(oracle.retract(moved), y, state.iteration + 1)


def point(state: State, weight_axes: int = 2) -> NDArray:
    """Return the mean of the agents."""
    return state.agents.mean(axis=state.agents.ndim - weight_axes - 1)


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return hyperparameters.agents * (hyperparameters.burn_in + hyperparameters.averaging)


def clock(hyperparameters: Hyperparameters, step_size: float) -> float | None:
    r"""Return the factor of SGD's step with the same effect where gradients vary slowly.

    With A, the mean of :math:`(1 - s/\gamma)^m` over the averaged micro steps, and B, its value at the last:
    :math:`\rho (\gamma/s) (1 - B)/(1 - B + \rho A)`; None where the scope shrinks.
    """
    return inner_loop(hyperparameters).clock(step_size)


def inner_loop(hyperparameters: Hyperparameters) -> InnerLoop:
    """Return the coefficients for the compiled run on networks."""
    h = hyperparameters
    averaging = np.concatenate([np.zeros(h.burn_in + 1), np.full(h.averaging, 1 / h.averaging)])
    return InnerLoop(
        averaging, scope=h.scope, ratio=h.ratio, agents=h.agents, attraction=h.attraction,
        temperature=h.temperature, scoping=h.scoping, carried=True,
    )  # fmt: skip
