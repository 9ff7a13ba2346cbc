"""From a block of the configuration to arrays: run replicates of one simulation.

Arrays out, no files; the labels are put on by the workflow's script.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield import registry
from meanfield.errors import DivergenceError
from meanfield.limits.schedule import Schedule
from meanfield.methods.runs import trajectory
from meanfield.problems.factory import make_problem
from meanfield.problems.isotropic import RadialLaw

Floats = NDArray[np.float64]

# Between two records at most this many weight updates (iterations x neurons x coordinates) pass without a look at
# the state: about ten seconds, so that a diverging run stops early and progress is seen to move.
_UPDATES_BETWEEN_LOOKS = 10**10
_LARGEST_WEIGHT = 1e100


class Trajectories(NamedTuple):
    """What one simulation leaves: replicates on the first axis."""

    iteration: NDArray[np.int64]  # shape (record,)
    time: Floats  # shape (record,), mean-field time [1]
    risk: Floats  # shape (replicate, record), exact population risk [1]
    norm: Floats  # shape (replicate, record, neuron), norm of each neuron's weight vector [1]
    snapshot: list[str]  # names of the snapshots
    snapshot_iteration: NDArray[np.int64]  # shape (snapshot,)
    weight: NDArray  # shape (replicate, snapshot, neuron, coordinate) [1]
    replicate: NDArray[np.int64]  # shape (replicate,)


def simulate(
    *,
    experiment: str,
    simulation: str,
    seed: int,
    problem: dict,
    activation: dict,
    neurons: int,
    initial_law: dict,
    schedule: dict,
    settings: dict,
    iterations: list[int],
    replicates: range,
    threads: int = 1,
    progress: Callable[[int], None] = lambda iterations: None,
) -> Trajectories:
    """Run some replicates of one simulation.

    Parameters
    ----------
    experiment, simulation : str
        Names; the experiment's enters the random streams, the simulation's only messages.
    seed : int
        Root seed.
    problem, activation, initial_law, schedule, settings : dict
        Blocks of the configuration.
    neurons : int
        Width N.
    iterations : list of int, increasing
        Iterations to record, the snapshots among them.
    replicates : range
        Which replicates; each gives the same bits whichever others run with it.
    threads : int
        Replicates run at once, one per thread.
    progress : callable
        Told the number of iterations done since the last call; called from several threads if there are several.

    Returns
    -------
    Trajectories
        Records and snapshots.

    Raises
    ------
    DivergenceError
        If the weights stop being finite.

    """
    data = make_problem(problem, activation)
    law = RadialLaw(**initial_law)
    clock = Schedule(**schedule)
    method = registry.load(registry.METHODS, settings["method"])
    hyperparameters = method.Hyperparameters(**settings["hyperparameters"])
    names = sorted(settings["snapshots"], key=lambda name: (settings["snapshots"][name], name))
    kept = [settings["snapshots"][name] for name in names]
    recorded = set(iterations)
    stops = _with_looks(iterations, max(1, _UPDATES_BETWEEN_LOOKS // (neurons * data.dimension)))

    def run(replicate: int):
        weights = law.sample(neurons, data.dimension, seed, experiment, replicate).astype(settings["precision"])
        states = trajectory(
            method, hyperparameters, data, weights,
            schedule=clock, step_size=settings["step_size"], stops=stops,
            root=seed, experiment=experiment, replicate=replicate,
        )  # fmt: skip
        risks, norms, snapshots = [], [], {}
        last_good = 0
        for stop, state in zip(stops, states, strict=True):
            # Squares of larger weights overflow; such a run is lost already.
            if not float(np.abs(state).max()) < _LARGEST_WEIGHT:
                raise DivergenceError(
                    f"{experiment}/{simulation}, replicate {replicate}: {settings['method']} diverged, its weights are "
                    f"no longer finite at iteration {stop} (they were at {last_good}); likely cause: step_size "
                    f"{settings['step_size']:g} is too large"
                )
            if stop in recorded:
                wide = state.astype(float)
                risks.append(data.risk(wide))
                norms.append(np.linalg.norm(wide, axis=1))
            if stop in kept:
                snapshots[stop] = state
            progress(stop - last_good)
            last_good = stop
        return risks, norms, [snapshots[k] for k in kept]

    if threads > 1 and len(replicates) > 1:
        with ThreadPoolExecutor(threads) as pool:
            runs = list(pool.map(run, replicates))
    else:
        runs = [run(replicate) for replicate in replicates]
    iteration = np.array(iterations, dtype=np.int64)
    return Trajectories(
        iteration,
        iteration * settings["step_size"],
        np.array([risks for risks, _, _ in runs]),
        np.array([norms for _, norms, _ in runs]),
        names,
        np.array(kept, dtype=np.int64),
        np.array([snapshots for _, _, snapshots in runs]),
        np.array(list(replicates), dtype=np.int64),
    )


def _with_looks(iterations: list[int], longest: int) -> list[int]:
    # The recorded iterations and as many between them that no stretch is longer than `longest`.
    stops = {0}
    for start, end in zip([0, *iterations], iterations, strict=False):
        stops.update(range(start + longest, end, longest))
        stops.add(end)
    return sorted(stops)
