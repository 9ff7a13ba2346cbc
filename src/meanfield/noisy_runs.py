"""Replicates of noisy SGD on isotropic Gaussians at several temperatures: norms and risks. Arrays out, no files."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import DivergenceError
from meanfield.families.noisy import noisy_sgd
from meanfield.fluctuation_runs import RiskMeter, make_problem
from meanfield.kernels.streams import TEST_POINTS, seed_sequence
from meanfield.limits.schedule import Schedule
from meanfield.methods import langevin
from meanfield.methods.runs import trajectory
from meanfield.problems.factory import make_law

Floats = NDArray[np.float64]


class NoisyRuns(NamedTuple):
    """What all replicates leave."""

    time: Floats  # shape (record,), mean-field time [1]
    risk: Floats  # shape (temperature, replicate, record), population risk, see `RiskMeter` [1]
    averaged_risk: Floats  # the same shape, risk of the average over rotations [1]
    norm: NDArray[np.float32]  # shape (temperature, replicate, record, neuron) [1]


def run_noisy(
    *,
    experiment: str,
    seed: int,
    problem: dict,
    activation: dict,
    initial_law: dict,
    times: list[float],
    last_time: float,
    inverse_temperatures: list[float],
    regularisation: float,
    neurons: int,
    step_size: float,
    replicates: int,
    precision: str,
    directions: int,
    progress: Callable[[int], None] = lambda runs: None,
) -> NoisyRuns:
    """Run noisy SGD at every temperature, up to `last_time`, on the same samples and initial weights.

    Arguments are blocks and numbers of the configuration; `progress` is told that one more run is done.

    Raises
    ------
    DivergenceError
        If weights stop being finite.

    """
    data = make_problem(problem, activation)
    law = make_law("isotropic_gaussians", initial_law)
    meter = RiskMeter(data, directions)
    kept = np.array([t for t in times if t <= last_time])
    stops = [round(t / step_size) for t in kept]
    shape = (len(inverse_temperatures), replicates, len(stops))
    risk, averaged = np.empty(shape), np.empty(shape)
    norm = np.empty((*shape, neurons), np.float32)
    for b, beta in enumerate(inverse_temperatures):
        method = langevin.Hyperparameters(**noisy_sgd(beta, regularisation)["hyperparameters"])
        for m in range(replicates):
            names = (seed, experiment, m)
            runs = trajectory(
                langevin, method, data, law.sample(neurons, data.dimension, *names).astype(precision),
                schedule=Schedule(), step_size=step_size, stops=sorted(set(stops)), root=seed, experiment=experiment,
                replicate=m,
            )  # fmt: skip
            seen = dict(zip(sorted(set(stops)), runs, strict=True))
            generator = np.random.default_rng(seed_sequence(*names, TEST_POINTS))
            for k, stop in enumerate(stops):
                weights = seen[stop].astype(float)
                norms = np.sqrt((weights**2).sum(axis=1))
                if not np.isfinite(norms).all():
                    msg = (
                        f"{experiment}, replicate {m}: noisy SGD at inverse temperature {beta:g} stopped being finite "
                        f"by iteration {stop}; step_size {step_size:g} is too large"
                    )
                    raise DivergenceError(msg)
                averaged[b, m, k] = meter.averaged(norms)
                risk[b, m, k] = averaged[b, m, k] + meter.rest(weights, generator)
                norm[b, m, k] = norms
            progress(1)
    return NoisyRuns(kept, risk, averaged, norm)
