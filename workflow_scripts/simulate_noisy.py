"""Rule simulate_noisy: replicates of noisy SGD at several temperatures, their norms and risks."""

from typing import TYPE_CHECKING

import xarray as xr

from meanfield import checkpoints, io
from meanfield.checkpoints import Checkpoint
from meanfield.logs import Progress, logged_to
from meanfield.noisy_runs import run_noisy
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(progress=lambda count: None, checkpoint: Checkpoint = checkpoints.NONE, **parameters) -> xr.Dataset:
    """Return norms and risks of all runs."""
    found = run_noisy(**parameters, progress=progress, checkpoint=checkpoint)
    v, dims = io.variable, "temperature replicate record"
    return xr.Dataset(
        {
            "risk": v(dims, found.risk, "population risk"),
            "averaged_risk": v(dims, found.averaged_risk, "risk of the average over rotations"),
            "norm": v(f"{dims} neuron", found.norm, "norm of each neuron"),
        },
        coords={
            "inverse_temperature": v("temperature", parameters["inverse_temperatures"], "inverse temperature beta"),
            "time": v("record", found.time, "mean-field time of each record's iteration"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        runs = len(parameters["inverse_temperatures"]) * parameters["replicates"]
        progress = Progress(runs, f"{parameters['experiment']} runs")
        checkpoint = checkpoints.of_job(snakemake)
        dataset = run(progress, checkpoint, **parameters)
        progress.close()
        dataset = stamp(
            dataset,
            title=f"Noisy SGD, {parameters['experiment']}",
            summary="Norms and risks along replicates of noisy SGD at several temperatures.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        io.write_dataset(dataset, snakemake.output.dataset)
        checkpoint.remove()
