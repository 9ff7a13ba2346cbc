"""The definition that the compiled kernel is tested against, `meanfield.kernels.reference`, timed as it stands."""

import numpy as np

from benchmarks.peers.numpy_plain import NumpyRunner
from meanfield.kernels.reference import sequential_sgd


class NumpyDefinition(NumpyRunner):
    """Sequential SGD with the package's general activations."""

    name = "numpy, the definition"

    @staticmethod
    def applies(workload):
        return not (workload.biases or workload.trained_output)

    def run(self, inputs, targets, step_sizes):
        activation = self.workload.activation
        self.w = sequential_sgd(
            self.w, inputs, targets, np.asarray(step_sizes, self.dtype), activation, activation.derivative
        )


METHODS = [NumpyDefinition]
