"""Rule analyse_sweep: reduce a sweep to means, intervals, its best candidate and its escape probabilities."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import mean_interval, wilson_interval
from meanfield.errors import DataError
from meanfield.limits.schedule import Schedule
from meanfield.logs import logged_to
from meanfield.problems.factory import make_problem
from meanfield.provenance import stamp
from meanfield.simulation import make_optimiser

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def transition(steps: np.ndarray, escaped: np.ndarray, replicates: int) -> tuple[float, float]:
    """Return the largest step up to which no run escaped and the smallest from which on all did; nan where none.

    Candidates that share a step count together.
    """
    ordered = np.unique(steps)
    together = [escaped[steps == step] for step in ordered]
    none = np.logical_and.accumulate([(count == 0).all() for count in together])
    every = np.logical_and.accumulate([(count == replicates).all() for count in together[::-1]])[::-1]
    return (
        float(ordered[none][-1]) if none.any() else np.nan,
        float(ordered[every][0]) if every.any() else np.nan,
    )


def noise_floors(parameters: dict, evaluations: np.ndarray) -> list[float]:
    """Return the noise floor of each candidate; see `meanfield.simulation.Optimiser.noise_floor`."""
    problem = make_problem(parameters["problem"], parameters["activation"])
    schedule = Schedule(**parameters["schedule"])
    found = []
    for candidate, gradients in zip(parameters["candidates"], evaluations, strict=True):
        optimiser = make_optimiser({"method": parameters["settings"]["method"], **candidate})
        found.append(optimiser.noise_floor(problem, schedule, int(gradients) // optimiser.evaluations))
    return found


def shares(kind: str, count: np.ndarray, replicates: int, text: str) -> dict[str, tuple]:
    """Return the variables of a share of the runs of each candidate, with its interval."""
    share, v = wilson_interval(count, replicates), io.variable
    return {
        f"{kind}_probability": v("candidate", share.mean, f"share of runs that {text}"),
        f"{kind}_low": v("candidate", share.low, "lower end of its 95 % Wilson interval"),
        f"{kind}_high": v("candidate", share.high, "upper end of its 95 % Wilson interval"),
    }


def analyse(runs: xr.Dataset, path: str, escaped_below: float | None) -> xr.Dataset:
    """Return the analysed dataset of one sweep.

    Parameters
    ----------
    runs : xarray.Dataset
        Risks of all candidates and replicates.
    path : str
        Its file, for messages.
    escaped_below : float or None
        A run counts as escaped if a look saw its risk below this, and as staying if its end has it there too.

    """
    v = io.variable
    risk = runs["risk"].values
    sound = np.isfinite(risk).all(axis=1)
    if not sound.any():
        raise DataError(f"{path}: every candidate diverged in some replicate; smaller step sizes are needed")
    band = mean_interval(np.where(sound[:, None], risk, np.nan).T)
    best = int(np.nanargmin(band.mean))
    found = {
        "risk": v("candidate replicate", risk, "population risk at the end; infinite if the run diverged"),
        "risk_mean": v("candidate", band.mean, "population risk at the end, mean over replicates"),
        "risk_low": v("candidate", band.low, "lower end of its 95 % interval"),
        "risk_high": v("candidate", band.high, "upper end of its 95 % interval"),
        "diverged": v("candidate", (~np.isfinite(risk)).sum(axis=1), "runs that diverged"),
        "best": v("", best, "candidate with the smallest mean risk among those that never diverged"),
        "best_step_size": v("", runs["step_size"].values[best], "its step size"),
        "best_risk": v("", band.mean[best], "its mean risk"),
        "evaluations": runs["evaluations"],
        **{name: runs[name] for name in runs.data_vars if name.startswith("mean_")},
    }
    if escaped_below is not None:
        replicates = risk.shape[1]
        escaped, staying = ((lowest < escaped_below).sum(axis=1) for lowest in (runs["lowest_risk"].values, risk))
        stuck_up_to, free_from = transition(runs["step_size"].values, escaped, replicates)
        found |= {
            "escaped": v("candidate", escaped, "runs that escaped"),
            **shares("escape", escaped, replicates, "escaped"),
            "staying": v("candidate", staying, "runs that end below the risk that counts as escape"),
            **shares("stay", staying, replicates, "end there"),
            "stuck_up_to": v("", stuck_up_to, "largest step size up to which no run escaped"),
            "free_from": v("", free_from, "smallest step size from which on every run escaped"),
            "noise_floor": v(
                "candidate",
                noise_floors(io.parameters(runs), runs["evaluations"].values),
                "norm at which noise balances the drift at zero, at the last iteration",
            ),
        }
    return xr.Dataset(found, coords={name: runs[name] for name in runs.coords})


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        runs = io.read_dataset(snakemake.input.runs)
        io.require(runs, snakemake.input.runs, "risk", "lowest_risk", "step_size", "evaluations")
        parameters = io.parameters(runs)
        threshold = snakemake.params.escaped_below
        dataset = stamp(
            analyse(runs, snakemake.input.runs, threshold),
            title=f"Analysis of the sweep {parameters['experiment']}/{parameters['sweep']}",
            summary="Risk with intervals over a grid of step sizes and hyper-parameters, and the best candidate.",
            rule=snakemake.rule,
            parameters={"sweep": parameters, "escaped_below": threshold},
            seed=parameters["seed"],
            inputs={"runs": snakemake.input.runs},
        )
        io.write_dataset(dataset, snakemake.output.dataset)
