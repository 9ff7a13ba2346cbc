"""A replicate's run of any optimiser, seen at given iterations: by the compiled kernels where they apply."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meanfield.checkpoints import Checkpoint, Tree
from meanfield.errors import DivergenceError
from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.inner_blocks import InnerBlocks, in_blocks
from meanfield.kernels.inner_loop import InnerLoopRun
from meanfield.kernels.streams import INJECTED_NOISE, stream_key
from meanfield.limits.schedule import Schedule
from meanfield.methods.clocks import inner_steps
from meanfield.methods.oracle import SampleOracle

T = TypeVar("T")

# A diverging run stops early, and progress is seen to move: at most about ten seconds pass between two looks, and a run
# is looked at after this many iterations, and twice as many, and so on. Steps that are too large show at once.
_UPDATES_BETWEEN_LOOKS = 10**10
_FIRST_LOOK = 128


class Walk(ABC, Iterator[NDArray]):
    """A run seen at given iterations, one after the other; it can be saved between two of them.

    Parameters
    ----------
    stops : list of int, increasing
        Iterations at which the point is wanted; 0 is the initial state.

    """

    def __init__(self, stops: list[int]):
        self._stops = stops
        self.passed = 0  # stops so far

    def __next__(self) -> NDArray:
        """Run to the next stop and return the point there."""
        if self.passed == len(self._stops):
            raise StopIteration
        point = self._go_to(self._stops[self.passed])
        self.passed += 1
        return point

    def snapshot(self) -> Tree:
        """Return everything that the rest of the run depends on."""
        return {"passed": self.passed, "state": self._state()}

    def restore(self, snapshot: Tree) -> None:
        """Go on from a snapshot of the same run: the same bits as without the interruption."""
        self.passed = snapshot["passed"]
        self._put_back(snapshot["state"])

    @abstractmethod
    def _go_to(self, stop: int) -> NDArray: ...

    @abstractmethod
    def _state(self) -> Tree: ...

    @abstractmethod
    def _put_back(self, state: Tree) -> None: ...


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
) -> Walk:
    """Return the run of an optimiser on a replicate's data stream, seen at each stop.

    An optimiser that is linear in a point and a velocity (`recurrence`) runs through the exact block kernel, one with
    an inner loop of noisy steps (`inner_loop`) through that loop's kernel, which has the plain definition's law and,
    without noise, its path; any other runs by its plain definition (`start`, `step`). Iteration k has the step size of
    the schedule after as many inner steps as came before it.

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

    Returns
    -------
    iterator of array, shape (neuron, weight)
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
        return BlockWalk(
            state, lambda one, first, last: one.advance_stream(first, last, **settings),
            lambda one: one.weights, stops,
        )  # fmt: skip
    if hasattr(method, "inner_loop"):
        loop = method.inner_loop(hyperparameters)
        return inner_loop_walk(loop, problem, weights, names, schedule, step_size, stops)
    return PlainWalk(method, hyperparameters, problem, weights, names, schedule, step_size, stops)


class BlockWalk(Walk):
    """The run of a block state.

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

    def __init__(
        self,
        state: BlockState,
        advance: Callable[[BlockState, int, int], None],
        point: Callable[[BlockState], NDArray],
        stops: list[int],
    ):
        super().__init__(stops)
        self._blocks, self._advance, self._point = state, advance, point
        self._done = 0

    def _go_to(self, stop: int) -> NDArray:
        boundary = stop - stop % self._blocks.block
        if boundary > self._done:
            self._advance(self._blocks, self._done, boundary)
            self._done = boundary
        if stop == self._done:
            return self._point(self._blocks)
        ahead = self._blocks.copy()
        self._advance(ahead, self._done, stop)
        return self._point(ahead)

    def _state(self) -> Tree:
        return {"done": self._done, "blocks": self._blocks.snapshot()}

    def _put_back(self, state: Tree) -> None:
        self._done = state["done"]
        self._blocks.restore(state["blocks"])


def inner_loop_walk(loop, problem, weights, names, schedule: Schedule, step_size: float, stops: list[int]) -> Walk:
    """Return the run of an optimiser with an inner loop: in blocks of samples, or step by step if it is a long one.

    Arguments as in `trajectory`.
    """
    if not in_blocks(loop):
        return InnerLoopWalk(loop, problem, weights, names, schedule, step_size, stops)
    state = InnerBlocks(problem, weights, loop, names, stream_key(*names, INJECTED_NOISE))

    def advance(one: InnerBlocks, first: int, last: int) -> None:
        one.advance(first, last, lambda start, count: schedule.step_sizes(step_size, start, count))

    return BlockWalk(state, advance, lambda one: one.point, stops)


class InnerLoopWalk(Walk):
    """The run of an optimiser step by step through its inner loop; arguments as in `trajectory`."""

    def __init__(self, loop, problem, weights, names, schedule: Schedule, step_size: float, stops: list[int]):
        super().__init__(stops)
        self._loop, self._schedule, self._step_size = loop, schedule, step_size
        self._run = InnerLoopRun(problem, weights, loop, names, stream_key(*names, INJECTED_NOISE))

    def _go_to(self, stop: int) -> NDArray:
        for k in range(self._run.iteration, stop):
            self._run.advance(float(self._schedule.step_sizes(self._step_size, k * self._loop.steps, 1)[0]))
        return self._run.point

    def _state(self) -> Tree:
        return self._run.snapshot()

    def _put_back(self, state: Tree) -> None:
        self._run.restore(state)


class PlainWalk(Walk):
    """The run of an optimiser by its plain definition; arguments as in `trajectory`."""

    def __init__(
        self, method, hyperparameters, problem, weights, names, schedule: Schedule, step_size: float, stops: list[int]
    ):
        super().__init__(stops)
        self._method, self._hyperparameters = method, hyperparameters
        self._schedule, self._step_size = schedule, step_size
        self._oracle = SampleOracle(problem, *names)
        self._now, self._iterate = 0, method.start(weights, hyperparameters)
        self._point = getattr(method, "point", lambda state: state.point)

    def _go_to(self, stop: int) -> NDArray:
        steps = inner_steps(self._method, self._hyperparameters)
        for k in range(self._now, stop):
            size = float(self._schedule.step_sizes(self._step_size, k * steps, 1)[0])
            self._iterate = self._method.step(self._iterate, self._oracle, size, self._hyperparameters)
        self._now = stop
        return self._point(self._iterate)

    def _state(self) -> Tree:
        return {"now": self._now, "iterate": tuple(self._iterate), "oracle": self._oracle.snapshot()}

    def _put_back(self, state: Tree) -> None:
        self._now, self._iterate = state["now"], type(self._iterate)(*state["iterate"])
        self._oracle.restore(state["oracle"])


# -- looking at a run in between -------------------------------------------------------------------------------------


def with_looks(stops: list[int], weights: int) -> list[int]:
    """Return the stops of a run, iteration 0, and more between them.

    No stretch takes more than ten seconds or, from `_FIRST_LOOK` on, more than doubles the iterations. `weights` is how
    many an iteration updates.
    """
    longest = max(1, _UPDATES_BETWEEN_LOOKS // weights)
    looks = {0}
    early = _FIRST_LOOK
    while early < max(stops, default=0):
        looks.add(early)
        early *= 2
    for start, end in zip([0, *stops], stops, strict=False):
        looks.update(range(start + longest, end, longest))
        looks.add(end)
    return sorted(looks)


def records(
    run: Walk,
    looks: list[int],
    stops: list[int],
    see: Callable[[int, NDArray], T],
    *,
    name: str,
    largest: float,
    lost: str,
    cause: str,
    progress: Callable[[int], None],
    checkpoint: Checkpoint,
) -> list[T]:
    """Return what is seen of a run at each stop, and watch it at every look.

    Parameters
    ----------
    run : Walk
        The weights at each look. If the checkpoint knows the run, it goes on from there.
    looks, stops : list of int, increasing
        Iterations at which the run is met, and those of them that are wanted; see `with_looks`.
    see : callable
        Reduces an iteration and its weights to what is kept, a tree as `meanfield.checkpoints` has them.
    name : str
        Of the run in the checkpoint.
    largest : float
        Weights beyond this are lost [1].
    lost, cause : str
        Who ran, and what likely went wrong, for the message.
    progress : callable
        Told the number of iterations done since the last look.
    checkpoint : Checkpoint
        Where the run may save its state at a look.

    Raises
    ------
    DivergenceError
        If a weight is beyond `largest` or not a number.

    """
    wanted = set(stops)
    found: list[T] = []
    last = 0
    if (saved := checkpoint.state(name)) is not None:
        found = list(saved["found"])
        run.restore(saved["run"])
        last = looks[run.passed - 1]
        progress(last)
    for look, weights in zip(looks[run.passed :], run, strict=True):
        if not float(np.abs(weights).max()) < largest:
            raise DivergenceError(
                f"{lost} diverged, its weights are no longer finite at iteration {look} (they were at {last}); "
                f"likely cause: {cause} is too large"
            )
        progress(look - last)
        last = look
        if look in wanted:
            found.append(see(look, weights))
        checkpoint.offer(name, lambda: {"found": list(found), "run": run.snapshot()})
    return found
