"""Which initial laws flow to which stationary laws, and linear rates measured on the flow itself.

Arrays in, arrays out; no files.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.limits.characteristics import solve_characteristics
from meanfield.limits.potentials import RadialPotentials
from meanfield.limits.schedule import Schedule

Floats = NDArray[np.float64]

_PERTURBATION = 1e-3
_RATE_TOLERANCE = 1e-12


class End(NamedTuple):
    """What the flow has made of an initial law at the end."""

    inner_mass: float  # mass below the inner norm [1]
    outer_norm: float  # mean norm of the rest; nan if there is none [1]
    outer_spread: float  # standard deviation of the norm of the rest [1]
    risk: float  # [1]
    speed: float  # root mean square speed of the atoms [1]
    fastest: float  # largest speed of an atom [1]


class MixedLaw(NamedTuple):
    """A law with some mass at zero and the rest on one sphere."""

    inner_mass: float  # probability of zero [1]
    norm: float  # of the sphere [1]

    def quantile(self, probability: Floats, dimension: int | None) -> Floats:
        """Return the quantile function of the norm, the same in every dimension."""
        return np.where(np.asarray(probability) < self.inner_mass, 0.0, self.norm)


class Flow(NamedTuple):
    """How the flow is solved."""

    horizon: float  # clock at the end [1]
    atoms: int
    relative_tolerance: float
    inner_norm: float  # norms below it count as zero [1]

    def solve(self, potentials: RadialPotentials, law, times: Floats):
        """Return the solution of the distributional dynamics from a law that has a quantile function."""
        return solve_characteristics(
            potentials, law, times, atoms=self.atoms, schedule=Schedule(), relative_tolerance=self.relative_tolerance
        )

    def end(self, potentials: RadialPotentials, law) -> End:
        """Return the end of the flow from a law that has a quantile function."""
        solution = self.solve(potentials, law, np.array([0.0, self.horizon]))
        r, mass = solution.radius[-1], solution.mass
        speed = potentials.drift(r, r, mass)
        speed[(r <= 0) & (speed < 0)] = 0.0
        outer = r >= self.inner_norm
        rest = mass[outer].sum()
        mean = float(mass[outer] @ r[outer] / rest) if outer.any() else np.nan
        spread = float(np.sqrt(mass[outer] @ (r[outer] - mean) ** 2 / rest)) if outer.any() else np.nan
        return End(
            float(mass[~outer].sum()), mean, spread, float(solution.risk[-1]), float(np.sqrt(mass @ speed**2)),
            float(np.abs(speed).max()),
        )  # fmt: skip


def boundary(flow: Flow, potentials: RadialPotentials, law_of: Callable, scales: Floats, *, tolerance: float) -> float:
    """Return the scale of the initial law below which more than half of the mass ends at zero, by bisection.

    Parameters
    ----------
    flow : Flow
        How the flow is solved.
    potentials : RadialPotentials
        The problem's.
    law_of : callable
        Maps a scale to a law that has a quantile function.
    scales : array, shape (point,)
        Increasing; the first boundary among them is found, from zero outwards.
    tolerance : float
        Relative, of the scale.

    Returns
    -------
    float
        nan if no two neighbouring scales end on different sides.

    """

    def collapses(scale: float) -> bool:
        return flow.end(potentials, law_of(float(scale))).inner_mass > 0.5

    before = collapses(scales[0])
    if not before:
        return np.nan
    for low, high in itertools.pairwise(scales):
        if collapses(high):
            continue
        while high - low > tolerance * high:
            middle = (low + high) / 2
            low, high = (middle, high) if collapses(middle) else (low, middle)
        return float((low + high) / 2)
    return np.nan


class _Displaced(NamedTuple):
    # A sphere whose halves are displaced by given amounts, as a law.
    norm: float
    lower: float
    upper: float

    def quantile(self, probability: Floats, dimension: int | None) -> Floats:
        return self.norm + np.where(np.asarray(probability) < 0.5, self.lower, self.upper)


def measured_rates(potentials: RadialPotentials, norm: float, guesses: tuple[float, float]) -> tuple[float, float]:
    """Return the rates at which a stationary sphere splits and moves as a whole, measured on solutions of the flow.

    Two atoms start a thousandth of the norm away from the sphere, in opposite directions or in the same one, towards
    either side in turn; rates are logarithms of the growth of their displacement.

    Parameters
    ----------
    potentials : RadialPotentials
        The problem's.
    norm : float
        Norm of a stationary law on one sphere [1].
    guesses : tuple of float
        Rough rates, which decide how long the flow is followed [1].

    """
    size = _PERTURBATION * norm
    found = []
    for guess, patterns in zip(guesses, (((-1, 1),), ((1, 1), (-1, -1))), strict=True):
        time = 0.5 / max(abs(guess), 1e-6)
        logs = []
        for lower, upper in patterns:
            law = _Displaced(norm, lower * size, upper * size)
            solution = solve_characteristics(
                potentials, law, np.array([0.0, time]), atoms=2, schedule=Schedule(),
                relative_tolerance=_RATE_TOLERANCE,
            )  # fmt: skip
            moved = solution.radius[-1] - norm
            # The displacement of this pattern; the mean of both atoms is of second order where they part.
            grown = (moved[1] - moved[0]) / 2 if lower != upper else moved.mean() * upper
            logs.append(np.log(grown / size) / time if grown > 0 else np.nan)
        found.append(float(np.mean(logs)))
    return found[0], found[1]
