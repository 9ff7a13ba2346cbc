"""Noisy SGD of two-layer networks on isotropic Gaussians beside the distributional dynamics with diffusion."""

from meanfield import words
from meanfield.ensembles import record_times, united
from meanfield.families.common import (
    activation_problems,
    increasing_problems,
    isotropic_problem,
    method_problems,
    time_problems,
)

# Most updates of a neuron in all runs: beyond it an entry is surely a slip.
LARGEST_WORK = 1e14


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    times = experiment["times"]
    found = activation_problems(config, key, experiment) + time_problems(f"{key}.times", times)
    betas = experiment["inverse_temperatures"]
    found += increasing_problems(f"{key}.inverse_temperatures", betas)
    runs = experiment["simulate"]
    if runs["initial_law"] not in experiment["initial_laws"]:
        found.append(words.unknown(f"{key}.simulate.initial_law", runs["initial_law"], experiment["initial_laws"]))
    if runs["last_time"] not in times[1:]:
        found.append(f"{key}.simulate.last_time: {runs['last_time']} found, which is none of {key}.times after 0")
    elif runs["step_size"] > runs["last_time"]:
        found.append(f"{key}.simulate.step_size: {runs['step_size']} found, at most last_time needed")
    elif runs["neurons"] * runs["replicates"] * runs["last_time"] / runs["step_size"] > LARGEST_WORK:
        found.append(f"{key}.simulate: more than {LARGEST_WORK:.0e} updates of a neuron found; fewer are needed")
    for beta in betas:
        found += method_problems(f"{key}.simulate", noisy_sgd(beta, experiment["regularisation"]))
    return list(dict.fromkeys(found))


def noisy_sgd(inverse_temperature: float, regularisation: float) -> dict:
    r"""Return the method's name and hyper-parameters, with which the limit has the diffusion :math:`2/\beta`.

    `meanfield.methods.langevin` adds :math:`\sqrt{2 s T}` times normals to gradients of twice the potential.
    """
    return {
        "method": "langevin",
        "hyperparameters": {"temperature": 2 / inverse_temperature, "regularisation": 2 * regularisation},
    }


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    return ["noisy"]


def method_entries(experiment: dict) -> dict[str, list[str]]:
    """Return the names of the entries that run each method, by method."""
    return {"langevin": ["simulate"]}


def _common(config: dict, experiment: str) -> dict:
    block = config["experiments"][experiment]
    return {
        **isotropic_problem(config, experiment),
        "times": block["times"],
        "inverse_temperatures": block["inverse_temperatures"],
        "regularisation": block["regularisation"],
    }


def run_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the numbers of the runs."""
    block = config["experiments"][experiment]
    runs = {key: value for key, value in block["simulate"].items() if key != "initial_law"}
    return {
        **_common(config, experiment), "experiment": experiment, "seed": config["seed"], **runs,
        "initial_law": block["initial_laws"][block["simulate"]["initial_law"]],
    }  # fmt: skip


def limit_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the solutions of the limit equation."""
    block = config["experiments"][experiment]
    runs, times = block["simulate"], block["times"]
    # Runs are compared at the times of their iterations.
    seen = record_times([t for t in times if t <= runs["last_time"]], runs["step_size"])
    return {
        **_common(config, experiment), "times": united([*times, *seen]), "initial_laws": block["initial_laws"],
        **block["solve"],
    }  # fmt: skip


def analysis_parameters(config: dict, experiment: str) -> dict:
    """Return how runs and limit are compared."""
    block = config["experiments"][experiment]
    return {"level": block["level"], "initial_law": block["simulate"]["initial_law"]}
