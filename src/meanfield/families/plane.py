"""Potentials on the plane: optimisers and samplers from common random starts, and the smoothings of the potential."""

import itertools
import math

from meanfield import registry, words
from meanfield.families.common import method_problems
from meanfield.problems.plane import potential_from

# What the kinds of potentials and of smoothings hold besides their kind.
POTENTIALS = {"muller_brown": (), "narrow_well": ("depth", "centre", "width"), "plane_terms": ("terms",)}
SMOOTHINGS = {
    "none": (),
    "heat": ("variance",),
    "local_entropy": ("time", "temperature", "spacing", "margin"),
    "hopf_lax": ("time", "spacing", "margin"),
    "inner_langevin": ("time", "temperature", "step_size", "inner_steps", "burn_in"),
}
# Methods whose agents move by rules of their own: the gradient cannot be replaced, nor noise be added to it.
CLOSED = ("entropy_sgd", "mf_homsgld", "affine_langevin")
# Those that run in compiled lanes; any other runs by its plain definition, on the potential or under heat smoothing.
COMPILED = ("sgd", "langevin", "heavy_ball", "nesterov", "nesterov_restart", "nesterov_rational", "mass", *CLOSED)
LARGEST_GRID = 4000
# The same for the comparison of heat smoothing with a convolution.
LARGEST_CHECK = 2000


def problems(config: dict, key: str, experiment: dict) -> list[str]:
    """Return one line per problem of an experiment that the schema cannot see."""
    found = _kind_problems(f"{key}.problem", experiment["problem"], POTENTIALS)
    found += [f"{key}.{name}: {line}" for name in ("window", "domain") for line in _box_problems(experiment[name])]
    if found:
        return found
    window, domain = experiment["window"], experiment["domain"]
    if not all(domain[n] <= window[n] and window[n + 1] <= domain[n + 1] for n in (0, 2)):
        found.append(f"{key}.domain: {words.show(domain)} found; it must contain the window {words.show(window)}")
    low, high = experiment["analyse"]["histogram_range"]
    if low >= high:
        found.append(f"{key}.analyse.histogram_range: {words.show([low, high])} found; they must increase strictly")
    bound = potential_from(experiment["problem"]).smoothing_bound
    for name, settings in experiment["simulate"].items():
        for n, phase in enumerate(settings["phases"]):
            where = f"{key}.simulate.{name}.phases.{n}"
            found += _phase_problems(where, phase, experiment, bound)
    for part in ("trajectories", "sensitivity"):
        runs = experiment.get(part, {}).get("runs", [])
        found += [
            words.unknown(f"{key}.{part}.runs", run, experiment["simulate"])
            for run in runs
            if run not in experiment["simulate"]
        ]
    study = experiment.get("sensitivity", {})
    found += [
        words.unknown(f"{key}.sensitivity.compared", run, study["runs"])
        for run in study.get("compared", [])
        if run not in study["runs"]
    ]
    if "smoothing" in experiment:
        side = max(window[1] - window[0], window[3] - window[2])
        found += _smoothing_study_problems(f"{key}.smoothing", experiment["smoothing"], bound, side)
    return found


def _kind_problems(key: str, block: dict, kinds: dict[str, tuple]) -> list[str]:
    kind = block["kind"]
    wanted = kinds[kind]
    found = [f"{key}: key {name!r} is missing, which {kind} needs" for name in wanted if name not in block]
    taken = ", ".join(wanted) or "none"
    return found + [
        f"{key}: unknown key {name!r}{words.suggest(name, list(wanted))}; {kind} takes: {taken}"
        for name in block
        if name not in ("kind", *wanted)
    ]


def _box_problems(box: list) -> list[str]:
    if box[0] < box[1] and box[2] < box[3]:
        return []
    return [f"{words.show(box)} found; least x < greatest x and least y < greatest y needed"]


def _phase_problems(key: str, phase: dict, experiment: dict, bound: float) -> list[str]:
    found = method_problems(key, phase, registry.PLANE_METHODS)
    smoothing = phase.get("smoothing", {"kind": "none"})
    found += _kind_problems(f"{key}.smoothing", smoothing, SMOOTHINGS)
    if found:
        return found
    method, given = phase["method"], phase["hyperparameters"]
    if method in CLOSED and (smoothing["kind"] != "none" or phase.get("gradient_noise", 0) > 0):
        found.append(f"{key}: {method} takes neither smoothing nor gradient_noise; it has its own")
    if method not in COMPILED and smoothing["kind"] not in ("none", "heat"):
        found.append(f"{key}.smoothing.kind: {smoothing['kind']} found; {method} runs with none or heat")
    if smoothing["kind"] == "heat" and smoothing["variance"] >= bound:
        found.append(f"{key}.smoothing.variance: {smoothing['variance']} found, less than {bound:g} needed")
    if smoothing["kind"] == "local_entropy" and smoothing["temperature"] <= 0:
        found.append(f"{key}.smoothing.temperature: {smoothing['temperature']} found, more than 0 needed")
    if "spacing" in smoothing:
        window = experiment["window"]
        nodes = max((window[n + 1] - window[n] + 2 * smoothing["margin"]) / smoothing["spacing"] for n in (0, 2))
        if nodes > LARGEST_GRID:
            found.append(
                f"{key}.smoothing.spacing: {smoothing['spacing']} found, which makes {nodes:.0f} nodes along an axis; "
                f"at most {LARGEST_GRID} allowed"
            )
    if smoothing["kind"] == "inner_langevin":
        if smoothing["burn_in"] >= smoothing["inner_steps"]:
            found.append(
                f"{key}.smoothing.burn_in: {smoothing['burn_in']} found, less than inner_steps = "
                f"{smoothing['inner_steps']} needed"
            )
        if given.get("scheme") == "function":
            found.append(f"{key}.hyperparameters.scheme: function found, but inner_langevin knows no values")
    if given.get("regularisation", 0) != 0:
        found.append(f"{key}.hyperparameters.regularisation: {given['regularisation']} found, 0 needed on the plane")
    agents = agents_of(phase)
    for part, starts in (("starts", experiment["starts"]), *_sensitivity_starts(experiment)):
        if starts % agents:
            found.append(f"{key}.hyperparameters.agents: {agents} found, which does not divide {part} = {starts}")
    return found


def _sensitivity_starts(experiment: dict) -> list[tuple[str, int]]:
    return [("sensitivity.starts", experiment["sensitivity"]["starts"])] if "sensitivity" in experiment else []


def _smoothing_study_problems(key: str, study: dict, bound: float, side: float) -> list[str]:
    found = []
    times = study["times"]
    if times["least"] >= times["greatest"]:
        found.append(f"{key}.times.greatest: {times['greatest']} found, more than least = {times['least']} needed")
    for n, time in enumerate(study["shown"]):
        if not times["least"] <= time <= times["greatest"]:
            found.append(f"{key}.shown.{n}: {time} found, which is not between times.least and times.greatest")
        if time * study["temperature"] >= bound:
            found.append(f"{key}.shown.{n}: {time} found, but time * temperature must be less than {bound:g}")
    if any(b <= a for a, b in itertools.pairwise(study["shown"])):
        found.append(f"{key}.shown: {words.show(study['shown'])} found; they must increase strictly")
    for n, variance in enumerate(study["checked_variances"]):
        if variance >= bound:
            found.append(f"{key}.checked_variances.{n}: {variance} found, less than {bound:g} needed")
        if 4 * side / math.sqrt(variance) > LARGEST_CHECK:
            least = (4 * side / LARGEST_CHECK) ** 2
            found.append(f"{key}.checked_variances.{n}: {variance} found, at least {least:.3g} needed in this window")
    return found


def datasets(experiment: dict) -> list[str]:
    """Return the names of the analysed datasets that a figure may show."""
    optional = [name for name in ("smoothing", "sensitivity", "trajectories") if name in experiment]
    return ["surface", "minima", *optional]


# -- what decides the numbers of each job ---------------------------------------------------------------------------


def agents_of(phase: dict) -> int:
    """Return how many agents move together in a phase, the method's default where the configuration says nothing."""
    kind = registry.load(registry.PLANE_METHODS, phase["method"]).Hyperparameters
    return vars(kind(**phase["hyperparameters"])).get("agents", 1)


def _conditions(block: dict) -> dict:
    return {
        "problem": block["problem"], "window": block["window"], "domain": block["domain"],
        **{name: block["descent"][name] for name in ("largest_gradient", "tolerance")}, "polish": block["polish"],
    }  # fmt: skip


def simulation_parameters(config: dict, experiment: str, simulation: str) -> dict:
    """Return everything that decides the numbers of one run, and nothing else."""
    block = config["experiments"][experiment]
    phases = block["simulate"][simulation]["phases"]
    return {
        "experiment": experiment,
        "simulation": simulation,
        "seed": config["seed"],
        **_conditions(block),
        "starts": block["starts"],
        "phases": phases,
        "recorded": {
            "starts": block.get("trajectories", {}).get("starts", 0),
            **{name: block["descent"][name] for name in ("record_every", "first_records")},
        },
    }


def surface_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the critical points and basins of one experiment's potential."""
    block = config["experiments"][experiment]
    return {
        "experiment": experiment, "problem": block["problem"], "window": block["window"], "domain": block["domain"],
        "settings": block["surface"],
    }  # fmt: skip


def comparison_parameters(config: dict, experiment: str) -> dict:
    """Return how the runs of one experiment are compared."""
    block = config["experiments"][experiment]
    return {"experiment": experiment, "problem": block["problem"], "settings": block["analyse"]}


def labels(config: dict, experiment: str, part: str) -> dict[str, str]:
    """Return the names of the runs that a comparison takes with their labels, in the order of `order`.

    `part` is ``minima``, which takes all runs, or ``trajectories`` or ``sensitivity``, whose block names them.
    """
    block = config["experiments"][experiment]
    runs = block["simulate"]
    taken = runs if part == "minima" else block[part]["runs"]
    return {name: runs[name]["label"] for name in sorted(taken, key=lambda name: (runs[name]["order"], name))}


def smoothing_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides the study of smoothings of one experiment's potential."""
    block = config["experiments"][experiment]
    return {
        "experiment": experiment, "problem": block["problem"], "window": block["window"],
        "study": {**block["smoothing"], "clip": block["surface"]["clip"]},
    }  # fmt: skip


def sensitivity_parameters(config: dict, experiment: str) -> dict:
    """Return everything that decides how shares depend on step size and temperature."""
    block = config["experiments"][experiment]
    study = block["sensitivity"]
    return {
        "experiment": experiment,
        "seed": config["seed"],
        **_conditions(block),
        "reach": block["analyse"]["reach"],
        "level": block["analyse"]["level"],
        "study": study,
        "runs": {name: block["simulate"][name]["phases"] for name in study["runs"]},
    }


def job_modules(config: dict, experiment: str, simulations: list[str]) -> tuple[str, ...]:
    """Return the modules of the methods that some runs load by name."""
    block = config["experiments"][experiment]
    methods = {phase["method"] for name in simulations for phase in block["simulate"][name]["phases"]}
    return tuple(registry.module_name(registry.PLANE_METHODS, method) for method in sorted(methods))
