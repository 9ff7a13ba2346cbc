"""Rule analyse_rates: errors of SGD against its limit by width and by step size, with fitted slopes."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.chaos import bootstrap_weights, log_slopes, percentiles
from meanfield.analysis.distances import empirical, wasserstein, weighted
from meanfield.analysis.intervals import Interval
from meanfield.analysis.solutions import cell_records
from meanfield.labels import with_ends
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# The risk of a network, and that of the average of its law over rotations.
RISKS = ("risk", "averaged_risk")


def errors(runs: xr.Dataset, limit: xr.Dataset) -> np.ndarray:
    """Return deviations from the limit of all functions and both risks, shape (function, cell, replicate, record).

    Each record is compared with the limit at its own time.
    """
    at = cell_records(limit, runs)
    names = list(map(str, runs["function"].values))
    means = runs["mean"].values - limit["mean"].sel(function=names).values[:, at][:, :, None, :]
    risks = np.array([runs[name].values - limit["risk"].values[at][:, None, :] for name in RISKS])
    return np.concatenate([means, risks])


def _squares_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # Root mean squares over replicates, shape (resample, function, cell), of (function, cell, replicate).
    return np.sqrt(np.einsum("bm,fcm->bfc", weights, values**2, optimize=True))


def _means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.einsum("bm,fcm->bfc", weights, values, optimize=True)


def _deviations(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    count = values.shape[-1]
    return np.sqrt(
        np.maximum(_squares_mean(values, weights) ** 2 - _means(values, weights) ** 2, 0) * count / (count - 1)
    )


def axis_variables(
    axis: str, x: np.ndarray, error: np.ndarray, drawn: np.ndarray, level: float, names: list[str]
) -> dict[str, tuple]:
    """Return largest and final errors along one axis with their slopes, for all functions."""
    uniform = np.full((1, error.shape[2]), 1 / error.shape[2])
    found: dict[str, tuple] = {}
    studies = {
        "largest": (np.abs(error).max(axis=3), _means, "largest error along a run, mean over replicates"),
        "final": (error[..., -1], _squares_mean, "error at the last time, root mean square over replicates"),
        "deviation": (error[..., -1], _deviations, "standard deviation over replicates at the last time"),
    }
    for name, (values, statistic, text) in studies.items():
        samples = statistic(values, drawn)
        estimate = statistic(values, uniform)[0]
        found |= with_ends(f"{axis}_{name}", f"function {axis}", percentiles(estimate, samples, level), text)
        slope = log_slopes(x, estimate.T)
        slopes = percentiles(slope, log_slopes(x, samples.transpose(2, 0, 1)), level)
        found |= with_ends(
            f"{axis}_{name}_slope", "function", slopes, f"power of the {axis} with which it goes: {text}"
        )
        for n, function in enumerate(names):
            one = Interval(*(part[n] for part in slopes))
            found |= with_ends(f"{function}_{axis}_{name}_slope", "", one, f"power of the {axis}, {function}: {text}")
    return found


def predicted(runs: xr.Dataset, limit: xr.Dataset) -> np.ndarray:
    """Return the root mean square errors at each run's last time by the linearised equation, (function, cell)."""
    names = [*map(str, runs["function"].values), "risk"]
    last = cell_records(limit, runs)[:, -1]
    initial, data = (limit[name].sel(function=names).values[:, last] for name in ("initial_variance", "data_variance"))
    neurons, step = runs["neurons"].values, runs["step_size"].values
    square = initial / neurons + data * step
    averaged = square[-1:].copy()
    square[-1] = np.nan  # the deviation from the average over rotations has no prediction after time 0
    return np.sqrt(np.concatenate([square, averaged]))


def distinct_laws(runs: xr.Dataset) -> np.ndarray:
    """Return which law times to take: of those on one iteration of the runs, all with one step size, the first."""
    return np.unique(runs["iteration"].values[0, runs["law_record"].values], return_index=True)[1]


def law_distances(runs: xr.Dataset, limit: xr.Dataset, kept: np.ndarray) -> np.ndarray:
    """Return W2 between the norms of each run and the limit law, shape (kept law time, cell, replicate)."""
    found, at = [], cell_records(limit, runs)[0]
    for k in kept:
        law = weighted(limit["radius"].values[at[runs["law_record"].values[k]]], limit["mass"].values)
        found.append(
            [
                [wasserstein(empirical(norms), law, 2) for norms in runs[f"norm_{n}"].values[:, k]]
                for n in range(runs.sizes["cell"])
            ]
        )
    return np.array(found)


def analyse(
    by_width: xr.Dataset, by_step: xr.Dataset, limit: xr.Dataset, *, level: float, resamples: int, **_: str
) -> xr.Dataset:
    """Return errors by width and by step size beside what the theorem and the linearised equation say."""
    v = io.variable
    names = [*map(str, by_width["function"].values), *RISKS]
    labels = [*(str(limit["label"].sel(function=name).values) for name in names[:-2]), "risk", "risk, averaged"]
    found: dict[str, tuple] = {}
    for axis, runs, x in (("width", by_width, by_width["neurons"]), ("step", by_step, by_step["step_size"])):
        drawn = bootstrap_weights(runs.sizes["replicate"], resamples)
        found |= axis_variables(axis, x.values, errors(runs, limit), drawn, level, names)
        guess = predicted(runs, limit)
        found[f"{axis}_predicted"] = v(
            f"function {axis}", guess, "error at the last time, root mean square, by the linearised equation"
        )
        found[f"{axis}_predicted_slope"] = v(
            "function", log_slopes(x.values, guess.T), f"power of the {axis} in the predicted error at the last time"
        )
    drawn = bootstrap_weights(by_width.sizes["replicate"], resamples)
    # Of the risk, what the average over rotations does not have, times N at the greatest width.
    rest = by_width["neurons"].values[-1] * (by_width["risk"] - by_width["averaged_risk"]).values[-1]
    for name, record, when in (("start", 0, "time 0"), ("final", -1, "the last time")):
        band = percentiles(rest[:, record].mean(), drawn @ rest[:, record], level)
        found |= with_ends(f"rest_{name}", "", band, f"N times what rotations of the network differ by in risk, {when}")
    kept = distinct_laws(by_width)
    distance = law_distances(by_width, limit, kept)
    samples = _means(distance, drawn)
    estimate = distance.mean(axis=2)
    neurons = by_width["neurons"].values
    found |= with_ends(
        "wasserstein",
        "law_time width",
        percentiles(estimate, samples, level),
        "W2 between norms of a run and the limit law",
    )
    slopes = percentiles(log_slopes(neurons, estimate.T), log_slopes(neurons, samples.transpose(2, 0, 1)), level)
    found |= with_ends("wasserstein_slope", "law_time", slopes, "power of the width with which W2 goes")
    last = Interval(*(part[-1] for part in slopes))
    found |= with_ends("wasserstein_final_slope", "", last, "power of the width with which W2 goes, last time")
    bias = limit["width_bias"].values[cell_records(limit, by_width)[0]]
    return xr.Dataset(
        {
            **found,
            "width_bias": v("", bias[0], "N times the bias of the risk at time 0"),
            "width_bias_final": v("", bias[-1], "N times that of independent neurons with the law of the last time"),
            "width_step_size": v("", by_width["step_size"].values[0], "step size of the runs of all widths"),
            "step_neurons": v("", by_step["neurons"].values[0], "neurons of the runs of all step sizes"),
            "width_replicates": v("", by_width.sizes["replicate"], "replicates of each width"),
            "step_replicates": v("", by_step.sizes["replicate"], "replicates of each step size"),
            "linearisation_error": limit["linearisation_error"],
        },
        coords={
            "function": v("function", np.array(names, dtype=str), "test function, or risk"),
            "label": v("function", np.array(labels, dtype=str), "its formula"),
            "width": v("width", neurons, "number of neurons"),
            "step": v("step", by_step["step_size"].values, "step size"),
            "law_time": v("law_time", by_width["time"].values[0, by_width["law_record"].values[kept]],
                          "mean-field time at which norms are kept"),
        },
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        ensembles = [io.read_dataset(path) for path in snakemake.input.ensembles]
        limit = io.read_dataset(snakemake.input.prediction)
        for dataset, path in zip(ensembles, snakemake.input.ensembles, strict=True):
            io.require(dataset, path, "mean", "risk", "averaged_risk")
        io.require(limit, snakemake.input.prediction, "mean", "initial_variance")
        parameters = snakemake.params.parameters
        dataset = stamp(
            analyse(*ensembles, limit, **parameters),
            title=f"Rates of convergence, {snakemake.wildcards.experiment}",
            summary="Errors of SGD against the mean-field limit by width and by step size, with fitted powers.",
            rule=snakemake.rule,
            parameters={**parameters, "runs": [io.parameters(one) for one in ensembles]},
            seed=io.parameters(ensembles[0])["seed"],
            inputs={
                parameters["widths"]: snakemake.input.ensembles[0], parameters["steps"]: snakemake.input.ensembles[1],
                "prediction": snakemake.input.prediction,
            },
        )  # fmt: skip
        io.write_dataset(dataset, snakemake.output.dataset)
