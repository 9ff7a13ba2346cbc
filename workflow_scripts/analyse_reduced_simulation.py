"""Rule analyse_reduced_simulation: bands of risk and of the reduced variables, beside the limit equations."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import largest, mean_interval
from meanfield.analysis.solutions import LEVELS, comparable_records, records_from, risk_variables
from meanfield.logs import logged_to
from meanfield.problems.anisotropic import REDUCED
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def analyse(
    runs: xr.Dataset, limits: dict[str, xr.Dataset], paths: dict[str, str], settings: dict, parameters: dict
) -> xr.Dataset:
    """Return the analysed dataset of one simulation.

    Parameters
    ----------
    runs : xarray.Dataset
        All replicates.
    limits, paths : dict
        Solutions of the limit equations by name, and their files for messages.
    settings : dict
        The experiment's block `analyse`.
    parameters : dict
        Parameters of the simulation.

    """
    v = io.variable
    time = runs["limit_time"].values
    risk = runs["risk"].values
    means = np.array([runs[name].values.mean(axis=2) for name in REDUCED])
    middle = [mean_interval(one) for one in means]
    quantiles = np.array([np.quantile(runs[name].values, LEVELS, axis=2).mean(axis=1) for name in REDUCED])
    names = list(limits)
    limit_risk = np.full((len(names), time.size), np.nan)
    limit_means = np.full((len(names), len(REDUCED), time.size), np.nan)
    for n, name in enumerate(names):
        complete = "tuned" not in parameters["settings"]
        found, index = comparable_records(limits[name], time, paths[name], complete=complete)
        limit_risk[n, found] = limits[name]["risk"].values[index]
        for m, variable in enumerate(REDUCED):
            limit_means[n, m, found] = limits[name][variable].values[index] @ limits[name]["mass"].values
    late = records_from(time, settings["agreement_from"])
    mean_deviation = np.abs(means.mean(axis=1)[None] - limit_means)
    start = f"from t = {settings['agreement_from']:g} on"
    return xr.Dataset(
        {
            **risk_variables(risk, limit_risk, time, settings["agreement_from"]),
            "reduced": v("variable replicate record", means, "mean of the reduced variable over neurons"),
            "reduced_mean": v("variable record", [one.mean for one in middle], "the same, mean over replicates"),
            "reduced_low": v("variable record", [one.low for one in middle], "lower end of its 95 % interval"),
            "reduced_high": v("variable record", [one.high for one in middle], "upper end of its 95 % interval"),
            "reduced_quantile": v(
                "variable level record",
                quantiles,
                "quantile over neurons, mean over replicates",
            ),
            "reduced_limit": v("limit variable record", limit_means, "mean of the reduced variable in the limit"),
            "reduced_deviation_max": v(
                "limit variable",
                largest(mean_deviation[..., late]),
                f"largest deviation of the mean of the reduced variable from the limit {start}",
            ),
        },
        coords={
            "limit": v("limit", np.array(names, dtype=str), "limit equation"),
            "variable": v("variable", np.array(REDUCED), "reduced variable"),
            "level": v("level", LEVELS, "probability of the quantile"),
            "replicate": runs["replicate"],
            "iteration": runs["iteration"],
            "evaluation": runs["evaluation"],
            "time": runs["time"],
            "limit_time": runs["limit_time"],
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.limits, snakemake.input.limits, strict=True))
        runs = io.read_dataset(snakemake.input.runs)
        io.require(runs, snakemake.input.runs, "risk", "limit_time", *REDUCED)
        limits = {name: io.read_dataset(path) for name, path in paths.items()}
        for name, path in paths.items():
            io.require(limits[name], path, "risk", "time", *REDUCED)
        parameters = io.parameters(runs)
        settings = snakemake.params.settings
        dataset = stamp(
            analyse(runs, limits, paths, settings, parameters),
            title=f"Analysis of {parameters['experiment']}/{parameters['simulation']}",
            summary="Risk and reduced variables with bands, beside the mean-field limit.",
            rule=snakemake.rule,
            parameters={"simulation": parameters, "analyse": settings},
            seed=parameters["seed"],
            inputs={"runs": snakemake.input.runs, **paths},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
