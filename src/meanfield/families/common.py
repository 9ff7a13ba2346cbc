"""What the families share: checks of a method's entry, recorded iterations, replicates of each job."""

import dataclasses
import itertools
import math

import numpy as np

from meanfield import registry, words


def method_problems(key: str, settings: dict, table: dict[str, str] = registry.METHODS) -> list[str]:
    """Return one line per problem with the method and the hyper-parameters of an entry; methods are of a table."""
    method = settings["method"]
    if method not in table:
        return [words.unknown(f"{key}.method", method, table)]
    kind = registry.load(table, method).Hyperparameters
    allowed = {f.name for f in dataclasses.fields(kind)}
    needed = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    given = set(settings["hyperparameters"])
    listed = ", ".join(sorted(allowed)) or "none"
    problems = [
        f"{key}.hyperparameters: unknown key {name!r}{words.suggest(name, sorted(allowed))}; {method} takes: {listed}"
        for name in sorted(given - allowed)
    ]
    problems += [f"{key}.hyperparameters: key {name!r} is missing" for name in sorted(needed - given)]
    if needed <= given <= allowed:
        try:
            kind(**settings["hyperparameters"])
        except ValueError as error:
            problems.append(f"{key}.hyperparameters.{error}")
    return problems


def activation_problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return a line if an experiment's activation is not among the configuration's."""
    name = experiment["problem"]["activation"]
    if name in config["activations"]:
        return []
    return [words.unknown(f"{key}.problem.activation", name, config["activations"])]


def increasing_problems(key: str, values: list) -> list[str]:
    """Return a line if a list does not increase strictly."""
    if any(b <= a for a, b in itertools.pairwise(values)):
        return [f"{key}: {words.show(values)} found; they must increase strictly"]
    return []


def time_problems(key: str, times: list[float]) -> list[str]:
    """Return a line if record times do not begin with 0 or do not increase strictly."""
    if times[0] == 0 and not increasing_problems(key, times):
        return []
    return [f"{key}: {words.show(times)} found; they must begin with 0 and increase strictly"]


def isotropic_problem(config: dict, experiment: str) -> dict:
    """Return the problem of an experiment on isotropic Gaussians and its activation, as its jobs take them."""
    problem = config["experiments"][experiment]["problem"]
    return {
        "problem": {key: value for key, value in problem.items() if key != "activation"},
        "activation": config["activations"][problem["activation"]],
    }


def snapshot_problems(key: str, settings: dict) -> list[str]:
    """Return one line per snapshot that lies beyond the end of its run."""
    last = settings["iterations"]
    return [
        f"{key}.snapshots.{name}: iteration {iteration} found, but the run ends at {last}"
        for name, iteration in settings["snapshots"].items()
        if iteration > last
    ]


def record_iterations(simulation: dict) -> list[int]:
    """Return the iterations at which a run is recorded.

    They are 0, log-spaced ones, the round numbers 1, 2, …, 9 times powers of ten, the snapshots, and the last.
    """
    last = simulation["iterations"]
    count = math.ceil(math.log10(last) * simulation["records_per_decade"]) + 1
    spaced = np.rint(np.logspace(0, math.log10(last), max(count, 2))).astype(int)
    decades = range(len(str(last)))
    round_ones = {m * 10**n for n in decades for m in range(1, 10)}
    wanted = {0, last, *simulation.get("snapshots", {}).values(), *(int(k) for k in spaced), *round_ones}
    return sorted(k for k in wanted if k <= last)


def chunks(simulation: dict, replicates_per_job: int) -> list[range]:
    """Return the replicates of each job; a run may say itself how many there are in one."""
    total, size = simulation["replicates"], simulation.get("replicates_per_job", replicates_per_job)
    return [range(first, min(first + size, total)) for first in range(0, total, size)]


def simulation_chunks(config: dict, experiment: str, simulation: str) -> list[range]:
    """Return the replicates of each job of a simulation."""
    return chunks(config["experiments"][experiment]["simulate"][simulation], config["replicates_per_job"])
