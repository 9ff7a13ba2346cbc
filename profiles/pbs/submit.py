#!/usr/bin/env python3
"""Submit one job to PBS and print its number. Needs nothing but Python 3, which the login node has."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

LOGS = Path("logs/pbs")
# A PBS job starts with an empty environment. These are what a job needs of ours: the kernels that were compiled
# beforehand, and a cache that may be written to where the home may not.
PASSED = ("PATH", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "MEANFIELD_DIGITS")


def command(arguments):
    """Return the call of qsub."""
    hours, minutes = divmod(arguments.runtime, 60)
    call = ["qsub", "-l", f"select=1:ncpus={arguments.threads}:mem={arguments.mem_mb}mb"]
    call += ["-l", f"walltime={hours:02d}:{minutes:02d}:00", "-N", "meanfield", "-j", "oe", "-o", f"{LOGS}/"]
    for option, value in (("-P", arguments.project), ("-q", arguments.queue)):
        call += [option, value] if value else []
    # A comma would end the value, as qsub reads it.
    passed = [f"{name}={os.environ[name]}" for name in PASSED if "," not in os.environ.get(name, ",")]
    # Snakemake itself starts again what failed, with larger requests; PBS must not do so besides.
    return [*call, "-r", "n", *(["-v", ",".join(passed)] if passed else []), arguments.script]


def main():
    """Submit the script that Snakemake appends to the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--mem-mb", type=int, required=True, help="megabytes")
    parser.add_argument("--runtime", type=int, required=True, help="minutes")
    parser.add_argument("--project", default="")
    parser.add_argument("--queue", default="")
    parser.add_argument("script")
    arguments = parser.parse_args()
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command(arguments), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit("error: qsub is not on the PATH; run Snakemake where jobs are submitted from")
    if done.returncode or not done.stdout.strip():
        sys.exit(f"error: qsub refused the job: {done.stderr.strip() or 'no message'}")
    print(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
