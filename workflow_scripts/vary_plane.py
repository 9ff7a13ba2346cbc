"""Rule vary_plane: shares at the lowest minimum with step sizes, temperatures, or both, times a factor."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.counts import paired_difference, ranks, wilson
from meanfield.logs import logged_to, logger
from meanfield.plane_runs import LEFT_DOMAIN, Conditions, cluster_size, is_thermal, run, scaled, uniform_starts
from meanfield.problems.plane import assign_to_minima, potential_from
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def vary(parameters: dict, labels: dict[str, str], minima: np.ndarray, threads: int = 1) -> xr.Dataset:
    """Return shares and ranks for each factor on the step sizes, and for each on the temperatures.

    Where the study names two runs to compare, the paired difference of their shares under every pair of factors too,
    with intervals that hold for all pairs together (Bonferroni).
    """
    potential, study, level = potential_from(parameters["problem"]), parameters["study"], parameters["level"]
    conditions = Conditions(
        parameters["seed"], parameters["experiment"], tuple(parameters["window"]), tuple(parameters["domain"]),
        parameters["largest_gradient"], parameters["tolerance"], parameters["polish"],
    )  # fmt: skip
    starts = uniform_starts(parameters["seed"], parameters["experiment"], study["starts"], conditions.window)
    runs = {name: parameters["runs"][name] for name in labels}
    clusters = [cluster_size(phases) for phases in runs.values()]
    done: dict[tuple, np.ndarray] = {}

    def hits(name: str, step: float, temperature: float) -> np.ndarray:
        if not is_thermal(runs[name]):
            temperature = 1.0
        if (name, step, temperature) not in done:
            logger.info("%s with steps times %g and temperatures times %g", name, step, temperature)
            found = run(
                potential, scaled(runs[name], step=step, temperature=temperature), starts, conditions, threads=threads
            )
            at = assign_to_minima(found.polished, minima, radius=parameters["reach"])
            done[name, step, temperature] = (at == 0) & (found.polished_outcome != LEFT_DOMAIN)
        return done[name, step, temperature]

    v = io.variable
    found = {}
    for part, factors in (("step", study["step_factors"]), ("temperature", study["temperature_factors"])):
        table, best, worst = [], [], []
        for factor in factors:
            settings = (factor, 1.0) if part == "step" else (1.0, factor)
            column = np.array([hits(name, *settings) for name in runs])
            table.append([wilson(row, level=level, cluster=c) for row, c in zip(column, clusters, strict=True)])
            _, low, high = ranks(column, clusters, level=level)
            best.append(low)
            worst.append(high)
        shares = np.moveaxis(np.array(table), 1, 0)
        for n, name in enumerate(("share", "share_low", "share_high")):
            end = "" if n == 0 else f", {name.rpartition('_')[2]} end of the interval"
            found[f"{name}_{part}"] = v(
                f"run {part}_factor", shares[..., n], f"share at the lowest minimum after polishing{end}"
            )
        found[f"rank_best_{part}"] = v(f"run {part}_factor", np.transpose(best), "best rank that intervals allow")
        found[f"rank_worst_{part}"] = v(f"run {part}_factor", np.transpose(worst), "worst rank that intervals allow")
    if "compared" in study:
        first, second = study["compared"]
        cluster = int(np.lcm(*(clusters[list(runs).index(name)] for name in (first, second))))
        each = 1 - (1 - level) / (len(study["step_factors"]) * len(study["temperature_factors"]))
        table = [
            [
                paired_difference(hits(first, step, heat), hits(second, step, heat), level=each, cluster=cluster)
                for heat in study["temperature_factors"]
            ]
            for step in study["step_factors"]
        ]
        ends = (("", ""), *((f"_{end}", f", {end} end of the simultaneous interval") for end in ("low", "high")))
        for n, (name, what) in enumerate(ends):
            found[f"difference{name}"] = v(
                "step_factor temperature_factor",
                np.array(table)[..., n],
                f"share of {first} less that of {second}{what}",
            )
        found["compared"] = v("compared_run", [labels[first], labels[second]], "labels of the runs compared")
    return xr.Dataset(
        {
            **found,
            "thermal": v("run", [int(is_thermal(phases)) for phases in runs.values()], "whether a run has noise"),
            "label": v("run", list(labels.values()), "label of the run"),
            "starts": v("", len(starts), "number of starts"),
        },
        coords={
            "run": v("run", list(runs), "run"),
            "step_factor": v("step_factor", study["step_factors"], "factor on all step sizes"),
            "temperature_factor": v("temperature_factor", study["temperature_factors"], "factor on all temperatures"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        surface = io.read_dataset(snakemake.input.surface)
        dataset = stamp(
            vary(parameters, snakemake.params.labels, surface["minimum_position"].values, snakemake.threads),
            title=f"Sensitivity of the minima reached to step size and temperature, {parameters['experiment']}",
            summary="Shares of starts that reach the lowest minimum, with all step sizes or temperatures scaled.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
            inputs={"surface": snakemake.input.surface},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
