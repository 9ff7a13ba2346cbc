#!/usr/bin/env python3
"""Print what became of a PBS job: running, success or failed. Needs nothing but Python 3."""

import re
import subprocess
import sys
import time

ATTEMPTS = 4
# Queued, running, ending, held, in transit, waiting, suspended by the scheduler or by a busy user, begun (of an array).
ALIVE = set("QREHTWSUB")


def verdict(text):
    """Return what `qstat -x -f` says of a job, or nothing if it does not say."""
    found = dict(re.findall(r"^\s+(job_state|Exit_status) = (\S+)", text, re.MULTILINE))
    state = found.get("job_state")
    if state in ALIVE:
        return "running"
    # Finished, moved to another server, or an expired part of an array. A job that was deleted or killed has a status
    # other than 0, or none at all.
    if state in {"F", "M", "X"}:
        return "success" if found.get("Exit_status") == "0" else "failed"
    return None


def main():
    """Ask for one job, again if the server does not answer; a job that PBS has forgotten counts as failed."""
    if len(sys.argv) != 2:
        sys.exit("usage: status.py JOB")
    message = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2**attempt)
        try:
            done = subprocess.run(["qstat", "-x", "-f", sys.argv[1]], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            sys.exit("error: qstat is not on the PATH; run Snakemake where jobs are submitted from")
        found = verdict(done.stdout)
        if found:
            print(found)
            return
        message = done.stderr.strip()
        if "Unknown Job" in message:
            break
    print(f"qstat does not know {sys.argv[1]}: {message or 'no message'}", file=sys.stderr)
    # A server that is away for a while must not fail every job: it is asked again at the next check.
    print("failed" if "Unknown Job" in message else "running")


if __name__ == "__main__":
    main()
