r"""The spherical 3-spin model as a target function, learnt by Gaussian-kernel or sigmoid units.

Target: :math:`f(x) = d^{-1} \sum_{pqr} a_{pqr} x_p x_q x_r` for x uniform on the sphere of radius :math:`\sqrt d`,
with standard normal couplings that are not symmetrised. Network: :math:`f_n(x) = n^{-1} \sum_i c_i \varphi(x, y_i)`.
Source: Rotskoff & Vanden-Eijnden (2018), arXiv:1805.00915, section 4. The closed forms follow from the Funk-Hecke
formula: on the sphere f is a sum of harmonics of degrees 1 and 3, eigenfunctions of every kernel of
:math:`\langle x, y\rangle`.

Arrays in, arrays out; no files.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.polynomial import Polynomial, chebyshev
from numpy.typing import NDArray
from scipy import special

from meanfield.kernels import sphere
from meanfield.kernels.streams import (
    COUPLINGS,
    INITIAL_WEIGHTS,
    TEST_POINTS,
    seed_sequence,
    standard_samples,
    stream_key,
)

Floats = NDArray[np.float64]


def to_sphere(vectors: Floats) -> Floats:
    """Return the vectors, shape (…, coordinate), scaled to norm sqrt(d)."""
    dimension = vectors.shape[-1]
    return vectors * np.sqrt(dimension / np.sum(vectors * vectors, axis=-1, keepdims=True))


def sphere_samples(key: NDArray[np.uint32], first: int, count: int, dimension: int) -> Floats:
    """Return samples `first` … `first + count - 1` of a stream, uniform on the sphere, shape (count, dimension)."""
    return to_sphere(standard_samples(key, first, count, dimension)[0])


def bessel_series(order: float, k: Floats) -> Floats:
    r"""Return :math:`e^{-k}\, \Gamma(\nu + 1) (2/k)^\nu I_\nu(k)`, elementwise.

    Up to the exponential it is :math:`{}_0F_1(; \nu + 1; k^2/4)`, an entire function of :math:`k^2` with the value 1
    at 0. By `scipy.special.ive`; where that underflows, which it does for small k and large orders, by the series.

    Parameters
    ----------
    order : float
        :math:`\nu \ge 0` [1].
    k : array
        Nonnegative [1].

    """
    k = np.asarray(k, float)
    scaled = special.ive(order, k)
    tiny = (scaled < 1e-250) | (k < 1e-3)
    safe = np.where(tiny, 1.0, k)
    prefactor = special.gammaln(order + 1) + order * np.log(2 / safe)
    result = np.exp(np.where(tiny, 0.0, prefactor + np.log(np.where(tiny, 1.0, scaled))))
    if tiny.any():
        q = k[tiny] ** 2 / 4
        total = term = np.ones_like(q)
        m = 0
        while np.any(term > 1e-17 * total):
            m += 1
            term = term * q / (m * (order + m))
            total = total + term
        result[tiny] = np.exp(-k[tiny]) * total
    return result


def _economised(powers: Floats) -> Floats:
    # Lowest power first. T_n = 2^{n-1} x^n + ... is at most one, so x^n 2^{n-1} may be replaced by the rest. Where the
    # numbers that are taken away are larger than the sum itself, rounding would show.
    total, spent = np.sum(powers), 0.0
    while len(powers) > 1:
        degree = len(powers) - 1
        highest = powers[-1] * 2.0 ** (1 - degree)
        taken = highest * chebyshev.cheb2poly([0.0] * degree + [1.0])
        spent += abs(highest)
        if not (spent <= 1e-17 * total and np.max(np.abs(taken)) <= total):  # also where the numbers overflow
            break
        powers = (powers - taken)[:-1]
    return powers


@dataclass(frozen=True)
class GaussianUnits:
    r"""Gaussian-kernel units with centres on the sphere, :math:`\varphi(x, y) = A e^{-\alpha |x - y|^2 / 2}`.

    Parameters
    ----------
    dimension : int
        d >= 2 [1].
    alpha : float
        Inverse squared width > 0 [1].
    normalised : bool
        Whether A makes the mean of the kernel over the sphere one; otherwise A = 1.

    """

    dimension: int
    alpha: float
    normalised: bool = True

    def __post_init__(self):
        if self.dimension < 2 or not self.alpha > 0:
            msg = f"dimension >= 2 and alpha > 0 are needed, not {self.dimension} and {self.alpha}"
            raise ValueError(msg)

    @cached_property
    def amplitude(self) -> float:
        """A [1]."""
        return 1 / self._bare_eigenvalue(0) if self.normalised else 1.0

    def _bare_eigenvalue(self, degree: int) -> float:
        # e^{-k} Gamma(d/2) (2/k)^{d/2-1} I_{l+d/2-1}(k), k = alpha d.
        half, k = self.dimension / 2, self.alpha * self.dimension
        factor = np.exp(special.gammaln(half) - special.gammaln(half + degree) + degree * np.log(k / 2))
        return float(factor * bessel_series(half + degree - 1, np.array([k]))[0])

    def eigenvalue(self, degree: int) -> float:
        r"""Return :math:`\lambda_l`: averaging the kernel against a harmonic of degree l multiplies it by this [1]."""
        return self.amplitude * self._bare_eigenvalue(degree)

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Return the kernel of points x (sample, coordinate) and y (unit, coordinate), shape (sample, unit)."""
        return self.amplitude * np.exp(self.alpha * (x @ y.T - self.dimension))

    def network(self, units: Floats, x: Floats) -> Floats:
        """Return the network's predictions at x (sample, coordinate), shape (sample,), for units (y, c)."""
        return self(x, units[:, :-1]) @ units[:, -1] / len(units)

    def pair_average(self, product: Floats, derivative: int = 0) -> Floats:
        r"""Return :math:`K = E_x \varphi(x, z) \varphi(x, z')`, or its derivative, as a function of <z, z'>.

        .. math:: K = A^2 e^{-2 \alpha d}\, \Gamma(\tfrac d2) (2/k)^{d/2-1} I_{d/2-1}(k), \qquad
                  k = \alpha \sqrt d\, |z + z'| .

        Parameters
        ----------
        product : array
            Inner products, from -d to d [1].
        derivative : int
            0 or 1.

        """
        d, alpha = self.dimension, self.alpha
        k = alpha * np.sqrt(2 * d * np.maximum(d + np.asarray(product), 0))
        # The derivative of 0F1(; v; k^2/4) in its argument is 0F1(; v + 1; k^2/4) / v.
        factor = 1.0 if derivative == 0 else alpha**2
        return factor * self.amplitude**2 * np.exp(k - 2 * alpha * d) * bessel_series(d / 2 - 1 + derivative, k)

    @cached_property
    def pair_series(self) -> Floats:
        r"""Coefficients of K in powers of :math:`t = (1 + \langle z, z'\rangle / d) / 2`, lowest first, all positive.

        With k = alpha d they are :math:`A^2 e^{-2k} k^{2m} / (m!\, (d/2)_m)`; cut where the rest is below 1e-18 of K
        at t = 1, and relatively smaller elsewhere.
        """
        k, half = self.alpha * self.dimension, self.dimension / 2
        m = np.arange(int(40 + 4 * k))
        logarithm = 2 * m * np.log(k) - special.gammaln(m + 1) - special.gammaln(half + m) + special.gammaln(half)
        series = self.amplitude**2 * np.exp(logarithm - 2 * k)
        rest = np.cumsum(series[::-1])[::-1]
        return series[: int(np.argmax(rest < 1e-18 * rest[0]))]

    @cached_property
    def pair_tables(self) -> tuple[Floats, Floats]:
        r"""Return polynomials for K and for its derivative in <z, z'>, as the compiled kernels take them.

        Coefficients of powers of :math:`x = \langle z, z'\rangle / d`, highest first, shape (power,), a multiple of
        eight. In x all are positive as well, so that none loses digits of the largest value. The series is economised
        (Lanczos): its highest term is replaced by the polynomial of lower degree that is nearest on [-1, 1], as long
        as all replacements together change K by less than 1e-17 of its value at x = 1. A third of the terms go.
        """
        shifted = Polynomial(self.pair_series)(Polynomial([0.5, 0.5]))
        tables = [_economised(one.coef) for one in (shifted, shifted.deriv() / self.dimension)]
        length = -(-max(map(len, tables)) // 8) * 8
        first, second = (np.pad(table, (0, length - len(table)))[::-1].copy() for table in tables)
        return first, second

    def kernel_code(self) -> tuple:
        """Return the units as the compiled kernels take them."""
        return sphere.GAUSSIAN, self.alpha, self.alpha * self.dimension, self.amplitude


@dataclass(frozen=True)
class SigmoidUnits:
    r"""Units :math:`\varphi(x; a, b) = 1 / (1 + e^{-\langle a, x\rangle - b})`, all parameters free.

    Parameters
    ----------
    dimension : int
        d [1].

    """

    dimension: int

    def __call__(self, x: Floats, units: Floats) -> Floats:
        """Return the units' values at x (sample, coordinate) for units (a, b, c), shape (sample, unit)."""
        return special.expit(x @ units[:, :-2].T + units[:, -2])

    def network(self, units: Floats, x: Floats) -> Floats:
        """Return the network's predictions at x (sample, coordinate), shape (sample,), for units (a, b, c)."""
        return self(x, units) @ units[:, -1] / len(units)

    def kernel_code(self) -> tuple:
        """Return the units as the compiled kernels take them."""
        return sphere.SIGMOID, 1.0, 0.0, 1.0


@dataclass(frozen=True, eq=False)
class TestSet:
    """Quasi-random points of the sphere: independent scramblings of one low-discrepancy set.

    Parameters
    ----------
    points : array, shape (scrambling, point, coordinate)
        Points [1].
    targets : array, shape (scrambling, point)
        The target there [1].

    """

    __test__ = False  # not a class of tests

    points: Floats
    targets: Floats

    def loss(self, network, units: Floats) -> tuple[float, float]:
        """Return half the mean squared error and its standard error over the scramblings [1].

        Parameters
        ----------
        network : GaussianUnits or SigmoidUnits
            Gives the predictions.
        units : array, shape (unit, parameter)
            Units [1].

        """
        losses = [
            np.mean((targets - network.network(units, points)) ** 2) / 2
            for points, targets in zip(self.points, self.targets, strict=True)
        ]
        return float(np.mean(losses)), float(np.std(losses, ddof=1) / np.sqrt(len(losses)))


@dataclass(frozen=True, eq=False)
class Spin3:
    """The target and everything that follows exactly from its couplings.

    Parameters
    ----------
    couplings : array, shape (d, d, d)
        a [1].

    """

    couplings: Floats

    def __post_init__(self):
        shape = self.couplings.shape
        if len(shape) != 3 or len(set(shape)) != 1 or shape[0] < 2:
            msg = f"couplings must be a cube of side 2 or more, not {shape}"
            raise ValueError(msg)

    @classmethod
    def random(cls, dimension: int, root: int, experiment: str, realisation: int) -> "Spin3":
        """Draw standard normal couplings; equal arguments give equal couplings."""
        rng = np.random.Generator(np.random.PCG64(seed_sequence(root, experiment, realisation, COUPLINGS)))
        return cls(rng.standard_normal((dimension,) * 3))

    @property
    def dimension(self) -> int:
        """Number of coordinates d [1]."""
        return len(self.couplings)

    @cached_property
    def symmetric(self) -> Floats:
        """Couplings averaged over the permutations of their indices, shape (d, d, d) [1]."""
        return sum(np.transpose(self.couplings, axes) for axes in permutations(range(3))) / 6

    @cached_property
    def trace(self) -> Floats:
        r""":math:`t_p = \sum_q s_{pqq}`, s the symmetric couplings, shape (d,) [1]."""
        return np.einsum("pqq->p", self.symmetric)

    # -- target -------------------------------------------------------------------------------------------------

    def target(self, x: Floats) -> Floats:
        """Return f at points (sample, coordinate), shape (sample,)."""
        d = self.dimension
        inner = x @ self.symmetric.reshape(d, d * d)
        return np.einsum("kqr,kq,kr->k", inner.reshape(-1, d, d), x, x, optimize=True) / d

    def gradient(self, x: Floats) -> Floats:
        """Return the gradient of f in the ambient space at points (sample, coordinate), same shape."""
        d = self.dimension
        inner = (x @ self.symmetric.reshape(d, d * d)).reshape(-1, d, d)
        return 3 / d * np.einsum("kqr,kr->kq", inner, x)

    def linear_part(self, x: Floats) -> Floats:
        """Return the harmonic of degree 1 in f, 3/(d+2) <t, x>, at points of the sphere, shape (sample,)."""
        return 3 / (self.dimension + 2) * (x @ self.trace)

    def cubic_part(self, x: Floats) -> Floats:
        """Return the harmonic of degree 3 in f at points of the sphere, shape (sample,)."""
        return self.target(x) - self.linear_part(x)

    @property
    def mean_squares(self) -> tuple[float, float]:
        """Mean squares of the harmonics of degrees 1 and 3 over the sphere [1]; their sum is that of f."""
        d = self.dimension
        squared_trace = float(self.trace @ self.trace)
        whole = (6 * float(np.sum(self.symmetric**2)) + 9 * squared_trace) / ((d + 2) * (d + 4))
        linear = 9 * squared_trace / (d + 2) ** 2
        return linear, whole - linear

    # -- with Gaussian units ------------------------------------------------------------------------------------

    def smoothed_target(self, kernel: GaussianUnits, z: Floats) -> Floats:
        r"""Return :math:`F(z) = E_x f(x) \varphi(x, z)` at points of the sphere, shape (sample,)."""
        return kernel.eigenvalue(1) * self.linear_part(z) + kernel.eigenvalue(3) * self.cubic_part(z)

    def smoothed_gradient(self, kernel: GaussianUnits, z: Floats) -> Floats:
        """Return the gradient of F in the ambient space, as extended by `kernel_code`; only its tangent part counts."""
        first, third = kernel.eigenvalue(1), kernel.eigenvalue(3)
        return third * self.gradient(z) + (first - third) * 3 / (self.dimension + 2) * self.trace

    def loss(self, kernel: GaussianUnits, units: Floats) -> float:
        r"""Return the population loss :math:`\tfrac12 E_x (f - f_n)^2`, exactly [1].

        Parameters
        ----------
        kernel : GaussianUnits
            The kernel.
        units : array, shape (unit, d + 1)
            Centres on the sphere and coefficients [1].

        """
        units = np.asarray(units, float)
        centers, c = units[:, :-1], units[:, -1]
        t = (1 + centers @ centers.T / self.dimension) / 2
        pair = np.polynomial.polynomial.polyval(t, kernel.pair_series)
        mixed = c @ self.smoothed_target(kernel, centers) / len(c)
        return float(sum(self.mean_squares) - 2 * mixed + c @ pair @ c / len(c) ** 2) / 2

    def squared_norm(self, kernel: GaussianUnits) -> float:
        """Return the squared norm of f in the reproducing-kernel space of the kernel [1]."""
        linear, cubic = self.mean_squares
        return linear / kernel.eigenvalue(1) + cubic / kernel.eigenvalue(3)

    def batch_free_objective(self, kernel: GaussianUnits, units: Floats) -> float:
        """Return half the squared reproducing-kernel norm of f - f_n [1], which the batch-free flow descends."""
        centers, c = units[:, :-1], units[:, -1]
        mixed = c @ self.target(centers) / len(c)
        return float(self.squared_norm(kernel) - 2 * mixed + c @ kernel(centers, centers) @ c / len(c) ** 2) / 2

    # -- what the compiled kernels take -------------------------------------------------------------------------

    def kernel_code(self) -> Floats:
        """Return f as coefficients of x_p x_q x_r for p <= q <= r, zero elsewhere, shape (d, d, d)."""
        d = self.dimension
        p, q, r = np.ogrid[:d, :d, :d]
        multiplicity = np.where((p == q) & (q == r), 1, np.where((p == q) | (q == r), 3, 6))
        return np.where((p <= q) & (q <= r), multiplicity * self.symmetric / d, 0.0)

    def _quadratic(self) -> Floats:
        # Gradient of f: component p is the sum over q <= r of these times x_q x_r.
        q, r = np.ogrid[: self.dimension, : self.dimension]
        return 3 / self.dimension * self.symmetric * np.where(q < r, 2, np.where(q == r, 1, 0))

    def population_flow(self, kernel: GaussianUnits) -> tuple:
        r"""Return the gradient flow of the population loss, for `SphereState.advance_flow`.

        .. math:: \dot c_i = F(y_i) - \frac1n \sum_j c_j K(y_i, y_j), \qquad
                  \dot y_i = c_i P_i \nabla \Big[ F - \frac1n \sum_j c_j K(\cdot, y_j) \Big](y_i),

        P the projection on the tangent space. Its objective is the loss without :math:`\tfrac12 E f^2`.
        """
        first, third = kernel.eigenvalue(1), kernel.eigenvalue(3)
        return (
            sphere.SERIES, 1.0, 0.0, 1.0, (1 / self.dimension, 0.0), *kernel.pair_tables,
            third * self._quadratic(), (first - third) * 3 / (self.dimension + 2) * self.trace,
        )  # fmt: skip

    def batch_free_flow(self, kernel: GaussianUnits, *, printed_sign: bool = False) -> tuple:
        r"""Return the flow in which the units serve as the sample, for `SphereState.advance_flow`.

        .. math:: \dot c_i = f(y_i) - \frac1n \sum_j c_j \varphi(y_i, y_j), \qquad
                  \dot y_i = c_i P_i \nabla \Big[ f - \frac1n \sum_j c_j \varphi(\cdot, y_j) \Big](y_i) .

        It descends half the squared reproducing-kernel norm of :math:`f - f_n`, not the mean squared error. Source:
        Rotskoff & Vanden-Eijnden (2018), arXiv:1805.00915, eq. 4.5.

        Parameters
        ----------
        kernel : GaussianUnits
            The kernel.
        printed_sign : bool
            Take :math:`A e^{-\alpha d} e^{-\alpha \langle x, y\rangle}` for the kernel, the sign in print. It is
            negative on odd functions, f is odd, and the flow blows up.

        """
        rate = -kernel.alpha if printed_sign else kernel.alpha
        return (
            sphere.EXPONENTIAL, rate, kernel.alpha * self.dimension, kernel.amplitude, (0.0, 0.0),
            np.zeros(4), np.zeros(4), self._quadratic(), np.zeros(self.dimension),
        )  # fmt: skip

    def state(self, unit: GaussianUnits | SigmoidUnits, units: NDArray) -> sphere.SphereState:
        """Return the compiled state that starts from `units`, shape (unit, parameter)."""
        return sphere.SphereState(units, unit.kernel_code(), self.kernel_code())

    # -- initial laws and test sets -----------------------------------------------------------------------------

    def initial_units(
        self, unit: GaussianUnits | SigmoidUnits, count: int, root: int, experiment: str, replicate: int,
        *, coefficient_scale: float = 1.0,
    ) -> Floats:  # fmt: skip
        """Draw units: centres uniform on the sphere (Gaussian) or a, b standard normal (sigmoid), and coefficients.

        Coefficients are centred normal with standard deviation `coefficient_scale` [1]. Unit i is a function of
        (root, experiment, replicate, i): a wider network contains the narrower one.
        """
        d = self.dimension
        key = stream_key(root, experiment, replicate, INITIAL_WEIGHTS)
        z, _ = standard_samples(key, 0, count, d + 2)
        c = coefficient_scale * z[:, -1:]
        parameters = to_sphere(z[:, :d]) if isinstance(unit, GaussianUnits) else z[:, : d + 1]
        return np.hstack([parameters, c])

    def test_set(self, root: int, experiment: str, *, log2_points: int = 12, scramblings: int = 16) -> TestSet:
        """Return `scramblings` independently scrambled Sobol' sets of 2**log2_points points, mapped to the sphere."""
        from scipy.stats import qmc  # here, because its import takes most of a second, which every job would pay

        seeds = seed_sequence(root, experiment, 0, TEST_POINTS).spawn(scramblings)
        points = []
        for seed in seeds:
            cube = qmc.Sobol(self.dimension, rng=np.random.Generator(np.random.PCG64(seed))).random_base2(log2_points)
            points.append(to_sphere(special.ndtri(np.clip(cube, 1e-12, 1 - 1e-12))))
        points = np.array(points)
        return TestSet(points, np.array([self.target(p) for p in points]))
