"""Rule compare_plane: which minimum each run reached how often, with intervals, differences and ranks."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.counts import design_effect, ranks, wilson
from meanfield.errors import DataError
from meanfield.logs import logged_to
from meanfield.plane_runs import LEFT_DOMAIN, cluster_size
from meanfield.problems.plane import assign_to_minima
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def destinations(points: np.ndarray, outcome: np.ndarray, minima: np.ndarray, reach: float) -> np.ndarray:
    """Return the number of the minimum within reach of each point, one more for none, two more for a lost one."""
    found = assign_to_minima(points, minima, radius=reach)
    return np.where(outcome == LEFT_DOMAIN, len(minima) + 1, np.where(found < 0, len(minima), found))


def compare(runs: dict[str, xr.Dataset], labels: dict[str, str], surface: xr.Dataset, settings: dict) -> xr.Dataset:
    """Return the counts and shares of all runs of one experiment."""
    minima, level = surface["minimum_position"].values, settings["level"]
    names = [f"minimum {n + 1}" for n in range(len(minima))] + ["elsewhere", "left"]
    clusters = [cluster_size(io.parameters(run)["phases"]) for run in runs.values()]
    names_of = {"raw": ("end", "outcome"), "polished": ("polished", "outcome_polished")}
    ends = {
        stage: [
            destinations(run[point].values, run[outcome].values, minima, settings["reach"]) for run in runs.values()
        ]
        for stage, (point, outcome) in names_of.items()
    }
    v = io.variable
    edges = np.linspace(*settings["histogram_range"], settings["histogram_bins"] + 1)
    found = {}
    for stage, values in (("raw", "value"), ("polished", "value_polished")):
        hits = np.array([[end == n for n in range(len(names))] for end in ends[stage]])
        shares = np.array(
            [[wilson(hit, level=level, cluster=c) for hit in row] for row, c in zip(hits, clusters, strict=True)]
        )
        found[f"count_{stage}"] = v("run destination", hits.sum(axis=-1), f"starts that end there, {stage}")
        for n, part in enumerate(("share", "share_low", "share_high")):
            found[f"{part}_{stage}"] = v(
                "run destination", shares[..., n], f"share of starts that end there, {stage}{_end(part, level)}"
            )
        # Who left the domain has no final value.
        stayed = [
            (end != len(names) - 1) & np.isfinite(run[values].values)
            for end, run in zip(ends[stage], runs.values(), strict=True)
        ]
        finite = [run[values].values[kept] for kept, run in zip(stayed, runs.values(), strict=True)]
        inside = np.array([np.histogram(value, edges)[0] for value in finite])
        found[f"histogram_{stage}"] = v("run bin", inside, f"starts by final value, {stage}")
        found[f"above_{stage}"] = v("run", [(value > edges[-1]).sum() for value in finite], f"starts above it, {stage}")
        found[f"value_mean_{stage}"] = v("run", [_mean(value) for value in finite], f"mean final value, {stage}")
        differences, best, worst = ranks(hits[:, 0], clusters, level=level)
        found[f"rank_best_{stage}"] = v("run", best, f"best rank by the lowest minimum that intervals allow, {stage}")
        found[f"rank_worst_{stage}"] = v(
            "run", worst, f"worst rank by the lowest minimum that intervals allow, {stage}"
        )
        for n, part in enumerate(("difference", "difference_low", "difference_high")):
            text = (
                f"share at the lowest minimum less that of the other run, {stage}{_end(part, level, 'simultaneous ')}"
            )
            found[f"{part}_{stage}"] = v("run other", differences[..., n], text)
        found[f"design_effect_{stage}"] = v(
            "run", [design_effect(hit[0], c) for hit, c in zip(hits, clusters, strict=True)],
            f"factor on variances because agents are coupled, {stage}",
        )  # fmt: skip
    evaluations = [run["evaluations"].values for run in runs.values()]
    return xr.Dataset(
        {
            **found,
            "evaluations_mean": v("run", [e.mean() for e in evaluations], "evaluations per start, mean"),
            "evaluations_most": v("run", [e.max() for e in evaluations], "evaluations per start, largest"),
            "cluster": v("run", clusters, "starts that are coupled to each other"),
            "label": v("run", list(labels.values()), "label of the run"),
            "edge": v("edge", edges, "edges of the bins of final values"),
            "minimum_value": v("minimum", surface["minimum_value"].values, "potential at the minimum"),
            "starts": v("", len(ends["raw"][0]), "number of starts"),
        },
        coords={
            "run": v("run", list(runs), "run"),
            "other": v("other", list(runs), "run that is compared to"),
            "destination": v("destination", names, "where a start ends"),
        },
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


def _end(part: str, level: float, kind: str = "") -> str:
    end = part.rpartition("_")[2]
    return f", {end} end of the {kind}{100 * level:g} % interval" if end in ("low", "high") else ""


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        labels = snakemake.params.labels
        paths = dict(zip(labels, snakemake.input.runs, strict=True))
        runs = {name: io.read_dataset(path) for name, path in paths.items()}
        starts = next(iter(runs.values()))["begin"]
        for name, run in runs.items():
            if not np.array_equal(run["begin"], starts):
                raise DataError(
                    f"{paths[name]}: other starts than {next(iter(paths.values()))}; delete both and run again"
                )
        parameters = snakemake.params.parameters
        dataset = stamp(
            compare(runs, labels, io.read_dataset(snakemake.input.surface), parameters["settings"]),
            title=f"Minima reached on the potential of {parameters['experiment']}",
            summary="Counts of the minimum reached per method from common starts, with intervals that respect pairs.",
            rule=snakemake.rule,
            parameters={**parameters, "runs": {name: io.parameters(run) for name, run in runs.items()}},
            inputs={**paths, "surface": snakemake.input.surface},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
