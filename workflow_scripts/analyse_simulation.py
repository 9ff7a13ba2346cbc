"""Rule analyse_simulation: reduce one simulation to risk bands, histograms and distances to its limit equations."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.distances import empirical, kolmogorov, wasserstein
from meanfield.analysis.intervals import largest, mean_interval
from meanfield.analysis.solutions import (
    comparable_records,
    histogram_at,
    law_at,
    records_from,
    risk_variables,
    time_average,
)
from meanfield.limits.schedule import Schedule
from meanfield.logs import logged_to
from meanfield.problems.factory import make_problem
from meanfield.provenance import stamp
from meanfield.simulation import make_optimiser

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def analyse(
    runs: xr.Dataset, limits: dict[str, xr.Dataset], paths: dict[str, str], settings: dict, parameters: dict
) -> xr.Dataset:
    """Return the analysed dataset of one simulation.

    Parameters
    ----------
    runs : xarray.Dataset
        All replicates.
    limits, paths : dict
        Solutions of the limit equations by name, and their files for messages.
    settings : dict
        The experiment's block `analyse`.
    parameters : dict
        Parameters of the simulation.

    """
    v = io.variable
    time = runs["limit_time"].values
    risk = runs["risk"].values
    norm = runs["norm"].values
    replicates, records, _ = norm.shape
    mean_norm = norm.mean(axis=2)
    norm_band = mean_interval(mean_norm)
    names = list(limits)
    complete = "tuned" not in parameters["settings"]
    pairs = {name: comparable_records(limits[name], time, paths[name], complete=complete) for name in names}

    shape = (len(names), replicates, records)
    w1, w2, ks = (np.full(shape, np.nan) for _ in range(3))
    limit_risk, limit_norm = (np.full((len(names), records), np.nan) for _ in range(2))
    for n, name in enumerate(names):
        found, index = pairs[name]
        limit_risk[n, found] = limits[name]["risk"].values[index]
        limit_norm[n, found] = limits[name]["mean_norm"].values[index]
        for k, at in zip(np.flatnonzero(found), index, strict=True):
            law = law_at(limits[name], at)
            for m in range(replicates):
                sample = empirical(norm[m, k])
                w1[n, m, k] = wasserstein(sample, law, 1)
                w2[n, m, k] = wasserstein(sample, law, 2)
                ks[n, m, k] = kolmogorov(sample, law)
    late = records_from(time, settings["agreement_from"])

    snapshots = runs["snapshot"].values
    at = np.searchsorted(runs["iteration"].values, runs["snapshot_iteration"].values)
    edges = np.linspace(0.0, 1.02 * norm[:, at].max(), settings["histogram_bins"] + 1)
    widths = np.diff(edges)
    histogram = np.array(
        [[np.histogram(norm[m, k], edges)[0] / norm.shape[2] / widths for k in at] for m in range(replicates)]
    )
    limit_histogram = np.full((len(names), len(at), len(widths)), np.nan)
    for n, name in enumerate(names):
        found, index = pairs[name]
        record = dict(zip(np.flatnonzero(found).tolist(), index, strict=True))
        for m, k in enumerate(at.tolist()):
            if k in record:
                limit_histogram[n, m] = histogram_at(limits[name], record[k], edges)

    problem = make_problem(parameters["problem"], parameters["activation"])
    floor_time = records_from(time, settings["floor_from"])
    late_norm = mean_interval(time_average(mean_norm[:, floor_time], time[floor_time]))
    return xr.Dataset(
        {
            **risk_variables(risk, limit_risk, time, settings["agreement_from"]),
            "mean_norm": v("replicate record", mean_norm, "mean norm"),
            "mean_norm_mean": v("record", norm_band.mean, "mean norm, mean over replicates"),
            "mean_norm_low": v("record", norm_band.low, "lower end of the 95 % interval of the mean norm"),
            "mean_norm_high": v("record", norm_band.high, "upper end of the 95 % interval of the mean norm"),
            "mean_norm_least": v("record", mean_norm.min(axis=0), "smallest mean norm over replicates"),
            "mean_norm_largest": v("record", mean_norm.max(axis=0), "largest mean norm over replicates"),
            "mean_norm_limit": v("limit record", limit_norm, "mean norm of the limit equation"),
            "wasserstein_1": v("limit replicate record", w1, "Wasserstein-1 distance to the law of the limit"),
            "wasserstein_2": v("limit replicate record", w2, "Wasserstein-2 distance to the law of the limit"),
            "kolmogorov": v("limit replicate record", ks, "Kolmogorov distance to the law of the limit"),
            "kolmogorov_max": v("limit replicate", largest(ks[..., late]), "largest Kolmogorov distance"),
            "histogram": v("replicate snapshot bin", histogram, "density of the neuron norms"),
            "histogram_limit": v(
                "limit snapshot bin",
                limit_histogram,
                "density of the law of the norm of the limit, averaged over each bin",
            ),
            "edge": v("edge", edges, "boundary of the bins, norm"),
            "late_norm": v("", late_norm.mean, f"mean norm averaged over time from t = {settings['floor_from']:g} on"),
            "late_norm_low": v("", late_norm.low, "lower end of its 95 % interval"),
            "late_norm_high": v("", late_norm.high, "upper end of its 95 % interval"),
            "noise_floor": v(
                "",
                make_optimiser(parameters["settings"]).noise_floor(
                    problem, Schedule(**parameters["schedule"]), int(runs["iteration"].values[-1])
                ),
                "norm at which noise balances the drift at zero, at the last iteration",
            ),
        },
        coords={
            "limit": v("limit", np.array(names, dtype=str), "limit equation"),
            "replicate": runs["replicate"],
            "iteration": runs["iteration"],
            "evaluation": runs["evaluation"],
            "time": runs["time"],
            "limit_time": runs["limit_time"],
            "snapshot": v("snapshot", snapshots.astype(str), "name of the snapshot"),
            "snapshot_iteration": runs["snapshot_iteration"],
            "snapshot_time": v("snapshot", runs["time"].values[at], "mean-field time of the snapshot"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.limits, snakemake.input.limits, strict=True))
        runs = io.read_dataset(snakemake.input.runs)
        io.require(runs, snakemake.input.runs, "risk", "norm", "snapshot_iteration", "limit_time")
        limits = {name: io.read_dataset(path) for name, path in paths.items()}
        for name, path in paths.items():
            io.require(limits[name], path, "risk", "mean_norm", "time")
        parameters = io.parameters(runs)
        settings = snakemake.params.settings
        dataset = stamp(
            analyse(runs, limits, paths, settings, parameters),
            title=f"Analysis of {parameters['experiment']}/{parameters['simulation']}",
            summary="Risk with bands, histograms of the norms and distances to the mean-field limit.",
            rule=snakemake.rule,
            parameters={"simulation": parameters, "analyse": settings},
            seed=parameters["seed"],
            inputs={"runs": snakemake.input.runs, **paths},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
