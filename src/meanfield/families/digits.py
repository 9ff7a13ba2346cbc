"""Classifiers of handwritten digits: networks of growing width, choices of activation and labels, optimisers."""

import itertools

from meanfield import registry, words
from meanfield.families.common import method_problems

RESERVED = ("widths",)
# More iterations than this are surely a slip in horizon or width.
LARGEST_RUN = 10**10


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    found = []
    if "data" not in config:
        found.append(f"{key}: the key 'data' of the configuration is missing; it says where the digits come from")
    names = config["activations"]
    if experiment["problem"]["activation"] not in names:
        found.append(words.unknown(f"{key}.problem.activation", experiment["problem"]["activation"], names))
    for name, simulation in experiment["simulate"].items():
        where = f"{key}.simulate.{name}"
        if name in RESERVED:
            found.append(f"{key}.simulate: the name {name!r} is reserved")
        if "activation" in simulation and simulation["activation"] not in names:
            found.append(words.unknown(f"{where}.activation", simulation["activation"], names))
        wrong = method_problems(where, simulation)
        if not wrong and simulation["horizon"] * simulation["neurons"] > LARGEST_RUN:
            wrong = [
                f"{where}: horizon * neurons = {simulation['horizon'] * simulation['neurons']:.3g} gradients found, "
                f"at most {LARGEST_RUN:.0e} needed"
            ]
        found += wrong
    return found + _width_problems(key, experiment)


def _width_problems(key: str, experiment: dict) -> list[str]:
    compared = experiment.get("compared_widths", [])
    known = experiment["simulate"]
    found = [words.unknown(f"{key}.compared_widths", name, known) for name in compared if name not in known]
    if found:
        return found
    sizes = [known[name]["neurons"] for name in compared]
    if any(b <= a for a, b in itertools.pairwise(sizes)):
        return [
            f"{key}.compared_widths: simulations of {words.show(sizes)} neurons found; widths must increase strictly"
        ]
    return []


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    return [*experiment["simulate"], *(["widths"] if "compared_widths" in experiment else [])]


# -- what decides the numbers of each job ---------------------------------------------------------------------------


def iterations(simulation: dict) -> int:
    """Return the iterations after which a run has taken horizon x N gradients, at least one."""
    method = registry.load(registry.METHODS, simulation["method"])
    gradients = method.evaluations(method.Hyperparameters(**simulation["hyperparameters"]))
    return max(1, round(simulation["horizon"] * simulation["neurons"] / gradients))


def simulation_parameters(config: dict, experiment: str, simulation: str) -> dict:
    """Return everything that decides the numbers of one simulation besides the data, and nothing else."""
    block = config["experiments"][experiment]
    settings = block["simulate"][simulation]
    activation = settings.get("activation", block["problem"]["activation"])
    return {
        "experiment": experiment,
        "simulation": simulation,
        "seed": config["seed"],
        "activation": config["activations"][activation],
        "labels": settings.get("labels", block["problem"]["labels"]),
        "initial_law": block["initial_law"],
        "neurons": settings["neurons"],
        "settings": {key: settings[key] for key in ("method", "rate", "hyperparameters", "precision")},
        "iterations": iterations(settings),
        "records": block["records"],
        "pictures": block["analyse"]["pictures"],
    }


def job_modules(config: dict, experiment: str, simulation: str) -> tuple[str, ...]:
    """Return the module that a simulation's job loads by name: its optimiser's."""
    return (
        registry.module_name(registry.METHODS, config["experiments"][experiment]["simulate"][simulation]["method"]),
    )


def source_parameters(config: dict) -> dict:
    """Return what decides where the digits come from, except the folders that are searched."""
    settings = config["data"]["digits"]
    return {key: value for key, value in settings.items() if key != "folders"}
