r"""Nesterov's accelerated sequence with adaptive restart, on stochastic gradients.

.. math:: w_{k+1} = u_k - s g(u_k), \qquad u_{k+1} = w_{k+1} + \gamma_k (w_{k+1} - w_k), \qquad
          \gamma_k = \frac{\theta_k (1 - \theta_k)}{\theta_k^2 + \theta_{k+1}},

where :math:`\theta_{k+1}^2 = (1 - \theta_{k+1}) \theta_k^2 + q\,\theta_{k+1}` and :math:`\theta_0 = 1`. A restart sets
:math:`\theta = 1` and :math:`u_{k+1} = w_{k+1}`: under the scheme ``gradient`` when
:math:`\langle g(u_k), w_{k+1} - w_k\rangle > 0`, under ``function`` when the loss is larger at :math:`w_{k+1}` than at
:math:`w_k`. Both are judged by the sample of the iteration, which is all that one-pass learning has; with ``none`` the
sequence never restarts. Source: O'Donoghue & Candes (2015), Found. Comput. Math. 15, 715-732, section 3.2. Cost: one
gradient per iteration; the function scheme adds two evaluations of the loss.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.methods.blocks import require_range, run_blocks
from meanfield.problems.isotropic import IsotropicGaussians

_RULES = {"gradient": "gradient_restart", "function": "function_restart", "none": "accelerated"}


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters.

    Parameters
    ----------
    scheme : str
        ``gradient``, ``function`` or ``none``.
    inverse_condition : float
        q in [0, 1], the inverse condition number that the sequence assumes [1]; 0 is the standard sequence.

    """

    scheme: str
    inverse_condition: float

    def __post_init__(self):
        if not isinstance(self.scheme, str) or self.scheme not in _RULES:
            msg = f"scheme: {self.scheme!r} found; allowed: {', '.join(sorted(_RULES))}"
            raise ValueError(msg)
        require_range("inverse_condition", self.inverse_condition, 0, 1, include_high=True)


def trajectory(
    problem: IsotropicGaussians, weights: NDArray, hyperparameters: Hyperparameters, **run
) -> Iterator[NDArray]:
    """Yield the points u at each stop; see `meanfield.methods.blocks.run_blocks` for the arguments."""
    momentum = Momentum(_RULES[hyperparameters.scheme], q=hyperparameters.inverse_condition)
    return run_blocks(problem, weights, momentum, **run)
