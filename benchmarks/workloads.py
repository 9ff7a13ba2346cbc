r"""The workloads: networks, data and step sizes that every peer gets alike, and the definition they must reproduce.

The network is :math:`\hat y(x) = N^{-1} \sum_i a_i \sigma(\langle w_i, x\rangle + b_i)`, trained one sample at a time:
:math:`w_i \leftarrow w_i + 2 s (y - \hat y)\, a_i \sigma' x`, biases likewise without x, and, where output weights are
trained, :math:`a_i \leftarrow a_i + 2 s (y - \hat y)\, \sigma`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.problems.activations import Activation, PiecewiseLinear, Smooth

RISING_RAMP = PiecewiseLinear((0.5, 1.5), (-2.5, 7.5))
DIPPING_RAMP = PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5))
RELU = PiecewiseLinear((0.0,), (0.0,), right_slope=1.0)
TANH = Smooth("tanh")

# Samples from arrays are a pool of this many, used over and over: for timing only.
POOL = 256
_NONZERO = 0.19


class Network(NamedTuple):
    """Parameters of a two-layer network; copies, float64 or float32."""

    weights: NDArray  # shape (neuron, coordinate) [1]
    biases: NDArray | None  # shape (neuron,) [1]; none if the network has none
    outputs: NDArray | None  # shape (neuron,) [1]; none if all are one and stay so

    def astype(self, dtype) -> "Network":
        """Return a copy in another type."""
        return Network(*(None if array is None else array.astype(dtype) for array in self))


@dataclass(frozen=True, eq=False)
class Workload:
    """One network, its data and its step sizes.

    Parameters
    ----------
    name, title : str
        Key on the command line, and what the table and the chart print.
    neurons, dimension : int
        N and d.
    activation : Activation
        sigma.
    initial_scale : float
        kappa: initial weights are normal with variance kappa^2 / d.
    scales : pair of float or of arrays, shape (coordinate,)
        Standard deviation of the inputs given y = +1 and y = -1; none if the samples come from arrays.
    step_size, coefficient, exponent : float
        epsilon, a and b: iteration k has the step size epsilon a ((k + 1) epsilon)^b.
    check_step : float
        Constant step size of the comparison with the definition: large enough that eight steps move the weights far
        beyond rounding, small enough that thousands do not amplify it.
    biases, trained_output : bool
        Whether there are biases, and trained output weights.
    dense_update : bool
        Whether an iteration moves most neurons, so that the update counts as much as the prediction.

    """

    name: str
    title: str
    neurons: int
    dimension: int
    activation: Activation
    initial_scale: float
    scales: tuple | None
    step_size: float
    check_step: float
    coefficient: float = 1.0
    exponent: float = 0.0
    biases: bool = False
    trained_output: bool = False
    dense_update: bool = True

    @property
    def flop(self) -> int:
        """Least floating-point operations of an iteration: 2Nd to predict, 2Nd more if the update is dense."""
        return (4 if self.dense_update else 2) * self.neurons * self.dimension

    def initial(self, dtype=np.float64) -> Network:
        """Return the initial network, the same for every peer."""
        rng = np.random.default_rng(0)
        weights = rng.standard_normal((self.neurons, self.dimension)) * self.initial_scale / np.sqrt(self.dimension)
        return Network(
            weights,
            np.ones(self.neurons) if self.biases else None,
            np.ones(self.neurons) if self.trained_output else None,
        ).astype(dtype)

    def samples(self, count: int, seed: int = 1) -> tuple[NDArray, NDArray]:
        """Return inputs (sample, coordinate) and targets (sample,) in float64: for checks, and the pool of arrays."""
        rng = np.random.default_rng(seed)
        if self.scales is None:
            # As sparse as images of handwritten digits, one class in ten; the numbers mean nothing.
            shape = (count, self.dimension)
            return rng.random(shape) * (rng.random(shape) < _NONZERO), np.where(rng.random(count) < 0.1, 1.0, -1.0)
        targets = np.where(rng.random(count) < 0.5, 1.0, -1.0)
        inputs = rng.standard_normal((count, self.dimension))
        return inputs * np.where(targets[:, None] > 0, *self.scales), targets

    def step_sizes(self, first: int, count: int) -> NDArray:
        """Return the step sizes of iterations `first` …, shape (count,) [1]."""
        k = np.arange(first + 1, first + count + 1)
        return self.step_size * self.coefficient * (k * self.step_size) ** self.exponent


def definition(workload: Workload, inputs: NDArray, targets: NDArray, step_sizes: NDArray, batch: int = 1) -> Network:
    """Return the network after SGD in float64, a sample at a time (or a batch, its gradients averaged): the meaning.

    Parameters
    ----------
    workload : Workload
        The network and where it starts.
    inputs, targets, step_sizes : array, shape (sample, coordinate), (sample,), (sample,)
        Samples and their step sizes [1]; of a batch, the first sample's step size counts.
    batch : int
        Samples per step.

    """
    w, b, a = workload.initial()
    b = np.zeros(len(w)) if b is None else b
    a = np.ones(len(w)) if a is None else a
    for first in range(0, len(targets), batch):
        x, y = inputs[first : first + batch], targets[first : first + batch]
        z = x @ w.T + b
        value = workload.activation(z)
        e = 2 * step_sizes[first] / len(y) * (y - (value * a).mean(axis=1))
        c = e[:, None] * a * workload.activation.derivative(z)
        w = w + c.T @ x
        if workload.biases:
            b = b + c.sum(axis=0)
        if workload.trained_output:
            a = a + e @ value
    return Network(w, b if workload.biases else None, a if workload.trained_output else None)


def error(found: Network, expected: Network, start: Network) -> float:
    """Return the largest error of a parameter array, relative to how far it moved."""
    worst = 0.0
    for f, e, s in zip(found, expected, start, strict=True):
        if e is not None:
            worst = max(worst, float(np.linalg.norm(f - e) / np.linalg.norm(e - s)))
    return worst


def active_share(workload: Workload, count: int = 64) -> float:
    """Return the share of (neuron, sample) pairs with a nonzero derivative at the start."""
    inputs, _ = workload.samples(count)
    w, b, _ = workload.initial()
    return float(np.mean(workload.activation.derivative(inputs @ w.T + (0 if b is None else b)) != 0))


def _anisotropic(dimension: int, informative: int, separation: float) -> tuple[NDArray, NDArray]:
    plus, minus = np.ones(dimension), np.ones(dimension)
    plus[:informative] += separation
    minus[:informative] -= separation
    return plus, minus


def workloads(*, small: bool = False) -> dict[str, Workload]:
    """Return the workloads by name; small ones, of a few neurons, to try the machinery."""
    n, d, pixels, wide = (48, 16, 24, 64) if small else (800, 320, 784, 10_000)
    made = [
        Workload(
            "A", f"A: isotropic, N = {n}, d = {d // 8 if not small else d}, rising ramp",
            n, d if small else 40, RISING_RAMP, 0.8, (1.8, 0.2), 1e-6, 5e-5, dense_update=False,
        ),
        Workload(
            "A2", f"A′: failure, N = {n}, d = {d}, dipping ramp",
            n, d, DIPPING_RAMP, 0.4, (1.5, 0.5), 1e-6, 6e-6, dense_update=False,
        ),
        Workload(
            "B", f"B: anisotropic, N = {n}, d = {d}, ReLU, (a, b, w)",
            n, d, RELU, 0.8, _anisotropic(d, 6 if small else 60, 0.4), 2e-4, 1e-4, exponent=-0.25,
            biases=True, trained_output=True,
        ),
        Workload(
            "C800", f"C: digits-like, N = {n}, d = {pixels}, tanh, (a, w)",
            n, pixels, TANH, 1.0, None, 1e-3, 1e-3, trained_output=True,
        ),
        Workload(
            "C10000", f"C: digits-like, N = {wide}, d = {pixels}, tanh, (a, w)",
            wide, pixels, TANH, 1.0, None, 1e-3, 1e-3, trained_output=True,
        ),
    ]  # fmt: skip
    return {workload.name: workload for workload in made}
