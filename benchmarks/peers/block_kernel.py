"""The project's own kernel, `meanfield.kernels.block_sgd`: exact block SGD, with its own counter-based stream."""

import numpy as np

from benchmarks.peers import Runner, UnavailableError
from benchmarks.workloads import Network
from meanfield.kernels.block_sgd import BlockState
from meanfield.kernels.streams import stream_key


class BlockKernel(Runner):
    """Exact block SGD in compiled vectors."""

    name = "block kernel (this project)"

    def __init__(self, workload, dtype):
        super().__init__(workload, dtype)
        weights, biases, outputs = workload.initial(dtype)
        extra = {}
        if biases is not None:
            extra["biases"] = biases
        if outputs is not None:
            extra.update(output_weights=outputs, train_output=True)
        try:
            self._state = BlockState(weights, workload.activation.kernel_code(), **extra)
        except TypeError as reason:
            raise UnavailableError(f"the kernel of this checkout cannot train {', '.join(extra)}") from reason
        self.granularity = self._state.block
        self._key = stream_key(0, workload.name, 0)

    def advance(self, count):
        w = self.workload
        if w.scales is None:
            super().advance(count)
            return
        self._state.advance_stream(
            self.done, self.done + count, key=self._key, scales=w.scales,
            step_size=w.step_size, coefficient=w.coefficient, exponent=w.exponent,
        )  # fmt: skip
        self.done += count

    def run(self, inputs, targets, step_sizes):
        self._state.advance_arrays(inputs, targets, np.asarray(step_sizes, self.dtype))

    def network(self):
        w = self.workload
        return Network(
            self._state.weights,
            self._state.biases if w.biases else None,
            self._state.output_weights if w.trained_output else None,
        )


METHODS = [BlockKernel]
