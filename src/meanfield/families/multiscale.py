"""A fast-slow system by the heterogeneous multiscale method, and the same estimator on the plane."""

from meanfield.multiscale.fast_slow import taken_step


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
    horizon, taken = experiment["horizon"], {}
    for n, step in enumerate(experiment["macro_steps"]):
        if step > horizon:
            found.append(f"{key}.macro_steps.{n}: {step} found, at most horizon = {horizon} needed")
            continue
        h = taken_step(horizon, step)
        if h in taken:
            found.append(
                f"{key}.macro_steps.{n}: {step} found, but steps are whole shares of horizon = {horizon}, and it "
                f"becomes {h:.6g} like macro_steps.{taken[h]}; others needed"
            )
        taken.setdefault(h, n)
    if experiment["estimator"]["micro_step"] >= 1:
        found.append(
            f"{key}.estimator.micro_step: {experiment['estimator']['micro_step']} found, less than 1 needed: one micro "
            "step multiplies the memory of the start by 1 - micro_step"
        )
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
