"""Rule compare_spin3: SGD against its flow, runs at one time, a flow and reference losses, optimisers by speed."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import log_interval, mean_interval
from meanfield.analysis.slopes import first_crossings, replicate_slopes
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


def equal_time(runs: dict[str, xr.Dataset], settings: dict) -> dict:
    """Return the losses of several runs at one time, by those of the first run, for the widths that all have.

    A simulation is seen at its nearest iteration, which it records.
    """
    v, names = io.variable, settings["runs"]
    widths = sorted(set.intersection(*(set(map(int, runs[name]["neurons"].values)) for name in names)))
    count = min(runs[name].sizes["replicate"] for name in names)
    loss = np.empty((count, len(names), len(widths)))
    for k, name in enumerate(names):
        at = int(np.abs(runs[name]["time"].values - settings["time"]).argmin())
        for n, width in enumerate(widths):
            loss[:, k, n] = one_width(runs[name], width)[:count, at]
    ratio = log_interval(loss / loss[:, :1])
    text = f"loss at t = {settings['time']:g} by that of {names[0]}, replicate by replicate"
    return {
        "equal_loss": v("run width", log_interval(loss).mean, "loss at one time, geometric mean over replicates"),
        "equal_ratio_mean": v("run width", ratio.mean, f"{text}, geometric mean"),
        "equal_ratio_low": v("run width", ratio.low, "lower end of its 95 % interval"),
        "equal_ratio_high": v("run width", ratio.high, "upper end of its 95 % interval"),
        "run": v("run", np.array(names, dtype=str), "name of the run"),
        "equal_time": v("", float(settings["time"]), "mean-field time"),
        "equal_width": v("width", widths, "width of the network"),
    }


def speed(runs: dict[str, xr.Dataset], settings: dict) -> dict:
    """Return how many times fewer gradients one optimiser needs than another, at several levels of the loss."""
    v = io.variable
    names, levels = sorted(settings["pairs"]), settings["levels"]
    pairs = [settings["pairs"][name] for name in names]
    most = max(runs[run].sizes["replicate"] for pair in pairs for run in pair.values())
    ratio = np.full((len(pairs), len(levels), most), np.nan)
    counts = [min(runs[run].sizes["replicate"] for run in pair.values()) for pair in pairs]
    bands = []
    for k, (pair, count) in enumerate(zip(pairs, counts, strict=True)):
        for n, level in enumerate(levels):
            spent, other = (gradients(runs[pair[part]], level)[:count] for part in ("run", "against"))
            ratio[k, n, :count] = other / spent
        bands.append(log_interval(ratio[k, :, :count].T))
    mean, low, high = (np.array(part) for part in zip(*bands, strict=True))
    text = "gradient evaluations of the other run by those of this one, to a share of the initial loss"
    return {
        "speed_up_each": v("pair level replicate", ratio, f"{text}; nan where either does not get there"),
        "speed_up_reached": v("pair level", np.isfinite(ratio).sum(axis=-1), "replicates in which both get there"),
        "speed_up_replicates": v("pair", counts, "replicates of the pair"),
        "speed_up_clock": v(
            "pair", [pace(runs[pair["run"]]) / pace(runs[pair["against"]]) for pair in pairs],
            "what the clocks predict, for gradients that vary slowly; nan where there is no constant clock",
        ),
        "speed_up_mean": v("pair level", mean, f"{text}, geometric mean over replicates"),
        "speed_up_low": v("pair level", low, "lower end of its 95 % interval"),
        "speed_up_high": v("pair level", high, "upper end of its 95 % interval"),
        "pair": v("pair", np.array(names, dtype=str), "name of the pair"),
        "level": v("level", levels, "share of the initial loss"),
    }  # fmt: skip


def pace(run: xr.Dataset) -> float:
    """Return the mean-field time of SGD that moves alike, by gradient evaluation; nan where there is none."""
    return float(run["limit_time"].values[-1] / run["evaluation"].values[-1])


def gradients(run: xr.Dataset, level: float) -> np.ndarray:
    """Return the gradient evaluations after which the loss of the first case is this share of the initial one."""
    loss = run["loss"].values[:, 0]
    return first_crossings(run["evaluation"].values, loss, level * loss[:, 0])


def compare(runs: dict[str, xr.Dataset], paths: dict[str, str], settings: dict) -> xr.Dataset:
    """Return what the block `comparison` of an experiment asks for."""
    found = {}
    if "small_steps" in settings:
        found |= small_steps(runs, paths, settings["small_steps"])
    if "reference" in settings:
        found |= reference(runs, paths, settings["reference"])
    if "equal_time" in settings:
        found |= equal_time(runs, settings["equal_time"])
    if "speed" in settings:
        found |= speed(runs, settings["speed"])
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
            summary="SGD against its flow, runs at one time, reference losses, and the speed of optimisers.",
            rule=snakemake.rule,
            parameters={"simulation": parameters, "comparison": settings},
            inputs=paths,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
