"""Distributional dynamics to t = 10: time of every part of a solution after warm-up, and its error.

    python benchmarks/dynamics.py [--rounds 5] [--atoms 400] [--output benchmarks/results/dynamics.json]

Problems are the report's: isotropic (d = 40) and failure from both initial laws (d = 320). Parts are the potentials,
the table (also inside each solution) and the solution with 82 records; the drift is one evaluation, beside the closed
form in numpy. The error is that of the risk over the whole curve, against four times as many atoms and a hundredth of
the tolerance. Medians over the rounds, in which the parts run in turn.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

from meanfield.limits.characteristics import graded_atoms, solve_characteristics
from meanfield.limits.potentials import TabulatedDrift, radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.activations import PiecewiseLinear
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw

_MONOTONE = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
_DIPPING = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
WORKLOADS = {
    "isotropic": (IsotropicGaussians(40, 0.8, _MONOTONE), RadialLaw("gaussian", 0.8)),
    "failure, near": (IsotropicGaussians(320, 0.5, _DIPPING), RadialLaw("gaussian", 0.1)),
    "failure, far": (IsotropicGaussians(320, 0.5, _DIPPING), RadialLaw("gaussian", 0.4)),
}
TIMES = np.concatenate([[0.0], np.logspace(-3, 1, 81)])
TOLERANCE = 1e-6


def seconds(function: Callable[[], object]) -> float:
    """Return the time of one call [s]."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Time, print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--atoms", type=int, default=400)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    results = {}
    columns = ("potentials", "table", "solution", "drift", "drift by closed form")
    print(f"{'milliseconds':14}", *(f"{name:>20}" for name in columns), f"{'error of the risk':>20}")
    for name, (problem, law) in WORKLOADS.items():
        potentials = radial_potentials(problem)
        radius, mass = graded_atoms(law, problem.dimension, arguments.atoms)
        table = TabulatedDrift(potentials, 8.0)

        def solve(atoms: int, tolerance: float, law=law, potentials=potentials) -> np.ndarray:
            return solve_characteristics(
                potentials, law, TIMES, atoms=atoms, schedule=Schedule(), relative_tolerance=tolerance
            ).risk

        error = np.abs(solve(arguments.atoms, TOLERANCE) - solve(4 * arguments.atoms, TOLERANCE / 100)).max()
        parts = {
            "potentials": lambda problem=problem: radial_potentials(problem),
            "table": lambda potentials=potentials: TabulatedDrift(potentials, 8.0),
            "solution": lambda solve=solve: solve(arguments.atoms, TOLERANCE),
            "drift": lambda table=table, radius=radius, mass=mass: table(radius, mass),
            "drift by closed form": lambda p=potentials, radius=radius, mass=mass: p.drift(radius, radius, mass),
        }
        times = {part: [] for part in parts}
        for _ in range(arguments.rounds):
            for part, function in parts.items():
                times[part].append(seconds(function))
        medians = {part: float(np.median(values)) for part, values in times.items()}
        results[name] = {"seconds": medians, "error": float(error), "atoms": arguments.atoms}
        print(f"{name:14}", *(f"{1e3 * medians[part]:20.3f}" for part in columns), f"{error:20.1e}")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
