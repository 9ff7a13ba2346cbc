"""Rule compare_spin3: SGD in the limit of small steps against the flow, and a flow against reference losses."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import log_interval, mean_interval
from meanfield.analysis.slopes import replicate_slopes
from meanfield.analysis.solutions import records_at
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def one_width(runs: xr.Dataset, neurons: int) -> np.ndarray:
    """Return the losses of the first case with a width, shape (replicate, record)."""
    return runs["loss"].values[:, int(np.flatnonzero(runs["neurons"].values == neurons)[0])]


def small_steps(runs: dict[str, xr.Dataset], paths: dict[str, str], settings: dict) -> dict:
    """Return the distance between SGD and the flow from the same units, against the step size.

    The distance of a replicate is the largest difference of the losses up to the horizon, by the initial loss.
    """
    v = io.variable
    flow = runs[settings["flow"]]
    names = sorted(settings["simulations"], key=lambda name: io.parameters(runs[name])["settings"]["step_size"])
    count = min([flow.sizes["replicate"], *(runs[name].sizes["replicate"] for name in names)])
    steps = np.array([io.parameters(runs[name])["settings"]["step_size"] for name in names])
    distance = np.empty((count, len(names)))
    for n, name in enumerate(names):
        time = runs[name]["time"].values
        upto = time <= settings["horizon"] * (1 + 1e-9)
        at = records_at(flow, time[upto], paths[settings["flow"]])
        loss, exact = (one_width(run, settings["neurons"])[:count] for run in (runs[name], flow))
        distance[:, n] = np.abs(loss[:, upto] - exact[:, at]).max(axis=1) / loss[:, 0]
    band, slopes = log_interval(distance), replicate_slopes(steps, distance)
    slope = mean_interval(slopes)
    text = "largest difference of the losses of SGD and of the flow, by the initial loss"
    return {
        "step_distance": v("replicate step", distance, text),
        "step_distance_mean": v("step", band.mean, f"{text}, geometric mean over replicates"),
        "step_distance_low": v("step", band.low, "lower end of its 95 % interval"),
        "step_distance_high": v("step", band.high, "upper end of its 95 % interval"),
        "step_slope_each": v("replicate", slopes, "slope of its logarithm against that of the step size"),
        "step_slope": v("", slope.mean, "mean of the slopes"),
        "step_slope_low": v("", slope.low, "lower end of its 95 % interval"),
        "step_slope_high": v("", slope.high, "upper end of its 95 % interval"),
        "step_size": v("step", steps, "step size of SGD"),
    }


def reference(runs: dict[str, xr.Dataset], paths: dict[str, str], settings: dict) -> dict:
    """Return a flow's losses at the times of reference values, and whether those lie inside the spread over seeds."""
    v = io.variable
    run = runs[settings["run"]]
    at = records_at(run, np.array(settings["times"], float), paths[settings["run"]])
    loss = one_width(run, settings["neurons"])[:, at]
    least, largest = loss.min(axis=0), loss.max(axis=0)
    expected = np.array(settings["losses"], float)
    return {
        "reference_loss": v("reference", expected, "reference value of the population loss"),
        "reference_least": v("reference", least, "smallest population loss over our replicates"),
        "reference_largest": v("reference", largest, "largest population loss over our replicates"),
        "reference_mean": v("reference", log_interval(loss).mean, "geometric mean over our replicates"),
        "reference_inside": v(
            "reference", ((least <= expected) & (expected <= largest)).astype(np.int8), "1 if inside our spread"
        ),
        "reference_neurons": v("", settings["neurons"], "width of the network"),
        "reference_time": v("reference", settings["times"], "mean-field time of the reference value"),
    }


def compare(runs: dict[str, xr.Dataset], paths: dict[str, str], settings: dict) -> xr.Dataset:
    """Return what the block `comparison` of an experiment asks for."""
    found = {}
    if "small_steps" in settings:
        found |= small_steps(runs, paths, settings["small_steps"])
    if "reference" in settings:
        found |= reference(runs, paths, settings["reference"])
    return xr.Dataset(found)


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.names, snakemake.input.runs, strict=True))
        runs = {name: io.read_dataset(path) for name, path in paths.items()}
        for name, path in paths.items():
            io.require(runs[name], path, "loss", "neurons", "time")
        settings = snakemake.params.settings
        parameters = {name: io.parameters(run) for name, run in runs.items()}
        experiment = snakemake.wildcards.experiment
        dataset = stamp(
            compare(runs, paths, settings),
            title=f"Comparisons of {experiment}",
            summary="SGD in the limit of small steps against the deterministic flow, and reference losses.",
            rule=snakemake.rule,
            parameters={"simulation": parameters, "comparison": settings},
            inputs=paths,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
