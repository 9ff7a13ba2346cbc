r"""Nesterov accelerated SGD with constant momentum.

With the stochastic gradient g without 1/N (as in `meanfield.methods.sgd`) and the step s,

.. math:: w' = u - s g(u), \qquad u' = w' + \mu (w' - w) .

Source: Nesterov (2004), *Introductory Lectures on Convex Optimization*, scheme 2.2.11, with a stochastic gradient;
libraries write it with a velocity (Sutskever, Martens, Dahl & Hinton 2013, eqs. 3-4). The weights of a record are the
points u. For slowly varying gradients it moves like SGD with the step :math:`s/(1 - \mu)`. Cost: one gradient per
iteration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.methods.blocks import require_range, run_blocks
from meanfield.problems.isotropic import IsotropicGaussians


@dataclass(frozen=True)
class Hyperparameters:
    r"""Hyper-parameters: the momentum :math:`\mu` in [0, 1) [1]."""

    momentum: float

    def __post_init__(self):
        require_range("momentum", self.momentum, 0, 1)


def trajectory(
    problem: IsotropicGaussians, weights: NDArray, hyperparameters: Hyperparameters, **run
) -> Iterator[NDArray]:
    """Yield the points u at each stop; see `meanfield.methods.blocks.run_blocks` for the arguments."""
    return run_blocks(problem, weights, Momentum(gamma=hyperparameters.momentum), **run)
