"""JAX: `lax.scan` over single samples, compiled, random numbers drawn in bulk by the library."""

import os

import numpy as np

from benchmarks.peers import Runner, UnavailableError
from benchmarks.workloads import DIPPING_RAMP, RELU, RISING_RAMP, TANH, Network

# One core, as everyone: read when the library starts.
os.environ["NPROC"] = "1"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

try:
    import jax
except ImportError as reason:
    raise UnavailableError("JAX is not installed (make bench-peers)") from reason

jax.config.update("jax_enable_x64", True)

from functools import partial

from jax import numpy as jnp


def rising_ramp(z):
    """Return value and derivative of the rising ramp."""
    return jnp.clip(10 * (z - 0.5) - 2.5, -2.5, 7.5), 10 * ((z > 0.5) & (z <= 1.5)).astype(z.dtype)


def dipping_ramp(z):
    """Return value and derivative of the dipping ramp."""
    value = -2.5 - 3 * jnp.clip(z, 0, 0.5) + 11.5 * jnp.clip(z - 0.5, 0, 1)
    masks = [(z > knot).astype(z.dtype) for knot in (0, 0.5, 1.5)]
    return value, -3 * masks[0] + 14.5 * masks[1] - 11.5 * masks[2]


def relu(z):
    """Return value and derivative of the rectifier."""
    return jnp.maximum(z, 0), (z > 0).astype(z.dtype)


def tanh(z):
    """Return value and derivative of the hyperbolic tangent."""
    value = jnp.tanh(z)
    return value, 1 - value * value


ACTIVATIONS = {RISING_RAMP: rising_ramp, DIPPING_RAMP: dipping_ramp, RELU: relu, TANH: tanh}


@partial(jax.jit, static_argnames="activation", donate_argnames="network")
def _scan(network, inputs, targets, steps, *, activation):
    def step(network, sample):
        w, b, a = network
        x, y, s = sample
        z = w @ x
        if b is not None:
            z = z + b
        value, slope = activation(z)
        if a is None:
            c = (s * (y - value.mean())) * slope
        else:
            e = s * (y - a @ value / len(w))
            c = (e * a) * slope
            a = a + e * value
        if b is not None:
            b = b + c
        return (w + c[:, None] * x, b, a), None

    return jax.lax.scan(step, network, (inputs, targets, steps))[0]


@partial(jax.jit, static_argnames=("count", "dimension", "dtype"))
def _draw(key, scales, *, count, dimension, dtype):
    first, second = jax.random.split(key)
    targets = jax.random.rademacher(first, (count,), dtype)
    inputs = jax.random.normal(second, (count, dimension), dtype)
    return inputs * jnp.where(targets[:, None] > 0, *scales), targets


class JaxScan(Runner):
    """A compiled scan over a chunk of samples per call."""

    name = "JAX, compiled scan"
    compiles = True

    def __init__(self, workload, dtype):
        super().__init__(workload, dtype)
        self._network = tuple(None if p is None else jnp.asarray(p) for p in workload.initial(dtype))
        # Longer chunks gain nothing: a call costs microseconds against milliseconds.
        small = 32_000 / (workload.neurons * workload.dimension)
        self.granularity = 2 ** int(np.clip(np.log2(2048 * small), 4, 11))
        self._key = jax.random.key(2)
        self._scales = None if workload.scales is None else [jnp.asarray(s, dtype) for s in workload.scales]

    def draw(self, count):
        chunks = []
        for _ in range(count // self.granularity):
            self._key, key = jax.random.split(self._key)
            dimension = self.workload.dimension
            chunks.append(_draw(key, self._scales, count=self.granularity, dimension=dimension, dtype=self.dtype))
        return [x for x, _ in chunks], [y for _, y in chunks]

    def load(self, inputs, targets):
        pieces = range(0, len(targets), self.granularity)
        return tuple(
            [jnp.asarray(array[n : n + self.granularity].astype(self.dtype)) for n in pieces]
            for array in (inputs, targets)
        )

    def run(self, inputs, targets, step_sizes):
        steps = np.split((2 * step_sizes).astype(self.dtype), len(inputs))
        activation = ACTIVATIONS[self.workload.activation]
        for x, y, s in zip(inputs, targets, steps, strict=True):
            self._network = _scan(self._network, x, y, s, activation=activation)
        jax.block_until_ready(self._network)

    def network(self):
        return Network(*(None if p is None else np.array(p) for p in self._network))


METHODS = [JaxScan]
