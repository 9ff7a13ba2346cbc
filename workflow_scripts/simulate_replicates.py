"""Rule simulate_replicates: run some replicates of one simulation and write their records."""

from typing import TYPE_CHECKING

import xarray as xr

from meanfield import checkpoints, io
from meanfield.checkpoints import Checkpoint
from meanfield.errors import DataError
from meanfield.limits.schedule import Schedule
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp
from meanfield.simulation import Trajectories, make_optimiser, simulate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


NAMES = {
    "norm": "norm of the neuron's weight vector",
    "output_weight": "output weight",
    "bias": "bias",
    "informative_norm": "norm of the neuron's weights at the informative coordinates",
    "other_norm": "norm of the neuron's weights at the other coordinates",
}


def labelled(runs: Trajectories) -> xr.Dataset:
    """Return the records with names and units on every axis."""
    v = io.variable
    observed = {name: v("replicate record neuron", values, NAMES[name]) for name, values in runs.observables.items()}
    return xr.Dataset(
        {
            "risk": v("replicate record", runs.risk, "population risk"),
            **observed,
            "weight": v("replicate snapshot neuron coordinate", runs.weight, "neuron weight"),
        },
        coords={
            "replicate": v("replicate", runs.replicate, "index of the replicate"),
            "iteration": v("record", runs.iteration, "iteration"),
            "evaluation": v("record", runs.evaluation, "gradient evaluations"),
            "time": v("record", runs.time, "mean-field time, iteration times step size"),
            "limit_time": v("record", runs.limit_time, "mean-field time of SGD that moves alike"),
            "snapshot": v("snapshot", runs.snapshot, "name of the snapshot"),
            "snapshot_iteration": v("snapshot", runs.snapshot_iteration, "iteration of the snapshot"),
        },
    )


def completed(parameters: dict, tuning: str | None) -> dict:
    """Return the parameters with what the sweep's best candidate decides, if one does."""
    settings = parameters["settings"]
    if tuning is None:
        return parameters
    sweep = io.read_dataset(tuning)
    io.require(sweep, tuning, "best")
    swept = io.parameters(sweep)["sweep"]
    best = {"method": swept["settings"]["method"], **swept["candidates"][int(sweep["best"])]}
    if "control_of" not in settings:
        return {**parameters, "settings": {**settings, **best}}
    step = make_optimiser(best).matched_step(Schedule(**parameters["schedule"]))
    if step is None:
        name = f"{parameters['experiment']}/{parameters['simulation']}"
        raise DataError(f"{name}: the method {best['method']} that it controls has no constant clock")
    return {**parameters, "settings": {"hyperparameters": {}, **settings, "step_size": step}}


def main(
    parameters: dict,
    tuning: str | None,
    replicates: range,
    threads: int,
    rule: str,
    output: str,
    checkpoint: Checkpoint = checkpoints.NONE,
) -> None:
    """Simulate the replicates and write their dataset."""
    parameters = completed(parameters, tuning)
    name = f"{parameters['experiment']}/{parameters['simulation']}"
    total = parameters["iterations"][-1] * len(replicates)
    progress = Progress(total, f"{name} replicates {replicates.start}-{replicates.stop - 1}")
    runs = simulate(**parameters, replicates=replicates, threads=threads, progress=progress, checkpoint=checkpoint)
    progress.close()
    dataset = stamp(
        labelled(runs),
        title=f"Simulation {name}",
        summary="Population risk, what is recorded of each neuron, and weight snapshots along runs of a network.",
        rule=rule,
        parameters=parameters,
        seed=parameters["seed"],
        inputs={"tuning": tuning} if tuning else {},
    )
    io.write_dataset(dataset, output)
    checkpoint.remove()


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        main(
            snakemake.params.parameters,
            snakemake.input.tuning[0] if snakemake.input.tuning else None,
            range(*snakemake.params.replicates),
            snakemake.threads,
            snakemake.rule,
            snakemake.output.dataset,
            checkpoints.of_job(snakemake),
        )
