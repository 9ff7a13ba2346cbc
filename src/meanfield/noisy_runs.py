"""Replicates of noisy SGD on isotropic Gaussians at several temperatures: norms and risks. Arrays out, no files."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.families.noisy import noisy_sgd
from meanfield.fluctuation_runs import RiskMeter, distinct, looks, make_problem
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
                schedule=Schedule(), step_size=step_size, stops=distinct(stops), root=seed, experiment=experiment,
                replicate=m,
            )  # fmt: skip
            lost = f"noisy SGD at inverse temperature {beta:g}"
            for k, look in enumerate(looks(runs, stops, meter, names, lost, step_size)):
                norm[b, m, k], risk[b, m, k], averaged[b, m, k] = look
            progress(1)
    return NoisyRuns(kept, risk, averaged, norm)
