"""Rule trace_plane: trajectories of the first starts under several runs, on the surface."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def trace(runs: dict[str, xr.Dataset], labels: dict[str, str], surface: xr.Dataset) -> xr.Dataset:
    """Return the trajectories of all runs, the shorter ones staying at their last point."""
    longest = max(run.sizes["record"] for run in runs.values())
    paths = [
        np.concatenate([run["path"].values, np.repeat(run["path"].values[-1:], longest - run.sizes["record"], axis=0)])
        for run in runs.values()
    ]
    shown = paths[0].shape[1]
    v = io.variable
    return xr.Dataset(
        {
            "path": v("run record trajectory coordinate", paths, "point of the trajectory"),
            "length": v("run", [run.sizes["record"] for run in runs.values()], "records before it stays where it is"),
            "polished": v(
                "run trajectory coordinate", [run["polished"].values[:shown] for run in runs.values()],
                "point after polishing by gradient descent",
            ),
            "label": v("run", [labels[name] for name in runs], "label of the run"),
            **{name: surface[name] for name in ("potential", "basin", "minimum_position", "clip")},
        },
        coords={"run": v("run", list(runs), "run")},
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.labels, snakemake.input.runs, strict=True))
        runs = {name: io.read_dataset(path) for name, path in paths.items()}
        parameters = snakemake.params.parameters
        dataset = stamp(
            trace(runs, snakemake.params.labels, io.read_dataset(snakemake.input.surface)),
            title=f"Trajectories on the potential of {parameters['experiment']}",
            summary="Trajectories of the first common starts under several optimisers and samplers.",
            rule=snakemake.rule,
            parameters={**parameters, "runs": list(runs)},
            inputs={**paths, "surface": snakemake.input.surface},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
