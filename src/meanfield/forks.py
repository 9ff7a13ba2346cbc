"""Jobs that start as forks of a process that has imported everything and loaded the compiled kernels.

Importing xarray, scipy and numba and loading the kernels takes a second of processor time, longer than many a job. A
run of some jobs on this machine therefore starts their scripts by the fork server of `multiprocessing`. Snakemake asks
the module `subprocess` for a process per script; a stand-in for that module answers with a fork, so that all else
(environment, benchmark, log, kill, exit code) stays Snakemake's own. What is not exactly such a script, and everything
while the server is not ready, goes the usual way. ``MEANFIELD_FORKS=0`` turns it off.
"""

import multiprocessing
import os
import runpy
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from meanfield import preload

SWITCH = "MEANFIELD_FORKS"
# Loading takes some seconds of one core, which fewer jobs do not win back.
FEWEST_JOBS = 8
# What Snakemake puts before the command of a job.
_PREFIX = "set -euo pipefail; "
# A process with threads of the linear algebra must not be forked; jobs have none by their rules.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ForkedScript:
    """A script that runs in a fork: what Snakemake uses of a `subprocess.Popen`.

    Parameters
    ----------
    process : multiprocessing.process.BaseProcess
        The fork, started under `lock`.
    lock : threading.Lock
        Held by whoever starts or reaps one: each start reaps those that have ended, and an exit code can be read once.

    """

    stdout = None

    def __init__(self, process: Any, lock: threading.Lock):
        self._process = process
        self._lock = lock
        self.pid = process.pid

    def wait(self) -> int:
        """Wait for the end and return the exit code; that of a signal is negative."""
        wait([self._process.sentinel])
        with self._lock:
            self._process.join()
        return self._process.exitcode

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()


class Subprocess:
    """A stand-in for the module `subprocess` that runs Python scripts as forks once the server is ready."""

    def __init__(self):
        self.ready = threading.Event()
        self._context = multiprocessing.get_context("forkserver")
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def Popen(self, command: Any, **options: Any) -> Any:  # noqa: N802, the name that it stands for
        """Start a command: as a fork if it is a Python script and nothing else, otherwise as it is."""
        script = script_of(command, options) if self.ready.is_set() else None
        if script is not None:
            try:
                return self.fork(run_script, script, dict(options["env"]), str(Path.cwd()))
            except (OSError, EOFError):  # somebody killed the server
                self.ready.clear()
        return subprocess.Popen(command, **options)

    def start_server(self, names: Sequence[str]) -> None:
        """Start the server, which then loads; `ready` is set when it has."""
        self._context.set_forkserver_preload([preload.__name__])
        usual = dict(os.environ)
        os.environ.update(_ONE_THREAD, **{preload.VARIABLE: " ".join(names)})
        try:
            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(usual)
        threading.Thread(target=self._await_server, daemon=True).start()

    def _await_server(self) -> None:
        try:
            if self.fork(int).wait() == 0:
                self.ready.set()
        except (OSError, EOFError):  # it could not load; the jobs will say why
            pass

    def fork(self, function: Callable, *arguments: Any) -> ForkedScript:
        """Call a function in a fork of the server."""
        process = self._context.Process(target=function, args=arguments)
        with self._lock:
            process.start()
        return ForkedScript(process, self._lock)


def script_of(command: Any, options: dict[str, Any]) -> str | None:
    """Return the script that a command of Snakemake runs, if it does nothing but run one with this Python.

    Parameters
    ----------
    command : str or sequence
        As `subprocess.Popen` takes it.
    options : dict
        Its other arguments.

    """
    environment = options.get("env")
    # A fork writes where the server does, which is where Snakemake itself writes.
    if not (options.get("shell") and isinstance(command, str)) or options.get("stdout") not in (None, sys.stdout):
        return None
    if environment is None or any(environment.get(name, "1") != value for name, value in _ONE_THREAD.items()):
        return None
    try:
        words = shlex.split(command.removeprefix(_PREFIX))
    except ValueError:
        return None
    if len(words) == 2 and words[0] == sys.executable and words[1].endswith(".py"):
        return words[1]
    return None


def run_script(script: str, environment: dict[str, str], folder: str) -> None:
    """Run a script in this process, in an environment and a folder, as a new interpreter would."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


def serve(jobs: int, names: Sequence[str] = ()) -> Subprocess | None:
    """Let this process, which is Snakemake's, start the scripts of its jobs as forks, if there are enough of them.

    Parameters
    ----------
    jobs : int
        How many jobs are planned.
    names : sequence of str
        Precisions and groups of kernels to load, see `meanfield.warm_up`.

    Returns
    -------
    Subprocess or None
        What Snakemake now asks for processes, or nothing if jobs start as usual.

    """
    shell = sys.modules.get("snakemake.shell")
    # On other systems a fork of a process that has called the system's libraries is not safe.
    if sys.platform != "linux" or os.environ.get(SWITCH, "1") == "0" or jobs < FEWEST_JOBS:
        return None
    if getattr(shell, "sp", None) is not subprocess or not _runs_snakemake():
        return None
    stand_in = Subprocess()
    try:
        stand_in.start_server(names)
    except OSError:  # no room for its socket, whose path may have no more than a hundred letters
        return None
    shell.sp = stand_in
    return stand_in


def _runs_snakemake() -> bool:
    # A fork runs the main file of this process again, as all of multiprocessing does; that of a user's own program
    # might start the workflow a second time.
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    file = getattr(main, "__file__", None)
    return name == "snakemake.__main__" or (name is None and file is not None and Path(file).stem == "snakemake")
