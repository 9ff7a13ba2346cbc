"""Rule analyse_noisy: noisy SGD against the distributional dynamics with diffusion: risks and laws."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.distances import empirical, wasserstein, weighted
from meanfield.analysis.intervals import Interval, mean_interval
from meanfield.analysis.solutions import records_at
from meanfield.labels import with_ends
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def analyse(runs: xr.Dataset, limit: xr.Dataset, *, level: float, initial_law: str) -> xr.Dataset:
    """Return risks and laws of both, their distances, and the certificates of the limit's solver."""
    v = io.variable
    records = runs.sizes["record"]
    start = int(np.flatnonzero(limit["start"].values == initial_law)[0])
    neurons, replicates = runs.sizes["neuron"], runs.sizes["replicate"]
    # The limit has records at the times of the runs' iterations, and others.
    at = records_at(limit, runs["time"].values, "the limit")
    expected = limit["risk"].values[:, start, at]
    # What as many independent neurons would add; training removes some of it, so that it is exact at time 0 only.
    independent = limit["width_bias"].values[:, start, at] / neurons
    risk = mean_interval(runs["risk"].values.transpose(1, 0, 2), level)
    difference = mean_interval(runs["risk"].values.transpose(1, 0, 2) - expected, level)
    edge = limit["edge"].values
    centre = (edge[1:] + edge[:-1]) / 2
    masses = limit["mass"].values[:, start, at]
    shape = (runs.sizes["temperature"], records)
    pooled = np.empty(shape)
    w1, w2 = np.empty((2, replicates, *shape))
    # A sample of as many independent neurons is this far from its own law.
    for b in range(shape[0]):
        for k in range(records):
            law = weighted(centre, masses[b, k])
            norms = runs["norm"].values[b, :, k].astype(float)
            pooled[b, k] = _largest_gap(norms.ravel(), edge, masses[b, k])
            for m in range(replicates):
                w1[m, b, k], w2[m, b, k] = (wasserstein(empirical(norms[m]), law, order) for order in (1, 2))
    pooled_norms = runs["norm"].values.transpose(0, 2, 1, 3).reshape(*shape, -1)
    histogram = np.array([[np.histogram(one, edge)[0] / one.size for one in per] for per in pooled_norms])
    dims = "temperature record"
    found: dict[str, tuple] = {}
    for b, beta in enumerate(limit["inverse_temperature"].values):
        last = Interval(*(part[b, -1] for part in difference))
        found |= with_ends(
            f"beta_{b}_risk_difference",
            "",
            last,
            f"risk of noisy SGD minus that of the limit, beta = {beta:g}",
        )
        found[f"beta_{b}_kolmogorov"] = v(
            "", pooled[b, -1], f"Kolmogorov distance of noisy SGD from the limit, last time, beta = {beta:g}"
        )
    after = slice(1, None)
    excess = limit["free_energy"] - limit["stationary_energy"]
    return xr.Dataset(
        {
            **with_ends("risk", dims, risk, "population risk of noisy SGD"),
            **with_ends("risk_difference", dims, difference, "its excess over that of the limit"),
            "independent_excess": v(dims, independent, "excess of the risk of as many independent neurons"),
            **with_ends("wasserstein_1", dims, mean_interval(w1, level), "W1 between norms of a run and the limit law"),
            **with_ends("wasserstein_2", dims, mean_interval(w2, level), "W2 between norms of a run and the limit law"),
            "kolmogorov": v(dims, pooled, "Kolmogorov distance between the norms of all runs and the limit law"),
            "histogram": v(f"{dims} cell", histogram, "share of the norms of all runs in each cell"),
            "limit_mass": v(f"{dims} cell", masses, "mass of each cell in the limit"),
            "limit_risk": v("temperature start path", limit["risk"].values, "population risk of the limit"),
            "free_energy_excess": v("temperature start path", excess.transpose("temperature", "start", "record").values,
                                    "free energy above that of the stationary law"),
            "distance_to_rest": v("temperature start path", limit["distance_to_rest"].values,
                                  "Kolmogorov distance of the limit to the stationary law"),
            "stationary_mass": limit["stationary_mass"],
            "stationary_risk": limit["stationary_risk"],
            "stationary_energy": limit["stationary_energy"],
            "edge": limit["edge"],
            "largest_rise": v("", limit["largest_rise"].values.max(), "largest rise of the free energy in one step"),
            "smallest_mass": v("", limit["smallest_mass"].values.min(), "smallest mass of a cell"),
            "mass_error": v("", limit["mass_error"].values.max(), "largest error of the total mass"),
            "steps": v("", limit["steps"].values.sum(), "time steps of all solutions"),
            "step_error": v("", limit["step_error"].values.max(), "largest change of a risk by half the steps"),
            "cell_error": v("", limit["cell_error"].values.max(), "largest estimated error of a risk by the cells"),
            "stationary_residual": v("", limit["stationary_residual"].values.max(), "largest error of a fixed point"),
            "final_distance_to_rest": v("", limit["distance_to_rest"].values[..., -1].max(),
                                        "largest Kolmogorov distance to the stationary law at the end"),
            "final_risk_gap": v("", np.abs(limit["risk"] - limit["stationary_risk"]).values[..., -1].max(),
                                "largest difference of the risk from that of the stationary law at the end"),
            "final_energy_gap": v("", np.abs(excess).values[..., -1].max(),
                                  "largest difference of the free energy from that of the stationary law at the end"),
            "largest_risk_difference": v("", np.abs(difference.mean[:, after]).max(), "largest excess of the risk"),
            "start_excess": v("", difference.mean[:, 0].mean(), "excess of the risk at time 0"),
            "start_excess_independent": v("", independent[:, 0].mean(), "the exact one, of independent neurons"),
            "last_excess_share": v("", (difference.mean[:, -1] / independent[:, -1]).max(),
                                   "excess at the last time over that of independent neurons, the largest"),
            "largest_kolmogorov": v("", pooled[:, after].max(), "largest Kolmogorov distance, after the start"),
            "kolmogorov_bound": v(
                "", 1.358 / np.sqrt(neurons * replicates), "its 95 % quantile for independent neurons"
            ),
            "neurons": v("", neurons, "neurons of each run"),
            "replicates": v("", replicates, "runs of each temperature"),
            **found,
        },
        coords={
            "inverse_temperature": limit["inverse_temperature"],
            "start": limit["start"],
            "time": v("record", runs["time"].values, "mean-field time of the runs"),
            "path_time": v("path", limit["time"].values, "mean-field time of the limit"),
        },
    )  # fmt: skip


def _largest_gap(norms: np.ndarray, edge: np.ndarray, mass: np.ndarray) -> float:
    # Largest difference of the distribution functions, that of the limit linear in each cell.
    norms = np.sort(norms)
    level = np.interp(norms, edge, np.concatenate([[0.0], np.cumsum(mass)]))
    n = np.arange(norms.size)
    return float(max(np.max(level - n / norms.size), np.max((n + 1) / norms.size - level)))


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        runs, limit = io.read_dataset(snakemake.input.runs), io.read_dataset(snakemake.input.limit)
        io.require(runs, snakemake.input.runs, "risk", "norm")
        io.require(limit, snakemake.input.limit, "mass", "risk", "stationary_mass")
        parameters = snakemake.params.parameters
        dataset = stamp(
            analyse(runs, limit, **parameters),
            title=f"Noisy SGD against its limit, {snakemake.wildcards.experiment}",
            summary="Risks and laws of noisy SGD beside the distributional dynamics with diffusion, and its checks.",
            rule=snakemake.rule,
            parameters={**parameters, "runs": io.parameters(runs), "limit": io.parameters(limit)},
            seed=io.parameters(runs)["seed"],
            inputs={"runs": snakemake.input.runs, "limit": snakemake.input.limit},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
