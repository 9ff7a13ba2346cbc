"""A replicate's run of any optimiser, seen at given iterations: by the compiled kernels where they apply."""

from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import DivergenceError
from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.inner_loop import InnerLoopRun
from meanfield.kernels.streams import INJECTED_NOISE, stream_key
from meanfield.limits.schedule import Schedule
from meanfield.methods.clocks import inner_steps
from meanfield.methods.oracle import SampleOracle

# A diverging run stops early, and progress is seen to move: about ten seconds pass between two looks.
_UPDATES_BETWEEN_LOOKS = 10**10


def trajectory(
    method: ModuleType,
    hyperparameters,
    problem,
    weights: NDArray,
    *,
    schedule: Schedule,
    step_size: float,
    stops: list[int],
    root: int,
    experiment: str,
    replicate: int,
) -> Iterator[NDArray]:
    """Run an optimiser on a replicate's data stream and yield the weights at each stop.

    An optimiser that is linear in a point and a velocity (`recurrence`) runs through the exact block kernel, one with
    an inner loop of noisy steps (`inner_loop`) through that loop's kernel, and any other by its plain definition
    (`start`, `step`). Iteration k has the step size of the schedule after as many inner steps as came before it.

    Parameters
    ----------
    method : module
        A module of `meanfield.methods`.
    hyperparameters
        An instance of its `Hyperparameters`.
    problem
        A network's data and gradients, such as `meanfield.problems.isotropic.IsotropicGaussians`.
    weights : array, shape (neuron, weight), float32 or float64
        Initial weights [1]; their type is that of all arithmetic. Not modified.
    schedule : Schedule
        xi.
    step_size : float
        epsilon [mean-field time per iteration].
    stops : list of int, increasing
        Iterations at which the weights are wanted; 0 is the initial state.
    root, experiment, replicate
        Name the streams, see `meanfield.kernels.streams`: optimisers compared on one experiment see the same data.

    Yields
    ------
    array, shape (neuron, weight)
        The weights after as many iterations as each stop says. The values do not depend on the other stops.

    """
    names = (root, experiment, replicate)
    if hasattr(method, "recurrence"):
        settings = {
            "key": stream_key(*names),
            "scales": problem.scales,
            "step_size": step_size,
            "coefficient": schedule.coefficient,
            "exponent": schedule.exponent,
        }
        state = problem.block_state(weights, method.recurrence(hyperparameters))
        yield from run_blocks(
            state, lambda one, first, last: one.advance_stream(first, last, **settings),
            lambda one: one.weights, stops,
        )  # fmt: skip
    elif hasattr(method, "inner_loop"):
        loop = method.inner_loop(hyperparameters)
        yield from run_inner_loop(loop, problem, weights, names, schedule, step_size, stops)
    else:
        yield from run_plainly(method, hyperparameters, problem, weights, names, schedule, step_size, stops)


def run_blocks(
    state: BlockState,
    advance: Callable[[BlockState, int, int], None],
    point: Callable[[BlockState], NDArray],
    stops: list[int],
) -> Iterator[NDArray]:
    """Yield the point of a block state at each stop.

    Blocks of samples keep their boundaries wherever a run is looked at, and with them every bit: a stop inside a block
    is seen by a copy.

    Parameters
    ----------
    state : BlockState
        The initial state; modified.
    advance : callable
        Runs the iterations `first` … `last - 1` of a state, `first` a multiple of the block.
    point : callable
        Returns the weights of a state.
    stops : list of int, increasing
        Iterations at which the point is wanted.

    """
    done = 0
    for stop in stops:
        boundary = stop - stop % state.block
        if boundary > done:
            advance(state, done, boundary)
            done = boundary
        if stop == done:
            yield point(state)
        else:
            ahead = state.copy()
            advance(ahead, done, stop)
            yield point(ahead)


def run_inner_loop(loop, problem, weights, names, schedule, step_size, stops) -> Iterator[NDArray]:
    """Yield the weights at each stop by the kernel of an inner loop; arguments as in `trajectory`."""
    run = InnerLoopRun(problem, weights, loop, names, stream_key(*names, INJECTED_NOISE))
    for now, stop in _gaps(stops):
        for k in range(now, stop):
            run.advance(float(schedule.step_sizes(step_size, k * loop.steps, 1)[0]))
        yield run.point


def run_plainly(method, hyperparameters, problem, weights, names, schedule, step_size, stops) -> Iterator[NDArray]:
    """Yield the weights at each stop by the plain definition of an optimiser; arguments as in `trajectory`."""
    oracle = SampleOracle(problem, *names)
    state = method.start(weights, hyperparameters)
    steps = inner_steps(method, hyperparameters)
    point = getattr(method, "point", lambda state: state.point)
    for now, stop in _gaps(stops):
        for k in range(now, stop):
            size = float(schedule.step_sizes(step_size, k * steps, 1)[0])
            state = method.step(state, oracle, size, hyperparameters)
        yield point(state)


def _gaps(stops: list[int]) -> Iterator[tuple[int, int]]:
    return zip([0, *stops], stops, strict=False)


# -- looking at a run in between -------------------------------------------------------------------------------------


def with_looks(stops: list[int], weights: int) -> list[int]:
    """Return the stops of a run, iteration 0, and as many between them that no stretch takes more than ten seconds.

    `weights` is how many an iteration updates.
    """
    longest = max(1, _UPDATES_BETWEEN_LOOKS // weights)
    looks = {0}
    for start, end in zip([0, *stops], stops, strict=False):
        looks.update(range(start + longest, end, longest))
        looks.add(end)
    return sorted(looks)


def watched(
    run: Iterator[NDArray],
    looks: list[int],
    stops: list[int],
    *,
    largest: float,
    lost: str,
    cause: str,
    progress: Callable[[int], None],
) -> Iterator[tuple[int, NDArray]]:
    """Yield the stops of a run with its weights, and watch it at every look.

    Parameters
    ----------
    run : iterator
        The weights at each look.
    looks, stops : list of int, increasing
        Iterations at which the run is seen, and those of them that are wanted; see `with_looks`.
    largest : float
        Weights beyond this are lost [1].
    lost, cause : str
        Who ran, and what likely went wrong, for the message.
    progress : callable
        Told the number of iterations done since the last look.

    Raises
    ------
    DivergenceError
        If a weight is beyond `largest` or not a number.

    """
    wanted = set(stops)
    last = 0
    for look, weights in zip(looks, run, strict=True):
        if not float(np.abs(weights).max()) < largest:
            raise DivergenceError(
                f"{lost} diverged, its weights are no longer finite at iteration {look} (they were at {last}); "
                f"likely cause: {cause} is too large"
            )
        progress(look - last)
        last = look
        if look in wanted:
            yield look, weights
