r"""Solutions of a system of equations followed in a parameter, through folds: pseudo-arclength continuation.

A curve :math:`F(x, \lambda) = 0` of n equations in n + 1 unknowns is followed by steps along its tangent and Newton's
method in the plane normal to it (Keller 1977, in *Applications of Bifurcation Theory*, 359-384). Steps shrink where the
curve bends or the method fails, and grow where it is straight. Derivatives are central differences.

Arrays in, arrays out; no files.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DIFFERENCE = 1e-6
_NEWTON = 12
_CONVERGED = 1e-11
# Tangents of neighbouring points may differ by this angle [rad].
_BEND = 0.15


class Branch(NamedTuple):
    """A curve of solutions, in the order in which it is passed."""

    state: Floats  # shape (point, unknown)
    parameter: Floats  # shape (point,)
    fold: NDArray[np.int64]  # shape (fold,), points next to which the parameter turns


def follow(
    residual: Callable[[Floats, float], Floats],
    state: Floats,
    parameter: float,
    *,
    bounds: tuple[float, float],
    state_bounds: tuple[float, float],
    largest_step: float,
    most_points: int = 2000,
) -> Branch:
    """Follow a curve from one of its points in both directions.

    Parameters
    ----------
    residual : callable
        Maps a state, shape (unknown,), and a parameter to the equations' values, shape (unknown,).
    state, parameter : array, shape (unknown,), and float
        A solution, or a guess near one.
    bounds : tuple of float
        Range of the parameter; the curve ends there.
    state_bounds : tuple of float
        Range of every unknown; the curve ends behind it.
    largest_step : float
        Largest step along the curve, in units in which unknowns and parameter count alike.
    most_points : int
        Points in each direction after which a curve that does not end is left.

    Raises
    ------
    ValueError
        If there is no solution near the guess.

    """
    guess = np.append(np.atleast_1d(state).astype(float), parameter)
    start = _settle(residual, guess, np.eye(guess.size)[-1], guess, _jacobian(residual, guess))  # at that parameter
    if start is None:
        msg = f"no solution near {state} at the parameter {parameter:g}"
        raise ValueError(msg)
    forth = _one_way(residual, start, 1.0, bounds, state_bounds, largest_step, most_points)
    back = _one_way(residual, start, -1.0, bounds, state_bounds, largest_step, most_points)
    points = np.array([*back[::-1], start, *forth])
    steps = np.diff(points[:, -1])
    turns = np.flatnonzero(steps[:-1] * steps[1:] < 0) + 1
    return Branch(points[:, :-1], points[:, -1], turns)


def _jacobian(residual: Callable, y: Floats) -> Floats:
    columns = []
    for n in range(y.size):
        h = np.zeros(y.size)
        h[n] = _DIFFERENCE * max(abs(y[n]), 0.1)
        high, low = y + h, y - h
        columns.append((residual(high[:-1], high[-1]) - residual(low[:-1], low[-1])) / (2 * h[n]))
    return np.stack(columns, axis=-1)


def _tangent(jacobian: Floats) -> Floats:
    return np.linalg.svd(jacobian)[2][-1]


def _settle(residual: Callable, y: Floats, normal: Floats, anchor: Floats, jacobian: Floats) -> Floats | None:
    # Newton's method in the plane through `anchor` normal to `normal`; derivatives are taken again where the given
    # ones, from nearby, converge slowly.
    before = np.inf
    for _ in range(_NEWTON):
        value = np.append(residual(y[:-1], y[-1]), normal @ (y - anchor))
        try:
            step = np.linalg.solve(np.vstack([jacobian, normal]), -value)
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(step).all():
            return None
        y = y + step
        size = float(np.abs(step).max())
        if size <= _CONVERGED * max(float(np.abs(y).max()), 1.0):
            return y
        if size > 0.1 * before:
            jacobian = _jacobian(residual, y)
        before = size
    return None


def _one_way(residual, start, sign, bounds, state_bounds, largest, most) -> list[Floats]:
    points, y, step = [], start, largest / 4
    jacobian = _jacobian(residual, start)
    tangent = _tangent(jacobian)
    tangent *= sign * (np.sign(tangent[-1]) or 1.0)
    while len(points) < most and step > 1e-7 * largest:
        guess = y + step * tangent
        if not bounds[0] <= guess[-1] <= bounds[1]:
            # The last point lies on the bound.
            bound = bounds[0] if guess[-1] < bounds[0] else bounds[1]
            last = _settle(residual, y + tangent * (bound - y[-1]) / tangent[-1], np.eye(y.size)[-1],
                           np.append(y[:-1], bound), jacobian)  # fmt: skip
            if last is not None and np.linalg.norm(last - y) <= 2 * step:
                points.append(last)
                break
            step /= 2
            continue
        found, ahead = _settle(residual, guess, tangent, guess, jacobian), None
        if found is not None and np.linalg.norm(found - guess) <= step:
            there = _jacobian(residual, found)
            ahead = _tangent(there)
            ahead *= np.sign(ahead @ tangent) or 1.0
        if ahead is None or ahead @ tangent < np.cos(_BEND):
            step /= 2
            continue
        if ((found[:-1] < state_bounds[0]) | (found[:-1] > state_bounds[1])).any():
            break
        bend = np.arccos(min(ahead @ tangent, 1.0))
        points.append(found)
        y, tangent, jacobian = found, ahead, there
        step = min(largest, 1.5 * step) if bend < _BEND / 3 else step
        if len(points) > 3 and np.linalg.norm(y - start) < step / 2:  # a closed curve
            break
    return points
