"""Rule solve_spin3: integrate one deterministic flow of the 3-spin from some replicates' initial units."""

from typing import TYPE_CHECKING

import xarray as xr

from meanfield import checkpoints, io
from meanfield.checkpoints import Checkpoint
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp
from meanfield.sphere_simulation import FlowRuns, solve_flows

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def labelled(runs: FlowRuns) -> xr.Dataset:
    """Return the records with names and units on every axis."""
    v = io.variable
    return xr.Dataset(
        {
            "loss": v("replicate case record", runs.loss, "population loss, half the mean squared error"),
            "objective": v("replicate case record", runs.objective, "what the flow descends"),
            "dissipated": v("replicate case record", runs.dissipated, "lost by the objective according to the speed"),
            "weight": v("replicate unit parameter", runs.units, "parameters of the units at the end"),
            "largest_rise": v("replicate case", runs.largest_rise, "largest rise of the objective in a step, relative"),
            "radius_error": v("replicate case", runs.radius_error, "largest relative distance from the sphere"),
            "steps": v("replicate case", runs.steps, "steps of the integrator"),
            "evaluations": v("replicate case", runs.evaluations, "evaluations of the right-hand side"),
            "end": v("replicate case", runs.end, "mean-field time reached"),
            "coupling": v("replicate coordinate coordinate_q coordinate_r", runs.couplings, "coupling of the target"),
            "mean_square": v("replicate", runs.mean_square, "mean square of the target"),
        },
        coords={
            "replicate": v("replicate", runs.replicate, "index of the replicate"),
            "neurons": v("case", runs.cases.neurons, "width of the network"),
            "factor": v("case", runs.cases.factor, "factor of the batch rule, 0 for full gradients"),
            "case_of_unit": v("unit", runs.cases.case_of_unit, "case that the unit belongs to"),
            "time": v("record", runs.time, "mean-field time"),
        },
    )  # fmt: skip


def main(
    parameters: dict, replicates: range, rule: str, output: str, checkpoint: Checkpoint = checkpoints.NONE
) -> None:
    """Integrate the flow and write its dataset."""
    name = f"{parameters['experiment']}/{parameters['simulation']}"
    progress = Progress(
        len(parameters["neurons"]) * len(replicates),
        f"{name} replicates {replicates.start}-{replicates.stop - 1}",
    )
    runs = solve_flows(**parameters, replicates=replicates, progress=progress, checkpoint=checkpoint)
    progress.close()
    dataset = stamp(
        labelled(runs),
        title=f"Deterministic flow {name}",
        summary="Population loss and objective along a gradient flow of networks that learn a spherical 3-spin.",
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
