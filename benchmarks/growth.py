"""How time grows: with N, d, the number of iterations, of replicates and of threads; exponents fitted to it.

Workload A throughout, in float32, one quantity varied and the others as they are; plain numpy beside the kernel where
the size of the network varies.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.measure import calibrate, fit_exponent, seconds
from benchmarks.peers.block_kernel import BlockKernel
from benchmarks.peers.numpy_plain import NumpyPlain
from benchmarks.workloads import Workload

DTYPE = np.float32
# What is varied, its unit on the axis, and the exponent of work that is merely done: one, or minus one for threads.
AXES = {
    "neurons": ("number of neurons $N$", 1),
    "dimension": ("dimension $d$", 1),
    "iterations": ("iterations", 1),
    "replicates": ("replicates, one thread", 1),
    "threads": ("threads, 8 replicates", -1),
}
OURS = "block kernel"
METHODS = {OURS: BlockKernel, "numpy, plain": NumpyPlain}
_REPEATS = 3


def _per_step(method, workload: Workload, budget: float) -> Callable[[], float]:
    runner = method(workload, DTYPE)
    count = calibrate(runner, budget)
    return lambda: seconds(runner, count)[1] / count


def _replicates(workload: Workload, count: int, iterations: int, threads: int) -> Callable[[], float]:
    runners = [BlockKernel(workload, DTYPE) for _ in range(count)]
    steps = max(1, iterations // runners[0].granularity) * runners[0].granularity
    for runner in runners:
        runner.advance(runner.granularity)

    def run() -> float:
        # Wall time: what threads are for.
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda runner: runner.advance(steps), runners))
        return time.perf_counter() - start

    return run


def grow(workload: Workload, budget: float = 0.1, *, quick: bool = False, say=print) -> dict:
    """Time workload A at sizes around its own, every point in turn and that three times; fit to the least times.

    Returns
    -------
    dict
        For each quantity of `AXES` and each method: "x", "seconds" (per iteration for the sizes of the network, in all
        otherwise), "exponent", "standard_error" and "factor" of the fit to all points, and "last_exponent", that of
        the last two points, where fixed costs matter least.

    """
    sizes = {
        "neurons": [64, 128] if quick else [100, 200, 400, 800, 1600, 3200, 6400],
        "dimension": [8, 16] if quick else [10, 20, 40, 80, 160, 320, 640],
    }
    points = []  # quantity, method, value, action
    for quantity, values in sizes.items():
        for name, method in METHODS.items():
            for value in values:
                changed = dataclasses.replace(workload, **{quantity: value})
                points.append((quantity, name, value, _per_step(method, changed, budget)))
    runner = BlockKernel(workload, DTYPE)
    g = runner.granularity
    short = calibrate(runner, budget / 8)
    for factor in (1, 4) if quick else (1, 4, 16, 64):
        length = max(1, short * factor // (4 * g)) * g
        points.append(("iterations", OURS, length, lambda length=length: seconds(runner, length)[1]))
    for count in (1, 2) if quick else (1, 2, 4, 8):
        points.append(("replicates", OURS, count, _replicates(workload, count, short, 1)))
    for threads in (1, 2, 4, 8):
        if threads <= (os.cpu_count() or 1):
            points.append(("threads", OURS, threads, _replicates(workload, 8, short, threads)))
    least = [math.inf] * len(points)
    for _ in range(_REPEATS):
        for n, (*_, action) in enumerate(points):
            least[n] = min(least[n], action())
    made: dict[str, dict] = {}
    for (quantity, name, value, _), best in zip(points, least, strict=True):
        curve = made.setdefault(quantity, {}).setdefault(name, {"x": [], "seconds": []})
        curve["x"].append(value)
        curve["seconds"].append(best)
    for quantity, curves in made.items():
        for name, curve in curves.items():
            if len(curve["x"]) < 2:
                continue  # one core: no growth with threads to fit
            curve.update(fit_exponent(curve["x"], curve["seconds"])._asdict())
            curve["last_exponent"] = fit_exponent(curve["x"][-2:], curve["seconds"][-2:]).exponent
            say(
                f"growth with {quantity:10} {name:13} exponent {curve['exponent']:6.3f} ± "
                f"{curve['standard_error']:.3f}, last two points {curve['last_exponent']:6.3f}  "
                f"({len(curve['x'])} points, {curve['x'][0]} … {curve['x'][-1]})"
            )
    return made
