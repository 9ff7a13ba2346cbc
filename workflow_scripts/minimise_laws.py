"""Rule minimise_laws: the laws of the smallest risk, the best single spheres, and the thresholds between them."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.power_law import fit_power_law
from meanfield.limits.potentials import RadialPotentials, radial_potentials
from meanfield.limits.statics import (
    optimal_law,
    perfect_sphere,
    separation_grid,
    single_sphere,
    single_sphere_range,
)
from meanfield.logs import Progress, logged_to
from meanfield.problems.activations import make_activation
from meanfield.problems.isotropic import IsotropicGaussians
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

INFINITE = "∞"


def potentials_of(activation, dimension: int | None, separation: float) -> RadialPotentials:
    """Return the potentials of a problem; no dimension stands for the limit of infinitely many."""
    problem = IsotropicGaussians(dimension or 2, float(separation), activation)
    return radial_potentials(problem, infinite=dimension is None)


def study(experiment: str, activation: dict, settings: dict) -> xr.Dataset:
    """Return optimal laws, best spheres and thresholds of every dimension and of the limit."""
    s, sigma, largest = settings, make_activation(activation), settings["largest_norm"]
    dimensions, separations = [*s["dimensions"], None], np.array(s["separations"])
    tried = separation_grid(**s["tried"])
    progress = Progress(len(dimensions), f"{experiment} dimensions")
    laws, spheres, errors, ends = [], [], [], []
    for d in dimensions:
        rows = [potentials_of(sigma, d, separation) for separation in separations]
        laws.append([optimal_law(p, largest) for p in rows])
        spheres.append([single_sphere(p, largest) for p in rows])
        errors.append(max(p.error for p in rows))
        ends.append(single_sphere_range(lambda value, d=d: potentials_of(sigma, d, value), tried, largest))
        progress(1)
    progress.close()

    atoms = max(len(law.norm) for row in laws for law in row)
    norm, mass = np.full((2, len(dimensions), len(separations), atoms), np.nan)
    for i, row in enumerate(laws):
        for j, law in enumerate(row):
            norm[i, j, : law.norm.size], mass[i, j, : law.mass.size] = law.norm, law.mass
    lower, upper = np.array(ends).T
    at_end = [
        single_sphere(potentials_of(sigma, d, value), largest) if np.isfinite(value) else None
        for d, value in zip(dimensions, upper, strict=True)
    ]
    perfect, perfect_norm = perfect_sphere(sigma, largest)
    finite = np.array(s["dimensions"], dtype=float)
    gaps = {"upper": perfect - upper[:-1], "lower": lower[:-1]}
    fits = {name: fit_power_law(finite, gap, s["level"]) for name, gap in gaps.items()}
    v, both = io.variable, "dimension separation"
    return xr.Dataset(
        {
            "optimal_risk": v(both, [[law.risk for law in row] for row in laws], "smallest risk of any law"),
            "gap": v(both, [[law.gap for law in row] for row in laws],
                     "certificate: most by which a law can have a smaller risk"),
            "spheres": v(both, [[law.norm.size for law in row] for row in laws], "spheres of the optimal law"),
            "optimal_norm": v(f"{both} atom", norm, "norms of the optimal law"),
            "optimal_mass": v(f"{both} atom", mass, "masses of the optimal law"),
            "sphere_norm": v(both, [[one.norm for one in row] for row in spheres], "norm of the best single sphere"),
            "sphere_risk": v(both, [[one.risk for one in row] for row in spheres], "risk of the best single sphere"),
            "sphere_margin": v(both, [[one.margin for one in row] for row in spheres],
                               "psi elsewhere minus psi on the best single sphere; negative if it is not optimal"),
            "upper_threshold": v("dimension", upper, "largest separation at which a single sphere is optimal"),
            "lower_threshold": v("dimension", lower, "smallest separation at which a single sphere is optimal"),
            "threshold_norm": v("dimension", [np.nan if one is None else one.norm for one in at_end],
                                "norm of the single sphere at the largest separation"),
            "threshold_risk": v("dimension", [np.nan if one is None else one.risk for one in at_end],
                                "risk of the single sphere at the largest separation"),
            "quadrature_error": v("dimension", errors, "largest error of the potentials"),
            "largest_gap": v("", max(law.gap for row in laws for law in row), "largest certificate of all laws"),
            "perfect_separation": v("", perfect, "separation at which one sphere has no risk if d is infinite"),
            "perfect_norm": v("", perfect_norm, "norm of the sphere without risk"),
            **{
                f"{name}_order{end}": v("", getattr(fit, part), f"exponent of d in the {text}{where}")
                for name, text in (("upper", "distance of the largest separation from its limit"),
                                   ("lower", "smallest separation"))
                for fit in (fits[name],)
                for end, part, where in (("", "exponent", ""), ("_low", "low", ", lower end of the interval"),
                                         ("_high", "high", ", upper end of the interval"))
            },
        },
        coords={
            "dimension": v("dimension", [*(str(d) for d in s["dimensions"]), INFINITE], "dimension of the input"),
            "separation": v("separation", separations, "separation of the classes, Delta"),
        },
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        dataset = stamp(
            study(**parameters),
            title=f"Optimal radial laws, {parameters['experiment']}",
            summary="Laws of the norm with the smallest risk, with certificates, and thresholds of single spheres.",
            rule=snakemake.rule,
            parameters=parameters,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
