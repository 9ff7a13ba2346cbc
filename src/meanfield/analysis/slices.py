"""Where a function on a sphere is looked at: great circles and a two-sphere. Numpy in, numpy out; no files."""

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def great_circles(dimension: int, points: int) -> tuple[Floats, Floats]:
    r"""Return points along the great circles through the first three axes, of the sphere of radius sqrt(d).

    Returns
    -------
    angle : array, shape (angle,)
        From 0 to :math:`2\pi`, both included [rad].
    inputs : array, shape (circle, angle, coordinate)
        :math:`\sqrt d (\cos\phi\, e_a + \sin\phi\, e_b)` for (a, b) = (1, 2), (1, 3), (2, 3), or (1, 2) alone if
        d = 2 [1].

    """
    angle = np.linspace(0, 2 * np.pi, points)
    pairs = list(itertools.combinations(range(min(dimension, 3)), 2))
    inputs = np.zeros((len(pairs), points, dimension))
    for circle, (a, b) in enumerate(pairs):
        inputs[circle, :, a] = np.sqrt(dimension) * np.cos(angle)
        inputs[circle, :, b] = np.sqrt(dimension) * np.sin(angle)
    return angle, inputs


def sphere_map(dimension: int, points: int) -> tuple[Floats, Floats, Floats]:
    r"""Return a grid on the two-sphere of the first three axes (Rotskoff & Vanden-Eijnden 2018, their figure).

    Returns
    -------
    polar : array, shape (polar,)
        theta, from 0 to :math:`\pi` [rad].
    azimuth : array, shape (azimuth,)
        phi, from :math:`-\pi` to :math:`\pi`, about twice as many [rad].
    inputs : array, shape (polar, azimuth, coordinate)
        :math:`\sqrt d (\sin\theta\cos\phi, \sin\theta\sin\phi, \cos\theta, 0, \dots)` [1]; d >= 3.

    """
    if dimension < 3:
        msg = f"a two-sphere needs d >= 3, not {dimension}"
        raise ValueError(msg)
    polar = np.linspace(0, np.pi, points)
    azimuth = np.linspace(-np.pi, np.pi, 2 * points - 1)
    inputs = np.zeros((points, 2 * points - 1, dimension))
    inputs[..., 0] = np.outer(np.sin(polar), np.cos(azimuth))
    inputs[..., 1] = np.outer(np.sin(polar), np.sin(azimuth))
    inputs[..., 2] = np.cos(polar)[:, None]
    return polar, azimuth, np.sqrt(dimension) * inputs
