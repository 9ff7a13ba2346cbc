r"""One digit against the rest: a network with trained output weights on pictures of handwritten digits.

The network is :math:`g(x) = N^{-1} \sum_i c_i\, \sigma(\langle w_i, x\rangle)` and the loss the squared error to labels
:math:`\pm 1`. Sirignano & Spiliopoulos take, for one random image per iteration,

.. math:: c_i \leftarrow c_i + \frac{\alpha}{N} (y - g) \sigma(\langle w_i, x\rangle), \qquad
          w_i \leftarrow w_i + \frac{\alpha}{N} (y - g)\, c_i \sigma'(\langle w_i, x\rangle)\, x,

so that iteration k sits at the time :math:`t = k/N`: in the notation of `meanfield.methods`, where SGD subtracts s
times the gradient of N (y - g)^2, that is the step :math:`s = \alpha/(2N)`. Source: Sirignano & Spiliopoulos (2020),
SIAM J. Appl. Math. 80(2), 725-752; the update as in eq. 1.3 of their central limit theorem, arXiv:1808.09372. Arrays
in, arrays out; no files.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.momentum import SGD, Momentum
from meanfield.kernels.outputs import network_outputs
from meanfield.kernels.streams import INITIAL_WEIGHTS, SAMPLES, seed_sequence
from meanfield.problems.activations import PiecewiseLinear, Smooth

Floats = NDArray[np.float64]

# Image numbers are drawn in blocks of this many, each from its own counter: any of them can be drawn alone.
_DRAW = 1 << 14


class Inputs(NamedTuple):
    """Pictures as the network sees them: the pixels that vary, centred pixel by pixel, in units of one deviation."""

    train: NDArray[np.float32]  # shape (image, pixel) [1]
    test: NDArray[np.float32]  # shape (image, pixel) [1]
    active: NDArray[np.bool_]  # shape (row, column), whether the pixel varies
    mean: Floats  # shape (pixel,), mean grey value over the training set
    deviation: float  # of all grey values of the training set


def standardise(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> Inputs:
    """Return the inputs of two sets of images, shape (image, row, column).

    Mean and deviation are those of the training set. A pixel that is the same in all images of both sets is dropped:
    it is zero once centred, so that it neither enters the network nor moves a weight.
    """
    pixels = train.shape[1] * train.shape[2]
    flat = [images.reshape(len(images), pixels) for images in (train, test)]
    low = np.minimum(*(images.min(axis=0) for images in flat))
    high = np.maximum(*(images.max(axis=0) for images in flat))
    active = high > low
    if not active.any():
        msg = "all images are equal"
        raise ValueError(msg)
    mean = flat[0].mean(axis=0)
    deviation = float(flat[0].std())
    parts = [((images[:, active] - mean[active]) / deviation).astype(np.float32) for images in flat]
    return Inputs(*parts, active.reshape(train.shape[1:]), mean[active], deviation)


def one_digit(labels: NDArray, digit: int) -> Floats:
    """Return +1 where the label is the digit and -1 elsewhere, shape (image,)."""
    return np.where(labels == digit, 1.0, -1.0)


def parity(labels: NDArray) -> Floats:
    """Return +1 for even and -1 for odd labels, shape (image,)."""
    return np.where(labels % 2 == 0, 1.0, -1.0)


def targets(labels: NDArray, rule: str, digit: int = 0) -> Floats:
    """Return the targets of labels 0 … 9 by the rule ``one_digit`` or ``parity``."""
    return one_digit(labels, digit) if rule == "one_digit" else parity(labels)


@dataclass(frozen=True)
class ClassifierLaw:
    r"""Initial law: output weights uniform on an interval, input weights normal.

    Parameters
    ----------
    output_scale : float
        Output weights are uniform on [-output_scale, output_scale] [1].
    weight_scale : float
        :math:`\kappa`; :math:`w \sim N(0, \kappa^2/d\, I)`, d the number of pixels of an image [1].

    """

    output_scale: float
    weight_scale: float

    def sample(self, neurons: int, active: NDArray[np.bool_], root: int, experiment: str, replicate: int) -> Floats:
        """Return the weights of one replicate, shape (neuron, 1 + active pixel): the output weight comes first.

        Networks of different widths start independently of each other.
        """
        seed = seed_sequence(root, f"{experiment}/{neurons}", replicate, INITIAL_WEIGHTS)
        generator = np.random.Generator(np.random.PCG64(seed))
        outputs = generator.uniform(-self.output_scale, self.output_scale, neurons)
        weights = np.empty((neurons, 1 + int(active.sum())))
        weights[:, 0] = outputs
        # All pixels are drawn, so that a weight does not depend on which other pixels vary.
        scale = self.weight_scale / np.sqrt(active.size)
        flat = active.reshape(-1)
        for start in range(0, neurons, 4096):
            rows = generator.normal(size=(min(4096, neurons - start), active.size))
            weights[start : start + len(rows), 1:] = scale * rows[:, flat]
        return weights


@dataclass(frozen=True)
class DigitClassifier:
    """A network on a training set, from which every iteration takes one image at random, with replacement.

    The weights of a neuron are (c, w), shape (neuron, 1 + coordinate).

    Parameters
    ----------
    inputs : array, shape (image, coordinate)
        Training inputs [1].
    labels : array, shape (image,)
        Targets [1].
    activation : PiecewiseLinear or Smooth
        sigma.

    """

    inputs: NDArray
    labels: NDArray
    activation: PiecewiseLinear | Smooth

    extra_columns = 1  # of the weights, before those of the inputs: the output weight

    @property
    def dimension(self) -> int:
        """Number of input coordinates [count]."""
        return self.inputs.shape[1]

    def sample_index(self, root: int, experiment: str, replicate: int, first: int, count: int) -> NDArray[np.int64]:
        """Return which images iterations `first` … take, shape (count,)."""
        key = seed_sequence(root, experiment, replicate, SAMPLES).generate_state(2, np.uint64)
        parts = []
        for block in range(first // _DRAW, -(-(first + count) // _DRAW)):
            bits = np.random.Philox(key=key, counter=[0, 0, 0, block])
            parts.append(np.random.Generator(bits).integers(0, len(self.labels), _DRAW))
        start = first - first // _DRAW * _DRAW
        return np.concatenate(parts)[start : start + count] if parts else np.empty(0, np.int64)

    def samples(self, root: int, experiment: str, replicate: int, first: int, count: int):
        """Return samples `first` … of a replicate's stream: inputs (sample, coordinate) and targets (sample,)."""
        index = self.sample_index(root, experiment, replicate, first, count)
        return self.inputs[index], self.labels[index]

    def network(self, weights: NDArray, inputs: NDArray) -> Floats:
        """Return the network's outputs for weights (neuron, 1 + coordinate), shape (input,); the plain definition."""
        return self.activation(inputs @ weights[:, 1:].T) @ weights[:, 0].astype(float) / len(weights)

    def outputs(self, weights: NDArray, inputs: NDArray) -> Floats:
        """Return the same as `network`, compiled, in little memory, with preactivations of the weights' type."""
        return network_outputs(
            np.ascontiguousarray(weights[:, 1:]), weights[:, 0], inputs, self.activation.kernel_code()
        )

    def sample_gradient(self, weights: NDArray, x: NDArray, y: float) -> Floats:
        r"""Return the gradient at one sample, shape (neuron, 1 + coordinate), without the factor 1/N.

        It is :math:`-2 (y - g) (\sigma, c\, \sigma' x)`, N times the derivative of the squared error.
        """
        c, z = weights[:, 0], weights[:, 1:] @ x
        value = self.activation(z)
        pull = -2 * (y - c @ value / len(c))
        gradient = np.empty_like(weights)
        gradient[:, 0] = pull * value
        gradient[:, 1:] = np.outer(pull * c * self.activation.derivative(z), x)
        return gradient

    def sample_loss(self, weights: NDArray, x: NDArray, y: float) -> float:
        """Return the squared error at one sample [1]."""
        return float((y - self.network(weights, x[None])[0]) ** 2)

    def block_state(self, weights: NDArray, momentum: Momentum = SGD) -> BlockState:
        """Return the compiled state of an optimiser, plain SGD if none is given, that starts from `weights`."""
        return BlockState(
            np.ascontiguousarray(weights[:, 1:]), self.activation.kernel_code(),
            output_weights=weights[:, 0], train_output=True, momentum=momentum,
        )  # fmt: skip
