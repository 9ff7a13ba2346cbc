"""Rule analyse_spin3: reduce one simulation or flow of the 3-spin to bands, slopes and the learnt function."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import log_interval, mean_interval
from meanfield.analysis.slices import great_circles, sphere_map
from meanfield.analysis.slopes import replicate_slopes
from meanfield.logs import logged_to
from meanfield.problems.spin3 import Spin3
from meanfield.provenance import stamp
from meanfield.sphere_simulation import make_test_set, make_units

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def bands(name: str, dims: str, values: np.ndarray, long_name: str, *, logarithmic: bool) -> dict:
    """Return the mean over replicates, the first axis, with its 95 % interval, as labelled variables."""
    found = (log_interval if logarithmic else mean_interval)(values)
    kind = "geometric mean" if logarithmic else "mean"
    return {
        f"{name}_mean": io.variable(dims, found.mean, f"{long_name}, {kind} over replicates"),
        f"{name}_low": io.variable(dims, found.low, f"{long_name}, lower end of the 95 % interval of the {kind}"),
        f"{name}_high": io.variable(dims, found.high, f"{long_name}, upper end of the 95 % interval of the {kind}"),
    }


def width_slopes(runs: xr.Dataset, fit_from: int) -> dict:
    """Return slopes of the loss against the width: of the fit over time and at the end, and between neighbours."""
    loss, neurons, factor = runs["loss"].values, runs["neurons"].values, runs["factor"].values
    factors = np.unique(factor)
    each = np.empty((len(loss), len(factors), loss.shape[2]))
    gaps = len(np.unique(neurons)) - 1
    local = np.empty((len(loss), len(factors), gaps))
    for k, value in enumerate(factors):
        chosen = np.flatnonzero(factor == value)
        chosen = chosen[np.argsort(neurons[chosen])]
        fitted = chosen[neurons[chosen] >= fit_from]
        for record in range(loss.shape[2]):
            each[:, k, record] = replicate_slopes(neurons[fitted], loss[:, fitted, record])
        for gap in range(gaps):
            pair = chosen[gap : gap + 2]
            local[:, k, gap] = replicate_slopes(neurons[pair], loss[:, pair, -1])
    text = f"slope of log loss against log width, from width {fit_from} on"
    sorted_widths = np.unique(neurons)
    return {
        **bands("slope", "slope_factor record", each, text, logarithmic=False),
        "final_slope_each": io.variable("replicate slope_factor", each[:, :, -1], f"{text}, at the end"),
        **bands("final_slope", "slope_factor", each[:, :, -1], f"{text}, at the end", logarithmic=False),
        "local_slope_each": io.variable("replicate slope_factor gap", local, "slope between neighbouring widths"),
        **bands("local_slope", "slope_factor gap", local, "slope between neighbouring widths", logarithmic=False),
        "gap_from": io.variable("gap", sorted_widths[:-1], "narrower width of the pair"),
        "gap_to": io.variable("gap", sorted_widths[1:], "wider width of the pair"),
        "slope_factor": io.variable("slope_factor", factors, "factor of the batch rule that the slope belongs to"),
    }  # fmt: skip


def batch_slopes(runs: xr.Dataset) -> dict:
    """Return slopes of the final loss against the batch at each width; nothing for a single batch rule."""
    if "batch" not in runs or len(np.unique(runs["factor"].values)) < 2:
        return {}
    loss, neurons, batch = runs["loss"].values[..., -1], runs["neurons"].values, runs["batch"].values
    widths = np.unique(neurons)
    sizes = np.unique(batch)
    local = np.full((len(loss), len(widths), len(sizes) - 1), np.nan)
    for k, n in enumerate(widths):
        here = np.flatnonzero(neurons == n)
        here = here[np.argsort(batch[here], kind="stable")]
        for gap in range(len(here) - 1):
            pair = here[gap : gap + 2]
            at = np.flatnonzero(sizes == batch[pair[0]])
            local[:, k, at] = replicate_slopes(batch[pair], loss[:, pair])[:, None]
    text = "slope of log final loss against log batch, between neighbouring batches"
    return {
        **bands("batch_slope", "width batch_gap", local, text, logarithmic=False),
        "batch_from": io.variable("batch_gap", sizes[:-1], "smaller batch of the pair"),
        "batch_to": io.variable("batch_gap", sizes[1:], "larger batch of the pair"),
        "width": io.variable("width", widths, "width that the slope belongs to"),
    }


def time_powers(runs: xr.Dataset, parameters: dict) -> dict:
    """Return the power of time in the loss over the last doubling of time, before a quench where there is one."""
    time, loss = runs["time"].values, runs["loss"].values
    last = len(time) - 1
    if "iteration" in runs:
        last = int(np.flatnonzero(runs["iteration"].values <= parameters["cases"][0]["phases"][0][0])[-1])
    kept = np.flatnonzero((time >= time[last] / 2 * (1 - 1e-9)) & (time > 0))
    kept = kept[kept <= last]
    each = np.array([replicate_slopes(time[kept], loss[:, case, kept]) for case in range(loss.shape[1])]).T
    return bands("time_power", "case", each, "power of time in the loss towards the end of a run", logarithmic=False)


def learnt(runs: xr.Dataset, parameters: dict, settings: dict) -> dict:
    """Return the target and the networks of the first replicate on great circles and on a two-sphere."""
    unit = make_units(parameters["problem"])
    target = Spin3(runs["coupling"].values[0])
    weight, owner = runs["weight"].values[0], runs["case_of_unit"].values
    networks = [weight[owner == case] for case in range(runs.sizes["case"])]
    angle, circles = great_circles(target.dimension, settings["circle_points"])
    flat = circles.reshape(-1, target.dimension)
    shape = circles.shape[:2]
    v = io.variable
    found = {
        "circle_target": v("circle angle", target.target(flat).reshape(shape), "target on great circles"),
        "circle_network": v(
            "case circle angle",
            np.array([unit.network(units, flat).reshape(shape) for units in networks]),
            "network of the first replicate on great circles",
        ),
        "angle": v("angle", angle, "angle along the great circle", "rad"),
    }
    if target.dimension < 3:
        return found
    polar, azimuth, points = sphere_map(target.dimension, settings["map_points"])
    flat = points.reshape(-1, target.dimension)
    return found | {
        "map_target": v("polar azimuth", target.target(flat).reshape(points.shape[:2]), "target on a two-sphere"),
        "map_network": v(
            "case polar azimuth",
            np.array([unit.network(units, flat).reshape(points.shape[:2]) for units in networks]),
            "network of the first replicate on a two-sphere",
        ),
        "polar": v("polar", polar, "polar angle", "rad"),
        "azimuth": v("azimuth", azimuth, "azimuth", "rad"),
    }


def one_sided(runs: xr.Dataset, parameters: dict, settings: dict) -> dict:
    """Return what is missing where the target is positive, and too much where it is negative, on average."""
    if "evaluate" not in settings:
        return {}
    unit = make_units(parameters["problem"])
    owner, each = runs["case_of_unit"].values, np.empty((runs.sizes["replicate"], runs.sizes["case"], 2))
    for replicate, coupling in enumerate(runs["coupling"].values):
        tests = make_test_set(Spin3(coupling), settings["evaluate"], parameters["seed"], parameters["experiment"])
        f = tests.targets.ravel()
        for case in range(runs.sizes["case"]):
            units = runs["weight"].values[replicate][owner == case]
            difference = f - unit.network(units, tests.points.reshape(-1, tests.points.shape[-1]))
            each[replicate, case] = np.mean(difference * (f > 0)), np.mean(-difference * (f < 0))
    return {
        **bands("missing_above", "case", each[..., 0], "mean of (f - f_n) where f > 0", logarithmic=False),
        **bands("excess_below", "case", each[..., 1], "mean of (f_n - f) where f < 0", logarithmic=False),
    }


def conservation(runs: xr.Dataset, parameters: dict) -> dict:
    """Return how well a flow's integrator conserves what it should; nothing for a simulation."""
    v = io.variable
    if "objective" not in runs:
        error = v(
            "replicate case", runs["loss_error"].values[..., -1], "standard error of the final loss, 0 where exact"
        )
        return {"radius_error": runs["radius_error"], "final_loss_error": error}
    objective, dissipated = runs["objective"].values, runs["dissipated"].values
    tolerance = parameters["settings"]["relative_tolerance"]
    defect = np.abs(objective[..., :1] - objective - dissipated)
    return {
        **{name: runs[name] for name in ("objective", "dissipated", "largest_rise", "radius_error", "steps", "end")},
        "dissipation_defect": v(
            "replicate case",
            np.nanmax(defect, axis=-1) / (np.nanmax(objective, axis=-1) - np.nanmin(objective, axis=-1)),
            "largest difference between energy lost and energy dissipated, by the energy lost",
        ),
        "monotone": v(
            "replicate case",
            np.array([[_decreasing(row, tolerance) for row in rows] for rows in objective], dtype=np.int8),
            "1 if the objective rises from no record to the next by more than the integrator's tolerance",
        ),
        "blown_up": v(
            "replicate case", (~np.isfinite(runs["loss"].values[..., -1])).astype(np.int8), "1 if the flow blew up"
        ),
    }  # fmt: skip


def _decreasing(values: np.ndarray, tolerance: float) -> bool:
    kept = values[np.isfinite(values)]
    return bool(np.all(np.diff(kept) <= tolerance * np.ptp(kept)))


def analyse(runs: xr.Dataset, parameters: dict, settings: dict) -> xr.Dataset:
    """Return the analysed dataset of one simulation or flow.

    Parameters
    ----------
    runs : xarray.Dataset
        All replicates.
    parameters : dict
        Those of the run.
    settings : dict
        The experiment's block `analyse`, and `evaluate` where there is one.

    """
    v = io.variable
    loss = runs["loss"].values
    text = "population loss"
    finite = np.where(np.isfinite(loss), loss, np.nan)
    kept = ("replicate", "neurons", "factor", "batch", "quench_batch", "iteration", "evaluation", "time", "limit_time")
    return xr.Dataset(
        {
            "loss": v("replicate case record", loss, text),
            **bands("loss", "case record", loss, text, logarithmic=True),
            "loss_least": v("case record", finite.min(axis=0), "smallest population loss over replicates"),
            "loss_largest": v("case record", finite.max(axis=0), "largest population loss over replicates"),
            "final_loss_each": v("replicate case", loss[..., -1], "population loss at the end of each run"),
            **bands("final_loss", "case", loss[..., -1], "population loss at the end", logarithmic=True),
            "mean_square": runs["mean_square"],
            "time_final": v("", runs["time"].values[-1], "mean-field time at the end"),
            **width_slopes(runs, settings["fit_from"]),
            **batch_slopes(runs),
            **time_powers(runs, parameters),
            **learnt(runs, parameters, settings),
            **one_sided(runs, parameters, settings),
            **conservation(runs, parameters),
        },
        coords={name: runs[name] for name in kept if name in runs},
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        runs = io.read_parts(list(snakemake.input.chunks))
        io.require(runs, snakemake.input.chunks[0], "loss", "weight", "coupling")
        # As the chunks were stamped: how many there were must not show in a result.
        io.write_dataset(runs, snakemake.output.runs)
        parameters, settings = io.parameters(runs), snakemake.params.settings
        dataset = stamp(
            analyse(runs, parameters, settings),
            title=f"Analysis of {parameters['experiment']}/{parameters['simulation']}",
            summary="Loss with bands, slopes against width and batch, and the learnt function on slices of the sphere.",
            rule=snakemake.rule,
            parameters={"simulation": parameters, "analyse": settings},
            seed=parameters["seed"],
            inputs={"runs": snakemake.output.runs},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
