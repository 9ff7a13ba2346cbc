"""From a block of the configuration to arrays: the spherical 3-spin learnt by networks of several widths.

A *case* is a width with its batches. A replicate has initial units, samples and injected noise of its own, and, unless
the couplings are shared, a target of its own: that of its number, for every case and every simulation of the
experiment. Cases of one replicate share its streams: a wider network contains the initial units of the narrower one.

Arrays out, no files; the labels are put on by the workflow's scripts.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield import checkpoints
from meanfield.checkpoints import Checkpoint
from meanfield.errors import DivergenceError
from meanfield.limits.particle_flow import BATCH_FREE_PRINTED, FlowSolution, solve_flow
from meanfield.limits.schedule import Schedule
from meanfield.methods.runs import with_looks
from meanfield.methods.sphere_runs import Phase, sphere_trajectory
from meanfield.problems.spin3 import GaussianUnits, SigmoidUnits, Spin3, TestSet
from meanfield.simulation import Optimiser, make_optimiser

Floats = NDArray[np.float64]

# Beyond this, in a parameter or in the loss, a run is lost; squares of larger numbers overflow.
_LARGEST = 1e100


class Cases(NamedTuple):
    """Widths and batches; units of all cases lie one after the other."""

    neurons: NDArray[np.int64]  # shape (case,), width n [count]
    factor: Floats  # shape (case,), of the batch rule [1]; zero for full gradients
    batch: NDArray[np.int64]  # shape (case,), samples P of a gradient; zero for full gradients [count]
    quench_batch: NDArray[np.int64]  # shape (case,), samples of a gradient at the end of the run [count]

    @property
    def case_of_unit(self) -> NDArray[np.int64]:
        """Index of the case that each unit belongs to, shape (unit,)."""
        return np.repeat(np.arange(len(self.neurons)), self.neurons)


class SphereRuns(NamedTuple):
    """What one simulation leaves; replicates on the first axis."""

    cases: Cases
    iteration: NDArray[np.int64]  # shape (record,)
    evaluation: NDArray[np.int64]  # shape (record,), gradient evaluations so far [count]
    time: Floats  # shape (record,), iteration times step size [1]
    limit_time: Floats  # shape (record,), time of SGD that moves alike; nan where there is none [1]
    loss: Floats  # shape (replicate, case, record), half the mean squared error; nan after a blow-up [1]
    loss_error: Floats  # shape (replicate, case, record), standard error; zero where the loss is exact [1]
    units: Floats  # shape (replicate, unit, parameter), at the end [1]
    radius_error: Floats  # shape (replicate, case), largest relative distance of a centre from the sphere [1]
    couplings: Floats  # shape (replicate, d, d, d) [1]
    mean_square: Floats  # shape (replicate,), of the target [1]
    replicate: NDArray[np.int64]  # shape (replicate,)


class FlowRuns(NamedTuple):
    """What one flow leaves; replicates on the first axis."""

    cases: Cases
    time: Floats  # shape (record,), mean-field time [1]
    loss: Floats  # shape (replicate, case, record), half the mean squared error; nan after a blow-up [1]
    objective: Floats  # shape (replicate, case, record), what the flow descends [1]
    dissipated: Floats  # shape (replicate, case, record), lost by the objective according to the speed [1]
    units: Floats  # shape (replicate, unit, parameter), at the end [1]
    largest_rise: Floats  # shape (replicate, case), of the objective over a step, relative to its range [1]
    radius_error: Floats  # shape (replicate, case), before a step's end is put back on the sphere [1]
    steps: NDArray[np.int64]  # shape (replicate, case)
    evaluations: NDArray[np.int64]  # shape (replicate, case)
    end: Floats  # shape (replicate, case), time reached [1]
    couplings: Floats  # shape (replicate, d, d, d) [1]
    mean_square: Floats  # shape (replicate,), of the target [1]
    replicate: NDArray[np.int64]  # shape (replicate,)


def make_units(problem: dict) -> GaussianUnits | SigmoidUnits:
    """Return the units of a problem's block."""
    if problem["units"] == "sigmoid":
        return SigmoidUnits(problem["dimension"])
    return GaussianUnits(problem["dimension"], problem["inverse_squared_width"], problem["normalised"])


def make_target(problem: dict, seed: int, experiment: str, replicate: int) -> Spin3:
    """Return the target of a replicate: its own, or one for all if the couplings are shared.

    The shared one is that of replicate 0 or, with a ``coupling_seed`` s, has the couplings
    ``numpy.random.default_rng(s).standard_normal((d, d, d))``.
    """
    if "coupling_seed" in problem:
        rng = np.random.default_rng(problem["coupling_seed"])
        return Spin3(rng.standard_normal((problem["dimension"],) * 3))
    realisation = replicate if problem["couplings"] == "independent" else 0
    return Spin3.random(problem["dimension"], seed, experiment, realisation)


def make_test_set(target: Spin3, settings: dict, seed: int, experiment: str) -> TestSet:
    """Return the test points of a block `evaluate`, the same for all replicates, with a target's values there."""
    return target.test_set(
        seed, experiment, log2_points=settings["log2_points"], scramblings=settings["scramblings"]
    )  # fmt: skip


def make_cases(cases: list[dict]) -> Cases:
    """Return the widths and batches of a simulation's parameters."""
    return Cases(
        np.array([case["neurons"] for case in cases], dtype=np.int64),
        np.array([case["factor"] for case in cases], dtype=float),
        np.array([case["phases"][0][1] for case in cases], dtype=np.int64),
        np.array([case["phases"][-1][1] for case in cases], dtype=np.int64),
    )


def _radius_error(unit: GaussianUnits | SigmoidUnits, units: Floats) -> float:
    if isinstance(unit, SigmoidUnits):
        return 0.0
    return float(np.abs(np.linalg.norm(units[:, :-1], axis=1) / math.sqrt(unit.dimension) - 1).max())


def simulate_sphere(
    *,
    experiment: str,
    simulation: str,
    seed: int,
    problem: dict,
    initial_law: dict,
    settings: dict,
    cases: list[dict],
    iterations: list[int],
    replicates: range,
    evaluate: dict | None = None,
    progress: Callable[[int], None] = lambda iterations: None,
    checkpoint: Checkpoint = checkpoints.NONE,
) -> SphereRuns:
    """Run some replicates of one simulation, all its cases.

    Parameters
    ----------
    experiment, simulation : str
        Names; the experiment's enters the random streams, the simulation's only messages.
    seed : int
        Root seed.
    problem, initial_law, settings, evaluate : dict
        Blocks of the configuration; `evaluate` for units whose loss has no closed form. The ``precision`` of the
        settings, ``float64`` if there is none, is that of the runs; losses are float64.
    cases : list of dict
        From `meanfield.families.spin3.cases`.
    iterations : list of int, increasing
        Iterations to record.
    replicates : range
        Which replicates; each gives the same bits whichever others run with it.
    progress : callable
        Told the number of iterations done since the last call.
    checkpoint : Checkpoint
        Where runs leave their state, and are found again.

    Returns
    -------
    SphereRuns
        Records and final units.

    Raises
    ------
    DivergenceError
        If units or losses stop being finite, unless the gradient is the one with the misprinted sign, which is known
        to do that.

    """
    unit, optimiser = make_units(problem), make_optimiser(settings)
    may_diverge, wanted = settings["gradient"] == BATCH_FREE_PRINTED, set(iterations)

    def follow(replicate: int, case: dict, target: Spin3, tests: TestSet | None, name: str):
        names = (seed, experiment, replicate)
        start = target.initial_units(unit, case["neurons"], *names, **initial_law)
        start = start.astype(settings.get("precision", "float64"))
        looks = with_looks(iterations, start.size * max(1, case["phases"][0][1]))
        run = sphere_trajectory(
            optimiser.method, optimiser.hyperparameters, target, unit, start,
            gradient=settings["gradient"], phases=[Phase(*phase) for phase in case["phases"]],
            step_size=optimiser.step_size, stops=looks, names=names,
        )  # fmt: skip
        rows, radius, last, alive = [], 0.0, 0, True
        if (saved := checkpoint.state(name)) is not None:
            rows, radius, alive = list(saved["rows"]), saved["radius"], saved["alive"]
            run.restore(saved["run"])
            last = looks[run.passed - 1]
            progress(last)
        with np.errstate(over="ignore", invalid="ignore"):
            for look, units in zip(looks[run.passed :], run, strict=True):
                alive, what, row = alive and bool(np.abs(units).max() < _LARGEST), "units are", None
                if alive and look in wanted:
                    row = tests.loss(unit, units) if tests else (target.loss(unit, units), 0.0)
                    # A kernel raises parameters to high powers: the loss can be lost before them.
                    alive, what = bool(abs(row[0]) < _LARGEST), "loss is"
                if not alive and not may_diverge:
                    who = (experiment, simulation, replicate, case, optimiser)
                    raise DivergenceError(_diverged(*who, what, look, last))
                if look in wanted:
                    if alive:
                        radius = max(radius, _radius_error(unit, units))
                    rows.append(row if alive else (math.nan, math.nan))
                progress(look - last)
                last = look
                state = {"rows": list(rows), "radius": radius, "alive": alive}
                checkpoint.offer(name, lambda state=state: {**state, "run": run.snapshot()})
        return np.array(rows, dtype=float), units if alive else np.full_like(units, np.nan), radius

    def run(replicate: int):
        target = make_target(problem, seed, experiment, replicate)
        tests = make_test_set(target, evaluate, seed, experiment) if evaluate else None
        ends = []
        for number, case in enumerate(cases):
            name = f"replicate {replicate}, case {number}"
            ends.append(checkpoint.remember(name, partial(follow, replicate, case, target, tests, name)))
        losses, units, radii = zip(*ends, strict=True)
        return np.array(losses), np.concatenate(units), radii, target

    runs = [run(replicate) for replicate in replicates]
    iteration = np.array(iterations, dtype=np.int64)
    matched = optimiser.matched_step(Schedule())
    losses = np.array([losses for losses, *_ in runs])
    return SphereRuns(
        make_cases(cases),
        iteration,
        iteration * optimiser.evaluations,
        iteration * optimiser.step_size,
        iteration * (math.nan if matched is None else matched),
        losses[..., 0],
        losses[..., 1],
        np.array([units for _, units, _, _ in runs]),
        np.array([radii for _, _, radii, _ in runs]),
        np.array([target.couplings for *_, target in runs]),
        np.array([sum(target.mean_squares) for *_, target in runs]),
        np.array(list(replicates), dtype=np.int64),
    )


def _diverged(experiment, simulation, replicate, case, optimiser: Optimiser, what: str, stop: int, last: int) -> str:
    return (
        f"{experiment}/{simulation}, replicate {replicate}, {case['neurons']} neurons: {optimiser.name} diverged, its "
        f"{what} no longer finite, or beyond {_LARGEST:.0e}, at iteration {stop} (not yet at {last}); likely cause: "
        f"step_size {optimiser.step_size:g} is too large"
    )


def solve_flows(
    *,
    experiment: str,
    simulation: str,
    seed: int,
    problem: dict,
    initial_law: dict,
    settings: dict,
    neurons: list[int],
    times: list[float],
    replicates: range,
    progress: Callable[[int], None] = lambda solutions: None,
    checkpoint: Checkpoint = checkpoints.NONE,
) -> FlowRuns:
    """Integrate a deterministic flow from the initial units of some replicates, for several widths.

    Parameters
    ----------
    experiment, simulation, seed, problem, initial_law, replicates
        As in `simulate_sphere`: flows start where simulations do.
    settings : dict
        ``flow``, ``relative_tolerance`` and ``divergence_factor``; see `meanfield.limits.particle_flow.solve_flow`.
    neurons : list of int
        Widths.
    times : list of float, increasing, from 0
        Mean-field times of the records [1].
    progress : callable
        Told that one more solution is done.
    checkpoint : Checkpoint
        Where runs leave their state, and are found again.

    """
    unit, time = make_units(problem), np.array(times, dtype=float)

    def run(replicate: int):
        names = (seed, experiment, replicate)
        target = make_target(problem, *names)
        solutions = []
        for n in neurons:
            start = target.initial_units(unit, n, *names, **initial_law)
            work = partial(solve_flow, target, unit, start, time, **settings)
            found = checkpoint.remember(f"replicate {replicate}, {n} neurons", lambda work=work: tuple(work()))
            solutions.append(FlowSolution(*found))
            progress(1)
        return solutions, target

    runs = [run(replicate) for replicate in replicates]

    def collect(name: str) -> NDArray:
        return np.array([[getattr(solution, name) for solution in solutions] for solutions, _ in runs])

    return FlowRuns(
        make_cases([{"neurons": n, "factor": 0.0, "phases": [[0, 0]]} for n in neurons]),
        time, collect("loss"), collect("objective"), collect("dissipated"),
        np.array([np.concatenate([s.units[-1] for s in solutions]) for solutions, _ in runs]),
        collect("largest_rise"), collect("radius_error"), collect("steps"), collect("evaluations"), collect("end"),
        np.array([target.couplings for _, target in runs]),
        np.array([sum(target.mean_squares) for _, target in runs]),
        np.array(list(replicates), dtype=np.int64),
    )  # fmt: skip
