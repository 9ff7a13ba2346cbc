r"""Two classes of centred anisotropic Gaussians, learnt by a two-layer network of which every weight is trained.

Data: :math:`y = \pm 1` with probability one half, :math:`x | y \sim N(0, \Sigma_y)`, :math:`\Sigma_\pm` diagonal with
:math:`(1 \pm \Delta)^2` on the first :math:`s_0` coordinates, the informative ones, and 1 on the others. Network:
:math:`\hat y(x) = N^{-1} \sum_i a_i\, \sigma(\langle w_i, x\rangle + b_i)`. Source: Mei, Montanari & Nguyen (2018),
PNAS 115(33), E7665, centred anisotropic Gaussians (sigma a rectifier).

The weights of a network are one array, shape (neuron, d + 2), with the columns :math:`a, b, w_1, \dots, w_d`.

Arrays in, arrays out; no files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels import pair_series
from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.momentum import SGD, Momentum
from meanfield.kernels.streams import INITIAL_WEIGHTS, seed_sequence, standard_samples, stream_key
from meanfield.problems.activations import Activation

Floats = NDArray[np.float64]

LABELS = (1.0, -1.0)
# Names of the reduced variables a, b, r1 and r2.
REDUCED = ("output_weight", "bias", "informative_norm", "other_norm")


def pack(output_weights: NDArray, biases: NDArray, weights: NDArray) -> NDArray:
    """Return one array, shape (neuron, d + 2), of output weights, biases (neuron,) and weights (neuron, d)."""
    return np.column_stack([output_weights, biases, weights])


def unpack(packed: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return views of output weights and biases, both shape (neuron,), and weights (neuron, d)."""
    return packed[:, 0], packed[:, 1], packed[:, 2:]


class PackedState:
    """The compiled state of an optimiser, seen as packed weights; made by `AnisotropicGaussians.block_state`."""

    def __init__(self, state: BlockState):
        self._state = state

    @property
    def block(self) -> int:
        """Samples per block; runs are cut at multiples of it."""
        return self._state.block

    @property
    def weights(self) -> NDArray:
        """A copy of the packed weights, shape (neuron, d + 2) [1]."""
        return pack(self._state.output_weights, self._state.biases, self._state.weights)

    def advance_stream(self, first: int, last: int, **stream) -> None:
        """Run iterations `first` … `last - 1`; see `meanfield.kernels.block_sgd.BlockState.advance_stream`."""
        self._state.advance_stream(first, last, **stream)

    def advance_arrays(self, *dataset) -> None:
        """Run one iteration per sample; see `meanfield.kernels.block_sgd.BlockState.advance_arrays`."""
        self._state.advance_arrays(*dataset)

    def copy(self) -> "PackedState":
        """Return an independent copy."""
        return PackedState(self._state.copy())

    def snapshot(self) -> dict[str, tuple]:
        """Return everything that the iterations after the end of a block depend on."""
        return self._state.snapshot()

    def restore(self, snapshot: dict[str, tuple]) -> None:
        """Go on from a snapshot of a run of the same shape."""
        self._state.restore(snapshot)


@dataclass(frozen=True)
class AnisotropicGaussians:
    r"""The problem: data law, activation, and everything that follows exactly from them.

    Parameters
    ----------
    dimension : int
        d >= 1 [1].
    informative : int
        :math:`s_0`, from 1 to d [1].
    separation : float
        :math:`\Delta` in [0, 1) [1].
    activation : Activation
        :math:`\sigma`, piecewise linear or smooth.

    Raises
    ------
    ValueError
        If a number is out of its range.

    """

    dimension: int
    informative: int
    separation: float
    activation: Activation
    extra_columns = 2  # of the weights, before those of the inputs: output weight and bias

    def __post_init__(self):
        if not 1 <= self.informative <= self.dimension:
            msg = f"informative: found {self.informative}; from 1 to the dimension, {self.dimension}, needed"
            raise ValueError(msg)
        if not 0 <= self.separation < 1:
            msg = f"separation: found {self.separation:g}; at least 0 and less than 1 needed"
            raise ValueError(msg)

    @property
    def deviations(self) -> tuple[float, float]:
        """Standard deviation of an informative coordinate given y = +1 and given y = -1 [1]."""
        return 1 + self.separation, 1 - self.separation

    @property
    def scales(self) -> tuple[Floats, Floats]:
        """Standard deviation of each coordinate, shape (d,), given y = +1 and given y = -1 [1]."""
        return tuple(np.where(np.arange(self.dimension) < self.informative, tau, 1.0) for tau in self.deviations)

    # -- data and gradients -------------------------------------------------------------------------------------

    def samples(self, root: int, experiment: str, replicate: int, first: int, count: int):
        """Return samples `first` … of a replicate's stream: inputs (sample, coordinate) and targets (sample,)."""
        key = stream_key(root, experiment, replicate)
        z, sign = standard_samples(key, first, count, self.dimension)
        return z * np.where(sign[:, None] > 0, *self.scales), sign

    def network(self, weights: Floats, inputs: Floats) -> Floats:
        """Return the network's predictions, shape (sample,), for packed weights (neuron, d + 2)."""
        a, b, w = unpack(weights)
        return (a * self.activation(inputs @ w.T + b)).mean(axis=1)

    def sample_gradient(self, weights: Floats, x: Floats, y: float) -> Floats:
        r"""Return the gradient at one sample, shape (neuron, d + 2), without the factor 1/N.

        It is N times the derivative of the squared error :math:`(y - \hat y)^2` in :math:`a_i, b_i, w_i`: SGD of the
        report subtracts the step size times this.
        """
        a, b, w = unpack(weights)
        z = w @ x + b
        value = self.activation(z)
        outer = -2 * (y - (a * value).mean())
        slope = outer * a * self.activation.derivative(z)
        return pack(outer * value, slope, np.outer(slope, x))

    def sample_loss(self, weights: Floats, x: Floats, y: float) -> float:
        """Return the squared error at one sample [1]."""
        a, b, w = unpack(weights)
        return float((y - (a * self.activation(w @ x + b)).mean()) ** 2)

    def block_state(self, weights: NDArray, momentum: Momentum = SGD) -> PackedState:
        """Return the compiled state of an optimiser, plain SGD if none is given, that starts from packed weights."""
        a, b, w = unpack(weights)
        return PackedState(
            BlockState(
                np.ascontiguousarray(w), self.activation.kernel_code(), output_weights=a.copy(), biases=b.copy(),
                train_output=True, momentum=momentum,
            )
        )  # fmt: skip

    def reduced(self, weights: Floats) -> Floats:
        r"""Return the reduced variables of each neuron, shape (4, neuron) [1].

        They are a, b, :math:`r_1 = \|w\|` over the informative coordinates and :math:`r_2`, the same over the others.
        """
        a, b, w = unpack(np.asarray(weights, dtype=float))
        s = self.informative
        return np.array([a, b, np.linalg.norm(w[:, :s], axis=1), np.linalg.norm(w[:, s:], axis=1)])

    def observables(self, weights: Floats) -> dict[str, Floats]:
        """Return what is recorded of each neuron: its reduced variables, each shape (neuron,) [1]."""
        return dict(zip(REDUCED, self.reduced(weights), strict=True))

    # -- population quantities ----------------------------------------------------------------------------------

    def risk(self, weights: Floats) -> float:
        r"""Return the exact population risk of a network [1].

        With the mean :math:`m_y` and the variance :math:`v_y` of the prediction given the class,
        :math:`R = \frac12 \sum_y [(m_y - y)^2 + v_y]`. The variance is a mean over all :math:`N^2` pairs: closed form
        on the diagonal, Mehler's series in the correlation of the preactivations elsewhere, cut where the rigorous
        bound on its remainder falls below 1e-8 for every pair (relative to the largest :math:`E a^2 \sigma^2` where
        that exceeds one); pairs too close to parallel for the series go through the activation's `pair_mean`, which
        is good to 1e-6 of such a pair.

        Parameters
        ----------
        weights : array, shape (neuron, d + 2)
            Packed weights [1].

        """
        a, b, w = unpack(np.asarray(weights, dtype=float))
        s0 = self.informative
        informative, others = pair_series.gram(w[:, :s0]), pair_series.gram(w[:, s0:])
        total = 0.0
        for label, tau in zip(LABELS, self.deviations, strict=True):
            mean, variance = self._moments(a, b, pair_series.weighted_sum(tau * tau, informative, others))
            total += 0.5 * ((mean - label) ** 2 + variance)
        return float(total)

    def _moments(self, a: Floats, b: Floats, products: Floats) -> tuple[float, float]:
        # Mean and variance of the prediction, where the preactivations have these covariances.
        neurons = a.size
        s = np.sqrt(np.diagonal(products))
        means = a * self.activation.gaussian_mean(s, b)
        squares = a * a * self.activation.gaussian_mean_square(s, b)
        covariances = float(np.maximum(squares - means**2, 0).sum())
        if neurons > 1:
            pairs, rows, columns, cosines = pair_series.sum_of_pairs(
                products, lambda order: (a * self.activation.hermite(s, order, b))[None], squares[None],
                pair_cost=self.activation.pair_cost, from_order=1,
            )  # fmt: skip
            covariances += 2 * pairs
            if rows.size:
                near = self.activation.pair_mean(s[rows], s[columns], cosines, bias1=b[rows], bias2=b[columns])
                covariances += 2 * float((a[rows] * a[columns] * near - means[rows] * means[columns]).sum())
        return float(means.mean()), covariances / neurons**2


@dataclass(frozen=True)
class TwoLayerLaw:
    r"""The law of initial weights: independent entries, normal or constant.

    Parameters
    ----------
    scale : float
        :math:`\kappa >= 0`, with :math:`w \sim N(0, (\kappa^2/d) I_d)` [1].
    output_mean, output_deviation : float
        Mean and standard deviation of the output weights a; a constant if the latter is zero [1].
    bias_mean, bias_deviation : float
        The same for the biases b [1].

    Raises
    ------
    ValueError
        If the scale or a deviation is negative.

    """

    scale: float
    output_mean: float = 1.0
    output_deviation: float = 0.0
    bias_mean: float = 1.0
    bias_deviation: float = 0.0

    def __post_init__(self):
        for name in ("scale", "output_deviation", "bias_deviation"):
            value = getattr(self, name)
            if not value >= 0:
                msg = f"{name}: found {value:g}; at least 0 needed"
                raise ValueError(msg)

    def sample(self, neurons: int, dimension: int, root: int, experiment: str, replicate: int) -> Floats:
        """Return packed initial weights, shape (neuron, d + 2) [1]; growing `neurons` keeps the first rows."""
        rng = np.random.default_rng(seed_sequence(root, experiment, replicate, INITIAL_WEIGHTS))
        packed = rng.standard_normal((neurons, dimension + 2))
        packed[:, 0] = self.output_mean + self.output_deviation * packed[:, 0]
        packed[:, 1] = self.bias_mean + self.bias_deviation * packed[:, 1]
        packed[:, 2:] *= self.scale / np.sqrt(dimension)
        return packed
