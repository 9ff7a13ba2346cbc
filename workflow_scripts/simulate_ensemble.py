"""Rule simulate_ensemble: many replicates of SGD at several widths and step sizes, reduced to averages over neurons."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import checkpoints, io
from meanfield.checkpoints import Checkpoint
from meanfield.fluctuation_runs import cells, run_ensemble
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(progress=lambda count: None, checkpoint: Checkpoint = checkpoints.NONE, **parameters) -> xr.Dataset:
    """Return averages, risks and some norms of all cells of an ensemble."""
    found = run_ensemble(**parameters, progress=progress, checkpoint=checkpoint)
    v = io.variable
    law_records = [parameters["times"].index(t) for t in parameters["law_times"]]
    functions = "function cell replicate record"
    norms = {
        f"norm_{n}": v(f"replicate law_time neuron_{n}", cell.norm, f"norm of each neuron in cell {n}")
        for n, cell in enumerate(found)
    }
    return xr.Dataset(
        {
            "mean": v(functions, np.stack([c.mean for c in found], axis=1), "average of a function over the neurons"),
            "square": v(functions, np.stack([c.square for c in found], axis=1), "average of its square"),
            "risk": v("cell replicate record", [c.risk for c in found], "population risk"),
            "averaged_risk": v(
                "cell replicate record", [c.averaged_risk for c in found], "risk of the average over rotations"
            ),
            "iteration": v("cell record", [c.iteration for c in found], "iteration of each record"),
            **norms,
        },
        coords={
            "function": v("function", parameters["test_functions"], "test function"),
            "neurons": v("cell", [c.neurons for c in found], "number of neurons"),
            "step_size": v("cell", [c.step_size for c in found], "step size"),
            "time": v("cell record", [c.time for c in found], "mean-field time of each record's iteration"),
            "asked_time": v("record", parameters["times"], "mean-field time asked for; the nearest iteration is seen"),
            "law_record": v("law_time", law_records, "record at which norms are kept"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        name = f"{parameters['experiment']}/{snakemake.wildcards.ensemble}"
        progress = Progress(len(cells(parameters["ensemble"])), f"{name} cells")
        checkpoint = checkpoints.of_job(snakemake)
        dataset = run(progress, checkpoint, **parameters)
        progress.close()
        dataset = stamp(
            dataset,
            title=f"Ensemble {name}",
            summary="Averages over neurons along many replicates of SGD, by width and step size.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        io.write_dataset(dataset, snakemake.output.dataset)
        checkpoint.remove()
