"""Locks that a killed run left behind: told apart from those of a run that is alive, and lifted.

Snakemake locks the files of a run while it lasts, and after a kill -9 or a power cut asks for `--unlock`. Each run
therefore notes who it is beside the locks; where every noted run of this machine is dead, the locks are stale.
"""

import json
import os
import socket
import time
from pathlib import Path

import psutil

# A lock without a note is that of a run that is just starting, or that was killed while it was; older ones are stale.
_STARTING = 60.0


def _notes(folder: Path) -> Path:
    return folder / "runs"


def note_run(folder: str | Path = ".snakemake") -> Path:
    """Note that this process runs the workflow; returns the note, to be removed when it ends."""
    me = psutil.Process()
    note = _notes(Path(folder)) / f"{socket.gethostname()}-{me.pid}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"host": socket.gethostname(), "pid": me.pid, "start": me.create_time()}))
    return note


def forget_run(folder: str | Path = ".snakemake") -> None:
    """Remove this process's note."""
    (_notes(Path(folder)) / f"{socket.gethostname()}-{os.getpid()}.json").unlink(missing_ok=True)


def lift_stale_locks(folder: str | Path = ".snakemake") -> bool:
    """Remove the locks of runs that are dead.

    Parameters
    ----------
    folder : path
        Snakemake's folder.

    Returns
    -------
    bool
        Whether stale locks were removed. Locks stay if any noted run is alive, was started on another machine, or
        if a lock is too young for its run to have left a note.

    """
    folder = Path(folder)
    locks = sorted((folder / "locks").glob("*.lock"))
    notes = sorted(_notes(folder).glob("*.json"))
    if any(_may_live(note) for note in notes):
        return False
    if not locks or (not notes and time.time() - max(lock.stat().st_mtime for lock in locks) < _STARTING):
        return False
    for path in [*locks, *notes]:
        path.unlink(missing_ok=True)
    return True


def _may_live(note: Path) -> bool:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        if found["host"] != socket.gethostname():
            return True
        return abs(psutil.Process(found["pid"]).create_time() - found["start"]) < 1.0
    except psutil.AccessDenied:
        return True
    except (OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return False
