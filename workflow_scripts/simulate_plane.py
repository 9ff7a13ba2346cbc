"""Rule simulate_plane: take the common random starts through one run and its polishing."""

import time
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.logs import logged_to, logger
from meanfield.plane_runs import Conditions, PlaneRun, cluster_size, run, uniform_starts
from meanfield.problems.plane import PlanePotential, potential_from
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def conditions_of(parameters: dict) -> Conditions:
    """Return the conditions of an experiment's runs from a job's parameters."""
    names = ("largest_gradient", "tolerance", "polish")
    return Conditions(
        parameters["seed"], parameters["experiment"], tuple(parameters["window"]), tuple(parameters["domain"]),
        **{name: parameters[name] for name in names},
    )  # fmt: skip


def simulate(parameters: dict, threads: int = 1) -> xr.Dataset:
    """Return end points, counts and a few trajectories of one run."""
    potential, conditions = potential_from(parameters["problem"]), conditions_of(parameters)
    starts = uniform_starts(parameters["seed"], parameters["experiment"], parameters["starts"], conditions.window)
    began = time.perf_counter()
    done = run(potential, parameters["phases"], starts, conditions, threads=threads)
    seconds = time.perf_counter() - began
    total = int(done.evaluations.sum())
    logger.info("%d evaluations in %.3g s, %.3g per second", total, seconds, total / seconds)
    return labelled(potential, starts, done, *_trajectories(potential, starts, conditions, parameters))


def _trajectories(potential, starts, conditions, parameters) -> tuple[np.ndarray, np.ndarray]:
    # The first starts once more, with every step kept: the same bits, because normals belong to starts.
    recorded = parameters["recorded"]
    shown = min(recorded["starts"], len(starts))
    if not shown:
        return np.empty((0, 0, 2)), np.empty(0, np.int64)
    cluster = cluster_size(parameters["phases"])
    company = -(-shown // cluster) * cluster
    done = run(potential, parameters["phases"], starts[:company], conditions, recorded=True)
    paths, costs = done.paths[:, :shown], done.path_evaluations
    # After the last of them has stopped nothing changes.
    moving = np.flatnonzero((np.diff(paths, axis=0) != 0).any(axis=(1, 2)))
    count = int(moving[-1]) + 2 if moving.size else 1
    index = np.arange(count)
    kept = (index < recorded["first_records"]) | (index % recorded["record_every"] == 0) | (index == count - 1)
    return paths[:count][kept], costs[:count][kept]


def labelled(
    potential: PlanePotential, starts: np.ndarray, done: PlaneRun, paths: np.ndarray, costs: np.ndarray
) -> xr.Dataset:
    """Return the arrays of a run with names and units."""
    v = io.variable
    codes = "0: budget spent, 1: converged, 2: left the domain"
    with np.errstate(all="ignore"):  # an end point may be anywhere
        values, polished = potential.value(done.ends), potential.value(done.polished)
    return xr.Dataset(
        {
            "begin": v("start coordinate", starts, "initial point"),
            "end": v("start coordinate", done.ends, "last point of the run"),
            "polished": v("start coordinate", done.polished, "point after polishing by gradient descent"),
            "value": v("start", values, "potential at the last point of the run"),
            "value_polished": v("start", polished, "potential after polishing"),
            "outcome": v("start", done.outcome, f"how the run ended; {codes}"),
            "outcome_polished": v("start", done.polished_outcome, f"how the polishing ended; {codes}"),
            "iterations": v("start", done.iterations, "iterations of the run"),
            "evaluations": v("start", done.evaluations, "evaluations of the gradient or of the potential in the run"),
            "path": v("record trajectory coordinate", paths, "trajectories of the first starts"),
            "path_evaluations": v("record", costs, "evaluations up to a record, of a start that has not stopped"),
        },
        coords={"coordinate": v("coordinate", ["x", "y"], "coordinate")},
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        dataset = stamp(
            simulate(parameters, snakemake.threads),
            title=f"Run {parameters['simulation']} on the potential of {parameters['experiment']}",
            summary="End points of one optimiser or sampler from common random starts, before and after polishing.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        io.write_dataset(dataset, snakemake.output.dataset)
