"""Rule analyse_limits: compare the limit equations of one experiment with each other."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy import optimize

from meanfield import io
from meanfield.analysis.distances import wasserstein
from meanfield.analysis.solutions import histogram_at, law_at, records_at
from meanfield.limits.potentials import radial_potentials
from meanfield.logs import logged_to
from meanfield.problems.factory import make_problem
from meanfield.problems.isotropic import IsotropicGaussians
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def shells(problem: IsotropicGaussians) -> tuple[np.ndarray, np.ndarray]:
    """Return the radii at which a single shell is stationary, and whether each attracts a shell that is near."""
    potentials = radial_potentials(problem)
    one = np.ones(1)

    def drift(radius: float) -> float:
        return float(potentials.drift(np.array([radius]), np.array([radius]), one)[0])

    grid = np.linspace(1e-3, 8.0, 1600)
    values = np.array([drift(radius) for radius in grid])
    # A drift of rounding size, where neurons are dead, has no zeros worth the name.
    turns = np.flatnonzero((values[:-1] * values[1:] < 0) & (np.abs(values[:-1]) + np.abs(values[1:]) > 1e-9))
    radii = np.array([optimize.brentq(drift, grid[n], grid[n + 1], xtol=1e-12) for n in turns])
    return radii, np.array([values[n] > 0 for n in turns])


def analyse(limits: dict[str, xr.Dataset], paths: dict[str, str], bins: int, problem: IsotropicGaussians) -> xr.Dataset:
    """Return risks, mean norms, densities and mutual distances; the first limit is what the others are compared to."""
    names = list(limits)
    times = sorted(set.intersection(*(set(limits[name]["time"].values.tolist()) for name in names)))
    time = np.array(times)
    index = {name: records_at(limits[name], time, paths[name]) for name in names}
    risk = np.array([limits[name]["risk"].values[index[name]] for name in names])
    mean_norm = np.array([limits[name]["mean_norm"].values[index[name]] for name in names])
    laws = {name: [law_at(limits[name], k) for k in index[name]] for name in names}
    w1 = np.array([[wasserstein(a, b, 1) for a, b in zip(laws[name], laws[names[0]], strict=True)] for name in names])
    top = max(law.position[law.mass > 1e-9].max() for name in names for law in laws[name])
    edges = np.linspace(0.0, 1.05 * top, 4 * bins + 1)
    density = np.array([[histogram_at(limits[name], k, edges) for k in index[name]] for name in names])
    radii, attracts = shells(problem)
    v = io.variable
    return xr.Dataset(
        {
            "shell_radius": v("shell", radii.reshape(-1), "radius at which a single shell is stationary"),
            "shell_attracts": v("shell", attracts.reshape(-1).astype(np.int8), "1 if it attracts a shell near it"),
            "risk": v("limit record", risk, "population risk"),
            "mean_norm": v("limit record", mean_norm, "mean norm"),
            "density": v("limit record bin", density, "density of the law of the norm, averaged over each bin"),
            "wasserstein_1": v("limit record", w1, f"Wasserstein-1 distance to {names[0]}"),
            "risk_difference_max": v(
                "limit", np.abs(risk - risk[0]).max(axis=1), f"largest risk difference to {names[0]}"
            ),
            "wasserstein_1_max": v("limit", w1.max(axis=1), f"largest Wasserstein-1 distance to {names[0]}"),
            "risk_final": v("limit", risk[:, -1], "population risk at the last common time"),
            "mean_norm_final": v("limit", mean_norm[:, -1], "mean norm at the last common time"),
            "time_final": v("", time[-1], "last common time"),
            "quadrature_error": v(
                "limit", [float(limits[name]["quadrature_error"]) for name in names], "of the pair potential"
            ),
            "edge": v("edge", edges, "boundary of the bins, norm"),
        },
        coords={
            "limit": v("limit", np.array(names, dtype=str), "limit equation"),
            "time": v("record", time, "mean-field time"),
        },
    )


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        paths = dict(zip(snakemake.params.limits, snakemake.input.limits, strict=True))
        limits = {name: io.read_dataset(path) for name, path in paths.items()}
        for name, path in paths.items():
            io.require(limits[name], path, "risk", "mean_norm", "time")
        settings = snakemake.params.settings
        dataset = stamp(
            analyse(limits, paths, settings["histogram_bins"], make_problem(**snakemake.params.problem)),
            title=f"Limit equations of {snakemake.wildcards.experiment}",
            summary="Risk, mean norm, density and mutual distances of the solutions of the mean-field limit.",
            rule=snakemake.rule,
            parameters={
                "limits": {name: io.parameters(limit) for name, limit in limits.items()},
                "analyse": settings,
            },
            inputs=paths,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
