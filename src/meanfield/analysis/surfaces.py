"""Critical points of a potential on the plane and the basins of its minima. Numpy in, numpy out; no files."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import DataError
from meanfield.kernels.landscape import CONVERGED, Stage, descend
from meanfield.problems.plane import PlanePotential, assign_to_minima

Floats = NDArray[np.float64]
Window = tuple[float, float, float, float]

MINIMUM, SADDLE, MAXIMUM = range(3)


class CriticalPoints(NamedTuple):
    """Critical points: positions, values, eigenvalues of the Hessian, kinds and the lengths of Newton's last steps."""

    positions: Floats
    values: Floats
    curvatures: Floats
    kinds: NDArray[np.int64]
    steps: Floats


def grid_of(window: Window, nodes: int) -> tuple[Floats, Floats]:
    """Return as many nodes along x and along y, ends included [1]."""
    return np.linspace(window[0], window[1], nodes), np.linspace(window[2], window[3], nodes)


def grid_points(xs: Floats, ys: Floats) -> Floats:
    """Return the nodes of a grid as points, shape (y, x, 2)."""
    return np.stack(np.meshgrid(xs, ys), axis=-1)


def require_minima(points: CriticalPoints, experiment: str, window: Window) -> None:
    """Refuse a potential without a minimum in the window, of an experiment."""
    if not (points.kinds == MINIMUM).any():
        msg = f"experiments.{experiment}: the potential has no minimum in the window {list(window)}"
        raise DataError(msg)


def find_critical_points(
    potential: PlanePotential,
    window: Window,
    *,
    nodes: int = 80,
    iterations: int = 60,
    tolerance: float = 1e-10,
) -> CriticalPoints:
    """Find the non-degenerate critical points in a window by Newton's method from a grid and from the terms' centres.

    Steps are cut to a twentieth of the window, so that one start does not jump over many basins; a point whose last
    step is longer than `tolerance` is dropped.

    Parameters
    ----------
    potential : PlanePotential
        V.
    window : tuple of float
        Least and greatest x, least and greatest y [1].
    nodes : int
        Starts along each axis; a feature narrower than their distance may be missed.
    iterations : int
        Newton steps from each.
    tolerance : float
        Longest last step of a point that counts as found [1].

    Returns
    -------
    CriticalPoints
        Minima first, lowest first; then saddles and maxima, each lowest first.

    """
    # A well may be narrower than the grid's cells, but then it is one term's.
    points = np.concatenate([grid_points(*grid_of(window, nodes)).reshape(-1, 2), potential.terms[:, 4:]])
    longest = max(window[1] - window[0], window[3] - window[2]) / 20
    length = np.full(len(points), np.inf)
    with np.errstate(all="ignore"):  # starts on plains and walls overflow, and are dropped below
        for _ in range(iterations):
            step = _newton_steps(potential, points)
            length = np.hypot(step[:, 0], step[:, 1])
            points = points - step * np.minimum(1, longest / np.maximum(length, 1e-300))[:, None]
            points = points[length < np.inf]
            length = length[length < np.inf]
        inside = (points >= [window[0], window[2]]).all(axis=1) & (points <= [window[1], window[3]]).all(axis=1)
        kept = inside & (length <= tolerance)
        points, length = points[kept], length[kept]
        values, curvatures = potential.value(points), np.linalg.eigvalsh(potential.hessian(points))
    # On a plain the gradient underflows and everything looks critical: ask for a curvature that is seen.
    scale = np.abs(potential.terms[:, 0]).max()
    seen = np.isfinite(values) & (np.abs(curvatures).min(axis=1) > 1e-9 * scale)
    points, length, values, curvatures = points[seen], length[seen], values[seen], curvatures[seen]
    kinds = (curvatures < 0).sum(axis=1)
    order = np.lexsort((points[:, 1], points[:, 0], values.round(9), kinds))
    chosen: list[int] = []
    for n in order:
        if all(np.abs(points[n] - points[m]).max() > 1e-6 * longest for m in chosen):
            chosen.append(int(n))
    return CriticalPoints(points[chosen], values[chosen], curvatures[chosen], kinds[chosen], length[chosen])


def _newton_steps(potential: PlanePotential, points: Floats) -> Floats:
    # By Cramer's rule; infinite where the Hessian is singular.
    gradient, hessian = potential.gradient(points), potential.hessian(points)
    a, b, c = hessian[:, 0, 0], hessian[:, 0, 1], hessian[:, 1, 1]
    determinant = a * c - b * b
    steps = np.stack([c * gradient[:, 0] - b * gradient[:, 1], a * gradient[:, 1] - b * gradient[:, 0]], axis=-1)
    steps = steps / determinant[:, None]
    return np.where(np.isfinite(steps).all(axis=1)[:, None], steps, np.inf)


class Basins(NamedTuple):
    """Which minimum the gradient flow reaches from each node, shape (y, x), -1 for none; shares of the nodes [1]."""

    destination: NDArray[np.int64]
    shares: Floats


def basins(
    potential: PlanePotential,
    minima: Floats,
    xs: Floats,
    ys: Floats,
    *,
    step_size: float,
    longest_step: float,
    domain: Window,
    iterations: int = 200_000,
    threads: int = 1,
) -> Basins:
    r"""Return the basins of attraction of the gradient flow :math:`\dot x = -\nabla V(x)` on a grid.

    The flow is followed by Euler's method in the time step `step_size`, shortened where the step in space would exceed
    `longest_step`: on steep walls that changes the clock, not the path.

    Parameters
    ----------
    potential : PlanePotential
        V.
    minima : array, shape (minimum, 2)
        From `find_critical_points` [1].
    xs, ys : arrays
        Nodes of the grid [1].
    step_size, longest_step : float
        Time step, well below 2 over the largest curvature at a minimum, and longest step in space [1].
    domain : tuple of float
        Who leaves it reaches no minimum [1].
    iterations : int
        Most steps.
    threads : int
        Number of threads; changes no bit.

    """
    found = descend(
        [Stage(potential.terms, iterations, step_size)], grid_points(xs, ys).reshape(-1, 2),
        step_tolerance=1e-4 * longest_step, domain=domain, clip=longest_step / step_size, threads=threads,
    )  # fmt: skip
    # Within the last steps of a minimum: slow plains converge by step length far from any.
    radius = 10 * longest_step
    destination = np.where(found.outcome == CONVERGED, assign_to_minima(found.ends, minima, radius=radius), -1)
    shares = np.array([(destination == n).mean() for n in range(len(minima))])
    return Basins(destination.reshape(ys.size, xs.size), shares)
