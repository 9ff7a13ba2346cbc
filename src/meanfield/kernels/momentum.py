r"""Optimisers that are linear in two sequences, as the block kernel takes them.

Each keeps the point u where the gradient g is taken and a second sequence w; with the step s an iteration is

.. math:: u' = (1 + \gamma) u - \gamma w - \beta s g, \qquad w' = u - \beta' s g,

with coefficients shared by all weights: plain SGD has :math:`\gamma = 0, \beta = \beta' = 1`, heavy ball
:math:`\beta = 1, \beta' = 0` (w is the last point), Nesterov :math:`\beta = 1 + \gamma, \beta' = 1` and MaSS
:math:`\beta = 1 + \gamma - \eta_2/\eta_1, \beta' = 1`. With adaptive restart :math:`\gamma` follows the accelerated
sequence of O'Donoghue & Candes (2015), eqs. 3-5, and a restart sets it to zero for one iteration.
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
        Whether the step enters u once, as in Polyak's method, instead of :math:`1 + \gamma` times.
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


@nb.njit(nogil=True)
def next_theta(theta, q):
    """Return the positive root of t^2 = (1 - t) theta^2 + q t."""
    b = theta * theta - q
    return 0.5 * (math.sqrt(b * b + 4 * theta * theta) - b)


@nb.njit(nogil=True)
def coefficients(rule, numbers, theta, restart):
    """Return gamma, beta, beta' of an iteration and the theta of the next.

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
    if rule == CONSTANT:
        gamma = numbers[0]
    elif restart:
        gamma = 0.0
        theta = 1.0
    else:
        following = next_theta(theta, numbers[3])
        gamma = theta * (1 - theta) / (theta * theta + following)
        theta = following
    if numbers[1] > 0:
        return gamma, 1.0, 0.0, theta
    # A restart drops the compensation too: the point moves to w, and nowhere else.
    compensation = 0.0 if restart else numbers[2]
    return gamma, 1 + gamma - compensation, 1.0, theta
