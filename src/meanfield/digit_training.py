"""From blocks of the configuration to arrays: train networks on handwritten digits, replicate by replicate.

Arrays in, arrays out, no files; the labels are put on by the workflow's script.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield import checkpoints, registry
from meanfield.checkpoints import Checkpoint, Tree
from meanfield.limits.schedule import Schedule
from meanfield.methods.runs import BlockWalk, PlainWalk, Walk, inner_loop_walk, with_looks
from meanfield.methods.runs import records as seen_records
from meanfield.problems.activations import make_activation
from meanfield.problems.digits import ClassifierLaw, DigitClassifier, standardise, targets

Floats = NDArray[np.float64]

_LARGEST_WEIGHT = 1e30
# What the evaluation of one image costs, in passes of an iteration over the weights: they have the same multiply-adds,
# but the block kernel keeps more of them in registers.
_PASSES_PER_IMAGE = 1.5
# Levels at which the quantiles of the input weights are kept.
LEVELS = (np.arange(2000) + 0.5) / 2000


class Digits(NamedTuple):
    """Images, shape (image, row, column), and their labels 0 … 9."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


class Run(NamedTuple):
    """What one replicate leaves."""

    loss_train: Floats  # shape (record,), mean squared error over the whole training set [1]
    loss_test: Floats  # shape (record,)
    error_train: Floats  # shape (record,), share of wrong signs [1]
    error_test: Floats  # shape (record,)
    online_loss: Floats  # shape (window,), mean squared error of the samples before their own steps; nan if not kept
    output_weight: Floats  # shape (neuron,), c at the end [1]
    weight_quantile: Floats  # shape (level,), of all entries of w at the end [1]
    weight_moments: Floats  # shape (moment,): mean, deviation, kurtosis of all entries of w at the end
    picture: Floats  # shape (picture, row, column), weights of the neurons with the largest and the smallest c [1]
    picture_output: Floats  # shape (picture,), their c [1]
    output_test: Floats  # shape (test image,), g at the end [1]


class Runs(NamedTuple):
    """What one simulation leaves: replicates on the first axis."""

    iteration: NDArray[np.int64]  # shape (record,)
    evaluation: NDArray[np.int64]  # shape (record,), gradients so far
    window: NDArray[np.int64]  # shape (window + 1,), iterations at which the windows of the online loss begin and end
    matched_rate: float  # alpha of the SGD that moves alike where gradients vary slowly; nan where there is none
    active: NDArray[np.bool_]  # shape (row, column), pixels that vary
    replicate: NDArray[np.int64]
    runs: list[Run]


def affordable(iterations: int, passes: float, images: int, share: float, neurons: int, pixels: int, free: float):
    """Return how many evaluations of all images a run may do.

    An iteration passes over the weights to predict and to update (`passes` = 2 for SGD). Evaluations may take the given
    share of that time, or `free` multiply-adds if that is more, and the final state is always evaluated.
    """
    cost = float(images) * neurons * pixels
    return max(1, int(share * iterations * passes / (_PASSES_PER_IMAGE * images)), int(free / cost))


def record_stops(iterations: int, count: int, first: int) -> list[int]:
    """Return at most `count` iterations to evaluate: the last, 0, and log-spaced ones from `first` on."""
    if count == 1:
        return [iterations]
    spaced = np.geomspace(min(first, iterations), iterations, count - 1) if count > 2 else [iterations]
    return sorted({0, iterations, *(round(float(k)) for k in spaced)})


def windows(iterations: int, per_decade: int) -> NDArray[np.int64]:
    """Return where log-spaced windows of iterations begin and end, from 0 to the last."""
    count = max(2, math.ceil(math.log10(max(iterations, 10)) * per_decade))
    return np.unique(np.concatenate([[0], np.rint(np.geomspace(1, iterations, count)).astype(np.int64)]))


def train(
    *,
    experiment: str,
    simulation: str,
    seed: int,
    digits: Digits,
    activation: dict,
    labels: dict,
    initial_law: dict,
    neurons: int,
    settings: dict,
    iterations: int,
    records: dict,
    pictures: int,
    replicates: range,
    progress: Callable[[int], None] = lambda iterations: None,
    checkpoint: Checkpoint = checkpoints.NONE,
) -> Runs:
    r"""Train some replicates of one network.

    Parameters
    ----------
    experiment, simulation : str
        Names; the experiment's enters the random streams, the simulation's only messages.
    seed : int
        Root seed.
    digits : Digits
        The data.
    activation, labels, initial_law : dict
        Blocks of the configuration.
    neurons : int
        Width N.
    settings : dict
        Method, hyper-parameters, rate :math:`\alpha` and precision.
    iterations : int
        Iterations of the method.
    records : dict
        ``per_decade``, ``first_time``, ``share`` and ``free_operations`` of the evaluations on all images, and
        ``windows_per_decade`` of the online loss.
    pictures : int
        How many neurons of each sign of c are kept as pictures.
    replicates : range
        Which replicates; each gives the same bits whichever others run with it.
    progress : callable
        Told the number of iterations done since the last call.
    checkpoint : Checkpoint
        Where runs leave their state, and are found again.

    Returns
    -------
    Runs
        Records and final states.

    Raises
    ------
    DivergenceError
        If the weights stop being finite.

    """
    seen = standardise(digits.train_images, digits.test_images)
    problem = DigitClassifier(
        seen.train.astype(settings["precision"]), targets(digits.train_labels, **labels), make_activation(activation)
    )
    test, test_targets = seen.test.astype(settings["precision"]), targets(digits.test_labels, **labels)
    method = registry.load(registry.METHODS, settings["method"])
    hyperparameters = method.Hyperparameters(**settings["hyperparameters"])
    step_size = settings["rate"] / (2 * neurons)
    gradients = method.evaluations(hyperparameters)
    images = len(problem.labels) + len(test_targets)
    # Prediction and update; twice each with a velocity.
    moving = hasattr(method, "recurrence") and not method.recurrence(hyperparameters).plain
    passes = (4 if moving else 2) * gradients
    possible = affordable(
        iterations, passes, images, records["share"], neurons, problem.dimension, records["free_operations"]
    )
    first = max(1, round(records["first_time"] * neurons))
    wanted = 1 + max(1, math.ceil(records["per_decade"] * math.log10(max(iterations / first, 1.0)) + 1))
    stops = record_stops(iterations, min(possible, wanted), first)
    edges = windows(iterations, records["windows_per_decade"])
    law = ClassifierLaw(**initial_law)

    def run(replicate: int) -> tuple:
        names = (seed, experiment, replicate)
        weights = law.sample(neurons, seen.active, *names).astype(settings["precision"])
        squares = np.full(iterations, np.nan, np.float32) if hasattr(method, "recurrence") else None
        looks = with_looks(stops, weights.size)

        def see(stop: int, point: NDArray) -> tuple[list[float], NDArray | None]:
            return _evaluate(problem, point, test, test_targets), point if stop == stops[-1] else None

        found = seen_records(
            _walk(problem, method, hyperparameters, weights, step_size, names, looks, squares), looks, stops, see,
            name=f"replicate {replicate}", largest=_LARGEST_WEIGHT,
            lost=f"{experiment}/{simulation}, replicate {replicate}: {settings['method']}",
            cause=f"rate {settings['rate']:g}", progress=progress, checkpoint=checkpoint,
        )  # fmt: skip
        rows, final = [row for row, _ in found], found[-1][1]
        online = np.full(len(edges) - 1, np.nan)
        if squares is not None:
            sums = np.add.reduceat(squares.astype(float), edges[:-1])
            online = sums / np.diff(edges)
        wide = final.astype(float)
        entries = wide[:, 1:].reshape(-1)
        shown = _shown(wide[:, 0], pictures)
        blank = np.zeros((len(shown), *seen.active.shape))
        blank[:, seen.active] = wide[shown, 1:]
        return (
            *np.array(rows).T, online, wide[:, 0], np.quantile(entries, LEVELS),
            np.array([entries.mean(), entries.std(), (((entries - entries.mean()) / entries.std()) ** 4).mean()]),
            blank, wide[shown, 0], problem.outputs(final, test),
        )  # fmt: skip

    factor = method.clock(hyperparameters, step_size)
    return Runs(
        np.array(stops, dtype=np.int64),
        np.array(stops, dtype=np.int64) * gradients,
        edges,
        math.nan if factor is None else settings["rate"] * factor,
        seen.active,
        np.array(list(replicates), dtype=np.int64),
        [Run(*checkpoint.remember(f"replicate {replicate}", partial(run, replicate))) for replicate in replicates],
    )


def _shown(outputs: Floats, count: int) -> NDArray[np.int64]:
    # The neurons with the largest c, from the largest down, and those with the smallest, from the smallest up.
    order = np.argsort(outputs, kind="stable")
    count = min(count, len(order) // 2)
    return np.concatenate([order[::-1][:count], order[:count]])


def _evaluate(problem: DigitClassifier, point: NDArray, test: NDArray, test_targets: Floats) -> list[float]:
    values = []
    for inputs, labels in ((problem.inputs, problem.labels), (test, test_targets)):
        output = problem.outputs(point, inputs)
        values += [float(np.mean((labels - output) ** 2)), float(np.mean(np.sign(output) != labels))]
    return [values[0], values[2], values[1], values[3]]


def _walk(problem, method, hyperparameters, weights, step_size, names, stops, squares) -> Walk:
    # Steps of one size: a schedule that is one.
    arguments = (problem, weights, names, Schedule(), step_size, stops)
    if hasattr(method, "recurrence"):
        return DigitWalk(problem, method.recurrence(hyperparameters), weights, step_size, names, stops, squares)
    if hasattr(method, "inner_loop"):
        return inner_loop_walk(method.inner_loop(hyperparameters), *arguments)
    return PlainWalk(method, hyperparameters, *arguments)


class DigitWalk(BlockWalk):
    """A run by the block kernel, which fills the squared errors of the samples, `squares`."""

    def __init__(self, problem, momentum, weights, step_size: float, names, stops: list[int], squares: NDArray):
        def advance(state, first: int, last: int) -> None:
            count = last - first
            increments = np.zeros(count, weights.dtype)
            state.advance_arrays(
                problem.inputs, problem.labels, np.full(count, step_size), problem.sample_index(*names, first, count),
                increments,
            )  # fmt: skip
            with np.errstate(over="ignore"):  # a diverging run is told by its weights
                squares[first:last] = ((increments / (2 * step_size)) ** 2).astype(squares.dtype)

        def point(state) -> NDArray:
            return np.concatenate([state.output_weights[:, None], state.weights], axis=1)

        super().__init__(problem.block_state(weights, momentum), advance, point, stops)
        self._squares = squares

    def _state(self) -> Tree:
        return {**super()._state(), "squares": self._squares.copy()}

    def _put_back(self, state: Tree) -> None:
        super()._put_back(state)
        self._squares[:] = state["squares"]
