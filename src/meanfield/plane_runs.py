r"""Runs of an optimiser's phases on a potential of the plane, many starts at once. Arrays in, arrays out; no files.

A *run* is a list of phases, one after the other: a method of the registry with its hyper-parameters, a step size, a
number of iterations, and what replaces the potential by a smoother one. Every start goes through all phases and then,
from a copy, through gradient descent on the potential itself (*polishing*): smoothed minima are displaced, noise
leaves points beside the minimum whose basin they are in, and coupled agents sit between wells.

Agents of an ensemble are consecutive starts, so that all runs of an experiment use the same starts. Normals belong to
(root, experiment, group of phases, start, iteration): what is recorded for a few starts is, bit for bit, the path of
these starts among all.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield import registry
from meanfield.kernels import landscape
from meanfield.kernels.landscape import (
    CONVERGED,
    LEFT_DOMAIN,
    RUNNING,
    EnsembleStage,
    HomogenisedStage,
    HopfLax,
    InnerLangevin,
    LocalEntropy,
    Rule,
    Stage,
)
from meanfield.kernels.streams import INITIAL_WEIGHTS, INJECTED_NOISE, seed_sequence, stream_key
from meanfield.problems.plane import PlanePotential

Floats = NDArray[np.float64]

__all__ = [
    "CONVERGED",
    "LEFT_DOMAIN",
    "RUNNING",
    "Conditions",
    "PlaneRun",
    "cluster_size",
    "is_thermal",
    "run",
    "scaled",
    "uniform_starts",
]


@dataclass(frozen=True)
class Conditions:
    """What all runs of an experiment share.

    Parameters
    ----------
    root, experiment
        Name the streams of normals.
    window, domain : tuple of float
        Least and greatest x, least and greatest y [1]: where starts lie, and where a run that leaves is lost.
    largest_gradient : float
        Gradients are cut to this norm [1].
    tolerance : float
        A run without noise is over when the norm of its gradient is below [1].
    polish : dict
        ``step_size`` and ``iterations`` of the polishing.

    """

    root: int
    experiment: str
    window: tuple[float, float, float, float]
    domain: tuple[float, float, float, float]
    largest_gradient: float
    tolerance: float
    polish: dict


@dataclass(frozen=True)
class PlaneRun:
    """What became of the starts.

    Parameters
    ----------
    ends, polished : array, shape (start, 2)
        Last points of the run, and after polishing [1]; of a start that left the domain, the last point inside.
    outcome, polished_outcome : array of int, shape (start,)
        `RUNNING`, `CONVERGED` or `LEFT_DOMAIN`.
    iterations, evaluations : array of int, shape (start,)
        Of the run without polishing; evaluations of gradients or, where a method needs them, of values.
    paths : array, shape (record, start, 2)
        Points along the run [1], if they were asked for.
    path_evaluations : array, shape (record,)
        Evaluations per start up to each record, of a start that does not stop before.

    """

    ends: Floats
    polished: Floats
    outcome: NDArray[np.int64]
    polished_outcome: NDArray[np.int64]
    iterations: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    paths: Floats
    path_evaluations: NDArray[np.int64]


def uniform_starts(root: int, experiment: str, count: int, window: tuple[float, float, float, float]) -> Floats:
    """Return the starts of an experiment, uniform in a window, shape (start, 2); the first n do not depend on count."""
    generator = np.random.default_rng(seed_sequence(root, experiment, 0, INITIAL_WEIGHTS))
    u = generator.random((count, 2))
    low, high = np.array([window[0], window[2]]), np.array([window[1], window[3]])
    return low + (high - low) * u


def scaled(phases: list[dict], *, step: float = 1.0, temperature: float = 1.0) -> list[dict]:
    r"""Return phases with all step sizes, and all temperatures, times a factor; the numbers of iterations stay.

    The noise of a stochastic gradient, :math:`\sigma`, acts like the temperature :math:`\epsilon\sigma^2/2`.
    """
    return [_scaled(phase, step, temperature) for phase in phases]


def _scaled(phase: dict, step: float, temperature: float) -> dict:
    changed = {**phase, "step_size": step * phase["step_size"]}
    for part in ("hyperparameters", "smoothing"):
        block = dict(phase.get(part, {}))
        if "temperature" in block:
            block["temperature"] *= temperature
        if "step_size" in block:
            block["step_size"] *= step
        if block:
            changed[part] = block
    if "gradient_noise" in phase:
        changed["gradient_noise"] = math.sqrt(temperature) * phase["gradient_noise"]
    return changed


def is_thermal(phases: list[dict]) -> bool:
    """Tell whether a run has any noise whose temperature could be changed."""
    return any(
        phase["hyperparameters"].get("temperature", 0) > 0
        or phase["smoothing"].get("temperature", 0) > 0
        or phase["gradient_noise"] > 0
        for phase in map(_complete, phases)
    )


def cluster_size(phases: list[dict]) -> int:
    """Return how many consecutive starts are coupled to each other in a run: a multiple of every phase's agents."""
    return math.lcm(*(phase["hyperparameters"].get("agents", 1) for phase in map(_complete, phases)))


def run(
    potential: PlanePotential,
    phases: list[dict],
    starts: Floats,
    conditions: Conditions,
    *,
    recorded: bool = False,
    threads: int = 1,
) -> PlaneRun:
    """Take starts through all phases of a run, and through polishing.

    Parameters
    ----------
    potential : PlanePotential
        V.
    phases : list of dict
        Keys ``method``, ``hyperparameters``, ``step_size``, ``iterations`` and, where wanted, ``gradient_noise`` (the
        standard deviation of each component of the gradient) and ``smoothing`` (its ``kind`` and numbers).
    starts : array, shape (start, 2)
        Initial points [1]; a multiple of every ensemble's agents.
    conditions : Conditions
        What all runs share.
    recorded : bool
        Whether to keep the point after every iteration (macro step of MF-HomSGLD).
    threads : int
        Number of threads; changes no bit.

    """
    points = np.array(starts, np.float64)
    count = len(points)
    outcome = np.full(count, RUNNING, np.int64)
    iterations, evaluations = np.zeros((2, count), np.int64)
    paths, costs, spent = [], [], 0
    phases = [_complete(phase) for phase in phases]
    for number, (_, group) in enumerate(itertools.groupby(phases, _group_key)):
        key = stream_key(conditions.root, conditions.experiment, number, INJECTED_NOISE)
        task = _Task(potential, list(group), conditions, key, int(recorded), threads)
        part = task.ensembles(points) if _is_ensemble(task.phases[0]) else task.alone(points, outcome)
        points, outcome = part.points, np.where(outcome == LEFT_DOMAIN, LEFT_DOMAIN, part.outcome)
        iterations += part.iterations
        evaluations += part.evaluations
        if recorded:
            # A group begins where the last one ended; its first record says so again.
            skip = 1 if paths else 0
            paths.append(part.records[skip:])
            costs.append(spent + part.costs[skip:])
            spent += part.costs_in_all
    polished, polished_outcome = _polish(potential, points, outcome, conditions, threads)
    return PlaneRun(
        points, polished, outcome, polished_outcome, iterations, evaluations,
        np.concatenate(paths) if paths else np.empty((0, count, 2)),
        np.concatenate(costs) if costs else np.empty(0, np.int64),
    )  # fmt: skip


def _polish(potential, points, outcome, conditions, threads) -> tuple[Floats, NDArray]:
    safe = np.where(np.isfinite(points), points, conditions.window[0])
    found = landscape.descend(
        [Stage(potential.terms, conditions.polish["iterations"], conditions.polish["step_size"])], safe,
        gradient_tolerance=conditions.tolerance, domain=conditions.domain, clip=conditions.largest_gradient,
        threads=threads,
    )  # fmt: skip
    lost = outcome == LEFT_DOMAIN
    return np.where(lost[:, None], points, found.ends), np.where(lost, LEFT_DOMAIN, found.outcome)


# -- phases ---------------------------------------------------------------------------------------------------------


def _complete(phase: dict) -> dict:
    # Defaults of the hyper-parameters filled in.
    kind = registry.load(registry.PLANE_METHODS, phase["method"]).Hyperparameters
    return {
        "gradient_noise": 0.0, "smoothing": {"kind": "none"}, **phase,
        "hyperparameters": vars(kind(**phase["hyperparameters"])),
    }  # fmt: skip


def _is_ensemble(phase: dict) -> bool:
    return phase["method"] in ("mf_homsgld", "affine_langevin")


def _group_key(phase: dict):
    # Phases of one ensemble go on with each other's fast variables; all others start afresh.
    if not _is_ensemble(phase):
        return id(phase)
    names = ("agents", "burn_in", "averaging")
    return (phase["method"], *(phase["hyperparameters"].get(name) for name in names))


@dataclass(frozen=True)
class _Part:
    points: Floats
    outcome: NDArray
    iterations: NDArray
    evaluations: NDArray
    records: Floats
    costs: NDArray
    costs_in_all: int


@dataclass(frozen=True)
class _Task:
    potential: PlanePotential
    phases: list[dict]
    conditions: Conditions
    key: NDArray
    record_every: int
    threads: int

    def alone(self, points: Floats, outcome: NDArray) -> _Part:
        (phase,) = self.phases
        conditions = self.conditions
        rule, stages = _lane_phase(self.potential, phase)
        noisy = any(stage.noise > 0 or _is_noisy(stage.smoothing) for stage in stages)
        live = np.flatnonzero(outcome != LEFT_DOMAIN)
        moved, ended = points.copy(), np.full(len(points), LEFT_DOMAIN)
        iterations, evaluations = np.zeros((2, len(points)), np.int64)
        steps, cost = sum(stage.steps for stage in stages), _cost(stages[0].smoothing)
        kept = steps + 1 if self.record_every else 0
        records = np.repeat(points[None], kept, axis=0)
        if live.size:
            found = landscape.descend(
                stages, points[live], rule=rule, gradient_tolerance=0.0 if noisy else conditions.tolerance,
                domain=conditions.domain, clip=conditions.largest_gradient,
                grid=self._grid(phase["smoothing"]), key=self.key, numbers=live, record_every=self.record_every,
                threads=self.threads,
            )  # fmt: skip
            moved[live], ended[live] = found.ends, found.outcome
            iterations[live], evaluations[live] = found.steps, found.evaluations
            if kept:
                records[:, live] = found.records
        costs = cost * np.arange(kept, dtype=np.int64)
        return _Part(moved, ended, iterations, evaluations, records, costs, cost * steps)

    def ensembles(self, points: Floats) -> _Part:
        settings = self.phases[0]["hyperparameters"]
        agents, conditions = settings["agents"], self.conditions
        if len(points) % agents:
            msg = f"{len(points)} starts do not make ensembles of {agents}"
            raise ValueError(msg)
        starts = points.reshape(-1, agents, 2)
        shared = {
            "key": self.key, "clip": conditions.largest_gradient, "record_every": self.record_every,
            "threads": self.threads,
        }  # fmt: skip
        if self.phases[0]["method"] == "mf_homsgld":
            stages = [stage for phase in self.phases for stage in _homogenised_stages(self.potential, phase)]
            burn_in, average = settings["burn_in"], settings["averaging"]
            cost = burn_in + average
            ends, records = landscape.homogenised(stages, starts, burn_in=burn_in, average=average, **shared)
        else:
            stages = [
                EnsembleStage(self.potential.terms, phase["iterations"], phase["step_size"],
                              1 / phase["hyperparameters"]["temperature"])
                for phase in self.phases
            ]  # fmt: skip
            cost = 1
            ends, records = landscape.affine_invariant_langevin(stages, starts, **shared)
        steps = sum(stage.steps for stage in stages)
        ends = ends.reshape(-1, 2)
        low, high = np.array(conditions.domain[::2]), np.array(conditions.domain[1::2])
        inside = ((ends >= low) & (ends <= high)).all(axis=1)  # what is not a number is not inside
        count = len(points)
        return _Part(
            ends, np.where(inside, RUNNING, LEFT_DOMAIN), np.full(count, steps), np.full(count, cost * steps),
            records.reshape(len(records), count, 2), cost * np.arange(len(records)), cost * steps,
        )  # fmt: skip

    def _grid(self, smoothing: dict):
        if "spacing" not in smoothing:
            return None
        return landscape.window_grid(self.conditions.window, smoothing["spacing"], smoothing["margin"])


def _is_noisy(smoothing) -> bool:
    return isinstance(smoothing, InnerLangevin) and math.isfinite(smoothing.inverse_temperature)


def _cost(smoothing) -> int:
    # Evaluations per iteration, as `landscape.descend` counts them.
    if isinstance(smoothing, HopfLax):
        return smoothing.iterations + 1
    return smoothing.steps if isinstance(smoothing, InnerLangevin) else 1


def _inverse(temperature: float) -> float:
    return 1 / temperature if temperature > 0 else math.inf


def _smoothing(settings: dict):
    kind = settings["kind"]
    if kind == "local_entropy":
        return LocalEntropy(settings["time"], 1 / settings["temperature"])
    if kind == "hopf_lax":
        return HopfLax(settings["time"])
    if kind == "inner_langevin":
        return InnerLangevin(
            settings["time"], _inverse(settings["temperature"]), settings["step_size"],
            steps=settings["inner_steps"], burn_in=settings["burn_in"],
        )  # fmt: skip
    return None


def _lane_phase(potential: PlanePotential, phase: dict) -> tuple[Rule, list[Stage]]:
    # A phase of the configuration in the words of the lanes.
    h, step, smoothing = phase["hyperparameters"], phase["step_size"], phase["smoothing"]
    method = phase["method"]
    if method == "entropy_sgd":
        return Rule(), _entropy_stages(potential, phase)
    noise = phase["gradient_noise"]
    if method == "langevin" and h["temperature"] > 0:
        noise = math.hypot(noise, landscape.langevin_noise(step, 1 / h["temperature"]))
    rules = {
        "sgd": lambda: Rule(),
        "langevin": lambda: Rule(),
        "heavy_ball": lambda: Rule("heavy ball", h["momentum"]),
        "nesterov": lambda: Rule("nesterov", h["momentum"]),
        "mass": lambda: Rule("nesterov", h["momentum"], second_step=h["compensation"] * step),
        "nesterov_restart": lambda: Rule(
            "nesterov", "theta", restart=_scheme(h), inverse_condition=h["inverse_condition"]
        ),
        "nesterov_rational": lambda: Rule("nesterov", "k/(k+3)", restart=_scheme(h)),
    }
    smoothed = potential.heat_smoothed(smoothing["variance"]) if smoothing["kind"] == "heat" else potential
    return rules[method](), [Stage(smoothed.terms, phase["iterations"], step, noise, _smoothing(smoothing))]


def _scheme(hyperparameters: dict) -> str | None:
    return None if hyperparameters["scheme"] == "none" else hyperparameters["scheme"]


def _scopes(phase: dict) -> list[tuple[float, int]]:
    # Scope and iterations: one entry, or one per iteration where the scope shrinks.
    h = phase["hyperparameters"]
    if h["scoping"] == 0:
        return [(h["scope"], phase["iterations"])]
    return [(h["scope"] * (1 - h["scoping"]) ** k, 1) for k in range(phase["iterations"])]


def _entropy_stages(potential: PlanePotential, phase: dict) -> list[Stage]:
    h = phase["hyperparameters"]
    return [
        Stage(
            potential.terms, count, h["ratio"] * scope,
            smoothing=InnerLangevin(scope, _inverse(h["temperature"]), phase["step_size"], steps=h["inner_steps"],
                                    forgetting=h["forgetting"]),
        )
        for scope, count in _scopes(phase)
    ]  # fmt: skip


def _homogenised_stages(potential: PlanePotential, phase: dict) -> list[HomogenisedStage]:
    h = phase["hyperparameters"]
    return [
        HomogenisedStage(
            potential.terms, count, _inverse(h["temperature"]), scope, h["attraction"], phase["step_size"],
            h["ratio"] * scope,
        )
        for scope, count in _scopes(phase)
    ]  # fmt: skip
