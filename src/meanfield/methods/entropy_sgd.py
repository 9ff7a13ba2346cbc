r"""Local-entropy descent (Entropy-SGD): steps towards the average of an inner Langevin chain.

With the local entropy :math:`f_\gamma(x) = -T \log \int \exp(-f(y)/T - |x - y|^2/(2 \gamma T))\,dy` one has
:math:`\nabla f_\gamma(x) = (x - \langle y\rangle)/\gamma`, the average over the law under the integral. An iteration
runs L inner steps from :math:`y_0 = x`,

.. math:: y \leftarrow y - s \bigl[g(y) + (y - x)/\gamma\bigr] + \sqrt{2 s T}\,\xi, \qquad
          \bar y \leftarrow \alpha \bar y + (1 - \alpha) y,

from :math:`\bar y = x`, and then :math:`x \leftarrow x - h (x - \bar y)/\gamma` with :math:`h = \rho\gamma`. The scope
may shrink, :math:`\gamma_k = \gamma (1 - \gamma_1)^k`. Source: Chaudhari, Oberman, Osher, Soatto & Carlier (2017),
arXiv:1704.04932, section 7 (algorithm and constants) and lemma 1 (the gradient, whose sign is misprinted there); the
noise has the factor 2 under the root, which the Gibbs law above needs. Cost: L gradients per iteration, and a normal
number per weight unless T = 0 (`meanfield.kernels.inner_blocks`).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.inner_loop import InnerLoop
from meanfield.methods.oracle import Oracle
from meanfield.methods.ranges import require_count, require_positive, require_range

TITLE = "Entropy-SGD"


@dataclass(frozen=True)
class Hyperparameters:
    r"""Hyper-parameters.

    Parameters
    ----------
    scope : float
        :math:`\gamma > 0` [mean-field time].
    inner_steps : int
        L >= 1 [count].
    forgetting : float
        :math:`\alpha` in [0, 1) of the running average [1].
    ratio : float
        :math:`\rho = h/\gamma` in (0, 1]: how far x moves towards the average [1].
    temperature : float
        T >= 0 [units of the loss that the gradient belongs to].
    scoping : float
        :math:`\gamma_1` in [0, 1), by which the scope shrinks per iteration [1].

    """

    scope: float
    inner_steps: int = 20
    forgetting: float = 0.75
    ratio: float = 1.0
    temperature: float = 0.0
    scoping: float = 0.0

    def __post_init__(self):
        require_positive("scope", self.scope)
        require_count("inner_steps", self.inner_steps, 1)
        require_range("forgetting", self.forgetting, 0, 1)
        require_positive("ratio", self.ratio)
        require_range("ratio", self.ratio, 0, 1, include_high=True)
        require_range("temperature", self.temperature, 0, math.inf)
        require_range("scoping", self.scoping, 0, 1)


class State(NamedTuple):
    """The weights and the number of the iteration."""

    point: NDArray
    iteration: int


def start(point: NDArray, hyperparameters: Hyperparameters) -> State:
    """Return the state at the initial weights."""
    return State(point, 0)


def step(state: State, oracle: Oracle, step_size: float, hyperparameters: Hyperparameters) -> State:
    """Return the state after one iteration."""
    h = hyperparameters
    scope = h.scope * (1 - h.scoping) ** state.iteration
    y = average = state.point
    for _ in range(h.inner_steps):
        drift = oracle.gradient(y) + (y - state.point) / scope
        oracle.next()
        y = oracle.retract(y - step_size * drift + math.sqrt(2 * step_size * h.temperature) * oracle.normal(y.shape))
        average = h.forgetting * average + (1 - h.forgetting) * y
    return State(oracle.retract(state.point - h.ratio * (state.point - average)), state.iteration + 1)


def evaluations(hyperparameters: Hyperparameters) -> int:
    """Return the gradients per iteration."""
    return hyperparameters.inner_steps


def clock(hyperparameters: Hyperparameters, step_size: float) -> float | None:
    r"""Return the factor of SGD's step with the same effect where gradients vary slowly.

    With the weights :math:`c_m` of the inner points in the average, :math:`c_0` that of x:
    :math:`\rho (\gamma/s)\bigl[1 - \sum_m c_m (1 - s/\gamma)^m\bigr]`; None where the scope shrinks.
    """
    return inner_loop(hyperparameters).clock(step_size)


def inner_loop(hyperparameters: Hyperparameters) -> InnerLoop:
    """Return the coefficients for the compiled run on networks."""
    h = hyperparameters
    powers = h.forgetting ** np.arange(h.inner_steps, -1, -1.0)
    powers[1:] *= 1 - h.forgetting
    return InnerLoop(powers, scope=h.scope, ratio=h.ratio, temperature=h.temperature, scoping=h.scoping)
