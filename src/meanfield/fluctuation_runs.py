r"""Many replicates of SGD on isotropic Gaussians at several widths and step sizes, reduced to averages over neurons.

The population risk of a network splits into that of the average of its law over rotations, which needs norms alone,
and a rest that is a square: at inputs of norm R in direction e

.. math:: R_N = R(\overline{\hat\rho}) + E\,[\hat y_N(R e) - E_e \hat y_N(R e)]^2 .

The first part is exact. The second, of order 1/N, is a mean over random directions at the nodes of Gauss' rule for R,
without bias: the variance over directions. All pairs of neurons, as `meanfield.problems.isotropic` sums them, would
cost the square of the width.

Arrays out, no files.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield import checkpoints
from meanfield.checkpoints import Checkpoint
from meanfield.ensembles import cells, record_iterations, record_times
from meanfield.errors import DivergenceError
from meanfield.kernels.streams import TEST_POINTS, seed_sequence, stream_key
from meanfield.limits.fluctuations import TEST_FUNCTIONS
from meanfield.limits.potentials import TabulatedDrift, norm_rule, radial_potentials
from meanfield.methods.runs import BlockWalk
from meanfield.problems.activations import make_activation
from meanfield.problems.factory import make_law
from meanfield.problems.isotropic import IsotropicGaussians

Floats = NDArray[np.float64]

# Nodes of the rule for the norm of an input in the sampled part of the risk, per class.
_NORM_NODES = 16
# Norms up to here come from a table.
_REACH = 16.0


class Cell(NamedTuple):
    """What all replicates of one width and one step size leave."""

    neurons: int
    step_size: float  # [mean-field time]
    iteration: NDArray[np.int64]  # shape (record,); a repeated one is the same look again
    time: Floats  # shape (record,), of the iteration, next to the one asked for [mean-field time]
    mean: Floats  # shape (function, replicate, record), average over neurons [1]
    square: Floats  # shape (function, replicate, record), mean square over neurons [1]
    risk: Floats  # shape (replicate, record), population risk, see above [1]
    averaged_risk: Floats  # shape (replicate, record), that of the average over rotations, exact [1]
    norm: NDArray[np.float32]  # shape (replicate, law record, neuron), norms at some of the records [1]


def make_problem(problem: dict, activation: dict) -> IsotropicGaussians:
    """Return the problem of blocks of the configuration."""
    return IsotropicGaussians(problem["dimension"], problem["separation"], make_activation(activation))


class RiskMeter:
    """The population risk of networks of any width; see the head of this module."""

    def __init__(self, problem: IsotropicGaussians, directions: int):
        self.problem = problem
        self.potentials = radial_potentials(problem)
        self.table = TabulatedDrift(self.potentials, _REACH)
        norms, weights = norm_rule(problem.dimension, _NORM_NODES)
        wide, narrow = problem.scales
        self.radii = np.concatenate([wide * norms, narrow * norms])
        self.weights = np.tile(weights, 2) / 2
        self.directions = directions

    def averaged(self, norms: Floats) -> float:
        """Return the risk of the average over rotations [1], exact."""
        mass = np.full(norms.size, 1 / norms.size)
        if self.table.covers(norms):
            return self.table(norms, mass)[1]
        return self.potentials.risk(norms, mass)

    def rest(self, weights: Floats, generator: np.random.Generator) -> float:
        """Return an estimate without bias of what the deviation from the average over rotations adds [1]."""
        nodes, dimension = self.radii.size, self.problem.dimension
        inputs = generator.standard_normal((nodes, self.directions, dimension))
        inputs *= self.radii[:, None, None] / np.sqrt((inputs**2).sum(axis=2, keepdims=True))
        found = self.problem.network(weights, inputs.reshape(-1, dimension)).reshape(nodes, self.directions)
        return float(self.weights @ found.var(axis=1, ddof=1))


def distinct(stops: list[int]) -> list[int]:
    """Return the iterations at which a run is seen: records that fall on one iteration are one look."""
    return sorted(set(stops))


class Look(NamedTuple):
    """What a network is reduced to at a record."""

    norms: Floats  # shape (neuron,) [1]
    risk: float  # population risk, see above [1]
    averaged_risk: float  # that of the average over rotations, exact [1]


def looks(
    run: Iterable[Floats], stops: list[int], meter: RiskMeter, names: tuple[int, str, int], lost: str, step_size: float
) -> Iterator[Look]:
    """Yield the look at each record of a run; records that fall on one iteration are one look, yielded again.

    The test directions of a record are those of its place in the list, so that they do not depend on the step size.

    Parameters
    ----------
    run : iterable of array, shape (neuron, coordinate)
        The weights at the `distinct` iterations [1].
    stops : list of int, increasing
        Iterations of the records.
    meter : RiskMeter
        Measures risks.
    names : tuple
        Root seed, experiment and replicate; they name the stream of test directions.
    lost, step_size
        Who ran and with which step, for the message.

    Raises
    ------
    DivergenceError
        If weights stop being finite.

    """
    seen = dict(zip(distinct(stops), run, strict=True))
    generator = np.random.default_rng(seed_sequence(*names, TEST_POINTS))
    found: dict[int, Look] = {}
    _, experiment, replicate = names
    for stop in stops:
        weights = seen[stop].astype(float)
        norms = np.sqrt((weights**2).sum(axis=1))
        if not np.isfinite(norms).all():
            msg = (
                f"{experiment}, replicate {replicate}: {lost} stopped being finite by iteration {stop}; "
                f"step_size {step_size:g} is too large"
            )
            raise DivergenceError(msg)
        averaged = meter.averaged(norms)
        look = Look(norms, averaged + meter.rest(weights, generator), averaged)
        yield found.setdefault(stop, look)


def run_ensemble(
    *,
    experiment: str,
    seed: int,
    problem: dict,
    activation: dict,
    initial_law: dict,
    precision: str,
    times: list[float],
    law_times: list[float],
    test_functions: list[str],
    ensemble: dict,
    progress: Callable[[int], None] = lambda cells: None,
    checkpoint: Checkpoint = checkpoints.NONE,
) -> list[Cell]:
    """Run every cell of an ensemble.

    Replicate m of all cells has the same stream of samples, and its initial weights are the first rows of one list.

    Parameters
    ----------
    experiment, seed
        Name the random streams.
    problem, activation, initial_law, ensemble : dict
        Blocks of the configuration.
    precision : str
        ``float32`` or ``float64``.
    times, law_times : list of float, increasing
        Mean-field times asked for; those at which all norms are kept, among them. A record is of the nearest
        iteration, and has that one's time.
    test_functions : list of str
        Keys of `TEST_FUNCTIONS`.
    progress : callable
        Told that one more cell is done.
    checkpoint : Checkpoint
        Where runs that ended are found again.

    Raises
    ------
    DivergenceError
        If weights stop being finite.

    """
    data = make_problem(problem, activation)
    law = make_law("isotropic_gaussians", initial_law)
    meter = RiskMeter(data, ensemble["directions"])
    kept = [times.index(t) for t in law_times]
    found = []
    for neurons, step_size in cells(ensemble):
        stops = record_iterations(times, step_size)

        def run(replicate: int, neurons=neurons, step_size=step_size, stops=stops) -> tuple:
            names = (seed, experiment, replicate)
            settings = {"key": stream_key(*names), "scales": data.scales, "step_size": step_size}
            state = data.block_state(law.sample(neurons, data.dimension, *names).astype(precision))
            walk = BlockWalk(
                state, lambda one, first, last: one.advance_stream(first, last, **settings),
                lambda one: one.weights, distinct(stops),
            )  # fmt: skip
            seen = list(looks(walk, stops, meter, names, f"SGD of {neurons} neurons", step_size))
            values = np.array([[TEST_FUNCTIONS[name].value(look.norms) for look in seen] for name in test_functions])
            return (
                values.mean(axis=-1), (values**2).mean(axis=-1), np.array([look.risk for look in seen]),
                np.array([look.averaged_risk for look in seen]), np.array([seen[k].norms for k in kept], np.float32),
            )  # fmt: skip

        runs = [
            checkpoint.remember(f"{neurons} neurons, step {step_size!r}, replicate {m}", partial(run, m))
            for m in range(ensemble["replicates"])
        ]
        mean, square, risk, averaged, norm = (np.array(parts) for parts in zip(*runs, strict=True))
        found.append(
            Cell(
                neurons, step_size, np.array(stops), np.array(record_times(times, step_size)),
                np.moveaxis(mean, 1, 0), np.moveaxis(square, 1, 0), risk, averaged, norm,
            )
        )  # fmt: skip
        progress(1)
    return found
