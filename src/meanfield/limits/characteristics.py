r"""Distributional dynamics in Lagrangian form: quantile atoms of the radial law moved along characteristics.

The reduced equation :math:`\partial_t \rho = 2\xi(t)\, \partial_r(\rho\, \partial_r \psi(r; \rho))` (Mei, Montanari &
Nguyen 2018, the radial form of their eq. 7) transports each quantile by
:math:`\dot r_j = -2 \xi(t)\, \psi'(r_j; \rho)`. In the clock :math:`\int \xi` the system is autonomous. An embedded
Dormand-Prince 5(4) pair with step control integrates it; atoms that reach r = 0 with an inward drift stay there,
which the pair handles by projection: the error of an atom is measured after both solutions are clipped at zero, so
that absorption costs no small steps.

Arrays in, arrays out; no files.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.limits.potentials import RadialPotentials, TabulatedDrift
from meanfield.limits.schedule import Schedule
from meanfield.problems.isotropic import RadialLaw

Floats = NDArray[np.float64]

# Dormand & Prince (1980), the 5(4) pair with first-same-as-last.
_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


class CharacteristicSolution(NamedTuple):
    """The law of the norm over time, as atoms of equal or given mass."""

    time: Floats  # shape (record,), mean-field time [1]
    radius: Floats  # shape (record, atom), norm of each atom [1]
    mass: Floats  # shape (atom,), sums to one [1]
    risk: Floats  # shape (record,), population risk [1]
    evaluations: int  # evaluations of the right-hand side
    quadrature_error: float  # of the pair potential, see RadialPotentials.error
    table_error: float  # of the tabulated features


def quantile_atoms(law: RadialLaw, dimension: int | None, atoms: int) -> tuple[Floats, Floats]:
    """Return equal atoms at the midpoints of `atoms` quantile classes: norms and masses, both shape (atom,)."""
    probability = (np.arange(atoms) + 0.5) / atoms
    return law.quantile(probability, dimension), np.full(atoms, 1 / atoms)


def solve_characteristics(
    potentials: RadialPotentials,
    law: RadialLaw,
    time: Floats,
    *,
    atoms: int,
    schedule: Schedule,
    relative_tolerance: float,
) -> CharacteristicSolution:
    """Solve the distributional dynamics from a rotation-invariant law.

    Parameters
    ----------
    potentials : RadialPotentials
        Finite or infinite dimension.
    law : RadialLaw
        Initial law of the weights. Its norm has the law of the finite dimension in both cases, so that the two
        differ by the potentials alone.
    time : array, shape (record,), increasing, from 0
        Mean-field times of the records [1].
    atoms : int
        Number of quantile atoms J.
    schedule : Schedule
        The step-size schedule xi.
    relative_tolerance : float
        Local error allowed per step, relative to the root mean square of the norms.

    Returns
    -------
    CharacteristicSolution
        Records at exactly the given times.

    Raises
    ------
    FloatingPointError
        If the solution stops being finite, or its error cannot be controlled by smaller steps.

    """
    radius, mass = quantile_atoms(law, potentials.problem.dimension, atoms)
    drift = TabulatedDrift(potentials, 2.0 * max(float(radius.max()), 1.0))
    clock = schedule.clock(time)
    records = np.empty((len(clock), atoms))
    risks = np.empty(len(clock))
    slope, risk = drift(radius, mass)
    evaluations = 1
    step = 1e-3 * float(radius.max()) / max(float(np.abs(slope).max()), 1e-9)
    now = float(clock[0])
    for n, end in enumerate(clock):
        while now < end:
            h = min(step, end - now)
            stages = [slope]
            for row in _A:
                point = radius + h * sum(a * k for a, k in zip(row, stages, strict=True) if a)
                stages.append(drift(point, mass)[0])
            evaluations += len(_A)
            new = np.maximum(point, 0.0)
            low = point - h * sum(e * k for e, k in zip(_ERROR, stages, strict=True) if e)
            scale = relative_tolerance * max(float(np.sqrt(np.mean(new**2))), 0.1)
            error = float(np.max(np.abs(new - np.maximum(low, 0.0)))) / scale
            if not np.isfinite(error):
                msg = f"the distributional dynamics stopped being finite at clock {now:.6g}"
                raise FloatingPointError(msg)
            if error <= 1 and not drift.covers(new):
                drift = TabulatedDrift(potentials, 2 * float(new.max()))
                continue
            if error <= 1:
                now = end if h == end - now else now + h
                radius = new
                slope, risk = drift(radius, mass)
                evaluations += 1
            factor = min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
            # A step that a record cut short says little about the size of the next one.
            step = max(step, h * factor) if error <= 1 and h < step else h * factor
            if error > 1 and now + step == now:
                msg = f"the distributional dynamics needs steps below rounding at clock {now:.6g}"
                raise FloatingPointError(msg)
        records[n] = radius
        risks[n] = risk
    return CharacteristicSolution(
        np.asarray(time, dtype=float), records, mass, risks, evaluations, potentials.error, drift.error
    )
