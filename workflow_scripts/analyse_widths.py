"""Rule analyse_widths: distances of networks of several widths to the limit equations, with fitted slopes."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import Interval, mean_interval
from meanfield.analysis.slopes import log_slope
from meanfield.analysis.solutions import comparable_records, records_from
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def largest_deviation(risk: np.ndarray) -> np.ndarray:
    """Return the standard deviation over replicates, largest along the runs, shape (width,); nan for one replicate."""
    if risk.shape[1] < 2:
        return np.full(len(risk), np.nan)
    return risk.std(axis=1, ddof=1).max(axis=1)


def width_effects(widths: np.ndarray, risk: np.ndarray) -> tuple[np.ndarray, Interval, Interval]:
    """Return what the width does to the risk of runs that see the same samples.

    The difference of a run from that of the widest network on its replicate is free of the noise of the samples, to
    first order, and of all errors that the widths share. A bias of order 1/N makes it proportional to 1/N - 1/N_max.

    Returns
    -------
    effective : array, shape (width - 1,)
        1 / (1/N - 1/N_max) [neurons].
    effect : Interval of arrays of shape (width - 1,)
        Largest difference along a run, mean over replicates.
    slope : Interval
        Of log effect against log effective width; -1 for a bias of order 1/N. Undefined for less than three widths.

    """
    effective = 1 / (1 / widths[:-1] - 1 / widths[-1])
    largest = np.abs(risk[:-1] - risk[-1:]).max(axis=2)
    slope = log_slope(effective, largest) if len(effective) > 1 else Interval(*np.full(3, np.nan))
    return effective, mean_interval(largest.T), slope


def analyse(
    runs: xr.Dataset, limits: dict[str, xr.Dataset], paths: dict[str, str], *, start: float = 0.0
) -> xr.Dataset:
    """Return distances of risks to those of the limit equations, by width.

    For each width: the largest deviation along a run from the mean-field time `start` on, as a mean over replicates,
    and the standard deviation over the replicates, largest along the runs. Slopes are of the logarithms, least
    squares; their intervals are bootstrap percentiles over replicates.
    """
    v = io.variable
    late = records_from(runs["limit_time"].values, start)
    time, risk = runs["limit_time"].values[late], runs["risk"].values[..., late]
    widths, replicates, _ = risk.shape
    # Up to the end of the limit equation that ends first.
    pairs = {name: comparable_records(limit, time, paths[name], complete=True) for name, limit in limits.items()}
    found = np.logical_and.reduce([records for records, _ in pairs.values()])
    deviation = np.full((len(limits), widths, replicates, int(found.sum())), np.nan)
    for n, (name, (records, index)) in enumerate(pairs.items()):
        deviation[n] = risk[..., found] - limits[name]["risk"].values[index[found[records]]]
    largest = np.abs(deviation).max(axis=3)
    where = np.median(time[found][np.abs(deviation).argmax(axis=3)], axis=2)
    bands = [mean_interval(one.T) for one in largest]
    spread = largest_deviation(risk[..., found])
    slopes = [log_slope(runs["width"].values, one) for one in largest]
    fluctuation = log_slope(runs["width"].values, risk[..., found], statistic=largest_deviation)
    effective, effect, effect_slope = width_effects(runs["width"].values.astype(float), risk)
    names = list(limits)
    return xr.Dataset(
        {
            "deviation": v(
                "limit width replicate",
                largest,
                f"largest risk deviation from the limit along a run from t = {start:g} on",
            ),
            "deviation_time": v("limit width", where, "mean-field time of it, median over replicates"),
            "deviation_mean": v("limit width", [one.mean for one in bands], "the same, mean over replicates"),
            "deviation_low": v("limit width", [one.low for one in bands], "lower end of its 95 % interval"),
            "deviation_high": v("limit width", [one.high for one in bands], "upper end of its 95 % interval"),
            "fluctuation": v("width", spread, "standard deviation of the risk over replicates, largest along the runs"),
            "slope": v("limit", [one.mean for one in slopes], "slope of log deviation against log width"),
            "slope_low": v("limit", [one.low for one in slopes], "lower end of its 95 % interval"),
            "slope_high": v("limit", [one.high for one in slopes], "upper end of its 95 % interval"),
            "fluctuation_slope": v("", fluctuation.mean, "slope of log fluctuation against log width"),
            "fluctuation_slope_low": v("", fluctuation.low, "lower end of its 95 % interval"),
            "fluctuation_slope_high": v("", fluctuation.high, "upper end of its 95 % interval"),
            "effective_width": v("narrower", effective, "1 / (1/N - 1/N_max)"),
            "effect_mean": v("narrower", effect.mean, "largest risk difference from the widest network"),
            "effect_low": v("narrower", effect.low, "lower end of its 95 % interval"),
            "effect_high": v("narrower", effect.high, "upper end of its 95 % interval"),
            "effect_slope": v("", effect_slope.mean, "slope of log difference against log effective width"),
            "effect_slope_low": v("", effect_slope.low, "lower end of its 95 % interval"),
            "effect_slope_high": v("", effect_slope.high, "upper end of its 95 % interval"),
        },
        coords={
            "limit": v("limit", np.array(names, dtype=str), "limit equation"),
            "width": runs["width"],
            "narrower": v("narrower", runs["width"].values[:-1], "number of neurons, but for the widest network"),
            "replicate": runs["replicate"],
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.limits, snakemake.input.limits, strict=True))
        runs = io.read_dataset(snakemake.input.runs)
        io.require(runs, snakemake.input.runs, "risk", "width", "limit_time")
        limits = {name: io.read_dataset(path) for name, path in paths.items()}
        for name, path in paths.items():
            io.require(limits[name], path, "risk", "time")
        parameters = io.parameters(runs)
        dataset = stamp(
            analyse(runs, limits, paths, start=snakemake.params.start),
            title=f"Analysis of the width study {parameters['experiment']}/{parameters['study']}",
            summary="Distances of networks of several widths to the mean-field limit, with fitted slopes.",
            rule=snakemake.rule,
            parameters={"study": parameters, "agreement_from": snakemake.params.start},
            seed=parameters["seed"],
            inputs={"runs": snakemake.input.runs, **paths},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
