"""What the PyTorch variants share: one thread, activations, parameters, samples from PyTorch's generator."""

import numpy as np

from benchmarks.peers import Runner, UnavailableError
from benchmarks.workloads import DIPPING_RAMP, RELU, RISING_RAMP, TANH, Network

try:
    import torch
except ImportError as reason:
    raise UnavailableError("PyTorch is not installed (make bench-peers)") from reason

torch.set_num_threads(1)


def rising_ramp(z):
    """Return value and derivative of the rising ramp."""
    return torch.clamp(10 * (z - 0.5) - 2.5, -2.5, 7.5), 10.0 * ((z > 0.5) & (z <= 1.5)).to(z.dtype)


def dipping_ramp(z):
    """Return value and derivative of the dipping ramp."""
    value = -2.5 - 3 * torch.clamp(z, 0, 0.5) + 11.5 * torch.clamp(z - 0.5, 0, 1)
    slope = -3 * (z > 0).to(z.dtype) + 14.5 * (z > 0.5).to(z.dtype) - 11.5 * (z > 1.5).to(z.dtype)
    return value, slope


def relu(z):
    """Return value and derivative of the rectifier."""
    return torch.relu(z), (z > 0).to(z.dtype)


def tanh(z):
    """Return value and derivative of the hyperbolic tangent."""
    value = torch.tanh(z)
    return value, 1 - value * value


ACTIVATIONS = {RISING_RAMP: rising_ramp, DIPPING_RAMP: dipping_ramp, RELU: relu, TANH: tanh}


def step(activation, w, b, a, x, y, s):
    """Make one step by hand, in place: predict, then a rank-one update; `s` is twice the step size."""
    z = torch.mv(w, x)
    if b is not None:
        z = z + b
    value, slope = activation(z)
    if a is None:
        c = (s * (y - value.mean())) * slope
    else:
        e = s * (y - torch.dot(a, value) / len(w))
        c = (e * a) * slope
        a.add_(e * value)
    if b is not None:
        b.add_(c)
    w.addr_(c, x)


class TorchRunner(Runner):
    """A network as PyTorch tensors."""

    def __init__(self, workload, dtype):
        super().__init__(workload, dtype)
        self.kind = {4: torch.float32, 8: torch.float64}[self.dtype.itemsize]
        self.w, self.b, self.a = (
            None if array is None else torch.from_numpy(array) for array in workload.initial(dtype)
        )
        self.activation = ACTIVATIONS[workload.activation]
        self._rng = torch.Generator().manual_seed(2)
        if workload.scales is not None:
            self._scales = [torch.as_tensor(scale, dtype=self.kind) for scale in workload.scales]

    def draw(self, count):
        targets = torch.randint(0, 2, (count,), generator=self._rng).to(self.kind) * 2 - 1
        inputs = torch.randn((count, self.workload.dimension), generator=self._rng, dtype=self.kind)
        return inputs * torch.where(targets[:, None] > 0, *self._scales), targets

    def load(self, inputs, targets):
        return torch.as_tensor(inputs, dtype=self.kind), torch.as_tensor(targets, dtype=self.kind)

    def twice(self, step_sizes):
        """Return twice the step sizes as a tensor."""
        return torch.from_numpy(np.asarray(2 * step_sizes, self.dtype))

    def network(self):
        return Network(*(None if t is None else t.detach().numpy().copy() for t in (self.w, self.b, self.a)))
