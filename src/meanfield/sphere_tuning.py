"""From a block of the configuration to arrays: optimisers on the 3-spin, each at the best step of a common grid.

The best step is the one with which the loss falls to a share of its initial value after the fewest gradients, on
replicates that nothing else uses; it is then run on the replicates of the comparison. There is one best step for each
share, as a step may be good early and bad late. A step is given up at the first replicate that reaches no share.

Arrays out, no files; the labels are put on by the workflow's scripts.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.analysis.intervals import log_interval
from meanfield.analysis.slopes import first_crossings
from meanfield.limits.schedule import Schedule
from meanfield.methods.sphere_runs import Phase, sphere_trajectory
from meanfield.simulation import Optimiser, make_optimiser
from meanfield.sphere_simulation import make_target, make_units

Floats = NDArray[np.float64]

# Looks at the loss per decade of iterations: crossings between looks are interpolated.
_LOOKS_PER_DECADE = 24
# A run whose loss is this many times the initial one is lost.
_LOST = 1e3


class Tuning(NamedTuple):
    """What tuning finds; runs are optimisers, by the names of their simulations."""

    gradients: Floats  # shape (run, step, level, replicate), on the replicates of the tuning; nan where not reached
    best_step: Floats  # shape (run, level); nan where no step gets every replicate there [mean-field time]
    at_end: NDArray[np.int8]  # shape (run, level), 1 if the best step is the smallest or the largest of the grid
    compared: Floats  # shape (run, level, replicate), gradients at the best step on the replicates of the comparison
    clock: Floats  # shape (run,), time of SGD that moves alike, by gradient and step; nan where there is none [1]


def looks(iterations: int) -> list[int]:
    """Return the iterations at which a run is looked at: the first ones all, then log-spaced, the last one."""
    decades = np.log10(iterations)
    spaced = np.logspace(0, decades, int(np.ceil(decades * _LOOKS_PER_DECADE)) + 1)
    return [0, *(int(k) for k in np.unique(np.rint(spaced)))]


def gradients_to(
    optimiser: Optimiser, *, case: dict, gradient: str, evaluations: int, levels: list[float],
    problem: dict, initial_law: dict, names: tuple[int, str, int],
) -> Floats:  # fmt: skip
    """Return the gradients after which a run's loss is each share of its initial one, shape (level,).

    The run ends when it has reached them all, when its gradients are spent or when its loss is lost.
    """
    unit, target = make_units(problem), make_target(problem, *names)
    start = target.initial_units(unit, case["neurons"], *names, **initial_law)
    stops = looks(max(1, evaluations // optimiser.evaluations))
    walk = sphere_trajectory(
        optimiser.method, optimiser.hyperparameters, target, unit, start,
        gradient=gradient, phases=[Phase(stops[-1], case["batch"])], step_size=optimiser.step_size,
        stops=stops, names=names,
    )  # fmt: skip
    losses: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for units in walk:
            loss = target.loss(unit, units) if np.all(np.isfinite(units)) else np.inf
            if not 0 < loss < _LOST * (losses or [loss])[0]:
                break
            losses.append(loss)
            if loss <= min(levels) * losses[0]:
                break
    spent = np.array(stops[: len(losses)]) * optimiser.evaluations
    curve = np.array(losses)
    return np.array([first_crossings(spent, curve[None], np.array([level * curve[0]]))[0] for level in levels])


def tune(
    *,
    experiment: str,
    seed: int,
    problem: dict,
    initial_law: dict,
    runs: dict[str, dict],
    step_sizes: list[float],
    evaluations: int,
    levels: list[float],
    tuned_on: list[int],
    compared_on: list[int],
    progress: Callable[[int], None] = lambda runs: None,
) -> Tuning:
    """Choose the best step of each optimiser for each level, and run it on the replicates of the comparison.

    Parameters
    ----------
    experiment : str
        Its name, which enters the random streams.
    seed : int
        Root seed.
    problem, initial_law : dict
        Blocks of the configuration.
    runs : dict
        By name: method, hyper-parameters, gradient, and the case, a width with its batch.
    step_sizes : list of float, increasing
        The grid of all optimisers [mean-field time].
    evaluations : int
        Gradients that a run may take [count].
    levels : list of float
        Shares of the initial loss [1].
    tuned_on, compared_on : list of int
        The first replicate and the one after the last.
    progress : callable
        Told that one more run is done.

    """

    def gradients(name: str, step_size: float, replicates: range) -> Floats:
        # Shape (level, replicate).
        one, found = runs[name], np.full((len(replicates), len(levels)), np.nan)
        optimiser = make_optimiser({**{key: one[key] for key in ("method", "hyperparameters")}, "step_size": step_size})
        for row, replicate in zip(found, replicates, strict=True):
            row[:] = gradients_to(
                optimiser, case=one["case"], gradient=one["gradient"], evaluations=evaluations, levels=levels,
                problem=problem, initial_law=initial_law, names=(seed, experiment, replicate),
            )  # fmt: skip
            progress(1)
            if not np.isfinite(row).any():
                break
        return found.T

    names, on, compare = list(runs), range(*tuned_on), range(*compared_on)
    tuned = np.array([[gradients(name, step, on) for step in step_sizes] for name in names])
    mean = log_interval(np.moveaxis(tuned, -1, 0)).mean  # nan unless every replicate gets there
    best = np.full((len(names), len(levels)), -1)
    compared = np.full((*best.shape, len(compare)), np.nan)
    for run, name in enumerate(names):
        for level in range(len(levels)):
            if np.isfinite(mean[run, :, level]).any():
                best[run, level] = np.nanargmin(mean[run, :, level])
        for chosen in np.unique(best[run][best[run] >= 0]):
            found, here = gradients(name, step_sizes[chosen], compare), best[run] == chosen
            compared[run, here] = found[here]
    return Tuning(
        tuned,
        np.where(best < 0, np.nan, np.array(step_sizes)[best]),
        ((best == 0) | (best == len(step_sizes) - 1)).astype(np.int8),
        compared,
        np.array([_clock(runs[name], step_sizes[0]) for name in names]),
    )


def _clock(run: dict, step_size: float) -> float:
    settings = {**{key: run[key] for key in ("method", "hyperparameters")}, "step_size": step_size}
    optimiser = make_optimiser(settings)
    matched = optimiser.matched_step(Schedule())
    return np.nan if matched is None else matched / step_size / optimiser.evaluations
