"""Two-layer networks on Gaussian data: simulations and sweeps beside the limit equations of their law."""

import itertools
import math

import numpy as np

from meanfield import registry, words
from meanfield.ensembles import united
from meanfield.families.common import (
    activation_problems,
    increasing_problems,
    method_problems,
    record_iterations,
    snapshot_problems,
)
from meanfield.limits.schedule import Schedule
from meanfield.methods.clocks import matched_step

RESERVED = ("limits", "convergence", "comparison", "simulate", "sweeps", "widths")
PARTS = ("simulate", "solve", "sweeps", "widths")
# Longest mean-field time that a simulation may cover; longer runs are surely a slip in step size or iterations.
LARGEST_TIME = 1.0e6
LARGEST_COUNT = 1.0e12  # iterations
# Solvers and forms of the limit by the kind of the problem.
SOLVERS = {
    "isotropic_gaussians": {"characteristics": ("finite", "infinite"), "finite_volume": ("finite", "infinite")},
    "anisotropic_gaussians": {"reduced_characteristics": ("finite", "first_order", "infinite")},
}
# Where an entry of `simulate` has its step size from.
SOURCES = ("step_size", "tuned", "control_of")


# -- what a schema cannot see ---------------------------------------------------------------------------------------


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    problem = experiment["problem"]
    found = activation_problems(config, key, experiment)
    if problem.get("informative", 0) > problem["dimension"]:
        found.append(
            f"{key}.problem.informative: {problem['informative']} found, "
            f"at most the dimension, {problem['dimension']}, needed"
        )
    parts = {part: experiment.get(part, {}) for part in PARTS}
    for one, other in itertools.combinations(PARTS, 2):
        for name in sorted(set(parts[one]) & set(parts[other])):
            found.append(f"{key}: {name!r} is both under {one} and under {other}; names must differ")
    for part, entries in parts.items():
        found += [f"{key}.{part}: the name {name!r} is reserved" for name in RESERVED if name in entries]
    for name, sweep in parts["sweeps"].items():
        found += _sweep_problems(f"{key}.sweeps.{name}", sweep, experiment)
    for name, study in parts["widths"].items():
        found += method_problems(f"{key}.widths.{name}", study)
        found += increasing_problems(f"{key}.widths.{name}.neurons", study["neurons"])
        if not parts["solve"]:
            found.append(f"{key}.widths.{name}: a limit equation under {key}.solve is needed to compare with")
        if not method_problems("", study) and _matched(study, experiment) is None:
            found.append(f"{key}.widths.{name}.method: {study['method']!r} found, which has no constant clock")
    found += _taken_names(config, key, experiment)
    broken = []
    for name, simulation in parts["simulate"].items():
        lines = _simulation_problems(f"{key}.simulate.{name}", simulation, experiment)
        broken += lines
    found += broken
    longest = 0.0 if broken else max((_length(experiment, name) or 0.0 for name in parts["simulate"]), default=0.0)
    solvers = SOLVERS[problem["kind"]]
    for name, limit in parts["solve"].items():
        where = f"{key}.solve.{name}"
        if limit["solver"] not in solvers:
            found.append(
                f"{where}.solver: {limit['solver']!r} found; allowed for {problem['kind']}: {', '.join(solvers)}"
            )
        elif limit["limit"] not in solvers[limit["solver"]]:
            allowed = ", ".join(solvers[limit["solver"]])
            found.append(f"{where}.limit: {limit['limit']!r} found; allowed for {problem['kind']}: {allowed}")
        if "step_size" in limit and limit["solver"] != "reduced_characteristics":
            found.append(f"{where}.step_size: found for {limit['solver']}; allowed for reduced_characteristics")
        horizon = limit["horizon"]
        if longest <= LARGEST_TIME and horizon < longest * (1 - 1e-9):
            found.append(
                f"{where}.horizon: {horizon} found, but a simulation runs to t = {longest:.6g}; at least that is needed"
            )
    if "convergence" in experiment and problem["kind"] != "isotropic_gaussians":
        found.append(f"{key}.convergence: found for {problem['kind']}; allowed for isotropic_gaussians")
    elif "convergence" in experiment:
        found += increasing_problems(f"{key}.convergence.times", experiment["convergence"]["times"])
    return found


def _taken_names(config: dict, key: str, experiment: dict) -> list[str]:
    # Datasets are told apart by their names: what names a simulation here must not name a limit there. The experiments
    # in the minority hear of it.
    blocks = {name: block for name, block in config["experiments"].items() if block["problem"]["kind"] in SOLVERS}
    found = []
    for own in PARTS:
        for name in experiment.get(own, {}):
            holders = {part: [one for one, block in blocks.items() if name in block.get(part, {})] for part in PARTS}
            for part, others in holders.items():
                here = part == own or name in experiment.get(part, {})
                if others and not here and len(others) >= len(holders[own]):
                    taken = f"the name {name!r} is taken under {part} of {', '.join(others)}"
                    found.append(f"{key}.{own}: {taken}; choose another one")
    return found


def _simulation_problems(key: str, simulation: dict, experiment: dict) -> list[str]:
    found = snapshot_problems(key, simulation)
    given = [source for source in SOURCES if source in simulation]
    if len(given) != 1:
        listed = ", ".join(given) or "none"
        return [*found, f"{key}: {listed} found, exactly one of {', '.join(SOURCES)} needed"]
    if "tuned" in simulation:
        return found + _tuned_problems(key, simulation, experiment.get("sweeps", {}))
    if "method" not in simulation:
        return [*found, f"{key}: key 'method' is missing"]
    found += method_problems(key, {"hyperparameters": {}, **simulation})
    if "control_of" in simulation:
        return found + _control_problems(key, simulation, experiment)
    time = simulation["step_size"] * simulation["iterations"]
    if time > LARGEST_TIME:
        found.append(
            f"{key}: step_size * iterations = {time:.3g} found, a mean-field time of at most {LARGEST_TIME:.0e} needed"
        )
    return found


def _tuned_problems(key: str, simulation: dict, sweeps: dict) -> list[str]:
    if simulation["tuned"] not in sweeps:
        return [words.unknown(f"{key}.tuned", simulation["tuned"], sweeps)]
    first = sweeps[simulation["tuned"]]["first_replicate"]
    if first < simulation["replicates"]:
        return [
            f"{key}.replicates: {simulation['replicates']} found, but the sweep {simulation['tuned']} that tunes it "
            f"has the replicates from {first} on; it needs replicates of its own"
        ]
    return [
        f"{key}.{name}: found beside tuned, which brings it from the sweep; leave it out"
        for name in ("method", "hyperparameters")
        if name in simulation
    ]


def _control_problems(key: str, simulation: dict, experiment: dict) -> list[str]:
    others = experiment["simulate"]
    target = simulation["control_of"]
    if target not in others:
        return [words.unknown(f"{key}.control_of", target, others)]
    if "control_of" in others[target]:
        return [f"{key}.control_of: {target!r} found, which is a control itself"]
    if simulation["method"] != "sgd":
        return [f"{key}.method: {simulation['method']!r} found; a control is run with sgd"]
    # What the target may run with; its own slips have lines of their own.
    source = others[target]
    sweep = experiment.get("sweeps", {}).get(source.get("tuned"))
    runs = [{"method": sweep["method"], **one} for one in candidates(sweep)] if sweep else [source]
    for run in runs:
        settings = {"hyperparameters": {}, **run}
        if not {"method", "step_size"} <= set(settings) or method_problems("", settings):
            return []
        if _matched(settings, experiment) is None:
            return [f"{key}.control_of: {target!r} found, whose method {settings['method']} has no constant clock"]
    return []


def _sweep_problems(key: str, sweep: dict, experiment: dict) -> list[str]:
    if ("evaluations" in sweep) == ("horizon" in sweep):
        given = "both" if "horizon" in sweep else "none"
        return [f"{key}: {given} found, exactly one of evaluations, horizon needed"]
    twice = sorted(set(sweep["grid"]) & set(sweep.get("hyperparameters", {})))
    if twice:
        return [f"{key}.hyperparameters.{twice[0]}: found in the grid too; one of them needed"]
    for candidate in candidates(sweep):
        settings = {"method": sweep["method"], **candidate}
        found = method_problems(key, settings)
        if found:
            for name in sweep["grid"]:
                found = [line.replace(f"{key}.hyperparameters.{name}:", f"{key}.grid.{name}:") for line in found]
            return found
        step = candidate["step_size"]
        if not 0 < step < 1000:
            return [f"{key}.grid.step_size: {step!r} found, a number in (0, 1000) needed"]
        method = registry.load(registry.METHODS, sweep["method"])
        least = method.evaluations(method.Hyperparameters(**candidate["hyperparameters"]))
        if sweep.get("evaluations", least) < least:
            return [f"{key}.evaluations: {sweep['evaluations']} found, an iteration of {sweep['method']} takes {least}"]
        pace = _matched(settings, experiment) or step
        if sweep.get("horizon", pace) < pace:
            return [f"{key}.horizon: {sweep['horizon']:g} found, a step of {step:g} takes {pace:g} of mean-field time"]
        if sweep.get("horizon", pace) > LARGEST_COUNT * pace:
            found = f"{sweep['horizon'] / pace:.3g} iterations of step size {step:g}"
            return [f"{key}.horizon: {found} found, at most {LARGEST_COUNT:.0e} allowed"]
    return []


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    names = [*experiment["simulate"], *experiment.get("sweeps", {}), *experiment.get("widths", {})]
    if experiment["solve"]:
        names.append("limits")
    if "convergence" in experiment:
        names.append("convergence")
    if pairs(experiment):
        names.append("comparison")
    return names


def method_entries(experiment: dict) -> dict[str, list[str]]:
    """Return the names of the entries that run each method, by method."""
    found: dict[str, list[str]] = {}
    for part in ("simulate", "sweeps", "widths"):
        for name, settings in experiment.get(part, {}).items():
            method = settings.get("method") or experiment["sweeps"][settings["tuned"]]["method"]
            found.setdefault(method, []).append(name)
    return found


def title(experiment: dict, dataset: str) -> str | None:
    """Return the label of a simulation or sweep in figures: the one given, or its method's; None for other datasets."""
    settings = {**experiment.get("sweeps", {}), **experiment["simulate"]}.get(dataset)
    if settings is None or "title" in settings:
        return settings and settings["title"]
    if "control_of" in settings:
        return f"SGD, clock of {title(experiment, settings['control_of'])}"
    method = settings.get("method") or experiment["sweeps"][settings["tuned"]]["method"]
    return registry.load(registry.METHODS, method).TITLE


def pairs(experiment: dict) -> list[dict]:
    """Return the pairs of simulations that are compared run by run.

    A method is compared with its control, and with the plain SGD of its group: the tuned ones with each other, the
    others at one step size.

    Returns
    -------
    list of dict
        Each with `first`, `second` (names of simulations) and `kind`, "control" or "sgd".

    """
    runs = experiment["simulate"]
    found = [
        {"first": settings["control_of"], "second": name, "kind": "control"}
        for name, settings in runs.items()
        if "control_of" in settings
    ]
    plain = {
        _group(settings): name
        for name, settings in reversed(runs.items())
        if "control_of" not in settings and _method(settings, experiment) == "sgd"
    }
    found += [
        {"first": name, "second": plain[_group(settings)], "kind": "sgd"}
        for name, settings in runs.items()
        if "control_of" not in settings and plain.get(_group(settings), name) != name
        if _method(settings, experiment) != "sgd"
    ]
    return found


def _group(settings: dict) -> str | float:
    # The tuned runs are one group, and so are those at one step size.
    return "tuned" if "tuned" in settings else settings.get("step_size", math.nan)


def _method(settings: dict, experiment: dict) -> str | None:
    if "tuned" in settings:
        return experiment.get("sweeps", {}).get(settings["tuned"], {}).get("method")
    return settings.get("method")


# -- step sizes and times -------------------------------------------------------------------------------------------


def _matched(settings: dict, experiment: dict) -> float | None:
    # The step of SGD that keeps pace with an entry of known step size.
    method = registry.load(registry.METHODS, settings["method"])
    hyperparameters = method.Hyperparameters(**settings.get("hyperparameters", {}))
    return matched_step(method, hyperparameters, settings["step_size"], Schedule(**experiment["schedule"]))


def resolved(simulation: str, experiment: dict, best: dict | None = None) -> dict | None:
    """Return the settings of a simulation with method, hyper-parameters and step size in place.

    Parameters
    ----------
    simulation : str
        Its name.
    experiment : dict
        Block of the configuration.
    best : dict, optional
        Best candidate of the sweep that the simulation, or the one it controls, is tuned by: method, step size and
        hyper-parameters.

    Returns
    -------
    dict or None
        None if the sweep decides and `best` is not given.

    Raises
    ------
    ValueError
        If a control's target has no constant clock.

    """
    settings = experiment["simulate"][simulation]
    target = settings.get("control_of")
    source = experiment["simulate"][target] if target else settings
    if "tuned" in source:
        if best is None:
            return None
        source = best
    if not target:
        return {**settings, **{name: source.get(name, {}) for name in ("method", "hyperparameters", "step_size")}}
    step = _matched(source, experiment)
    if step is None:
        msg = f"{simulation}: control of {target}, whose method {source['method']} has no constant clock"
        raise ValueError(msg)
    return {**settings, "hyperparameters": settings.get("hyperparameters", {}), "step_size": step}


def tuned_by(simulation: str, experiment: dict) -> str | None:
    """Return the name of the sweep that decides the step size of a simulation, or None."""
    settings = experiment["simulate"][simulation]
    return experiment["simulate"][settings.get("control_of", simulation)].get("tuned")


def _length(experiment: dict, simulation: str) -> float | None:
    settings = resolved(simulation, experiment)
    return settings["step_size"] * settings["iterations"] if settings else None


def candidates(sweep: dict) -> list[dict]:
    """Return step size and hyper-parameters of every candidate of a sweep, the first key of the grid slowest."""
    names = sorted(sweep["grid"], key=lambda name: (name != "step_size", name))
    return [
        {
            "step_size": values[0],
            "hyperparameters": {**sweep.get("hyperparameters", {}), **dict(zip(names[1:], values[1:], strict=True))},
        }
        for values in itertools.product(*(sweep["grid"][name] for name in names))
    ]


def record_times(experiment: dict, limit: dict) -> list[float]:
    """Return the times at which a limit equation is recorded: those of every simulation, and a log grid of its own.

    Those of a simulation are its iterations in units of its step size, and in the clock of SGD that keeps pace with it.
    The own grid spans four decades up to the horizon, with the round numbers in it.
    """
    horizon = float(limit["horizon"])
    start = math.log10(horizon) - 4
    own = np.logspace(start, math.log10(horizon), 4 * limit["records_per_decade"] + 1)
    decades = range(math.floor(start), math.ceil(math.log10(horizon)) + 1)
    round_ones = {float(f"{m}e{n}") for n in decades for m in range(1, 10)}
    times = {0.0, horizon, *(float(t) for t in own[:-1]), *(t for t in round_ones if t >= own[0])}
    for name in experiment["simulate"]:
        settings = resolved(name, experiment)
        if settings:
            steps = {settings["step_size"], _matched(settings, experiment) or settings["step_size"]}
            times.update(k * step for k in record_iterations(settings) for step in steps)
    for study in experiment.get("widths", {}).values():
        step = _matched(study, experiment) or study["step_size"]
        times.update(k * step for k in record_iterations(study))
    return united(t for t in times if t <= horizon * (1 + 1e-9))


# -- what decides the numbers of each job ---------------------------------------------------------------------------


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
    """Return everything that decides the numbers of one simulation, and nothing else, but for what a sweep decides."""
    block = config["experiments"][experiment]
    settings = block["simulate"][simulation]
    target = settings.get("control_of")
    numbers = resolved(simulation, block)
    if numbers is None:  # the job reads the sweep's best candidate and completes this
        numbers = {"tuned": block["simulate"][target or simulation]["tuned"], **settings}
    kept = ("method", "step_size", "hyperparameters", "precision", "snapshots", "tuned", "control_of")
    return {
        "experiment": experiment,
        "simulation": simulation,
        "seed": config["seed"],
        "neurons": block["neurons"],
        **_common(config, experiment),
        "settings": {key: numbers[key] for key in kept if key in numbers},
        "iterations": record_iterations(settings),
    }


def sweep_parameters(config: dict, experiment: str, sweep: str) -> dict:
    """Return everything that decides the numbers of one sweep, and nothing else."""
    block = config["experiments"][experiment]
    settings = block["sweeps"][sweep]
    kept = ("method", "precision", "evaluations", "horizon", "looks")
    return {
        "experiment": experiment,
        "sweep": sweep,
        "seed": config["seed"],
        "neurons": block["neurons"],
        **_common(config, experiment),
        "settings": {key: settings[key] for key in kept if key in settings},
        "candidates": candidates(settings),
        "replicates": [settings["first_replicate"], settings["first_replicate"] + settings["replicates"]],
    }


def width_parameters(config: dict, experiment: str, study: str) -> dict:
    """Return everything that decides the numbers of one width study, and nothing else."""
    block = config["experiments"][experiment]
    settings = block["widths"][study]
    kept = ("method", "step_size", "hyperparameters", "precision")
    return {
        "experiment": experiment,
        "study": study,
        "seed": config["seed"],
        **_common(config, experiment),
        "settings": {**{key: settings[key] for key in kept}, "snapshots": {}},
        "iterations": record_iterations(settings),
        "widths": settings["neurons"],
        "replicates": [settings["first_replicate"], settings["first_replicate"] + settings["replicates"]],
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


def study_limits(config: dict, experiment: str, study: str) -> list[str]:
    """Return the limit equations that a width study is compared with: none with the noise of another step size."""
    block = config["experiments"][experiment]
    step = block["widths"][study]["step_size"]
    return [name for name, settings in block["solve"].items() if settings.get("step_size", step) == step]


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
    block = config["experiments"][experiment]
    settings = block[part][name]
    if part == "solve":
        return (registry.module_name(registry.SOLVERS, settings["solver"]),)
    methods = [settings["method"]] if "method" in settings else []
    if part == "simulate":
        target = block["simulate"].get(settings.get("control_of"), settings)
        methods += [target["method"]] if "method" in target else [block["sweeps"][target["tuned"]]["method"]]
    return tuple(dict.fromkeys(registry.module_name(registry.METHODS, method) for method in methods))
