#!/usr/bin/env python3
"""Write an overlay that gives every simulation many replicates, and say what that costs.

profiles/more_replicates.py 10000 500 > more.yaml        # 10,000 replicates of each, 500 to a job
snakemake --profile profiles/slurm --configfile more.yaml

Run it where the packages of the workflow are installed. The cost is that of the benchmark files of an earlier run.
"""

import sys
from pathlib import Path

import yaml

from meanfield import figure_times
from meanfield.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
RULES = ("simulate_replicates", "simulate_spin3", "simulate_digits", "solve_spin3")
PARTS = ("simulate", "solve")  # whose replicates are split over jobs


def simulations(config):
    """Yield experiment, part, name and settings of everything whose replicates are split over jobs."""
    for experiment, block in config["experiments"].items():
        for part in PARTS:
            entries = block.get(part, {})
            for name, settings in entries.items():
                if isinstance(settings, dict) and "replicates" in settings:
                    yield experiment, part, name, settings


def overlay(config, replicates, per_job):
    """Return the overlay.

    Sweeps tune on replicates that no simulation has; they move out of the way and keep their number.
    """
    found = {"replicates_per_job": per_job, "experiments": {}}
    for experiment, part, name, settings in simulations(config):
        entry = {"replicates": replicates}
        if "replicates_per_job" in settings:
            entry["replicates_per_job"] = per_job
        found["experiments"].setdefault(experiment, {}).setdefault(part, {})[name] = entry
    for experiment, block in config["experiments"].items():
        for name, sweep in block.get("sweeps", {}).items():
            if sweep.get("first_replicate", replicates) < replicates:
                entry = {"first_replicate": replicates}
                found["experiments"].setdefault(experiment, {}).setdefault("sweeps", {})[name] = entry
    return found


def seconds_per_replicate(config, benchmarks):
    """Return what one replicate of each simulation took on one core, where the benchmark files say."""
    taken = {}
    for experiment, _, name, settings in simulations(config):
        files = [file for rule in RULES for file in (benchmarks / rule / experiment / name).glob("*.tsv")]
        if files:
            taken[experiment, name] = sum(figure_times.measure(file)[0] for file in files) / settings["replicates"]
    return taken


def main():
    """Print the overlay, and the cost to the terminal."""
    numbers = [int(one) if one.isdigit() else 0 for one in sys.argv[1:3]]
    if len(sys.argv) not in {3, 4} or min(numbers, default=0) < 1:
        sys.exit(
            "usage: profiles/more_replicates.py REPLICATES PER_JOB [BENCHMARKS] > overlay.yaml; numbers of 1 or more"
        )
    replicates, per_job = numbers
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    yaml.safe_dump(overlay(config, replicates, per_job), sys.stdout)
    benchmarks = Path(sys.argv[3]) if len(sys.argv) == 4 else ROOT / "results/benchmarks"
    try:
        taken = seconds_per_replicate(config, benchmarks)
    except DataError as error:
        sys.exit(f"error: {error}")
    names = len(list(simulations(config)))
    if not taken:
        print(f"{benchmarks} has no benchmark files of simulations: the cost is not known", file=sys.stderr)
        return
    hours = sum(taken.values()) * replicates / 3600
    print(
        f"{names} simulations, {len(taken)} of them measured: {hours:.0f} core hours for {replicates} replicates "
        f"of each; the longest job {max(taken.values()) * min(per_job, replicates) / 3600:.1f} hours",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
