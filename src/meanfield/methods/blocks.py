"""What the optimisers share that run through the exact block kernel: a replicate's run, seen at given iterations."""

from collections.abc import Iterator

from numpy.typing import NDArray

from meanfield.kernels.momentum import Momentum
from meanfield.kernels.streams import stream_key
from meanfield.limits.schedule import Schedule
from meanfield.problems.isotropic import IsotropicGaussians


def run_blocks(
    problem: IsotropicGaussians,
    weights: NDArray,
    momentum: Momentum,
    *,
    schedule: Schedule,
    step_size: float,
    stops: list[int],
    root: int,
    experiment: str,
    replicate: int,
) -> Iterator[NDArray]:
    """Run an optimiser on a replicate's data stream and yield the weights at each stop.

    Parameters
    ----------
    problem : IsotropicGaussians
        Data and network.
    weights : array, shape (neuron, coordinate), float32 or float64
        Initial weights [1]; their type is that of all arithmetic. Not modified.
    momentum : Momentum
        The optimiser's coefficients.
    schedule : Schedule
        xi.
    step_size : float
        epsilon [mean-field time per iteration].
    stops : list of int, increasing
        Iterations at which the weights are wanted; 0 is the initial state.
    root, experiment, replicate
        Name the data stream, see `meanfield.kernels.streams`: optimisers compared on one experiment see the same data.

    Yields
    ------
    array, shape (neuron, coordinate)
        A copy of the weights after as many iterations as each stop says: of the point at which the next gradient is
        taken. The values do not depend on the other stops: blocks of samples keep their boundaries wherever a run is
        looked at.

    """
    state = problem.block_state(weights, momentum)
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


def require_range(name: str, value: float, low: float, high: float, *, include_high: bool = False) -> None:
    """Refuse a hyper-parameter outside [low, high), or [low, high]."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (low <= value < high or (include_high and value == high)):
        bound = "at most" if include_high else "less than"
        msg = f"{name}: {value!r} found; a number of at least {low:g} and {bound} {high:g} needed"
        raise ValueError(msg)
