"""Two-layer networks on isotropic Gaussians beside their limit: rates, dependence of neurons, normal fluctuations."""

from meanfield import words
from meanfield.ensembles import cells, record_iterations, record_times, united
from meanfield.families.common import activation_problems, increasing_problems, isotropic_problem, time_problems

# Datasets by the key of `analyse` that asks for them.
DATASETS = ("rates", "chaos", "clt")
# Most updates of a neuron in an ensemble: beyond it an entry is surely a slip.
LARGEST_WORK = 1e14


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    times = experiment["times"]
    found = activation_problems(config, key, experiment) + time_problems(f"{key}.times", times)
    for n, t in enumerate(experiment["law_times"]):
        if t not in times:
            found.append(f"{key}.law_times.{n}: {t} found, which is none of {key}.times")
    for name, ensemble in experiment["ensembles"].items():
        found += _ensemble_problems(f"{key}.ensembles.{name}", ensemble, times[-1])
    return found + _analysis_problems(f"{key}.analyse", experiment)


def _ensemble_problems(key: str, ensemble: dict, last: float) -> list[str]:
    given = [name for name in ("step_sizes", "noise_ratio") if name in ensemble]
    if len(given) != 1:
        listed = ", ".join(given) or "none"
        return [f"{key}: {listed} found, exactly one of step_sizes, noise_ratio needed"]
    found = []
    for name in ("neurons", "step_sizes"):
        found += increasing_problems(f"{key}.{name}", ensemble.get(name, []))
    for neurons, step in cells(ensemble):
        if step > last:
            found.append(f"{key}: a step size of {step:.3g} found, at most the last time, {last}, needed")
        elif neurons * last / step * ensemble["replicates"] > LARGEST_WORK:
            found.append(
                f"{key}: {neurons} neurons at the step size {step:.3g} found, more than {LARGEST_WORK:.0e} updates of "
                "a neuron; fewer are needed"
            )
    return list(dict.fromkeys(found))


def _analysis_problems(key: str, experiment: dict) -> list[str]:
    found = []
    asked, ensembles = experiment["analyse"], experiment["ensembles"]
    used = {"rates": ("widths", "steps"), "chaos": ("ensemble",)}
    for dataset, roles in used.items():
        for role in roles if dataset in asked else ():
            if asked[dataset][role] not in ensembles:
                found.append(words.unknown(f"{key}.{dataset}.{role}", asked[dataset][role], ensembles))
    for n, name in enumerate(asked.get("clt", {}).get("ensembles", [])):
        if name not in ensembles:
            found.append(words.unknown(f"{key}.clt.ensembles.{n}", name, ensembles))
    if found:
        return found
    if "rates" in asked:
        for role, axis in (("widths", "neurons"), ("steps", "step_sizes")):
            ensemble = ensembles[asked["rates"][role]]
            if "step_sizes" not in ensemble:
                found.append(f"{key}.rates.{role}: an ensemble with noise_ratio found, one with step_sizes needed")
            elif len(ensemble[axis]) < 2 or len(cells(ensemble)) != len(ensemble[axis]):
                found.append(f"{key}.rates.{role}: an ensemble of several {axis} and nothing else varied is needed")
        if experiment["law_times"] == []:
            found.append(f"{key}.rates: one of law_times at least is needed")
    if "chaos" in asked:
        ensemble = ensembles[asked["chaos"]["ensemble"]]
        if "noise_ratio" not in ensemble or len(ensemble["neurons"]) < 2:
            found.append(f"{key}.chaos.ensemble: an ensemble with noise_ratio and several neurons is needed")
        if ensemble["neurons"][0] < 2:
            found.append(f"{key}.chaos.ensemble: 1 neuron found, two at least needed for a pair")
    for n, name in enumerate(asked.get("clt", {}).get("ensembles", [])):
        if "noise_ratio" not in ensembles[name]:
            found.append(f"{key}.clt.ensembles.{n}: an ensemble with step_sizes found, one with noise_ratio needed")
    for dataset in ("chaos", "clt"):
        block = asked.get(dataset, {})
        if block and block["time"] not in experiment["law_times"]:
            found.append(f"{key}.{dataset}.time: {block['time']} found, which is none of law_times")
        elif block and not found:
            found += _record_problems(f"{key}.{dataset}.time", block["time"], experiment, dataset)
    return found


def _record_problems(key: str, time: float, experiment: dict, dataset: str) -> list[str]:
    # Widths are compared at one time: each is seen at its iteration next to it, which must not be the start.
    found = []
    for name in ensembles_of(experiment, dataset) if time > 0 else ():
        for neurons, step in cells(experiment["ensembles"][name]):
            if record_iterations([time], step) == [0]:
                found.append(
                    f"{key}: {time} found, but of {neurons} neurons in {name}, with steps of {step:.6g}, the iteration "
                    "next to it is the start; a later one needed"
                )
    return found[:1]


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    return [name for name in DATASETS if name in experiment["analyse"]]


def ensembles_of(experiment: dict, dataset: str) -> list[str]:
    """Return the ensembles that one analysis reads, in order."""
    block = experiment["analyse"][dataset]
    if dataset == "rates":
        return [block["widths"], block["steps"]]
    return [block["ensemble"]] if dataset == "chaos" else list(block["ensembles"])


def _common(config: dict, experiment: str) -> dict:
    block = config["experiments"][experiment]
    return {
        **isotropic_problem(config, experiment),
        "initial_law": block["initial_law"],
        "times": block["times"],
        "test_functions": block["test_functions"],
    }


def ensemble_parameters(config: dict, experiment: str, ensemble: str) -> dict:
    """Return everything that decides the numbers of one ensemble."""
    block = config["experiments"][experiment]
    return {
        **_common(config, experiment), "experiment": experiment, "seed": config["seed"],
        "precision": block["precision"], "law_times": block["law_times"], "ensemble": block["ensembles"][ensemble],
    }  # fmt: skip


def prediction_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the limit and its linearised fluctuations."""
    block = config["experiments"][experiment]
    # Runs are compared at the times of their iterations; one that no run has is of no use.
    compared = {name for dataset in datasets(block) for name in ensembles_of(block, dataset)}
    steps = {step for name in compared for _, step in cells(block["ensembles"][name])}
    times = united(t for step in steps for t in record_times(block["times"], step))
    return {**_common(config, experiment), "times": times, **block["prediction"]}


def analysis_parameters(config: dict, experiment: str, dataset: str) -> dict:
    """Return how one dataset is analysed."""
    block = config["experiments"][experiment]
    return {**block["analyse"][dataset], "level": block["level"], "resamples": block["resamples"]}
