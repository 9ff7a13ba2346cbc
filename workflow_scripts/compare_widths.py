"""Rule compare_widths: how far apart the laws of the weights are for networks of growing width."""

import json
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.distances import empirical, wasserstein
from meanfield.analysis.intervals import mean_interval
from meanfield.analysis.power_law import fit_power_law
from meanfield.logs import logged_to
from meanfield.provenance import canonical_json, stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def distances(one: np.ndarray, other: np.ndarray, replicates: int) -> np.ndarray:
    """Return the Wasserstein-1 distances between the same replicates, shape (replicate,); nan where one has no more."""
    found = [wasserstein(empirical(a), empirical(b), 1) for a, b in zip(one, other, strict=False)]
    return np.array([*found, *[np.nan] * (replicates - len(found))])


def within(samples: np.ndarray) -> float:
    """Return the mean distance between the laws of two replicates of one width; nan for a single one."""
    pairs = [wasserstein(empirical(a), empirical(b), 1) for a, b in combinations(samples, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def compare(runs: list[xr.Dataset]) -> xr.Dataset:
    """Return the distances between the laws at successive widths, and the power of the width with which they fall."""
    v = io.variable
    neurons = np.array([io.parameters(run)["neurons"] for run in runs])
    replicates = max(run.sizes["replicate"] for run in runs)
    variables = {}
    for name, source, words in (
        ("output", "output_weight", "output weights"),
        ("weight", "weight_quantile", "input weights"),
    ):
        samples = [run[source].values for run in runs]
        successive = np.array([distances(a, b, replicates) for a, b in pairwise(samples)]).T
        widest = np.array([distances(sample, samples[-1], replicates) for sample in samples[:-1]]).T
        mean = np.array([mean_interval(column[np.isfinite(column)]) for column in successive.T]).T
        law = fit_power_law(np.broadcast_to(neurons[:-1], successive.shape), successive)
        own = [within(sample) for sample in samples]
        variables |= {
            f"{name}_distance": v("replicate pair", successive, f"W1 between the {words} of a width and the next"),
            f"{name}_distance_mean": v("pair", mean[0], "its mean over replicates"),
            f"{name}_distance_low": v("pair", mean[1], "lower end of its 95 % interval"),
            f"{name}_distance_high": v("pair", mean[2], "upper end of its 95 % interval"),
            f"{name}_distance_widest": v("replicate pair", widest, f"W1 between the {words} and those of the widest"),
            f"{name}_distance_within": v("width", own, f"mean W1 between the {words} of two replicates of a width"),
            f"{name}_slope": v("", law.exponent, "power of the smaller width with which the distance falls"),
            f"{name}_slope_low": v("", law.low, "lower end of its 95 % interval"),
            f"{name}_slope_high": v("", law.high, "upper end of its 95 % interval"),
            f"{name}_factor": v("", law.factor, "the distance that the fitted power law has at width one"),
        }
    return xr.Dataset(
        variables,
        coords={
            "neurons": v("width", neurons, "width N"),
            "narrower": v("pair", neurons[:-1], "the narrower width of the pair"),
            "wider": v("pair", neurons[1:], "the wider width of the pair"),
            "replicate": v("replicate", np.arange(replicates), "index of the replicate"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.names, snakemake.input.runs, strict=True))
        runs = [io.read_dataset(path) for path in paths.values()]
        for run, path in zip(runs, paths.values(), strict=True):
            io.require(run, path, "output_weight", "weight_quantile")
        parameters = {name: io.parameters(run) for name, run in zip(paths, runs, strict=True)}
        dataset = stamp(
            compare(runs),
            title="Laws of the weights at growing width",
            summary="Wasserstein distances between the laws of the weights of networks of growing width.",
            rule=snakemake.rule,
            parameters={"simulations": parameters},
            inputs=paths,
        )
        dataset.attrs["meanfield_data"] = canonical_json(json.loads(runs[0].attrs["meanfield_data"]))
        io.write_dataset(dataset, snakemake.output.dataset)
