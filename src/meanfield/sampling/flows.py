r"""Gradient flows of measures towards :math:`\rho_* \propto e^{-\Phi}`: particles, Gaussian families, densities.

Time is that of the flows as printed by Chen, Huang, Huang, Reich & Stuart (2023), arXiv:2302.11024, sections 3 to 5:

* Wasserstein: :math:`d\theta = -\nabla\Phi\,dt + \sqrt2\,dW`;
* affine-invariant Wasserstein: :math:`d\theta = -C\nabla\Phi\,dt + \sqrt{2C}\,dW`, C the covariance of the law;
* Fisher–Rao: :math:`\partial_t \rho = \rho(\log\rho_* - \log\rho) - \rho\,E_\rho[\log\rho_* - \log\rho]`.

Numpy in, numpy out.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Beyond so many times the scale of start and target a flow counts as diverged. Euler's method at 99.99 % of its largest
# stable step has a hundred times the target's spread.
_LARGEST_GROWTH = 1e4


class Target(Protocol):
    """A law with a mean, a covariance, a potential and its gradient; see `meanfield.sampling.targets`."""

    mean: Floats
    covariance: Floats

    def potential(self, points: Floats) -> Floats:
        """Return Phi at points of shape (…, coordinate)."""

    def gradient(self, points: Floats) -> Floats:
        """Return its gradient, of the same shape."""


class Moments(NamedTuple):
    """Means, shape (record, …, coordinate), and covariances, shape (record, …, coordinate, coordinate) [1]."""

    means: Floats
    covariances: Floats


# -- time -----------------------------------------------------------------------------------------------------------


def divided(interval: float, longest: float) -> tuple[int, float]:
    """Return number and length of the fewest equal steps that fill an interval, none longer than `longest` [time].

    Where the interval is a multiple of `longest` up to rounding, that length itself is returned, with its bits.
    """
    ratio = interval / longest
    whole = max(1, round(ratio))
    if abs(ratio - whole) <= 1e-12 * whole:
        return whole, longest
    count = int(np.ceil(ratio))
    return count, interval / count


def _scale(target: Target, points: Floats, covariance: Floats) -> float:
    # Largest distance of the start from the target's mean, or spread of either, in any coordinate.
    spread = np.sqrt(max(np.diag(covariance).max(), np.diag(target.covariance).max()))
    return float(max(np.abs(points - target.mean).max(), spread))


# -- particles ------------------------------------------------------------------------------------------------------


def covariance_of(particles: Floats) -> tuple[Floats, Floats]:
    """Return deviations from the mean and the covariance (over J) of ensembles of shape (…, particle, coordinate)."""
    centred = particles - particles.mean(axis=-2, keepdims=True)
    return centred, np.swapaxes(centred, -1, -2) @ centred / particles.shape[-2]


def wasserstein_step(
    particles: Floats, target: Target, step_size: float, noise: Floats, clip: float = np.inf
) -> Floats:
    """Return ensembles after a step of Euler and Maruyama; `noise` has their shape, standard normal."""
    return particles - step_size * _cut(target.gradient(particles), clip) + np.sqrt(2 * step_size) * noise


def affine_step(
    particles: Floats,
    target: Target,
    step_size: float,
    noise: Floats,
    *,
    corrected: bool = True,
    clip: float = np.inf,
) -> Floats:
    r"""Return ensembles after a step of the affine-invariant flow, with noise that needs no square root.

    .. math:: \theta^j \leftarrow \theta^j - h C \nabla\Phi(\theta^j) + h \tfrac{d + 1}{J} (\theta^j - \bar\theta)
              + \sqrt{2h/J} \sum_k (\theta^k - \bar\theta)\,\xi^{jk} .

    The noise has the covariance :math:`2hC` and commutes with every affine map, path by path. The middle term keeps
    :math:`\rho_*` invariant for finite ensembles (Garbuno-Inigo, Nüsken & Reich 2020, SIAM J. Appl. Dyn. Syst. 19).

    Parameters
    ----------
    particles : array, shape (…, particle, coordinate)
        The ensembles [1].
    target : Target
        The law.
    step_size : float
        h [1].
    noise : array, shape (…, particle, particle)
        Standard normals.
    corrected : bool
        Whether the middle term is there.
    clip : float
        Largest norm of the gradient; not invariant under affine maps unless infinite [1].

    """
    count, dimension = particles.shape[-2:]
    centred, covariance = covariance_of(particles)
    drift = _cut(target.gradient(particles), clip) @ covariance
    correction = (dimension + 1) / count * centred if corrected else 0.0
    return particles - step_size * (drift - correction) + np.sqrt(2 * step_size / count) * (noise @ centred)


def _cut(gradient: Floats, clip: float) -> Floats:
    if clip == np.inf:
        return gradient
    norm = np.linalg.norm(gradient, axis=-1, keepdims=True)
    return gradient * np.minimum(1, clip / np.maximum(norm, 1e-300))


def run_particles(
    target: Target,
    starts: Floats,
    flow: str,
    *,
    step_size: float,
    records: list[int],
    generator: np.random.Generator,
    corrected: bool = True,
    clip: float = np.inf,
) -> Moments:
    """Move ensembles along a flow by Euler's method and return their moments.

    It is unstable where the step times the largest curvature of the potential (times C, if affine) exceeds 2.

    Parameters
    ----------
    target : Target
        The law.
    starts : array, shape (replicate, particle, coordinate)
        Initial ensembles [1]; not modified.
    flow : str
        ``wasserstein`` or ``affine``.
    step_size : float
        h [1]; `divided` finds one with which steps end at given times.
    records : list of int, increasing
        Steps after which moments are kept; 0 is the start.
    generator : numpy.random.Generator
        Source of the noise.
    corrected, clip
        As in `affine_step`.

    Returns
    -------
    Moments
        Of shape (record, replicate, …).

    Raises
    ------
    FloatingPointError
        If particles stop being finite or are beyond 10 000 times the scale of start and target.

    """
    replicates, count, dimension = starts.shape
    x = starts.copy()
    largest = _LARGEST_GROWTH * _scale(target, x, np.zeros((dimension, dimension)))
    means, covariances, wanted = [], [], set(records)
    for now in range(records[-1] + 1):
        if now in wanted:
            means.append(x.mean(axis=-2))
            covariances.append(covariance_of(x)[1])
        if now == records[-1]:
            break
        with np.errstate(over="ignore", invalid="ignore"):
            if flow == "wasserstein":
                x = wasserstein_step(x, target, step_size, generator.standard_normal(x.shape), clip)
            else:
                noise = generator.standard_normal((replicates, count, count))
                x = affine_step(x, target, step_size, noise, corrected=corrected, clip=clip)
            if not np.abs(x - target.mean).max() < largest:
                raise FloatingPointError(f"the particles diverged by time {step_size * (now + 1):.4g}")
    return Moments(np.array(means), np.array(covariances))


# -- Gaussian families ----------------------------------------------------------------------------------------------


@functools.cache
def _normal_rule(nodes: int, dimension: int) -> tuple[Floats, Floats]:
    # Nodes and weights of the product rule for standard normals.
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack(np.meshgrid(*[z] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    weights = np.prod(np.stack(np.meshgrid(*[w] * dimension, indexing="ij"), axis=-1), axis=-1).reshape(-1)
    return grid, weights / weights.sum()


def expectations(target: Target, mean: Floats, covariance: Floats, nodes: int = 12) -> tuple[Floats, Floats]:
    r"""Return :math:`E\nabla\Phi` and :math:`E\nabla^2\Phi` under a normal law, by Gauss and Hermite's product rule.

    The Hessian comes from gradients by Stein's identity, :math:`E\nabla^2\Phi = C^{-1} E[(\theta - m)\nabla\Phi^\top]`.
    """
    grid, weights = _normal_rule(nodes, mean.size)
    root = np.linalg.cholesky(covariance)
    gradient = target.gradient(mean + grid @ root.T)
    hessian = np.linalg.solve(root.T, (grid * weights[:, None]).T @ gradient)
    return weights @ gradient, (hessian + hessian.T) / 2


def _rates(flow: str) -> Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]:
    identity = np.eye
    return {
        "wasserstein": lambda c, g, h: (-g, 2 * identity(g.size) - h @ c - c @ h),
        "affine": lambda c, g, h: (-c @ g, 2 * c - 2 * c @ h @ c),
        "fisher_rao": lambda c, g, h: (-c @ g, c - c @ h @ c),
    }[flow]


def run_gaussian(
    target: Target,
    mean: Floats,
    covariance: Floats,
    flow: str,
    *,
    step_size: float,
    records: list[int],
    nodes: int = 12,
) -> Moments:
    """Solve the moment equations of a flow within the Gaussian family by Runge and Kutta's method of order four.

    Parameters
    ----------
    target : Target
        The law.
    mean, covariance : array
        Initial moments [1].
    flow : str
        ``wasserstein``, ``affine`` or ``fisher_rao``: (Chen et al. 2023, section 4).
    step_size : float
        h [1].
    records : list of int, increasing
        Steps after which moments are kept.
    nodes : int
        Nodes of the quadrature along each axis.

    Raises
    ------
    FloatingPointError
        If moments stop being finite, a covariance positive definite, or they are beyond 10 000 times the scale of start
        and target: the step is too long.

    """
    rates = _rates(flow)

    def slope(state: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        return rates(state[1], *expectations(target, *state, nodes))

    def ahead(state, by, slopes):
        return state[0] + by * slopes[0], state[1] + by * slopes[1]

    state = (np.array(mean, float), np.array(covariance, float))
    largest = _LARGEST_GROWTH * _scale(target, *state)
    means, covariances, wanted = [], [], set(records)
    for now in range(records[-1] + 1):
        if now in wanted:
            means.append(state[0])
            covariances.append(state[1])
        if now == records[-1]:
            break
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                k1 = slope(state)
                k2 = slope(ahead(state, step_size / 2, k1))
                k3 = slope(ahead(state, step_size / 2, k2))
                k4 = slope(ahead(state, step_size, k3))
                total = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
                state = ahead(state, step_size, total)
                np.linalg.cholesky(state[1])
            lost = not (_scale(target, *state) < largest)
        except np.linalg.LinAlgError:  # a state, or a stage within the step, without a positive definite covariance
            lost = True
        if lost:
            raise FloatingPointError(f"the moment equations diverged by time {step_size * (now + 1):.4g}")
    return Moments(np.array(means), np.array(covariances))


# -- densities ------------------------------------------------------------------------------------------------------


def fisher_rao_density(log_start: Floats, log_target: Floats, time: float) -> Floats:
    r"""Return the unnormalised log-density of the Fisher–Rao flow: the geometric mixture of its ends.

    .. math:: \rho_t \propto \rho_0^{e^{-t}} \rho_*^{1 - e^{-t}} .
    """
    share = np.exp(-time)
    return share * log_start + (1 - share) * log_target


# -- errors ---------------------------------------------------------------------------------------------------------


class Errors(NamedTuple):
    """Affine-invariant distances of moments from those of the target, shapes (…) [1]."""

    mean: Floats
    covariance: Floats
    divergence: Floats


def errors(target: Target, moments: Moments) -> Errors:
    r"""Return distances that no affine map changes.

    Of the mean, :math:`|C_*^{-1/2}(m - m_*)|`; of the covariance,
    :math:`\|C_*^{-1/2} C C_*^{-1/2} - I\|_F / \sqrt d`; and the Kullback–Leibler divergence of the normal laws with
    these moments, :math:`\tfrac12[\operatorname{tr} K - d - \log\det K + |C_*^{-1/2}(m - m_*)|^2]`,
    :math:`K = C_*^{-1} C`.
    """
    root = np.linalg.cholesky(target.covariance)
    shift = np.linalg.solve(root, (moments.means - target.mean)[..., None])[..., 0]
    half = np.linalg.solve(root, moments.covariances)
    relative = np.linalg.solve(root, np.swapaxes(half, -1, -2))
    d = target.mean.size
    off = np.linalg.norm(relative - np.eye(d), axis=(-2, -1)) / np.sqrt(d)
    square = (shift**2).sum(axis=-1)
    trace = np.trace(relative, axis1=-2, axis2=-1)
    return Errors(np.sqrt(square), off, 0.5 * (trace - d - np.linalg.slogdet(relative)[1] + square))


def exact_divergence(target: Target, mean: Floats, covariance: Floats, flow: str) -> Callable[[float], float]:
    r"""Return the Kullback–Leibler divergence of a flow's normal law from a normal target as a function of time.

    With :math:`K = C_*^{-1/2} C C_*^{-1/2}` and :math:`n = C_*^{-1/2}(m - m_*)`, shares s, and all in closed form:

    * Wasserstein: :math:`n = E n_0`, :math:`K - I = E (K_0 - I) E`, :math:`E = e^{-tC_*^{-1}}`;
    * affine-invariant: :math:`K^{-1} - I = s(K_0^{-1} - I)`, :math:`n = (s K K_0^{-1})^{1/2} n_0`, :math:`s = e^{-2t}`;
    * Fisher–Rao: the same K, :math:`n = s K K_0^{-1} n_0`, :math:`s = e^{-t}`.

    It never rises: all three descend it. Source: Chen, Huang, Huang, Reich & Stuart (2023), arXiv:2302.11024,
    section 4.

    Parameters
    ----------
    target : Target
        A normal law.
    mean, covariance : array
        Initial moments [1].
    flow : str
        As in `run_gaussian`.

    """
    values, basis = np.linalg.eigh(target.covariance)
    root = basis / np.sqrt(values)  # whitens, along the eigenvectors of the target
    shift, start = root.T @ (mean - target.mean), root.T @ covariance @ root

    if flow == "wasserstein":

        def divergence(time: float) -> float:
            decay = np.exp(-time / values)
            grown = np.diag(-np.expm1(-2 * time / values)) + decay[:, None] * start * decay
            off = decay[:, None] * (start - np.eye(values.size)) * decay
            return _divergence(np.linalg.eigvalsh(grown), np.linalg.eigvalsh(off), decay * shift)

        return divergence

    k, own = np.linalg.eigh(start)
    shift = own.T @ shift
    rate = 2 if flow == "affine" else 1

    def divergence(time: float) -> float:
        share = np.exp(-rate * time)
        mixed = share - k * np.expm1(-rate * time)
        left = shift * np.sqrt(share / mixed) if flow == "affine" else shift * share / mixed
        return _divergence(k / mixed, share * (k - 1) / mixed, left)

    return divergence


def _divergence(k: Floats, off: Floats, shift: Floats) -> float:
    # From eigenvalues k of K, the same less one (accurate where they are small), and the whitened shift of the mean.
    near = np.abs(off) < 1e-3
    small = np.where(near, off, 0.0)
    series = small**2 * (1 / 2 - small * (1 / 3 - small * (1 / 4 - small * (1 / 5 - small / 6))))
    with np.errstate(divide="ignore"):  # a variance below the smallest number is infinitely far
        return float(0.5 * (np.where(near, series, k - 1 - np.log(np.maximum(k, 0))).sum() + (shift**2).sum()))


def relaxation_time(target: Target, mean: Floats, covariance: Floats, flow: str, threshold: float) -> float:
    """Return when a flow's normal law comes within a Kullback–Leibler divergence of a normal target [time].

    By bisection of `exact_divergence`, which falls to 0, to the last digit; 0 if the start is within it.

    Parameters
    ----------
    target, mean, covariance, flow
        As in `exact_divergence`.
    threshold : float
        The divergence, positive [1].

    """
    divergence = exact_divergence(target, mean, covariance, flow)
    if divergence(0.0) <= threshold:
        return 0.0
    low, high = 0.0, 1.0
    while divergence(high) > threshold:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if divergence(middle) > threshold else (low, middle)
    return high
