"""Rule solve_noisy: the distributional dynamics with diffusion from several laws, and its stationary law on its own."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.distances import kolmogorov, weighted
from meanfield.errors import DataError
from meanfield.fluctuation_runs import make_problem
from meanfield.limits.fluctuations import width_bias
from meanfield.limits.noisy import reach_of, solve_noisy, stationary_law
from meanfield.limits.potentials import radial_potentials
from meanfield.logs import logged_to, logger
from meanfield.problems.factory import make_law
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def solve(
    *, problem: dict, activation: dict, times: list, inverse_temperatures: list, regularisation: float,
    initial_laws: dict, cells: int, relative_step: float, largest_step: float,
) -> xr.Dataset:  # fmt: skip
    """Return laws, risks and free energies over time, the stationary laws, and what half the resolution changes."""
    potentials = radial_potentials(make_problem(problem, activation))
    laws = {name: make_law("isotropic_gaussians", law) for name, law in initial_laws.items()}
    time = np.array(times)
    stationary = [
        stationary_law(potentials, inverse_temperature=beta, regularisation=regularisation)
        for beta in inverse_temperatures
    ]
    reach = reach_of(potentials, list(laws.values()), stationary)
    shape = (len(inverse_temperatures), len(laws))
    names = ("mass", "risk", "free_energy", "largest_rise", "smallest_mass", "mass_error", "steps")
    found = {name: [] for name in (*names, "extrapolated", "step_error", "cell_error", "width_bias")}
    for beta in inverse_temperatures:
        for name, law in laws.items():
            logger.info("inverse temperature %g from %s", beta, name)
            settings = {"inverse_temperature": beta, "regularisation": regularisation, "reach": reach}
            steps = {"relative_step": relative_step, "largest_step": largest_step}
            half = {key: value / 2 for key, value in steps.items()}
            fine = solve_noisy(potentials, law, time, **settings, **half, cells=cells)
            rough = solve_noisy(potentials, law, time, **settings, **steps, cells=cells)
            wide = solve_noisy(potentials, law, time, **settings, **steps, cells=max(4, cells // 2))
            for key in names:
                found[key].append(getattr(fine, key))
            # Of order one in the step, two in the width of a cell.
            found["extrapolated"].append(2 * fine.risk - rough.risk)
            found["step_error"].append(np.abs(fine.risk - rough.risk).max())
            found["cell_error"].append(np.abs(wide.risk - rough.risk).max() / 3)
            centre = (fine.edge[1:] + fine.edge[:-1]) / 2
            radius = np.broadcast_to(centre, fine.mass.shape)
            found["width_bias"].append(width_bias(potentials, radius, fine.mass))
    table = {name: np.reshape(values, (*shape, *np.shape(values[0]))) for name, values in found.items()}
    law_at_rest = np.array([_cell_masses(one, fine.edge) for one in stationary])
    dims = "temperature start"
    v = io.variable
    gap = np.array(
        [
            [[kolmogorov(weighted(centre, mass), weighted(centre, rest)) for mass in masses] for masses in per_start]
            for per_start, rest in zip(table["mass"], law_at_rest, strict=True)
        ]
    )
    return xr.Dataset(
        {
            "mass": v(f"{dims} record cell", table["mass"], "mass of each cell"),
            "risk": v(f"{dims} record", table["extrapolated"], "population risk, extrapolated to steps of zero"),
            "free_energy": v(f"{dims} record", table["free_energy"], "free energy"),
            "width_bias": v(f"{dims} record", table["width_bias"], "N times the bias of the risk of N neurons"),
            "largest_rise": v(dims, table["largest_rise"], "largest rise of the free energy in one step"),
            "smallest_mass": v(dims, table["smallest_mass"], "smallest mass of a cell"),
            "mass_error": v(dims, table["mass_error"], "largest error of the total mass"),
            "steps": v(dims, table["steps"], "time steps"),
            "step_error": v(dims, table["step_error"], "largest change of the risk by half the steps"),
            "cell_error": v(dims, table["cell_error"], "estimated error of the risk by the width of the cells"),
            "distance_to_rest": v(f"{dims} record", gap, "Kolmogorov distance to the stationary law"),
            "stationary_mass": v("temperature cell", law_at_rest, "mass of each cell in the stationary law"),
            "stationary_risk": v("temperature", [s.risk for s in stationary], "risk of the stationary law"),
            "stationary_energy": v("temperature", [s.free_energy for s in stationary], "its free energy"),
            "stationary_residual": v("temperature", [s.residual for s in stationary], "error of its equation"),
            "edge": v("face", fine.edge, "boundaries of the cells, norm"),
        },
        coords={
            "inverse_temperature": v("temperature", np.array(inverse_temperatures), "inverse temperature beta"),
            "start": v("start", np.array(list(laws), dtype=str), "initial law"),
            "time": v("record", time, "mean-field time"),
        },
    )


def _cell_masses(law, edge: np.ndarray) -> np.ndarray:
    # Distribution function at the boundaries, by interpolation between the many nodes of the quadrature.
    levels = np.concatenate([[0.0], np.cumsum(law.mass) - law.mass / 2, [1.0]])
    places = np.concatenate([[0.0], law.radius, [max(edge[-1], law.radius[-1] * (1 + 1e-9))]])
    mass = np.diff(np.interp(edge, places, levels))
    return mass / mass.sum()


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        experiment = snakemake.wildcards.experiment
        try:
            dataset = solve(**parameters)
        except FloatingPointError as error:
            raise DataError(f"{experiment}: {error}") from error
        dataset = stamp(
            dataset,
            title=f"Distributional dynamics with diffusion, {experiment}",
            summary="Laws of the norm over time at several temperatures, and the stationary laws.",
            rule=snakemake.rule,
            parameters=parameters,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
