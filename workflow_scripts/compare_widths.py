"""Rule compare_widths: how far apart the laws of the weights are for networks of growing width."""

import json
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.distances import empirical, wasserstein
from meanfield.analysis.jackknife import jackknife
from meanfield.logs import logged_to
from meanfield.provenance import canonical_json, stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


class Excess(NamedTuple):
    """How far apart the laws of successive widths are, and two runs of one law."""

    within: np.ndarray  # shape (width,), mean distance between two replicates of a width
    distance: np.ndarray  # shape (pair,), between replicates of a width and the next
    expected: np.ndarray  # shape (pair,), that distance if both widths had one law
    excess: np.ndarray  # shape (pair,)
    slope: np.ndarray  # shape (), of the excess against the decimal logarithm of the narrower width


def matrix(samples: list[np.ndarray]) -> np.ndarray:
    """Return the Wasserstein-1 distances between all runs, width after width."""
    laws = [empirical(row) for sample in samples for row in sample]
    found = np.zeros((len(laws), len(laws)))
    for i, j in combinations(range(len(laws)), 2):
        found[i, j] = found[j, i] = wasserstein(laws[i], laws[j], 1)
    return found


def excess(distance: np.ndarray, sizes: list[int], neurons: np.ndarray, kept: list[np.ndarray]) -> Excess:
    """Return the distances between successive widths less what the finite size of the samples makes of one law.

    Fluctuations of both laws add up in their squares, and each is seen in the distance between two replicates of one
    width, so that one law would have the distance sqrt((a^2 + b^2)/2) with the distances a and b within both widths.
    Replicates of one index see the same images in the same order; only pairs of different ones are independent.
    """
    places = np.cumsum([0, *sizes])[:-1]
    within = np.full(len(sizes), np.nan)
    for n, rows in enumerate(kept):
        if len(rows) > 1:
            block = distance[np.ix_(places[n] + rows, places[n] + rows)]
            within[n] = block.sum() / (len(rows) * (len(rows) - 1))
    between = np.full(len(sizes) - 1, np.nan)
    for n, (one, other) in enumerate(pairwise(kept)):
        block = distance[np.ix_(places[n] + one, places[n + 1] + other)]
        different = one[:, None] != other[None]
        if block.size:
            between[n] = block[different].mean() if different.any() else block.mean()
    expected = np.sqrt((within[:-1] ** 2 + within[1:] ** 2) / 2)
    rest = between - expected
    place = np.log10(neurons[:-1])
    place = place - place.mean()
    slope = place @ rest / (place @ place) if len(place) > 1 else np.nan
    return Excess(within, between, expected, rest, np.asarray(slope))


def compare(runs: list[xr.Dataset]) -> xr.Dataset:
    """Return the distances between the laws at successive widths, and what is left of them without sampling noise."""
    v = io.variable
    neurons = np.array([io.parameters(run)["neurons"] for run in runs])
    sizes = [run.sizes["replicate"] for run in runs]
    variables = {}
    for name, source, words in (
        ("output", "output_weight", "output weights"),
        ("weight", "weight_quantile", "input weights"),
    ):
        distance = matrix([run[source].values for run in runs])
        found = excess(distance, sizes, neurons, [np.arange(size) for size in sizes])

        def parts(kept: list[np.ndarray], distance: np.ndarray = distance) -> np.ndarray:
            one = excess(distance, sizes, neurons, kept)
            return np.concatenate([one.distance, one.excess, [one.slope]])

        pairs = len(sizes) - 1
        ends = jackknife(parts, sizes)
        low, high = ends.low, ends.high
        variables |= {
            f"{name}_distance_mean": v(
                "pair", found.distance, f"W1 between the {words} of a width and the next, mean over pairs of runs"
            ),
            f"{name}_distance_low": v("pair", low[:pairs], "lower end of its 95 % interval"),
            f"{name}_distance_high": v("pair", high[:pairs], "upper end of its 95 % interval"),
            f"{name}_distance_within": v(
                "width", found.within, f"mean W1 between the {words} of two replicates of a width"
            ),
            f"{name}_distance_expected": v(
                "pair", found.expected, f"W1 that the {words} of a width and the next would have if their laws were one"
            ),
            f"{name}_excess": v("pair", found.excess, "W1 to the next width less that of one law"),
            f"{name}_excess_low": v("pair", low[pairs:-1], "lower end of its 95 % interval"),
            f"{name}_excess_high": v("pair", high[pairs:-1], "upper end of its 95 % interval"),
            f"{name}_excess_slope": v("", found.slope, "change of that excess per tenfold width"),
            f"{name}_excess_slope_low": v("", low[-1], "lower end of its 95 % interval"),
            f"{name}_excess_slope_high": v("", high[-1], "upper end of its 95 % interval"),
        }
    return xr.Dataset(
        variables,
        coords={
            "neurons": v("width", neurons, "width N"),
            "narrower": v("pair", neurons[:-1], "the narrower width of the pair"),
            "wider": v("pair", neurons[1:], "the wider width of the pair"),
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
