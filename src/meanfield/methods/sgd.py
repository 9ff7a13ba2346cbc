r"""Stochastic gradient descent, one fresh sample per iteration.

.. math:: w_i \leftarrow w_i + 2 s_k (y_k - \hat y(x_k))\, \nabla_{w_i} \sigma_*(x_k; w_i),
          \qquad s_k = \varepsilon\, \xi(k \varepsilon),

without 1/N, so that iteration k sits at the mean-field time :math:`k \varepsilon` for every width. Source: Mei,
Montanari & Nguyen (2018), PNAS 115(33), E7665, eq. 3 of the main text. Cost: one gradient per iteration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from meanfield.kernels.streams import stream_key
from meanfield.limits.schedule import Schedule
from meanfield.problems.isotropic import IsotropicGaussians


@dataclass(frozen=True)
class Hyperparameters:
    """What SGD has besides the step size: nothing."""


def trajectory(
    problem: IsotropicGaussians,
    weights: NDArray,
    hyperparameters: Hyperparameters,
    *,
    schedule: Schedule,
    step_size: float,
    stops: list[int],
    root: int,
    experiment: str,
    replicate: int,
) -> Iterator[NDArray]:
    """Run SGD on a replicate's data stream and yield the weights at each stop.

    Parameters
    ----------
    problem : IsotropicGaussians
        Data and network.
    weights : array, shape (neuron, coordinate), float32 or float64
        Initial weights [1]; their type is that of all arithmetic. Not modified.
    hyperparameters : Hyperparameters
        Empty.
    schedule : Schedule
        xi.
    step_size : float
        epsilon [mean-field time per iteration].
    stops : list of int, increasing
        Iterations at which the weights are wanted; 0 is the initial state.
    root, experiment, replicate
        Name the data stream, see `meanfield.kernels.streams`.

    Yields
    ------
    array, shape (neuron, coordinate)
        A copy of the weights after as many iterations as each stop says. The values do not depend on the other
        stops: blocks of samples keep their boundaries wherever a run is looked at.

    """
    state = problem.block_state(weights)
    settings = {
        "key": stream_key(root, experiment, replicate),
        "scales": problem.scales,
        "step_size": step_size,
        "coefficient": schedule.coefficient,
        "exponent": schedule.exponent,
    }
    done = 0
    for stop in stops:
        boundary = stop - stop % state.block
        if boundary > done:
            state.advance_stream(done, boundary, **settings)
            done = boundary
        if stop == done:
            yield state.weights
        else:
            ahead = state.copy()
            ahead.advance_stream(done, stop, **settings)
            yield ahead.weights
