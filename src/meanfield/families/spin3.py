"""The spherical 3-spin learnt by a network: simulations of several widths and batches beside deterministic flows."""

import math

import numpy as np

from meanfield import registry, words
from meanfield.families.common import method_problems, record_iterations
from meanfield.limits.schedule import Schedule
from meanfield.methods.clocks import matched_step

RESERVED = ("comparison",)
# More than this many samples times units per gradient is surely a slip in a batch rule.
LARGEST_GRADIENT = 10**9


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    found = []
    sigmoid = _sigmoid(experiment)
    for name in sorted(set(experiment["simulate"]) & set(experiment["solve"])):
        found.append(f"{key}: {name!r} is both under simulate and under solve; names must differ")
    for part in ("simulate", "solve"):
        found += [f"{key}.{part}: the name {name!r} is reserved" for name in RESERVED if name in experiment[part]]
    if "coupling_seed" in experiment["problem"] and experiment["problem"]["couplings"] != "shared":
        found.append(f"{key}.problem.coupling_seed: found beside independent couplings; only shared ones have it")
    if sigmoid and experiment["solve"]:
        found.append(f"{key}.solve: flows have closed forms for gaussian_kernel units only, not for sigmoid")
    if sigmoid and "evaluate" not in experiment:
        found.append(f"{key}: key 'evaluate' is missing; the loss of sigmoid units needs test points")
    for name, settings in experiment["simulate"].items():
        found += _simulation_problems(f"{key}.simulate.{name}", settings, experiment)
    for part in ("simulate", "solve"):
        for name, settings in experiment[part].items():
            found += _repeated(f"{key}.{part}.{name}.neurons", settings["neurons"])
    for name, settings in experiment.get("tuning", {}).items():
        found += _tuning_problems(f"{key}.tuning", name, settings, experiment)
    if "comparison" in experiment and not found:
        found += _comparison_problems(f"{key}.comparison", experiment)
    return found


def _sigmoid(experiment: dict) -> bool:
    return experiment["problem"]["units"] == "sigmoid"


def _repeated(key: str, values: list) -> list[str]:
    return [] if len(set(values)) == len(values) else [f"{key}: {words.show(values)} found; entries must differ"]


def _simulation_problems(key: str, settings: dict, experiment: dict) -> list[str]:
    found = method_problems(key, settings)
    if ("step_size" in settings) == ("control_of" in settings):
        found.append(f"{key}: exactly one of step_size, control_of needed")
    elif "control_of" in settings:
        found += _control_problems(key, settings, experiment)
    if settings.get("precision") == "float32" and experiment["problem"]["units"] != "sigmoid":
        found.append(f"{key}.precision: 'float32' found; centres stay on the sphere to 1e-12 in 'float64' only")
    sampled = settings["gradient"] == "samples"
    if _sigmoid(experiment) and not sampled:
        found.append(f"{key}.gradient: {settings['gradient']!r} found; sigmoid units have 'samples' only")
    if sampled and "batch" not in settings:
        found.append(f"{key}: key 'batch' is missing; the gradient 'samples' needs it")
    for part in ("batch", "quench"):
        if not sampled and part in settings:
            found.append(f"{key}.{part}: only the gradient 'samples' has batches, not {settings['gradient']!r}")
    if not sampled or "batch" not in settings:
        return found
    found += _repeated(f"{key}.batch.factors", settings["batch"]["factors"])
    rule = settings["batch"]
    sizes = {factor: tuple(batch_size(rule, factor, n) for n in settings["neurons"]) for factor in rule["factors"]}
    if len(set(sizes.values())) < len(sizes):
        given = ", ".join(map(str, sizes.values()))
        found.append(f"{key}.batch.factors: {rule['factors']} found, whose batches at the widths repeat: {given}")
    quench = settings.get("quench")
    if quench and quench["iterations"] >= settings["iterations"]:
        found.append(
            f"{key}.quench.iterations: {quench['iterations']} found, but the run has {settings['iterations']}; "
            "fewer are needed"
        )
        return found
    size, batch, neurons = max(
        (batch * case["neurons"], batch, case["neurons"]) for case in cases(settings) for _, batch in case["phases"]
    )
    if size > LARGEST_GRADIENT:
        found.append(
            f"{key}: a gradient of {batch} samples with {neurons} neurons found; their product must be at most "
            f"{LARGEST_GRADIENT}"
        )
    return found


def _control_problems(key: str, settings: dict, experiment: dict) -> list[str]:
    target, others = settings["control_of"], experiment["simulate"]
    if target not in others:
        return [words.unknown(f"{key}.control_of", target, others)]
    if "step_size" not in others[target]:
        return [f"{key}.control_of: {target!r} found, which is a control itself"]
    if settings["method"] != "sgd":
        return [f"{key}.method: {settings['method']!r} found; a control is run with sgd"]
    if method_problems("", others[target]) or step_size(experiment, settings) is not None:
        return []
    return [f"{key}.control_of: {target!r} found, whose method {others[target]['method']} has no constant clock"]


def _tuning_problems(key: str, name: str, settings: dict, experiment: dict) -> list[str]:
    if name in {*experiment["simulate"], *experiment["solve"], *RESERVED}:
        return [f"{key}: the name {name!r} is taken by another dataset of the experiment"]
    if _sigmoid(experiment):
        return [f"{key}: tuning needs the exact loss of gaussian_kernel units, sigmoid units have none"]
    known = {run: one for run, one in experiment["simulate"].items() if "control_of" not in one}
    found = [words.unknown(f"{key}.{name}.runs", run, known) for run in settings["runs"] if run not in known]
    if settings["against"] not in settings["runs"]:
        found.append(words.unknown(f"{key}.{name}.against", settings["against"], settings["runs"]))
    if settings["step_sizes"] != sorted(set(settings["step_sizes"])):
        found.append(f"{key}.{name}.step_sizes: {words.show(settings['step_sizes'])} found; they must increase")
    if settings["first_replicate"] < settings["replicates"]:
        found.append(
            f"{key}.{name}.first_replicate: {settings['first_replicate']} found, but the comparison has "
            f"{settings['replicates']} replicates; tuning needs others"
        )
    return found


def _comparison_problems(key: str, experiment: dict) -> list[str]:
    comparison = experiment["comparison"]
    small, reference = comparison.get("small_steps"), comparison.get("reference")
    found = []
    for name, pair in comparison.get("speed", {}).get("pairs", {}).items():
        for part, run in sorted(pair.items()):
            if run not in experiment["simulate"]:
                found.append(words.unknown(f"{key}.speed.pairs.{name}.{part}", run, experiment["simulate"]))
    if equal := comparison.get("equal_time"):
        found += _equal_time_problems(f"{key}.equal_time", experiment, equal)
    if small:
        found += _small_step_problems(f"{key}.small_steps", experiment, small)
    if reference:
        if reference["run"] not in experiment["solve"]:
            found.append(words.unknown(f"{key}.reference.run", reference["run"], experiment["solve"]))
        else:
            found += _width_problems(f"{key}.reference", experiment["solve"][reference["run"]], reference["neurons"])
            horizon = experiment["solve"][reference["run"]]["horizon"]
            if max(reference["times"]) > horizon:
                found.append(
                    f"{key}.reference.times: {max(reference['times'])} found, but the solution ends at t = {horizon}"
                )
        if len(reference["times"]) != len(reference["losses"]):
            found.append(
                f"{key}.reference: {len(reference['times'])} times but {len(reference['losses'])} losses found; "
                "one per time needed"
            )
    return found


def _equal_time_problems(key: str, experiment: dict, equal: dict) -> list[str]:
    known = {**experiment["simulate"], **experiment["solve"]}
    return [words.unknown(f"{key}.runs", name, known) for name in equal["runs"] if name not in known]


def equal_time(experiment: dict) -> dict | None:
    """Return which runs are compared at one time, and when; None if less than two of them, the first one included, can.

    A run that ends before, or shares no width with the others, is no slip: a shorter one is just not compared.
    """
    chosen = experiment.get("comparison", {}).get("equal_time")
    if not chosen:
        return None
    kept = []
    for name in chosen["runs"]:
        run = {**experiment["simulate"], **experiment["solve"]}[name]
        # A simulation is seen at the iteration that is nearest.
        step = 0.0 if "horizon" in run else step_size(experiment, run)
        end = run["horizon"] if "horizon" in run else step * run["iterations"]
        if end >= (chosen["time"] - step / 2) * (1 - 1e-9):
            kept.append((name, set(run["neurons"])))
    kept = [(name, widths) for name, widths in kept if widths & kept[0][1]]
    if len(kept) < 2 or kept[0][0] != chosen["runs"][0] or not set.intersection(*(widths for _, widths in kept)):
        return None
    return {**chosen, "runs": [name for name, _ in kept]}


def comparison_settings(config: dict, experiment: str) -> dict:
    """Return the block of an experiment's comparison, of what can be compared."""
    block = config["experiments"][experiment]
    equal = equal_time(block)
    rest = {name: one for name, one in block["comparison"].items() if name != "equal_time"}
    return {**rest, **({"equal_time": equal} if equal else {})}


def _small_step_problems(key: str, experiment: dict, small: dict) -> list[str]:
    if small["flow"] not in experiment["solve"]:
        return [words.unknown(f"{key}.flow", small["flow"], experiment["solve"])]
    flow = experiment["solve"][small["flow"]]
    found = _width_problems(key, flow, small["neurons"])
    if small["horizon"] > flow["horizon"]:
        found.append(f"{key}.horizon: {small['horizon']} found, but the flow ends at t = {flow['horizon']}")
    for name in small["simulations"]:
        if name not in experiment["simulate"]:
            found.append(words.unknown(f"{key}.simulations", name, experiment["simulate"]))
            continue
        run = experiment["simulate"][name]
        found += _width_problems(f"{key}.simulations.{name}", run, small["neurons"])
        end = step_size(experiment, run) * run["iterations"]
        if end < small["horizon"] * (1 - 1e-9):
            found.append(f"{key}.horizon: {small['horizon']} found, but {name} ends at t = {end:.6g}")
        if len(run.get("batch", {}).get("factors", [0])) > 1:
            found.append(f"{key}.simulations: {name!r} has several batches; one is needed")
    return found


def _width_problems(key: str, run: dict, neurons: int) -> list[str]:
    if neurons in run["neurons"]:
        return []
    return [f"{key}.neurons: {neurons} found; the run has {', '.join(str(n) for n in run['neurons'])}"]


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    compared = ["comparison"] if "comparison" in experiment else []
    return [*experiment["simulate"], *experiment["solve"], *experiment.get("tuning", {}), *compared]


# -- what decides the numbers of each job ---------------------------------------------------------------------------


def step_size(experiment: dict, settings: dict) -> float | None:
    """Return the step of a simulation: its own, or that of SGD with the clock of the one that it controls."""
    if "step_size" in settings:
        return settings["step_size"]
    target = experiment["simulate"][settings["control_of"]]
    method = registry.load(registry.METHODS, target["method"])
    return matched_step(method, method.Hyperparameters(**target["hyperparameters"]), target["step_size"], Schedule())


def batch_size(rule: dict, factor: float, neurons: int) -> int:
    """Return P, the largest whole number up to factor * n^exponent, at least one."""
    # A hair more than the product, which may fall just short of a whole number by rounding.
    return max(1, math.floor(factor * neurons ** rule["exponent"] * (1 + 1e-12)))


def cases(settings: dict) -> list[dict]:
    """Return the widths and batches of a simulation: neurons, and phases as pairs of last iteration and batch."""
    last = settings["iterations"]
    if settings["gradient"] != "samples":
        return [{"neurons": n, "factor": 0.0, "phases": [[last, 0]]} for n in settings["neurons"]]
    rule, quench = settings["batch"], settings.get("quench")
    found = []
    for factor in rule["factors"]:
        for n in settings["neurons"]:
            phases = [[last, batch_size(rule, factor, n)]]
            if quench:
                phases[0][0] -= quench["iterations"]
                phases.append([last, batch_size(quench, quench["factor"], n)])
            found.append({"neurons": n, "factor": float(factor), "phases": phases})
    return found


def _common(config: dict, experiment: str) -> dict:
    block = config["experiments"][experiment]
    found = {"experiment": experiment, "seed": config["seed"]}
    found.update({key: block[key] for key in ("problem", "initial_law")})
    if block["problem"]["units"] == "sigmoid":
        found["evaluate"] = block["evaluate"]
    return found


def simulation_parameters(config: dict, experiment: str, simulation: str) -> dict:
    """Return everything that decides the numbers of one simulation, and nothing else."""
    block = config["experiments"][experiment]
    settings = block["simulate"][simulation]
    recorded = set(record_iterations(settings))
    if "quench" in settings:
        recorded.add(settings["iterations"] - settings["quench"]["iterations"])
    equal = equal_time(block)
    if equal and simulation in equal["runs"]:
        recorded.add(min(round(equal["time"] / step_size(block, settings)), settings["iterations"]))
    return {
        **_common(config, experiment),
        "simulation": simulation,
        "settings": {
            **{key: settings[key] for key in ("method", "hyperparameters", "gradient")},
            "step_size": step_size(block, settings),
            **{key: settings[key] for key in ("control_of", "precision") if key in settings},
        },
        "cases": cases(settings),
        "iterations": sorted(recorded),
    }


def tuning_parameters(config: dict, experiment: str, study: str) -> dict:
    """Return everything that decides the numbers of a tuning of step sizes."""
    block = config["experiments"][experiment]
    settings = block["tuning"][study]
    optimisers = {}
    for run in settings["runs"]:
        one = block["simulate"][run]
        first = cases(one)[0]
        optimisers[run] = {
            **{key: one[key] for key in ("method", "hyperparameters", "gradient")},
            "case": {"neurons": first["neurons"], "batch": first["phases"][0][1]},
        }
    return {
        **_common(config, experiment),
        "study": study,
        "runs": optimisers,
        **{key: settings[key] for key in ("against", "step_sizes", "evaluations", "levels")},
        "tuned_on": [settings["first_replicate"], settings["first_replicate"] + settings["tuning_replicates"]],
        "compared_on": [0, settings["replicates"]],
    }


def record_times(experiment: dict, name: str) -> list[float]:
    """Return the times at which a flow is recorded.

    They are 0, a log grid of four decades up to the horizon, and the times of what it is compared to.
    """
    flow, comparison = experiment["solve"][name], experiment.get("comparison", {})
    horizon = float(flow["horizon"])
    grid = np.logspace(math.log10(horizon) - 4, math.log10(horizon), 4 * flow["records_per_decade"] + 1)
    times = {0.0, horizon, *(float(t) for t in grid[:-1])}
    small, reference = comparison.get("small_steps"), comparison.get("reference")
    if small and small["flow"] == name:
        for simulation in small["simulations"]:
            run = experiment["simulate"][simulation]
            times.update(k * step_size(experiment, run) for k in record_iterations(run))
    if reference and reference["run"] == name:
        times.update(float(t) for t in reference["times"])
    equal = equal_time(experiment)
    if equal and name in equal["runs"]:
        times.add(float(equal["time"]))
    kept = sorted(t for t in times if t <= horizon * (1 + 1e-9))
    # Times that differ by rounding alone are one time.
    return [t for n, t in enumerate(kept) if n == 0 or t - kept[n - 1] > 1e-12 * t]


def flow_parameters(config: dict, experiment: str, flow: str) -> dict:
    """Return everything that decides the numbers of one flow's solution."""
    block = config["experiments"][experiment]
    settings = block["solve"][flow]
    keys = ("flow", "relative_tolerance", "divergence_factor")
    return {
        **_common(config, experiment),
        "simulation": flow,
        "settings": {key: settings[key] for key in keys},
        "neurons": settings["neurons"],
        "times": record_times(block, flow),
    }


def runs(config: dict, experiment: str) -> list[str]:
    """Return the names of an experiment's simulations and flows."""
    block = config["experiments"][experiment]
    return [*block["simulate"], *block["solve"]]


def run_settings(config: dict, experiment: str, run: str) -> dict:
    """Return the block of a simulation or of a flow; names differ between the two."""
    block = config["experiments"][experiment]
    return block["simulate"].get(run) or block["solve"][run]


def analysis_parameters(config: dict, experiment: str, run: str) -> dict:
    """Return how a run is analysed: points of the pictures, test points, and the widths of the fit."""
    block = config["experiments"][experiment]
    return {**block["analyse"], **({"evaluate": block["evaluate"]} if "evaluate" in block else {})}


def comparison_runs(config: dict, experiment: str) -> list[str]:
    """Return the names of the runs that the comparison reads."""
    comparison = comparison_settings(config, experiment)
    small, reference = comparison.get("small_steps"), comparison.get("reference")
    names = [small["flow"], *small["simulations"]] if small else []
    names += comparison.get("equal_time", {}).get("runs", [])
    names += [reference["run"]] if reference else []
    names += [run for pair in comparison.get("speed", {}).get("pairs", {}).values() for run in sorted(pair.values())]
    return list(dict.fromkeys(names))


def job_modules(config: dict, experiment: str, simulation: str) -> tuple[str, ...]:
    """Return the modules that a simulation's job loads by name: the optimiser's."""
    settings = config["experiments"][experiment]["simulate"][simulation]
    return (registry.module_name(registry.METHODS, settings["method"]),)


def tuning_modules(config: dict, experiment: str, study: str) -> tuple[str, ...]:
    """Return the modules that a tuning's job loads by name: those of its optimisers."""
    block = config["experiments"][experiment]
    methods = {block["simulate"][run]["method"] for run in block["tuning"][study]["runs"]}
    return tuple(registry.module_name(registry.METHODS, name) for name in sorted(methods))
