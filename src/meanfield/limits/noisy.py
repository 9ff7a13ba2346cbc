r"""Distributional dynamics with diffusion, for the law of the norm: finite volumes that keep its free energy falling.

Noisy SGD, :math:`w \leftarrow (1 - 2 \lambda s) w + 2 s (y - \hat y) \nabla \sigma + \sqrt{4 s/\beta}\, g`, has the
limit (Mei, Montanari & Nguyen 2018, PNAS 115(33), E7665, eq. 11 of the main text)

.. math:: \partial_t \rho = 2 \nabla \cdot (\rho \nabla \Psi_\lambda) + 2 \beta^{-1} \Delta \rho, \qquad
          \Psi_\lambda = \Psi(w; \rho) + \tfrac{\lambda}{2} |w|^2,

the gradient flow of :math:`F = \frac12 R(\rho) + \frac{\lambda}{2} \int |w|^2 d\rho + \beta^{-1} \int \rho \ln \rho`.
For a rotation-invariant law it is an equation for the norm with the reference measure :math:`r^{d-1} dr`. With cell
masses M and cell measures :math:`\omega_i = \int_i r^{d-1} dr`, the fluxes are those of Scharfetter & Gummel (1969,
IEEE Trans. Electron Devices 16, 64),

.. math:: J_{i+1/2} = \frac{2}{\beta h^2} [B(x)\, M_i - B(-x)\, M_{i+1}], \qquad x = \beta (W_{i+1} - W_i), \qquad
          B(x) = \frac{x}{e^x - 1},

with :math:`W_i = \psi(r_i) + \lambda r_i^2/2 - \beta^{-1} \ln \omega_i`: they vanish exactly where
:math:`M_i \propto \omega_i e^{-\beta(\psi + \lambda r^2/2)}`. Time steps are implicit in the masses and in the
potential. F is convex in the masses and each flux runs against its difference of :math:`\partial F/\partial M_i`, so
that F never rises, whatever the step. Newton's iteration solves a step; the potential couples all cells, by a matrix
of low rank only.

The stationary law is found without time or cells, from the fixed-point equation :math:`\rho \propto r^{d-1} e^{-\beta
(\psi(r; \rho) + \lambda r^2/2)}`, as the minimum of a convex function of the errors of the features' means.

Arrays in, arrays out; no files.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from meanfield.limits.potentials import RadialPotentials
from meanfield.problems.isotropic import RadialLaw

Floats = NDArray[np.float64]

# Relative size of the features that the compressed basis leaves out: their products make the potential.
_RANK_TOLERANCE = 1e-7
_NEWTON_STEPS = 40
_NEWTON_RENEWAL = 8
_NEWTON_TOLERANCE = 1e-13
# The stationary density at the end of the line, relative to its maximum, and the nodes of its quadrature.
_TAIL = np.exp(-36.0)
_STATIONARY_NODES = 1200
_STATIONARY_ITERATIONS = 200
_STATIONARY_TOLERANCE = 1e-13


class NoisySolution(NamedTuple):
    """The law of the norm over time, as masses of cells."""

    time: Floats  # shape (record,), mean-field time [1]
    edge: Floats  # shape (cell + 1,), cell boundaries, norm [1]
    mass: Floats  # shape (record, cell), sums to one [1]
    risk: Floats  # shape (record,), population risk without regularisation [1]
    free_energy: Floats  # shape (record,) [1]
    largest_rise: float  # of the free energy in one step; negative if every step lowers it [1]
    smallest_mass: float  # of a cell, ever [1]
    mass_error: float  # largest deviation of the total mass from one [1]
    steps: int  # time steps taken


class StationaryLaw(NamedTuple):
    """The stationary law, at nodes of a quadrature."""

    radius: Floats  # shape (node,), norm [1]
    mass: Floats  # shape (node,), sums to one [1]
    risk: float  # population risk without regularisation [1]
    free_energy: float  # [1]
    residual: float  # of the fixed-point equation, largest error of a feature's mean [1]


def _compress(potentials: RadialPotentials, features: Floats) -> tuple[Floats, Floats, float]:
    # Features times the root of their weights in a short basis, shape (feature, place); targets in it; the risk that
    # is left when all means meet their targets.
    roots = np.sqrt(potentials.weights)
    value, target = roots[:, None] * features, roots * potentials.targets
    left, sizes, right = np.linalg.svd(value, full_matrices=False)
    kept = max(1, int((sizes > _RANK_TOLERANCE * sizes[0]).sum()))
    target_in = left[:, :kept].T @ target
    return sizes[:kept, None] * right[:kept], target_in, max(float(target @ target - target_in @ target_in), 0.0)


def _log_measure(edge: Floats, dimension: int) -> Floats:
    # ln of the integral of r^(d - 1) over each cell; the powers themselves would underflow.
    low, high = edge[:-1], edge[1:]
    return dimension * np.log(high) + np.log1p(-((low / high) ** dimension)) - np.log(dimension)


def _bernoulli(x: Floats) -> tuple[Floats, Floats]:
    # B(x) = x/(e^x - 1) and its derivative.
    small = np.abs(x) < 1e-2
    safe = np.where(small, 1.0, np.clip(x, -600, 600))
    below = np.expm1(safe)
    value = safe / below
    slope = (1 - value - safe) / below  # = (1 - B e^x)/(e^x - 1), as B e^x = B + x
    x2 = np.where(small, x, 0.0) ** 2
    series = 1 - x / 2 + x2 / 12 - x2**2 / 720
    series_slope = -0.5 + x / 6 - x * x2 / 180
    return np.where(small, series, value), np.where(small, series_slope, slope)


class _Cells:
    # Potential, fluxes and free energy on a grid.

    def __init__(self, potentials: RadialPotentials, reach: float, cells: int, beta: float, regularisation: float):
        self.beta = beta
        self.edge = np.linspace(0, reach, cells + 1)
        self.centre = (self.edge[1:] + self.edge[:-1]) / 2
        self.width = reach / cells
        self.log_measure = _log_measure(self.edge, potentials.problem.dimension)
        self.features, self.target, self.rest = _compress(potentials, potentials.features(self.centre))
        self.rises = np.ascontiguousarray(np.diff(self.features, axis=1).T)
        self.confinement = regularisation / 2 * self.centre**2
        self.fixed = self.confinement - self.log_measure / beta
        # Conductance of a face, per difference of masses.
        self.rate = 2 / (beta * self.width**2)

    def risk(self, mass: Floats) -> float:
        return float(np.sum((self.target - self.features @ mass) ** 2) + self.rest)

    def free_energy(self, mass: Floats) -> float:
        full = mass > 0
        entropy = mass[full] @ (np.log(mass[full] / self.width) + np.log(self.width) - self.log_measure[full])
        return float(self.risk(mass) / 2 + self.confinement @ mass + entropy / self.beta)

    def step(self, mass: Floats, h: float) -> Floats | None:
        # The masses after an implicit step, None if it is too long to be solved. Newton's iteration from the last
        # masses, with the derivative renewed now and then only: the potential moves little in a step.
        new = mass
        for n in range(_NEWTON_STEPS):
            x = self.beta * np.diff(self.potential(new))
            forward, forward_slope = _bernoulli(x)
            backward, backward_slope = _bernoulli(-x)
            flux = self.rate * (forward * new[:-1] - backward * new[1:])
            residual = new - mass + h * np.diff(flux, prepend=0.0, append=0.0)
            if n % _NEWTON_RENEWAL == 0:
                band = self._operator(forward, backward, h)
                # How fluxes follow the potential, and it the masses.
                sway = self.rate * self.beta * (forward_slope * new[:-1] + backward_slope * new[1:])
                push = np.zeros((new.size, len(self.features)))
                flow = h * sway[:, None] * self.rises
                push[:-1] += flow
                push[1:] -= flow
                columns = solve_banded((1, 1), band, push)
                small = np.linalg.inv(np.eye(len(self.features)) + self.features @ columns)
            plain = solve_banded((1, 1), band, residual)
            change = plain - columns @ (small @ (self.features @ plain))
            new = new - change
            if np.abs(change).max() <= _NEWTON_TOLERANCE:
                # One linear solve with the settled potential: non-negative, and of mass one, to rounding.
                x = self.beta * np.diff(self.potential(new))
                return solve_banded((1, 1), self._operator(_bernoulli(x)[0], _bernoulli(-x)[0], h), mass)
            if not np.isfinite(new).all():
                break
        return None

    def potential(self, mass: Floats) -> Floats:
        # W of the fluxes.
        return self.fixed + self.features.T @ (self.features @ mass - self.target)

    def _operator(self, forward: Floats, backward: Floats, h: float) -> Floats:
        # Identity plus step times divergence of the fluxes, in banded form.
        band = np.zeros((3, forward.size + 1))
        band[1] = 1
        band[1, :-1] += h * self.rate * forward
        band[1, 1:] += h * self.rate * backward
        band[0, 1:] = -h * self.rate * backward
        band[2, :-1] = -h * self.rate * forward
        return band


def reach_of(potentials: RadialPotentials, laws: list[RadialLaw], stationary: list[StationaryLaw]) -> float:
    """Return a norm beyond which neither the initial nor the stationary laws have mass, with room between [1]."""
    dimension = potentials.problem.dimension
    initial = max(float(law.quantile(1 - 1e-15, dimension)) for law in laws)
    return 1.2 * max(initial, *(float(one.radius[one.mass > 1e-18].max()) for one in stationary))


def solve_noisy(
    potentials: RadialPotentials,
    law: RadialLaw,
    time: Floats,
    *,
    inverse_temperature: float,
    regularisation: float,
    reach: float,
    cells: int,
    relative_step: float,
    largest_step: float,
) -> NoisySolution:
    r"""Solve the distributional dynamics with diffusion from a rotation-invariant law.

    Parameters
    ----------
    potentials : RadialPotentials
        Of a finite dimension.
    law : RadialLaw
        Initial law of the weights.
    time : array, shape (record,), increasing, from 0
        Mean-field times of the records [1]; the step-size schedule is constant.
    inverse_temperature, regularisation : float
        :math:`\beta > 0` and :math:`\lambda \ge 0` [1].
    reach : float
        End of the grid; nothing passes it [1].
    cells : int
        Cells of equal width.
    relative_step, largest_step : float
        A step is at most this share of the time so far (of a tenth of the first record, before that), and at most this
        long [1]. The scheme is of order one in the step and two in the width of the cells.

    Raises
    ------
    FloatingPointError
        If no step can be solved.

    """
    grid = _Cells(potentials, reach, cells, inverse_temperature, regularisation)
    mass = np.diff(law.distribution(grid.edge, potentials.problem.dimension))
    mass /= mass.sum()
    now, steps, energy, rise, least, error = float(time[0]), 0, grid.free_energy(mass), -np.inf, mass.min(), 0.0
    records, first = [], float(time[1]) if len(time) > 1 else 0.0
    for end in time:
        while now < end:
            h = min(largest_step, relative_step * max(now, first / 10))
            count = np.ceil((end - now) / h * (1 - 1e-9))
            h = (end - now) / count
            found = grid.step(mass, h)
            while found is None:
                h, count = h / 2, np.inf
                if h < 1e-9 * largest_step:
                    msg = f"no implicit step could be solved at t = {now:.6g}"
                    raise FloatingPointError(msg)
                found = grid.step(mass, h)
            mass = found
            now = float(end) if count == 1 else now + h
            steps += 1
            after = grid.free_energy(mass)
            rise, energy = max(rise, after - energy), after
            least, error = min(least, mass.min()), max(error, abs(mass.sum() - 1))
        records.append((mass, grid.risk(mass), energy))
    masses, risks, energies = zip(*records, strict=True)
    return NoisySolution(
        np.asarray(time, dtype=float), grid.edge, np.array(masses), np.array(risks), np.array(energies), float(rise),
        float(least), float(error), steps,
    )  # fmt: skip


def _dual(
    error: Floats, base: Floats, features: Floats, target: Floats, weights: Floats, beta: float
) -> tuple[float, Floats]:
    # The convex function of `stationary_law`, and the masses of the law that belongs to the errors.
    exponent = base + beta * error @ features
    top = exponent.max()
    mass = weights * np.exp(exponent - top)
    total = mass.sum()
    return float(error @ error / 2 - target @ error + (top + np.log(total)) / beta), mass / total


def stationary_law(potentials: RadialPotentials, *, inverse_temperature: float, regularisation: float) -> StationaryLaw:
    r"""Solve the fixed-point equation of the stationary law.

    With the features :math:`\varphi_k`, their targets z and the errors :math:`e = z - \int \varphi\, d\rho`, the law is
    :math:`\rho_e \propto r^{d-1} \exp(-\beta \lambda r^2/2 + \beta e \cdot \varphi)`, and the equation for e says that
    :math:`\frac12 |e|^2 - z \cdot e + \beta^{-1} \ln Z(e)` is smallest: it is strictly convex, so that there is one
    solution.

    Parameters
    ----------
    potentials : RadialPotentials
        Of a finite dimension.
    inverse_temperature, regularisation : float
        :math:`\beta > 0` and :math:`\lambda > 0` [1].

    """
    beta, dimension = inverse_temperature, potentials.problem.dimension
    nodes, weights = np.polynomial.legendre.leggauss(_STATIONARY_NODES)
    # Where the confinement alone leaves nothing; twice as far if the potential pulls outwards.
    reach = np.sqrt((dimension + 80) / (beta * regularisation))
    while True:
        r, w = reach * (nodes + 1) / 2, reach * weights / 2
        features, target, rest = _compress(potentials, potentials.features(r))
        base = (dimension - 1) * np.log(r) - beta * regularisation / 2 * r**2
        error = target.copy()
        value, mass = _dual(error, base, features, target, w, beta)
        for _ in range(_STATIONARY_ITERATIONS):
            mean = features @ mass
            gradient = error - target + mean
            if np.abs(gradient).max() < _STATIONARY_TOLERANCE:
                break
            centred = features - mean[:, None]
            hessian = np.eye(error.size) + beta * (centred * mass) @ centred.T
            change = np.linalg.solve(hessian, gradient)
            length = 1.0
            while True:
                found = _dual(error - length * change, base, features, target, w, beta)
                if found[0] <= value - 1e-4 * length * gradient @ change + 1e-14 * abs(value) or length < 1e-8:
                    break
                length /= 2
            error = error - length * change
            value, mass = found
        density = mass / w
        if density[-1] <= _TAIL * density.max():
            break
        reach *= 1.5
    # The same measure as in cells: density against r^(d - 1).
    full = mass > 0
    entropy = mass[full] @ (np.log(density[full]) - (dimension - 1) * np.log(r[full]))
    risk = float(np.sum((target - features @ mass) ** 2) + rest)
    energy = risk / 2 + regularisation / 2 * mass @ r**2 + entropy / beta
    residual = float(np.abs(error - target + features @ mass).max())
    return StationaryLaw(r, mass, risk, float(energy), residual)
