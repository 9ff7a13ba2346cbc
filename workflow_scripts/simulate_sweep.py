"""Rule simulate_sweep: run every candidate of a sweep and write what its runs end with."""

from typing import TYPE_CHECKING

import xarray as xr

from meanfield import checkpoints, io
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp
from meanfield.simulation import Sweep, sweep

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def labelled(runs: Sweep, candidates: list[dict]) -> xr.Dataset:
    """Return what the runs end with, named and with units, the hyper-parameters of a grid as coordinates."""
    v = io.variable
    varied = {
        name: v("candidate", [one["hyperparameters"][name] for one in candidates], f"hyper-parameter {name}")
        for name in sorted(candidates[0]["hyperparameters"])
    }
    return xr.Dataset(
        {
            "risk": v("candidate replicate", runs.risk, "population risk at the end; infinite if the run diverged"),
            "lowest_risk": v(
                "candidate replicate",
                runs.lowest_risk,
                "lowest population risk on the way; infinite if the run diverged",
            ),
            **{
                f"mean_{name}": v(
                    "candidate replicate",
                    values,
                    f"mean over neurons of {name} at the end; undefined if the run diverged",
                )
                for name, values in runs.observables.items()
            },
            "evaluations": v("candidate", runs.evaluations, "gradient evaluations of a run"),
        },
        coords={
            "step_size": v("candidate", runs.step_size, "step size epsilon"),
            "limit_step": v("candidate", runs.limit_step, "step size of SGD that moves alike"),
            "replicate": v("replicate", runs.replicate, "index of the replicate"),
            **varied,
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        name = f"{parameters['experiment']}/{parameters['sweep']}"
        replicates = range(*parameters["replicates"])
        progress = Progress(len(parameters["candidates"]) * len(replicates), f"{name} runs")
        checkpoint = checkpoints.of_job(snakemake)
        runs = sweep(**{**parameters, "replicates": replicates}, progress=progress, checkpoint=checkpoint)
        progress.close()
        dataset = stamp(
            labelled(runs, parameters["candidates"]),
            title=f"Sweep {name}",
            summary="Population risk at the end of runs over a grid of step sizes and hyper-parameters.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        io.write_dataset(dataset, snakemake.output.dataset)
        checkpoint.remove()
