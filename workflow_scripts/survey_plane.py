"""Rule survey_plane: the potential on a grid, its critical points, and the basins of its minima."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.surfaces import MINIMUM, basins, find_critical_points, grid_of, grid_points, require_minima
from meanfield.logs import logged_to, logger
from meanfield.problems.plane import potential_from
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

KINDS = ("minimum", "saddle", "maximum")


def survey(
    *, experiment: str, problem: dict, window: list, domain: list, settings: dict, threads: int = 1
) -> xr.Dataset:
    """Return the surface of a potential, its critical points and basins."""
    potential = potential_from(problem)
    window, domain = tuple(window), tuple(domain)
    points = find_critical_points(potential, window)
    require_minima(points, experiment, window)
    minima = points.positions[points.kinds == MINIMUM]
    logger.info("%d critical points, of which %d are minima", len(points.kinds), len(minima))
    xs, ys = grid_of(window, settings["nodes"])
    flow = {"step_size": settings["step_size"], "longest_step": settings["longest_step"]}
    coarse = basins(potential, minima, xs, ys, domain=domain, threads=threads, **flow)
    # The flow once more with all steps halved: what changes is what the time steps decide.
    fine = basins(
        potential, minima, xs, ys, domain=domain, threads=threads, **{name: step / 2 for name, step in flow.items()}
    )
    height = potential.value(grid_points(xs, ys))
    v = io.variable
    return xr.Dataset(
        {
            "potential": v("y x", height, "potential"),
            "basin": v("y x", fine.destination, "minimum that the gradient flow reaches, -1 for none"),
            "basin_share": v("minimum", fine.shares, "share of the window in the basin"),
            "basin_share_change": v("minimum", np.abs(fine.shares - coarse.shares), "its change by halved time steps"),
            "minimum_value": v("minimum", points.values[points.kinds == MINIMUM], "potential at the minimum"),
            "minimum_position": v("minimum coordinate", minima, "position of the minimum"),
            "critical_position": v("point coordinate", points.positions, "position of the critical point"),
            "critical_value": v("point", points.values, "potential at the critical point"),
            "critical_curvature": v("point direction", points.curvatures, "eigenvalue of the Hessian"),
            "critical_kind": v("point", points.kinds, f"kind of critical point; 0, 1, 2: {', '.join(KINDS)}"),
            "critical_step": v("point", points.steps, "length of Newton's last step"),
            "clip": v("", settings["clip"], "largest value of a drawn contour"),
        },
        coords={
            "x": v("x", xs, "first coordinate"),
            "y": v("y", ys, "second coordinate"),
            "coordinate": v("coordinate", ["x", "y"], "coordinate"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        dataset = stamp(
            survey(**parameters, threads=snakemake.threads),
            title=f"Potential, critical points and basins of {parameters['experiment']}",
            summary="The potential on a grid, its critical points by Newton's method, its basins by gradient flow.",
            rule=snakemake.rule,
            parameters=parameters,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
