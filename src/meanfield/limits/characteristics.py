r"""Distributional dynamics in Lagrangian form: atoms of the radial law moved along characteristics.

The reduced equation :math:`\partial_t \rho = 2\xi(t)\, \partial_r(\rho\, \partial_r \psi(r; \rho))` (Mei, Montanari &
Nguyen 2018, the radial form of their eq. 7) transports each quantile by
:math:`\dot r_j = -2 \xi(t)\, \psi'(r_j; \rho)`. In the clock :math:`\int \xi` the system is autonomous. An embedded
Dormand-Prince 5(4) pair with step control integrates it, compiled; atoms that reach r = 0 with an inward drift stay
there, which the pair handles by projection: the error of an atom is measured after both solutions are clipped at zero,
so that absorption costs no small steps. Records are read from the continuous extension of the steps.

Arrays in, arrays out; no files.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels import characteristics as kernel
from meanfield.limits.potentials import RadialPotentials, TabulatedDrift
from meanfield.limits.schedule import Schedule
from meanfield.problems.isotropic import RadialLaw

Floats = NDArray[np.float64]

# The first table reaches this many times the largest norm (or one, if that is more); each next one twice as far.
_REACH = 8.0


class CharacteristicSolution(NamedTuple):
    """The law of the norm over time, as weighted atoms."""

    time: Floats  # shape (record,), mean-field time [1]
    radius: Floats  # shape (record, atom), norm of each atom [1]
    mass: Floats  # shape (atom,), sums to one [1]
    risk: Floats  # shape (record,), population risk [1]
    evaluations: int  # evaluations of the right-hand side
    quadrature_error: float  # of the pair potential, see RadialPotentials.error
    table_error: float  # of the tabulated features


def graded_atoms(law: RadialLaw, dimension: int | None, atoms: int) -> tuple[Floats, Floats]:
    r"""Return atoms that are finer towards both ends of the law: norms and masses, both shape (atom,).

    The probability is graded by :math:`p(x) = x^2 (3 - 2x)`, and the means over the law become midpoint sums in x,

    .. math:: \int_0^1 f(F^{-1}(p))\, dp = \int_0^1 f(F^{-1}(p(x)))\, p'(x)\, dx,

    whose integrand vanishes at both ends, where the quantile function is singular: the order is two, up to a power of
    a logarithm, where equal classes have one, and the error is far smaller while the flow of the atoms is resolved
    (smooth periodic integrands converge geometrically). In the middle there are two thirds as many atoms per
    probability as in equal classes, at the fringes many times more.
    """
    x = (np.arange(atoms) + 0.5) / atoms
    density = x * (1 - x)
    return law.quantile(x * x * (3 - 2 * x), dimension), density / density.sum()


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
        Number of atoms J; see `graded_atoms`.
    schedule : Schedule
        The step-size schedule xi.
    relative_tolerance : float
        Local error allowed per step, as a root mean square over the law, relative to the root mean square norm (to
        0.1, if that is larger).

    Returns
    -------
    CharacteristicSolution
        Records at exactly the given times.

    Raises
    ------
    FloatingPointError
        If the solution stops being finite, or its error cannot be controlled by smaller steps.

    """
    radius, mass = graded_atoms(law, potentials.problem.dimension, atoms)
    clock = np.ascontiguousarray(schedule.clock(time), dtype=float)
    records = np.empty((len(clock), atoms))
    risks = np.empty(len(clock))
    first, now, step, evaluations, error = 0, float(clock[0]), 0.0, 0, 0.0
    reach = _REACH * max(float(radius.max()), 1.0)
    while True:
        drift = TabulatedDrift(potentials, reach)
        error = max(error, drift.error)
        status, first, now, step, count = kernel.integrate(
            radius, mass, clock, first, now, step, relative_tolerance, drift.largest_norm, drift.arrays, records, risks
        )
        evaluations += count
        if status != kernel.OUTGROWN:
            break
        reach *= 2
    if status == kernel.NOT_FINITE:
        msg = f"the distributional dynamics stopped being finite at clock {now:.6g}"
        raise FloatingPointError(msg)
    if status == kernel.STALLED:
        msg = f"the distributional dynamics needs steps below rounding at clock {now:.6g}"
        raise FloatingPointError(msg)
    return CharacteristicSolution(
        np.asarray(time, dtype=float), records, mass, risks, evaluations, potentials.error, error
    )
