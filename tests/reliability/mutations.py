"""Thousands of configurations with random slips: valid or refused in lines; what is valid can be planned."""

import copy
import random
import signal
from collections import Counter
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from meanfield import config as configuration
from meanfield.errors import ConfigError
from tests.reliability.common import ROOT, Row, quick_project, tally

SCHEMA = ROOT / "schemas/config.schema.yaml"
_SECONDS = 30

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10),
    st.integers(-(10**18), 10**18),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1e-300, 1e300, -1.0, "", "1e-6", "nan", "sgd", "../x", "a b", "é", "\n"]),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(-2, 5), st.floats(), st.text(max_size=3)), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


def paths(value, prefix=()):
    """Yield the path of every entry, those of lists included."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*prefix, key)
            yield from paths(item, (*prefix, key))


def reduced(config: dict, experiment: str) -> dict:
    """Return the configuration with one experiment and the figures that need no other."""
    config = copy.deepcopy(config)
    config["experiments"] = {experiment: config["experiments"][experiment]}
    config["figures"] = {
        name: figure
        for name, figure in config["figures"].items()
        if all(item.split("/")[0] == experiment for item in figure["data"])
    }
    return config


def completed(base: dict, config: dict) -> dict:
    """Return a reduced and mutated configuration with the other experiments and figures back in."""
    found = {**base, **config}
    for part in ("experiments", "figures"):
        found[part] = {**base[part], **config[part]}
    return found


def mutate(data, config: dict) -> str:
    """Change one random entry in place; returns how."""
    path = data.draw(st.sampled_from(sorted(paths(config), key=str)))
    block = config
    for part in path[:-1]:
        block = block[part]
    kind = data.draw(st.sampled_from(["other value", "other value", "removed", "other key", "scaled"]))
    last = path[-1]
    if kind == "removed":
        del block[last]
    elif kind == "other key" and isinstance(block, dict):
        block[data.draw(st.text(max_size=6)) if data.draw(st.booleans()) else f"{last}s"] = block.pop(last)
    elif kind == "scaled" and isinstance(block[last], int | float):
        block[last] *= data.draw(st.sampled_from([-1, 0, 10, 1000, 0.5, 1e9]))
    else:
        block[last] = data.draw(LEAVES)
    return kind


def verdict(config: dict) -> str:
    """Return what comes of checking a configuration."""

    def late(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        configuration.check(config, SCHEMA)
    except ConfigError as error:
        lines = str(error).splitlines()
        odd = [line for line in lines if not line.startswith("config: ") or len(line) > 1000]
        return f"refused otherwise: {odd[0][:200]}" if odd else "refused in lines that name the key"
    except TimeoutError:
        return "hang"
    except Exception as error:
        return f"traceback: {type(error).__name__}"
    finally:
        signal.alarm(0)
    return "valid"


def run(work: Path, count: int, start: int) -> list[Row]:
    """Check `count` mutated configurations; plan a fiftieth as many of the valid ones."""
    full = configuration.read_mapping(ROOT / "config.yaml")
    tiny = configuration.merge(full, configuration.read_mapping(ROOT / "tests/tiny.yaml"))
    scales = [configuration.prune(full), configuration.prune(tiny)]
    bases = [(base, reduced(base, name)) for base in scales for name in base["experiments"]]
    outcomes, valid = Counter(), []

    @seed(start)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def mutated(data):
        base, whole = data.draw(st.sampled_from(bases))
        config = copy.deepcopy(whole)
        for _ in range(data.draw(st.integers(1, 3))):
            mutate(data, config)
        before = copy.deepcopy(config)
        outcome = verdict(config)
        outcomes[outcome] += 1
        if outcome == "valid":
            valid.append(completed(base, before))

    mutated()
    good = {"valid", "refused in lines that name the key"}
    checked = tally(
        "mutated configurations", "1 to 3 random changes to an experiment, checked",
        "valid, or refused in lines that name the key; no traceback, no hang", outcomes, good,
    )  # fmt: skip
    return [checked, _planned(work, valid, max(1, count // 50), random.Random(start))]


def _planned(work: Path, valid: list[dict], count: int, rng: random.Random) -> Row:
    outcomes = Counter()
    project = quick_project(work / "project")
    project.overlays = []
    for config in rng.sample(valid, min(count, len(valid))):
        project.path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        try:
            done = project.run("--dry-run", "--quiet", "all", "--forceall", check=False)
        except Exception as error:
            outcomes[type(error).__name__] += 1
            continue
        text = done.stdout + done.stderr
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        if "Traceback" in text:
            outcomes["traceback"] += 1
        elif done.returncode == 0:
            outcomes["planned"] += 1
        elif errors and len(errors[0]) < 1000:
            outcomes[f"refused in a line ({errors[0].split(':')[1].strip()[:30]})"] += 1
        else:
            outcomes["refused otherwise"] += 1
    return tally(
        "valid mutated configurations", "a dry run with one that the check took", "planned, or refused in a line",
        outcomes, {one for one in outcomes if one == "planned" or one.startswith("refused in a line")},
    )  # fmt: skip
