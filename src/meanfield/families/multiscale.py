"""A fast-slow system by the heterogeneous multiscale method, and the same estimator on the plane."""


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    found = []
    plane = experiment["plane"]
    for n, length in enumerate(plane["averagings"]):
        if plane["budget"] < plane["burn_in"] + length:
            found.append(
                f"{key}.plane.averagings.{n}: {length} found, but burn_in and averaging must fit into the budget "
                f"{plane['budget']}"
            )
    for n, step in enumerate(experiment["macro_steps"]):
        if step > experiment["horizon"]:
            found.append(f"{key}.macro_steps.{n}: {step} found, at most horizon = {experiment['horizon']} needed")
    return found


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    return ["hmm"]


def hmm_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the numbers of one experiment."""
    block = config["experiments"][experiment]
    return {
        "experiment": experiment, "seed": config["seed"],
        "settings": {key: value for key, value in block.items() if key not in ("description", "problem")},
    }  # fmt: skip
