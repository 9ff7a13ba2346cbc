"""A replicate's run of any optimiser, seen at given iterations: by the compiled kernels where they apply."""

from collections.abc import Iterator
from types import ModuleType

from numpy.typing import NDArray

from meanfield.kernels.inner_loop import InnerLoopRun
from meanfield.kernels.streams import INJECTED_NOISE, stream_key
from meanfield.limits.schedule import Schedule
from meanfield.methods.clocks import inner_steps
from meanfield.methods.oracle import SampleOracle


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
        state = problem.block_state(weights, method.recurrence(hyperparameters))
        yield from _run_blocks(state, problem, names, schedule, step_size, stops)
    elif hasattr(method, "inner_loop"):
        loop = method.inner_loop(hyperparameters)
        run = InnerLoopRun(problem, weights, loop, names, stream_key(*names, INJECTED_NOISE))
        for now, stop in _gaps(stops):
            for k in range(now, stop):
                run.advance(float(schedule.step_sizes(step_size, k * loop.steps, 1)[0]))
            yield run.point
    else:
        yield from run_plainly(method, hyperparameters, problem, weights, names, schedule, step_size, stops)


def _gaps(stops: list[int]) -> Iterator[tuple[int, int]]:
    return zip([0, *stops], stops, strict=False)


def _run_blocks(state, problem, names, schedule, step_size, stops) -> Iterator[NDArray]:
    # Blocks of samples keep their boundaries wherever a run is looked at, and with them every bit.
    settings = {
        "key": stream_key(*names),
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
