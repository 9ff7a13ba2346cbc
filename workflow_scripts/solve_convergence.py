"""Rule solve_convergence: solve one limit equation at several resolutions, by both methods."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.limits.solution import solve
from meanfield.logs import logged_to, logger
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def study(
    *, study: dict, courant: float, relative_tolerance: float, problem, activation, initial_law, schedule
) -> xr.Dataset:
    """Return risks at the study's times for each resolution and for the reference, and the observed orders."""
    block = {"problem": problem, "activation": activation, "initial_law": initial_law, "schedule": schedule}
    times = [0.0, *study["times"]]

    def risks(settings: dict) -> np.ndarray:
        logger.info("solving with %s", settings)
        return solve(**block, settings={"limit": "finite", **settings}, times=times).risk[1:]

    def atoms(number: int, tolerance: float) -> np.ndarray:
        return risks({"solver": "characteristics", "atoms": number, "relative_tolerance": tolerance})

    # A tolerance so small that the number of atoms alone is seen.
    by_atoms = np.array([atoms(number, relative_tolerance / 10) for number in study["atoms"]])
    reference = atoms(study["reference_atoms"], relative_tolerance / 10)
    by_cells = np.array(
        [
            risks({"solver": "finite_volume", "cells_per_deviation": cells, "courant": courant})
            for cells in study["cells_per_deviation"]
        ]
    )
    v = io.variable
    return xr.Dataset(
        {
            "risk_atoms": v("atoms time", by_atoms, "population risk by characteristics"),
            "risk_cells": v("cells_per_deviation time", by_cells, "population risk by finite volumes"),
            "risk_reference": v("time", reference, "population risk by characteristics, finest"),
            "error_atoms": v("atoms time", np.abs(by_atoms - reference), "deviation from the finest characteristics"),
            "error_cells": v(
                "cells_per_deviation time",
                np.abs(by_cells - reference),
                "deviation from the finest characteristics",
            ),
            "order_atoms": v("time", _order(study["atoms"], by_atoms - reference), "observed order in the atoms"),
            "order_cells": v(
                "time",
                _order(study["cells_per_deviation"], by_cells - reference),
                "observed order in the cells",
            ),
        },
        coords={
            "time": v("time", study["times"], "mean-field time"),
            "atoms": v("atoms", study["atoms"], "number of atoms"),
            "cells_per_deviation": v(
                "cells_per_deviation",
                study["cells_per_deviation"],
                "cells per standard deviation of the initial norm",
            ),
        },
    )


def _order(resolution: list, error: np.ndarray) -> np.ndarray:
    # Minus the least-squares slope of log error against log resolution.
    x = np.log(np.asarray(resolution, dtype=float))
    return -np.polyfit(x, np.log(np.maximum(np.abs(error), 1e-16)), 1)[0]


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        numbers = {key: value for key, value in parameters.items() if key != "experiment"}
        dataset = stamp(
            study(**numbers),
            title=f"Resolution study of the distributional dynamics, {parameters['experiment']}",
            summary="Population risk of the mean-field limit at several resolutions of two methods.",
            rule=snakemake.rule,
            parameters=parameters,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
