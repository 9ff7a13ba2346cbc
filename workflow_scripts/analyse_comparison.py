"""Rule analyse_comparison: differences of log risk between optimisers, run by run on common samples."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import mean_interval
from meanfield.analysis.slopes import logs_at
from meanfield.errors import DataError
from meanfield.logs import logged_to
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# The late mean is over the records of the last decade.
_LATE = 0.1


def common(first: xr.Dataset, second: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return numbers of gradient evaluations and the logarithms of both risks there, each (replicate, record).

    They are those of the records of either run, up to the end of the shorter one; a run without a record there is
    interpolated, on logarithmic axes. Both risks are of the replicates that both runs have: they start from the same
    weights and see the same samples.
    """
    replicates = np.intersect1d(first["replicate"].values, second["replicate"].values)
    spent = np.union1d(first["evaluation"].values, second["evaluation"].values)
    spent = spent[spent <= min(run["evaluation"].values[-1] for run in (first, second))]
    one, other = (
        logs_at(spent, run["evaluation"].values, np.log(run["risk"].sel(replicate=replicates).values))
        for run in (first, second)
    )
    return spent, one, other


def compare(first: xr.Dataset, second: xr.Dataset) -> dict[str, float]:
    """Return how the log risks of two simulations differ at equal numbers of gradients, up to the end of the shorter.

    Returns
    -------
    dict
        `final` and `late`, each with its interval: the difference at the end, and its mean over the records of the last
        decade; `furthest`, the largest distance of the mean curves over all records; `evaluations`, where the end is,
        `replicates`, how many runs are compared, and both risks at the end.

    """
    spent, one, other = common(first, second)
    if not one.size:
        return {}
    difference = one - other
    late = spent >= _LATE * spent[-1]
    found = {"evaluations": float(spent[-1]), "replicates": float(len(difference))}
    for name, values in (("final", difference[:, -1]), ("late", difference[:, late].mean(axis=1))):
        band = mean_interval(values)
        found |= {name: float(band.mean), f"{name}_low": float(band.low), f"{name}_high": float(band.high)}
    found["furthest"] = float(np.abs(difference.mean(axis=0)).max())
    found["risk_first"], found["risk_second"] = (float(np.exp(log[:, -1]).mean()) for log in (one, other))
    return found


LONG_NAMES = {
    "final": "mean difference of the logarithms of the risks at the end of the shorter run",
    "final_low": "lower end of its 95 % interval",
    "final_high": "upper end of its 95 % interval",
    "late": "mean difference of the logarithms of the risks over the last decade of gradients",
    "late_low": "lower end of its 95 % interval",
    "late_high": "upper end of its 95 % interval",
    "furthest": "largest magnitude of the mean difference of the logarithms over all records",
    "evaluations": "gradient evaluations at the end of the shorter run",
    "replicates": "runs that are compared",
    "risk_first": "mean risk of the first one there",
    "risk_second": "mean risk of the second one there",
}


def labelled(pairs: list[dict], runs: dict[str, xr.Dataset], experiment: str) -> xr.Dataset:
    """Return the comparisons of all pairs of an experiment's simulations with names and units."""
    if not pairs:
        raise DataError(
            f"experiments.{experiment}.simulate: no two simulations to compare; an optimiser with a control "
            "(control_of) is needed, or with an SGD at its step size, or both tuned"
        )
    v = io.variable
    found = [compare(runs[pair["first"]], runs[pair["second"]]) for pair in pairs]
    return xr.Dataset(
        {
            name: v("pair", [one.get(name, np.nan) for one in found], long_name)
            for name, long_name in LONG_NAMES.items()
        },
        coords={
            name: v("pair", np.array([pair[name] for pair in pairs], dtype=str), long_name)
            for name, long_name in (
                ("first", "simulation that is compared"),
                ("second", "simulation that it is compared with"),
                ("kind", "whether that is its control or the SGD of its group"),
            )
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        runs, parameters = {}, {}
        for path in snakemake.input.runs:
            dataset = io.read_dataset(path)
            io.require(dataset, path, "risk", "evaluation", "replicate")
            if not (dataset["risk"].values > 0).all():
                raise DataError(f"{path}: a risk that is not positive has no logarithm")
            name = Path(path).stem
            runs[name], parameters[name] = dataset, io.parameters(dataset)
        dataset = stamp(
            labelled(snakemake.params.pairs, runs, snakemake.wildcards.experiment),
            title=f"Comparison of the optimisers of {snakemake.wildcards.experiment}",
            summary="Differences of log risk over common replicates, of optimisers and their controls or SGD.",
            rule=snakemake.rule,
            parameters={"runs": parameters},
            seed=next(iter(parameters.values()))["seed"],
            inputs={Path(path).stem: path for path in snakemake.input.runs},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
