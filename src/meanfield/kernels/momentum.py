r"""Optimisers that are linear in a point and a velocity, as the block kernel takes them.

Each takes the gradient g at the point u and keeps a velocity v; with the step s an iteration is

.. math:: v' = \gamma v - \kappa s g, \qquad u' = u + v' - \beta s g,

with coefficients shared by all weights. Plain SGD has :math:`\gamma = \kappa = 0, \beta = 1`, heavy ball
:math:`\kappa = 1, \beta = 0`, Nesterov :math:`\kappa = \gamma, \beta = 1` and MaSS
:math:`\kappa = \gamma - \eta_2/\eta_1, \beta = 1`. In the papers' notation Nesterov and MaSS have a second sequence
:math:`w' = u - s g` and :math:`u' = w' + \gamma (w' - w) + \eta_2 g`: it is :math:`w = u - v`, and the velocity is kept
in its place because a small difference of two large numbers would lose digits.

With adaptive restart :math:`\gamma` follows the accelerated sequence of O'Donoghue & Candes (2015), section 2.1, and a
restart sets :math:`\gamma = \kappa = 0` for one iteration: u moves to w'.
"""

import math
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

# Rules for gamma.
CONSTANT = 0
ACCELERATED = 1
FUNCTION_RESTART = 2
GRADIENT_RESTART = 3

_RULES = {
    "constant": CONSTANT,
    "accelerated": ACCELERATED,
    "function_restart": FUNCTION_RESTART,
    "gradient_restart": GRADIENT_RESTART,
}


@dataclass(frozen=True)
class Momentum:
    r"""Coefficients of an optimiser with two sequences.

    Parameters
    ----------
    rule : str
        ``constant``; ``accelerated``: :math:`\gamma_k = \theta_k (1 - \theta_k)/(\theta_k^2 + \theta_{k+1})` with
        :math:`\theta_{k+1}^2 = (1 - \theta_{k+1}) \theta_k^2 + q \theta_{k+1}`, :math:`\theta_0 = 1`; the same with
        ``gradient_restart``, when :math:`\langle g(u_k), w_{k+1} - w_k\rangle > 0`, or ``function_restart``, when the
        loss of sample k is larger at :math:`w_{k+1}` than at :math:`w_k`. A restart sets :math:`\theta = 1` and
        :math:`u_{k+1} = w_{k+1}`.
    gamma : float
        :math:`\gamma \ge 0` of the rule ``constant`` [1].
    heavy_ball : bool
        Whether the step enters through the velocity alone, as in Polyak's method.
    compensation : float
        :math:`\eta_2/\eta_1 \ge 0` of MaSS [1].
    q : float
        Inverse condition number that the accelerated sequence assumes, in [0, 1] [1]; q = 1 is plain descent.

    """

    rule: str = "constant"
    gamma: float = 0.0
    heavy_ball: bool = False
    compensation: float = 0.0
    q: float = 0.0

    def __post_init__(self):
        if self.rule not in _RULES:
            msg = f"momentum rule {self.rule!r} is unknown; known: {', '.join(_RULES)}"
            raise ValueError(msg)
        if not (self.gamma >= 0 and self.compensation >= 0 and 0 <= self.q <= 1):
            msg = f"momentum needs gamma >= 0, compensation >= 0 and q in [0, 1]: {self}"
            raise ValueError(msg)
        if self.rule != "constant" and (self.gamma or self.heavy_ball):
            msg = f"gamma and heavy_ball belong to the rule 'constant', not to {self.rule!r}"
            raise ValueError(msg)

    @property
    def plain(self) -> bool:
        """Whether this is SGD: one sequence is enough."""
        return self.rule == "constant" and self.gamma == 0 and self.compensation == 0

    def code(self) -> tuple[int, NDArray[np.float64]]:
        """Return the rule's number and its coefficients (gamma, heavy ball, compensation, q)."""
        return _RULES[self.rule], np.array([self.gamma, float(self.heavy_ball), self.compensation, self.q])


SGD = Momentum()


@nb.njit(nogil=True, fastmath=False)
def next_theta(theta, q):
    """Return the positive root of t^2 = (1 - t) theta^2 + q t."""
    b = theta * theta - q
    return 0.5 * (math.sqrt(b * b + 4 * theta * theta) - b)


@nb.njit(nogil=True, fastmath=False)
def coefficients(rule, numbers, theta, restart):
    """Return gamma, kappa, beta of an iteration and the theta of the next.

    Parameters
    ----------
    rule : int
        `CONSTANT`, `ACCELERATED`, `FUNCTION_RESTART` or `GRADIENT_RESTART`.
    numbers : array, shape (4,)
        From `Momentum.code`.
    theta : float
        State of the accelerated sequence [1].
    restart : bool
        Whether this iteration restarts.

    """
    if restart:
        return 0.0, 0.0, 1.0, 1.0
    gamma = numbers[0]
    if rule != CONSTANT:
        following = next_theta(theta, numbers[3])
        gamma = theta * (1 - theta) / (theta * theta + following)
        theta = following
    if numbers[1] > 0:
        return gamma, 1.0, 0.0, theta
    return gamma, gamma - numbers[2], 1.0, theta
