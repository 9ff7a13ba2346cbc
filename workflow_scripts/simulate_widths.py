"""Rule simulate_widths: run one optimiser at several widths and write the risks along the runs."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import checkpoints, io
from meanfield.checkpoints import Checkpoint
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp
from meanfield.simulation import simulate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(
    widths: list[int], replicates: range, progress, checkpoint: Checkpoint = checkpoints.NONE, **parameters
) -> xr.Dataset:
    """Return risks and means over neurons of all widths; the runs of all share their samples."""
    name = parameters.pop("study")
    runs = []
    for width in widths:
        study = {"simulation": f"{name}, N = {width}", "neurons": width, "replicates": replicates}
        runs.append(simulate(**parameters, **study, checkpoint=checkpoint))
        progress(1)
    v = io.variable
    means = {
        f"mean_{observable}": v(
            "width replicate record",
            np.array([one.observables[observable].mean(axis=2) for one in runs]),
            f"mean over neurons of {observable}",
        )
        for observable in runs[0].observables
    }
    return xr.Dataset(
        {"risk": v("width replicate record", [one.risk for one in runs], "population risk"), **means},
        coords={
            "width": v("width", np.array(widths), "number of neurons"),
            "replicate": v("replicate", runs[0].replicate, "index of the replicate"),
            "iteration": v("record", runs[0].iteration, "iteration"),
            "limit_time": v("record", runs[0].limit_time, "mean-field time of SGD that moves alike"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        name = f"{parameters['experiment']}/{parameters['study']}"
        replicates = range(*parameters["replicates"])
        progress = Progress(len(parameters["widths"]), f"{name} widths")
        checkpoint = checkpoints.of_job(snakemake)
        dataset = run(**{**parameters, "replicates": replicates}, progress=progress, checkpoint=checkpoint)
        progress.close()
        dataset = stamp(
            dataset,
            title=f"Width study {name}",
            summary="Population risk and means over neurons along runs of networks of several widths.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        io.write_dataset(dataset, snakemake.output.dataset)
        checkpoint.remove()
