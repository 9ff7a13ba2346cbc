"""From a block of the configuration to arrays: run replicates of one simulation, or the candidates of a sweep.

Arrays out, no files; the labels are put on by the workflow's scripts.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield import checkpoints, registry
from meanfield.checkpoints import Checkpoint, Tree
from meanfield.errors import DivergenceError
from meanfield.limits.schedule import Schedule
from meanfield.methods.clocks import matched_step
from meanfield.methods.runs import records, trajectory, with_looks
from meanfield.problems.factory import make_law, make_problem

Floats = NDArray[np.float64]

# A run with a larger weight is lost; fourth powers of this, which risks have, are still numbers.
_LARGEST_WEIGHT = 1e30


class Trajectories(NamedTuple):
    """What one simulation leaves: replicates on the first axis."""

    iteration: NDArray[np.int64]  # shape (record,)
    evaluation: NDArray[np.int64]  # shape (record,), gradient evaluations so far
    time: Floats  # shape (record,), iteration times step size [1]
    limit_time: Floats  # shape (record,), mean-field time of SGD that moves alike; nan where there is none [1]
    risk: Floats  # shape (replicate, record), exact population risk [1]
    observables: dict[str, Floats]  # shape (replicate, record, neuron), what the problem records of each neuron [1]
    snapshot: list[str]  # names of the snapshots
    snapshot_iteration: NDArray[np.int64]  # shape (snapshot,)
    weight: NDArray  # shape (replicate, snapshot, neuron, coordinate) [1]
    replicate: NDArray[np.int64]  # shape (replicate,)


class Setting(NamedTuple):
    """An experiment's problem with everything that a run needs besides the optimiser."""

    experiment: str
    seed: int
    problem: object
    law: object
    schedule: Schedule
    neurons: int

    def weights(self, replicate: int, precision: str) -> NDArray:
        """Return the initial weights of a replicate, shape (neuron, weight) [1]."""
        names = (self.seed, self.experiment, replicate)
        return self.law.sample(self.neurons, self.problem.dimension, *names).astype(precision)


def make_setting(
    *, experiment: str, seed: int, problem: dict, activation: dict, neurons: int, initial_law: dict, schedule: dict
) -> Setting:
    """Return the setting of blocks of the configuration."""
    return Setting(
        experiment, seed, make_problem(problem, activation), make_law(problem["kind"], initial_law),
        Schedule(**schedule), neurons,
    )  # fmt: skip


class Optimiser(NamedTuple):
    """An optimiser with its numbers."""

    name: str
    method: ModuleType
    hyperparameters: object
    step_size: float

    def matched_step(self, schedule: Schedule) -> float | None:
        """Return the step at which SGD keeps pace; see `meanfield.methods.clocks.matched_step`."""
        return matched_step(self.method, self.hyperparameters, self.step_size, schedule)

    @property
    def evaluations(self) -> int:
        """Gradient evaluations per iteration [count]."""
        return self.method.evaluations(self.hyperparameters)

    def noise_floor(self, problem, schedule: Schedule, iterations: int) -> float:
        """Return the norm at which noise balances the drift at zero, at the last iteration of a run [1].

        The noise is that of SGD that keeps pace, and what is injected; see `IsotropicGaussians.noise_floor`. It is nan
        where an iteration takes more than one gradient, where there is no constant clock, where weights are
        regularised, and on problems without a floor.
        """
        pace = self.matched_step(schedule)
        alike = pace is not None and self.evaluations == 1 and not getattr(self.hyperparameters, "regularisation", 0.0)
        if not alike or not hasattr(problem, "noise_floor"):
            return math.nan
        step = float(schedule.step_sizes(pace, iterations - 1, 1)[0])
        return problem.noise_floor(step, getattr(self.hyperparameters, "temperature", 0.0))


def make_optimiser(settings: dict) -> Optimiser:
    """Return the optimiser of a block with a method, its hyper-parameters and a step size."""
    method = registry.load(registry.METHODS, settings["method"])
    hyperparameters = method.Hyperparameters(**settings["hyperparameters"])
    return Optimiser(settings["method"], method, hyperparameters, settings["step_size"])


def _see(
    setting: Setting,
    optimiser: Optimiser,
    replicate: int,
    stops: list[int],
    precision: str,
    see: Callable[[int, NDArray], Tree],
    *,
    label: str,
    name: str,
    checkpoint: Checkpoint,
    progress: Callable[[int], None] = lambda iterations: None,
) -> list[Tree]:
    # What is seen of one run at its stops; see `meanfield.methods.runs.records`.
    looks = with_looks(stops, setting.neurons * setting.problem.dimension)
    run = trajectory(
        optimiser.method, optimiser.hyperparameters, setting.problem, setting.weights(replicate, precision),
        schedule=setting.schedule, step_size=optimiser.step_size, stops=looks, root=setting.seed,
        experiment=setting.experiment, replicate=replicate,
    )  # fmt: skip
    return records(
        run, looks, stops, see, name=name, largest=_LARGEST_WEIGHT,
        lost=f"{label}, replicate {replicate}: {optimiser.name}", cause=f"step_size {optimiser.step_size:g}",
        progress=progress, checkpoint=checkpoint,
    )  # fmt: skip


def simulate(
    *,
    experiment: str,
    simulation: str,
    settings: dict,
    iterations: list[int],
    replicates: range,
    threads: int = 1,
    progress: Callable[[int], None] = lambda iterations: None,
    checkpoint: Checkpoint = checkpoints.NONE,
    **setting,
) -> Trajectories:
    """Run some replicates of one simulation.

    Parameters
    ----------
    experiment, simulation : str
        Names; the experiment's enters the random streams, the simulation's only messages.
    settings : dict
        Method, hyper-parameters, step size, precision and snapshots, as in the configuration.
    iterations : list of int, increasing
        Iterations to record, the snapshots among them.
    replicates : range
        Which replicates; each gives the same bits whichever others run with it.
    threads : int
        Replicates run at once, one per thread.
    progress : callable
        Told the number of iterations done since the last call; called from several threads if there are several.
    checkpoint : Checkpoint
        Where runs leave their state, and are found again.
    setting
        Blocks of the configuration; see `make_setting`.

    Returns
    -------
    Trajectories
        Records and snapshots.

    Raises
    ------
    DivergenceError
        If the weights stop being finite.

    """
    where = make_setting(experiment=experiment, **setting)
    optimiser = make_optimiser(settings)
    names = sorted(settings["snapshots"], key=lambda name: (settings["snapshots"][name], name))
    kept = [settings["snapshots"][name] for name in names]

    def run(replicate: int):
        name = f"{simulation}, replicate {replicate}"

        def see(stop: int, weights: NDArray) -> tuple[float, dict, NDArray | None]:
            wide = weights.astype(float)
            risk, observed = where.problem.risk(wide), where.problem.observables(wide)
            return risk, observed, weights if stop in kept else None

        return checkpoint.remember(
            name,
            lambda: _see(
                where, optimiser, replicate, iterations, settings["precision"], see,
                label=f"{experiment}/{simulation}", name=name, checkpoint=checkpoint, progress=progress,
            ),
        )  # fmt: skip

    if threads > 1 and len(replicates) > 1:
        with ThreadPoolExecutor(threads) as pool:
            runs = list(pool.map(run, replicates))
    else:
        runs = [run(replicate) for replicate in replicates]
    iteration = np.array(iterations, dtype=np.int64)
    places = [iterations.index(stop) for stop in kept]
    matched = optimiser.matched_step(where.schedule)
    return Trajectories(
        iteration,
        iteration * optimiser.evaluations,
        iteration * optimiser.step_size,
        iteration * (math.nan if matched is None else matched),
        np.array([[risk for risk, _, _ in one] for one in runs]),
        {name: np.array([[observed[name] for _, observed, _ in one] for one in runs]) for name in runs[0][0][1]},
        names,
        np.array(kept, dtype=np.int64),
        np.array([[one[place][2] for place in places] for one in runs]),
        np.array(list(replicates), dtype=np.int64),
    )


class Sweep(NamedTuple):
    """What the candidates of a sweep end with."""

    step_size: Floats  # shape (candidate,) [mean-field time]
    limit_step: Floats  # shape (candidate,), step of SGD that moves alike; nan where there is none [mean-field time]
    evaluations: NDArray[np.int64]  # shape (candidate,), gradient evaluations of a run
    risk: Floats  # shape (candidate, replicate), population risk at the end; infinite where a run diverged [1]
    lowest_risk: Floats  # shape (candidate, replicate), the lowest risk that the looks saw, the end's included [1]
    observables: dict[str, Floats]  # shape (candidate, replicate), means over neurons at the end; nan if diverged [1]
    replicate: NDArray[np.int64]  # shape (replicate,)


def sweep_looks(iterations: int, count: int) -> list[int]:
    """Return the iterations at which a run of a sweep is looked at: `count`, log-spaced, the last one at the end.

    They are fewer where a short run would have two at one iteration.
    """
    return [int(k) for k in np.unique(np.rint(np.geomspace(1, iterations, count + 1)[1:]))]


def sweep(
    *,
    experiment: str,
    sweep: str,
    settings: dict,
    candidates: list[dict],
    replicates: range,
    progress: Callable[[int], None] = lambda candidates: None,
    checkpoint: Checkpoint = checkpoints.NONE,
    **setting,
) -> Sweep:
    """Run every candidate of a sweep on the same replicates and return what their runs end with.

    Parameters
    ----------
    experiment, sweep : str
        Names; the experiment's enters the random streams, the sweep's only messages.
    settings : dict
        Method, precision, and either `evaluations`, the gradients that a run may take, or `horizon`, the mean-field
        time up to which it goes in the clock of SGD; with `looks` the risk is looked at so many times, see
        `sweep_looks`, else at the end.
    candidates : list of dict
        Step size and hyper-parameters of each.
    replicates : range
        Which replicates.
    progress : callable
        Told that one more run is done.
    checkpoint : Checkpoint
        Where runs leave their state, and are found again.
    setting
        Blocks of the configuration; see `make_setting`.

    """
    where = make_setting(experiment=experiment, **setting)

    names = list(where.problem.observables(where.weights(replicates[0], "float64")))

    def seen(optimiser: Optimiser, replicate: int, iterations: int, name: str) -> list[float]:
        # The risk at the end, the lowest on the way, and the means of the observables at the end.
        def see(_: int, weights: NDArray) -> list[float]:
            wide = weights.astype(float)
            observed = where.problem.observables(wide)
            return [where.problem.risk(wide), *(float(observed[key].mean()) for key in names)]

        try:
            looks = _see(
                where, optimiser, replicate, sweep_looks(iterations, settings.get("looks", 1)), settings["precision"],
                see, label=f"{experiment}/{sweep}", name=name, checkpoint=checkpoint,
            )  # fmt: skip
        except DivergenceError:
            return [math.inf, math.inf, *(math.nan for _ in names)]
        risk, *means = looks[-1]
        return [risk, min(look[0] for look in looks), *means]

    steps, matched, lengths, ends = [], [], [], []
    for number, candidate in enumerate(candidates):
        optimiser = make_optimiser({"method": settings["method"], **candidate})
        pace = optimiser.matched_step(where.schedule)
        if "evaluations" in settings:
            iterations = max(1, settings["evaluations"] // optimiser.evaluations)
        else:
            iterations = max(1, math.ceil(settings["horizon"] / (pace or optimiser.step_size) * (1 - 1e-12)))
        steps.append(optimiser.step_size)
        matched.append(math.nan if pace is None else pace)
        lengths.append(iterations * optimiser.evaluations)
        runs = []
        for replicate in replicates:
            name = f"candidate {number}, replicate {replicate}"
            runs.append(checkpoint.remember(name, partial(seen, optimiser, replicate, iterations, name)))
            progress(1)
        ends.append(runs)
    risk, lowest, *means = np.moveaxis(np.array(ends), -1, 0)
    return Sweep(
        np.array(steps), np.array(matched), np.array(lengths, dtype=np.int64), risk, lowest,
        dict(zip(names, means, strict=True)), np.array(list(replicates), dtype=np.int64),
    )  # fmt: skip
