r"""Smoothed potentials on the plane, and the fate of each minimum as the smoothing grows. Numpy in, numpy out.

Three smoothings of V run on one clock t, at the inverse temperature :math:`\beta`:

* heat: :math:`v_t = (2\beta)^{-1} \Delta v`, the average of V over a Gaussian of variance :math:`s = t/\beta`;
* viscous Hamilton–Jacobi: :math:`u_t = -\tfrac12 |\nabla u|^2 + (2\beta)^{-1} \Delta u`, the local entropy
  :math:`u(x, t) = -\beta^{-1} \log E\,e^{-\beta V(x + \sqrt{t/\beta}\,G)}`;
* inviscid Hamilton–Jacobi: the same as :math:`\beta \to \infty`, :math:`u(x, t) = \inf_y V(y) + |x - y|^2/(2t)`.

Source: Chaudhari, Oberman, Osher, Soatto & Carlier (2018), arXiv:1704.04932, sections 3 and 4. At equal t the heat flow
and the viscous equation average over the same Gaussian: that is what *matched strength* means here.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, signal

from meanfield.problems.plane import PlanePotential

Floats = NDArray[np.float64]
Window = tuple[float, float, float, float]

# How far in the exponent the quadrature of the local entropy reaches below its largest weight.
_DEPTH = 40.0
# Below this sum of weights they are taken in the log domain.
_TINY = 1e-250


class Jet(NamedTuple):
    """Value, gradient, shape (2,), and Hessian, shape (2, 2), at one point [1]."""

    value: float
    gradient: Floats
    hessian: Floats


def heat_jet(potential: PlanePotential, point: ArrayLike, variance: float) -> Jet:
    """Return value and derivatives of the heat-smoothed potential at a point; closed form."""
    smoothed = potential.heat_smoothed(variance) if variance > 0 else potential
    point = np.asarray(point, np.float64)
    return Jet(float(smoothed.value(point)), smoothed.gradient(point), smoothed.hessian(point))


class EntropyGrid:
    r"""The local entropy at points, by the trapezoidal rule on one fixed grid.

    With the weights :math:`e^{-\beta V(y) - \beta|x - y|^2/(2t)}`, the gradient is :math:`(x - \langle y\rangle)/t` and
    the Hessian :math:`t^{-1}(I - \tfrac{\beta}{t} \operatorname{Cov} y)`. The rule converges faster than any power of
    the spacing once that is a standard deviation of the narrowest peak of the weights,
    :math:`[\beta(\lambda + 1/t)]^{-1/2}` where V has the curvature :math:`\lambda`.

    Parameters
    ----------
    potential : PlanePotential
        V.
    window : tuple of float
        Where points will lie [1].
    inverse_temperature : float
        beta, positive [1].
    times : pair of float
        Least and greatest t [1]: the grid's spacing and margin follow.
    steepest : float
        Largest curvature of V that matters [1].
    most : int
        Most nodes along an axis.

    Raises
    ------
    ValueError
        If more nodes are needed.

    """

    def __init__(
        self,
        potential: PlanePotential,
        window: Window,
        inverse_temperature: float,
        times: tuple[float, float],
        steepest: float,
        most: int = 2500,
    ):
        self.potential, self.inverse_temperature = potential, inverse_temperature
        margin = 4 * np.sqrt(times[1] / inverse_temperature)
        spacing = 1 / np.sqrt(inverse_temperature * (max(steepest, 0.0) + 1 / times[0]))
        self._axes = []
        for low, high in (window[:2], window[2:]):
            count = int(np.ceil((high - low + 2 * margin) / spacing)) + 1
            if count > most:
                msg = f"{count} nodes along an axis are needed, at most {most} allowed: begin at a longer time"
                raise ValueError(msg)
            self._axes.append(np.linspace(low - margin, high + margin, count))
        with np.errstate(over="ignore"):
            self._height = potential.value(np.stack(np.meshgrid(*self._axes, indexing="ij"), axis=-1))
        self._height = np.minimum(self._height, 1e300)
        self._lowest = self._height.min()
        self._weights = np.exp(-inverse_temperature * (self._height - self._lowest))

    def jet(self, point: ArrayLike, time: float) -> Jet:
        """Return value and derivatives of the local entropy at a point x, shape (2,), for the time t [1]."""
        point, beta = np.asarray(point, np.float64), self.inverse_temperature
        drop = max(float(self.potential.value(point)) - self._lowest, 0.0)
        radius = np.sqrt(2 * time * (drop + _DEPTH / beta))
        part, offsets, factors = [], [], []
        for axis, at in zip(self._axes, point, strict=True):
            first, last = np.searchsorted(axis, [at - radius, at + radius])
            part.append(slice(max(first - 2, 0), last + 2))
            offsets.append(axis[part[-1]] - at)
            factors.append(np.exp(-beta * offsets[-1] ** 2 / (2 * time)))
        weights = self._weights[tuple(part)] * factors[0][:, None] * factors[1]
        total, lowest = weights.sum(), self._lowest
        if not total > _TINY:  # the same in the log domain
            energy = self._height[tuple(part)] + (offsets[0][:, None] ** 2 + offsets[1] ** 2) / (2 * time)
            lowest = energy.min()
            weights = np.exp(-beta * (energy - lowest))
            total = weights.sum()
        weights = weights / total
        along_x, along_y = weights.sum(axis=1), weights.sum(axis=0)
        mean = np.array([along_x @ offsets[0], along_y @ offsets[1]])
        dx, dy = offsets[0] - mean[0], offsets[1] - mean[1]
        cross = dx @ weights @ dy
        covariance = np.array([[along_x @ dx**2, cross], [cross, along_y @ dy**2]])
        cell = (self._axes[0][1] - self._axes[0][0]) * (self._axes[1][1] - self._axes[1][0])
        norm = beta / (2 * np.pi * time) * cell
        return Jet(
            float(lowest - np.log(norm * total) / beta), -mean / time, (np.eye(2) - beta / time * covariance) / time
        )


def least_temperature(window: Window, time: float, steepest: float, most: int = 2500) -> float:
    """Return the lowest temperature at which `EntropyGrid` needs no more nodes for one time [1], or infinity."""
    # (width + 8 root(t T)) root(c / T) intervals with c = steepest + 1/t: linear in 1 / root(T).
    stiffness = max(steepest, 0.0) + 1 / time
    left = most - 1 - 8 * np.sqrt(time * stiffness)
    width = max(window[1] - window[0], window[3] - window[2])
    return float(stiffness * (width / left) ** 2) if left > 0 else np.inf


def local_entropy_field(
    potential: PlanePotential, xs: Floats, ys: Floats, time: float, inverse_temperature: float, *, margin: float
) -> Floats:
    """Return the local entropy on a grid, shape (y, x) [1], by the trapezoidal rule on the grid widened by a margin.

    The Gaussian factorises: one axis after the other, each in the log domain.
    """
    wide_x, wide_y, height = _widened(potential, xs, ys, margin)
    rate = inverse_temperature / (2 * time)
    along_x, along_y = rate * (xs[:, None] - wide_x) ** 2, rate * (ys[:, None] - wide_y) ** 2
    exponent = np.stack([_log_sum(row - along_x) for row in -inverse_temperature * height])  # (wide y, x)
    exponent = np.stack([_log_sum(column - along_y) for column in exponent.T], axis=1)
    norm = (wide_x[1] - wide_x[0]) * (wide_y[1] - wide_y[0]) * inverse_temperature / (2 * np.pi * time)
    return -(exponent + np.log(norm)) / inverse_temperature


def hopf_lax_field(potential: PlanePotential, xs: Floats, ys: Floats, time: float, *, margin: float) -> Floats:
    """Return the inviscid envelope on a grid, shape (y, x) [1], the infimum being taken over the widened grid."""
    wide_x, wide_y, height = _widened(potential, xs, ys, margin)
    along_x, along_y = (xs[:, None] - wide_x) ** 2 / (2 * time), (ys[:, None] - wide_y) ** 2 / (2 * time)
    lower = np.stack([(row + along_x).min(axis=-1) for row in height])
    return np.stack([(column + along_y).min(axis=-1) for column in lower.T], axis=1)


def _log_sum(exponents: Floats) -> Floats:
    largest = exponents.max(axis=-1)
    return largest + np.log(np.exp(exponents - largest[..., None]).sum(axis=-1))


def _widened(potential: PlanePotential, xs: Floats, ys: Floats, margin: float) -> tuple[Floats, Floats, Floats]:
    wide = []
    for nodes in (xs, ys):
        spacing = nodes[1] - nodes[0]
        extra = spacing * np.arange(1, int(np.ceil(margin / spacing)) + 1)
        wide.append(np.concatenate([nodes[0] - extra[::-1], nodes, nodes[-1] + extra]))
    with np.errstate(over="ignore"):
        height = potential.value(np.stack(np.meshgrid(*wide), axis=-1))
    return wide[0], wide[1], np.minimum(height, 1e300)


class FourierCheck(NamedTuple):
    """Largest deviation of the closed form from a convolution by FFT, and a bound of that convolution's own error.

    The deviation is nan where the bound is more than `largest_bound`: it would tell nothing.
    """

    deviation: float
    bound: float


def fourier_check(
    potential: PlanePotential, window: Window, variance: float, *, nodes: int = 256, largest_bound: float = 1.0
) -> FourierCheck:
    r"""Compare heat smoothing in closed form with a discrete convolution by FFT over a window.

    The kernel is cut at nine standard deviations and at least four nodes per deviation are used. A term that grows
    makes the widened grid's largest value M huge, and rounding in the FFT is relative to M: the stated bound is
    :math:`50 u M` with the unit roundoff u, plus M times the mass of the Gaussian beyond the cut.
    """
    deviation = np.sqrt(variance)
    reach = 9 * deviation
    axes, kernels = [], []
    for low, high in (window[:2], window[2:]):
        spacing = min((high - low) / (nodes - 1), deviation / 4)
        count = int(np.ceil(reach / spacing))
        inner = int(np.ceil((high - low) / spacing))
        axes.append(low + spacing * np.arange(-count, inner + count + 1))
        offsets = spacing * np.arange(-count, count + 1)
        kernels.append(np.exp(-(offsets**2) / (2 * variance)) * spacing / np.sqrt(2 * np.pi * variance))
    with np.errstate(over="ignore"):
        height = potential.value(np.stack(np.meshgrid(*axes), axis=-1))
    bound = float(np.abs(height).max() * (50 * 1.2e-16 + 4 * 1.2e-19))
    if not bound <= largest_bound:
        return FourierCheck(np.nan, bound)
    smoothed = signal.fftconvolve(height, np.outer(kernels[1], kernels[0]), mode="valid")
    counts = [(kernel.size - 1) // 2 for kernel in kernels]
    inside = [axis[count:-count] for axis, count in zip(axes, counts, strict=True)]
    exact = potential.heat_smoothed(variance).value(np.stack(np.meshgrid(*inside), axis=-1))
    return FourierCheck(float(np.abs(smoothed - exact).max()), bound)


class QuadratureCheck(NamedTuple):
    """Largest deviation of the closed form from quadrature, of 1 + |value|, and its change at half the spacing."""

    deviation: float
    change: float


def quadrature_check(
    potential: PlanePotential, points: Floats, variance: float, *, spacing: float = 0.8, reach: float = 9.0
) -> QuadratureCheck:
    r"""Compare heat smoothing in closed form with the trapezoidal rule at points of shape (point, 2).

    Each term times the Gaussian is a single hump, also where the term grows. The rule's grid is centred where that is
    highest and lies along its axes, with nodes `spacing` of its own standard deviations apart, out to `reach` of them,
    so that the error is of the order of :math:`e^{-2\pi^2/\text{spacing}^2}` at any variance.
    """
    exact = potential.heat_smoothed(variance).value(points)
    scale = 1 + np.abs(exact)
    coarse, fine = (_by_trapezoids(potential, points, variance, h, reach) for h in (spacing, spacing / 2))
    return QuadratureCheck(float((np.abs(coarse - exact) / scale).max()), float((np.abs(fine - coarse) / scale).max()))


def _by_trapezoids(potential: PlanePotential, points: Floats, variance: float, spacing: float, reach: float) -> Floats:
    total, root = np.zeros(len(points)), np.sqrt(variance)
    for amplitude, a, b, c, x0, y0 in potential.terms:
        # Of -log(term times Gaussian) in z, where the Gaussian reaches the point x + root(variance) z.
        bend = np.eye(2) - variance * np.array([[2 * a, b], [b, 2 * c]])
        curvature, axes = np.linalg.eigh(bend)
        count = int(np.ceil(reach / spacing))
        offsets = spacing * np.arange(-count, count + 1)
        zx, zy = np.tensordot(axes / np.sqrt(curvature), np.meshgrid(offsets, offsets), axes=1)
        weight = amplitude * spacing**2 / np.sqrt(curvature.prod()) / (2 * np.pi)
        for n, point in enumerate(points):
            dx, dy = point[0] - x0, point[1] - y0
            top = np.linalg.solve(bend, root * np.array([2 * a * dx + b * dy, b * dx + 2 * c * dy]))
            u, v = dx + root * (top[0] + zx), dy + root * (top[1] + zy)
            exponent = a * u * u + b * u * v + c * v * v - ((top[0] + zx) ** 2 + (top[1] + zy) ** 2) / 2
            total[n] += weight * np.exp(exponent).sum()
    return total


# -- the fate of a minimum ------------------------------------------------------------------------------------------


class Branch(NamedTuple):
    """A minimum along increasing strengths; nan beyond its end.

    Parameters
    ----------
    positions : array, shape (strength, 2)
        Where it is [1].
    values : array, shape (strength,)
        Its depth [1].
    curvatures : array, shape (strength, 2)
        Eigenvalues of its Hessian, smaller first [1].
    end : float
        The strength at which it ceases to be a minimum [1]; infinite if it is there to the last.

    """

    positions: Floats
    values: Floats
    curvatures: Floats
    end: float


def follow_minimum(
    jet: Callable[[Floats, float], Jet],
    start: ArrayLike,
    strengths: Sequence[float],
    *,
    reach: float = 0.03,
    resolution: float = 1e-4,
) -> Branch:
    """Follow a minimum by continuation in the strength of smoothing until it vanishes.

    From each strength to the next goes Newton's method, started at the last position. A step counts only if it ends at
    a minimum within `reach`; else half the step in strength is tried, down to `resolution` relative to the strength:
    there the minimum has met a saddle.

    Parameters
    ----------
    jet : callable
        Of a point and a strength.
    start : array, shape (2,)
        The minimum at strength zero [1].
    strengths : sequence of float
        Increasing, positive [1].
    reach : float
        Longest displacement in one step [1].
    resolution : float
        Smallest step in strength over the strength [1].

    """
    count = len(strengths)
    positions, values, curvatures = np.full((count, 2), np.nan), np.full(count, np.nan), np.full((count, 2), np.nan)
    position, last = np.asarray(start, np.float64), 0.0
    step = strengths[0]
    for n, strength in enumerate(strengths):
        step = max(step, (strength - last) / 4)
        while last < strength:
            trial = strength if last + step >= strength else last + step
            found = _minimum_near(jet, position, trial, reach)
            if found is None:
                step = (trial - last) / 2
                if step < resolution * trial:
                    return Branch(positions, values, curvatures, trial)
                continue
            position, last, step = found, trial, 2 * step
        here = jet(position, strength)
        positions[n], values[n], curvatures[n] = position, here.value, np.linalg.eigvalsh(here.hessian)
    return Branch(positions, values, curvatures, np.inf)


def _minimum_near(jet: Callable, start: Floats, strength: float, reach: float) -> Floats | None:
    position = start
    for _ in range(12):
        here = jet(position, strength)
        if not np.isfinite(here.hessian).all() or np.linalg.eigvalsh(here.hessian)[0] <= 0:
            return None
        step = np.linalg.solve(here.hessian, here.gradient)
        position = position - step
        if np.abs(position - start).max() > reach:
            return None
        if np.abs(step).max() < 1e-9:
            return position
    return None


def hopf_lax_branch(
    potential: PlanePotential, minimum: ArrayLike, strengths: Sequence[float], window: Window, *, nodes: int = 600
) -> Branch:
    r"""Return the fate of a minimum under the inviscid equation, in closed form up to one minimisation.

    The envelope touches V at a minimum m until some y makes :math:`V(y) + |m - y|^2/(2t)` smaller than V(m): position
    and depth stay, the curvature is :math:`H (I + tH)^{-1}`, and the end comes at
    :math:`t = \min \{|m - y|^2 / (2 [V(m) - V(y)]) : V(y) < V(m)\}`.
    """
    minimum = np.asarray(minimum, np.float64)
    value = float(potential.value(minimum))
    strengths = np.asarray(strengths, np.float64)

    def time_of(y: Floats) -> Floats:
        drop = value - potential.value(y)
        # At the minimum itself the quotient is 0/0: only what is lower by more than rounding counts.
        lower = drop > 1e-9 * max(abs(value), 1.0)
        square = ((np.asarray(y) - minimum) ** 2).sum(axis=-1)
        return np.where(lower, square / (2 * np.where(lower, drop, 1.0)), np.inf)

    grid = np.stack(
        np.meshgrid(np.linspace(*window[:2], nodes), np.linspace(*window[2:], nodes)), axis=-1
    ).reshape(-1, 2)  # fmt: skip
    times = time_of(grid)
    end = np.inf
    if np.isfinite(times.min()):
        best = grid[times.argmin()]
        refined = optimize.minimize(time_of, best, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
        end = float(min(refined.fun, times.min()))
    h = np.linalg.eigvalsh(potential.hessian(minimum))
    there = strengths < end
    return Branch(
        np.where(there[:, None], minimum, np.nan),
        np.where(there, value, np.nan),
        np.where(there[:, None], h / (1 + strengths[:, None] * h), np.nan),
        end if end <= strengths[-1] else np.inf,
    )
