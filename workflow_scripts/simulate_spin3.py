"""Rule simulate_spin3: run some replicates of one simulation of the 3-spin and write their records."""

from typing import TYPE_CHECKING

import xarray as xr

from meanfield import checkpoints, io
from meanfield.checkpoints import Checkpoint
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp
from meanfield.sphere_simulation import SphereRuns, simulate_sphere

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def labelled(runs: SphereRuns) -> xr.Dataset:
    """Return the records with names and units on every axis."""
    v = io.variable
    return xr.Dataset(
        {
            "loss": v("replicate case record", runs.loss, "population loss, half the mean squared error"),
            "loss_error": v("replicate case record", runs.loss_error, "standard error of the loss, 0 where exact"),
            "weight": v("replicate unit parameter", runs.units, "parameters of the units at the end"),
            "radius_error": v("replicate case", runs.radius_error, "largest relative distance from the sphere"),
            "coupling": v("replicate coordinate coordinate_q coordinate_r", runs.couplings, "coupling of the target"),
            "mean_square": v("replicate", runs.mean_square, "mean square of the target"),
        },
        coords={
            "replicate": v("replicate", runs.replicate, "index of the replicate"),
            "neurons": v("case", runs.cases.neurons, "width of the network"),
            "factor": v("case", runs.cases.factor, "factor of the batch rule, 0 for full gradients"),
            "batch": v("case", runs.cases.batch, "samples of a gradient, 0 for full gradients"),
            "quench_batch": v("case", runs.cases.quench_batch, "samples of a gradient at the end of the run"),
            "case_of_unit": v("unit", runs.cases.case_of_unit, "case that the unit belongs to"),
            "iteration": v("record", runs.iteration, "iteration"),
            "evaluation": v("record", runs.evaluation, "gradient evaluations so far"),
            "time": v("record", runs.time, "mean-field time, iteration times step size"),
            "limit_time": v("record", runs.limit_time, "mean-field time of SGD that moves alike"),
        },
    )  # fmt: skip


def main(
    parameters: dict, replicates: range, rule: str, output: str, checkpoint: Checkpoint = checkpoints.NONE
) -> None:
    """Simulate the replicates and write their dataset."""
    name = f"{parameters['experiment']}/{parameters['simulation']}"
    total = parameters["iterations"][-1] * len(replicates) * len(parameters["cases"])
    progress = Progress(total, f"{name} replicates {replicates.start}-{replicates.stop - 1}")
    runs = simulate_sphere(**parameters, replicates=replicates, progress=progress, checkpoint=checkpoint)
    progress.close()
    dataset = stamp(
        labelled(runs),
        title=f"Simulation {name}",
        summary="Population loss along runs of networks that learn a spherical 3-spin, and their units at the end.",
        rule=rule,
        parameters=parameters,
        seed=parameters["seed"],
    )
    io.write_dataset(dataset, output)
    checkpoint.remove()


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        main(
            snakemake.params.parameters,
            range(*snakemake.params.replicates),
            snakemake.rule,
            snakemake.output.dataset,
            checkpoints.of_job(snakemake),
        )
