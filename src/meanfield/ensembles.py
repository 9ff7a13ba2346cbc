"""What an ensemble of runs consists of; apart from the runs, so that planning them loads no numerics."""


def cells(ensemble: dict) -> list[tuple[int, float]]:
    """Return width and step size of every cell of an ensemble, as its block of the configuration has them."""
    if "noise_ratio" in ensemble:
        return [(n, ensemble["noise_ratio"] / n) for n in ensemble["neurons"]]
    return [(n, step) for n in ensemble["neurons"] for step in ensemble["step_sizes"]]
