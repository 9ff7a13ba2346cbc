"""Replicates of noisy SGD on isotropic Gaussians at several temperatures: norms and risks. Arrays out, no files."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield import checkpoints
from meanfield.checkpoints import Checkpoint
from meanfield.ensembles import record_iterations, record_times, united
from meanfield.families.noisy import noisy_sgd
from meanfield.fluctuation_runs import RiskMeter, distinct, looks, make_problem
from meanfield.limits.schedule import Schedule
from meanfield.methods import langevin
from meanfield.methods.runs import trajectory
from meanfield.problems.factory import make_law

Floats = NDArray[np.float64]


class NoisyRuns(NamedTuple):
    """What all replicates leave."""

    time: Floats  # shape (record,), mean-field time of the iterations next to the times asked for, each once [1]
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
    checkpoint: Checkpoint = checkpoints.NONE,
) -> NoisyRuns:
    """Run noisy SGD at every temperature, up to `last_time`, on the same samples and initial weights.

    Arguments are blocks and numbers of the configuration; `progress` is told that one more run is done, and runs that
    ended are found again in the checkpoint.

    Raises
    ------
    DivergenceError
        If weights stop being finite.

    """
    data = make_problem(problem, activation)
    law = make_law("isotropic_gaussians", initial_law)
    meter = RiskMeter(data, directions)
    asked = [t for t in times if t <= last_time]
    stops = record_iterations(asked, step_size)

    def run(beta: float, replicate: int) -> tuple:
        method = langevin.Hyperparameters(**noisy_sgd(beta, regularisation)["hyperparameters"])
        names = (seed, experiment, replicate)
        walk = trajectory(
            langevin, method, data, law.sample(neurons, data.dimension, *names).astype(precision),
            schedule=Schedule(), step_size=step_size, stops=distinct(stops), root=seed, experiment=experiment,
            replicate=replicate,
        )  # fmt: skip
        found = looks(walk, stops, meter, names, f"noisy SGD at inverse temperature {beta:g}", step_size)
        seen = list(dict(zip(stops, found, strict=True)).values())  # each iteration once
        return (
            np.array([look.risk for look in seen]), np.array([look.averaged_risk for look in seen]),
            np.array([look.norms for look in seen], np.float32),
        )  # fmt: skip

    runs = []
    for beta in inverse_temperatures:
        for m in range(replicates):
            name = f"inverse temperature {beta!r}, replicate {m}"
            runs.append(checkpoint.remember(name, partial(run, beta, m)))
            progress(1)
    shape = (len(inverse_temperatures), replicates)
    risk, averaged, norm = (np.array(parts) for parts in zip(*runs, strict=True))
    kept = np.array(united(record_times(asked, step_size)))
    return NoisyRuns(kept, *(part.reshape(*shape, *part.shape[1:]) for part in (risk, averaged, norm)))
