"""Rule analyse_reduced_limits: compare the forms of the reduced limit equation of one experiment with each other."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.solutions import LEVELS, records_at
from meanfield.logs import logged_to
from meanfield.problems.anisotropic import REDUCED
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def weighted_quantiles(values: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return the quantiles `LEVELS` of a law of atoms, shape (level,)."""
    order = np.argsort(values)
    levels = np.cumsum(mass[order]) - mass[order] / 2
    return np.interp(LEVELS, levels, values[order])


def analyse(limits: dict[str, xr.Dataset], paths: dict[str, str]) -> xr.Dataset:
    """Return risks, means and quantiles of the reduced variables at the times that all solutions have."""
    names = list(limits)
    times = sorted(set.intersection(*(set(limits[name]["time"].values.tolist()) for name in names)))
    time = np.array(times)
    index = {name: records_at(limits[name], time, paths[name]) for name in names}
    risk = np.array([limits[name]["risk"].values[index[name]] for name in names])
    atoms = [[limits[name][variable].values[index[name]] for variable in REDUCED] for name in names]
    mass = [limits[name]["mass"].values for name in names]
    means = np.array([[values @ weight for values in one] for one, weight in zip(atoms, mass, strict=True)])
    quantiles = np.array(
        [[[weighted_quantiles(law, weight) for law in values] for values in one]
         for one, weight in zip(atoms, mass, strict=True)]
    )  # fmt: skip
    negative = np.array([(one[0] < 0) @ weight for one, weight in zip(atoms, mass, strict=True)])
    v = io.variable
    return xr.Dataset(
        {
            "risk": v("limit record", risk, "population risk"),
            "reduced": v("limit variable record", means, "mean of the reduced variable"),
            "reduced_quantile": v("limit variable record level", quantiles, "quantile of the reduced variable"),
            "negative_output": v("limit record", negative, "share of negative output weights"),
            "risk_final": v("limit", risk[:, -1], "population risk at the last common time"),
            "reduced_final": v(
                "limit variable", means[..., -1], "mean of the reduced variable at the last common time"
            ),
            "negative_output_final": v("limit", negative[:, -1], "share of negative output weights at the last time"),
            "risk_difference_max": v(
                "limit", np.abs(risk - risk[0]).max(axis=1), f"largest risk difference to {names[0]}"
            ),
            "time_final": v("", time[-1], "last common time"),
            "remainder": v("limit", [float(limits[name]["remainder"]) for name in names], "left out of the series"),
        },
        coords={
            "limit": v("limit", np.array(names, dtype=str), "limit equation"),
            "variable": v("variable", np.array(REDUCED), "reduced variable"),
            "level": v("level", LEVELS, "probability of the quantile"),
            "time": v("record", time, "mean-field time"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.limits, snakemake.input.limits, strict=True))
        limits = {name: io.read_dataset(path) for name, path in paths.items()}
        for name, path in paths.items():
            io.require(limits[name], path, "risk", "time", "mass", *REDUCED)
        dataset = stamp(
            analyse(limits, paths),
            title=f"Limit equations of {snakemake.wildcards.experiment}",
            summary="Risk and reduced variables of the forms of the mean-field limit.",
            rule=snakemake.rule,
            parameters={"limits": {name: io.parameters(limit) for name, limit in limits.items()}},
            inputs=paths,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
