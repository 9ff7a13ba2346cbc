r"""Stochastic gradient descent, one fresh sample per iteration.

.. math:: w_i \leftarrow w_i + 2 s_k (y_k - \hat y(x_k))\, \nabla_{w_i} \sigma_*(x_k; w_i),
          \qquad s_k = \varepsilon\, \xi(k \varepsilon),

without 1/N, so that iteration k sits at the mean-field time :math:`k \varepsilon` for every width. Source: Mei,
Montanari & Nguyen (2018), PNAS 115(33), E7665, eq. 3 of the main text. Cost: one gradient per iteration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from meanfield.kernels.momentum import SGD
from meanfield.methods.blocks import run_blocks
from meanfield.problems.isotropic import IsotropicGaussians


@dataclass(frozen=True)
class Hyperparameters:
    """What SGD has besides the step size: nothing."""


def trajectory(
    problem: IsotropicGaussians, weights: NDArray, hyperparameters: Hyperparameters, **run
) -> Iterator[NDArray]:
    """Yield the weights of SGD at each stop; see `meanfield.methods.blocks.run_blocks` for the arguments."""
    return run_blocks(problem, weights, SGD, **run)
