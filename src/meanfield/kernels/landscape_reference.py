r"""Methods on the plane in plain numpy, vectorised over trajectories: what the compiled lanes are tested against.

Potentials come as functions of points of shape (…, 2); noise comes as arrays or functions of the iteration, so that
both implementations can be fed the same numbers. Numpy in, numpy out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlainStage:
    """So many iterations with one gradient.

    Parameters
    ----------
    gradient : callable
        Of points (trajectory, 2) and the number of the iteration, counted through all stages; returns the gradient.
    steps : int
        Iterations.
    step_size : float
        epsilon [1].
    noise : float
        Standard deviation of the noise on each component of the gradient [1].
    value : callable or None
        Of points; needed by the function restart alone.

    """

    gradient: Callable[[Floats, int], Floats]
    steps: int
    step_size: float
    noise: float = 0.0
    value: Callable[[Floats], Floats] | None = None


def clipped(gradient: Floats, limit: float) -> Floats:
    """Return gradients of norm at most `limit`; zero means no limit."""
    if limit <= 0:
        return gradient
    norm = np.linalg.norm(gradient, axis=-1, keepdims=True)
    return gradient * np.minimum(1, limit / np.maximum(norm, 1e-150))


def descend(
    stages: Sequence[PlainStage],
    starts: Floats,
    *,
    method: str = "descent",
    momentum: float | str = 0.0,
    second_step: float = 0.0,
    restart: str | None = None,
    step_back: bool = False,
    inverse_condition: float = 0.0,
    gradient_tolerance: float = 0.0,
    step_tolerance: float = 0.0,
    domain: tuple[float, float, float, float] = (-np.inf, np.inf, -np.inf, np.inf),
    clip: float = 0.0,
    normals: Callable[[int], Floats] | None = None,
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], Floats]:
    """Run the methods of `meanfield.kernels.landscape.descend`, as defined there.

    Parameters
    ----------
    stages : sequence of PlainStage
        One after the other.
    starts : array, shape (trajectory, 2)
        Initial points [1].
    method, momentum, second_step, restart, step_back, inverse_condition
        As in `meanfield.kernels.landscape.Rule`.
    gradient_tolerance, step_tolerance, domain, clip
        As in `meanfield.kernels.landscape.descend`.
    normals : callable or None
        Standard normals (trajectory, 2) of an iteration.

    Returns
    -------
    ends : array, shape (trajectory, 2)
        Last points [1].
    steps : array of int, shape (trajectory,)
        Iterations made.
    outcome : array of int, shape (trajectory,)
        0 budget spent, 1 converged, 2 left the domain.
    path : array, shape (iteration + 1, trajectory, 2)
        All points [1].

    """
    w = starts.copy()
    steps = np.zeros(len(w), np.int64)
    outcome = np.zeros(len(w), np.int64)
    low, high = np.array([domain[0], domain[2]]), np.array([domain[1], domain[3]])
    path = [w.copy()]
    now = 0
    for stage in stages:
        outcome[outcome == 1] = 0
        previous, u = w.copy(), w.copy()
        age, theta = np.zeros(len(w)), np.ones(len(w))
        height = stage.value(w) if restart == "function" else np.full(len(w), np.inf)
        for _ in range(stage.steps):
            g = clipped(stage.gradient(u if method == "nesterov" else w, now), clip)
            outcome[(outcome == 0) & (np.linalg.norm(g, axis=1) < gradient_tolerance)] = 1
            live = outcome == 0
            if stage.noise > 0:
                g = g + stage.noise * normals(now)
            if method == "descent":
                new = w - stage.step_size * g
            elif method == "heavy ball":
                new = w - stage.step_size * g + momentum * (w - previous)
                previous = np.where(live[:, None], w, previous)
            else:
                new = u - stage.step_size * g
                moved = new - w
                b = theta**2 - inverse_condition
                theta_next = 0.5 * (np.sqrt(b**2 + 4 * theta**2) - b)
                if momentum == "k/(k+3)":
                    mu = age / (age + 3)
                elif momentum == "theta":
                    mu = theta * (1 - theta) / (theta**2 + theta_next)
                else:
                    mu = np.full(len(w), momentum)
                again = np.zeros(len(w), bool)
                if restart == "gradient":
                    again = (g * moved).sum(axis=1) > 0
                elif restart == "function":
                    reached = stage.value(new)
                    again = reached > height
                    keep = (again & step_back) | ~live
                    height = np.where(keep, height, reached)
                new = np.where((again & step_back)[:, None], w, new)
                ahead = np.where(again[:, None], new, new + mu[:, None] * moved + second_step * g)
                u = np.where(live[:, None], ahead, u)
                age, theta = np.where(again, 0, age + 1), np.where(again, 1, theta_next)
            inside = ((new >= low) & (new <= high)).all(axis=1)
            steps += live
            outcome[live & ~inside] = 2
            short = np.linalg.norm(new - w, axis=1) < step_tolerance
            outcome[live & inside & short] = 1
            w = np.where((live & inside)[:, None], new, w)
            path.append(w.copy())
            now += 1
    return w, steps, outcome, np.array(path)


def local_entropy(
    value: Callable[[Floats], Floats], points: Floats, time: float, inverse_temperature: float, nodes: Floats
) -> tuple[Floats, Floats]:
    r"""Return gradient and value of the local entropy at points, by the sum over nodes in the log domain.

    Parameters
    ----------
    value : callable
        V at points of shape (…, 2).
    points : array, shape (trajectory, 2)
        Where [1].
    time, inverse_temperature : float
        t and beta [1].
    nodes : array, shape (node, 2)
        Nodes of equal weight [1].

    Returns
    -------
    gradient : array, shape (trajectory, 2)
        :math:`(x - \langle y\rangle)/t` [1].
    value : array, shape (trajectory,)
        Minus the logarithm of the sum over nodes, over beta [1]; up to a constant the smoothed potential.

    """
    square = ((points[:, None, :] - nodes) ** 2).sum(axis=-1)
    energy = value(nodes) + square / (2 * time)
    least = energy.min(axis=1, keepdims=True)
    weights = np.exp(-inverse_temperature * (energy - least))
    total = weights.sum(axis=1)
    mean = (weights @ nodes) / total[:, None]
    return (points - mean) / time, least[:, 0] - np.log(total) / inverse_temperature


def inner_langevin(
    gradient: Callable[[Floats], Floats],
    points: Floats,
    time: float,
    inverse_temperature: float,
    step_size: float,
    averaging: Floats,
    normals: Floats,
    clip: float = 0.0,
) -> Floats:
    r"""Return :math:`(x - \langle y\rangle)/t`, the mean running along Langevin dynamics of y from y = x.

    Parameters
    ----------
    gradient : callable
        Of points; the gradient of V.
    points : array, shape (trajectory, 2)
        x [1].
    time, inverse_temperature, step_size : float
        t, beta, delta [1].
    averaging : array, shape (inner iteration,)
        Weight of each iterate in the running mean.
    normals : array, shape (inner iteration, trajectory, 2)
        xi.
    clip : float
        Largest norm of the gradient of V; zero means no limit.

    """
    y, mean = points.copy(), points.copy()
    amplitude = np.sqrt(2 * step_size / inverse_temperature)
    for weight, xi in zip(averaging, normals, strict=True):
        y = y - step_size * (clipped(gradient(y), clip) + (y - points) / time) + amplitude * xi
        mean = mean + weight * (y - mean)
    return (points - mean) / time


def hopf_lax(
    value: Callable[[Floats], Floats], points: Floats, time: float, window: tuple[float, float, float, float]
) -> tuple[Floats, Floats]:
    r"""Return the minimisers and minima of :math:`V(y) + |x - y|^2/(2t)` by search on ever finer grids.

    Parameters
    ----------
    value : callable
        V at points of shape (…, 2).
    points : array, shape (trajectory, 2)
        x [1].
    time : float
        t [1].
    window : tuple of float
        Least and greatest x, least and greatest y of the first grid [1].

    Returns
    -------
    minimisers : array, shape (trajectory, 2)
        To about the square root of rounding [1].
    minima : array, shape (trajectory,)
        The envelope [1].

    """
    centre = np.tile([(window[0] + window[1]) / 2, (window[2] + window[3]) / 2], (len(points), 1))
    reach = np.array([(window[1] - window[0]) / 2, (window[3] - window[2]) / 2])
    nodes = 161
    for _ in range(30):
        offsets = np.stack(np.meshgrid(np.linspace(-1, 1, nodes), np.linspace(-1, 1, nodes)), axis=-1).reshape(-1, 2)
        candidates = centre[:, None, :] + reach * offsets
        energy = value(candidates) + ((candidates - points[:, None, :]) ** 2).sum(axis=-1) / (2 * time)
        centre = np.take_along_axis(candidates, energy.argmin(axis=1)[:, None, None], axis=1)[:, 0]
        reach = reach * (4 / (nodes - 1))
        nodes = 13
    return centre, energy.min(axis=1)


def homogenised(
    gradient: Callable[[Floats], Floats],
    starts: Floats,
    *,
    steps: int,
    inverse_temperature: float,
    time: float,
    coupling: float,
    micro_step: float,
    macro_step: float,
    burn_in: int,
    average: int,
    normals: Callable[[int], Floats],
    macro_noise: float = 0.0,
    macro_normals: Callable[[int], Floats] | None = None,
) -> Floats:
    """Run MF-HomSGLD as `meanfield.kernels.landscape.homogenised` defines it; return the last points.

    Parameters
    ----------
    gradient : callable
        Of points (…, 2); the gradient of V.
    starts : array, shape (ensemble, agent, 2)
        Initial points [1].
    steps, inverse_temperature, time, coupling, micro_step, macro_step, macro_noise
        As in `meanfield.kernels.landscape.HomogenisedStage`.
    burn_in, average : int
        Microscopic steps before and during averaging.
    normals, macro_normals : callable
        Standard normals (ensemble, agent, 2) of a microscopic step, counted through, and of a macroscopic one.

    """
    x, y = starts.copy(), starts.copy()
    amplitude = np.sqrt(2 * micro_step / inverse_temperature)
    for k in range(steps):
        mean = np.zeros_like(y)
        for m in range(burn_in + average):
            xi = normals(k * (burn_in + average) + m)
            y = y - micro_step * (gradient(y) + (y - x) / time) + amplitude * xi
            if m >= burn_in:
                mean += y / average
        x = x - macro_step * ((x - mean) / time + coupling * (x - x.mean(axis=1, keepdims=True)))
        if macro_noise > 0:
            x = x + macro_noise * macro_normals(k)
    return x


def affine_invariant_langevin(
    gradient: Callable[[Floats], Floats],
    starts: Floats,
    *,
    steps: int,
    step_size: float,
    inverse_temperature: float,
    normals: Callable[[int], Floats],
    finite_ensemble_correction: bool = True,
) -> Floats:
    """Run what `meanfield.kernels.landscape.affine_invariant_langevin` defines; return the last points.

    Parameters
    ----------
    gradient : callable
        Of points (…, 2); the gradient of V.
    starts : array, shape (ensemble, agent, 2)
        Initial points [1].
    steps, step_size, inverse_temperature, finite_ensemble_correction
        As there.
    normals : callable
        Standard normals (ensemble, agent, 2) of an iteration.

    """
    theta = starts.copy()
    agents, dimension = theta.shape[1:]
    correction = (dimension + 1) / agents if finite_ensemble_correction else 0.0
    for k in range(steps):
        centred = theta - theta.mean(axis=1, keepdims=True)
        covariance = np.einsum("eji,ejk->eik", centred, centred) / agents
        root = np.linalg.cholesky(covariance)
        drift = np.einsum("eik,ejk->eji", covariance, inverse_temperature * gradient(theta))
        noise = np.einsum("eik,ejk->eji", root, normals(k))
        theta = theta + step_size * (correction * centred - drift) + np.sqrt(2 * step_size) * noise
    return theta
