"""Read, validate and cross-check the configuration; nothing here runs an experiment.

Every problem is reported as one line that names the key, what was found and what is allowed.
"""

import dataclasses
import difflib
import itertools
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import yaml

from meanfield import registry
from meanfield.errors import ConfigError

RESERVED = ("limits", "convergence")
# Longest mean-field time that a simulation may cover; longer runs are surely a slip in step size or iterations.
LARGEST_TIME = 1.0e6


def prune(value: Any) -> Any:
    """Return a copy without the entries that are null, and with its keys in order.

    An overlay removes an entry by setting it to null, and must not change results by the order of its keys.
    """
    if isinstance(value, dict):
        kept = {key: prune(item) for key, item in value.items() if item is not None}
        return {key: kept[key] for key in sorted(kept, key=str)}
    if isinstance(value, list):
        return [prune(item) for item in value]
    return value


def merge(base: dict, overlay: dict) -> dict:
    """Return `base` with `overlay` merged in, mappings deeply and everything else replaced, as Snakemake does."""
    merged = dict(base)
    for key, item in overlay.items():
        if isinstance(item, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], item)
        else:
            merged[key] = item
    return merged


def load_config(path: str | Path, overlays: list[str | Path] = (), *, schema: str | Path) -> dict:
    """Read a configuration file and its overlays, and check the result; see `check`."""
    config: dict = {}
    for file in [path, *overlays]:
        try:
            loaded = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            where = getattr(error, "problem_mark", None)
            line = f" line {where.line + 1}" if where else ""
            problem = getattr(error, "problem", None) or type(error).__name__
            raise ConfigError(f"{file}:{line} is not YAML: {problem}") from error
        if loaded is None:
            continue
        if not isinstance(loaded, dict):
            raise ConfigError(f"{file}: a mapping is needed at the top, found {_kind(loaded)}")
        config = merge(config, loaded)
    return check(config, schema)


def check(config: dict, schema: str | Path) -> dict:
    """Return the configuration without null entries if it is valid.

    Raises
    ------
    ConfigError
        With one line per problem: first those of the schema, then, if there are none, those of the cross-checks.

    """
    config = prune(config)
    problems = schema_problems(config, schema) or reference_problems(config)
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def schema_problems(config: dict, schema: str | Path) -> list[str]:
    """Return one line per violation of the JSON schema."""
    with Path(schema).open(encoding="utf-8") as stream:
        validator = jsonschema.Draft202012Validator(yaml.safe_load(stream))
    problems = [
        line
        for error in sorted(validator.iter_errors(config), key=lambda e: [str(p) for p in e.absolute_path])
        for line in _explain(error)
    ]
    problems.extend(f"config: {key}: {value} is not a finite number" for key, value in _nonfinite(config))
    return list(dict.fromkeys(problems))


def _explain(error: jsonschema.ValidationError) -> list[str]:
    key = ".".join(str(part) for part in error.absolute_path) or "top level"
    found = error.instance
    rule = error.validator_value
    if error.validator in ("if", "then", "else", "allOf") and error.context:
        return [line for inner in error.context for line in _explain(inner)]
    match error.validator:
        case "additionalProperties":
            allowed = sorted(error.schema.get("properties", {}))
            return [
                f"config: {key}: unknown key {name!r}{_suggest(name, allowed)}; allowed: {', '.join(allowed)}"
                for name in found
                if name not in error.schema.get("properties", {})
            ]
        case "required":
            return [f"config: {key}: key {name!r} is missing" for name in rule if name not in found]
        case "type":
            hint = ""
            if isinstance(found, str) and rule in ("number", "integer") and _is_number(found):
                hint = "; YAML needs a dot and a signed exponent, as in 1.0e-6"
            return [f"config: {key}: {_kind(found)} {_show(found)} found, {rule} needed{hint}"]
        case "enum":
            allowed = [str(item) for item in rule]
            return [
                f"config: {key}: {_show(found)} found{_suggest(str(found), allowed)}; allowed: {', '.join(allowed)}"
            ]
        case "pattern":
            return [f"config: {key}: {_show(found)} found; it must match {rule}"]
    words = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
        "minItems": "a length of at least",
        "maxItems": "a length of at most",
        "minLength": "a length of at least",
        "maxLength": "a length of at most",
        "minProperties": "a number of entries of at least",
    }
    if error.validator in words:
        return [f"config: {key}: {_show(found)} found, {words[error.validator]} {rule} needed"]
    return [f"config: {key}: {' '.join(error.message.split())[:200]}"]


def reference_problems(config: dict) -> list[str]:
    """Return one line per problem that a schema cannot see: names that point nowhere, times that do not fit."""
    problems: list[str] = []
    for name, activation in config["activations"].items():
        problems += _activation_problems(f"activations.{name}", activation)
    for name, experiment in config["experiments"].items():
        problems += _experiment_problems(config, f"experiments.{name}", experiment)
    for name, figure in config["figures"].items():
        for item in figure["data"]:
            problems += _data_problems(config, f"figures.{name}.data", item)
    return [f"config: {line}" for line in problems]


def _activation_problems(key: str, activation: dict) -> list[str]:
    if activation["kind"] != "piecewise_linear":
        return []
    knots, values = activation["knots"], activation["values"]
    if len(knots) != len(values):
        return [f"{key}: {len(knots)} knots but {len(values)} values found; one value per knot needed"]
    if any(b <= a for a, b in itertools.pairwise(knots)):
        return [f"{key}.knots: {_show(knots)} found; they must increase strictly"]
    return []


def _experiment_problems(config: dict, key: str, experiment: dict) -> list[str]:
    problems = []
    activation = experiment["problem"]["activation"]
    if activation not in config["activations"]:
        known = sorted(config["activations"])
        problems.append(
            f"{key}.problem.activation: {activation!r} found{_suggest(activation, known)}; known: {', '.join(known)}"
        )
    for name in sorted(set(experiment["simulate"]) & set(experiment["solve"])):
        problems.append(f"{key}: {name!r} is both under simulate and under solve; names must differ")
    for part in ("simulate", "solve"):
        problems += [f"{key}.{part}: the name {name!r} is reserved" for name in RESERVED if name in experiment[part]]
    longest = 0.0
    for name, simulation in experiment["simulate"].items():
        problems += _simulation_problems(f"{key}.simulate.{name}", simulation)
        longest = max(longest, simulation["step_size"] * simulation["iterations"])
    for name, limit in experiment["solve"].items():
        horizon = limit["horizon"]
        if longest <= LARGEST_TIME and horizon < longest * (1 - 1e-9):
            problems.append(
                f"{key}.solve.{name}.horizon: {horizon} found, but a simulation runs to t = {longest:.6g}; "
                "at least that is needed"
            )
    if "convergence" in experiment:
        times = experiment["convergence"]["times"]
        if any(b <= a for a, b in itertools.pairwise(times)):
            problems.append(f"{key}.convergence.times: {_show(times)} found; they must increase strictly")
    return problems


def _simulation_problems(key: str, simulation: dict) -> list[str]:
    problems = []
    method = simulation["method"]
    if method not in registry.METHODS:
        known = sorted(registry.METHODS)
        return [f"{key}.method: {method!r} found{_suggest(method, known)}; known: {', '.join(known)}"]
    kind = registry.load(registry.METHODS, method).Hyperparameters
    allowed = {f.name for f in dataclasses.fields(kind)}
    given = set(simulation["hyperparameters"])
    for name in sorted(given - allowed):
        listed = ", ".join(sorted(allowed)) or "none"
        problems.append(
            f"{key}.hyperparameters: unknown key {name!r}{_suggest(name, sorted(allowed))}; {method} takes: {listed}"
        )
    problems += [f"{key}.hyperparameters: key {name!r} is missing" for name in sorted(allowed - given)]
    if given == allowed:
        try:
            kind(**simulation["hyperparameters"])
        except ValueError as error:
            problems.append(f"{key}.hyperparameters.{error}")
    time = simulation["step_size"] * simulation["iterations"]
    if time > LARGEST_TIME:
        problems.append(
            f"{key}: step_size * iterations = {time:.3g} found, a mean-field time of at most {LARGEST_TIME:.0e} needed"
        )
    for name, iteration in simulation["snapshots"].items():
        if iteration > simulation["iterations"]:
            problems.append(
                f"{key}.snapshots.{name}: iteration {iteration} found, but the run ends at {simulation['iterations']}"
            )
    return problems


def _data_problems(config: dict, key: str, item: str) -> list[str]:
    name, tail = item.split("/")
    experiments = config["experiments"]
    if name not in experiments:
        known = sorted(experiments)
        return [f"{key}: experiment {name!r} of {item!r} is unknown{_suggest(name, known)}; known: {', '.join(known)}"]
    experiment = experiments[name]
    known = sorted(experiment["simulate"])
    if experiment["solve"]:
        known.append("limits")
    if "convergence" in experiment:
        known.append("convergence")
    if tail not in known:
        return [f"{key}: {tail!r} of {item!r} is unknown{_suggest(tail, known)}; known: {', '.join(known)}"]
    return []


# -- what follows from a valid configuration ------------------------------------------------------------------------


def record_iterations(simulation: dict) -> list[int]:
    """Return the iterations at which a run is recorded.

    They are 0, log-spaced ones, the round numbers 1, 2, …, 9 times powers of ten, the snapshots, and the last.
    """
    last = simulation["iterations"]
    count = math.ceil(math.log10(last) * simulation["records_per_decade"]) + 1
    spaced = np.rint(np.logspace(0, math.log10(last), max(count, 2))).astype(int)
    decades = range(len(str(last)))
    round_ones = {m * 10**n for n in decades for m in range(1, 10)}
    wanted = {0, last, *simulation["snapshots"].values(), *(int(k) for k in spaced), *round_ones}
    return sorted(k for k in wanted if k <= last)


def record_times(experiment: dict, limit: dict) -> list[float]:
    """Return the times at which a limit equation is recorded: those of every simulation, and a log grid of its own.

    The own grid spans four decades up to the horizon, with the round numbers in it.
    """
    horizon = float(limit["horizon"])
    start = math.log10(horizon) - 4
    own = np.logspace(start, math.log10(horizon), 4 * limit["records_per_decade"] + 1)
    decades = range(math.floor(start), math.ceil(math.log10(horizon)) + 1)
    round_ones = {float(f"{m}e{n}") for n in decades for m in range(1, 10)}
    times = {0.0, horizon, *(float(t) for t in own[:-1]), *(t for t in round_ones if t >= own[0])}
    for simulation in experiment["simulate"].values():
        times.update(k * simulation["step_size"] for k in record_iterations(simulation))
    kept = sorted(t for t in times if t <= horizon * (1 + 1e-9))
    # Times that differ by rounding alone are one time.
    return [t for n, t in enumerate(kept) if n == 0 or t - kept[n - 1] > 1e-12 * t]


def chunks(simulation: dict, replicates_per_job: int) -> list[range]:
    """Return the replicates of each job."""
    total = simulation["replicates"]
    return [range(first, min(first + replicates_per_job, total)) for first in range(0, total, replicates_per_job)]


# -- the parameter page ---------------------------------------------------------------------------------------------


def parameter_page(schema: str | Path) -> str:
    """Return the documentation of every key as Markdown, rendered from the schema."""
    root = yaml.safe_load(Path(schema).read_text(encoding="utf-8"))
    lines = [
        "# Parameters",
        "",
        "Rendered from `schemas/config.schema.yaml` by `python -m meanfield parameters`; a test keeps it current.",
        "`<name>` stands for a name of your choice.",
        "",
        "| key | type | allowed | meaning [unit] |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{key}` | {kind} | {bounds} | {text} |" for key, kind, bounds, text in _parameters(root, root, "")]
    return "\n".join(lines) + "\n"


def _parameters(block: dict | bool, root: dict, key: str):
    if not isinstance(block, dict):
        return
    if "$ref" in block:
        block = {**root["$defs"][block["$ref"].rsplit("/", 1)[-1]], **{k: v for k, v in block.items() if k != "$ref"}}
    if key:
        kind = block.get("type", "choice" if "enum" in block else "")
        if kind == "array" and isinstance(block.get("items"), dict):
            kind = f"list of {block['items'].get('type', '')}"
        yield key, kind, _bounds(block), block.get("description", "").replace("|", "/")
    for part in (block, block.get("then", {}), block.get("else", {})):
        for name, inner in part.get("properties", {}).items():
            if inner is not True:
                yield from _parameters(inner, root, f"{key}.{name}" if key else name)
    if isinstance(block.get("additionalProperties"), dict):
        yield from _parameters(block["additionalProperties"], root, f"{key}.<name>")


def _bounds(block: dict) -> str:
    if "enum" in block:
        return ", ".join(f"`{item}`" for item in block["enum"])
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {block[word]:g}" for word, sign in words.items() if word in block)


# -- words ----------------------------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    names = {dict: "mapping", list: "list", str: "text", bool: "boolean", int: "integer", float: "number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def _show(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _nonfinite(value: Any, key: str = ""):
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _nonfinite(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from _nonfinite(item, f"{key}.{n}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield key, value
