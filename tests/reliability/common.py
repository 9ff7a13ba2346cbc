"""What the trials share: copies of the project to run in, digests of what a run leaves, and the row of a trial."""

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import conftest  # noqa: E402
from conftest import DONORS, Project  # noqa: E402

COMPARED = (".nc", ".pdf", ".svg")
# Both reports print run times, which no two runs share.
NOT_COMPARED = ("report/",)


@dataclass
class Row:
    """A row of the table: what was done how often, and what came of it."""

    name: str
    tried: str  # what was done
    expected: str  # what has to come of it
    count: int
    good: int
    outcomes: dict[str, int] = field(default_factory=dict)
    trial: str = ""
    revision: str = ""
    seconds: int = 0

    def plain(self) -> dict:
        """Return the row as JSON takes it."""
        return asdict(self)


def tally(name: str, tried: str, expected: str, outcomes: Counter, good: set[str]) -> Row:
    """Return the row of a trial whose outcomes were counted; those named in `good` are as expected."""
    total, right = sum(outcomes.values()), sum(outcomes[one] for one in good)
    return Row(name, tried, expected, total, right, dict(sorted(outcomes.items())))


def digests(results: Path) -> dict[str, str]:
    """Return the SHA-256 of every dataset and figure below a folder of results, by relative path."""
    found = conftest.digests(results, COMPARED)
    return {
        name: digest
        for name, digest in found.items()
        if not name.startswith(NOT_COMPARED) and not Path(name).name.startswith(".")
    }


def quick_project(folder: Path, *overlays: str) -> Project:
    """Return a fresh copy of the project that runs at the scale of the overlays, quick if none is given."""
    project = Project(folder)
    if folder not in DONORS and len(DONORS) < 2:
        DONORS.append(folder)  # the first copy compiles the kernels for all
    project.overlays = list(overlays) or ["config/quick.yaml"]
    return project


def in_a_child(action, seconds: int) -> str:
    """Return what `action` returns, as text, run in a child: a crash or a hang of it is an outcome like others."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            text = str(action())
        except BaseException as error:
            text = f"traceback: {type(error).__name__}"
        os.write(writing, text[:4000].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read().decode()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "hang" if os.WTERMSIG(status) == signal.SIGALRM else f"crash by signal {os.WTERMSIG(status)}"
    return text


def start(project: Project, *arguments: str, cores: int = 2, umask: int = -1, **environment: str) -> subprocess.Popen:
    """Start a run in a session of its own, so that it can be killed with all its jobs."""
    cleaned = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    with (project.folder / "run.log").open("ab") as log:
        return subprocess.Popen(
            project.command(*arguments, cores=cores),
            cwd=project.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=cleaned,
            umask=umask,
        )  # fmt: skip
