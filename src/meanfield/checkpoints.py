"""Saved states of long simulations: a job that was killed goes on from there, with the same bits.

A job's runs have names. What a run gives is kept when it ends, the state of one that is under way every so often, all
in one file beside the job's output. The same job reads it when it starts again: with the same parameters, code, inputs
and versions, or not at all. The file goes when the output is there.

States are trees of dictionaries, lists, tuples, numbers, text and arrays. No pickle: nothing in a file is ever run.
"""

import hashlib
import io as streams
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from meanfield import io, provenance
from meanfield.errors import DataError
from meanfield.logs import logger

Tree = Any
T = TypeVar("T")

_ENDING = ".checkpoint"


class Checkpoint:
    """Where the runs of a job leave what they gave, and how far they are.

    Parameters
    ----------
    path : path, optional
        The file; without one nothing is kept.
    identity : str
        What the states belong to: a file with another one is passed over.
    seconds : float
        Time between two saves of a run, and before the first [s]; with 0, every look at a run is a save.
    clock : callable
        Returns a time [s].

    """

    def __init__(
        self, path: Path | None = None, identity: str = "", seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        self._path, self._identity, self._seconds, self._clock = path, identity, seconds, clock
        self._ended: dict[str, Tree] = {}
        self._under_way: dict[str, Tree] = {}
        self._lock = threading.Lock()
        self._saved: dict[str, float] = {}
        self._start = self._written = clock()
        if path is not None and path.exists():
            self._read(path)

    def remember(self, run: str, work: Callable[[], T]) -> T:
        """Return what a run gives: as kept, or by doing the work, which is kept then."""
        if run in self._ended:
            return self._ended[run]
        found = work()
        if self._path is not None:
            with self._lock:
                self._ended[run] = found
                self._under_way.pop(run, None)
                if self._clock() - self._written >= self._seconds:
                    self._write()
        return found

    def state(self, run: str) -> Tree | None:
        """Return the state that a run was saved in, None if it was not."""
        return self._under_way.get(run)

    def offer(self, run: str, state: Callable[[], Tree]) -> None:
        """Save the state of a run if it is time to; safe to call from several threads."""
        now = self._clock()
        if self._path is None or now - self._saved.get(run, self._start) < self._seconds:
            return
        found = state()
        with self._lock:
            self._saved[run] = now
            self._under_way[run] = found
            self._write()

    def remove(self) -> None:
        """Take the file away: the output is there."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        # Whoever cannot save goes on all the same: the output matters, and says itself if the disk is full.
        arrays: list[np.ndarray] = []
        states = {"ended": self._ended, "under_way": self._under_way}
        tree = _packed({"identity": self._identity, **states}, arrays)
        with suppress(DataError), io.atomic(self._path) as temporary:
            with temporary.open("wb") as stream:
                np.savez(
                    stream, allow_pickle=False, tree=np.array(json.dumps(tree)),
                    **{str(n): array for n, array in enumerate(arrays)},
                )  # fmt: skip
            io.append_seal(temporary)
        self._written = self._clock()

    def _read(self, path: Path) -> None:
        try:
            contents = io.unsealed(path)
            with np.load(streams.BytesIO(contents), allow_pickle=False) as arrays:
                found = _unpacked(json.loads(str(arrays["tree"])), arrays)
        except (DataError, KeyError, ValueError, OSError, EOFError) as error:
            logger.warning("%s: not a readable checkpoint (%s); starting anew", path, error)
            return
        if found["identity"] != self._identity:
            logger.info("%s: of other parameters, code, inputs or versions; starting anew", path)
            return
        self._ended, self._under_way = found["ended"], found["under_way"]
        logger.info(
            "%s: going on; runs done: %d, runs under way: %d", path, len(self._ended), len(self._under_way)
        )  # fmt: skip


NONE = Checkpoint()


def of_job(job) -> Checkpoint:
    """Return the checkpoint of a job of the workflow, given its `snakemake` object: a file beside its output."""
    seconds = job.config.get("checkpoint_seconds")
    if seconds is None:
        return NONE
    card = {
        "parameters": dict(job.params.items()),
        "inputs": [provenance.sha256(path) for path in job.input],
        "versions": provenance.versions(),
    }
    identity = hashlib.sha256(provenance.canonical_json(card).encode()).hexdigest()
    output = Path(str(job.output[0]))
    return Checkpoint(output.with_name(output.name + _ENDING), identity, float(seconds))


def _packed(value: Tree, arrays: list[np.ndarray]) -> Any:
    # JSON for the shape of a tree, numbers and text; arrays aside. Python's JSON keeps every bit of a number.
    if isinstance(value, dict):
        return {"dict": [[key, _packed(item, arrays)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_packed(item, arrays) for item in value]}
    if isinstance(value, list):
        return [_packed(item, arrays) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        return {"array": len(arrays) - 1}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    msg = f"a {type(value).__name__} cannot be part of a checkpoint"
    raise TypeError(msg)


def _unpacked(value: Any, arrays) -> Tree:
    if isinstance(value, list):
        return [_unpacked(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {key: _unpacked(item, arrays) for key, item in value["dict"]}
    if "tuple" in value:
        return tuple(_unpacked(item, arrays) for item in value["tuple"])
    return arrays[str(value["array"])]
