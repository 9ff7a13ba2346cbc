"""Rule find_ends: risks of the limit and of SGD after a long time, from several initial laws."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.intervals import mean_interval
from meanfield.errors import DivergenceError
from meanfield.limits.characteristics import solve_characteristics
from meanfield.limits.potentials import radial_potentials
from meanfield.limits.schedule import Schedule
from meanfield.limits.statics import optimal_law
from meanfield.logs import Progress, logged_to
from meanfield.problems.activations import make_activation
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw
from meanfield.provenance import stamp
from meanfield.simulation import simulate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def study(experiment: str, seed: int, activation: dict, settings: dict) -> xr.Dataset:
    """Return the risks at the ends of all flows and runs, beside the smallest possible ones."""
    s, sigma = settings, make_activation(activation)
    laws, separations = sorted(s["initial_laws"]), s["separations"]
    times, run = np.array([0.0, *s["times"]]), s["sgd"]
    progress = Progress(len(separations), f"{experiment} separations")
    best, flows, ends = [], [], []
    for separation in separations:
        potentials = radial_potentials(IsotropicGaussians(s["dimension"], separation, sigma))
        best.append(optimal_law(potentials, s["largest_norm"]))
        flows.append([])
        ends.append([])
        for name in laws:
            law = s["initial_laws"][name]
            try:
                solution = solve_characteristics(
                    potentials, RadialLaw(**law), times, atoms=s["atoms"], schedule=Schedule(),
                    relative_tolerance=s["relative_tolerance"],
                )  # fmt: skip
            except FloatingPointError as error:
                raise DivergenceError(
                    f"{experiment}: {error}; likely cause: relative_tolerance is too large"
                ) from error
            flows[-1].append(solution.risk[1:])
            if name not in run["initial_laws"]:
                ends[-1].append(np.full(run["replicates"], np.nan))
                continue
            runs = simulate(
                experiment=experiment, simulation=f"ends, separation {separation:g}", seed=seed,
                problem={"kind": "isotropic_gaussians", "dimension": s["dimension"], "separation": separation},
                activation=activation, neurons=run["neurons"], initial_law=law,
                schedule={"coefficient": 1.0, "exponent": 0.0},
                settings={"method": "sgd", "hyperparameters": {}, "step_size": run["step_size"],
                          "precision": run["precision"], "snapshots": {}},
                iterations=[run["iterations"]], replicates=range(run["replicates"]),
            )  # fmt: skip
            ends[-1].append(runs.risk[:, 0])
        progress(1)
    progress.close()
    mean, low, high = mean_interval(np.moveaxis(np.array(ends), 2, 0), s["level"])
    v, where = io.variable, "separation law"
    return xr.Dataset(
        {
            "optimal_risk": v("separation", [one.risk for one in best], "smallest risk of any law"),
            "gap": v("separation", [one.gap for one in best],
                     "certificate: most by which a law can have a smaller risk"),
            "limit_risk": v(f"{where} end", flows, "risk of the limit at several times"),
            "sgd_risk": v(where, mean, "risk of SGD at its end, mean over replicates"),
            "sgd_risk_low": v(where, low, "lower end of the interval"),
            "sgd_risk_high": v(where, high, "upper end of the interval"),
            "dimension": v("", s["dimension"], "dimension of the input"),
            "sgd_time": v("", run["step_size"] * run["iterations"], "mean-field time at the end of SGD"),
            "quadrature_error": v("", potentials.error, "error of the potentials"),
        },
        coords={
            "separation": v("separation", separations, "separation of the classes, Delta"),
            "law": v("law", laws, "initial law"),
            "end": v("end", s["times"], "mean-field time"),
        },
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        dataset = stamp(
            study(**parameters),
            title=f"Where the dynamics end, {parameters['experiment']}",
            summary="Risk of SGD and of its limit after long times, beside the smallest risk of any law.",
            rule=snakemake.rule,
            parameters=parameters,
            seed=parameters["seed"],
        )
        io.write_dataset(dataset, snakemake.output.dataset)
