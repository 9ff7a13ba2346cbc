r"""MaSS, momentum-added stochastic solver: Nesterov SGD with a compensation term.

.. math:: w' = u - \eta_1 g(u), \qquad u' = (1 + \gamma) w' - \gamma w + \eta_2 g(u),

with the stochastic gradient g without 1/N (as in `meanfield.methods.sgd`) and :math:`\eta_1 = s`, the step. The
hyper-parameters are :math:`\gamma` and the ratio :math:`\eta_2/\eta_1`; without compensation it is Nesterov SGD, bit
for bit. In the authors' parameters :math:`\gamma = (1 - \alpha)/(1 + \alpha)` and
:math:`\eta_2/\eta_1 = (1 - 1/\tilde\kappa)/(1 + \alpha)`. For slowly varying gradients it moves like SGD with the step
:math:`(\eta_1 - \eta_2)/(1 - \gamma)`. Source: Liu & Belkin (2020), ICLR, arXiv:1810.13395, eq. 5. Cost: one gradient
per iteration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.methods.blocks import require_range, run_blocks
from meanfield.problems.isotropic import IsotropicGaussians


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


def trajectory(
    problem: IsotropicGaussians, weights: NDArray, hyperparameters: Hyperparameters, **run
) -> Iterator[NDArray]:
    """Yield the points u at each stop; see `meanfield.methods.blocks.run_blocks` for the arguments."""
    momentum = Momentum(gamma=hyperparameters.momentum, compensation=hyperparameters.compensation)
    return run_blocks(problem, weights, momentum, **run)
