r"""Two classes of centred isotropic Gaussians, learnt by a two-layer network in mean-field scaling.

Data: :math:`y = \pm 1` with probability one half, :math:`x | y \sim N(0, \tau_y^2 I_d)`,
:math:`\tau_\pm = 1 \pm \Delta`. Network: :math:`\hat y(x) = N^{-1} \sum_i \sigma(\langle w_i, x\rangle)`.
Source: Mei, Montanari & Nguyen (2018), PNAS 115(33), E7665, centred isotropic Gaussians and "predicting failure".

Arrays in, arrays out; no files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from meanfield.kernels import pair_series
from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.momentum import SGD, Momentum
from meanfield.kernels.streams import INITIAL_WEIGHTS, seed_sequence, standard_samples, stream_key
from meanfield.problems.activations import Activation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class IsotropicGaussians:
    r"""The problem: data law, activation, and everything that follows exactly from them.

    Parameters
    ----------
    dimension : int
        d >= 2 [1].
    separation : float
        :math:`\Delta` in [0, 1) [1]; the classes have standard deviations :math:`1 \pm \Delta`.
    activation : Activation
        :math:`\sigma`.

    """

    dimension: int
    separation: float
    activation: Activation
    extra_columns = 0  # of the weights, before those of the inputs

    @property
    def scales(self) -> tuple[float, float]:
        """Standard deviation of a coordinate given y = +1 and given y = -1 [1]."""
        return 1 + self.separation, 1 - self.separation

    # -- data and gradients -------------------------------------------------------------------------------------

    def samples(self, root: int, experiment: str, replicate: int, first: int, count: int):
        """Return samples `first` … of a replicate's stream: inputs (sample, coordinate) and targets (sample,)."""
        key = stream_key(root, experiment, replicate)
        z, sign = standard_samples(key, first, count, self.dimension)
        return z * np.where(sign > 0, *self.scales)[:, None], sign

    def network(self, weights: Floats, inputs: Floats) -> Floats:
        """Return the network's predictions, shape (sample,), for weights (neuron, coordinate)."""
        return self.activation(inputs @ weights.T).mean(axis=1)

    def sample_gradient(self, weights: Floats, x: Floats, y: float) -> Floats:
        r"""Return the gradient at one sample, shape (neuron, coordinate), without the factor 1/N.

        It is :math:`-2 (y - \hat y) \sigma'(\langle w_i, x\rangle) x`, N times the derivative of the squared error
        in :math:`w_i`: SGD of the report subtracts the step size times this.
        """
        z = weights @ x
        residual = y - self.activation(z).mean()
        return np.outer(-2 * residual * self.activation.derivative(z), x)

    def sample_loss(self, weights: Floats, x: Floats, y: float) -> float:
        """Return the squared error at one sample [1]."""
        return float((y - self.activation(weights @ x).mean()) ** 2)

    def block_state(self, weights: NDArray, momentum: Momentum = SGD) -> BlockState:
        """Return the compiled state of an optimiser, plain SGD if none is given, that starts from `weights`."""
        return BlockState(weights, self.activation.kernel_code(), momentum=momentum)

    def observables(self, weights: Floats) -> dict[str, Floats]:
        """Return what is recorded of each neuron, shape (neuron,): the norm of its weight vector [1]."""
        return {"norm": np.linalg.norm(weights, axis=1)}

    # -- population quantities ----------------------------------------------------------------------------------

    def potential(self, norms: Floats) -> Floats:
        r"""Return :math:`V = -E[y \sigma(\langle w, x\rangle)]` for neurons of the given norms [1]; exact."""
        wide, narrow = self.scales
        q = self.activation.gaussian_mean
        return 0.5 * (q(narrow * norms) - q(wide * norms))

    def interaction(self, norm1: Floats, norm2: Floats, cosine: Floats) -> Floats:
        r"""Return :math:`U = E[\sigma(\langle w_1, x\rangle) \sigma(\langle w_2, x\rangle)]` [1] by quadrature."""
        return sum(0.5 * self.activation.pair_mean(tau * norm1, tau * norm2, cosine) for tau in self.scales)

    def risk(self, weights: Floats) -> float:
        r"""Return the exact population risk of a network, :math:`1 + 2 \bar V + \bar U` [1].

        The mean of the pair potential runs over all :math:`N^2` pairs: closed form on the diagonal, Mehler's
        series in the cosine elsewhere, cut where the rigorous bound on its remainder falls below 1e-8 for every
        pair (relative to the largest :math:`E\sigma^2` where that exceeds one); pairs too close to parallel for the
        series go through `interaction`.

        Parameters
        ----------
        weights : array, shape (neuron, coordinate)
            Weights [1].

        """
        weights = np.asarray(weights, dtype=float)
        neurons = len(weights)
        products = pair_series.gram(weights)
        norms = np.sqrt(np.diagonal(products))
        squares = np.array([self.activation.gaussian_mean_square(tau * norms) for tau in self.scales])
        pairs = 0.0
        if neurons > 1:
            pairs, rows, columns, cosines = pair_series.sum_of_pairs(
                products,
                lambda order: np.array([self.activation.hermite(tau * norms, order) for tau in self.scales]),
                squares,
                pair_cost=self.activation.pair_cost,
            )
            if rows.size:
                pairs += 2 * self.interaction(norms[rows], norms[columns], cosines).sum()
        return float(1 + 2 * self.potential(norms).mean() + (pairs + 0.5 * squares.sum()) / neurons**2)

    def noise_floor(self, step_size: float, temperature: float = 0.0) -> float:
        r"""Return the norm at which noise balances the conical drift at w = 0 [1]; nan if there is none.

        Near :math:`w = 0` the mean drift is :math:`-2 \varepsilon \psi'(0+)` per iteration, the step has the variance
        :math:`4 \varepsilon^2 E[e^2 \sigma'^2 |x|^2]` with :math:`e = y - \sigma(0)`, and injected noise of temperature
        T (`meanfield.methods.langevin`) adds :math:`2 \varepsilon T d`, so that :math:`r = (\varepsilon\,
        E[e^2 \sigma'(0\pm)^2 |x|^2] + T d / 2) / \psi'(0+)`, for all neurons near zero.
        """
        mean_slope2 = 0.5 * sum(s * s for s in self.activation.slopes_at_zero())
        at_zero = float(self.activation(0.0))
        noise = mean_slope2 * sum(
            0.5 * (y - at_zero) ** 2 * tau**2 * self.dimension for y, tau in zip((1, -1), self.scales, strict=True)
        )
        slope = self.conical_slope()
        return (step_size * noise + 0.5 * temperature * self.dimension) / slope if slope > 0 else float("nan")

    def conical_slope(self) -> float:
        r"""Return :math:`\psi'(0+)` with all neurons at zero [1]: positive if w = 0 attracts them."""
        at_zero = float(self.activation(0.0))
        left, right = self.activation.slopes_at_zero()
        mean_positive = 1 / np.sqrt(2 * np.pi)
        growth = (right - left) * mean_positive  # d/dt E sigma(tG) at t = 0+
        return sum(0.5 * (at_zero - y) * tau * growth for y, tau in zip((1, -1), self.scales, strict=True))


def chi_quantile(probability: Floats, dimension: int) -> Floats:
    """Return quantiles of the norm of a standard normal vector [1]."""
    return np.sqrt(2 * special.gammaincinv(dimension / 2, probability))


@dataclass(frozen=True)
class RadialLaw:
    r"""A rotation-invariant law of the initial weights.

    Parameters
    ----------
    kind : str
        ``gaussian``: :math:`w \sim N(0, (\kappa^2/d) I_d)`; ``shell``: w uniform on the sphere of radius
        :math:`\kappa`.
    scale : float
        :math:`\kappa > 0` [1].

    """

    kind: str
    scale: float

    def __post_init__(self):
        if self.kind not in ("gaussian", "shell"):
            msg = f"initial law {self.kind!r} is unknown; known: gaussian, shell"
            raise ValueError(msg)

    def sample(self, neurons: int, dimension: int, root: int, experiment: str, replicate: int) -> Floats:
        """Return initial weights, shape (neuron, coordinate) [1]; growing `neurons` keeps the first rows."""
        rng = np.random.default_rng(seed_sequence(root, experiment, replicate, INITIAL_WEIGHTS))
        normals = rng.standard_normal((neurons, dimension))
        if self.kind == "gaussian":
            return normals * (self.scale / np.sqrt(dimension))
        return normals * (self.scale / np.linalg.norm(normals, axis=1, keepdims=True))

    def quantile(self, probability: Floats, dimension: int | None) -> Floats:
        """Return quantiles of the norm [1]; `dimension` None stands for the limit d = infinity."""
        probability = np.asarray(probability, dtype=float)
        if self.kind == "shell" or dimension is None:
            return np.full(probability.shape, self.scale)
        return self.scale / np.sqrt(dimension) * chi_quantile(probability, dimension)

    def distribution(self, radius: Floats, dimension: int) -> Floats:
        """Return the probability of a norm up to `radius` [1]."""
        radius = np.asarray(radius, dtype=float)
        if self.kind == "shell":
            return (radius >= self.scale).astype(float)
        return special.gammainc(dimension / 2, (radius / self.scale) ** 2 * dimension / 2)

    def deviation(self, dimension: int) -> float:
        """Return the standard deviation of the norm [1]."""
        if self.kind == "shell":
            return 0.0
        mean = np.sqrt(2) * special.poch(dimension / 2, 0.5)
        return float(self.scale * np.sqrt(1 - mean**2 / dimension))
