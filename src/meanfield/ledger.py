"""The claims ledger as data: read, check, and find what each claim needs. Nothing here looks at a dataset.

Every problem is one line that names the claim, what was found and what is allowed, before any job starts.
"""

import collections
import math
from pathlib import Path
from typing import Any

from meanfield import config as configuration
from meanfield import registry, words
from meanfield.errors import ConfigError

NAME = "claims"
CRITERIA = ("above", "below", "between")


def load_claims(path: str | Path, *, schema: str | Path, config: dict, base: str | Path) -> list[dict[str, Any]]:
    """Read the ledger and check it.

    Parameters
    ----------
    path, schema : path
        `report/claims.yaml` and its JSON schema.
    config : dict
        The checked configuration of this run.
    base : path
        `config.yaml`: a dataset that neither it nor this run has is a slip; one that only this run lacks was removed by
        an overlay.

    Returns
    -------
    list of dict
        The claims.

    Raises
    ------
    ConfigError
        With one line per problem.

    """
    ledger = configuration.prune(configuration.read_mapping(path))
    problems = configuration.schema_problems(ledger, schema, NAME) or _problems(ledger["claims"], config, base)
    if problems:
        raise ConfigError("\n".join(problems))
    return ledger["claims"]


def _problems(claims: list[dict], config: dict, base: str | Path) -> list[str]:
    found = []
    for key in ("id", "number"):
        count = collections.Counter(claim[key] for claim in claims if key in claim)
        found += [f"{NAME}: {key} {words.show(value)} found {n} times; each claim needs its own"
                  for value, n in count.items() if n > 1]  # fmt: skip
    everything = None
    for claim in claims:
        for n, part in enumerate(claim["parts"]):
            where = f"{NAME}: {claim['id']}.parts.{n}"
            given = [key for key in CRITERIA if key in part]
            if not given:
                found.append(f"{where}: no criterion found; above, below, both, or between needed")
            elif "between" in given and len(given) > 1:
                found.append(f"{where}: {', '.join(given)} found; above, below, both, or between needed")
            low, high = part.get("between", (part.get("above", -math.inf), part.get("below", math.inf)))
            if low > high:
                found.append(f"{where}: {words.show([low, high])} found; the least value must come first")
            for item in part["data"]:
                if missing(item, config):
                    if everything is None:
                        everything = configuration.prune(configuration.read_mapping(base))
                    if missing(item, everything):
                        found.append(f"{where}.data: {item!r} found; {missing(item, everything, hint=True)}")
    return found


def missing(item: str, config: dict, *, hint: bool = False) -> str:
    """Return why a configuration has no dataset of a name, experiment/dataset; nothing if it has one.

    With a hint it proposes the name that is nearest.
    """
    name, tail = item.split("/")
    experiments = config["experiments"]
    if name not in experiments:
        text, wrong, known = f"experiment {name!r} is not part of the configuration", name, list(experiments)
    else:
        known = registry.family(experiments[name]).datasets(experiments[name])
        if tail in known:
            return ""
        text, wrong = f"experiment {name!r} has no dataset {tail!r}", tail
    return text + (words.suggest(wrong, known) if hint else "")


def needed(claims: list[dict], config: dict) -> dict[str, str]:
    """Return the datasets that all claims need, each with the reason why this run has none, or nothing."""
    items = sorted({item for claim in claims for part in claim["parts"] for item in part["data"]})
    return {item: missing(item, config) for item in items}
