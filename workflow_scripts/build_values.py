"""Rule build_values: collect the numbers that the report's prose and captions show, from datasets and records."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from meanfield import io, provenance
from meanfield.logs import logged_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# Axes that name things; a variable on these alone is a small table and is kept whole.
NAMES = (
    "limit", "replicate", "snapshot", "atoms", "cells_per_deviation", "time", "shell", "pair", "candidate", "case",
    "batch_gap", "slope_factor", "gap", "width", "step", "reference", "level", "digit", "run", "other", "destination",
    "smoothing", "minimum", "point", "direction", "coordinate", "checked", "shown", "step_factor",
    "temperature_factor", "target", "flow", "scheme", "moved", "condition", "map", "scale", "macro_step",
    "micro_step", "averaging", "relaxation", "length", "estimator",
    "dimension", "separation", "law", "end", "sphere", "zero_mass", "branch", "kind", "border_separation", "interval",
    "function", "law_time", "temperature", "start",
)  # fmt: skip
# Axes whose names are kept too.
_NAMED = ("pair",)
# Axes whose entries are read by name.
_KEYS = (
    "limit", "run", "other", "destination", "smoothing", "target", "flow", "scheme", "moved",
    "dimension", "law", "kind", "function", "start",
)  # fmt: skip


def numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """Return the scalars and small tables of an analysed dataset, limits, runs and the like by name."""
    found: dict[str, Any] = {}
    for name, variable in dataset.variables.items():
        kinds = "fiuUO" if set(variable.dims) & set(_NAMED) else "fiu"
        if variable.dtype.kind not in kinds or not set(variable.dims) <= set(NAMES):
            continue
        array = dataset[name]
        found[name] = _table(array.transpose("limit", ...) if "limit" in array.dims else array)
    return found


def _table(array: xr.DataArray) -> Any:
    if not set(array.dims) & set(_KEYS):
        return _value(array.values)
    first = array.dims[0]
    parts = [_table(array.isel({first: n})) for n in range(array.sizes[first])]
    return dict(zip(map(str, array[first].values), parts, strict=True)) if first in _KEYS else parts


def _value(values: np.ndarray) -> Any:
    return values.item() if values.ndim == 0 else values.tolist()


def curves(dataset: xr.Dataset, times: list[float]) -> dict[str, Any]:
    """Return risk curves at a few times, for tables: the records nearest to them."""
    found: dict[str, Any] = {}
    if "time" not in dataset or dataset["time"].dims != ("record",):
        return found
    time = dataset["time"].values
    index = [int(np.abs(time - t).argmin()) for t in times if t <= time[-1] * (1 + 1e-9)]
    for name in ("risk_mean", "risk_low", "risk_high", "mean_norm_mean", "risk_limit", "risk", "mean_norm"):
        if name not in dataset or dataset[name].dims not in (("record",), ("limit", "record")):
            continue
        picked = dataset[name].isel(record=index)
        if "limit" in picked.dims:
            found[name] = {str(limit): picked.sel(limit=limit).values.tolist() for limit in picked["limit"].values}
        else:
            found[name] = picked.values.tolist()
    return {"time": time[index].tolist(), **found}


def settings(dataset: xr.Dataset) -> dict[str, Any]:
    """Return method, step size and hyper-parameters that a simulation had, or that a sweep found best."""
    found = io.parameters(dataset)
    if isinstance(found.get("simulation"), dict) and "settings" in found["simulation"]:
        return {key: value for key, value in found["simulation"]["settings"].items() if key != "snapshots"}
    if isinstance(found.get("sweep"), dict) and "best" in dataset:
        best = found["sweep"]["candidates"][int(dataset["best"])]
        return {**found["sweep"]["settings"], **best}
    return {}


def run_times(folder: Path) -> list[dict[str, Any]]:
    """Return jobs, total and longest run time [s] and largest memory [MB] per rule, from benchmark files."""
    rows = []
    for rule in sorted(path for path in folder.glob("*") if path.is_dir()):
        seconds, memory = [], []
        for file in sorted(rule.rglob("*.tsv")):
            with file.open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream, delimiter="\t"):
                    seconds.append(float(row["s"]))
                    if row.get("max_rss", "-") not in ("-", "NA", ""):
                        memory.append(float(row["max_rss"]))
        if seconds:
            rows.append(
                {
                    "rule": rule.name,
                    "jobs": len(seconds),
                    "seconds": sum(seconds),
                    "longest": max(seconds),
                    "memory": max(memory, default=None),
                }
            )
    return rows


def collect(
    paths: dict[str, str], config: dict, times: list[float], benchmarks: Path, titles: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return everything that the report shows as a number."""
    datasets = {name: io.read_dataset(path) for name, path in paths.items()}
    return {
        "config": config,
        "analysis": {name: numbers(dataset) for name, dataset in datasets.items()},
        "settings": {name: settings(dataset) for name, dataset in datasets.items()},
        "titles": titles or {},
        "data": {
            name: json.loads(dataset.attrs["meanfield_data"])
            for name, dataset in datasets.items()
            if "meanfield_data" in dataset.attrs
        },
        "curves": {name: curves(dataset, times) for name, dataset in datasets.items()},
        "provenance": {
            "revision": provenance.revision(),
            "versions": provenance.versions(),
            "revisions": sorted({dataset.attrs["meanfield_revision"] for dataset in datasets.values()}),
            "datasets": {name: provenance.sha256(path) for name, path in paths.items()},
        },
        "run_times": run_times(benchmarks),
    }


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        values = collect(
            dict(zip(snakemake.params.names, snakemake.input.data, strict=True)),
            snakemake.params.config,
            snakemake.params.times,
            Path(snakemake.params.benchmarks),
            snakemake.params.titles,
        )
        io.write_json(values, snakemake.output.values)
