"""Where compiled kernels are kept, a folder per state of the source, and filling it. Imports nothing heavy."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).parent
_PREFIX = "meanfield-"
# What one process compiles, the others beside it: groups of kernels (`meanfield.warm_up`) that have some in common, in
# precisions that have none. Each is about as much.
_SHARES = (
    (("networks", "digits"), ("float32",)),
    (("networks", "digits", "limits"), ("float64",)),
    (("spin3", "plane"), ("float32", "float64")),
)
_OF_ANY_PRECISION = ("limits", "spin3", "plane")
# Folders of other states of the source that nobody used for this long are removed.
_KEPT_SECONDS = 14 * 24 * 3600


def source_digest() -> str:
    """Return a digest of all source files of the package that hold compiled code."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_bytes()
        if b"njit" in text:
            digest.update(path.relative_to(PACKAGE).as_posix().encode())
            digest.update(text)
    return digest.hexdigest()[:16]


def separate_numba_cache() -> None:
    """Point numba's cache at a folder of this state of the source; called once, before numba is imported.

    Numba keys what it compiled by the file of the outermost function. A kernel whose inlined parts lie in other
    modules would survive a change of those, and compute with yesterday's code. The folder is below
    ``NUMBA_CACHE_DIR``, or below the package's ``__pycache__`` if that is not set; where neither can be written to,
    numba's own choice stands.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given and Path(given).name.startswith(_PREFIX):  # inherited from a process that has done this
        given = str(Path(given).parent)
    base = Path(given) if given else PACKAGE / "__pycache__" / "numba"
    folder = base / f"{_PREFIX}{source_digest()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    for other in base.glob(f"{_PREFIX}*"):
        try:
            unused = time.time() - other.stat().st_mtime
        except OSError:  # another process removes it
            continue
        if unused > _KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)


def compiling() -> bool:
    """Return whether numba compiles in this environment, or runs the source as it is."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


def shares(precisions: Sequence[str], groups: Sequence[str] = ()) -> list[list[str]]:
    """Return what each process of `warm_up` compiles, as `meanfield.warm_up.compile_named` takes it."""
    found = []
    for of_groups, of_types in _SHARES:
        types = [one for one in of_types if one in precisions]
        chosen = [one for one in of_groups if (not groups or one in groups) and (types or one in _OF_ANY_PRECISION)]
        if chosen:
            found.append([*types, *chosen])
    return found


def warm_up(precisions: Sequence[str], groups: Sequence[str] = ()) -> None:
    """Compile the kernels in processes of their own, unless this machine has done so for this state of the source.

    The workflow calls it before its jobs start: otherwise each would compile the same kernels at the same time.

    Parameters
    ----------
    precisions : sequence of str
        The precisions that simulations use, ``float32`` or ``float64``.
    groups : sequence of str
        Which kernels, see `meanfield.warm_up.GROUPS`; all if none is named.

    """
    folder = Path(os.environ.get("NUMBA_CACHE_DIR", PACKAGE))
    if not folder.name.startswith(_PREFIX) or not compiling():
        return
    # Numba keeps copies of the package apart by their folders; so does the marker.
    copy = hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]
    marker = folder / "-".join(["warm", copy, platform.python_version(), *sorted(precisions), *sorted(groups)])
    if marker.exists():
        return
    print("compiling the kernels (once for this state of their source)", file=sys.stderr)
    command = [sys.executable, "-m", "meanfield.warm_up"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    processes = [
        subprocess.Popen(
            [*command, *share], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        for share in shares(precisions, groups)
    ]
    complaints = [process.communicate()[1] for process in processes]
    for process, complaint in zip(processes, complaints, strict=True):
        if process.returncode:  # the jobs will compile for themselves, or say better what is wrong
            reason = (complaint.strip().splitlines() or ["no message"])[-1]
            print(f"warning: the kernels were not compiled beforehand: {reason}", file=sys.stderr)
            return
    marker.touch()
