r"""A fast–slow system, its limit, and the heterogeneous multiscale method. Numpy in, numpy out.

The system is

.. math:: \dot X = f(X, Y, t) = -Y - Y^3 + \cos t + \sin\sqrt2\,t, \qquad
          dY = -\tfrac1\epsilon (Y - X)\,dt + \epsilon^{-1/2}\,dW .

Y given X relaxes to the normal law of mean X and variance 1/2, so that as :math:`\epsilon \to 0`

.. math:: \dot{\bar X} = F(\bar X, t) = -\bar X^3 - \tfrac52 \bar X + \cos t + \sin\sqrt2\,t .

Source of the method: E, Liu & Vanden-Eijnden (2005), Comm. Pure Appl. Math. 58, 1544; the test problem is in the
manner of theirs. All functions run replicates side by side.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Variance of Y at rest.
VARIANCE = 0.5
# A mean so many standard errors from zero is not noise: fewer than one in ten thousand that is would pass.
TOLD = 4.0


def slow_force(x: Floats, y: Floats, time: float) -> Floats:
    """Return f(x, y, t) [1]."""
    return -y - y**3 + math.cos(time) + math.sin(math.sqrt(2) * time)


def averaged_force(x: Floats, time: float, variance: float = VARIANCE) -> Floats:
    """Return the mean of f over the normal law of mean x and a variance, by default that of Y at rest [1]."""
    return -x - x**3 - 3 * variance * x + math.cos(time) + math.sin(math.sqrt(2) * time)


def averaged_solution(start: float, times: Floats, *, largest_step: float = 1e-3) -> Floats:
    """Return the limit at increasing times from 0 on, by Runge and Kutta's method of order four [1]."""
    x, now, found = float(start), 0.0, []
    for time in times:
        count = max(1, math.ceil((time - now) / largest_step))
        h = (time - now) / count
        for n in range(count if time > now else 0):
            t = now + n * h
            k1 = averaged_force(x, t)
            k2 = averaged_force(x + h / 2 * k1, t + h / 2)
            k3 = averaged_force(x + h / 2 * k2, t + h / 2)
            k4 = averaged_force(x + h * k3, t + h)
            x += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        now = float(time)
        found.append(x)
    return np.array(found)


class Paths(NamedTuple):
    """Times, shape (record,), slow variables, shape (record, replicate), and steps of the fast one per replicate."""

    times: Floats
    slow: Floats
    micro_steps: int


def direct(
    start: float, fast_start: float, scale: float, *, horizon: float, micro_step: float, records: int, replicates: int,
    generator: np.random.Generator,
) -> Paths:  # fmt: skip
    r"""Solve the system by the method of Euler and Maruyama with the step :math:`\lambda\epsilon`.

    Parameters
    ----------
    start, fast_start : float
        X and Y at time 0 [1].
    scale : float
        epsilon [1].
    horizon : float
        Last time [1].
    micro_step : float
        lambda, below 2 [1].
    records : int
        Intervals between recorded times.
    replicates : int
        Independent runs.
    generator : numpy.random.Generator
        Source of the noise.

    """
    every = max(1, round(horizon / records / (micro_step * scale)))
    h = horizon / records / every
    x, y = np.full(replicates, float(start)), np.full(replicates, float(fast_start))
    spread, found = math.sqrt(h / scale), [x]
    for record in range(records):
        for n in range(every):
            time = (record * every + n) * h
            force = slow_force(x, y, time)
            y = y - h / scale * (y - x) + spread * generator.standard_normal(replicates)
            x = x + h * force
        found.append(x)
    return Paths(np.linspace(0, horizon, records + 1), np.array(found), records * every)


class Estimator(NamedTuple):
    """How a mean force is estimated.

    Parameters
    ----------
    micro_step : float
        lambda, the micro step over epsilon, below 2 [1].
    relaxation, averaging : int
        Micro steps before the average and in it [count].
    ensemble : int
        Independent fast variables [count].

    """

    micro_step: float
    relaxation: int
    averaging: int
    ensemble: int = 1


def estimate_force(
    x: Floats, y: Floats, time: float, estimator: Estimator, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    r"""Return the estimated mean force at frozen x, and the fast variables at the end.

    .. math:: Y \leftarrow Y - \lambda (Y - X) + \sqrt\lambda\,\xi

    Parameters
    ----------
    x : array, shape (replicate,)
        Slow variables [1].
    y : array, shape (ensemble, replicate)
        Fast variables [1].
    time : float
        t [1].
    estimator : Estimator
        How.
    generator : numpy.random.Generator
        Source of the noise.

    """
    total, spread = np.zeros_like(x), math.sqrt(estimator.micro_step)
    for n in range(estimator.relaxation + estimator.averaging):
        y = y - estimator.micro_step * (y - x) + spread * generator.standard_normal(y.shape)
        if n >= estimator.relaxation:
            total = total + slow_force(x, y, time).mean(axis=0)
    return total / estimator.averaging, y


def taken_step(horizon: float, macro_step: float) -> float:
    """Return the step that is really taken, the horizon over a whole number of steps [1]; the one given if it fits."""
    h = horizon / round(horizon / macro_step)
    return macro_step if math.isclose(h, macro_step, rel_tol=1e-12) else h


def multiscale(
    start: float, fast_start: float, *, horizon: float, macro_step: float, estimator: Estimator, replicates: int,
    generator: np.random.Generator,
) -> Paths:  # fmt: skip
    """Solve the system by the heterogeneous multiscale method: Euler steps with estimated mean forces.

    The steps are those of `taken_step`.
    The fast variables go on from where the last macro step left them; epsilon enters nowhere.
    """
    count = round(horizon / macro_step)
    h = horizon / count
    x = np.full(replicates, float(start))
    y = np.full((estimator.ensemble, replicates), float(fast_start))
    found = [x]
    for n in range(count):
        force, y = estimate_force(x, y, n * h, estimator, generator)
        x = x + h * force
        found.append(x)
    cost = count * estimator.ensemble * (estimator.relaxation + estimator.averaging)
    return Paths(np.linspace(0, horizon, count + 1), np.array(found), cost)


def euler_of_the_limit(start: float, *, horizon: float, macro_step: float) -> Paths:
    """Return Euler's method on the limit equation: the multiscale method with exact forces."""
    count = round(horizon / macro_step)
    h, x, found = horizon / count, np.array([float(start)]), []
    for n in range(count + 1):
        found.append(x)
        x = x + h * averaged_force(x, n * h)
    return Paths(np.linspace(0, horizon, count + 1), np.array(found), 0)


def largest_error(paths: Paths, start: float) -> tuple[float, Floats]:
    r"""Return :math:`\sup_t E|X - \bar X|` and the deviations where it is reached, shape (replicate,) [1]."""
    deviations = np.abs(paths.slow - averaged_solution(start, paths.times)[:, None])
    worst = int(deviations.mean(axis=1).argmax())
    return float(deviations[worst].mean()), deviations[worst]


def cost_at_equal_error(cost: Floats, error: Floats, other_cost: Floats, other_error: Floats) -> tuple[float, float]:
    """Return the least and the greatest ratio of two costs at equal error, over the errors that both methods reach [1].

    Logarithms are interpolated, so that the extremes are at measured errors. Nan if no error is common, or if an error
    does not fall as its cost rises.

    Parameters
    ----------
    cost, error : array, shape (point,)
        Of the first method [1].
    other_cost, other_error : array, shape (other point,)
        Of the second one, by whose cost is divided [1].

    """
    curves = []
    for spent, left in ((cost, error), (other_cost, other_error)):
        order = np.argsort(spent)
        x, y = np.log(np.asarray(left, float)[order])[::-1], np.log(np.asarray(spent, float)[order])[::-1]
        if not (np.isfinite(x).all() and (np.diff(x) > 0).all()):
            return math.nan, math.nan
        curves.append((x, y))
    least, greatest = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if least > greatest:
        return math.nan, math.nan
    nodes = np.concatenate([[least, greatest], *(x[(x > least) & (x < greatest)] for x, _ in curves)])
    (x, y), (other_x, other_y) = curves
    ratio = np.exp(np.interp(nodes, x, y) - np.interp(nodes, other_x, other_y))
    return float(ratio.min()), float(ratio.max())


def micro_bias(x: float, micro_step: float) -> float:
    r"""Return the exact bias of the mean force by the micro step: Y at rest has the variance 1/(2 - lambda) [1]."""
    return float(averaged_force(np.float64(x), 0.0, 1 / (2 - micro_step)) - averaged_force(np.float64(x), 0.0))


def stability_bound(stiffness: float) -> float:
    """Return the Euler step from which on a relaxation at some rate grows: 2 over the rate [1]."""
    return 2 / stiffness


def memory_rate(lengths: Floats, mean: Floats, error: Floats) -> tuple[float, float]:
    """Return the rate at which a deviation decays per micro step, and its standard error [1]; nan if it cannot be told.

    Least squares of the logarithm over those lengths at which the mean is `TOLD` standard errors from zero: the
    logarithm of the others is that of noise. The means are independent.

    Parameters
    ----------
    lengths : array, shape (length,)
        Relaxation lengths [count].
    mean, error : array, shape (length,)
        Mean deviations and their standard errors [1].

    """
    x, mean, error = (np.asarray(part, float) for part in (lengths, mean, error))
    told = np.abs(mean) > TOLD * error
    if told.sum() < 2:
        return math.nan, math.nan
    x, mean, error = x[told], mean[told], error[told]
    rate = np.polyfit(x, np.log(np.abs(mean)), 1)[0]
    weight = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return float(rate), float(np.sqrt(((weight * error / mean) ** 2).sum()))


def fitted_order(parameter: Floats, error: Floats) -> float:
    """Return the least-squares slope of log error against log parameter [1]; nan if an error is not finite or zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = np.log(np.asarray(parameter, float)), np.log(np.asarray(error, float))
    return float(np.polyfit(x, y, 1)[0]) if np.isfinite(y).all() else math.nan
