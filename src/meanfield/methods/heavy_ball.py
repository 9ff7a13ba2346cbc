r"""Heavy-ball SGD: the step enters through a velocity.

With the stochastic gradient g without 1/N (as in `meanfield.methods.sgd`) and the step s,

.. math:: v \leftarrow \mu v - s g(w), \qquad w \leftarrow w + v .

Source: Polyak (1964), USSR Computational Mathematics and Mathematical Physics 4(5), 1-17, eq. 9, with a stochastic
gradient. For slowly varying gradients it moves like SGD with the step :math:`s/(1 - \mu)`. Cost: one gradient per
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
    """Yield the weights at each stop; see `meanfield.methods.blocks.run_blocks` for the arguments."""
    return run_blocks(problem, weights, Momentum(gamma=hyperparameters.momentum, heavy_ball=True), **run)
