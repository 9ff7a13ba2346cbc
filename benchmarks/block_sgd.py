"""Exact block SGD against sequential numpy, side by side in one process: time per iteration and ratios.

    python benchmarks/block_sgd.py [--rounds 5] [--output benchmarks/results/block_sgd.json]

Workloads are the report's: the isotropic problem (N = 800, d = 40) and the failure problem (N = 800, d = 320). Both
methods run in turn, A B A B …, on one thread, random numbers included on both sides (numpy's own for numpy); what is
printed are medians over the rounds and the ratio round by round, because a shared machine's speed drifts.
"""

import argparse
import json
import os
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.reference import sequential_sgd
from meanfield.kernels.streams import stream_key
from meanfield.problems.activations import PiecewiseLinear

WORKLOADS = {
    "isotropic": (800, 40, 0.8, 0.8, PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))),
    "failure": (800, 320, 0.5, 0.4, PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))),
}
STEP_SIZE = 1e-6


def seconds_per_iteration(workload: str, method: str, iterations: int) -> float:
    """Return the time of one iteration [s], random numbers included."""
    neurons, dimension, separation, scale, activation = WORKLOADS[workload]
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((neurons, dimension)) * scale / np.sqrt(dimension)
    if method == "numpy":
        start = time.perf_counter()
        targets = rng.choice([-1.0, 1.0], iterations)
        inputs = rng.standard_normal((iterations, dimension)) * (1 + separation * targets)[:, None]
        sequential_sgd(weights, inputs, targets, np.full(iterations, STEP_SIZE), activation, activation.derivative)
        return (time.perf_counter() - start) / iterations
    state = BlockState(weights.astype(method), activation.kernel_code())
    settings = {
        "key": stream_key(0, workload, 0), "scales": (1 + separation, 1 - separation), "step_size": STEP_SIZE,
    }  # fmt: skip
    state.advance_stream(0, state.block, **settings)  # compiled or loaded from the cache
    start = time.perf_counter()
    state.advance_stream(state.block, state.block + iterations, **settings)
    return (time.perf_counter() - start) / iterations


def main() -> None:
    """Time, print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    results = {}
    print(f"{'workload':10} {'method':8} {'us/iteration':>13} {'ratio to numpy: least, median, most':>38}")
    for workload, (neurons, dimension, *_) in WORKLOADS.items():
        budget = int(4e8 / (neurons * dimension))
        times = {"numpy": [], "float64": [], "float32": []}
        for _ in range(arguments.rounds):
            times["numpy"].append(seconds_per_iteration(workload, "numpy", max(budget // 20, 100)))
            for method in ("float64", "float32"):
                times[method].append(seconds_per_iteration(workload, method, budget))
        for method, values in times.items():
            ratios = np.array(times["numpy"]) / np.array(values)
            results[f"{workload}/{method}"] = {
                "seconds": float(np.median(values)), "ratio_to_numpy": float(np.median(ratios)),
            }  # fmt: skip
            spread = "" if method == "numpy" else f"{ratios.min():9.1f} {np.median(ratios):9.1f} {ratios.max():9.1f}"
            print(f"{workload:10} {method:8} {1e6 * np.median(values):13.2f} {spread:>38}")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
