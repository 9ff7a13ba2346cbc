"""Rule find_stationary_laws: stationary laws on few spheres, their stability, their continuation, and their basins."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.errors import DivergenceError
from meanfield.limits import stationary
from meanfield.limits.basins import End, Flow, MixedLaw, boundary, measured_rates
from meanfield.limits.potentials import RadialPotentials
from meanfield.limits.statics import optimal_law
from meanfield.logs import logged_to, logger
from meanfield.problems.activations import make_activation
from meanfield.problems.isotropic import RadialLaw
from meanfield.provenance import stamp

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

KINDS = "0 stable, 1 neutral, 2 unstable"
LAWS = ("gaussian", "shell")
# An end is at rest if in as long again no atom would move by more than this share of the norm.
_REST = 0.01
# Relative spread of the norm below which what is not at zero is one sphere.
_NARROW = 1e-3
# Shells beside each mass at zero from which the flow starts.
_SHELLS = 4


def potentials_at(problem: dict, activation: dict, greatest: float) -> Callable[[float], RadialPotentials]:
    """Return the potentials as a function of the separation of the classes, or of the teacher's spheres."""
    sigma = make_activation(activation)
    if problem["target"] == "teacher":
        return stationary.teacher(
            problem["dimension"], sigma, problem["teacher_norm"], np.array(problem["teacher_masses"])
        )
    return stationary.classes(problem["dimension"], sigma, greatest)


def _padded(rows: list, width: int) -> np.ndarray:
    out = np.full((len(rows), width), np.nan)
    for n, row in enumerate(rows):
        out[n, : len(row)] = row
    return out


def spheres(potentials: RadialPotentials, largest: float) -> dict:
    """Return all laws on one sphere, zero among them, with predicted and measured rates."""
    v, one = io.variable, np.ones(1)
    norm = stationary.one_sphere(potentials, largest)
    found = [stationary.rates(potentials, r, 1.0) for r in norm]
    measured = [
        measured_rates(potentials, r, (rates.splitting, rates.collective)) for r, rates in zip(norm, found, strict=True)
    ]
    zero = stationary.rates(potentials, np.zeros(1), one)
    measured = np.array(measured).reshape(-1, 2)
    return {
        "sphere_norm": v("sphere", norm, "norm of a stationary law on one sphere"),
        "sphere_risk": v("sphere", [potentials.risk(np.array([r]), one) for r in norm], "its risk"),
        "sphere_splitting": v("sphere", [r.splitting for r in found], "rate at which it splits"),
        "sphere_collective": v("sphere", [r.collective for r in found], "rate at which it moves as a whole"),
        "sphere_splitting_measured": v("sphere", measured[:, 0], "rate at which it splits, measured on the flow"),
        "sphere_collective_measured": v("sphere", measured[:, 1], "rate at which it moves, measured on the flow"),
        "sphere_kind": v("sphere", np.array([r.kind for r in found], int), f"stability: {KINDS}"),
        "zero_risk": v("", potentials.risk(np.zeros(1), one), "risk of the law at zero"),
        "zero_inward": v("", zero.inward, "psi'(0+), or psi''(0+) where that vanishes, of the law at zero"),
        "zero_kind": v("", zero.kind, f"stability of the law at zero: {KINDS}"),
    }


def table(potentials: RadialPotentials, masses: list[float], largest: float) -> dict:
    """Return the laws on zero and one sphere at given masses of zero, the outermost sphere first."""
    norms = [stationary.spheres_with_zero(potentials, m, largest)[::-1] for m in masses]
    width = max(map(len, norms), default=0)
    laws = [[(np.array([0.0, r]), np.array([m, 1 - m])) for r in row] for m, row in zip(masses, norms, strict=True)]
    risks = [[potentials.risk(*law) for law in row] for row in laws]
    kinds = [[stationary.rates(potentials, *law).kind if law[1][0] else
              stationary.rates(potentials, law[0][1:], law[1][1:]).kind for law in row] for row in laws]  # fmt: skip
    v, where = io.variable, "zero_mass branch"
    return {
        "family_norm": v(where, _padded(norms, width), "norm of the sphere beside the mass at zero"),
        "family_risk": v(where, _padded(risks, width), "risk of that law"),
        "family_kind": v(where, _padded(kinds, width), f"stability of that law: {KINDS}"),
    }


def families(potentials: RadialPotentials, s: dict) -> dict:
    """Return the points of all curves of laws on zero and a sphere, and on two spheres."""
    curves = [
        *stationary.families_with_zero(potentials, s["largest_norm"], s["points"]),
        *stationary.families_of_two(
            potentials, s["two_spheres"]["least"], s["two_spheres"]["greatest"], s["two_spheres"]["number"]
        ),
    ]
    rows = []
    for n, curve in enumerate(curves):
        for norm, mass in zip(curve.norm, curve.mass, strict=True):
            there = mass > 0
            rates = stationary.rates(potentials, norm[there], mass[there])
            rows.append([n, *norm, mass[0], potentials.risk(norm, mass), rates.splitting, rates.collective, rates.kind])
    columns = np.array(rows, dtype=float).reshape(-1, 8).T
    v = io.variable
    names = (
        ("number", "number of the curve"), ("inner", "norm of the inner sphere; zero in families with zero"),
        ("outer", "norm of the outer sphere"), ("mass", "mass of the inner sphere"), ("risk", "risk"),
        ("splitting", "largest rate at which a sphere splits"),
        ("collective", "largest rate at which spheres move as wholes"), ("kind", f"stability: {KINDS}"),
    )  # fmt: skip
    return {
        f"curve_{name}": v("curve_point", column, text) for (name, text), column in zip(names, columns, strict=True)
    }


def continuation(at: Callable[[float], RadialPotentials], s: dict) -> dict:
    """Return the points of all branches in the parameter, and how far they are from solutions found directly."""
    block, start, largest = s["continuation"], s["problem"]["separation"], s["largest_norm"]
    rows, error, folds, number = [], 0.0, 0, 0
    direct: dict[tuple[float, float], np.ndarray] = {}
    for mass in block["masses"]:
        for norm in stationary.spheres_with_zero(at(start), mass, largest):
            try:
                branch = stationary.follow_sphere(
                    at, norm, start, mass=mass, bounds=(block["least"], block["greatest"]),
                    norm_bounds=(largest * 1e-7, largest), largest_step=block["largest_step"],
                )  # fmt: skip
            except ValueError as problem:  # a degenerate law, with neighbours at the same separation
                logger.warning("continuation from the norm %g: %s", norm, problem)
                continue
            folds += branch.fold.size
            checked = {int(np.abs(branch.parameter - value).argmin()) for value in block["checked"]}
            for n, (value, r) in enumerate(zip(branch.parameter, branch.state[:, 0], strict=True)):
                potentials = at(value)
                law = (np.array([0.0, r]), np.array([mass, 1 - mass])) if mass else (np.array([r]), np.ones(1))
                rates = stationary.rates(potentials, *law)
                rows.append([number, mass, value, r, potentials.risk(*law), rates.splitting, rates.kind])
                if n in checked:
                    key = (mass, float(value))
                    if key not in direct:
                        direct[key] = stationary.spheres_with_zero(potentials, mass, largest)
                    found = direct[key]
                    error = max(error, float(np.abs(np.log(found / r)).min()) if found.size else np.inf)
            number += 1
    columns = np.array(rows, dtype=float).reshape(-1, 7).T
    v = io.variable
    names = (
        ("number", "number of the branch"), ("mass", "mass at zero"), ("parameter", "separation"),
        ("norm", "norm of the sphere"), ("risk", "risk"), ("splitting", "rate at which the sphere splits"),
        ("kind", f"stability: {KINDS}"),
    )  # fmt: skip
    return {
        **{
            f"branch_{name}": v("branch_point", column, text)
            for (name, text), column in zip(names, columns, strict=True)
        },
        "branches": v("", number, "number of branches"),
        "folds": v("", folds, "points of the branches at which the parameter turns"),
        "continuation_error": v("", error, "largest relative distance of a branch from a norm found directly"),
    }


def basins(at: Callable[[float], RadialPotentials], s: dict) -> dict:
    """Return where the flow takes initial laws of every scale, and the scales at which half of the mass is lost."""
    block, problem = s["basins"], s["problem"]
    flow = Flow(block["horizon"], block["atoms"], block["relative_tolerance"], block["inner_norm"])
    scales = np.geomspace(block["scales"]["least"], block["scales"]["greatest"], block["scales"]["number"])
    potentials, accuracy = at(problem["separation"]), block["tolerance"]
    ends = [[flow.end(potentials, RadialLaw(kind, float(scale))) for scale in scales] for kind in LAWS]
    drift = np.array([[_drift(end, block) for end in row] for row in ends])
    # Masses at zero stay there by symmetry, so that starts beside them reach the whole family.
    shells = scales[:: -max(scales.size // _SHELLS, 1)]
    mixed = [flow.end(potentials, MixedLaw(m, float(norm))) for m in s["masses"] if m for norm in shells]
    everything = [*itertools.chain(*ends), *mixed]
    error = np.array([_family_error(potentials, end, s) for end in everything])
    inner = np.array([end.inner_mass for end in everything])
    found = np.isfinite(error)
    # Where a law collapses or not is decided long before what escapes has come to rest.
    shorter = flow._replace(horizon=block.get("border_horizon", block["horizon"]))
    coarse = scales[:: max(scales.size // 12, 1)]
    borders = [
        [
            boundary(shorter, at(value), lambda scale, kind=kind: RadialLaw(kind, scale), coarse, tolerance=accuracy)
            for value in block["borders"]
        ]
        for kind in LAWS
    ]
    unstable = []
    for value in block["borders"]:
        norms = stationary.one_sphere(at(value), s["largest_norm"])
        collective = [stationary.rates(at(value), r, 1.0).collective for r in norms]
        repelling = [r for r, rate in zip(norms, collective, strict=True) if rate > 0]
        unstable.append(repelling[0] if repelling else np.nan)
    v, where = io.variable, "kind scale"
    shell = np.array(borders[LAWS.index("shell")], dtype=float)
    with np.errstate(invalid="ignore"):
        deviation = np.abs(shell / np.array(unstable) - 1)
    return {
        "end_inner_mass": v(where, [[e.inner_mass for e in row] for row in ends], "mass that ends at zero"),
        "end_outer_norm": v(where, [[e.outer_norm for e in row] for row in ends], "mean norm of the rest"),
        "end_outer_spread": v(where, [[e.outer_spread for e in row] for row in ends],
                              "standard deviation of the norm of the rest"),
        "end_risk": v(where, [[e.risk for e in row] for row in ends], "risk at the end"),
        "end_speed": v(where, [[e.speed for e in row] for row in ends], "root mean square speed at the end"),
        "end_drift": v(where, drift, "largest distance that an atom would move in as long again, over the norm"),
        "end_rests": v(where, (drift < _REST).astype(int), "1 for ends at rest, 0 for those that still move"),
        "moving": v("kind", (drift >= _REST).sum(axis=1), "ends that still move"),
        "largest_spread": v("kind", [_largest(np.array([e.outer_spread for e in row])) for row in ends],
                            "largest standard deviation of the norm of the rest"),
        "mixed_starts": v("", len(mixed), "starts with some mass at zero and the rest on a sphere"),
        "sphere_ends": v("", (found & (inner == 0)).sum(), "ends of any start at rest on one sphere"),
        "sphere_error": v("", _largest(error[inner == 0]), "their largest relative distance from a stationary one"),
        "family_ends": v("", (found & (inner > 0)).sum(), "ends of any start at rest on zero and one sphere"),
        "family_error": v("", _largest(error[inner > 0]),
                          "their largest relative distance from the family of stationary laws"),
        "border": v("kind border_separation", np.array(borders).reshape(len(LAWS), -1),
                    "scale of the initial law below which most of the mass ends at zero"),
        "repelling_norm": v("border_separation", unstable, "smallest norm of a sphere that repels as a whole"),
        "border_error": v("", _largest(deviation), "largest relative distance of a shell's border from that norm"),
    }  # fmt: skip


def _drift(end: End, block: dict) -> float:
    # The norm of a law that has collapsed is the one below which norms count as zero.
    return end.fastest * block["horizon"] / (end.outer_norm if end.inner_mass < 1 else block["inner_norm"])


def _family_error(potentials: RadialPotentials, end: End, s: dict) -> float:
    # How far an end at rest on zero and one sphere is from the family that the equations give, relative to its norm;
    # undefined for any other end.
    if not (end.outer_spread < _NARROW * end.outer_norm and _drift(end, s["basins"]) < _REST):
        return np.nan
    found = stationary.spheres_with_zero(potentials, end.inner_mass, s["largest_norm"])
    return float(np.abs(np.log(found / end.outer_norm)).min()) if found.size else np.inf


def _largest(values: np.ndarray) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.max()) if kept.size else np.nan


def study(experiment: str, activation: dict, settings: dict) -> xr.Dataset:
    """Return everything about the stationary laws of one experiment."""
    s, v = settings, io.variable
    at = potentials_at(s["problem"], activation, s["continuation"]["greatest"])
    here = at(s["problem"]["separation"])
    parts = {}
    for name, part in (
        ("spheres", lambda: spheres(here, s["largest_norm"])),
        ("families", lambda: {**table(here, s["masses"], s["largest_norm"]), **families(here, s)}),
        ("continuation", lambda: continuation(at, s)),
        ("basins", lambda: basins(at, s)),
    ):
        logger.info("%s: %s", experiment, name)
        parts.update(part())
    best = optimal_law(here, s["largest_norm"])
    block = s["basins"]["scales"]
    return xr.Dataset(
        {
            **parts,
            "optimal_risk": v("", best.risk, "smallest risk of any law"),
            "optimal_gap": v("", best.gap, "certificate: most by which a law can have a smaller risk"),
            "quadrature_error": v("", here.error, "error of the potentials"),
        },
        coords={
            "zero_mass": v("zero_mass", s["masses"], "mass at zero"),
            "border_separation": v("border_separation", np.array(s["basins"]["borders"], float), "separation"),
            "kind": v("kind", list(LAWS), "kind of the initial law"),
            "scale": v("scale", np.geomspace(block["least"], block["greatest"], block["number"]),
                       "scale of the initial law, kappa"),
        },
    )  # fmt: skip


if __name__ == "__main__":
    with logged_to(snakemake.log[0]):
        parameters = snakemake.params.parameters
        try:
            found = study(**parameters)
        except FloatingPointError as error:
            message = f"{parameters['experiment']}: {error}; likely cause: basins.relative_tolerance is too large"
            raise DivergenceError(message) from error
        dataset = stamp(
            found,
            title=f"Stationary laws, {parameters['experiment']}",
            summary="Stationary rotation-invariant laws on few spheres, stability, continuation, basins of attraction.",
            rule=snakemake.rule,
            parameters=parameters,
        )
        io.write_dataset(dataset, snakemake.output.dataset)
