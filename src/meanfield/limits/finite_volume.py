r"""Distributional dynamics in Eulerian form: a conservative finite-volume scheme for the law of the norm.

The same equation as in `meanfield.limits.characteristics`, :math:`\partial_t \rho + \partial_r(b \rho) = 0` with the
drift :math:`b = -2 \psi'(r; \rho)` in the clock :math:`\int\xi`, on cells of equal width. Fluxes are upwind with
limited linear reconstruction (van Leer's limiter), time stepping is the strong-stability-preserving Runge-Kutta
scheme of order two (Heun), and the Courant number stays below one half: cell masses stay non-negative, mass is
conserved to rounding, and the order is two where the density is smooth. Mass that reaches r = 0 under an inward
drift collects in an atom there (the density has no room for it), and leaves it when the drift turns. The grid grows
to the right when mass comes near its end.

Arrays in, arrays out; no files.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.limits.potentials import RadialPotentials
from meanfield.limits.schedule import Schedule
from meanfield.problems.isotropic import RadialLaw

Floats = NDArray[np.float64]

# The grid grows when the outer tenth of its cells holds more than this.
_OUTER_MASS = 1e-13
# Less mass than this outside the atom at zero counts as none.
_CRUMBS = 1e-15


class FiniteVolumeSolution(NamedTuple):
    """The law of the norm over time, as masses of cells and an atom at zero."""

    time: Floats  # shape (record,), mean-field time [1]
    edge: Floats  # shape (cell + 1,), cell boundaries, norm [1]
    mass: Floats  # shape (record, cell), mass per cell [1]
    atom: Floats  # shape (record,), mass at r = 0 [1]
    risk: Floats  # shape (record,), population risk [1]
    steps: int  # time steps taken
    mass_error: float  # largest deviation of the total mass from one
    quadrature_error: float  # of the pair potential, see RadialPotentials.error


class _Grid:
    # Cell averages and face derivatives of the features, and the fluxes they make.

    def __init__(self, potentials: RadialPotentials, width: float, cells: int):
        self.potentials = potentials
        self.width = width
        self.edge = width * np.arange(cells + 1)
        centre = (self.edge[1:] + self.edge[:-1]) / 2
        # Three-point Gauss average over each cell.
        offset = width / 2 * np.sqrt(0.6)
        self.features = (
            5 * potentials.features(centre - offset)
            + 8 * potentials.features(centre)
            + 5 * potentials.features(centre + offset)
        ) / 18
        self.at_zero = potentials.features(np.zeros(1))[:, 0]
        self.face_slopes = potentials.feature_derivatives(self.edge)

    def predictions(self, mass: Floats, atom: float) -> Floats:
        return self.features @ mass + self.at_zero * atom

    def risk(self, mass: Floats, atom: float) -> float:
        p = self.potentials
        return float(p.weights @ (p.targets - self.predictions(mass, atom)) ** 2)

    def drift(self, mass: Floats, atom: float) -> Floats:
        p = self.potentials
        error = p.weights * (p.targets - self.predictions(mass, atom))
        return 2 * (error @ self.face_slopes)

    def fluxes(self, mass: Floats, drift: Floats) -> Floats:
        # Mass per unit of the clock through each face, positive outwards; nothing passes the last face.
        difference = np.diff(mass, prepend=mass[:1], append=mass[-1:])
        left, right = difference[:-1], difference[1:]
        product = left * right
        slope = np.where(product > 0, 2 * product / np.where(product > 0, left + right, 1.0), 0.0)
        flux = np.zeros(mass.size + 1)
        inner = drift[1:-1]
        upwind = np.where(inner > 0, mass[:-1] + slope[:-1] / 2, mass[1:] - slope[1:] / 2)
        flux[1:-1] = inner * upwind / self.width
        if drift[0] < 0:
            flux[0] = drift[0] * max(mass[0] - slope[0] / 2, 0.0) / self.width
        return flux


def solve_finite_volume(
    potentials: RadialPotentials,
    law: RadialLaw,
    time: Floats,
    *,
    cells_per_deviation: float,
    courant: float,
    schedule: Schedule,
) -> FiniteVolumeSolution:
    """Solve the distributional dynamics from a rotation-invariant law on a uniform grid.

    Parameters
    ----------
    potentials : RadialPotentials
        Finite or infinite dimension.
    law : RadialLaw
        Initial law of the weights.
    time : array, shape (record,), increasing, from 0
        Mean-field times of the records [1].
    cells_per_deviation : float
        Cells per standard deviation of the initial norm; for a shell, per fiftieth of its radius.
    courant : float
        Largest Courant number, in (0, 1/2].
    schedule : Schedule
        The step-size schedule xi.

    Returns
    -------
    FiniteVolumeSolution
        Records at exactly the given times, on the final grid.

    Raises
    ------
    ValueError
        If the Courant number is outside (0, 1/2], where the scheme would not keep masses non-negative.
    FloatingPointError
        If the solution stops being finite.

    """
    if not 0 < courant <= 0.5:
        msg = f"the Courant number must lie in (0, 0.5], not {courant}"
        raise ValueError(msg)
    dimension = potentials.problem.dimension
    deviation = law.deviation(dimension) or law.scale / 50
    width = deviation / cells_per_deviation
    reach = float(law.quantile(1 - 1e-15, dimension))
    cells = int(np.ceil(1.3 * reach / width)) + 10
    grid = _Grid(potentials, width, cells)
    mass = np.diff(law.distribution(grid.edge, dimension))
    mass /= mass.sum()
    atom = 0.0
    clock = schedule.clock(time)
    now = float(clock[0])
    records, atoms, risks = [], np.empty(len(clock)), np.empty(len(clock))
    steps, mass_error = 0, 0.0
    for n, end in enumerate(clock):
        while now < end:
            if mass[-max(3, mass.size // 10) :].sum() > _OUTER_MASS:
                mass = np.concatenate([mass, np.zeros(mass.size // 4 + 10)])
                grid = _Grid(potentials, width, mass.size)
            mass, atom, drift = _settle(grid, mass, atom)
            h = min(courant * width / max(_fastest(drift, mass), 1e-300), end - now)
            one, atom_one = _euler(grid, mass, atom, drift, h)
            drift_one = grid.drift(one, atom_one)
            fastest = _fastest(drift_one, one)
            if not np.isfinite(fastest):
                msg = f"the finite-volume solution stopped being finite at clock {now:.6g}"
                raise FloatingPointError(msg)
            if h * fastest > 0.5 * width:  # the drift grew within the step: positivity needs a shorter one
                h = 0.9 * 0.5 * width / fastest
                one, atom_one = _euler(grid, mass, atom, drift, h)
                drift_one = grid.drift(one, atom_one)
            two, atom_two = _euler(grid, one, atom_one, drift_one, h)
            # Rounding may leave -1e-88 where a cell empties; the scheme itself keeps masses non-negative.
            mass, atom = np.maximum(mass + two, 0.0) / 2, (atom + atom_two) / 2
            now = end if h == end - now else now + h
            steps += 1
            mass_error = max(mass_error, abs(mass.sum() + atom - 1))
        records.append(mass)
        atoms[n] = atom
        risks[n] = grid.risk(mass, atom)
    padded = np.zeros((len(records), mass.size))
    for n, record in enumerate(records):
        padded[n, : record.size] = record
    return FiniteVolumeSolution(
        np.asarray(time, dtype=float), grid.edge, padded, atoms, risks, steps, mass_error, potentials.error
    )


def _settle(grid: _Grid, mass: Floats, atom: float) -> tuple[Floats, float, Floats]:
    # The atom at zero dissolves into the first cell once the drift there points outwards; the last crumbs of mass
    # join the atom when everything else has. Returns the state and its drift.
    drift = grid.drift(mass, atom)
    if atom > 0 and drift[0] > 0:
        mass = mass.copy()
        mass[0] += atom
        return mass, 0.0, grid.drift(mass, 0.0)
    if 0 < mass.sum() < _CRUMBS and drift[0] < 0:
        return np.zeros_like(mass), atom + mass.sum(), drift
    return mass, atom, drift


def _fastest(drift: Floats, mass: Floats) -> float:
    # The largest speed at a face of a cell that holds mass.
    speed = np.abs(drift)
    return float((np.maximum(speed[:-1], speed[1:]) * (mass > 0)).max())


def _euler(grid: _Grid, mass: Floats, atom: float, drift: Floats, h: float) -> tuple[Floats, float]:
    flux = grid.fluxes(mass, drift)
    return mass - h * np.diff(flux), atom - h * flux[0]
