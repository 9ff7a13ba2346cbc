"""A short run of each kernel, printed; test_lanes.py runs it with and without compilation."""

import sys

import numpy as np

from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.momentum import Momentum
from meanfield.kernels.streams import standard_samples, stream_key
from meanfield.problems.activations import PiecewiseLinear, Smooth


def block() -> list[np.ndarray]:
    """Return the end points of runs that take every way through the block kernel."""
    rng = np.random.default_rng(0)
    ends = []
    for activation, momentum, full in [
        (PiecewiseLinear((0.5, 1.5), (-2.5, 7.5)), Momentum(), False),
        (PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5)), Momentum(gamma=0.5), False),
        (Smooth("tanh"), Momentum("gradient_restart"), True),
    ]:
        weights = rng.standard_normal((16, 5))
        extra = {"output_weights": np.ones(16), "train_output": True, "biases": np.zeros(16)} if full else {}
        state = BlockState(weights, activation.kernel_code(), momentum=momentum, **extra)
        state.advance_stream(0, 37, key=stream_key(0, "plain", 0), scales=(1.5, 0.5), step_size=1e-3)
        ends += [state.weights, state.biases, state.output_weights]
    return ends


def stream() -> list[np.ndarray]:
    """Return some samples."""
    return list(standard_samples(stream_key(0, "plain", 1), 3, 20, 6))


if __name__ == "__main__":
    for array in {"block": block, "stream": stream}[sys.argv[1]]():
        print(*(repr(float(number)) for number in np.ravel(array)))
