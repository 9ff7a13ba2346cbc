"""Kill -9 at random moments of a run, the same command again after each, and the bytes of all that is left."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.reliability.common import Project, Row, digests, quick_project, start, tally

SCALE = "config/quick.yaml"
RESULTS = "quick/results"


def run(work: Path, count: int, seed: int) -> Row:
    """Kill runs of the quick scale, which has every job of the full one, `count` times.

    Half the kills take the workflow with all its jobs, as a power cut does; half take Snakemake alone, whose jobs live
    on and write beside those of the next run. After each kill no file may stand under a final name with other bytes
    than in an undisturbed run; each run that comes to its end must leave all of them.
    """
    rng = random.Random(seed)
    calm = quick_project(work / "calm", SCALE)
    began = time.monotonic()
    if start(calm).wait():
        raise SystemExit(f"the undisturbed run failed:\n{_log(calm)[-3000:]}")
    whole = time.monotonic() - began
    truth = digests(calm.path(RESULTS))
    outcomes, complete, kills = Counter(), 0, 0
    disturbed = _saving(work / "disturbed-0")
    while kills < count:
        process = start(disturbed)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=rng.uniform(0, whole / 20))  # so that a run is killed twenty times or more
        if process.poll() is None:
            with_jobs = rng.random() < 0.5
            (os.killpg if with_jobs else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            found = digests(disturbed.path(RESULTS))
            wrong = [name for name, digest in found.items() if truth.get(name) != digest]
            what = "with all jobs" if with_jobs else "Snakemake alone"
            outcomes[f"{what}: {'a wrong file' if wrong else 'every file there is right'}"] += 1
            continue
        if process.returncode and "cannot be locked" in _log(disturbed)[-3000:]:
            # Killed between its locks and its note of who it is: nobody can tell for a minute whether it lives.
            outcomes["the same command again had to wait a minute"] += 1
            time.sleep(60)
            continue
        if process.returncode:
            outcomes["the same command again failed"] += 1
        elif digests(disturbed.path(RESULTS)) != truth:
            outcomes["other bytes at the end"] += 1
        complete += 1
        disturbed = _saving(work / f"disturbed-{complete}")
    failed = start(disturbed).wait() != 0
    complete += 1
    if failed or digests(disturbed.path(RESULTS)) != truth:
        outcomes["other bytes at the end"] += 1
    good = {f"{what}: every file there is right" for what in ("with all jobs", "Snakemake alone")}
    row = tally(
        "kills",
        "kill -9 at a random moment of the quick run, then the same command again",
        f"no wrong file at any moment; at the end {len(truth)} datasets and figures as in an undisturbed run",
        outcomes, good,
    )  # fmt: skip
    row.outcomes["runs brought to their end, identical"] = complete - outcomes["other bytes at the end"]
    return row


def _log(project: Project) -> str:
    return project.path("run.log").read_text(encoding="utf-8")


def _saving(folder: Path) -> Project:
    # Simulations save their state at every look; the undisturbed run does not.
    project = quick_project(folder, SCALE, "saving.yaml")
    project.path("saving.yaml").write_text("checkpoint_seconds: 0\n", encoding="utf-8")
    return project
