"""Rule analyse_chaos: how dependent two neurons are, by width: covariances, and their law against a product."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.chaos import (
    bootstrap_weights,
    distribution_shares,
    log_slopes,
    pair_covariance,
    pair_law_distance,
    percentiles,
)
from meanfield.analysis.intervals import Interval
from meanfield.analysis.solutions import cell_records
from meanfield.labels import with_ends
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def covariances(runs: xr.Dataset, weights: np.ndarray) -> np.ndarray:
    """Return covariances of functions of two neurons, shape (resample, function, cell, record)."""
    return np.stack(
        [
            pair_covariance(
                runs["mean"].values[:, n].transpose(1, 0, 2), runs["square"].values[:, n].transpose(1, 0, 2),
                int(neurons), weights,
            )
            for n, neurons in enumerate(runs["neurons"].values)
        ],
        axis=2,
    )  # fmt: skip


def analyse(
    runs: xr.Dataset, limit: xr.Dataset, *, time: float, levels: int, level: float, resamples: int, **_
) -> xr.Dataset:
    """Return covariances and distances with their slopes, and the covariances of the linearised equation times N."""
    v = io.variable
    replicates, neurons = runs.sizes["replicate"], runs["neurons"].values
    names = list(map(str, runs["function"].values))
    at = int(np.flatnonzero(runs["asked_time"].values == time)[0])
    kept = int(np.flatnonzero(runs["law_record"].values == at)[0])
    # Of the largest width, which is compared with the limit; others are next to the time by half a step at most.
    shown = int(cell_records(limit, runs)[-1, at])
    drawn, uniform = bootstrap_weights(replicates, resamples), np.full((1, replicates), 1 / replicates)
    every = covariances(runs, uniform)[0]
    # Of the resamples only the time that is shown.
    samples = covariances(runs.isel(record=[at]), drawn)[..., 0]
    now = every[..., at]
    sign = np.sign(now[:, :1])
    slopes = percentiles(
        log_slopes(neurons, (sign * now).T), log_slopes(neurons, (sign * samples).transpose(2, 0, 1)), level
    )
    squares, square_samples = [], []
    for n, count in enumerate(neurons):
        shares = distribution_shares(runs[f"norm_{n}"].values[:, kept].astype(float), levels)
        squares.append(pair_law_distance(shares, int(count), uniform)[0])
        square_samples.append(pair_law_distance(shares, int(count), drawn))
    squares, square_samples = np.array(squares), np.array(square_samples)
    distance = percentiles(np.sqrt(np.maximum(squares, 0)), np.sqrt(np.maximum(square_samples, 0)).T, level)
    half = 0.5 * log_slopes(neurons, squares), 0.5 * log_slopes(neurons, square_samples)
    distance_slope = percentiles(*half, level)
    # N Cov -> Var eta - Var f: the covariance is what the variance of the average has beyond that of independent
    # neurons.
    ratio = (runs["step_size"] * runs["neurons"]).values[0]
    part = limit.sel(function=names)
    expected = (part["initial_variance"] + ratio * part["data_variance"] - part["spread"]).values
    found: dict[str, tuple] = {}
    for n, name in enumerate(names):
        found |= with_ends(
            f"{name}_covariance_slope",
            "",
            Interval(*(one[n] for one in slopes)),
            f"power of N in the covariance of {name}",
        )
        last = percentiles(
            neurons[-1] * now[n, -1] / expected[n, shown], neurons[-1] * samples[:, n, -1] / expected[n, shown], level
        )
        found |= with_ends(
            f"{name}_covariance_ratio", "", last, f"covariance of {name} at the largest N over the predicted one"
        )
    return xr.Dataset(
        {
            **with_ends("covariance", "function width", percentiles(now, samples, level), "covariance of two neurons"),
            **with_ends(
                "scaled_covariance", "function width",
                percentiles(neurons * now, neurons * samples, level), "N times the covariance of two neurons",
            ),
            **with_ends("covariance_slope", "function", slopes, "power of N in the covariance"),
            **with_ends("distance", "width", distance, "Hoeffding distance of the pair law from the product law"),
            **with_ends("distance_slope", "", distance_slope, "power of N in the distance of the pair law"),
            "covariance_path": v("function width record", neurons[:, None] * every, "N times covariances along runs"),
            "expected_path": v("function path", expected, "its limit by the linearised equation"),
            "expected": v("function", expected[:, shown], "its limit by the linearised equation, at the time shown"),
            "spread": v("function", part["spread"].values[:, shown], "variance of one neuron in the limit"),
            "noise_ratio": v("", ratio, "step size times N"),
            "shown_time": v("", runs["time"].values[-1, at], "mean-field time shown, of the largest width"),
            "replicates": v("", replicates, "replicates of each width"),
            **found,
        },
        coords={
            "function": v("function", np.array(names, dtype=str), "test function"),
            "label": v("function", part["label"].values, "its formula"),
            "width": v("width", neurons, "number of neurons"),
            "time": v("width record", runs["time"].values, "mean-field time"),
            "path_time": v("path", limit["time"].values, "mean-field time of the limit"),
        },
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        (path,) = snakemake.input.ensembles
        runs, limit = io.read_dataset(path), io.read_dataset(snakemake.input.prediction)
        io.require(runs, path, "mean", "square")
        io.require(limit, snakemake.input.prediction, "spread", "initial_variance")
        parameters = snakemake.params.parameters
        dataset = stamp(
            analyse(runs, limit, **parameters),
            title=f"Propagation of chaos, {snakemake.wildcards.experiment}",
            summary="Covariances of two neurons and the distance of their law from a product, by width.",
            rule=snakemake.rule,
            parameters={**parameters, "runs": io.parameters(runs)},
            seed=io.parameters(runs)["seed"],
            inputs={parameters["ensemble"]: path, "prediction": snakemake.input.prediction},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
