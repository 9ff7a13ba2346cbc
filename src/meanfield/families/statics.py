"""Rotation-invariant laws by themselves: optimal ones, stationary ones, and the flow of laws as a gradient flow."""

from meanfield import words
from meanfield.families.common import activation_problems, increasing_problems

# Averages of smooth activations are accurate up to this product of gain, norm and standard deviation of the inputs.
SMOOTH_REACH = 40.0

# Names of the analysed datasets by the kind of the problem.
DATASETS = {
    "isotropic_statics": ["laws", "ends"],
    "stationary_laws": ["states"],
    "radial_flow": ["movements"],
}


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    problem = experiment["problem"]
    if unknown := activation_problems(config, key, experiment):
        return unknown
    activation = config["activations"][problem["activation"]]
    find = {"isotropic_statics": _law_problems, "stationary_laws": _state_problems, "radial_flow": _movement_problems}
    return find[problem["kind"]](key, experiment, activation)


def _range(key: str, block: dict) -> list[str]:
    if block["least"] >= block["greatest"]:
        return [f"{key}: least {block['least']} and greatest {block['greatest']} found; least < greatest needed"]
    return []


def _reach(key: str, norm: float, widest: float, activation: dict) -> list[str]:
    # Averages of smooth activations are quadratures, which resolve norms up to a bound.
    if activation["kind"] == "piecewise_linear":
        return []
    most = SMOOTH_REACH / (activation["gain"] * widest)
    if norm <= most:
        return []
    return [
        f"{key}: {norm:g} found, at most {most:.4g} needed for a smooth activation of gain {activation['gain']:g}, "
        "whose averages are quadratures"
    ]


def _law_problems(key: str, experiment: dict, activation: dict) -> list[str]:
    widest = 1 + max([*experiment["separations"], experiment["tried"]["greatest"], *experiment["ends"]["separations"]])
    return [
        *increasing_problems(f"{key}.dimensions", experiment["dimensions"]),
        *increasing_problems(f"{key}.separations", experiment["separations"]),
        *_range(f"{key}.tried", experiment["tried"]),
        *increasing_problems(f"{key}.ends.separations", experiment["ends"]["separations"]),
        *increasing_problems(f"{key}.ends.times", experiment["ends"]["times"]),
        *_reach(f"{key}.largest_norm", experiment["largest_norm"], widest, activation),
        *(
            words.unknown(f"{key}.ends.sgd.initial_laws", name, experiment["ends"]["initial_laws"])
            for name in experiment["ends"]["sgd"]["initial_laws"]
            if name not in experiment["ends"]["initial_laws"]
        ),
    ]


def _state_problems(key: str, experiment: dict, activation: dict) -> list[str]:
    problem, continuation, basins = experiment["problem"], experiment["continuation"], experiment["basins"]
    found = []
    teacher = ("teacher_norm", "teacher_masses")
    for name in teacher:
        if (name in problem) != (problem["target"] == "teacher"):
            state = "found, which classes do not take" if name in problem else "is missing, which a teacher needs"
            found.append(f"{key}.problem.{name}: {state}")
    if "teacher_masses" in problem and abs(sum(problem["teacher_masses"]) - 1) > 1e-9:
        found.append(f"{key}.problem.teacher_masses: {words.show(problem['teacher_masses'])} found; a sum of 1 needed")
    found += increasing_problems(f"{key}.masses", experiment["masses"])
    found += _range(f"{key}.two_spheres", experiment["two_spheres"])
    found += _range(f"{key}.continuation", continuation)
    found += increasing_problems(f"{key}.continuation.checked", continuation["checked"])
    found += _range(f"{key}.basins.scales", basins["scales"])
    found += [
        f"{key}.continuation.checked.{n}: {value} found, between least = {continuation['least']} and greatest = "
        f"{continuation['greatest']} needed"
        for n, value in enumerate(continuation["checked"])
        if not continuation["least"] <= value <= continuation["greatest"]
    ]
    found += increasing_problems(f"{key}.basins.borders", basins["borders"])
    found += [
        f"{key}.basins.borders.{n}: {value} found, at most {key}.continuation.greatest = "
        f"{continuation['greatest']} needed"
        for n, value in enumerate(basins["borders"])
        if value > continuation["greatest"]
    ]
    if not continuation["least"] <= problem["separation"] <= continuation["greatest"]:
        found.append(
            f"{key}.problem.separation: {problem['separation']} found, between {key}.continuation.least = "
            f"{continuation['least']} and greatest = {continuation['greatest']} needed"
        )
    widest = 1.0 if problem["target"] == "teacher" else 1 + continuation["greatest"]
    norms = {"largest_norm": experiment["largest_norm"], "two_spheres.greatest": experiment["two_spheres"]["greatest"]}
    if "teacher_norm" in problem:
        norms["problem.teacher_norm"] = problem["teacher_norm"] * (1 + continuation["greatest"])
    for name, norm in norms.items():
        found += _reach(f"{key}.{name}", norm, widest, activation)
    return found


def _movement_problems(key: str, experiment: dict, activation: dict) -> list[str]:
    found = [
        *increasing_problems(f"{key}.steps", experiment["steps"]),
        *increasing_problems(f"{key}.intervals", experiment["intervals"]),
    ]
    first = experiment["steps"][0]
    found += [
        f"{key}.steps.{n}: {count} found, a multiple of the first, {first}, needed, so that all share its times"
        for n, count in enumerate(experiment["steps"])
        if count % first
    ]
    last = experiment["intervals"][-1]
    found += [
        f"{key}.intervals.{n}: {count} found, an even divisor of the last, {last}, needed"
        for n, count in enumerate(experiment["intervals"])
        if count % 2 or last % count
    ]
    return found


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    return DATASETS[experiment["problem"]["kind"]]


def title(experiment: dict, dataset: str) -> str | None:
    """Return the label of a dataset in figures, where the experiment has one."""
    return experiment.get("label")


# -- what decides the numbers of each job ---------------------------------------------------------------------------


def _block(config: dict, experiment: str, left_out: tuple[str, ...]) -> dict:
    block = config["experiments"][experiment]
    return {
        "experiment": experiment,
        "activation": config["activations"][block["problem"]["activation"]],
        "settings": {key: value for key, value in block.items() if key not in ("description", "label", *left_out)},
    }


def law_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the optimal laws of an experiment."""
    return _block(config, experiment, ("ends",))


def end_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides where the dynamics of an experiment end."""
    block = config["experiments"][experiment]
    return {
        "experiment": experiment,
        "seed": config["seed"],
        "activation": config["activations"][block["problem"]["activation"]],
        "settings": {"level": block["level"], "largest_norm": block["largest_norm"], **block["ends"]},
    }


def state_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the stationary laws of an experiment."""
    return _block(config, experiment, ())


def movement_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the minimising movements of an experiment."""
    return _block(config, experiment, ())
