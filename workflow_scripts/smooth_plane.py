"""Rule smooth_plane: a potential under heat and Hamilton-Jacobi smoothing, and the fate of each minimum."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.surfaces import MINIMUM, find_critical_points, grid_of, grid_points, require_minima
from meanfield.errors import DataError
from meanfield.logs import logged_to, logger
from meanfield.problems import smoothing
from meanfield.problems.plane import potential_from
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

METHODS = ("heat", "viscous", "inviscid")


def smooth(*, experiment: str, problem: dict, window: list, study: dict) -> xr.Dataset:
    """Return smoothed surfaces, branches of minima and checks of the closed form."""
    potential, window = potential_from(problem), tuple(window)
    points = find_critical_points(potential, window)
    require_minima(points, experiment, window)
    minima = points.positions[points.kinds == MINIMUM]
    curvatures = points.curvatures[points.kinds == MINIMUM]
    beta = 1 / study["temperature"]
    times = np.geomspace(study["times"]["least"], study["times"]["greatest"], study["times"]["number"])
    # Heat stops where the average becomes infinite.
    heat_times = times[times / beta < potential.smoothing_bound]
    try:
        grid = smoothing.EntropyGrid(potential, window, beta, (times[0], times[-1]), curvatures.max(initial=0.0))
    except ValueError as error:
        raise DataError(f"experiments.{experiment}.smoothing.times.least: {times[0]:g} found; {error}") from error
    branches = []
    for n, minimum in enumerate(minima):
        logger.info("following minimum %d", n + 1)
        heat = smoothing.follow_minimum(
            lambda x, t: smoothing.heat_jet(potential, x, t / beta), minimum, heat_times.tolist()
        )
        viscous = smoothing.follow_minimum(grid.jet, minimum, times.tolist())
        branches.append(
            [_padded(heat, times.size), viscous, smoothing.hopf_lax_branch(potential, minimum, times, window)]
        )
    xs, ys = grid_of(window, study["nodes"])
    shape = (len(minima), len(METHODS))
    v, dims = io.variable, "minimum smoothing"

    def stacked(part: str, *axes: int) -> np.ndarray:
        return np.array([[getattr(branch, part) for branch in row] for row in branches]).reshape(*shape, *axes)

    ends = stacked("end")
    positions, values = stacked("positions", times.size, 2), stacked("values", times.size)
    return xr.Dataset(
        {
            "potential": v("y x", potential.value(grid_points(xs, ys)), "potential"),
            "surface": v("smoothing shown y x", _surfaces(potential, xs, ys, study), "smoothed potential"),
            "position": v(f"{dims} strength coordinate", positions, "position of the minimum"),
            "value": v(f"{dims} strength", values, "smoothed potential at the minimum"),
            "curvature": v(f"{dims} strength direction", stacked("curvatures", times.size, 2), "Hessian's eigenvalue"),
            "end_time": v(dims, ends, "time at which it ceases to be a minimum; infinite: not up to the last"),
            "end_variance": v(dims, ends / beta, "the same as variance of the Gaussian"),
            "order_of_end": v(dims, _order(ends), "which minimum vanishes as which, from 1; 0: it does not"),
            "displacement": v(
                f"{dims} strength",
                np.linalg.norm(positions - minima[:, None, None, :], axis=-1),
                "distance from the minimum of the potential",
            ),
            "lowest": v("smoothing strength", _lowest(values), "lowest minimum that is left, from 0; -1: none"),
            "minimum_value": v("minimum", points.values[points.kinds == MINIMUM], "potential at the minimum"),
            "minimum_position": v("minimum coordinate", minima, "position of the minimum"),
            "clip": v("", study["clip"], "largest value of a drawn contour"),
            **_checks(potential, window, xs, ys, study),
        },
        coords={
            "x": v("x", xs, "first coordinate"),
            "y": v("y", ys, "second coordinate"),
            "smoothing": v("smoothing", list(METHODS), "smoothing: heat, viscous and inviscid Hamilton-Jacobi"),
            "strength": v("strength", times, "time t of the smoothing"),
            "variance": v("strength", times / beta, "variance of the Gaussian, t times the temperature"),
            "shown": v("shown", study["shown"], "time t of the smoothing"),
            "checked": v("checked", study["checked_variances"], "variance of the Gaussian"),
        },
    )  # fmt: skip


def _padded(branch: smoothing.Branch, count: int) -> smoothing.Branch:
    missing = count - branch.values.size
    return smoothing.Branch(
        np.pad(branch.positions, ((0, missing), (0, 0)), constant_values=np.nan),
        np.pad(branch.values, (0, missing), constant_values=np.nan),
        np.pad(branch.curvatures, ((0, missing), (0, 0)), constant_values=np.nan),
        branch.end,
    )


def _surfaces(potential, xs, ys, study) -> list:
    beta, margin = 1 / study["temperature"], study["margin"]
    nodes = grid_points(xs, ys)
    return [
        [potential.heat_smoothed(t / beta).value(nodes) for t in study["shown"]],
        [smoothing.local_entropy_field(potential, xs, ys, t, beta, margin=margin) for t in study["shown"]],
        [smoothing.hopf_lax_field(potential, xs, ys, t, margin=margin) for t in study["shown"]],
    ]


def _order(ends: np.ndarray) -> np.ndarray:
    # Ranks of the finite ends among the minima, method by method.
    rank = ends.argsort(axis=0).argsort(axis=0) + 1
    return np.where(np.isfinite(ends), rank, 0)


def _lowest(values: np.ndarray) -> np.ndarray:
    filled = np.where(np.isnan(values), np.inf, values)
    return np.where(np.isfinite(filled).any(axis=0), filled.argmin(axis=0), -1)


def _checks(potential, window, xs, ys, study) -> dict:
    variances = study["checked_variances"]
    fourier = [smoothing.fourier_check(potential, window, s) for s in variances]
    points = grid_points(xs, ys)[:: max(1, ys.size // 5), :: max(1, xs.size // 5)].reshape(-1, 2)
    quadrature = [smoothing.quadrature_check(potential, points, s) for s in variances]
    v = io.variable
    return {
        "fourier_deviation": v(
            "checked", [c.deviation for c in fourier], "largest deviation from one by FFT; nan where that tells nothing"
        ),
        "fourier_bound": v("checked", [c.bound for c in fourier], "bound of the convolution's own error"),
        "quadrature_deviation": v(
            "checked", [c.deviation for c in quadrature], "largest deviation from the trapezoidal rule, of 1 + |value|"
        ),
        "quadrature_change": v("checked", [c.change for c in quadrature], "its change at half the spacing"),
        "checked_points": v("", len(points), "points at which the trapezoidal rule is compared"),
    }  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        dataset = stamp(
            smooth(**parameters),
            title=f"Heat and Hamilton-Jacobi smoothing of the potential of {parameters['experiment']}",
            summary="Smoothed surfaces at matched strengths, and position, depth and curvature of each minimum.",
            rule=snakemake.rule,
            parameters=parameters,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
