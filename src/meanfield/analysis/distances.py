"""Distances between laws on the line, given as weighted atoms. Numpy in, numpy out; no files."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Law(NamedTuple):
    """A law on the line: sorted atoms and their masses, which sum to one."""

    position: Floats  # shape (atom,), not decreasing
    mass: Floats  # shape (atom,)


def empirical(values: Floats) -> Law:
    """Return the empirical law of a sample, shape (n,)."""
    values = np.sort(np.asarray(values, dtype=float))
    return Law(values, np.full(values.size, 1 / values.size))


def weighted(position: Floats, mass: Floats) -> Law:
    """Return the law of weighted atoms; masses are normalised."""
    order = np.argsort(position, kind="stable")
    mass = np.asarray(mass, dtype=float)[order]
    return Law(np.asarray(position, dtype=float)[order], mass / mass.sum())


def _coupling(a: Law, b: Law) -> tuple[Floats, Floats, Floats]:
    # The monotone coupling: pieces of mass with the position of each in both laws.
    levels_a, levels_b = np.cumsum(a.mass), np.cumsum(b.mass)
    levels_a[-1] = levels_b[-1] = 1.0
    levels = np.union1d(levels_a, levels_b)
    pieces = np.diff(levels, prepend=0.0)
    first = np.searchsorted(levels_a, levels, side="left")
    second = np.searchsorted(levels_b, levels, side="left")
    return (
        pieces,
        a.position[np.minimum(first, a.mass.size - 1)],
        b.position[np.minimum(second, b.mass.size - 1)],
    )


def wasserstein(a: Law, b: Law, order: int) -> float:
    r"""Return the Wasserstein distance of order 1 or 2, exactly, through the monotone coupling.

    :math:`W_p^p = \int_0^1 |F_a^{-1}(u) - F_b^{-1}(u)|^p\,du` on the line.
    """
    pieces, x, y = _coupling(a, b)
    return float((pieces @ np.abs(x - y) ** order) ** (1 / order))


def kolmogorov(a: Law, b: Law) -> float:
    """Return the largest difference of the two distribution functions."""
    points = np.union1d(a.position, b.position)
    differences = _distribution(a, points) - _distribution(b, points)
    return float(np.abs(differences).max())


def _distribution(law: Law, points: Floats) -> Floats:
    levels = np.concatenate([[0.0], np.cumsum(law.mass)])
    return levels[np.searchsorted(law.position, points, side="right")]
