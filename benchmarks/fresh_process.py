"""What only a process of its own can tell: peak memory, the time from imports to the first step, how memory is kept.

    python -m benchmarks.fresh_process startup
    python -m benchmarks.fresh_process memory ITERATIONS
    python -m benchmarks.fresh_process risks NEURONS DIMENSION COUNT

Each prints one line of JSON. The first function below starts such a process and reads it.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_RUN = """\
experiments:
  isotropic:
    simulate:
      sgd:
        iterations: {iterations}
        precision: float32
        snapshots: {{early: {early}, middle: {middle}, final: {iterations}}}
"""


def ask(*arguments: str, **environment: str | None) -> dict:
    """Run this module in a fresh process, in the project's folder, and return what it prints.

    Its environment is ours with the given changes; None removes a variable.
    """
    changed = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])} | environment
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fresh_process", *arguments],
        cwd=ROOT, env={name: value for name, value in changed.items() if value is not None},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"benchmarks.fresh_process {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory() -> int:
    """Return the most memory this process has held so far [byte]."""
    try:
        # The resource usage that the system keeps for a child begins with its parent's; this does not.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory(iterations: int) -> dict:
    """Run the isotropic experiment as the command line does, one replicate; return its peak memory and run time."""
    from meanfield.__main__ import main

    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder, "run.yaml")
        overlay.write_text(_RUN.format(iterations=iterations, early=iterations // 100, middle=iterations // 2))
        start = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            code = main(
                ["run", "isotropic", "sgd", "--replicates", "1", "--configfile", str(overlay), "-o", f"{folder}/run.nc"]
            )
        if code:
            raise RuntimeError(f"the run of {iterations} iterations failed")
        return {"peak_bytes": peak_memory(), "seconds": time.perf_counter() - start}


def startup() -> dict:
    """Import what a run needs, then make one block of steps of workload A; return the time of each."""
    start = time.perf_counter()
    import numpy as np

    from meanfield import simulation  # noqa: F401
    from meanfield.kernels.block_sgd import BlockState
    from meanfield.kernels.streams import stream_key
    from meanfield.problems.activations import PiecewiseLinear

    imported = time.perf_counter()
    weights = np.random.default_rng(0).standard_normal((800, 40)).astype(np.float32) * 0.1
    state = BlockState(weights, PiecewiseLinear((0.5, 1.5), (-2.5, 7.5)).kernel_code())
    state.advance_stream(0, state.block, key=stream_key(0, "start", 0), scales=(1.8, 0.2), step_size=1e-6)
    stepped = time.perf_counter()
    return {"imports": imported - start, "first_step": stepped - imported}


def risks(neurons: int, dimension: int, count: int) -> dict:
    """Find exact population risks of networks at random weights, of both kinds of Gaussians; return the time of one."""
    import numpy as np

    from meanfield.problems.activations import PiecewiseLinear
    from meanfield.problems.anisotropic import AnisotropicGaussians
    from meanfield.problems.isotropic import IsotropicGaussians

    rng = np.random.default_rng(0)
    ramp, relu = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5)), PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)
    found = {}
    for name, problem, columns in (
        ("isotropic", IsotropicGaussians(dimension, 0.5, ramp), dimension),
        ("anisotropic", AnisotropicGaussians(dimension, dimension // 5, 0.4, relu), dimension + 2),
    ):
        weights = rng.standard_normal((neurons, columns)) / np.sqrt(dimension)
        problem.risk(weights)
        start = time.process_time()
        for _ in range(count):
            problem.risk(weights)
        found[name] = (time.process_time() - start) / count
    return found


JOBS = {"startup": startup, "memory": memory, "risks": risks}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](*map(int, sys.argv[2:]))))
