"""Long simulations killed again and again: each goes on from its saved state, and ends with the same bits."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from tests.reliability.common import Row, digests, quick_project, start, tally

# Simulations of each family, several seconds long.
LONG = """
checkpoint_seconds: {seconds}
experiments:
  isotropic:
    simulate:
      sgd: {{step_size: 3.0e-7, iterations: 6000000, replicates: 2}}
      mf_homsgld: {{step_size: 1.0e-5, iterations: 6000}}
  spin3_kernel: {{simulate: {{sgd: {{iterations: 1000000}}}}}}
  digits: {{simulate: {{n1000: {{neurons: 400, horizon: 3000.0}}}}}}
"""
JOBS = ("isotropic/sgd/0", "isotropic/mf_homsgld/0", "spin3_kernel/sgd/0", "digits/n1000/0")
TARGETS = [f"results/simulations/{job}.nc" for job in JOBS]
GONE_ON = "went on from the saved state"


def run(work: Path, count: int, seed: int) -> Row:
    """Kill the workflow with its jobs `count` times, always when a state was saved, and run it again."""
    rng = random.Random(seed)
    calm = _project(work / "calm", "~")
    calm.run(*TARGETS)
    truth = digests(calm.path("results"))
    outcomes, rounds, kills = Counter(), 0, 0
    project, known = _project(work / "disturbed-0", "0.3"), set()
    while kills < count:
        began, moment = time.time(), None
        process = start(project, *TARGETS)
        while process.poll() is None and (moment is None or time.monotonic() < moment):
            # Not the states that were there before, but one that this run has saved or gone on from.
            if moment is None and _saved(project, newer_than=began):
                moment = time.monotonic() + rng.uniform(0, 3)
            time.sleep(0.01)
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        for job in list(known):
            verdict = _verdict(project, job, began)
            if verdict:
                outcomes[verdict] += 1
                known.remove(job)
        known = set() if ended else known | {job for job in JOBS if _path(project, job).exists()}
        if ended:
            same = process.returncode == 0 and digests(project.path("results")) == truth
            outcomes["brought to its end, identical" if same else "other bytes, or failed"] += 1
            rounds += 1
            project = _project(work / f"disturbed-{rounds}", "0.3")
    project.run(*TARGETS)
    same = digests(project.path("results")) == truth
    outcomes["brought to its end, identical" if same else "other bytes, or failed"] += 1
    return tally(
        "checkpoints", f"kill -9 of long simulations whose state was saved, {kills} times",
        f"each goes on from there; at the end the bytes of {len(truth)} undisturbed datasets", outcomes,
        {GONE_ON, "brought to its end, identical"},
    )  # fmt: skip


def _project(folder: Path, seconds: str):
    project = quick_project(folder, "tests/tiny.yaml", "long.yaml")
    project.path("long.yaml").write_text(LONG.format(seconds=seconds), encoding="utf-8")
    return project


def _path(project, job: str) -> Path:
    return project.path(f"results/simulations/{job}.nc.checkpoint")


def _saved(project, newer_than: float) -> bool:
    return any(path.exists() and path.stat().st_mtime > newer_than for path in (_path(project, job) for job in JOBS))


def _verdict(project, job: str, began: float) -> str:
    # Of a job with a saved state: nothing as long as it has neither read that nor written over it. Snakemake takes an
    # old log away before a job starts, so that there may be none.
    for log in project.folder.glob(f"logs/*/{job}.log"):
        if log.stat().st_mtime > began and "going on; " in log.read_text(encoding="utf-8"):
            return GONE_ON
    state = _path(project, job)
    return "started anew" if not state.exists() or state.stat().st_mtime > began else ""
