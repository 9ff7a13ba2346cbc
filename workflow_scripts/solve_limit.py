"""Rule solve_limit: solve one limit equation of an experiment and write the law of the norm over time."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.errors import DivergenceError
from meanfield.limits.solution import solve
from meanfield.logs import logged_to, logger
from meanfield.provenance import stamp

if TYPE_CHECKING:
    # The digest of the job's code must not follow these; see meanfield.workflow.
    from snakemake.iocontainers import snakemake

    from meanfield.limits.anisotropic import ReducedSolution
    from meanfield.limits.characteristics import CharacteristicSolution
    from meanfield.limits.finite_volume import FiniteVolumeSolution


def labelled(solution: "CharacteristicSolution | FiniteVolumeSolution") -> xr.Dataset:
    """Return a solution, of atoms or of cells, with names and units on every axis."""
    v = io.variable
    if hasattr(solution, "atoms"):
        return labelled_reduced(solution)
    coords = {"time": v("record", solution.time, "mean-field time")}
    shared = {
        "risk": v("record", solution.risk, "population risk"),
        "quadrature_error": v("", solution.quadrature_error, "change of the pair potential with twice the nodes"),
    }
    if hasattr(solution, "radius"):  # atoms; the solvers' modules stay unimported, so that each reruns its own jobs
        return xr.Dataset(
            {
                **shared,
                "position": v("record atom", solution.radius, "norm of the atom"),
                "mass": v("atom", solution.mass, "probability of the atom"),
                "mean_norm": v("record", solution.radius @ solution.mass, "mean norm"),
                "evaluations": v("", solution.evaluations, "evaluations of the right-hand side"),
                "table_error": v("", solution.table_error, "error of the tabulated potentials"),
            },
            coords=coords,
        )
    centre = (solution.edge[1:] + solution.edge[:-1]) / 2
    return xr.Dataset(
        {
            **shared,
            "edge": v("edge", solution.edge, "boundary of the cells, norm"),
            "density": v("record cell", solution.mass / np.diff(solution.edge), "probability per unit of the norm"),
            "mass_at_zero": v("record", solution.atom, "probability of the norm zero"),
            "mean_norm": v("record", solution.mass @ centre, "mean norm"),
            "steps": v("", solution.steps, "time steps"),
            "mass_error": v("", solution.mass_error, "largest deviation of the total mass from one"),
        },
        coords={**coords, "centre": v("cell", centre, "centre of the cell, norm")},
    )


def labelled_reduced(solution: "ReducedSolution") -> xr.Dataset:
    """Return a solution in the reduced variables with names and units on every axis."""
    v = io.variable
    names = {
        "output_weight": "output weight",
        "bias": "bias",
        "informative_norm": "norm of the weights at the informative coordinates",
        "other_norm": "norm of the weights at the other coordinates",
    }
    atoms = {
        name: v("record atom", solution.atoms[:, n], f"{text} of the atom")
        for n, (name, text) in enumerate(names.items())
    }
    return xr.Dataset(
        {
            "risk": v("record", solution.risk, "population risk"),
            **atoms,
            "mass": v("atom", solution.mass, "probability of the atom"),
            "dissipation": v("record", solution.dissipation, "minus the derivative of the risk in the clock"),
            "evaluations": v("", solution.evaluations, "evaluations of the right-hand side"),
            "remainder": v("", solution.remainder, "bound on what the series of the potential leaves out"),
        },
        coords={"time": v("record", solution.time, "mean-field time")},
    )


def main(parameters: dict, rule: str, output: str) -> None:
    """Solve the equation and write its dataset."""
    name = f"{parameters['experiment']}/{parameters['limit']}"
    numbers = {key: value for key, value in parameters.items() if key not in ("experiment", "limit")}
    try:
        solution = solve(**numbers)
    except FloatingPointError as error:
        raise DivergenceError(f"{name}: {error}; likely cause: relative_tolerance or courant is too large") from error
    logger.info("%s: solved, risk %.6g at t = %g", name, solution.risk[-1], solution.time[-1])
    dataset = stamp(
        labelled(solution),
        title=f"Distributional dynamics {name}",
        summary="Law of the neurons and population risk of the mean-field limit over time.",
        rule=rule,
        parameters=parameters,
    )
    io.write_dataset(dataset, output)


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        main(snakemake.params.parameters, snakemake.rule, snakemake.output.dataset)
