"""Rule simulate_replicates: run some replicates of one simulation and write their records."""

from typing import TYPE_CHECKING

import xarray as xr

from meanfield import io
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp
from meanfield.simulation import Trajectories, simulate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def labelled(runs: Trajectories) -> xr.Dataset:
    """Return the records with names and units on every axis."""
    v = io.variable
    return xr.Dataset(
        {
            "risk": v("replicate record", runs.risk, "population risk"),
            "norm": v("replicate record neuron", runs.norm, "norm of the neuron's weight vector"),
            "weight": v("replicate snapshot neuron coordinate", runs.weight, "neuron weight"),
        },
        coords={
            "replicate": v("replicate", runs.replicate, "index of the replicate"),
            "iteration": v("record", runs.iteration, "iteration"),
            "time": v("record", runs.time, "mean-field time, iteration times step size"),
            "snapshot": v("snapshot", runs.snapshot, "name of the snapshot"),
            "snapshot_iteration": v("snapshot", runs.snapshot_iteration, "iteration of the snapshot"),
        },
    )


def main(parameters: dict, replicates: range, threads: int, rule: str, output: str) -> None:
    """Simulate the replicates and write their dataset."""
    name = f"{parameters['experiment']}/{parameters['simulation']}"
    total = parameters["iterations"][-1] * len(replicates)
    progress = Progress(total, f"{name} replicates {replicates.start}-{replicates.stop - 1}")
    runs = simulate(**parameters, replicates=replicates, threads=threads, progress=progress)
    progress.close()
    dataset = stamp(
        labelled(runs),
        title=f"Simulation {name}",
        summary="Population risk, neuron norms and weight snapshots along runs of a two-layer network.",
        rule=rule,
        parameters=parameters,
        seed=parameters["seed"],
    )
    io.write_dataset(dataset, output)


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        main(
            snakemake.params.parameters,
            range(*snakemake.params.replicates),
            snakemake.threads,
            snakemake.rule,
            snakemake.output.dataset,
        )
