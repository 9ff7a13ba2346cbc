"""Read, validate and cross-check the configuration; nothing here runs an experiment.

Every problem is reported as one line that names the key, what was found and what is allowed.
"""

import functools
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from meanfield import registry, words
from meanfield.errors import ConfigError

# libyaml, where PyYAML was built with it, reads the same language ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Parts of an experiment that a figure may ask for as a whole.
LISTED_PARTS = ("simulate", "sweeps", "widths")


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
        config = merge(config, read_mapping(file))
    return check(config, schema)


def read_mapping(file: str | Path) -> dict:
    """Read a YAML file that holds a mapping; an empty one holds none.

    Raises
    ------
    ConfigError
        With one line if it cannot be read, is not YAML, or holds something else.

    """
    try:
        loaded = yaml.load(Path(file).read_text(encoding="utf-8"), LOADER)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise ConfigError(f"{file}:{line} is not YAML: {problem}") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise ConfigError(f"{file}: a mapping is needed at the top, found {words.kind(loaded)}")
    return loaded or {}


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
        # A key or a text may hold line breaks of all sorts.
        raise ConfigError("\n".join(" ".join(line.splitlines()) for line in problems))
    for figure in config["figures"].values():
        listed = [name for item in figure["data"] for name in entries(config, item)]
        figure["data"] = list(dict.fromkeys(listed))
    return config


def entries(config: dict, item: str) -> list[str]:
    """Return the datasets that an item of a figure's data stands for.

    An item that names a part of an experiment, such as isotropic/simulate, stands for all entries of that part: what is
    added there appears in the figure. Any other item stands for itself.
    """
    name, tail = item.split("/")
    experiment = config["experiments"][name]
    if tail in LISTED_PARTS and isinstance(experiment.get(tail), dict):
        return [f"{name}/{entry}" for entry in experiment[tail]]
    return [item]


@functools.cache
def _schema(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), LOADER)


# JSON counts 1.0e+6 among the integers; Python's `range` does not.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, found: isinstance(found, int) and not isinstance(found, bool)
    ),
)


def schema_problems(config: dict, schema: str | Path, name: str = "config") -> list[str]:
    """Return one line per violation of the JSON schema; each begins with the name of what is checked.

    Whole numbers that are written with a point, as 1.0e+6, become integers where the schema wants integers.
    """
    validator = _Validator(_schema(Path(schema)))
    errors = list(validator.iter_errors(config))
    if _make_integers(config, errors):
        errors = list(validator.iter_errors(config))
    problems = [
        f"{name}: {line}"
        for error in sorted(errors, key=lambda e: [str(p) for p in e.absolute_path])
        for line in _explain(error)
    ]
    problems.extend(f"{name}: {key}: {value} is not a finite number" for key, value in words.nonfinite(config))
    return list(dict.fromkeys(problems))


def _make_integers(config: dict, errors: Iterable[jsonschema.ValidationError]) -> bool:
    # Replaces numbers that are integers in all but type where one is needed; returns whether there were any.
    changed = False
    for error in errors:
        found = error.instance
        if error.validator == "type" and error.validator_value == "integer":
            if isinstance(found, float) and found.is_integer():
                *path, last = error.absolute_path
                functools.reduce(lambda block, key: block[key], path, config)[last] = int(found)
                changed = True
        elif error.context:
            changed |= _make_integers(config, error.context)
    return changed


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
                f"{key}: unknown key {name!r}{words.suggest(name, allowed)}; allowed: {', '.join(allowed)}"
                for name in found
                if name not in error.schema.get("properties", {})
            ]
        case "required":
            return [f"{key}: key {name!r} is missing" for name in rule if name not in found]
        case "type":
            hint = ""
            if isinstance(found, str) and rule in ("number", "integer") and words.is_number(found):
                hint = "; YAML needs a dot and a signed exponent, as in 1.0e-6"
            return [f"{key}: {words.kind(found)} {words.show(found)} found, {rule} needed{hint}"]
        case "enum":
            allowed = [str(item) for item in rule]
            hint = words.suggest(str(found), allowed)
            return [f"{key}: {words.show(found)} found{hint}; allowed: {', '.join(allowed)}"]
        case "uniqueItems":
            return [f"{key}: {words.show(found)} found; entries must differ"]
        case "pattern":
            return [f"{key}: {words.show(found)} found; it must match {rule}"]
    phrases = {
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
    if error.validator in phrases:
        return [f"{key}: {words.show(found)} found, {phrases[error.validator]} {rule} needed"]
    return [f"{key}: {' '.join(error.message.split())[:200]}"]


def reference_problems(config: dict) -> list[str]:
    """Return one line per problem that a schema cannot see: names that point nowhere, times that do not fit."""
    problems: list[str] = []
    for name, activation in config["activations"].items():
        problems += _activation_problems(f"activations.{name}", activation)
    for name, experiment in config["experiments"].items():
        problems += registry.family(experiment).problems(config, f"experiments.{name}", experiment)
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
        return [f"{key}.knots: {words.show(knots)} found; they must increase strictly"]
    return []


def _data_problems(config: dict, key: str, item: str) -> list[str]:
    name, tail = item.split("/")
    experiments = config["experiments"]
    if name not in experiments:
        known = sorted(experiments)
        return [
            f"{key}: experiment {name!r} of {item!r} is unknown{words.suggest(name, known)}; known: {', '.join(known)}"
        ]
    known = sorted(registry.family(experiments[name]).datasets(experiments[name]))
    if tail in LISTED_PARTS and isinstance(experiments[name].get(tail), dict):
        return []
    if tail not in known:
        return [f"{key}: {tail!r} of {item!r} is unknown{words.suggest(tail, known)}; known: {', '.join(known)}"]
    return []


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
    yield from _properties(block, root, key)
    for part in block.get("allOf", []):  # the families of experiments
        family = part["then"]["$ref"].rsplit("_", 1)[-1]
        yield from _properties(root["$defs"][f"experiment_{family}"], root, f"{key} ({family})")
    if isinstance(block.get("items"), dict) and not _is_leaf(block["items"], root):
        yield from _parameters(block["items"], root, f"{key}.<number>")
    if isinstance(block.get("additionalProperties"), dict):
        yield from _parameters(block["additionalProperties"], root, f"{key}.<name>")


def _properties(block: dict, root: dict, key: str):
    for part in (block, block.get("then", {}), block.get("else", {})):
        for name, inner in part.get("properties", {}).items():
            if inner is not True:
                yield from _parameters(inner, root, f"{key}.{name}" if key else name)


def _is_leaf(block: dict, root: dict) -> bool:
    if "$ref" in block:
        block = root["$defs"][block["$ref"].rsplit("/", 1)[-1]]
    return "properties" not in block


def _bounds(block: dict) -> str:
    if "enum" in block:
        return ", ".join(f"`{item}`" for item in block["enum"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {block[word]:g}" for word, sign in signs.items() if word in block)
