"""Rule analyse_clt: fluctuations around the limit, scaled by the root of the width: variances, normality, quantiles."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy import stats

from meanfield import io
from meanfield.analysis.chaos import bootstrap_weights, log_slopes, percentiles
from meanfield.analysis.intervals import Interval, mean_interval
from meanfield.analysis.normality import anderson, standardised_moments
from meanfield.analysis.solutions import cell_records
from meanfield.labels import with_ends
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def scaled(runs: xr.Dataset, limit: xr.Dataset) -> np.ndarray:
    """Return deviations of averages and averaged risk, times root N, shape (function, cell, replicate, record)."""
    at = cell_records(limit, runs)
    names = list(map(str, runs["function"].values))
    means = runs["mean"].values - limit["mean"].sel(function=names).values[:, at][:, :, None, :]
    risk = runs["averaged_risk"].values - limit["risk"].values[at][:, None, :]
    return np.concatenate([means, risk[None]]) * np.sqrt(runs["neurons"].values)[None, :, None, None]


def variances(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return variances over replicates, shape (resample, function, cell, record)."""
    count = values.shape[2]
    first = np.einsum("bm,fcmk->bfck", weights, values, optimize=True)
    return (np.einsum("bm,fcmk->bfck", weights, values**2, optimize=True) - first**2) * count / (count - 1)


def analyse(
    runs_of: dict[str, xr.Dataset],
    limit: xr.Dataset,
    *,
    time: float,
    quantiles: int,
    level: float,
    resamples: int,
    **_,
) -> xr.Dataset:
    """Return variances against the predicted ones, tests of normality and quantiles of the fluctuations."""
    v = io.variable
    first = next(iter(runs_of.values()))
    names = [*map(str, first["function"].values), "risk"]
    at = int(np.flatnonzero(first["asked_time"].values == time)[0])
    parts = {name: [] for name in ("variance", "low", "high", "mean", "mean_low", "mean_high", "predicted", "initial")}
    tests = {
        name: [] for name in ("shapiro", "shapiro_p", "anderson", "anderson_p", "skewness", "kurtosis", "quantile")
    }
    neurons, ratios, owners, times, iterations = [], [], [], [], []
    found: dict[str, tuple] = {}
    probability = (np.arange(quantiles) + 0.5) / quantiles
    part = limit.sel(function=names)
    for owner, runs in runs_of.items():
        values = scaled(runs, limit)
        count = values.shape[2]
        drawn, uniform = bootstrap_weights(count, resamples), np.full((1, count), 1 / count)
        estimate = variances(values, uniform)[0]
        samples = np.concatenate([variances(values[..., [k]], drawn) for k in range(values.shape[3])], axis=3)
        band = percentiles(estimate, samples, level)
        mean = mean_interval(values.transpose(2, 0, 1, 3), level)
        ratio = float((runs["step_size"] * runs["neurons"]).values[0])
        places = cell_records(limit, runs)
        full = (part["initial_variance"] + ratio * part["data_variance"]).values[:, places]
        for name, block in zip(parts, (*band, *mean, full, part["initial_variance"].values[:, places]), strict=True):
            parts[name].append(block)
        now = values[..., at]
        shapiro = np.array([[stats.shapiro(cell) for cell in one] for one in now])
        bound = np.array([[anderson(cell) for cell in one] for one in now])
        moments = np.array([[standardised_moments(cell) for cell in one] for one in now])
        spread = np.sqrt(full[..., at])[..., None]
        for name, block in zip(
            tests,
            (shapiro[..., 0], shapiro[..., 1], bound[..., 0], bound[..., 1], moments[..., 0], moments[..., 1],
             np.quantile(now, probability, axis=2).transpose(1, 2, 0) / spread),
            strict=True,
        ):  # fmt: skip
            tests[name].append(block)
        widths = runs["neurons"].values
        neurons += widths.tolist()
        ratios += [ratio] * len(widths)
        owners += [owner] * len(widths)
        times += runs["time"].values.tolist()
        iterations += runs["iteration"].values.tolist()
        # Of the deviation of the average itself.
        slope = 0.5 * log_slopes(widths, estimate[..., at].T) - 0.5
        slopes = percentiles(slope, 0.5 * log_slopes(widths, samples[..., at].transpose(2, 0, 1)) - 0.5, level)
        for n, name in enumerate(names):
            found |= with_ends(
                f"{name}_{owner}_slope",
                "",
                Interval(*(one[n] for one in slopes)),
                f"power of N in the standard deviation of {name}, ensemble {owner}",
            )
            over = percentiles(estimate[n, -1, at] / full[n, -1, at], samples[:, n, -1, at] / full[n, -1, at], level)
            found |= with_ends(
                f"{name}_{owner}_ratio",
                "",
                over,
                f"variance of {name} at the largest N over the predicted one, ensemble {owner}",
            )
    joined = {name: np.concatenate(blocks, axis=1) for name, blocks in {**parts, **tests}.items()}
    variance = Interval(joined["variance"], joined["low"], joined["high"])
    dims = "function cell record"
    relative = Interval(*(one[..., 1:] / joined["predicted"][..., 1:] for one in variance))
    last = [n for n in range(len(owners)) if n + 1 == len(owners) or owners[n + 1] != owners[n]]
    inside = (relative.low <= 1) & (relative.high >= 1)
    fresh = np.diff(iterations, axis=1)[last] > 0  # a look that is there again does not count twice
    here = at - 1
    return xr.Dataset(
        {
            **with_ends("variance", dims, variance, "N times the variance of an average"),
            **with_ends("bias", dims, Interval(joined["mean"], joined["mean_low"], joined["mean_high"]),
                        "root of N times the mean deviation from the limit"),
            "predicted": v(dims, joined["predicted"], "N times the variance by the linearised equation"),
            "predicted_initial": v(dims, joined["initial"], "its part by the initial weights"),
            **{name: v("function cell", joined[name], text) for name, text in (
                ("shapiro", "Shapiro-Wilk statistic W"), ("shapiro_p", "its p-value"),
                ("anderson", "Anderson-Darling statistic A*, mean and variance estimated"),
                ("anderson_p", "its p-value"),
                ("skewness", "skewness of the fluctuations"), ("kurtosis", "excess kurtosis of the fluctuations"),
            )},
            "scaled_quantile": v("function cell quantile", joined["quantile"], "quantiles over predicted deviation"),
            "ratio_at_time": v("function cell", relative.mean[..., here], "variance over the predicted one"),
            "ratio_at_time_low": v("function cell", relative.low[..., here], "lower end of its interval"),
            "ratio_at_time_high": v("function cell", relative.high[..., here], "upper end of its interval"),
            "covered": v("", inside[:, last][:, fresh].mean(),
                         "share of predicted variances inside their intervals, largest N, after the start"),
            "largest_ratio_error": v("", np.abs(relative.mean[:, last] - 1)[:, fresh].max(),
                                     "largest relative error of the predicted variances, largest N"),
            "rejected_shapiro": v(
                "", (joined["shapiro_p"][:, last] < 0.05).mean(), "share of tests at the largest N below 5 %"
            ),
            "rejected_anderson": v(
                "", (joined["anderson_p"][:, last] < 0.05).mean(), "share of tests at the largest N below 5 %"
            ),
            "shown_time": v("", times[last[0]][at], "mean-field time of the tests, of the largest N"),
            "linearisation_error": limit["linearisation_error"],
            "step_error": limit["step_error"],
            **found,
        },
        coords={
            "function": v("function", np.array(names, dtype=str), "test function, or risk"),
            "label": v("function", part["label"].values, "its formula"),
            "neurons": v("cell", np.array(neurons), "number of neurons"),
            "noise_ratio": v("cell", np.array(ratios), "step size times N"),
            "ensemble": v("cell", np.array(owners, dtype=str), "ensemble"),
            "time": v("cell record", np.array(times), "mean-field time"),
            "normal_quantile": v("quantile", stats.norm.ppf(probability), "quantile of the standard normal law"),
        },
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        paths = dict(zip(parameters["ensembles"], snakemake.input.ensembles, strict=True))
        runs = {name: io.read_dataset(path) for name, path in paths.items()}
        limit = io.read_dataset(snakemake.input.prediction)
        for name, path in paths.items():
            io.require(runs[name], path, "mean", "averaged_risk")
        io.require(limit, snakemake.input.prediction, "mean", "initial_variance", "data_variance")
        dataset = stamp(
            analyse(runs, limit, **parameters),
            title=f"Central limit theorem, {snakemake.wildcards.experiment}",
            summary="Fluctuations of averages over neurons around the limit: variances, normality, quantiles.",
            rule=snakemake.rule,
            parameters={**parameters, "runs": {name: io.parameters(one) for name, one in runs.items()}},
            seed=io.parameters(next(iter(runs.values())))["seed"],
            inputs={**paths, "prediction": snakemake.input.prediction},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
