"""Rule tune_spin3: choose the best step of each optimiser on the 3-spin and compare the optimisers at these."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import log_interval
from meanfield.logs import Progress, logged_to
from meanfield.provenance import stamp
from meanfield.sphere_tuning import Tuning, tune

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def labelled(found: Tuning, parameters: dict) -> xr.Dataset:
    """Return what tuning found, with the ratios to the run that all are compared with, pair by pair."""
    v, names = io.variable, list(parameters["runs"])
    ratio = found.compared[names.index(parameters["against"])] / found.compared
    spent, gain = (log_interval(np.moveaxis(values, -1, 0)) for values in (found.compared, ratio))
    curve = log_interval(np.moveaxis(found.gradients, -1, 0)).mean
    text = "gradients to a share of the initial loss, at the best step"
    against = f"gradients of {parameters['against']} by those of this run, each at its best step"
    return xr.Dataset(
        {
            "tuning_gradients": v(
                "run step level tuning_replicate", found.gradients,
                "gradients to a share of the initial loss; nan where it is not reached",
            ),
            "tuning_mean": v("run step level", curve, "their geometric mean; nan unless every replicate gets there"),
            "best_step": v("run level", found.best_step, "step with the fewest; nan where there is none"),
            "at_end": v("run level", found.at_end, "1 if the best step is the smallest or the largest of the grid"),
            "gradients_each": v("run level replicate", found.compared, text),
            "gradients_mean": v("run level", spent.mean, f"{text}, geometric mean over replicates"),
            "gradients_low": v("run level", spent.low, "lower end of its 95 % interval"),
            "gradients_high": v("run level", spent.high, "upper end of its 95 % interval"),
            "reached": v("run level", np.isfinite(found.compared).sum(axis=-1), "replicates that get there"),
            "speed_up_each": v("run level replicate", ratio, against),
            "speed_up_mean": v("run level", gain.mean, f"{against}, geometric mean over replicates"),
            "speed_up_low": v("run level", gain.low, "lower end of its 95 % interval"),
            "speed_up_high": v("run level", gain.high, "upper end of its 95 % interval"),
            "clock": v("run", found.clock, "time of SGD that moves alike, by gradients and step"),
        },
        coords={
            "run": v("run", np.array(names, dtype=str), "simulation whose optimiser it is"),
            "step": v("step", parameters["step_sizes"], "step size"),
            "level": v("level", parameters["levels"], "share of the initial loss"),
            "tuning_replicate": v("tuning_replicate", np.arange(*parameters["tuned_on"]), "index of the replicate"),
            "replicate": v("replicate", np.arange(*parameters["compared_on"]), "index of the replicate"),
        },
    )  # fmt: skip


def main(parameters: dict, rule: str, output: str) -> None:
    """Tune and write the dataset."""
    name = f"{parameters['experiment']}/{parameters['study']}"
    settings = {key: one for key, one in parameters.items() if key not in ("against", "study")}
    total = len(parameters["runs"]) * len(parameters["step_sizes"]) * len(range(*parameters["tuned_on"]))
    progress = Progress(total, f"{name} runs of the tuning")
    found = tune(**settings, progress=progress)
    progress.close()
    dataset = stamp(
        labelled(found, parameters),
        title=f"Tuning {name}",
        summary="Gradients that optimisers need on the 3-spin, over a grid of steps and at the best one of each.",
        rule=rule,
        parameters={"tuning": parameters},
        seed=parameters["seed"],
    )
    io.write_dataset(dataset, output)


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        main(snakemake.params.parameters, snakemake.rule, snakemake.output.dataset)
