"""Two-layer networks on Gaussian data: simulations beside the limit equations of the law of their neurons."""

import itertools
import math

import numpy as np

from meanfield import registry, words
from meanfield.families.common import method_problems, record_iterations, snapshot_problems

RESERVED = ("limits", "convergence")
# Longest mean-field time that a simulation may cover; longer runs are surely a slip in step size or iterations.
LARGEST_TIME = 1.0e6


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    found = []
    activation = experiment["problem"]["activation"]
    if activation not in config["activations"]:
        found.append(words.unknown(f"{key}.problem.activation", activation, config["activations"]))
    for name in sorted(set(experiment["simulate"]) & set(experiment["solve"])):
        found.append(f"{key}: {name!r} is both under simulate and under solve; names must differ")
    for part in ("simulate", "solve"):
        found += [f"{key}.{part}: the name {name!r} is reserved" for name in RESERVED if name in experiment[part]]
    longest = 0.0
    for name, simulation in experiment["simulate"].items():
        found += _simulation_problems(f"{key}.simulate.{name}", simulation)
        longest = max(longest, simulation["step_size"] * simulation["iterations"])
    for name, limit in experiment["solve"].items():
        horizon = limit["horizon"]
        if longest <= LARGEST_TIME and horizon < longest * (1 - 1e-9):
            found.append(
                f"{key}.solve.{name}.horizon: {horizon} found, but a simulation runs to t = {longest:.6g}; "
                "at least that is needed"
            )
    if "convergence" in experiment:
        times = experiment["convergence"]["times"]
        if any(b <= a for a, b in itertools.pairwise(times)):
            found.append(f"{key}.convergence.times: {words.show(times)} found; they must increase strictly")
    return found


def _simulation_problems(key: str, simulation: dict) -> list[str]:
    found = method_problems(key, simulation) + snapshot_problems(key, simulation)
    time = simulation["step_size"] * simulation["iterations"]
    if time > LARGEST_TIME:
        found.append(
            f"{key}: step_size * iterations = {time:.3g} found, a mean-field time of at most {LARGEST_TIME:.0e} needed"
        )
    return found


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    names = [*experiment["simulate"]]
    if experiment["solve"]:
        names.append("limits")
    if "convergence" in experiment:
        names.append("convergence")
    return names


# -- what decides the numbers of each job ---------------------------------------------------------------------------


def record_times(experiment: dict, limit: dict) -> list[float]:
    """Return the times at which a limit equation is recorded: those of every simulation, and a log grid of its own.

    The own grid spans four decades up to the horizon, with the round numbers in it.
    """
    horizon = float(limit["horizon"])
    start = math.log10(horizon) - 4
    own = np.logspace(start, math.log10(horizon), 4 * limit["records_per_decade"] + 1)
    decades = range(math.floor(start), math.ceil(math.log10(horizon)) + 1)
    round_ones = {float(f"{m}e{n}") for n in decades for m in range(1, 10)}
    times = {0.0, horizon, *(float(t) for t in own[:-1]), *(t for t in round_ones if t >= own[0])}
    for simulation in experiment["simulate"].values():
        times.update(k * simulation["step_size"] for k in record_iterations(simulation))
    kept = sorted(t for t in times if t <= horizon * (1 + 1e-9))
    # Times that differ by rounding alone are one time.
    return [t for n, t in enumerate(kept) if n == 0 or t - kept[n - 1] > 1e-12 * t]


def problem_parameters(config: dict, experiment: str) -> dict:
    """Return an experiment's problem and the activation that it names."""
    problem = config["experiments"][experiment]["problem"]
    return {"settings": problem, "activation": config["activations"][problem["activation"]]}


def _common(config: dict, experiment: str) -> dict:
    block = config["experiments"][experiment]
    return {
        "problem": block["problem"],
        "activation": config["activations"][block["problem"]["activation"]],
        "initial_law": block["initial_law"],
        "schedule": block["schedule"],
    }


def simulation_parameters(config: dict, experiment: str, simulation: str) -> dict:
    """Return everything that decides the numbers of one simulation, and nothing else."""
    block = config["experiments"][experiment]
    settings = block["simulate"][simulation]
    numbers = {key: settings[key] for key in ("method", "step_size", "hyperparameters", "precision", "snapshots")}
    return {
        "experiment": experiment,
        "simulation": simulation,
        "seed": config["seed"],
        "neurons": block["neurons"],
        **_common(config, experiment),
        "settings": numbers,
        "iterations": record_iterations(settings),
    }


def limit_parameters(config: dict, experiment: str, limit: str) -> dict:
    """Return everything that decides the numbers of one limit equation's solution."""
    block = config["experiments"][experiment]
    settings = block["solve"][limit]
    return {
        "experiment": experiment,
        "limit": limit,
        **_common(config, experiment),
        "settings": settings,
        "times": record_times(block, settings),
    }


def convergence_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the resolution study of one experiment's limit equation."""
    block = config["experiments"][experiment]
    solvers = {settings["solver"]: settings for settings in block["solve"].values()}
    return {
        "experiment": experiment,
        **_common(config, experiment),
        "study": block["convergence"],
        "courant": solvers.get("finite_volume", {}).get("courant", 0.45),
        "relative_tolerance": solvers.get("characteristics", {}).get("relative_tolerance", 1e-7),
    }


def job_modules(config: dict, experiment: str, part: str, name: str) -> tuple[str, ...]:
    """Return the modules that a job loads by name: the optimiser's or the solver's."""
    settings = config["experiments"][experiment][part][name]
    if part == "simulate":
        return (registry.module_name(registry.METHODS, settings["method"]),)
    return (registry.module_name(registry.SOLVERS, settings["solver"]),)
