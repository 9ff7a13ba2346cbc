"""Two runs at once in one folder: the second is refused, the first ends well."""

import random
import time
from collections import Counter
from pathlib import Path

from tests.reliability.common import Row, digests, quick_project, start, tally

TARGETS = ("fig03_isotropic_dd",)  # lasts longer than the second run takes to look for locks


def run(work: Path, count: int, seed: int) -> Row:
    """Start a second run at a random moment of a first one, `count` times."""
    rng = random.Random(seed)
    calm = quick_project(work / "calm", "tests/tiny.yaml")
    calm.run(*TARGETS)
    truth = digests(calm.path("results"))
    timed = quick_project(work / "timed", "tests/tiny.yaml")  # with the kernels that the first has compiled
    began = time.monotonic()
    timed.run(*TARGETS)
    whole = time.monotonic() - began
    outcomes = Counter()
    for trial in range(count):
        project = quick_project(work / f"project-{trial}", "tests/tiny.yaml")
        first = start(project, *TARGETS)
        time.sleep(rng.uniform(0, whole / 3))
        second = project.run(*TARGETS, check=False)
        still = first.poll() is None
        text = second.stdout + second.stderr
        failed = first.wait() != 0
        if failed or digests(project.path("results")) != truth:
            outcomes["the first run was harmed"] += 1
        elif second.returncode and "cannot be locked" in text and "Traceback" not in text:
            outcomes["the second was refused clearly"] += 1
        elif second.returncode == 0 and not still:
            outcomes["the first had just ended: nothing left to do"] += 1
        else:
            outcomes["other"] += 1
    good = {"the second was refused clearly", "the first had just ended: nothing left to do"}
    return tally(
        "two runs at once", "a second run in the same folder at a random moment of the first",
        "the second says that the folder is in use; the first ends with the right bytes", outcomes, good,
    )  # fmt: skip
